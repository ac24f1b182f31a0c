// Merging one word: short and long words by different ways, the same result.
#include "merges.h"

#include "fixtures.h"

using namespace fusec;
using models::bpe::Merges;

namespace {

// The definition, step by step.
std::vector<int32_t> by_definition(const Merges& merges, std::vector<int32_t> ids) {
  while (true) {
    size_t best = ids.size();
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const uint32_t rank = merges.rank(ids[i], ids[i + 1]);
      if (rank == Merges::kNone) continue;
      if (best == ids.size() || rank < merges.rank(ids[best], ids[best + 1])) best = i;
    }
    if (best == ids.size()) return ids;
    ids[best] = merges.merged(merges.rank(ids[best], ids[best + 1]));
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

}  // namespace

TEST_CASE("merges: words of every length merge as defined") {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const int32_t letters = 2 + static_cast<int32_t>(seed % 5);
    Merges merges;
    int32_t next = letters;
    for (uint64_t i = 0; i < 60; ++i) {
      const PhiloxBlock block = philox(2, seed, i);
      const auto left = static_cast<int32_t>(block[0] % static_cast<uint32_t>(next));
      const auto right = static_cast<int32_t>(block[1] % static_cast<uint32_t>(next));
      if (merges.rank(left, right) == Merges::kNone) merges.add(left, right, next++);
    }
    Merges::Scratch scratch;
    for (size_t length = 0; length < 300; ++length) {
      scratch.ids.clear();
      for (size_t i = 0; i < length; ++i)
        scratch.ids.push_back(static_cast<int32_t>(philox(3, seed, length * 1000 + i)[0] %
                                                   static_cast<uint32_t>(letters)));
      const std::vector<int32_t> expected = by_definition(merges, scratch.ids);
      merges.merge(scratch);
      CHECK(scratch.ids == expected);
    }
  }
}

TEST_CASE("merges: a pair given twice takes the later rank") {
  Merges merges;
  merges.add(0, 1, 2);
  merges.add(1, 0, 3);
  merges.add(0, 1, 2);
  CHECK(merges.rank(0, 1) == 2);
  CHECK_FALSE(merges.counts(0));
  Merges::Scratch scratch;
  scratch.ids = {0, 1, 0};
  merges.merge(scratch);
  CHECK(scratch.ids == std::vector<int32_t>{0, 3});
}
