// Documents to answers and shown packs; see samples.h.
#include "samples.h"

#include <fmt/format.h>
#include <algorithm>
#include <filesystem>

#include "fusec/io/documents.h"
#include "fusec/models/conversation.h"
#include "fusec/models/show_pack.h"
#include "terminal.h"

namespace fusec::examples {
namespace {

constexpr int64_t kLongest = 128;  // tokens of an answer

std::string text_of(const io::Message& message) {
  std::string text;
  for (const io::Part& part : message.parts)
    text += part.type == io::Part::Type::image ? "[" + part.value + "]\n" : part.value;
  return text;
}

// The message that the first answer answers, its images by whole paths; nothing, if a system
// message and one of the user's are not all that comes before it, or the model reads no images.
std::optional<io::Message> first_question(const io::Document& document, const std::string& folder,
                                          bool sees) {
  const auto& all = document.messages;
  const size_t first = all.empty() || all[0].role != "system" ? 0 : 1;
  if (all.size() < first + 2 || all[first].role != "user" || all[first + 1].role != "assistant")
    return {};
  io::Message question = all[first];
  for (io::Part& part : question.parts) {
    if (part.type != io::Part::Type::image) continue;
    if (!sees) return {};
    part.value = folder + "/" + part.value;
  }
  return question;
}

}  // namespace

void print_samples(models::PackedTrainer& trainer, const SftOptions& o, const SftSetup& setup,
                   int64_t count) {
  if (count == 0) return;
  models::GeneratorOptions g{.model = trainer.options().model.config,
                             .lora = o.lora,
                             .compile = o.compile};
  g.compile.share = &trainer.training();
  models::Generator generator(g);
  const data::JsonlStream files(o.validation, {});
  int64_t equal = 0, asked = 0;
  for (const std::string& file : files.files()) {
    const std::string folder = std::filesystem::path(file).parent_path().string();
    for (const io::Document& document : io::read_documents(file)) {
      if (asked == count) break;
      const std::optional<io::Message> question =
          first_question(document, folder, !setup.info.config.text_only());
      if (!question) continue;
      const io::Message& first = document.messages[0];
      const bool led = first.role == "system";
      models::Conversation chat(generator, *setup.renderer,
                                {.system = led ? text_of(first) : "",
                                 .write = {.max_tokens = kLongest, .sampler = {.temperature = 0}},
                                 .fit = o.pipeline.images.fit});
      const std::string said = chat.ask(*question).text;
      const std::string wanted = text_of(document.messages[led ? 2 : 1]);
      ++asked;
      equal += said == wanted;
      fmt::print("\nuser:      {}\nassistant: {}\n{}", text_of(document.messages[led ? 1 : 0]),
                 said, said == wanted ? "" : "expected:  " + wanted + "\n");
    }
  }
  fmt::print("\n{} of {} first answers to validation documents are those of the documents\n", equal,
             asked);
}

void print_batch(const data::PackedBatch& batch, const SftSetup& setup) {
  std::vector<models::TokenRange> documents;
  std::vector<models::ImageSpan> images;
  const int64_t each = setup.info.config.resampler.queries;
  for (const data::BatchPiece& piece : batch.pieces) {
    documents.push_back({piece.at, piece.tokens});
    for (int64_t i = piece.image; i < piece.image + piece.images; ++i)
      images.push_back({{batch.slots[i * each], each}, fmt::format("image {}", i)});
  }
  const models::ShownPack pack{batch.tokens, batch.targets, documents, images};
  fmt::print("{}\n", models::show_pack(pack, *setup.info.tokenizer, terminal_colours()));
}

}  // namespace fusec::examples
