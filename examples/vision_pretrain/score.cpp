// Pairs of captions to match rates; see score.h.
#include "score.h"

#include <algorithm>
#include <iterator>

namespace fusec::examples {
namespace {

std::vector<std::string> sorted_words(const std::string& caption) {
  std::vector<std::string> words;
  std::string word;
  for (char c : caption + " ") {
    if (c != ' ' && c != ',' && c != ':') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  std::sort(words.begin(), words.end());
  return words;
}

}  // namespace

Score score_captions(const std::vector<std::string>& truths,
                     const std::vector<std::string>& guesses) {
  Score score;
  for (size_t i = 0; i < truths.size(); ++i) {
    const std::string& truth = truths[i];
    const std::string& guess = guesses[i];
    score.exact += truth == guess;
    score.name += truth.substr(0, truth.find(':')) == guess.substr(0, guess.find(':'));
    std::vector<std::string> a = sorted_words(truth), b = sorted_words(guess), common;
    std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(common));
    size_t longer = std::max(a.size(), b.size());
    score.words += longer == 0 ? 1.0 : static_cast<double>(common.size()) / longer;
  }
  if (!truths.empty()) {
    double n = static_cast<double>(truths.size());
    score.exact /= n;
    score.name /= n;
    score.words /= n;
  }
  return score;
}

}  // namespace fusec::examples
