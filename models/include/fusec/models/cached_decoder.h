// Decoding over a paged cache of keys and values: each token goes through the model once. Two
// graphs, both over the same parameters and over the states "cache.<layer>.k" and "cache.<layer>.v"
// [pages, page_size, KV, d]: one takes a chunk of tokens of any of the sequences (prompts), one a
// token of each.
//
// Inputs of both: "tokens", "positions" i32 [N], -1 as the position of no token; "page_table" i32
// [B, max_pages]; "lengths" i32 [B], tokens of each sequence with the new ones, 0 for one that
// rests. Of a chunk, too: "sequences" i32 [N], of which sequence each token is; "cu_q" i32 [B + 1]
// (paged_attention() in ops.h); "last" i32 [B], the row of the token of each sequence after which
// logits are wanted, or -1; and with images "slots" i32 [N] and "image_rows" f32 [N, width]: row i
// stands in place of token slots[i], or of none if that is -1.
// Output "logits" f32 [B, vocab] for the token after the newest of each sequence.
#pragma once

#include "fusec/models/graphs.h"
#include "fusec/models/lora.h"

namespace fusec::models {

struct CacheShape {
  int64_t sequences = 1;   // B
  int64_t max_pages = 32;  // of a sequence
  int64_t page_size = 64;  // tokens
  int64_t pages = 32;      // of all
  DType type = f32;        // f32, bf16 or f16: that of keys and values, and of attention
};

struct CachedModel {
  VisionGptConfig config;
  CacheShape cache;
  LoraConfig lora;
  DType weights = f32;  // f32, bf16 or f16: how matrices are held; what is computed stays f32
};

// A run of `chunk` tokens, from 1. Sizes and types that do not fit are a user Error.
RecordedGraph record_cached_chunk(const CachedModel& model, int64_t chunk);

// A run of a token of each sequence.
RecordedGraph record_cached_step(const CachedModel& model);

}  // namespace fusec::models
