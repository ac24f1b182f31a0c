// Text to stdout; see printer.h.
#include "printer.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "fusec/base/error.h"

namespace fusec::examples {

std::string without_control(std::string_view utf8) {
  std::string shown;
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto byte = static_cast<unsigned char>(utf8[i]);
    const auto next = static_cast<unsigned char>(i + 1 < utf8.size() ? utf8[i + 1] : 0);
    if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {
      shown += "\xef\xbf\xbd";
      ++i;
    } else if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f) {
      shown += '^';
      shown += static_cast<char>(byte ^ 0x40);
    } else {
      shown += utf8[i];
    }
  }
  return shown;
}

Printer::Printer() : terminal_(isatty(STDOUT_FILENO) != 0) {}

void Printer::print(std::string_view piece) {
  if (!piece.empty()) write(terminal_ ? without_control(piece) : std::string(piece));
}

void Printer::end_line() {
  if (!at_line_start_) write("\n");
}

void Printer::write(std::string_view text) {
  at_line_start_ = text.back() == '\n';
  const bool whole = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!whole || std::fflush(stdout) != 0)
    fail_user(std::string("the answer cannot be written: ") + std::strerror(errno));
}

}  // namespace fusec::examples
