// A recorded graph -> the digest that its plan is kept under. It covers all that the import reads
// (compiler/ir/import.cpp): the nodes that are needed, in order, with types, attributes, places and
// scopes, and the outputs. Made from the recorder, so that a plan that is kept costs no import.
#pragma once

#include <string>
#include <vector>

#include "fusec/base/sha256.h"
#include "fusec/ir/import.h"

namespace fusec::driver {

Digest graph_digest(const Graph& graph, const std::vector<ir::NamedValue>& outputs,
                    const std::string& name, bool assigns);

}  // namespace fusec::driver
