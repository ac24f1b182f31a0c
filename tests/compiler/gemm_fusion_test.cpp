// Products of one activation with several weights are one GEMM, forward and backward: counts of the
// calls, the copies that remain, and results within the oracle's bounds.
#include <algorithm>

#include "agree.h"
#include "fusec/check.h"

using namespace fusec;
using namespace fusec::test;

namespace {

int gemms(const Plan& plan) {
  return static_cast<int>(
      std::count_if(plan.steps.begin(), plan.steps.end(),
                    [](const PlanStep& s) { return s.kernel < 0 && s.call.name == "gemm"; }));
}

// Launches that only copy a part of a concat to its place.
int copies(const Plan& plan) {
  return static_cast<int>(
      std::count_if(plan.steps.begin(), plan.steps.end(), [&](const PlanStep& s) {
        return s.kernel >= 0 && plan.kernels[s.kernel].name.starts_with("concat");
      }));
}

// Queries twice as wide as keys and values, behind a norm that is differentiated too.
struct Projections {
  Graph graph;
  Tensor loss;
  std::vector<Tensor> weights;

  explicit Projections(int64_t rows = 512, int64_t width = 64, int64_t keys = 64) {
    Tensor x = graph.input("x", {rows, width});
    Tensor scale = graph.parameter("scale", {width});
    Tensor wq = graph.parameter("wq", {2 * keys, width}), wk = graph.parameter("wk", {keys, width}),
           wv = graph.parameter("wv", {keys, width});
    Tensor a = rms_norm(x, 1e-6, scale);
    Tensor q = silu(linear(a, wq)), k = tanh(linear(a, wk)), v = linear(a, wv) * 0.5;
    loss = sum(square(q)) + sum(k * v);
    weights = {scale, wq, wk, wv};
  }
  std::vector<Tensor> results() {
    std::vector<Tensor> out = {loss};
    for (const Tensor& g : grad(loss, weights)) out.push_back(g);
    return out;
  }
};

}  // namespace

TEST_CASE("q, k, v of different widths: one product forward, two backward") {
  Projections p;
  Plan plan = agree(p.graph, p.results(), {.lo = -1, .hi = 1});
  CHECK(gemms(plan) == 3);
  CHECK(copies(plan) == 3);  // the f32 weights; the gradients are written side by side
}

TEST_CASE("unfused, every product is a call of its own") {
  Projections p;
  std::vector<Tensor> wanted = p.results();
  std::vector<Output> outputs(wanted.begin(), wanted.end());
  CHECK(gemms(compile(p.graph, outputs, {.fuse = false}).plan()) == 9);
}

TEST_CASE("the narrow copies of weights are written into the wide one, and every step is right") {
  Projections p;
  std::vector<Tensor> wanted = p.results();
  std::vector<Output> outputs(wanted.begin(), wanted.end());
  CompileOptions options;
  options.precision = Precision::bf16;
  options.validate = true;
  Executable exe = compile(p.graph, outputs, options);
  CHECK(gemms(exe.plan()) == 3);
  CHECK(copies(exe.plan()) == 0);
  for (const auto& [name, values] : complete(p.graph, {}, -1, 1)) write(exe, name, values);
  ValidateReport report = exe.validate();
  INFO(report.str());
  CHECK(report.ok());
}

TEST_CASE("wide products give the same bits for any number of threads, in every run") {
  Projections p;
  std::vector<Tensor> wanted = p.results();
  std::vector<Output> outputs(wanted.begin(), wanted.end());
  std::vector<std::vector<double>> seen;
  for (int threads : {1, 2, 2}) {
    Executable exe = compile(p.graph, outputs, {.threads = threads});
    for (const auto& [name, values] : complete(p.graph, {}, -1, 1)) write(exe, name, values);
    for (int run = 0; run < 2; ++run) {
      exe.run();
      std::vector<double> all;
      for (size_t i = 0; i < outputs.size(); ++i)
        for (double v : read(exe, "out" + std::to_string(i))) all.push_back(v);
      seen.push_back(std::move(all));
    }
  }
  for (const auto& s : seen) CHECK(s == seen[0]);
}

TEST_CASE("values that attention reads are copied where that still pays") {
  Graph g;
  Tensor x = g.input("x", {256, 128}), scale = g.parameter("scale", {128});
  Tensor wq = g.parameter("wq", {128, 128}), wk = g.parameter("wk", {64, 128}),
         wv = g.parameter("wv", {64, 128});
  Tensor a = rms_norm(x, 1e-6, scale);
  Tensor q = rms_norm(reshape(linear(a, wq), {1, 256, 4, 32}));
  Tensor k = rms_norm(reshape(linear(a, wk), {1, 256, 2, 32}));
  Tensor v = reshape(linear(a, wv), {1, 256, 2, 32});
  Tensor loss = sum(square(attention(q, k, v)));
  std::vector<Tensor> wanted = grad(loss, {scale, wq, wk, wv});
  wanted.push_back(loss);
  Plan plan = agree(g, wanted, {.lo = -1, .hi = 1});
  CHECK(gemms(plan) == 3);
  // Forward alone, the copy of the values costs as much as it saves: they stay a product.
  CHECK(gemms(compile(g, {loss}, {.precision = Precision::bf16}).plan()) == 2);
}

TEST_CASE("an activation that others read too, and gradients that become an update") {
  Graph g;
  Tensor x = g.input("x", {512, 64}), lr = g.input("lr", {}), bias = g.parameter("bias", {64});
  Tensor gate = g.parameter("gate", {192, 64}), up = g.parameter("up", {192, 64}),
         down = g.parameter("down", {64, 192});
  Tensor a = tanh(x + bias);
  Tensor y = a + linear(silu(linear(a, gate)) * linear(a, up), down);
  Tensor loss = mean(square(y), {0, 1});
  std::vector<Tensor> weights = {bias, gate, up, down}, grads = grad(loss, weights);
  std::vector<Tensor> wanted = grads;
  wanted.push_back(loss);
  CHECK(gemms(agree(g, wanted, {.lo = -1, .hi = 1})) == 6);  // three of gate and up, three of down

  for (size_t i = 0; i < weights.size(); ++i) g.assign(weights[i], weights[i] - lr * grads[i]);
  Executable exe = compile(g, {loss});
  size_t most = 0;
  for (const PlanStep& s : exe.plan().steps) most = std::max(most, s.segments.size());
  CHECK(most >= 3);  // the pieces of the wide gradient are tensors like all others
}

TEST_CASE("a layout with the weight's outputs last is one product, too") {
  Graph g;
  Tensor x = g.input("x", {512, 64}), w = g.parameter("w", {64, 64}),
         v = g.parameter("v", {64, 32});
  Tensor a = tanh(x);
  Tensor loss = sum(square(silu(matmul(a, w)))) + sum(sin(matmul(a, v)));
  std::vector<Tensor> wanted = grad(loss, {w, v});
  wanted.push_back(loss);
  CHECK(gemms(agree(g, wanted, {.lo = -1, .hi = 1})) == 2);  // forward, dw
}

TEST_CASE("tied weights, odd widths and other types stay apart") {
  Graph g;
  Tensor x = g.input("x", {512, 64}), z = g.input("z", {512, 64});
  Tensor w = g.parameter("w", {64, 64}), v = g.parameter("v", {64, 64});
  CHECK(gemms(agree(g, {tanh(linear(x, w)), tanh(linear(x, v)), tanh(linear(z, w))})) == 3);

  Graph odd;
  x = odd.input("x", {512, 64});
  w = odd.parameter("w", {60, 64}), v = odd.parameter("v", {64, 64});
  CHECK(gemms(agree(odd, {tanh(linear(x, w)), tanh(linear(x, v))})) == 2);

  Graph typed;
  x = typed.input("x", {512, 64});
  w = typed.parameter("w", {64, 64}), v = typed.parameter("v", {64, 64}, bf16);
  CHECK(gemms(agree(typed, {tanh(linear(x, w)), tanh(linear(cast(x, bf16), v))})) == 2);
}

TEST_CASE("a chain of wide products: each reads what the one before it made") {
  Graph g;
  Tensor x = g.input("x", {256, 64}), scale = g.parameter("scale", {64});
  std::vector<Tensor> weights = {scale};
  Tensor h = x * scale;
  for (int layer = 0; layer < 3; ++layer) {
    std::string n = std::to_string(layer);
    Tensor a = g.parameter("a" + n, {64, 64}), b = g.parameter("b" + n, {64, 64});
    weights.push_back(a), weights.push_back(b);
    h = h + tanh(linear(h, a)) * linear(h, b);
  }
  Tensor loss = sum(square(h));
  std::vector<Tensor> wanted = grad(loss, weights);
  wanted.push_back(loss);
  CHECK(gemms(agree(g, wanted, {.lo = -0.2, .hi = 0.2})) == 9);
}

TEST_CASE("kernels write the parts of a concat in place") {
  Graph g;
  Tensor x = g.input("x", {96, 40}), y = g.input("y", {96, 24});
  Plan columns = agree(g, {concat({silu(x), tanh(y), x}, 1)});
  CHECK(launches(columns) == 3);  // x itself is copied
  CHECK(copies(columns) == 1);

  Graph h;
  x = h.input("x", {64, 40}), y = h.input("y", {3, 40});
  Plan rows = agree(h, {concat({silu(x), tanh(y)}, 0)});
  CHECK(copies(rows) == 0);

  Graph odd;  // a vector store of the first part could run into the second
  x = odd.input("x", {3, 40}), y = odd.input("y", {64, 40});
  CHECK(copies(agree(odd, {concat({silu(x), tanh(y)}, 0)})) == 2);

  Graph shared;  // another reader needs the part dense
  x = shared.input("x", {96, 40}), y = shared.input("y", {96, 24});
  Tensor s = silu(x);
  CHECK(copies(agree(shared, {concat({s, tanh(y)}, 1), s})) == 1);
}

TEST_CASE("sums of products are one chain of GEMMs in one tensor, odd and empty sizes too") {
  for (Shape size : {Shape{24, 16}, Shape{7, 13}, Shape{1, 1}, Shape{0, 8}}) {
    CAPTURE(size[0]);
    CAPTURE(size[1]);
    Graph g;
    Tensor sum;
    for (int i = 0; i < 3; ++i) {
      std::string name(1, static_cast<char>('a' + i));
      Tensor p = linear(g.input("x" + name, {size[0], 11}), g.parameter(name, {size[1], 11}));
      sum = i == 0 ? p : p + sum;
    }
    Tensor y = linear(sum, g.parameter("last", {3, size[1]}));
    Plan plan = agree(g, {y}, {.lo = -1, .hi = 1});
    if (numel(size) == 0) continue;
    std::vector<BufferRef> sums;
    for (const PlanStep& s : plan.steps)
      if (s.kernel < 0 && s.call.name == "gemm" && epilogue_of(s.call).add) {
        CHECK(s.call.args[2].buffer == s.call.args[3].buffer);
        sums.push_back(s.call.args[2]);
      }
    REQUIRE(sums.size() == 2);
    CHECK(sums[0].buffer == sums[1].buffer);
    CHECK(launches(plan) == 0);
  }
}

TEST_CASE("a gradient that several layers give is summed by their GEMMs, step by step right") {
  for (Precision precision : {Precision::f32, Precision::bf16}) {
    Graph g;
    Tensor x = g.input("x", {40, 24}), w = g.parameter("w", {24, 24});
    Tensor h = linear(x, w), loss;
    for (const char* name : {"a", "b", "c"}) {  // inputs of their own: not one wide product
      Tensor t = linear(h * g.input(std::string("s") + name, {}), g.parameter(name, {20, 24}));
      Tensor term = sum(square(tanh(t)));
      loss = loss.defined() ? loss + term : term;
    }
    CompileOptions options;
    options.precision = precision;
    options.validate = true;
    std::vector<Output> outputs = {loss};
    for (const Tensor& d : grad(loss, {w})) outputs.push_back(d);
    Executable exe = compile(g, outputs, options);
    for (const auto& [name, values] : complete(g, {}, -1, 1)) write(exe, name, values);
    ValidateReport report = exe.validate();
    INFO(report.str());
    CHECK(report.ok());
  }
}

TEST_CASE("the gradient of a GELU and of its bias are the GEMM's, where the option asks for it") {
  for (int64_t rows : {40, 33, 1})
    for (int64_t width : {48, 13}) {
      CAPTURE(rows);
      CAPTURE(width);
      Graph g;
      Tensor x = g.input("x", {rows, 24});
      Tensor w1 = g.parameter("w1", {width, 24}), b1 = g.parameter("b1", {width}),
             w2 = g.parameter("w2", {24, width}), b2 = g.parameter("b2", {24});
      Tensor y = linear(gelu(linear(x, w1, b1)), w2, b2);
      Tensor loss = sum(square(y - x));
      std::vector<Output> outputs = {loss};
      for (const Tensor& d : grad(loss, {w1, b1, w2, b2})) outputs.push_back(d);
      CompileOptions options;
      options.precision = Precision::bf16;
      options.gelu_in_gemm = true;
      options.validate = true;
      Executable exe = compile(g, outputs, options);
      int gradients = 0;
      for (const PlanStep& s : exe.plan().steps)
        if (s.kernel < 0 && s.call.name == "gemm")
          gradients += epilogue_of(s.call).str() == "dgelu_bgrad";
      CHECK(gradients == (width % 8 == 0 ? 1 : 0));
      for (const auto& [name, values] : complete(g, {}, -1, 1)) write(exe, name, values);
      ValidateReport report = exe.validate();
      INFO(report.str());
      CHECK(report.ok());
    }
}

TEST_CASE("a bias's gradient is summed beside its weight's, where a GEMM makes the rows") {
  for (int64_t rows : {40, 33, 1}) {
    CAPTURE(rows);
    Graph g;
    Tensor x = g.input("x", {rows, 12});
    Tensor w1 = g.parameter("w1", {17, 12}), b1 = g.parameter("b1", {17}),
           w2 = g.parameter("w2", {9, 17}), b2 = g.parameter("b2", {9});
    Tensor y = linear(linear(x, w1, b1), w2, b2), loss = sum(square(y));
    std::vector<Tensor> wanted = grad(loss, {w1, b1, w2, b2});
    Plan plan = agree(g, wanted, {.lo = -1, .hi = 1});
    int sums = 0;
    for (const PlanStep& s : plan.steps)
      if (s.kernel < 0 && s.call.name == "gemm") sums += epilogue_of(s.call).sums();
    CHECK(sums == 1);  // of b1; the kernel that writes the gradient of y sums that of b2
  }
}
