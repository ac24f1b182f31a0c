// The DSL: free functions and operators over Tensor. Operands of pointwise ops broadcast by the
// usual rule (align at the right; a size of 1, or a missing axis, stretches). Types do not promote:
// both sides must have the same dtype (a number takes the tensor's), else a user error asks for
// cast(). Every function throws a user Error with the caller's file:line on bad shapes or types.
#pragma once

#include <concepts>
#include <functional>
#include <initializer_list>
#include <optional>
#include <vector>

#include "fusec/ops/graph.h"

namespace fusec {

// A tensor or a plain number. A number takes the type of the tensor beside it, and must be one that
// the type can hold: 0.5 beside an i32 is a user error.
struct Operand {
  Tensor tensor;
  double number = 0;
  bool is_number = false;
  Operand(const Tensor& t) : tensor(t) {}                    // NOLINT
  Operand(double v) : number(v), is_number(true) {}          // NOLINT
};

// Pointwise op `op` on broadcast operands; the named functions below all call it.
FUSEC_API Tensor pointwise(Pointwise op, std::vector<Tensor> operands, SourceLoc loc);
FUSEC_API Tensor pointwise(Pointwise op, const At& a, const Operand& b);
FUSEC_API Tensor pointwise(Pointwise op, double a, const At& b);
FUSEC_API Tensor pointwise(Pointwise op, const At& a, const Operand& b, const Operand& c);

// One function for each row of pointwise.def: silu(x), maximum(a, b), select(cond, a, b), ...
#define FUSEC_UNARY(name, ...) \
  inline Tensor name(At x) { return pointwise(Pointwise::name, {x.tensor}, x.loc); }
#define FUSEC_BINARY(name, ...) \
  inline Tensor name(At a, const Operand& b) { return pointwise(Pointwise::name, a, b); } \
  inline Tensor name(double a, At b) { return pointwise(Pointwise::name, a, b); }
#define FUSEC_COMPARE(name, ...) FUSEC_BINARY(name)
#define FUSEC_BITS(name, ...) FUSEC_BINARY(name)
#define FUSEC_TERNARY(name, ...)                                                     \
  inline Tensor name(At a, const Operand& b, const Operand& c) {                     \
    return pointwise(Pointwise::name, a, b, c);                                      \
  }
#include "fusec/ops/pointwise.def"

inline Tensor operator+(At a, const Operand& b) { return pointwise(Pointwise::add, a, b); }
inline Tensor operator-(At a, const Operand& b) { return pointwise(Pointwise::sub, a, b); }
inline Tensor operator*(At a, const Operand& b) { return pointwise(Pointwise::mul, a, b); }
inline Tensor operator/(At a, const Operand& b) { return pointwise(Pointwise::div, a, b); }
inline Tensor operator+(double a, At b) { return pointwise(Pointwise::add, a, b); }
inline Tensor operator-(double a, At b) { return pointwise(Pointwise::sub, a, b); }
inline Tensor operator*(double a, At b) { return pointwise(Pointwise::mul, a, b); }
inline Tensor operator/(double a, At b) { return pointwise(Pointwise::div, a, b); }
inline Tensor operator-(At a) { return pointwise(Pointwise::neg, {a.tensor}, a.loc); }
inline Tensor operator<(At a, const Operand& b) { return pointwise(Pointwise::lt, a, b); }
inline Tensor operator<=(At a, const Operand& b) { return pointwise(Pointwise::le, a, b); }
inline Tensor operator>(At a, const Operand& b) { return pointwise(Pointwise::gt, a, b); }
inline Tensor operator>=(At a, const Operand& b) { return pointwise(Pointwise::ge, a, b); }
inline Tensor operator<(double a, At b) { return pointwise(Pointwise::lt, a, b); }
inline Tensor operator<=(double a, At b) { return pointwise(Pointwise::le, a, b); }
inline Tensor operator>(double a, At b) { return pointwise(Pointwise::gt, a, b); }
inline Tensor operator>=(double a, At b) { return pointwise(Pointwise::ge, a, b); }
inline Tensor operator==(At a, const Operand& b) { return pointwise(Pointwise::eq, a, b); }
inline Tensor operator!=(At a, const Operand& b) { return pointwise(Pointwise::ne, a, b); }

// x with element type `to`; x itself when it already has it. To f8e4m3 numbers go through f32, are
// rounded to nearest even and saturate: beyond 448, infinities included, is +-448; NaN stays NaN.
// As behind integers, nothing behind f8e4m3 has a gradient.
FUSEC_API Tensor cast(At x, DType to);

// x, but a constant to grad(): no gradient flows into x.
FUSEC_API Tensor stop_gradient(At x);

// Views: no data moves. An axis may be negative; reshape infers one -1.
FUSEC_API Tensor reshape(At x, Shape shape);
FUSEC_API Tensor permute(At x, std::vector<int64_t> axes);
FUSEC_API Tensor transpose(At x, int64_t a, int64_t b);
// Numpy-style broadcast of x to `shape` (aligned at the right).
FUSEC_API Tensor broadcast_to(At x, Shape shape);
// Inserts an axis of size 1 before `axis`.
FUSEC_API Tensor unsqueeze(At x, int64_t axis);
// Elements start, start + step, ... (`count` of them) along `axis`; a negative start counts from
// the end, a negative step goes backwards.
FUSEC_API Tensor slice(At x, int64_t axis, int64_t start, int64_t count, int64_t step = 1);
FUSEC_API Tensor flip(At x, int64_t axis);
FUSEC_API Tensor concat(std::vector<Tensor> parts, int64_t axis,
                        const std::source_location& loc = std::source_location::current());

// Axes of a reduction: sum(x, 1), sum(x, {0, -1}), or a list made at run time.
class Axes {
 public:
  template <std::integral Index>
    requires(!std::same_as<Index, bool>)  // keep_dims comes third
  Axes(Index axis) : list_{static_cast<int64_t>(axis)} {}
  Axes(std::initializer_list<int64_t> axes) : list_(axes) {}
  Axes(std::vector<int64_t> axes) : list_(std::move(axes)) {}
  const std::vector<int64_t>& list() const { return list_; }

 private:
  std::vector<int64_t> list_;
};

// Reductions over `axes` (negative allowed). keep_dims leaves size-1 axes in place. The sum of an
// empty range is 0; max and min of an empty range are a user error.
FUSEC_API Tensor sum(At x, const Axes& axes, bool keep_dims = false);
FUSEC_API Tensor max(At x, const Axes& axes, bool keep_dims = false);
FUSEC_API Tensor min(At x, const Axes& axes, bool keep_dims = false);
FUSEC_API Tensor mean(At x, const Axes& axes, bool keep_dims = false);
// Over all axes, a scalar.
FUSEC_API Tensor sum(At x);
FUSEC_API Tensor max(At x);
FUSEC_API Tensor min(At x);
FUSEC_API Tensor mean(At x);

// Einsum of two operands: einsum("mk,nk->mn", a, b). No label may repeat within one operand.
FUSEC_API Tensor einsum(std::string_view labels, At a, const Tensor& b);
// x [..., in], weight [out, in] -> [..., out]; bias [out] optional.
FUSEC_API Tensor linear(At x, const Tensor& weight, const std::optional<Tensor>& bias = {});
// a [..., m, k] x b [..., k, n] with equal leading axes.
FUSEC_API Tensor matmul(At a, const Tensor& b);

// table [N, ...rest], index [...] (i32 or i64) -> index.shape + rest. Index < 0 gives zeros;
// index >= N is undefined (checked by the CPU runtime).
FUSEC_API Tensor gather(At table, const Tensor& index);
// base [N, ...rest] with rows `index` (shape I) replaced by updates (I + rest); index < 0 is
// skipped. An index must not repeat.
FUSEC_API Tensor scatter(At base, const Tensor& index, const Tensor& updates);
// As scatter, but adds; an index may repeat. The order of addition is fixed (deterministic).
FUSEC_API Tensor scatter_add(At base, const Tensor& index, const Tensor& updates);

// The row-major number, in a tensor of `shape`, of the element that each entry of index (i32 or
// i64) picks along `axis`; index has the size of `shape` along all other axes. i32 where that
// suffices, else i64; a negative entry gives -1, one past the end the number of all elements: no
// element.
FUSEC_API Tensor flat_index(At index, const Shape& shape, int64_t axis);

// Running sums of x (float, i32, i64) along `axis`: element i is the sum of 0 .. i, or of i .. n - 1
// if reverse. bf16 and f16 sum in f32.
FUSEC_API Tensor cumsum(At x, int64_t axis, bool reverse = false);

struct TopK {
  Tensor values, indices;  // [..., k], of the type of x and i32
};
// The k largest elements of the last axis, the largest first; NaN counts as larger than all, equal
// ones come in the order of their index. The gradient of the values flows to where they came from.
FUSEC_API TopK top_k(At x, int64_t k);

// Where query i has its own place among the keys, c(i): with the last query at the last key
// (i + S - T, for queries that go on after earlier keys), or with the first at the first (i).
enum class Align : uint8_t { bottom_right, top_left };

// Where a score stands: scalars, i32.
struct Position {
  Tensor batch, head, query, key;
};
struct Score : Position {
  Tensor value;  // f32, after scale and softcap
};

// Which keys a query sees, and what becomes of its scores. Query i and key j count from the start
// of the batch item or, with cu_seqlens, of the document (where T = S, so that c(i) = i). Query i
// sees key j if
//   j < prefix,  or  (j <= c(i) if causal) and (c(i) - window < j < c(i) + window if window > 0)
// so that a causal window is (c(i) - window, c(i)] and one without causal reaches both ways. A
// query that sees no key gets zeros and passes no gradient.
//
// `score` and `mask` are functions of one score, recorded once and compiled into the call:
//
//   .score = [&](Score s) { return s.value + slope(s.head) * cast(s.key - s.query, f32); }
//   .mask = [&](Position p) { return document(p.query) == document(p.key); }
//
// They may use pointwise ops, casts, numbers, and elements tensor(index, ...) of other tensors,
// each index a sum of positions with whole factors (p.key - p.query + 7) that stays inside the
// tensor. Positions are those in the whole batch item. A key is seen if the options and `mask` (b8)
// say so; -inf as the score hides it, too. Captured f32 tensors have gradients through `score`.
struct AttentionOptions {
  bool causal = true;
  double scale = 0;    // 0: 1 / sqrt(d)
  double softcap = 0;  // 0: none, else scores become softcap * tanh(score / softcap)
  Tensor cu_seqlens;   // optional i32 [n + 1]: B must be 1, attention stays inside documents
  Align align = Align::bottom_right;
  int64_t window = 0;  // 0: none
  Tensor prefix;       // optional i32 [B], or [n] with cu_seqlens: keys below it are seen by all
  Tensor sinks;        // optional f32 [H]: a score beside those of the keys, whose value is zeros
  std::function<Tensor(Score)> score;
  std::function<Tensor(Position)> mask;
};
// q [B, T, H, d], k and v [B, S, KV, d] with H a multiple of KV -> [B, T, H, d]; f32, bf16 or
// f16, softmax in f32. Online softmax in O(T) memory (Milakov and Gimelshein 2018; FlashAttention,
// Dao et al. 2022).
FUSEC_API Tensor attention(At q, const Tensor& k, const Tensor& v, AttentionOptions options = {});

// Sequence b has lengths[b] keys; key j is row j % page_size of page page_table[b, j / page_size].
// Its n queries are the last tokens of the sequence: query i of n has place c = lengths[b] - n + i
// and sees the keys j <= c, with a window those of (c - window, c] only.
struct PagedAttentionOptions {
  double scale = 0;         // 0: 1 / sqrt(d)
  double softcap = 0;       // as AttentionOptions
  int64_t window = 0;       // 0: none
  Tensor cu_q;              // optional i32 [B + 1]: queries [cu_q[b], cu_q[b + 1]) are those of b
  Tensor k_scale, v_scale;  // f32 [pages, page_size, KV]: an element e of u8 pages is
                            // (e - 128) * scale, of f8e4m3 pages e * scale
};
// Attention of new tokens over the keys and values of a paged cache (Kwon et al. 2023), for
// inference: q [tokens, H, d], one token a sequence (decoding) or, with cu_q, any number (chunks of
// a prompt behind what is cached); k_pages and v_pages [pages, page_size, KV, d] of the type of q,
// or u8 or f8e4m3 with scales; page_table i32 [B, max_pages]; lengths i32 [B], the queries' own
// tokens included. -> [tokens, H, d]. A page may stand at any place, and in several sequences. A
// query that sees no key, or is of no sequence, gets zeros. Entries of page_table that hold no key
// that some query sees may be any number; one that does and names no page, a length that is
// negative or beyond max_pages * page_size, and a cu_q that does not start at 0, falls or exceeds
// the tokens, are errors of the run, and nothing is read outside the pages. No gradient. Softmax in
// f32; keys are cut into parts by the shapes alone and joined in a fixed order. With 8-bit pages
// and 16-bit q an element of q may be off by 2^-40 of the largest of its head, and a weight times
// its v_scale by 2^-38 of the largest v_scale of the sequence (of 2^-100, if all are smaller),
// beside the rounding to 16 bits:
// tensor cores then run in f16.
FUSEC_API Tensor paged_attention(At q, const Tensor& k_pages, const Tensor& v_pages,
                                 const Tensor& page_table, const Tensor& lengths,
                                 const PagedAttentionOptions& options = {});

}  // namespace fusec
