// The version of NVRTC, part of the key of everything that it compiled, without opening its 100 MB:
// the disk cache keeps it under what the search for the library depends on, together with the file
// that was found. A file of another size, time or number is opened again. Should the search find
// another library than the recorded one after all, whoever opens it sees its true version; what the
// recorded one compiled is still what the key says.
#include <sys/stat.h>

#include <cstdlib>
#include <mutex>

#include "fusec/base/options.h"
#include "fusec/core/disk_cache.h"
#include "vendor/library_search.h"
#include "vendor/nvrtc.h"

namespace fusec::cuda {
namespace {

// "<path>|<size>|<time>|<number>"; empty if there is no such file.
std::string identity(const std::string& path) {
  struct stat s {};
  if (path.empty() || stat(path.c_str(), &s) != 0) return "";
  return path + "|" + std::to_string(s.st_size) + "|" + std::to_string(s.st_mtim.tv_sec) + "." +
         std::to_string(s.st_mtim.tv_nsec) + "|" + std::to_string(s.st_ino);
}

Digest search_key() {
  const char* loader = std::getenv("LD_LIBRARY_PATH");
  return sha256_of_list({"nvrtc version 1", env("FUSEC_CUDA_PATH"), loader ? loader : "",
                         identity("/etc/ld.so.cache"),
                         folder_of(reinterpret_cast<const void*>(&open_toolkit_library))});
}

// A record is the version, a line end and the identity of the file that has it.
std::string recorded() {
  std::shared_ptr<DiskCache> cache = DiskCache::of_environment();
  std::optional<std::string> record = cache ? cache->get(search_key()) : std::nullopt;
  if (!record) return "";
  size_t line = record->find('\n');
  if (line == std::string::npos) return "";
  std::string file = record->substr(line + 1);
  if (identity(file.substr(0, file.find('|'))) != file) return "";
  return record->substr(0, line);
}

}  // namespace

std::string nvrtc_version(std::string* why) {
  if (why) why->clear();
  if (!nvrtc_searched())
    if (std::string version = recorded(); !version.empty()) return version;
  const Nvrtc& n = nvrtc();
  if (why) *why = n.problem;
  if (!n.problem.empty()) return "";
  static std::once_flag once;
  std::call_once(once, [&] {
    std::shared_ptr<DiskCache> cache = DiskCache::of_environment();
    std::string file = identity(file_of(reinterpret_cast<const void*>(n.nvrtcVersion)));
    if (cache && !file.empty() && recorded() != n.version())
      cache->put(search_key(), n.version() + "\n" + file);
  });
  return n.version();
}

}  // namespace fusec::cuda
