// A vision-GPT of two layers that reads bytes and pictures, its tokenizer and template, and the
// whole forward pass that its cached answers are held against.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "../../data/scratch.h"
#include "../packed_documents.h"
#include "fusec/base/utf8.h"
#include "fusec/io/pixels.h"
#include "fusec/models/chat_model.h"
#include "fusec/models/conversation.h"

namespace fusec::models {

// The 256 bytes, a few merges, the tokens of template "plain" and of images.
inline BpeTokenizer byte_tokenizer() {
  BpeParts parts;
  char32_t next = 256;
  for (char32_t b = 0; b < 256; ++b) {
    const bool shown = (b >= 33 && b < 127) || (b >= 161 && b < 173) || b >= 174;
    parts.tokens.push_back(to_utf8(std::u32string(1, shown ? b : next++)));
  }
  parts.merges = {"h e", "l l", "he ll", "a t"};
  for (const char* merged : {"he", "ll", "hell", "at"}) parts.tokens.emplace_back(merged);
  parts.pre_tokenizer = PreTokenizer::named("smollm");
  std::vector<std::string> specials = ChatTemplate::named("plain").specials();
  specials.emplace_back(kImageToken);
  for (const std::string& text : specials)
    parts.added.push_back({static_cast<int32_t>(parts.tokens.size() + parts.added.size()), text});
  return BpeTokenizer::from_parts(parts, "bytes");
}

inline VisionGptConfig tiny_chat_config(int64_t context = 160) {
  VisionGptConfig c = small_config();
  c.vocab = byte_tokenizer().vocab_size() + 7;  // rows that are no token, as padded heads have
  c.sequence = context;
  return c;
}

inline ChatRenderer tiny_renderer(const VisionGptConfig& c) {
  return {ChatTemplate::named("plain"), byte_tokenizer(), render_options_of(c, byte_tokenizer())};
}

// Words of distinct sizes, and attention that outweighs the token it stands at: what an answer is
// must depend on all that was read.
inline std::vector<float> tiny_value(const std::string& name, const Shape& shape,
                                     const VisionGptConfig& c) {
  std::vector<float> values = test_value(name, shape, c);
  const bool words = name == "head.weight" || name == "embedding.weight";
  const bool mixes = name.ends_with("attn.v.weight") || name.ends_with("attn.out.weight");
  for (size_t i = 0; i < values.size(); ++i) {
    const PhiloxBlock draw = philox(hash_text(name), i);
    if (words) values[i] = static_cast<float>(philox_normal(draw[0], draw[1]));
    if (mixes) values[i] *= 4;
  }
  return values;
}

struct TinyChat {
  VisionGptConfig config;
  Generator generator;
  explicit TinyChat(const VisionGptConfig& c) : config(c), generator(options(c)) {
    for (const auto& [name, type] : generator.parameters())
      generator.set_parameter(name, tiny_value(name, type.shape, c));
  }
  Conversation chat(ConversationOptions o) { return {generator, tiny_renderer(config), o}; }

 private:
  static GeneratorOptions options(const VisionGptConfig& c) {
    GeneratorOptions o;
    o.model = c;
    o.compile = on_cpu();
    o.chunk = 16;
    o.page_size = 8;
    return o;
  }
};

// Greedy decoding by the whole forward pass, without any cache.
class WholePass {
 public:
  explicit WholePass(const VisionGptConfig& c)
      : config_(c),
        shape_{.tokens = c.sequence, .max_documents = 1, .max_images = c.text_only() ? 0 : 3} {
    RecordedGraph recorded = record_packed_logits({c, shape_, {}});
    exe_ = compile(*recorded.graph, recorded.outputs, on_cpu());
    for (const PlanBuffer& b : exe_.plan().buffers)
      if (b.cls == BufferClass::parameter) exe_.set(b.name, tiny_value(b.name, b.type.shape, c));
  }

  // Is `answer`, behind `prompt`, what the most likely tokens are, one after another? `ended`: and
  // is the next one a stop token? Logits of both ways differ by 1e-5 of the largest one
  // (generator_test), so a token may be behind the best one by twice that.
  void check_greedy(const Rendered& prompt, const Answer& answer,
                    const std::vector<int32_t>& stops) {
    Document d;
    d.tokens = prompt.tokens;
    d.tokens.insert(d.tokens.end(), answer.tokens.begin(), answer.tokens.end());
    for (const ImageSpan& image : prompt.images) {
      for (int64_t i = 0; i < image.range.length; ++i)
        d.image_at.push_back(static_cast<int32_t>(image.range.begin + i));
      const std::vector<float> planes = planes_of(image.path);
      d.images.insert(d.images.end(), planes.begin(), planes.end());
    }
    feed_pack(exe_, config_, packed(config_, shape_, {d}), false);
    exe_.run();
    const std::vector<float> logits = exe_.get<float>("logits");
    const BpeTokenizer tokenizer = byte_tokenizer();
    for (size_t i = 0; i <= answer.tokens.size(); ++i) {
      if (i == answer.tokens.size() && answer.end != AnswerEnd::stop) return;
      const float* row =
          &logits[(prompt.tokens.size() - 1 + i) * static_cast<size_t>(config_.vocab)];
      float best = -INFINITY, most = 1e-6f, chosen = -INFINITY;
      for (int32_t id = 0; id < config_.vocab; ++id) {
        if (tokenizer.bytes(id).empty()) continue;
        best = std::max(best, row[id]);
        most = std::max(most, std::abs(row[id]));
        const bool is_stop = std::find(stops.begin(), stops.end(), id) != stops.end();
        const bool is_chosen = i == answer.tokens.size() ? is_stop : id == answer.tokens[i];
        if (is_chosen) chosen = std::max(chosen, row[id]);
      }
      CAPTURE(i);
      CHECK(chosen >= best - 2e-5f * most);
    }
  }

 private:
  std::vector<float> planes_of(const std::string& path) const {
    const auto side = static_cast<int>(config_.vision.image);
    const io::Image image = io::square(io::read_image(path), io::ImageFit::pad, side);
    std::vector<float> planes(static_cast<size_t>(3 * side * side));
    io::PixelTable({config_.vision.pixel_mean, config_.vision.pixel_std})
        .write_planes(image, planes.data());
    return planes;
  }

  VisionGptConfig config_;
  PackShape shape_;
  Executable exe_;
};

// The prompt whose answer was the conversation's last message.
inline Rendered last_prompt(const Conversation& chat, const ChatRenderer& renderer) {
  std::vector<io::Message> messages = chat.messages();
  REQUIRE(messages.size() >= 2);
  messages.pop_back();
  return renderer.prompt(messages);
}

// A picture of its own for each seed.
inline std::string write_picture(const tests::Scratch& scratch, uint64_t seed, int width = 8,
                                 int height = 8) {
  io::Image image = io::solid(width, height, 0, 0, 0);
  for (size_t i = 0; i < image.rgb.size(); ++i)
    image.rgb[i] = static_cast<uint8_t>(philox(seed, i)[0]);
  const std::string path = scratch / ("picture" + std::to_string(seed) + ".png");
  io::write_png(path, image);
  return path;
}

}  // namespace fusec::models
