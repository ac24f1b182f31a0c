#include "batch_maker.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <map>
#include <utility>

#include "fusec/base/error.h"
#include "fusec/base/utf8.h"
#include "fusec/io/json.h"

namespace fusec::data {
namespace {

// More reasons are counted as one: a caller that names each document must not fill the memory.
constexpr size_t kMostReasons = 64;
constexpr const char* kOtherReason = "other";

void check_range(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return;
  fail_user(std::string("pipeline: ") + name + " is " + std::to_string(value) + ", expected " +
            std::to_string(least) + " to " + std::to_string(most));
}

const char* name_of(OnBad policy) { return policy == OnBad::error ? "error" : "drop"; }

// Everything but the packer's and the stream's options, which say themselves what differs.
std::string options_text(const PipelineOptions& o) {
  std::string text = "packs " + std::to_string(o.packs) + ", pad token " +
                     std::to_string(o.pad_token) + ", epochs " +
                     (o.epoch_end == EpochEnd::carry ? "carry" : "flush") + ", bad documents " +
                     name_of(o.bad_documents) + ", bad images " + name_of(o.bad_images);
  if (o.images.side == 0) return text;
  text += ", images " + std::to_string(o.images.side) + " pixels " +
          std::to_string(o.images.tokens) + " tokens " + io::name_of(o.images.fit) + " at most " +
          std::to_string(o.images.max_pixels);
  for (const auto& numbers : {o.images.scale.mean, o.images.scale.deviation})
    for (double number : numbers) {
      char digits[32];
      std::snprintf(digits, sizeof digits, " %.17g", number);
      text += digits;
    }
  return text;
}

int64_t images_of(const PipelineOptions& o) {
  if (o.images.side == 0) return 0;
  const int64_t fit = o.packer.capacity / o.images.tokens;
  return o.packs * (o.packer.max_spans > 0 ? std::min(o.packer.max_spans, fit) : fit);
}

// Pieces, and the gaps that may lie before another piece.
int64_t segments_of(const PackerOptions& o) {
  switch (o.policy) {
    case PackPolicy::best_fit: return o.max_documents + 1;
    case PackPolicy::one_per_row: return 2;
    case PackPolicy::by_length: break;
  }
  return 2 * std::min(o.max_documents, o.capacity);
}

[[noreturn]] void fail_empty_epoch(const JsonlState& stream, const std::string& found) {
  fail_user("pipeline: epoch " + std::to_string(stream.epoch) + " had " + found + " for rank " +
            std::to_string(stream.options.rank) + " of " + std::to_string(stream.options.world) +
            "; expected at least one document a rank (is the data set empty, or does a policy drop "
            "all of it?)");
}

}  // namespace

void check_options(const PipelineOptions& o, const PipelineResources& resources) {
  constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();
  check_range("packer.capacity", o.packer.capacity, 1, kMostTokens);
  check_range("packs", o.packs, 1, kMostTokens / o.packer.capacity);
  check_range("packer.max_documents", o.packer.max_documents, 1, kMostTokens / 4 / o.packs);
  check_range("pad_token", o.pad_token, 0, kMostTokens);
  check_range("images.side", o.images.side, 0, io::kMaxImageSide);
  if (o.images.side > 0) {
    check_range("images.tokens", o.images.tokens, 1, o.packer.capacity);
    check_range("images.max_pixels", o.images.max_pixels, 1, io::kMaxImagePixels);
  }
  check_range("workers", resources.workers, 1, 1024);
  check_range("prefetch", resources.prefetch, 1, 1024);
}

BatchShape shape_of(const PipelineOptions& o) {
  BatchShape shape{.tokens = o.packs * o.packer.capacity,
                   .segments = o.packs * segments_of(o.packer)};
  shape.images = images_of(o);
  if (shape.images == 0) return shape;
  shape.side = o.images.side;
  shape.slots = shape.images * o.images.tokens;
  return shape;
}

BatchMaker::BatchMaker(const std::vector<std::string>& paths, const JsonlOptions& stream,
                       const PipelineOptions& options, const Render& render,
                       const PipelineResources& resources)
    : options_(options),
      stream_(paths, stream),
      packer_(options.packer),
      window_(std::max<size_t>(16, 8 * static_cast<size_t>(resources.workers))),
      delivered_(stream_.state()),
      images_(resources.image_cache_bytes),
      workers_(resources.workers, [this, render](const JsonlRecord& record) {
        const auto file = static_cast<size_t>(record.position.file);
        return load_sample(record, stream_.files()[file], render, options_, images_);
      }) {
  statistics_.packs = packer_.statistics();
}

void BatchMaker::read_ahead() {
  while (!ended_ && jobs_.size() < window_) {
    auto job = std::make_shared<SampleJob>();
    try {
      std::optional<JsonlRecord> record = stream_.next();
      if (!record && options_.epoch_end == EpochEnd::carry) {
        stream_.next_epoch();
        record = stream_.next();
        if (!record) fail_empty_epoch(stream_.state(), "no document");
      }
      if (!record) {
        ended_ = true;
        return;
      }
      job->record = std::move(*record);
      job->after = stream_.state();
    } catch (...) {  // thrown when its turn comes
      job->error = std::current_exception();
      job->done = ended_ = true;
    }
    jobs_.push_back(job);
    if (!ended_) workers_.submit(job);
  }
}

// The next document goes to the packer, or it learns that there is none; false: cancelled.
bool BatchMaker::take_document() {
  read_ahead();
  if (jobs_.empty()) {
    packer_.finish();
    finished_ = true;
    delivered_ = stream_.state();
    return true;
  }
  const std::shared_ptr<SampleJob> job = jobs_.front();
  if (!workers_.wait(*job)) return false;
  jobs_.pop_front();
  if (job->error) std::rethrow_exception(job->error);
  deliver(*job);
  return true;
}

void BatchMaker::deliver(const SampleJob& job) {
  if (job.after.epoch != delivered_.epoch) {
    if (epoch_documents_ == 0) fail_empty_epoch(delivered_, "no document that was not dropped");
    epoch_documents_ = 0;
  }
  delivered_ = job.after;
  const auto id = static_cast<uint64_t>(statistics_.documents++);
  if (const auto* drop = std::get_if<LoadedDrop>(&job.loaded)) {
    std::string reason = io::excerpt(drop->reason);
    const bool known = statistics_.dropped.count(reason) > 0;
    if (!known && (statistics_.dropped.size() >= kMostReasons || !is_utf8(reason)))
      reason = kOtherReason;
    if (statistics_.first_dropped.empty())
      statistics_.first_dropped = io::excerpt(drop->message, 400);
    DropCount& count = statistics_.dropped[reason];
    ++count.documents;
    count.tokens += drop->tokens;
    statistics_.tokens += drop->tokens;
    return;
  }
  const auto& sample = std::get<std::shared_ptr<const LoadedSample>>(job.loaded);
  const auto tokens = static_cast<int64_t>(sample->tokens.size());
  statistics_.tokens += tokens;
  const int64_t dropped = packer_.statistics().documents_dropped();
  packer_.add({id, tokens, sample->spans, sample});
  if (packer_.statistics().documents_dropped() == dropped) ++epoch_documents_;
}

BatchMaker::Made BatchMaker::make(std::vector<Pack>& packs) {
  packs.clear();
  while (static_cast<int64_t>(packs.size()) < options_.packs) {
    if (std::optional<Pack> pack = packer_.next()) {
      packs.push_back(std::move(*pack));
      continue;
    }
    if (finished_) break;
    if (!take_document()) return Made::cancelled;
  }
  if (!packs.empty()) return Made::packs;
  begin_epoch();
  return Made::epoch_end;
}

void BatchMaker::begin_epoch() {
  stream_.next_epoch();
  delivered_ = stream_.state();
  packer_.set_state({packer_.options(), {}, packer_.statistics(), false});
  epoch_documents_ = 0;
  ended_ = finished_ = false;
}

void BatchMaker::count(const PackedBatch& batch) {
  ++statistics_.batches;
  statistics_.supervised += batch.supervised;
  statistics_.images += batch.image_count;
}

PipelineState BatchMaker::state() const {
  PipelineState state;
  state.options = options_text(options_);
  state.stream = delivered_;
  PackerState packer = packer_.state();
  state.packer = std::move(packer.options);
  state.waiting.reserve(packer.waiting.size());
  for (const PackPiece& piece : packer.waiting) {
    const auto& sample = *static_cast<const LoadedSample*>(piece.payload.get());
    state.waiting.push_back({piece.id, sample.position, piece.begin, piece.tokens, sample.digest});
  }
  state.finished = finished_;
  state.epoch_documents = epoch_documents_;
  state.statistics = statistics_;
  state.statistics.lines = delivered_.statistics;
  state.statistics.packs = packer_.statistics();
  return state;
}

// The sample of each waiting piece; pieces of one document share theirs.
std::vector<std::shared_ptr<const LoadedSample>> BatchMaker::load_waiting(
    const PipelineState& state) {
  std::map<uint64_t, std::shared_ptr<SampleJob>> jobs;
  for (const WaitingPiece& piece : state.waiting) {
    std::shared_ptr<SampleJob>& job = jobs[piece.id];
    if (job) continue;
    job = std::make_shared<SampleJob>();
    job->record = stream_.read_at(piece.position);
    workers_.submit(job);
  }
  std::vector<std::shared_ptr<const LoadedSample>> samples;
  for (const WaitingPiece& piece : state.waiting) {
    const SampleJob& job = *jobs[piece.id];
    workers_.wait(job);
    if (job.error) std::rethrow_exception(job.error);
    if (const auto* drop = std::get_if<LoadedDrop>(&job.loaded))
      fail_user(drop->message + "; it was a document of the saved state, bring it back");
    const auto& sample = std::get<std::shared_ptr<const LoadedSample>>(job.loaded);
    if (sample->digest != piece.digest || sample->position != piece.position) {
      fail_user(job.record.place +
                ": the document has other tokens than when the state was saved; bring back the "
                "data, tokenizer and template of that run, or start the data anew");
    }
    samples.push_back(sample);
  }
  return samples;
}

void BatchMaker::set_state(const PipelineState& state) {
  if (const std::string own = options_text(options_); state.options != own) {
    fail_user("pipeline: the saved state was made with other options (" +
              io::excerpt(state.options, 400) + ") than there are now (" + own +
              "); set those, or start the data anew");
  }
  stream_.set_state(state.stream);
  const auto samples = load_waiting(state);
  PackerState packer{state.packer, {}, state.statistics.packs, state.finished};
  for (size_t i = 0; i < samples.size(); ++i) {
    const WaitingPiece& waiting = state.waiting[i];
    const auto tokens = static_cast<int64_t>(samples[i]->tokens.size());
    bool sound = waiting.begin >= 0 && waiting.begin < tokens && waiting.tokens >= 1 &&
                 waiting.tokens <= tokens - waiting.begin;
    const int64_t end = sound ? waiting.begin + waiting.tokens : 0;
    PackPiece piece{.id = waiting.id, .begin = waiting.begin, .tokens = waiting.tokens};
    piece.last = end == tokens;
    piece.payload = samples[i];
    for (const PackSpan& span : samples[i]->spans) {
      const int64_t span_end = span.begin + span.length;
      if (span_end <= waiting.begin) ++piece.first_span;
      if (span_end <= waiting.begin || span.begin >= end) continue;
      sound = sound && span.begin >= waiting.begin && span_end <= end;
      piece.spans.push_back({span.begin - waiting.begin, span.length});
    }
    if (!sound) {
      fail_user("pipeline: the saved state holds tokens " + std::to_string(waiting.begin) +
                " and " + std::to_string(waiting.tokens) + " more of document " +
                std::to_string(waiting.id) + " of " + std::to_string(tokens) +
                ", which cuts an image or lies outside of it; the state is damaged");
    }
    packer.waiting.push_back(std::move(piece));
  }
  packer_.set_state(std::move(packer));
  delivered_ = state.stream;
  statistics_ = state.statistics;
  epoch_documents_ = state.epoch_documents;
  finished_ = state.finished;
}

}  // namespace fusec::data
