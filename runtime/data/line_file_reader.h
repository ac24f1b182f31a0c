// A file -> its lines with their places, through one block of memory, whatever its size.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fusec::data {

struct FileLine {
  int64_t offset = 0, line = 0;  // of its first byte; from 1
  bool too_long = false;         // then `text` is empty
  std::string text;              // without its line break (\n or \r\n)
};

class LineFileReader {
 public:
  LineFileReader() = default;
  ~LineFileReader() { close(); }
  LineFileReader(const LineFileReader&) = delete;
  LineFileReader& operator=(const LineFileReader&) = delete;

  // From byte `offset`, which is where line number `line` begins. A user Error if the file cannot
  // be opened; so are later failures to read it.
  void open(const std::string& path, int64_t offset, int64_t line);
  void close();
  bool is_open() const { return file_ >= 0; }

  // The next line into `out`, whose memory is used again; false at the end. A line over `limit`
  // bytes is passed over without being kept.
  bool next(size_t limit, FileLine& out);

  // Of the line that next() would give.
  int64_t offset() const { return offset_; }
  int64_t line() const { return line_; }

 private:
  bool fill();

  std::string path_;
  int file_ = -1;
  std::vector<char> block_;
  std::string_view rest_;  // of the block
  int64_t offset_ = 0, line_ = 1;
};

}  // namespace fusec::data
