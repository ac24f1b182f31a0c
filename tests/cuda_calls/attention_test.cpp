// Attention and its gradient: the CUDA texts, run on the host thread by thread, against formulas in
// double (attention_check.h).
#include <doctest/doctest.h>

#include <cstdlib>

#include "attention_check.h"

using namespace fusec;
using namespace fusec::test;

namespace {

std::string form_of(const LibraryCall& call) {
  std::string text = cuda::launches_of(call, {})[0].text;
  return text.substr(0, text.find('\n'));
}

}  // namespace

TEST_CASE("the form follows from type, head size and alignment") {
  CHECK(form_of(AttentionShape{1, 8, 8, 2, 1, 64}.forward()).find("tensor cores") !=
        std::string::npos);
  for (int64_t d : {8, 72, 272})
    CHECK(form_of(AttentionShape{1, 8, 8, 2, 1, d}.forward()).find("any form") !=
          std::string::npos);
  for (int64_t d : {16, 80, 144, 256})
    CHECK(form_of(AttentionShape{1, 8, 8, 2, 1, d}.forward()).find("mma.sync") !=
          std::string::npos);
  CHECK(form_of(AttentionShape{1, 8, 8, 2, 1, 64, true, f32}.forward()).find("any form") !=
        std::string::npos);
  CHECK(form_of(AttentionShape{1, 8, 8, 2, 1, 64, true, bf16, 15}.forward()).find("mma.sync") !=
        std::string::npos);
  LibraryCall off = AttentionShape{1, 8, 8, 2, 1, 64}.builder(false).offset(1, 8);
  CHECK(form_of(off).find("any form") != std::string::npos);
}

TEST_CASE("sm_90a: which calls take its form, and what they launch") {
  auto wgmma = [](const LibraryCall& call, const cuda::CallTarget& target = {}) {
    for (const cuda::CallLaunch& l : cuda::launches_of(call, target))
      if (l.text.find("(wgmma)") != std::string::npos) return true;
    return false;
  };
  cuda::CallTarget ampere, portable, exact;
  ampere.major = 8, portable.portable_attention = true, exact.deterministic = true;
  const AttentionShape plain{2, 300, 300, 6, 2, 128}, wide{2, 200, 512, 6, 2, 64, false, f16};
  for (const AttentionShape& x : {plain, wide}) {
    CHECK(wgmma(x.forward()));
    CHECK(wgmma(x.grad()));
    for (const cuda::CallTarget& t : {ampere, portable}) {
      CHECK_FALSE(wgmma(x.forward(), t));
      CHECK_FALSE(wgmma(x.grad(), t));
    }
  }
  for (const AttentionShape& x :
       std::vector<AttentionShape>{{2, 200, 500, 6, 2, 64, false},  // keys that fill no tile
                                   {1, 200, 300, 2, 1, 128},
                                   {1, 300, 300, 2, 1, 64, true, bf16, 0, 3},
                                   {1, 300, 300, 2, 1, 64, true, bf16, 0, 0, 100},
                                   {1, 300, 300, 2, 1, 128, true, bf16, 15},
                                   {1, 300, 300, 2, 1, 80},
                                   {1, 300, 300, 2, 1, 112}}) {
    CHECK(wgmma(x.forward()));
    CHECK(wgmma(x.grad()));
  }
  for (int64_t d : {144, 256}) {
    CHECK(wgmma(AttentionShape{1, 300, 300, 2, 1, d}.forward()));
    CHECK_FALSE(wgmma(AttentionShape{1, 300, 300, 2, 1, d}.grad()));
  }
  for (const AttentionShape& x :
       std::vector<AttentionShape>{{1, 300, 300, 2, 1, 128, true, bf16, 1e7},
                                   {1, 300, 300, 2, 1, 128, true, bf16, 1e-7},
                                   {1, 300, 300, 2, 1, 48},
                                   {1, 300, 300, 2, 1, 264},
                                   {1, 100, 100, 2, 1, 64}}) {
    CHECK_FALSE(wgmma(x.forward()));
    CHECK_FALSE(wgmma(x.grad()));
  }

  std::vector<cuda::CallLaunch> forward = cuda::launches_of(wide.forward(), {});
  REQUIRE(forward.size() == 2);
  CHECK(forward[1].grid[0] == 2 * 6 * 2);  // tiles, fewer than multiprocessors
  REQUIRE(forward[1].maps.size() == 4);
  CHECK(forward[1].maps[0].rows == 200);
  CHECK(forward[1].maps[0].heads == 6);
  CHECK(forward[1].maps[1].rows == 512);
  CHECK(forward[1].maps[1].heads == 2);
  CHECK_FALSE(forward[1].maps[1].bf16);
  CHECK(forward[1].maps[3].argument == 3);
  CHECK(cuda::launches_of(plain.forward(), {})[1].maps[2].box_panels == 2);

  // Blocks add to dq in any order, unless the same bits are asked for.
  std::string added = cuda::launches_of(plain.grad(), {})[1].text;
  std::string alone = cuda::launches_of(plain.grad(), exact)[1].text;
  CHECK(added.find("kOrder = 0;") != std::string::npos);
  CHECK(alone.find("kOrder = 1;") != std::string::npos);  // groups of 3: rising keys
  alone = cuda::launches_of(AttentionShape{2, 300, 300, 2, 2, 128}.grad(), exact)[1].text;
  CHECK(alone.find("kOrder = 2;") != std::string::npos);
}

TEST_CASE("tensor maps end with the head where its columns fill no panel") {
  auto keys = [](int64_t d) {
    return cuda::shape_of(
        cuda::launches_of(AttentionShape{2, 200, 300, 6, 3, d}.forward(), {})[1].maps[1]);
  };
  const cuda::MapShape whole = keys(128), cut = keys(80);
  CHECK(whole.sizes == std::array<uint64_t, 5>{64, 300, 2, 3, 2});
  CHECK(whole.strides == std::array<uint64_t, 4>{768, 128, 256, 230400});
  CHECK(whole.box == std::array<unsigned, 5>{64, 128, 2, 1, 1});
  CHECK(cut.sizes == std::array<uint64_t, 5>{80, 300, 1, 3, 2});
  CHECK(cut.strides == std::array<uint64_t, 4>{480, 160, 160, 144000});
  CHECK(cut.box == std::array<unsigned, 5>{64, 128, 1, 1, 1});
}

TEST_CASE("workspace grows with the length, not with its square") {
  for (bool deterministic : {false, true})
    for (int major : {8, 9})
      for (int64_t d : {64, 72, 128}) {
        cuda::CallTarget target;
        target.major = major, target.deterministic = deterministic;
        auto bytes = [&](int64_t t) {
          AttentionShape x{1, t, t, 16, 8, d};
          return cuda::call_workspace(x.forward(), target) + cuda::call_workspace(x.grad(), target);
        };
        CHECK(bytes(131072) <= 2 * bytes(65536));
        CHECK(bytes(131072) <= 131072 * 16 * (d * 4 + 64));  // f32 sums of dq are the most of it
      }
}

TEST_CASE("any form and tensor cores: windows and alignment at the top left") {
  CHECK(form_of(AttentionShape{1, 8, 8, 2, 1, 64, true, bf16, 0, 0, 3}.forward())
            .find("mma.sync") != std::string::npos);
  check({{{{1, 150, 150, 2, 1, 64, true, bf16, 0, 0, 20}}},
         {{{1, 300, 300, 2, 1, 128, false, f16, 0, 0, 70}}},
         {{{1, 200, 70, 2, 1, 64, true, bf16, 0, 0, 30, true}}},
         {{{1, 260, 260, 2, 1, 128, true, bf16, 0, 2, 40}, {0, 129, 200}}},
         {{{2, 70, 130, 2, 2, 8, false, f32, 0, 0, 9}}},
         {{{1, 130, 70, 2, 1, 8, true, f32, 5, 0, 17}}},  // rows that see nothing
         {{{1, 130, 70, 2, 1, 8, true, f32, 0, 0, 40, true}}},
         {{{1, 70, 130, 2, 1, 8, true, f16, 0, 0, 0, true}}},
         {{{1, 40, 40, 1, 1, 8, true, f32, 0, 0, int64_t{1} << 60}}},
         {{{1, 90, 90, 2, 1, 24, true, f32, 0, 5, 6}, {0, 0, 7, 50, 51, 80}}},
         {{{1, 90, 90, 2, 1, 24, false, bf16, 0, 3, 5}, {0, 40, 40, 90}}}});
}

TEST_CASE("any form: prefixes and sinks") {
  auto with = [](AttentionShape s, bool prefix, bool sinks) {
    s.prefix = prefix, s.sinks = sinks;
    return s;
  };
  check({{{with({3, 90, 90, 2, 1, 8, true, f32}, true, false), {}, {0, 41, 200}}},
         {{with({2, 70, 130, 2, 2, 64, true, bf16, 0, 0, 9}, true, false), {}, {-3, 40}}},
         {{with({1, 90, 90, 2, 1, 8, true, f32, 5, 5, 6}, true, true),
           {0, 0, 7, 50, 51, 80},
           {3, 2, 30, 0, 99}}},
         {{with({2, 70, 33, 4, 2, 8, true, f16}, false, true)}},  // rows that see the sink alone
         {{with({1, 5, 0, 2, 1, 8, false, f32}, false, true)}},
         {{with({1, 0, 5, 2, 1, 8, false, f32}, false, true)}}});
}

TEST_CASE("any form: types, head sizes, masks") {
  check({{{{2, 20, 20, 4, 2, 8, true, f32}}},
         {{{1, 70, 33, 2, 1, 40, true, f32}}},  // rows that see nothing
         {{{1, 33, 130, 2, 2, 72, true, bf16, 15}}},
         {{{1, 17, 90, 3, 1, 5, false, f16, 3}}},
         {{{1, 1, 1, 1, 1, 1, true, f32}}},
         {{{1, 90, 90, 2, 1, 24, true, f32, 0, 5}, {0, 0, 7, 50, 51, 80}}},
         {{{1, 90, 90, 2, 1, 24, false, bf16, 0, 3}, {0, 40, 40, 90}}}});
}

// Each also in the form of the gradient that adds nothing atomically.
std::vector<Targeted> with_deterministic(std::vector<Targeted> all) {
  for (size_t i = 0, n = all.size(); i < n; ++i) {
    all.push_back(all[i]);
    all.back().target.deterministic = true;
  }
  return all;
}

// Each case at one size of GPU, in turn; at both with FUSEC_TEST_ALL=1 (a thread of the GPU takes
// about as long here as a whole one there).
void check_in_turn(const std::vector<Case>& cases) {
  // On a GPU of one multiprocessor whole tiles of queries are chosen for few heads, too.
  const cuda::CallTarget targets[] = {portable(), portable(1)};
  std::vector<Targeted> all;
  for (size_t i = 0; i < cases.size(); ++i) {
    all.push_back({cases[i], targets[i % 2]});
    if (std::getenv("FUSEC_TEST_ALL")) all.push_back({cases[i], targets[(i + 1) % 2]});
  }
  check(with_deterministic(std::move(all)));
}

TEST_CASE("tensor cores: tiles, tails, masks") {
  check_in_turn({{{1, 64, 64, 1, 1, 64, false, bf16}},
                 {{2, 150, 150, 4, 2, 64, true, bf16}},
                 {{1, 100, 200, 2, 1, 128, true, bf16}},
                 {{1, 200, 77, 2, 1, 128, true, f16}},  // rows that see nothing
                 {{1, 130, 130, 2, 2, 128, false, f16, 15}},
                 {{1, 1, 1, 1, 1, 64, true, f16}},
                 {{1, 65, 40, 2, 1, 80, false, bf16}},
                 {{1, 40, 65, 3, 1, 16, true, bf16, 5}}});
}

TEST_CASE("tensor cores: heads beyond 128, by what shared memory holds") {
  const std::vector<Case> cases = {{{1, 150, 150, 2, 1, 256, true, bf16}},
                                   {{1, 100, 200, 2, 1, 256, false, f16, 15}},
                                   {{1, 200, 77, 2, 1, 192, true, f16}},  // rows that see nothing
                                   {{1, 200, 200, 2, 1, 256, true, bf16, 0, 3}, {0, 70, 71, 190}},
                                   {{1, 130, 130, 2, 2, 160, false, bf16, 0, 0, 30}},
                                   {{2, 65, 140, 2, 1, 144, true, bf16}},
                                   {{1, 1, 1, 1, 1, 240, true, f16}}};
  std::vector<Targeted> all;
  for (size_t i = 0; i < cases.size(); ++i)
    for (int64_t kib : {99, 163, 227}) {
      if (cases[i].shape.d != 256 && kib == 163) continue;
      // Whole tiles of queries on a GPU of one multiprocessor, where they fit.
      cuda::CallTarget target = portable(i % 2 == 0 ? 1 : 132);
      target.shared_per_block = kib << 10;
      all.push_back({cases[i], target});
    }
  check(all);
}

// Warps and lengths of steps are by what fits: of 163 KiB as of 227, in the form that adds to dq.
TEST_CASE("tensor cores: heads up to 128 in 99 KiB of shared memory, and in 64") {
  const std::vector<Case> cases = {{{1, 200, 200, 2, 1, 128, true, bf16}},
                                   {{2, 150, 70, 4, 2, 64, true, f16}},  // rows that see nothing
                                   {{1, 140, 200, 2, 2, 112, false, bf16, 15}},
                                   {{1, 300, 300, 1, 1, 64, true, bf16, 0, 3}, {0, 70, 71, 190}},
                                   {{1, 200, 200, 2, 1, 96, true, bf16, 0, 0, 50}},
                                   {{1, 190, 190, 2, 1, 16, false, f16}},
                                   {{1, 129, 130, 1, 1, 80, true, f16, 0, 0, 0, true}}};
  std::vector<Targeted> all;
  for (const Case& c : cases)
    for (int64_t kib : {99, 64}) {
      cuda::CallTarget target = portable();
      target.shared_per_block = kib << 10;
      for (const cuda::CallLaunch& l : cuda::launches_of(c.shape.grad(), target))
        CHECK(l.dynamic_shared + 1024 <= target.shared_per_block);
      all.push_back({c, target});
    }
  check(all);
}

// Such a key would have a score of 0, and e^128 as its weight.
TEST_CASE("tensor cores: keys beyond the last add nothing to dq where all scores are far below 0") {
  for (int64_t d : {64, 128}) {
    const Case c{{1, 70, 70, 1, 1, d, false, bf16}};
    const int64_t n = 70 * d;
    const Values q(n, 4), k(n, -8 / std::sqrt(d / 16.0)), v = random_values(n, 1);
    const Values d_out = random_values(n, 2), nan(n, NAN);
    const std::vector<Values> got = run_text(
        c.shape.forward(), {{q, bf16}, {k, bf16}, {v, bf16}, {nan, bf16}, {Values(70, NAN), f32}},
        nullptr, false, portable());
    CHECK(got[4][0] < -100);
    const Expected e = formulas(c, q, k, v, d_out, got[3], got[4]);
    const std::vector<Values> grads = run_text(c.shape.grad(),
                                               {{d_out, bf16},
                                                {q, bf16},
                                                {k, bf16},
                                                {v, bf16},
                                                {got[3], bf16},
                                                {got[4], f32},
                                                {nan, bf16},
                                                {nan, bf16},
                                                {nan, bf16}},
                                               nullptr, false, portable());
    check_within(grads[6], e.dq.value, e.dq.bound, "dq");
  }
}

TEST_CASE("tensor cores: which form adds to dq") {
  auto adds = [](const AttentionShape& x, const cuda::CallTarget& target) {
    for (const cuda::CallLaunch& l : cuda::launches_of(x.grad(), target))
      if (l.text.find("added_accumulators(from") != std::string::npos) return true;
    return false;
  };
  cuda::CallTarget ampere, exact = portable();
  ampere.major = 8, exact.deterministic = true;
  for (int64_t d : {16, 64, 128}) {
    const AttentionShape x{1, 300, 300, 2, 1, d};
    CHECK(adds(x, portable()));
    CHECK(adds(x, ampere));
    CHECK_FALSE(adds(x, exact));
  }
  CHECK_FALSE(adds(AttentionShape{1, 300, 300, 2, 1, 144}, portable()));
}

TEST_CASE("tensor cores: documents") {
  check_in_turn({{{1, 300, 300, 2, 1, 64, true, bf16, 0, 6}, {0, 0, 7, 150, 151, 260, 300}},
                 {{1, 300, 300, 2, 1, 64, false, bf16, 0, 4}, {0, 100, 100, 230, 280}},
                 {{1, 260, 260, 2, 1, 128, true, f16, 15, 2}, {0, 129, 200}}});
}

TEST_CASE("sm_90a: tiles, tails, masks, one block for several tiles") {
  std::vector<Targeted> all;
  for (bool deterministic : {false, true}) {
    cuda::CallTarget t;
    t.deterministic = deterministic;
    for (const AttentionShape& x : std::vector<AttentionShape>{
             {1, 128, 128, 1, 1, 128, true, bf16},
             {2, 300, 300, 4, 2, 128, true, bf16},
             {1, 300, 300, 3, 1, 64, true, f16},
             {1, 129, 129, 2, 2, 64, true, bf16},
             {1, 200, 512, 2, 1, 64, false, bf16},
             {1, 130, 384, 2, 2, 128, false, f16},
             {1, 200, 250, 1, 1, 128, false, bf16},  // keys that fill no tile
             {1, 300, 300, 2, 1, 128, true, bf16, 3},
             {1, 200, 250, 2, 2, 64, false, f16, 2},
             {1, 300, 300, 2, 1, 64, true, bf16, 20}}) {
      t.sm_count = 1 + static_cast<int>(all.size()) % 3;
      all.push_back({{x}, t});
    }
  }
  check(all);
}

TEST_CASE("sm_90a: documents, windows, unequal lengths") {
  const std::vector<Case> cases = {
      {{1, 400, 400, 2, 1, 128, true, bf16, 0, 7}, {0, 0, 7, 150, 151, 260, 385, 400}},
      {{1, 400, 400, 2, 2, 64, false, f16, 0, 4}, {0, 100, 100, 230, 260}},  // tokens of none
      {{1, 384, 384, 1, 1, 128, true, bf16, 0, 3}, {0, 128, 256, 384}},
      {{2, 300, 300, 2, 1, 64, true, bf16, 0, 0, 70}},
      {{1, 300, 300, 2, 1, 128, true, bf16, 4, 0, 70}},
      {{1, 520, 520, 1, 1, 128, false, bf16, 0, 0, 20}},
      {{1, 400, 400, 1, 1, 128, true, f16, 0, 3, 50}, {0, 129, 300, 390}},
      {{1, 200, 420, 2, 1, 128, true, bf16}},
      {{1, 420, 200, 2, 1, 64, true, bf16}},  // rows that see nothing
      {{1, 420, 200, 1, 1, 128, true, bf16, 0, 0, 0, true}},
      {{1, 200, 250, 2, 1, 128, false, bf16}}};
  std::vector<Targeted> all;
  for (size_t i = 0; i < cases.size(); ++i) {
    cuda::CallTarget t;
    t.deterministic = i % 2 == 0, t.sm_count = 1 + static_cast<int>(i) % 3;
    all.push_back({cases[i], t});
    if (!std::getenv("FUSEC_TEST_ALL") && i > 3) continue;
    t.deterministic = !t.deterministic;
    all.push_back({cases[i], t});
  }
  check(all);
}

TEST_CASE("sm_90a: heads whose columns fill no panel, and heads beyond 128") {
  const std::vector<Case> cases = {
      {{1, 300, 300, 4, 2, 80, true, bf16}},
      {{2, 200, 250, 2, 1, 96, false, f16}},  // keys that fill no tile
      {{1, 260, 260, 2, 2, 112, true, f16}},
      {{1, 400, 400, 2, 1, 80, false, bf16, 0, 4}, {0, 100, 100, 230, 260}},  // tokens of none
      {{1, 300, 300, 2, 1, 96, true, bf16, 0, 0, 70}},
      {{1, 300, 300, 2, 1, 112, true, bf16, 3}},
      {{1, 420, 200, 2, 1, 80, true, bf16}},  // rows that see nothing
      {{2, 300, 300, 2, 1, 256, true, bf16}},
      {{1, 200, 250, 2, 2, 256, false, f16}},
      {{1, 400, 400, 1, 1, 256, true, bf16, 0, 4}, {0, 7, 150, 151, 390}},
      {{1, 300, 300, 2, 1, 256, false, bf16, 5, 0, 70}},
      {{1, 420, 200, 1, 1, 240, true, bf16}},
      {{1, 300, 300, 2, 1, 192, true, f16}},
      {{1, 200, 300, 2, 1, 144, true, bf16, 0, 0, 90}}};
  std::vector<Targeted> all;
  for (size_t i = 0; i < cases.size(); ++i) {
    cuda::CallTarget t;
    t.deterministic = i % 2 == 0, t.sm_count = 1 + static_cast<int>(i) % 3;
    all.push_back({cases[i], t});
    if (!std::getenv("FUSEC_TEST_ALL") || cases[i].shape.d > 128) continue;
    t.deterministic = !t.deterministic;
    all.push_back({cases[i], t});
  }
  check(all);
}

TEST_CASE("an empty side") {
  check({{{{1, 5, 0, 2, 1, 64, false, bf16}}},
         {{{1, 0, 5, 2, 1, 64, false, bf16}}},
         {{{1, 5, 0, 2, 1, 8, false, f32}}},
         {{{1, 0, 5, 2, 1, 8, false, f32}}}});
  CHECK(cuda::launches_of(AttentionShape{0, 5, 5, 2, 1, 64}.forward(), {}).empty());
}

TEST_CASE("cu_seqlens that fall or exceed the tokens are reported") {
  for (const std::vector<int>& cu :
       std::vector<std::vector<int>>{{0, 9, 4}, {0, 3, 21}, {1, 3, 20}}) {
    for (int64_t d : {8, 64}) {
      Case c{{1, 20, 20, 1, 1, d, true, bf16, 0, 2}, cu};
      int64_t n = 20 * d;
      Values values(cu.begin(), cu.end());
      cuda::Status status;
      run_text(c.shape.forward(),
               {{random_values(n, 1), bf16},
                {random_values(n, 2), bf16},
                {random_values(n, 3), bf16},
                {Values(n), bf16},
                {Values(20), f32},
                {values, i32}},
               &status);
      CHECK(status.error == 2);
      CHECK(status.bound == 20);
    }
  }
}
