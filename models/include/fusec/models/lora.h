// LoRA (Hu et al. 2021): a linear layer of the trunk keeps its weight W and learns a product of two
// thin matrices beside it,
//
//   y = x W^T + (alpha / rank) (x A^T) B^T      A [rank, in], B [out, rank]
//
// parameters "<linear>.lora_a" (normal at first) and "<linear>.lora_b" (zeros at first, so that the
// model begins as it was). The selection "lora" trains them, and nothing else unless it is named,
// too. merge_lora() makes the sum one weight, for export and for decoding.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/fusec.h"

namespace fusec::models {

struct LoraConfig {
  int64_t rank = 0;  // 0: none
  double alpha = 16;
  // Of q, k, v, out, gate, up, down: the layers that get them, in every block.
  std::vector<std::string> targets = {"q", "k", "v", "out", "gate", "up", "down"};

  bool has(const std::string& target) const;
  double scale() const { return alpha / static_cast<double>(rank); }
  // User Error for a rank below 0, an alpha that is not above 0, no target, or one that is not of
  // those above. Of rank 0 nothing is checked.
  void check() const;
};

// "trunk.0.attn.q.lora_a" and "...lora_b" are.
bool is_lora(const std::string& parameter);

// Names of the weights that have lora_a and lora_b in `plan`, in its order.
std::vector<std::string> lora_weights(const Plan& plan);

// W + (alpha / rank) B A of the f32 weight of that name, each sum made in f64 and rounded once;
// without lora_a beside it, its value as it is.
std::vector<float> merged_weight(const LoadedPlan& model, const std::string& weight,
                                 const LoraConfig& lora);

// Every such weight of `model` becomes its merged_weight(), and its lora_b zeros: the model stays
// what it is, up to one rounding a weight.
void merge_lora(LoadedPlan& model, const LoraConfig& lora);

}  // namespace fusec::models
