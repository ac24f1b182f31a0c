// Captioned pictures from a JSONL file, and the order in which training walks through them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/io/image.h"

namespace fusec::data {

struct CaptionedImage {
  io::Image image;
  std::string caption, category, id;
};

// One entry a document, in file order: its only image, resized to size x size pixels (area
// average, after padding to a square with white), and the text of its assistant message. Images
// are decoded on two threads. A document without exactly one image and one assistant text, a
// missing image, or an empty file is a user Error that names the file and the line.
FUSEC_API std::vector<CaptionedImage> load_captions(const std::string& jsonl_path, int size);

// The same captions with all-white images of the same size: the control that shows what a model
// learns from the captions alone.
FUSEC_API std::vector<CaptionedImage> blank(std::vector<CaptionedImage> items);

// Walks over the indices 0..count-1 without end, in a new order every epoch (Fisher-Yates driven
// by Philox, key = seed, stream = epoch). Each epoch holds every index once, and the order depends
// on nothing but (count, seed, epoch): a cursor set to a saved state continues with the very
// indices that the saved one would have given.
class FUSEC_API ShuffledCursor {
 public:
  struct State {
    uint64_t epoch = 0;    // completed passes
    int64_t position = 0;  // indices given out in this pass, 0..count-1
    bool operator==(const State&) const = default;
  };

  // count >= 1, else a user Error.
  ShuffledCursor(int64_t count, uint64_t seed);

  // The next n indices (n >= 0); runs over into the following epochs.
  std::vector<int64_t> next(int64_t n);

  State state() const { return state_; }
  // A position outside 0..count-1 is a user Error (the saved state is of another data set).
  void set_state(State state);

  int64_t count() const { return static_cast<int64_t>(order_.size()); }
  uint64_t seed() const { return seed_; }

 private:
  void shuffle();

  uint64_t seed_;
  State state_;
  std::vector<int64_t> order_;  // of the current epoch
};

}  // namespace fusec::data
