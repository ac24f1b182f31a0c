// What a finished run leaves: captions of held-out pictures, match rates, pictures and weights.
#pragma once

#include "training.h"

namespace fusec::examples {

// Captions every held-out picture; prints samples and rates of each set; writes into --out:
//   captions.png       contact sheet of the samples
//   loss.png           loss curves
//   weights.safetensors, tokenizer.json
//   config.toml        the options, for --config
void write_report(models::CaptionTrainer& trainer, const Dataset& data, const TrainingLog& log,
                  const RunOptions& options, Metrics& metrics);

// Runs the training step some twenty times more and prints where its time goes; writes profile.json
// and trace.json into the folder of --profile. The weights have been written before: what these
// steps learn is lost.
void write_profile(models::CaptionTrainer& trainer, const RunOptions& options);

}  // namespace fusec::examples
