// The folder of a DiskCache, held open: every file operation is relative to the descriptor that was
// checked, so nobody can put another folder in its place afterwards.
#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/core/disk_cache.h"

namespace fusec {

class DiskCache::Folder {
 public:
  struct File {
    std::string name;
    int64_t bytes = 0;  // of disk: whole blocks
    timespec used = {};
    bool temporary = false;
  };

  // Opens `path`, made (for the user alone) if `create`. Returns null and says why: "" if it is
  // merely absent.
  static std::unique_ptr<Folder> open(const std::filesystem::path& path, bool create,
                                      std::string* why);
  ~Folder();
  Folder(const Folder&) = delete;

  // False if there is no such file. Marks the file as used, at most once in kTouchSeconds.
  bool read(const std::string& name, std::string* bytes) const;
  // "" if written whole, else the reason; nothing is left behind.
  std::string write(const std::string& name, std::string_view header, std::string_view bytes);
  bool remove(const std::string& name) const;
  // Files of the cache, no others.
  std::vector<File> files() const;
  // Calls `work` unless another process does the same at this moment.
  void alone(const std::function<void()>& work) const;

 private:
  explicit Folder(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

// Disk blocks of a file of that size.
int64_t disk_bytes(int64_t size);

}  // namespace fusec
