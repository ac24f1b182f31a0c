// The `attention` call: softmax(scale * Q K^T) V without ever holding the scores. A tile of queries
// walks over the keys with the online softmax (Dao, "FlashAttention-2", 2023), so memory is O(t).
// Tiles are cut from the shape and the documents alone and each is computed by one thread, so the
// result does not depend on the number of threads; a document's rows do not depend on its
// neighbours. Refuses f64 (as does the recorder).
#include "attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "attention_hook.h"
#include "memory.h"

namespace fusec::cpu {
namespace {

constexpr int64_t kLongSequence = 128;
constexpr int64_t kLongest = 64;  // rows or columns of a tile
constexpr double kFlopsPerTask = 4e5;  // about 10 us of one core

struct ForwardScratch {
  float *query, *scores, *sum_out, *keys, *values, *row, *max, *sum, *rescale;
  ForwardScratch(Carver& c, const Attention& a) {
    int64_t lanes = pad_lanes(a.block), wide = a.padded_d();
    query = c.take(wide * lanes);
    scores = c.take(a.block * lanes);
    sum_out = c.take(a.block * wide);
    keys = c.take(a.block * wide);
    values = c.take(a.block * wide);
    row = c.take(a.block * wide);
    max = c.take(lanes);
    sum = c.take(lanes);
    rescale = c.take(lanes);
  }
};

struct ForwardTensors {
  HeadTensor q, k, v, o;
  float* lse;
  AttentionHook hook;
};

void forward_tile(const VectorKernels& v, const Attention& a, const ForwardTensors& x,
                  int64_t item, int64_t head, const QueryTile& tile, const ForwardScratch& w) {
  const Document& doc = *tile.document;
  int64_t ld = a.lanes(tile.count), wide = a.padded_d(), kv_head = head / a.group();
  int64_t token = doc.first_query + tile.first;
  Rows q = x.q.rows(v, a, item, token, head, tile.count, w.row);
  v.transpose(q.data, q.stride, tile.count, a.d, w.query, ld);
  std::fill_n(w.max, ld, -std::numeric_limits<float>::infinity());
  std::fill_n(w.sum, ld, 0.0f);

  int64_t end = doc.visible_keys(a, item, tile.first, tile.count);
  bool started = false;
  for (int64_t key = 0; key < end; key += a.block) {
    int64_t keys = std::min(a.block, end - key);
    if (!doc.sees(a, item, tile.first, tile.count, key, keys)) continue;
    AttentionHook::Place at{item, head, token, doc.first_key + key};
    if (!x.hook.sees_any(at, keys, tile.count, w.scores)) continue;
    Rows k = x.k.rows(v, a, item, doc.first_key + key, kv_head, keys, w.keys);
    Rows val = x.v.rows(v, a, item, doc.first_key + key, kv_head, keys, w.values);
    v.block_gemm(keys, ld, a.d, k.data, k.stride, 1, w.query, ld, w.scores, ld, false);
    ScoreTile scores = doc.tile(a, item, tile.first, key, w.scores, keys, ld);
    if (x.hook.present()) {
      x.hook.score(at, keys, tile.count, w.scores);
      scores.scale = 1, scores.softcap = 0;
    }
    v.softmax_tile(scores, w.max, w.sum, w.rescale);
    if (started)
      for (int64_t i = 0; i < tile.count; ++i)
        if (w.rescale[i] != 1.0f) v.scale(w.sum_out + i * wide, a.d, w.rescale[i]);
    v.block_gemm(tile.count, wide, keys, w.scores, 1, ld, val.data, val.stride, w.sum_out, wide,
                 started);
    started = true;
  }

  float* lse = x.lse + (item * a.h + head) * a.t + token;
  for (int64_t i = 0; i < tile.count; ++i) {
    float* row = w.sum_out + i * wide;
    float sink = a.sinks ? a.sinks[head] : -std::numeric_limits<float>::infinity();
    if (w.sum[i] == 0) {  // saw no key
      std::fill_n(row, a.d, 0.0f);
      lse[i] = sink;
    } else if (a.sinks) {
      float top = std::max(w.max[i], sink), rescale = std::exp(w.max[i] - top);
      float sum = w.sum[i] * rescale + std::exp(sink - top);
      v.scale(row, a.d, rescale / sum);
      lse[i] = top + std::log(sum);
    } else {
      v.scale(row, a.d, 1.0f / w.sum[i]);
      lse[i] = w.max[i] + std::log(w.sum[i]);
    }
    x.o.write(v, a, item, token + i, head, row);
  }
}

}  // namespace

int64_t Document::newest(const Attention& a) const {
  if (a.causal) return shift(a);
  return a.window > 0 ? shift(a) + a.window - 1 : queries + keys;
}

int64_t Document::oldest(const Attention& a) const {
  return a.window > 0 ? shift(a) - a.window + 1 : -(queries + keys);
}

int64_t Document::prefix(const Attention& a, int64_t item) const {
  return a.prefix ? std::clamp<int64_t>(a.prefix[a.docs > 0 ? number : item], 0, keys) : 0;
}

int64_t Document::visible_keys(const Attention& a, int64_t item, int64_t q, int64_t count) const {
  if (!sees_keys) return 0;
  return std::clamp<int64_t>(std::max(q + count + newest(a), prefix(a, item)), 0, keys);
}

bool Document::sees(const Attention& a, int64_t item, int64_t q, int64_t count, int64_t k,
                    int64_t n) const {
  if (!sees_keys) return false;
  return k < prefix(a, item) || (k < q + count + newest(a) && k + n > q + oldest(a));
}

ScoreTile Document::tile(const Attention& a, int64_t item, int64_t q, int64_t k, float* scores,
                         int64_t n, int64_t ld) const {
  // Distances beyond a tile are all the same.
  auto near = [&](int64_t x) { return std::clamp<int64_t>(x, -2 * kLongest, 2 * kLongest); };
  return {scores,
          n,
          ld,
          near(q - k + newest(a)),
          near(q - k + oldest(a)),
          near(prefix(a, item) - k),
          a.scale,
          a.softcap};
}

AttentionArguments Attention::bind(const BoundCall& call) {
  AttentionArguments at = attention_arguments(call.call);
  call.require(call.args.size() == at.count, "takes as many arguments as its attributes say");
  if (at.cu_seqlens) cu_seqlens = call.arg<const int32_t>(at.cu_seqlens);
  if (at.prefix) prefix = call.arg<const int32_t>(at.prefix);
  if (at.sinks) sinks = call.arg<const float>(at.sinks);
  return at;
}

Rows HeadTensor::rows(const VectorKernels& v, const Attention& a, int64_t item, int64_t token,
                      int64_t head, int64_t count, float* scratch) const {
  int64_t stride = heads * a.d, wide = a.padded_d();
  if (a.type == f32)
    return {static_cast<const float*>(data) + offset(a, item, token, head), stride};
  const uint16_t* in = static_cast<const uint16_t*>(data) + offset(a, item, token, head);
  for (int64_t i = 0; i < count; ++i) v.widen(a.type, in + i * stride, scratch + i * wide, a.d);
  return {scratch, wide};
}

void HeadTensor::write(const VectorKernels& v, const Attention& a, int64_t item, int64_t token,
                       int64_t head, const float* row) const {
  int64_t at = offset(a, item, token, head);
  if (a.type == f32)
    std::copy_n(row, a.d, static_cast<float*>(data) + at);
  else
    v.narrow(a.type, row, static_cast<uint16_t*>(data) + at, a.d);
}

Attention read_attention(const CheckedCall& c) {
  const LibraryCall& l = c.call;
  Attention a{};
  a.b = l.integer("b"), a.t = l.integer("t"), a.s = l.integer("s"), a.h = l.integer("h");
  a.kv = l.integer("kv"), a.d = l.integer("d"), a.causal = l.integer("causal") != 0;
  a.scale = static_cast<float>(l.number("scale"));
  a.softcap = static_cast<float>(l.number("softcap"));
  a.type = c.type("type"), a.docs = l.integer("docs");
  c.require(a.b >= 0 && a.t >= 0 && a.s >= 0 && a.d > 0, "sizes must not be negative");
  c.require(a.kv > 0 && a.h > 0 && a.h % a.kv == 0, "h must be a multiple of kv");
  c.require(a.docs == 0 || (a.b == 1 && a.t == a.s), "documents need b = 1 and t = s");
  c.require(a.type == f32 || a.type == bf16 || a.type == f16, "takes f32, bf16 or f16");
  a.top_left = l.integer_or("top_left", 0) != 0, a.window = l.integer_or("window", 0);
  c.require(a.window >= 0, "window must not be negative");
  // Longer windows see all that there is; sums with t and s stay far from overflow.
  if (a.window > a.t + a.s) a.window = a.t + a.s + 1;
  a.block = std::max(a.t, a.s) <= kLongSequence ? 32 : kLongest;
  if (l.attrs.contains("hook")) {
    a.block = l.integer("hook_block"), a.hook_lanes = l.integer("hook_lanes");
    c.require(a.block > 0 && a.block <= kLongest && a.hook_lanes % kLanePad == 0 &&
                  a.hook_lanes >= std::min(a.block, a.t) && a.hook_lanes <= pad_lanes(a.block),
              "a hook has tiles that hold a block of queries");
  }
  return a;
}

std::vector<Document> find_documents(const Attention& a) {
  if (!a.cu_seqlens) return {{0, a.t, 0, a.s, true}};
  std::vector<Document> result;
  int64_t start = 0;
  for (int64_t i = 0; i <= a.docs; ++i) {
    int64_t next = a.cu_seqlens[i];
    if (next < start || next > a.t || (i == 0 && next != 0))
      fail_user("attention: cu_seqlens[" + std::to_string(i) + "] is " + std::to_string(next) +
                "; expected values that start at 0, never fall and stay within the " +
                std::to_string(a.t) + " tokens");
    if (next > start) result.push_back({start, next - start, start, next - start, true, i - 1});
    start = next;
  }
  if (start < a.t) result.push_back({start, a.t - start, start, a.t - start, false});
  return result;
}

std::vector<QueryTile> query_tiles(const Attention& a, const std::vector<Document>& documents) {
  std::vector<QueryTile> tiles;
  for (const Document& d : documents)
    for (int64_t q = 0; q < d.queries; q += a.block)
      tiles.push_back({&d, q, std::min(a.block, d.queries - q)});
  return tiles;
}

Workspace attention_workspace(const CheckedCall& c, int) {
  Carver measure{nullptr};
  ForwardScratch layout(measure, read_attention(c));
  return {measure.used * static_cast<int64_t>(sizeof(float)), 0};
}

Action prepare_attention(const BoundCall& c) {
  Attention a = read_attention(c);
  AttentionArguments at = a.bind(c);
  ForwardTensors x{{c.args[0], a.t, a.h}, {c.args[1], a.s, a.kv}, {c.args[2], a.s, a.kv},
                   {c.args[3], a.t, a.h}, c.arg<float>(4), AttentionHook(c, at.captured)};
  Carver measure{nullptr};
  ForwardScratch layout(measure, a);
  double tile_flops = 4.0 * static_cast<double>(std::min(a.t, a.block) * a.s * a.d);
  auto grain = static_cast<int64_t>(std::max(1.0, kFlopsPerTask / std::max(1.0, tile_flops)));

  return [=, floats = measure.used, &pool = c.pool] {
    std::vector<Document> documents = find_documents(a);
    std::vector<QueryTile> tiles = query_tiles(a, documents);
    int64_t count = static_cast<int64_t>(tiles.size());
    pool.parallel(a.b * a.h * count, grain, [&](int64_t lo, int64_t hi) {
      const VectorKernels& v = vector_kernels();
      Carver carver{thread_scratch(floats)};
      ForwardScratch scratch(carver, a);
      for (int64_t unit = lo; unit < hi; ++unit)
        forward_tile(v, a, x, unit / count / a.h, unit / count % a.h, tiles[unit % count],
                     scratch);
    });
  };
}

}  // namespace fusec::cpu
