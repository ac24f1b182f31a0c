// Bytes as tokens bring them -> pieces of text that are whole UTF-8, as soon as they are whole. A
// token may end inside a character, which a terminal must not see by halves.
#pragma once

#include <string>
#include <string_view>

namespace fusec::models {

class Utf8Pieces {
 public:
  // What is whole now; possibly nothing. A byte that can be no part of a character gives U+FFFD.
  std::string push(std::string_view bytes);
  // Behind the last byte: U+FFFD for each byte of a character that did not end.
  std::string finish();

 private:
  std::string waiting_;  // the beginning of one character, or nothing
};

}  // namespace fusec::models
