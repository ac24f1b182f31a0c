// Batches to updates, losses and captions; see trainer.h.
#include "fusec/models/trainer.h"

#include <algorithm>

#include "fusec/io/json.h"
#include "fusec/io/safetensors.h"
#include "fusec/models/init.h"

namespace fusec::models {
namespace {

double scalar(const Executable& exe, const char* name) { return exe.get<float>(name).at(0); }

void set_batch(Executable& exe, const CaptionBatch& batch, const VisionGptConfig& model) {
  if (!model.text_only()) {
    exe.set("images", batch.images);
    exe.set("slots", batch.slots);
  }
  exe.set("tokens", batch.tokens);
  exe.set("targets", batch.targets);
}

}  // namespace

CaptionTrainer::CaptionTrainer(TrainerOptions options, WordTokenizer tokenizer)
    : options_(std::move(options)), tokenizer_(std::move(tokenizer)) {
  const VisionGptConfig& model = options_.model;
  if (tokenizer_.vocab_size() > model.vocab) {
    fail_user("the tokenizer has " + std::to_string(tokenizer_.vocab_size()) +
              " tokens, the model's vocabulary only " + std::to_string(model.vocab));
  }
  RecordedGraph step =
      record_training_step(model, options_.rows, options_.train, options_.optimizer);
  modules_ = count_parameters(*step.graph);
  for (const Tensor& p : trainable(*step.graph, model, options_.train)) {
    trained_parameters_ += numel(p.shape());
  }
  options_.compile.share = nullptr;
  training_ = compile(*step.graph, step.outputs, options_.compile);
  init_parameters(training_, model, options_.seed);
}

void CaptionTrainer::save(const std::string& path, TrainState state,
                          const std::map<std::string, std::string>& run) const {
  state.step = steps_;
  state.rng_key = options_.seed;
  state.rng_counter = static_cast<uint64_t>(steps_);
  save_checkpoint(training_, path, {options_.model, tokenizer_.hash_text(), state, run});
}

TrainState CaptionTrainer::resume(const std::string& path,
                                  const std::map<std::string, std::string>& run) {
  CheckpointInfo info = read_checkpoint_info(path);
  refuse_changed_run(path, info.run, run);
  if (info.tokenizer != tokenizer_.hash_text()) {
    fail_user(path + ": made with tokenizer " + io::excerpt(info.tokenizer) + ", this run has " +
              tokenizer_.hash_text() +
              ": its token ids mean other words. Train on the captions that it was trained on");
  }
  const std::string recorded = config_text(info.model), now = config_text(options_.model);
  if (recorded != now) {
    fail_user(path + ": made for another model\n  checkpoint: " + recorded +
              "\n  this run:   " + now + "\nGive the flags of the run that wrote it.");
  }
  if (info.state.rng_key != options_.seed) {
    fail_user(path + ": made with seed " + std::to_string(info.state.rng_key) +
              ", this run has seed " + std::to_string(options_.seed) + "; give the same one");
  }
  load_checkpoint(training_, path);
  steps_ = info.state.step;
  return info.state;
}

Import CaptionTrainer::import_weights(const std::string& path) {
  const io::SafetensorsReader file(path);
  auto recorded = file.header().metadata.find("tokenizer");
  if (recorded != file.header().metadata.end() && recorded->second != tokenizer_.hash_text()) {
    fail_user(path + ": made with tokenizer " + io::excerpt(recorded->second) + ", this run has " +
              tokenizer_.hash_text() +
              ": its token ids mean other words. Use weights trained on the same captions");
  }
  return load_parameters(training_, path);
}

Executable& CaptionTrainer::compiled(std::optional<Executable>& slot,
                                     RecordedGraph (*record)(const VisionGptConfig&, int64_t)) {
  if (!slot) {
    RecordedGraph recorded = record(options_.model, options_.rows);
    CompileOptions compile_options = options_.compile;
    compile_options.share = &training_;
    compile_options.dump_dir.clear();  // the folder holds the training step
    slot = compile(*recorded.graph, recorded.outputs, compile_options);
  }
  return *slot;
}

StepResult CaptionTrainer::step(const CaptionedItems& items, double lr) {
  CaptionBatch batch = pack_captions(items, options_.rows, tokenizer_, options_.model);
  set_batch(training_, batch, options_.model);
  set_adamw_inputs(training_, options_.optimizer, lr, ++steps_);
  bool finite = training_.run().finite;
  StepResult result{scalar(training_, "loss"),
                    scalar(training_, "grad_norm"),
                    batch.supervised,
                    batch.filled,
                    !finite,
                    {}};
  if (!finite) {
    --steps_, ++skipped_;
    std::optional<NonFinite> culprit = training_.diagnose();
    result.culprit = culprit ? culprit->str() : "every tensor is finite on its own";
  }
  return result;
}

double CaptionTrainer::evaluate(const CaptionedItems& items) {
  Executable& exe = compiled(evaluation_, record_evaluation);
  double sum = 0, count = 0;
  for (size_t begin = 0; begin < items.size(); begin += options_.rows) {
    size_t end = std::min(items.size(), begin + options_.rows);
    CaptionBatch batch = pack_captions({items.begin() + begin, items.begin() + end}, options_.rows,
                                       tokenizer_, options_.model);
    set_batch(exe, batch, options_.model);
    exe.run();
    sum += scalar(exe, "loss_sum");
    count += scalar(exe, "count");
  }
  return count > 0 ? sum / count : 0;
}

std::vector<std::string> CaptionTrainer::caption(const std::vector<const io::Image*>& images) {
  std::vector<std::string> captions;
  for (size_t begin = 0; begin < images.size(); begin += options_.rows) {
    size_t end = std::min(images.size(), begin + options_.rows);
    caption_batch({images.begin() + begin, images.begin() + end}, captions);
  }
  return captions;
}

void CaptionTrainer::caption_batch(const std::vector<const io::Image*>& images,
                                   std::vector<std::string>& captions) {
  const VisionGptConfig& model = options_.model;
  Executable& decoder = compiled(decoder_, record_decoder);
  CaptionBatch batch = pack_prompts(images, options_.rows, tokenizer_, model);
  if (!model.text_only()) {
    Executable& encoder = compiled(encoder_, record_encoder);
    encoder.set("images", batch.images);
    encoder.run();
    decoder.set("image_rows", encoder.get<float>("image_rows"));
    decoder.set("slots", batch.slots);
  }

  std::vector<std::vector<int32_t>> words(images.size());
  std::vector<bool> ended(images.size(), false);
  std::vector<int32_t> last(options_.rows);
  // The newest token of every row stands at the same place: prompts are equally long.
  for (int64_t at = model.resampler.queries; at + 1 < model.sequence; ++at) {
    for (int64_t b = 0; b < options_.rows; ++b) {
      last[b] = static_cast<int32_t>(b * model.sequence + at);
    }
    decoder.set("tokens", batch.tokens);
    decoder.set("last", last);
    decoder.run();
    std::vector<float> logits = decoder.get<float>("logits");
    for (size_t b = 0; b < images.size(); ++b) {
      if (ended[b]) continue;
      int32_t token = best_token(logits.data() + b * model.vocab);
      batch.tokens[b * model.sequence + at + 1] = token;
      ended[b] = token == tokenizer_.eos();
      if (!ended[b]) words[b].push_back(token);
    }
    if (std::find(ended.begin(), ended.end(), false) == ended.end()) break;
  }
  for (const auto& ids : words) captions.push_back(tokenizer_.decode(ids));
}

int32_t CaptionTrainer::best_token(const float* logits) const {
  int32_t best = tokenizer_.eos();
  for (int32_t i = 0; i < tokenizer_.vocab_size(); ++i) {
    bool sayable = i != tokenizer_.pad() && i != tokenizer_.bos() && i != tokenizer_.image();
    if (sayable && logits[i] > logits[best]) best = i;
  }
  return best;
}

}  // namespace fusec::models
