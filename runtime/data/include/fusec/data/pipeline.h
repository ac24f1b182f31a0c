// JSONL files -> batches of packed documents with their images, ready before a training step asks:
//
//   stream -> workers: render, decode, resize -> packer -> ring of batches in (pinned) memory
//
// One thread reads, packs and fills; the workers' results are taken in the order of the stream, so
// that batches are a function of (files, options, state) whatever the number of workers and their
// timing. Images wait as 8-bit squares (side * side * 3 bytes each for every document in the
// packer's buffer) and become f32 when their batch is filled: an encoder reads what it would
// compute with, and 32 pictures of 224 x 224 are 19 MB, less than a millisecond of a GPU's bus.
//
// Refused with file and line: samples that contradict themselves; what render() or an image's file
// has against a document, unless the options say to drop and count it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/data/jsonl.h"
#include "fusec/data/packer.h"
#include "fusec/data/pipeline_state.h"
#include "fusec/data/sample.h"
#include "fusec/io/pixels.h"

namespace fusec::data {

enum class OnBad : uint8_t { error, drop };

enum class EpochEnd : uint8_t {
  // The next epoch's documents go on filling packs: batches never end, on any rank, and what waits
  // in the packer's buffer stays there. For training.
  carry,
  // What waits is packed, and next() gives an empty lease once; the next call begins the following
  // epoch. Without shuffling every epoch has the same batches. For validation. Ranks may come to
  // different numbers of batches: one that is done takes part in a common step with empty_batch(),
  // which adds nothing to any sum.
  flush,
};

struct PipelineImages {
  int side = 0;        // pixels; 0: none, and a document that has one is refused
  int64_t tokens = 0;  // of each, the length of its span; from 1
  io::ImageFit fit = io::ImageFit::pad;
  io::PixelScale scale = io::PixelScale::white_is_zero();
  int64_t max_pixels = int64_t{1} << 26;  // that a file may claim
  std::string root;  // of relative paths; empty: the folder of the document's file
};

// What batches hold.
struct PipelineOptions {
  PackerOptions packer;  // where there are images, max_spans of them a pack, from 1
  int64_t packs = 1;     // of a batch, one behind the other on one axis of tokens
  PipelineImages images;
  int32_t pad_token = 0;
  EpochEnd epoch_end = EpochEnd::carry;
  OnBad bad_documents = OnBad::error;  // user Errors of render()
  OnBad bad_images = OnBad::error;     // missing or not to be decoded
};

// What it takes to make them; no part of the result.
struct PipelineResources {
  int workers = 2;   // threads that render and decode, from 1
  int prefetch = 2;  // batches that are ready, from 1, beside the one that is leased
  // Squares that are kept in memory, for sets whose images come up again and again.
  size_t image_cache_bytes = size_t{64} << 20;
  // Memory of batches: `bytes` bytes at a multiple of 256, which the last copy of the pointer
  // frees. Empty: plain memory. Pinned memory lets a GPU take a batch while it computes.
  std::function<std::shared_ptr<void>(size_t bytes)> allocate;
};

// Sizes of every batch.
struct BatchShape {
  int64_t tokens = 0;    // packs * capacity
  int64_t segments = 0;  // of cu_seqlens
  int64_t images = 0, side = 0;
  int64_t slots = 0;  // images * tokens of each
};

struct BatchPiece {
  uint64_t id = 0;  // of the document: its number among those read
  JsonlPosition position;
  int64_t begin = 0, tokens = 0;  // of the document
  int64_t at = 0;                 // in the batch
  int64_t image = 0, images = 0;  // its rows of `images`
  bool last = true;               // the document's last piece
};

struct PackedBatch {
  std::span<const int32_t> tokens;     // [T], pad_token where no piece is
  std::span<const int32_t> positions;  // [T], from 0 in every piece; 0 where none is
  std::span<const int32_t> targets;    // [T], -1: not supervised
  // [segments + 1], what attention() takes: segment i has the tokens from entry i to entry i + 1.
  // Each piece is one, and so is each gap before another piece, so that nothing sees padding.
  // Entries past the last piece repeat its end.
  std::span<const int32_t> cu_seqlens;
  std::span<const int32_t> slots;  // [images * tokens each], places on the axis of tokens, or -1
  std::span<const float> images;   // [images, 3, side, side], zeros past the last
  std::vector<BatchPiece> pieces;  // in the order of their tokens
  int64_t filled = 0;              // tokens of pieces
  int64_t supervised = 0;          // targets that are not -1
  int64_t documents = 0;           // whose last piece is here
  int64_t image_count = 0;
  uint64_t number = 0;  // of the batch, from 0
  uint64_t epoch = 0;   // of the last document that was read for it
};

class FUSEC_API BatchPipeline {
 private:
  class Core;
  struct Leased;

 public:
  // User Errors: an option outside its range, and what JsonlStream refuses.
  BatchPipeline(const std::vector<std::string>& paths, JsonlOptions stream, PipelineOptions options,
                Render render, PipelineResources resources = {});
  // Waits for what the threads have in hand, not for what they could do.
  ~BatchPipeline();
  BatchPipeline(const BatchPipeline&) = delete;
  BatchPipeline& operator=(const BatchPipeline&) = delete;

  // A batch whose memory stays as it is until the lease ends. Empty at the end of an epoch.
  class FUSEC_API Lease {
   public:
    Lease() = default;
    explicit operator bool() const { return leased_ != nullptr; }
    const PackedBatch& operator*() const;
    const PackedBatch* operator->() const { return &**this; }
    // As BatchPipeline::state() right after this batch was given.
    const PipelineState& state() const;

   private:
    friend class BatchPipeline;
    std::shared_ptr<const Leased> leased_;
  };

  // Starts the threads, if they do not run: what else would be done by the first next().
  void start();
  // The next batch, waiting for it if need be. What went wrong is thrown after the last batch
  // before it, and again by each later call. With as many leases as there are batches in memory
  // (prefetch + 1) it is a user Error, since none could come.
  Lease next();
  // A batch of padding alone.
  const PackedBatch& empty_batch();

  // What follows the last batch that next() gave. A pipeline of the same files and options that is
  // set to it gives the very batches that this one would have given.
  const PipelineState& state() const;
  // User Error, after which the pipeline is as it was, if the state is of other files or options,
  // or a document that waited cannot be made again.
  void set_state(const PipelineState& state);

  // As of the last batch that next() gave.
  const PipelineStatistics& statistics() const { return state().statistics; }
  const BatchShape& shape() const;
  // What next() has waited, in all: divided by the time of the run, the share that data cost.
  double wait_seconds() const;

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace fusec::data
