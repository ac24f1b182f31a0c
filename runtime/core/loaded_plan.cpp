#include "fusec/core/loaded_plan.h"

#include "fusec/base/nearest.h"
#include "fusec/core/device.h"

namespace fusec {
namespace {

int index_of(const Plan& plan, std::string_view name) {
  int i = plan.find(name);
  if (i >= 0) return i;
  std::vector<std::string> known;
  for (const PlanBuffer& b : plan.buffers)
    if (b.cls != BufferClass::temporary && b.cls != BufferClass::constant) known.push_back(b.name);
  fail_user("no input, output, parameter or state \"" + std::string(name) + "\" in " + plan.graph +
            suggest(name, known));
}

}  // namespace

LoadedPlan::LoadedPlan() = default;
LoadedPlan::LoadedPlan(std::shared_ptr<const Plan> plan, std::unique_ptr<Program> program,
                       Sentry sentry)
    : plan_(std::move(plan)), program_(std::move(program)), sentry_(sentry) {}
LoadedPlan::~LoadedPlan() = default;
LoadedPlan::LoadedPlan(LoadedPlan&&) noexcept = default;
LoadedPlan& LoadedPlan::operator=(LoadedPlan&&) noexcept = default;

int LoadedPlan::sized(std::string_view name, size_t bytes) const {
  int i = index_of(*plan_, name);
  const TensorType& t = plan_->buffers[i].type;
  if (static_cast<int64_t>(bytes) != t.bytes())
    fail_user(std::string(name) + " is " + t.str() + ": expected " + std::to_string(t.bytes()) +
              " bytes, found " + std::to_string(bytes));
  return i;
}

void LoadedPlan::write(std::string_view name, const void* data, size_t bytes) {
  program_->write(sized(name, bytes), data, bytes);
}

void LoadedPlan::read(std::string_view name, void* data, size_t bytes) const {
  program_->read(sized(name, bytes), data, bytes);
}

const TensorType& LoadedPlan::type(std::string_view name) const {
  return plan_->buffers[index_of(*plan_, name)].type;
}

RunResult LoadedPlan::run() {
  culprit_.reset();
  if (sentry_ == Sentry::check) {
    CheckedRun run = program_->run_checked(true);
    finite_ = run.finite;
    culprit_ = std::move(run.first);
  } else {
    finite_ = program_->run();
  }
  return {finite_};
}

std::optional<NonFinite> LoadedPlan::diagnose() {
  if (!finite_ && !culprit_) culprit_ = program_->run_checked(false).first;
  return culprit_;
}

int64_t LoadedPlan::measured_bytes() const { return program_->measured_bytes(); }

std::vector<StepProfile> LoadedPlan::profile() {
  std::vector<StepProfile> out;
  for (const StepTime& t : program_->run_profiled()) {
    const PlanStep& step = plan_->steps[t.step];
    const std::string& name = step.kernel >= 0 ? plan_->kernels[step.kernel].name : step.call.name;
    out.push_back({name, step.scope, t.seconds, step.bytes, step.flops});
  }
  return out;
}

const Plan& LoadedPlan::plan() const { return *plan_; }

std::string LoadedPlan::backend(std::string_view work) const { return program_->backend(work); }

std::shared_ptr<PersistentStore> LoadedPlan::store() const {
  return program_ ? program_->store() : nullptr;
}

}  // namespace fusec
