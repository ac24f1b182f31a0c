// Text from a model, token by token: prompts with images go in by chunks, each later token in one
// run over the cache of keys and values. Several sequences go on side by side. What is said here in
// logits, a Sampler (sampler.h) turns into tokens.
//
//   Generator generator({.model = config});
//   generator.load_weights("model.safetensors");
//   std::vector<float> logits = generator.start({.tokens = ids});
//   for (...) logits = generator.step(sampler.next(logits));
//
// Parameters are the generator's own, held as f32, bf16 or f16, or those of another plan that
// trains them (compile.share), seen as they are at each run. Such a plan takes one generator.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fusec/models/cached_decoder.h"
#include "fusec/models/checkpoint.h"
#include "fusec/models/model_file.h"

namespace fusec::models {

struct GeneratorOptions {
  VisionGptConfig model;
  int64_t sequences = 1;
  int64_t context = 0;  // tokens of a sequence at most, up to the config's sequence; 0: that
  int64_t chunk = 64;   // tokens of a prompt a run
  int64_t page_size = 64;
  DType weights = f32;  // how matrices are held; f32 if they are shared
  DType cache = f32;    // keys and values
  LoraConfig lora;      // if shared parameters have it
  CompileOptions compile;
};

struct Prompt {
  std::vector<int32_t> tokens;
  std::vector<int32_t> slots;     // places in `tokens` of image rows, ascending
  std::vector<float> image_rows;  // [slots, width], as encode() gives them
};

class Generator {
 public:
  // Compiles. Options that do not fit are a user Error.
  explicit Generator(GeneratorOptions options);

  // Names and types of the parameters.
  std::vector<std::pair<std::string, TensorType>> parameters();
  // Fills one from f32 values, rounded to its type. An unknown name and a wrong number of values
  // are a user Error.
  void set_parameter(const std::string& name, const std::vector<float>& values);
  // Fills all from a file of weights or a checkpoint, as load_parameters() does.
  Import load_weights(const std::string& path);
  // The same from a model of any container, one tensor at a time in memory.
  Conversions load_weights(const ModelFile& file);
  // Fills all from a plan that has them as f32 (and, with the LoRA given, more): merged_weight() of
  // each. A parameter that none of the plans has is a user Error.
  void copy_weights(const std::vector<const LoadedPlan*>& from, const LoraConfig& lora = {});

  // Pictures f32 [n, 3, S, S] -> image rows [n * queries, width]. User Error if the model is of
  // text alone.
  std::vector<float> encode(const std::vector<float>& images);

  // Empties the sequence and appends.
  std::vector<float> start(const Prompt& prompt, int64_t sequence = 0);
  // Logits [vocab] for the token behind the prompt, which goes behind what the sequence holds. A
  // prompt that is empty or does not fit is a user Error that changes nothing.
  std::vector<float> append(const Prompt& prompt, int64_t sequence = 0);
  // Logits [vocab] for the token behind this one. Of a generator of one sequence.
  std::vector<float> step(int32_t token);
  // Logits [sequences, vocab]; a sequence whose token is -1 rests, and its logits mean nothing.
  std::vector<float> step(const std::vector<int32_t>& tokens);

  // Forgets all but the first `length` tokens; they need not be computed again.
  void truncate(int64_t length, int64_t sequence = 0);
  void reset() { lengths_.assign(lengths_.size(), 0); }

  int64_t length(int64_t sequence = 0) const;
  int64_t context() const { return context_; }
  const GeneratorOptions& options() const { return options_; }
  // The run of one token, for its plan and backends.
  const Executable& stepping() const { return step_; }

 private:
  Executable& encoder();
  void run_chunk(const Prompt& prompt, size_t begin, size_t end, int64_t sequence);
  void check_sequence(int64_t sequence) const;
  void check_room(int64_t behind, int64_t more) const;
  void check_prompt(const Prompt& prompt, int64_t behind) const;
  std::vector<Executable*> owners();

  GeneratorOptions options_;
  int64_t context_ = 0;
  CachedModel model_;
  Executable step_, chunk_;
  std::optional<Executable> encoder_;
  std::vector<int64_t> lengths_;
  bool images_set_ = false;
};

}  // namespace fusec::models
