#include "kernel_list.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace fusec::bench {
namespace {

Tensor wide(const Tensor& t) { return cast(t, f32); }
Tensor narrow(const Tensor& t) { return cast(t, bf16); }
double count(const Shape& s) { return static_cast<double>(numel(s)); }

Kernel swiglu_kernel(int64_t tokens, bool backward) {
  return {backward ? "SwiGLU bwd" : "SwiGLU fwd", [=](Graph& g) -> Work {
            const Shape s = {tokens, 5528};
            Tensor a = g.input("gate", s, bf16), b = g.input("up", s, bf16);
            Tensor y = narrow(swiglu(wide(a), wide(b)));
            if (!backward) return {{{"y", y}}, 3 * count(s) * 2};
            Tensor loss = sum(wide(y) * wide(g.input("dy", s, bf16)));
            std::vector<Tensor> d = grad(loss, {a, b});
            return {{{"dgate", d[0]}, {"dup", d[1]}}, 5 * count(s) * 2};
          }};
}

Kernel norm_kernel(int64_t tokens, bool backward) {
  return {backward ? "residual + RMSNorm(w) bwd" : "residual + RMSNorm(w) fwd",
          [=](Graph& g) -> Work {
            const Shape s = {tokens, 2048};
            Tensor w = g.input("w", {2048}, bf16);
            auto norm = [&](const Tensor& h) { return narrow(rms_norm(wide(h), 1e-6, wide(w))); };
            if (!backward) {
              Tensor h = g.input("x", s, bf16) + g.input("r", s, bf16);
              return {{{"h", h}, {"y", norm(h)}}, 4 * count(s) * 2};
            }
            // The gradient of x and of the residual is the same tensor.
            Tensor h = g.input("h", s, bf16);
            Tensor loss = sum(wide(norm(h)) * wide(g.input("dy", s, bf16)));
            std::vector<Tensor> d = grad(loss, {h, w});
            Tensor dx = narrow(wide(d[0]) + wide(g.input("dh", s, bf16)));
            return {{{"dx", dx}, {"dw", d[1]}}, 4 * count(s) * 2};
          }};
}

// Both gradients of the affine part are sums over all tokens.
Kernel layer_norm_kernel(int64_t tokens) {
  return {"LayerNorm(w, b) bwd", [=](Graph& g) -> Work {
            const Shape s = {tokens, 1024};
            Tensor w = g.input("w", {1024}), b = g.input("b", {1024}), h = g.input("h", s, bf16);
            Tensor y = narrow(layer_norm(wide(h), w, b));
            std::vector<Tensor> d = grad(sum(wide(y) * wide(g.input("dy", s, bf16))), {h, w, b});
            return {{{"dx", d[0]}, {"dw", d[1]}, {"db", d[2]}}, 3 * count(s) * 2};
          }};
}

Kernel bias_kernel(int64_t tokens) {
  return {"bias + GELU bwd", [=](Graph& g) -> Work {
            const Shape s = {tokens, 4096};
            Tensor b = g.input("b", {4096}), h = g.input("h", s, bf16);
            Tensor loss = sum(gelu(wide(h) + b) * wide(g.input("dy", s, bf16)));
            std::vector<Tensor> d = grad(loss, {h, b});
            return {{{"dh", d[0]}, {"db", d[1]}}, 3 * count(s) * 2};
          }};
}

// [tokens, heads, 128] -> [heads, 128, tokens], scaled on the way.
Kernel transpose_kernel(int64_t tokens, DType type) {
  return {"transpose " + std::string(name_of(type)), [=](Graph& g) -> Work {
            const Shape s = {tokens, 16, 128};
            Tensor y = cast(wide(permute(g.input("x", s, type), {1, 2, 0})) * 0.5, type);
            return {{{"y", y}}, 2 * count(s) * static_cast<double>(size_of(type))};
          }};
}

Kernel loss_kernel(int64_t rows) {
  return {"softcap + CE fwd + bwd", [=](Graph& g) -> Work {
            const Shape s = {rows, 65536};
            Tensor z = g.input("z", s, bf16), target = g.input("target", {rows}, i32);
            Tensor loss = mean(cross_entropy(wide(z), target, {.softcap = 15}), {0});
            return {{{"loss", loss}, {"dz", grad(loss, {z})[0]}}, 3 * count(s) * 2, 0, "", 65536};
          }};
}

// The parameters of a model 2048 wide with 32 blocks, their first dimension cut to `share`.
Kernel adamw_kernel(double share, bool copy) {
  return {copy ? "AdamW, bf16 copy written" : "AdamW", [=](Graph& g) -> Work {
            const std::tuple<int, int64_t, int64_t> shapes[] = {
                {96, 2048, 2048}, {64, 5528, 2048}, {32, 2048, 5528}, {2, 65536, 2048}};
            Tensor lr = g.input("lr", {}), b1 = g.input("bias1", {}), b2 = g.input("bias2", {});
            Work work;
            int at = 0;
            for (const auto& [many, rows, width] : shapes)
              for (int i = 0; i < many; ++i) {
                const std::string n = std::to_string(at++);
                const Shape s = {std::max<int64_t>(1, std::llround(rows * share)), width};
                Tensor p = g.parameter("p" + n, s), m = g.state("m" + n, s);
                Tensor v = g.state("v" + n, s);
                AdamWStep next = adamw_step(p, g.input("g" + n, s), m, v, lr, b1, b2, 0.01);
                g.assign(p, next.p);
                g.assign(m, next.m);
                g.assign(v, next.v);
                if (copy) g.assign(g.state("copy" + n, s, bf16), narrow(next.p));
                work.bytes += count(s) * (copy ? 30 : 28);
              }
            return work;
          }};
}

// What stands before attention at B8 T2048 H10 KV5 d128: RoPE, then RMSNorm of each head. Bytes: q
// and k read and written; backward their gradients and q and k read, the gradients written.
Kernel rope_kernel(int64_t b, int64_t t, bool backward) {
  return {
      std::string("RoPE + QK-norm ") + (backward ? "bwd" : "fwd"), [=](Graph& g) -> Work {
        constexpr int64_t kWidth = 128;
        Tensor cosines = g.input("cos", {t, kWidth / 2}), sines = g.input("sin", {t, kWidth / 2});
        Work work;
        Tensor loss;
        std::vector<Tensor> from;
        for (const auto& [name, heads] : {std::pair{"q", 10}, std::pair{"k", 5}}) {
          const Shape s = {b, t, heads, kWidth};
          Tensor x = g.input(name, s, bf16);
          Tensor y = narrow(rms_norm(rope(wide(x), cosines, sines)));
          work.bytes += count(s) * (backward ? 6 : 4);
          if (!backward) {
            work.outputs.push_back({std::string(name) + "_out", y});
            continue;
          }
          Tensor part = sum(wide(y) * wide(g.input(std::string("d") + name, s, bf16)));
          loss = from.empty() ? part : loss + part;
          from.push_back(x);
        }
        if (!backward) return work;
        const std::vector<Tensor> d = grad(loss, from);
        work.outputs = {{"dq_out", d[0]}, {"dk_out", d[1]}};
        return work;
      }};
}

Kernel attention_kernel(int64_t b, int64_t t, int64_t h, int64_t kv, int64_t d, bool causal,
                        double softcap, bool backward) {
  const std::string name = std::string("attention ") + (backward ? "bwd" : "fwd") + " B" +
                           std::to_string(b) + " T" + std::to_string(t) + " H" + std::to_string(h) +
                           " KV" + std::to_string(kv) + " d" + std::to_string(d) +
                           (causal ? " causal" : "") + (softcap > 0 ? " softcap" : "");
  return {name, [=](Graph& g) -> Work {
            Tensor q = g.input("q", {b, t, h, d}, bf16), k = g.input("k", {b, t, kv, d}, bf16);
            Tensor v = g.input("v", {b, t, kv, d}, bf16);
            AttentionOptions options;
            options.causal = causal, options.softcap = softcap;
            Tensor o = attention(q, k, v, options);
            const double pairs = static_cast<double>(b * h * t) * static_cast<double>(t);
            const double flops = 4 * pairs * static_cast<double>(d) / (causal ? 2 : 1);
            if (!backward) return {{{"o", o}}, 0, flops, "attention"};
            Tensor loss = sum(wide(o) * wide(g.input("do", {b, t, h, d}, bf16)));
            std::vector<Tensor> grads = grad(loss, {q, k, v});
            return {{{"dq", grads[0]}, {"dk", grads[1]}, {"dv", grads[2]}},
                    0,
                    2.5 * flops,
                    "attention_grad"};
          }};
}

// 0 and the ends of 46 documents in `t` tokens: lengths from 16 to 1552, evenly by their logarithm
// and in no order, for 16384; the last one is what is left.
std::vector<int64_t> document_ends(int64_t t) {
  std::vector<int64_t> ends = {0};
  for (int i = 0; i < 45; ++i) {
    const double length = 16 * std::pow(97.0, (17 * i % 46 + 0.5) / 46);
    const int64_t end = ends.back() + std::llround(length * static_cast<double>(t) / 16384);
    if (end < t) ends.push_back(end);
  }
  ends.push_back(t);
  return ends;
}

// One sequence of `t` tokens, each seeing itself and what is before it in its document, or among
// the last `window` tokens.
Kernel packed_kernel(int64_t t, int64_t window, bool backward) {
  const std::string what = window ? "window " + std::to_string(window) : "documents";
  const std::string name = std::string("attention ") + (backward ? "bwd" : "fwd") + " " + what +
                           " T" + std::to_string(t) + " H16 d128";
  return {name, [=](Graph& g) -> Work {
            constexpr int64_t kHeads = 16, kWidth = 128;
            const Shape s = {1, t, kHeads, kWidth};
            AttentionOptions options;
            double pairs = 0;
            if (window) {
              options.window = window;
              pairs = static_cast<double>(window) * (static_cast<double>(t) - window / 2.0);
            } else {
              const std::vector<int64_t> ends = document_ends(t);
              for (size_t i = 1; i < ends.size(); ++i)
                pairs +=
                    0.5 * static_cast<double>((ends[i] - ends[i - 1]) * (ends[i] - ends[i - 1]));
              options.cu_seqlens = g.constant(std::vector<float>(ends.begin(), ends.end()),
                                              {static_cast<int64_t>(ends.size())}, i32);
            }
            Tensor q = g.input("q", s, bf16), k = g.input("k", s, bf16), v = g.input("v", s, bf16);
            Tensor o = attention(q, k, v, options);
            const double flops = 4 * pairs * kHeads * kWidth;
            if (!backward) return {{{"o", o}}, 0, flops, "attention"};
            std::vector<Tensor> d = grad(sum(wide(o) * wide(g.input("do", s, bf16))), {q, k, v});
            return {{{"dq", d[0]}, {"dk", d[1]}, {"dv", d[2]}}, 0, 2.5 * flops, "attention_grad"};
          }};
}

// Decoding: a token of each of `b` sequences over `length` cached keys; bytes: what is cached.
Kernel decode_kernel(int64_t b, int64_t length, DType pages) {
  return {"decode B" + std::to_string(b) + " L" + std::to_string(length) + " H32 KV8 d128 " +
              std::string(name_of(pages)),
          [=](Graph& g) -> Work {
            constexpr int64_t kPage = 16, kKv = 8, kWidth = 128;
            const int64_t each = (length + kPage - 1) / kPage, all = b * each;
            std::vector<float> table(all), lengths(b, static_cast<float>(length));
            for (int64_t i = 0; i < all; ++i)  // in no order: 7919 is prime
              table[i] = static_cast<float>(all % 7919 == 0 ? i : i * 7919 % all);
            const Shape s = {all, kPage, kKv, kWidth};
            PagedAttentionOptions options;
            double bytes = 2 * static_cast<double>(b * length * kKv) * kWidth *
                           static_cast<double>(size_of(pages));
            if (size_of(pages) == 1) {
              options.k_scale = g.input("k_scale", {all, kPage, kKv});
              options.v_scale = g.input("v_scale", {all, kPage, kKv});
              bytes += 2 * static_cast<double>(b * length * kKv) * 4;
            }
            Tensor o = paged_attention(g.input("q", {b, 32, kWidth}, bf16), g.input("k", s, pages),
                                       g.input("v", s, pages),
                                       g.constant(std::move(table), {b, each}, i32),
                                       g.constant(std::move(lengths), {b}, i32), options);
            return {{{"o", o}}, bytes, 0, "paged_attention", 256};
          }};
}

}  // namespace

std::vector<Kernel> kernel_list(int64_t shrink, double adamw) {
  auto less = [&](int64_t n) { return std::max<int64_t>(1, n / shrink); };
  const int64_t tokens = less(32768);
  std::vector<Kernel> list = {
      swiglu_kernel(tokens, false),   swiglu_kernel(tokens, true),   norm_kernel(tokens, false),
      norm_kernel(tokens, true),      layer_norm_kernel(tokens),     bias_kernel(tokens),
      transpose_kernel(tokens, bf16), transpose_kernel(tokens, f32), loss_kernel(less(8192))};
  for (const bool copy : {false, true})
    list.push_back(adamw_kernel(adamw / static_cast<double>(shrink), copy));
  for (const bool backward : {false, true})
    list.push_back(rope_kernel(less(8), less(2048), backward));
  const std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, bool, double> shapes[] = {
      {16, 2048, 16, 16, 128, true, 0},  {4, 8192, 16, 16, 128, true, 0},
      {16, 2048, 16, 8, 128, true, 0},   {32, 1024, 12, 12, 64, true, 0},
      {16, 2048, 16, 16, 128, false, 0}, {16, 2048, 16, 16, 128, true, 15},
      {1, 131072, 16, 16, 128, true, 0}, {16, 2048, 16, 16, 80, true, 0},
      {16, 2048, 16, 16, 96, true, 0},   {8, 2048, 16, 16, 256, true, 0}};
  for (const auto& [b, t, h, kv, d, causal, softcap] : shapes)
    for (const bool backward : {false, true})
      list.push_back(attention_kernel(less(b), less(t), h, kv, d, causal, softcap, backward));
  for (const int64_t window : {0, 1024})
    for (const bool backward : {false, true})
      list.push_back(packed_kernel(less(16384), window ? less(window) : 0, backward));
  const std::pair<int64_t, int64_t> caches[] = {{1, 1024},  {1, 8192},  {1, 32768}, {8, 8192},
                                                {32, 4096}, {64, 1024}, {64, 8192}};
  for (const DType pages : {bf16, u8, f8e4m3})
    for (const auto& [b, length] : caches) list.push_back(decode_kernel(b, less(length), pages));
  const int64_t side = less(8192);
  list.push_back({"matrix product", [=](Graph& g) -> Work {
                    Tensor a = g.input("a", {side, side}, bf16);
                    Tensor b = g.input("b", {side, side}, bf16);
                    const double n = static_cast<double>(side);
                    return {{{"c", matmul(a, b)}}, 0, 2 * n * n * n};
                  }});
  return list;
}

}  // namespace fusec::bench
