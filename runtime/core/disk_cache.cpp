#include "fusec/core/disk_cache.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "disk_cache_folder.h"
#include "fusec/base/error.h"
#include "fusec/base/hash.h"
#include "fusec/base/options.h"

namespace fusec {
namespace {

constexpr std::string_view kMagic = "FUSECOBJ";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeader = 64;
constexpr int64_t kDefaultMegabytes = 1024;
// A sweep goes on to this share of the limit, so that the next one is far away.
constexpr double kSweepTo = 0.75;
// No writer takes this long over one object: its temporary file is an orphan.
constexpr time_t kOrphanSeconds = 900;

std::string name_of(const Digest& key) { return hex(key) + ".fso"; }

std::string header_of(const Digest& key, std::string_view object) {
  std::string out(kMagic);
  auto number = [&](uint64_t v, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(v >> (8 * i));
  };
  number(kVersion, 4);
  number(0, 4);
  out.append(reinterpret_cast<const char*>(key.data()), key.size());
  number(object.size(), 8);
  number(hash_text(object), 8);
  return out;
}

std::filesystem::path folder_of_environment() {
  if (std::string dir = env("FUSEC_CACHE_DIR"); !dir.empty())
    return std::filesystem::absolute(dir).lexically_normal();
  // The XDG base directory specification: a relative path is to be ignored.
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  if (xdg && xdg[0] == '/') return std::filesystem::path(xdg) / "fusec";
  const char* home = std::getenv("HOME");
  if (home && home[0] == '/') return std::filesystem::path(home) / ".cache" / "fusec";
  return {};
}

// A type of this file, so that no template over it is exported.
struct Known {
  std::shared_ptr<DiskCache> cache;
};

int64_t megabytes_of_environment() {
  std::string text = env("FUSEC_CACHE_SIZE");
  if (text.empty()) return kDefaultMegabytes;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > (1 << 30))
    fail_user("FUSEC_CACHE_SIZE is \"" + text +
              "\"; expected a whole number of megabytes, at least 1 (FUSEC_CACHE=0 turns the "
              "cache off)");
  return value;
}

}  // namespace

DiskCache::DiskCache(std::filesystem::path folder, int64_t limit,
                     std::function<void(const std::string&)> warn)
    : folder_(std::move(folder)), limit_(limit), warn_(std::move(warn)) {
  if (!warn_)
    warn_ = [](const std::string& text) {
      std::fprintf(stderr, "fusec: warning: %s\n", text.c_str());
    };
}

DiskCache::~DiskCache() = default;

std::shared_ptr<DiskCache> DiskCache::of_environment() {
  std::string on = env("FUSEC_CACHE");
  if (on == "0") return nullptr;
  if (!on.empty() && on != "1")
    fail_user("FUSEC_CACHE is \"" + on + "\"; expected 0 (off) or 1 (on)");
  std::filesystem::path folder = folder_of_environment();
  if (folder.empty()) return nullptr;
  int64_t limit = megabytes_of_environment() << 20;

  static std::mutex mutex;
  static std::vector<Known> known;
  std::lock_guard lock(mutex);
  for (const Known& k : known)
    if (k.cache->path() == folder && k.cache->limit() == limit) return k.cache;
  known.push_back({std::make_shared<DiskCache>(folder, limit)});
  return known.back().cache;
}

void DiskCache::give_up(const std::string& why) {
  if (std::exchange(warned_, true)) return;
  warn_("the folder of compiled code " + folder_.string() + " " + why +
        "; going on without it (FUSEC_CACHE_DIR names another one, FUSEC_CACHE=0 none)");
}

bool DiskCache::open(bool create) {
  if (open_ || off_) return open_ != nullptr;
  std::string why;
  open_ = Folder::open(folder_, create, &why);
  if (!why.empty()) {
    off_ = true;
    give_up(why);
  }
  return open_ != nullptr;
}

std::optional<std::string> DiskCache::get(const Digest& key) {
  std::lock_guard lock(mutex_);
  std::string bytes, name = name_of(key);
  if (!open(false) || !open_->read(name, &bytes)) {
    ++counts_.misses;
    return std::nullopt;
  }
  std::string_view object = std::string_view(bytes).substr(std::min(kHeader, bytes.size()));
  if (std::string_view(bytes).substr(0, kHeader) != header_of(key, object)) {
    open_->remove(name);
    ++counts_.damaged;
    ++counts_.misses;
    return std::nullopt;
  }
  ++counts_.hits;
  return bytes.substr(kHeader);
}

void DiskCache::put(const Digest& key, std::string_view object) {
  std::lock_guard lock(mutex_);
  int64_t size = disk_bytes(static_cast<int64_t>(kHeader + object.size()));
  if (full_ || size > limit_ || !open(true)) return;
  std::string why = open_->write(name_of(key), header_of(key, object), object);
  if (!why.empty()) {
    full_ = true;
    return give_up(why);
  }
  if (bytes_ >= 0) bytes_ += size;
  if (bytes_ < 0 || bytes_ > limit_) sweep();
}

// Other processes add objects that this one does not see until its next sweep, so a folder may pass
// the limit for a while; every process begins with a sweep.
void DiskCache::sweep() {
  open_->alone([&] {
    std::vector<Folder::File> files = open_->files();
    time_t now = time(nullptr);
    int64_t total = 0;
    for (const Folder::File& f : files) {
      if (f.temporary && now - f.used.tv_sec > kOrphanSeconds)
        open_->remove(f.name);
      else
        total += f.bytes;
    }
    bytes_ = total;
    if (total <= limit_) return;
    std::sort(files.begin(), files.end(), [](const Folder::File& a, const Folder::File& b) {
      if (a.used.tv_sec != b.used.tv_sec) return a.used.tv_sec < b.used.tv_sec;
      return a.used.tv_nsec < b.used.tv_nsec;
    });
    auto goal = static_cast<int64_t>(kSweepTo * static_cast<double>(limit_));
    for (const Folder::File& f : files) {
      if (bytes_ <= goal) break;
      if (f.temporary) continue;
      if (open_->remove(f.name)) ++counts_.evicted;
      bytes_ -= f.bytes;
    }
  });
}

DiskCacheCounts DiskCache::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

DiskCacheUsage DiskCache::usage() {
  std::lock_guard lock(mutex_);
  DiskCacheUsage out;
  if (!open(false)) return out;
  for (const Folder::File& f : open_->files()) {
    out.bytes += f.bytes;
    if (!f.temporary) ++out.entries;
  }
  return out;
}

int64_t DiskCache::clear() {
  std::lock_guard lock(mutex_);
  if (!open(false)) return 0;
  int64_t removed = 0;
  for (const Folder::File& f : open_->files())
    if (open_->remove(f.name) && !f.temporary) ++removed;
  bytes_ = -1;
  return removed;
}

}  // namespace fusec
