#include "commands.h"

#include <fmt/format.h>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/core/disk_cache.h"
#include "fusec/io/file.h"

namespace fusec::tool {

std::string code_line(const Inspection& result) {
  const CompileTimes& t = result.times;
  return fmt::format("code: {} kernels, {} from the cache, {} compiled",
                     t.cache_hits + t.cache_misses, t.cache_hits, t.cache_misses);
}

void write_saved_plan(const std::string& image, const std::string& device,
                      const std::string& path) {
  if (path.empty()) fail_user("build: expected the file to write: fusec build MODEL -o model.fsc");
  io::write_file(path, image);
  fmt::print("{}: {:.2f} MB for {}; load it with fusec/runtime.h\n", path,
             static_cast<double>(image.size()) / 1e6,
             device == "cpu"    ? "this processor"
             : device == "auto" ? "this machine"
                                : device);
}

void cache_command(const std::vector<std::string>& words) {
  bool clear = words.size() == 1 && words[0] == "clear";
  if (!words.empty() && !clear)
    fail_user("cache: found \"" + words[0] + "\"" + suggest(words[0], {"clear"}) +
              "; expected fusec cache, or fusec cache clear");
  std::shared_ptr<DiskCache> cache = DiskCache::of_environment();
  if (!cache) return fmt::print("the cache of compiled code is off (FUSEC_CACHE=0, or no home)\n");
  if (clear) fmt::print("removed  {}\n", cache->clear());
  DiskCacheUsage usage = cache->usage();
  fmt::print("path     {}\nentries  {}\nsize     {:.2f} MB of {} MB\n", cache->path().string(),
             usage.entries, static_cast<double>(usage.bytes) / (1 << 20), cache->limit() >> 20);
}

}  // namespace fusec::tool
