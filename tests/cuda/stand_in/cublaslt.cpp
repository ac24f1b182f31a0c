// A libcublasLt.so.13 of plain loops over column-major matrices, after the library's documentation.
// It has no algorithm for addresses that are not multiples of 16, nor for leading dimensions that
// are not of 4 elements, as the real one has none for some. STAND_IN_ALGORITHMS="40 fail 10" makes
// it offer several: what each takes by the events of the stand-in's driver, in ms, or that it fails
// when it is run.
#include <dlfcn.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include "fusec/base/dtype.h"

using fusec::DType;

namespace {

struct Matmul {
  int compute = 0, scale = 0;
  int32_t transposed[2] = {0, 0};
  // 4: bias, 32: GELU, 128: what goes into it is stored. 192: times GELU's slope, 16: with sums
  // over the columns. 256, 512: sums over k of A, of B.
  uint32_t epilogue = 1;
  const void* bias = nullptr;
  void* aux = nullptr;
  int64_t aux_ld = 0;
  int32_t bias_type = -1;  // that of D
};
struct Layout {
  int type = 0;
  uint64_t rows = 0, cols = 0;
  int64_t ld = 0, stride = 0;
  int32_t batch = 1;
};
struct Preference {
  uint32_t alignment[4] = {256, 256, 256, 256};
  uint64_t workspace = 0;
};
struct Heuristic {
  uint64_t algo[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

// Work in stream order is the driver's.
int put(void* stream, const std::function<int()>& work) {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  using Put = int(void* stream, const std::function<int()>& work);
  return reinterpret_cast<Put*>(dlsym(driver, "fusec_stand_in_put"))(stream, work);
}

void pass(double milliseconds) {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  reinterpret_cast<void (*)(double)>(dlsym(driver, "fusec_stand_in_pass"))(milliseconds);
}

// Numbered from 1.
std::vector<std::string> algorithms() {
  const char* text = std::getenv("STAND_IN_ALGORITHMS");
  std::istringstream words(text ? text : "0");
  std::vector<std::string> out;
  for (std::string word; words >> word;) out.push_back(word);
  return out;
}

constexpr int kInvalid = 7, kNotSupported = 15, kFailed = 13;

DType dtype(int type) {
  return type == 1 ? DType::f64 : type == 2 ? DType::f16 : type == 14 ? DType::bf16 : DType::f32;
}
double at(const void* data, const Layout& l, int64_t item, int64_t row, int64_t col) {
  return fusec::load_as_double(data, dtype(l.type), item * l.stride + col * l.ld + row);
}
double slope(double x) {
  double t = std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 0.134145 * x * x);
}
double scalar(const void* p, int type) {
  return type == 1 ? *static_cast<const double*>(p) : *static_cast<const float*>(p);
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// Products are chosen and run by several threads.
std::atomic<int> heuristics = 0;  // calls of the heuristic
std::atomic<uint64_t> last_algorithm = 0, multiplied = 0;
// Held by a test, it keeps whoever binds a product where it is.
std::mutex gate;
EXPORT std::mutex* fusec_stand_in_gate() { return &gate; }
EXPORT int fusec_stand_in_heuristics() { return heuristics; }
// The algorithm of the latest product, and how many products were asked for.
EXPORT int fusec_stand_in_last_algorithm() { return static_cast<int>(last_algorithm); }
EXPORT int fusec_stand_in_products() { return static_cast<int>(multiplied); }
EXPORT size_t cublasLtGetVersion() { return 139900; }
EXPORT const char* cublasLtGetStatusString(int) { return "STAND_IN_STATUS"; }
EXPORT int cublasLtCreate(void** handle) {
  if (std::getenv("STAND_IN_NO_CUBLASLT")) return 1;
  static int one = 1;
  return *handle = &one, 0;
}
EXPORT int cublasLtMatmulDescCreate(Matmul** m, int compute, int scale) {
  std::lock_guard wait(gate);
  return *m = new Matmul{compute, scale}, 0;
}
EXPORT int cublasLtMatmulDescDestroy(Matmul* m) { return delete m, 0; }
EXPORT int cublasLtMatmulDescSetAttribute(Matmul* m, int which, const void* value, size_t bytes) {
  void* to = which == 3    ? static_cast<void*>(&m->transposed[0])
             : which == 4  ? static_cast<void*>(&m->transposed[1])
             : which == 7  ? static_cast<void*>(&m->epilogue)
             : which == 8  ? static_cast<void*>(&m->bias)
             : which == 11 ? static_cast<void*>(&m->aux)
             : which == 12 ? static_cast<void*>(&m->aux_ld)
             : which == 26 ? static_cast<void*>(&m->bias_type)
                           : nullptr;
  bool wide = which == 8 || which == 11 || which == 12;
  if (!to || bytes != (wide ? 8u : 4u)) return kInvalid;
  return std::memcpy(to, value, bytes), 0;
}
EXPORT int cublasLtMatrixLayoutCreate(Layout** l, int type, uint64_t rows, uint64_t cols,
                                      int64_t ld) {
  if (ld < static_cast<int64_t>(rows) || rows == 0 || cols == 0) return kInvalid;
  return *l = new Layout{type, rows, cols, ld}, 0;
}
EXPORT int cublasLtMatrixLayoutDestroy(Layout* l) { return delete l, 0; }
EXPORT int cublasLtMatrixLayoutSetAttribute(Layout* l, int which, const void* value, size_t bytes) {
  if (which == 5 && bytes == 4) return std::memcpy(&l->batch, value, 4), 0;
  if (which == 6 && bytes == 8) return std::memcpy(&l->stride, value, 8), 0;
  return kInvalid;
}
EXPORT int cublasLtMatmulPreferenceCreate(Preference** p) { return *p = new Preference, 0; }
EXPORT int cublasLtMatmulPreferenceDestroy(Preference* p) { return delete p, 0; }
EXPORT int cublasLtMatmulPreferenceSetAttribute(Preference* p, int which, const void* value,
                                                size_t bytes) {
  if (which == 1 && bytes == 8) return std::memcpy(&p->workspace, value, 8), 0;
  if (which == 3 && bytes == 4) return 0;
  if (which < 5 || which > 8 || bytes != 4) return kInvalid;
  return std::memcpy(&p->alignment[which - 5], value, 4), 0;
}
EXPORT int cublasLtMatmulAlgoGetHeuristic(void*, Matmul* m, Layout* a, Layout* b, Layout* c,
                                          Layout*, Preference* p, int wanted, Heuristic* results,
                                          int* count) {
  *count = 0;
  ++heuristics;
  uint64_t inner = m->transposed[0] ? a->rows : a->cols;
  bool fit = (m->transposed[0] ? a->cols : a->rows) == c->rows &&
             (m->transposed[1] ? b->rows : b->cols) == c->cols &&
             (m->transposed[1] ? b->cols : b->rows) == inner;
  if (!fit || a->type != b->type || (m->scale == 1) != (c->type == 1) || wanted < 1)
    return kInvalid;
  for (uint32_t alignment : p->alignment)
    if (alignment < 16 || alignment > 256) return kNotSupported;
  for (const Layout* l : {a, b, c})
    if (l->ld % 4 != 0) return kNotSupported;
  uint32_t e = m->epilogue;
  bool sums = e == 208 || e == 256 || e == 512;
  if (e != 1 && e != 4 && e != 32 && e != 36 && e != 160 && e != 164 && e != 192 && !sums)
    return kInvalid;
  if (sums && std::getenv("STAND_IN_NO_SUMS")) return kNotSupported;
  if (((e & 4) || sums) && (!m->bias || (m->bias_type >= 0 && m->bias_type != c->type)))
    return kNotSupported;
  if ((e & 128) && (!m->aux || m->aux_ld % 8 != 0 || m->aux_ld < static_cast<int64_t>(c->rows)))
    return kInvalid;
  for (uint64_t i = 1; i <= algorithms().size() && *count < wanted; ++i)
    results[(*count)++] = Heuristic{{i}, p->workspace, 0, 1, {}};
  return 0;
}
EXPORT int cublasLtMatmulAlgoCheck(void*, Matmul*, Layout*, Layout*, Layout*, Layout*,
                                   const uint64_t* algo, Heuristic* result) {
  if (*algo < 1 || *algo > algorithms().size()) return kNotSupported;
  return *result = Heuristic{{*algo}, 0, 0, 1, {}}, 0;
}
EXPORT int cublasLtMatmul(void*, Matmul* m, const void* alpha, const void* a, Layout* la,
                          const void* b, Layout* lb, const void* beta, const void* c, Layout* lc,
                          void* d, Layout* ld, const uint64_t* algo, void*, size_t, void* stream) {
  std::vector<std::string> known = algorithms();
  if (*algo < 1 || *algo > known.size() || lc != ld) return kInvalid;
  const std::string& takes = known[*algo - 1];
  if (takes == "fail") return kFailed;
  last_algorithm = *algo;
  ++multiplied;
  double by = scalar(alpha, m->scale), plus = scalar(beta, m->scale);
  Matmul desc = *m;
  Layout xa = *la, xb = *lb, xc = *lc;
  return put(stream, [=, ms = std::stod(takes)] {
    pass(ms);
    auto inner = static_cast<int64_t>(desc.transposed[0] ? xa.rows : xa.cols);
    for (int64_t item = 0; item < xc.batch; ++item)
      for (int64_t i = 0; i < static_cast<int64_t>(xc.rows); ++i)
        for (int64_t j = 0; j < static_cast<int64_t>(xc.cols); ++j) {
          double sum = 0;
          for (int64_t p = 0; p < inner; ++p)
            sum += (desc.transposed[0] ? at(a, xa, item, p, i) : at(a, xa, item, i, p)) *
                   (desc.transposed[1] ? at(b, xb, item, j, p) : at(b, xb, item, p, j));
          double old = plus == 0 ? 0 : plus * at(c, xc, item, i, j);
          double x = by * sum + old;
          if (desc.epilogue & 4) x += fusec::load_as_double(desc.bias, dtype(xc.type), i);
          if (desc.epilogue & 64)
            x *= slope(fusec::load_as_double(desc.aux, dtype(xc.type), j * desc.aux_ld + i));
          else if (desc.epilogue & 128)
            fusec::store_from_double(desc.aux, dtype(xc.type), j * desc.aux_ld + i, x);
          if (desc.epilogue & 32)
            x = 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
          fusec::store_from_double(d, dtype(xc.type), item * xc.stride + j * xc.ld + i, x);
        }
    auto rows = static_cast<int64_t>(xc.rows), cols = static_cast<int64_t>(xc.cols);
    auto sum = [&](int64_t length, int64_t terms, auto term) {
      for (int64_t v = 0; v < length; ++v) {
        double total = 0;
        for (int64_t t = 0; t < terms; ++t) total += term(v, t);
        fusec::store_from_double(const_cast<void*>(desc.bias), dtype(xc.type), v, total);
      }
    };
    if (desc.epilogue & 16)
      sum(rows, cols, [&](int64_t v, int64_t t) { return at(d, xc, 0, v, t); });
    if (desc.epilogue & 256)
      sum(rows, inner, [&](int64_t v, int64_t t) {
        return desc.transposed[0] ? at(a, xa, 0, t, v) : at(a, xa, 0, v, t);
      });
    if (desc.epilogue & 512)
      sum(cols, inner, [&](int64_t v, int64_t t) {
        return desc.transposed[1] ? at(b, xb, 0, v, t) : at(b, xb, 0, t, v);
      });
    return 0;
  });
}
