#include "fusec/core/loaded_plan.h"

#include <utility>

#include "fusec/base/bytes.h"
#include "fusec/base/nearest.h"
#include "fusec/base/timing.h"
#include "fusec/core/device.h"
#include "fusec/core/normal_fill.h"

namespace fusec {
namespace {

bool has_name(BufferClass c) { return c != BufferClass::temporary && c != BufferClass::constant; }

int index_of(const Plan& plan, std::string_view name) {
  int i = plan.find(name);
  if (i >= 0) return i;
  std::vector<std::string> known;
  for (const PlanBuffer& b : plan.buffers)
    if (has_name(b.cls)) known.push_back(b.name);
  fail_user("no input, output, parameter or state \"" + std::string(name) + "\" in " + plan.graph +
            " (one that no output needs is left out)" + suggest(name, known));
}

// "x is f32[4, 8], input (model.cpp:12)".
std::string described(const PlanBuffer& b) {
  return b.name + " is " + b.type.str() + (b.origin.empty() ? "" : ", " + b.origin);
}

}  // namespace

LoadedPlan::LoadedPlan() = default;
LoadedPlan::LoadedPlan(std::shared_ptr<const Plan> plan, std::unique_ptr<Program> program,
                       Sentry sentry)
    : plan_(std::move(plan)),
      program_(std::move(program)),
      sentry_(sentry),
      set_(plan_->buffers.size(), false) {}
LoadedPlan::~LoadedPlan() = default;
LoadedPlan::LoadedPlan(LoadedPlan&&) noexcept = default;
LoadedPlan& LoadedPlan::operator=(LoadedPlan&&) noexcept = default;

const Plan& LoadedPlan::held() const {
  if (!plan_)
    fail_user("this executable is empty: it was never compiled or loaded, or was moved from");
  return *plan_;
}

Program& LoadedPlan::program() const {
  held();
  return *program_;
}

int LoadedPlan::sized(std::string_view name, size_t bytes) const {
  int i = index_of(held(), name);
  const PlanBuffer& b = plan_->buffers[i];
  if (static_cast<int64_t>(bytes) != b.type.bytes())
    fail_user(described(b) + ": expected " + std::to_string(numel(b.type.shape)) + " values, " +
              std::to_string(b.type.bytes()) + " bytes, found " + std::to_string(bytes));
  return i;
}

void LoadedPlan::check_host_type(std::string_view name, size_t size, bool floating) const {
  const PlanBuffer& b = held().buffers[index_of(held(), name)];
  DType t = b.type.dtype;
  bool wants_float = t == DType::f32 || t == DType::f64;
  if (size == static_cast<size_t>(size_of(t)) && floating == wants_float) return;
  auto kind = [](bool real, size_t n) {
    return std::to_string(n) + "-byte " + (real ? "floating-point numbers" : "integers");
  };
  fail_user(described(b) + ": expected " + kind(wants_float, size_of(t)) + ", found " +
            kind(floating, size) + "; convert them first");
}

int LoadedPlan::writable(std::string_view name, size_t bytes) const {
  int i = sized(name, bytes);
  const PlanBuffer& b = plan_->buffers[i];
  if (b.cls == BufferClass::output)
    fail_user(described(b) + ": an output, which only a run writes");
  return i;
}

void LoadedPlan::note_set(int buffer) {
  const PlanBuffer& b = plan_->buffers[buffer];
  set_[buffer] = true;
  if (b.cls == BufferClass::parameter) program_->store()->mark_set(b.name);
}

void LoadedPlan::write(std::string_view name, const void* data, size_t bytes) {
  int i = writable(name, bytes);
  if (!data && bytes > 0) fail_user(described(plan_->buffers[i]) + ": the data is a null pointer");
  program_->write(i, data, bytes);
  note_set(i);
}

void LoadedPlan::stage(std::string_view name, const void* data, size_t bytes) {
  const int i = writable(name, bytes);
  if (!data && bytes > 0) fail_user(described(plan_->buffers[i]) + ": the data is a null pointer");
  std::erase_if(staged_, [&](const Staged& s) { return s.buffer == i; });
  staged_.push_back({i, data, bytes, program_->stage(i, data, bytes)});
}

void LoadedPlan::take_staged() {
  program().take_staged();
  for (const Staged& s : std::exchange(staged_, {})) {
    if (!s.on_its_way) program_->write(s.buffer, s.data, s.bytes);
    note_set(s.buffer);
  }
}

void LoadedPlan::fill(const std::vector<Fill>& fills) {
  TimeSpan span("filling tensors");
  std::vector<Filling> fillings;
  int64_t bytes = 0;
  for (const Fill& f : fills) {
    const int64_t own = type(f.name).bytes();
    fillings.push_back({writable(f.name, static_cast<size_t>(own)), f.make});
    bytes += own;
  }
  span.note(std::to_string(fills.size()) + ", " + size_text(bytes));
  program().fill(fillings);
  for (const Filling& f : fillings) note_set(f.buffer);
}

void LoadedPlan::fill_normal(const std::vector<NormalFill>& fills) {
  TimeSpan span("drawing normal numbers");
  std::vector<NormalFilling> fillings;
  std::vector<Filling> on_host;
  int64_t bytes = 0;
  for (const NormalFill& f : fills) {
    const TensorType& t = type(f.name);
    const int buffer = writable(f.name, static_cast<size_t>(t.bytes()));
    if (t.dtype != DType::f32)
      fail_user(described(plan_->buffers[buffer]) + ": normal numbers are drawn for f32 alone");
    fillings.push_back({buffer, f.deviation, f.key, f.stream});
    on_host.push_back({buffer, [f](int64_t begin, int64_t size, void* out) {
                         constexpr int64_t kSize = sizeof(float);
                         fusec::fill_normal(static_cast<float*>(out), begin / kSize, size / kSize,
                                            f.deviation, f.key, f.stream);
                       }});
    bytes += t.bytes();
  }
  const bool there = program().draw_normal(fillings);
  span.note(std::to_string(fills.size()) + ", " + size_text(bytes) +
            (there ? ", by the device" : ", by the host"));
  if (!there) program().fill(on_host);
  for (const NormalFilling& f : fillings) note_set(f.buffer);
}

void LoadedPlan::read(std::string_view name, void* data, size_t bytes) const {
  int i = sized(name, bytes);
  const PlanBuffer& b = plan_->buffers[i];
  if (b.cls == BufferClass::output && !ran_)
    fail_user(described(b) + ": it has no value yet; run() makes it");
  program_->read(i, data, bytes);
}

const TensorType& LoadedPlan::type(std::string_view name) const {
  return held().buffers[index_of(held(), name)].type;
}

// Everything that some step reads must have a value. Once it has, it keeps one.
void LoadedPlan::check_ready() {
  if (ready_) return;
  std::vector<bool> read(held().buffers.size(), false);
  for (const PlanStep& step : plan_->steps)
    each_argument(*plan_, step, [&](const BufferRef& r, bool reads, bool) {
      if (reads) read[r.buffer] = true;
    });
  std::string missing;
  int count = 0;
  for (size_t i = 0; i < read.size(); ++i) {
    const PlanBuffer& b = plan_->buffers[i];
    bool unset = (b.cls == BufferClass::input && !set_[i]) ||
                 (b.cls == BufferClass::parameter && !program_->store()->is_set(b.name));
    if (read[i] && unset && ++count <= 10)
      missing += "\n  " + described(b);
  }
  if (count > 0)
    fail_user(plan_->graph + ": " + std::to_string(count) +
              (count == 1 ? " tensor has" : " tensors have") +
              " no value; set() before run(), or share the executable that holds them:" + missing);
  ready_ = true;
}

RunResult LoadedPlan::run() {
  Program& p = program();
  check_ready();
  culprit_.reset();
  if (sentry_ == Sentry::check) {
    CheckedRun run = p.run_checked(true);
    finite_ = run.finite;
    culprit_ = std::move(run.first);
  } else {
    finite_ = p.run();
  }
  if (!ran_)
    for (const PlanStep& step : plan_->steps)
      each_argument(*plan_, step, [&](const BufferRef& r, bool, bool written) {
        const PlanBuffer& b = plan_->buffers[r.buffer];
        if (written && b.cls == BufferClass::parameter) p.store()->mark_set(b.name);
      });
  ran_ = true;
  return {finite_};
}

std::optional<NonFinite> LoadedPlan::diagnose() {
  if (!finite_ && !culprit_) culprit_ = program().run_checked(false).first;
  return culprit_;
}

int64_t LoadedPlan::measured_bytes() const { return program().measured_bytes(); }

std::vector<StepProfile> LoadedPlan::profile(ProfileClock* clock) {
  Program& p = program();
  check_ready();
  std::vector<StepProfile> out;
  double end = 0;  // of the step before
  ProfiledRun run = p.run_profiled();
  if (clock) *clock = {std::move(run.clock), run.gap};
  for (StepTime& t : run.steps) {
    const PlanStep& step = plan_->steps[t.step];
    StepProfile s;
    s.name = step.kernel >= 0 ? plan_->kernels[step.kernel].name : step.call.name;
    s.scope = step.scope;
    s.seconds = t.seconds;
    s.bytes = step.bytes, s.flops = step.flops;
    s.step = t.step;
    s.start = t.start >= 0 ? t.start : end;
    s.call = step.kernel < 0;
    s.shape = shape_of(step);
    s.group = group_of(*plan_, step);
    s.library_kernels = std::move(t.library_kernels);
    end = s.start + s.seconds;
    out.push_back(std::move(s));
  }
  ran_ = true;
  return out;
}

const Plan& LoadedPlan::plan() const { return held(); }

std::string LoadedPlan::backend(std::string_view work) const { return program().backend(work); }

std::shared_ptr<PersistentStore> LoadedPlan::store() const {
  return program_ ? program_->store() : nullptr;
}

}  // namespace fusec
