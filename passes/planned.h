// What a step will need, for passes that trade work for memory.
#pragma once

#include "fusec/passes/pass.h"

namespace fusec::passes {

// Bytes of the plan of a scheduled graph, with what the device's libraries add.
int64_t planned_bytes(ir::GraphOp graph, const PassContext& context);

// The same of a graph that all passes up to and including `pass` have seen: the rest up to `until`
// runs on a copy.
int64_t planned_bytes_after(std::string_view pass, std::string_view until, ir::GraphOp graph,
                            const PassContext& context);

}  // namespace fusec::passes
