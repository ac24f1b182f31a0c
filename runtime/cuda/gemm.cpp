// The attributes of a GEMM, and the kernel for what cuBLASLt does not take: blocks of 64 x 64
// elements of C, k by steps of 16 through shared memory. Types and transposes are constants of the
// text, sizes are arguments, so that a plan has few texts.
#include "gemm.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "fusec/base/error.h"

namespace fusec::cuda {
namespace {

constexpr int64_t kTile = 64, kThreads = 256, kSumsOfBlock = 32;
constexpr int64_t kMostBlocks = 0x7fffffff;
constexpr int64_t kWorkspace = 32 << 20;
// Below this many products no algorithm splits k, which is what takes workspace.
constexpr double kFewProducts = 1 << 20;

constexpr std::string_view kElements = R"cuda(
__device__ __forceinline__ float value(float x) { return x; }
__device__ __forceinline__ double value(double x) { return x; }
__device__ __forceinline__ float value(Bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }
__device__ __forceinline__ float value(F16 x) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x.bits));
  return r;
}
__device__ __forceinline__ Sum gelu(Sum x) {
  return (Sum)0.5 * x *
         ((Sum)1 + tanh((Sum)0.7978845608028654 * (x + (Sum)0.044715 * x * x * x)));
}
// Of gelu. Where tanh is 1, the powers of x may be infinite.
__device__ __forceinline__ Sum gelu_slope(Sum x) {
  Sum t = tanh((Sum)0.7978845608028654 * (x + (Sum)0.044715 * x * x * x)), rest = (Sum)1 - t * t;
  Sum slope = (Sum)0.5 * ((Sum)1 + t);
  if (rest == (Sum)0) return slope;
  return slope + (Sum)0.5 * x * rest * (Sum)0.7978845608028654 *
                     ((Sum)1 + (Sum)0.134145 * x * x);
}
__device__ __forceinline__ void put(float* p, float x) { *p = x; }
__device__ __forceinline__ void put(double* p, double x) { *p = x; }
__device__ __forceinline__ void put(Bf16* p, float x) {
  unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    bits = (bits >> 16) | 0x40;
  else
    bits = (bits + 0x7fffu + ((bits >> 16) & 1)) >> 16;
  p->bits = (unsigned short)bits;
}
__device__ __forceinline__ void put(F16* p, float x) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(p->bits) : "f"(x));
}
)cuda";

constexpr std::string_view kKernel = R"cuda(
extern "C" __global__ void __launch_bounds__(256, 2)
fusec_gemm(const A* a, const B* b, C* c, long long m, long long n, long long k, long long lda,
           long long ldb, long long ldc, long long stride_a, long long stride_b,
           long long stride_c, long long alpha_bits, long long beta_bits, C* aux, const C* addend,
           const C* bias, const C* pre, const unsigned* skip) {
  if (skip && *(const volatile unsigned*)skip) return;
  __shared__ Sum as[16][65], bs[16][65];
  long long across = (n + 63) / 64, down = (m + 63) / 64;
  long long tile = blockIdx.x, item = tile / (across * down);
  tile -= item * across * down;
  long long row0 = tile / across * 64, col0 = tile % across * 64;
  a += item * stride_a;
  b += item * stride_b;
  c += item * stride_c;
  int t = threadIdx.x, tx = t % 16, ty = t / 16;

  Sum sum[4][4] = {};
  for (long long k0 = 0; k0 < k; k0 += 16) {
#pragma unroll
    for (int e = t; e < 64 * 16; e += 256) {
      int i = kTransA ? e % 64 : e / 16, p = kTransA ? e / 64 : e % 16;
      long long row = row0 + i, at = k0 + p;
      Sum x = 0;
      if (row < m && at < k) x = value(a[kTransA ? at * lda + row : row * lda + at]);
      as[p][i] = x;
    }
#pragma unroll
    for (int e = t; e < 64 * 16; e += 256) {
      int j = kTransB ? e / 16 : e % 64, p = kTransB ? e % 16 : e / 64;
      long long col = col0 + j, at = k0 + p;
      Sum x = 0;
      if (col < n && at < k) x = value(b[kTransB ? col * ldb + at : at * ldb + col]);
      bs[p][j] = x;
    }
    __syncthreads();
#pragma unroll
    for (int p = 0; p < 16; ++p) {
      Sum x[4], y[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = as[p][ty + 16 * i], y[i] = bs[p][tx + 16 * i];
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] += x[i] * y[j];
    }
    __syncthreads();
  }

  Sum alpha = (Sum)__longlong_as_double(alpha_bits), beta = (Sum)__longlong_as_double(beta_bits);
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      long long row = row0 + ty + 16 * i, col = col0 + tx + 16 * j;
      if (row >= m || col >= n) continue;
      C* out = c + row * ldc + col;
      Sum x = alpha * sum[i][j];
      if (beta != 0) x += beta * value(*out);
      if (kAdd) x += value(addend[item * stride_c + row * ldc + col]);
      if (kBias) x += value(bias[col]);
      if (kAux) put(aux + item * stride_c + row * ldc + col, x);
      if (kGelu) x = gelu(x);
      if (kDgelu) x *= gelu_slope(value(pre[item * stride_c + row * ldc + col]));
      put(out, x);
    }
}
)cuda";

// Sums over `rows` of the summed index, for 32 elements of the vector a block. Where the elements
// lie side by side, the lanes of a warp are elements and its warps take turns; where the summed
// index does, a warp takes every eighth element and its lanes take turns.
constexpr std::string_view kSumsKernel = R"cuda(
extern "C" __global__ void __launch_bounds__(256)
fusec_gemm_sums(const X* x, C* sums, long long length, long long rows, long long ld,
                const unsigned* skip) {
  if (skip && *(const volatile unsigned*)skip) return;
  __shared__ float part[8][33];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  long long first = (long long)blockIdx.x * 32;
  if (kAcross) {
    float sum = 0;
    if (first + lane < length)
      for (long long r = warp; r < rows; r += 8) sum += value(x[r * ld + first + lane]);
    part[warp][lane] = sum;
    __syncthreads();
    if (warp != 0 || first + lane >= length) return;
    float total = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) total += part[i][lane];
    put(sums + first + lane, total);
  } else {
    for (int i = warp; i < 32 && first + i < length; i += 8) {
      float sum = 0;
      for (long long r = lane; r < rows; r += 32) sum += value(x[(first + i) * ld + r]);
#pragma unroll
      for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
      if (lane == 0) put(sums + first + i, sum);
    }
  }
}
)cuda";

DType type_of(const LibraryCall& call, std::string_view key) {
  const std::string& name = call.text(key);
  std::optional<DType> t = parse_dtype(name);
  if (!t) fail_internal(call.name + ": attribute " + std::string(key) + " is not a type: " + name);
  return *t;
}

std::string text_type(DType t) {
  switch (t) {
    case DType::f64: return "double";
    case DType::bf16: return "Bf16";
    case DType::f16: return "F16";
    default: return "float";
  }
}

std::string types_of(const char* title, const Gemm& g) {
  return std::string(title) +
         "struct Bf16 { unsigned short bits; };\nstruct F16 { unsigned short bits; };\ntypedef " +
         text_type(g.type_a) + " A;\ntypedef " + text_type(g.type_b) + " B;\ntypedef " +
         text_type(g.type_c) + " C;\ntypedef " + (g.doubles() ? "double" : "float") + " Sum;\n";
}

}  // namespace

std::string Gemm::str() const {
  auto type = [](DType t) { return std::string(name_of(t)); };
  return "m " + std::to_string(m) + ", n " + std::to_string(n) + ", k " + std::to_string(k) +
         ", batch " + std::to_string(batch) + ", " + type(type_a) + " x " + type(type_b) + " -> " +
         type(type_c) + (epilogue.any() ? " with " + epilogue.str() : "");
}

Gemm read_gemm(const LibraryCall& l) {
  auto require = [&](bool ok, const char* rule) {
    if (!ok) fail_internal("library call " + l.name + ": " + rule);
  };
  Gemm g{};
  g.epilogue = epilogue_of(l);
  require(l.args.size() == g.epilogue.arguments(), "takes (a, b, c) and what its epilogue needs");
  g.m = l.integer("m"), g.n = l.integer("n"), g.k = l.integer("k"), g.batch = l.integer("batch");
  g.lda = l.integer("lda"), g.ldb = l.integer("ldb"), g.ldc = l.integer("ldc");
  g.stride_a = l.integer("stride_a"), g.stride_b = l.integer("stride_b");
  g.stride_c = l.integer("stride_c");
  g.trans_a = l.integer("trans_a") != 0, g.trans_b = l.integer("trans_b") != 0;
  g.type_a = type_of(l, "type_a"), g.type_b = type_of(l, "type_b");
  g.type_c = type_of(l, "type_c");
  g.alpha = l.number("alpha"), g.beta = l.number("beta");

  require(g.m >= 0 && g.n >= 0 && g.k >= 0 && g.batch >= 0, "sizes must not be negative");
  require(g.lda >= (g.trans_a ? g.m : g.k), "lda is shorter than a row of A");
  require(g.ldb >= (g.trans_b ? g.k : g.n), "ldb is shorter than a row of B");
  require(g.ldc >= g.n, "ldc is shorter than a row of C");
  bool doubles = g.type_a == f64 && g.type_b == f64 && g.type_c == f64;
  for (DType t : {g.type_a, g.type_b, g.type_c})
    if (!is_float(t) || (t == f64 && !doubles))
      fail_unsupported("GEMM on a GPU takes f32, bf16, f16, or f64 throughout; got " +
                       std::string(name_of(t)) + "; cast the operands to one of them");
  return g;
}

int64_t gemm_workspace(const Gemm& g) {
  double products = static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k) *
                    static_cast<double>(g.batch);
  return products < kFewProducts ? 0 : kWorkspace;
}

std::vector<CallLaunch> gemm_sums(const Gemm& g) {
  const GemmEpilogue& e = g.epilogue;
  if (!e.sums() || g.batch == 0) return {};
  int64_t length = e.bgrada ? g.m : g.n, rows = e.bgrad ? g.m : g.k;
  if (length == 0) return {};
  bool across = e.bgrad || (e.bgrada ? g.trans_a : !g.trans_b);
  CallLaunch l;
  l.text = types_of("// sums beside an own GEMM\n", g) + "typedef " +
           (e.bgrad    ? "C"
            : e.bgrada ? "A"
                       : "B") +
           " X;\nconstexpr bool kAcross = " + (across ? "true" : "false") + ";\n" +
           std::string(kElements) + std::string(kSumsKernel);
  l.entry = "fusec_gemm_sums";
  l.grid[0] = static_cast<unsigned>((length + kSumsOfBlock - 1) / kSumsOfBlock);
  l.block[0] = kThreads;
  int64_t of = e.bgrad ? 2 : e.bgrada ? 0 : 1;
  l.args.push_back({LaunchArg::Kind::argument, of});
  l.args.push_back({LaunchArg::Kind::argument, static_cast<int64_t>(e.sums_at())});
  for (int64_t v : {length, rows, e.bgrad ? g.ldc : e.bgrada ? g.lda : g.ldb})
    l.args.push_back({LaunchArg::Kind::i64, v});
  l.args.push_back({LaunchArg::Kind::skip});
  return {l};
}

std::vector<CallLaunch> own_gemm(const Gemm& g) {
  if (g.empty()) return gemm_sums(g);
  double blocks = static_cast<double>((g.m + kTile - 1) / kTile) *
                  static_cast<double>((g.n + kTile - 1) / kTile) * static_cast<double>(g.batch);
  if (blocks > static_cast<double>(kMostBlocks))
    fail_unsupported("a GEMM of " + g.str() + " is larger than one launch on a GPU");
  const GemmEpilogue& e = g.epilogue;
  auto flag = [](const char* name, bool value) {
    return std::string(name) + " = " + (value ? "true" : "false");
  };
  CallLaunch l;
  l.text = types_of("// own GEMM\n", g) +
           "constexpr bool kTransA = " + (g.trans_a ? "true" : "false") +
           ", kTransB = " + (g.trans_b ? "true" : "false") + flag(", kAdd", e.add) +
           flag(", kBias", e.bias) + flag(", kGelu", e.gelu) + flag(", kAux", e.aux) +
           flag(", kDgelu", e.dgelu) + ";\n" + std::string(kElements) + std::string(kKernel);
  l.entry = "fusec_gemm";
  l.grid[0] = static_cast<unsigned>(blocks);
  l.block[0] = kThreads;
  for (int64_t i = 0; i < 3; ++i) l.args.push_back({LaunchArg::Kind::argument, i});
  for (int64_t v : {g.m, g.n, g.k, g.lda, g.ldb, g.ldc, g.stride_a, g.stride_b, g.stride_c,
                    std::bit_cast<int64_t>(g.alpha), std::bit_cast<int64_t>(g.beta)})
    l.args.push_back({LaunchArg::Kind::i64, v});
  for (auto [there, at] : {std::pair{e.aux, e.aux_at()}, std::pair{e.add, e.addend_at()},
                           std::pair{e.bias, e.bias_at()}, std::pair{e.dgelu, e.pre_at()}})
    l.args.push_back(there ? LaunchArg{LaunchArg::Kind::argument, static_cast<int64_t>(at)}
                           : LaunchArg{LaunchArg::Kind::i64, 0});
  l.args.push_back({LaunchArg::Kind::skip});
  std::vector<CallLaunch> out = {l};
  for (CallLaunch& sums : gemm_sums(g)) out.push_back(std::move(sums));
  return out;
}

}  // namespace fusec::cuda
