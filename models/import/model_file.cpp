// A path to a described model whose tensors are matched by name; see model_file.h.
#include "fusec/models/model_file.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "../match_tensors.h"
#include "description.h"
#include "fusec/base/error.h"
#include "fusec/io/json.h"
#include "fusec/models/lora.h"
#include "fusec/models/vision_gpt.h"
#include "weight_source.h"

namespace fusec::models {

// Where a tensor of the model stands in the source.
struct TensorPlace {
  io::TensorEntry source;
  int64_t pairs_of_heads = 0;  // heads whose rows lie as rotary pairs; 0: rows lie as they should
};

namespace {

constexpr const char* kTowerPrefix = "vision_model.";

struct Opened {
  Description description;
  std::unique_ptr<WeightSource> source;
  std::string container;
};

bool is_file(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

std::unique_ptr<WeightSource> open_folder_weights(const std::string& folder) {
  const std::string whole = folder + "/model.safetensors";
  if (is_file(whole)) return open_safetensors(std::make_shared<io::SafetensorsReader>(whole));
  const std::string index = whole + ".index.json";
  if (is_file(index)) return open_sharded(index);
  const bool pickled =
      is_file(folder + "/pytorch_model.bin") || is_file(folder + "/pytorch_model.bin.index.json");
  fail_user(folder + ": no model.safetensors and no model.safetensors.index.json" +
            (pickled ? "; pytorch_model.bin is not read, save the model with safe_serialization"
                     : "; expected the model's weights beside its config.json"));
}

Opened open_model(const std::string& path) {
  std::error_code ignored;
  Opened opened;
  if (std::filesystem::is_directory(path, ignored)) {
    opened.container = "safetensors";
    opened.description = describe_folder(path);
    opened.source = open_folder_weights(path);
    return opened;
  }
  const io::InputFile file(path, "a folder with config.json, a .gguf or a .safetensors file");
  char magic[4] = {};
  if (file.size() >= sizeof magic) file.read_at(0, magic, sizeof magic);
  if (std::memcmp(magic, "GGUF", sizeof magic) == 0) {
    opened.container = "GGUF";
    auto reader = std::make_shared<io::GgufReader>(path);
    opened.description = describe_gguf(*reader);
    opened.source = open_gguf(std::move(reader));
    return opened;
  }
  auto reader = std::make_shared<io::SafetensorsReader>(path);
  const auto& metadata = reader->header().metadata;
  if (!is_own(metadata))
    fail_user(path +
              ": tensors without a description of their model; expected the folder that "
              "they lie in, with config.json, or a file that fusec wrote");
  for (const io::TensorEntry& t : reader->header().tensors)
    if (is_lora(t.name))
      fail_user(path + ": holds LoRA's matrices beside its weights (" + io::excerpt(t.name) +
                "); expected weights that they were merged into");
  opened.container = "fusec";
  opened.description = describe_own(metadata, path);
  opened.source = open_safetensors(std::move(reader));
  return opened;
}

// The parameters that the modules of a part record.
std::vector<io::NamedType> parameters_of(const VisionGptConfig& config, ModelPart part) {
  Graph graph;
  if (part == ModelPart::vision) Vit(graph, config.vision);
  if (part == ModelPart::whole) ImageTower(graph, config);
  if (part != ModelPart::vision) TextTrunk(graph, config);
  std::vector<io::NamedType> parameters;
  for (const Tensor& p : graph.parameters())
    parameters.push_back({name_of_leaf(p), {p.shape(), p.dtype()}});
  return parameters;
}

// The shape that a file of transformers gives a tensor which has ours in another one.
Shape flat_shape(const std::string& name, const Shape& ours, const VitConfig& vision) {
  if (name == "vision.patch.weight") return {ours[0], 3, vision.patch, vision.patch};
  return {numel(ours)};
}

class Matcher {
 public:
  Matcher(const Opened& opened)
      : family_(opened.description.family),
        info_(opened.description.info),
        source_(*opened.source),
        gguf_(opened.container == "GGUF") {
    if (info_.part == ModelPart::vision && family_) {
      for (const io::TensorEntry& t : source_.tensors)
        if (t.name.starts_with(kTowerPrefix)) prefix_ = kTowerPrefix;
    }
  }

  void match(std::vector<ModelTensor>& tensors, std::vector<TensorPlace>& places,
             std::vector<std::string>& unused) {
    require_tensors_for_layers();
    std::vector<WantedTensor> wanted;
    const std::vector<io::NamedType> parameters = parameters_of(info_.config, info_.part);
    for (const io::NamedType& p : parameters) wanted.push_back(wanted_of(p));
    auto ignored = [&](const std::string& name) { return is_unused(name); };
    const std::vector<TensorMatch> matches =
        match_tensors(source_.path, source_.tensors, wanted, Conversion::floats, ignored);
    for (size_t i = 0; i < matches.size(); ++i) {
      const io::TensorEntry& source = *matches[i].source;
      tensors.push_back({parameters[i].name,
                         {parameters[i].type.shape, source.type.dtype},
                         source_.stored(source)});
      places.push_back({source, pairs_of_heads(parameters[i].name)});
    }
    for (const io::TensorEntry& t : source_.tensors) {
      if (!is_unused(t.name)) continue;
      unused.push_back(t.name);
      if (t.name == tied_head()) require_equal_head(t);
    }
  }

 private:
  // A config is a few bytes and may speak of millions of layers.
  void require_tensors_for_layers() const {
    const VisionGptConfig& c = info_.config;
    const bool pictures = info_.part != ModelPart::decoder, text = info_.part != ModelPart::vision;
    const int64_t layers = std::max({pictures ? c.vision.layers : 0, text ? c.layers : 0,
                                     pictures && text ? c.resampler.layers : 0});
    if (layers > static_cast<int64_t>(source_.tensors.size()))
      fail_user(source_.path + ": " + std::to_string(source_.tensors.size()) +
                " tensors, expected more for the " + std::to_string(layers) +
                " layers of its config: the file is cut off, or another model's");
  }

  WantedTensor wanted_of(const io::NamedType& parameter) const {
    WantedTensor wanted{parameter.name, parameter.name, parameter.type};
    if (!family_) return wanted;
    const NamePlace place = place_of(*family_, parameter.name);
    const char* theirs = !place.row ? nullptr : gguf_ ? place.row->gguf : place.row->huggingface;
    if (!theirs) fail_internal("no name of " + family_->model_type + " for " + parameter.name);
    wanted.name = prefix_ + at_layer(theirs, place.layer);
    if (place.row->layout == Layout::flat)
      wanted.type.shape = flat_shape(parameter.name, parameter.type.shape, info_.config.vision);
    return wanted;
  }

  int64_t pairs_of_heads(const std::string& name) const {
    if (!gguf_ || !family_->rotary_pairs) return 0;
    const NamePlace place = place_of(*family_, name);
    if (place.row->layout != Layout::rotary) return 0;
    return name.find(".q.") != std::string::npos ? info_.config.heads : info_.config.kv_heads;
  }

  // The name of a head that a file of a model with a tied one may hold all the same.
  std::string tied_head() const {
    if (!family_ || info_.part != ModelPart::decoder || !info_.config.tied_head) return "";
    const NameRow* row = place_of(*family_, "head.weight").row;
    return gguf_ ? row->gguf : row->huggingface;
  }

  bool is_unused(const std::string& name) const {
    if (!family_) return name.starts_with("optimizer.");  // of a checkpoint
    if (name == tied_head()) return true;
    const bool prefixed = !prefix_.empty() && name.starts_with(prefix_);
    const std::string own = prefixed ? name.substr(prefix_.size()) : name;
    return std::any_of(
        family_->unused.begin(), family_->unused.end(),
        [&](const std::string& pattern) { return fits(pattern, name) || fits(pattern, own); });
  }

  void require_equal_head(const io::TensorEntry& head) const {
    const std::string table = wanted_of({"embedding.weight", {}}).name;
    for (const io::TensorEntry& t : source_.tensors) {
      if (t.name != table) continue;
      if (t.type == head.type && source_.read(t) == source_.read(head)) return;
      fail_user(source_.path + ": the config ties the head to the embedding, but " + head.name +
                " and " + table + " differ; set \"tie_word_embeddings\" to false, or remove " +
                head.name);
    }
  }

  const Family* family_;
  const ModelInfo& info_;
  const WeightSource& source_;
  bool gguf_;
  std::string prefix_;
};

// Rows (0, half), (1, half + 1), ... of each head -> rows 0, 1, ..., half, half + 1, ...
std::string unpaired(const std::string& bytes, int64_t heads, int64_t rows) {
  const size_t row = bytes.size() / static_cast<size_t>(rows);
  const int64_t head_dim = rows / heads, half = head_dim / 2;
  std::string out(bytes.size(), '\0');
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t i = 0; i < head_dim; ++i) {
      const int64_t from = h * head_dim + 2 * (i % half) + i / half;
      std::memcpy(&out[static_cast<size_t>(h * head_dim + i) * row],
                  &bytes[static_cast<size_t>(from) * row], row);
    }
  }
  return out;
}

}  // namespace

ModelFile::ModelFile(const std::string& path) : path_(path) {
  Opened opened = open_model(path);
  check_vocabulary(opened.description.info, path);
  Matcher(opened).match(tensors_, places_, unused_);
  container_ = opened.container;
  info_ = std::move(opened.description.info);
  source_ = std::move(opened.source);
}

ModelFile::~ModelFile() = default;
ModelFile::ModelFile(ModelFile&&) noexcept = default;

int64_t ModelFile::parameters() const {
  int64_t count = 0;
  for (const ModelTensor& t : tensors_) count += numel(t.type.shape);
  return count;
}

std::string ModelFile::read(size_t index) const {
  const TensorPlace& place = places_.at(index);
  std::string bytes = source_->read(place.source);
  if (place.pairs_of_heads == 0) return bytes;
  return unpaired(bytes, place.pairs_of_heads, tensors_[index].type.shape[0]);
}

std::vector<float> ModelFile::read_floats(size_t index) const {
  const std::string bytes = convert_floats(read(index), tensors_.at(index).type.dtype, f32);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace fusec::models
