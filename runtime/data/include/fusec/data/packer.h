// Documents of any length -> packs of at most `capacity` tokens, so that a training step computes
// on next to no padding. Documents wait in a bounded buffer; a pack begins with the one that has
// waited longest, so that each comes out after at most as many packs as the buffer holds documents,
// and is filled by best fit: of sixteen candidates the one that, with the longest that fits behind
// it, leaves the least space. Both searches are in sets ordered by length, O(log n) a document.
//
// Spans (images) are never cut. Nothing is lost: tokens in are tokens out, counted drops and what
// waits. The same documents and options give the same packs, and so does a packer restored from a
// saved state. Two other policies make rows without packing through the same interface.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fusec/base/export.h"

namespace fusec::data {

// Tokens [begin, begin + length) that belong together.
struct PackSpan {
  int64_t begin = 0, length = 0;
  bool operator==(const PackSpan&) const = default;
};

struct PackDocument {
  uint64_t id = 0;  // the caller's; a state is restored by it
  int64_t tokens = 0;
  std::vector<PackSpan> spans;          // ascending, without overlap, each of 1 token or more
  std::shared_ptr<const void> payload;  // the caller's; every piece of the document gets it
};

// A document or, if it was too long, a part of it.
struct PackPiece {
  uint64_t id = 0;
  int64_t begin = 0;  // its first token in the document
  int64_t tokens = 0;
  int64_t at = 0;               // its first token in the pack
  int64_t first_span = 0;       // spans of the document before this piece
  std::vector<PackSpan> spans;  // of this piece; begin counts from its first token
  bool last = true;             // the document's last piece: exactly one of them is
  std::shared_ptr<const void> payload;
};

struct Pack {
  std::vector<PackPiece> pieces;  // in the order of their tokens
  // i32 [max_documents + 1], what attention() takes: piece i has the tokens from entry i on;
  // entries past the last piece repeat the end, so that every pack has one shape. With by_length an
  // entry is where a row begins, and a document's own padding lies behind it in its row.
  std::vector<int32_t> cu_seqlens;
  int64_t rows = 1, width = 0;  // the pack as rows of `width` tokens; rows * width <= capacity
  int64_t tokens = 0;           // without padding
};

enum class PackPolicy : uint8_t {
  best_fit,     // many documents a row
  one_per_row,  // no packing: a row of `capacity` tokens a document, in the order of the stream
  by_length,    // documents of similar length as rows of the least of `widths` that holds them
};

enum class TooLong : uint8_t {
  split,  // into pieces of at most `capacity` tokens and max_spans spans, cut between spans
  drop,
};

struct PackerOptions {
  int64_t capacity = 2048;          // tokens a pack, 1 to 2^31 - 1
  int64_t max_documents = 64;       // pieces a pack, from 1
  int64_t max_spans = 0;            // spans a pack; 0: any number
  int64_t buffer_documents = 1024;  // that wait; more of them find better fits, from 1
  PackPolicy policy = PackPolicy::best_fit;
  TooLong too_long = TooLong::split;
  // by_length: ascending, the last is `capacity`. Empty: capacity / 16, / 8, / 4, / 2, / 1.
  std::vector<int64_t> widths;
  bool operator==(const PackerOptions&) const = default;
};

enum class PackDrop : uint8_t {
  empty,           // no token
  too_long,        // over capacity, with TooLong::drop
  too_many_spans,  // over max_spans, with TooLong::drop
  span_too_long,   // one span is over capacity: it cannot be split
};
inline constexpr size_t kPackDrops = 4;

struct FUSEC_API PackStatistics {
  int64_t capacity = 0;
  int64_t documents_in = 0, tokens_in = 0;
  int64_t documents_split = 0;
  int64_t documents_out = 0;  // those whose last piece is out
  int64_t pieces_out = 0, tokens_out = 0;
  int64_t packs = 0;
  int64_t padded_out = 0;  // tokens of the packs with their padding
  int64_t longest = 0;     // piece that came out
  std::array<int64_t, kPackDrops> dropped_documents = {}, dropped_tokens = {};  // by PackDrop
  bool operator==(const PackStatistics&) const = default;

  int64_t documents_dropped() const;
  int64_t tokens_dropped() const;
  // Pieces a pack; 0 before the first pack, as the shares below.
  double compression() const;
  // Shares of padding: of the packs, and of the same pieces as one row each.
  double waste() const;
  double waste_padded_to_longest() const;
  double waste_padded_to_capacity() const;
  // One line: "60000 sequences -> 8115 packs of 2048 tokens (7.39 a pack); padding 86.41% (rows of
  // 2048; 85.93% padded to the longest, 1978) -> 0.31%; dropped 3 documents, 0 tokens (empty 3)".
  std::string text() const;
};

// All that a packer knows, as plain data. Payloads may be left out when it is written, and must be
// put back by id (and begin) before it is restored.
struct PackerState {
  PackerOptions options;
  std::vector<PackPiece> waiting;  // in the order in which they arrived
  PackStatistics statistics;
  bool finished = false;
};

class FUSEC_API Packer {
 public:
  // An option outside its range is a user Error.
  explicit Packer(PackerOptions options);

  // Takes a document. User Errors: spans out of order, overlapping or outside of the document; a
  // full buffer (take packs first); a packer that is finished.
  void add(PackDocument document);
  // Can it take a document? If not, next() has a pack.
  bool wants_documents() const;
  // No more documents: next() gives all that waits.
  void finish() { finished_ = true; }

  // The next pack, never an empty one; nothing if more documents, or finish(), must come first.
  std::optional<Pack> next();

  int64_t waiting_documents() const;  // whose last piece waits
  int64_t waiting_tokens() const;
  const PackStatistics& statistics() const { return statistics_; }
  const PackerOptions& options() const { return options_; }

  PackerState state() const;
  // Continues as the packer that gave the state. User Error if its options are others than this
  // packer's, a piece does not fit them, or the tokens do not add up.
  void set_state(PackerState state);

 private:
  using Key = std::pair<int64_t, uint64_t>;  // tokens, arrival

  bool limited_spans() const { return options_.max_spans > 0; }
  size_t shelf_of(const PackPiece& piece) const;
  Key key_of(uint64_t arrival, const PackPiece& piece) const;
  int64_t rows_of(size_t shelf) const;
  void drop(PackDrop reason, int64_t tokens);
  void split(PackDocument document);
  void put(PackPiece piece);
  PackPiece take(uint64_t arrival);
  std::optional<Key> fit(int64_t tokens, int64_t spans) const;
  Key best_fit(int64_t tokens, int64_t spans, Key longest) const;
  Pack fill_best_fit();
  std::optional<size_t> full_shelf() const;
  Pack fill_rows(size_t shelf);
  void close(Pack& pack);

  PackerOptions options_;
  std::map<uint64_t, PackPiece> waiting_;  // by arrival
  // best_fit: by number of spans if that is limited, else one. by_length: by width.
  std::vector<std::set<Key>> shelves_;
  uint64_t arrivals_ = 0;
  PackStatistics statistics_;
  bool finished_ = false;
};

}  // namespace fusec::data
