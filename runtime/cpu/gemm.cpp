// The `gemm` call: cuts C into tiles that the pool's threads compute one by one, with oneDNN's
// sgemm for f32, the own kernel for bf16 and f16 operands or where oneDNN is absent, a kernel that
// streams B for products of few rows, and plain loops for f64. Refuses f64 mixed with others, and
// integers.
#include "gemm.h"

#include <algorithm>

#include "library.h"
#include "onednn.h"

namespace fusec::cpu {
namespace {

// Tiles of about 20 us of one core until there are a few, then of about 150 us: enough to pay for
// waking a core, and for packing operands once more a tile.
constexpr double kFlopsPerSmallTile = 2.5e6, kFewTiles = 4;
constexpr double kFlopsPerTile = 1.6e7, kManyTiles = 16;
// Large products: then only as many as to keep each worth its packing.
constexpr double kFlopsPerLargeTile = 1.2e9, kMostTiles = 128;
// Narrower tiles lose more to packing than they win (measured on Zen 4 with oneDNN 2.6).
constexpr int64_t kLeastRows = 128, kLeastRowsLongK = 32, kLongK = 512, kLeastCols = 128;
constexpr int64_t kLeastRowsTransposedB = 256;  // transposing B while packing it costs most

// What one dnnl_sgemm of a tile packs: blocks of up to 384 rows of A, all columns of B, up to 384
// deep, where only B is transposed, and next to nothing elsewhere (measured on oneDNN 2.6 over
// tiles of 32 to 512 by 128 to 512, k up to 16384; the bound is at most 80 KiB too high).
int64_t onednn_scratch(const Gemm& g, int64_t rows, int64_t cols) {
  constexpr int64_t kBlock = 384, kRest = 96 << 10;
  if (!g.trans_b || g.trans_a) return kRest;
  return 4 * std::min(g.k, kBlock) * (std::min(rows, kBlock) + cols) + kRest;
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Cuts `size` into `pieces` nearly equal parts; the part length is a multiple of 32.
int64_t part(int64_t size, int64_t pieces) { return ceil_div(ceil_div(size, pieces), 32) * 32; }

bool on_onednn(const Gemm& g) {
  return g.type_a == f32 && g.type_b == f32 && g.type_c == f32 && onednn().available();
}

void run_tile(const Gemm& g, const std::byte* a, const std::byte* b, std::byte* c,
              const GemmTile& t, const GemmSides& sides) {
  if (g.type_c == f64) {
    f64_gemm_tile(g, reinterpret_cast<const double*>(a), reinterpret_cast<const double*>(b),
                  reinterpret_cast<double*>(c), t);
    return;
  }
  if (is_few_rows(g)) {
    few_rows_tile(vector_kernels(), g, a, b, c, t, sides);
    return;
  }
  if (!on_onednn(g)) {
    own_gemm_tile(vector_kernels(), g, a, b, c, t, sides);
    return;
  }
  auto* fa = reinterpret_cast<const float*>(a) + (g.trans_a ? t.row : t.row * g.lda);
  auto* fb = reinterpret_cast<const float*>(b) + (g.trans_b ? t.col * g.ldb : t.col);
  auto* fc = reinterpret_cast<float*>(c) + t.row * g.ldc + t.col;
  // An addend that lies in C is what oneDNN adds to; the rest of the epilogue follows.
  Gemm rest = g;
  bool in_place = g.epilogue.add && sides.addend == c;
  if (in_place) rest.epilogue.add = false;
  onednn().sgemm(g.trans_a, g.trans_b, t.rows, t.cols, g.k, static_cast<float>(g.alpha), fa, g.lda,
                 fb, g.ldb, in_place ? 1.0f : static_cast<float>(g.beta), fc, g.ldc);
  if (!rest.epilogue.any()) return;
  for (int64_t i = 0; i < t.rows; ++i)
    finish_sums(vector_kernels(), rest, sides, fc + i * g.ldc, (t.row + i) * g.ldc + t.col, t.col,
                t.cols, nullptr);  // all f32: nothing is widened
}

// Reads and checks the attributes.
Gemm read_gemm(const CheckedCall& c) {
  const LibraryCall& l = c.call;
  Gemm g{};
  g.m = l.integer("m"), g.n = l.integer("n"), g.k = l.integer("k"), g.batch = l.integer("batch");
  g.lda = l.integer("lda"), g.ldb = l.integer("ldb"), g.ldc = l.integer("ldc");
  g.stride_a = l.integer("stride_a"), g.stride_b = l.integer("stride_b");
  g.stride_c = l.integer("stride_c");
  g.trans_a = l.integer("trans_a") != 0, g.trans_b = l.integer("trans_b") != 0;
  g.type_a = c.type("type_a"), g.type_b = c.type("type_b"), g.type_c = c.type("type_c");
  g.alpha = l.number("alpha"), g.beta = l.number("beta");
  g.epilogue = epilogue_of(l);

  c.require(g.m >= 0 && g.n >= 0 && g.k >= 0 && g.batch >= 0, "sizes must not be negative");
  c.require(g.lda >= (g.trans_a ? g.m : g.k), "lda is shorter than a row of A");
  c.require(g.ldb >= (g.trans_b ? g.k : g.n), "ldb is shorter than a row of B");
  c.require(g.ldc >= g.n, "ldc is shorter than a row of C");
  bool doubles = g.type_a == f64 && g.type_b == f64 && g.type_c == f64;
  for (DType t : {g.type_a, g.type_b, g.type_c})
    if (!is_float(t) || (t == f64 && !doubles))
      fail_unsupported("GEMM on the CPU takes f32, bf16, f16, or f64 throughout; got " +
                       std::string(name_of(t)) + "; cast the operands to one of them");
  return g;
}

}  // namespace

TileGrid tile_grid(const Gemm& g) {
  if (is_few_rows(g)) return few_rows_grid(g);
  double flops = 2.0 * static_cast<double>(g.m) * static_cast<double>(g.n) *
                 static_cast<double>(g.k) * static_cast<double>(g.batch);
  double tiles = std::max({std::min(flops / kFlopsPerSmallTile, kFewTiles),
                           std::min(flops / kFlopsPerTile, kManyTiles), flops / kFlopsPerLargeTile});
  int64_t wanted = ceil_div(static_cast<int64_t>(std::clamp(tiles, 1.0, kMostTiles)), g.batch);

  TileGrid grid{part(g.m, ceil_div(g.m, kMaxTile)), part(g.n, ceil_div(g.n, kMaxTile)), 1, 1};
  auto halve = [&](int64_t& side, int64_t least) {
    for (int64_t half = part(side, 2); half >= least && half < side; half = part(side, 2)) {
      if (ceil_div(g.m, grid.tile_rows) * ceil_div(g.n, grid.tile_cols) >= wanted) return;
      side = half;
    }
  };
  if (g.trans_b) {
    halve(grid.tile_cols, kLeastCols);
    halve(grid.tile_rows, kLeastRowsTransposedB);
  } else {
    halve(grid.tile_rows, g.k >= kLongK ? kLeastRowsLongK : kLeastRows);
    halve(grid.tile_cols, kLeastCols);
  }
  grid.down = ceil_div(g.m, grid.tile_rows);
  grid.across = ceil_div(g.n, grid.tile_cols);
  return grid;
}

Workspace gemm_workspace(const CheckedCall& c, int) {
  Gemm g = read_gemm(c);
  if (g.m == 0 || g.n == 0 || g.batch == 0) return {};
  TileGrid grid = tile_grid(g);
  int64_t rows = std::min(grid.tile_rows, g.m), cols = std::min(grid.tile_cols, g.n);
  if (is_few_rows(g)) return {few_rows_scratch(g) * static_cast<int64_t>(sizeof(float)), 0};
  if (on_onednn(g) && g.k > 0) return {onednn_scratch(g, rows, cols), 0};
  return {own_gemm_scratch(vector_kernels(), rows, cols) * static_cast<int64_t>(sizeof(float)), 0};
}

Action prepare_gemm(const BoundCall& c) {
  Gemm g = read_gemm(c);
  const GemmEpilogue e = g.epilogue;
  c.require(c.args.size() == e.arguments(), "takes (a, b, c) and what its epilogue needs");
  const std::byte* addend = e.add ? c.args[e.addend_at()] : nullptr;
  const std::byte* bias = e.bias ? c.args[e.bias_at()] : nullptr;
  const std::byte* pre = e.dgelu ? c.args[e.pre_at()] : nullptr;
  std::byte* aux = e.aux ? c.args[e.aux_at()] : nullptr;
  std::byte* sums = e.sums() ? c.args[e.sums_at()] : nullptr;
  if (e.sums() && operand_sums_length(g) == 0) sums = nullptr;
  bool empty = g.m == 0 || g.n == 0 || g.batch == 0;
  if (empty && !sums) return [] {};

  // oneDNN takes no empty sum; the own kernel does, and scales C by beta.
  TileGrid grid = empty ? TileGrid{} : tile_grid(g);
  bool empty_sum = g.k == 0;
  return [=, a = c.args[0], b = c.args[1], out = c.args[2], &pool = c.pool] {
    int64_t per_item = grid.down * grid.across;
    pool.parallel(g.batch * per_item, 1, [&](int64_t lo, int64_t hi) {
      for (int64_t task = lo; task < hi; ++task) {
        int64_t item = task / per_item, tile = task % per_item;
        GemmTile t{};
        t.row = tile / grid.across * grid.tile_rows;
        t.col = tile % grid.across * grid.tile_cols;
        t.rows = std::min(grid.tile_rows, g.m - t.row);
        t.cols = std::min(grid.tile_cols, g.n - t.col);
        const std::byte* ta = a + item * g.stride_a * size_of(g.type_a);
        const std::byte* tb = b + item * g.stride_b * size_of(g.type_b);
        int64_t of_item = item * g.stride_c * size_of(g.type_c);
        std::byte* tc = out + of_item;
        GemmSides sides{addend ? addend + of_item : nullptr, bias, pre ? pre + of_item : nullptr,
                        aux ? aux + of_item : nullptr};
        if (empty_sum && g.type_c != f64)
          own_gemm_tile(vector_kernels(), g, ta, tb, tc, t, sides);
        else
          run_tile(g, ta, tb, tc, t, sides);
      }
    });
    if (!sums) return;
    // Pieces that depend on the shape alone, each in one order.
    int64_t length = operand_sums_length(g);
    pool.parallel(ceil_div(length, kMostSums), 1, [&](int64_t lo, int64_t hi) {
      for (int64_t task = lo; task < hi; ++task) {
        int64_t first = task * kMostSums;
        operand_sums(vector_kernels(), g, a, b, out, sums, first,
                     std::min(kMostSums, length - first));
      }
    });
  };
}

std::string gemm_backend() {
  const OneDnn& library = onednn();
  if (library.available()) return library.line;
  return std::string("own vector kernel, ") + vector_kernels().name + " (" + library.line + ")";
}

}  // namespace fusec::cpu
