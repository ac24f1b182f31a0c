// Where a training run stands, apart from weights and moments: what the next step, the next line of
// metrics and the next decision to keep a checkpoint depend on. Plain data; a checkpoint holds it
// as JSON, and a run that goes on from it does what the interrupted one would have done, bit for
// bit. (A run bounded by --minutes follows the clock, which no file can hold still.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fusec/data/captions.h"

namespace fusec::models {

struct TrainState {
  int64_t step = 0;  // finished updates; AdamW's bias correction and the schedule count from it

  // Philox: the key of first weights and random ops, and the counter of the next step's draws.
  uint64_t rng_key = 0, rng_counter = 0;

  // The walk over the training set: its order follows from (count, seed, epoch). All zeros where a
  // data pipeline has a state of its own.
  data::ShuffledCursor::State cursor;
  int64_t cursor_count = 0;
  uint64_t cursor_seed = 0;
  int64_t documents = 0;  // consumed in all
  int64_t tokens = 0;     // of them, padding not counted

  // Between two lines of metrics: the sum of the finite losses, their number, and the steps.
  double window_loss = 0;
  int64_t window_finite = 0, window_steps = 0;
  double smoothed_loss = 0;    // what the progress bar shows
  uint64_t metrics_bytes = 0;  // length of the metrics file

  int64_t validated = -1;           // step of the last validation; -1: none yet
  std::optional<double> best_loss;  // lowest validation loss
  int64_t best_step = -1;

  double seconds = 0, seconds_in_steps = 0;  // so far
  bool finished = false;
};

// Losses must be finite, else an internal Error: no state after a broken step is worth keeping.
std::string train_state_text(const TrainState& state);

// Strict: unknown or missing keys, values of another kind and counts below zero are a user Error.
TrainState parse_train_state(std::string_view json, const std::string& name);

}  // namespace fusec::models
