// How well guessed captions fit the true ones.
#pragma once

#include <string>
#include <vector>

namespace fusec::examples {

struct Score {
  double exact = 0;  // share of guesses equal to the truth
  double name = 0;   // share whose part before the colon ("waving hand: dark skin tone") is right
  double words = 0;  // mean over captions of |common words| / max(|truth|, |guess|)
};

// Words are split at spaces, commas and colons, and counted with repetition. Lists of equal length;
// all zero if they are empty.
Score score_captions(const std::vector<std::string>& truths,
                     const std::vector<std::string>& guesses);

}  // namespace fusec::examples
