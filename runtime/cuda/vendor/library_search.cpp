#include "vendor/library_search.h"

#include <dlfcn.h>

#include <filesystem>

#include "fusec/base/options.h"

namespace fusec::cuda {
namespace {

constexpr const char* kToolkit = "/usr/local/cuda";

// The folders of a toolkit (or of its libraries alone) under `root`.
std::vector<std::string> folders_of(const std::string& root) {
  return {root, root + "/lib64", root + "/lib", root + "/targets/x86_64-linux/lib",
          root + "/extras/CUPTI/lib64"};
}

void add_paths(std::vector<std::string>& out, const std::vector<std::string>& folders,
               const std::vector<std::string>& sonames) {
  for (const std::string& folder : folders)
    for (const std::string& name : sonames) out.push_back(folder + "/" + name);
}

std::string join(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

}  // namespace

std::string loader_error() {
  const char* why = dlerror();
  return why ? why : "unknown dlopen error";
}

std::string file_of(const void* address) {
  Dl_info info{};
  return dladdr(address, &info) && info.dli_fname ? info.dli_fname : "";
}

std::string folder_of(const void* address) {
  return std::filesystem::path(file_of(address)).parent_path().string();
}

OpenLibrary open_toolkit_library(const std::vector<std::string>& sonames) {
  std::string asked = env("FUSEC_CUDA_PATH");
  std::vector<std::string> names;
  if (!asked.empty()) {
    add_paths(names, folders_of(asked), sonames);
  } else {
    names = sonames;
    add_paths(names, folders_of(kToolkit), sonames);
    std::string own = folder_of(reinterpret_cast<const void*>(&open_toolkit_library));
    if (!own.empty()) add_paths(names, {own}, sonames);
  }
  OpenLibrary result;
  std::string refused;  // there, but cannot be opened
  for (const std::string& name : names) {
    result.handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (result.handle) {
      result.name = name;
      return result;
    }
    std::string why = loader_error();
    std::error_code ignored;
    if (refused.empty() && name.find('/') != std::string::npos &&
        std::filesystem::exists(name, ignored))
      refused = why;
  }
  result.problem = sonames.front() +
                   (refused.empty() ? " was not found" : " cannot be opened: " + refused) +
                   "; tried " + join(names);
  result.problem += asked.empty()
                        ? "; install the CUDA toolkit, or set FUSEC_CUDA_PATH to its folder"
                        : "; FUSEC_CUDA_PATH is \"" + asked + "\", the only place searched";
  return result;
}

}  // namespace fusec::cuda
