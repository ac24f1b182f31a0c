// The four graphs of a captioning run, all over one set of parameter names, so that executables can
// share weights: train, evaluate, encode (pictures to image rows) and decode (text to next token).
//
// Inputs: "images" f32 [B, 3, S, S]; "tokens" i32 [B, T]; "targets" i32 [B, T], -1 where not
// supervised; "slots" i32 [B * N], flat position b * T + t of each image row or -1. A config that
// is text_only() has no "images" and no "slots", and what is said of them below does not concern
// it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fusec/fusec.h"
#include "fusec/models/config.h"
#include "fusec/models/lora.h"
#include "fusec/models/optim.h"

namespace fusec::models {

struct RecordedGraph {
  std::unique_ptr<Graph> graph;
  std::vector<Output> outputs;
};

// Outputs "loss" (mean over supervised tokens; 0 if there are none) and "grad_norm", f32 scalars.
// `train` is a selection for trainable(); everything else stays frozen.
RecordedGraph record_training_step(const VisionGptConfig& config, int64_t rows,
                                   const std::string& train, const AdamWOptions& options);

// Outputs "loss_sum" and "count", f32 scalars, so that batches add up exactly.
RecordedGraph record_evaluation(const VisionGptConfig& config, int64_t rows);

// "images" -> output "image_rows" [B * N, width]. An internal Error for text alone.
RecordedGraph record_encoder(const VisionGptConfig& config, int64_t rows);

// "tokens", "slots", "image_rows" (as the encoder gives them) and "last" i32 [B], the flat position
// of each row's newest token -> output "logits" [B, vocab] for the token after it.
RecordedGraph record_decoder(const VisionGptConfig& config, int64_t rows);

// User Error with the nearest valid form unless `selection` is a comma-separated list of "all",
// module names (vision, resampler, projector, embedding, trunk, head), "last:K", the last K trunk
// blocks, and "lora". A model with LoRA trains it, and of other parameters those of the modules
// that are named beside it; never those of the trunk.
void check_selection(const VisionGptConfig& config, const std::string& selection,
                     const LoraConfig& lora = {});

// The parameters that a selection chooses, in the graph's order. Checks it as above.
std::vector<Tensor> trainable(Graph& graph, const VisionGptConfig& config,
                              const std::string& selection);

}  // namespace fusec::models
