// validate() and check(): a right program passes, a wrong kernel is named with its ops, the element
// and both values; and what both refuse.
#include "agree.h"
#include "fusec/check.h"
#include "fusec/inspect.h"

using namespace fusec;
using namespace fusec::test;

namespace {

// An update in place beside a norm, a GEMM and a concat: kernels that overwrite what they read.
std::vector<Output> record(Graph& g) {
  Tensor x = g.input("x", {6, 8}), w = g.parameter("w", {8, 8}), m = g.state("m", {8, 8});
  Tensor y = linear(rms_norm(x), w);
  Tensor dw = einsum("bm,bn->mn", y, x);
  Tensor next = m * 0.9 + dw * 0.1;
  g.assign(m, next);
  g.assign(w, w - next * 0.25);
  return {{"y", concat({y, x}, 1)}, {"loss", sum(square(y)) * 0.125}};
}

std::string plan_of(Graph& g, const std::vector<Output>& outputs) {
  InspectOptions o;
  o.texts = {Stage::plan};
  return inspect(g, outputs, "graph", o).texts.at(Stage::plan);
}

void replace(std::string& text, const std::string& from, const std::string& to) {
  size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a right program validates, fused and unfused, and its second step as well") {
  Graph g;
  std::vector<Output> outputs = record(g);
  CheckReport report = check(g, outputs);
  INFO(report.str());
  CHECK(report.ok());
  CHECK(report.whole);
  CHECK(report.excluded == 0);
  CHECK(report.elements > 1000);
}

// Indices of equal kernels over other lengths: along a dimension of size 1, backwards, from 2 on.
TEST_CASE("indices of several lengths in one kernel validate") {
  Graph g;
  Tensor i = g.iota({1, 4}, 0, i32), j = g.iota({6}, 0, i32), k = g.iota({9}, 0, i32);
  CheckReport report = check(g, {{"i", i},
                                 {"i2", slice(i, 1, 3, 2, -3)},
                                 {"j", slice(j, 0, 2, 4)},
                                 {"k", slice(k, 0, 2, 7)},
                                 {"j2", j + 1},
                                 {"k2", k + 1}});
  INFO(report.str());
  CHECK(report.ok());
}

TEST_CASE("products with bias and GELU validate, where the GEMM takes them along") {
  Graph g;
  Tensor x = g.input("x", {2, 16, 32});
  Tensor wq = g.parameter("wq", {64, 32}), bq = g.parameter("bq", {64});
  Tensor w1 = g.parameter("w1", {128, 64}), b1 = g.parameter("b1", {128});
  Tensor w2 = g.parameter("w2", {32, 128}), b2 = g.parameter("b2", {32});
  Tensor q = reshape(linear(x, wq, bq), {2, 16, 4, 16});
  Tensor a = reshape(attention(q, q, q), {2, 16, 64});
  Tensor y = linear(gelu(linear(a, w1, b1)), w2, b2) + x;
  std::vector<Tensor> p = {wq, bq, w1, b1, w2, b2};
  std::vector<Tensor> d = grad(sum(square(y)), p);
  for (size_t i = 0; i < p.size(); ++i) g.assign(p[i], p[i] - d[i] * 0.001);
  std::vector<Output> outputs = {{"y", y}, {"z", linear(a, w1, b1)}};
  for (Precision precision : {Precision::f32, Precision::bf16})
    for (bool gelu_in_gemm : {false, true}) {
      CheckOptions options;
      options.compile.precision = precision;
      options.compile.gelu_in_gemm = gelu_in_gemm;
      options.whole = precision == Precision::f32;  // the graph does not say what the policy rounds
      CheckReport report = check(g, outputs, options);
      INFO(report.str());
      CHECK(report.ok());
      CHECK(report.elements > 1000);
    }
}

TEST_CASE("validate names the kernel whose constant is wrong, in place or not") {
  for (const char* edit : {"0.25", "0.125", "0.89999"}) {
    CAPTURE(std::string(edit));
    Graph g;
    std::vector<Output> outputs = record(g);
    std::string plan = plan_of(g, outputs);
    replace(plan, std::string("constant ") + edit, std::string("constant 1") + edit);
    CheckOptions options;
    options.compile.plan_text = plan;
    CheckReport report = check(g, outputs, options);
    REQUIRE(!report.ok());
    const Mismatch& m = report.wrong.front();
    CHECK(m.where.starts_with("fused, step "));
    CAPTURE(m.where);
    CHECK(m.where.find("kernel k") != std::string::npos);
    CHECK(m.wrong > 0);
    CHECK(std::fabs(m.got - m.expected) > m.allowed);
    bool line = false;
    for (const std::string& op : m.ops)
      line = line || op.find("validate_test.cpp:") != std::string::npos;
    CHECK(line);
    CHECK(report.str().find("expected") != std::string::npos);
  }
}

TEST_CASE("a constant wrong by six units of f32 is seen") {
  Graph g;
  std::vector<Output> outputs = {{"y", g.input("x", {64}) * 0.75}};
  std::string plan = plan_of(g, outputs);
  replace(plan, "constant 0.75", "constant 0.7500004");
  CheckOptions options;
  options.compile.plan_text = plan;
  CHECK(!check(g, outputs, options).ok());
}

TEST_CASE("validate needs its option, and a plan of the same graph") {
  Graph g;
  std::vector<Output> outputs = {{"y", tanh(g.input("x", {4}))}};
  Executable plain = compile(g, outputs);
  CHECK_THROWS_WITH_AS(plain.validate(), doctest::Contains("CompileOptions::validate"), Error);
  Graph other;
  std::vector<Output> more = record(other);
  CompileOptions options;
  options.validate = true;
  options.plan_text = plan_of(other, more);
  Executable wrong = compile(g, outputs, options);
  wrong.set("x", std::vector<float>(48, 0.5f));
  wrong.set("w", std::vector<float>(64, 0.5f));
  CHECK_THROWS_WITH_AS(wrong.validate(), doctest::Contains("the plan of this graph"), Error);
}

TEST_CASE("kernels that are compiled once serve every equal kernel, and only those") {
  CompileOptions options;
  options.reuse_kernels = true;
  for (double factor : {2.0, 3.0, 2.0}) {
    Graph g;
    Tensor x = g.input("x", {5});
    Executable exe = compile(g, {{"y", x * factor + 1.0}}, options);
    exe.set<float>("x", std::vector<float>{0, 1, 2, 3, 4});
    exe.run();
    CHECK(exe.get<float>("y")[4] == static_cast<float>(4 * factor + 1));
  }
}
