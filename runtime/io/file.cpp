// File path <-> bytes. One place for "no such file" messages and for the write-then-rename rule.
#include "fusec/io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "fusec/base/error.h"

namespace fusec::io {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using FileHandle = std::unique_ptr<std::FILE, CloseFile>;

std::string reason(int code) { return std::strerror(code); }

// What the user can do about it.
std::string advice(int code) {
  switch (code) {
    case ENOSPC:
    case EDQUOT: return "; free some space or write to another disk";
    case EFBIG: return "; raise the limit on file sizes (ulimit -f) or write less";
    case ENOENT:
    case ENOTDIR:
    case EACCES:
    case EROFS: return "; check that its folder exists and is writable";
    default: return "";
  }
}

// All of `bytes`, or the errno of the write that failed.
int write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : EIO;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

// Makes a rename in the folder of `path` last; 0 or an errno. A file system that cannot sync a
// folder (EINVAL) has no other way to offer.
int sync_folder(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle < 0) return errno;
  const int code = ::fsync(handle) == 0 || errno == EINVAL ? 0 : errno;
  ::close(handle);
  return code;
}

}  // namespace

std::string read_file(const std::string& path, uint64_t max_bytes) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    fail_user(path + ": is a folder; expected a file");
  FileHandle file(std::fopen(path.c_str(), "rb"));
  if (!file) fail_user(path + ": cannot be read: " + reason(errno));
  std::string bytes;
  char block[1 << 16];
  while (size_t got = std::fread(block, 1, sizeof block, file.get())) {
    if (bytes.size() + got > max_bytes)
      fail_user(path + ": over the limit of " + std::to_string(max_bytes) + " bytes");
    bytes.append(block, got);
  }
  if (std::ferror(file.get())) fail_user(path + ": cannot be read: " + reason(errno));
  return bytes;
}

InputFile::InputFile(const std::string& path, const std::string& expected) : path_(path) {
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) fail_user(path + ": cannot be read: " + reason(errno));
  struct stat info {};
  if (::fstat(file_, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(file_);
    fail_user(path + ": is not a plain file; expected " + expected);
  }
  size_ = static_cast<uint64_t>(info.st_size);
}

InputFile::~InputFile() { ::close(file_); }

void InputFile::read_at(uint64_t offset, char* bytes, uint64_t count) const {
  while (count > 0) {
    const ssize_t got = ::pread(file_, bytes, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_user(path_ + ": cannot be read: " + reason(errno));
    if (got == 0) {
      fail_user(path_ + ": became shorter while it was read: no byte at " + std::to_string(offset) +
                " of " + std::to_string(size_) + "; copy it again");
    }
    offset += static_cast<uint64_t>(got);
    bytes += got;
    count -= static_cast<uint64_t>(got);
  }
}

void write_file(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.append(bytes);
  file.commit(false);
}

AtomicFile::AtomicFile(const std::string& path)
    : path_(path), temporary_(path + ".tmp" + std::to_string(getpid())) {
  file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail(errno);
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::fail(int code) {
  if (file_ >= 0) {
    ::close(file_);
    ::unlink(temporary_.c_str());
    file_ = -1;
  }
  const std::string after = size_ > 0 ? " after " + std::to_string(size_) + " bytes" : "";
  fail_user(path_ + ": cannot be written" + after + ": " + reason(code) + advice(code));
}

void AtomicFile::append(std::string_view bytes) {
  if (file_ < 0) fail_internal(path_ + ": append() after commit() or a failure");
  if (int code = write_all(file_, bytes)) fail(code);
  size_ += bytes.size();
}

void AtomicFile::commit(bool durable) {
  if (file_ < 0) fail_internal(path_ + ": commit() after commit() or a failure");
  // Before the rename: a name must never lead to bytes that a power cut can still take away.
  if (durable && ::fsync(file_) != 0) fail(errno);
  // close() is where some network file systems report a full disk.
  const int closed = ::close(file_) == 0 ? 0 : errno;
  file_ = -1;
  const int code = closed != 0 || ::rename(temporary_.c_str(), path_.c_str()) == 0 ? closed : errno;
  if (code != 0) {
    ::unlink(temporary_.c_str());
    fail(code);
  }
  if (!durable) return;
  if (int synced = sync_folder(path_)) fail(synced);
}

LineFile::LineFile(const std::string& path, uint64_t keep) : path_(path) {
  auto give_up = [&](int code) {
    if (file_ >= 0) ::close(file_);
    fail_user(path_ + ": cannot be written: " + reason(code) + advice(code));
  };
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) give_up(errno);
  struct stat info {};
  if (::fstat(file_, &info) != 0) give_up(errno);
  size_ = std::min(keep, static_cast<uint64_t>(info.st_size));
  if (::ftruncate(file_, static_cast<off_t>(size_)) != 0) give_up(errno);
  if (::lseek(file_, static_cast<off_t>(size_), SEEK_SET) < 0) give_up(errno);
}

LineFile::~LineFile() { ::close(file_); }

void LineFile::append(const std::string& line) {
  if (int code = write_all(file_, line + "\n")) {
    // Best effort: the next line starts where this one did.
    if (::ftruncate(file_, static_cast<off_t>(size_)) == 0)
      ::lseek(file_, static_cast<off_t>(size_), SEEK_SET);
    fail_user(path_ + ": a line cannot be added: " + reason(code) + advice(code));
  }
  size_ += line.size() + 1;
}

void LineFile::sync() {
  if (::fsync(file_) != 0 && errno != EINVAL) {
    const int code = errno;
    fail_user(path_ + ": cannot be written: " + reason(code) + advice(code));
  }
}

}  // namespace fusec::io
