// See harness.h.
#include "harness.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "fusec/cpu/cpu.h"
#include "reference.h"

namespace fusec::test {

void compare_code(const KernelProgram& k, KernelFn f, const std::vector<int64_t>& counts,
                  int64_t n, const Check& check) {
  std::vector<Buffer> expected, found;
  for (size_t i = 0; i < k.params.size(); ++i) {
    Buffer b(k.params[i].dtype, counts[i]);
    b.fill(check.lo, check.hi, check.seed * 100 + i);
    for (auto& [param, values] : check.values) {
      if (param != static_cast<int>(i)) continue;
      for (size_t e = 0; e < values.size(); ++e) b.set(e, values[e]);
    }
    expected.push_back(b);
    found.push_back(b);
  }
  std::vector<void*> expected_args, found_args;
  for (Buffer& b : expected) expected_args.push_back(b.data());
  for (Buffer& b : found) found_args.push_back(b.data());
  run_reference(k, expected_args, n);

  // Uneven ranges; those of flat kernels start at multiples of the longest vector.
  const bool flat = k.schedule.kind == ScheduleKind::flat;
  const int64_t units = k.units(n), step = flat ? 64 : 1;
  int64_t cut = std::min(units, (units / 3 + step - 1) / step * step);
  f(found_args.data(), 0, cut, n);
  f(found_args.data(), cut, units, n);

  for (size_t i = 0; i < found.size(); ++i) {
    INFO("kernel " << k.name << ", parameter " << k.params[i].name);
    CHECK(found[i].intact(flat && k.params[i].written));
    int64_t wrong = 0, first = -1;
    for (int64_t e = 0; e < counts[i]; ++e) {
      double want = expected[i].get(e), have = found[i].get(e);
      bool same = want == have || (std::isnan(want) && std::isnan(have));
      double allowed = check.relative * std::max(std::fabs(want), check.scale);
      if (!same && !(std::fabs(want - have) <= allowed)) {
        if (wrong++ == 0) first = e;
      }
    }
    if (wrong > 0) {
      INFO(wrong << " wrong of " << counts[i] << "; element " << first << ": expected "
                 << expected[i].get(first) << ", found " << found[i].get(first));
      CHECK(wrong == 0);
    }
  }
}

void compare(const KernelProgram& k, const std::vector<int64_t>& counts, int64_t n,
             const Check& check) {
  verify(k);
  for (const codegen_cpu::CpuTarget& target : targets()) {
    INFO("vector bits " << target.vector_bits);
    cpu::KernelImages code =
        cpu::map_kernels(codegen_cpu::compile_kernels({&k}, 1, target).images);
    compare_code(k, code.functions[0], counts, n, check);
  }
}

std::vector<codegen_cpu::CpuTarget> targets() {
  std::vector<codegen_cpu::CpuTarget> all = {codegen_cpu::host_target()};
  if (all[0].vector_bits > 256) all.push_back({"haswell", "", 256});
  all.push_back({"x86-64", "", 128});
  return all;
}

}  // namespace fusec::test
