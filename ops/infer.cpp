// Shape and type rules, one function an op class. The recorder runs them as ops are written and
// the dialect's verifier runs them on every op of every stage, so there is one set of rules.
#include <algorithm>
#include <map>

#include "fusec/ops/graph.h"
#include "fusec/ops/hook.h"

namespace fusec {
namespace {

using Types = std::vector<TensorType>;

[[noreturn]] void bad(const std::string& op, const std::string& expected, const std::string& found,
                      SourceLoc loc) {
  fail_user(op + ": expected " + expected + ", found " + found, loc);
}

void count(const std::string& op, const Types& in, size_t lo, size_t hi, SourceLoc loc) {
  if (in.size() < lo || in.size() > hi)
    bad(op, std::to_string(lo) + (hi > lo ? " to " + std::to_string(hi) : "") + " operands",
        std::to_string(in.size()), loc);
}

std::string all(const Types& in) {
  std::string s;
  for (const TensorType& t : in) s += (s.empty() ? "" : " and ") + t.str();
  return s;
}

bool is_byte(DType t) { return size_of(t) == 1; }

struct MapRule {
  int arity;
  bool compare;
};

MapRule map_rule(Pointwise op) {
  switch (op) {
// clang-format off
#define FUSEC_UNARY(name, ...) case Pointwise::name: return {1, false};
#define FUSEC_BINARY(name, ...) case Pointwise::name: return {2, false};
#define FUSEC_COMPARE(name, ...) case Pointwise::name: return {2, true};
#define FUSEC_BITS(name, ...) case Pointwise::name: return {2, false};
#define FUSEC_TERNARY(name, ...) case Pointwise::name: return {3, false};
// clang-format on
#include "fusec/ops/pointwise.def"
  }
  return {0, false};
}

Types infer_map(Pointwise op, const Types& in, SourceLoc loc) {
  std::string name(name_of(op));
  MapRule rule = map_rule(op);
  count(name, in, rule.arity, rule.arity, loc);
  for (const TensorType& t : in)
    if (t.shape != in[0].shape) bad(name, "operands of one shape", all(in), loc);
  size_t first = op == Pointwise::select ? 1 : 0;
  if (first && in[0].dtype != DType::b8) bad(name, "a b8 condition", in[0].str(), loc);
  for (size_t i = first; i < in.size(); ++i)
    if (in[i].dtype != in[first].dtype)
      bad(name, "operands of one dtype (use cast())", all(in), loc);
  if (op == Pointwise::philox && in[0].dtype != DType::i64)
    bad(name, "an i64 key and counter", all(in), loc);
  bool integer_ok = op != Pointwise::pow &&
                    (rule.compare || op == Pointwise::select || rule.arity == 2 ||
                     op == Pointwise::neg || op == Pointwise::abs || op == Pointwise::square);
  DType t = in[first].dtype;
  if (t == DType::f8e4m3 && op != Pointwise::select)
    bad(name, "a type that is computed with (cast() f8e4m3 to f32, bf16 or f16 first)", all(in),
        loc);
  if (!is_float(t) && !(integer_ok && t != DType::b8) &&
      !(t == DType::b8 && (first || rule.compare)))
    bad(name, integer_ok ? "float or integer operands" : "float operands", all(in), loc);
  return {{in[0].shape, rule.compare ? DType::b8 : t}};
}

Types infer_reduce(const ReduceAttr& a, const Types& in, SourceLoc loc) {
  std::string name(name_of(a.kind));
  count(name, in, 1, 1, loc);
  if (is_byte(in[0].dtype)) bad(name, "float, i32 or i64 (use cast())", in[0].str(), loc);
  Shape out;
  int64_t rank = static_cast<int64_t>(in[0].shape.size()), reduced = 1;
  if (a.chunk < 0) bad(name + " in chunks", "a chunk >= 0", std::to_string(a.chunk), loc);
  if (a.chunk > 0) {
    if (rank != 1) bad(name + " in chunks", "one dimension", in[0].str(), loc);
    return {{{(in[0].shape[0] + a.chunk - 1) / a.chunk}, in[0].dtype}};
  }
  for (size_t i = 0; i < a.axes.size(); ++i)
    if (a.axes[i] < 0 || a.axes[i] >= rank || (i && a.axes[i] <= a.axes[i - 1]))
      bad(name, "sorted distinct axes below " + std::to_string(rank), fusec::str(a.axes), loc);
  for (int64_t i = 0; i < rank; ++i) {
    if (std::find(a.axes.begin(), a.axes.end(), i) == a.axes.end())
      out.push_back(in[0].shape[i]);
    else
      reduced *= in[0].shape[i];
  }
  if (a.kind != ReduceKind::sum && reduced == 0) bad(name, "a non-empty range", in[0].str(), loc);
  return {{out, in[0].dtype}};
}

Types infer_contract(const ContractAttr& a, const Types& in, SourceLoc loc) {
  count("contract", in, 2, 2, loc);
  std::string labels = a.lhs + "," + a.rhs + "->" + a.out;
  std::map<char, int64_t> sizes;
  const std::string* side[] = {&a.lhs, &a.rhs};
  for (int s = 0; s < 2; ++s) {
    if (side[s]->size() != in[s].shape.size())
      bad("contract " + labels, std::to_string(side[s]->size()) + " dimensions", in[s].str(), loc);
    for (size_t i = 0; i < side[s]->size(); ++i) {
      char c = (*side[s])[i];
      if (side[s]->find(c) != i)
        bad("contract " + labels, "distinct labels in an operand", std::string("'") + c + "' twice",
            loc);
      auto [it, fresh] = sizes.emplace(c, in[s].shape[i]);
      if (!fresh && it->second != in[s].shape[i])
        bad("contract " + labels, std::string("one size for '") + c + "'", all(in), loc);
    }
  }
  Shape out;
  for (size_t i = 0; i < a.out.size(); ++i) {
    auto it = sizes.find(a.out[i]);
    if (it == sizes.end() || a.out.find(a.out[i]) != i)
      bad("contract " + labels, "distinct output labels that occur in an operand",
          std::string("'") + a.out[i] + "'", loc);
    out.push_back(it->second);
  }
  if (in[0].dtype != in[1].dtype || !is_float(in[0].dtype))
    bad("contract " + labels, "float operands of one dtype (use cast())", all(in), loc);
  return {{out, in[0].dtype}};
}

Types infer_concat(const ConcatAttr& a, const Types& in, SourceLoc loc) {
  if (in.empty()) bad("concat", "at least one part", "none", loc);
  TensorType out = in[0];
  int64_t rank = static_cast<int64_t>(out.shape.size());
  if (a.axis < 0 || a.axis >= rank)
    bad("concat", "an axis below " + std::to_string(rank), std::to_string(a.axis), loc);
  for (size_t i = 1; i < in.size(); ++i) {
    bool same = in[i].dtype == out.dtype && in[i].shape.size() == out.shape.size();
    for (int64_t d = 0; same && d < rank; ++d) same = d == a.axis || in[i].shape[d] == out.shape[d];
    if (!same) bad("concat", "parts that differ only along the axis", all(in), loc);
    out.shape[a.axis] += in[i].shape[a.axis];
  }
  return {out};
}

void check_index(const std::string& op, const TensorType& t, SourceLoc loc) {
  if (t.dtype != DType::i32 && t.dtype != DType::i64) bad(op, "an i32 or i64 index", t.str(), loc);
}

Shape rows_shape(const TensorType& index, const TensorType& table) {
  Shape out = index.shape;
  out.insert(out.end(), table.shape.begin() + 1, table.shape.end());
  return out;
}

Types infer_gather(const Types& in, SourceLoc loc) {
  count("gather", in, 2, 2, loc);
  check_index("gather", in[1], loc);
  if (in[0].shape.empty()) bad("gather", "a table of rank >= 1", in[0].str(), loc);
  return {{rows_shape(in[1], in[0]), in[0].dtype}};
}

Types infer_scatter(const ScatterAttr& a, const Types& in, SourceLoc loc) {
  count("scatter", in, 3, 3, loc);
  check_index("scatter", in[1], loc);
  if (in[0].shape.empty()) bad("scatter", "a base of rank >= 1", in[0].str(), loc);
  TensorType updates{rows_shape(in[1], in[0]), in[0].dtype};
  if (a.mode == ScatterMode::add && in[0].dtype == DType::f8e4m3)
    bad("scatter_add", "a type that is computed with (use cast())", in[0].str(), loc);
  if (in[2] != updates) bad("scatter", "updates " + updates.str(), in[2].str(), loc);
  return {in[0]};
}

Types infer_cumsum(const CumsumAttr& a, const Types& in, SourceLoc loc) {
  count("cumsum", in, 1, 1, loc);
  if (is_byte(in[0].dtype)) bad("cumsum", "float, i32 or i64 (use cast())", in[0].str(), loc);
  int64_t rank = static_cast<int64_t>(in[0].shape.size());
  if (a.axis < 0 || a.axis >= rank)
    bad("cumsum", "an axis below " + std::to_string(rank), std::to_string(a.axis), loc);
  return {in[0]};
}

Types infer_top_k(const TopKAttr& a, const Types& in, SourceLoc loc) {
  count("top_k", in, 1, 1, loc);
  if (is_byte(in[0].dtype)) bad("top_k", "float, i32 or i64 (use cast())", in[0].str(), loc);
  if (in[0].shape.empty() || a.k < 1 || a.k > in[0].shape.back())
    bad("top_k", "1 <= k <= the size of the last axis",
        "k = " + std::to_string(a.k) + " of " + in[0].str(), loc);
  Shape shape = in[0].shape;
  shape.back() = a.k;
  return {{shape, in[0].dtype}, {shape, DType::i32}};
}

// q [B, T, H, d], k and v [B, S, KV, d].
void check_attention(const TensorType& q, const TensorType& k, const TensorType& v, SourceLoc loc) {
  auto shape = [](const TensorType& t) { return t.shape; };
  bool ok = q.shape.size() == 4 && k.shape.size() == 4 && k == v && q.dtype == k.dtype &&
            is_float(q.dtype) && q.dtype != DType::f64;
  ok = ok && shape(q)[0] == shape(k)[0] && shape(q)[3] == shape(k)[3] && shape(k)[2] > 0 &&
       shape(q)[2] % shape(k)[2] == 0;
  if (!ok)
    bad("attention",
        "q [B, T, H, d], k and v [B, S, KV, d], all f32, bf16 or f16, H a multiple of KV "
        "(naive_attention takes f64)",
        q.str() + ", " + k.str() + ", " + v.str(), loc);
}

void check_cu_seqlens(const TensorType& q, const TensorType& k, const TensorType& cu,
                      SourceLoc loc) {
  if (cu.dtype != DType::i32 || cu.shape.size() != 1 || cu.shape[0] < 2 || q.shape[0] != 1 ||
      q.shape[1] != k.shape[1])
    bad("attention", "cu_seqlens i32[n + 1] with B = 1 and T = S",
        cu.str() + " with q " + q.str() + ", k " + k.str(), loc);
}

// The optional operands, from `first` on.
AttentionOperands check_options(const AttentionAttr& attr, const Types& in, size_t q_at,
                                size_t first, SourceLoc loc) {
  size_t named = first + attr.prefix + attr.sinks + captured_tensors(attr.hook);
  count("attention", in, named, named + 1, loc);
  check_attention(in[q_at], in[q_at + 1], in[q_at + 2], loc);
  const TensorType &q = in[q_at], &k = in[q_at + 1];
  AttentionOperands at = attention_operands(attr, first, in.size());
  if (attr.window < 0)
    bad("attention", "window > 0, or 0 for none", std::to_string(attr.window), loc);
  if (at.cu_seqlens) check_cu_seqlens(q, k, in[at.cu_seqlens], loc);
  int64_t items = at.cu_seqlens ? in[at.cu_seqlens].shape[0] - 1 : q.shape[0];
  if (at.prefix && in[at.prefix] != TensorType{{items}, DType::i32})
    bad("attention", "prefix i32[" + std::to_string(items) + "], a number a batch item or document",
        in[at.prefix].str(), loc);
  TensorType sinks{{q.shape[2]}, DType::f32};
  if (at.sinks && in[at.sinks] != sinks)
    bad("attention", "sinks " + sinks.str() + ", a score a head", in[at.sinks].str(), loc);
  if (!attr.hook.empty())
    check_hook(read_hook(attr.hook), Types(in.begin() + at.captured, in.end()),
               {q.shape[0], q.shape[2], q.shape[1], k.shape[1]}, loc);
  return at;
}

Types infer_attention(const AttentionAttr& attr, const Types& in, SourceLoc loc) {
  check_options(attr, in, 0, 3, loc);
  const Shape& q = in[0].shape;
  return {in[0], {{q[0], q[2], q[1]}, DType::f32}};
}

Types infer_attention_grad(const AttentionAttr& attr, const Types& in, SourceLoc loc) {
  AttentionOperands at = check_options(attr, in, 1, 6, loc);
  const Shape& q = in[1].shape;
  TensorType lse{{q[0], q[2], q[1]}, DType::f32};
  if (in[0] != in[1] || in[4] != in[1] || in[5] != lse)
    bad("attention_grad", "do and o like q, lse " + lse.str(), all(in), loc);
  Types out = {in[1], in[2], in[3]};
  if (at.sinks) out.push_back(in[at.sinks]);
  for (size_t i = at.captured; i < in.size(); ++i) {
    if (!(attr.captured_grads >> (i - at.captured) & 1)) continue;
    if (in[i].dtype != DType::f32)
      bad("attention_grad", "captured tensors that want a gradient to be f32 (cast() them before)",
          in[i].str(), loc);
    out.push_back(in[i]);
  }
  return out;
}

// Heads of q and of the pages, then what says where the keys of each sequence lie.
Types infer_paged_attention(const PagedAttentionAttr& a, const Types& in, SourceLoc loc) {
  const std::string op = "paged_attention";
  size_t operands = 5 + a.cu_q + 2 * a.scales;
  count(op, in, operands, operands, loc);
  const TensorType &q = in[0], &k = in[1], &table = in[3], &lengths = in[4];
  bool heads = q.shape.size() == 3 && k.shape.size() == 4 && k == in[2] && is_float(q.dtype) &&
               q.dtype != DType::f64 && k.shape[1] > 0 && k.shape[2] > 0 && q.shape[1] > 0 &&
               q.shape[2] > 0 && q.shape[2] == k.shape[3] && q.shape[1] % k.shape[2] == 0;
  const bool bytes = k.dtype == DType::u8 || k.dtype == DType::f8e4m3;
  if (!heads || (a.scales ? !bytes : k.dtype != q.dtype))
    bad(op,
        "q [tokens, H, d] of f32, bf16 or f16, k_pages and v_pages [pages, page_size, KV, d] of "
        "its type, or u8 or f8e4m3 with k_scale and v_scale, H a multiple of KV",
        q.str() + ", " + k.str() + ", " + in[2].str() + (a.scales ? " with" : " without") +
            " scales",
        loc);
  if (table.dtype != DType::i32 || table.shape.size() != 2)
    bad(op, "page_table i32[B, max_pages]", table.str(), loc);
  int64_t b = table.shape[0];
  if (lengths != TensorType{{b}, DType::i32})
    bad(op, "lengths i32[" + std::to_string(b) + "], one a row of page_table", lengths.str(), loc);
  if (a.cu_q && in[5] != TensorType{{b + 1}, DType::i32})
    bad(op, "cu_q i32[" + std::to_string(b + 1) + "], where each sequence's queries begin and end",
        in[5].str(), loc);
  if (!a.cu_q && q.shape[0] != b)
    bad(op, "a query token a sequence, q [" + std::to_string(b) + ", H, d]; else cu_q", q.str(),
        loc);
  TensorType scales{{k.shape[0], k.shape[1], k.shape[2]}, DType::f32};
  for (size_t i = operands - 2; a.scales && i < operands; ++i)
    if (in[i] != scales)
      bad(op, "k_scale and v_scale " + scales.str() + ", one a token and head", in[i].str(), loc);
  if (a.window < 0) bad(op, "window > 0, or 0 for none", std::to_string(a.window), loc);
  constexpr int64_t kMost = (int64_t{1} << 31) - 1;  // places are counted in i32
  if (table.shape[1] > kMost / k.shape[1] || k.shape[0] > kMost / k.shape[1])
    bad(op, "at most " + std::to_string(kMost) + " tokens in all pages, and in those of a sequence",
        k.str() + " and page_table " + table.str(), loc);
  return {q};
}

}  // namespace

TensorType infer_view(const ViewAttr& a, const std::vector<int64_t>& target, const TensorType& in,
                      SourceLoc loc);

void check_size(const std::string& op, const TensorType& t, SourceLoc loc) {
  if (fits(t.shape)) return;
  fail_user(op + ": " + t.str() + " has more than 2^47 elements; expected a tensor that fits an " +
                "address space, so check the sizes it is made of",
            loc);
}

namespace {

Types infer_unchecked(OpKind kind, const Attr& attr, const Types& in, SourceLoc loc) {
  switch (kind) {
    case OpKind::map: return infer_map(std::get<MapAttr>(attr).op, in, loc);
    case OpKind::cast:
      count("cast", in, 1, 1, loc);
      return {{in[0].shape, std::get<CastAttr>(attr).to}};
    case OpKind::reduce: return infer_reduce(std::get<ReduceAttr>(attr), in, loc);
    case OpKind::contract: return infer_contract(std::get<ContractAttr>(attr), in, loc);
    case OpKind::view: {
      count("view", in, 1, 1, loc);
      const ViewAttr& v = std::get<ViewAttr>(attr);
      check_size("view", {v.shape, in[0].dtype}, loc);
      return {infer_view(v, v.shape, in[0], loc)};
    }
    case OpKind::concat: return infer_concat(std::get<ConcatAttr>(attr), in, loc);
    case OpKind::gather: return infer_gather(in, loc);
    case OpKind::scatter: return infer_scatter(std::get<ScatterAttr>(attr), in, loc);
    case OpKind::cumsum: return infer_cumsum(std::get<CumsumAttr>(attr), in, loc);
    case OpKind::top_k: return infer_top_k(std::get<TopKAttr>(attr), in, loc);
    case OpKind::attention: return infer_attention(std::get<AttentionAttr>(attr), in, loc);
    case OpKind::attention_grad:
      return infer_attention_grad(std::get<AttentionAttr>(attr), in, loc);
    case OpKind::paged_attention:
      return infer_paged_attention(std::get<PagedAttentionAttr>(attr), in, loc);
    case OpKind::input:
    case OpKind::parameter:
    case OpKind::state:
    case OpKind::constant:
    case OpKind::iota:
    case OpKind::assign:
    case OpKind::guard:
      fail_internal("infer_types: " + std::string(name_of(kind)) + " carries its own type", loc);
  }
  return {};
}

}  // namespace

std::vector<TensorType> infer_types(OpKind kind, const Attr& attr, const Types& in, SourceLoc loc) {
  Types out = infer_unchecked(kind, attr, in, loc);
  for (const TensorType& t : out) check_size(std::string(name_of(kind)), t, loc);
  return out;
}

// A view's result shape is part of its attribute; this checks it against the operand.
TensorType infer_view(const ViewAttr& a, const Shape& target, const TensorType& in, SourceLoc loc) {
  const Shape& s = in.shape;
  std::string found = in.str() + " to " + fusec::str(target);
  for (int64_t d : target)
    if (d < 0) bad("view", "sizes >= 0", found, loc);
  switch (a.kind) {
    case ViewKind::reshape:
      if (numel(target) != numel(s)) bad("reshape", "an equal number of elements", found, loc);
      break;
    case ViewKind::permute: {
      std::vector<bool> seen(s.size(), false);
      bool ok = a.dims.size() == s.size() && target.size() == s.size();
      for (size_t i = 0; ok && i < s.size(); ++i) {
        int64_t d = a.dims[i];
        ok = d >= 0 && d < static_cast<int64_t>(s.size()) && !seen[d] && target[i] == s[d];
        if (ok) seen[d] = true;
      }
      if (!ok) bad("permute", "each axis once", fusec::str(a.dims) + " of " + in.str(), loc);
      break;
    }
    case ViewKind::broadcast: {
      bool ok = a.dims.size() == target.size();
      int64_t next = 0;
      for (size_t i = 0; ok && i < target.size(); ++i) {
        int64_t d = a.dims[i];
        if (d < 0) continue;
        ok = d == next && d < static_cast<int64_t>(s.size()) && (s[d] == target[i] || s[d] == 1);
        ++next;
      }
      if (!ok || next != static_cast<int64_t>(s.size()))
        bad("broadcast", "every source axis once, in order, of equal size or 1", found, loc);
      break;
    }
    case ViewKind::slice: {
      bool ok =
          a.start.size() == s.size() && a.step.size() == s.size() && target.size() == s.size();
      for (size_t i = 0; ok && i < s.size(); ++i) {
        int64_t last = a.start[i] + (target[i] - 1) * a.step[i];
        ok = a.step[i] != 0 &&
             (target[i] == 0 || (a.start[i] >= 0 && a.start[i] < s[i] && last >= 0 && last < s[i]));
      }
      if (!ok)
        bad("slice", "elements inside the operand, step not 0",
            found + ", start " + fusec::str(a.start) + ", step " + fusec::str(a.step), loc);
      break;
    }
  }
  return {target, in.dtype};
}

}  // namespace fusec
