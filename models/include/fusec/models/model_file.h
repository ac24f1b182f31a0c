// A model as other programs (and this one) store it: what it is, and its weights, one tensor at a
// time under this project's names. Read are
//
//   a folder         config.json, model.safetensors or its sharded index, tokenizer.json,
//                    generation_config.json, chat template: as Hugging Face transformers writes it
//   *.gguf           as llama.cpp's converter writes it, quantised tensors as f32
//   *.safetensors    what save_model() wrote, or a checkpoint
//
// Families: decoders llama (Llama 3, SmolLM2), mistral, qwen2 (and 2.5), qwen3; vision towers
// clip_vision_model and siglip_vision_model, also as the vision part of clip and siglip. A
// tokenizer that is not byte-level BPE (Llama 2's) is refused as bpe_tokenizer.h says. Strict: what
// a config says and this project does not compute is an Error of kind unsupported that names the
// key; so is a key that is not known to be harmless. Tensors that are missing, not expected or of
// another shape are listed in one user Error with the nearest names.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fusec/fusec.h"
#include "fusec/models/lora.h"
#include "fusec/models/model_info.h"

namespace fusec::models {

struct ModelTensor {
  std::string name;    // this project's
  TensorType type;     // as read() gives it: f32, bf16 or f16
  std::string stored;  // its type in the file: "bf16", "q4_1"
};

struct WeightSource;
struct TensorPlace;

class ModelFile {
 public:
  // Reads everything but weights, and holds their names and shapes against the config.
  explicit ModelFile(const std::string& path);
  ~ModelFile();
  ModelFile(ModelFile&&) noexcept;
  ModelFile(const ModelFile&) = delete;
  ModelFile& operator=(const ModelFile&) = delete;

  const std::string& path() const { return path_; }
  const std::string& container() const { return container_; }  // "safetensors", "GGUF", ...
  const ModelInfo& info() const { return info_; }
  // In the order of the model's parameters.
  const std::vector<ModelTensor>& tensors() const { return tensors_; }
  int64_t parameters() const;
  // Tensors of the file that the model does not use: SigLIP's pooling head, buffers, a tied head.
  const std::vector<std::string>& unused() const { return unused_; }
  // The row-major bytes of tensors()[index].
  std::string read(size_t index) const;
  // The same as numbers.
  std::vector<float> read_floats(size_t index) const;

 private:
  std::string path_, container_;
  ModelInfo info_;
  std::unique_ptr<WeightSource> source_;
  std::vector<ModelTensor> tensors_;
  std::vector<TensorPlace> places_;
  std::vector<std::string> unused_;
};

// "bf16 -> f32" -> tensors, of those that were converted.
using Conversions = std::map<std::string, int64_t>;

// Fills the parameters of the file's modules; those of other modules stay as they are. f32, bf16
// and f16 are converted, rounding to nearest even. One tensor at a time is in memory besides. A
// parameter that the file lacks, or has in another shape, is a user Error, and then nothing has
// been written. Parameters of LoRA stay as they are, too.
Conversions load_model(Executable& exe, const ModelFile& file);
// The same for plans that share their memory, or hold different parts of a model; the file's
// modules of `leave` ("head") are not looked at.
Conversions load_model(const std::vector<LoadedPlan*>& plans, const ModelFile& file,
                       const std::vector<std::string>& leave = {});

// The model as one .safetensors file that ModelFile reads: weights as `type` (f32, bf16 or f16; as
// they are if not given), config, tokenizer, template and special ids in its metadata.
Conversions save_model(const ModelFile& file, const std::string& path,
                       std::optional<DType> type = {});

// The same of a model that a program trains: the parameters of its plans, each once, and of those
// with LoRA (lora.h) merged_weight().
void save_model(const std::vector<const LoadedPlan*>& plans, const ModelInfo& info,
                const LoraConfig& lora, const std::string& path);

// The model as a folder of Hugging Face transformers: config.json, model.safetensors,
// generation_config.json, tokenizer.json and tokenizer_config.json, or preprocessor_config.json of
// a tower. Makes the folder. A model that no family computes is an Error of kind unsupported that
// says what no family has. `tokenizer`: for a file that holds none, as a checkpoint.
void export_model(const ModelFile& file, const std::string& folder,
                  const std::optional<BpeTokenizer>& tokenizer = {});

}  // namespace fusec::models
