// What is refused: the error says so, and begins with the file and line of the statement.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <functional>
#include <string>

#include "fusec/base/error.h"

namespace fusec::test {

// The text of the error that f throws; it must begin with `file`, in the folder ops, and `line`.
inline std::string error_of(const std::function<void()>& f, const char* file, uint32_t line) {
  try {
    f();
  } catch (const Error& e) {
    std::string text = e.what();
    INFO(text);
    CHECK(text.find("ops/" + std::filesystem::path(file).filename().string() + ":" +
                    std::to_string(line) + ":") == 0);
    return text;
  }
  FAIL("no error was thrown");
  return "";
}

}  // namespace fusec::test

#define CHECK_ERROR(statement, words)                                                 \
  do {                                                                                \
    std::string text = fusec::test::error_of([&] { statement; }, __FILE__, __LINE__); \
    INFO(text);                                                                       \
    CHECK(text.find(words) != std::string::npos);                                     \
  } while (false)
