// Sizes of a vision-GPT and its presets. Plain data: a training program changes fields after
// preset() and calls check() once, before anything is recorded.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fusec::models {

// Of an encoder's MLPs: GELU by tanh (SigLIP), by erf, or x sigmoid(1.702 x) (CLIP).
enum class VitActivation : uint8_t { gelu_tanh, gelu_erf, quick_gelu };

// Vision transformer (Dosovitskiy et al. 2021), pre-LN.
struct VitConfig {
  int64_t image = 32;  // side of the square picture, pixels
  int64_t patch = 8;   // side of a patch, pixels; divides image unless cut_edge
  int64_t width = 128;
  int64_t layers = 2;
  int64_t heads = 4;  // divides width
  bool bf16_stream = false;  // as VisionGptConfig's
  int64_t intermediate = 0;  // of the MLPs; 0: 4 width
  VitActivation activation = VitActivation::gelu_tanh;
  double norm_eps = 1e-5;
  bool patch_bias = true;
  bool class_token = false;  // a learned token in front of the patches, with a position (CLIP)
  bool pre_norm = false;     // a layer norm before the first block (CLIP)
  bool post_norm = false;    // one of every token behind the last block (CLIP, SigLIP)
  // The last image % patch rows and columns of pixels are not looked at (SigLIP at 384 px).
  bool cut_edge = false;
  // A channel's value v in 0..1 enters as (v - mean) / std. So that white is 0 and empty patches
  // carry nothing but their position, the default is (255 - byte) / 64.
  std::array<double, 3> pixel_mean = {1, 1, 1};
  std::array<double, 3> pixel_std = {-64.0 / 255, -64.0 / 255, -64.0 / 255};
  int64_t hidden() const { return intermediate ? intermediate : 4 * width; }
  int64_t tokens() const { return patches() + (class_token ? 1 : 0); }
  int64_t patches() const { return (image / patch) * (image / patch); }

  // "vit-l/14" (1024 wide, 24 layers, 16 heads, 224 px, 256 patches) or "tiny" (the defaults).
  // Any other name is a user Error with the nearest one.
  static VitConfig preset(const std::string& name);
};

// Perceiver resampler (Jaegle et al. 2021; Alayrac et al. 2022), as wide as the encoder.
struct ResamplerConfig {
  int64_t queries = 8;  // image slots in the text sequence; 0: text only, see VisionGptConfig
  int64_t layers = 1;
  int64_t heads = 4;  // divides the encoder's width
};

// Norms of the heads of q and k. after_rope: RMS norm without weights, as in nanochat; before_rope:
// RMS norm with weights [head_dim], one of q and one of k a layer, as in Qwen3.
enum class QkNorm : uint8_t { none, after_rope, before_rope };

// Rotary frequencies of a model that was trained on shorter texts first. linear: divided by
// `factor` (Chen et al. 2023). llama3: only long wavelengths are (Llama 3.1): below
// original_context / high_freq_factor tokens they stay, above original_context / low_freq_factor
// they are divided by `factor`, and between the two the share of both is linear in frequency.
struct RopeScaling {
  enum class Kind : uint8_t { none, linear, llama3 } kind = Kind::none;
  double factor = 1;                                 // at least 1
  double low_freq_factor = 1, high_freq_factor = 4;  // of llama3; low < high
  int64_t original_context = 8192;                   // of llama3, tokens
};

struct VisionGptConfig {
  std::string name = "tiny";
  VitConfig vision;
  ResamplerConfig resampler;
  int64_t projector_hidden = 256;

  // Trunk.
  int64_t vocab = 2048;
  int64_t sequence = 32;  // tokens a row, image slots included
  int64_t layers = 2;
  int64_t width = 128;
  int64_t heads = 4;
  int64_t kv_heads = 2;  // divides heads
  int64_t head_dim = 32;
  int64_t intermediate = 384;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  double norm_eps = 1e-6;
  double softcap = 15;          // of the logits; 0: none
  double label_smoothing = 0;   // of the training loss; evaluation never smooths
  bool attention_bias = false;  // q, k, v biases, as in Qwen2.5
  // What blocks pass on, and its gradient, is rounded to bf16 (half the traffic between kernels);
  // the presets from d12 on do.
  bool bf16_stream = false;
  bool weighted_norms = false;  // RMS norm weights, as in Llama and Qwen2.5
  QkNorm qk_norm = QkNorm::after_rope;
  // RMS norm without weights of what enters the first block, as in nanochat.
  bool embedding_norm = true;
  // The head's weight is embedding.weight: one parameter of module embedding, and none of head.
  bool tied_head = false;

  // Without image slots there is no encoder, resampler and projector, and no input for pictures.
  bool text_only() const { return resampler.queries == 0; }

  // "tiny", or "d12", "d20", "d32": depth L gives width 64 L, heads ceil(width / 128) of 128, half
  // as many kv heads, intermediate 2.7 width rounded down to a multiple of 8 (rows that are no whole
  // 16 bytes cost a bf16 GEMM most of its speed), vocab 65536, sequence 2048, encoder vit-l/14.
  // Any other name is a user Error with the nearest one.
  static VisionGptConfig preset(const std::string& name);
  static const std::vector<std::string>& preset_names();

  // User Error if a size does not fit: says which, what it is and what it must be.
  void check() const;
};

// A flat JSON object with every size, as checkpoints hold it. Equal configs have equal texts.
std::string config_text(const VisionGptConfig& config);
// Strict: a key that is missing, unknown or of the wrong kind is a user Error that begins with
// `name`; so is what check() refuses.
VisionGptConfig parse_config(std::string_view json, const std::string& name);

}  // namespace fusec::models
