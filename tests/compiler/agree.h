// Compares a compiled graph, fused and unfused, with the oracle's bounds on the same inputs. The
// tolerance is not set here: ops/tolerance.h derives it from the types, ops and values of the
// graph.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "fusec/fusec.h"
#include "fusec/ops/bounds.h"
#include "fusec/ops/oracle.h"

namespace fusec::test {

using Feeds = std::map<std::string, std::vector<double>>;

// Fixed-seed values in [lo, hi), rounded to `t` so that oracle and kernel see the same numbers.
inline std::vector<double> draw(const TensorType& t, uint64_t seed, double lo, double hi) {
  std::mt19937_64 engine(seed);
  std::vector<double> out(numel(t.shape));
  uint64_t cell = 0;
  for (double& v : out) {
    v = lo + (hi - lo) * static_cast<double>(engine() >> 11) * 0x1p-53;
    store_from_double(&cell, t.dtype, 0, holds_floats(t.dtype) ? v : std::floor(v));
    v = load_as_double(&cell, t.dtype, 0);
  }
  return out;
}

inline void write(Executable& exe, const std::string& name, const std::vector<double>& values) {
  const TensorType& t = exe.type(name);
  std::vector<char> bytes(t.bytes());
  for (size_t i = 0; i < values.size(); ++i) store_from_double(bytes.data(), t.dtype, i, values[i]);
  exe.write(name, bytes.data(), bytes.size());
}

inline std::vector<double> read(const Executable& exe, const std::string& name) {
  const TensorType& t = exe.type(name);
  std::vector<char> bytes(t.bytes());
  exe.read(name, bytes.data(), bytes.size());
  std::vector<double> out(numel(t.shape));
  for (size_t i = 0; i < out.size(); ++i) out[i] = load_as_double(bytes.data(), t.dtype, i);
  return out;
}

inline void check_close(const std::vector<double>& got, const std::vector<double>& expected,
                        double tolerance, const std::string& what, double floor = 1e-3) {
  REQUIRE(got.size() == expected.size());
  double scale = 0;
  for (double v : expected)
    if (std::isfinite(v)) scale = std::max(scale, std::fabs(v));
  for (size_t i = 0; i < got.size(); ++i) {
    bool same = std::isnan(expected[i]) ? std::isnan(got[i])
                : std::isinf(expected[i])
                    ? got[i] == expected[i]
                    : std::fabs(got[i] - expected[i]) <= tolerance * (scale + floor);
    if (!same) {
      INFO(what << "[" << i << "]: kernel " << got[i] << ", oracle " << expected[i]);
      CHECK(same);
      return;  // one message a tensor
    }
  }
  CHECK(true);
}

// Feeds for every leaf of the graph that has none.
inline Feeds complete(const Graph& graph, Feeds feeds, double lo, double hi) {
  uint64_t seed = 17;
  for (const Node& n : graph.nodes())
    if (n.kind == OpKind::input || n.kind == OpKind::parameter || n.kind == OpKind::state) {
      const std::string& name = n.as<NameAttr>().name;
      ++seed;
      if (!feeds.count(name)) feeds[name] = draw(n.results[0], seed, lo, hi);
    }
  return feeds;
}

struct AgreeOptions {
  double lo = -2, hi = 2;
  Feeds feeds = {};
  CompileOptions compile = {};
};

// Not under compute-sanitizer with FUSEC_TEST_COMPARE=0, which looks at what kernels do to memory:
// the oracle takes most of a comparison's time.
inline bool comparing() {
  static const bool yes = [] {
    const char* set = std::getenv("FUSEC_TEST_COMPARE");
    bool no = set && std::string(set) == "0";
    if (no) std::printf("FUSEC_TEST_COMPARE=0: kernels run, their results are not compared\n");
    return !no;
  }();
  return yes;
}

// Inputs, and what the oracle makes of them; nothing where nothing is compared.
struct Reference {
  Feeds feeds;
  std::vector<BoundedData> expected;  // of each wanted tensor
};

inline Reference reference_of(const Graph& graph, const std::vector<Tensor>& wanted,
                              const AgreeOptions& o) {
  Reference r{complete(graph, o.feeds, o.lo, o.hi), {}};
  BoundedFeeds exact;
  for (const auto& [name, values] : r.feeds) exact[name] = exactly(values);
  if (comparing()) r.expected = evaluate_bounded(graph, exact, wanted);
  return r;
}

struct Ran {
  Plan plan;
  std::vector<std::vector<double>> results;
};

// Compiles, runs and compares once. Returns plan and results for further checks.
inline Ran agree_with(const Reference& r, Graph& graph, const std::vector<Tensor>& wanted,
                       const CompileOptions& options) {
  std::vector<Output> outputs;
  for (size_t i = 0; i < wanted.size(); ++i)
    outputs.emplace_back("result" + std::to_string(i), wanted[i]);
  Executable exe = compile(graph, outputs, options);
  for (const PlanBuffer& b : exe.plan().buffers)
    if (r.feeds.count(b.name) && b.cls != BufferClass::temporary && b.cls != BufferClass::constant)
      write(exe, b.name, r.feeds.at(b.name));
  exe.run();
  Ran ran{exe.plan(), {}};
  for (size_t i = 0; i < wanted.size(); ++i) {
    const std::vector<double>& got = ran.results.emplace_back(read(exe, outputs[i].name));
    if (!comparing()) continue;
    Agreement a = compare(got, r.expected[i]);
    for (size_t k = 0; k < got.size(); ++k) {  // the bounds say nothing of NaN and infinity
      double v = r.expected[i].value[k];
      if (std::isnan(v) ? !std::isnan(got[k]) : std::isinf(v) && got[k] != v)
        a = {0, 0, 1, static_cast<int64_t>(k), got[k], v, 0};
    }
    INFO((options.fuse ? "fused " : "unfused ")
         << outputs[i].name << "[" << a.first << "]: kernel " << a.got << ", oracle " << a.expected
         << " within " << a.allowed);
    CHECK(a.wrong == 0);
  }
  return ran;
}

// Unfused and fused. Returns the fused plan.
inline Plan agree(Graph& graph, const std::vector<Tensor>& wanted, AgreeOptions o = {}) {
  Reference r = reference_of(graph, wanted, o);
  Plan plan;
  for (bool fuse : {false, true}) {
    o.compile.fuse = fuse;
    plan = agree_with(r, graph, wanted, o.compile).plan;
  }
  return plan;
}

// Kernel launches of a plan (library calls not counted).
inline int launches(const Plan& plan) {
  int n = 0;
  for (const PlanStep& s : plan.steps) n += s.kernel >= 0;
  return n;
}

}  // namespace fusec::test
