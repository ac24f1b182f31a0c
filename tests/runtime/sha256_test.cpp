// SHA-256 and its two forms.
#include "fusec/base/sha256.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include "sha256_blocks.h"

using namespace fusec;

TEST_CASE("sha256: the examples of FIPS 180-4, and lengths around a block") {
  CHECK(hex(sha256("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hex(sha256("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(hex(sha256(std::string(1000000, 'a'))) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  std::vector<Digest> seen;
  for (size_t n = 50; n < 140; ++n) seen.push_back(sha256(std::string(n, 'x')));
  std::sort(seen.begin(), seen.end());
  CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
  CHECK(sha256_of_list({"ab", "c"}) != sha256_of_list({"a", "bc"}));
  CHECK(sha256_of_list({"ab", ""}) != sha256_of_list({"ab"}));
}

TEST_CASE("sha256: the processor's own instructions give the bits of the portable form") {
  Sha256Blocks own = sha256_blocks_of_cpu();
  if (!own) {
    std::printf("[SKIP] this processor has no instructions for SHA-256\n");
    return;
  }
  std::vector<uint8_t> data(64 * 9 + 1);
  uint32_t word = 1;
  for (uint8_t& byte : data)
    byte = static_cast<uint8_t>((word = word * 1664525 + 1013904223) >> 24);
  std::array<uint32_t, 8> state;
  for (uint32_t& s : state) s = word = word * 1664525 + 1013904223;
  for (size_t offset : {0, 1})
    for (size_t blocks : {0, 1, 2, 9}) {
      std::array<uint32_t, 8> a = state, b = state;
      own(a.data(), data.data() + offset, blocks);
      sha256_blocks_any(b.data(), data.data() + offset, blocks);
      CHECK(a == b);
      CHECK((a == state) == (blocks == 0));
    }
}
