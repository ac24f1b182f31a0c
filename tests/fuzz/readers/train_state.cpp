// The training state inside a checkpoint.
#include "fusec/models/train_state.h"

#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  models::TrainState state;
  state.cursor_count = 5;
  state.best_loss = 0.25;
  return {models::train_state_text(state)};
}

void read_bytes(std::string_view bytes) { (void)models::parse_train_state(bytes, "bytes"); }

}  // namespace fusec::fuzz
