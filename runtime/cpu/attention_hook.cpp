// Binds a hook's kernels: addresses of what it captured are moved to a tile's corner, call by call.
#include "attention_hook.h"

#include <array>
#include <limits>
#include <sstream>

namespace fusec::cpu {
namespace {

constexpr size_t kMostArguments = 64;

KernelFn kernel_at(const BoundCall& c, const char* key) {
  int64_t i = c.call.integer(key);
  c.require(c.kernels && i >= 0 && i < static_cast<int64_t>(c.kernels->size()),
            "a hook names a kernel of the plan");
  return (*c.kernels)[i];
}

}  // namespace

std::vector<AttentionHook::Load> read_hook_loads(const CheckedCall& c) {
  std::vector<AttentionHook::Load> out;
  if (!c.call.attrs.contains("hook")) return out;
  std::istringstream text(c.call.text("hook_loads"));
  for (std::string one; std::getline(text, one, ';');) {
    std::istringstream numbers(one);
    AttentionHook::Load l{};
    numbers >> l.captured >> l.offset;
    for (int64_t& s : l.step) numbers >> s;
    numbers >> l.wanted;
    c.require(!numbers.fail(),
              "hook_loads names a captured tensor, an offset, four steps and 0 or 1");
    out.push_back(l);
  }
  return out;
}

AttentionHook::AttentionHook(const BoundCall& c, size_t captured_at) {
  if (!c.call.attrs.contains("hook")) return;
  score_ = kernel_at(c, "hook_kernel");
  if (c.call.attrs.contains("hook_mask")) mask_ = kernel_at(c, "hook_mask");
  lanes_ = c.call.integer("hook_lanes");
  tile_size_ = c.call.integer("hook_block") * lanes_;
  loads_ = read_hook_loads(c);
  for (Load& l : loads_) {
    c.require(captured_at + l.captured < c.args.size(), "a load names a captured tensor");
    l.data = c.args[captured_at + l.captured];
    wanted_ += l.wanted;
  }
  c.require(3 + loads_.size() + wanted_ <= kMostArguments, "a hook loads at most 30 elements");
}

void AttentionHook::run(KernelFn kernel, const Place& at, int64_t keys, int64_t queries,
                        float* tile, float* slope, float* by_load) const {
  std::array<int32_t, 4> where = {static_cast<int32_t>(at.item), static_cast<int32_t>(at.head),
                                  static_cast<int32_t>(at.query), static_cast<int32_t>(at.key)};
  std::array<void*, kMostArguments> args;
  size_t n = 0;
  args[n++] = tile, args[n++] = where.data();
  if (slope) args[n++] = slope;
  for (const Load& l : loads_)
    args[n++] = const_cast<std::byte*>(l.data + l.offset + l.step[0] * at.item +
                                       l.step[1] * at.head + l.step[2] * at.query +
                                       l.step[3] * at.key);
  if (slope)
    for (size_t i = 0; i < wanted_; ++i) args[n++] = by_load + static_cast<int64_t>(i) * tile_size_;
  kernel(args.data(), 0, keys, queries);
}

bool AttentionHook::sees_any(const Place& at, int64_t keys, int64_t queries, float* tile) const {
  if (!mask_) return true;
  run(mask_, at, keys, queries, tile, nullptr, nullptr);
  for (int64_t j = 0; j < keys; ++j)
    for (int64_t i = 0; i < queries; ++i)
      if (tile[j * lanes_ + i] == 0) return true;
  return false;
}

void AttentionHook::score(const Place& at, int64_t keys, int64_t queries, float* tile) const {
  run(score_, at, keys, queries, tile, nullptr, nullptr);
}

void AttentionHook::gradient(const Place& at, int64_t keys, int64_t queries, float* tile,
                             float* slope, float* by_load) const {
  run(score_, at, keys, queries, tile, slope, by_load);
}

}  // namespace fusec::cpu
