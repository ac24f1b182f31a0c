// The `attention_grad` call: dq, dk, dv from recomputed probabilities (Dao, "FlashAttention-2",
// 2023). Per tile, with everything transposed (row = key):
//   P = exp(S - lse),  dP = V dO^T,  dS = P (dP - delta) dS/draw,  delta = rowsum(dO * O)
//   dV += P dO,  dK += dS Q,  dQ += dS^T K
// Two schedules with the same bits: `joined` computes all three for one key head of one document
// at a time (5 products a tile); `split` makes dq by query tiles and dk, dv by key tiles (7
// products), for when there are too few key heads and documents to occupy the threads. Both add up
// every element in the same order, so the choice may look at the number of threads.
#include "attention_grad.h"

#include <algorithm>
#include <limits>

#include "memory.h"

namespace fusec::cpu {
namespace {

constexpr double kFlopsPerTask = 4e5;  // about 10 us of one core

// dS -> the gradient of the products, through the hook. What is hidden has no gradient, whatever
// the slope there.
void through_hook(const GradTensors& x, int64_t keys, int64_t ld, const GradScratch& w) {
  if (!x.hook.present()) return;
  for (int64_t i = 0; i < keys * ld; ++i) w.dp[i] = w.dp[i] == 0 ? 0.0f : w.dp[i] * w.slope[i];
}

void add_dq(const VectorKernels& v, const Attention& a, const QuerySide& side, int64_t keys, Rows k,
            bool first, const GradScratch& w) {
  v.block_gemm(side.tile.count, a.padded_d(), keys, w.dp, 1, side.ld, k.data, k.stride, w.dq,
               a.padded_d(), !first);
}

void add_dk_dv(const VectorKernels& v, const Attention& a, const QuerySide& side, int64_t keys,
               float* dk, float* dv, const GradScratch& w) {
  int64_t wide = a.padded_d();
  v.block_gemm(keys, wide, side.tile.count, w.scores, side.ld, 1, side.d_out.data,
               side.d_out.stride, dv, wide, true);
  v.block_gemm(keys, wide, side.tile.count, w.dp, side.ld, 1, side.q.data, side.q.stride, dk, wide,
               true);
}

void write_rows(const VectorKernels& v, const Attention& a, const HeadTensor& to, int64_t item,
                int64_t token, int64_t head, int64_t count, const float* rows) {
  for (int64_t i = 0; i < count; ++i)
    to.write(v, a, item, token + i, head, rows + i * a.padded_d());
}

// All gradients of one key head of one document.
void joined_unit(const VectorKernels& v, const Attention& a, const GradTensors& x, int64_t item,
                 int64_t kv_head, const Document& doc, const GradScratch& w) {
  int64_t wide = a.padded_d();
  std::fill_n(w.dk, doc.keys * wide, 0.0f);
  std::fill_n(w.dv, doc.keys * wide, 0.0f);
  Rows k = x.k.rows(v, a, item, doc.first_key, kv_head, doc.keys, w.key_rows);
  Rows val = x.v.rows(v, a, item, doc.first_key, kv_head, doc.keys, w.value_rows);
  for (int64_t head = kv_head * a.group(); head < (kv_head + 1) * a.group(); ++head)
    for (int64_t q = 0; q < doc.queries; q += a.block) {
      QueryTile tile{&doc, q, std::min(a.block, doc.queries - q)};
      QuerySide side = load_queries(v, a, x, item, head, tile, true, w);
      int64_t end = doc.visible_keys(a, item, q, tile.count);
      bool started = false;
      for (int64_t key = 0; key < end; key += a.block) {
        int64_t keys = std::min(a.block, end - key);
        if (!doc.sees(a, item, q, tile.count, key, keys)) continue;
        Rows kb{k.data + key * k.stride, k.stride}, vb{val.data + key * val.stride, val.stride};
        if (!score_gradients(v, a, x, side, key, keys, kb, vb, w)) continue;
        through_hook(x, keys, side.ld, w);
        add_dq(v, a, side, keys, kb, !started, w);
        add_dk_dv(v, a, side, keys, w.dk + key * wide, w.dv + key * wide, w);
        started = true;
      }
      if (!started) std::fill_n(w.dq, tile.count * wide, 0.0f);
      write_rows(v, a, x.dq, item, doc.first_query + q, head, tile.count, w.dq);
    }
  write_rows(v, a, x.dk, item, doc.first_key, kv_head, doc.keys, w.dk);
  write_rows(v, a, x.dv, item, doc.first_key, kv_head, doc.keys, w.dv);
}

// delta and dq of one tile of queries.
void query_unit(const VectorKernels& v, const Attention& a, const GradTensors& x, int64_t item,
                int64_t head, const QueryTile& tile, const GradScratch& w) {
  const Document& doc = *tile.document;
  QuerySide side = load_queries(v, a, x, item, head, tile, true, w);
  int64_t end = doc.visible_keys(a, item, tile.first, tile.count), kv_head = head / a.group();
  bool started = false;
  for (int64_t key = 0; key < end; key += a.block) {
    int64_t keys = std::min(a.block, end - key);
    if (!doc.sees(a, item, tile.first, tile.count, key, keys)) continue;
    Rows k = x.k.rows(v, a, item, doc.first_key + key, kv_head, keys, w.key_rows);
    Rows val = x.v.rows(v, a, item, doc.first_key + key, kv_head, keys, w.value_rows);
    if (!score_gradients(v, a, x, side, key, keys, k, val, w)) continue;
    through_hook(x, keys, side.ld, w);
    add_dq(v, a, side, keys, k, !started, w);
    started = true;
  }
  if (!started) std::fill_n(w.dq, tile.count * a.padded_d(), 0.0f);
  write_rows(v, a, x.dq, item, doc.first_query + tile.first, head, tile.count, w.dq);
}

// dk and dv of one block of keys; needs delta.
void key_unit(const VectorKernels& v, const Attention& a, const GradTensors& x, int64_t item,
              int64_t kv_head, const Document& doc, int64_t key, const GradScratch& w) {
  int64_t most = std::min(a.block, doc.keys - key), wide = a.padded_d();
  std::fill_n(w.dk, most * wide, 0.0f);
  std::fill_n(w.dv, most * wide, 0.0f);
  Rows k = x.k.rows(v, a, item, doc.first_key + key, kv_head, most, w.key_rows);
  Rows val = x.v.rows(v, a, item, doc.first_key + key, kv_head, most, w.value_rows);
  for (int64_t head = kv_head * a.group(); head < (kv_head + 1) * a.group(); ++head)
    for (int64_t q = 0; q < doc.queries; q += a.block) {
      QueryTile tile{&doc, q, std::min(a.block, doc.queries - q)};
      int64_t keys = std::min(most, doc.visible_keys(a, item, q, tile.count) - key);
      if (keys <= 0 || !doc.sees(a, item, q, tile.count, key, keys)) continue;
      QuerySide side = load_queries(v, a, x, item, head, tile, false, w);
      if (!score_gradients(v, a, x, side, key, keys, k, val, w)) continue;
      through_hook(x, keys, side.ld, w);
      add_dk_dv(v, a, side, keys, w.dk, w.dv, w);
    }
  write_rows(v, a, x.dk, item, doc.first_key + key, kv_head, most, w.dk);
  write_rows(v, a, x.dv, item, doc.first_key + key, kv_head, most, w.dv);
}

// Runs body(unit, scratch) for all units, `flops` each.
template <typename Body>
void for_units(ThreadPool& pool, const Attention& a, int64_t units, double flops, int64_t keys,
               const GradTensors& x, Body body) {
  auto grain = static_cast<int64_t>(std::max(1.0, kFlopsPerTask / std::max(1.0, flops)));
  Carver measure{nullptr};
  auto loads = static_cast<int64_t>(x.hook.wanted());
  GradScratch layout(measure, a, keys, loads);
  pool.parallel(units, grain, [&](int64_t lo, int64_t hi) {
    Carver carver{thread_scratch(measure.used)};
    GradScratch scratch(carver, a, keys, loads);
    for (int64_t unit = lo; unit < hi; ++unit) body(unit, scratch);
  });
}

// True when whole (document, key head) units fill the threads well enough: the longest and the
// average load are compared with those of the split schedule, which costs 7/5 but divides freely.
bool joined_is_faster(const Attention& a, const std::vector<Document>& documents, int threads) {
  double total = 0, longest = 0;
  for (const Document& d : documents) {
    double work = static_cast<double>(d.queries) * static_cast<double>(d.keys);
    total += work * static_cast<double>(a.b * a.kv);
    longest = std::max(longest, work);
  }
  double rounds = std::max(longest, total / threads);
  if (documents.size() == 1)
    rounds = longest * static_cast<double>((a.b * a.kv + threads - 1) / threads);
  return rounds * 5 <= total / threads * 7;
}

void run_grad(const Attention& a, const GradTensors& x, ThreadPool& pool) {
  const VectorKernels& v = vector_kernels();
  std::vector<Document> documents = find_documents(a);
  int64_t docs = static_cast<int64_t>(documents.size()), longest = 0;
  for (const Document& d : documents) longest = std::max(longest, d.keys);
  double product = 2.0 * static_cast<double>(a.d);

  if (joined_is_faster(a, documents, pool.size())) {
    double queries = static_cast<double>(a.t) / static_cast<double>(std::max<int64_t>(1, docs));
    double flops = 5 * product * queries * static_cast<double>(longest * a.group());
    for_units(pool, a, a.b * a.kv * docs, flops, longest, x, [&](int64_t unit, GradScratch& w) {
      joined_unit(v, a, x, unit / docs / a.kv, unit / docs % a.kv, documents[unit % docs], w);
    });
    return;
  }
  std::vector<QueryTile> tiles = query_tiles(a, documents);
  int64_t count = static_cast<int64_t>(tiles.size());
  double flops = 3 * product * static_cast<double>(a.block * longest);
  for_units(pool, a, a.b * a.h * count, flops, a.block, x, [&](int64_t unit, GradScratch& w) {
    query_unit(v, a, x, unit / count / a.h, unit / count % a.h, tiles[unit % count], w);
  });
  struct KeyTile {
    const Document* document;
    int64_t first;
  };
  std::vector<KeyTile> blocks;
  for (const Document& d : documents)
    for (int64_t key = 0; key < d.keys; key += a.block) blocks.push_back({&d, key});
  count = static_cast<int64_t>(blocks.size());
  flops = 4 * product * static_cast<double>(a.block * longest * a.group());
  for_units(pool, a, a.b * a.kv * count, flops, a.block, x, [&](int64_t unit, GradScratch& w) {
    const KeyTile& b = blocks[unit % count];
    key_unit(v, a, x, unit / count / a.kv, unit / count % a.kv, *b.document, b.first, w);
  });
}

std::vector<CapturedGradient> wanted_captures(const CheckedCall& c) {
  std::vector<CapturedGradient> out;
  std::vector<TensorType> types = captured_types(c.call);
  int64_t bits = c.call.integer_or("captured_grads", 0);
  for (size_t i = 0; i < types.size(); ++i)
    if (bits >> i & 1) out.push_back({i, numel(types[i].shape), nullptr});
  return out;
}

}  // namespace

GradScratch::GradScratch(Carver& c, const Attention& a, int64_t keys, int64_t wanted_loads) {
  int64_t lanes = pad_lanes(a.block), wide = a.padded_d(), tile = a.block * lanes;
  for (float** p : {&query, &d_out}) *p = c.take(wide * lanes);
  for (float** p : {&out_rows, &query_rows, &d_out_rows, &dq}) *p = c.take(a.block * wide);
  for (float** p : {&scores, &dp}) *p = c.take(tile);
  for (float** p : {&lse, &delta}) *p = c.take(lanes);
  for (float** p : {&dk, &dv}) *p = c.take(keys * wide);
  int64_t converted = a.type == f32 ? 0 : keys * wide;
  for (float** p : {&key_rows, &value_rows}) *p = c.take(converted);
  slope = c.take(a.hook_lanes ? tile : 0);
  by_load = c.take(wanted_loads * tile);
}

QuerySide load_queries(const VectorKernels& v, const Attention& a, const GradTensors& x,
                       int64_t item, int64_t head, const QueryTile& tile, bool compute_delta,
                       const GradScratch& w) {
  int64_t token = tile.document->first_query + tile.first;
  QuerySide side{tile, item, head, a.lanes(tile.count), {}, {}};
  side.q = x.q.rows(v, a, item, token, head, tile.count, w.query_rows);
  side.d_out = x.d_o.rows(v, a, item, token, head, tile.count, w.d_out_rows);
  v.transpose(side.q.data, side.q.stride, tile.count, a.d, w.query, side.ld);
  v.transpose(side.d_out.data, side.d_out.stride, tile.count, a.d, w.d_out, side.ld);

  int64_t row = (item * a.h + head) * a.t + token;
  if (compute_delta) {
    Rows out = x.o.rows(v, a, item, token, head, tile.count, w.out_rows);
    for (int64_t i = 0; i < tile.count; ++i)
      x.delta[row + i] = static_cast<float>(
          v.dot(side.d_out.data + i * side.d_out.stride, out.data + i * out.stride, a.d));
  }
  std::fill_n(std::copy_n(x.lse + row, tile.count, w.lse), side.ld - tile.count, 0.0f);
  // A query that saw no key gets probabilities of 0, not exp of -inf - (-inf).
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::replace(w.lse, w.lse + tile.count, -kInfinity, kInfinity);
  std::fill_n(std::copy_n(x.delta + row, tile.count, w.delta), side.ld - tile.count, 0.0f);
  return side;
}

bool score_gradients(const VectorKernels& v, const Attention& a, const GradTensors& x,
                     const QuerySide& side, int64_t key, int64_t keys, Rows k, Rows val,
                     const GradScratch& w) {
  const Document& doc = *side.tile.document;
  AttentionHook::Place at{side.item, side.head, doc.first_query + side.tile.first,
                          doc.first_key + key};
  if (!x.hook.sees_any(at, keys, side.tile.count, w.scores)) return false;
  v.block_gemm(keys, side.ld, a.d, k.data, k.stride, 1, w.query, side.ld, w.scores, side.ld, false);
  v.block_gemm(keys, side.ld, a.d, val.data, val.stride, 1, w.d_out, side.ld, w.dp, side.ld, false);
  ScoreTile tile = doc.tile(a, side.item, side.tile.first, key, w.scores, keys, side.ld);
  if (x.hook.present()) {
    x.hook.gradient(at, keys, side.tile.count, w.scores, w.slope, w.by_load);
    tile.scale = 1, tile.softcap = 0;
  }
  v.softmax_grad_tile(tile, w.dp, w.lse, w.delta);
  return true;
}

// Which schedule runs depends on the documents of the step, so the larger one counts.
Workspace attention_grad_workspace(const CheckedCall& c, int) {
  Attention a = read_attention(c);
  std::vector<AttentionHook::Load> loads = read_hook_loads(c);
  int64_t wanted = std::count_if(loads.begin(), loads.end(), [](auto& l) { return l.wanted; });
  Carver joined{nullptr}, split{nullptr};
  GradScratch whole(joined, a, a.s, wanted), tile(split, a, a.block, wanted);
  int64_t size = sizeof(float), sums = captured_sums(a, loads, wanted_captures(c));
  int64_t deltas = pad_lanes(a.b * a.h * a.t);
  return {std::max(joined.used, split.used) * size,
          deltas * size + sums * static_cast<int64_t>(sizeof(double))};
}

Action prepare_attention_grad(const BoundCall& c) {
  Attention a = read_attention(c);
  AttentionArguments at = a.bind(c);
  auto queries = [&](size_t i) { return HeadTensor{c.args[i], a.t, a.h}; };
  auto keys = [&](size_t i) { return HeadTensor{c.args[i], a.s, a.kv}; };
  auto* delta = reinterpret_cast<float*>(c.own);
  GradTensors x{queries(0), queries(1), keys(2), keys(3), queries(4), queries(6), keys(7), keys(8),
                c.arg<const float>(5), delta, AttentionHook(c, at.captured)};
  size_t next = 9;
  float* d_sinks = at.sinks ? c.arg<float>(next++) : nullptr;
  std::vector<CapturedGradient> wanted = wanted_captures(c);
  for (CapturedGradient& w : wanted) w.out = c.arg<float>(next++);
  auto* sums = reinterpret_cast<double*>(delta + pad_lanes(a.b * a.h * a.t));
  return [=, &pool = c.pool] {
    run_grad(a, x, pool);
    if (d_sinks) sink_gradients(a, x, d_sinks);
    if (!wanted.empty()) captured_gradients(a, x, wanted, sums, pool);
  };
}

}  // namespace fusec::cpu
