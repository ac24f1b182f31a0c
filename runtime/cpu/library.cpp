// The table of library calls, and the two that only move bytes.
#include "library.h"

#include <cstring>

#include "fusec/base/nearest.h"

namespace fusec::cpu {
namespace {

constexpr int64_t kBytesPerTask = 256 << 10;

constexpr struct {
  const char* name;
  Action (*prepare)(const BoundCall&);
} kCalls[] = {
    {"gemm", prepare_gemm},       {"attention", prepare_attention},
    {"gather", prepare_gather},   {"attention_grad", prepare_attention_grad},
    {"scatter", prepare_scatter}, {"copy", prepare_copy},
    {"fill", prepare_fill},       {"cumsum", prepare_cumsum},
    {"top_k", prepare_top_k},
};

}  // namespace

DType BoundCall::type(std::string_view key) const {
  const std::string& name = call.text(key);
  std::optional<DType> t = parse_dtype(name);
  if (!t) fail_internal(call.name + ": attribute " + std::string(key) + " is not a type: " + name);
  return *t;
}

void BoundCall::require(bool ok, const char* rule) const {
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

Action prepare_call(const BoundCall& c) {
  std::vector<std::string> known;
  for (const auto& row : kCalls) {
    if (c.call.name == row.name) return row.prepare(c);
    known.push_back(row.name);
  }
  fail_internal("the CPU has no library call \"" + c.call.name + "\"" +
                suggest(c.call.name, known));
}

}  // namespace fusec::cpu
