// Opens oneDNN by dlopen, so that users need no oneDNN to build or start, and keeps it on one
// thread: parallelism is our pool's, OpenMP would start a second set of threads and make the
// result depend on their number.
#include "onednn.h"

#include <dlfcn.h>

#include "fusec/base/error.h"
#include "fusec/base/options.h"

namespace fusec::cpu {
namespace {

struct Version {  // dnnl_version_t, the same in oneDNN 2 and 3 as far as read here
  int major, minor, patch;
};

// Fills `out` from an open library; says what is missing, or nothing.
std::string bind(void* library, const std::string& name, OneDnn& out) {
  auto* version = reinterpret_cast<const Version* (*)()>(dlsym(library, "dnnl_version"));
  auto* sgemm = reinterpret_cast<OneDnn::Sgemm>(dlsym(library, "dnnl_sgemm"));
  if (!version || !sgemm) return name + " exports no dnnl_sgemm";
  // dlsym on the library's own handle also searches what it was linked to: its OpenMP.
  auto* set_threads = reinterpret_cast<void (*)(int)>(dlsym(library, "omp_set_num_threads"));
  const Version& v = *version();
  out.function = sgemm;
  out.set_threads = set_threads;
  out.line = "oneDNN " + std::to_string(v.major) + "." + std::to_string(v.minor) + "." +
             std::to_string(v.patch) + " (" + name + ")";
  return "";
}

OneDnn open() {
  OneDnn result;
  std::string asked = env("FUSEC_ONEDNN");
  if (asked == "off") {
    result.line = "oneDNN off by FUSEC_ONEDNN";
    return result;
  }
  if (!asked.empty()) {
    void* library = dlopen(asked.c_str(), RTLD_NOW | RTLD_LOCAL);
    std::string problem;
    if (!library) {
      const char* why = dlerror();
      problem = why ? why : "unknown dlopen error";
    } else {
      problem = bind(library, asked, result);
    }
    if (!problem.empty())
      fail_device("FUSEC_ONEDNN names \"" + asked + "\", which cannot be used: " + problem +
                  "; unset it to search for the library, or set it to \"off\"");
    return result;
  }
  for (const char* name : {"libdnnl.so.3", "libdnnl.so.2"})
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL))
      if (bind(library, name, result).empty()) return result;
  result.line = "libdnnl.so.3, libdnnl.so.2 not found";
  return result;
}

}  // namespace

void OneDnn::sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
                   const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
                   int64_t ldc) const {
  thread_local bool single = false;
  if (!single && set_threads) set_threads(1);
  single = true;
  int status = function(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb,
                        beta, c, ldc);
  if (status != 0)
    fail_internal("dnnl_sgemm returned status " + std::to_string(status) + " for m = " +
                  std::to_string(m) + ", n = " + std::to_string(n) + ", k = " + std::to_string(k));
}

const OneDnn& onednn() {
  static const OneDnn library = open();
  return library;
}

}  // namespace fusec::cpu
