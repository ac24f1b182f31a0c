// A model's forward pass beside a stored reference of another program, so that a wrong rotary
// convention, norm, bias or layout shows as a number and not as fluent nonsense.
//
// A reference is a .safetensors file:
//   decoder   input_ids [B, T] i32 or i64; positions [P] i32 or i64, places of every row;
//             logits [B, P, V] f32 or f64 for the token behind each of them. V may be less than the
//             model's vocabulary: the padding behind it is not compared.
//   tower     pixel_values [B, 3, S, S] f32; hidden [B, tokens, width] f32 or f64: what the last
//             norm gives for every token.
// bench/peers/hf_reference.py writes one.
#pragma once

#include <string>

#include "fusec/models/model_file.h"

namespace fusec::models {

struct CheckResult {
  int64_t rows = 0;   // of logits, or of hidden values
  int64_t width = 0;  // numbers in each
  double max_difference = 0;
  double relative_error = 0;  // L2 norm of the difference over that of the reference
  double tolerance = 0;       // of relative_error
  // Of logits alone.
  double top1_agreement = 0;       // share of rows
  double mean_kl = 0, max_kl = 0;  // of the reference from the model, nats a row
  bool passed() const { return relative_error <= tolerance; }
};

// How far relative_error may be from f32 arithmetic alone. One dependent product after another,
// four a layer, rounds sums of K terms: an error of about sqrt(K / 2) u (u = 2^-24) if they are
// summed in one chain and signs are as good as random. Those of L layers join on the residual
// stream as the root of 4 L. A factor of 10 is for what norms, softmax and activations amplify, and
// for a reference in f32, whose rotary angles are rounded, too.
double check_tolerance(const VisionGptConfig& config, ModelPart part);

// Runs the whole model in f32 on the reference's inputs. A reference that does not fit is a user
// Error.
CheckResult check_model_file(const ModelFile& file, const std::string& reference,
                             const CompileOptions& options);

}  // namespace fusec::models
