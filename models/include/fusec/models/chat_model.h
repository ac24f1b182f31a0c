// A stored model made ready to chat: what it is, its weights in a Generator, its tokenizer, and the
// template of its conversations.
//
//   ChatModel model("SmolLM2-135M-Instruct", {});
//   Conversation chat(model.generator(), model.renderer(), {.write = {.stops = model.ends()}});
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fusec/models/chat_render.h"
#include "fusec/models/generator.h"
#include "fusec/models/model_file.h"

namespace fusec::models {

// The token that stands for a row of an image in this project's own models.
inline constexpr const char* kImageToken = "<|image|>";
// Tokens of a context, where nobody says how many; models are made for up to a million.
inline constexpr int64_t kDefaultContext = 4096;

struct ChatModelOptions {
  std::string form;       // ChatTemplate::names(); "": the model's own
  bool chats = true;      // false: no template is needed, and there is no renderer
  std::string tokenizer;  // a tokenizer.json, for a model that is stored without one
  int64_t context = 0;    // tokens, up to the model's; 0: that, kDefaultContext at most
  // How matrices are held: f32, bf16 or f16. Not given: as the file holds its embedding, and f16 if
  // that is quantised: its numbers are small integers times an f16, so that rounding them to f16 is
  // far below what quantising cost.
  std::optional<DType> weights;
  DType cache = f32;  // keys and values
  CompileOptions compile;
};

// The template that a stored text asks for: a name of ChatTemplate::names(), as this project's
// files may have it, or a model's own Jinja text. `form`, if not "", goes before it. User Error,
// begun by `place`, if there is neither, and those of ChatTemplate.
ChatTemplate chat_template_of(const std::string& stored, const std::string& form,
                              const std::string& place);

// An image as a model of this project reads it; no image, if it reads none or its tokenizer has no
// kImageToken.
ChatRenderOptions render_options_of(const VisionGptConfig& config, const BpeTokenizer& tokenizer);

class ChatModel {
 public:
  // Reads, compiles, loads. User Errors: those of ModelFile, ChatTemplate, ChatRenderer and
  // Generator; a vision tower alone; no tokenizer, or one that the weights were not made with.
  ChatModel(const std::string& path, const ChatModelOptions& options);

  const ModelInfo& info() const { return info_; }
  const std::string& container() const { return container_; }
  int64_t parameters() const { return parameters_; }
  const Conversions& conversions() const { return conversions_; }
  const BpeTokenizer& tokenizer() const { return *info_.tokenizer; }
  // Tokens that end an answer by the file's own word, beside those of the template.
  const std::vector<int32_t>& ends() const { return info_.ids.eos; }
  // Internal Error if options.chats was false.
  const ChatRenderer& renderer() const;
  Generator& generator() { return *generator_; }
  const Generator& generator() const { return *generator_; }

 private:
  std::string container_;
  ModelInfo info_;
  int64_t parameters_ = 0;
  std::optional<ChatRenderer> renderer_;
  std::unique_ptr<Generator> generator_;
  Conversions conversions_;
};

}  // namespace fusec::models
