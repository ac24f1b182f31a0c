// The memory-bound kernels of a training step, attention and a matrix product, each compiled alone
// at the sizes of a large model and timed alternately with a copy on the same device.
//   bench_kernels --device cuda [--only NAME] [--shrink N] [--json FILE]
// Times are those of the device's own clock, of the launches alone. Rates count the fewest bytes
// that the work can move: each tensor that must be read or written once, whatever a kernel does;
// attention counts the flops of the pairs that its mask allows.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>

#include "command_line.h"
#include "kernel_list.h"
#include "model.h"
#include "random_values.h"
#include "results.h"

namespace fusec::bench {
namespace {

struct Options {
  std::string only, json;
  int64_t shrink = 1;
  int rounds = 9;
  double adamw = 1;  // share of the parameters
  CompileOptions compile;
};

// Another kernel runs first, so that a GPU is busy while what is timed is launched (its clock would
// count that, too), and so that no cache holds the inputs.
constexpr const char* kLeadIn = "lead_in";
Output lead_in(Graph& g, int64_t elements) {
  Tensor x = g.input("lead_in.x", {elements}, f32);
  ScopeGuard scope(g, kLeadIn);
  return {"lead_in.y", x * 3.0};
}

double device_seconds(Executable& exe, const std::string& call) {
  double seconds = 0;
  for (const StepProfile& s : exe.profile())
    if (s.scope != kLeadIn && (call.empty() || s.name == call)) seconds += s.seconds;
  return seconds;
}

int64_t launches(const Executable& exe) {
  const std::vector<PlanStep>& steps = exe.plan().steps;
  return std::count_if(steps.begin(), steps.end(),
                       [](const PlanStep& s) { return s.scope != kLeadIn; });
}

struct Built {
  Executable exe;
  Work work;
};

Built build(const Kernel& kernel, const Options& o) {
  Graph g;
  Output first = lead_in(g, std::max<int64_t>(1024, (int64_t{1} << 26) / o.shrink));
  Work work = kernel.record(g);
  work.outputs.push_back(first);
  Built built{compile(g, work.outputs, o.compile), work};
  for (const PlanBuffer& b : built.exe.plan().buffers)
    if (b.cls == BufferClass::input || b.cls == BufferClass::parameter)
      set_random(built.exe, b.name, work.below);
  if (built.exe.plan().steps[0].scope != kLeadIn)
    fail_internal("the plan of " + kernel.name + " does not begin with its lead-in");
  built.exe.run();
  return built;
}

std::optional<Options> parse(int argc, char** argv) {
  Options o;
  CLI::App app("Times single kernels at the sizes of a large model beside a copy.");
  app.option_defaults()->always_capture_default();
  app.allow_extras();
  app.add_option("--device", o.compile.device, "As compile() takes it: auto, cpu, cuda, cuda:N");
  app.add_option("--threads", o.compile.threads, "CPU: worker threads; 0: all cores");
  app.add_option("--only", o.only, "Only kernels whose name holds this");
  app.add_option("--rounds", o.rounds, "Timed runs of each")->check(CLI::PositiveNumber);
  app.add_option("--shrink", o.shrink, "Divide tokens, rows and sequences by this")
      ->check(CLI::PositiveNumber);
  app.add_option("--adamw", o.adamw, "Share of AdamW's 1.76 billion parameters, for small devices")
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag("--deterministic", o.compile.deterministic,
               "Only forms that give the same bits each time");
  app.add_option("--json", o.json, "Append the results to this file, one line a kernel");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    app.exit(help);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    fail_user(error.what());
  }
  examples::refuse_unknown(app);
  return o;
}

// Reads and writes `elements` of two bytes.
Built copy_of(int64_t elements, const Options& o) {
  return build(
      {"copy",
       [&](Graph& g) -> Work {
         return {{{"y", -g.input("x", {elements}, bf16)}}, 4 * static_cast<double>(elements)};
       }},
      o);
}

int run(const Options& o) {
  Built copy = copy_of(std::max<int64_t>(4096, (int64_t{1} << 29) / o.shrink), o);
  std::printf("%-52s %9s %9s %9s %9s %9s %9s %8s\n", "kernel", "ms", "GB/s", "copy GB/s", "of copy",
              "same size", "TFLOP/s", "launches");
  int failed = 0;
  for (const Kernel& kernel : kernel_list(o.shrink, o.adamw)) {
    if (kernel.name.find(o.only) == std::string::npos) continue;
    nlohmann::ordered_json line = {{"kernel", kernel.name}};
    try {
      Built built = build(kernel, o);
      // A copy that moves as many bytes: what few bytes cost a kernel at all.
      Built equal = copy_of(std::max<int64_t>(4096, std::llround(built.work.bytes / 4)), o);
      std::vector<double> times, copies, equals;
      for (int i = 0; i < o.rounds; ++i) {
        times.push_back(device_seconds(built.exe, built.work.call));
        copies.push_back(device_seconds(copy.exe, ""));
        equals.push_back(device_seconds(equal.exe, ""));
      }
      const double ms = 1e3 * median(times), rate = built.work.bytes / median(times);
      const double ceiling = copy.work.bytes / median(copies);
      const double same = built.work.bytes > 0 ? median(equals) / median(times) : 0;
      std::printf("%-52s %9.3f %9.1f %9.1f %9.3f %9.3f %9.2f %8lld\n", kernel.name.c_str(), ms,
                  1e-9 * rate, 1e-9 * ceiling, rate / ceiling, same,
                  1e-12 * built.work.flops / median(times),
                  static_cast<long long>(launches(built.exe)));
      line.update({{"ms", ms},
                   {"gb_s", 1e-9 * rate},
                   {"copy_gb_s", 1e-9 * ceiling},
                   {"of_copy_of_this_size", same},
                   {"tflop_s", 1e-12 * built.work.flops / median(times)},
                   {"launches", launches(built.exe)}});
    } catch (const Error& e) {  // too large for this device: the others still say something
      ++failed;
      std::printf("%-42s %s\n", kernel.name.c_str(), e.message().c_str());
      line["error"] = e.message();
    }
    std::fflush(stdout);
    write_line(o.json, line);
  }
  return failed > 0 ? 1 : 0;
}

}  // namespace
}  // namespace fusec::bench

int main(int argc, char** argv) {
  return fusec::examples::run_program("bench_kernels", [&] {
    const auto options = fusec::bench::parse(argc, argv);
    return options ? fusec::bench::run(*options) : 0;
  });
}
