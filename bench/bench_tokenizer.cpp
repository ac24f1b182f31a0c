// Encoding in MB of text a second on one thread, beside the words' share of it and the training of
// the vocabulary on all cores. Texts: generated ones of several scripts, and a file if one is
// named.
//   bench_tokenizer [--file TEXT] [--tokenizer TOKENIZER.JSON | --tiktoken FILE --pattern NAME]
//                   [--megabytes N] [--rounds N]
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "command_line.h"
#include "fusec/base/philox.h"
#include "fusec/base/utf8.h"
#include "fusec/io/file.h"
#include "fusec/models/bpe_trainer.h"

using namespace fusec;
using models::BpeTokenizer;

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Words of a Zipf-like vocabulary, so that some stand often and most seldom.
struct Script {
  const char* name;
  char32_t first, last;  // letters
  int least, most;       // of a word
  const char* between;
};
constexpr Script kScripts[] = {{"latin", U'a', U'z', 2, 9, " "},
                               {"cyrillic", U'\u0430', U'\u044f', 2, 9, " "},
                               {"arabic", U'\u0628', U'\u064a', 2, 7, " "},
                               {"devanagari", U'\u0915', U'\u0939', 2, 6, " "},
                               {"han", U'\u4e00', U'\u4fff', 4, 20, "\u3002"}};

std::string generated(const Script& script, size_t bytes, uint64_t seed) {
  std::vector<std::string> words;
  for (uint64_t w = 0; w < 30000; ++w) {
    std::u32string word;
    const PhiloxBlock size = philox(seed, w);
    const auto length = static_cast<uint64_t>(script.least) +
                        size[0] % static_cast<uint32_t>(script.most - script.least + 1);
    for (uint64_t i = 0; i < length; ++i) {
      // Some letters stand more often than others, as in languages.
      const double u = philox(seed + 1, w, i)[0] * 0x1p-32;
      word += static_cast<char32_t>(script.first + u * u * (script.last - script.first + 1));
    }
    words.push_back(to_utf8(word));
  }
  std::string text;
  for (uint64_t i = 0; text.size() < bytes; ++i) {
    const PhiloxBlock block = philox(seed + 2, i);
    const double u = block[0] * 0x1p-32;
    text += words[static_cast<size_t>(u * u * u * u * static_cast<double>(words.size()))];
    if (block[1] % 12 == 0) text += block[2] % 4 == 0 ? ".\n" : ",";
    if (block[1] % 40 == 1) text += ' ' + std::to_string(block[2] % 3000);
    text += script.between;
  }
  return text;
}

// In pieces of about this size, cut at line ends: documents.
std::vector<std::string> documents(const std::string& text, size_t bytes) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find('\n', std::min(begin + bytes, text.size())), text.size());
    out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

void time_encoding(const BpeTokenizer& tokenizer, const char* name, const std::string& text,
                   int rounds) {
  const std::vector<std::string> texts = documents(text, 4000);
  size_t bytes = 0, ids = 0;
  for (const std::string& one : texts) bytes += one.size();
  double total = 0, least = 1e9;
  for (int round = -1; round < rounds; ++round) {  // the first one warms up
    const double start = now();
    ids = 0;
    for (const std::string& one : texts) ids += tokenizer.encode(one).size();
    const double seconds = now() - start;
    if (round < 0) continue;
    total += seconds;
    least = std::min(least, seconds);
  }
  const double mb = static_cast<double>(bytes) / 1e6;
  std::printf("%-12s %8.2f MB  %6.2f bytes/id  %8.1f MB/s mean  %8.1f MB/s best\n", name, mb,
              static_cast<double>(bytes) / static_cast<double>(ids), mb * rounds / total,
              mb / least);
}

BpeTokenizer trained(const std::vector<std::string>& texts) {
  std::vector<std::string> documents_of_all;
  size_t bytes = 0;
  for (const std::string& text : texts)
    for (std::string& one : documents(text, 4000)) {
      bytes += one.size();
      documents_of_all.push_back(std::move(one));
    }
  models::BpeTrainOptions options;
  options.vocab_size = 32768;
  options.pre_tokenizer = models::PreTokenizer::named("llama3");
  models::BpeTrainer trainer(options);
  const double start = now();
  trainer.count(documents_of_all);
  const double counted = now();
  BpeTokenizer made = trainer.train();
  std::printf("training: %.1f MB counted in %.2f s, %d tokens in %.2f s\n",
              static_cast<double>(bytes) / 1e6, counted - start, made.vocab_size(),
              now() - counted);
  return made;
}

int run(int argc, char** argv) {
  std::string file, json, tiktoken, pattern = "cl100k";
  double megabytes = 4;
  int rounds = 5;
  CLI::App app("Times the byte-level BPE tokenizer.");
  app.add_option("--file", file, "a text to encode too");
  app.add_option("--tokenizer", json, "a tokenizer.json (default: one trained on the texts)");
  app.add_option("--tiktoken", tiktoken, "a tiktoken file instead");
  app.add_option("--pattern", pattern, "its pre-tokenizer");
  app.add_option("--megabytes", megabytes, "of generated text a script")
      ->check(CLI::PositiveNumber);
  app.add_option("--rounds", rounds)->check(CLI::PositiveNumber);
  app.allow_extras();
  try {
    app.parse(argc, argv);
    examples::refuse_unknown(app);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }

  std::vector<std::string> texts;
  for (size_t i = 0; i < std::size(kScripts); ++i)
    texts.push_back(generated(kScripts[i], static_cast<size_t>(megabytes * 1e6), 100 * i));
  const std::string own = file.empty() ? "" : io::read_file(file);
  const double start = now();
  const BpeTokenizer tokenizer =
      !json.empty() ? BpeTokenizer::load(json)
      : !tiktoken.empty()
          ? BpeTokenizer::load_tiktoken(tiktoken, models::PreTokenizer::named(pattern), {})
          : trained(texts);
  std::printf("ready after %.2f s: %d ids\n", now() - start, tokenizer.vocab_size());
  for (size_t i = 0; i < std::size(kScripts); ++i)
    time_encoding(tokenizer, kScripts[i].name, texts[i], rounds);
  if (!file.empty()) time_encoding(tokenizer, "file", own, rounds);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return fusec::examples::run_program("bench_tokenizer", [&] { return run(argc, argv); });
}
