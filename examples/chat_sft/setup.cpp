// Files and flags to a run; see setup.h.
#include "setup.h"

#include <fmt/format.h>
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "fusec/models/chat_model.h"
#include "fusec/models/chat_samples.h"
#include "fusec/models/checkpoint_store.h"
#include "fusec/models/init.h"
#include "fusec/models/vocabulary_transfer.h"

namespace fusec::examples {
namespace {

namespace fs = std::filesystem;

// A run's folder is its weights for chat, else its newest checkpoint.
std::string model_path(const std::string& path) {
  if (!fs::is_directory(path) || fs::exists(path + "/config.json")) return path;
  const std::string weights = path + "/model.safetensors";
  return fs::exists(weights) ? weights : models::find_checkpoint(path);
}

// tokenizer.json of the run that a checkpoint is of: beside it, or above its folder.
std::string tokenizer_near(const std::string& path) {
  for (fs::path at = fs::path(path); at.has_parent_path() && at != at.parent_path();) {
    at = at.parent_path();
    if (fs::exists(at / "tokenizer.json")) return (at / "tokenizer.json").string();
    if (at.filename() != "checkpoints") break;
  }
  return "";
}

models::BpeTokenizer chat_tokenizer(const SftOptions& o, const SftSetup& setup) {
  if (!o.tokenizer.empty()) return models::BpeTokenizer::load(o.tokenizer);
  if (setup.init && setup.init->info().tokenizer) return *setup.init->info().tokenizer;
  const fs::path beside = fs::path(o.train.front()).lexically_normal();
  for (const fs::path& folder : {beside, beside.parent_path(), beside.parent_path().parent_path()})
    if (fs::exists(folder / "tokenizer.json"))
      return models::BpeTokenizer::load((folder / "tokenizer.json").string());
  fail_user("no tokenizer: --init has none, and there is no tokenizer.json by " + o.train.front() +
            "; name one with --tokenizer (chat_data writes one)");
}

models::ChatTemplate form_of(const SftOptions& o, const SftSetup& setup) {
  const std::string stored = setup.init ? setup.init->info().chat_template : "";
  if (stored.empty() && o.chat_template.empty()) return models::ChatTemplate::named("plain");
  return models::chat_template_of(stored, o.chat_template, o.init);
}

// The words that a model pretrained on captions knows, if that is what `init` is.
std::optional<models::WordTokenizer> words_of(const models::ModelFile& init,
                                              const models::BpeTokenizer& tokenizer) {
  const models::ModelInfo& info = init.info();
  if (info.tokenizer_hash.empty() || info.tokenizer_hash == tokenizer.hash_text()) return {};
  const std::string path = info.tokenizer ? "" : tokenizer_near(init.path());
  if (!path.empty()) {
    try {
      models::WordTokenizer words = models::WordTokenizer::load(path);
      if (words.hash_text() == info.tokenizer_hash) return words;
    } catch (const Error&) {  // another tokenizer's file
    }
  }
  fail_user(init.path() + ": made with tokenizer " + info.tokenizer_hash +
            ", the chats are read by " + tokenizer.hash_text() +
            ": its token ids mean other words. Give --tokenizer the one that "
            "it was made with, or keep tokenizer.json of the run that pretrained it beside it");
}

void fit_config(const SftOptions& o, SftSetup& setup) {
  models::VisionGptConfig& c = setup.info.config;
  c = setup.init ? setup.init->info().config : models::VisionGptConfig::preset(o.preset);
  if (setup.init && setup.init->info().part == models::ModelPart::vision)
    fail_user(o.init + ": an encoder of pictures alone; give it to --vision");
  if (setup.vision) {
    if (setup.vision->info().part != models::ModelPart::vision)
      fail_user(o.vision + ": no encoder of pictures alone, expected a CLIP or SigLIP tower");
    c.vision = setup.vision->info().config.vision;
    if (c.text_only()) c.resampler = {.queries = 64, .layers = 2, .heads = c.vision.heads};
    c.projector_hidden = std::max(c.projector_hidden, c.width);
  }
  const int64_t ids = setup.info.tokenizer->vocab_size();
  const bool own = !setup.init || setup.words;
  if (own)
    c.vocab = (ids + 7) / 8 * 8;  // rows of whole 16 bytes
  else if (ids > c.vocab)
    fail_user("the tokenizer has " + std::to_string(ids) + " tokens, the model's vocabulary only " +
              std::to_string(c.vocab));
  const int64_t length = o.pipeline.packer.capacity;
  if (!own && length > c.sequence)
    fail_user(fmt::format("--pack-max-length {}: {} was made for {} tokens at most", length, o.init,
                          c.sequence));
  c.sequence = std::max<int64_t>(own ? 0 : c.sequence, length);
}

std::vector<std::string> modules_left(const SftSetup& setup) {
  if (setup.words) return {"embedding", "head"};
  return {};
}

data::PipelineOptions data_options(const SftOptions& o, const SftSetup& setup, data::EpochEnd end) {
  const models::VisionGptConfig& c = setup.info.config;
  data::PipelineOptions p = o.pipeline;
  p.epoch_end = end;
  if (c.text_only()) {
    p.packer.max_spans = 0;
  } else {
    p.images.side = static_cast<int>(c.vision.image);
    p.images.tokens = c.resampler.queries;
  }
  return p;
}

void carry_words(models::PackedTrainer& trainer, const SftSetup& setup) {
  const models::VisionGptConfig& c = setup.info.config;
  for (size_t i = 0; i < setup.init->tensors().size(); ++i) {
    const std::string& name = setup.init->tensors()[i].name;
    if (name != "embedding.weight" && name != "head.weight") continue;
    std::vector<float> rows = trainer.training().get<float>(name);
    const models::CarriedRows carried = models::carry_rows(setup.init->read_floats(i), *setup.words,
                                                           rows, *setup.info.tokenizer, c.width);
    trainer.training().set(name, rows);
    if (name == "embedding.weight")
      fmt::print("  of {} tokens {} are words of it, {} are several, {} begin at random\n",
                 setup.info.tokenizer->vocab_size(), carried.whole, carried.joined, carried.kept);
  }
}

}  // namespace

SftSetup set_up(SftOptions& o) {
  SftSetup setup;
  if (!o.init.empty()) setup.init.emplace(model_path(o.init));
  if (!o.vision.empty()) setup.vision.emplace(o.vision);
  models::ModelInfo& info = setup.info;
  if (setup.init) info.ids = setup.init->info().ids;
  info.tokenizer = chat_tokenizer(o, setup);
  info.tokenizer_hash = info.tokenizer->hash_text();
  if (setup.init) setup.words = words_of(*setup.init, *info.tokenizer);
  fit_config(o, setup);
  const models::VisionGptConfig& c = info.config;
  info.family = c.text_only() && setup.init ? setup.init->info().family : "fusec";
  info.part = c.text_only() ? models::ModelPart::decoder : models::ModelPart::whole;
  const models::ChatTemplate form = form_of(o, setup);
  info.chat_template = form.name();
  models::ChatRenderOptions render = models::render_options_of(c, *info.tokenizer);
  render.supervise = o.supervise;
  setup.renderer.emplace(form, *info.tokenizer, render);
  if (info.ids.eos.empty()) info.ids.eos = setup.renderer->stop_tokens();
  models::check_selection(c, o.select, o.lora);
  o.fixed["model"] = models::config_text(c);
  return setup;
}

std::unique_ptr<data::BatchPipeline> train_data(const SftOptions& o, const SftSetup& setup) {
  data::PipelineResources resources = o.resources;
  resources.allocate = [device = o.compile.device](size_t bytes) {
    return host_memory(bytes, device);
  };
  data::JsonlOptions stream;
  stream.shuffle = true;
  stream.seed = o.seed;
  stream.bad_lines = o.drop_bad ? data::BadLine::drop : data::BadLine::error;
  return std::make_unique<data::BatchPipeline>(
      o.train, stream, data_options(o, setup, data::EpochEnd::carry),
      models::chat_samples(*setup.renderer, o.drop_bad), resources);
}

std::unique_ptr<data::BatchPipeline> validation_data(const SftOptions& o, const SftSetup& setup) {
  data::JsonlOptions stream;
  stream.bad_lines = o.drop_bad ? data::BadLine::drop : data::BadLine::error;
  return std::make_unique<data::BatchPipeline>(
      o.validation, stream, data_options(o, setup, data::EpochEnd::flush),
      models::chat_samples(*setup.renderer, o.drop_bad), o.resources);
}

int64_t count_documents(const std::vector<std::string>& files) {
  int64_t count = 0;
  std::string line;
  for (const std::string& path : files) {
    std::ifstream file(path);
    while (std::getline(file, line)) count += line.find_first_not_of(" \t\r") != std::string::npos;
  }
  return count;
}

std::unique_ptr<models::PackedTrainer> make_trainer(const SftOptions& o, const SftSetup& setup,
                                                    const data::BatchShape& batches) {
  models::PackedTrainerOptions t;
  t.model = {setup.info.config, models::pack_shape(batches), o.lora};
  // Positions of a pack alone need rotations, not those of all that the model was made for.
  t.model.config.sequence = o.pipeline.packer.capacity;
  t.train = o.select;
  t.accumulate = o.accumulate;
  t.optimizer = o.optimizer;
  t.seed = o.seed;
  t.compile = o.compile;
  auto trainer = std::make_unique<models::PackedTrainer>(t);
  for (const std::optional<models::ModelFile>* file : {&setup.init, &setup.vision}) {
    if (!*file) continue;
    fmt::print("first weights: {}\n", (*file)->path());
    const bool first = file == &setup.init;
    std::vector<std::string> leave;
    if (first) leave = modules_left(setup);
    if (first && setup.vision) leave.emplace_back("vision");
    for (const auto& [types, count] : models::load_model(trainer->plans(), **file, leave))
      fmt::print("  {} tensors converted, {}\n", count, types);
    if (first && setup.words) carry_words(*trainer, setup);
  }
  return trainer;
}

}  // namespace fusec::examples
