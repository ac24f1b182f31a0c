// Each way runs once to load its code and once to see how long it takes; then the ways take turns,
// round by round, so that a clock that falls or a neighbour that wakes meets all of them.
#include "gemm_tune.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "events.h"

namespace fusec::cuda {
namespace {

constexpr int kRounds = 7;
constexpr double kLeastSeconds = 200e-6;  // of one measurement: events resolve half a microsecond
constexpr double kMostRepeats = 20;
constexpr double kAlike = 1.01;

struct Way {
  int index, repeats;
  std::vector<double> seconds = {};  // of one execution, by round
};

double median(std::vector<double> values) {
  auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

int fastest(const Stream& stream, int count, const std::function<int(int)>& run) {
  std::vector<Way> ways;
  Events first(2);
  for (int i = 0; i < count; ++i) {
    if (run(i) != 0) continue;
    first.record(0, stream);
    if (run(i) != 0) continue;
    first.record(1, stream);
    stream.wait("timing a matrix product");
    double once = std::max(first.seconds(0, 1), 1e-9);
    ways.push_back({i, static_cast<int>(std::min(std::ceil(kLeastSeconds / once), kMostRepeats))});
  }
  if (ways.size() < 2) return ways.empty() ? -1 : ways[0].index;

  Events events(ways.size() * 2);
  for (int round = 0; round < kRounds; ++round) {
    for (size_t w = 0; w < ways.size(); ++w) {
      events.record(2 * w, stream);
      for (int r = 0; r < ways[w].repeats; ++r)
        if (run(ways[w].index) != 0) ways[w].repeats = 0;
      events.record(2 * w + 1, stream);
    }
    stream.wait("timing a matrix product");
    for (size_t w = 0; w < ways.size(); ++w)
      ways[w].seconds.push_back(events.seconds(2 * w, 2 * w + 1) / ways[w].repeats);
  }
  double least = INFINITY;
  for (const Way& w : ways)
    if (w.repeats > 0) least = std::min(least, median(w.seconds));
  for (const Way& w : ways)
    if (w.repeats > 0 && median(w.seconds) <= least * kAlike) return w.index;
  return -1;
}

std::mutex& running_products() {
  static std::mutex mutex;
  return mutex;
}

void fill_with_noise(const Stream& stream, CuAddress to, int64_t bytes) {
  // 16-bit words: a sign, an exponent near 1 for f32, bf16 and f16 (small for f64), 7 random bits.
  constexpr int64_t kWords = 1 << 16;
  std::vector<uint16_t> words(kWords);
  uint64_t state = 1;
  for (uint16_t& w : words) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    w = static_cast<uint16_t>(0x3f00 | (state >> 48 & 0x807f));
  }
  constexpr int64_t kChunk = kWords * 2;
  for (int64_t at = 0; at < bytes; at += kChunk)
    copy_to_device(to + static_cast<CuAddress>(at), words.data(), std::min(kChunk, bytes - at),
                   stream, "filling the operand of a matrix product");
  stream.wait("filling the operand of a matrix product");
}

}  // namespace fusec::cuda
