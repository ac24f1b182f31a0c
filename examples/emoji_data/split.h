// Emoji -> training and validation subsets, fixed by hashes of ids: adding or reordering emoji
// moves no other emoji.
//   val_unseen: whole emoji, all skin tones of each, that training never shows.
//   val_tones:  single skin tones that training never shows, of emoji that it shows in other tones.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace fusec::examples {

enum class Subset : uint8_t { train, val_tones, val_unseen };
inline constexpr std::array<Subset, 3> kSubsets = {Subset::train, Subset::val_tones,
                                                   Subset::val_unseen};
const char* name_of(Subset subset);

struct SplitItem {
  std::string id, base;
  bool toned = false;
  std::string picture;  // the pixels, or anything that is equal for equal pictures
};

struct SplitShares {
  double unseen = 0.05;  // of the emoji
  double tones = 0.2;    // of the skin-tone variants of the emoji that are not unseen
};

// One subset an item, in the order of `items`. Emoji that share a picture (several flags do) are
// unseen together or not at all. A variant goes to val_tones only if its picture is not in train
// and train keeps at least one other toned variant of its emoji, and beside it the untoned emoji
// or a second toned variant.
std::vector<Subset> split(const std::vector<SplitItem>& items, const SplitShares& shares = {});

// What is wrong with a split, one line a violation; empty if it keeps every rule above.
std::vector<std::string> check_split(const std::vector<SplitItem>& items,
                                     const std::vector<Subset>& subsets);

}  // namespace fusec::examples
