// Rows of the op table for attention: every option, hooks of a few kinds, lengths of 1, documents
// and windows of any size.
#include <cmath>

#include "builder.h"

namespace fusec::fuzz {
namespace {

using Made = std::optional<Item>;

// A hook of one of a few kinds, alone or with others, for q [batch, t, h, d] and s keys.
void add_hook(Builder& b, AttentionOptions& o, int64_t batch, int64_t t, int64_t h, int64_t s) {
  switch (b.dice.below(6)) {
    case 0: {  // ALiBi, slopes learnt
      Tensor slope = b.parameter({h}, f32);
      o.score = [=](Score p) { return p.value + slope(p.head) * cast(p.key - p.query, f32); };
      break;
    }
    case 1: {  // a bias of every score, of which rows and heads may share one
      Shape shape = {b.dice.chance(2) ? h : 1, t, s};
      Tensor bias = b.parameter(shape, f32);
      o.score = [=](Score p) {
        return p.value + bias(shape[0] == h ? p.head : p.head * 0.0, p.query, p.key);
      };
      break;
    }
    case 2: {  // a table of distances, a temperature a batch item
      Tensor table = b.parameter({t + s}, f32), heat = b.parameter({batch}, f32);
      double last = static_cast<double>(s);
      o.score = [=](Score p) {
        return p.value * sigmoid(heat(p.batch)) + tanh(table(p.query - p.key + last));
      };
      break;
    }
    case 3: o.score = [](Score p) { return 4.0 * tanh(p.value * 0.25); }; break;
    case 4: {  // -inf hides a key; nothing else captured
      o.score = [](Score p) {
        return select(abs(p.query - p.key) < 3.0, p.value,
                      p.value.graph().constant(-INFINITY, {}, f32));
      };
      break;
    }
    default: break;  // a mask alone
  }
  switch (b.dice.below(o.score ? 4 : 3)) {
    case 0: {  // documents by the number of each token
      Tensor of_query = b.input({t}, i32), of_key = b.input({s}, i32);
      o.mask = [=](Position p) { return of_query(p.query) == of_key(p.key); };
      break;
    }
    case 1: {  // a table: trees, anything
      Tensor table = b.input({t, s}, b8);
      o.mask = [=](Position p) { return table(p.query, p.key); };
      break;
    }
    case 2:  // dilated
      o.mask = [](Position p) {
        Tensor apart = p.query - p.key;
        return apart - apart / 2.0 * 2.0 == 0.0;
      };
      break;
    default: break;
  }
}

Made do_attention(Builder& b) {
  static const std::vector<int64_t> lengths = {1, 3, 7, 16, 40}, windows = {1, 2, 5, 20, 1000};
  int64_t batch = b.small(2), t = b.dice.of(lengths), kv = b.small(2), h = kv * b.small(2);
  int64_t s = b.dice.chance(2) ? t : b.dice.chance(3) ? b.dice.of(lengths) : t + b.dice.below(5);
  static const std::vector<int64_t> heads = {4, 8, 16};  // 16 on a GPU's tensor cores
  int64_t d = b.dice.of(heads);
  DType type = b.main_type() == f64 ? f32 : b.main_type();
  AttentionOptions o;
  o.causal = b.dice.chance(2);
  if (b.dice.chance(3)) o.softcap = 5;
  if (b.dice.chance(4)) {
    batch = 1, s = t;
    o.cu_seqlens = b.input({b.small(3) + 1}, i32);
  }
  if (b.dice.chance(4)) o.window = b.dice.of(windows);
  if (b.dice.chance(4)) o.align = Align::top_left;
  if (b.dice.chance(4))
    o.prefix = b.input({o.cu_seqlens.defined() ? o.cu_seqlens.size(0) - 1 : batch}, i32);
  if (b.dice.chance(4)) o.sinks = b.parameter({h}, f32);
  if (b.dice.chance(3)) add_hook(b, o, batch, t, h, s);
  Tensor q = b.input({batch, t, h, d}, type), k = b.parameter({batch, s, kv, d}, type);
  Tensor v = b.input({batch, s, kv, d}, type);
  if (b.dice.chance(2)) q = tanh(q);
  if (b.dice.chance(2)) v = v * 0.5;
  return Item{attention(q, k, v, o)};
}

// Any ratio of heads, pages of any size, 8-bit ones, chunks, windows; sometimes new tokens are
// written to the pages first.
Made do_paged_attention(Builder& b) {
  static const std::vector<int64_t> sizes = {1, 2, 3, 16}, windows = {1, 2, 5, 20};
  static const std::vector<int64_t> ratios = {1, 2, 5}, heads_of = {4, 8, 16};
  int64_t kv = b.small(2), h = kv * b.dice.of(ratios), d = b.dice.of(heads_of);
  int64_t pages = b.dice.below(6), size = b.dice.of(sizes), batch = b.dice.below(4);
  DType type = b.main_type() == f64 ? f32 : b.main_type();
  bool chunks = b.dice.chance(2), narrow = b.dice.chance(3);
  int64_t tokens = chunks ? b.dice.below(9) : batch;
  PagedAttentionOptions o;
  if (b.dice.chance(3)) o.softcap = 5;
  if (b.dice.chance(3)) o.window = b.dice.of(windows);
  if (chunks) o.cu_q = b.input({batch + 1}, i32);
  Shape shape = {pages, size, kv, d}, heads = {pages, size, kv};
  DType held = !narrow ? type : b.dice.chance(2) ? f8e4m3 : u8;
  PagedKv kept{b.state(shape, held), b.input(shape, held), {}, {}};
  if (narrow) kept.k_scale = b.parameter(heads, f32), kept.v_scale = b.input(heads, f32);
  Tensor table = b.input({batch, b.dice.below(4)}, i32), lengths = b.input({batch}, i32);
  if (b.dice.chance(2)) {
    int64_t added = b.small(3);
    Tensor rows = b.input({added}, i32);
    kept = append_kv(b.input({added, kv, d}, type), b.input({added, kv, d}, type), kept, rows);
  }
  o.k_scale = kept.k_scale, o.v_scale = kept.v_scale;
  return Item{paged_attention(b.input({tokens, h, d}, type), kept.k, kept.v, table, lengths, o)};
}

Made do_naive_attention(Builder& b) {
  int64_t t = b.small(5);
  AttentionOptions o;
  o.causal = b.dice.chance(2);
  Tensor q = b.input({1, t, 2, 4}, f32), k = b.input({1, t, 1, 4}, f32);
  return Item{naive_attention(q, k, b.input({1, t, 1, 4}, f32), o)};
}

}  // namespace

std::vector<OpRow> attention_rows() {
  return {{"attention", 6, do_attention},
          {"paged_attention", 4, do_paged_attention},
          {"naive_attention", 1, do_naive_attention}};
}

}  // namespace fusec::fuzz
