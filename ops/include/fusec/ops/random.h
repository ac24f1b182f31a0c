// Random numbers: Philox4x32-10 (Salmon et al. 2011) at an explicit key. The numbers are a function
// of the key, of the call's place among the random calls of its graph, and of the element, so they
// are equal on every device and for any number of threads, fused or not, and a resumed run draws
// what the interrupted one would have drawn. No gradient flows into them.
#pragma once

#include <string>

#include "fusec/ops/ops.h"
#include "fusec/ops/reductions.h"

namespace fusec {

// A key that differs from step to step: the i64 state `name`, which counts up by one each step. Set
// it once to start a stream: exe.set(name, int64_t{seed} << 32), the seed in the upper half because
// the lower one counts the steps. Graphs that share states share it, too: give each a name of its
// own, or the steps of one advance the draws of the other.
inline Tensor step_key(Graph& graph, const std::string& name = "rng",
                       const std::source_location& loc = std::source_location::current()) {
  Tensor key = graph.state(name, {}, DType::i64, loc);
  graph.assign(key, At(pointwise(Pointwise::add, At(key, loc), Operand(1.0)), loc));
  return key;
}

// Words in [0, 2^32), as i64, one for each element of `shape`. key: i64 scalar.
inline Tensor random_words(At key, const Shape& shape) {
  CallSite here(key);
  if (key.tensor.dtype() != DType::i64 || key.tensor.rank() != 0)
    fail_user("random numbers: expected a key of type i64[], found " + key.tensor.type().str() +
                  "; make one with step_key()",
              key.loc);
  Graph& g = key.tensor.graph();
  // 2^40 elements to a call: streams never meet.
  double start = static_cast<double>(g.fresh_stream()) * 0x1p40;
  int64_t n = numel(shape);
  Tensor counter = n == 0 ? g.constant(0, {0}, DType::i64) : g.iota({n}, 0, DType::i64);
  return reshape(philox(key, counter + start), shape);
}

// Uniform in [lo, hi), f32 (from 24 of the word's bits at the top of the range).
inline Tensor uniform(At key, const Shape& shape, double lo = 0, double hi = 1) {
  CallSite here(key);
  Tensor unit = minimum(cast(random_words(key, shape), DType::f32) * 0x1p-32, 1 - 0x1p-24);
  if (lo == 0 && hi == 1) return unit;
  return unit * (hi - lo) + lo;
}

// Normal, f32, by Box and Muller (1958).
inline Tensor normal(At key, const Shape& shape, double mean = 0, double deviation = 1) {
  CallSite here(key);
  Tensor radius = sqrt(-2.0 * log1p(-uniform(key, shape)));
  Tensor z = radius * cos(uniform(key, shape) * 6.283185307179586);
  return z * deviation + mean;
}

// True with probability p, b8.
inline Tensor bernoulli(At key, const Shape& shape, double p) {
  CallSite here(key);
  return uniform(key, shape) < p;
}

// x with each element zeroed with probability p, the others scaled by 1 / (1 - p) (Srivastava et
// al. 2014). p = 0 is x itself.
inline Tensor dropout(At x, double p, const Tensor& key) {
  CallSite here(x);
  if (p < 0 || p >= 1)
    fail_user("dropout: expected 0 <= p < 1, found " + std::to_string(p), x.loc);
  if (p == 0) return x.tensor;
  Tensor keep = uniform(key, x.tensor.shape()) >= p;
  return select(keep, x.tensor * (1 / (1 - p)), x.tensor.graph().constant(0, {}, x.tensor.dtype()));
}

struct SampleOptions {
  double temperature = 1;  // 0: the most likely token
  int64_t top_k = 0;       // 0: all; else only the k likeliest (and ties with the k-th)
  double top_p = 1;        // only the likeliest tokens that together reach p (Holtzman et al. 2020)
};
// One token for each row of logits [..., V] (float) -> i32 [...], drawn from softmax(logits /
// temperature) by the Gumbel-max trick.
inline Tensor sample(At logits, const Tensor& key, SampleOptions o = {}) {
  CallSite here(logits);
  if (o.temperature < 0 || o.top_k < 0 || o.top_p <= 0 || o.top_p > 1)
    fail_user("sample: expected temperature >= 0, top_k >= 0 and 0 < top_p <= 1", logits.loc);
  if (o.temperature == 0) return argmax(logits);
  Graph& g = logits.tensor.graph();
  Tensor z = cast(logits, DType::f32) * (1 / o.temperature);
  Tensor never = g.constant(-1e30);
  int64_t v = z.size(-1), k = o.top_k > 0 && o.top_k < v ? o.top_k : v;
  if (k < v) {
    Tensor least = slice(top_k(z, k).values, -1, k - 1, 1);
    z = select(z >= least, z, never);
  }
  if (o.top_p < 1) {
    Tensor best = top_k(z, k).values;
    Tensor weight = exp(best - slice(best, -1, 0, 1));
    Tensor share = weight / sum(weight, {-1}, true);
    Tensor before = cumsum(share, -1) - share;  // of the tokens ahead: 0 for the first
    Tensor least = min(select(before < o.top_p, best, g.constant(1e30)), {-1}, true);
    z = select(z >= least, z, never);
  }
  // uniform() may be 0, whose logarithm is not a number to add.
  Tensor u = maximum(uniform(key, z.shape()), 0x1p-33);
  return argmax(z - log(-log(u)));
}

}  // namespace fusec
