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

// A call whose attributes are read.
struct CheckedCall {
  const LibraryCall& call;

  // The element type named by attribute `key`; an internal Error if it is none.
  DType type(std::string_view key) const;
  // An internal Error unless `ok`; `rule` says what must hold.
  void require(bool ok, const char* rule) const;
};

// A call with the addresses of its arguments. Pool and flag must outlive the action.
struct BoundCall : CheckedCall {
  std::vector<std::byte*> args;
  ThreadPool& pool;
  bool& finite;              // cleared by a guard that finds a number that is not finite
  std::byte* own = nullptr;  // Workspace::own bytes
  const std::vector<KernelFn>* kernels = nullptr;  // of the plan

  template <typename T>
  T* arg(size_t i) const {
    return reinterpret_cast<T*>(args.at(i));
  }
};

// Memory of a call beside its arguments, in bytes.
struct Workspace {
  int64_t a_thread = 0;  // scratch, shared by all calls
  int64_t own = 0;       // of this call alone, for the life of the program
};

Action prepare_gemm(const BoundCall& call);
Action prepare_attention(const BoundCall& call);
Action prepare_attention_grad(const BoundCall& call);
Action prepare_paged_attention(const BoundCall& call);
Action prepare_gather(const BoundCall& call);
Action prepare_scatter(const BoundCall& call);
Action prepare_cumsum(const BoundCall& call);
Action prepare_top_k(const BoundCall& call);
Action prepare_copy(const BoundCall& call);
Action prepare_fill(const BoundCall& call);

Action prepare_guard(const BoundCall& call);

Workspace gemm_workspace(const CheckedCall& call, int threads);
Workspace attention_workspace(const CheckedCall& call, int threads);
Workspace attention_grad_workspace(const CheckedCall& call, int threads);
Workspace paged_attention_workspace(const CheckedCall& call, int threads);

// Dispatch on call.name; an internal Error names an unknown call.
Workspace workspace_of(const LibraryCall& call, int threads);
Action prepare_call(const BoundCall& call);

}  // namespace fusec::cpu
