// Whether this processor can run code that was generated elsewhere.
#pragma once

#include <string>
#include <vector>

#include "fusec/plan/plan_image.h"

namespace fusec::cpu {

// The rows of x86_features.def that this processor and its system offer.
std::vector<std::string> host_features();

// A device Error that names what is missing unless code for `machine` runs here.
void require_machine(const Machine& machine);

}  // namespace fusec::cpu
