// fusec: shows what the compiler makes of a model - the text of every stage, the table of kernels,
// and why things were or were not fused.
//
//   fusec vision-gpt:tiny                       summary and kernels
//   fusec --dump-ir=fused,plan my.mlir          texts of stages; each reads back
//   fusec explain vision-gpt:tiny               decisions with their reasons
//   fusec build vision-gpt:tiny -o tiny.fsc     a compiled plan, for programs without a compiler
//   fusec cache [clear]                         the folder of compiled code
//   fusec check vision-gpt:tiny                 compiled code against the oracle, kernel by kernel
//   fusec import FOLDER|FILE.gguf -o w.safetensors   models of other programs; --check
//   fusec export w.safetensors -o FOLDER        and out
//   fusec --list                                stages, passes, bundled models
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "check.h"
#include "commands.h"
#include "fusec/base/bytes.h"
#include "fusec/base/nearest.h"
#include "fusec/base/options.h"
#include "fusec/inspect.h"
#include "fusec/models/bundled.h"
#include "transfer.h"

namespace {

using namespace fusec;

struct Options {
  std::string input, dump, print_after, stop_after, resume_from, precision = "f32", device = "cpu", out, budget;
  std::string file;
  bool list = false, kernels = false, no_fuse = false, times = false, no_locations = false;
  bool explain = false, all = false, build = false, check = false;
  tool::CheckFlags checking;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, ',');)
    if (!part.empty()) out.push_back(part);
  return out;
}

void list_everything() {
  fmt::print("stages:\n");
  for (const std::string& s : stage_names()) fmt::print("  {}\n", s);
  fmt::print("passes, in order:\n");
  for (const PassInfo& p : pass_list())
    fmt::print("  {:<16} {:<10} {}\n", p.name, p.stage, p.why_here);
  fmt::print("bundled models:\n");
  for (const std::string& m : models::bundled_names()) fmt::print("  {}\n", m);
  fmt::print("environment:\n");
  for (const EnvOption& e : env_options()) fmt::print("  {:<18} {}\n", e.name, e.meaning);
}

std::string megabytes(int64_t bytes) {
  return fmt::format("{:.2f}", static_cast<double>(bytes) / 1e6);
}

void print_kernels(const Plan& plan) {
  fmt::print("{:<34} {:>8} {:>8} {:>5} {:>10} {:>10} {:>6}  {}\n", "kernel", "launches", "segments",
             "ops", "MB moved", "MB saved", "ratio", "fused");
  int64_t bytes = 0, unfused = 0;
  for (const KernelRow& r : kernel_table(plan)) {
    std::string ops = r.ops.size() > 60 ? r.ops.substr(0, 57) + "..." : r.ops;
    fmt::print("{:<34} {:>8} {:>8} {:>5} {:>10} {:>10} {:>6.2f}  {}\n", r.name.substr(0, 34),
               r.launches, r.segments, r.fused_ops, megabytes(r.bytes),
               megabytes(r.unfused_bytes - r.bytes),
               r.bytes ? static_cast<double>(r.unfused_bytes) / r.bytes : 1.0, ops);
    bytes += r.bytes, unfused += r.unfused_bytes;
  }
  fmt::print("{:<34} {:>8} {:>8} {:>5} {:>10} {:>10} {:>6.2f}\n", "total", plan.steps.size(), "",
             "", megabytes(bytes), megabytes(unfused - bytes),
             bytes ? static_cast<double>(unfused) / bytes : 1.0);
}

void print_summary(const Inspection& r, const std::string& name) {
  int64_t flops = 0, segments = 0;
  for (const PlanStep& s : r.plan.steps)
    flops += s.flops, segments += static_cast<int64_t>(s.segments.size());
  fmt::print("{}: {} steps, {} distinct kernels, {:.2f} GFLOP a step\n", name, r.plan.steps.size(),
             r.plan.kernels.size(), static_cast<double>(flops) / 1e9);
  const MemoryReport& m = r.memory;
  fmt::print("memory: {} MB persistent, {} MB arena ({} MB without reuse), {} MB library scratch\n",
             megabytes(m.persistent), megabytes(m.arena), megabytes(m.without_reuse),
             megabytes(m.workspace));
  fmt::print("planned peak: {} MB, at step {} ({}); the largest tensors there:\n",
             megabytes(m.peak()), m.peak_step, m.peak_name);
  for (const MemoryTensor& t : m.largest) fmt::print("  {}\n", t.str());
  int64_t anew = 0, repeated = 0, saved = 0;
  for (const Decision& d : r.decisions)
    if (d.pass == "store_again" && d.verdict)
      ++anew;
    else if (d.pass == "recompute" && d.verdict)
      ++repeated, saved += d.bytes_saved;
  if (anew > 0)
    fmt::print("store_again: {} values stored anew by the backward pass instead of kept\n", anew);
  if (repeated > 0)
    fmt::print(
        "recompute: {} steps run twice instead of keeping {} MB (fusec explain lists them)\n",
        repeated, megabytes(saved));
  for (const std::string& w : r.warnings) fmt::print("warning: {}\n", w);
}

void print_decisions(const std::vector<Decision>& decisions, bool all) {
  int yes = 0, no = 0;
  std::map<std::string, std::pair<int, int64_t>> reasons;
  for (const Decision& d : decisions) {
    if (d.pass == "recompute") {
      if (d.verdict)
        fmt::print("{:<16} {} before {}: {}\n", d.pass, d.producer, d.consumer, d.reason);
      else
        fmt::print("{:<16} {}\n", d.pass, d.reason);
      continue;
    }
    (d.verdict ? yes : no)++;
    if (!d.verdict) reasons[d.reason].first++, reasons[d.reason].second += d.bytes_saved;
    if (d.verdict && !all) continue;
    fmt::print("{:<16} {} {} -> {}: {}{}\n", d.pass, d.verdict ? "fused    " : "not fused",
               d.producer, d.consumer, d.reason,
               d.bytes_saved ? fmt::format(" ({} {} MB)", d.verdict ? "saves" : "would save",
                                           megabytes(d.bytes_saved))
                             : "");
  }
  fmt::print("{} edges fused, {} not:\n", yes, no);
  for (const auto& [reason, count] : reasons)
    fmt::print("  {:>5} x {} ({} MB)\n", count.first, reason, megabytes(count.second));
}

void print_times(const Inspection& r) {
  const CompileTimes& t = r.times;
  fmt::print(
      "import {:.3f}  canonical {:.3f}  fused {:.3f}  scheduled {:.3f}  plan {:.3f}  source {:.3f} "
      " "
      "binary {:.3f}  total {:.3f} s\n",
      t.import, t.canonical, t.fused, t.scheduled, t.plan, t.source, t.binary, t.total());
  for (const auto& [pass, seconds] : r.pass_seconds)
    fmt::print("  {:<16} {:.3f} s\n", pass, seconds);
}

// A file, or a bundled model; a wrong name is answered with the nearest one.
Inspection inspect_input(const Options& o, const InspectOptions& options) {
  if (std::filesystem::is_directory(o.input))
    fail_user("\"" + o.input + "\" is a folder; expected a file with the text of a stage");
  if (std::ifstream file(o.input, std::ios::binary); file) {
    std::string text((std::istreambuf_iterator<char>(file)), {});
    if (!o.resume_from.empty()) {
      parse_stage(o.resume_from);
      text = "// stage: " + o.resume_from + "\n" +
             text.substr(text.starts_with("// stage:") ? text.find('\n') + 1 : 0);
    }
    return inspect_text(text, o.input, options);
  }
  const std::vector<std::string>& names = models::bundled_names();
  if (std::find(names.begin(), names.end(), o.input) == names.end())
    fail_user("no file and no bundled model \"" + o.input + "\"" + suggest(o.input, names));
  if (!o.resume_from.empty()) fail_user("--resume-from needs a file with the text of that stage");
  models::RecordedGraph model = models::build_bundled(o.input);
  return inspect(*model.graph, model.outputs, o.input, options);
}

// `fusec build`; --device may list architectures, for one file that runs on all of them.
void build_saved_plan(const Options& o, InspectOptions options) {
  options.until = Stage::binary;
  options.image = true;
  std::vector<std::string> images;
  for (const std::string& device : split(o.device)) {
    options.compile.device = device;
    Inspection r = inspect_input(o, options);
    fmt::print("{}\n", tool::code_line(r));
    images.push_back(std::move(r.image));
  }
  tool::write_saved_plan(images.size() == 1 ? images[0] : join_images(images), o.device, o.file);
}

void run(const Options& o) {
  if (o.list) return list_everything();
  if (o.input.empty())
    fail_user("expected a .mlir file or a bundled model; --list shows them, --help the options");
  InspectOptions options;
  options.compile.fuse = !o.no_fuse;
  options.compile.device = o.device;
  options.compile.dump_dir = o.out;
  options.locations = !o.no_locations;
  if (!o.budget.empty()) options.compile.memory_budget = parse_bytes(o.budget, "--memory-budget");
  if (o.precision == "bf16")
    options.compile.precision = Precision::bf16;
  else if (o.precision != "f32")
    fail_user("unknown precision \"" + o.precision + "\"" + suggest(o.precision, {"f32", "bf16"}));
  for (const std::string& s : split(o.dump)) options.texts.push_back(parse_stage(s));
  options.until = Stage::plan;
  if (!o.stop_after.empty()) {
    options.until = parse_stage(o.stop_after);
  } else if (!options.texts.empty()) {
    options.until = *std::max_element(options.texts.begin(), options.texts.end());
    if (o.explain || o.kernels) options.until = std::max(options.until, Stage::plan);
  }
  if (!o.print_after.empty()) {
    std::vector<std::string> names = {"all"};
    for (const PassInfo& p : pass_list()) names.push_back(p.name);
    for (const std::string& n : split(o.print_after))
      if (std::find(names.begin(), names.end(), n) == names.end())
        fail_user("unknown pass \"" + n + "\"" + suggest(n, names));
    std::vector<std::string> wanted = split(o.print_after);
    options.after_pass = [wanted](const std::string& pass, const std::string& text) {
      for (const std::string& w : wanted)
        if (w == "all" || w == pass) fmt::print("// after {}\n{}\n", pass, text);
    };
  }
  if (o.build && o.device.find(',') != std::string::npos && options.texts.empty())
    return build_saved_plan(o, options);
  if (o.build) {
    options.until = Stage::binary;
    options.image = true;
  } else if (!o.file.empty()) {
    fail_user("-o names the file of `fusec build`; --out the folder for texts of stages");
  }
  Inspection r = inspect_input(o, options);
  for (Stage s : options.texts) {
    auto it = r.texts.find(s);
    if (it == r.texts.end())
      fail_user("stage \"" + stage_names()[static_cast<int>(s)] +
                "\" was not reached: the input is a later stage, or --stop-after an earlier one");
    std::cout << it->second;
  }
  if (o.build) {
    fmt::print("{}\n", tool::code_line(r));
    return tool::write_saved_plan(r.image, o.device, o.file);
  }
  bool quiet = !options.texts.empty() || !o.print_after.empty();
  if (!quiet && options.until >= Stage::plan) print_summary(r, o.input);
  if (!quiet && options.until == Stage::binary) fmt::print("{}\n", tool::code_line(r));
  if (o.kernels || (!quiet && !o.explain && options.until >= Stage::plan)) print_kernels(r.plan);
  if (o.explain) print_decisions(r.decisions, o.all);
  if (o.times) print_times(r);
}

// The exit status of `work`, its error printed.
int status_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& e) {
    fmt::print(stderr, "fusec: {}\n", e.what());
    return 1;
  }
  return 0;
}

// Commands with options of their own; null if argv names none.
int (*own_command(int argc, char** argv))(const std::vector<std::string>&) {
  const std::string_view word = argc > 1 ? argv[1] : "";
  if (word == "import") return tool::import_command;
  if (word == "export") return tool::export_command;
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && argv[1] == std::string_view("cache"))
    return status_of([&] { tool::cache_command({argv + 2, argv + argc}); });
  if (auto* command = own_command(argc, argv)) {
    int status = 0;
    const int failed = status_of([&] { status = command({argv + 2, argv + argc}); });
    return failed ? failed : status;
  }
  Options o;
  CLI::App app{"Shows what Fusec makes of a model: stages, kernels, and why things were fused"};
  app.name("fusec");
  app.add_option("model", o.input,
                 "a file with the text of a stage, or a bundled model such as vision-gpt:tiny");
  app.add_option("--dump-ir", o.dump,
                 "print the text of stages (default: fused); --dump-ir=graph,plan")
      ->type_name("STAGE,...");
  app.add_option("--print-after", o.print_after, "print the IR after passes, or after all")
      ->type_name("PASS,...");
  app.add_option("--stop-after", o.stop_after, "last stage to run")->type_name("STAGE");
  app.add_option("--resume-from", o.resume_from, "read the file as the text of this stage")
      ->type_name("STAGE");
  app.add_option("--out", o.out, "write one numbered file a stage into this folder")
      ->type_name("DIR");
  app.add_option("-o", o.file, "build: the file to write")->type_name("FILE");
  app.add_option("--precision", o.precision, "f32 or bf16");
  app.add_option("--device", o.device,
                 "cpu (default), cuda, cuda:N, auto, or an architecture such as sm_90a to look at; "
                 "build: also several architectures, sm_80,sm_90a")
      ->type_name("DEVICE");
  app.add_option("--memory-budget", o.budget,
                 "bytes that the step may hold, as 64M or 1.5G: recomputes values to meet it")
      ->type_name("BYTES");
  app.add_flag("--list", o.list, "stages, passes, bundled models, environment variables");
  app.add_flag("--kernels", o.kernels, "table of kernels: fused ops, bytes moved and saved");
  app.add_flag("--no-fuse", o.no_fuse, "one kernel an op");
  app.add_flag("--times", o.times, "wall time of stages and passes");
  app.add_flag("--no-locations", o.no_locations, "leave source locations out of the texts");
  app.add_flag("--all", o.all, "explain: also the edges that were fused");
  app.add_option("--seed", o.checking.seed, "check: of the inputs");
  app.add_option("--threads", o.checking.threads, "check: worker threads; 0: all cores");
  app.add_option("--steps", o.checking.steps, "check: runs of the step, states carried over");
  app.add_option("--plan", o.checking.plan,
                 "check: run this plan (an edited text of stage plan) in place of the compiled one")
      ->type_name("FILE");
  // `--dump-ir MODEL` must not swallow the model, so a bare flag becomes the default stage;
  // `explain`, `build` and `check` are words, not options.
  std::vector<std::string> args;  // last first, as CLI11 takes them
  bool word = false;              // a word was seen that is no option
  for (int i = 1; i < argc; ++i) {
    std::string a = argv[i];
    if (a == "--dump-ir") a = "--dump-ir=fused";
    if (!word && (a == "explain" || a == "build")) {
      (a == "build" ? o.build : o.explain) = true;
      continue;
    }
    if (!word && a == "check") {
      o.check = true;
      continue;
    }
    word = word || !a.starts_with("-");
    args.insert(args.begin(), a);
  }
  try {
    app.parse(args);
  } catch (const CLI::ExtrasError& e) {
    std::vector<std::string> flags;
    for (const CLI::Option* option : app.get_options()) {
      for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
      for (const std::string& name : option->get_snames()) flags.push_back("-" + name);
    }
    bool named = false;
    for (const std::string& a : args) {
      std::string flag = a.substr(0, a.find('='));
      if (!a.starts_with("-") || std::find(flags.begin(), flags.end(), flag) != flags.end())
        continue;
      fmt::print(stderr, "fusec: unknown option {}{}\n", a, suggest(flag, flags));
      named = true;
    }
    if (!named)
      fmt::print(stderr,
                 "fusec: expected one model or file (or: explain MODEL, check MODEL), found also: "
                 "{}\n",
                 o.input.empty() ? e.what() : args.front());
    return 2;
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  int checked = 0;
  int status = status_of([&] {
    if (!o.check) return run(o);
    o.checking.input = o.input, o.checking.precision = o.precision;
    o.checking.device = o.device;
    checked = tool::check_model(o.checking);
  });
  return status ? status : checked;
}
