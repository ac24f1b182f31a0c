// The seam between compiler and runtime: everything needed to run a compiled graph, as plain data
// that prints as text and reads back (text.h). The compiler writes it, a device executes it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fusec/base/tensor_type.h"
#include "fusec/plan/decision.h"
#include "fusec/plan/kernel_program.h"

namespace fusec {

enum class BufferClass : uint8_t {
  input,      // arena, live for the whole step
  output,     // arena, live from its writer to the end of the step
  temporary,  // arena, live from first to last use
  constant,   // persistent, filled from `data`
  parameter,  // persistent, shared by name between executables
  state,      // persistent, shared by name, zero at start
};
FUSEC_API std::string_view name_of(BufferClass c);
inline bool is_persistent(BufferClass c) { return c >= BufferClass::constant; }

struct PlanBuffer {
  std::string name;
  BufferClass cls = BufferClass::temporary;
  TensorType type;
  int64_t offset = -1;  // arena classes: byte offset, a multiple of kArenaAlign
  int first = 0, last = 0;  // steps between which it must hold its value
  std::string data;  // constant: raw bytes, row-major, exactly type.bytes()
  std::string origin;  // what makes it, for people: "map.silu (mlp.cpp:12, trunk.0.mlp)"
};

// Bytes reserved for a buffer: its size plus the vector padding, rounded up.
inline constexpr int64_t kArenaAlign = 256;
inline int64_t reserved_bytes(const TensorType& t) {
  int64_t padded = t.bytes() + 64 * size_of(t.dtype);
  return (padded + kArenaAlign - 1) / kArenaAlign * kArenaAlign;
}

// Address of an argument: a byte offset into a buffer.
struct BufferRef {
  int buffer = -1;
  int64_t byte_offset = 0;
  bool operator==(const BufferRef&) const = default;
};

// One launch of a kernel: arguments in the order of KernelProgram::params. n: length of flat
// kernels, else 0. A step with several segments is a horizontal fusion.
struct Segment {
  std::vector<BufferRef> args;
  int64_t n = 0;
};

// A call into a device library. Calls known to every device, all tensors dense row-major unless
// said otherwise; `type` below is the element type attribute ("f32", "bf16"):
//
//  gemm               (a, b, c[, aux][, sums][, addend][, bias][, pre]): for each batch item
//                     C = alpha * op(A) op(B) + beta * C, and what GemmEpilogue says behind it
//                     attrs: m n k, batch, lda ldb ldc (elements), stride_a stride_b stride_c
//                     (elements a batch item), trans_a trans_b (0/1: A is [m,k] or [k,m]), type_a
//                     type_b type_c, alpha, beta (doubles); epilogue (text; absent: "none")
//  attention          (q, k, v, o, lse[, cu_seqlens][, prefix][, sinks][, captured...]): attrs
//                     b t s h kv d, causal (0/1), scale, softcap, type, docs (number of documents;
//                     0: no cu_seqlens). lse [B, H, T] f32: log of the sum of exp of the scaled,
//                     capped, hooked, masked scores and of the head's sink; -inf for a row of
//                     none; o = 0 for a row that sees no key. Attrs that may be absent (0):
//                     top_left (0/1), window, prefix and sinks (0/1: the argument is there, i32
//                     [B] or [docs], f32 [H]), hook (a text), captured (how many tensors it
//                     reads) and captured_types ("f32 4 8; i32 16"). AttentionOptions and hook.h
//                     of the DSL say what they mean.
//                     A hook comes with kernels of the plan, which work on tiles[hook_block]
//                     [hook_lanes] of scores, rows being keys: hook_mask (absent: no mask) takes
//                     (tile, where, loads...) and hook_kernel (tile, where, loads...) or, for
//                     attention_grad, (tile, where, slope, loads..., by_load...); `where` holds
//                     batch item, head, first query and first key. hook_loads has for each load
//                     "captured-tensor offset batch head query key gradient", bytes and 0 or 1.
//                     In plans for GPUs the kernels are instead a text of device functions,
//                     hook_cuda (emit_hook of the code generator says which), with hook_scored
//                     and hook_masked (0/1: it changes scores, hides keys) and hook_mask_axes
//                     (what the mask looks at: 1 item, 2 head, 4 query, 8 key).
//  attention_grad     (do, q, k, v, o, lse, dq, dk, dv[, dsinks][, dcaptured...][, cu_seqlens]
//                     [, prefix][, sinks][, captured...]): same attrs, and captured_grads (bit i:
//                     captured tensor i has a gradient, an argument of its type, f32)
//  paged_attention    (q, k_pages, v_pages, page_table, lengths, o[, cu_q][, k_scale, v_scale]):
//                     attrs tokens b h kv d, pages page_size max_pages, window (0: none), cu_q
//                     (0/1: the argument is there), scale, softcap, type (of q and o), page_type
//                     ("u8", "f8e4m3": with scales; else type); paged_attention() of the DSL says
//                     what they mean
//  gather             (table, index, out): attrs rows (N), count (M), width (elements a row), type,
//                     index_type. index < 0 -> zeros
//  scatter            (out, index, updates): out already holds the base. attrs rows, count, width,
//                     type, index_type, mode ("add" or "set"); index < 0 is skipped; additions to
//                     one row happen in index order
//  cumsum             (in, out): in and out [outer, n, inner]; attrs outer, n, inner, reverse
//  (0/1),
//                     type: running sums along n, in f32 for f32, bf16 and f16
//  top_k              (in, values, indices): in [rows, n], values and indices (i32) [rows, k];
//  attrs
//                     rows, n, k, type: the largest first, NaN before all, equal ones by index
//  copy               (src, dst): attrs bytes
//  fill               (dst): attrs bytes; zero-fills
//  guard              (x): attrs type (f32, f64); x is one float. Unless it is finite, the commit
//                     steps of this run are skipped
struct LibraryCall {
  std::string name;
  std::vector<BufferRef> args;
  std::map<std::string, std::variant<int64_t, double, std::string>> attrs;

  // Throw an internal Error when the attribute is absent or of another type.
  FUSEC_API int64_t integer(std::string_view key) const;
  FUSEC_API double number(std::string_view key) const;
  FUSEC_API const std::string& text(std::string_view key) const;
  // The attribute if it is there and an integer.
  FUSEC_API int64_t integer_or(std::string_view key, int64_t otherwise) const;
};

// What a gemm does with its f32 sums before it rounds them to type_c and stores them, as words
// joined by "_" in this order: "add", "bias", "gelu", "aux", "dgelu", "bgrad", "bgrada", "bgradb";
// "none" is nothing. Not for f64, nor (but for "none") with beta; "dgelu" stands without "add",
// "bias" and "gelu", "bgrada" and "bgradb" with "add" at most and one of the two. addend, aux and
// pre lie as C does and have its type, as the vectors have. The addend may be C itself, at one
// address: then C is accumulated in place. It may not overlap C in part.
struct GemmEpilogue {
  bool add = false;     // + addend, element by element
  bool bias = false;    // + bias[n], to every row
  bool gelu = false;    // the tanh form, last
  bool aux = false;     // with gelu: what goes into it is rounded and stored, too
  bool dgelu = false;   // * the slope of gelu at pre, element by element
  bool bgrad = false;   // with dgelu: sums[n], of the columns of C, before or behind its rounding
  bool bgrada = false;  // sums[m], of op(A) over k. Batch 1, as for bgrad and bgradb
  bool bgradb = false;  // sums[n], of op(B) over k
  bool any() const { return add || bias || gelu || dgelu || bgrada || bgradb; }
  bool sums() const { return bgrad || bgrada || bgradb; }
  size_t arguments() const { return pre_at() + dgelu; }
  // Places among the arguments, where there is such a one.
  size_t aux_at() const { return 3; }
  size_t sums_at() const { return 3 + aux; }
  size_t addend_at() const { return sums_at() + sums(); }
  size_t bias_at() const { return addend_at() + add; }
  size_t pre_at() const { return bias_at() + bias; }
  FUSEC_API std::string str() const;
};
// Of a call "gemm"; an internal Error if there is no such epilogue.
FUSEC_API GemmEpilogue epilogue_of(const LibraryCall& call);

// Why no device can run the call: an unknown name (with the nearest one), another number of
// arguments, a missing or mistyped attribute. Empty if it is well formed.
FUSEC_API std::string what_is_wrong(const LibraryCall& call, size_t arguments);

// Whether a well-formed call writes (reads) its argument `i`. Only scatter does both.
FUSEC_API bool writes_argument(const LibraryCall& call, size_t i);
FUSEC_API bool reads_argument(const LibraryCall& call, size_t i);

struct PlanStep {
  int kernel = -1;  // index into Plan::kernels, or -1: `call`
  std::vector<Segment> segments;
  LibraryCall call;
  std::string scope;  // model part, for the profile
  // Skipped when a guard before it found a number that is not finite: it writes persistent memory.
  bool commit = false;
  // The op and user line of each value it writes: one a written parameter of the kernel, or one a
  // result of the call.
  std::vector<std::string> makes;
  int64_t bytes = 0;          // memory traffic of the step: each argument once
  int64_t unfused_bytes = 0;  // traffic of its ops run one by one
  int64_t flops = 0;
};

struct Plan {
  std::string graph;  // name for people
  std::vector<PlanBuffer> buffers;
  std::vector<KernelProgram> kernels;  // structurally distinct
  std::vector<PlanStep> steps;
  int64_t arena_bytes = 0;
  int64_t sum_of_temporaries = 0;  // what the arena would be without reuse

  // Index of the buffer of that name among inputs, outputs, parameters and states; -1 if none.
  FUSEC_API int find(std::string_view name) const;
  FUSEC_API int64_t persistent_bytes() const;
  // What the device holds while the plan runs, but for the scratch of its libraries.
  int64_t planned_bytes() const { return persistent_bytes() + arena_bytes; }
};

// Where the arguments of a well-formed attention or attention_grad call lie.
struct AttentionArguments {
  size_t results, masks;  // the call writes [results, masks)
  size_t cu_seqlens = 0, prefix = 0, sinks = 0;  // 0: not there
  size_t captured = 0, count = 0;                // the captured tensors: [captured, count)
};
FUSEC_API AttentionArguments attention_arguments(const LibraryCall& call);
// Where the optional arguments of a well-formed paged_attention call lie; 0: not there.
struct PagedArguments {
  size_t cu_q = 0, k_scale = 0, v_scale = 0, count = 0;
};
FUSEC_API PagedArguments paged_arguments(const LibraryCall& call);
// Of the captured tensors: attribute captured_types. An internal Error if it does not read.
FUSEC_API std::vector<TensorType> captured_types(const LibraryCall& call);

// Visits the arguments of a step in order: f(BufferRef, bool read, bool written).
template <class Step, class F>
void each_argument(const Plan& plan, Step& step, F f) {
  if (step.kernel >= 0) {
    const std::vector<KernelParam>& params = plan.kernels[step.kernel].params;
    for (auto& s : step.segments)
      for (size_t i = 0; i < s.args.size(); ++i) f(s.args[i], params[i].read, params[i].written);
    return;
  }
  for (size_t i = 0; i < step.call.args.size(); ++i)
    f(step.call.args[i], reads_argument(step.call, i), writes_argument(step.call, i));
}

// Structural checks (indices in range, arena overlaps of live buffers, argument counts); throws an
// internal Error that names the step and the rule.
FUSEC_API void verify(const Plan& plan);

// The version of the text form, on its first line: plan "name" version 4 { ... }. It grows with
// every change of meaning, and no other version is read.
inline constexpr int kPlanVersion = 4;

// Text form and back; parse(print(p)) prints the same text. Throws a user Error with line number.
FUSEC_API std::string print(const Plan& plan);
FUSEC_API std::string print(const KernelProgram& kernel);
FUSEC_API Plan parse_plan(std::string_view text);
FUSEC_API KernelProgram parse_kernel(std::string_view text);

}  // namespace fusec
