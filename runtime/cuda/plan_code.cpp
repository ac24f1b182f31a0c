// Code of a whole plan <-> bytes, and the files of saved plans that hold it; see plan_code.h.
#include "fusec/cuda/plan_code.h"

#include <algorithm>
#include <charconv>

#include "fusec/base/error.h"
#include "fusec/plan/byte_reader.h"
#include "fusec/plan/plan_image.h"

namespace fusec::cuda {
namespace {

constexpr uint64_t kDeterministic = 1, kPortable = 2, kLanesArrive = 4;

// Distinct cubins, numbered as they come.
class Cubins {
 public:
  uint64_t number_of(const std::string& cubin) {
    auto [it, fresh] = known_.emplace(cubin, list_.size());
    if (fresh) list_.push_back(&cubin);
    return it->second;
  }
  const std::vector<const std::string*>& list() const { return list_; }

 private:
  std::map<std::string_view, uint64_t> known_;
  std::vector<const std::string*> list_;
};

// "sm_86" -> 86; 0 for a name with a letter, whose code runs on that architecture alone.
int plain_version(const std::string& arch) {
  int version = 0;
  if (!arch.starts_with("sm_")) return 0;
  const char* end = arch.data() + arch.size();
  auto [stop, failure] = std::from_chars(arch.data() + 3, end, version);
  return failure == std::errc() && stop == end ? version : 0;
}

int version_of(const std::string& arch) {
  int version = 0;
  if (arch.starts_with("sm_")) std::from_chars(arch.data() + 3, arch.data() + arch.size(), version);
  return version;
}

}  // namespace

std::string to_bytes(const PlanCode& code) {
  Cubins cubins;
  for (const KernelCode& k : code.kernels) cubins.number_of(k.cubin);
  for (const auto& [text, cubin] : code.calls) cubins.number_of(cubin);
  std::string out;
  put_text(out, code.arch);
  put_text(out, code.nvrtc);
  put_number(out, static_cast<uint64_t>(code.target.major), 4);
  put_number(out, static_cast<uint64_t>(code.target.minor), 4);
  put_number(out, static_cast<uint64_t>(code.target.sm_count), 4);
  put_number(out, static_cast<uint64_t>(code.target.shared_per_block), 8);
  put_number(out,
             (code.target.deterministic ? kDeterministic : 0) |
                 (code.target.portable_attention ? kPortable : 0) |
                 (code.target.lanes_arrive ? kLanesArrive : 0),
             4);
  put_number(out, code.tf32 ? 1 : 0, 4);
  put_number(out, cubins.list().size(), 4);
  for (const std::string* cubin : cubins.list()) put_text(out, *cubin);
  put_number(out, code.kernels.size(), 4);
  for (const KernelCode& k : code.kernels) {
    put_number(out, cubins.number_of(k.cubin), 4);
    put_text(out, k.entry);
    put_number(out, k.table ? 1 : 0, 4);
    put_number(out, static_cast<uint64_t>(k.dynamic_shared), 8);
  }
  put_number(out, code.calls.size(), 4);
  for (const auto& [text, cubin] : code.calls) {
    out.append(reinterpret_cast<const char*>(text.data()), text.size());
    put_number(out, cubins.number_of(cubin), 4);
  }
  return out;
}

PlanCode parse_plan_code(std::string_view bytes) {
  ByteReader in(bytes, "code of a plan");
  PlanCode code;
  code.arch = in.text("the architecture");
  code.nvrtc = in.text("NVRTC's version");
  // What no GPU has would overflow where sizes are multiplied.
  auto count = [&](int width, uint64_t most, const char* field) {
    uint64_t v = in.number(width, field);
    if (v > most)
      in.fail("found " + std::to_string(v) + " as " + field + ", expected at most " +
              std::to_string(most));
    return static_cast<int64_t>(v);
  };
  code.target.major = static_cast<int>(count(4, 1000, "the architecture's major version"));
  code.target.minor = static_cast<int>(count(4, 1000, "the architecture's minor version"));
  code.target.sm_count = static_cast<int>(count(4, 1 << 20, "the number of multiprocessors"));
  code.target.shared_per_block = count(8, 1 << 30, "the shared memory of a block");
  if (code.target.sm_count == 0) in.fail("found 0 multiprocessors, expected some");
  uint64_t flags = static_cast<uint64_t>(count(4, 7, "the flags"));
  code.target.deterministic = flags & kDeterministic;
  code.target.portable_attention = flags & kPortable;
  code.target.lanes_arrive = flags & kLanesArrive;
  code.tf32 = count(4, 1, "tf32") != 0;
  std::vector<std::string_view> cubins;
  for (uint64_t n = in.number(4, "the number of cubins"); n > 0; --n)
    cubins.push_back(in.text("a cubin"));
  auto cubin = [&] {
    uint64_t i = in.number(4, "the number of a cubin");
    if (i >= cubins.size())
      in.fail("it refers to cubin " + std::to_string(i) + " of " + std::to_string(cubins.size()));
    return std::string(cubins[i]);
  };
  for (uint64_t n = in.number(4, "the number of kernels"); n > 0; --n) {
    KernelCode k;
    k.cubin = cubin();
    k.entry = in.text("an entry");
    k.table = count(4, 1, "the form of a launch") != 0;
    k.dynamic_shared = count(8, 1 << 30, "the shared memory of a block");
    code.kernels.push_back(std::move(k));
  }
  for (uint64_t n = in.number(4, "the number of library calls"); n > 0; --n) {
    Digest text;
    std::string_view raw = in.take(text.size(), "the digest of a text");
    std::copy(raw.begin(), raw.end(), text.begin());
    code.calls[text] = cubin();
  }
  if (in.left() > 0) in.fail(std::to_string(in.left()) + " bytes follow its end");
  return code;
}

std::string settings_text(const std::string& arch, const std::string& nvrtc,
                          const CallTarget& target) {
  PlanCode none;
  none.arch = arch, none.nvrtc = nvrtc, none.target = target;
  return to_bytes(none);
}

std::string plan_image_bytes(const std::vector<PlanForGpu>& parts) {
  std::string body;
  put_text(body, image_maker());
  put_number(body, parts.size(), 4);
  for (const PlanForGpu& part : parts) {
    put_text(body, part.code.arch);
    put_text(body, print(part.plan));
    put_text(body, to_bytes(part.code));
  }
  return image_bytes(ImageDevice::nvidia, body);
}

GpuPlanImage parse_gpu_image_body(std::string_view body) {
  ByteReader in(body, "saved plan");
  GpuPlanImage image;
  image.maker = in.text("the maker's name");
  for (uint64_t n = in.number(4, "the number of architectures"); n > 0; --n) {
    PlanForGpu part;
    std::string arch(in.text("an architecture"));
    part.plan = parse_plan(in.text("the plan"));
    verify(part.plan);
    part.code = parse_plan_code(in.text("the code"));
    if (part.code.arch != arch)
      in.fail("its part for " + arch + " holds code for " + part.code.arch);
    if (part.code.kernels.size() != part.plan.kernels.size())
      in.fail("it holds code of " + std::to_string(part.code.kernels.size()) + " kernels for " +
              arch + ", its plan has " + std::to_string(part.plan.kernels.size()));
    image.parts.push_back(std::move(part));
  }
  if (image.parts.empty()) in.fail("it holds code for no architecture");
  if (in.left() > 0) in.fail(std::to_string(in.left()) + " bytes follow its end");
  return image;
}

PlanForGpu& part_for(GpuPlanImage& image, const std::string& arch, const std::string& gpu) {
  const int wanted = version_of(arch);
  PlanForGpu* best = nullptr;
  std::string held;
  for (PlanForGpu& part : image.parts) {
    if (part.code.arch == arch) return part;
    held += (held.empty() ? "" : ", ") + part.code.arch;
    const int version = plain_version(part.code.arch);
    bool runs = version > 0 && version / 10 == wanted / 10 && version <= wanted;
    if (runs && (!best || version > plain_version(best->code.arch))) best = &part;
  }
  if (best) return *best;
  fail_device("the saved plan holds code for " + held + ", and " + gpu + " is " + arch +
              "; make the file with `fusec build --device " + arch +
              "` (several architectures: --device " + held + "," + arch + ")");
}

}  // namespace fusec::cuda
