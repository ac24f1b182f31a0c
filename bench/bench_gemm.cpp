// GEMM of a compiled graph beside oneDNN called directly on the whole product with all its threads,
// timed alternately, f32.
//   bench_gemm [rounds]
#include <dlfcn.h>

#include <cstdio>
#include <thread>

#include "model.h"

using namespace fusec;
using namespace fusec::bench;

namespace {

using Sgemm = int (*)(char, char, int64_t, int64_t, int64_t, float, const float*, int64_t,
                      const float*, int64_t, float, float*, int64_t);

struct Library {
  Sgemm sgemm = nullptr;
  void (*set_threads)(int) = nullptr;
  Library() {
    for (const char* name : {"libdnnl.so.3", "libdnnl.so.2"})
      if (void* open = dlopen(name, RTLD_NOW | RTLD_LOCAL); open && !sgemm) {
        sgemm = reinterpret_cast<Sgemm>(dlsym(open, "dnnl_sgemm"));
        set_threads = reinterpret_cast<void (*)(int)>(dlsym(open, "omp_set_num_threads"));
      }
  }
};

struct Problem {
  const char* labels;
  int64_t m, n, k;
  bool trans_a, trans_b;
};

// Seconds of `calls` direct calls, in a thread of its own: the pool of the executable keeps oneDNN
// on one thread in the threads that it uses.
double direct(const Library& lib, const Problem& p, const std::vector<float>& a,
              const std::vector<float>& b, std::vector<float>& c, int calls) {
  double seconds = 0;
  std::thread([&] {
    if (lib.set_threads) lib.set_threads(static_cast<int>(std::thread::hardware_concurrency()));
    auto call = [&] {
      lib.sgemm(p.trans_a ? 'T' : 'N', p.trans_b ? 'T' : 'N', p.m, p.n, p.k, 1, a.data(),
                p.trans_a ? p.m : p.k, b.data(), p.trans_b ? p.k : p.n, 0, c.data(), p.n);
    };
    call();  // wakes its threads
    double start = now();
    for (int i = 0; i < calls; ++i) call();
    seconds = (now() - start) / calls;
  }).join();
  return seconds;
}

}  // namespace

int main(int argc, char** argv) {
  int rounds = argc > 1 ? std::atoi(argv[1]) : 9;
  Library lib;
  if (!lib.sgemm) {
    std::fprintf(stderr, "bench_gemm: libdnnl.so.3 and libdnnl.so.2 were not found\n");
    return 1;
  }
  std::printf("%-24s %10s %10s %7s\n", "m x n x k", "GFLOP/s", "oneDNN", "ratio");
  for (const Problem& p : {Problem{"mk,nk->mn", 1024, 128, 128, false, true},
                           Problem{"mk,nk->mn", 1024, 384, 128, false, true},
                           Problem{"mk,nk->mn", 1024, 2048, 128, false, true},
                           Problem{"mk,kn->mn", 1024, 128, 2048, false, false},
                           Problem{"km,kn->mn", 2048, 128, 1024, true, false},
                           Problem{"km,kn->mn", 384, 128, 1024, true, false},
                           Problem{"mk,nk->mn", 2048, 2048, 2048, false, true},
                           Problem{"mk,kn->mn", 1536, 1536, 1536, false, false}}) {
    Graph g;
    Tensor a = g.input("a", p.trans_a ? Shape{p.k, p.m} : Shape{p.m, p.k});
    Tensor b = g.input("b", p.trans_b ? Shape{p.n, p.k} : Shape{p.k, p.n});
    Executable exe = compile(g, {{"c", einsum(p.labels, a, b)}});
    std::vector<float> x(p.m * p.k, 0.5f), y(p.n * p.k, 0.25f), z(p.m * p.n);
    exe.set("a", x), exe.set("b", y);
    exe.run();
    double flops = 2.0 * static_cast<double>(p.m * p.n) * static_cast<double>(p.k);
    int calls = static_cast<int>(std::max(1.0, 1e10 / flops));
    std::vector<double> own, peer;
    for (int i = 0; i < rounds; ++i) {
      double start = now();
      for (int c = 0; c < calls; ++c) exe.run();
      own.push_back((now() - start) / calls);
      peer.push_back(direct(lib, p, x, y, z, calls));
    }
    char name[64];
    std::snprintf(name, sizeof name, "%ldx%ldx%ld %s%s", p.m, p.n, p.k, p.trans_a ? "ta" : "",
                  p.trans_b ? "tb" : "");
    std::printf("%-24s %10.1f %10.1f %7.2f\n", name, 1e-9 * flops / median(own),
                1e-9 * flops / median(peer), median(peer) / median(own));
  }
}
