// What standard output is.
#pragma once

namespace fusec::examples {

// May text on standard output be coloured? Not in a file or pipe, on a terminal that calls itself
// dumb, or where NO_COLOR is set to anything (no-color.org).
bool terminal_colours();

}  // namespace fusec::examples
