// The memory-bound kernels of a training step, attention and a matrix product, each compiled alone
// at the sizes of a large model and timed alternately with a copy on the same device.
//   bench_kernels --device cuda [--only NAME] [--shrink N] [--json FILE]
// Times are those of the device's own clock, of the launches alone. Rates count the fewest bytes
// that the work can move: each tensor that must be read or written once, whatever a kernel does;
// attention counts the flops of the pairs that its mask allows.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <optional>

#include "command_line.h"
#include "fusec/fusec.h"
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

struct Work {
  std::vector<Output> outputs;
  double bytes = 0, flops = 0;
  std::string call;  // only steps of this library call count; all if empty
  int64_t below = 1;  // of integer inputs
};

struct Kernel {
  std::string name;
  std::function<Work(Graph&)> record;
};

Tensor wide(const Tensor& t) { return cast(t, f32); }
Tensor narrow(const Tensor& t) { return cast(t, bf16); }
double count(const Shape& s) { return static_cast<double>(numel(s)); }

Kernel swiglu_kernel(int64_t tokens, bool backward) {
  return {backward ? "SwiGLU bwd" : "SwiGLU fwd", [=](Graph& g) -> Work {
            const Shape s = {tokens, 5528};
            Tensor a = g.input("gate", s, bf16), b = g.input("up", s, bf16);
            Tensor y = narrow(swiglu(wide(a), wide(b)));
            if (!backward) return {{{"y", y}}, 3 * count(s) * 2};
            Tensor loss = sum(wide(y) * wide(g.input("dy", s, bf16)));
            std::vector<Tensor> d = grad(loss, {a, b});
            return {{{"dgate", d[0]}, {"dup", d[1]}}, 5 * count(s) * 2};
          }};
}

Kernel norm_kernel(int64_t tokens, bool backward) {
  return {backward ? "residual + RMSNorm(w) bwd" : "residual + RMSNorm(w) fwd",
          [=](Graph& g) -> Work {
            const Shape s = {tokens, 2048};
            Tensor w = g.input("w", {2048}, bf16);
            auto norm = [&](const Tensor& h) {
              return narrow(rms_norm(wide(h), 1e-6, wide(w)));
            };
            if (!backward) {
              Tensor h = g.input("x", s, bf16) + g.input("r", s, bf16);
              return {{{"h", h}, {"y", norm(h)}}, 4 * count(s) * 2};
            }
            // The gradient of x and of the residual is the same tensor.
            Tensor h = g.input("h", s, bf16);
            Tensor loss = sum(wide(norm(h)) * wide(g.input("dy", s, bf16)));
            std::vector<Tensor> d = grad(loss, {h, w});
            Tensor dx = narrow(wide(d[0]) + wide(g.input("dh", s, bf16)));
            return {{{"dx", dx}, {"dw", d[1]}}, 4 * count(s) * 2};
          }};
}

// Both gradients of the affine part are sums over all tokens.
Kernel layer_norm_kernel(int64_t tokens) {
  return {"LayerNorm(w, b) bwd", [=](Graph& g) -> Work {
            const Shape s = {tokens, 1024};
            Tensor w = g.input("w", {1024}), b = g.input("b", {1024}), h = g.input("h", s, bf16);
            Tensor y = narrow(layer_norm(wide(h), w, b));
            std::vector<Tensor> d = grad(sum(wide(y) * wide(g.input("dy", s, bf16))), {h, w, b});
            return {{{"dx", d[0]}, {"dw", d[1]}, {"db", d[2]}}, 3 * count(s) * 2};
          }};
}

Kernel bias_kernel(int64_t tokens) {
  return {"bias + GELU bwd", [=](Graph& g) -> Work {
            const Shape s = {tokens, 4096};
            Tensor b = g.input("b", {4096}), h = g.input("h", s, bf16);
            Tensor loss = sum(gelu(wide(h) + b) * wide(g.input("dy", s, bf16)));
            std::vector<Tensor> d = grad(loss, {h, b});
            return {{{"dh", d[0]}, {"db", d[1]}}, 3 * count(s) * 2};
          }};
}

// [tokens, heads, 128] -> [heads, 128, tokens], scaled on the way.
Kernel transpose_kernel(int64_t tokens, DType type) {
  return {"transpose " + std::string(name_of(type)), [=](Graph& g) -> Work {
            const Shape s = {tokens, 16, 128};
            Tensor y = cast(wide(permute(g.input("x", s, type), {1, 2, 0})) * 0.5, type);
            return {{{"y", y}}, 2 * count(s) * static_cast<double>(size_of(type))};
          }};
}

Kernel loss_kernel(int64_t rows) {
  return {"softcap + CE fwd + bwd", [=](Graph& g) -> Work {
            const Shape s = {rows, 65536};
            Tensor z = g.input("z", s, bf16), target = g.input("target", {rows}, i32);
            Tensor loss = mean(cross_entropy(wide(z), target, {.softcap = 15}), {0});
            return {{{"loss", loss}, {"dz", grad(loss, {z})[0]}}, 3 * count(s) * 2, 0, "", 65536};
          }};
}

// The parameters of a model 2048 wide with 32 blocks, their first dimension cut to `share`.
Kernel adamw_kernel(double share, bool copy) {
  return {copy ? "AdamW, bf16 copy written" : "AdamW", [=](Graph& g) -> Work {
            const std::tuple<int, int64_t, int64_t> shapes[] = {
                {96, 2048, 2048}, {64, 5528, 2048}, {32, 2048, 5528}, {2, 65536, 2048}};
            Tensor lr = g.input("lr", {}), b1 = g.input("bias1", {}), b2 = g.input("bias2", {});
            Work work;
            int at = 0;
            for (const auto& [many, rows, width] : shapes)
              for (int i = 0; i < many; ++i) {
                const std::string n = std::to_string(at++);
                const Shape s = {std::max<int64_t>(1, std::llround(rows * share)), width};
                Tensor p = g.parameter("p" + n, s), m = g.state("m" + n, s);
                Tensor v = g.state("v" + n, s);
                AdamWStep next = adamw_step(p, g.input("g" + n, s), m, v, lr, b1, b2, 0.01);
                g.assign(p, next.p);
                g.assign(m, next.m);
                g.assign(v, next.v);
                if (copy) g.assign(g.state("copy" + n, s, bf16), narrow(next.p));
                work.bytes += count(s) * (copy ? 30 : 28);
              }
            return work;
          }};
}

Kernel attention_kernel(int64_t b, int64_t t, int64_t h, int64_t kv, int64_t d, bool causal,
                        bool backward) {
  const std::string name = std::string("attention ") + (backward ? "bwd" : "fwd") + " B" +
                           std::to_string(b) + " T" + std::to_string(t) + " H" +
                           std::to_string(h) + " KV" + std::to_string(kv) + " d" +
                           std::to_string(d) + (causal ? " causal" : "");
  return {name, [=](Graph& g) -> Work {
            Tensor q = g.input("q", {b, t, h, d}, bf16), k = g.input("k", {b, t, kv, d}, bf16);
            Tensor v = g.input("v", {b, t, kv, d}, bf16);
            AttentionOptions options;
            options.causal = causal;
            Tensor o = attention(q, k, v, options);
            const double pairs = static_cast<double>(b * h * t) * static_cast<double>(t);
            const double flops = 4 * pairs * static_cast<double>(d) / (causal ? 2 : 1);
            if (!backward) return {{{"o", o}}, 0, flops, "attention"};
            Tensor loss = sum(wide(o) * wide(g.input("do", {b, t, h, d}, bf16)));
            std::vector<Tensor> grads = grad(loss, {q, k, v});
            return {{{"dq", grads[0]}, {"dk", grads[1]}, {"dv", grads[2]}},
                    0,
                    2.5 * flops,
                    "attention_grad"};
          }};
}

// Decoding: a token of each of `b` sequences over `length` cached keys; bytes: what is cached.
Kernel decode_kernel(int64_t b, int64_t length, DType pages) {
  return {"decode B" + std::to_string(b) + " L" + std::to_string(length) + " H32 KV8 d128 " +
              std::string(name_of(pages)),
          [=](Graph& g) -> Work {
            constexpr int64_t kPage = 16, kKv = 8, kWidth = 128;
            const int64_t each = (length + kPage - 1) / kPage, all = b * each;
            std::vector<float> table(all), lengths(b, static_cast<float>(length));
            for (int64_t i = 0; i < all; ++i)  // in no order: 7919 is prime
              table[i] = static_cast<float>(all % 7919 == 0 ? i : i * 7919 % all);
            const Shape s = {all, kPage, kKv, kWidth};
            PagedAttentionOptions options;
            double bytes = 2 * static_cast<double>(b * length * kKv) * kWidth *
                           static_cast<double>(size_of(pages));
            if (pages == u8) {
              options.k_scale = g.input("k_scale", {all, kPage, kKv});
              options.v_scale = g.input("v_scale", {all, kPage, kKv});
              bytes += 2 * static_cast<double>(b * length * kKv) * 4;
            }
            Tensor o = paged_attention(g.input("q", {b, 32, kWidth}, bf16), g.input("k", s, pages),
                                       g.input("v", s, pages),
                                       g.constant(std::move(table), {b, each}, i32),
                                       g.constant(std::move(lengths), {b}, i32), options);
            return {{{"o", o}}, bytes, 0, "paged_attention", 256};
          }};
}

std::vector<Kernel> kernels(const Options& o) {
  auto less = [&](int64_t n) { return std::max<int64_t>(1, n / o.shrink); };
  const int64_t tokens = less(32768);
  std::vector<Kernel> list = {swiglu_kernel(tokens, false), swiglu_kernel(tokens, true),
                              norm_kernel(tokens, false),   norm_kernel(tokens, true),
                              layer_norm_kernel(tokens),    bias_kernel(tokens),
                              transpose_kernel(tokens, bf16), transpose_kernel(tokens, f32),
                              loss_kernel(less(8192))};
  for (const bool copy : {false, true})
    list.push_back(adamw_kernel(o.adamw / static_cast<double>(o.shrink), copy));
  const std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, bool> shapes[] = {
      {16, 2048, 16, 16, 128, true}, {4, 8192, 16, 16, 128, true},  {16, 2048, 16, 8, 128, true},
      {32, 1024, 12, 12, 64, true},  {16, 2048, 16, 16, 128, false}};
  for (const auto& [b, t, h, kv, d, causal] : shapes)
    for (const bool backward : {false, true})
      list.push_back(attention_kernel(less(b), less(t), h, kv, d, causal, backward));
  const std::pair<int64_t, int64_t> caches[] = {{1, 1024},  {1, 8192},  {1, 32768}, {8, 8192},
                                                {32, 4096}, {64, 1024}, {64, 8192}};
  for (const DType pages : {bf16, u8})
    for (const auto& [b, length] : caches) list.push_back(decode_kernel(b, less(length), pages));
  const int64_t side = less(8192);
  list.push_back({"matrix product", [=](Graph& g) -> Work {
                    Tensor a = g.input("a", {side, side}, bf16);
                    Tensor b = g.input("b", {side, side}, bf16);
                    const double n = static_cast<double>(side);
                    return {{{"c", matmul(a, b)}}, 0, 2 * n * n * n};
                  }});
  return list;
}

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

int run(const Options& o) {
  const int64_t elements = std::max<int64_t>(4096, (int64_t{1} << 29) / o.shrink);
  Built copy = build({"copy",
                      [&](Graph& g) -> Work {
                        return {{{"y", -g.input("x", {elements}, bf16)}},
                                4 * static_cast<double>(elements)};
                      }},
                     o);
  std::printf("%-42s %9s %9s %9s %9s %9s %8s\n", "kernel", "ms", "GB/s", "copy GB/s", "of copy",
              "TFLOP/s", "launches");
  int failed = 0;
  for (const Kernel& kernel : kernels(o)) {
    if (kernel.name.find(o.only) == std::string::npos) continue;
    nlohmann::ordered_json line = {{"kernel", kernel.name}};
    try {
      Built built = build(kernel, o);
      std::vector<double> times, copies;
      for (int i = 0; i < o.rounds; ++i) {
        times.push_back(device_seconds(built.exe, built.work.call));
        copies.push_back(device_seconds(copy.exe, ""));
      }
      const double ms = 1e3 * median(times), rate = built.work.bytes / median(times);
      const double ceiling = copy.work.bytes / median(copies);
      std::printf("%-42s %9.3f %9.1f %9.1f %9.3f %9.2f %8lld\n", kernel.name.c_str(), ms,
                  1e-9 * rate, 1e-9 * ceiling, rate / ceiling,
                  1e-12 * built.work.flops / median(times),
                  static_cast<long long>(launches(built.exe)));
      line.update({{"ms", ms},
                   {"gb_s", 1e-9 * rate},
                   {"copy_gb_s", 1e-9 * ceiling},
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
