// A model file and a reference to how far they are apart; see model_check.h.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "fusec/base/error.h"
#include "fusec/io/json.h"
#include "fusec/io/safetensors.h"
#include "fusec/models/model_check.h"
#include "fusec/models/vision_gpt.h"

namespace fusec::models {
namespace {

// One tensor of the reference as doubles.
struct Values {
  Shape shape;
  std::vector<double> data;
};

class Reference {
 public:
  explicit Reference(const std::string& path) : file_(path) {}

  Values read(const std::string& name, const std::vector<DType>& types, size_t rank) const {
    for (const io::TensorEntry& t : file_.header().tensors) {
      if (t.name != name) continue;
      if (std::find(types.begin(), types.end(), t.type.dtype) == types.end())
        refuse(name, "is " + std::string(name_of(t.type.dtype)), types);
      if (t.type.shape.size() != rank)
        fail_user(file_.path() + ": " + name + " is " + io::excerpt(str(t.type.shape)) +
                  ", expected " + std::to_string(rank) + " axes");
      const std::string bytes = file_.read(t);
      Values values{t.type.shape, std::vector<double>(static_cast<size_t>(numel(t.type.shape)))};
      for (size_t i = 0; i < values.data.size(); ++i)
        values.data[i] = load_as_double(bytes.data(), t.type.dtype, static_cast<int64_t>(i));
      return values;
    }
    refuse(name, "is not there", types);
  }
  const std::string& path() const { return file_.path(); }

 private:
  [[noreturn]] void refuse(const std::string& name, const std::string& found,
                           const std::vector<DType>& types) const {
    std::string expected;
    for (const DType type : types)
      expected += (expected.empty() ? "" : " or ") + std::string(name_of(type));
    fail_user(file_.path() + ": " + name + " " + found + ", expected a tensor of " + expected +
              "; bench/peers/hf_reference.py writes references");
  }
  io::SafetensorsReader file_;
};

void require_shape(const Reference& reference, const std::string& name, const Shape& found,
                   const Shape& expected) {
  if (found != expected)
    fail_user(reference.path() + ": " + name + " is " + io::excerpt(str(found)) + ", expected " +
              io::excerpt(str(expected)) + " for this model");
}

std::vector<int32_t> indices(const Reference& reference, const std::string& name,
                             const Values& values, int64_t below) {
  std::vector<int32_t> out;
  for (const double value : values.data) {
    if (value < 0 || value >= static_cast<double>(below))
      fail_user(reference.path() + ": " + name + " holds " + std::to_string(value) +
                ", expected 0 to " + std::to_string(below - 1));
    out.push_back(static_cast<int32_t>(value));
  }
  return out;
}

// KL divergence of softmax(q) from softmax(p), both of `count` logits.
double divergence(const double* p, const float* q, int64_t count) {
  double most_p = p[0], most_q = q[0];
  for (int64_t i = 0; i < count; ++i) {
    most_p = std::max(most_p, p[i]);
    most_q = std::max<double>(most_q, q[i]);
  }
  double sum_p = 0, sum_q = 0;
  for (int64_t i = 0; i < count; ++i)
    sum_p += std::exp(p[i] - most_p), sum_q += std::exp(q[i] - most_q);
  const double log_p = most_p + std::log(sum_p), log_q = most_q + std::log(sum_q);
  double kl = 0;
  for (int64_t i = 0; i < count; ++i)
    kl += std::exp(p[i] - log_p) * ((p[i] - log_p) - (q[i] - log_q));
  return std::max(kl, 0.0);
}

// `ours` has rows of `stride` numbers, of which as many count as the reference has.
CheckResult compare(const Values& reference, const std::vector<float>& ours, int64_t stride,
                    bool logits) {
  CheckResult r;
  r.width = reference.shape.back();
  r.rows = static_cast<int64_t>(reference.data.size()) / r.width;
  double squares = 0, differences = 0;
  for (int64_t row = 0; row < r.rows; ++row) {
    const double* want = &reference.data[static_cast<size_t>(row * r.width)];
    const float* got = &ours[static_cast<size_t>(row * stride)];
    for (int64_t i = 0; i < r.width; ++i) {
      const double difference = std::abs(got[i] - want[i]);
      // NaN must not pass for 0.
      r.max_difference = difference <= r.max_difference ? r.max_difference : difference;
      squares += want[i] * want[i], differences += difference * difference;
    }
    if (!logits) continue;
    const bool agree =
        std::max_element(want, want + r.width) - want == std::max_element(got, got + r.width) - got;
    const double kl = divergence(want, got, r.width);
    r.top1_agreement += agree ? 1.0 / static_cast<double>(r.rows) : 0;
    r.mean_kl += kl / static_cast<double>(r.rows);
    r.max_kl = std::max(r.max_kl, kl);
  }
  r.relative_error = std::sqrt(differences / squares);
  return r;
}

CheckResult check_decoder(const ModelFile& file, const Reference& reference,
                          const CompileOptions& options) {
  const std::vector<DType> whole = {i32, i64}, real = {f32, f64};
  VisionGptConfig config = file.info().config;
  const Values ids = reference.read("input_ids", whole, 2);
  const Values places = reference.read("positions", whole, 1);
  const Values logits = reference.read("logits", real, 3);
  const int64_t rows = ids.shape[0], length = ids.shape[1], count = places.shape[0];
  if (rows < 1 || length < 1 || count < 1 || logits.shape[2] < 1 || length > config.sequence)
    fail_user(reference.path() + ": input_ids is " + io::excerpt(str(ids.shape)) +
              ", expected rows of 1 to " + std::to_string(config.sequence) +
              " tokens, and places and logits of some");
  require_shape(reference, "logits", logits.shape,
                {rows, count, std::min(config.vocab, logits.shape[2])});
  const std::vector<int32_t> tokens = indices(reference, "input_ids", ids, config.vocab);
  const std::vector<int32_t> at = indices(reference, "positions", places, length);
  std::vector<int32_t> flat;
  for (int64_t row = 0; row < rows; ++row)
    for (const int32_t place : at) flat.push_back(static_cast<int32_t>(row * length + place));

  Graph graph;
  Tensor text = graph.input("tokens", {rows, length}, i32);
  Tensor wanted = graph.input("positions", {rows * count}, i32);
  TextTrunk trunk(graph, config);
  Tensor out = trunk.logits(gather(trunk.hidden(text), wanted));
  Executable exe = compile(graph, {{"logits", out}}, options);
  load_model(exe, file);
  exe.set("tokens", tokens);
  exe.set("positions", flat);
  exe.run();
  return compare(logits, exe.get<float>("logits"), config.vocab, true);
}

CheckResult check_tower(const ModelFile& file, const Reference& reference,
                        const CompileOptions& options) {
  const VitConfig& config = file.info().config.vision;
  const Values pixels = reference.read("pixel_values", {f32}, 4);
  const Values hidden = reference.read("hidden", {f32, f64}, 3);
  const int64_t rows = pixels.shape[0];
  require_shape(reference, "pixel_values", pixels.shape,
                {std::max<int64_t>(rows, 1), 3, config.image, config.image});
  require_shape(reference, "hidden", hidden.shape, {rows, config.tokens(), config.width});

  Graph graph;
  Tensor images = graph.input("images", pixels.shape);
  Vit vit(graph, config);
  Executable exe = compile(graph, {{"hidden", vit(images)}}, options);
  load_model(exe, file);
  exe.set("images", std::vector<float>(pixels.data.begin(), pixels.data.end()));
  exe.run();
  return compare(hidden, exe.get<float>("hidden"), config.width, false);
}

}  // namespace

double check_tolerance(const VisionGptConfig& c, ModelPart part) {
  const bool tower = part == ModelPart::vision;
  const auto layers = static_cast<double>(tower ? c.vision.layers : c.layers);
  const int64_t terms = tower ? std::max(c.vision.hidden(), 3 * c.vision.patch * c.vision.patch)
                              : std::max({c.width, c.intermediate, c.heads * c.head_dim});
  return 10 * std::ldexp(1.0, -24) * std::sqrt(4 * layers * static_cast<double>(terms) / 2);
}

CheckResult check_model_file(const ModelFile& file, const std::string& reference,
                             const CompileOptions& options) {
  const ModelInfo& info = file.info();
  if (info.part == ModelPart::whole)
    fail_user(file.path() + ": a model with pictures; references are of decoders or of towers");
  const Reference stored(reference);
  CheckResult result = info.part == ModelPart::vision ? check_tower(file, stored, options)
                                                      : check_decoder(file, stored, options);
  result.tolerance = check_tolerance(info.config, info.part);
  return result;
}

}  // namespace fusec::models
