// The `paged_attention` call: attention of new tokens over the keys and values of a paged cache. A
// tile holds a few tokens of one sequence with all query heads that share a key head, so that keys
// and values are read once; it walks over its keys with the online softmax, block by block, as
// `attention` does. Few tiles are cut into parts of the keys, by the shapes alone, whose results
// are joined in order: bits do not depend on the number of threads. Before anything else runs,
// lengths, cu_q and the page numbers that will be read are checked; a bad one is a user Error.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "attention.h"
#include "memory.h"

namespace fusec::cpu {
namespace {

constexpr int64_t kKeys = 64;        // of a block
constexpr int64_t kRows = 64;        // of a tile, unless one token has more heads
constexpr int64_t kLeastPart = 512;  // keys that a part is worth
constexpr int64_t kParts = 64;       // tiles times parts to have at least
constexpr float kNone = -std::numeric_limits<float>::infinity();

struct Paged {
  int64_t tokens, b, h, kv, d, pages, page_size, max_pages, window;
  bool has_cu;
  float scale, softcap;
  DType type, page_type;

  int64_t group() const { return h / kv; }
  int64_t tile_tokens() const { return has_cu ? std::max<int64_t>(1, kRows / group()) : 1; }
  int64_t rows() const { return tile_tokens() * group(); }
  int64_t wide() const { return pad_lanes(d); }
  int64_t most_tiles() const { return has_cu ? b + tokens / tile_tokens() : b; }
  int64_t parts() const {
    int64_t units = std::max<int64_t>(1, most_tiles() * kv), keys = max_pages * page_size;
    return std::clamp<int64_t>((kParts + units - 1) / units, 1,
                               std::max<int64_t>(1, (keys + kLeastPart - 1) / kLeastPart));
  }
  // Floats of what one part of a tile leaves: sums, then maxima, then totals of its rows.
  int64_t part_floats() const { return rows() * (wide() + 2); }
};

Paged read_call(const CheckedCall& c) {
  const LibraryCall& l = c.call;
  Paged p{};
  p.tokens = l.integer("tokens"), p.b = l.integer("b"), p.h = l.integer("h");
  p.kv = l.integer("kv"), p.d = l.integer("d"), p.pages = l.integer("pages");
  p.page_size = l.integer("page_size"), p.max_pages = l.integer("max_pages");
  p.window = l.integer("window"), p.has_cu = l.integer("cu_q") != 0;
  p.scale = static_cast<float>(l.number("scale"));
  p.softcap = static_cast<float>(l.number("softcap"));
  p.type = c.type("type"), p.page_type = c.type("page_type");
  c.require(p.tokens >= 0 && p.b >= 0 && p.pages >= 0 && p.max_pages >= 0 && p.window >= 0,
            "sizes must not be negative");
  c.require(p.d > 0 && p.page_size > 0 && p.kv > 0 && p.h > 0 && p.h % p.kv == 0,
            "h must be a multiple of kv");
  c.require(p.has_cu || p.tokens == p.b, "without cu_q there is a token a sequence");
  c.require(p.type == f32 || p.type == bf16 || p.type == f16, "takes f32, bf16 or f16");
  c.require(p.page_type == p.type || p.page_type == u8 || p.page_type == f8e4m3,
            "pages are of q's type, u8 or f8e4m3");
  return p;
}

struct Tensors {
  const std::byte *q, *k, *v;
  std::byte* o;
  const int32_t *table, *lengths, *cu;
  const float *k_scale, *v_scale;

  int64_t start(int64_t sequence) const { return cu ? cu[sequence] : sequence; }
};

// Tokens [first, first + count) of a sequence; the i-th of them sees keys [low(i), place + i].
struct Tile {
  int64_t sequence, first, count, place, window;
  int64_t low(int64_t i) const {
    return window > 0 ? std::max<int64_t>(0, place + i + 1 - window) : 0;
  }
  int64_t high(int64_t i) const { return std::max<int64_t>(0, place + i + 1); }
};

[[noreturn]] void refuse(const std::string& what, int64_t found, const std::string& expected) {
  fail_user("paged_attention: " + what + " is " + std::to_string(found) + "; expected " + expected);
}

// All tiles in order; every number that they lead to is one that may be used.
std::vector<Tile> checked_tiles(const Paged& p, const Tensors& x) {
  std::vector<Tile> tiles;
  for (int64_t i = 0; x.cu && i <= p.b; ++i)
    if (x.cu[i] < (i ? x.cu[i - 1] : 0) || x.cu[i] > p.tokens || (i == 0 && x.cu[0] != 0))
      refuse("cu_q[" + std::to_string(i) + "]", x.cu[i],
             "values that start at 0, never fall and stay within the " + std::to_string(p.tokens) +
                 " tokens");
  for (int64_t i = 0; i < p.b; ++i) {
    int64_t length = x.lengths[i], most = p.max_pages * p.page_size;
    if (length < 0 || length > most)
      refuse("lengths[" + std::to_string(i) + "]", length, "0 to " + std::to_string(most));
    int64_t begin = x.start(i), end = x.start(i + 1);
    if (begin == end || length == 0) continue;
    Tile all{i, begin, end - begin, length - (end - begin), p.window};
    for (int64_t page = all.low(0) / p.page_size; page <= (length - 1) / p.page_size; ++page)
      if (int32_t found = x.table[i * p.max_pages + page]; found < 0 || found >= p.pages)
        refuse("page_table[" + std::to_string(i) + ", " + std::to_string(page) + "]", found,
               "0 to " + std::to_string(p.pages - 1) + ", a page");
    for (int64_t t = begin; t < end; t += p.tile_tokens())
      tiles.push_back({i, t, std::min(p.tile_tokens(), end - t), all.place + t - begin, p.window});
  }
  return tiles;
}

struct Scratch {
  float *query, *scores, *sums, *keys, *values, *rows, *max, *total, *rescale;
  Scratch(Carver& c, const Paged& p) {
    int64_t lanes = pad_lanes(p.rows());
    query = c.take(p.d * lanes);
    scores = c.take(kKeys * lanes);
    sums = c.take(p.rows() * p.wide());
    keys = c.take(kKeys * p.wide());
    values = c.take(kKeys * p.wide());
    rows = c.take(p.rows() * p.wide());
    max = c.take(lanes);
    total = c.take(lanes);
    rescale = c.take(lanes);
  }
};

void widen(const VectorKernels& v, DType type, const std::byte* in, int64_t at, float scale,
           float* out, int64_t n) {
  if (type == f32) {
    std::memcpy(out, in + at * 4, n * 4);
  } else if (type == DType::u8) {
    const auto* x = reinterpret_cast<const uint8_t*>(in) + at;
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(x[i] - 128) * scale;
  } else if (type == DType::f8e4m3) {
    static const std::array<float, 256> values = [] {
      std::array<float, 256> all;
      for (size_t i = 0; i < all.size(); ++i) all[i] = float_from_f8e4m3(static_cast<uint8_t>(i));
      return all;
    }();
    const auto* x = reinterpret_cast<const uint8_t*>(in) + at;
    for (int64_t i = 0; i < n; ++i) out[i] = values[x[i]] * scale;
  } else {
    v.widen(type, reinterpret_cast<const uint16_t*>(in) + at, out, n);
  }
}

// Scores of keys [key, key + keys) where some row does not see all: scaled, capped and masked here.
void mask_scores(const Paged& p, const Tile& tile, int64_t key, int64_t keys, float* scores,
                 int64_t ld) {
  for (int64_t j = 0; j < keys; ++j)
    for (int64_t r = 0; r < tile.count * p.group(); ++r) {
      int64_t i = r / p.group();
      float& s = scores[j * ld + r];
      s *= p.scale;
      if (p.softcap != 0) s = p.softcap * std::tanh(s / p.softcap);
      if (key + j < tile.low(i) || key + j >= tile.high(i)) s = kNone;
    }
}

// Part `part` of the keys of a tile, for one key head: w.sums, w.max and w.total of its rows.
void attend(const VectorKernels& v, const Paged& p, const Tensors& x, const Tile& tile,
            int64_t head, int64_t part, const Scratch& w) {
  int64_t rows = tile.count * p.group(), ld = pad_lanes(rows), wide = p.wide();
  for (int64_t r = 0; r < rows; ++r) {
    int64_t token = tile.first + r / p.group(), of = head * p.group() + r % p.group();
    widen(v, p.type, x.q, (token * p.h + of) * p.d, 1, w.rows + r * wide, p.d);
  }
  v.transpose(w.rows, wide, rows, p.d, w.query, ld);
  std::fill_n(w.max, ld, kNone);
  std::fill_n(w.total, ld, 0.0f);
  std::fill_n(w.sums, rows * wide, 0.0f);
  for (int64_t i = 0; i < kKeys && p.d < wide; ++i)
    std::fill(w.values + i * wide + p.d, w.values + (i + 1) * wide, 0.0f);

  int64_t low = tile.low(0), high = tile.high(tile.count - 1), parts = p.parts();
  int64_t each = ((high - low + parts - 1) / parts + kKeys - 1) / kKeys * kKeys;
  int64_t first = low + part * each, end = std::min(high, first + each);
  for (int64_t key = first; key < end; key += kKeys) {
    int64_t keys = std::min(kKeys, end - key);
    for (int64_t j = 0; j < keys; ++j) {
      int64_t page = x.table[tile.sequence * p.max_pages + (key + j) / p.page_size];
      int64_t at = (page * p.page_size + (key + j) % p.page_size) * p.kv + head;
      widen(v, p.page_type, x.k, at * p.d, x.k_scale ? x.k_scale[at] : 1, w.keys + j * wide, p.d);
      widen(v, p.page_type, x.v, at * p.d, x.v_scale ? x.v_scale[at] : 1, w.values + j * wide, p.d);
    }
    v.block_gemm(keys, ld, p.d, w.keys, wide, 1, w.query, ld, w.scores, ld, false);
    ScoreTile scores{w.scores, keys, ld, keys + ld, -(keys + ld), 0, p.scale, p.softcap};
    if (key < tile.low(tile.count - 1) || key + keys > tile.high(0)) {
      mask_scores(p, tile, key, keys, w.scores, ld);
      scores.scale = 1, scores.softcap = 0;
    }
    v.softmax_tile(scores, w.max, w.total, w.rescale);
    for (int64_t r = 0; r < rows; ++r)
      if (w.rescale[r] != 1.0f) v.scale(w.sums + r * wide, wide, w.rescale[r]);
    v.block_gemm(rows, wide, keys, w.scores, 1, ld, w.values, wide, w.sums, wide, true);
  }
}

void write_row(const VectorKernels& v, const Paged& p, std::byte* o, int64_t at, float* row,
               float total) {
  if (total == 0)
    std::fill_n(row, p.d, 0.0f);
  else
    v.scale(row, p.d, 1 / total);
  if (p.type == f32)
    std::memcpy(o + at * 4, row, p.d * 4);
  else
    v.narrow(p.type, row, reinterpret_cast<uint16_t*>(o) + at, p.d);
}

// Joins the parts of row r, in order, into those of the first.
void join(const VectorKernels& v, const Paged& p, float* first, int64_t r) {
  int64_t wide = p.wide(), step = p.part_floats(), maxima = p.rows() * wide;
  auto max = [&](int64_t part) { return first[part * step + maxima + r]; };
  float top = kNone, total = 0;
  for (int64_t part = 0; part < p.parts(); ++part) top = std::max(top, max(part));
  for (int64_t part = 0; part < p.parts(); ++part) {
    float* sums = first + part * step + r * wide;
    float factor = max(part) == kNone ? 0 : std::exp(max(part) - top);
    total += factor * first[part * step + maxima + p.rows() + r];
    v.scale(sums, wide, factor);
    for (int64_t c = 0; part > 0 && c < wide; ++c) first[r * wide + c] += sums[c];
  }
  first[maxima + p.rows() + r] = total;
}

}  // namespace

Workspace paged_attention_workspace(const CheckedCall& c, int) {
  Paged p = read_call(c);
  Carver measure{nullptr};
  Scratch layout(measure, p);
  int64_t joined = p.parts() > 1 ? p.most_tiles() * p.kv * p.parts() * p.part_floats() : 0;
  constexpr int64_t kFloat = sizeof(float);
  return {measure.used * kFloat, joined * kFloat};
}

Action prepare_paged_attention(const BoundCall& c) {
  Paged p = read_call(c);
  PagedArguments at = paged_arguments(c.call);
  c.require(c.args.size() == at.count, "takes as many arguments as its attributes say");
  Tensors x{c.args[0],
            c.args[1],
            c.args[2],
            c.args[5],
            c.arg<const int32_t>(3),
            c.arg<const int32_t>(4),
            at.cu_q ? c.arg<const int32_t>(at.cu_q) : nullptr,
            at.k_scale ? c.arg<const float>(at.k_scale) : nullptr,
            at.v_scale ? c.arg<const float>(at.v_scale) : nullptr};
  Carver measure{nullptr};
  Scratch layout(measure, p);
  return [=, floats = measure.used, joined = reinterpret_cast<float*>(c.own), &pool = c.pool] {
    const std::vector<Tile> tiles = checked_tiles(p, x);
    const int64_t parts = p.parts(), count = static_cast<int64_t>(tiles.size()) * p.kv;
    std::memset(x.o, 0, p.tokens * p.h * p.d * size_of(p.type));  // of tokens that see nothing
    auto output = [&](const Tile& tile, int64_t head, int64_t r) {
      return ((tile.first + r / p.group()) * p.h + head * p.group() + r % p.group()) * p.d;
    };
    pool.parallel(count * parts, 1, [&](int64_t lo, int64_t hi) {
      const VectorKernels& v = vector_kernels();
      Carver carver{thread_scratch(floats)};
      Scratch w(carver, p);
      for (int64_t unit = lo; unit < hi; ++unit) {
        const Tile& tile = tiles[unit / parts / p.kv];
        int64_t head = unit / parts % p.kv, rows = tile.count * p.group();
        attend(v, p, x, tile, head, unit % parts, w);
        if (parts == 1) {
          for (int64_t r = 0; r < rows; ++r)
            write_row(v, p, x.o, output(tile, head, r), w.sums + r * p.wide(), w.total[r]);
          continue;
        }
        float* out = joined + unit * p.part_floats();
        std::copy_n(w.sums, rows * p.wide(), out);
        std::copy_n(w.max, rows, out + p.rows() * p.wide());
        std::copy_n(w.total, rows, out + p.rows() * (p.wide() + 1));
      }
    });
    if (parts == 1) return;
    pool.parallel(count, 1, [&](int64_t lo, int64_t hi) {
      const VectorKernels& v = vector_kernels();
      for (int64_t unit = lo; unit < hi; ++unit) {
        const Tile& tile = tiles[unit / p.kv];
        float* first = joined + unit * parts * p.part_floats();
        for (int64_t r = 0; r < tile.count * p.group(); ++r) {
          join(v, p, first, r);
          write_row(v, p, x.o, output(tile, unit % p.kv, r), first + r * p.wide(),
                    first[p.rows() * (p.wide() + 1) + r]);
        }
      }
    });
  };
}

}  // namespace fusec::cpu
