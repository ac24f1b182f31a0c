// What a set of conversations is made of, as a table: documents, turns, images, lengths in tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "conversation.h"
#include "fusec/models/chat_render.h"

namespace fusec::examples {

struct Lengths {
  int64_t documents = 0, turns = 0, images = 0, tokens = 0, supervised = 0;
  std::vector<int64_t> tokens_of;  // each document's
  std::vector<int64_t> by_kind;    // turns, by Kind
  std::vector<int64_t> by_images;  // documents, by number of images
};

// Tokens as `renderer` gives them.
Lengths measure(const std::vector<Conversation>& conversations,
                const models::ChatRenderer& renderer);

// Columns are sets; below them the kinds of turns, and a histogram of lengths of the first set.
std::string table(const std::vector<std::pair<std::string, Lengths>>& sets);

}  // namespace fusec::examples
