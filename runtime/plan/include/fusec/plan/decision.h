// Why something was or was not fused: data, not a log line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fusec {

// Answer to a "can we?" question about one candidate edge of the graph.
struct Decision {
  bool verdict = false;
  std::string reason;       // "reduction over other axes", "one consumer, same domain", ...
  int64_t bytes_saved = 0;  // traffic that fusing saves (or would have saved)
  std::string pass;         // who decided
  std::string producer, consumer;  // "map.silu (mlp.cpp:12)"

  static Decision yes(std::string why, int64_t bytes = 0) {
    return {true, std::move(why), bytes, {}, {}, {}};
  }
  static Decision no(std::string why, int64_t bytes = 0) {
    return {false, std::move(why), bytes, {}, {}, {}};
  }
  explicit operator bool() const { return verdict; }
};

}  // namespace fusec
