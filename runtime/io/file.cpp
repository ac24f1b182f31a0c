// File path <-> bytes. One place for "no such file" messages and for the write-then-rename rule.
#include "fusec/io/file.h"

#include <unistd.h>

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

void write_file(const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".tmp" + std::to_string(getpid());
  FileHandle file(std::fopen(temporary.c_str(), "wb"));
  if (!file) {
    fail_user(path + ": cannot be written: " + reason(errno) +
              "; check that its folder exists and is writable");
  }
  bool written = std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size();
  int code = errno;
  if (std::fclose(file.release()) != 0 && written) {
    written = false;
    code = errno;
  }
  if (written && std::rename(temporary.c_str(), path.c_str()) == 0) return;
  if (written) code = errno;
  std::remove(temporary.c_str());
  fail_user(path + ": cannot be written: " + reason(code));
}

}  // namespace fusec::io
