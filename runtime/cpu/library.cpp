// The table of library calls, and the two that only move bytes.
#include "library.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "fusec/base/nearest.h"

namespace fusec::cpu {
namespace {

constexpr int64_t kBytesPerTask = 256 << 10;

Workspace none(const CheckedCall&, int) { return {}; }

constexpr struct Row {
  const char* name;
  Action (*prepare)(const BoundCall&);
  Workspace (*workspace)(const CheckedCall&, int threads);
} kCalls[] = {
    {"gemm", prepare_gemm, gemm_workspace},
    {"attention", prepare_attention, attention_workspace},
    {"attention_grad", prepare_attention_grad, attention_grad_workspace},
    {"paged_attention", prepare_paged_attention, paged_attention_workspace},
    {"gather", prepare_gather, none},
    {"scatter", prepare_scatter, none},
    {"copy", prepare_copy, none},
    {"fill", prepare_fill, none},
    {"guard", prepare_guard, none},
    {"cumsum", prepare_cumsum, none},
    {"top_k", prepare_top_k, none},
};

const Row& row_of(const LibraryCall& call) {
  std::vector<std::string> known;
  for (const Row& row : kCalls) {
    if (call.name == row.name) return row;
    known.push_back(row.name);
  }
  fail_internal("the CPU has no library call \"" + call.name + "\"" + suggest(call.name, known));
}

}  // namespace

DType CheckedCall::type(std::string_view key) const {
  const std::string& name = call.text(key);
  std::optional<DType> t = parse_dtype(name);
  if (!t) fail_internal(call.name + ": attribute " + std::string(key) + " is not a type: " + name);
  return *t;
}

void CheckedCall::require(bool ok, const char* rule) const {
  if (!ok) fail_internal("library call " + call.name + ": " + rule);
}

Action prepare_copy(const BoundCall& c) {
  c.require(c.args.size() == 2, "takes (src, dst)");
  int64_t bytes = c.call.integer("bytes");
  c.require(bytes >= 0, "bytes must not be negative");
  return [src = c.args[0], dst = c.args[1], bytes, &pool = c.pool] {
    pool.parallel(bytes, kBytesPerTask,
                  [&](int64_t lo, int64_t hi) { std::memcpy(dst + lo, src + lo, hi - lo); });
  };
}

Action prepare_fill(const BoundCall& c) {
  c.require(c.args.size() == 1, "takes (dst)");
  int64_t bytes = c.call.integer("bytes");
  c.require(bytes >= 0, "bytes must not be negative");
  return [dst = c.args[0], bytes, &pool = c.pool] {
    pool.parallel(bytes, kBytesPerTask,
                  [&](int64_t lo, int64_t hi) { std::memset(dst + lo, 0, hi - lo); });
  };
}

Action prepare_guard(const BoundCall& c) {
  c.require(c.args.size() == 1, "takes (x)");
  DType type = c.type("type");
  c.require(type == f32 || type == f64, "x must be f32 or f64");
  return [x = c.args[0], type, &finite = c.finite] {
    if (!std::isfinite(load_as_double(x, type, 0))) finite = false;
  };
}

Workspace workspace_of(const LibraryCall& call, int threads) {
  return row_of(call).workspace({call}, threads);
}

Action prepare_call(const BoundCall& c) { return row_of(c.call).prepare(c); }

int64_t workspace_bytes(const Plan& plan, int threads) {
  int64_t a_thread = 0, own = 0;
  for (const PlanStep& step : plan.steps) {
    if (step.kernel >= 0) continue;
    Workspace w = workspace_of(step.call, threads);
    a_thread = std::max(a_thread, w.a_thread);
    own += w.own;
  }
  return a_thread * threads + own;
}

}  // namespace fusec::cpu
