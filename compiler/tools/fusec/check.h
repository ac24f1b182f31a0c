// `fusec check`: proves that the compiled code of a model computes what the model says.
#pragma once

#include <cstdint>
#include <string>

namespace fusec::tool {

struct CheckFlags {
  std::string input;  // a .mlir file of stage graph or canonical, or a bundled model
  std::string plan;   // a file with the plan to run in place of the compiled one
  std::string precision = "f32", device = "auto";
  uint64_t seed = 1;
  int steps = 2, threads = 0;
};

// Prints what was compared; 0 if all agree, 1 if not.
int check_model(const CheckFlags& flags);

}  // namespace fusec::tool
