#include "vendor/cublaslt.h"

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <system_error>

#include "fusec/base/error.h"
#include "fusec/base/timing.h"
#include "staging.h"
#include "vendor/library_search.h"

namespace fusec::cuda {
namespace {

CublasLt open() {
  CublasLt lt;
  OpenLibrary library = open_toolkit_library({"libcublasLt.so.13", "libcublasLt.so.12"});
  lt.problem = library.problem;
  if (!library.handle) return lt;
#define FUSEC_BIND(symbol, ...)                                                      \
  lt.symbol = reinterpret_cast<decltype(lt.symbol)>(dlsym(library.handle, #symbol)); \
  if (!lt.symbol && lt.problem.empty()) lt.problem = library.name + " exports no " #symbol;
  FUSEC_CUBLASLT_SYMBOLS(FUSEC_BIND)
#undef FUSEC_BIND
  if (!lt.problem.empty()) return lt;
  size_t version = lt.cublasLtGetVersion();  // 130100 for 13.1.0, 120805 for 12.8.5
  lt.line = "cuBLASLt " + std::to_string(version / 10000) + "." +
            std::to_string(version / 100 % 100) + " (" + library.name + ")";
  return lt;
}

}  // namespace

const CublasLt& cublaslt() {
  static const CublasLt& library = *new CublasLt(open());  // threads may outlive main()
  return library;
}

std::vector<std::future<void>> open_ahead(int ordinal) {
  std::vector<std::future<void>> out;
  auto start = [&](auto work) {
    try {
      out.push_back(std::async(std::launch::async, [work] {
        try {
          work();
        } catch (const Error&) {
        }
      }));
    } catch (const std::system_error&) {  // no thread to be had: opened when needed
    }
  };
  start([ordinal] {
    TimeSpan span("starting the GPU, in the background");
    const Gpu& g = gpu(ordinal);
    span.end();
    Current current(g);
    prepare_staging(g);
  });
  start([ordinal] {
    TimeSpan opening("opening cuBLASLt, in the background");
    if (!cublaslt().problem.empty()) return;
    opening.end();
    const Gpu& g = gpu(ordinal);
    TimeSpan span("starting cuBLASLt, in the background");
    Current current(g);
    std::string why;
    cublaslt_handle(g, &why);
  });
  return out;
}

LtHandle cublaslt_handle(const Gpu& gpu, std::string* why) {
  const CublasLt& lt = cublaslt();
  if (!lt.problem.empty()) {
    *why = lt.problem;
    return nullptr;
  }
  // Kept for good, as the GPU's context is.
  static std::mutex mutex;
  static std::map<int, LtHandle>& known = *new std::map<int, LtHandle>;
  std::lock_guard lock(mutex);
  LtHandle& handle = known[gpu.info.ordinal];
  if (handle) return handle;
  int status = lt.cublasLtCreate(&handle);
  if (status == 0) return handle;
  handle = nullptr;
  *why =
      lt.line + " does not start on " + gpu.info.name + ": " + lt.cublasLtGetStatusString(status);
  return nullptr;
}

}  // namespace fusec::cuda
