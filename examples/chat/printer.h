// Pieces of an answer to stdout as they come. On a terminal control characters are shown, not sent:
// a model, or who wrote what it repeats, must not move the cursor or set the window's title.
#pragma once

#include <string>
#include <string_view>

namespace fusec::examples {

// "\n" and "\t" stay; ESC is "^[", DEL "^?", and U+0080 to U+009F are U+FFFD.
std::string without_control(std::string_view utf8);

class Printer {
 public:
  Printer();
  // User Error if stdout takes no more.
  void print(std::string_view piece);
  // A line break, unless the last character was one.
  void end_line();

 private:
  void write(std::string_view text);

  bool terminal_, at_line_start_ = true;
};

}  // namespace fusec::examples
