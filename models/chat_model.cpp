// A path to a model that is ready to chat; see chat_model.h.
#include "fusec/models/chat_model.h"

#include <algorithm>

#include "import/description.h"

namespace fusec::models {
namespace {

DType type_of_weights(const ModelFile& file, const ChatModelOptions& options) {
  if (options.weights) return *options.weights;
  for (const ModelTensor& t : file.tensors())
    if (t.name == "embedding.weight") return t.stored.starts_with("q") ? f16 : t.type.dtype;
  return f32;
}

void add_tokenizer(ModelInfo& info, const ChatModelOptions& options, const std::string& path) {
  if (options.tokenizer.empty()) {
    if (info.tokenizer) return;
    fail_user(path + ": holds no tokenizer of byte pairs; name the tokenizer.json of the model " +
              "with --tokenizer");
  }
  info.tokenizer = BpeTokenizer::load(options.tokenizer);
  const std::string hash = info.tokenizer->hash_text();
  if (!info.tokenizer_hash.empty() && info.tokenizer_hash != hash)
    fail_user(options.tokenizer + ": has hash " + hash + ", but the weights of " + path +
              " were made with tokenizer " + info.tokenizer_hash + "; expected that one");
  check_vocabulary(info, options.tokenizer);
}

}  // namespace

ChatTemplate chat_template_of(const std::string& stored, const std::string& form,
                              const std::string& place) {
  if (!form.empty()) return ChatTemplate::named(form);
  const std::vector<std::string> names = ChatTemplate::names();
  if (std::find(names.begin(), names.end(), stored) != names.end())
    return ChatTemplate::named(stored);
  if (!stored.empty()) return ChatTemplate::recognise(stored, place);
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  fail_user(place +
            ": holds no chat template; if the model was trained to chat, name its template "
            "with --template (" +
            list + "); --raw continues a text without one");
}

ChatRenderOptions render_options_of(const VisionGptConfig& config, const BpeTokenizer& tokenizer) {
  const std::optional<int32_t> image = tokenizer.find_special(kImageToken);
  if (config.text_only() || !image || !tokenizer.is_special(*image)) return {};
  return {.image_tokens = config.resampler.queries, .image = kImageToken};
}

ChatModel::ChatModel(const std::string& path, const ChatModelOptions& options) {
  const std::future<void> device = start_device(options.compile.device);  // while files are read
  const ModelFile file(path);
  container_ = file.container();
  info_ = file.info();
  parameters_ = file.parameters();
  if (info_.part == ModelPart::vision)
    fail_user(path + ": an encoder of images alone; expected a model that writes text");
  add_tokenizer(info_, options, path);
  if (options.chats)
    renderer_.emplace(chat_template_of(info_.chat_template, options.form, path), *info_.tokenizer,
                      render_options_of(info_.config, *info_.tokenizer));

  GeneratorOptions made;
  made.model = info_.config;
  made.context = options.context;
  if (made.context == 0) made.context = std::min(info_.config.sequence, kDefaultContext);
  // Tables of positions are made for so many, and each run looks some of them up.
  made.model.sequence = std::min(made.model.sequence, std::max<int64_t>(made.context, 1));
  made.weights = type_of_weights(file, options);
  made.cache = options.cache;
  made.compile = options.compile;
  generator_ = std::make_unique<Generator>(std::move(made));
  conversions_ = generator_->load_weights(file);
}

const ChatRenderer& ChatModel::renderer() const {
  if (!renderer_) fail_internal("a model that was opened without a template has no renderer");
  return *renderer_;
}

}  // namespace fusec::models
