// The `attention_grad` call: dq, dk, dv from recomputed probabilities (Dao, "FlashAttention-2",
// 2023). Per tile, with everything transposed (row = key):
//   P = exp(S - lse),  dP = V dO^T,  dS = P (dP - delta) dS/draw,  delta = rowsum(dO * O)
//   dV += P dO,  dK += dS Q,  dQ += dS^T K
// Two schedules with the same bits: `joined` computes all three for one key head of one document
// at a time (5 products a tile); `split` makes dq by query tiles and dk, dv by key tiles (7
// products), for when there are too few key heads and documents to occupy the threads. Both add up
// every element in the same order, so the choice may look at the number of threads.
#include <algorithm>

#include "attention.h"
#include "memory.h"

namespace fusec::cpu {
namespace {

constexpr double kFlopsPerTask = 4e5;  // about 10 us of one core

struct GradTensors {
  HeadTensor d_o, q, k, v, o, dq, dk, dv;
  const float* lse;
  float* delta;  // [b, h, t], written by the dq side, read by the dk, dv side
};

struct GradScratch {
  float *query, *d_out, *out_rows, *query_rows, *d_out_rows, *scores, *dp, *lse, *delta, *dq;
  float *key_rows, *value_rows, *dk, *dv;  // `keys` rows each
  GradScratch(Carver& c, const Attention& a, int64_t keys) {
    int64_t lanes = pad_lanes(a.block), wide = a.padded_d();
    for (float** p : {&query, &d_out}) *p = c.take(wide * lanes);
    for (float** p : {&out_rows, &query_rows, &d_out_rows, &dq}) *p = c.take(a.block * wide);
    for (float** p : {&scores, &dp}) *p = c.take(a.block * lanes);
    for (float** p : {&lse, &delta}) *p = c.take(lanes);
    for (float** p : {&dk, &dv}) *p = c.take(keys * wide);
    int64_t converted = a.type == f32 ? 0 : keys * wide;
    for (float** p : {&key_rows, &value_rows}) *p = c.take(converted);
  }
};

// Everything about one tile of queries of one head, ready for products.
struct QuerySide {
  QueryTile tile;
  int64_t ld;
  Rows q, d_out;
};

QuerySide load_queries(const VectorKernels& v, const Attention& a, const GradTensors& x,
                       int64_t item, int64_t head, const QueryTile& tile, bool compute_delta,
                       const GradScratch& w) {
  int64_t token = tile.document->first_query + tile.first;
  QuerySide side{tile, pad_lanes(tile.count), {}, {}};
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
  std::fill_n(std::copy_n(x.delta + row, tile.count, w.delta), side.ld - tile.count, 0.0f);
  return side;
}

// Fills w.scores with P and w.dp with dS for `keys` keys from `key` of the document on.
void score_gradients(const VectorKernels& v, const Attention& a, const QuerySide& side,
                     int64_t item, int64_t key, int64_t keys, Rows k, Rows val, const GradScratch& w) {
  v.block_gemm(keys, side.ld, a.d, k.data, k.stride, 1, w.query, side.ld, w.scores, side.ld, false);
  v.block_gemm(keys, side.ld, a.d, val.data, val.stride, 1, w.d_out, side.ld, w.dp, side.ld, false);
  const Document& doc = *side.tile.document;
  v.softmax_grad_tile(doc.tile(a, item, side.tile.first, key, w.scores, keys, side.ld), w.dp,
                      w.lse, w.delta);
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
        score_gradients(v, a, side, item, key, keys, kb, vb, w);
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
    score_gradients(v, a, side, item, key, keys, k, val, w);
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
      score_gradients(v, a, side, item, key, keys, k, val, w);
      add_dk_dv(v, a, side, keys, w.dk, w.dv, w);
    }
  write_rows(v, a, x.dk, item, doc.first_key + key, kv_head, most, w.dk);
  write_rows(v, a, x.dv, item, doc.first_key + key, kv_head, most, w.dv);
}

// Runs body(unit, scratch) for all units, `flops` each.
template <typename Body>
void for_units(ThreadPool& pool, const Attention& a, int64_t units, double flops, int64_t keys,
               Body body) {
  auto grain = static_cast<int64_t>(std::max(1.0, kFlopsPerTask / std::max(1.0, flops)));
  Carver measure{nullptr};
  GradScratch layout(measure, a, keys);
  pool.parallel(units, grain, [&](int64_t lo, int64_t hi) {
    Carver carver{thread_scratch(measure.used)};
    GradScratch scratch(carver, a, keys);
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
    for_units(pool, a, a.b * a.kv * docs, flops, longest, [&](int64_t unit, GradScratch& w) {
      joined_unit(v, a, x, unit / docs / a.kv, unit / docs % a.kv, documents[unit % docs], w);
    });
    return;
  }
  std::vector<QueryTile> tiles = query_tiles(a, documents);
  int64_t count = static_cast<int64_t>(tiles.size());
  double flops = 3 * product * static_cast<double>(a.block * longest);
  for_units(pool, a, a.b * a.h * count, flops, a.block, [&](int64_t unit, GradScratch& w) {
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
  for_units(pool, a, a.b * a.kv * count, flops, a.block, [&](int64_t unit, GradScratch& w) {
    const KeyTile& b = blocks[unit % count];
    key_unit(v, a, x, unit / count / a.kv, unit / count % a.kv, *b.document, b.first, w);
  });
}

}  // namespace

// Which schedule runs depends on the documents of the step, so the larger one counts.
Workspace attention_grad_workspace(const CheckedCall& c, int) {
  Attention a = read_attention(c);
  Carver joined{nullptr}, split{nullptr};
  GradScratch whole(joined, a, a.s), tile(split, a, a.block);
  int64_t size = sizeof(float);
  return {std::max(joined.used, split.used) * size, a.b * a.h * a.t * size};
}

Action prepare_attention_grad(const BoundCall& c) {
  Attention a = read_attention(c);
  c.require(c.args.size() == 9 + a.mask_arguments(),
            "takes (do, q, k, v, o, lse, dq, dk, dv[, cu_seqlens][, prefix])");
  a.bind_masks(c, 9);
  auto queries = [&](size_t i) { return HeadTensor{c.args[i], a.t, a.h}; };
  auto keys = [&](size_t i) { return HeadTensor{c.args[i], a.s, a.kv}; };
  GradTensors x{queries(0),
                queries(1),
                keys(2),
                keys(3),
                queries(4),
                queries(6),
                keys(7),
                keys(8),
                c.arg<const float>(5),
                reinterpret_cast<float*>(c.own)};
  return [=, &pool = c.pool] { run_grad(a, x, pool); };
}

}  // namespace fusec::cpu
