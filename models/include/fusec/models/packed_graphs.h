// Training and evaluation on packs: documents of any length, one behind the other in one row
// (fusec/data/packer.h), each with any number of images.
//
// Inputs: "tokens" i32 [T]; "positions" i32 [T], of each token in its document, below the config's
// sequence; "targets" i32 [T], -1 where not supervised; "cu_seqlens" i32 [max_documents + 1]; and
// with images "images" f32 [max_images, 3, S, S] and "slots" i32 [max_images * N], the place in the
// pack of each image row, -1 where it is not used. Tokens behind the last document need a position
// and no target. Attention stays inside a document, positions restart, and slots lie in their own
// document, so that a document means what it would mean alone.
//
// The loss of an update is the sum of its token losses over the number of its supervised tokens. An
// update of one pack is one graph, the step. One of several packs has two: accumulation adds the
// gradients of a pack's summed losses to f32 states "<parameter>.grad", and the update divides them
// by the number of tokens, moves the parameters and clears the states. So a pack without
// supervision adds zero, and who never accumulates has no such states. All graphs of a config name
// their parameters and states alike: compiled with CompileOptions::share they are one model.
#pragma once

#include <string>

#include "fusec/models/graphs.h"
#include "fusec/models/lora.h"

namespace fusec::models {

struct PackShape {
  int64_t tokens = 2048;
  int64_t max_documents = 64;
  int64_t max_images = 0;  // of a pack; above 0 exactly if the model has an encoder
  bool operator==(const PackShape&) const = default;

  // User Error if a number does not fit, or does not fit the model.
  void check(const VisionGptConfig& config) const;
};

// What the graphs record. A record_... function checks all of it.
struct PackedModel {
  VisionGptConfig config;
  PackShape shape;
  LoraConfig lora;
};

// Outputs "loss" (mean over supervised tokens; 0 if there are none), "loss_sum", "count" and
// "grad_norm", f32 scalars. `train` is a selection for trainable(); what it leaves out is frozen
// and costs no gradient.
RecordedGraph record_packed_training_step(const PackedModel& model, const std::string& train,
                                          const AdamWOptions& options);

// Outputs "loss_sum" and "count", f32 scalars; adds to the states. Nothing is guarded: a loss that
// is not finite is in the states then, which clear_gradients() empties.
RecordedGraph record_packed_accumulation(const PackedModel& model, const std::string& train);

// Input "count" f32, the supervised tokens of all packs of this update -> output "grad_norm".
RecordedGraph record_packed_update(const PackedModel& model, const std::string& train,
                                   const AdamWOptions& options);

// Outputs "loss_sum" and "count", f32 scalars; never smooths.
RecordedGraph record_packed_evaluation(const PackedModel& model);

// No "targets". Output "logits" f32 [T, vocab] for the token after each.
RecordedGraph record_packed_logits(const PackedModel& model);

// Zeros to every "<parameter>.grad" of an executable: after an update that was refused because
// something was not finite.
void clear_gradients(LoadedPlan& model);

// "head.weight.grad" is the name of such a state.
bool is_gradient_state(const std::string& state);

}  // namespace fusec::models
