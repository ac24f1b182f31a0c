// The vision-GPT as recorded modules:
//
//   images [B, 3, S, S] -> Vit -> [B, P, E] -> Resampler -> [B, N, E] -> Projector -> [B, N, D]
//   tokens [B, T] -> embedding, image rows scattered into their slots -> Trunk -> [B*T, D]
//   -> head -> logits [rows, V]
//
// Four modules and not one class: alignment, captioning and evaluation graphs record only the parts
// they run. Parameter names start with the module: vision, resampler, projector, embedding, trunk,
// head.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "fusec/models/config.h"
#include "fusec/models/lora.h"
#include "fusec/models/nn.h"

namespace fusec::models {

// Patchify, learned positions, pre-LN blocks: x += attn(ln(x)), x += mlp(ln(x)). With the config's
// class token and norms the arithmetic of CLIP's and SigLIP's towers; row 0 of CLIP's is what is
// pooled there.
class Vit {
 public:
  Vit(Graph& graph, const VitConfig& config);
  // images [B, 3, S, S] f32 -> [B, tokens, width], the class token first if there is one.
  Tensor operator()(const Tensor& images) const;

 private:
  struct Block {
    Block(Graph& graph, const VitConfig& config);
    LayerNorm norm1;
    FullAttention attn;
    LayerNorm norm2;
    GeluMlp mlp;
  };
  VitConfig config_;
  Linear patch_;
  Tensor class_;     // [1, width], undefined without class token
  Tensor position_;  // [tokens, width]
  std::vector<Block> blocks_;
  std::optional<LayerNorm> norm_pre_, norm_post_;
};

// N learned queries read the patches by cross-attention; queries and keys/values are normed first.
class Resampler {
 public:
  Resampler(Graph& graph, const ResamplerConfig& config, int64_t width);
  // patches [B, P, width] -> [B, queries, width], normed.
  Tensor operator()(const Tensor& patches) const;

 private:
  struct Block {
    Block(Graph& graph, const ResamplerConfig& config, int64_t width);
    LayerNorm norm_query, norm_context;
    FullAttention attn;
    LayerNorm norm_mlp;
    GeluMlp mlp;
  };
  Tensor query_;  // [queries, width]
  std::vector<Block> blocks_;
  LayerNorm norm_;
};

// Vit, resampler and projector together.
class ImageTower {
 public:
  ImageTower(Graph& graph, const VisionGptConfig& config);
  // images [B, 3, S, S] f32 -> one row an image slot, [B * queries, trunk width].
  Tensor operator()(const Tensor& images) const;

 private:
  Vit vit_;
  Resampler resampler_;
  GeluMlp projector_;
};

struct TrunkOptions {
  LoraConfig lora;
  // How the matrices are held: f32, or for decoding bf16 or f16. Biases and norms are f32.
  DType weights = f32;
};

// Documents, one behind the other in one row of T tokens.
struct PackedTokens {
  Tensor tokens;             // i32 [T]
  Tensor positions;          // i32 [T], of each token in its document, below the config's sequence
  Tensor cu_seqlens;         // i32 [n + 1], as attention() takes it
  Tensor slots, image_rows;  // as for hidden(); undefined where no images are
};

// New tokens of several sequences whose earlier ones are in a paged cache (ops.h).
struct CachedTokens {
  Tensor tokens;               // i32 [N]
  Tensor positions;            // i32 [N], below the config's sequence; -1: no token
  Tensor sequences;            // i32 [N]; undefined: token i is of sequence i
  Tensor cu_q;                 // i32 [B + 1] with `sequences`, else undefined
  Tensor page_table, lengths;  // i32 [B, max_pages]; i32 [B], the new tokens included
  Tensor slots, image_rows;    // as for hidden(); undefined where no images are
  std::vector<PagedKv> pages;  // one a layer
};

// Embedding, decoder blocks and head.
class TextTrunk {
 public:
  TextTrunk(Graph& graph, const VisionGptConfig& config, const TrunkOptions& options = {});

  // tokens [B, T] i32; slots [M] i32: for each image row its flat position b * T + t, or -1 to
  // leave it out (positions must not repeat); image_rows [M, width] -> hidden [B * T, width],
  // normed and ready for the head.
  Tensor hidden(const Tensor& tokens, const Tensor& slots, const Tensor& image_rows) const;
  // The same of text alone.
  Tensor hidden(const Tensor& tokens) const;
  // The same of packed documents: [T, width]. Rows of tokens in no document mean nothing.
  Tensor hidden(const PackedTokens& pack) const;
  // The same of new tokens: [N, width]. `pages` become what they are with the new keys and values.
  Tensor hidden(CachedTokens& cached) const;

  // hidden [R, width] -> logits [R, vocab] f32, soft-capped.
  Tensor logits(const Tensor& hidden) const;

 private:
  struct Block {
    Block(Graph& graph, const VisionGptConfig& config, const TrunkOptions& options);
    RmsNorm norm1;
    Linear q, k, v, out;
    RmsNorm q_norm, k_norm;  // of heads; used unless qk_norm is none
    RmsNorm norm2;
    Linear gate, up, down;
  };
  // What mixes the tokens of a layer: q [B, T, H, d], k and v [B, T, KV, d] -> [B, T, H, d].
  using Mix =
      std::function<Tensor(size_t layer, const Tensor& q, const Tensor& k, const Tensor& v)>;
  struct RopeTables {
    Tensor cosines, sines;  // as rope() takes them
  };
  // The tables' rows of `positions` [T].
  RopeTables turned(const Tensor& positions) const;
  // tokens [N] -> what enters the first block, [N, width].
  Tensor embed(const Tensor& tokens, const Tensor& slots, const Tensor& image_rows) const;
  // x [B, T, width] -> [B * T, width], normed.
  Tensor run_blocks(const Tensor& x, const RopeTables& tables, const Mix& mix) const;
  Tensor attend(size_t layer, const Tensor& x, const RopeTables& tables, const Mix& mix) const;

  VisionGptConfig config_;
  Embedding embedding_;
  std::vector<Block> blocks_;
  RmsNorm norm_;
  Tensor head_;  // [vocab, width]: embedding_.weight if the head is tied
};

// Sum of the token losses of logits [R, V] against targets [R] i32 (-1: not supervised), and the
// number of supervised tokens, both f32 scalars.
struct LossSum {
  Tensor sum, count;
  // sum / count, and 0 for a batch without supervision.
  Tensor mean() const;
};
LossSum token_loss(const Tensor& logits, const Tensor& targets, double smoothing = 0);

// Parameters of a graph counted by module (the first part of their names), in order of creation.
struct ModuleCount {
  std::string module;
  int64_t tensors = 0, parameters = 0;
};
std::vector<ModuleCount> count_parameters(Graph& graph);

}  // namespace fusec::models
