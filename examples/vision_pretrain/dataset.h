// A picture folder on disk -> training and held-out captions, a tokenizer, and a row length.
#pragma once

#include <string>
#include <vector>

#include "fusec/models/trainer.h"
#include "options.h"

namespace fusec::examples {

struct HeldOut {
  std::string name, meaning;
  std::vector<data::CaptionedImage> items;
};

struct Dataset {
  std::vector<data::CaptionedImage> train;
  std::vector<HeldOut> held_out;  // each in its fixed order
  models::WordTokenizer tokenizer;
  int64_t sequence = 0;  // tokens a row
  int64_t dropped = 0;   // captions longer than a row, of all sets
};

// Loads and filters by category; trains the tokenizer on the training captions alone. The row is as
// long as the longest training caption needs, rounded up to a multiple of 4, unless --seq says
// otherwise; captions that do not fit are dropped and counted.
// Missing files, an unknown category and an empty set are user Errors.
Dataset load_dataset(const RunOptions& options);

// Of every picture, caption, category and id, in their order: equal hashes mean the same training.
uint64_t hash(const Dataset& data);

// Pointers to all items, in their order. Valid as long as `items`.
models::CaptionedItems pointers(const std::vector<data::CaptionedImage>& items);

}  // namespace fusec::examples
