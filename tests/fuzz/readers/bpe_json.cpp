// A Hugging Face tokenizer.json: what reads encodes, and is written as one that reads the same.
#include "fusec/models/bpe_tokenizer.h"
#include "fusec/models/bpe_trainer.h"
#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  std::vector<std::string> out;
  for (const char* name : {"gpt2", "smollm", "qwen2", "o200k"}) {
    models::BpeTrainOptions options;
    options.vocab_size = 280;
    options.specials = {"<s>", "</s>"};
    options.pre_tokenizer = models::PreTokenizer::named(name);
    models::BpeTrainer trainer(options);
    trainer.count(
        std::vector<std::string>{"the theatre there", "rot \u00e9t\u00e9 \u00e9t\u00e9 12 123"});
    out.push_back(trainer.train().json());
  }
  return out;
}

void read_bytes(std::string_view bytes) {
  const auto tokenizer = models::BpeTokenizer::parse(bytes, "bytes");
  (void)tokenizer.decode(tokenizer.encode_with_specials("the \u00e9te\u0301 12 </s>\xff x"));
  if (models::BpeTokenizer::parse(tokenizer.json(), "written").hash() != tokenizer.hash()) throw 0;
}

}  // namespace fusec::fuzz
