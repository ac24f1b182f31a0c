// The start-up tables that training programs share: what will be trained, in how much memory, and
// by which backends.
#pragma once

#include <string>
#include <vector>

#include "fusec/models/optim.h"
#include "fusec/models/vision_gpt.h"

namespace fusec::examples {

// "  name                  text".
void print_row(const std::string& name, const std::string& text);

// Sizes, parameters by module, and how many of them `selection` (--train) trains. `batch`: what a
// step reads.
void print_model_table(const models::VisionGptConfig& model, const std::string& batch,
                       const std::vector<models::ModuleCount>& modules, int64_t trained,
                       const std::string& selection);
// Planned bytes by class and the largest tensors at the peak: nothing here is measured, it is what
// the plan reserves.
void print_memory_table(const Executable& step);
void print_backend_table(const models::AdamWOptions& adam, const Executable& step);

}  // namespace fusec::examples
