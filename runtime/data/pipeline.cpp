// The thread between the maker of packs and the ring of batches, and what the consumer sees of
// both.
#include "fusec/data/pipeline.h"

#include <optional>
#include <thread>
#include <utility>

#include "batch_maker.h"
#include "batch_ring.h"
#include "fusec/base/error.h"

namespace fusec::data {

struct BatchPipeline::Leased {
  Leased(std::shared_ptr<BatchRing> from, ReadyBatch what)
      : ring(std::move(from)), ready(std::move(what)) {}
  ~Leased() { ring->release(ready.slot); }
  Leased(const Leased&) = delete;
  Leased& operator=(const Leased&) = delete;

  std::shared_ptr<BatchRing> ring;  // a lease may outlive its pipeline
  ReadyBatch ready;
};

class BatchPipeline::Core {
 public:
  Core(const std::vector<std::string>& paths, const JsonlOptions& stream, PipelineOptions options,
       Render render, PipelineResources resources)
      : paths_(paths),
        stream_(stream),
        options_(std::move(options)),
        render_(std::move(render)),
        resources_(std::move(resources)),
        pixels_(options_.images.scale) {
    if (!render_) fail_user("pipeline: no render function was given");
    check_options(options_, resources_);
    shape_ = shape_of(options_);
    maker_ = make_maker();
    state_ = std::make_shared<PipelineState>(maker_->state());
    std::vector<std::unique_ptr<BatchSlot>> slots;
    for (int i = 0; i <= resources_.prefetch; ++i)
      slots.push_back(std::make_unique<BatchSlot>(shape_, options_.pad_token, resources_.allocate));
    ring_ = std::make_shared<BatchRing>(std::move(slots));
  }
  ~Core() { stop(); }

  void start() {
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  }

  std::shared_ptr<const Leased> next() {
    start();
    ReadyBatch ready = ring_->take(waited_);
    state_ = ready.state;
    if (!ready.slot) return nullptr;
    return std::make_shared<Leased>(ring_, std::move(ready));
  }

  const PackedBatch& empty_batch() {
    if (!empty_) empty_.emplace(shape_, options_.pad_token, resources_.allocate);
    return empty_->batch;
  }

  void set_state(const PipelineState& state) {
    std::unique_ptr<BatchMaker> maker = make_maker();
    maker->set_state(state);
    stop();
    ring_->reset();
    maker_ = std::move(maker);
    state_ = std::make_shared<PipelineState>(state);
  }

  const PipelineState& state() const { return *state_; }
  const BatchShape& shape() const { return shape_; }
  double waited() const { return waited_; }

 private:
  std::unique_ptr<BatchMaker> make_maker() const {
    return std::make_unique<BatchMaker>(paths_, stream_, options_, render_, resources_);
  }

  void stop() {
    if (!thread_.joinable()) return;
    ring_->stop();
    maker_->cancel();
    thread_.join();
  }

  void run() {
    BatchSlot* slot = nullptr;  // in work
    try {
      std::vector<Pack> packs;
      for (;;) {
        const BatchMaker::Made made = maker_->make(packs);
        if (made == BatchMaker::Made::cancelled) return;
        if (made == BatchMaker::Made::packs) {
          slot = ring_->acquire();
          if (!slot) return;
          slot->fill(packs, options_.packer.capacity, options_.images.tokens, pixels_);
          slot->batch.epoch = maker_->epoch();
          maker_->count(slot->batch);
        }
        auto state = std::make_shared<PipelineState>(maker_->state());
        if (slot) slot->batch.number = static_cast<uint64_t>(state->statistics.batches - 1);
        if (!ring_->publish({std::exchange(slot, nullptr), std::move(state)})) return;
      }
    } catch (...) {
      if (slot) ring_->put_back(slot);
      ring_->fail(std::current_exception());
    }
  }

  const std::vector<std::string> paths_;
  const JsonlOptions stream_;
  const PipelineOptions options_;
  const Render render_;
  const PipelineResources resources_;
  const io::PixelTable pixels_;
  BatchShape shape_;
  std::unique_ptr<BatchMaker> maker_;
  std::shared_ptr<BatchRing> ring_;
  std::optional<BatchSlot> empty_;
  std::shared_ptr<const PipelineState> state_;  // of the last batch that was given
  double waited_ = 0;
  std::thread thread_;
};

const PackedBatch& BatchPipeline::Lease::operator*() const {
  if (!leased_) fail_user("pipeline: an empty lease holds no batch; it ends an epoch");
  return leased_->ready.slot->batch;
}

const PipelineState& BatchPipeline::Lease::state() const {
  if (!leased_) fail_user("pipeline: an empty lease has no state; ask the pipeline");
  return *leased_->ready.state;
}

BatchPipeline::BatchPipeline(const std::vector<std::string>& paths, JsonlOptions stream,
                             PipelineOptions options, Render render, PipelineResources resources)
    : core_(std::make_unique<Core>(paths, stream, std::move(options), std::move(render),
                                   std::move(resources))) {}
BatchPipeline::~BatchPipeline() = default;

void BatchPipeline::start() { core_->start(); }

BatchPipeline::Lease BatchPipeline::next() {
  Lease lease;
  lease.leased_ = core_->next();
  return lease;
}

const PackedBatch& BatchPipeline::empty_batch() { return core_->empty_batch(); }
const PipelineState& BatchPipeline::state() const { return core_->state(); }
void BatchPipeline::set_state(const PipelineState& state) { core_->set_state(state); }
const BatchShape& BatchPipeline::shape() const { return core_->shape(); }
double BatchPipeline::wait_seconds() const { return core_->waited(); }

}  // namespace fusec::data
