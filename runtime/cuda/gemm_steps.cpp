#include "gemm_steps.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <system_error>
#include <utility>

#include "bind_launches.h"
#include "fusec/base/timing.h"
#include "fusec/core/disk_cache.h"
#include "gemm_tune.h"

namespace fusec::cuda {
namespace {

// The threads under way when a process ends without destroying its programs: exit() stops them
// before it takes down the libraries that they are in. Kept for good.
class UnderWay {
 public:
  static UnderWay& get() {
    static UnderWay& all = *new UnderWay;
    return all;
  }
  // exit() comes here before it comes to what is open now.
  static void stop_before_what_is_open() {
    std::atexit([] { get().end(); });
  }
  void add(std::atomic<bool>* stop) {
    std::lock_guard lock(mutex_);
    process_ = getpid();
    stops_.insert(stop);
    if (ending_) *stop = true;
  }
  void remove(std::atomic<bool>* stop) {
    std::lock_guard lock(mutex_);
    stops_.erase(stop);
    changed_.notify_all();
  }

 private:
  void end() {
    if (process_ != getpid()) return;  // a child of fork() has none of these threads
    std::unique_lock lock(mutex_);
    ending_ = true;
    for (std::atomic<bool>* stop : stops_) *stop = true;
    changed_.wait(lock, [this] { return stops_.empty(); });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::atomic<bool>*> stops_;
  bool ending_ = false;
  std::atomic<pid_t> process_ = 0;  // whose threads they are
};

}  // namespace

IdlePart idle_part(const Plan& plan, CuAddress arena) {
  std::vector<std::pair<int64_t, int64_t>> kept;  // from, to
  for (const PlanBuffer& b : plan.buffers)
    if (b.cls == BufferClass::input || b.cls == BufferClass::output)
      kept.emplace_back(b.offset, b.offset + reserved_bytes(b.type));
  kept.emplace_back(plan.arena_bytes, plan.arena_bytes);
  std::sort(kept.begin(), kept.end());
  int64_t begin = 0, end = 0, free_from = 0;
  for (auto [from, to] : kept) {
    if (from - free_from > end - begin) begin = free_from, end = from;
    free_from = std::max(free_from, to);
  }
  return {arena + static_cast<CuAddress>(begin), arena + static_cast<CuAddress>(end)};
}

GemmSteps::GemmSteps(const Plan& plan, const Gpu& gpu, const Placement& placement,
                     const LoadOptions& options)
    : plan_(plan), gpu_(gpu), placement_(placement), options_(options), steps_(plan.steps.size()) {
  bool guarded = false;
  for (const PlanStep& step : plan.steps)
    guarded = guarded || (step.kernel < 0 && step.call.name == "guard");
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanStep& step = plan.steps[i];
    if (!is_gemm(step)) continue;
    in_step(plan, static_cast<int>(i), [&] {
      Product p;
      p.step = static_cast<int>(i);
      p.gemm = read_gemm(step.call);
      p.guarded = step.commit && guarded;
      auto matrix = [&](size_t arg) {
        const BufferRef& ref = step.call.args[arg];
        CuAddress at = address_of(plan, placement, ref);
        return GemmMemory::Matrix{at, !is_persistent(plan.buffers[ref.buffer].cls)};
      };
      GemmMemory& m = p.memory;
      m.a = matrix(0), m.b = matrix(1), m.c = matrix(2);
      m.workspace = placement.workspace, m.workspace_bytes = placement.workspace_bytes;
      const GemmEpilogue& e = p.gemm.epilogue;
      if (e.aux) m.aux = matrix(e.aux_at()).at, m.c.free &= matrix(e.aux_at()).free;
      if (e.add) m.addend = matrix(e.addend_at()).at;
      if (e.bias) m.bias = matrix(e.bias_at()).at;
      if (e.dgelu) m.aux = matrix(e.pre_at()).at;
      if (e.sums()) m.bias = matrix(e.sums_at()).at, m.c.free &= matrix(e.sums_at()).free;
      if (!p.gemm.empty() || e.sums()) products_.push_back(std::move(p));
    });
  }
  if (!products_.empty()) cache_ = DiskCache::of_environment();
}

GemmSteps::~GemmSteps() {
  stop_ = true;
  if (done_.valid()) done_.wait();
  release_on(gpu_, [this](const Driver&) { cleared_.reset(); });
}

void GemmSteps::bind() {
  TimeSpan span("choosing GEMMs");
  LtOptions lt{options_.tf32, false, cache_};
  // A choice that cannot be kept may be another in the next process.
  lt.tune = options_.tune_gemms && (!options_.deterministic || cache_);
  LaunchBinder own(plan_, gpu_, placement_, options_);
  for (const Product& p : products_) {
    if (stop_) fail_device("the program ended while its matrix products were chosen");
    in_step(plan_, p.step, [&] {
      std::unique_ptr<LtGemm>& gemm = steps_[p.step].gemm;
      // Sums over nothing are zeros all the same.
      if (p.gemm.empty()) return own.add_call(p.step, own_gemm(p.gemm));
      std::string why = "a guard may stop it, which a call of cuBLASLt cannot be";
      if (!p.guarded) gemm = LtGemm::bind(gpu_, p.gemm, p.memory, lt, &why);
      if (!p.guarded && !gemm && p.gemm.epilogue.sums()) {
        // The product by cuBLASLt still, its sums by a kernel behind it.
        Gemm product = p.gemm;
        product.epilogue.bgrad = product.epilogue.bgrada = product.epilogue.bgradb = false;
        gemm = LtGemm::bind(gpu_, product, p.memory, lt, &why);
        if (gemm) own.add_call(p.step, gemm_sums(p.gemm));
      }
      if (gemm) {
        ++by_library_;
        measured_ = measured_ || gemm->measured();
        return;
      }
      if (own_++ == 0) why_own_ = why;
      own.add_call(p.step, own_gemm(p.gemm));
    });
  }
  if (own.texts() > 0) code_ = own.finish(steps_);
  bound_ = true;
  span.note(std::to_string(by_library_) + " by cuBLASLt, " + std::to_string(own_) +
            " by an own kernel");
}

// Of the products that run one kernel, the smallest that fits.
void GemmSteps::warm_up() {
  struct Chosen {
    double products = 0;
    const LtGemm* gemm = nullptr;
  };
  const IdlePart idle = idle_part(plan_, placement_.arena);
  std::set<std::string> loaded;
  std::map<std::string, Chosen> chosen;
  size_t kernels = 0;
  for (const Product& p : products_) {
    const LtGemm* gemm = steps_[p.step].gemm.get();
    if (!gemm) continue;
    std::string key = gemm->kernel_key();
    if (gemm->measured()) loaded.insert(key);
    Chosen& c = chosen[key];
    const Gemm& g = p.gemm;
    double products = static_cast<double>(g.m) * static_cast<double>(g.n) *
                      static_cast<double>(g.k) * static_cast<double>(g.batch);
    if (gemm->fits(idle.begin, idle.end) && (!c.gemm || products < c.products))
      c = {products, gemm};
  }
  for (const std::string& key : loaded) chosen.erase(key);
  if (chosen.empty()) return;

  TimeSpan span("loading kernels of GEMMs");
  cleared_->wait(0, "clearing the arena");
  cleared_.reset();
  std::lock_guard alone(running_products());
  Stream stream(gpu_);
  for (const auto& [key, c] : chosen) {
    if (stop_) break;
    // One that fails is told when the step runs it.
    if (c.gemm && c.gemm->run_in(idle.begin, stream.get()) == 0) ++kernels;
  }
  stream.wait("loading the kernels of matrix products");
  span.note(std::to_string(kernels) + " of " + std::to_string(chosen.size()) + " run once");
}

void GemmSteps::start(const Stream& stream) {
  if (products_.empty()) return;
  cleared_ = std::make_unique<Events>(1);
  cleared_->record(0, stream);
  static std::once_flag here;
  std::call_once(here, UnderWay::stop_before_what_is_open);
  UnderWay::get().add(&stop_);
  auto work = [this] {
    struct End {
      std::atomic<bool>* stop;
      ~End() { UnderWay::get().remove(stop); }
    } end{&stop_};
    Current current(gpu_);
    std::string ignored;
    cublaslt_handle(gpu_, &ignored);
    static std::once_flag there;
    std::call_once(there, UnderWay::stop_before_what_is_open);
    if (!bound_) bind();
    warm_up();
  };
  try {
    done_ = std::async(std::launch::async, work).share();
  } catch (const std::system_error&) {  // no thread to be had
    work();
  }
}

void GemmSteps::wait() const {
  if (!done_.valid()) return;
  if (done_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    TimeSpan span("waiting for GEMMs");
    done_.wait();
  }
  done_.get();
}

}  // namespace fusec::cuda
