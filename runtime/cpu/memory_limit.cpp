// The memory that this process may hold: the least of physical memory, the limits of its cgroups
// (v2 memory.max or v1 memory.limit_in_bytes, of its own group and all above) and what RLIMIT_AS
// leaves of the address space.
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "fusec/cpu/cpu.h"

namespace fusec::cpu {
namespace {

void lower(MemoryLimit& limit, int64_t bytes, const std::string& what) {
  if (bytes < limit.bytes) limit = {bytes, what};
}

// The number in a file; "max" and unreadable files set no limit.
void lower_by_file(MemoryLimit& limit, const std::string& path, const std::string& what) {
  int64_t bytes = 0;
  if (std::ifstream file(path); file >> bytes) lower(limit, bytes, what);
}

// /proc/self/cgroup holds "0::/path" (v2) or "4:memory:/path" (v1).
void lower_by_cgroups(MemoryLimit& limit) {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    bool unified = controllers.empty();
    if (!unified && ("," + controllers + ",").find(",memory,") == std::string::npos) continue;
    std::string root = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    std::string name = unified ? "memory.max" : "memory.limit_in_bytes";
    for (std::string path = line.substr(second + 1);; path = path.substr(0, path.rfind('/'))) {
      lower_by_file(limit, root + (path == "/" ? "" : path) + "/" + name, "the cgroup's " + name);
      if (path.empty() || path == "/") break;
    }
  }
}

}  // namespace

MemoryLimit memory_limit() {
  int64_t page = sysconf(_SC_PAGESIZE);
  MemoryLimit limit{sysconf(_SC_PHYS_PAGES) * page, "physical memory"};
  lower_by_cgroups(limit);
  rlimit space{};
  if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY) {
    int64_t used = 0;  // pages
    std::ifstream("/proc/self/statm") >> used;
    lower(limit, std::max<int64_t>(0, static_cast<int64_t>(space.rlim_cur) - used * page),
          "what RLIMIT_AS leaves");
  }
  return limit;
}

}  // namespace fusec::cpu
