// See host_run.h.
#include "host_run.h"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "buffer.h"
#include "reference.h"

namespace fusec::test {
namespace {

using codegen_cuda::LaunchForm;

// Helpers made of PTX have twins in the shim: drops the blocks of text that hold any.
std::string without_ptx(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find("\n\n", at);
    end = end == std::string::npos ? text.size() : end + 2;
    const std::string part = text.substr(at, end - at);
    if (part.find("asm(") == std::string::npos && part.find("asm volatile") == std::string::npos)
      out += part;
    at = end;
  }
  return out;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::string source_of(const std::vector<HostCase>& cases) {
  std::string out = "#include \"host_shim.h\"\n";
  for (size_t i = 0; i < cases.size(); ++i) {
    const KernelProgram& k = cases[i].kernel;
    const std::string id = std::to_string(i), entry = codegen_cuda::entry_of(k);
    std::string text = without_ptx(codegen_cuda::emit(k, cases[i].form, i % 2 == 0));
    text = replaced(text, "extern \"C\"", "");
    out += "namespace k" + id + " {\n" + text + "}\n";
    std::string args;
    if (cases[i].form == LaunchForm::table) {
      args = "table, segments";
    } else {
      for (size_t p = 0; p < k.params.size(); ++p)
        args += "shim::Pointer{a[" + std::to_string(p) + "]}, ";
      args += "n";
    }
    out +=
        "extern \"C\" void run" + id +
        "(void** a, const unsigned long long* table, int segments, long long n, long long blocks, "
        "const unsigned* skip) {\n  shim::launch(blocks, " +
        std::to_string(k.schedule.block) + ", [&] { k" + id + "::" + entry + "(" + args +
        ", skip); });\n}\n";
  }
  return out;
}

using Run = void (*)(void**, const unsigned long long*, int, long long, long long, const unsigned*);

// Buffers of one segment, its length and the results that it should give.
struct Segment {
  int64_t n = 0;
  std::vector<Buffer> found, expected;
  std::vector<void*> args;

  Segment(const HostCase& c, int64_t length, uint64_t seed) : n(length) {
    for (size_t i = 0; i < c.kernel.params.size(); ++i) {
      Buffer b(c.kernel.params[i].dtype, c.counts[i]);
      b.fill(c.lo, c.hi, seed * 100 + i);
      for (const auto& [param, values] : c.values)
        for (size_t e = 0; param == static_cast<int>(i) && e < values.size(); ++e)
          b.set(static_cast<int64_t>(e), values[e]);
      found.push_back(b);
      expected.push_back(b);
    }
    for (Buffer& b : found) args.push_back(b.data());
    std::vector<void*> reference;
    for (Buffer& b : expected) reference.push_back(b.data());
    run_reference(c.kernel, reference, n);
  }

  void check(const HostCase& c) const {
    const bool flat = c.kernel.schedule.kind == ScheduleKind::flat;
    for (size_t i = 0; i < found.size(); ++i) {
      INFO("kernel " << c.kernel.name << ", parameter " << c.kernel.params[i].name << ", n " << n);
      CHECK(found[i].intact(flat && c.kernel.params[i].written));
      int64_t wrong = 0, first = -1;
      // Of a flat kernel, elements past n are padding.
      int64_t count = c.counts[i];
      if (flat && c.kernel.params[i].written) count = std::min(count, n);
      for (int64_t e = 0; e < count; ++e) {
        const double want = expected[i].get(e), have = found[i].get(e);
        const bool same = want == have || (std::isnan(want) && std::isnan(have));
        if (same || std::fabs(want - have) <= c.relative * std::max(std::fabs(want), 1.0)) continue;
        if (wrong++ == 0) first = e;
      }
      if (wrong == 0) continue;
      INFO(wrong << " wrong of " << count << "; element " << first << ": expected "
                 << expected[i].get(first) << ", found " << found[i].get(first));
      CHECK(wrong == 0);
    }
  }
};

void run_case(const HostCase& c, Run run) {
  const KernelProgram& k = c.kernel;
  const bool sized = k.schedule.kind == ScheduleKind::rows ||
                     k.schedule.kind == ScheduleKind::columns;
  std::vector<Segment> segments;
  segments.emplace_back(c, c.n, c.seed);
  if (c.form == LaunchForm::table) {
    segments.emplace_back(c, sized ? c.n : 0, c.seed + 1);
    segments.emplace_back(c, sized ? c.n : c.n / 2 + 1, c.seed + 2);
  }
  std::vector<unsigned long long> table;
  int64_t blocks = 0;
  for (Segment& s : segments) {
    table.push_back(blocks);
    table.push_back(s.n);
    for (void* a : s.args) table.push_back(reinterpret_cast<uintptr_t>(a));
    blocks += k.blocks(s.n);
  }
  const auto count = static_cast<int>(segments.size());
  const std::vector<Buffer> before = segments[0].found;
  const unsigned stopped = 1, going = 0;
  run(segments[0].args.data(), table.data(), count, c.n, blocks, &stopped);
  for (size_t i = 0; i < before.size(); ++i)
    for (int64_t e = 0; e < before[i].count(); ++e) {
      const double was = before[i].get(e), is = segments[0].found[i].get(e);
      if (was != is && !(std::isnan(was) && std::isnan(is))) FAIL(k.name << " ran though stopped");
    }
  run(segments[0].args.data(), table.data(), count, c.n, blocks, c.seed % 2 ? &going : nullptr);
  for (const Segment& s : segments) s.check(c);
}

}  // namespace

void run_on_host(const std::string& name, const std::vector<HostCase>& cases) {
  for (const HostCase& c : cases) verify(c.kernel);
  const std::string base = std::string(FUSEC_TEST_TMP) + "/" + name;
  std::ofstream(base + ".cpp") << source_of(cases);
  // Traps on a vector access that is not aligned.
  const std::string command =
      std::string(FUSEC_TEST_CXX) +
      " -std=c++20 -O1 -w -fPIC -shared -fno-strict-aliasing -fwrapv -U_FORTIFY_SOURCE"
      " -fsanitize=alignment -fsanitize-undefined-trap-on-error -I" +
      FUSEC_TEST_SHIM + " -o " + base + ".so " + base + ".cpp";
  REQUIRE_MESSAGE(std::system(command.c_str()) == 0, command);
  void* library = dlopen((base + ".so").c_str(), RTLD_NOW | RTLD_LOCAL);
  REQUIRE_MESSAGE(library, dlerror());
  for (size_t i = 0; i < cases.size(); ++i) {
    void* run = dlsym(library, ("run" + std::to_string(i)).c_str());
    REQUIRE(run != nullptr);
    run_case(cases[i], reinterpret_cast<Run>(run));
  }
  dlclose(library);
}

}  // namespace fusec::test
