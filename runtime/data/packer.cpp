// Documents -> packs; see packer.h. What waits lies in one map by arrival, which decides who begins
// a pack, and in sets by length, which decide who fills it.
#include "fusec/data/packer.h"

#include <algorithm>
#include <limits>

#include "fusec/base/error.h"

namespace fusec::data {
namespace {

// More candidates leave no measurable space less.
constexpr int kCandidates = 16;

void check_spans(const std::vector<PackSpan>& spans, int64_t tokens, uint64_t id) {
  int64_t end = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    const PackSpan& span = spans[i];
    // Without sums of what was given: they could overflow.
    if (span.begin >= end && span.length >= 1 && span.begin <= tokens &&
        span.length <= tokens - span.begin) {
      end = span.begin + span.length;
      continue;
    }
    fail_user("document " + std::to_string(id) + " of " + std::to_string(tokens) +
              " tokens: span " + std::to_string(i) + " begins at " + std::to_string(span.begin) +
              " and has " + std::to_string(span.length) +
              " tokens; expected at least one, behind the span before it (which ends at " +
              std::to_string(end) + ") and inside the document");
  }
}

void check_least(const char* name, int64_t value, int64_t least) {
  if (value >= least) return;
  fail_user(std::string("packer: ") + name + " is " + std::to_string(value) +
            ", expected at least " + std::to_string(least));
}

void check(PackerOptions& options) {
  check_least("capacity", options.capacity, 1);
  check_least("max_documents", options.max_documents, 1);
  check_least("max_spans", options.max_spans, 0);
  check_least("buffer_documents", options.buffer_documents, 1);
  if (options.capacity > std::numeric_limits<int32_t>::max()) {
    fail_user("packer: capacity is " + std::to_string(options.capacity) +
              ", expected less than 2^31, since cu_seqlens are i32");
  }
  if (options.policy != PackPolicy::by_length) return;
  if (options.widths.empty()) {
    for (int64_t part : {16, 8, 4, 2, 1})
      if (options.capacity >= part) options.widths.push_back(options.capacity / part);
  }
  int64_t before = 0;
  for (int64_t width : options.widths) {
    if (width <= before) {
      fail_user("packer: width " + std::to_string(width) + " stands behind " +
                std::to_string(before) + "; expected ascending widths from 1");
    }
    before = width;
  }
  if (before != options.capacity) {
    fail_user("packer: the last width is " + std::to_string(before) + ", expected the capacity, " +
              std::to_string(options.capacity));
  }
}

}  // namespace

Packer::Packer(PackerOptions options) : options_(std::move(options)) {
  check(options_);
  shelves_.resize(options_.policy == PackPolicy::by_length ? options_.widths.size() : 1);
  statistics_.capacity = options_.capacity;
}

size_t Packer::shelf_of(const PackPiece& piece) const {
  switch (options_.policy) {
    case PackPolicy::best_fit: return limited_spans() ? piece.spans.size() : 0;
    case PackPolicy::one_per_row: return 0;
    case PackPolicy::by_length: break;
  }
  const auto& widths = options_.widths;
  return static_cast<size_t>(std::lower_bound(widths.begin(), widths.end(), piece.tokens) -
                             widths.begin());
}

Packer::Key Packer::key_of(uint64_t arrival, const PackPiece& piece) const {
  return {options_.policy == PackPolicy::best_fit ? piece.tokens : 0, arrival};
}

int64_t Packer::rows_of(size_t shelf) const {
  if (options_.policy == PackPolicy::one_per_row) return 1;
  return std::min(options_.capacity / options_.widths[shelf], options_.max_documents);
}

bool Packer::wants_documents() const {
  return !finished_ && static_cast<int64_t>(waiting_.size()) < options_.buffer_documents;
}

void Packer::add(PackDocument document) {
  if (finished_) fail_user("packer: add() after finish(); expected no more documents");
  if (!wants_documents()) {
    fail_user("packer: " + std::to_string(waiting_.size()) + " documents wait, the buffer holds " +
              std::to_string(options_.buffer_documents) + "; take packs with next() before add()");
  }
  if (document.tokens < 0) {
    fail_user("document " + std::to_string(document.id) + " has " +
              std::to_string(document.tokens) + " tokens, expected 0 or more");
  }
  check_spans(document.spans, document.tokens, document.id);
  ++statistics_.documents_in;
  statistics_.tokens_in += document.tokens;
  if (document.tokens == 0) return drop(PackDrop::empty, 0);
  for (const PackSpan& span : document.spans)
    if (span.length > options_.capacity) return drop(PackDrop::span_too_long, document.tokens);
  const bool long_text = document.tokens > options_.capacity;
  const bool many_spans =
      limited_spans() && static_cast<int64_t>(document.spans.size()) > options_.max_spans;
  if ((long_text || many_spans) && options_.too_long == TooLong::drop) {
    return drop(long_text ? PackDrop::too_long : PackDrop::too_many_spans, document.tokens);
  }
  if (long_text || many_spans) ++statistics_.documents_split;
  split(std::move(document));
}

void Packer::drop(PackDrop reason, int64_t tokens) {
  ++statistics_.dropped_documents[static_cast<size_t>(reason)];
  statistics_.dropped_tokens[static_cast<size_t>(reason)] += tokens;
}

// One piece if the document fits. No span is longer than a pack, so every piece has a token: the
// cut moves back to a span's begin only if the piece began before it.
void Packer::split(PackDocument document) {
  const std::vector<PackSpan>& spans = document.spans;
  size_t span = 0;
  for (int64_t begin = 0; begin < document.tokens;) {
    int64_t end = begin + std::min(options_.capacity, document.tokens - begin);
    PackPiece piece{.id = document.id, .begin = begin, .first_span = static_cast<int64_t>(span)};
    for (; span < spans.size() && spans[span].begin < end; ++span) {
      const bool full =
          limited_spans() && static_cast<int64_t>(piece.spans.size()) == options_.max_spans;
      if (full || spans[span].begin + spans[span].length > end) {
        end = spans[span].begin;
        break;
      }
      piece.spans.push_back({spans[span].begin - begin, spans[span].length});
    }
    piece.tokens = end - begin;
    piece.last = end == document.tokens;
    piece.payload = document.payload;
    put(std::move(piece));
    begin = end;
  }
}

void Packer::put(PackPiece piece) {
  const size_t shelf = shelf_of(piece);
  if (shelf >= shelves_.size()) shelves_.resize(shelf + 1);
  shelves_[shelf].insert(key_of(arrivals_, piece));
  waiting_.emplace_hint(waiting_.end(), arrivals_, std::move(piece));
  ++arrivals_;
}

PackPiece Packer::take(uint64_t arrival) {
  const auto place = waiting_.find(arrival);
  shelves_[shelf_of(place->second)].erase(key_of(arrival, place->second));
  PackPiece piece = std::move(place->second);
  waiting_.erase(place);
  return piece;
}

// The longest piece of at most so many tokens and spans; of equal ones the oldest.
std::optional<Packer::Key> Packer::fit(int64_t tokens, int64_t spans) const {
  std::optional<Key> best;
  size_t shelves = shelves_.size();
  if (limited_spans()) shelves = std::min(shelves, static_cast<size_t>(spans) + 1);
  for (size_t i = 0; i < shelves; ++i) {
    auto place = shelves_[i].lower_bound({tokens + 1, 0});
    if (place == shelves_[i].begin()) continue;
    const int64_t found = std::prev(place)->first;
    if (best && found < best->first) continue;
    const Key oldest = *shelves_[i].lower_bound({found, 0});
    if (!best || found > best->first || oldest.second < best->second) best = oldest;
  }
  return best;
}

// Of the longest pieces that fit, `longest` first, the one that leaves the least space together
// with the longest that fits behind it.
Packer::Key Packer::best_fit(int64_t tokens, int64_t spans, Key longest) const {
  Key best = longest;
  int64_t most = 0;
  std::optional<Key> candidate = longest;
  for (int i = 0; candidate && i < kCandidates && most < tokens; ++i) {
    int64_t used = 0;
    if (limited_spans())
      used = static_cast<int64_t>(waiting_.find(candidate->second)->second.spans.size());
    const std::optional<Key> second = fit(tokens - candidate->first, spans - used);
    const bool pair = second && second->second != candidate->second;
    const int64_t sum = candidate->first + (pair ? second->first : 0);
    if (sum > most) {
      most = sum;
      best = *candidate;
    }
    candidate = fit(candidate->first - 1, spans);
  }
  return best;
}

Pack Packer::fill_best_fit() {
  Pack pack;
  int64_t spans = options_.max_spans;
  auto append = [&](uint64_t arrival) {
    PackPiece piece = take(arrival);
    piece.at = pack.tokens;
    pack.tokens += piece.tokens;
    if (limited_spans()) spans -= static_cast<int64_t>(piece.spans.size());
    pack.pieces.push_back(std::move(piece));
  };
  // At the end nobody can wait too long, and the longest are the hardest to place.
  append(finished_ ? fit(options_.capacity, spans)->second : waiting_.begin()->first);
  for (;;) {
    const int64_t left = options_.capacity - pack.tokens;
    const int64_t places = options_.max_documents - static_cast<int64_t>(pack.pieces.size());
    if (left == 0 || places == 0) break;
    const std::optional<Key> longest = fit(left, spans);
    if (!longest) break;
    append(places == 1 ? longest->second : best_fit(left, spans, *longest).second);
  }
  pack.width = options_.capacity;
  return pack;
}

// A shelf whose rows fill a pack or, when no more documents can come, the one that comes nearest.
std::optional<size_t> Packer::full_shelf() const {
  size_t nearest = 0;
  double share = 0;
  for (size_t i = 0; i < shelves_.size(); ++i) {
    const double filled = static_cast<double>(shelves_[i].size()) / static_cast<double>(rows_of(i));
    if (filled >= 1) return i;
    if (filled > share) {
      share = filled;
      nearest = i;
    }
  }
  if (share == 0 || wants_documents()) return std::nullopt;
  return nearest;
}

Pack Packer::fill_rows(size_t shelf) {
  Pack pack;
  pack.rows = rows_of(shelf);
  pack.width =
      options_.policy == PackPolicy::by_length ? options_.widths[shelf] : options_.capacity;
  int64_t spans = 0;
  while (!shelves_[shelf].empty() && static_cast<int64_t>(pack.pieces.size()) < pack.rows) {
    const uint64_t oldest = shelves_[shelf].begin()->second;
    spans += static_cast<int64_t>(waiting_.find(oldest)->second.spans.size());
    if (limited_spans() && spans > options_.max_spans) break;
    PackPiece piece = take(oldest);
    piece.at = pack.width * static_cast<int64_t>(pack.pieces.size());
    pack.tokens += piece.tokens;
    pack.pieces.push_back(std::move(piece));
  }
  return pack;
}

std::optional<Pack> Packer::next() {
  if (waiting_.empty()) return std::nullopt;
  Pack pack;
  if (options_.policy == PackPolicy::best_fit) {
    if (wants_documents()) return std::nullopt;
    pack = fill_best_fit();
  } else {
    const std::optional<size_t> shelf = full_shelf();
    if (!shelf) return std::nullopt;
    pack = fill_rows(*shelf);
  }
  close(pack);
  return pack;
}

void Packer::close(Pack& pack) {
  const PackPiece& last = pack.pieces.back();
  const int64_t end =
      options_.policy == PackPolicy::by_length ? last.at + pack.width : last.at + last.tokens;
  pack.cu_seqlens.assign(static_cast<size_t>(options_.max_documents) + 1,
                         static_cast<int32_t>(end));
  ++statistics_.packs;
  statistics_.padded_out += pack.rows * pack.width;
  statistics_.tokens_out += pack.tokens;
  statistics_.pieces_out += static_cast<int64_t>(pack.pieces.size());
  for (size_t i = 0; i < pack.pieces.size(); ++i) {
    const PackPiece& piece = pack.pieces[i];
    pack.cu_seqlens[i] = static_cast<int32_t>(piece.at);
    statistics_.documents_out += piece.last;
    statistics_.longest = std::max(statistics_.longest, piece.tokens);
  }
}

int64_t Packer::waiting_documents() const {
  return std::count_if(waiting_.begin(), waiting_.end(),
                       [](const auto& entry) { return entry.second.last; });
}

int64_t Packer::waiting_tokens() const {
  int64_t tokens = 0;
  for (const auto& [arrival, piece] : waiting_) tokens += piece.tokens;
  return tokens;
}

PackerState Packer::state() const {
  PackerState state{options_, {}, statistics_, finished_};
  for (const auto& [arrival, piece] : waiting_) state.waiting.push_back(piece);
  return state;
}

void Packer::set_state(PackerState state) {
  if (state.options != options_) {
    fail_user(
        "packer: the saved state was made with other options; set those, or start the data "
        "anew");
  }
  int64_t tokens = 0, documents = 0;
  for (const PackPiece& piece : state.waiting) {
    if (piece.tokens < 1 || piece.tokens > options_.capacity || piece.begin < 0 ||
        piece.first_span < 0 ||
        (limited_spans() && static_cast<int64_t>(piece.spans.size()) > options_.max_spans)) {
      fail_user("packer: the saved state holds a piece of document " + std::to_string(piece.id) +
                " with " + std::to_string(piece.tokens) + " tokens and " +
                std::to_string(piece.spans.size()) +
                " spans, which its options cannot give; the state is damaged");
    }
    check_spans(piece.spans, piece.tokens, piece.id);
    tokens += piece.tokens;
    documents += piece.last;
  }
  const PackStatistics& s = state.statistics;
  if (s.capacity != options_.capacity ||
      s.tokens_in != s.tokens_out + s.tokens_dropped() + tokens ||
      s.documents_in != s.documents_out + s.documents_dropped() + documents) {
    fail_user("packer: the saved state took " + std::to_string(s.documents_in) + " documents and " +
              std::to_string(s.tokens_in) +
              " tokens, which is not what came out, was dropped or waits; the state is damaged");
  }
  waiting_.clear();
  for (std::set<Key>& shelf : shelves_) shelf.clear();
  arrivals_ = 0;
  for (PackPiece& piece : state.waiting) put(std::move(piece));
  statistics_ = s;
  finished_ = state.finished;
}

}  // namespace fusec::data
