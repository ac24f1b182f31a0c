// (count, seed, epoch) -> a permutation of 0..count-1, and a resumable walk over it.
#include <numeric>

#include "fusec/base/error.h"
#include "fusec/data/captions.h"
#include "shuffle.h"

namespace fusec::data {

ShuffledCursor::ShuffledCursor(int64_t count, uint64_t seed) : seed_(seed) {
  if (count < 1) {
    fail_user("cannot walk over " + std::to_string(count) +
              " samples; expected at least one (is the data set empty?)");
  }
  order_.resize(static_cast<size_t>(count));
  shuffle();
}

void ShuffledCursor::shuffle() {
  std::iota(order_.begin(), order_.end(), int64_t{0});
  fusec::data::shuffle(order_, seed_, state_.epoch);
}

std::vector<int64_t> ShuffledCursor::next(int64_t n) {
  if (n < 0) fail_user("cannot take " + std::to_string(n) + " samples; expected 0 or more");
  std::vector<int64_t> indices;
  indices.reserve(static_cast<size_t>(n));
  while (static_cast<int64_t>(indices.size()) < n) {
    indices.push_back(order_[static_cast<size_t>(state_.position)]);
    if (++state_.position == count()) {
      state_ = {state_.epoch + 1, 0};
      shuffle();
    }
  }
  return indices;
}

void ShuffledCursor::set_state(State state) {
  if (state.position < 0 || state.position >= count()) {
    fail_user("saved position " + std::to_string(state.position) + " lies outside 0.." +
              std::to_string(count() - 1) + "; the state belongs to another data set");
  }
  const bool same_epoch = state.epoch == state_.epoch;
  state_ = state;
  if (!same_epoch) shuffle();
}

}  // namespace fusec::data
