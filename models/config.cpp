// Presets and their checks; see config.h.
#include "fusec/models/config.h"

#include <cmath>
#include <cstdlib>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"

namespace fusec::models {
namespace {

void require(bool ok, const std::string& what) {
  if (!ok) fail_user("model config: " + what);
}

// Above any model's sizes, and low enough that products of two of them stay far from overflow.
constexpr int64_t kMaxSize = int64_t{1} << 24;

void require_positive(const char* name, int64_t value) {
  require(value > 0,
          std::string(name) + " is " + std::to_string(value) + ", expected a number above 0");
  require(value <= kMaxSize, std::string(name) + " is " + std::to_string(value) +
                                 ", expected at most " + std::to_string(kMaxSize));
}

void require_divides(const char* small_name, int64_t small, const char* large_name, int64_t large) {
  if (large % small == 0) return;
  int64_t nearest = small;  // the closest divisor, the smaller one of two
  for (int64_t d = 1; d <= large; ++d) {
    bool closer = nearest == small || std::abs(d - small) < std::abs(nearest - small);
    if (large % d == 0 && closer) nearest = d;
  }
  fail_user(std::string("model config: ") + small_name + " (" + std::to_string(small) +
            ") must divide " + large_name + " (" + std::to_string(large) +
            "); the nearest that does is " + std::to_string(nearest));
}

void check_encoder(const VitConfig& c) {
  if (c.intermediate != 0) require_positive("vision intermediate width", c.intermediate);
  require(c.norm_eps > 0 && std::isfinite(c.norm_eps), "vision norm_eps must be above 0");
  // A patch is a row of 3 patch^2 numbers.
  require(c.patch <= 2048, "patch size is " + std::to_string(c.patch) + ", expected at most 2048");
  for (size_t i = 0; i < 3; ++i) {
    require(std::isfinite(c.pixel_mean[i]) && std::isfinite(c.pixel_std[i]) && c.pixel_std[i] != 0,
            "pixel mean and standard deviation must be finite, and the latter not 0");
  }
}

void check_scaling(const RopeScaling& s) {
  if (s.kind == RopeScaling::Kind::none) return;
  require(s.factor >= 1 && std::isfinite(s.factor),
          "rope scaling factor is " + std::to_string(s.factor) + ", expected 1 or more");
  if (s.kind == RopeScaling::Kind::linear) return;
  require_positive("rope scaling's original context", s.original_context);
  require(s.low_freq_factor > 0 && s.low_freq_factor < s.high_freq_factor &&
              std::isfinite(s.high_freq_factor),
          "rope scaling's low frequency factor " + std::to_string(s.low_freq_factor) +
              " must be above 0 and below the high one, " + std::to_string(s.high_freq_factor));
}

VisionGptConfig of_depth(int64_t depth) {
  VisionGptConfig c;
  c.name = "d" + std::to_string(depth);
  c.vision = VitConfig::preset("vit-l/14");
  c.resampler = {.queries = 64, .layers = 2, .heads = 8};
  c.projector_hidden = 2048;
  c.vocab = 65536;
  c.sequence = 2048;
  c.layers = depth;
  c.width = 64 * depth;
  c.heads = (c.width + 127) / 128;
  c.kv_heads = c.heads / 2;
  c.head_dim = 128;
  c.intermediate = 27 * c.width / 10 / 8 * 8;  // whole 16-byte pieces a row
  c.bf16_stream = true;
  return c;
}

}  // namespace

VitConfig VitConfig::preset(const std::string& name) {
  if (name == "tiny") return {};
  if (name == "vit-l/14") {
    return {
        .image = 224, .patch = 14, .width = 1024, .layers = 24, .heads = 16, .bf16_stream = true};
  }
  fail_user("unknown vision encoder \"" + name + "\"" + suggest(name, {"tiny", "vit-l/14"}));
}

const std::vector<std::string>& VisionGptConfig::preset_names() {
  static const std::vector<std::string> names = {"tiny", "d12", "d20", "d32"};
  return names;
}

VisionGptConfig VisionGptConfig::preset(const std::string& name) {
  if (name == "tiny") return {};
  if (name == "d12") return of_depth(12);
  if (name == "d20") return of_depth(20);
  if (name == "d32") return of_depth(32);
  fail_user("unknown model preset \"" + name + "\"" + suggest(name, preset_names()));
}

void VisionGptConfig::check() const {
  require_positive("image size", vision.image);
  require_positive("patch size", vision.patch);
  require_positive("vision width", vision.width);
  require_positive("vision layers", vision.layers);
  require_positive("vision heads", vision.heads);
  check_encoder(vision);
  if (!text_only()) require_positive("resampler queries", resampler.queries);
  require_positive("resampler layers", resampler.layers);
  require_positive("resampler heads", resampler.heads);
  require_positive("projector hidden width", projector_hidden);
  require_positive("vocabulary", vocab);
  require_positive("trunk layers", layers);
  require_positive("trunk width", width);
  require_positive("trunk heads", heads);
  require_positive("trunk kv heads", kv_heads);
  require_positive("head dimension", head_dim);
  require_positive("intermediate width", intermediate);
  require_positive("heads times head dimension", heads * head_dim);
  if (!vision.cut_edge) require_divides("patch size", vision.patch, "image size", vision.image);
  require(vision.patch <= vision.image, "patch size " + std::to_string(vision.patch) +
                                            " is above image size " + std::to_string(vision.image));
  require_divides("vision heads", vision.heads, "vision width", vision.width);
  require_divides("resampler heads", resampler.heads, "vision width", vision.width);
  require_divides("kv heads", kv_heads, "heads", heads);
  require(head_dim % 2 == 0, "head dimension " + std::to_string(head_dim) +
                                 " is odd, rotary positions need pairs; the nearest even one is " +
                                 std::to_string(head_dim + 1));
  require_positive("sequence", sequence);
  // <bos>, the image slots, one word and <eos>.
  int64_t least = resampler.queries + 3;
  require(sequence >= least, "sequence is " + std::to_string(sequence) + ", expected at least " +
                                 std::to_string(least) + ": " + std::to_string(resampler.queries) +
                                 " image slots and three tokens");
  require(softcap >= 0, "softcap must be 0 (none) or above");
  require(norm_eps > 0 && std::isfinite(norm_eps), "norm_eps must be above 0");
  require(rope_theta > 0 && std::isfinite(rope_theta), "rope_theta must be above 0");
  check_scaling(rope_scaling);
}

}  // namespace fusec::models
