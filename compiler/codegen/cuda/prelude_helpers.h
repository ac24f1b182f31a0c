// The tables of device helpers, in the order in which they are written: each after those it needs.
#pragma once

#include <span>

namespace fusec::codegen_cuda {

struct Helper {
  const char* name;
  const char* needs;  // names, separated by spaces
  const char* text;   // "$" stands for what every function of the device needs
};

std::span<const Helper> memory_helpers();
std::span<const Helper> math_helpers();
std::span<const Helper> team_helpers();

}  // namespace fusec::codegen_cuda
