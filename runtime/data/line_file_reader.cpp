#include "line_file_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fusec/base/error.h"

namespace fusec::data {
namespace {

constexpr size_t kBlock = size_t{1} << 18;

}  // namespace

void LineFileReader::open(const std::string& path, int64_t offset, int64_t line) {
  close();
  path_ = path;
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0 || ::lseek(file_, static_cast<off_t>(offset), SEEK_SET) < 0) {
    const int code = errno;
    close();
    fail_user(path + ": cannot be read: " + std::strerror(code));
  }
  offset_ = offset;
  line_ = line;
}

void LineFileReader::close() {
  if (file_ >= 0) ::close(file_);
  file_ = -1;
  rest_ = {};
}

bool LineFileReader::fill() {
  block_.resize(kBlock);
  ssize_t got = 0;
  do {
    got = ::read(file_, block_.data(), block_.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0) fail_user(path_ + ": cannot be read: " + std::strerror(errno));
  rest_ = {block_.data(), static_cast<size_t>(got)};
  return got > 0;
}

bool LineFileReader::next(size_t limit, FileLine& out) {
  if (rest_.empty() && !fill()) return false;
  out.offset = offset_;
  out.line = line_;
  out.text.clear();
  size_t bytes = 0;  // of the line, its break included
  bool ended = false;
  while (!ended && (!rest_.empty() || fill())) {
    const size_t end = rest_.find('\n');
    ended = end != std::string_view::npos;
    const std::string_view part = rest_.substr(0, ended ? end + 1 : end);
    // Room for "\r\n": whether the line is too long is decided when all of it is known.
    if (out.text.size() < limit + 2) out.text.append(part.substr(0, limit + 2 - out.text.size()));
    bytes += part.size();
    rest_.remove_prefix(part.size());
  }
  offset_ += static_cast<int64_t>(bytes);
  ++line_;
  const size_t kept = out.text.size();
  if (ended && kept == bytes) out.text.pop_back();
  if (ended && kept == bytes && out.text.ends_with('\r')) out.text.pop_back();
  out.too_long = kept < bytes || out.text.size() > limit;
  if (out.too_long) out.text.clear();
  return true;
}

}  // namespace fusec::data
