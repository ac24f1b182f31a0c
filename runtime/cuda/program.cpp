// A plan on one GPU: memory at the planned offsets, everything resolved at load. The first run()
// launches step by step; what it launched is recorded at the second and from then on replayed as
// one CUDA graph. A run ends with one copy of the status block to the host.
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "bind_launches.h"
#include "copies_ahead.h"
#include "draw.h"
#include "fusec/base/bytes.h"
#include "fusec/base/error.h"
#include "fusec/base/timing.h"
#include "fusec/core/checked_run.h"
#include "gemm_steps.h"
#include "graph.h"
#include "pinned.h"
#include "profiled_run.h"
#include "staging.h"
#include "status.h"
#include "steps.h"
#include "vendor/nvrtc.h"

namespace fusec::cuda {
namespace {

// From here on a copy pays for its threads.
constexpr size_t kStagedBytes = size_t{8} << 20;
constexpr int64_t kStatusBytes = 256;  // a multiple of kArenaAlign: what follows is aligned
static_assert(sizeof(Status) <= kStatusBytes && kStatusBytes % kArenaAlign == 0);

// Bytes of the counters behind the status.
int64_t aligned_counters(const Plan& plan, const CallTarget& target) {
  return (call_counter_bytes(plan, target) + kStatusBytes - 1) / kStatusBytes * kStatusBytes;
}

// A Status in pinned memory, where a recorded copy may write.
class PinnedStatus {
 public:
  explicit PinnedStatus(const Gpu& gpu) : gpu_(gpu) {
    FUSEC_CU(cuMemHostAlloc(&memory_, sizeof(Status), 0), "allocating pinned memory");
    *get() = Status();
  }
  ~PinnedStatus() {
    release_on(gpu_, [this](const Driver& d) { d.cuMemFreeHost(memory_); });
  }
  PinnedStatus(const PinnedStatus&) = delete;
  Status* get() const { return static_cast<Status*>(memory_); }

 private:
  const Gpu& gpu_;
  void* memory_ = nullptr;
};

class CudaProgram final : public Program {
 public:
  // The GPU's context must be current.
  CudaProgram(const Gpu& gpu, std::shared_ptr<const Plan> plan,
              const std::vector<KernelCode>& kernels, std::shared_ptr<PersistentStore> share,
              const LoadOptions& options)
      : plan_(std::move(plan)),
        gpu_(gpu),
        options_(options),
        target_(options.target ? *options.target : call_target(gpu.info, options.deterministic)),
        stream_(gpu),
        status_(gpu),
        ahead_(gpu),
        graph_(gpu),
        traced_(gpu) {
    if (kernels.size() != plan_->kernels.size())
      fail_internal("plan " + plan_->graph + " has " + std::to_string(plan_->kernels.size()) +
                    " kernels, but code for " + std::to_string(kernels.size()));
    adopt(share);
    {
      TimeSpan span("memory");
      place_buffers();
      span.note(size_text(measured_bytes()));
    }
    place_.arena = arena_.address();
    place_.status = fixed_.address();
    place_.counters = fixed_.address() + kStatusBytes;
    place_.tables = fixed_.address() + static_cast<CuAddress>(kStatusBytes + counter_bytes_);
    place_.workspace = workspace_.address();
    place_.workspace_bytes = workspace_.bytes();
    gemms_.emplace(*plan_, gpu_, place_, options_);
    if (options_.tune_gemms) {
      stream_.wait("placing " + plan_->graph);  // it runs products
      gemms_->bind();
      if (gemms_->measured())
        FUSEC_CU(cuMemsetD8Async(arena_.address(), 0, static_cast<size_t>(arena_.bytes()),
                                 stream_.get()),
                 "clearing the arena");
    }
    gemms_->start(stream_);
    bound_ = bind_steps(*plan_, kernels, gpu_, place_, target_, options_);
    TimeSpan span("waiting for cleared memory and tables");
    copy_to_device(place_.tables, bound_.tables.data(),
                   static_cast<int64_t>(bound_.tables.size() * sizeof(uint64_t)), stream_,
                   "writing the launch tables");
    stream_.wait("loading " + plan_->graph);
  }

  void write(int buffer, const void* data, size_t bytes) override {
    checked(buffer, bytes);
    if (bytes >= kStagedBytes && !is_pinned(data, bytes)) {
      fill({{buffer, [data](int64_t begin, int64_t size, void* out) {
               std::memcpy(out, static_cast<const std::byte*>(data) + begin,
                           static_cast<size_t>(size));
             }}});
      return;
    }
    const auto start = std::chrono::steady_clock::now();
    Current current(gpu_);
    CuAddress to = checked(buffer, bytes);
    copy_to_device(to, data, static_cast<int64_t>(bytes), stream_, "writing " + name(buffer));
    stream_.wait("writing " + name(buffer));
    if (warm_) return;
    ++small_writes_;
    small_write_seconds_ +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  bool stage(int buffer, const void* data, size_t bytes) override {
    Current current(gpu_);
    ahead_.start(checked(buffer, bytes), data, static_cast<int64_t>(bytes), name(buffer));
    return true;
  }

  void take_staged() override {
    Current current(gpu_);
    ahead_.take(stream_);
  }

  void fill(const std::vector<Filling>& fillings) override {
    Current current(gpu_);
    std::vector<DeviceFilling> wanted;
    for (const Filling& f : fillings) {
      int64_t bytes = plan_->buffers.at(static_cast<size_t>(f.buffer)).type.bytes();
      wanted.push_back({checked(f.buffer, static_cast<size_t>(bytes)), bytes, &f.make});
    }
    fill_device(gpu_, stream_, wanted,
                fillings.size() == 1 ? "writing " + name(fillings[0].buffer)
                                     : "writing " + std::to_string(fillings.size()) + " tensors");
  }

  bool draw_normal(const std::vector<NormalFilling>& fillings) override {
    Current current(gpu_);
    std::vector<DeviceDraw> draws;
    for (const NormalFilling& f : fillings) {
      const TensorType& type = plan_->buffers.at(static_cast<size_t>(f.buffer)).type;
      const CuAddress to = checked(f.buffer, static_cast<size_t>(type.bytes()));
      draws.push_back({to, numel(type.shape), f});
    }
    return cuda::draw_normal(gpu_, stream_, target_, options_, draws);
  }

  void read(int buffer, void* data, size_t bytes) const override {
    Current current(gpu_);
    CuAddress from = checked(buffer, bytes);
    copy_to_host(data, from, static_cast<int64_t>(bytes), stream_, "reading " + name(buffer));
    stream_.wait("reading " + name(buffer));
  }

  bool run() override {
    Current current(gpu_);
    auto everything = [this] {
      begin();
      for (size_t i = 0; i < plan_->steps.size(); ++i) act(i);
      fetch_status();
    };
    std::optional<TimeSpan> span;
    if (!warm_) {
      tell_time(
          "writes before the first run (" + std::to_string(small_writes_) + " of less than 8 MiB)",
          small_write_seconds_);
      span.emplace("first run");
    }
    gemms_->wait();
    if (warm_ && !graph_.recorded() && graph_.problem().empty()) {
      TimeSpan recording("recording the CUDA graph");
      graph_.record(stream_, everything);
    }
    if (graph_.recorded())
      graph_.launch(stream_);
    else
      everything();
    finish("running " + plan_->graph);
    warm_ = true;
    return status_.get()->skip == 0;
  }

  CheckedRun run_checked(bool commit) override {
    std::vector<std::byte> copy;
    CheckedSteps steps{
        [this](int step) { run_step(step); }, [this] { return status_.get()->skip != 0; },
        [&](int buffer) -> const std::byte* {
          copy.resize(static_cast<size_t>(plan_->buffers[buffer].type.bytes()));
          read(buffer, copy.data(), copy.size());
          return copy.data();
        },
        [this](int buffer, const std::byte* bytes) {
          write(buffer, bytes, static_cast<size_t>(plan_->buffers[buffer].type.bytes()));
        }};
    return fusec::run_checked(*plan_, steps, commit);
  }

  void run_step(int step) override {
    if (step < 0 || step >= static_cast<int>(plan_->steps.size()))
      fail_internal("plan " + plan_->graph + " has no step " + std::to_string(step));
    Current current(gpu_);
    gemms_->wait();
    if (step == 0) begin();
    act(static_cast<size_t>(step));
    fetch_status();
    finish("running " + step_name(*plan_, step));
  }

  ProfiledRun run_profiled() override {
    Current current(gpu_);
    gemms_->wait();
    RunParts parts{plan_->steps.size(), [this] { begin(); }, [this] { fetch_status(); },
                   [this](size_t i) { act(i); }, [this](size_t i) { return kernels_of(i); }};
    std::string why = untraced_;
    if (!warm_)
      why = "the plan had not run before";
    else if (!graph_.problem().empty())
      why = "no CUDA graph: " + graph_.problem();
    std::optional<ProfiledRun> run;
    if (why.empty()) {
      run = traced_.run(stream_, parts, &why);
      untraced_ = why;
    }
    if (!run)
      run = {times_between_events(stream_, parts), "events between launches, not by CUPTI: " + why};
    finish("running " + plan_->graph);
    return std::move(*run);
  }

  std::shared_ptr<PersistentStore> store() const override { return store_; }

  int64_t measured_bytes() const override {
    int64_t total =
        arena_.bytes() + constants_.bytes() + fixed_.bytes() + workspace_.bytes() + ahead_.bytes();
    for (const PlanBuffer& b : plan_->buffers)
      if (is_persistent(b.cls) && b.cls != BufferClass::constant) total += store_->bytes(b.name);
    return total;
  }

  bool on_gpu() const override { return true; }
  std::string backend(std::string_view work) const override {
    std::string compiled = "compiled for " + gpu_.info.arch();
    if (std::string version = options_.nvrtc.empty() ? nvrtc_version() : options_.nvrtc;
        !version.empty())
      compiled = "compiled by NVRTC " + version + " for " + gpu_.info.arch();
    if (work == "gemm") return gemm_line();
    if (work == "attention") return "own CUDA kernels, " + compiled;
    if (work == "optimizer") {
      size_t steps = 0, segments = 0;
      for (const PlanStep& step : plan_->steps)
        if (step.segments.size() > 1) ++steps, segments += step.segments.size();
      return "fused CUDA kernels, " + std::to_string(segments) + " tensor updates in " +
             std::to_string(steps) + " horizontal steps";
    }
    if (work == "kernels")
      return std::to_string(plan_->kernels.size()) + " kernels " + compiled + ", " +
             (graph_.problem().empty() ? "1 CUDA graph" : "no CUDA graph: " + graph_.problem());
    fail_internal("backend(): no kind of work called \"" + std::string(work) +
                  "\"; expected gemm, attention, optimizer or kernels");
  }

 private:
  void adopt(const std::shared_ptr<PersistentStore>& share) {
    store_ = std::dynamic_pointer_cast<Store>(share);
    if (share && !store_)
      fail_user(
          "the executable to share parameters with does not run on a GPU; compile both for one "
          "device");
    if (!store_) store_ = std::make_shared<Store>(gpu_);
    if (&store_->gpu() != &gpu_)
      fail_user("the executable to share parameters with runs on GPU " +
                std::to_string(store_->gpu().info.ordinal) + ", this one on GPU " +
                std::to_string(gpu_.info.ordinal) + "; compile both for one device");
  }

  void place_buffers() {
    arena_ = DeviceBlock(gpu_, stream_, plan_->arena_bytes, "the arena of the step");
    int64_t constants = 0;
    for (const PlanBuffer& b : plan_->buffers)
      if (b.cls == BufferClass::constant) constants += reserved_bytes(b.type);
    constants_ = DeviceBlock(gpu_, stream_, constants, "the constants of the step");
    constants = 0;
    for (const PlanBuffer& b : plan_->buffers) {
      if (b.cls == BufferClass::constant) {
        CuAddress to = constants_.address() + static_cast<CuAddress>(constants);
        copy_to_device(to, b.data.data(), static_cast<int64_t>(b.data.size()), stream_,
                       "writing a constant");
        constants += reserved_bytes(b.type);
        place_.buffers.push_back(to);
      } else if (is_persistent(b.cls)) {
        place_.buffers.push_back(store_->get(b, stream_));
      } else {
        if (b.offset < 0 || b.offset + reserved_bytes(b.type) > plan_->arena_bytes)
          fail_internal("buffer " + b.name + " lies outside the arena of " +
                        std::to_string(plan_->arena_bytes) + " bytes");
        place_.buffers.push_back(arena_.address() + static_cast<CuAddress>(b.offset));
      }
    }
    counter_bytes_ = aligned_counters(*plan_, target_);
    fixed_ = DeviceBlock(gpu_, stream_, kStatusBytes + counter_bytes_ + table_bytes(*plan_),
                         "launch tables");
    workspace_ = DeviceBlock(gpu_, stream_, call_workspace_bytes(*plan_, target_),
                             "the workspace of library calls");
  }

  std::string name(int buffer) const {
    const PlanBuffer& b = plan_->buffers[buffer];
    return std::string(name_of(b.cls)) + " \"" + b.name + "\"";
  }

  CuAddress checked(int buffer, size_t bytes) const {
    if (buffer < 0 || buffer >= static_cast<int>(place_.buffers.size()))
      fail_internal("plan " + plan_->graph + " has no buffer " + std::to_string(buffer));
    const PlanBuffer& b = plan_->buffers[buffer];
    if (static_cast<int64_t>(bytes) != b.type.bytes())
      fail_user(name(buffer) + " is " + b.type.str() + ", " + std::to_string(b.type.bytes()) +
                " bytes; got " + std::to_string(bytes));
    if (b.cls == BufferClass::temporary) gemms_->wait();  // its thread uses their memory
    return place_.buffers[buffer];
  }

  void begin() {
    // Calls leave their counters at 0, unless an error or a guard stopped them half-way.
    FUSEC_CU(cuMemsetD8Async(place_.status, 0, static_cast<size_t>(kStatusBytes + counter_bytes_),
                             stream_.get()),
             "clearing the status and the counters");
  }

  const Step& bound(size_t i) const {
    return is_gemm(plan_->steps[i]) ? gemms_->step(i) : bound_.steps[i];
  }

  void act(size_t i) {
    try {
      bound(i).go(stream_.get());
    } catch (Error& e) {
      e.add_note("in " + step_name(*plan_, static_cast<int>(i)));
      throw;
    }
  }

  void fetch_status() {
    copy_to_host(status_.get(), place_.status, sizeof(Status), stream_, "reading the status");
  }

  // Waits for the run; a bad index is its Error.
  void finish(const std::string& doing) {
    stream_.wait(doing);
    std::vector<std::byte> copy;
    check_status(*plan_, *status_.get(), [&](int buffer) -> const std::byte* {
      copy.resize(static_cast<size_t>(plan_->buffers[buffer].type.bytes()));
      read(buffer, copy.data(), copy.size());
      return copy.data();
    });
  }

  // By their names; none for a GEMM of the library.
  std::vector<std::string> kernels_of(size_t step) const {
    std::vector<std::string> names;
    for (const Launch& l : bound(step).launches) names.push_back(l.entry);
    return names;
  }

  std::string gemm_line() const {
    gemms_->wait();
    const std::string& why = gemms_->why_own();
    std::string own = std::to_string(gemms_->own()) + " by an own kernel";
    if (gemms_->by_library() == 0 && gemms_->own() > 0) return own + " (" + why + ")";
    const CublasLt& lt = cublaslt();
    if (!lt.problem.empty()) return "own kernel (" + lt.problem + ")";
    std::string line = lt.line + ", tf32 " + (options_.tf32 ? "on" : "off");
    if (options_.tune_gemms) line += ", the fastest of those measured";
    return gemms_->own() == 0 ? line : line + "; " + own + " (" + why + ")";
  }

  // Destroyed from the last to the first: what runs, then the memory it uses, then the stream.
  std::shared_ptr<const Plan> plan_;
  const Gpu& gpu_;
  const LoadOptions options_;
  const CallTarget target_;
  Stream stream_;
  PinnedStatus status_;
  std::shared_ptr<Store> store_;
  DeviceBlock arena_, constants_;
  DeviceBlock fixed_;  // the status, then the tables of kernels
  DeviceBlock workspace_;
  CopiesAhead ahead_;
  int64_t counter_bytes_ = 0;  // behind the status
  Placement place_;
  BoundSteps bound_;
  Graph graph_;
  TracedReplay traced_;
  std::string untraced_;  // why profiles are not of traced_; empty until that is known
  bool warm_ = false;     // every kernel has been launched once
  int small_writes_ = 0;  // before the first run
  double small_write_seconds_ = 0;
  std::optional<GemmSteps> gemms_;  // the first to go: its thread uses what is above
};

}  // namespace

std::unique_ptr<Program> load(std::shared_ptr<const Plan> plan, std::vector<KernelCode> kernels,
                              std::shared_ptr<PersistentStore> share, const LoadOptions& options) {
  const Gpu& g = gpu(options.device);
  Current current(g);
  return std::make_unique<CudaProgram>(g, std::move(plan), kernels, std::move(share), options);
}

int64_t workspace_bytes(const Plan& plan) {
  DeviceInfo usual;  // an H100
  usual.major = 9, usual.sm_count = CallTarget().sm_count;
  usual.shared_per_block = CallTarget().shared_per_block;
  const CallTarget target = call_target(usual, false);
  return kStatusBytes + aligned_counters(plan, target) + table_bytes(plan) +
         call_workspace_bytes(plan, target);
}

}  // namespace fusec::cuda
