#include "disk_cache_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>

namespace fusec {
namespace {

constexpr time_t kTouchSeconds = 600;
constexpr int64_t kBlock = 4096;
constexpr const char* kLock = "sweep.lock";

struct Descriptor {
  int fd;
  explicit Descriptor(int f) : fd(f) {}
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  Descriptor(const Descriptor&) = delete;
};

std::string reason(int code) { return std::strerror(code); }

// Makes the folder and those above it, for the user alone.
std::string make_folders(const std::filesystem::path& path) {
  std::filesystem::path so_far;
  for (const std::filesystem::path& part : path) {
    so_far /= part;
    if (mkdir(so_far.c_str(), 0700) != 0 && errno != EEXIST && errno != EISDIR) {
      int code = errno;  // of a folder that is there, other errors may hide that
      if (access(so_far.c_str(), F_OK) != 0) return "cannot be made: " + reason(code);
    }
  }
  return "";
}

bool ends(std::string_view name, std::string_view ending) { return name.ends_with(ending); }

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

int64_t disk_bytes(int64_t size) { return (size + kBlock - 1) / kBlock * kBlock; }

std::unique_ptr<DiskCache::Folder> DiskCache::Folder::open(const std::filesystem::path& path,
                                                           bool create, std::string* why) {
  why->clear();
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  int fd = ::open(path.c_str(), kFlags);
  if (fd < 0 && errno == ENOENT) {
    if (!create) return nullptr;
    *why = make_folders(path);
    if (!why->empty()) return nullptr;
    fd = ::open(path.c_str(), kFlags);
  }
  if (fd < 0) {
    *why = "cannot be opened: " + reason(errno);
    return nullptr;
  }
  std::unique_ptr<Folder> folder(new Folder(fd));
  struct stat st = {};
  if (fstat(fd, &st) != 0) {
    *why = "cannot be examined: " + reason(errno);
  } else if (st.st_uid != geteuid()) {
    *why = "belongs to user " + std::to_string(st.st_uid) + ", not to " +
           std::to_string(geteuid()) + " who runs this, so its code is not trusted";
  } else if (st.st_mode & (S_IWGRP | S_IWOTH)) {
    *why = "can be written by other users, so its code is not trusted (chmod go-w mends that)";
  }
  if (!why->empty()) return nullptr;
  return folder;
}

DiskCache::Folder::~Folder() { close(descriptor_); }

bool DiskCache::Folder::read(const std::string& name, std::string* bytes) const {
  Descriptor file(openat(descriptor_, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat st = {};
  if (file.fd < 0 || fstat(file.fd, &st) != 0 || !S_ISREG(st.st_mode)) return false;
  bytes->resize(static_cast<size_t>(st.st_size));
  size_t got = 0;
  while (got < bytes->size()) {
    ssize_t n = ::read(file.fd, bytes->data() + got, bytes->size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    got += static_cast<size_t>(n);
  }
  bytes->resize(got);
  // Reading rarely updates access times on today's systems, so the modification time is the clock.
  if (time(nullptr) - st.st_mtime > kTouchSeconds) futimens(file.fd, nullptr);
  return true;
}

std::string DiskCache::Folder::write(const std::string& name, std::string_view header,
                                     std::string_view bytes) {
  // Random, because processes of two containers may have one number.
  std::random_device random;
  const std::string temporary =
      std::to_string(getpid()) + "-" + std::to_string(random()) + std::to_string(random()) + ".tmp";
  int code = 0;
  {
    Descriptor file(openat(descriptor_, temporary.c_str(),
                           O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.fd < 0) return "cannot be written: " + reason(errno);
    if (!write_all(file.fd, header) || !write_all(file.fd, bytes)) code = errno;
    int closed = close(file.fd);  // some file systems report a full disk only here
    file.fd = -1;
    if (closed != 0 && code == 0) code = errno;
  }
  if (code == 0 && renameat(descriptor_, temporary.c_str(), descriptor_, name.c_str()) != 0)
    code = errno == ENOENT ? 0 : errno;  // somebody cleared the folder: nothing is stored, no harm
  if (code == 0) return "";
  unlinkat(descriptor_, temporary.c_str(), 0);
  return "cannot be written: " + reason(code);
}

bool DiskCache::Folder::remove(const std::string& name) const {
  return unlinkat(descriptor_, name.c_str(), 0) == 0;
}

std::vector<DiskCache::Folder::File> DiskCache::Folder::files() const {
  std::vector<File> out;
  int again = openat(descriptor_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* dir = again < 0 ? nullptr : fdopendir(again);
  if (!dir) {
    if (again >= 0) close(again);
    return out;
  }
  while (const dirent* entry = readdir(dir)) {
    std::string_view name = entry->d_name;
    bool object = name.size() == 68 && ends(name, ".fso"), temporary = ends(name, ".tmp");
    struct stat st = {};
    if ((!object && !temporary) ||
        fstatat(descriptor_, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    out.push_back({std::string(name), disk_bytes(st.st_size), st.st_mtim, temporary});
  }
  closedir(dir);
  return out;
}

void DiskCache::Folder::alone(const std::function<void()>& work) const {
  Descriptor lock(openat(descriptor_, kLock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (lock.fd < 0 || flock(lock.fd, LOCK_EX | LOCK_NB) != 0) return;
  work();
}

}  // namespace fusec
