// Whole files in and out of memory, with errors that name the path and the system's reason.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fusec/base/export.h"

namespace fusec::io {

// The bytes of a file. One that is missing, unreadable or over max_bytes is a user Error.
FUSEC_API std::string read_file(const std::string& path, uint64_t max_bytes = uint64_t{1} << 32);

// A plain file that is read piece by piece, by any number of threads.
class FUSEC_API InputFile {
 public:
  // What cannot be opened or is no plain file is a user Error that says what was `expected`.
  InputFile(const std::string& path, const std::string& expected);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }  // when it was opened
  // `count` bytes from `offset` on; a file that no longer has them is a user Error.
  void read_at(uint64_t offset, char* bytes, uint64_t count) const;

 private:
  std::string path_;
  int file_ = -1;
  uint64_t size_ = 0;
};

// Writes to "<path>.tmp<pid>" and renames it, so that a reader sees the old file or the new one,
// never half of it. The folder must exist. Two threads must not write the same path at once.
FUSEC_API void write_file(const std::string& path, std::string_view bytes);

// A file that appears under its name only when it is whole: what is appended goes to
// "<path>.tmp<pid>". Any failure (no space, a quota, a missing folder) is a user Error that names
// path and reason; the file that was there before is then untouched and the temporary one gone.
class FUSEC_API AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();  // removes what was not committed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void append(std::string_view bytes);
  // Gives the file its name. With `durable`, the bytes and then the name have reached the disk when
  // this returns: after a power cut the file is the old one or the new one, too.
  void commit(bool durable);

 private:
  [[noreturn]] void fail(int code);

  std::string path_, temporary_;
  int file_ = -1;
  uint64_t size_ = 0;
};

// Lines added to the end of a file. A line is there as a whole or not at all, also on a full disk.
class FUSEC_API LineFile {
 public:
  // Keeps the first `keep` bytes of the file (all of it if it is shorter) and appends behind them;
  // a file that is not there is made. A user Error if it cannot be opened.
  LineFile(const std::string& path, uint64_t keep);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  // `line` without its line break. A user Error leaves the file as it was.
  void append(const std::string& line);
  uint64_t size() const { return size_; }
  // Has everything reached the disk? A user Error if it cannot.
  void sync();

 private:
  std::string path_;
  int file_ = -1;
  uint64_t size_ = 0;
};

}  // namespace fusec::io
