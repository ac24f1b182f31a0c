// Objects on disk under the digest of everything they were made from: compiled kernels and plans of
// one user, shared by all processes of that user.
//
// A folder holds one file an object, "<64 hexadecimal digits of the key>.fso", little endian:
//    0   8  magic "FUSECOBJ"
//    8  u32 format version        12  u32 0
//   16  32  key, so that a file that was renamed or mixed up is none of its key
//   48  u64 bytes of the object   56  u64 checksum of the object (hash.h)
//   64  the object
// A file that does not fit its header is removed and counts as absent. Files are written under a
// temporary name ("<process>-<random>.tmp") and renamed, so a reader sees all of one or nothing,
// whenever a writer dies; what a dead writer left is removed by a later sweep.
//
// The folder must belong to the user and be writable by nobody else, for what it holds is run.
// Whatever goes wrong with it costs one warning and the saved time, never an error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "fusec/base/sha256.h"

namespace fusec {

// Of one DiskCache object.
struct DiskCacheCounts {
  int64_t hits = 0, misses = 0;
  int64_t damaged = 0;  // of the misses: the file was there and unfit
  int64_t evicted = 0;
};

struct DiskCacheUsage {
  int64_t entries = 0, bytes = 0;
};

class FUSEC_API DiskCache {
 public:
  // Files may take `limit` bytes. `warn` gets the one warning; by default it goes to stderr.
  DiskCache(std::filesystem::path folder, int64_t limit,
            std::function<void(const std::string&)> warn = {});
  ~DiskCache();

  // The process's cache as FUSEC_CACHE, FUSEC_CACHE_DIR and FUSEC_CACHE_SIZE say, the same object
  // for the same settings; null if it is off or the user has no home. A setting that makes no sense
  // is a user Error.
  static std::shared_ptr<DiskCache> of_environment();

  // The object of that key, if there is one. From any thread, as put().
  std::optional<std::string> get(const Digest& key);
  // Stores an object; the first one of a process, and any that passes the limit, lets the least
  // recently used ones go.
  void put(const Digest& key, std::string_view object);

  const std::filesystem::path& path() const { return folder_; }
  int64_t limit() const { return limit_; }
  DiskCacheCounts counts() const;
  // What lies in the folder, and removing it all (the number of objects removed).
  DiskCacheUsage usage();
  int64_t clear();

 private:
  class Folder;
  bool open(bool create);
  void give_up(const std::string& why);
  void sweep();

  const std::filesystem::path folder_;
  const int64_t limit_;
  std::function<void(const std::string&)> warn_;
  mutable std::mutex mutex_;
  std::unique_ptr<Folder> open_;
  bool off_ = false;   // nothing works any more
  bool full_ = false;  // reading goes on
  bool warned_ = false;
  int64_t bytes_ = -1;  // what the folder held at the last sweep and we added; -1: not swept
  DiskCacheCounts counts_;
};

}  // namespace fusec
