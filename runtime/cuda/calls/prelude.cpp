#include "prelude.h"

#include "fusec/base/error.h"

namespace fusec::cuda {

const std::string_view kPrelude = R"cuda(
#define DEV __device__ __forceinline__

struct Status {
  unsigned skip, error;
  long long step, index, bound;
};

// True in a step that a guard has stopped; the same for all threads of a block, also while another
// block reports an error.
DEV bool stopped(const unsigned* skip) {
  return skip && __syncthreads_or(*(const volatile unsigned*)skip != 0);
}

// Keeps the first error of a run, of which nothing is then committed.
DEV void report(Status* status, unsigned error, int step, long long index, long long bound) {
  if (atomicCAS(&status->error, 0u, error) != 0u) return;
  status->skip = 1;
  status->step = step;
  status->index = index;
  status->bound = bound;
}
)cuda";

const std::string_view kBf16Instructions = R"cuda(
DEV float half_value(unsigned short x) { return __uint_as_float((unsigned)x << 16); }
DEV unsigned short half_bits(float x) {
  unsigned short r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return r;
}
)cuda";

const std::string_view kF16Instructions = R"cuda(
DEV float half_value(unsigned short x) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x));
  return r;
}
DEV unsigned short half_bits(float x) {
  unsigned short r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return r;
}
)cuda";

namespace {

std::string plain(std::string_view stored, std::string_view sum) {
  std::string s(stored), w(sum);
  return "using Stored = " + s + ";\nusing Sum = " + w + ";\nDEV Sum widen(Stored x) { return (" +
         w + ")x; }\nDEV Stored narrow(Sum x) { return (" + s + ")x; }\n";
}

constexpr std::string_view kHalfElement = R"cuda(
using Stored = unsigned short;
using Sum = float;
DEV Sum widen(Stored x) { return half_value(x); }
DEV Stored narrow(Sum x) { return half_bits(x); }
)cuda";

}  // namespace

std::string element_text(DType t) {
  switch (t) {
    case DType::f32: return plain("float", "float");
    case DType::f64: return plain("double", "double");
    case DType::i32: return plain("int", "unsigned");
    case DType::i64: return plain("long long", "unsigned long long");
    case DType::u8:
    case DType::b8:
    case DType::f8e4m3: return plain("unsigned char", "unsigned");  // f8e4m3 is only moved
    case DType::bf16: return std::string(kBf16Instructions) + std::string(kHalfElement);
    case DType::f16: return std::string(kF16Instructions) + std::string(kHalfElement);
  }
  fail_internal("an element type without a CUDA text");
}

std::string_view unit_type(int64_t bytes) {
  switch (bytes) {
    case 16: return "uint4";
    case 8: return "uint2";
    case 4: return "unsigned";
    case 2: return "unsigned short";
    default: return "unsigned char";
  }
}

std::string_view index_type(DType t) { return t == DType::i32 ? "int" : "long long"; }

}  // namespace fusec::cuda
