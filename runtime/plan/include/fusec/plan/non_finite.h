// Which tensor of a step first held a NaN or an infinity, and where it comes from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/base/export.h"

namespace fusec {

// The first tensor of a step that holds a number that is not finite.
struct NonFinite {
  int step = -1;                      // of the plan; -1: the tensor is a leaf
  std::string kernel;                 // kernel or library call; "" for a leaf
  std::string tensor;                 // 'input "images" f32[32, 3, 32, 32]', 'f32[1024, 128]'
  std::string origin;                 // op, user's file:line, model scope
  int64_t index = 0;                  // row-major number of the first bad element
  double value = 0;                   // NaN or infinite
  std::vector<std::string> inputs;    // tensors the step read that were not finite themselves
  FUSEC_API std::string str() const;  // one line
};

}  // namespace fusec
