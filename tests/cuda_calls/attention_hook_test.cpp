// Hooks of scores and masks in the CUDA texts of attention: ALiBi, documents by captured numbers,
// dilated windows, trees, learnt biases, beside every mask of the call itself.
#include <doctest/doctest.h>

#include "hook_table.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Hooked {
  AttentionShape shape;
  HookFormulas hook;
  std::vector<int> cu = {}, prefix = {};
};

Sizes sizes_of(const AttentionShape& x) { return {x.b, x.t, x.s, x.h}; }

void check_hooks(std::vector<Hooked> hooked,
                 const std::vector<cuda::CallTarget>& targets = {portable()}) {
  std::vector<Targeted> all;
  for (Hooked& h : hooked) {
    h.shape.hook = &h.hook.text;
    for (cuda::CallTarget target : targets) {
      target.deterministic = all.size() % 2 == 1;  // adds nothing atomically
      all.push_back({{h.shape, h.cu, h.prefix, &h.hook}, target});
    }
  }
  check(all);
}

AttentionShape with(AttentionShape s, bool prefix, bool sinks) {
  s.prefix = prefix, s.sinks = sinks;
  return s;
}

}  // namespace

TEST_CASE("hooks in any form") {
  const AttentionShape causal{2, 40, 40, 4, 2, 8, true, f32},
      long_keys{1, 33, 70, 2, 1, 5, true, bf16},
      short_keys{1, 70, 33, 2, 2, 8, true, f16, 3, 0, 0, true},
      full{2, 70, 90, 2, 1, 24, false, f32, 4}, window{1, 90, 90, 2, 1, 8, true, f32, 0, 0, 20},
      one{1, 1, 1, 1, 1, 4, true, f32};
  check_hooks({{causal, alibi(sizes_of(causal))},
               {long_keys, biased(sizes_of(long_keys), true)},
               {short_keys, alibi(sizes_of(short_keys))},
               {full, biased(sizes_of(full), true)},
               {full, dilated(3)},
               {window, tree(sizes_of(window))},
               {window, documents(sizes_of(window), 30)},
               {one, biased(sizes_of(one), false)},
               {with(causal, true, true), biased(sizes_of(causal), false), {}, {0, 17}}});
}

TEST_CASE("hooks on tensor cores: scores") {
  const AttentionShape causal{2, 150, 150, 4, 2, 64, true, bf16},
      wide{1, 100, 200, 2, 1, 128, true, f16}, hidden{1, 200, 77, 2, 1, 64, true, bf16, 5},
      full{2, 90, 130, 2, 1, 48, false, bf16, 4}, one{1, 1, 1, 2, 1, 16, true, bf16},
      top_left{1, 130, 70, 2, 2, 128, true, bf16, 0, 0, 0, true};
  check_hooks({{causal, alibi(sizes_of(causal))},
               {wide, biased(sizes_of(wide), false)},
               {hidden, alibi(sizes_of(hidden))},
               {full, biased(sizes_of(full), false)},
               {one, biased(sizes_of(one), false)},
               {top_left, alibi(sizes_of(top_left))}});
}

TEST_CASE("hooks on tensor cores: masks, whole tiles of them") {
  const AttentionShape causal{1, 300, 300, 2, 1, 64, true, bf16},
      full{2, 200, 260, 2, 1, 128, false, bf16, 10},
      window{1, 260, 260, 2, 2, 64, true, f16, 0, 0, 100},
      packed{1, 200, 200, 2, 1, 64, true, bf16, 0, 3}, wide{1, 150, 190, 2, 1, 80, true, bf16},
      one{1, 1, 70, 1, 1, 64, false, bf16};
  check_hooks({{causal, documents(sizes_of(causal), 64)},
               {causal, documents(sizes_of(causal), 50)},
               {full, biased(sizes_of(full), true)},
               {full, dilated(2)},
               {window, tree(sizes_of(window))},
               {packed, dilated(3), {0, 70, 130, 190}},
               {wide, biased(sizes_of(wide), true)},
               {one, dilated(5)}});
}

TEST_CASE("hooks on tensor cores, with prefixes and sinks") {
  const AttentionShape causal{2, 200, 200, 2, 1, 64, true, bf16},
      window{2, 190, 230, 2, 1, 128, true, bf16, 0, 0, 30},
      packed{1, 200, 200, 2, 1, 64, true, bf16, 0, 3, 40};
  check_hooks({{with(causal, true, true), alibi(sizes_of(causal)), {}, {0, 130}},
               {with(window, true, true), biased(sizes_of(window), true), {}, {70, 500}},
               {with(packed, true, false),
                documents(sizes_of(packed), 64),
                {0, 70, 130, 190},
                {9, 0, 44}}});
}

TEST_CASE("hooks on tensor cores in heads beyond 128, by what shared memory holds") {
  cuda::CallTarget small = portable();
  small.shared_per_block = 99 << 10;
  const AttentionShape causal{1, 200, 200, 2, 1, 256, true, bf16},
      full{1, 70, 150, 2, 2, 192, false, f16, 4},
      window{1, 140, 170, 2, 1, 160, true, bf16, 0, 0, 30};
  check_hooks({{causal, documents(sizes_of(causal), 64)},
               {full, biased(sizes_of(full), false)},
               {with(window, true, true), biased(sizes_of(window), true), {}, {70}}},
              {portable(), small});
}

TEST_CASE("tensor cores: prefixes and sinks") {
  const AttentionShape shapes[] = {
      with({3, 150, 150, 2, 1, 64, true, bf16}, true, false),
      with({2, 70, 250, 2, 2, 128, true, f16, 0, 0, 9}, true, true),
      with({1, 300, 300, 2, 1, 128, true, bf16, 5, 5, 6}, true, true),
      with({2, 170, 33, 4, 2, 64, true, f16}, false, true),  // rows that see the sink alone
      with({1, 200, 90, 2, 1, 48, true, bf16, 0, 0, 20, true}, true, true),
      with({1, 140, 140, 2, 1, 256, true, bf16, 0, 0, 50}, true, true)};
  check({{{shapes[0], {}, {0, 41, 200}}},
         {{shapes[0], {}, {150, 1, 64}}, portable(1)},
         {{shapes[1], {}, {-3, 40}}},
         {{shapes[2], {0, 0, 70, 150, 151, 280}, {3, 20, 30, 0, 99}}},
         {{shapes[3]}},
         {{with({1, 5, 0, 2, 1, 64, false, bf16}, false, true)}},
         {{with({1, 0, 5, 2, 1, 64, false, bf16}, false, true)}},
         {{shapes[4], {}, {33}}},
         {{shapes[5], {}, {80}}, portable(1)}});
}
