// Hooks for the tests of attention: their texts, written by hand in the form that the code
// generator's emit_hook gives them, and their formulas.
#pragma once

#include "attention_check.h"

namespace fusec::test {

// `seen`: statements of the mask, empty for none; `score`: an expression of z, the scaled and
// capped product; `slopes`: its derivatives by z and by each load that wants one.
inline HookText text_of(std::vector<TensorType> captured, const std::string& seen,
                        const std::string& score, const std::vector<std::string>& slopes,
                        const std::string& loads, int64_t grads, int64_t mask_axes) {
  std::string fields, parameters, names;
  for (size_t i = 0; i < captured.size(); ++i) {
    const DType t = captured[i].dtype;
    std::string one = std::string("const ") +
                      (t == f32   ? "float"
                       : t == i32 ? "int"
                                  : "unsigned char") +
                      "* h" + std::to_string(i);
    fields += one + "; ", parameters += ", " + one, names += (i ? ", h" : "h") + std::to_string(i);
  }
  std::string begin = "namespace hook {\nstruct Captured { " + fields +
                      "};\nstruct Place { int item, head, query, key; };\n"
                      "DEV bool seen(const Captured& c, const Place& at) { " +
                      (seen.empty() ? "return true;" : seen) + " }\n";
  const std::string z =
      "  const float s0 = product * kScale, bend = kCap != 0 ? tanhf(s0 * (1 / (kCap + 1e-30f))) : "
      "0;\n"
      "  const float z = kCap != 0 ? kCap * bend : s0;\n";
  const std::string arguments = "(const Captured& c, const Place& at, float product) {\n";
  const std::string end = "}\n}  // namespace hook\n#define HOOK_PARAMETERS " + parameters +
                          "\n#define HOOK_CAPTURED {" + names + "}\n";
  HookText out;
  out.forward = begin + "DEV float score" + arguments + z + "  return " + score + ";\n" + end;
  out.grad = begin + "struct Slopes { float score, by_product, by_load[" +
             std::to_string(std::max<size_t>(2, slopes.size()) - 1) + "]; };\nDEV Slopes slopes" +
             arguments + z + "  Slopes r = {};\n  r.score = " + score + ";\n  r.by_product = (" +
             slopes[0] + ") * (1 - bend * bend) * kScale;\n";
  for (size_t i = 1; i < slopes.size(); ++i)
    out.grad += "  r.by_load[" + std::to_string(i - 1) + "] = " + slopes[i] + ";\n";
  out.grad += "  return r;\n" + end;
  out.scored = score != "z", out.masked = !seen.empty();
  out.mask_axes = mask_axes, out.captured = std::move(captured);
  out.loads = loads, out.grads = grads;
  return out;
}

struct Sizes {
  int64_t b, t, s, h;
};

// score + slope[head] * (key - query)
inline HookFormulas alibi(const Sizes& n) {
  HookFormulas f;
  f.text = text_of({{{n.h}, f32}}, "", "z + c.h0[at.head] * (float)(at.key - at.query)",
                   {"1", "(float)(at.key - at.query)"}, "0 0 0 4 0 0 1", 1, 0);
  Values slope = random_values(n.h, 31);
  for (double& x : slope) x *= 0.125;
  f.captured = {slope};
  f.score = [slope](const Place& p, double z) {
    return z + slope[p.head] * static_cast<double>(p.key - p.query);
  };
  f.loads = {{0, [](const Place& p) { return p.head; },
              [](const Place& p, double) { return static_cast<double>(p.key - p.query); }}};
  return f;
}

// Runs of `run` tokens see their own; queries and keys have numbers of their own.
inline HookFormulas documents(const Sizes& n, int64_t run) {
  HookFormulas f;
  f.text = text_of({{{n.t}, i32}, {{n.s}, i32}}, "return c.h0[at.query] == c.h1[at.key];", "z",
                   {"1"}, "0 0 0 0 4 0 0; 1 0 0 0 0 4 0", 0, 4 | 8);
  Values of_query(n.t), of_key(n.s);
  for (int64_t i = 0; i < n.t; ++i) of_query[i] = static_cast<double>(i / run * 3 % 5);
  for (int64_t i = 0; i < n.s; ++i) of_key[i] = static_cast<double>(i / run * 3 % 5);
  f.captured = {of_query, of_key};
  f.seen = [=](const Place& p) { return of_query[p.query] == of_key[p.key]; };
  return f;
}

// Every `step`th key; queries that are multiples of 7 see nothing.
inline HookFormulas dilated(int64_t step) {
  HookFormulas f;
  f.text = text_of(
      {}, "return at.query % 7 != 0 && (at.key - at.query) % " + std::to_string(step) + " == 0;",
      "z", {"1"}, "", 0, 4 | 8);
  f.seen = [=](const Place& p) { return p.query % 7 != 0 && (p.key - p.query) % step == 0; };
  return f;
}

// A table of what sees what: the ancestors of a node of a tree, and the node itself.
inline HookFormulas tree(const Sizes& n) {
  HookFormulas f;
  f.text = text_of({{{n.t, n.s}, b8}},
                   "return c.h0[at.query * " + std::to_string(n.s) + " + at.key] != 0;", "z", {"1"},
                   "0 0 0 0 " + std::to_string(n.s) + " 1 0", 0, 4 | 8);
  Values table(n.t * n.s);
  for (int64_t i = 0; i < n.t; ++i)
    for (int64_t at = i + 1; at > 0; at /= 2)
      if (at <= n.s) table[i * n.s + at - 1] = 1;
  f.captured = {table};
  f.seen = [=](const Place& p) { return table[p.query * n.s + p.key] != 0; };
  return f;
}

// score * heat[item] + bias[head, query, key] + place[key - query + t], a mask by item and head;
// all three are learnt.
inline HookFormulas biased(const Sizes& n, bool masked) {
  HookFormulas f;
  const std::string t = std::to_string(n.t), s = std::to_string(n.s);
  auto bytes = [](int64_t x) { return " " + std::to_string(4 * x); };
  f.text =
      text_of({{{n.b}, f32}, {{n.h, n.t, n.s}, f32}, {{n.t + n.s}, f32}},
              masked ? "return (at.item + at.head + at.query / 70 + at.key / 64) % 3 != 0;" : "",
              "z * c.h0[at.item] + c.h1[(at.head * " + t + " + at.query) * " + s +
                  " + at.key] + c.h2[at.key - at.query + " + t + "]",
              {"c.h0[at.item]", "z", "1", "1"},
              "0 0 4 0 0 0 1; 1 0 0" + bytes(n.t * n.s) + bytes(n.s) + " 4 1; 2" + bytes(n.t) +
                  " 0 0 -4 4 1",
              7, masked ? 15 : 0);
  Values heat = random_values(n.b, 41), bias = random_values(n.h * n.t * n.s, 42),
         place = random_values(n.t + n.s, 43);
  for (double& x : heat) x = std::fabs(x) / 2 + 0.5;
  f.captured = {heat, bias, place};
  auto in_bias = [=](const Place& p) { return (p.head * n.t + p.query) * n.s + p.key; };
  auto in_place = [=](const Place& p) { return p.key - p.query + n.t; };
  if (masked)
    f.seen = [](const Place& p) { return (p.item + p.head + p.query / 70 + p.key / 64) % 3 != 0; };
  f.score = [=](const Place& p, double z) {
    return z * heat[p.item] + bias[in_bias(p)] + place[in_place(p)];
  };
  f.slope = [=](const Place& p, double) { return heat[p.item]; };
  auto one = [](const Place&, double) { return 1.0; };
  f.loads = {{0, [](const Place& p) { return p.item; }, [](const Place&, double z) { return z; }},
             {1, in_bias, one},
             {2, in_place, one}};
  return f;
}

}  // namespace fusec::test
