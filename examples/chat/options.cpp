// Flags to ChatOptions; see options.h.
#include "options.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>

#include "command_line.h"
#include "fusec/base/nearest.h"

namespace fusec::examples {
namespace {

// A name that no `known` is, or nothing if it may stay empty.
void check_name(const char* flag, const std::string& value, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), value) != known.end()) return;
  fail_user(fmt::format("{}: unknown value \"{}\"{}", flag, value, suggest(value, known)));
}

DType float_type(const char* flag, const std::string& name) {
  check_name(flag, name, {"f32", "bf16", "f16"});
  return name == "f32" ? f32 : name == "bf16" ? bf16 : f16;
}

void check_device(const std::string& name) {
  const bool numbered = name.starts_with("cuda:") && name.size() > 5 &&
                        name.find_first_not_of("0123456789", 5) == std::string::npos;
  if (!numbered) check_name("--device", name, {"auto", "cpu", "cuda", "cuda:0"});
}

void add_model_flags(CLI::App& app, ChatOptions& o) {
  app.option_defaults()->group("Model");
  app.add_option("--template", o.open.form,
                 fmt::format("How the model was trained to chat, if its file does not say: {}",
                             fmt::join(models::ChatTemplate::names(), ", ")));
  app.add_option("--tokenizer", o.open.tokenizer,
                 "A tokenizer.json, for a file that holds none, such as a checkpoint");
  app.add_option("--context", o.open.context,
                 fmt::format("Tokens that the model looks back on; 0: as many as it was made for, "
                             "{} at most",
                             models::kDefaultContext))
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30));
  app.add_option("--device", o.open.compile.device, "Where to run: auto, cpu, cuda or cuda:N");
  app.add_option("--threads", o.open.compile.threads, "Worker threads; 0: all cores")
      ->check(CLI::Range(0, 4096));
}

void add_chat_flags(CLI::App& app, ChatOptions& o) {
  models::SamplerOptions& s = o.chat.write.sampler;
  s.temperature = 0.7;
  o.chat.write.max_tokens = 1024;
  app.option_defaults()->group("Chat");
  app.add_option("--system", o.chat.system,
                 "What the model is told before the conversation, in place of its template's own");
  app.add_option("--image", o.images, "A picture (PNG or JPEG) for the first question; repeatable")
      ->allow_extra_args(false);
  app.add_option("--temperature", s.temperature, "0: always the most likely token")
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--top-k", s.top_k, "Only the k most likely tokens; 0: all")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30));
  app.add_option("--top-p", s.top_p, "Only the fewest tokens that have this probability together")
      ->check(CLI::Range(1e-6, 1.0));
  app.add_option("--seed", s.seed, "Equal seeds give equal answers");
  app.add_option("--max-tokens", o.chat.write.max_tokens,
                 "Of an answer; 0: as many as the context holds")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30));
  app.add_option("--prompt", o.prompt,
                 "Give one answer to this text and end; so is a text that is piped in");
  app.add_flag("--raw", o.raw, "Continue the text as it is, without a template");
  app.add_flag("--stats", o.stats, "Speed and use of the cache after each answer");
}

}  // namespace

std::optional<ChatOptions> parse_command_line(int argc, char** argv) {
  ChatOptions o;
  o.open.compile.device = "auto";
  std::string weights, cache = "f32", fit = "pad";
  CLI::App app(
      "Chats with a model: a folder of Hugging Face transformers, a GGUF file, or a .safetensors "
      "file of this project. /help lists what else one can say.");
  app.option_defaults()->always_capture_default();
  app.allow_extras();
  app.add_option("MODEL", o.model, "Folder, .gguf or .safetensors file");
  add_model_flags(app, o);
  app.add_option("--weights", weights,
                 "How matrices are held: f32, bf16, f16; as the file has them if not given");
  app.add_option("--cache", cache, "How keys and values are held: f32, bf16, f16");
  add_chat_flags(app, o);
  app.add_option("--image-fit", fit,
                 "How a picture becomes a square: pad (on white), crop (its middle), stretch");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    app.exit(help);
    return {};
  } catch (const CLI::ParseError& error) {
    fail_user(error.what());
  }
  refuse_unknown(app);
  if (o.model.empty())
    fail_user("no model; expected a folder with config.json, a .gguf or a .safetensors file");
  if (!weights.empty()) o.open.weights = float_type("--weights", weights);
  o.open.cache = float_type("--cache", cache);
  check_device(o.open.compile.device);
  if (!o.open.form.empty()) models::ChatTemplate::named(o.open.form);
  o.chat.fit = io::parse_image_fit(fit);
  o.open.chats = !o.raw;
  if (o.raw && !(o.open.form + o.chat.system).empty())
    fail_user("--raw continues a text as it is; expected no --template and no --system");
  if (o.raw && !o.images.empty()) fail_user("--raw continues a text as it is; expected no --image");
  return o;
}

}  // namespace fusec::examples
