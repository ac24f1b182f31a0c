// One training step of a bundled model on synthetic tokens: time, tokens a second, the share of the
// device's peak (MFU), memory, the time from the start of the process to the end of step 1, and
// where the step's time goes.
//   bench_train --model gpt:d20 --device cuda --precision bf16 --batch 8 [--profile] [--json FILE]
// Flops are those of the trunk's and the head's matrix products, forward and backward, and of
// causal attention counted as half: 6 n + 6 layers * width * sequence a token; an encoder counts
// nothing, so that a model with pictures shows what they cost.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "command_line.h"
#include "fusec/base/timing.h"
#include "fusec/profile.h"
#include "model.h"
#include "profile_files.h"
#include "results.h"

namespace fusec::bench {
namespace {

struct Options {
  std::string model = "vision-gpt:tiny", json, precision = "f32", train;
  int64_t batch = 0, sequence = 0;
  int steps = 12, warm_up = 3;
  double peak = 0;  // TFLOP/s
  bool profiled = false;
  std::string profile;  // folder
  CompileOptions compile;
  CeilingSizes ceilings;
};

std::optional<Options> parse(int argc, char** argv) {
  Options o;
  CLI::App app("Times the training step of a bundled model on synthetic tokens.");
  app.option_defaults()->always_capture_default();
  app.allow_extras();
  app.add_option("--model", o.model, "vision-gpt:PRESET or gpt:PRESET (text only)");
  app.add_option("--batch", o.batch, "Rows a step; 0: as the model comes");
  app.add_option("--seq", o.sequence, "Tokens a row; 0: as the model comes");
  app.add_option("--train", o.train, "What learns, as vision_pretrain --train; empty: as it comes");
  app.add_option("--device", o.compile.device, "As compile() takes it: auto, cpu, cuda, cuda:N");
  app.add_option("--precision", o.precision, "f32 or bf16, of matrix products and attention");
  app.add_option("--threads", o.compile.threads, "CPU: worker threads; 0: all cores");
  app.add_option("--memory-budget", o.compile.memory_budget, "Bytes that the step may hold")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--steps", o.steps, "Timed steps")->check(CLI::PositiveNumber);
  app.add_option("--warmup", o.warm_up, "Steps before them, the first one included")
      ->check(CLI::PositiveNumber);
  app.add_option("--peak-tflops", o.peak,
                 "What MFU is a share of; 0: the data sheet of an H100, H200, B200 or A100, else "
                 "the measured matrix product");
  app.add_option("--profile", o.profile, "Show where the time goes; with =FOLDER write it there")
      ->expected(0, 1);
  app.add_option("--copy-bytes", o.ceilings.copy_bytes, "Size of the measured copy; 0: by device");
  app.add_option("--matmul-side", o.ceilings.matmul_side,
                 "Size of the measured matrix product; 0: by device");
  app.add_option("--json", o.json, "Append the result to this file, one line a run");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    app.exit(help);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    fail_user(error.what());
  }
  examples::refuse_unknown(app);
  if (o.precision != "f32" && o.precision != "bf16")
    fail_user("--precision is \"" + o.precision + "\", expected f32 or bf16");
  o.compile.precision = o.precision == "bf16" ? Precision::bf16 : Precision::f32;
  o.profiled = app.get_option("--profile")->count() > 0;
  return o;
}

// Dense bf16 TFLOP/s by the data sheet of the largest GPU of an architecture (H100 and H200 SXM,
// B200, A100); 0: not known.
double sheet_peak(const std::string& device) {
  const std::pair<const char*, double> known[] = {{"sm_90", 989}, {"sm_100", 2250}, {"sm_80", 312}};
  for (const auto& [name, peak] : known)
    if (device.find(name) != std::string::npos) return peak;
  return 0;
}

double flops_per_token(const Executable& exe, const models::VisionGptConfig& c) {
  double matrices = 0;
  for (const PlanBuffer& b : exe.plan().buffers)
    if (b.cls == BufferClass::parameter &&
        (b.name.starts_with("trunk.") || b.name.starts_with("head.")))
      matrices += static_cast<double>(numel(b.type.shape));
  return 6 * matrices + 6.0 * static_cast<double>(c.layers * c.width * c.sequence);
}

double gib(int64_t bytes) { return static_cast<double>(bytes) / (int64_t{1} << 30); }

double loss_of(const Executable& exe) { return exe.item<float>("loss"); }

int run(const Options& o) {
  models::Bundled model = models::bundled(o.model);
  if (o.batch > 0) model.rows = o.batch;
  if (o.sequence > 0) model.config.sequence = o.sequence;
  if (!o.train.empty()) model.train = o.train;
  const models::AdamWOptions adam;
  const double started = process_age();
  std::future<void> device = start_device(o.compile.device);
  models::RecordedGraph recorded =
      models::record_training_step(model.config, model.rows, model.train, adam);
  const double record_end = process_age();
  Executable exe = compile(*recorded.graph, recorded.outputs, o.compile);
  const double compile_end = process_age();
  models::init_parameters(exe, model.config, 0);
  const double init_end = process_age();
  fill_inputs(exe);
  int64_t step = 0;
  auto train = [&] {
    models::set_adamw_inputs(exe, adam, 1e-4, ++step);
    exe.run();
  };
  const double run_start = process_age();
  train();
  const double first_loss = loss_of(exe), first_step = process_age();

  for (int i = 1; i < o.warm_up; ++i) train();
  std::vector<double> times;
  for (int i = 0; i < o.steps; ++i) {
    const double start = now();
    train();
    times.push_back(now() - start);
  }
  const Spread t = spread(times);
  const double last_loss = loss_of(exe);

  ProfileOptions profiling;
  profiling.title = o.model + ", " + std::to_string(model.rows) + " rows of " +
                    std::to_string(model.config.sequence) + " tokens, " + o.precision;
  profiling.runs = std::min(o.steps, 5);
  profiling.warm_up = 0;
  const double sheet = o.peak > 0 ? o.peak : sheet_peak(exe.backend("kernels"));
  if (o.profiled || sheet == 0) profiling.ceilings = measure_ceilings(o.compile, o.ceilings);
  const ProfileReport report = profile_report(exe, profiling);
  const double peak = sheet > 0 ? 1e12 * sheet : profiling.ceilings.matmul_rate;
  const int64_t tokens = model.rows * model.config.sequence;
  const double rate = static_cast<double>(tokens) / t.median;
  const double mfu = peak > 0 ? flops_per_token(exe, model.config) * rate / peak : 0;
  int64_t parameters = 0;
  for (const PlanBuffer& b : exe.plan().buffers)
    if (b.cls == BufferClass::parameter) parameters += numel(b.type.shape);
  const CompileTimes& c = exe.times();

  std::printf("%s; %.1f M parameters; %s\n", profiling.title.c_str(), 1e-6 * parameters,
              exe.backend("kernels").c_str());
  std::printf("step        %.2f ms median of %d (%.2f to %.2f), %.0f tokens/s\n", 1e3 * t.median,
              o.steps, 1e3 * t.least, 1e3 * t.most, rate);
  std::printf("MFU         %.1f%% of %.1f TFLOP/s%s\n", 100 * mfu, 1e-12 * peak,
              sheet > 0 ? "" : " (measured matrix product)");
  std::printf("gaps        %.1f%% of the step in no kernel\n",
              100 * report.share(report.gap_seconds()));
  std::printf("memory      %.3f GiB planned, %.3f GiB measured\n", gib(exe.memory().peak()),
              gib(exe.measured_bytes()));
  std::printf(
      "first step  %.2f s after the start of the process: load %.2f, record %.2f, compile %.2f "
      "(%s, %d kernels from the cache, %d compiled), init %.2f, inputs %.2f, run %.2f\n",
      first_step, started, record_end - started, compile_end - record_end,
      c.plan_cached ? "plan from the cache" : "plan made", c.cache_hits, c.cache_misses,
      init_end - compile_end, run_start - init_end, first_step - run_start);
  std::printf("loss        %.4f at step 1, %.4f at step %lld\n", first_loss, last_loss,
              static_cast<long long>(step));
  if (o.profiled) show_profile(report, o.profile);
  write_line(o.json, {{"program", "fusec"},
                      {"model", o.model},
                      {"device", o.compile.device},
                      {"precision", o.precision},
                      {"batch", model.rows},
                      {"seq", model.config.sequence},
                      {"params", parameters},
                      {"ms", 1e3 * t.median},
                      {"ms_least", 1e3 * t.least},
                      {"ms_most", 1e3 * t.most},
                      {"tok_s", rate},
                      {"mfu", mfu},
                      {"peak_tflops", 1e-12 * peak},
                      {"gap_share", report.share(report.gap_seconds())},
                      {"planned_gib", gib(exe.memory().peak())},
                      {"measured_gib", gib(exe.measured_bytes())},
                      {"first_step_s", first_step},
                      {"load_s", started},
                      {"record_s", record_end - started},
                      {"compile_s", compile_end - record_end},
                      {"init_s", init_end - compile_end},
                      {"inputs_s", run_start - init_end},
                      {"run_s", first_step - run_start},
                      {"plan_cached", c.plan_cached},
                      {"cache_hits", c.cache_hits},
                      {"cache_misses", c.cache_misses},
                      {"steps", exe.plan().steps.size()},
                      {"kernels", exe.plan().kernels.size()},
                      {"loss0", first_loss},
                      {"loss", last_loss}});
  return 0;
}

}  // namespace
}  // namespace fusec::bench

int main(int argc, char** argv) {
  return fusec::examples::run_program("bench_train", [&] {
    const auto options = fusec::bench::parse(argc, argv);
    return options ? fusec::bench::run(*options) : 0;
  });
}
