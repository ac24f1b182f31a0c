// The library calls of plan.h on the CPU. Each prepare_* reads the attributes and checks them once,
// at load, and returns what a step executes: a closure over resolved addresses.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "fusec/base/error.h"
#include "fusec/cpu/cpu.h"
#include "fusec/plan/plan.h"

namespace fusec::cpu {

using Action = std::function<void()>;

// A call with the addresses of its arguments. The pool must outlive the action.
struct BoundCall {
  const LibraryCall& call;
  std::vector<std::byte*> args;
  ThreadPool& pool;

  template <typename T>
  T* arg(size_t i) const {
    return reinterpret_cast<T*>(args.at(i));
  }
  // The element type named by attribute `key`; an internal Error if it is none.
  DType type(std::string_view key) const;
  // An internal Error unless `ok`; `rule` says what must hold.
  void require(bool ok, const char* rule) const;
};

Action prepare_gemm(const BoundCall& call);
Action prepare_attention(const BoundCall& call);
Action prepare_attention_grad(const BoundCall& call);
Action prepare_gather(const BoundCall& call);
Action prepare_scatter(const BoundCall& call);
Action prepare_cumsum(const BoundCall& call);
Action prepare_top_k(const BoundCall& call);
Action prepare_copy(const BoundCall& call);
Action prepare_fill(const BoundCall& call);

// Dispatches on call.name; an internal Error names an unknown call.
Action prepare_call(const BoundCall& call);

}  // namespace fusec::cpu
