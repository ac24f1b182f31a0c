#include "fusec/plan/plan_image.h"

#include "fusec/base/hash.h"
#include "fusec/plan/byte_reader.h"

namespace fusec {
namespace {

constexpr std::string_view kMagic(
    "\x89"
    "FSC\r\n\x1a\n",
    8);
constexpr const char* kWhat = "saved plan";
constexpr const char* kRebuild = "; make the file anew with `fusec build` or Executable::save()";

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    size_t comma = std::min(text.find(','), text.size());
    out.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

}  // namespace

std::string image_maker() { return "fusec " FUSEC_VERSION; }

std::string image_bytes(ImageDevice device, std::string_view body) {
  std::string out(kMagic);
  put_number(out, kPlanImageVersion, 4);
  put_number(out, static_cast<uint64_t>(device), 4);
  put_number(out, body.size(), 8);
  put_number(out, hash_text(body), 8);
  return out.append(body);
}

std::string plan_image_bytes(const Plan& plan, const Machine& machine,
                             const std::vector<CodeImage>& kernels) {
  std::string body, features;
  for (const std::string& f : machine.features) features += (features.empty() ? "" : ",") + f;
  put_text(body, image_maker());
  put_text(body, machine.triple);
  put_text(body, machine.cpu);
  put_text(body, features);
  put_text(body, print(plan));
  put_number(body, kernels.size(), 4);
  for (const CodeImage& kernel : kernels) put_text(body, to_bytes(kernel));

  return image_bytes(ImageDevice::cpu, body);
}

PlanImage parse_image_body(std::string_view body) {
  ByteReader in(body, kWhat);
  PlanImage image;
  image.maker = in.text("the maker's name");
  image.machine.triple = in.text("the target triple");
  image.machine.cpu = in.text("the processor");
  image.machine.features = split_list(in.text("the features"));
  image.plan = parse_plan(in.text("the plan"));
  verify(image.plan);
  uint64_t kernels = in.number(4, "the number of kernels");
  if (kernels != image.plan.kernels.size())
    in.fail("it holds code of " + std::to_string(kernels) + " kernels, its plan has " +
            std::to_string(image.plan.kernels.size()) + kRebuild);
  for (uint64_t i = 0; i < kernels; ++i)
    image.kernels.push_back(parse_code_image(in.text("a kernel's code")));
  if (in.left() > 0) in.fail(std::to_string(in.left()) + " bytes follow its end" + kRebuild);
  return image;
}

OpenedImage open_image(std::string_view bytes) {
  if (!bytes.starts_with(kMagic))
    fail_user(std::string(kWhat) + ": " + std::to_string(bytes.size()) +
              " bytes that do not begin like a file of `fusec build`" +
              (bytes.find("FSC") == 1
                   ? "; its line ends were changed: copy it as a binary file"
                   : "; expected one, or compile the model in this program with compile()"));
  ByteReader in(bytes.substr(kMagic.size()), kWhat);
  uint64_t version = in.number(4, "the format version");
  if (version != kPlanImageVersion)
    in.fail("found format version " + std::to_string(version) + ", this runtime reads version " +
            std::to_string(kPlanImageVersion) +
            "; rebuild the file with the `fusec build` of the same release");
  uint64_t device = in.number(4, "the device");
  uint64_t size = in.number(8, "the header"), checksum = in.number(8, "the header");
  if (size != in.left())
    in.fail("found " + std::to_string(in.left()) + " bytes after the header, expected " +
            std::to_string(size) + "; the file was cut or appended to: copy it again" +
            std::string(kRebuild).replace(0, 1, ", or"));
  std::string_view body = in.take(size, "the body");
  if (hash_text(body) != checksum)
    in.fail(std::string("its checksum is wrong: the file was damaged; copy it again") +
            std::string(kRebuild).replace(0, 1, ", or"));
  if (device > static_cast<uint64_t>(ImageDevice::nvidia))
    in.fail("it is for a device of kind " + std::to_string(device) +
            ", which this version does not know" + kRebuild);
  return {static_cast<ImageDevice>(device), body};
}

PlanImage parse_image(std::string_view bytes) {
  OpenedImage opened = open_image(bytes);
  if (opened.device != ImageDevice::cpu)
    fail_user(std::string(kWhat) + ": found one for NVIDIA GPUs, expected one for a CPU" +
              kRebuild);
  return parse_image_body(opened.body);
}

}  // namespace fusec
