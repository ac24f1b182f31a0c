#include "fusec/plan/plan_image.h"

#include "byte_reader.h"
#include "fusec/base/hash.h"

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

std::string plan_image_bytes(const Plan& plan, const Machine& machine,
                             const std::vector<CodeImage>& kernels) {
  std::string body, features;
  for (const std::string& f : machine.features) features += (features.empty() ? "" : ",") + f;
  put_text(body, "fusec " FUSEC_VERSION);
  put_text(body, machine.triple);
  put_text(body, machine.cpu);
  put_text(body, features);
  put_text(body, print(plan));
  put_number(body, kernels.size(), 4);
  for (const CodeImage& kernel : kernels) put_text(body, to_bytes(kernel));

  std::string out(kMagic);
  put_number(out, kPlanImageVersion, 4);
  put_number(out, 0, 4);
  put_number(out, body.size(), 8);
  put_number(out, hash_text(body), 8);
  return out + body;
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

PlanImage parse_image(std::string_view bytes) {
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
  in.number(4, "the header");
  uint64_t size = in.number(8, "the header"), checksum = in.number(8, "the header");
  if (size != in.left())
    in.fail("found " + std::to_string(in.left()) + " bytes after the header, expected " +
            std::to_string(size) + "; the file was cut or appended to: copy it again" +
            std::string(kRebuild).replace(0, 1, ", or"));
  std::string_view body = in.take(size, "the body");
  if (hash_text(body) != checksum)
    in.fail(std::string("its checksum is wrong: the file was damaged; copy it again") +
            std::string(kRebuild).replace(0, 1, ", or"));
  return parse_image_body(body);
}

}  // namespace fusec
