// Options -> what a run is made of: tokenizer, template, sizes of the model, pipelines, trainer.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "fusec/models/chat_render.h"
#include "fusec/models/model_file.h"
#include "fusec/models/tokenizer.h"
#include "options.h"

namespace fusec::examples {

struct SftSetup {
  models::ModelInfo info;  // of the model that is trained; its tokenizer and template included
  std::optional<models::ChatRenderer> renderer;
  std::optional<models::ModelFile> init, vision;
  std::optional<models::WordTokenizer> words;  // of `init`, if it was pretrained on captions
};

// Reads all but weights. User Errors: what cannot be read, a tokenizer that the model was not made
// for, a template whose special tokens it lacks.
SftSetup set_up(SftOptions& options);

// Training batches, without end, and one validation epoch after the other.
std::unique_ptr<data::BatchPipeline> train_data(const SftOptions& options, const SftSetup& setup);
std::unique_ptr<data::BatchPipeline> validation_data(const SftOptions& options,
                                                     const SftSetup& setup);

// Documents of the training set that are one pass: its lines that are not blank.
int64_t count_documents(const std::vector<std::string>& files);

// Compiles, and fills the weights that `init` and `vision` have; prints with what.
std::unique_ptr<models::PackedTrainer> make_trainer(const SftOptions& options,
                                                    const SftSetup& setup,
                                                    const data::BatchShape& batches);

}  // namespace fusec::examples
