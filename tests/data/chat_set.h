// A dozen chats about 8 x 8 pictures, and a tokenizer for them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "fusec/base/philox.h"
#include "fusec/io/documents.h"
#include "fusec/io/image.h"
#include "fusec/models/bpe_trainer.h"
#include "fusec/models/chat_template.h"
#include "scratch.h"

namespace fusec::tests {

// Chat number `i`: of 0 to 3 pictures ("images/pN.png"), one question each, and one about none.
inline io::Document chat(int i) {
  using Type = io::Part::Type;
  const char* names[] = {"red box", "blue box", "box", "red ball"};
  io::Document document;
  for (int k = 0; k < i % 4; ++k) {
    const int picture = (i + k) % 4;
    document.messages.push_back({"user",
                                 {{Type::image, "images/p" + std::to_string(picture) + ".png"},
                                  {Type::text, "What is it?"}}});
    document.messages.push_back({"assistant", {{Type::text, names[picture]}}});
  }
  document.messages.push_back({"user", {{Type::text, "Say " + std::to_string(i)}}});
  document.messages.push_back({"assistant", {{Type::text, std::to_string(i)}}});
  document.id = "chat-" + std::to_string(i);
  return document;
}

// Writes chats [first, end) to scratch/<name>/chats.jsonl, with their pictures.
inline void write_chats(const Scratch& scratch, const std::string& name, int first, int end) {
  std::filesystem::create_directories(scratch / (name + "/images"));
  for (uint64_t p = 0; p < 4; ++p) {
    io::Image image = io::solid(8, 8, 0, 0, 0);
    for (size_t k = 0; k < image.rgb.size(); ++k)
      image.rgb[k] = static_cast<uint8_t>(philox(p, k)[0]);
    io::write_png(scratch / (name + "/images/p" + std::to_string(p) + ".png"), image);
  }
  std::vector<io::Document> documents;
  for (int i = first; i < end; ++i) documents.push_back(chat(i));
  io::write_documents(scratch / (name + "/chats.jsonl"), documents);
}

inline models::BpeTokenizer chat_tokenizer() {
  models::BpeTrainOptions options{.vocab_size = 280};
  options.specials = models::ChatTemplate::named("plain").specials();
  options.specials.emplace_back("<|image|>");
  models::BpeTrainer trainer(options);
  trainer.count(std::vector<std::string>{"What is it? red box blue box red ball", "Say it"});
  return trainer.train();
}

}  // namespace fusec::tests
