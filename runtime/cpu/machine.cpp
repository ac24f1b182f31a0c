// What this processor can run, asked of the processor itself: a program that loads a saved plan has
// no LLVM to ask.
#include <algorithm>

#include "fusec/base/error.h"
#include "fusec/cpu/machine.h"
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fusec::cpu {

#if defined(__x86_64__)
namespace {

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) r = {};
  return r;
}

// 0: no vector state beyond SSE is saved, 1: AVX, 2: AVX-512.
int saved_state() {
  constexpr unsigned kOsxsave = 1u << 27;
  if (!(cpuid(1, 0).ecx & kOsxsave)) return 0;
  unsigned low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0x6) != 0x6) return 0;
  return (low & 0xe6) == 0xe6 ? 2 : 1;
}

}  // namespace

std::vector<std::string> host_features() {
  std::vector<std::string> out;
  const int state = saved_state();
#define FUSEC_X86(name, leaf, subleaf, reg, bit, needs) \
  if ((cpuid(leaf, subleaf).reg >> bit & 1) && state >= needs) out.push_back(name);
#include "fusec/plan/x86_features.def"
  return out;
}
#else
std::vector<std::string> host_features() { return {}; }
#endif

void require_machine(const Machine& machine) {
#if defined(__x86_64__) && defined(__linux__)
  const std::string arch = "x86_64";
#else
  const std::string arch = "another machine";
#endif
  bool same =
      machine.triple.starts_with(arch + "-") && machine.triple.find("linux") != std::string::npos;
  if (!same)
    fail_device("saved plan: it was built for \"" + machine.triple.substr(0, 60) +
                "\", this program runs on " + arch +
                " with Linux; rebuild it there with `fusec build`");
  std::vector<std::string> have = host_features();
  std::string missing;
  for (const std::string& f : machine.features)
    if (std::find(have.begin(), have.end(), f) == have.end())
      missing += (missing.empty() ? "" : ", ") + f;
  if (!missing.empty())
    fail_device("saved plan: it was built for processor " + machine.cpu + ", and this one lacks " +
                missing + "; rebuild it on this machine with `fusec build`");
}

}  // namespace fusec::cpu
