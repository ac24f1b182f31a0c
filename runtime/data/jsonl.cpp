// JSONL shards -> this rank's documents in this epoch's order; see jsonl.h. A stream always stands
// in a window: lines read from one place on, in an order of their own. Without shuffling it is one
// line.
#include "fusec/data/jsonl.h"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <utility>

#include "fusec/base/error.h"
#include "fusec/base/hash.h"
#include "fusec/base/utf8.h"
#include "fusec/io/json.h"
#include "line_file_reader.h"
#include "shuffle.h"

namespace fusec::data {
namespace {

namespace fs = std::filesystem;

struct File {
  std::string path;
  int64_t bytes = 0;
};

std::vector<std::string> shards_of(const fs::path& folder) {
  std::vector<std::string> shards;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".jsonl") shards.push_back(entry->path().string());
  }
  if (error) fail_user(folder.string() + ": cannot be listed: " + error.message());
  if (shards.empty()) fail_user(folder.string() + ": holds no file *.jsonl; expected one or more");
  std::sort(shards.begin(), shards.end());
  return shards;
}

std::vector<File> find_files(const std::vector<std::string>& paths) {
  std::vector<File> files;
  auto add = [&](const std::string& path) {
    std::error_code error;
    const bool regular = fs::is_regular_file(path, error);
    if (!regular) {
      fail_user(path + ": " + (error ? error.message() : "no regular file") +
                "; expected a file of JSON lines or a folder of *.jsonl");
    }
    const auto bytes = static_cast<int64_t>(fs::file_size(path, error));
    if (error) fail_user(path + ": cannot be read: " + error.message());
    for (const File& file : files) {
      if (fs::equivalent(file.path, path, error)) {
        fail_user(path + ": the file is also there as " + file.path +
                  "; expected each once, since an epoch sees each document once");
      }
    }
    files.push_back({path, bytes});
  };
  for (const std::string& path : paths) {
    std::error_code none;
    if (!fs::is_directory(path, none)) {
      add(path);
      continue;
    }
    for (const std::string& shard : shards_of(path)) add(shard);
  }
  if (files.empty()) fail_user("JSONL: no path was given; expected files or folders of *.jsonl");
  return files;
}

// By file names, not folders: a data set may be moved.
uint64_t digest_of(const std::vector<File>& files) {
  std::string text;
  for (const File& file : files)
    text += fs::path(file.path).filename().string() + '\0' + std::to_string(file.bytes) + '\n';
  return hash_text(text);
}

void check(const JsonlOptions& o) {
  if (o.world < 1 || o.rank < 0 || o.rank >= o.world) {
    fail_user("JSONL: rank " + std::to_string(o.rank) + " of " + std::to_string(o.world) +
              "; expected 0 <= rank < number of ranks");
  }
  if (o.window_documents < 1 || o.window_documents > int64_t{1} << 31) {
    fail_user("JSONL: a window of " + std::to_string(o.window_documents) +
              " documents; expected 1 to 2^31");
  }
  if (o.max_line_bytes < 1 || o.max_line_bytes > uint64_t{1} << 40) {
    fail_user("JSONL: lines of at most " + std::to_string(o.max_line_bytes) +
              " bytes; expected 1 to 2^40");
  }
  if (o.max_depth < 1) {
    fail_user("JSONL: " + std::to_string(o.max_depth) +
              " arrays and objects inside each other; expected at least 1");
  }
}

bool is_blank(const FileLine& line) {
  return !line.too_long && line.text.find_first_not_of(" \t\r") == std::string::npos;
}

}  // namespace

class JsonlStream::Reader {
 public:
  Reader(const std::vector<std::string>& paths, JsonlOptions options)
      : files_(find_files(paths)), digest_(digest_of(files_)) {
    check(options);
    for (const File& file : files_) names_.push_back(file.path);
    start_.options = options;
    start_.files_digest = digest_;
    begin_epoch(0);
  }

  std::optional<JsonlRecord> next() {
    for (;;) {
      if (taken_ == window_.size() && !fill_window()) return std::nullopt;
      Entry& entry = window_[taken_++];
      try {
        JsonlRecord record = parse(entry.file, std::exchange(entry.line, {}));
        ++statistics_.documents;
        return record;
      } catch (const Refused& refused) {
        if (options().bad_lines == BadLine::error) fail_user(refused.message);
        if (statistics_.first_dropped.empty()) statistics_.first_dropped = refused.message;
        ++statistics_.dropped[static_cast<size_t>(refused.reason)];
      }
    }
  }

  void begin_epoch(uint64_t epoch) {
    start_.epoch = epoch;
    start_.turn = start_.offset = start_.documents = start_.windows = 0;
    start_.line = 1;
    draw_order();
    go_to_start();
  }

  JsonlRecord read_at(JsonlPosition position) const {
    const std::string what = "document " + std::to_string(position.offset) + " bytes into file " +
                             std::to_string(position.file);
    if (position.file < 0 || position.file >= static_cast<int64_t>(files_.size())) {
      fail_user(what + ": there are " + std::to_string(files_.size()) +
                " files; the position is of another data set");
    }
    check_line_start(position.file, position.offset);
    LineFileReader lines;
    lines.open(file_at(position.file).path, position.offset, position.line);
    FileLine line;
    if (!lines.next(options().max_line_bytes, line) || is_blank(line)) {
      fail_user(what + ", " + file_at(position.file).path +
                ": no document is there; the position is of another data set");
    }
    try {
      return parse(position.file, std::move(line));
    } catch (const Refused& refused) {
      fail_user(refused.message);
    }
  }

  JsonlState state() const {
    JsonlState state = start_;
    state.taken = static_cast<int64_t>(taken_);
    state.statistics = statistics_;
    return state;
  }

  void set_state(const JsonlState& state) {
    if (state.options != options()) {
      fail_user(
          "JSONL: the saved state was made with other options (ranks, seed, windows or limits); "
          "set those, or start the data anew");
    }
    if (state.files_digest != digest_) {
      fail_user("JSONL: the saved state is of files with other names or sizes than the " +
                std::to_string(files_.size()) +
                " that are there; bring those back, or start the data anew");
    }
    const auto count = static_cast<int64_t>(files_.size());
    if (state.turn < 0 || state.turn > count || state.line < 1 || state.documents < 0 ||
        state.windows < 0 || state.taken < 0 || (state.turn == count && state.offset != 0))
      fail_damaged();
    const JsonlState before = this->state();
    try {
      restore(state);
    } catch (...) {
      restore(before);
      throw;
    }
  }

  uint64_t epoch() const { return start_.epoch; }
  const std::vector<std::string>& files() const { return names_; }
  const JsonlStatistics& statistics() const { return statistics_; }

 private:
  struct Entry {
    int64_t file = 0;
    FileLine line;
  };
  struct Refused {
    JsonlDrop reason;
    std::string message;
  };

  const JsonlOptions& options() const { return start_.options; }
  const File& file_at(int64_t index) const { return files_[static_cast<size_t>(index)]; }

  [[noreturn]] static void fail_damaged() {
    fail_user("JSONL: the saved state points to no document of these files; it is damaged");
  }

  void check_line_start(int64_t file, int64_t offset) const {
    if (offset == 0) return;
    FileLine before;
    LineFileReader lines;
    if (offset < 0 || offset > file_at(file).bytes) fail_damaged();
    if (offset == file_at(file).bytes) return;
    lines.open(file_at(file).path, offset - 1, 1);
    if (!lines.next(1, before) || before.too_long || lines.offset() != offset) fail_damaged();
  }

  void draw_order() {
    order_.resize(files_.size());
    std::iota(order_.begin(), order_.end(), int64_t{0});
    if (options().shuffle) shuffle(order_, options().seed, 2 * start_.epoch);
  }

  void go_to_start() {
    turn_ = start_.turn;
    documents_ = start_.documents;
    windows_ = start_.windows;
    window_.clear();
    taken_ = 0;
    lines_.close();
    offset_ = start_.offset;
    line_ = start_.line;
  }

  void restore(const JsonlState& state) {
    start_ = state;
    draw_order();
    if (state.turn < static_cast<int64_t>(order_.size()))
      check_line_start(order_[static_cast<size_t>(state.turn)], state.offset);
    go_to_start();
    if (state.taken > 0) fill_window();
    if (static_cast<size_t>(state.taken) > window_.size()) fail_damaged();
    taken_ = static_cast<size_t>(state.taken);
    statistics_ = state.statistics;
  }

  int64_t file_of_turn() const { return order_[static_cast<size_t>(turn_)]; }

  // The next non-blank line of the epoch, whoever's it is; false at the end.
  bool next_line(FileLine& line) {
    while (turn_ < static_cast<int64_t>(order_.size())) {
      const File& file = file_at(file_of_turn());
      if (!lines_.is_open()) lines_.open(file.path, offset_, line_);
      while (lines_.next(options().max_line_bytes, line))
        if (!is_blank(line)) return true;
      if (lines_.offset() != file.bytes) {
        fail_user(file.path + ": had " + std::to_string(file.bytes) + " bytes and has " +
                  std::to_string(lines_.offset()) +
                  "; a data set must not change while it is read");
      }
      lines_.close();
      ++turn_;
      offset_ = 0;
      line_ = 1;
    }
    return false;
  }

  // A window, after which the stream stands in it; false if no document is left.
  bool fill_window() {
    window_.clear();
    taken_ = 0;
    start_.turn = turn_;
    start_.offset = lines_.is_open() ? lines_.offset() : offset_;
    start_.line = lines_.is_open() ? lines_.line() : line_;
    start_.documents = documents_;
    start_.windows = windows_;
    try {
      read_window();
    } catch (...) {  // half a window must not be given out
      go_to_start();
      throw;
    }
    return !window_.empty();
  }

  void read_window() {
    const size_t most = options().shuffle ? static_cast<size_t>(options().window_documents) : 1;
    FileLine line;
    for (size_t bytes = 0; window_.size() < most && next_line(line);) {
      if (documents_++ % options().world != options().rank) continue;
      bytes += line.text.size();
      window_.push_back({file_of_turn(), std::exchange(line, {})});
      if (bytes >= options().window_bytes) break;
    }
    if (options().shuffle) {
      shuffle(window_, options().seed, 2 * start_.epoch + 1,
              static_cast<uint64_t>(start_.windows) << 32);
    }
    ++windows_;
  }

  JsonlRecord parse(int64_t file, FileLine line) const {
    JsonlRecord record{
        {file, line.offset, line.line}, file_at(file).path + ":" + std::to_string(line.line), {}};
    if (line.too_long) {
      throw Refused{JsonlDrop::too_long, record.place + ": the line is over the limit of " +
                                             std::to_string(options().max_line_bytes) +
                                             " bytes; shorten it, or raise max_line_bytes"};
    }
    try {
      record.value = io::parse_json(line.text, record.place, options().max_depth);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::user) throw;
      throw Refused{is_utf8(line.text) ? JsonlDrop::not_json : JsonlDrop::not_utf8,
                    error.message()};
    }
    return record;
  }

  std::vector<File> files_;
  uint64_t digest_;
  std::vector<std::string> names_;
  std::vector<int64_t> order_;  // files_ in the order of the epoch
  JsonlState start_;            // of the window; `taken` and statistics are kept beside it
  std::vector<Entry> window_;
  size_t taken_ = 0;
  JsonlStatistics statistics_;
  // Behind the window. offset_ and line_ are where the file is opened when it is not open yet.
  int64_t turn_ = 0, documents_ = 0, windows_ = 0, offset_ = 0, line_ = 1;
  LineFileReader lines_;
};

JsonlStream::JsonlStream(const std::vector<std::string>& paths, JsonlOptions options)
    : reader_(std::make_unique<Reader>(paths, options)) {}
JsonlStream::~JsonlStream() = default;

std::optional<JsonlRecord> JsonlStream::next() { return reader_->next(); }
void JsonlStream::next_epoch() { reader_->begin_epoch(reader_->epoch() + 1); }
uint64_t JsonlStream::epoch() const { return reader_->epoch(); }
JsonlRecord JsonlStream::read_at(JsonlPosition position) const {
  return reader_->read_at(position);
}
const std::vector<std::string>& JsonlStream::files() const { return reader_->files(); }
const JsonlStatistics& JsonlStream::statistics() const { return reader_->statistics(); }
JsonlState JsonlStream::state() const { return reader_->state(); }
void JsonlStream::set_state(const JsonlState& state) { reader_->set_state(state); }

}  // namespace fusec::data
