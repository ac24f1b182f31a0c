// Every row of pointwise.def: its value against an independent formula, its gradient against
// finite differences. The rows come from the table itself, so a new row is tested without a word
// here; only its independent formula is asked for.
#include <functional>
#include <map>

#include "gradcheck.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Row {
  Pointwise op;
  std::string name;
  size_t arity;
  std::vector<std::string> gradients;  // as written in the table; empty for compare rows
  double lo, hi;
};

// Turns the variadic tail of a row into numbers without naming the columns in between.
const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
#define FUSEC_UNARY(name, doc, value, grad_x, cost, lo, hi) \
  {Pointwise::name, #name, 1, {#grad_x}, lo, hi},
#define FUSEC_BINARY(name, doc, value, grad_a, grad_b, cost, lo, hi) \
  {Pointwise::name, #name, 2, {#grad_a, #grad_b}, lo, hi},
#define FUSEC_COMPARE(name, doc, value, cost, lo, hi) {Pointwise::name, #name, 2, {}, lo, hi},
#define FUSEC_BITS(name, ...)  // tested with the random numbers made of it
#define FUSEC_TERNARY(name, doc, value, grad_a, grad_b, grad_c, cost, lo, hi) \
  {Pointwise::name, #name, 3, {#grad_a, #grad_b, #grad_c}, lo, hi},
#include "fusec/ops/pointwise.def"
  };
  return table;
}

using Formula = std::function<double(double, double, double)>;

double phi(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * M_PI); }

// Written with other identities than the table where there are any.
const std::map<std::string, Formula>& independent() {
  static const std::map<std::string, Formula> formulas = {
      {"add", [](double a, double b, double) { return a - -b; }},
      {"sub", [](double a, double b, double) { return a + -b; }},
      {"mul", [](double a, double b, double) { return a / (1 / b); }},
      {"div", [](double a, double b, double) { return a * (1 / b); }},
      {"maximum", [](double a, double b, double) { return std::fmax(a, b); }},
      {"minimum", [](double a, double b, double) { return std::fmin(a, b); }},
      {"neg", [](double x, double, double) { return 0 - x; }},
      {"abs", [](double x, double, double) { return std::sqrt(x * x); }},
      {"square", [](double x, double, double) { return std::pow(x, 2); }},
      {"reciprocal", [](double x, double, double) { return std::pow(x, -1); }},
      {"sqrt", [](double x, double, double) { return std::pow(x, 0.5); }},
      {"rsqrt", [](double x, double, double) { return std::pow(x, -0.5); }},
      {"exp", [](double x, double, double) { return std::expm1(x) + 1; }},
      {"log", [](double x, double, double) { return std::log2(x) * std::log(2.0); }},
      {"sin", [](double x, double, double) { return std::cos(x - M_PI / 2); }},
      {"cos", [](double x, double, double) { return std::sin(x + M_PI / 2); }},
      {"tanh", [](double x, double, double) { return std::sinh(x) / std::cosh(x); }},
      {"erf", [](double x, double, double) { return 1 - std::erfc(x); }},
      {"sigmoid", [](double x, double, double) { return 0.5 + 0.5 * std::tanh(x / 2); }},
      {"silu", [](double x, double, double) { return x * (0.5 + 0.5 * std::tanh(x / 2)); }},
      {"pow", [](double a, double b, double) { return std::exp(b * std::log(a)); }},
      {"exp2", [](double x, double, double) { return std::pow(2, x); }},
      {"log1p", [](double x, double, double) { return 2 * std::atanh(x / (2 + x)); }},
      {"relu_squared", [](double x, double, double) { return x < 0 ? 0 : x * x; }},
      {"softplus", [](double x, double, double) { return std::log(1 + std::exp(x)); }},
      {"sign", [](double x, double, double) { return double(x > 0) - double(x < 0); }},
      {"floor", [](double x, double, double) { return -std::ceil(-x); }},
      {"ceil", [](double x, double, double) { return std::trunc(x) + (x > std::trunc(x)); }},
      {"round", [](double x, double, double) { return std::rint(x); }},
      {"gelu_erf", [](double x, double, double) { return x * std::erfc(-x / std::sqrt(2)) / 2; }},
      {"gelu_erf_slope",
       [](double x, double, double) { return std::erfc(-x / std::sqrt(2)) / 2 + x * phi(x); }},
      {"relu", [](double x, double, double) { return x < 0 ? 0 : x; }},
      {"eq", [](double a, double b, double) { return double(!(a < b) && !(a > b)); }},
      {"ne", [](double a, double b, double) { return double(a < b || a > b); }},
      {"lt", [](double a, double b, double) { return double(std::isless(a, b)); }},
      {"le", [](double a, double b, double) { return double(std::islessequal(a, b)); }},
      {"gt", [](double a, double b, double) { return double(std::isgreater(a, b)); }},
      {"ge", [](double a, double b, double) { return double(std::isgreaterequal(a, b)); }},
      {"select", [](double a, double b, double c) { return a * b + (1 - a) * c; }},
  };
  return formulas;
}

// The tanh form is within 5e-4 of x Phi(x), and its slope within 2e-3 of Phi(x) + x phi(x)
// (Hendrycks and Gimpel 2016); a wrong constant in the table would exceed that.
const std::map<std::string, Formula>& approximate() {
  static const std::map<std::string, Formula> formulas = {
      {"gelu", [](double x, double, double) { return x * std::erfc(-x / std::sqrt(2)) / 2; }},
      {"gelu_slope",
       [](double x, double, double) { return std::erfc(-x / std::sqrt(2)) / 2 + x * phi(x); }},
  };
  return formulas;
}

struct Prepared {
  Bench bench;
  std::vector<Tensor> operands;
  Tensor y;
  Prepared(const Row& row, const Shape& shape) {
    const char* names[] = {"a", "b", "c"};
    for (size_t i = 0; i < row.arity; ++i) {
      bool condition = row.op == Pointwise::select && i == 0;
      if (condition) {
        std::vector<double>& bits = bench.feeds["a"];
        for (int64_t k = 0; k < numel(shape); ++k) bits.push_back(k % 3 == 0);
        operands.push_back(bench.graph.input("a", shape, b8));
      } else {
        operands.push_back(bench.leaf(names[i], shape, row.lo, row.hi));
      }
    }
    if (row.gradients.empty()) {  // comparisons: make a third of the elements equal
      for (size_t k = 0; k < bench.feeds["a"].size(); k += 3)
        bench.feeds["b"][k] = bench.feeds["a"][k];
    }
    y = pointwise(row.op, operands, SourceLoc("table", 1));
  }
};

}  // namespace

TEST_CASE("values of every row agree with an independent formula") {
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    Prepared p(row, {3, 7});
    std::vector<double> got = evaluate(p.bench.graph, p.bench.feeds, {p.y})[0];
    bool exact = independent().count(row.name) > 0;
    REQUIRE_MESSAGE((exact || approximate().count(row.name)),
                    "add an independent formula for the new row to this test");
    const Formula& formula = exact ? independent().at(row.name) : approximate().at(row.name);
    // 1e-13: a few roundings of 1.1e-16 each through the alternative identity.
    double tolerance = exact ? 1e-13 : row.name == "gelu" ? 5e-4 : 2e-3;
    for (size_t i = 0; i < got.size(); ++i) {
      auto arg = [&](const char* n) {
        auto it = p.bench.feeds.find(n);
        return it == p.bench.feeds.end() ? 0.0 : it->second[i];
      };
      double expected = formula(arg("a"), arg("b"), arg("c"));
      CHECK(std::fabs(got[i] - expected) <= tolerance * (1 + std::fabs(expected)));
    }
    CHECK(p.y.dtype() == (row.gradients.empty() ? b8 : f32));
  }
}

TEST_CASE("gradients of every row agree with finite differences") {
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    Prepared p(row, {2, 5});
    if (row.gradients.empty()) {  // a truth value has no gradient
      CHECK_THROWS_AS(grad(sum(cast(p.y, f32)), {p.operands[0]}), Error);
      continue;
    }
    Tensor loss = weighted_sum(p.y, p.bench.draw);
    std::vector<Tensor> wrt;
    for (size_t i = 0; i < row.arity; ++i) {
      if (row.gradients[i] != "none") wrt.push_back(p.operands[i]);
      else CHECK_THROWS_AS(grad(loss, {p.operands[i]}), Error);
    }
    if (!wrt.empty()) check_gradients(loss, wrt, p.bench.feeds);
  }
}

TEST_CASE("gradients at the kinks are the documented ones") {
  Graph g;
  Tensor a = g.input("a", {3}), b = g.input("b", {3});
  OracleFeeds feeds = {{"a", {0, 1, 0}}, {"b", {0, 1, 5}}};
  auto gradient = [&](const Tensor& y, const Tensor& by) {
    return evaluate(g, feeds, grad(sum(y), {by}))[0];
  };
  CHECK(gradient(maximum(a, b), a) == std::vector<double>{1, 1, 0});
  CHECK(gradient(maximum(a, b), b) == std::vector<double>{0, 0, 1});
  CHECK(gradient(minimum(a, b), a) == std::vector<double>{1, 1, 1});
  CHECK(gradient(minimum(a, b), b) == std::vector<double>{0, 0, 0});
  CHECK(gradient(abs(a), a) == std::vector<double>{0, 1, 0});
  CHECK(gradient(relu(a), a) == std::vector<double>{0, 1, 0});
}
