// SHA-256 (FIPS 180-4): names of cached objects. The 64-bit hash of hash.h does not do there: a key
// that two kernels share would run the wrong code in silence, and no search for such a pair may
// succeed, whoever writes the kernels. 256 bits leave no accidental pair either.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "fusec/base/export.h"

namespace fusec {

using Digest = std::array<uint8_t, 32>;

FUSEC_API Digest sha256(std::string_view bytes);

// Digest of a list of texts, each preceded by its length, so that ("ab", "c") is not ("a", "bc").
FUSEC_API Digest sha256_of_list(std::initializer_list<std::string_view> texts);

// 64 digits, lower case.
FUSEC_API std::string hex(const Digest& digest);

}  // namespace fusec
