// Text of the stages: how a file says which stage it is, and how plan and kernels share one file.
//
//   // stage: fused                      before IR text
//   plan "..." { ... }                   the plan stage
//   === source                           the source stage: the plan, then LLVM IR a kernel
//   plan "..." { ... }
//   === kernel k00_silu_mul
//   define void @k00_silu_mul(...)       in the binary stage: the object file, hexadecimal
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fusec/inspect.h"

namespace fusec::driver {

std::string ir_stage_text(Stage stage, const std::string& ir);
std::string join_stage_text(Stage stage, const Plan& plan, const std::vector<std::string>& kernels);

// Stage of a text; IR without a stage line counts as `graph`.
Stage stage_of_text(std::string_view text);

struct StageText {
  std::string plan;
  std::vector<std::string> kernels;  // in the plan's order; empty for stage `plan`
};
StageText split_stage_text(std::string_view text, const std::string& name);

// Bytes as lines of hexadecimal digits, and back; a user Error for anything else.
std::string hex_text(std::string_view bytes);
std::vector<char> bytes_of_hex(std::string_view text);

}  // namespace fusec::driver
