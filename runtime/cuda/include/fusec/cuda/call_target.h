// What the code of a library call may know of the GPU. Its text depends on nothing else beside the
// call itself, so code made for one CallTarget is found again by whoever asks with an equal one.
#pragma once

#include <cstdint>

namespace fusec::cuda {

struct CallTarget {
  int major = 9, minor = 0;
  int sm_count = 132;
  int64_t shared_per_block = 232448;
  bool deterministic = false;
  // No form of one architecture alone (FUSEC_ATTENTION).
  bool portable_attention = false;
  // Every lane of a warp arrives where one for all would do (FUSEC_RACECHECK).
  bool lanes_arrive = false;
  bool operator==(const CallTarget&) const = default;
};

}  // namespace fusec::cuda
