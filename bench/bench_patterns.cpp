// Memory-bound patterns of a training step on tensors of 64 MB, fused, beside one kernel an op and
// a copy by as many threads, timed alternately.
//   bench_patterns [rounds] [name part]
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <thread>

#include "model.h"

using namespace fusec;
using namespace fusec::bench;

namespace {

struct Pattern {
  const char* name;
  std::function<std::vector<Output>(Graph&)> record;
};

std::vector<Output> with_gradients(Tensor y, std::vector<Tensor> wrt) {
  Tensor dy = y.graph().input("dy", y.shape());
  std::vector<Output> out = {{"y", y}};
  std::vector<Tensor> g = grad(sum(y * dy), wrt);
  for (size_t i = 0; i < g.size(); ++i) out.emplace_back("d" + std::to_string(i), g[i]);
  return out;
}

const std::vector<Pattern>& patterns() {
  static const std::vector<Pattern> list = {
      {"SwiGLU fwd",
       [](Graph& g) -> std::vector<Output> {
         return {{"y", swiglu(g.input("gate", {8192, 2048}), g.input("up", {8192, 2048}))}};
       }},
      {"SwiGLU fwd + bwd",
       [](Graph& g) {
         Tensor a = g.input("gate", {8192, 2048}), b = g.input("up", {8192, 2048});
         return with_gradients(swiglu(a, b), {a, b});
       }},
      {"residual + RMSNorm(w) fwd",
       [](Graph& g) -> std::vector<Output> {
         Tensor s = g.input("x", {16384, 1024}) + g.input("r", {16384, 1024});
         return {{"s", s}, {"y", rms_norm(s, 1e-6, g.input("w", {1024}))}};
       }},
      {"residual + RMSNorm(w) fwd + bwd",
       [](Graph& g) {
         Tensor x = g.input("x", {16384, 1024}), w = g.input("w", {1024});
         return with_gradients(rms_norm(x + g.input("r", {16384, 1024}), 1e-6, w), {x, w});
       }},
      {"LayerNorm fwd + bwd",
       [](Graph& g) {
         Tensor x = g.input("x", {16384, 1024}), w = g.input("w", {1024}), b = g.input("b", {1024});
         return with_gradients(layer_norm(x, w, b), {x, w, b});
       }},
      {"softmax",
       [](Graph& g) -> std::vector<Output> {
         return {{"y", softmax(g.input("x", {16384, 1024}))}};
       }},
      {"softcap + cross-entropy fwd + bwd",
       [](Graph& g) -> std::vector<Output> {
         Tensor z = g.input("z", {1024, 16384});
         Tensor losses = cross_entropy(z, g.input("target", {1024}, i32), {.softcap = 15});
         return {{"losses", losses}, {"dz", grad(sum(losses * g.input("scale", {})), {z})[0]}};
       }},
      {"AdamW, 16 tensors of 1 M",
       [](Graph& g) -> std::vector<Output> {
         std::vector<Tensor> p, d;
         for (int i = 0; i < 16; ++i) {
           p.push_back(g.parameter("p" + std::to_string(i), {1024, 1024}));
           d.push_back(g.input("g" + std::to_string(i), {1024, 1024}));
         }
         return {{"norm", models::adamw(g, p, d, {})}};
       }},
  };
  return list;
}

Executable build(const Pattern& p, bool fuse) {
  Graph g;
  std::vector<Output> outputs = p.record(g);
  CompileOptions options;
  options.fuse = fuse;
  Executable exe = compile(g, outputs, options);
  for (const PlanBuffer& b : exe.plan().buffers) {
    if (b.cls != BufferClass::input && b.cls != BufferClass::parameter) continue;
    int64_t n = numel(b.type.shape);
    if (b.type.dtype == DType::i32)
      exe.set(b.name, std::vector<int32_t>(n, 7));
    else
      exe.set(b.name, std::vector<float>(n, 0.5f));
  }
  exe.run();
  return exe;
}

// Bytes moved a second by a copy of 128 MB, cut among all threads, in huge pages as our own tensors.
class Copy {
 public:
  Copy() : from_(pages()), to_(pages()) {
    std::memset(from_, 1, kBytes);
    std::memset(to_, 2, kBytes);
  }
  double seconds() {
    double start = now();
    std::vector<std::thread> threads;
    size_t n = std::thread::hardware_concurrency(), part = kBytes / n;
    for (size_t i = 0; i < n; ++i)
      threads.emplace_back([=, this] { std::memcpy(&to_[i * part], &from_[i * part], part); });
    for (std::thread& t : threads) t.join();
    return now() - start;
  }
  static constexpr size_t kBytes = 128 << 20;

 private:
  static char* pages() {
    void* p = std::aligned_alloc(2 << 20, kBytes);
    madvise(p, kBytes, MADV_HUGEPAGE);
    return static_cast<char*>(p);
  }
  char *from_, *to_;  // for the life of the program
};

}  // namespace

int main(int argc, char** argv) {
  int rounds = argc > 1 ? std::atoi(argv[1]) : 9;
  std::string part = argc > 2 ? argv[2] : "";
  Copy copy;
  std::printf("%-34s %9s %9s %7s %8s %8s %8s  %s\n", "pattern", "fused ms", "unfused", "ratio",
              "GB/s", "copy", "of copy", "launches");
  for (const Pattern& p : patterns()) {
    if (std::string(p.name).find(part) == std::string::npos) continue;
    Executable fused = build(p, true), unfused = build(p, false);
    std::vector<double> a, b, c;
    for (int i = 0; i < rounds; ++i) {
      for (auto [exe, times] : {std::pair(&fused, &a), std::pair(&unfused, &b)}) {
        double start = now();
        exe->run();
        times->push_back(now() - start);
      }
      c.push_back(copy.seconds());
    }
    int64_t bytes = 0;
    for (const PlanStep& s : fused.plan().steps) bytes += s.bytes;
    double rate = static_cast<double>(bytes) / median(a), ideal = 2.0 * Copy::kBytes / median(c);
    std::printf("%-34s %9.2f %9.2f %7.2f %8.1f %8.1f %8.2f  %zu / %zu\n", p.name, 1e3 * median(a),
                1e3 * median(b), median(b) / median(a), 1e-9 * rate, 1e-9 * ideal, rate / ideal,
                fused.plan().steps.size(), unfused.plan().steps.size());
  }
}
