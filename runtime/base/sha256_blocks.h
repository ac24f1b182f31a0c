// The rounds of SHA-256 (FIPS 180-4) over whole blocks of 64 bytes, in two forms of one result.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fusec {

using Sha256Blocks = void (*)(uint32_t state[8], const uint8_t* data, size_t blocks);

// Runs everywhere.
void sha256_blocks_any(uint32_t state[8], const uint8_t* data, size_t blocks);

// By the processor's own instructions, about six times as fast; null where it has none.
Sha256Blocks sha256_blocks_of_cpu();

}  // namespace fusec
