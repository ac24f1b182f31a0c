// Many translation units -> cubins: from the disk cache where it has them, else compiled side by
// side. Code depends on nothing but text, architecture, options and NVRTC's version (its output is
// the same for the same input), so these are the key.
#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <system_error>
#include <thread>

#include "fusec/base/timing.h"
#include "fusec/core/disk_cache.h"
#include "vendor/nvrtc.h"

namespace fusec::cuda {
namespace {

constexpr std::string_view kKind = "cubin 1";

// Compiles the units that `wanted` lists into `out`, the longest first, since a long one that
// starts last is waited for alone. Of several errors that of the first in this order is thrown.
void compile_all(const std::vector<SourceUnit>& units, const std::vector<size_t>& wanted,
                 const std::string& arch, int threads, std::vector<std::string>& out) {
  std::vector<std::exception_ptr> errors(wanted.size());
  std::vector<size_t> order = wanted;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return units[a].text.size() > units[b].text.size();
  });
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i = next++; i < wanted.size(); i = next++) {
      const SourceUnit& unit = units[order[i]];
      TimeSpan span("NVRTC, a thread of several: " + unit.name);
      try {
        out[order[i]] = compile_source(unit.text, unit.name, arch).bytes;
      } catch (...) {
        errors[i] = std::current_exception();
        next = wanted.size();
      }
    }
  };
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < std::min<size_t>(threads, wanted.size()); ++i) {
    try {
      helpers.emplace_back(work);
    } catch (const std::system_error&) {
      break;  // fewer threads then
    }
  }
  work();
  for (std::thread& t : helpers) t.join();
  for (const std::exception_ptr& e : errors)
    if (e) std::rethrow_exception(e);
}

}  // namespace

std::vector<std::string> compile_units(const std::vector<SourceUnit>& units,
                                       const std::string& arch, int threads, int* hits,
                                       int* misses) {
  if (hits) *hits = 0;
  if (misses) *misses = 0;
  std::vector<std::string> out(units.size());
  if (units.empty()) return out;
  if (threads <= 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));

  std::shared_ptr<DiskCache> cache = DiskCache::of_environment();
  std::string version = cache ? nvrtc_version() : "";
  if (version.empty()) version = require_nvrtc().version();
  std::string options;
  for (const std::string& option : compile_options(arch, version)) options += option + " ";

  std::map<std::string_view, size_t> first;  // text -> the first unit that has it
  std::vector<size_t> wanted;
  std::vector<Digest> keys(units.size());
  for (size_t i = 0; i < units.size(); ++i) {
    if (!first.emplace(units[i].text, i).second) continue;
    if (cache) {
      keys[i] = sha256_of_list({kKind, units[i].text, arch, options, version});
      if (std::optional<std::string> found = cache->get(keys[i])) {
        out[i] = std::move(*found);
        if (hits) ++*hits;
        continue;
      }
    }
    wanted.push_back(i);
  }
  // What was recorded of NVRTC without opening it may be out of date: then nothing found counts.
  if (!wanted.empty() && require_nvrtc().version() != version)
    return compile_units(units, arch, threads, hits, misses);
  compile_all(units, wanted, arch, threads, out);
  if (misses) *misses = static_cast<int>(wanted.size());
  if (cache)
    for (size_t i : wanted) cache->put(keys[i], out[i]);
  for (size_t i = 0; i < units.size(); ++i) {
    size_t source = first.at(units[i].text);
    if (source != i) out[i] = out[source];
  }
  return out;
}

}  // namespace fusec::cuda
