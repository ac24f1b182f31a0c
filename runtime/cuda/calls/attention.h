// What the forms of attention and its gradient share: the problem, its constants, and the text that
// says which keys a query sees.
//
//   any             every type, head size, softcap and mask: f32 arithmetic on 16 x 64 tiles
//   tensor cores    bf16 and f16, head sizes that are multiples of 16 up to 256, 16-byte rows:
//                   mma.sync (sm_80 and later), tiles by what registers and shared memory hold
//   hopper          the same with heads of 64 to 256, of the gradient 64 to 128, at least 128
//                   queries and keys, no prefix, sinks or hook: wgmma and copies by tensor maps
//                   (sm_90a)
//
// Gradients of sinks and of what a hook captured are kernels of their own (attention_captured.cpp),
// behind those of either of the first two.
#pragma once

#include "calls.h"

namespace fusec::cuda {

// q, o [b, t, h, d]; k, v [b, s, kv, d]; lse [b, h, t]; see `attention` in plan.h. Query head x
// reads key head x / (h / kv).
struct Attention {
  int64_t b, t, s, h, kv, d;
  bool causal, top_left;
  float scale, softcap;
  DType type;
  int64_t docs;
  int64_t window;  // 0: none
  size_t cu_seqlens, prefix, sinks;  // arguments, 0: not there

  std::string hook;                 // hook_cuda, empty without
  bool scored, masked;              // it changes scores, hides keys
  int64_t mask_axes;                // what the mask looks at
  size_t captured, captured_count;  // arguments
  int64_t captured_grads;           // bit i: captured tensor i has a gradient

  int64_t group() const { return h / kv; }
  // Ranges of keys have two ends that the mask decides.
  bool ranged() const { return docs > 0 || window > 0 || prefix > 0; }
  bool hooked() const { return !hook.empty(); }
  bool mask_items() const { return (mask_axes & 1) != 0; }
  bool mask_heads() const { return (mask_axes & 2) != 0; }
};

// Reads and checks the attributes; an unsupported Error for lengths beyond 32 bits.
Attention read_attention(const LibraryCall& call);

// Whether the tensor-core form takes the call. `tensors`: how many of its first arguments hold rows
// of heads (all but lse and cu_seqlens).
bool fits_tensor_cores(const Attention& a, const LibraryCall& call,
                       const std::vector<size_t>& tensors, const CallTarget& target);

// kH, kKv, kD, kCausal, kDocs, kTopLeft, kWindow (0: none), kRanges (documents, a window or a
// prefix: ranges with two ends), kPrefix, kSinks, kScored, kHookMasks, kMaskItems, kMaskHeads (of
// the hook), kScale, kCap (0: none), kLog2e.
Constants attention_constants(const Attention& a, std::string_view title);

// Range, keys_of(query), prefix_of(query), queries_of(key), check_documents(): see attention.cpp.
extern const std::string_view kRangeText;

// Arguments of all kernels that look at a mask: t, s, cu_seqlens (or anything, unread), docs.
std::vector<LaunchArg> mask_arguments(const Attention& a, size_t cu_argument);

// The functions of the call's hook, or of none, and mask_tile(): needs constants and kPrelude. A
// kernel that uses it has HOOK_PARAMETERS at the end, for append_captured().
std::string hook_text(const Attention& a);
void append_captured(const Attention& a, std::vector<LaunchArg>& args);
// The launch that makes the list of tiles that mask_tile() indexes, if there is a mask; the list.
LaunchArg list_mask_tiles(const Attention& a, const LibraryCall& call, CallPlan& plan);

// rowsum(d_o * o) as launched before, [b, h, t]: appends the gradients of sinks and of captured
// tensors, where they are wanted.
void append_sink_gradient(const Attention& a, const LibraryCall& call, const LaunchArg& delta,
                          CallPlan& plan);
void append_captured_gradients(const Attention& a, const LibraryCall& call, const LaunchArg& delta,
                               CallPlan& plan);
// Walk: the steps of a block of the tensor-core form; needs kRangeText and hook_text.
extern const std::string_view kWalkText;
// attention_mma_sums.cpp: the kernel that makes rowsum(d_o * o), the product dS K of a step, added
// to sums of dq, and the kernel that rounds these. Needs kColumns and kSums, the first kTeam, too.
extern const std::string_view kMmaDelta, kMmaSums, kMmaRound;
// Tiles and products of the general form: needs constants, element_text, kRangeText and hook_text.
extern const std::string_view kAnyTiles, kAnyGradient;

// Whether the form for sm_90a takes the call, or its gradient, if the tensor-core form does.
bool fits_hopper(const Attention& a, const CallTarget& target, bool grad);
// What its texts begin with, after the constants.
// kCapSlope, what multiplies a product before tanh, and kExponent, what multiplies tanh, or without
// softcap the product, before exp2.
void hopper_scale(const Attention& a, Constants& constants);
std::string hopper_text(const Attention& a, const CallTarget& target);
// Whether its kernels read the range of every row, and of every tile of 128, from memory: all but
// full attention and causal of equal lengths.
bool listed_ranges(const Attention& a, bool grad);
// The launch that makes these: `rows` [rounded up to 128] of {low, high} and `tiles` of {all, whole}
// (join_ranges), of queries or of keys; and clears `counter`. cu_argument: of cu_seqlens.
CallLaunch list_ranges(const Attention& a, const LibraryCall& call, bool of_keys,
                       const LaunchArg& rows, const LaunchArg& tiles, const LaunchArg& counter,
                       size_t cu_argument);
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

}  // namespace fusec::cuda
