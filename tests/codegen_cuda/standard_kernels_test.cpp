// What the bundled models and random graphs become on a GPU compiles, and stays in registers.
//
//   model, precision, architecture -> plan -> texts of its kernels (in the form that the plan
//   launches) and of its library calls -> NVRTC -> registers and spills of each
//
// Needs NVRTC, no GPU. A text that several plans share is compiled once for an architecture. A
// kernel of a model that spills is a failure; of random graphs, whose kernels hold whatever chance
// put together, spills are counted. GEMMs have no text here: they are cuBLASLt's.
//
// A pair of registers, 8 bytes, is printed and no failure. The assembler moves one to memory by its
// own choice, far below the limit, where one more block then fits on a multiprocessor (48 registers
// of 256 threads on sm_100a; none spilled if told to care for one block).
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <set>
#include <thread>

#include "call.h"
#include "fusec/codegen_cuda/codegen.h"
#include "fusec/cuda/cuda.h"
#include "fusec/inspect.h"
#include "fusec/models/bundled.h"
#include "graph_fuzz.h"

namespace fusec {
namespace {

constexpr unsigned kThreads = 2;
constexpr uint64_t kRandomGraphs = 40;
constexpr int kPair = 8;  // bytes

struct Arch {
  const char* name;
  int major, sm_count;
  int64_t shared_kib;
  cuda::CallTarget target() const {
    cuda::CallTarget t;
    t.major = major, t.sm_count = sm_count, t.shared_per_block = shared_kib << 10;
    return t;
  }
};

// In CUDA's compute capability tables.
const Arch kArchs[] = {{"sm_80", 8, 108, 163},
                       {"sm_90a", 9, 132, 227},
                       {"sm_100a", 10, 148, 227},
                       {"sm_120a", 12, 170, 99}};

bool no_nvrtc() {
  std::string why;
  if (!cuda::nvrtc_version(&why).empty()) return false;
  std::printf("[SKIP] %s\n", why.c_str());
  return true;
}

struct Unit {
  std::string arch, from, name, text;
  int64_t dynamic_shared = 0, most_shared = 0;
  cuda::Cubin cubin;
  std::string error;
};

// The distinct texts of any number of plans, to be compiled together.
class Texts {
 public:
  void add(const Plan& plan, const std::string& from, const Arch& arch) {
    std::vector<codegen_cuda::LaunchForm> forms(plan.kernels.size(),
                                                codegen_cuda::LaunchForm::single);
    for (const PlanStep& step : plan.steps)
      if (step.kernel >= 0 && step.segments.size() > 1)
        forms[step.kernel] = codegen_cuda::LaunchForm::table;
    for (size_t i = 0; i < plan.kernels.size(); ++i) {
      const KernelProgram& k = plan.kernels[i];
      add({arch.name, from, k.name, codegen_cuda::emit(k, forms[i], false),
           codegen_cuda::dynamic_shared(k), arch.shared_kib << 10});
      ++kernels_;
    }
    for (const PlanStep& step : plan.steps)
      if (step.kernel < 0 && step.call.name != "gemm")
        for (const cuda::CallLaunch& l : cuda::launches_of(step.call, arch.target())) {
          add({arch.name, from, step.call.name + ", " + l.entry, l.text, l.dynamic_shared,
               arch.shared_kib << 10});
          ++calls_;
        }
  }

  // Compiles all; what does not compile, or asks for more shared memory than a block has, fails.
  void compile() {
    std::atomic<size_t> next = 0;
    auto work = [&] {
      for (size_t i = next++; i < units_.size(); i = next++) {
        Unit& u = units_[i];
        try {
          u.cubin = cuda::compile_source(u.text, u.name, u.arch);
          u.cubin.bytes.clear();
        } catch (const std::exception& e) {
          u.error = e.what();
        }
      }
    };
    std::vector<std::thread> helpers;
    for (unsigned i = 1; i < kThreads; ++i) helpers.emplace_back(work);
    work();
    for (std::thread& t : helpers) t.join();
    for (const Unit& u : units_) {
      CHECK_MESSAGE(u.error.empty(), u.from << ", " << u.arch << ", " << u.name << ": " << u.error);
      CHECK_MESSAGE(u.cubin.shared_bytes + u.dynamic_shared <= u.most_shared,
                    u.from << ", " << u.arch << ", " << u.name << ": " << u.cubin.shared_bytes
                           << " bytes of static and " << u.dynamic_shared
                           << " of dynamic shared memory; a block has " << u.most_shared);
    }
  }

  const std::vector<Unit>& units() const { return units_; }
  int64_t spilled() const {
    return std::count_if(units_.begin(), units_.end(),
                         [](const Unit& u) { return u.cubin.spill_bytes > 0; });
  }
  void print_closing_line(const char* what) const {
    int registers = 0, spill_bytes = 0;
    for (const Unit& u : units_) {
      if (u.cubin.spill_bytes > 0)
        std::printf("%s, %s, %s: %d registers, %d bytes spilled\n", u.from.c_str(), u.arch.c_str(),
                    u.name.c_str(), u.cubin.registers, u.cubin.spill_bytes);
      registers = std::max(registers, u.cubin.registers);
      spill_bytes = std::max(spill_bytes, u.cubin.spill_bytes);
    }
    std::printf(
        "%s: %lld kernels and %lld launches of calls, %zu distinct texts compiled, "
        "%lld spill (at most %d bytes), at most %d registers\n",
        what, static_cast<long long>(kernels_), static_cast<long long>(calls_), units_.size(),
        static_cast<long long>(spilled()), spill_bytes, registers);
  }

 private:
  void add(Unit unit) {
    if (seen_.emplace(unit.arch, unit.text).second) units_.push_back(std::move(unit));
  }

  std::vector<Unit> units_;
  std::set<std::pair<std::string, std::string>> seen_;
  int64_t kernels_ = 0, calls_ = 0;
};

struct Standard {
  const char* model;
  Precision precision;
  std::vector<const char*> archs;
};

}  // namespace

TEST_CASE("kernels and calls of the bundled models compile and stay in registers") {
  if (no_nvrtc()) return;
  // Each architecture has one small model; the large ones go where they are trained.
  const Standard all[] = {
      {"vision-gpt:tiny", Precision::bf16, {"sm_80", "sm_90a", "sm_100a", "sm_120a"}},
      {"vision-gpt:tiny", Precision::f32, {"sm_90a"}},
      {"vision-gpt:d20", Precision::bf16, {"sm_90a", "sm_100a"}},
      {"gpt:d20", Precision::bf16, {"sm_90a", "sm_100a"}}};
  Texts texts;
  for (const Standard& s : all) {
    models::RecordedGraph step = models::build_bundled(s.model);
    std::string from = std::string(s.model) + (s.precision == Precision::bf16 ? " bf16" : " f32");
    for (const Arch& arch : kArchs) {
      if (std::none_of(s.archs.begin(), s.archs.end(),
                       [&](const char* a) { return std::string(a) == arch.name; }))
        continue;
      InspectOptions options;
      options.compile.device = arch.name;
      options.compile.precision = s.precision;
      texts.add(inspect(*step.graph, step.outputs, s.model, options).plan, from, arch);
    }
  }
  texts.compile();
  for (const Unit& u : texts.units())
    CHECK_MESSAGE(u.cubin.spill_bytes <= kPair, u.from << ", " << u.arch << ", " << u.name << ": "
                                                       << u.cubin.registers << " registers, "
                                                       << u.cubin.spill_bytes << " bytes spilled");
  texts.print_closing_line("bundled models");
}

TEST_CASE("kernels and calls of random graphs compile") {
  if (no_nvrtc()) return;
  Texts texts;
  for (uint64_t seed = 1; seed <= kRandomGraphs; ++seed) {
    fuzz::Sample sample = fuzz::generate(seed);
    const Arch& arch = kArchs[seed % std::size(kArchs)];
    InspectOptions options;
    options.compile.device = arch.name;
    if (fuzz::mode_of(seed).bf16) options.compile.precision = Precision::bf16;
    std::string from = "graph_fuzz seed " + std::to_string(seed);
    texts.add(inspect(*sample.graph, sample.outputs, from, options).plan, from, arch);
  }
  texts.compile();
  texts.print_closing_line("random graphs");
}

}  // namespace fusec
