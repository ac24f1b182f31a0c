// The name of a device -> its backend.
//
//   auto      the first GPU if there is one that can compile, else the CPU
//   cpu
//   cuda      the first GPU;  cuda:2  the third
//   sm_90a    code for that architecture, to look at on any machine; nothing runs
#include "backend.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <new>
#include <system_error>

#include "fusec/cuda/cuda.h"

namespace fusec::driver {
namespace {

int ordinal_of(const std::string& device) {
  if (device == "cuda") return 0;
  int n = -1;
  const char* begin = device.data() + 5;  // behind "cuda:"
  const char* end = device.data() + device.size();
  auto [stop, failure] = std::from_chars(begin, end, n);
  if (failure != std::errc() || stop != end || n < 0)
    fail_user("device \"" + device +
              "\": expected the number of a GPU behind \"cuda:\", as cuda:0");
  return n;
}

// "sm_90a": sm_, a number, at most one letter.
bool names_architecture(const std::string& device) {
  constexpr std::string_view kPrefix = "sm_", kDigits = "0123456789";
  if (!device.starts_with(kPrefix)) return false;
  size_t end = std::min(device.find_first_not_of(kDigits, kPrefix.size()), device.size());
  return end > kPrefix.size() &&
         (end == device.size() || (end + 1 == device.size() && std::islower(device[end])));
}

}  // namespace

std::unique_ptr<Backend> make_backend(const CompileOptions& options) {
  const std::string& device = options.device;
  if (device == "cpu") return make_cpu_backend(options);
  if (device == "auto") {
    bool gpu = cuda::device_count() > 0 && !cuda::nvrtc_version().empty();
    return gpu ? make_cuda_backend(options, 0, "") : make_cpu_backend(options);
  }
  if (names_architecture(device)) return make_cuda_backend(options, 0, device);
  if (device != "cuda" && !device.starts_with("cuda:"))
    fail_user("unknown device \"" + device +
              "\"; expected \"auto\", \"cpu\", \"cuda\", \"cuda:N\", or an architecture such as "
              "\"sm_90a\" to look at its code");
  int ordinal = ordinal_of(device);
  std::string why;
  int count = cuda::device_count(&why);
  if (count == 0)
    fail_device("device \"" + device + "\" is not available: " + why +
                "; use device \"cpu\", or \"auto\" to take what there is");
  if (ordinal >= count)
    fail_device("device \"" + device + "\" is not available: this machine has " +
                std::to_string(count) + (count == 1 ? " GPU, cuda:0" : " GPUs, from cuda:0 on"));
  return make_cuda_backend(options, ordinal, "");
}

}  // namespace fusec::driver

namespace fusec {

std::shared_ptr<void> host_memory(size_t bytes, const std::string& device) {
  constexpr std::align_val_t kAlign{256};
  if (device == "auto" || device == "cuda" || device.starts_with("cuda:")) {
    try {
      const int ordinal = device == "auto" ? 0 : driver::ordinal_of(device);
      const bool used = device != "auto" || !cuda::nvrtc_version().empty();
      if (used && ordinal < cuda::device_count()) return cuda::pinned_memory(ordinal, bytes);
    } catch (const Error&) {  // a limit of the system; compile() tells what else may be wrong
    }
  }
  return {::operator new(bytes, kAlign), [](void* p) { ::operator delete(p, kAlign); }};
}

std::future<void> start_device(const std::string& device) {
  if (device != "auto" && device != "cuda" && !device.starts_with("cuda:")) return {};
  try {
    return std::async(std::launch::async, [device] {
      try {
        if (device == "auto" && cuda::nvrtc_version().empty()) return;  // the CPU is taken
        int ordinal = device == "auto" ? 0 : driver::ordinal_of(device);
        if (ordinal < cuda::device_count()) cuda::open_ahead(ordinal);
      } catch (const Error&) {  // compile() tells it
      }
    });
  } catch (const std::system_error&) {  // no thread to be had: started by compile()
    return {};
  }
}

}  // namespace fusec
