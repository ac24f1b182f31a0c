// Documents to answers and shown packs; see samples.h.
#include "samples.h"

#include <fmt/format.h>
#include <algorithm>
#include <filesystem>

#include "fusec/io/documents.h"
#include "fusec/io/pixels.h"
#include "fusec/models/generator.h"
#include "fusec/models/sampler.h"
#include "fusec/models/show_pack.h"
#include "terminal.h"

namespace fusec::examples {
namespace {

std::string text_of(const io::Message& message) {
  std::string text;
  for (const io::Part& part : message.parts)
    text += part.type == io::Part::Type::image ? "[" + part.value + "]\n" : part.value;
  return text;
}

// The messages before the first answer.
std::vector<io::Message> question_of(const io::Document& document) {
  const auto& all = document.messages;
  const auto answer = std::find_if(all.begin(), all.end(),
                                   [](const io::Message& m) { return m.role == "assistant"; });
  return {all.begin(), answer};
}

class Answerer {
 public:
  Answerer(models::PackedTrainer& trainer, const SftOptions& o, const SftSetup& setup)
      : setup_(setup), fit_(o.pipeline.images.fit), generator_(options(trainer, o, setup)) {}

  std::string answer(const std::vector<io::Message>& messages, const std::string& folder) {
    const models::ChatRenderer& renderer = *setup_.renderer;
    const models::Rendered rendered = renderer.prompt(messages);
    models::Prompt prompt{.tokens = rendered.tokens, .slots = {}, .image_rows = {}};
    std::vector<float> pixels;
    for (const models::ImageSpan& image : rendered.images) {
      read_image(folder + "/" + image.path, pixels);
      for (int64_t i = 0; i < image.range.length; ++i)
        prompt.slots.push_back(static_cast<int32_t>(image.range.begin + i));
    }
    if (!pixels.empty()) prompt.image_rows = generator_.encode(pixels);
    std::vector<float> logits = generator_.start(prompt);
    std::vector<int32_t> said;
    for (;;) {
      // Rows beyond the tokenizer's only fill the table.
      logits.resize(static_cast<size_t>(renderer.tokenizer().vocab_size()));
      const int32_t token = sampler_.next(logits);
      const auto& stops = renderer.stop_tokens();
      if (std::find(stops.begin(), stops.end(), token) != stops.end()) break;
      said.push_back(token);
      if (generator_.length() >= generator_.context()) break;
      logits = generator_.step(token);
    }
    return renderer.tokenizer().decode(said);
  }

  int64_t context() const { return generator_.context(); }

 private:
  static models::GeneratorOptions options(models::PackedTrainer& trainer, const SftOptions& o,
                                          const SftSetup& setup) {
    models::GeneratorOptions g{.model = setup.info.config, .lora = o.lora, .compile = o.compile};
    g.compile.share = &trainer.training();
    return g;
  }

  void read_image(const std::string& path, std::vector<float>& pixels) const {
    const int side = static_cast<int>(setup_.info.config.vision.image);
    const io::Image image =
        io::square(io::read_image(path, io::decode_options(fit_, side)), fit_, side);
    const size_t at = pixels.size();
    pixels.resize(at + 3 * static_cast<size_t>(side) * static_cast<size_t>(side));
    io::PixelTable(io::PixelScale::white_is_zero()).write_planes(image, pixels.data() + at);
  }

  const SftSetup& setup_;
  io::ImageFit fit_;
  models::Generator generator_;
  models::Sampler sampler_{{.temperature = 0}};
};

}  // namespace

void print_samples(models::PackedTrainer& trainer, const SftOptions& o, const SftSetup& setup,
                   int64_t count) {
  if (count == 0) return;
  const data::JsonlStream files(o.validation, {});
  Answerer answerer(trainer, o, setup);
  int64_t equal = 0, asked = 0;
  for (const std::string& file : files.files()) {
    const std::string folder = std::filesystem::path(file).parent_path().string();
    for (const io::Document& document : io::read_documents(file)) {
      if (asked == count) break;
      const std::vector<io::Message> question = question_of(document);
      if (question.empty() || question.size() == document.messages.size()) continue;
      if (static_cast<int64_t>(setup.renderer->prompt(question).tokens.size()) >=
          answerer.context())
        continue;
      const std::string wanted = text_of(document.messages[question.size()]);
      const std::string said = answerer.answer(question, folder);
      ++asked;
      equal += said == wanted;
      fmt::print("\nuser:      {}\nassistant: {}\n{}", text_of(question.back()), said,
                 said == wanted ? "" : "expected:  " + wanted + "\n");
    }
  }
  fmt::print("\n{} of {} answers to validation documents are those of the documents\n", equal,
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
