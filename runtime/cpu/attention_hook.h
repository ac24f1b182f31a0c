// The user's function of scores, as kernels of the plan that work on a tile of scores in place.
#pragma once

#include <vector>

#include "attention.h"

namespace fusec::cpu {

class AttentionHook {
 public:
  struct Load {
    size_t captured;
    int64_t offset, step[4];  // bytes: of the first element; a batch item, head, query, key on
    bool wanted;              // has a gradient
    const std::byte* data;
  };
  // The corner of a tile.
  struct Place {
    int64_t item, head, query, key;  // tokens of the batch item
  };

  AttentionHook() = default;
  // Reads the call's attributes; the captured tensors begin at argument `captured_at`.
  AttentionHook(const BoundCall& call, size_t captured_at);

  bool present() const { return score_ != nullptr; }
  const std::vector<Load>& loads() const { return loads_; }
  size_t wanted() const { return wanted_; }

  // False if the mask hides every key of the tile from every query; overwrites the tile.
  bool sees_any(const Place& at, int64_t keys, int64_t queries, float* tile) const;
  // Products become scores, -inf where the mask hides the key.
  void score(const Place& at, int64_t keys, int64_t queries, float* tile) const;
  // The same; slope: their derivatives by the products; by_load: wanted() tiles one after the
  // other, the derivatives by the loads that are wanted.
  void gradient(const Place& at, int64_t keys, int64_t queries, float* tile, float* slope,
                float* by_load) const;

 private:
  void run(KernelFn kernel, const Place& at, int64_t keys, int64_t queries, float* tile,
           float* slope, float* by_load) const;

  KernelFn mask_ = nullptr, score_ = nullptr;
  int64_t tile_size_ = 0, lanes_ = 0;
  std::vector<Load> loads_;
  size_t wanted_ = 0;
};

// The attribute hook_loads, without addresses; nothing without a hook.
std::vector<AttentionHook::Load> read_hook_loads(const CheckedCall& call);

}  // namespace fusec::cpu
