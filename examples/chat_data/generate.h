// Pictures -> conversations for training and validation. Lengths are skewed as in real chat: the
// number of turns is log-normal, most conversations show one picture or none, and a few are long
// with up to eight.
#pragma once

#include <cstdint>
#include <vector>

#include "conversation.h"

namespace fusec::examples {

struct GenerateOptions {
  uint64_t seed = 0;
  int64_t train = 12000, validation = 600;  // documents
  // Shares of training documents; the rest shows one picture at first.
  double text_only = 0.12, several = 0.22, long_ones = 0.03;
};

struct ChatData {
  std::vector<Conversation> train, validation;
};

// The same pictures and options give the same conversations. Training shows and names pictures of
// the training set only. Validation shows held-out pictures only, by turns those of the two
// sets; document.subset says which. Document k does not depend on how many there are, but for the
// pictures that it shows. Options outside their ranges are a user Error.
ChatData generate(const PictureSets& pictures, const GenerateOptions& options);

}  // namespace fusec::examples
