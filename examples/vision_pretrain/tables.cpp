// The data set to text on stdout; see tables.h.
#include "tables.h"

#include <fmt/format.h>

namespace fusec::examples {

void print_data_table(const Dataset& data, const models::CaptionTrainer& trainer) {
  fmt::print("data\n");
  print_row("train", fmt::format("{} captions", data.train.size()));
  for (const HeldOut& set : data.held_out) {
    print_row(set.name, fmt::format("{} captions ({})", set.items.size(), set.meaning));
  }
  if (data.dropped > 0) {
    print_row("dropped", fmt::format("{} captions that need more than {} tokens", data.dropped,
                                     data.sequence));
  }
  print_row("vocabulary", fmt::format("{} tokens", trainer.tokenizer().vocab_size()));
}

}  // namespace fusec::examples
