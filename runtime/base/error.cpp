#include "fusec/base/error.h"

#include <mutex>
#include <set>
#include <string_view>

namespace fusec {

std::string SourceLoc::str() const {
  if (!known()) return "";
  std::string_view path = file;
  size_t slash = path.rfind('/');
  if (slash != std::string_view::npos && slash > 0) {
    slash = path.rfind('/', slash - 1);
    if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  }
  return std::string(path) + ":" + std::to_string(line);
}

const char* intern_file(const std::string& file) {
  static std::mutex mutex;
  static std::set<std::string> names;  // node-based: c_str() stays valid
  std::lock_guard lock(mutex);
  return names.insert(file).first->c_str();
}

Error::Error(ErrorKind kind, std::string message, SourceLoc where)
    : kind_(kind), message_(std::move(message)), where_(where) {
  render();
}

void Error::add_note(std::string note) {
  notes_.push_back(std::move(note));
  render();
}

void Error::render() {
  static constexpr const char* names[] = {"error", "unsupported", "device error", "internal error"};
  text_.clear();
  if (where_.known()) text_ += where_.str() + ": ";
  text_ += names[static_cast<int>(kind_)];
  text_ += ": " + message_;
  for (const std::string& note : notes_) text_ += "\n  note: " + note;
}

void fail_user(std::string m, SourceLoc w) { throw Error(ErrorKind::user, std::move(m), w); }
void fail_unsupported(std::string m, SourceLoc w) {
  throw Error(ErrorKind::unsupported, std::move(m), w);
}
void fail_device(std::string m, SourceLoc w) { throw Error(ErrorKind::device, std::move(m), w); }
void fail_internal(std::string m, SourceLoc w) {
  throw Error(ErrorKind::internal, std::move(m), w);
}

}  // namespace fusec
