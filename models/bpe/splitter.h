// A PreTokenizer compiled: a text of UTF-8 -> its words, in order.
//   steps [digits, byte_level]:  "a 12"  ->  "a " "1" "2"  ->  "a" " " "1" "2"
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fast_words.h"
#include "fusec/models/bpe_pre_tokenizer.h"
#include "regex.h"

namespace fusec::models::bpe {

class Splitter {
 public:
  struct Scratch {
    Regex::Scratch regex;
    std::vector<std::string> spaced;  // a step -> its piece with a space in front
  };

  // Without `fast`, every word is the regular expression's: for comparison. Errors as Regex has
  // them.
  Splitter(const PreTokenizer& pre_tokenizer, const std::string& place, bool fast = true);

  // Calls word(string_view) for each word; none is empty. The views are good during the call.
  template <typename Word>
  void split(std::string_view text, Scratch& scratch, Word&& word) const {
    if (scratch.spaced.size() < steps_.size()) scratch.spaced.resize(steps_.size());
    run(0, text, scratch, word);
  }

 private:
  using Behavior = PreTokenizerStep::Behavior;
  struct Step {
    std::optional<Regex> regex;  // without one: a space in front
    FastWord fast = nullptr;
    Behavior behavior = Behavior::isolated;
    bool invert = false;
  };

  // A piece that waits to learn what follows it.
  struct Waiting {
    size_t begin = 0, end = 0;
    bool any = false, match = false;
  };

  template <typename Word>
  void run(size_t at, std::string_view text, Scratch& scratch, Word& word) const {
    if (text.empty()) return;
    if (at == steps_.size()) return word(text);
    const Step& step = steps_[at];
    if (!step.regex) {
      if (text.front() == ' ') return run(at + 1, text, scratch, word);
      scratch.spaced[at].assign(" ").append(text);
      return run(at + 1, scratch.spaced[at], scratch, word);
    }
    auto next = [&](size_t begin, size_t end) {
      run(at + 1, text.substr(begin, end - begin), scratch, word);
    };
    if (step.behavior == Behavior::isolated)
      return each_piece(step, text, scratch, [&](size_t b, size_t e, bool) { next(b, e); });
    Waiting waiting;
    each_piece(step, text, scratch, [&](size_t begin, size_t end, bool match) {
      if (step.behavior == Behavior::removed) {
        if (!match) next(begin, end);
      } else if (waiting.any && joins(step.behavior, waiting.match, match)) {
        waiting.end = end, waiting.match = match;
      } else {
        if (waiting.any) next(waiting.begin, waiting.end);
        waiting = {begin, end, true, match};
      }
    });
    if (waiting.any) next(waiting.begin, waiting.end);
  }

  static bool joins(Behavior behavior, bool before, bool match) {
    if (behavior == Behavior::contiguous) return before == match;
    if (behavior == Behavior::merged_with_previous) return match && !before;
    return before && !match;
  }

  // Calls piece(begin, end, match) for the matches and what lies between them.
  template <typename Piece>
  static void each_piece(const Step& step, std::string_view text, Scratch& scratch, Piece&& piece) {
    size_t done = 0, from = 0;
    while (from < text.size()) {
      if (step.fast && done == from) {
        const size_t end = step.fast(text, from);
        if (end > 0) {
          piece(done, end, true);
          done = from = end;
          continue;
        }
      }
      Match match;
      if (!step.regex->find(text, from, scratch.regex, match)) break;
      if (match.end == match.begin) {  // of nothing: the search goes on behind the next character
        from = match.end + 1;
        while (from < text.size() && (text[from] & 0xc0) == 0x80) ++from;
        continue;
      }
      if (match.begin > done) piece(done, match.begin, step.invert);
      piece(match.begin, match.end, !step.invert);
      done = from = match.end;
    }
    if (done < text.size()) piece(done, text.size(), step.invert);
  }

  std::vector<Step> steps_;
};

}  // namespace fusec::models::bpe
