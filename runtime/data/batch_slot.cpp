// Packs -> the arrays of one batch, in memory that is written anew each time. Image rows past the
// last are zeros: only those that the batch before had used are written.
#include <algorithm>
#include <cstddef>
#include <new>
#include <numeric>

#include "batch_ring.h"
#include "fusec/base/error.h"
#include "load_sample.h"

namespace fusec::data {
namespace {

constexpr size_t kAlign = 256;

size_t aligned(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

std::shared_ptr<void> plain_memory(size_t bytes) {
  return {::operator new (bytes, std::align_val_t{kAlign}),
          [](void* memory) { ::operator delete (memory, std::align_val_t{kAlign}); }};
}

}  // namespace

BatchSlot::BatchSlot(const BatchShape& shape, int32_t pad_token,
                     const std::function<std::shared_ptr<void>(size_t)>& allocate)
    : shape_(shape), pad_token_(pad_token) {
  const auto tokens = static_cast<size_t>(shape.tokens);
  const auto ends = static_cast<size_t>(shape.segments) + 1;
  const auto slots = static_cast<size_t>(shape.slots);
  const size_t values = size_t{3} * static_cast<size_t>(shape.images * shape.side * shape.side);
  const size_t bytes =
      3 * aligned(4 * tokens) + aligned(4 * ends) + aligned(4 * slots) + aligned(4 * values);
  memory_ = allocate ? allocate(bytes) : plain_memory(bytes);
  if (!memory_ || reinterpret_cast<uintptr_t>(memory_.get()) % kAlign != 0) {
    fail_user("pipeline: allocate() gave no " + std::to_string(bytes) + " bytes at a multiple of " +
              std::to_string(kAlign));
  }
  auto* at = static_cast<std::byte*>(memory_.get());
  auto place = [&at](size_t count) {
    auto* here = reinterpret_cast<int32_t*>(at);
    at += aligned(4 * count);
    return here;
  };
  tokens_ = place(tokens);
  positions_ = place(tokens);
  targets_ = place(tokens);
  cu_seqlens_ = place(ends);
  slots_ = place(slots);
  images_ = reinterpret_cast<float*>(at);
  batch.tokens = {tokens_, tokens};
  batch.positions = {positions_, tokens};
  batch.targets = {targets_, tokens};
  batch.cu_seqlens = {cu_seqlens_, ends};
  batch.slots = {slots_, slots};
  batch.images = {images_, values};
  stale_images_ = shape.images;
  clear();
}

void BatchSlot::clear() {
  std::fill_n(tokens_, shape_.tokens, pad_token_);
  std::fill_n(positions_, shape_.tokens, 0);
  std::fill_n(targets_, shape_.tokens, -1);
  std::fill_n(cu_seqlens_, shape_.segments + 1, 0);
  std::fill_n(slots_, shape_.slots, -1);
  const int64_t row = 3 * shape_.side * shape_.side;
  std::fill_n(images_, stale_images_ * row, 0.0f);
  stale_images_ = 0;
  batch.pieces.clear();
  batch.filled = batch.supervised = batch.documents = batch.image_count = 0;
}

void BatchSlot::fill(const std::vector<Pack>& packs, int64_t capacity, int64_t image_tokens,
                     const io::PixelTable& pixels) {
  const int64_t before = stale_images_;
  stale_images_ = 0;
  clear();
  int64_t segments = 0, end = 0;
  for (size_t p = 0; p < packs.size(); ++p) {
    const int64_t base = static_cast<int64_t>(p) * capacity;
    for (const PackPiece& piece : packs[p].pieces) {
      const int64_t at = base + piece.at;
      if (at > end) cu_seqlens_[++segments] = static_cast<int32_t>(at);
      end = at + piece.tokens;
      cu_seqlens_[++segments] = static_cast<int32_t>(end);
      add(piece, at, image_tokens, pixels);
    }
  }
  std::fill(cu_seqlens_ + segments + 1, cu_seqlens_ + shape_.segments + 1,
            static_cast<int32_t>(end));
  stale_images_ = batch.image_count;
  const int64_t row = 3 * shape_.side * shape_.side;
  if (before > stale_images_)
    std::fill(images_ + stale_images_ * row, images_ + before * row, 0.0f);
}

void BatchSlot::add(const PackPiece& piece, int64_t at, int64_t image_tokens,
                    const io::PixelTable& pixels) {
  const auto& sample = *static_cast<const LoadedSample*>(piece.payload.get());
  std::copy_n(sample.tokens.begin() + piece.begin, piece.tokens, tokens_ + at);
  std::copy_n(sample.targets.begin() + piece.begin, piece.tokens, targets_ + at);
  std::iota(positions_ + at, positions_ + at + piece.tokens, 0);
  batch.supervised += std::count_if(targets_ + at, targets_ + at + piece.tokens,
                                    [](int32_t target) { return target >= 0; });
  batch.filled += piece.tokens;
  batch.documents += piece.last;
  batch.pieces.push_back({piece.id, sample.position, piece.begin, piece.tokens, at,
                          batch.image_count, static_cast<int64_t>(piece.spans.size()), piece.last});
  const int64_t row = 3 * shape_.side * shape_.side;
  for (size_t i = 0; i < piece.spans.size(); ++i, ++batch.image_count) {
    const auto image = static_cast<size_t>(piece.first_span) + i;
    std::iota(slots_ + batch.image_count * image_tokens,
              slots_ + (batch.image_count + 1) * image_tokens,
              static_cast<int32_t>(at + piece.spans[i].begin));
    pixels.write_planes(*sample.images[image], images_ + batch.image_count * row);
  }
}

}  // namespace fusec::data
