#include "compilation.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "fusec/base/nearest.h"
#include "fusec/base/options.h"
#include "fusec/base/timing.h"
#include "fusec/ir/export.h"
#include "fusec/ir/import.h"
#include "fusec/passes/pass.h"
#include "fusec/passes/plan_memory.h"
#include "fusec/passes/schedule_blocks.h"
#include "graph_digest.h"
#include "inline_hooks.h"
#include "stage_text.h"

namespace fusec {

const std::vector<std::string>& stage_names() {
  static const std::vector<std::string> names = {"graph", "canonical", "fused", "scheduled",
                                                 "plan",  "source",    "binary"};
  return names;
}

Stage parse_stage(std::string_view name) {
  for (size_t i = 0; i < stage_names().size(); ++i)
    if (stage_names()[i] == name) return static_cast<Stage>(i);
  fail_user("unknown stage \"" + std::string(name) + "\"" + suggest(name, stage_names()));
}

std::vector<PassInfo> pass_list() {
  std::vector<PassInfo> out;
  for (const passes::Pass& p : passes::pipeline())
    out.push_back({std::string(p.name), std::string(p.stage), std::string(p.why_here)});
  out.push_back({"schedule_blocks", "plan", "needs final loops; only for devices with blocks"});
  out.push_back({"inline_hooks", "plan", "needs the call's kernels; only for devices with blocks"});
  out.push_back({"plan_memory", "plan", "needs the order of steps and who reads what"});
  return out;
}

namespace driver {
namespace {

class Timer {
 public:
  explicit Timer(double& total) : total_(total), start_(std::chrono::steady_clock::now()) {}
  ~Timer() {
    total_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  double& total_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace

struct Compilation::Ir {
  // What import() makes the module of; a plan on disk may stand for all of it.
  const Graph* graph = nullptr;
  std::vector<ir::NamedValue> outputs;
  std::string name;
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  passes::PassContext passes;
};

Compilation::Compilation(const InspectOptions& options)
    : options_(options),
      backend_(make_backend(options.compile)) {
  if (env("FUSEC_SENTRY") == "1") options_.compile.sentry = Sentry::check;
  if (std::string dump = env("FUSEC_DUMP"); !dump.empty()) {
    size_t colon = dump.find(':');
    options_.compile.dump_dir = dump.substr(0, colon);
    options_.compile.dump_stages.clear();
    for (size_t at = colon; at != std::string::npos;) {
      size_t next = dump.find(',', at + 1);
      options_.compile.dump_stages.push_back(
          dump.substr(at + 1, next == std::string::npos ? next : next - at - 1));
      at = next;
    }
  }
  for (const std::string& s : options_.compile.dump_stages) parse_stage(s);
}

Compilation::~Compilation() = default;

void Compilation::from_graph(Graph& graph, const std::vector<Output>& outputs,
                             const std::string& name) {
  std::vector<ir::NamedValue> values;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Output& o = outputs[i];
    if (!o.tensor.defined())
      fail_user("compile: output " + std::to_string(i) + " is an undefined Tensor");
    if (&o.tensor.graph() != &graph)
      fail_user("compile: output " + std::to_string(i) + " belongs to another graph");
    std::string label = o.name.empty() ? "out" + std::to_string(i) : o.name;
    bool taken = graph.find(label).defined();
    for (const ir::NamedValue& v : values) taken = taken || v.name == label;
    if (taken)
      fail_user("compile: the output name \"" + label + "\" is already taken; choose another");
    values.push_back({label, o.tensor.value()});
  }
  ir_ = std::make_unique<Ir>();
  ir_->graph = &graph;
  ir_->outputs = std::move(values);
  ir_->name = name;
}

void Compilation::import() {
  Timer timer(result_.times.import);
  TimeSpan span("import of the graph");
  ir_->context = ir::make_context();
  ir_->module = ir::import_graph(*ir_->context, *ir_->graph, ir_->outputs, ir_->name,
                                 options_.compile.assigns);
}

void Compilation::from_text(std::string_view text, const std::string& name) {
  start_ = stage_of_text(text);
  if (start_ < Stage::plan) {
    ir_ = std::make_unique<Ir>();
    ir_->context = ir::make_context();
    ir_->module = ir::parse(*ir_->context, text, name);
  } else {
    StageText parts = split_stage_text(text, name);
    try {
      result_.plan = parse_plan(parts.plan);
    } catch (Error& e) {
      e.add_note("while reading " + name + " as the text of stage plan");
      throw;
    }
    passes::schedule_blocks(result_.plan, backend_->target());
    if (backend_->target().cores > 0) inline_hooks(result_.plan);
    verify(result_.plan);
    result_.memory = memory_report(result_.plan, backend_->workspace_bytes(result_.plan));
    source_ = std::move(parts.kernels);
    if (start_ > Stage::plan && source_.size() != result_.plan.kernels.size())
      fail_user(name + ": expected one section for each of the plan's " +
                std::to_string(result_.plan.kernels.size()) + " kernels, found " +
                std::to_string(source_.size()));
    if (start_ == Stage::binary) link_binary();
  }
}

void Compilation::link_binary() {
  Timer timer(result_.times.binary);
  std::vector<std::string> codes;
  for (const std::string& digits : source_) {
    std::vector<char> bytes = bytes_of_hex(digits);
    codes.emplace_back(bytes.begin(), bytes.end());
  }
  CompileTimes ignored;
  backend_->link(result_.plan, codes, ignored);
}

void Compilation::run() {
  if (start_ > Stage::plan) emit(Stage::plan);  // it is part of the text
  if (ir_) {
    ir_->passes.target = backend_->target();
    ir_->passes.fuse = options_.compile.fuse;
    ir_->passes.guarded = options_.compile.sentry == Sentry::check;
    ir_->passes.memory_budget = options_.compile.memory_budget;
    ir_->passes.workspace = [this](const Plan& p) { return backend_->workspace_bytes(p); };
    ir_->passes.bf16 = options_.compile.precision == Precision::bf16;
    ir_->passes.gelu_in_gemm = options_.compile.gelu_in_gemm || env("FUSEC_GELU_IN_GEMM") == "1";
  }
  plan_key_ = kept_plan_key();
  if (plan_key_ && take_kept_plan(*plan_key_)) {
    at_ = Stage::plan;
  } else {
    if (ir_) {
      if (!ir_->module) import();
      ir_->passes.guarded = ir_->passes.guarded || ir::has_guard(*ir_->module);
      if (options_.compile.verify_each) ir::verify(*ir_->module, "import");
    }
    emit(start_);
    at_ = start_;
    if (plan_key_) {
      run_until(Stage::plan);
      TimeSpan span("keeping the plan");
      cache_.keep_plan(*plan_key_, {result_.plan, result_.warnings});
    }
  }
  run_until(options_.until);
  if (options_.image) {
    if (options_.until < Stage::binary)
      fail_user("a saved plan holds code: expected the compile to go on to stage binary");
    result_.image = backend_->image(result_.plan);
  }
}

void Compilation::run_until(Stage stage) {
  while (at_ < stage) {
    at_ = static_cast<Stage>(static_cast<int>(at_) + 1);
    reach(at_);
    emit(at_);
  }
  if (ir_) result_.decisions = ir_->passes.decisions;
  if (ir_) result_.warnings = ir_->passes.warnings;
}

// Nothing but the plan and its warnings is wanted of the passes: no text, no dump, no decision.
std::optional<Digest> Compilation::kept_plan_key() {
  Timer timer(result_.times.plan);
  bool watched =
      !options_.texts.empty() || options_.after_pass || !options_.compile.dump_dir.empty();
  if (!keep_plans_ || !cache_.on() || watched || !ir_ || !ir_->graph ||
      options_.until < Stage::plan || options_.compile.validate ||
      !options_.compile.plan_text.empty())
    return std::nullopt;
  TimeSpan span("digest of the graph");
  std::string settings = ir_->passes.settings();
  if (options_.compile.memory_budget != 0) settings += " " + backend_->workspace_settings();
  return CompileCache::plan_key(
      graph_digest(*ir_->graph, ir_->outputs, ir_->name, options_.compile.assigns), settings);
}

bool Compilation::take_kept_plan(const Digest& key) {
  Timer timer(result_.times.plan);
  TimeSpan span("plan from the cache");
  std::optional<KeptPlan> kept = cache_.plan(key);
  if (!kept) {
    span.note("it has none");
    return false;
  }
  result_.plan = std::move(kept->plan);
  ir_->passes.warnings = std::move(kept->warnings);
  result_.memory = memory_report(result_.plan, backend_->workspace_bytes(result_.plan));
  result_.times.plan_cached = true;
  return true;
}

void Compilation::reach(Stage stage) {
  CompileTimes& t = result_.times;
  switch (stage) {
    case Stage::graph: break;
    case Stage::canonical: return run_passes("canonical", t.canonical);
    case Stage::fused: return run_passes("fused", t.fused);
    case Stage::scheduled: return run_passes("scheduled", t.scheduled);
    case Stage::plan: {
      Timer timer(t.plan);
      TimeSpan span("export and memory plan");
      return make_plan();
    }
    case Stage::source: return;  // made together with binary unless its text is wanted
    case Stage::binary:
      if (source_.empty())
        return backend_->compile(result_.plan, options_.compile.reuse_kernels,
                                 plan_key_ ? &*plan_key_ : nullptr, t);
      return backend_->compile_sources(result_.plan, source_, t);
  }
}

void Compilation::make_plan() {
  std::vector<ir::KernelOp> sources;
  result_.plan = ir::export_plan(ir::graph_of(*ir_->module), &sources);
  passes::schedule_blocks(result_.plan, ir_->passes.target);
  if (ir_->passes.target.cores > 0) {
    std::vector<ir::KernelOp> kept;
    for (int i : inline_hooks(result_.plan)) kept.push_back(sources[i]);
    sources = std::move(kept);
  }
  passes::plan_memory(result_.plan, ir_->passes.guarded);
  if (!options_.compile.plan_text.empty()) result_.plan = parse_plan(options_.compile.plan_text);
  verify(result_.plan);
  result_.memory = memory_report(result_.plan, backend_->workspace_bytes(result_.plan));
  if (options_.compile.validate)
    for (ir::KernelOp k : sources)
      references_.push_back(k ? ir::to_graph(k) : ir::RecordedKernel{});
}

void Compilation::run_passes(std::string_view stage, double& seconds) {
  ir::GraphOp graph = ir::graph_of(*ir_->module);
  for (const passes::Pass& pass : passes::pipeline()) {
    if (pass.stage != stage || !pass.enabled(ir_->passes)) continue;
    double spent = 0;
    {
      Timer timer(spent);
      TimeSpan span("pass " + std::string(pass.name));
      pass.run(graph, ir_->passes);
      if (options_.compile.verify_each) ir::verify(*ir_->module, pass.name);
    }
    seconds += spent;
    result_.pass_seconds.emplace_back(pass.name, spent);
    if (options_.after_pass)
      options_.after_pass(std::string(pass.name), ir::print(*ir_->module, options_.locations));
  }
}

bool Compilation::wanted(Stage stage) const {
  for (Stage s : options_.texts)
    if (s == stage) return true;
  return false;
}

bool Compilation::dumped(Stage stage) const {
  if (options_.compile.dump_dir.empty()) return false;
  const std::vector<std::string>& only = options_.compile.dump_stages;
  const std::string& name = stage_names()[static_cast<int>(stage)];
  return only.empty() || std::find(only.begin(), only.end(), name) != only.end();
}

void Compilation::emit(Stage stage) {
  bool to_file = dumped(stage), to_result = wanted(stage);
  if (!to_file && !to_result) return;
  std::string text = text_of(stage);
  if (to_file) {
    std::error_code refused;
    std::filesystem::create_directories(options_.compile.dump_dir, refused);
    if (refused)
      fail_user("cannot create the dump folder " + options_.compile.dump_dir + ": " +
                refused.message() + "; choose another");
    std::string ending = stage < Stage::plan ? ".mlir" : ".txt";
    std::filesystem::path path = std::filesystem::path(options_.compile.dump_dir) /
                                 ("0" + std::to_string(static_cast<int>(stage)) + "." +
                                  stage_names()[static_cast<int>(stage)] + ending);
    std::ofstream file(path, std::ios::binary);
    file << text;
    if (!file) fail_user("cannot write " + path.string() + "; choose another dump folder");
  }
  if (to_result) result_.texts[stage] = std::move(text);
}

std::string Compilation::text_of(Stage stage) {
  if (stage < Stage::plan) return ir_stage_text(stage, ir::print(*ir_->module, options_.locations));
  if (stage == Stage::plan) return print(result_.plan);
  std::vector<std::string> bodies;
  for (size_t i = 0; i < result_.plan.kernels.size(); ++i) {
    if (stage == Stage::source)
      bodies.push_back(source_.empty() ? backend_->source(result_.plan, i) : source_[i]);
    else if (start_ == Stage::binary)
      bodies.push_back(source_[i]);
    else
      bodies.push_back(hex_text(backend_->binary(result_.plan, i)));
  }
  return join_stage_text(stage, result_.plan, bodies);
}

}  // namespace driver

Inspection inspect(Graph& graph, const std::vector<Output>& outputs, const std::string& name,
                   const InspectOptions& options) {
  driver::Compilation c(options);
  c.from_graph(graph, outputs, name);
  c.run();
  return std::move(c.result());
}

Inspection inspect_text(std::string_view text, const std::string& name,
                        const InspectOptions& options) {
  driver::Compilation c(options);
  c.from_text(text, name);
  c.run();
  return std::move(c.result());
}

}  // namespace fusec
