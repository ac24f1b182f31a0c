// What attention's forward and backward share: the problem, its documents, and tiles of rows.
#pragma once

#include <cstdint>
#include <vector>

#include "library.h"
#include "simd.h"

namespace fusec::cpu {

// q, o [b, t, h, d]; k, v [b, s, kv, d]; lse [b, h, t]; see `attention` in plan.h. Query head x
// reads key head x / (h / kv).
struct Attention {
  int64_t b, t, s, h, kv, d;
  bool causal, top_left;
  float scale, softcap;
  DType type;
  int64_t docs;
  int64_t window;  // 0: none
  int64_t block;  // queries and keys a tile; from the shape alone

  int64_t hook_lanes;  // leading dimension of every tile of scores; 0: no hook
  // Set by bind(); null without.
  const int32_t *cu_seqlens = nullptr, *prefix = nullptr;
  const float* sinks = nullptr;

  int64_t group() const { return h / kv; }
  int64_t padded_d() const { return pad_lanes(d); }
  // Leading dimension of a tile of scores.
  int64_t lanes(int64_t queries) const { return hook_lanes ? hook_lanes : pad_lanes(queries); }
  // Checks the number of arguments and takes the addresses of the optional ones.
  AttentionArguments bind(const BoundCall& call);
};

// Reads and checks the attributes.
Attention read_attention(const CheckedCall& call);

// A range of queries that sees (part of) a range of keys and nothing else. Without cu_seqlens there
// is one, the whole sequence. Offsets are within the batch item.
struct Document {
  int64_t first_query, queries, first_key, keys;
  bool sees_keys;      // false for tokens after the last document
  int64_t number = 0;  // of its cu_seqlens

  // Of batch item `item`: all keys that some query of [q, q + count) sees are in [0, result).
  int64_t visible_keys(const Attention& a, int64_t item, int64_t q, int64_t count) const;
  // Whether any of the queries [q, q + count) may see any of the keys [k, k + keys).
  bool sees(const Attention& a, int64_t item, int64_t q, int64_t count, int64_t k,
            int64_t keys) const;
  // The tile at query q, key k of this document.
  ScoreTile tile(const Attention& a, int64_t item, int64_t q, int64_t k, float* scores,
                 int64_t keys, int64_t ld) const;

 private:
  // Query i sees key j if i + oldest <= j <= i + newest, or j < prefix; counted in the document.
  int64_t newest(const Attention& a) const;
  int64_t oldest(const Attention& a) const;
  int64_t prefix(const Attention& a, int64_t item) const;
  int64_t shift(const Attention& a) const { return a.top_left ? 0 : keys - queries; }
};

// The documents in order. cu_seqlens (docs + 1 values) must start at 0, never fall and not exceed
// t; otherwise a user Error names the value. Tokens after its last value belong to no document:
// they see nothing and nobody sees them.
std::vector<Document> find_documents(const Attention& a);

// A query tile's place: `count` queries from `first` on, within a document.
struct QueryTile {
  const Document* document;
  int64_t first, count;
};
std::vector<QueryTile> query_tiles(const Attention& a, const std::vector<Document>& documents);

// `data[i * stride + p]`: rows of f32, in place or converted.
struct Rows {
  const float* data;
  int64_t stride;
};

// Rows [token, token + count) of head `head` of batch item `item` of a [b, length, heads, d]
// tensor. f32 is used in place, bf16 and f16 converted into scratch (count * padded d floats).
// Products may read up to padded d floats a row: buffers are padded (kernel_program.h), and what is
// read beyond d reaches only padding columns of the results.
struct HeadTensor {
  void* data;
  int64_t length, heads;

  Rows rows(const VectorKernels& v, const Attention& a, int64_t item, int64_t token, int64_t head,
            int64_t count, float* scratch) const;
  // Writes one row of d floats, rounded to the tensor's type.
  void write(const VectorKernels& v, const Attention& a, int64_t item, int64_t token, int64_t head,
             const float* row) const;

 private:
  int64_t offset(const Attention& a, int64_t item, int64_t token, int64_t head) const {
    return ((item * length + token) * heads + head) * a.d;
  }
};

// Cuts a scratch block into 64-byte aligned arrays. Run once with a null base to learn `used`.
struct Carver {
  float* base;
  int64_t used = 0;
  float* take(int64_t floats) {
    float* p = base ? base + used : nullptr;
    used += pad_lanes(floats);
    return p;
  }
};

}  // namespace fusec::cpu
