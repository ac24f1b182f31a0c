// Every text of a table of calls compiles with NVRTC for each architecture; what runs often keeps
// all its values in registers.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <future>
#include <set>
#include <thread>

#include "call.h"
#include "call_table.h"
#include "fusec/cuda/cuda.h"
#include "hook_table.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Arch {
  const char* name;
  cuda::CallTarget target;
};

cuda::CallTarget target(int major, int sm_count, int64_t shared_kib) {
  cuda::CallTarget t;
  t.major = major, t.sm_count = sm_count, t.shared_per_block = shared_kib << 10;
  return t;
}

const Arch kArchs[] = {{"sm_80", target(8, 108, 163)},
                       {"sm_86", target(8, 84, 99)},
                       {"sm_90a", target(9, 132, 227)},
                       {"sm_100a", target(10, 148, 227)},
                       {"sm_120a", target(12, 170, 99)}};

const Arch& kHopper = kArchs[2];

bool no_nvrtc() {
  std::string why;
  if (!cuda::nvrtc_version(&why).empty()) return false;
  std::printf("[SKIP] %s\n", why.c_str());
  return true;
}

struct Text {
  cuda::CallLaunch launch;
  const Arch* arch;
  std::string what;
  cuda::Cubin cubin = {};
};

// Compiles on all cores.
void compile(std::vector<Text>& texts) {
  std::atomic<size_t> next = 0;
  std::vector<std::future<void>> workers;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i)
    workers.push_back(std::async(std::launch::async, [&] {
      for (size_t at; (at = next++) < texts.size();)
        texts[at].cubin =
            cuda::compile_source(texts[at].launch.text, texts[at].what, texts[at].arch->name);
    }));
  for (std::future<void>& w : workers) w.get();
}

void compile_all(const std::vector<LibraryCall>& calls, int most_spilled = 0) {
  std::vector<Text> texts;
  for (const Arch& arch : kArchs) {
    std::set<std::string> seen;
    for (const int form : {0, 1, 2, 3}) {
      cuda::CallTarget target = arch.target;
      target.deterministic = form % 2 == 1, target.portable_attention = form / 2 == 1;
      for (const LibraryCall& call : calls)
        for (const cuda::CallLaunch& l : cuda::launches_of(call, target)) {
          CHECK(l.dynamic_shared <= target.shared_per_block);
          if (seen.insert(l.text).second) texts.push_back({l, &arch, call.name});
        }
    }
  }
  compile(texts);
  for (const Text& t : texts) {
    const std::string& text = t.launch.text;
    INFO(std::string(t.arch->name) << " " << text.substr(0, text.find("struct Status")));
    CHECK(t.cubin.spill_bytes <= most_spilled);
    CHECK_FALSE(t.cubin.serialized);
    CHECK(t.cubin.shared_bytes + t.launch.dynamic_shared <= t.arch->target.shared_per_block);
  }
}

}  // namespace

TEST_CASE("attention on tensor cores compiles; accumulators stay in registers") {
  if (no_nvrtc()) return;
  std::vector<LibraryCall> calls;
  for (int64_t d : {64, 128})
    for (bool causal : {true, false})
      for (int64_t docs : {0, 8}) {
        AttentionShape shape{1, 8192, 8192, 32, 16, d, causal, bf16, 0, docs};
        calls.push_back(shape.forward());
        calls.push_back(shape.grad());
      }
  for (int64_t d : {64, 128}) {
    AttentionShape shape{1, 8192, 8192, 32, 16, d, true, bf16, 0, 0, 1024};
    calls.push_back(shape.forward());
    calls.push_back(shape.grad());
  }
  AttentionShape capped{1, 8192, 8192, 32, 16, 128, true, f16, 15};
  calls.push_back(capped.forward());
  calls.push_back(capped.grad());
  AttentionShape few{1, 256, 256, 4, 4, 80, false, bf16};  // half-size tiles
  calls.push_back(few.forward());
  calls.push_back(few.grad());
  // Of 255 registers, up to eight numbers that are touched once a step are kept in memory: 20 bytes
  // on sm_80, 32 on sm_100a and sm_120a, none on sm_90a.
  compile_all(calls, 32);
}

TEST_CASE("attention on tensor cores compiles beyond heads of 128") {
  if (no_nvrtc()) return;
  std::vector<LibraryCall> calls;
  for (int64_t d : {160, 256}) {
    const std::vector<AttentionShape> shapes = {{8, 4096, 4096, 32, 8, d, true, bf16},
                                                {1, 4096, 4096, 64, 8, d, false, f16, 15, 9}};
    for (const AttentionShape& x : shapes) {
      calls.push_back(x.forward());
      calls.push_back(x.grad());
    }
  }
  AttentionShape prefix{8, 2048, 2048, 32, 16, 256}, hooked = prefix;
  prefix.prefix = prefix.sinks = true;
  const HookFormulas learnt = biased({1, 64, 64, 32}, true);
  hooked.hook = &learnt.text;
  for (const AttentionShape& x : {prefix, hooked}) {
    calls.push_back(x.forward());
    calls.push_back(x.grad());
  }
  compile_all(calls, 32);
}

TEST_CASE("attention on tensor cores with prefixes, sinks and hooks compiles") {
  if (no_nvrtc()) return;
  std::vector<LibraryCall> calls;
  for (int64_t d : {64, 128}) {
    const AttentionShape plain{1, 2048, 2048, 32, 16, d, true, bf16};
    AttentionShape prefix = plain, sinks = plain,
                   both{1, 2048, 2048, 32, 16, d, true, bf16, 0, 8, 512};
    prefix.prefix = sinks.sinks = both.prefix = both.sinks = true;
    const Sizes sizes{plain.b, plain.t, plain.s, plain.h};
    const HookFormulas learnt = biased({1, 64, 64, 32}, true), mask = documents(sizes, 100);
    std::vector<AttentionShape> shapes = {prefix, sinks, plain, plain, both};
    shapes[2].hook = &learnt.text, shapes[3].hook = &mask.text, shapes[4].hook = &learnt.text;
    for (const AttentionShape& x : shapes) {
      calls.push_back(x.forward());
      calls.push_back(x.grad());
    }
  }
  compile_all(calls, 32);
}

TEST_CASE("attention for sm_90a compiles; products run on their own") {
  if (no_nvrtc()) return;
  std::set<std::string> seen;
  std::vector<Text> texts;
  auto add = [&](const AttentionShape& shape, bool deterministic, const std::string& what) {
    cuda::CallTarget target = kHopper.target;
    target.deterministic = deterministic;
    std::vector<cuda::CallLaunch> launches = cuda::launches_of(shape.grad(), target);
    for (const cuda::CallLaunch& l : cuda::launches_of(shape.forward(), target))
      launches.push_back(l);
    for (const cuda::CallLaunch& l : launches)
      if (l.text.find("(mma.sync)") == std::string::npos && seen.insert(l.text).second)
        texts.push_back({l, &kHopper,
                         l.entry + " d " + std::to_string(shape.d) + what +
                             (shape.causal ? " causal" : "") +
                             (deterministic ? " deterministic" : "")});
  };
  for (bool deterministic : {false, true})
    for (int64_t d : {64, 128})
      for (bool causal : {true, false}) {
        for (DType type : {bf16, f16})
          add({2, 1024, 1024, 8, 4, d, causal, type}, deterministic, "");
        add({1, 1024, 1024, 8, 4, d, causal, bf16, 0, 9}, deterministic, " documents");
        add({1, 1024, 1024, 8, 4, d, causal, bf16, 0, 0, 100}, deterministic, " window");
        add({2, 1024, 1024, 8, 4, d, causal, bf16, 15}, deterministic, " softcap");
        add({1, 1024, 1024, 8, 4, d, causal, bf16, 15, 9}, deterministic, " softcap, documents");
      }
  for (int64_t d : {80, 96, 112, 192, 256}) {
    add({2, 1024, 1024, 8, 4, d, true, bf16}, true, "");
    add({2, 1024, 1024, 8, 4, d, false, f16}, false, "");
    add({1, 1024, 1024, 8, 4, d, true, bf16, 0, 9}, false, " documents");
    add({1, 1024, 1024, 8, 4, d, false, bf16, 15, 0, 100}, true, " softcap, window");
  }
  compile(texts);
  for (const Text& t : texts) {
    INFO(t.what);
    CHECK_FALSE(t.cubin.serialized);
    // The gradient for heads of 64 lacks up to six registers of a thread's 240 with a softcap, one
    // or two where blocks take turns and rows have ranges: of numbers that a step reads once;
    // softcap with ranges of keys in heads of 256 lacks some of 224.
    auto has = [&](const char* word) { return t.what.find(word) != std::string::npos; };
    CHECK(t.cubin.spill_bytes <= (has("softcap") ? 24 : has("64") && has("deterministic") ? 8 : 0));
    CHECK(t.cubin.shared_bytes + t.launch.dynamic_shared <= t.arch->target.shared_per_block);
    // Two warpgroups take 232 (224, 240) registers a thread of what a block of three has at its
    // start, when the first has given up all but 40 (56, 24): with fewer they would wait for ever.
    if (t.launch.text.find("  take_registers<") != std::string::npos)
      CHECK(t.cubin.registers * 384 >= (2 * 232 + 40) * 128);
  }
}

TEST_CASE("attention in any form compiles") {
  if (no_nvrtc()) return;
  AttentionShape half{2, 100, 100, 4, 2, 72, true, f16, 15};
  AttentionShape single{1, 100, 100, 4, 2, 64, false, f32, 0, 3};
  AttentionShape window{1, 100, 120, 4, 2, 64, true, bf16, 0, 0, 32, false, true, true};
  compile_all({half.forward(), half.grad(), single.forward(), single.grad(), window.forward(),
               window.grad()},
              32);
  AttentionShape hooked{2, 40, 60, 4, 2, 72, true, f16, 15};
  const HookFormulas hook = biased({2, 40, 60, 4}, true);
  hooked.hook = &hook.text;
  compile_all({hooked.forward(), hooked.grad()}, 32);
}

TEST_CASE("paged attention compiles; all values stay in registers") {
  if (no_nvrtc()) return;
  std::vector<LibraryCall> calls;
  for (int64_t d : {64, 80, 128, 256})
    for (int kind : {0, 1, 2})
      for (bool chunks : {false, true})
        for (int64_t b : {1, 64}) {  // with parts to join, without
          if (kind > 0 && d == 80) continue;
          PagedShape x{b, b, 32, 8, d, 8192, 16, 2048, 0, 0, bf16, kind > 0, chunks, kind > 1};
          calls.push_back(x.call());
        }
  for (bool floats : {false, true})
    calls.push_back(
        PagedShape{8, 8, 32, 4, 128, 8192, 64, 2048, 4096, 30, f16, true, false, floats}.call());
  for (int64_t kv : {1, 32})
    for (DType type : {bf16, f16})
      calls.push_back(
          PagedShape{8, 8, 32, kv, 128, 8192, 64, 2048, 4096, 30, type, false, false}.call());
  for (int64_t d : {40, 64, 128, 256})  // in any form
    for (int kind : {0, 1, 2})
      calls.push_back(
          PagedShape{9, 4, 32, 8, d, 8192, 3, 2048, 77, 5, f32, kind > 0, true, kind > 1}.call());
  compile_all(calls);
}

TEST_CASE("all other calls compile") {
  if (no_nvrtc()) return;
  std::vector<LibraryCall> calls = {gather_call(65536, 16384, 1280, bf16, i32),
                                    scatter_call(65536, 16384, 1280, bf16, i32, "add"),
                                    scatter_call(int64_t{1} << 33, 16384, 1, f32, i64, "set"),
                                    scatter_call(65536, 256, 1280, f16, i64, "add"),
                                    scatter_call(65536, 256, 13, u8, i64, "add"),
                                    CallBuilder("copy", 2).attr("bytes", 1000),
                                    CallBuilder("fill", 1).attr("bytes", 1000).offset(0, 4),
                                    CallBuilder("guard", 1).attr("type", "f64"),
                                    CallBuilder("draw_normal", 1)
                                        .attr("count", 1000)
                                        .attr("deviation", 0.02)
                                        .attr("key", 1)
                                        .attr("stream", 2)};
  for (DType t : {f32, f64, bf16, f16, i32, i64}) {
    calls.push_back(cumsum_call(4, 1000, 7, true, t));
    calls.push_back(top_k_call(4, 100, 7, t));
    calls.push_back(top_k_call(4, 65536, 50, t));
  }
  compile_all(calls);
}
