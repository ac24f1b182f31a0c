// The store of compiled code: what it keeps, what it mistrusts, and that nothing which happens to
// its folder, or to a process that writes there, costs more than a miss.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <sstream>

#include "fusec/base/error.h"
#include "fusec/core/disk_cache.h"

using namespace fusec;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kRoomy = 64 << 20;

// A folder of its own, removed at the end.
struct Scratch {
  fs::path root;
  Scratch() {
    std::string name = (fs::temp_directory_path() / "fusec-cache-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()));
    root = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
};

Digest key(int i) { return sha256("key " + std::to_string(i)); }
std::string object(int i, size_t size = 3000) {
  std::string out(size, '\0');
  for (size_t j = 0; j < size; ++j) out[j] = static_cast<char>(j * 7 + j / 256 + i);
  return out;
}
fs::path file_of(const fs::path& folder, int i) { return folder / (hex(key(i)) + ".fso"); }

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}
void spit(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}
mode_t mode_of(const fs::path& path) {
  struct stat st = {};
  REQUIRE(stat(path.c_str(), &st) == 0);
  return st.st_mode & 0777;
}

// A cache that remembers its warnings.
struct Watched {
  std::vector<std::string> warnings;
  DiskCache cache;
  explicit Watched(const fs::path& folder, int64_t limit = kRoomy)
      : cache(folder, limit, [this](const std::string& w) { warnings.push_back(w); }) {}
};

// Runs `work` in a process of its own and returns its exit status.
template <class Work>
int in_child(const Work& work) {
  pid_t child = fork();
  if (child == 0) _exit(work());
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

TEST_CASE("objects come back, also to another cache object, from private files") {
  Scratch scratch;
  fs::path folder = scratch.root / "deep" / "er";
  {
    Watched w(folder);
    CHECK_FALSE(w.cache.get(key(1)));
    CHECK_FALSE(fs::exists(folder));  // looking makes nothing
    w.cache.put(key(1), object(1));
    w.cache.put(key(2), "");
    CHECK(w.warnings.empty());
  }
  CHECK(mode_of(folder) == 0700);
  CHECK(mode_of(file_of(folder, 1)) == 0600);
  Watched w(folder);
  CHECK(w.cache.get(key(1)) == object(1));
  CHECK(w.cache.get(key(2)) == "");
  CHECK_FALSE(w.cache.get(key(3)));
  CHECK(w.cache.counts().hits == 2);
  CHECK(w.cache.counts().misses == 1);
  CHECK(w.cache.usage().entries == 2);
  CHECK(w.cache.clear() == 2);
  CHECK(w.cache.usage().entries == 0);
  CHECK_FALSE(w.cache.get(key(1)));
  w.cache.put(key(1), object(5));
  CHECK(w.cache.get(key(1)) == object(5));
  CHECK(w.warnings.empty());
}

TEST_CASE("a file that is cut, changed in any byte, or of another key is removed and counted") {
  Scratch scratch;
  Watched w(scratch.root);
  w.cache.put(key(1), object(1, 200));
  const std::string good = slurp(file_of(scratch.root, 1));
  REQUIRE(good.size() == 264);
  int64_t damaged = 0;
  auto check = [&](const std::string& bytes) {
    spit(file_of(scratch.root, 1), bytes);
    CHECK_FALSE(w.cache.get(key(1)));
    CHECK_FALSE(fs::exists(file_of(scratch.root, 1)));
    CHECK(w.cache.counts().damaged == ++damaged);
  };
  for (size_t n = 0; n < good.size(); ++n) check(good.substr(0, n));
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    check(bad);
  }
  check(good + "x");
  w.cache.put(key(2), object(2));
  check(slurp(file_of(scratch.root, 2)));
  w.cache.put(key(1), object(1, 200));
  CHECK(w.cache.get(key(1)) == object(1, 200));
  CHECK(w.warnings.empty());
}

TEST_CASE("processes that write and read the same keys at once see whole objects only") {
  Scratch scratch;
  constexpr int kProcesses = 4, kKeys = 6, kRounds = 60;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    pid_t child = fork();
    if (child == 0) {
      int bad = 0;
      DiskCache cache(scratch.root, kRoomy, [&](const std::string&) { bad = 1; });
      for (int round = 0; round < kRounds; ++round)
        for (int k = 0; k < kKeys; ++k) {
          cache.put(key(k), object(k, 30000));
          auto found = cache.get(key(k));
          if (!found || *found != object(k, 30000)) bad = 1;
        }
      _exit(bad || cache.counts().damaged);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  Watched w(scratch.root);
  CHECK(w.cache.usage().entries == kKeys);
  for (int k = 0; k < kKeys; ++k) CHECK(w.cache.get(key(k)) == object(k, 30000));
  for (const auto& f : fs::directory_iterator(scratch.root)) CHECK(f.path().extension() != ".tmp");
}

TEST_CASE("a writer killed at any moment leaves a usable cache, and its leftovers go") {
  Scratch scratch;
  for (int round = 0; round < 25; ++round) {
    pid_t child = fork();
    if (child == 0) {
      DiskCache cache(scratch.root, int64_t{1} << 30);
      for (int i = 0;; ++i) cache.put(key(i % 7), object(i % 7, 400000));
    }
    usleep(2000 + 997 * round);
    REQUIRE(kill(child, SIGKILL) == 0);
    REQUIRE(waitpid(child, nullptr, 0) == child);
    Watched w(scratch.root);
    for (int k = 0; k < 7; ++k)
      if (auto found = w.cache.get(key(k))) CHECK(*found == object(k, 400000));
    CHECK(w.cache.counts().damaged == 0);
    w.cache.put(key(100), object(100));
    CHECK(w.cache.get(key(100)) == object(100));
    CHECK(w.warnings.empty());
  }
  // A temporary file as a killed writer leaves it: young ones may be a living writer's.
  spit(scratch.root / "7-1.tmp", "half");
  spit(scratch.root / "7-2.tmp", "half");
  timespec old[2] = {{time(nullptr) - 4000, 0}, {time(nullptr) - 4000, 0}};
  REQUIRE(utimensat(AT_FDCWD, (scratch.root / "7-1.tmp").c_str(), old, 0) == 0);
  Watched w(scratch.root);
  w.cache.put(key(101), object(101));
  CHECK_FALSE(fs::exists(scratch.root / "7-1.tmp"));
  CHECK(fs::exists(scratch.root / "7-2.tmp"));
}

TEST_CASE("the folder stays under its limit: what was used longest ago goes, foreign files stay") {
  Scratch scratch;
  constexpr int64_t kLimit = 1 << 20;
  spit(scratch.root / "notes.txt", "mine");
  Watched w(scratch.root, kLimit);
  auto age = [&](int i, int seconds) {
    timespec t[2] = {{time(nullptr) - seconds, 0}, {time(nullptr) - seconds, 0}};
    REQUIRE(utimensat(AT_FDCWD, file_of(scratch.root, i).c_str(), t, 0) == 0);
  };
  for (int i = 0; i < 20; ++i) {
    w.cache.put(key(i), object(i, 40000));
    age(i, 100000 - i);
  }
  CHECK(w.cache.counts().evicted == 0);
  CHECK(w.cache.get(key(0)));  // used now, so no longer the oldest
  for (int i = 20; i < 200; ++i) {
    w.cache.put(key(i), object(i, 40000));
    age(i, 100000 - i);
    CHECK(w.cache.usage().bytes <= kLimit);
    if (i == 30) {
      CHECK(w.cache.counts().evicted > 0);
      CHECK(fs::exists(file_of(scratch.root, 0)));
      CHECK_FALSE(fs::exists(file_of(scratch.root, 1)));
    }
  }
  CHECK(w.cache.get(key(199)) == object(199, 40000));
  w.cache.put(key(1000), object(1, 2 << 20));  // larger than all: not kept, nothing evicted for it
  CHECK_FALSE(w.cache.get(key(1000)));
  CHECK(w.cache.get(key(199)));
  CHECK(slurp(scratch.root / "notes.txt") == "mine");
  CHECK(w.warnings.empty());
  // Another process that finds a folder over its own limit brings it down with its first object.
  Watched small(scratch.root, kLimit / 4);
  small.cache.put(key(2000), object(2, 1000));
  CHECK(small.cache.usage().bytes <= kLimit / 4);
}

TEST_CASE("a folder that can not be made: one warning, no error") {
  Scratch scratch;
  spit(scratch.root / "file", "");
  Watched w(scratch.root / "file" / "cache");
  for (int i = 0; i < 3; ++i) {
    w.cache.put(key(i), object(i));
    CHECK_FALSE(w.cache.get(key(i)));
  }
  REQUIRE(w.warnings.size() == 1);
  CHECK(w.warnings[0].find((scratch.root / "file" / "cache").string()) != std::string::npos);
  CHECK(w.warnings[0].find("FUSEC_CACHE_DIR") != std::string::npos);
}

TEST_CASE("a disk that takes no more: one warning, what was kept is still read") {
  Scratch scratch;
  Watched(scratch.root).cache.put(key(1), object(1));
  int status = in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit most = {8192, 8192};
    setrlimit(RLIMIT_FSIZE, &most);
    Watched w(scratch.root);
    w.cache.put(key(2), object(2, 100000));
    w.cache.put(key(3), object(3, 100000));
    bool good = w.warnings.size() == 1 && w.cache.get(key(1)) == object(1) && !w.cache.get(key(2));
    return good ? 0 : 1;
  });
  CHECK(status == 0);
  for (const auto& f : fs::directory_iterator(scratch.root)) CHECK(f.path().extension() != ".tmp");
}

TEST_CASE("a folder that others may write is refused with one warning") {
  Scratch scratch;
  Watched(scratch.root).cache.put(key(1), object(1));
  for (mode_t mode : {0770, 0702}) {
    REQUIRE(chmod(scratch.root.c_str(), mode) == 0);
    Watched w(scratch.root);
    CHECK_FALSE(w.cache.get(key(1)));
    w.cache.put(key(2), object(2));
    CHECK_FALSE(fs::exists(file_of(scratch.root, 2)));
    REQUIRE(w.warnings.size() == 1);
    CHECK(w.warnings[0].find("chmod go-w") != std::string::npos);
  }
  REQUIRE(chmod(scratch.root.c_str(), 0755) == 0);  // others may look
  Watched w(scratch.root);
  CHECK(w.cache.get(key(1)) == object(1));
}

TEST_CASE("a folder of another user is refused, one that is read-only is only read") {
  if (geteuid() != 0) {
    MESSAGE("[SKIP] needs root, to become somebody else");
    return;
  }
  constexpr uid_t kNobody = 65534;
  Scratch scratch;
  Watched(scratch.root / "cache").cache.put(key(1), object(1));
  REQUIRE(chmod(scratch.root.c_str(), 0755) == 0);
  REQUIRE(chmod((scratch.root / "cache").c_str(), 0755) == 0);
  auto as_nobody = [&](auto check) {
    return in_child([&] {
      if (setuid(kNobody) != 0) return 9;
      Watched w(scratch.root / "cache");
      return check(w) ? 0 : 1;
    });
  };
  CHECK(as_nobody([&](Watched& w) {
          w.cache.put(key(2), object(2));
          return !w.cache.get(key(1)) && w.warnings.size() == 1 &&
                 w.warnings[0].find("belongs to user 0") != std::string::npos;
        }) == 0);
  REQUIRE(chown((scratch.root / "cache").c_str(), kNobody, kNobody) == 0);
  REQUIRE(chown(file_of(scratch.root / "cache", 1).c_str(), kNobody, kNobody) == 0);
  REQUIRE(chmod((scratch.root / "cache").c_str(), 0500) == 0);
  CHECK(as_nobody([&](Watched& w) {
          w.cache.put(key(2), object(2));
          w.cache.put(key(3), object(3));
          return w.cache.get(key(1)) == object(1) && w.warnings.size() == 1;
        }) == 0);
}

TEST_CASE("settings of the environment") {
  Scratch scratch;
  int status = in_child([&] {
    auto set = [](const char* name, const std::string& value) { setenv(name, value.c_str(), 1); };
    set("FUSEC_CACHE_DIR", scratch.root.string() + "/a");
    unsetenv("FUSEC_CACHE");
    unsetenv("FUSEC_CACHE_SIZE");
    auto first = DiskCache::of_environment();
    if (!first || first->path() != scratch.root / "a" || first->limit() != int64_t{1} << 30)
      return 1;
    if (DiskCache::of_environment() != first) return 2;
    set("FUSEC_CACHE_SIZE", "3");
    if (DiskCache::of_environment()->limit() != 3 << 20) return 3;
    for (const char* bad : {"0", "-1", "2GB", "1e3", "99999999999999999999"}) {
      set("FUSEC_CACHE_SIZE", bad);
      try {
        DiskCache::of_environment();
        return 4;
      } catch (const Error&) {
      }
    }
    unsetenv("FUSEC_CACHE_SIZE");
    set("FUSEC_CACHE", "0");
    if (DiskCache::of_environment()) return 5;
    unsetenv("FUSEC_CACHE");
    unsetenv("FUSEC_CACHE_DIR");
    set("XDG_CACHE_HOME", "/x");
    set("HOME", "/h");
    if (DiskCache::of_environment()->path() != "/x/fusec") return 6;
    set("XDG_CACHE_HOME", "relative");
    if (DiskCache::of_environment()->path() != "/h/.cache/fusec") return 7;
    unsetenv("HOME");
    if (DiskCache::of_environment()) return 8;
    return 0;
  });
  CHECK(status == 0);
}
