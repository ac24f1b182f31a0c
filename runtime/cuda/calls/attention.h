// What the forms of attention and its gradient share: the problem, its constants, and the text that
// says which keys a query sees.
//
//   any             every type, head size, softcap and mask: f32 arithmetic on 16 x 64 tiles
//   tensor cores    bf16 and f16, head sizes that are multiples of 16 up to 128, 16-byte rows:
//                   mma.sync (sm_80 and later)
//   hopper          bf16 and f16, heads of 64 and 128, no softcap, no documents: wgmma and copies
//                   by tensor maps (sm_90a)
#pragma once

#include "calls.h"

namespace fusec::cuda {

// q, o [b, t, h, d]; k, v [b, s, kv, d]; lse [b, h, t]; see `attention` in plan.h. Query head x
// reads key head x / (h / kv). Causal masks are aligned bottom right.
struct Attention {
  int64_t b, t, s, h, kv, d;
  bool causal;
  float scale, softcap;
  DType type;
  int64_t docs;

  int64_t group() const { return h / kv; }
};

// Reads and checks the attributes; an unsupported Error for lengths beyond 32 bits.
Attention read_attention(const LibraryCall& call);

// Whether the tensor-core form takes the call. `tensors`: how many of its first arguments hold rows
// of heads (all but lse and cu_seqlens).
bool fits_tensor_cores(const Attention& a, const LibraryCall& call,
                       const std::vector<size_t>& tensors, const CallTarget& target);

// kH, kKv, kD, kCausal, kDocs, kScale, kCap (0: none), kLog2e.
Constants attention_constants(const Attention& a, std::string_view title);

// Range, keys_of(query), queries_of(key), check_documents(): see attention.cpp.
extern const std::string_view kRangeText;

// Arguments of all kernels that look at a mask: t, s, cu_seqlens (or anything, unread), docs.
std::vector<LaunchArg> mask_arguments(const Attention& a, size_t cu_argument);

// Whether the form for sm_90a takes the call, if the tensor-core form does.
bool fits_hopper(const Attention& a, const CallTarget& target);
// The same of its gradient, which needs whole tiles of keys unless it is causal.
bool fits_hopper_grad(const Attention& a, const CallTarget& target);
// What its texts begin with, after the constants.
std::string hopper_text(const Attention& a);
// An argument that holds the heads of queries, or of keys.
TensorMap attention_map(const Attention& a, size_t argument, bool keys, int64_t box_rows,
                        int64_t box_panels);

CallPlan any_attention(const Attention& a, const LibraryCall& call, const CallTarget& target);
CallPlan any_attention_grad(const Attention& a, const LibraryCall& call, const CallTarget& target);
CallPlan mma_attention(const Attention& a, const LibraryCall& call, const CallTarget& target);
CallPlan mma_attention_grad(const Attention& a, const LibraryCall& call, const CallTarget& target);
CallPlan hopper_attention(const Attention& a, const LibraryCall& call, const CallTarget& target);
CallPlan hopper_attention_grad(const Attention& a, const LibraryCall& call,
                               const CallTarget& target);
// Its last launch where dq must not depend on the order of blocks: lse2 and delta [b, h, padded],
// `counter` is 0.
CallLaunch hopper_attention_dq(const Attention& a, const LibraryCall& call,
                               const CallTarget& target, const LaunchArg& lse2,
                               const LaunchArg& delta, const LaunchArg& counter, int64_t padded);

}  // namespace fusec::cuda
