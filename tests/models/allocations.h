// Every byte that the process takes from malloc and its kin, counted by replacing them: what a
// program says it holds can be compared with what it really takes, libraries included (oneDNN is
// opened by dlopen and finds these functions first).
#pragma once

#include <cstdint>

namespace fusec::test {

// Bytes in blocks of at least 64 KiB that are held now.
int64_t allocated_bytes();
// The most held since the last call of reset_peak().
int64_t allocated_peak();
void reset_peak();

}  // namespace fusec::test
