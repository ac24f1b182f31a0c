// TrainState <-> JSON; see train_state.h.
#include "fusec/models/train_state.h"

#include "fields.h"

namespace fusec::models {
namespace {

template <class State, class Visit>
void fields(State& s, Visit& visit) {
  visit("step", s.step);
  visit("rng.key", s.rng_key);
  visit("rng.counter", s.rng_counter);
  visit("cursor.epoch", s.cursor.epoch);
  visit("cursor.position", s.cursor.position);
  visit("cursor.count", s.cursor_count);
  visit("cursor.seed", s.cursor_seed);
  visit("documents", s.documents);
  visit("tokens", s.tokens);
  visit("window.loss", s.window_loss);
  visit("window.finite", s.window_finite);
  visit("window.steps", s.window_steps);
  visit("smoothed_loss", s.smoothed_loss);
  visit("metrics_bytes", s.metrics_bytes);
  visit("validated", s.validated);
  visit("best.loss", s.best_loss);
  visit("best.step", s.best_step);
  visit("seconds", s.seconds);
  visit("seconds_in_steps", s.seconds_in_steps);
  visit("finished", s.finished);
}

}  // namespace

std::string train_state_text(const TrainState& state) {
  FieldWriter writer;
  fields(state, writer);
  return writer.text();
}

TrainState parse_train_state(std::string_view json, const std::string& name) {
  FieldReader reader(json, name);
  TrainState s;
  fields(s, reader);
  reader.finish();
  struct Bound {
    const char* key;
    int64_t value, least;
  };
  const Bound bounds[] = {{"step", s.step, 0},
                          {"cursor.position", s.cursor.position, 0},
                          {"cursor.count", s.cursor_count, 0},
                          {"documents", s.documents, 0},
                          {"tokens", s.tokens, 0},
                          {"window.finite", s.window_finite, 0},
                          {"window.steps", s.window_steps, 0},
                          {"validated", s.validated, -1},
                          {"best.step", s.best_step, -1}};
  for (const Bound& bound : bounds) {
    if (bound.value >= bound.least) continue;
    fail_user(name + ": \"" + bound.key + "\" is " + std::to_string(bound.value) +
              ", expected at least " + std::to_string(bound.least));
  }
  if (s.cursor.position > 0 && s.cursor.position >= s.cursor_count) {
    fail_user(name + ": \"cursor.position\" is " + std::to_string(s.cursor.position) +
              ", expected less than \"cursor.count\", " + std::to_string(s.cursor_count));
  }
  return s;
}

}  // namespace fusec::models
