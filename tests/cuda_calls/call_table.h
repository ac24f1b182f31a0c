// Library calls of many types and shapes, by name: what the tests of this folder run over.
#pragma once

#include <bit>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "fusec/base/dtype.h"
#include "fusec/plan/plan.h"

namespace fusec::test {

struct NamedCall {
  std::string name;
  LibraryCall call;
};

// A call with `arguments` operands, each at the start of a buffer of its own.
class CallBuilder {
 public:
  CallBuilder(std::string name, int arguments) {
    call_.name = std::move(name);
    for (int i = 0; i < arguments; ++i) call_.args.push_back({i, 0});
  }
  CallBuilder& attr(const char* key, int64_t v) { return call_.attrs[key] = v, *this; }
  CallBuilder& attr(const char* key, int v) { return attr(key, int64_t{v}); }
  CallBuilder& attr(const char* key, double v) { return call_.attrs[key] = v, *this; }
  CallBuilder& attr(const char* key, std::string_view v) {
    return call_.attrs[key] = std::string(v), *this;
  }
  // Moves argument i by so many bytes.
  CallBuilder& offset(int i, int64_t bytes) { return call_.args[i].byte_offset = bytes, *this; }
  operator LibraryCall() const { return call_; }  // NOLINT: that is what it is for

 private:
  LibraryCall call_;
};

// A hook as a plan for a GPU carries it (plan.h).
struct HookText {
  std::string forward, grad;  // hook_cuda
  bool scored = false, masked = false;
  int64_t mask_axes = 0;
  std::vector<TensorType> captured = {};
  std::string loads = {};
  int64_t grads = 0;
};

struct AttentionShape {
  int64_t b, t, s, h, kv, d;
  bool causal = true;
  DType type = bf16;
  double softcap = 0;
  int64_t docs = 0;
  int64_t window = 0;
  bool top_left = false, prefix = false, sinks = false;
  const HookText* hook = nullptr;

  CallBuilder builder(bool grad) const {
    int results = grad ? 9 + sinks : 5,
        captured = hook ? static_cast<int>(hook->captured.size()) : 0;
    if (grad && hook) results += std::popcount(static_cast<uint64_t>(hook->grads));
    CallBuilder call(grad ? "attention_grad" : "attention",
                     results + (docs > 0) + prefix + sinks + captured);
    if (hook) {
      std::string types;
      for (const TensorType& t : hook->captured) {
        types += (types.empty() ? "" : "; ") + std::string(name_of(t.dtype));
        for (int64_t n : t.shape) types += " " + std::to_string(n);
      }
      call.attr("hook", "of the test").attr("hook_cuda", grad ? hook->grad : hook->forward);
      call.attr("hook_scored", int64_t{hook->scored}).attr("hook_masked", int64_t{hook->masked});
      call.attr("hook_mask_axes", hook->mask_axes).attr("hook_loads", hook->loads);
      if (captured) call.attr("captured", captured).attr("captured_types", types);
      if (grad) call.attr("captured_grads", hook->grads);
    }
    call.attr("b", b).attr("t", t).attr("s", s).attr("h", h).attr("kv", kv).attr("d", d);
    call.attr("causal", int64_t{causal}).attr("docs", docs).attr("type", name_of(type));
    if (window) call.attr("window", window);
    if (top_left) call.attr("top_left", int64_t{1});
    if (prefix) call.attr("prefix", int64_t{1});
    if (sinks) call.attr("sinks", int64_t{1});
    return call.attr("scale", 1 / std::sqrt(static_cast<double>(d))).attr("softcap", softcap);
  }
  LibraryCall forward() const { return builder(false); }
  LibraryCall grad() const { return builder(true); }
};

struct PagedShape {
  int64_t tokens, b, h, kv, d, pages, page_size, max_pages;
  int64_t window = 0;
  double softcap = 0;
  DType type = bf16;
  bool narrow = false, cu_q = false;
  bool floats = false;  // narrow pages: f8e4m3, not u8

  DType page_type() const { return !narrow ? type : floats ? f8e4m3 : u8; }
  LibraryCall call() const {
    return CallBuilder("paged_attention", 6 + cu_q + 2 * narrow)
        .attr("tokens", tokens)
        .attr("b", b)
        .attr("h", h)
        .attr("kv", kv)
        .attr("d", d)
        .attr("pages", pages)
        .attr("page_size", page_size)
        .attr("max_pages", max_pages)
        .attr("window", window)
        .attr("cu_q", int64_t{cu_q})
        .attr("scale", 1 / std::sqrt(static_cast<double>(d)))
        .attr("softcap", softcap)
        .attr("type", name_of(type))
        .attr("page_type", name_of(page_type()));
  }
};

inline LibraryCall gather_call(int64_t rows, int64_t count, int64_t width, DType type,
                               DType index) {
  return CallBuilder("gather", 3)
      .attr("rows", rows)
      .attr("count", count)
      .attr("width", width)
      .attr("type", name_of(type))
      .attr("index_type", name_of(index));
}

inline LibraryCall scatter_call(int64_t rows, int64_t count, int64_t width, DType type, DType index,
                                const char* mode) {
  return CallBuilder("scatter", 3)
      .attr("rows", rows)
      .attr("count", count)
      .attr("width", width)
      .attr("type", name_of(type))
      .attr("index_type", name_of(index))
      .attr("mode", mode);
}

inline LibraryCall cumsum_call(int64_t outer, int64_t n, int64_t inner, bool reverse, DType type) {
  return CallBuilder("cumsum", 2)
      .attr("outer", outer)
      .attr("n", n)
      .attr("inner", inner)
      .attr("reverse", int64_t{reverse})
      .attr("type", name_of(type));
}

inline LibraryCall top_k_call(int64_t rows, int64_t n, int64_t k, DType type) {
  return CallBuilder("top_k", 3)
      .attr("rows", rows)
      .attr("n", n)
      .attr("k", k)
      .attr("type", name_of(type));
}

}  // namespace fusec::test
