// A reader of bytes from outside, under test. Each target is one file that defines the two
// functions; it is linked with mutations.cpp (any compiler, run by ctest) and, in a build with
// FUSEC_FUZZERS, with libfuzzer.cpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fusec::fuzz {

// Small valid inputs, made here so that no binary file lies in the tree.
std::vector<std::string> reader_seeds();

// Reads `bytes` as the target does. Only fusec::Error may come out.
void read_bytes(std::string_view bytes);

// `bytes` as a file in memory, for readers that take a path; the same path every time.
const std::string& as_file(std::string_view bytes);
// The file that `write` makes at the path it is given.
template <class Write>
std::string written(Write write);
std::string contents(const std::string& path);

template <class Write>
std::string written(Write write) {
  std::string path = as_file("");
  write(path);
  return contents(path);
}

}  // namespace fusec::fuzz
