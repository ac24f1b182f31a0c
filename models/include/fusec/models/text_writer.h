// A prompt -> what a model writes behind it, piece by piece: the loop of Generator, Sampler and
// tokenizer that chats and continued texts have in common.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/models/bpe_tokenizer.h"
#include "fusec/models/generator.h"
#include "fusec/models/sampler.h"

namespace fusec::models {

enum class AnswerEnd : uint8_t {
  stop,         // by a token that ends answers
  length,       // max_tokens
  context,      // no room for another token
  interrupted,  // the callback said so
};

struct Answer {
  std::string text;             // the bytes of `tokens`; pieces differ where they are no UTF-8
  std::vector<int32_t> tokens;  // without the one that ended it
  AnswerEnd end = AnswerEnd::stop;
  // Of the prompt: tokens that the cache held already, and those that were computed.
  int64_t kept = 0, prompt_tokens = 0;
  int64_t steps = 0;  // runs of a token each, behind the prompt
  double prompt_seconds = 0, step_seconds = 0;
};

// Gets each piece of text, whole UTF-8; an empty one after a part of the prompt and after a token
// that completes no character. false ends the answer.
using OnText = std::function<bool(std::string_view piece)>;

struct WriteOptions {
  int64_t max_tokens = 0;  // of an answer; 0: as many as the context holds
  std::vector<int32_t> stops;
  SamplerOptions sampler;
};

class TextWriter {
 public:
  // The generator has one sequence and outlives the writer. Other options are a user Error.
  TextWriter(Generator& generator, BpeTokenizer tokenizer, const WriteOptions& options);

  // Writes behind the first `keep` tokens of what the generator holds and the prompt behind them. A
  // token that the tokenizer does not have is never chosen. A prompt that does not fit the context
  // is a user Error that changes nothing; after another Error the generator holds what it did when
  // it failed.
  Answer write(const Prompt& prompt, int64_t keep, const OnText& on_text = {});

  Generator& generator() { return *generator_; }
  const Generator& generator() const { return *generator_; }

 private:
  bool feed(const Prompt& prompt, const OnText& on_text, std::vector<float>& logits);
  int32_t choose(std::vector<float>& logits);

  Generator* generator_;
  BpeTokenizer tokenizer_;
  WriteOptions options_;
  Sampler sampler_;
  std::vector<int32_t> without_text_;  // rows of the head that are no token
};

}  // namespace fusec::models
