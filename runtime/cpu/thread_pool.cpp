// Turns "run this range of work units" into chunks claimed by a few threads. A training step makes
// about a thousand such calls of 10-200 us each, so workers spin for a short while before they
// sleep, the caller works too, and a call never waits for a worker that has not claimed anything.
// Calls from inside a task, or while another thread uses the pool, run on the calling thread.
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>

#include "fusec/base/error.h"
#include "fusec/base/options.h"
#include "fusec/cpu/cpu.h"
#include "memory.h"

namespace fusec::cpu {
namespace {

// How long a thread polls before it sleeps: about the serial gap between two parallel steps.
constexpr auto kSpin = std::chrono::microseconds(40);
constexpr int64_t kChunksPerThread = 4;
constexpr int kMaxThreads = 1024;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Polls `done` for kSpin; false when the time ran out.
template <typename Done>
bool spin_until(Done done) {
  auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

int thread_count(int requested) {
  if (requested <= 0)
    if (std::string e = env("FUSEC_THREADS"); !e.empty()) requested = std::atoi(e.c_str());
  return requested > 0 ? requested : available_cores();
}

struct ThreadPool::Impl {
  // Generation of the job in the upper half, chunks not yet claimed in the lower. A claim is a
  // compare-exchange that takes one away; success proves that the job is still the one it read.
  alignas(64) std::atomic<uint64_t> ticket{0};
  alignas(64) std::atomic<uint32_t> unfinished{0};
  alignas(64) std::atomic<uint32_t> epoch{0};  // what sleeping workers wait on
  std::atomic<int> sleepers{0};
  std::atomic<bool> busy{false}, stop{false};

  // The job; written before `ticket` is published, read only after a successful claim.
  const std::function<void(int64_t, int64_t)>* fn = nullptr;
  int64_t units = 0, chunk = 0;
  uint32_t chunks = 0;

  std::mutex error_mutex;
  std::exception_ptr error;
  std::vector<std::thread> workers;
  std::atomic<int64_t> scratch{0};  // bytes of the workers' scratch

  // Claims and runs chunks until none is left.
  void work() {
    uint64_t seen = ticket.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(seen) != 0) {
      if (!ticket.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel,
                                        std::memory_order_acquire))
        continue;
      int64_t index = chunks - static_cast<uint32_t>(seen);
      int64_t lo = index * chunk, hi = std::min(units, lo + chunk);
      try {
        (*fn)(lo, hi);
      } catch (...) {
        std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
      }
      if (unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished.notify_all();
      seen = ticket.load(std::memory_order_acquire);
    }
  }

  void worker() {
    account_scratch(&scratch);
    uint32_t known = 0;
    for (;;) {
      auto changed = [&] { return epoch.load(std::memory_order_acquire) != known; };
      if (!spin_until(changed)) {
        sleepers.fetch_add(1);
        while (epoch.load() == known) epoch.wait(known);
        sleepers.fetch_sub(1);
      }
      known = epoch.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_relaxed)) return;
      work();
    }
  }

  void wake() {
    epoch.fetch_add(1);
    if (sleepers.load() > 0) epoch.notify_all();
  }
};

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
  if (threads < 0 || threads > kMaxThreads)
    fail_user("the number of CPU threads must lie between 0 (all cores) and " +
              std::to_string(kMaxThreads) + "; got " + std::to_string(threads));
  if (threads == 0) threads = available_cores();
  try {
    for (int i = 1; i < threads; ++i) {
      impl_->workers.emplace_back([impl = impl_.get()] { impl->worker(); });
      pthread_setname_np(impl_->workers.back().native_handle(), "fusec-worker");
    }
  } catch (const std::system_error& e) {
    impl_->stop = true;
    impl_->wake();
    for (std::thread& t : impl_->workers) t.join();
    fail_device("could not start " + std::to_string(threads) + " CPU threads (" + e.what() +
                "); ask for fewer with FUSEC_THREADS");
  }
}

ThreadPool::~ThreadPool() {
  impl_->stop = true;
  impl_->wake();
  for (std::thread& t : impl_->workers) t.join();
}

int64_t ThreadPool::scratch_bytes() const { return impl_->scratch + thread_scratch_bytes(); }
int ThreadPool::size() const { return static_cast<int>(impl_->workers.size()) + 1; }

void ThreadPool::parallel(int64_t units, int64_t grain,
                          const std::function<void(int64_t, int64_t)>& fn) {
  if (units <= 0) return;
  grain = std::max<int64_t>(1, grain);
  if (units <= grain || size() == 1 || impl_->busy.exchange(true, std::memory_order_acquire))
    return fn(0, units);

  Impl& p = *impl_;
  int64_t grains = (units + grain - 1) / grain;
  int64_t wanted = kChunksPerThread * size();
  p.fn = &fn;
  p.units = units;
  p.chunk = grain * ((grains + wanted - 1) / wanted);
  p.chunks = static_cast<uint32_t>((units + p.chunk - 1) / p.chunk);
  p.unfinished.store(p.chunks, std::memory_order_relaxed);
  uint64_t generation = (p.ticket.load(std::memory_order_relaxed) >> 32) + 1;
  p.ticket.store(generation << 32 | p.chunks, std::memory_order_release);
  p.wake();
  p.work();
  if (!spin_until([&] { return p.unfinished.load(std::memory_order_acquire) == 0; }))
    for (uint32_t left; (left = p.unfinished.load(std::memory_order_acquire)) != 0;)
      p.unfinished.wait(left);

  std::exception_ptr error;
  {
    std::lock_guard lock(p.error_mutex);
    std::swap(error, p.error);
  }
  p.busy.store(false, std::memory_order_release);
  if (error) std::rethrow_exception(error);
}

}  // namespace fusec::cpu
