// The one exception type of the project. A message says what was found, what was expected and
// what to do; `where` is the user's file:line of the op it is about.
#pragma once

#include <cstdint>
#include <exception>
#include <source_location>
#include <string>
#include <vector>

#include "fusec/base/export.h"

namespace fusec {

enum class ErrorKind : uint8_t {
  user,         // the program or its input is wrong; the user can mend it
  unsupported,  // legal, but not built (yet) for this device or combination
  device,       // the machine: memory, missing library, driver
  internal,     // a defect of Fusec
};

// A place in the user's program. `file` is a static string (from std::source_location) or one
// interned by intern_file(); an empty file means "unknown".
struct SourceLoc {
  const char* file = "";
  uint32_t line = 0;

  SourceLoc() = default;
  SourceLoc(const char* f, uint32_t l) : file(f), line(l) {}
  SourceLoc(const std::source_location& s) : file(s.file_name()), line(s.line()) {}  // NOLINT
  bool known() const { return line != 0; }
  std::string str() const;  // "file.cpp:12", only the last two path components; "" if unknown
};

// Returns a pointer that stays valid for the life of the process (for locations read from text).
FUSEC_API const char* intern_file(const std::string& file);

class FUSEC_API Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message, SourceLoc where = {});

  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }
  SourceLoc where() const { return where_; }
  // Adds one line of context on the way up, e.g. "while compiling kernel k07".
  void add_note(std::string note);
  // "file.cpp:12: user error: message\n  note: ..."
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  void render();

  ErrorKind kind_;
  std::string message_;
  SourceLoc where_;
  std::vector<std::string> notes_;
  std::string text_;
};

// The device refused memory. A class of its own so that those who know the plan can say more.
class FUSEC_API OutOfMemory : public Error {
 public:
  explicit OutOfMemory(std::string message) : Error(ErrorKind::device, std::move(message)) {}
};

// Throws Error of the named kind. A thin name keeps call sites short.
[[noreturn]] FUSEC_API void fail_user(std::string message, SourceLoc where = {});
[[noreturn]] FUSEC_API void fail_unsupported(std::string message, SourceLoc where = {});
[[noreturn]] FUSEC_API void fail_device(std::string message, SourceLoc where = {});
[[noreturn]] FUSEC_API void fail_internal(std::string message, SourceLoc where = {});

}  // namespace fusec
