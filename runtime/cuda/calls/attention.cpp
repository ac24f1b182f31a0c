// attention and attention_grad: reads the call, picks the form, and the text that turns masks into
// ranges. Without documents a query sees keys [0, s), causal ones up to its own place, i + s - t or
// i; with them, its own document, found by bisection in cu_seqlens, which is data of the run. A
// window cuts both at its distance. Every mask is thus one range of keys a query and one range of
// queries a key, so tiles outside are never touched; the keys below a prefix may be a second range
// of keys a query. What a hook's mask hides is no range: attention_hook.cpp.
#include "attention.h"

#include <algorithm>

#include "fusec/base/error.h"

namespace fusec::cuda {

const std::string_view kRangeText = R"cuda(
struct Range {
  int low, high;  // [low, high); empty if low >= high
};

DEV int clamp_to(int x, int most) { return x < 0 ? 0 : x > most ? most : x; }

// The number of the document that holds a token, -1 after the last one.
DEV int document_number(int token, const int* cu, int docs) {
  int low = 0, high = docs + 1;  // the first value above `token` is at [low, high]
  while (low < high) {
    int middle = (low + high) / 2;
    if (cu[middle] <= token)
      low = middle + 1;
    else
      high = middle;
  }
  return low > docs ? -1 : low - 1;
}

// Its tokens: none for tokens after the last document. Values are clamped, so that no cu_seqlens,
// however wrong, leads out of the tensors.
DEV Range document_of(int token, int t, const int* cu, int docs) {
  int number = document_number(token, cu, docs);
  if (number < 0) return {0, 0};
  return {clamp_to(cu[number], t), clamp_to(cu[number + 1], t)};
}

// Of [r.low, r.high), what a window leaves: `place` is where the one that looks stands.
DEV Range in_window(Range r, int place, bool behind, bool ahead) {
  int low = place - kWindow + 1, high = place + kWindow;
  if (kWindow && behind && r.low < low) r.low = low < r.high ? low : r.high;
  if (kWindow && ahead && r.high > high) r.high = high > r.low ? high : r.low;
  return r;
}

// Keys that a query sees; none beyond the last query.
DEV Range keys_of(int query, int t, int s, const int* cu, int docs) {
  if (query >= t) return {0, 0};
  if (kDocs) {
    Range r = document_of(query, t, cu, docs);
    if (kCausal && r.high > query + 1) r.high = query + 1;
    return in_window(r, query, true, !kCausal);
  }
  if (kTopLeft) t = s;
  return in_window({0, kCausal ? clamp_to(query + 1 + s - t, s) : s}, query + s - t, true,
                   !kCausal);
}

// Keys that all queries of a token's batch item or document see.
DEV Range prefix_of(int token, int item, int t, int s, const int* cu, int docs,
                    const int* prefix) {
  if (!kPrefix) return {0, 0};
  if (!kDocs) return {0, clamp_to(prefix[item], s)};
  int number = document_number(token, cu, docs);
  if (number < 0) return {0, 0};
  Range r = document_of(token, t, cu, docs);
  return {r.low, r.low + clamp_to(prefix[number], r.high - r.low)};
}

// Queries that see a key; none beyond the last key.
DEV Range queries_of(int key, int t, int s, const int* cu, int docs) {
  if (key >= s) return {0, 0};
  if (kDocs) {
    Range r = document_of(key, t, cu, docs);
    if (kCausal && r.low < key) r.low = key;
    return in_window(r, key, !kCausal, true);
  }
  int shift = kTopLeft ? 0 : s - t;
  return in_window({kCausal ? clamp_to(key - shift, t) : 0, t}, key - shift, !kCausal, true);
}

// The same where keys below a prefix are seen by all queries of their item or document.
DEV Range queries_of(int key, int item, int t, int s, const int* cu, int docs, const int* prefix) {
  if (kPrefix && key < s) {
    Range before = prefix_of(key, item, t, s, cu, docs, prefix);
    if (key >= before.low && key < before.high)
      return kDocs ? document_of(key, t, cu, docs) : Range{0, t};
  }
  return queries_of(key, t, s, cu, docs);
}

// Of `count` ranges: `all` holds each that is not empty, `whole` is what they have in common.
DEV void join_ranges(const Range* ranges, int count, Range& all, Range& whole) {
  all = {0x7fffffff, 0}, whole = {0, 0x7fffffff};
  for (int i = 0; i < count; ++i) {
    Range r = ranges[i];
    whole.low = whole.low > r.low ? whole.low : r.low;
    whole.high = whole.high < r.high ? whole.high : r.high;
    if (r.low >= r.high) {
      whole.high = 0;
      continue;
    }
    all.low = all.low < r.low ? all.low : r.low;
    all.high = all.high > r.high ? all.high : r.high;
  }
  if (all.low >= all.high) all = {0, 0};
}

// By the threads of one block.
DEV void check_documents(const int* cu, int docs, int t, Status* status, int step) {
  for (int i = threadIdx.x; i <= docs; i += blockDim.x) {
    int value = cu[i], least = i > 0 ? cu[i - 1] : 0;
    if (value < least || value > t || (i == 0 && value != 0)) report(status, 2, step, value, t);
  }
}
)cuda";

Attention read_attention(const LibraryCall& call) {
  Attention a{};
  a.b = call.integer("b"), a.t = call.integer("t"), a.s = call.integer("s");
  a.h = call.integer("h"), a.kv = call.integer("kv"), a.d = call.integer("d");
  a.causal = call.integer("causal") != 0;
  a.scale = static_cast<float>(call.number("scale"));
  a.softcap = static_cast<float>(call.number("softcap"));
  a.type = type_of(call, "type"), a.docs = call.integer("docs");
  require(call, a.b >= 0 && a.t >= 0 && a.s >= 0 && a.d > 0, "sizes must not be negative");
  require(call, a.kv > 0 && a.h > 0 && a.h % a.kv == 0, "h must be a multiple of kv");
  require(call, a.docs == 0 || (a.b == 1 && a.t == a.s), "documents need b = 1 and t = s");
  require(call, a.type == f32 || a.type == bf16 || a.type == f16, "takes f32, bf16 or f16");
  AttentionArguments at = attention_arguments(call);
  a.cu_seqlens = at.cu_seqlens, a.prefix = at.prefix, a.sinks = at.sinks;
  a.captured = at.captured, a.captured_count = at.count - at.captured;
  if (call.attrs.contains("hook")) {
    a.hook = call.text("hook_cuda");
    a.scored = call.integer("hook_scored") != 0, a.masked = call.integer("hook_masked") != 0;
    a.mask_axes = call.integer("hook_mask_axes");
    a.captured_grads = call.integer_or("captured_grads", 0);
  }
  a.top_left = call.integer_or("top_left", 0) != 0;
  a.window = std::min(call.integer_or("window", 0), a.t + a.s + 1);
  if (a.window > a.t + a.s) a.window = 0;  // sees all that there is
  // Kernels add a tile and t to s in int.
  constexpr int64_t kMost = (int64_t{1} << 30) - 1024;
  if (a.t > kMost || a.s > kMost || a.h * a.d > kMost)
    fail_unsupported("attention over " + std::to_string(a.t) + " queries and " +
                     std::to_string(a.s) + " keys: the CUDA device takes " + std::to_string(kMost) +
                     " at most");
  require(call, a.window >= 0, "window must not be negative");
  if (a.window > 0 && a.t + a.s > kMost)
    fail_unsupported("attention with a window over " + std::to_string(a.t + a.s) +
                     " queries and keys: the CUDA device takes " + std::to_string(kMost) +
                     " at most");
  return a;
}

bool fits_tensor_cores(const Attention& a, const LibraryCall& call,
                       const std::vector<size_t>& tensors, const CallTarget& target) {
  return target.major >= 8 && (a.type == bf16 || a.type == f16) && a.d % 16 == 0 && a.d <= 256 &&
         a.scale > 0 && common_unit(call, tensors, 16) == 16;
}

Constants attention_constants(const Attention& a, std::string_view title) {
  return Constants(title)
      .integer("kH", a.h)
      .integer("kKv", a.kv)
      .integer("kD", a.d)
      .integer("kCausal", a.causal)
      .integer("kDocs", a.docs > 0)
      .integer("kRanges", a.ranged())
      .integer("kPrefix", a.prefix > 0)
      .integer("kSinks", a.sinks > 0)
      .integer("kScored", a.scored)
      .integer("kHookMasks", a.masked)
      .integer("kMaskItems", a.mask_items())
      .integer("kMaskHeads", a.mask_heads())
      .integer("kTopLeft", a.top_left)
      .integer("kWindow", a.window)
      .real("kScale", a.scale)
      .real("kCap", a.softcap)
      .real("kLog2e", 1.44269504088896341);
}

std::vector<LaunchArg> mask_arguments(const Attention& a, size_t cu_argument) {
  return {i32_value(a.t), i32_value(a.s), argument(a.docs ? cu_argument : 0), i32_value(a.docs)};
}

CallPlan plan_attention(const LibraryCall& call, const CallTarget& target) {
  Attention a = read_attention(call);
  require(call, call.args.size() == attention_arguments(call).count,
          "takes as many arguments as its attributes say");
  if (a.b == 0 || a.t == 0) return {};
  if (!fits_tensor_cores(a, call, {0, 1, 2, 3}, target)) return any_attention(a, call, target);
  return fits_hopper(a, target, false) ? hopper_attention(a, call, target)
                                       : mma_attention(a, call, target);
}

CallPlan plan_attention_grad(const LibraryCall& call, const CallTarget& target) {
  Attention a = read_attention(call);
  require(call, call.args.size() == attention_arguments(call).count,
          "takes as many arguments as its attributes say");
  if (!a.sinks && !a.captured_grads && (a.b == 0 || (a.t == 0 && a.s == 0))) return {};
  if (!fits_tensor_cores(a, call, {0, 1, 2, 3, 4, 6, 7, 8}, target))
    return any_attention_grad(a, call, target);
  return fits_hopper(a, target, true) ? hopper_attention_grad(a, call, target)
                                      : mma_attention_grad(a, call, target);
}

}  // namespace fusec::cuda
