#include "transfer.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/models/model_check.h"
#include "fusec/models/model_file.h"

namespace fusec::tool {
namespace {

using models::ModelFile;
using models::ModelInfo;
using models::ModelPart;

std::string sizes(const ModelInfo& info) {
  const models::VisionGptConfig& c = info.config;
  if (info.part == ModelPart::vision) {
    const models::VitConfig& v = c.vision;
    return fmt::format("{} layers, width {}, {} heads, MLP {}, {} px in patches of {}: {} tokens",
                       v.layers, v.width, v.heads, v.hidden(), v.image, v.patch, v.tokens());
  }
  return fmt::format("{} layers, width {}, {} heads of {} ({} of keys), MLP {}, {} tokens of text",
                     c.layers, c.width, c.heads, c.head_dim, c.kv_heads, c.intermediate,
                     c.sequence);
}

std::string arithmetic(const ModelInfo& info) {
  const models::VisionGptConfig& c = info.config;
  if (info.part == ModelPart::vision) {
    const auto& mean = c.vision.pixel_mean;
    const auto& std = c.vision.pixel_std;
    return fmt::format("eps {:g}, pixel mean {:g} {:g} {:g}, std {:g} {:g} {:g}", c.vision.norm_eps,
                       mean[0], mean[1], mean[2], std[0], std[1], std[2]);
  }
  std::string text = fmt::format("eps {:g}, rope theta {:g}", c.norm_eps, c.rope_theta);
  const models::RopeScaling& s = c.rope_scaling;
  if (s.kind == models::RopeScaling::Kind::linear) text += fmt::format(" / {:g}", s.factor);
  if (s.kind == models::RopeScaling::Kind::llama3) text += fmt::format(" (llama3 {:g})", s.factor);
  if (c.attention_bias) text += ", q k v biases";
  if (c.qk_norm != models::QkNorm::none) text += ", q k norms";
  return text + (c.tied_head ? ", tied head" : ", own head");
}

void print_vocabulary(const ModelInfo& info) {
  fmt::print("vocabulary   {} rows", info.config.vocab);
  if (info.tokenizer) {
    const int64_t tokens = info.tokenizer->vocab_size();
    fmt::print(", {} tokens", tokens);
    if (info.config.vocab > tokens) fmt::print(", {} of padding", info.config.vocab - tokens);
  }
  fmt::print("\ntokenizer    {}\n", info.tokenizer_hash.empty() ? "none" : info.tokenizer_hash);
  std::string ids = info.ids.bos ? fmt::format("bos {}", *info.ids.bos) : "no bos";
  for (const int32_t id : info.ids.eos) ids += fmt::format(", eos {}", id);
  fmt::print("special ids  {}\n", ids);
  fmt::print("chat         {}\n",
             info.chat_template.empty()
                 ? "no template"
                 : fmt::format("a template of {} bytes", info.chat_template.size()));
}

void print_model(const ModelFile& file) {
  const ModelInfo& info = file.info();
  fmt::print("model        {} ({}, {})\n", file.path(), info.family, file.container());
  fmt::print("sizes        {}\n             {}\n", sizes(info), arithmetic(info));
  std::map<std::string, int64_t> stored;
  for (const models::ModelTensor& t : file.tensors()) ++stored[t.stored];
  std::string types;
  for (const auto& [type, count] : stored) types += fmt::format(", {} {}", count, type);
  fmt::print("parameters   {:.2f} M in {} tensors{}\n",
             static_cast<double>(file.parameters()) / 1e6, file.tensors().size(), types);
  if (!file.unused().empty())
    fmt::print("not used     {} tensors: {}{}\n", file.unused().size(), file.unused().front(),
               file.unused().size() > 1 ? " ..." : "");
  if (info.part != ModelPart::vision) print_vocabulary(info);
}

void print_conversions(const models::Conversions& conversions) {
  for (const auto& [types, count] : conversions)
    fmt::print("converted    {} tensors {}\n", count, types);
}

std::optional<DType> weight_type(const std::string& name) {
  if (name.empty()) return {};
  const std::optional<DType> type = parse_dtype(name);
  const std::vector<std::string> known = {"f32", "bf16", "f16"};
  if (std::find(known.begin(), known.end(), name) == known.end())
    fail_user("--dtype is \"" + name + "\"" + suggest(name, known));
  return type;
}

int check(const ModelFile& file, const std::string& reference, const std::string& device) {
  CompileOptions options;
  options.device = device;
  const models::CheckResult r = models::check_model_file(file, reference, options);
  fmt::print("compared     {} rows of {} numbers with {}\n", r.rows, r.width, reference);
  fmt::print("difference   {:.3g} at most; relative {:.3g} (tolerance of f32 arithmetic {:.3g})\n",
             r.max_difference, r.relative_error, r.tolerance);
  if (file.info().part != ModelPart::vision)
    fmt::print(
        "predictions  top-1 agrees in {:.2f}% of rows; KL {:.3g} nats on average, {:.3g} at "
        "most\n",
        100 * r.top1_agreement, r.mean_kl, r.max_kl);
  fmt::print("{}\n", r.passed() ? "passed" : "FAILED: the model computes something else");
  return r.passed() ? 0 : 1;
}

// Parses `words`; the status of a program that then ends, or -1 to go on.
int parse(CLI::App& app, std::vector<std::string> words) {
  std::reverse(words.begin(), words.end());  // as CLI11 takes them
  try {
    app.parse(words);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  return -1;
}

}  // namespace

int import_command(const std::vector<std::string>& words) {
  std::string model, out, reference, type, device = "auto";
  CLI::App app{
      "Reads a model of another program: a folder with config.json, a .gguf file, or "
      "weights that fusec wrote"};
  app.name("fusec import");
  app.add_option("model", model, "the folder or file")->required();
  app.add_option("-o", out, "write weights, config and tokenizer into this file")
      ->type_name("FILE");
  app.add_option("--dtype", type,
                 "of the weights written: f32, bf16 or f16 (default: as they are)");
  app.add_option("--check", reference, "compare the model with the outputs in this file")
      ->type_name("REFERENCE");
  app.add_option("--device", device, "check: cpu, cuda, cuda:N or auto (default)");
  if (const int status = parse(app, words); status >= 0) return status;
  const std::optional<DType> to = weight_type(type);
  if (to && out.empty()) fail_user("--dtype is of the file that -o names; expected -o FILE");
  const auto start = std::chrono::steady_clock::now();
  const ModelFile file(model);
  print_model(file);
  if (!out.empty()) {
    print_conversions(models::save_model(file, out, to));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    fmt::print("wrote        {} in {:.1f} s\n", out, seconds.count());
  }
  return reference.empty() ? 0 : check(file, reference, device);
}

int export_command(const std::vector<std::string>& words) {
  std::string weights, folder, tokenizer;
  CLI::App app{"Writes weights or a checkpoint as a folder of Hugging Face transformers"};
  app.name("fusec export");
  app.add_option("weights", weights, "weights, a checkpoint, or any model that import reads")
      ->required();
  app.add_option("-o", folder, "the folder to write")->type_name("FOLDER")->required();
  app.add_option("--tokenizer", tokenizer, "tokenizer.json, for weights that hold none")
      ->type_name("FILE");
  if (const int status = parse(app, words); status >= 0) return status;
  const ModelFile file(weights);
  print_model(file);
  std::optional<models::BpeTokenizer> given;
  if (!tokenizer.empty()) given = models::BpeTokenizer::load(tokenizer);
  models::export_model(file, folder, given);
  fmt::print("wrote        {}\n", folder);
  return 0;
}

}  // namespace fusec::tool
