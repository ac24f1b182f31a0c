// JSONL files and folders of shards -> documents one after the other, in constant memory. Every
// epoch each document is seen by exactly one rank: rank r of w takes the non-blank lines whose
// number in the epoch's order leaves r when divided by w, so that ranks get equally many, give or
// take one. With `shuffle` the order of the files is drawn anew every epoch, the same for all
// ranks, and a rank's documents are shuffled within windows. All is a function of (files, options,
// epoch): a stream that is set to a saved state goes on with the very documents that the saved one
// had left.
//
// Refused, with file and line, or dropped and counted: a line that is not UTF-8, is not JSON (see
// io/json.h), or is longer than the limit. Blank lines are skipped. What a document holds is the
// caller's matter: io::parse_document() reads chats.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "fusec/base/export.h"

namespace fusec::data {

enum class BadLine : uint8_t { error, drop };

struct JsonlOptions {
  size_t max_line_bytes = size_t{16} << 20;
  int max_depth = 16;  // arrays and objects inside each other
  BadLine bad_lines = BadLine::error;
  int rank = 0, world = 1;  // 0 <= rank < world
  bool shuffle = false;
  uint64_t seed = 0;
  // Of shuffling: documents that are in memory at once, from 1, and their bytes, which end a window
  // early (it always holds one document).
  int64_t window_documents = 1024;
  size_t window_bytes = size_t{64} << 20;
  bool operator==(const JsonlOptions&) const = default;
};

// Where a line begins.
struct JsonlPosition {
  int64_t file = 0;    // of JsonlStream::files()
  int64_t offset = 0;  // bytes
  int64_t line = 1;    // from 1
  bool operator==(const JsonlPosition&) const = default;
};

struct JsonlRecord {
  JsonlPosition position;
  std::string place;  // "file:line", for messages
  nlohmann::json value;
};

enum class JsonlDrop : uint8_t { not_utf8, not_json, too_long };
inline constexpr size_t kJsonlDrops = 3;

struct JsonlStatistics {
  int64_t documents = 0;                          // given, over all epochs
  std::array<int64_t, kJsonlDrops> dropped = {};  // by JsonlDrop
  std::string first_dropped;                      // the message of the first of them
  bool operator==(const JsonlStatistics&) const = default;
};

// Plain data; all of it is small.
struct JsonlState {
  JsonlOptions options;
  uint64_t files_digest = 0;  // of names and sizes
  uint64_t epoch = 0;
  // The window in work: where its first line stood in the epoch's order, and how many of its
  // documents were given or dropped.
  int64_t turn = 0;    // the file, counted in the epoch's order; past the last: the epoch's end
  int64_t offset = 0;  // bytes in it
  int64_t line = 1;
  int64_t documents = 0;  // non-blank lines of the epoch before it, of all ranks
  int64_t windows = 0;    // of the epoch before it
  int64_t taken = 0;
  JsonlStatistics statistics;
  bool operator==(const JsonlState&) const = default;
};

class FUSEC_API JsonlStream {
 public:
  // Files as named, and of each folder the files *.jsonl in it, sorted by name. User Errors:
  // nothing found, a file that cannot be read or is named twice, an option outside its range.
  JsonlStream(const std::vector<std::string>& paths, JsonlOptions options);
  ~JsonlStream();
  JsonlStream(const JsonlStream&) = delete;
  JsonlStream& operator=(const JsonlStream&) = delete;

  // This rank's next document of the epoch; nothing at its end. A line that is refused is a user
  // Error "file:line: ...", after which the next call goes on behind it.
  std::optional<JsonlRecord> next();
  // The start of the following epoch, from wherever the stream stands.
  void next_epoch();
  uint64_t epoch() const;

  // The document at a position that a record carried: what a packer's restored buffer needs. User
  // Error if none of this stream's rules stands there.
  JsonlRecord read_at(JsonlPosition position) const;

  const std::vector<std::string>& files() const;
  const JsonlStatistics& statistics() const;

  JsonlState state() const;
  // User Error if the state has other options, or files of other names or sizes.
  void set_state(const JsonlState& state);

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
};

}  // namespace fusec::data
