// What the passes of attention_grad share: its tensors, scratch, and one tile of scores with their
// gradients.
#pragma once

#include "attention.h"
#include "attention_hook.h"

namespace fusec::cpu {

struct GradTensors {
  HeadTensor d_o, q, k, v, o, dq, dk, dv;
  const float* lse;
  float* delta;  // [b, h, t], written by the dq side, read by the dk, dv side
  AttentionHook hook;
};

struct GradScratch {
  float *query, *d_out, *out_rows, *query_rows, *d_out_rows, *scores, *dp, *lse, *delta, *dq;
  float *key_rows, *value_rows, *dk, *dv;  // `keys` rows each
  float *slope, *by_load;                  // tiles of the hook: one, and one a wanted load
  GradScratch(Carver& c, const Attention& a, int64_t keys, int64_t wanted_loads);
};

// Everything about one tile of queries of one head, ready for products.
struct QuerySide {
  QueryTile tile;
  int64_t item, head, ld;
  Rows q, d_out;
};

QuerySide load_queries(const VectorKernels& v, const Attention& a, const GradTensors& x,
                       int64_t item, int64_t head, const QueryTile& tile, bool compute_delta,
                       const GradScratch& w);

// Fills w.scores with P, w.dp with dS, the gradient of scores after the hook, and w.slope and
// w.by_load with the hook's derivatives, for `keys` keys from `key` of the document on. False, with
// nothing filled, if the hook hides all of them.
bool score_gradients(const VectorKernels& v, const Attention& a, const GradTensors& x,
                     const QuerySide& side, int64_t key, int64_t keys, Rows k, Rows val,
                     const GradScratch& w);

// The gradients of what is no operand of the products. Both need delta and run after the rest.
void sink_gradients(const Attention& a, const GradTensors& x, float* d_sinks);
struct CapturedGradient {
  size_t captured;
  int64_t size;
  float* out;
};
void captured_gradients(const Attention& a, const GradTensors& x,
                        const std::vector<CapturedGradient>& wanted, double* sums,
                        ThreadPool& pool);
// Doubles that `sums` holds.
int64_t captured_sums(const Attention& a, const std::vector<AttentionHook::Load>& loads,
                      const std::vector<CapturedGradient>& wanted);

}  // namespace fusec::cpu
