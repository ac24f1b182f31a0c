// Squares of images by path, kept while there is room: of a small set each file is decoded once,
// not once an epoch. What is kept stays; results do not depend on it.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "fusec/io/image.h"

namespace fusec::data {

class ImageCache {
 public:
  explicit ImageCache(size_t bytes) : left_(bytes) {}

  // Null if it is not there.
  std::shared_ptr<const io::Image> find(const std::string& path) const {
    std::lock_guard lock(mutex_);
    const auto at = images_.find(path);
    return at == images_.end() ? nullptr : at->second;
  }

  void keep(const std::string& path, const std::shared_ptr<const io::Image>& image) {
    const size_t bytes = image->rgb.size() + path.size() + kEntryBytes;
    std::lock_guard lock(mutex_);
    if (bytes <= left_ && images_.emplace(path, image).second) left_ -= bytes;
  }

 private:
  static constexpr size_t kEntryBytes = 128;  // about what the map takes for one

  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const io::Image>> images_;
  size_t left_;
};

}  // namespace fusec::data
