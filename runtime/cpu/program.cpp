// Turns a Plan and the code of its kernels into something that runs: memory at the planned offsets,
// every address and library call resolved once at load, every kernel step cut into tasks. run()
// then only executes. All segments of a horizontal step share one parallel region.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>

#include "fusec/core/checked_run.h"
#include "fusec/core/pieces.h"
#include "library.h"
#include "memory.h"
#include "simd.h"

namespace fusec::cpu {
namespace {

// Rough speed of one core; only decides how finely work is cut.
constexpr double kBytesPerNs = 16, kFlopsPerNs = 8;
constexpr double kTaskNs = 8000;    // 128 KB of traffic
constexpr double kInlineNs = 5000;  // below this, waking a second core costs more than it saves
// Flat kernels are cut where every vector length divides, so that an element is computed by the
// same instructions however the work is cut.
constexpr int64_t kFlatMultiple = 64;

class Store final : public PersistentStore {
 public:
  // The memory of a parameter or state, allocated (zeroed) on first use.
  std::byte* get(const PlanBuffer& b) {
    auto it = entries_.find(b.name);
    if (it == entries_.end())
      it = entries_.emplace(b.name, Entry{b.type, {reserved_bytes(b.type), b.name.c_str()}}).first;
    if (it->second.type != b.type)
      fail_user(std::string(name_of(b.cls)) + " \"" + b.name + "\" is " + b.type.str() +
                " in this graph, but programs that share its memory hold it as " +
                it->second.type.str() + "; give it another name or the same type");
    return it->second.memory.data();
  }

  int64_t bytes(const std::string& name) const { return entries_.at(name).memory.bytes(); }

 private:
  struct Entry {
    TensorType type;
    AlignedBuffer memory;
  };
  std::map<std::string, Entry> entries_;
};

// Work units [lo, hi) of one segment.
struct Task {
  void* const* args;
  int64_t lo, hi, n;
};

class CpuProgram final : public Program {
 public:
  CpuProgram(std::shared_ptr<const Plan> plan, KernelImages images,
             std::shared_ptr<PersistentStore> share, int threads)
      : plan_(std::move(plan)), images_(std::move(images)), pool_(threads) {
    if (images_.functions.size() != plan_->kernels.size())
      fail_internal("plan " + plan_->graph + " has " + std::to_string(plan_->kernels.size()) +
                    " kernels, but code for " + std::to_string(images_.functions.size()));
    store_ = std::dynamic_pointer_cast<Store>(share);
    if (share && !store_)
      fail_user(
          "the executable to share parameters with does not run on the CPU; compile both for "
          "one device");
    if (!store_) store_ = std::make_shared<Store>();
    place_buffers();
    for (const PlanStep& step : plan_->steps)
      actions_.push_back(step.kernel < 0 ? prepare_library_step(step) : prepare_kernel_step(step));
  }

  void write(int buffer, const void* data, size_t bytes) override {
    std::byte* to = checked(buffer, bytes);
    if (bytes > 0) std::memcpy(to, data, bytes);  // an empty tensor's data may be null
  }
  void fill(const std::vector<Filling>& fillings) override {
    std::vector<int64_t> sizes;
    for (const Filling& f : fillings)
      sizes.push_back(plan_->buffers.at(static_cast<size_t>(f.buffer)).type.bytes());
    for_each_piece(pieces_of(sizes), pool_.size(), [&](int, const Piece& piece) {
      const Filling& f = fillings[piece.item];
      f.make(piece.begin, piece.bytes, addresses_[f.buffer] + piece.begin);
    });
  }
  void read(int buffer, void* data, size_t bytes) const override {
    const std::byte* from = checked(buffer, bytes);
    if (bytes > 0) std::memcpy(data, from, bytes);
  }

  bool run() override {
    finite_ = true;
    for (size_t i = 0; i < actions_.size(); ++i) act(i);
    return finite_;
  }

  CheckedRun run_checked(bool commit) override {
    CheckedSteps steps{
        [this](int step) { run_step(step); }, [this] { return !finite_; },
        [this](int buffer) -> const std::byte* { return addresses_[buffer]; },
        [this](int buffer, const std::byte* bytes) {
          std::memcpy(addresses_[buffer], bytes, plan_->buffers[buffer].type.bytes());
        }};
    CheckedRun result = fusec::run_checked(*plan_, steps, commit);
    finite_ = result.finite;
    return result;
  }

  void run_step(int step) override {
    if (step < 0 || step >= static_cast<int>(actions_.size()))
      fail_internal("plan " + plan_->graph + " has no step " + std::to_string(step));
    if (step == 0) finite_ = true;
    act(static_cast<size_t>(step));
  }

  ProfiledRun run_profiled() override {
    using Clock = std::chrono::steady_clock;
    std::vector<StepTime> times;
    finite_ = true;
    const Clock::time_point begin = Clock::now();
    for (size_t i = 0; i < actions_.size(); ++i) {
      const Clock::time_point start = Clock::now();
      act(i);
      const std::chrono::duration<double> spent = Clock::now() - start, before = start - begin;
      times.push_back({static_cast<int>(i), spent.count(), before.count()});
    }
    return {std::move(times), "the host's clock"};
  }

  std::shared_ptr<PersistentStore> store() const override { return store_; }

  int64_t measured_bytes() const override {
    int64_t total = arena_.bytes() + pool_.scratch_bytes();
    for (const AlignedBuffer& b : constants_) total += b.bytes();
    for (const AlignedBuffer& b : own_) total += b.bytes();
    for (const PlanBuffer& b : plan_->buffers)
      if (is_persistent(b.cls) && b.cls != BufferClass::constant) total += store_->bytes(b.name);
    return total;
  }

  std::string backend(std::string_view work) const override {
    std::string threads =
        std::to_string(pool_.size()) + (pool_.size() == 1 ? " thread" : " threads");
    if (work == "gemm") {
      int64_t wide = 0,
              narrow = 0;  // f32 calls; calls with a bf16 operand, which oneDNN does not get
      for (const PlanStep& step : plan_->steps)
        if (step.kernel < 0 && step.call.name == "gemm")
          ++(step.call.text("type_a") == "f32" && step.call.text("type_c") == "f32" ? wide
                                                                                    : narrow);
      std::string text = wide > 0 || narrow == 0 ? gemm_backend() : "";
      if (narrow > 0) text += (text.empty() ? "" : "; ") + std::string("bf16: own vector kernel");
      return text + ", " + threads;
    }
    if (work == "attention")
      return std::string("own blocked online softmax, ") + vector_kernels().name + ", " + threads;
    if (work == "optimizer") {
      int64_t steps = 0, segments = 0;
      for (const PlanStep& step : plan_->steps)
        if (step.segments.size() > 1) ++steps, segments += step.segments.size();
      return "fused CPU kernels, " + std::to_string(segments) + " tensor updates in " +
             std::to_string(steps) + " horizontal steps, " + threads;
    }
    if (work == "kernels")
      return std::to_string(plan_->kernels.size()) + " kernels compiled for this CPU, " + threads;
    fail_internal("backend(): no kind of work called \"" + std::string(work) +
                  "\"; expected gemm, attention, optimizer or kernels");
  }

 private:
  void place_buffers() {
    arena_ = AlignedBuffer(plan_->arena_bytes, "the arena of the step");
    for (const PlanBuffer& b : plan_->buffers) {
      if (b.cls == BufferClass::constant) {
        constants_.emplace_back(reserved_bytes(b.type), "a constant");
        std::memcpy(constants_.back().data(), b.data.data(), b.data.size());
        addresses_.push_back(constants_.back().data());
      } else if (is_persistent(b.cls)) {
        addresses_.push_back(store_->get(b));
      } else {
        if (b.offset < 0 || b.offset + reserved_bytes(b.type) > plan_->arena_bytes)
          fail_internal("buffer " + b.name + " lies outside the arena of " +
                        std::to_string(plan_->arena_bytes) + " bytes");
        addresses_.push_back(arena_.data() + b.offset);
      }
    }
  }

  std::byte* address(const BufferRef& ref) const {
    bool known = ref.buffer >= 0 && ref.buffer < static_cast<int>(addresses_.size());
    if (!known || ref.byte_offset < 0 || ref.byte_offset > plan_->buffers[ref.buffer].type.bytes())
      fail_internal("plan " + plan_->graph + " refers to byte " + std::to_string(ref.byte_offset) +
                    " of buffer " + std::to_string(ref.buffer) + ", which does not exist");
    return addresses_[ref.buffer] + ref.byte_offset;
  }

  std::byte* checked(int buffer, size_t bytes) const {
    if (buffer < 0 || buffer >= static_cast<int>(addresses_.size()))
      fail_internal("plan " + plan_->graph + " has no buffer " + std::to_string(buffer));
    const PlanBuffer& b = plan_->buffers[buffer];
    if (static_cast<int64_t>(bytes) != b.type.bytes())
      fail_user(std::string(name_of(b.cls)) + " \"" + b.name + "\" is " + b.type.str() + ", " +
                std::to_string(b.type.bytes()) + " bytes; got " + std::to_string(bytes));
    return addresses_[buffer];
  }

  Action prepare_library_step(const PlanStep& step) {
    std::vector<std::byte*> args;
    for (const BufferRef& ref : step.call.args) args.push_back(address(ref));
    int64_t own = workspace_of(step.call, pool_.size()).own;
    if (own > 0) own_.emplace_back(own, "the workspace of a library call");
    std::byte* workspace = own > 0 ? own_.back().data() : nullptr;
    return prepare_call(
        {{step.call}, std::move(args), pool_, finite_, workspace, &images_.functions});
  }

  Action prepare_kernel_step(const PlanStep& step) {
    const KernelProgram& kernel = plan_->kernels.at(step.kernel);
    auto args = std::make_shared<std::vector<void*>>();  // of all segments, one after another
    int64_t units = 0;
    for (const Segment& s : step.segments) {
      if (s.args.size() != kernel.params.size())
        fail_internal("kernel " + kernel.name + " takes " + std::to_string(kernel.params.size()) +
                      " arguments, a step gives " + std::to_string(s.args.size()));
      for (const BufferRef& ref : s.args) args->push_back(address(ref));
      units += kernel.units(s.n);
    }
    double ns = std::max(static_cast<double>(step.bytes) / kBytesPerNs,
                         static_cast<double>(step.flops) / kFlopsPerNs);
    int64_t most = units_per_task(kernel, units, ns);

    std::vector<Task> tasks;
    for (size_t i = 0; i < step.segments.size(); ++i) {
      int64_t n = step.segments[i].n, end = kernel.units(n);
      for (int64_t lo = 0; lo < end; lo += most)
        tasks.push_back({args->data() + i * kernel.params.size(), lo, std::min(end, lo + most), n});
    }
    KernelFn fn = images_.functions[step.kernel];
    std::function<void(int64_t, int64_t)> range = [fn, args, tasks](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) fn(tasks[i].args, tasks[i].lo, tasks[i].hi, tasks[i].n);
    };
    int64_t count = static_cast<int64_t>(tasks.size());
    if (ns > 0 && ns < kInlineNs) return [=] { range(0, count); };
    return [range, count, &pool = pool_] { pool.parallel(count, 1, range); };
  }

  // How many units a task holds, from the plan alone; the kernel's grain where the cost is unknown.
  static int64_t units_per_task(const KernelProgram& kernel, int64_t units, double ns) {
    double unit_ns = ns / static_cast<double>(std::max<int64_t>(1, units));
    double enough = unit_ns > 0 ? std::min(kTaskNs / unit_ns, 1e15) : 0.0;
    int64_t result = std::max({kernel.schedule.grain, static_cast<int64_t>(enough), int64_t{1}});
    if (kernel.schedule.kind == ScheduleKind::flat)
      result = (result + kFlatMultiple - 1) / kFlatMultiple * kFlatMultiple;
    return result;
  }

  void act(size_t i) {
    if (plan_->steps[i].commit && !finite_) return;
    try {
      actions_[i]();
    } catch (Error& e) {
      const PlanStep& step = plan_->steps[i];
      e.add_note("in step " + std::to_string(i) + " (" +
                 (step.kernel < 0 ? step.call.name : plan_->kernels[step.kernel].name) +
                 (step.scope.empty() ? "" : ", " + step.scope) + ") of " + plan_->graph);
      throw;
    }
  }

  std::shared_ptr<const Plan> plan_;
  KernelImages images_;
  std::shared_ptr<Store> store_;
  AlignedBuffer arena_;
  std::vector<AlignedBuffer> constants_, own_;
  bool finite_ = true;  // no guard of this run has tripped
  std::vector<std::byte*> addresses_;
  std::vector<Action> actions_;
  ThreadPool pool_;
};

}  // namespace

std::unique_ptr<Program> load(std::shared_ptr<const Plan> plan, KernelImages images,
                              std::shared_ptr<PersistentStore> share, int threads) {
  return std::make_unique<CpuProgram>(std::move(plan), std::move(images), std::move(share),
                                      threads);
}

}  // namespace fusec::cpu
