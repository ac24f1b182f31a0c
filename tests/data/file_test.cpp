// Files that appear as a whole or not at all, also when the disk is full: a limit on the size of
// files stands in for it.
#include "fusec/io/file.h"

#include <sys/resource.h>

#include <csignal>

#include "scratch.h"

using namespace fusec;
using tests::contains;
using tests::user_error;

namespace {

// No file of this process grows beyond `bytes` while it lives.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_{};
};

int64_t files_in(const tests::Scratch& scratch) {
  return std::distance(std::filesystem::directory_iterator(scratch / "."), {});
}

}  // namespace

TEST_CASE("atomic file: under its name only after commit") {
  tests::Scratch scratch;
  const std::string path = scratch.file("a", "old");
  for (bool durable : {false, true}) {
    io::AtomicFile file(path);
    file.append("new ");
    file.append("bytes");
    CHECK(io::read_file(path) == (durable ? "new bytes" : "old"));
    file.commit(durable);
    CHECK(io::read_file(path) == "new bytes");
  }
  { io::AtomicFile dropped(path); }
  CHECK(io::read_file(path) == "new bytes");
  CHECK(files_in(scratch) == 1);
}

TEST_CASE("atomic file: a full disk leaves the old file, no temporary one, and a clear error") {
  tests::Scratch scratch;
  const std::string path = scratch.file("a", "old");
  {
    FileLimit limit(1000);
    io::AtomicFile file(path);
    file.append(std::string(900, 'x'));
    const std::string message = user_error([&] { file.append(std::string(900, 'y')); });
    CHECK(contains(message, path + ": cannot be written after 900 bytes: File too large"));
    CHECK(contains(message, "raise the limit"));
    CHECK(contains(user_error([&] { io::write_file(path, std::string(2000, 'z')); }), path));
  }
  CHECK(io::read_file(path) == "old");
  CHECK(files_in(scratch) == 1);
}

TEST_CASE("line file: appends, goes on, is cut back; a line is whole or not there") {
  tests::Scratch scratch;
  const std::string path = scratch / "lines";
  {
    io::LineFile file(path, 0);
    file.append("one");
    file.append("two");
    file.sync();
    CHECK(file.size() == 8);
  }
  {
    io::LineFile file(path, 4);
    CHECK(file.size() == 4);
    FileLimit limit(12);
    CHECK(contains(user_error([&] { file.append("much too long"); }), "a line cannot be added"));
    CHECK(io::read_file(path) == "one\n");
    file.append("three");
  }
  CHECK(io::read_file(path) == "one\nthree\n");
  CHECK(io::LineFile(path, 1000).size() == 10);
  CHECK(contains(user_error([&] { io::LineFile(scratch / "no/such", 0); }), "folder"));
}
