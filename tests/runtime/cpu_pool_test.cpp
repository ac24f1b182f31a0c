// The thread pool: coverage, range alignment, exceptions, nesting, reuse after sleeping.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "fusec/base/error.h"
#include "fusec/cpu/cpu.h"

using fusec::cpu::ThreadPool;

TEST_CASE("pool: every unit runs exactly once, in ranges that are multiples of the grain") {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    for (int64_t units : {0, 1, 7, 64, 1000, 100003})
      for (int64_t grain : {1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> hits(units);
        std::atomic<bool> aligned{true};
        pool.parallel(units, grain, [&](int64_t lo, int64_t hi) {
          if (lo % grain != 0 || (hi != units && hi % grain != 0)) aligned = false;
          for (int64_t i = lo; i < hi; ++i) ++hits[i];
        });
        int64_t once = 0;
        for (auto& h : hits) once += h == 1;
        CHECK(once == units);
        CHECK(aligned);
      }
  }
}

TEST_CASE("pool: thousands of short calls, with pauses long enough for workers to sleep") {
  ThreadPool pool(3);
  std::atomic<int64_t> total{0};
  for (int round = 0; round < 3000; ++round) {
    pool.parallel(16, 1, [&](int64_t lo, int64_t hi) { total += hi - lo; });
    if (round % 300 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(total == 3000 * 16);
}

TEST_CASE("pool: an exception of a task reaches the caller and the pool stays usable") {
  ThreadPool pool(2);
  auto bad = [](int64_t lo, int64_t hi) {
    if (lo <= 50 && 50 < hi) throw std::runtime_error("unit 50");
  };
  CHECK_THROWS_WITH_AS(pool.parallel(100, 1, bad), "unit 50", std::runtime_error);
  std::atomic<int64_t> total{0};
  pool.parallel(100, 1, [&](int64_t lo, int64_t hi) { total += hi - lo; });
  CHECK(total == 100);
}

TEST_CASE("pool: calls from inside a task and from several threads complete") {
  ThreadPool pool(2);
  std::atomic<int64_t> total{0};
  auto outer = [&] {
    for (int i = 0; i < 200; ++i)
      pool.parallel(4, 1, [&](int64_t lo, int64_t hi) {
        pool.parallel(10 * (hi - lo), 1, [&](int64_t a, int64_t b) { total += b - a; });
      });
  };
  std::thread other(outer);
  outer();
  other.join();
  CHECK(total == 2 * 200 * 40);
}

TEST_CASE("pool: an impossible number of threads is a user error") {
  CHECK_THROWS_AS(ThreadPool(-1), fusec::Error);
  CHECK_THROWS_AS(ThreadPool(1 << 20), fusec::Error);
}
