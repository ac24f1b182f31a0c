// A folder of its own for each test, removed at its end.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "fusec/base/error.h"
#include "fusec/io/file.h"

namespace fusec::tests {

class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "fusec-test-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  // Writes a file and returns its path.
  std::string file(const std::string& name, const std::string& bytes) const {
    io::write_file(*this / name, bytes);
    return *this / name;
  }

 private:
  std::filesystem::path path_;
};

// The message of the Error that `action` throws; fails the test if it throws none, or one of
// another kind than `user`.
template <typename Action>
std::string user_error(Action action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::user);
    return error.what();
  }
  FAIL("expected a user Error");
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE("no \"" << part << "\" in: " << text);
  return found;
}

// Calls read(bytes) for every prefix of `good` and for every byte of it changed in a few ways. What
// is read or is a user Error is right; anything else fails the test.
template <typename Read>
void for_each_mutation(const std::string& good, Read read) {
  auto attempt = [&](const std::string& bytes) {
    try {
      read(bytes);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::user) FAIL_CHECK("not a user Error: " << error.what());
    }
  };
  for (size_t length = 0; length < good.size(); ++length) attempt(good.substr(0, length));
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bytes = good;
    for (char byte : {'\0', '\1', '\t', '"', '[', '}', '-', '\x7f', '\x80', '\xff'}) {
      bytes[i] = byte;
      attempt(bytes);
    }
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] = static_cast<char>(good[i] ^ (1 << bit));
      attempt(bytes);
    }
  }
}

}  // namespace fusec::tests
