// A saved plan (.fsc) behind its checksum, which no mutation would get past: whatever reads is a
// plan that verifies, with an image for each kernel, and is written as the same bytes again.
#include "fusec/plan/plan_image.h"

#include "plan_seeds.h"
#include "reader.h"

namespace fusec::fuzz {

namespace {

constexpr size_t kHeader = 32;  // before the body; see plan_image.h

std::string saved(const Plan& plan) {
  CodeImage image;
  image.code = std::string(64, '\xc3');
  image.alignment = 64;
  image.imports = {{8, std::string(code_import_names().front())}};
  return plan_image_bytes(plan, {"x86_64-linux", "znver4", {"avx2", "fma"}},
                          std::vector<CodeImage>(plan.kernels.size(), image));
}

}  // namespace

std::vector<std::string> reader_seeds() { return {saved(small_plan()).substr(kHeader)}; }

void read_bytes(std::string_view bytes) {
  PlanImage image = parse_image_body(bytes);
  verify(image.plan);
  if (image.kernels.size() != image.plan.kernels.size()) throw 0;
  std::string again = plan_image_bytes(image.plan, image.machine, image.kernels);
  if (plan_image_bytes(parse_image(again).plan, image.machine, image.kernels) != again) throw 0;
}

}  // namespace fusec::fuzz
