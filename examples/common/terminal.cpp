#include "terminal.h"

#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace fusec::examples {

bool terminal_colours() {
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  if (no_color && *no_color) return false;
  if (!terminal || std::string_view(terminal) == "dumb") return false;
  return isatty(STDOUT_FILENO) != 0;
}

}  // namespace fusec::examples
