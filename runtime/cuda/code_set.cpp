#include "code_set.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <utility>

#include "fusec/base/timing.h"

namespace fusec::cuda {
namespace {

// The driver lets loads overlap in part only.
constexpr size_t kMostThreads = 4;

}  // namespace

CodeSet::~CodeSet() { wait(); }

size_t CodeSet::want(const std::string& cubin, const std::string& name, const std::string& entry,
                     int64_t dynamic_shared) {
  auto [it, fresh] = by_cubin_.emplace(cubin, units_.size());
  if (fresh) {
    units_.push_back(std::make_unique<Unit>());
    units_.back()->cubin = &cubin;
    units_.back()->name = name;
  }
  Unit& unit = *units_[it->second];
  if (unit.started) wait();  // its wants are another thread's until then
  size_t i = 0;
  while (i < unit.wants.size() &&
         (unit.wants[i].entry != entry || unit.wants[i].dynamic_shared != dynamic_shared))
    ++i;
  if (i == unit.wants.size()) unit.wants.push_back({entry, dynamic_shared, nullptr, nullptr});
  tickets_.emplace_back(it->second, i);
  return tickets_.size() - 1;
}

void CodeSet::load(Unit& unit, const std::string& made_by) const {
  try {
    Current current(gpu_);
    unit.code = std::make_unique<Code>(gpu_, *unit.cubin, unit.name, made_by);
    for (Want& w : unit.wants) {
      try {
        w.kernel = unit.code->kernel(w.entry, w.dynamic_shared);
      } catch (...) {
        w.error = std::current_exception();
      }
    }
  } catch (...) {
    unit.error = std::current_exception();
  }
}

void CodeSet::start(const std::string& made_by) {
  auto todo = std::make_shared<std::vector<Unit*>>();
  for (const auto& unit : units_)
    if (!std::exchange(unit->started, true)) todo->push_back(unit.get());
  if (todo->empty()) return;
  auto next = std::make_shared<std::atomic<size_t>>(0);
  auto work = [this, todo, next, made_by] {
    TimeSpan span("loading code, a thread of several");
    int64_t bytes = 0;
    size_t count = 0;
    for (size_t i = (*next)++; i < todo->size(); i = (*next)++, ++count) {
      bytes += static_cast<int64_t>((*todo)[i]->cubin->size());
      load(*(*todo)[i], made_by);
    }
    span.note(std::to_string(count) + " cubins, " + std::to_string(bytes >> 10) + " KB");
  };
  for (size_t i = 0; i < std::min(kMostThreads, todo->size()); ++i) {
    try {
      loading_.push_back(std::async(std::launch::async, work));
    } catch (const std::system_error&) {  // no thread to be had
      if (i == 0) work();
      break;
    }
  }
}

void CodeSet::wait() {
  for (std::future<void>& f : loading_) f.wait();
  loading_.clear();
}

CuKernel CodeSet::kernel(size_t ticket) {
  wait();
  auto [at, which] = tickets_.at(ticket);
  Unit& unit = *units_[at];
  if (unit.error) std::rethrow_exception(unit.error);
  Want& w = unit.wants[which];
  if (w.error) std::rethrow_exception(w.error);
  if (!w.kernel) w.kernel = unit.code->kernel(w.entry, w.dynamic_shared);
  return w.kernel;
}

std::vector<std::unique_ptr<Code>> CodeSet::take() {
  wait();
  std::vector<std::unique_ptr<Code>> out;
  for (const auto& unit : units_)
    if (unit->code) out.push_back(std::move(unit->code));
  return out;
}

}  // namespace fusec::cuda
