// Greedy growth of a set of repeated steps; see recompute_model.h. Sets only grow, so they are
// nested; everything is decided by the graph, never by a clock or a hash.
#include "recompute_model.h"

#include <algorithm>

namespace fusec::passes {
namespace {

constexpr int kLongestChain = 12;  // steps that one move may add
constexpr int kRounds = 50;        // sets from no recompute to an empty peak, at most

}  // namespace

RecomputeModel::RecomputeModel(std::vector<RecomputeStep> steps, std::vector<RecomputeValue> values)
    : steps_(std::move(steps)),
      values_(std::move(values)),
      readers_(values_.size()),
      consumers_(steps_.size()),
      last_(steps_.size(), -1),
      chosen_(steps_.size(), false),
      second_(steps_.size(), -1) {
  for (size_t s = 0; s < steps_.size(); ++s)
    for (int v : steps_[s].reads) {
      readers_[v].push_back(static_cast<int>(s));
      if (int k = values_[v].step; k >= 0) consumers_[k].push_back(static_cast<int>(s));
    }
  now_ = load(second_);
  first_peak_ = now_.peak;
  int peak = static_cast<int>(now_.at / 2);
  for (size_t k = 0; k < steps_.size(); ++k) {
    if (!steps_[k].repeatable) continue;
    int from = static_cast<int>(k), widest = 1;
    bool before = from < peak;
    if (before) last_[k] = from;
    for (int reader : consumers_[k]) {
      if (before && reader <= peak) last_[k] = reader;
      if (!before && reader - from > widest) widest = reader - from, last_[k] = from;
      from = reader;
    }
  }
}

bool RecomputeModel::reads_copy(int step, int reader, bool copy) const {
  if (second_[step] < 0) return false;
  return (copy ? second_[reader] : reader) > last_[step];
}

// Where the copies of the chosen steps stand: before the first that needs them, copies included.
std::vector<int> RecomputeModel::places(const std::vector<bool>& chosen) const {
  std::vector<int> at(steps_.size(), -1);
  for (int k = static_cast<int>(steps_.size()) - 1; k >= 0; --k) {
    if (!chosen[k]) continue;
    for (int reader : consumers_[k]) {
      for (int place : {reader, at[reader]})
        if (place > last_[k] && (at[k] < 0 || place < at[k])) at[k] = place;
    }
  }
  return at;
}

RecomputeModel::Load RecomputeModel::load(const std::vector<int>& second) const {
  Load out;
  size_t slots = 2 * steps_.size() + 2;
  out.bytes.assign(slots, 0);
  auto add = [&](size_t first, size_t last, int64_t bytes) {
    out.bytes[first] += bytes;
    if (last + 1 < slots) out.bytes[last + 1] -= bytes;
  };
  for (size_t v = 0; v < values_.size(); ++v) {
    int k = values_[v].step;
    if (k < 0 || values_[v].bytes == 0) continue;
    size_t made = 2 * static_cast<size_t>(k) + 1, until = made, copied = 0, copy_until = 0;
    if (second[k] >= 0) copied = copy_until = 2 * static_cast<size_t>(second[k]);
    for (int reader : readers_[v])
      for (bool copy : {false, true}) {
        int place = copy ? second[reader] : reader;
        if (place < 0) continue;
        size_t slot = 2 * static_cast<size_t>(place) + (copy ? 0 : 1);
        size_t& end = second[k] >= 0 && place > last_[k] ? copy_until : until;
        end = std::max(end, slot);
      }
    add(made, until, values_[v].bytes);
    if (second[k] >= 0) add(copied, copy_until, values_[v].bytes);
  }
  int64_t live = 0;
  out.peak = -1;
  for (size_t t = 0; t < slots; ++t) {
    out.bytes[t] = live += out.bytes[t];
    if (live > out.peak) out.peak = live, out.at = t;
  }
  return out;
}

// Steps whose results the copies of `steps` would keep alive longer.
void RecomputeModel::add_needed(std::vector<int>& steps) const {
  std::vector<bool> chosen = chosen_;
  for (int s : steps) chosen[s] = true;
  std::vector<int> second = places(chosen);
  std::vector<int> more;
  for (int s : steps)
    for (int v : steps_[s].reads) {
      int k = values_[v].step;
      if (k < 0 || chosen[k] || last_[k] < 0 || values_[v].bytes == 0) continue;
      // Still read after the copy would run, by an original or by a copy there already is.
      bool there = false;
      for (int reader : readers_[v])
        there = there || reader >= second[s] || (chosen_[reader] && second_[reader] >= second[s]);
      if (!there && last_[k] < second[s]) more.push_back(k), chosen[k] = true;
    }
  steps.insert(steps.end(), more.begin(), more.end());
}

// The best of: this step alone, with what it needs, with what that needs, ...
RecomputeModel::Move RecomputeModel::best_move(int step, size_t at) const {
  Move best;
  std::vector<int> steps = {step};
  for (;;) {
    std::vector<bool> chosen = chosen_;
    double cost = 0;
    for (int s : steps) chosen[s] = true, cost += steps_[s].cost;
    Load then = load(places(chosen));
    double saved = static_cast<double>(now_.bytes[at] - then.bytes[at]);
    double score = saved / std::max(cost, 1.0);
    if (saved > 0 && then.peak <= now_.peak && score > best.score) best = {steps, score};
    size_t before = steps.size();
    add_needed(steps);
    if (steps.size() == before || steps.size() > kLongestChain) return best;
  }
}

bool RecomputeModel::accept(const Move& move, size_t at) {
  std::vector<bool> chosen = chosen_;
  for (int s : move.steps) chosen[s] = true;
  if (chosen == chosen_) return false;
  std::vector<int> second = places(chosen);
  Load then = load(second);
  if (then.peak > now_.peak || then.bytes[at] >= now_.bytes[at]) return false;
  chosen_ = std::move(chosen), second_ = std::move(second), now_ = std::move(then);
  return true;
}

bool RecomputeModel::grow() {
  int64_t target = now_.peak - first_peak_ / kRounds;
  bool grown = false;
  for (bool again = true; again && now_.peak > target;) {
    again = false;
    size_t at = now_.at;
    std::vector<Move> moves;
    for (size_t k = 0; k < steps_.size(); ++k)
      if (last_[k] >= 0 && !chosen_[k] && 2 * k + 1 < at)
        if (Move m = best_move(static_cast<int>(k), at); m.score > 0) moves.push_back(std::move(m));
    std::stable_sort(moves.begin(), moves.end(),
                     [](const Move& a, const Move& b) { return a.score > b.score; });
    for (const Move& m : moves) {
      if (!accept(m, at)) continue;
      grown = again = true;
      if (now_.peak <= target || now_.at != at) break;
    }
  }
  return grown;
}

}  // namespace fusec::passes
