// Records of a stream -> packs, in the order of the stream, with the state that stands between any
// two batches. One thread calls it; cancel() alone comes from another.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "fusec/data/pipeline.h"
#include "load_sample.h"
#include "sample_workers.h"

namespace fusec::data {

// User Error if one is outside its range.
void check_options(const PipelineOptions& options, const PipelineResources& resources);
BatchShape shape_of(const PipelineOptions& options);

class BatchMaker {
 public:
  BatchMaker(const std::vector<std::string>& paths, const JsonlOptions& stream,
             const PipelineOptions& options, const Render& render,
             const PipelineResources& resources);

  enum class Made : uint8_t { packs, epoch_end, cancelled };
  // The packs of the next batch. Errors of the stream, of workers and of an epoch without
  // documents.
  Made make(std::vector<Pack>& packs);
  // The batch that they became is given: statistics count it, and state() is what follows.
  void count(const PackedBatch& batch);
  uint64_t epoch() const { return delivered_.epoch; }
  void cancel() { workers_.cancel(); }

  PipelineState state() const;
  // Of a maker that has made nothing yet. After an Error it must not be used.
  void set_state(const PipelineState& state);

 private:
  void read_ahead();
  bool take_document();
  void deliver(const SampleJob& job);
  void begin_epoch();
  std::vector<std::shared_ptr<const LoadedSample>> load_waiting(const PipelineState& state);

  const PipelineOptions options_;
  JsonlStream stream_;
  Packer packer_;
  std::deque<std::shared_ptr<SampleJob>> jobs_;  // in the order of the stream
  size_t window_;                                // of them at most
  JsonlState delivered_;                         // behind what the packer has got
  PipelineStatistics statistics_;
  int64_t epoch_documents_ = 0;
  bool ended_ = false;  // nothing more is read: the epoch's end, or an error is on its way
  bool finished_ = false;
  ImageCache images_;
  SampleWorkers workers_;  // the first to go
};

}  // namespace fusec::data
