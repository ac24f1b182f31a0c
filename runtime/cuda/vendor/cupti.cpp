#include "vendor/cupti.h"

#include <dlfcn.h>

#include "fusec/base/error.h"
#include "fusec/base/options.h"
#include "vendor/library_search.h"

namespace fusec::cuda {
namespace {

constexpr int kNoPrivileges = 35;  // CUPTI_ERROR_INSUFFICIENT_PRIVILEGES

// The toolkit of a version of CUPTI, "12" or "13.0"; "" if its records may be of another layout.
std::string toolkit_of(uint32_t version) {
  if (version >= 19 && version <= 28) return "12";
  if (version / 10000 != 13) return "";
  return "13." + std::to_string(version / 100 % 100);
}

Cupti open() {
  Cupti c;
  const std::string asked = env("FUSEC_CUPTI");
  if (asked != "" && asked != "off")
    fail_user("FUSEC_CUPTI is \"" + asked + "\"; it must be empty or \"off\"");
  if (asked == "off") {
    c.problem = "FUSEC_CUPTI is \"off\"";
    return c;
  }
  // The library of the driver's CUDA, or an older one.
  std::vector<std::string> names = {"libcupti.so.12"};
  if (driver().version >= 13000) names.insert(names.begin(), "libcupti.so.13");
  OpenLibrary library = open_toolkit_library(names);
  c.problem = library.problem;
  if (!library.handle) return c;
#define FUSEC_BIND(symbol, ...)                                                    \
  c.symbol = reinterpret_cast<decltype(c.symbol)>(dlsym(library.handle, #symbol)); \
  if (!c.symbol && c.problem.empty()) c.problem = library.name + " exports no " #symbol;
  FUSEC_CUPTI_SYMBOLS(FUSEC_BIND)
#undef FUSEC_BIND
  if (!c.problem.empty()) return c;
  uint32_t version = 0;
  if (const int result = c.cuptiGetVersion(&version); result != 0) {
    c.problem = c.text_of(result, "cuptiGetVersion");
    return c;
  }
  const std::string toolkit = toolkit_of(version);
  if (toolkit.empty())
    c.problem = library.name + " is version " + std::to_string(version) +
                " of CUPTI; known are those of CUDA 12 (19 to 28) and 13 (13....)";
  c.line = "CUPTI of CUDA " + toolkit + " (" + library.name + ")";
  return c;
}

}  // namespace

std::string Cupti::text_of(int result, const char* call) const {
  const char* name = nullptr;
  if (cuptiGetResultString(result, &name) != 0 || !name) name = "an unknown error";
  std::string text = std::string(call) + ": " + name;
  if (result == kNoPrivileges)
    text += " (the driver lets administrators alone profile: NVreg_RestrictProfilingToAdminUsers)";
  return text;
}

const Cupti& cupti() {
  static const Cupti library = open();
  return library;
}

}  // namespace fusec::cuda
