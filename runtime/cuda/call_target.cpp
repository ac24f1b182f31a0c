// What the code of library calls may know of a GPU: from the GPU, or from an architecture's name.
#include "fusec/cuda/call_target.h"

#include <charconv>

#include "fusec/base/error.h"
#include "fusec/base/options.h"
#include "fusec/cuda/cuda.h"

namespace fusec::cuda {
namespace {

bool portable_attention() {
  std::string attention = env("FUSEC_ATTENTION");
  if (attention != "" && attention != "hopper" && attention != "portable")
    fail_user("FUSEC_ATTENTION is \"" + attention +
              "\"; it must be empty, \"hopper\" or \"portable\"");
  return attention == "portable";
}

bool lanes_arrive() { return env("FUSEC_RACECHECK") == "1"; }

// Most shared memory of a block, by the tables of compute capabilities in NVIDIA's programming
// guide; of one that is not known here what every GPU since 7.5 has.
int64_t shared_of(int major, int minor) {
  const int version = 10 * major + minor;
  if (version == 80 || version == 87) return 163 << 10;
  if (version == 86 || version == 89 || major == 12) return 99 << 10;
  if (major == 9 || major == 10 || major == 11) return 227 << 10;
  return 64 << 10;
}

}  // namespace

CallTarget call_target(const DeviceInfo& info, bool deterministic) {
  return {info.major,    info.minor,           info.sm_count, info.shared_per_block,
          deterministic, portable_attention(), lanes_arrive()};
}

CallTarget call_target(const std::string& arch, bool deterministic) {
  CallTarget target;
  int version = 0;
  size_t digits = arch.find_first_of("0123456789");
  if (digits != std::string::npos)
    std::from_chars(arch.data() + digits, arch.data() + arch.size(), version);
  if (version == 0)
    fail_user("\"" + arch + "\" is no architecture; expected one such as \"sm_90a\"");
  target.major = version / 10, target.minor = version % 10;
  target.shared_per_block = shared_of(target.major, target.minor);
  target.deterministic = deterministic;
  target.portable_attention = portable_attention();
  target.lanes_arrive = lanes_arrive();
  return target;
}

}  // namespace fusec::cuda
