// Row-major products on a library of column-major ones: C = op(A) op(B) row-major is the
// column-major C' = op(B)' op(A)', so the operands change places and every matrix is what its
// transpose was.
#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>

#include "fusec/base/error.h"
#include "fusec/core/disk_cache.h"
#include "gemm.h"
#include "gemm_tune.h"

namespace fusec::cuda {
namespace {

// cudaDataType_t
constexpr int kF32 = 0, kF64 = 1, kF16 = 2, kBf16 = 14;
// cublasComputeType_t
constexpr int kComputeF32 = 68, kComputeF64 = 70, kComputeTf32 = 77;
// cublasLtMatmulDescAttributes_t, cublasLtMatrixLayoutAttribute_t
constexpr int kTransA = 3, kTransB = 4, kEpilogue = 7, kBiasPointer = 8, kAuxPointer = 11,
              kAuxLd = 12, kBiasType = 26;
constexpr int kBatchCount = 5, kBatchStride = 6;
// cublasLtEpilogue_t: bits that are joined.
constexpr uint32_t kBias = 4, kColumnSums = 16, kGelu = 32, kSlope = 64, kAux = 128, kSumsOfA = 256,
                   kSumsOfB = 512;
// cublasLtMatmulPreferenceAttributes_t
constexpr int kMaxWorkspace = 1, kReductionMask = 3, kAlignA = 5, kAlignB = 6, kAlignC = 7,
              kAlignD = 8;
// Where k is split: parts are joined in the compute type, never rounded to C's first.
constexpr uint32_t kJoinInComputeType = 2;
constexpr int kWanted = 8;

int lt_type(DType t) {
  switch (t) {
    case DType::f64: return kF64;
    case DType::bf16: return kBf16;
    case DType::f16: return kF16;
    default: return kF32;
  }
}

// The types that cuBLASLt multiplies: one for both operands, that one or f32 for C.
bool has_types(const Gemm& g) {
  return g.type_a == g.type_b && (g.type_c == g.type_a || g.type_c == f32);
}

// The largest power of two, at most 256, that divides the address of every batch item.
uint32_t alignment(CuAddress address, int64_t stride, int64_t batch, DType type) {
  uint64_t all = address | 256;
  if (batch > 1) all |= static_cast<uint64_t>(stride) * static_cast<uint64_t>(size_of(type));
  return uint32_t{1} << std::countr_zero(all);
}

// Bytes from the first element of a matrix, row-major as stored, to behind the last.
int64_t span(int64_t rows, int64_t cols, int64_t ld, int64_t batch, int64_t stride, DType type) {
  return ((batch - 1) * stride + (rows - 1) * ld + cols) * size_of(type);
}

int make_layout(LtLayout* layout, DType type, bool transposed, int64_t rows, int64_t cols,
                int64_t ld, int64_t batch, int64_t stride) {
  // rows x cols as stored, row-major; the library sees cols x rows.
  const CublasLt& lt = cublaslt();
  if (transposed) std::swap(rows, cols);
  int status = lt.cublasLtMatrixLayoutCreate(layout, lt_type(type), static_cast<uint64_t>(cols),
                                             static_cast<uint64_t>(rows), ld);
  if (status != 0 || batch == 1) return status;
  auto count = static_cast<int32_t>(batch);
  status = lt.cublasLtMatrixLayoutSetAttribute(*layout, kBatchCount, &count, sizeof count);
  if (status != 0) return status;
  return lt.cublasLtMatrixLayoutSetAttribute(*layout, kBatchStride, &stride, sizeof stride);
}

}  // namespace

int LtGemm::describe() {
  const CublasLt& lt = cublaslt();
  int compute = g_.doubles() ? kComputeF64 : kComputeF32;
  if (options_.tf32 && g_.type_a == f32) compute = kComputeTf32;
  int status = lt.cublasLtMatmulDescCreate(&matmul_, compute, g_.doubles() ? kF64 : kF32);
  int32_t trans_a = g_.trans_b, trans_b = g_.trans_a;
  if (status == 0)
    status = lt.cublasLtMatmulDescSetAttribute(matmul_, kTransA, &trans_a, sizeof trans_a);
  if (status == 0)
    status = lt.cublasLtMatmulDescSetAttribute(matmul_, kTransB, &trans_b, sizeof trans_b);
  if (status == 0)
    status =
        make_layout(&a_layout_, g_.type_a, g_.trans_a, g_.m, g_.k, g_.lda, g_.batch, g_.stride_a);
  if (status == 0)
    status =
        make_layout(&b_layout_, g_.type_b, g_.trans_b, g_.k, g_.n, g_.ldb, g_.batch, g_.stride_b);
  if (status == 0)
    status = make_layout(&c_layout_, g_.type_c, false, g_.m, g_.n, g_.ldc, g_.batch, g_.stride_c);
  return status == 0 ? describe_epilogue() : status;
}

// The addend is the C of D = AB + C. "Columns" of a bias are the library's rows, as it wants; its A
// is our B, so that sums of our B over k are those of its A.
int LtGemm::describe_epilogue() {
  const GemmEpilogue& e = g_.epilogue;
  int status = 0;
  auto set = [&](int which, auto value) {
    if (status == 0)
      status = cublaslt().cublasLtMatmulDescSetAttribute(matmul_, which, &value, sizeof value);
  };
  uint32_t what = (e.bias ? kBias : 0) | (e.gelu ? kGelu : 0) | (e.aux ? kAux : 0) |
                  (e.dgelu ? kSlope | kAux : 0) | (e.bgrad ? kColumnSums : 0) |
                  (e.bgradb ? kSumsOfA : 0) | (e.bgrada ? kSumsOfB : 0);
  if (what != 0) set(kEpilogue, what);
  if (e.bias || e.sums()) set(kBiasType, int32_t{lt_type(g_.type_c)});
  if (e.aux || e.dgelu) set(kAuxLd, g_.ldc);
  return status == 0 ? point_epilogue(memory_) : status;
}

int LtGemm::point_epilogue(const GemmMemory& memory) const {
  const GemmEpilogue& e = g_.epilogue;
  int status = 0;
  auto set = [&](int which, CuAddress at) {
    if (status == 0)
      status = cublaslt().cublasLtMatmulDescSetAttribute(matmul_, which, &at, sizeof at);
  };
  if (e.bias || e.sums()) set(kBiasPointer, memory.bias);
  if (e.aux || e.dgelu) set(kAuxPointer, memory.aux);
  return status;
}

// All that the heuristic sees, and what it runs in.
Digest LtGemm::problem(const Gpu& gpu) const {
  std::string text;
  auto aligned = [&](CuAddress address, int64_t stride, DType type) {
    return int64_t{alignment(address, stride, g_.batch, type)};
  };
  for (int64_t v :
       {g_.m, g_.n, g_.k, g_.batch, g_.lda, g_.ldb, g_.ldc, g_.stride_a, g_.stride_b, g_.stride_c,
        int64_t{g_.trans_a}, int64_t{g_.trans_b}, int64_t{g_.beta != 0}, int64_t{options_.tf32},
        memory_.workspace_bytes, aligned(memory_.a.at, g_.stride_a, g_.type_a),
        aligned(memory_.b.at, g_.stride_b, g_.type_b),
        aligned(memory_.c.at, g_.stride_c, g_.type_c), aligned(memory_.aux, 0, g_.type_c),
        aligned(memory_.addend, g_.stride_c, g_.type_c), aligned(memory_.bias, 0, g_.type_c),
        int64_t{gpu.info.major}, int64_t{gpu.info.minor}, int64_t{gpu.info.sm_count}})
    text += std::to_string(v) + " ";
  std::string version = std::to_string(cublaslt().cublasLtGetVersion());
  const char* what = options_.tune ? "cuBLASLt fastest algorithm 1" : "cuBLASLt algorithm 1";
  return sha256_of_list({what, g_.str(), text, gpu.info.name, version});
}

bool LtGemm::takes(const LtAlgo& algo) const {
  LtHeuristic checked = {};
  return cublaslt().cublasLtMatmulAlgoCheck(handle_, matmul_, b_layout_, a_layout_, c_layout_,
                                            c_layout_, &algo, &checked) == 0 &&
         checked.state == 0 && checked.workspace <= static_cast<size_t>(memory_.workspace_bytes);
}

int LtGemm::choose(const Gpu& gpu) {
  // Kept for good: a thread may be here when the process ends.
  static std::mutex& mutex = *new std::mutex;
  static std::map<Digest, LtAlgo>& known = *new std::map<Digest, LtAlgo>;
  Digest key = problem(gpu);
  std::lock_guard lock(mutex);
  if (auto it = known.find(key); it != known.end()) {
    algo_ = it->second;
    return 0;
  }
  DiskCache* cache = options_.cache.get();
  std::optional<std::string> kept = cache ? cache->get(key) : std::nullopt;
  bool found = kept && kept->size() == sizeof algo_;
  if (found) {
    std::memcpy(&algo_, kept->data(), sizeof algo_);
    found = takes(algo_);
  }
  if (!found) {
    std::vector<LtAlgo> offered;
    if (int status = ask(&offered); status != 0) return status;
    algo_ = options_.tune ? measure(gpu, offered) : offered.front();
    if (cache) cache->put(key, {reinterpret_cast<const char*>(&algo_), sizeof algo_});
  }
  known[key] = algo_;
  return 0;
}

int LtGemm::ask(std::vector<LtAlgo>* offered) {
  const CublasLt& lt = cublaslt();
  int status = lt.cublasLtMatmulPreferenceCreate(&preference_);
  auto prefer = [&](int which, auto value) {
    if (status == 0)
      status = lt.cublasLtMatmulPreferenceSetAttribute(preference_, which, &value, sizeof value);
  };
  uint32_t c = alignment(memory_.c.at, g_.stride_c, g_.batch, g_.type_c);
  prefer(kMaxWorkspace, static_cast<uint64_t>(memory_.workspace_bytes));
  prefer(kReductionMask, kJoinInComputeType);
  prefer(kAlignA, alignment(memory_.b.at, g_.stride_b, g_.batch, g_.type_b));
  prefer(kAlignB, alignment(memory_.a.at, g_.stride_a, g_.batch, g_.type_a));
  prefer(kAlignC,
         g_.epilogue.add ? alignment(memory_.addend, g_.stride_c, g_.batch, g_.type_c) : c);
  prefer(kAlignD, c);
  if (status != 0) return status;
  LtHeuristic found[kWanted] = {};
  int count = 0;
  status = lt.cublasLtMatmulAlgoGetHeuristic(handle_, matmul_, b_layout_, a_layout_, c_layout_,
                                             c_layout_, preference_, kWanted, found, &count);
  if (status != 0) return status;
  for (int i = 0; i < std::min(count, kWanted); ++i)
    if (found[i].state == 0 && found[i].workspace <= static_cast<size_t>(memory_.workspace_bytes))
      offered->push_back(found[i].algo);
  constexpr int kNotSupported = 15;  // CUBLAS_STATUS_NOT_SUPPORTED
  return offered->empty() ? kNotSupported : 0;
}

int64_t LtGemm::bytes_of_a() const {
  return span(g_.trans_a ? g_.k : g_.m, g_.trans_a ? g_.m : g_.k, g_.lda, g_.batch, g_.stride_a,
              g_.type_a);
}
int64_t LtGemm::bytes_of_b() const {
  return span(g_.trans_b ? g_.n : g_.k, g_.trans_b ? g_.k : g_.n, g_.ldb, g_.batch, g_.stride_b,
              g_.type_b);
}
int64_t LtGemm::bytes_of_c() const {
  return span(g_.m, g_.n, g_.ldc, g_.batch, g_.stride_c, g_.type_c);
}

LtAlgo LtGemm::measure(const Gpu& gpu, const std::vector<LtAlgo>& offered) {
  if (offered.size() == 1) return offered.front();
  std::lock_guard alone(running_products());
  Stream stream(gpu);
  if (memory_.a.free) fill_with_noise(stream, memory_.a.at, bytes_of_a());
  if (memory_.b.free) fill_with_noise(stream, memory_.b.at, bytes_of_b());
  // Parameters and states keep their values: a product that goes there goes elsewhere, at an
  // address of the same alignment. One that writes aux or sums, too, is not measured there.
  if (!memory_.c.free && (g_.epilogue.aux || g_.epilogue.sums())) return offered.front();
  GemmMemory memory = memory_;
  DeviceBlock elsewhere;
  if (!memory_.c.free) {
    try {
      elsewhere = DeviceBlock(gpu, stream, bytes_of_c() + 256, "measuring a matrix product");
    } catch (const OutOfMemory&) {
      return offered.front();
    }
    memory.c.at = elsewhere.address() + memory_.c.at % 256;
  }
  measured_ = true;
  auto run = [&](int i) { return multiply(offered[static_cast<size_t>(i)], memory, stream.get()); };
  int best = fastest(stream, static_cast<int>(offered.size()), run);
  stream.wait("measuring a matrix product");
  return offered[static_cast<size_t>(std::max(best, 0))];
}

std::unique_ptr<LtGemm> LtGemm::bind(const Gpu& gpu, const Gemm& g, const GemmMemory& memory,
                                     const LtOptions& options, std::string* why) {
  // A bias of each batch item is of no use here, and rows of aux must be multiples of 8.
  bool aux = g.epilogue.aux || g.epilogue.dgelu;
  bool odd = (g.epilogue.any() && g.batch > 1) || (aux && g.ldc % 8 != 0);
  if (g.empty() || g.k == 0 || !has_types(g) || g.batch > INT32_MAX || odd) {
    *why = "cuBLASLt takes no " + g.str();
    return nullptr;
  }
  LtHandle handle = cublaslt_handle(gpu, why);
  if (!handle) return nullptr;
  std::unique_ptr<LtGemm> out(new LtGemm);
  out->g_ = g;
  out->handle_ = handle;
  out->memory_ = memory;
  out->memory_.workspace_bytes = std::min(memory.workspace_bytes, gemm_workspace(g));
  out->options_ = options;
  out->alpha_ = static_cast<float>(g.alpha);
  out->beta_ = g.epilogue.add ? 1 : static_cast<float>(g.beta);
  int status = out->describe();
  if (status == 0) status = out->choose(gpu);
  if (status == 0) return out;
  *why = "cuBLASLt has no algorithm for " + g.str() + " (" +
         cublaslt().cublasLtGetStatusString(status) + ")";
  return nullptr;
}

LtGemm::~LtGemm() {
  const CublasLt& lt = cublaslt();
  if (preference_) lt.cublasLtMatmulPreferenceDestroy(preference_);
  for (LtLayout layout : {a_layout_, b_layout_, c_layout_})
    if (layout) lt.cublasLtMatrixLayoutDestroy(layout);
  if (matmul_) lt.cublasLtMatmulDescDestroy(matmul_);
}

int LtGemm::multiply(const LtAlgo& algo, const GemmMemory& memory, CuStream stream) const {
  const void* alpha = g_.doubles() ? static_cast<const void*>(&g_.alpha) : &alpha_;
  const void* beta = g_.doubles() ? static_cast<const void*>(&g_.beta) : &beta_;
  auto pointer = [](CuAddress address) { return reinterpret_cast<void*>(address); };
  return cublaslt().cublasLtMatmul(
      handle_, matmul_, alpha, pointer(memory.b.at), b_layout_, pointer(memory.a.at), a_layout_,
      beta, pointer(g_.epilogue.add ? memory.addend : memory.c.at), c_layout_, pointer(memory.c.at),
      c_layout_, &algo, pointer(memory.workspace), static_cast<size_t>(memory.workspace_bytes),
      stream);
}

// What the library may tell kernels apart by: the algorithm, types, forms, alignments.
std::string LtGemm::kernel_key() const {
  std::string key(reinterpret_cast<const char*>(algo_.data), sizeof algo_.data);
  auto even = [](int64_t v) {
    return int64_t{1} << std::countr_zero(static_cast<uint64_t>(v | 16));
  };
  auto aligned = [&](CuAddress address, int64_t stride, DType type) {
    return int64_t{alignment(address, stride, g_.batch, type)};
  };
  for (int64_t v : {int64_t{lt_type(g_.type_a)},
                    int64_t{lt_type(g_.type_b)},
                    int64_t{lt_type(g_.type_c)},
                    int64_t{g_.trans_a},
                    int64_t{g_.trans_b},
                    int64_t{beta_ != 0},
                    int64_t{alpha_ != 1},
                    int64_t{g_.batch > 1},
                    even(g_.m),
                    even(g_.n),
                    even(g_.k),
                    even(g_.lda),
                    even(g_.ldb),
                    even(g_.ldc),
                    aligned(memory_.a.at, g_.stride_a, g_.type_a),
                    aligned(memory_.b.at, g_.stride_b, g_.type_b),
                    aligned(memory_.c.at, g_.stride_c, g_.type_c),
                    aligned(memory_.aux, 0, g_.type_c),
                    aligned(memory_.addend, g_.stride_c, g_.type_c),
                    aligned(memory_.bias, 0, g_.type_c)})
    key += " " + std::to_string(v);
  return key + " " + g_.epilogue.str();
}

bool LtGemm::fits(CuAddress begin, CuAddress end) const {
  // Those of the epilogue are as large as C, or smaller.
  const int64_t most = std::max({bytes_of_a(), bytes_of_b(), bytes_of_c()});
  return begin <= end && static_cast<uint64_t>(most) + 2 * 256 <= end - begin;
}

int LtGemm::run_in(CuAddress begin, CuStream stream) const {
  const CuAddress base = (begin + 255) / 256 * 256;
  GemmMemory there = memory_;
  for (CuAddress* at :
       {&there.a.at, &there.b.at, &there.c.at, &there.aux, &there.addend, &there.bias})
    *at = base + *at % 256;
  int status = point_epilogue(there);
  if (status == 0) status = multiply(algo_, there, stream);
  const int back = point_epilogue(memory_);
  return status == 0 ? back : status;
}

void LtGemm::run(CuStream stream) const {
  int status = multiply(algo_, memory_, stream);
  if (status != 0)
    fail_device("cublasLtMatmul failed for " + g_.str() + " (" +
                cublaslt().cublasLtGetStatusString(status) + ")");
}

}  // namespace fusec::cuda
