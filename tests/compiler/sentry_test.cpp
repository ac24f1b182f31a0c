// Numbers that are not finite: the step that meets one changes nothing, and the culprit is named.
#include <limits>

#include "agree.h"

using namespace fusec;
using namespace fusec::test;

namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();
const double kInf = std::numeric_limits<double>::infinity();

// A small training step with momentum, its loss and gradient norm guarded.
struct Trained {
  Graph g;
  Executable exe;
  int log_line = 0;

  explicit Trained(CompileOptions options = {}, bool guard = true) {
    Tensor x = g.input("x", {12, 20}), w = g.parameter("w", {9, 20}), b = g.parameter("b", {9});
    Tensor m = g.state("m", {9, 20}), n = g.state("n", {}), lr = g.input("lr", {});
    Tensor h;
    {
      ScopeGuard scope(g, "body");
      h = linear(x, w) + b;
      log_line = __LINE__ + 1;
      h = log(h);
    }
    Tensor loss = sum(square(h));
    std::vector<Tensor> d = grad(loss, {w, b});
    Tensor norm = sqrt(sum(square(d[0])) + sum(square(d[1])));
    Tensor clipped = d[0] * minimum(1.0 / norm, 1.0), moved = m * 0.9 + clipped;
    g.assign(m, moved);
    g.assign(w, w - moved * lr);
    g.assign(b, b - d[1] * (lr / norm));
    g.assign(n, n + 1.0);
    if (guard) g.guard(loss), g.guard(norm);
    exe = compile(g, {{"loss", loss}, {"norm", norm}}, options);
    good();
  }

  void good() {
    write(exe, "x", draw(exe.type("x"), 3, 0.5, 1));
    write(exe, "w", draw(exe.type("w"), 4, 0.5, 1));
    write(exe, "b", draw(exe.type("b"), 5, 0.5, 1));
    write(exe, "lr", {0.01});
  }
  std::vector<double> state() const {
    std::vector<double> all;
    for (const char* name : {"w", "b", "m", "n"})
      for (double v : read(exe, name)) all.push_back(v);
    return all;
  }
  void poison(const char* name, size_t at, double value) {
    std::vector<double> v = read(exe, name);
    v.at(at) = value;
    write(exe, name, v);
  }
  // Nothing may have changed, and a good step must work as if nothing had been.
  void check_skipped(const std::vector<double>& before) {
    std::vector<double> now = state();
    REQUIRE(now.size() == before.size());
    for (size_t i = 0; i < now.size(); ++i)
      CHECK((now[i] == before[i] || (std::isnan(now[i]) && std::isnan(before[i]))));
  }
};

}  // namespace

TEST_CASE("a guarded step is planned in place, its writes last") {
  Trained t;
  bool committing = false;
  int commits = 0;
  for (const PlanStep& s : t.exe.plan().steps) {
    CHECK((s.commit || !committing));
    CHECK((!s.commit || s.kernel >= 0));  // no copies
    committing = committing || s.commit;
    commits += s.commit;
  }
  CHECK(commits >= 1);
}

TEST_CASE("a NaN in an input: named, nothing changes, the next step is as if it had not been") {
  for (Sentry sentry : {Sentry::guard, Sentry::check}) {
    CAPTURE(static_cast<int>(sentry));
    Trained t({.sentry = sentry}), undisturbed({.sentry = sentry});
    CHECK(t.exe.run().finite);
    CHECK(undisturbed.exe.run().finite);
    CHECK(!t.exe.diagnose());
    std::vector<double> before = t.state();
    t.poison("x", 47, kNan);
    CHECK(!t.exe.run().finite);
    t.check_skipped(before);
    std::optional<NonFinite> first = t.exe.diagnose();
    REQUIRE(first);
    t.check_skipped(before);
    CHECK(first->step == -1);
    CHECK(first->tensor == "input \"x\" f32[12, 20]");
    CHECK(first->index == 47);
    CHECK(std::isnan(first->value));
    CHECK(first->origin.find("sentry_test.cpp") != std::string::npos);

    write(t.exe, "x", draw(t.exe.type("x"), 3, 0.5, 1));
    CHECK(t.exe.run().finite);
    CHECK(undisturbed.exe.run().finite);
    CHECK(t.state() == undisturbed.state());
    CHECK(read(t.exe, "n")[0] == 2);
  }
}

TEST_CASE("an infinite weight: named as it is, and kept") {
  Trained t;
  t.poison("w", 21, -kInf);
  std::vector<double> before = t.state();
  CHECK(!t.exe.run().finite);
  t.check_skipped(before);
  std::optional<NonFinite> first = t.exe.diagnose();
  REQUIRE(first);
  CHECK(first->tensor == "parameter \"w\" f32[9, 20]");
  CHECK(first->index == 21);
  CHECK(first->value == -kInf);
}

TEST_CASE("the logarithm of a negative number: op, user's line, scope, element") {
  for (bool fuse : {true, false}) {
    CAPTURE(fuse);
    Trained t({.fuse = fuse});
    t.poison("b", 4, -500);
    std::vector<double> before = t.state();
    CHECK(!t.exe.run().finite);
    t.check_skipped(before);
    std::optional<NonFinite> first = t.exe.diagnose();
    REQUIRE(first);
    CHECK(first->step >= 0);
    CHECK(std::isnan(first->value));
    CHECK(first->inputs.empty());
    if (!fuse) {  // fused, the logarithm itself may never reach memory: its kernel's result is
                  // named
      CHECK(first->index == 4);
      CHECK(first->origin ==
            "map.log (compiler/sentry_test.cpp:" + std::to_string(t.log_line) + ", body)");
    }
    CHECK(first->origin.find("compiler/sentry_test.cpp:") != std::string::npos);
    CHECK(first->str().find("its inputs were finite") != std::string::npos);
    t.good();
    CHECK(t.exe.run().finite);
  }
}

TEST_CASE("the gradient alone is not finite: the loss is, the step is skipped all the same") {
  Graph g;
  Tensor p = g.parameter("p", {40}), loss = sum(sqrt(p));
  Tensor d = grad(loss, {p})[0], norm = sqrt(sum(square(d)));
  g.guard(loss);
  g.guard(norm);
  g.assign(p, p - d * 0.1);
  Executable exe = compile(g, {{"loss", loss}});
  std::vector<double> values(40, 1);
  values[7] = 0;  // sqrt has no slope there
  write(exe, "p", values);
  CHECK(!exe.run().finite);
  CHECK(read(exe, "p") == values);
  CHECK(read(exe, "loss")[0] == 39);
}

TEST_CASE("without a guard assigns take effect; the checking mode undoes what is not finite") {
  Graph g;
  Tensor p = g.parameter("p", {100}), q = g.parameter("q", {100}), x = g.input("x", {100});
  g.assign(p, p * x);
  g.assign(q, q + 1.0);
  Executable fast = compile(g, {}), checked = compile(g, {}, {.sentry = Sentry::check});
  for (Executable* e : {&fast, &checked}) {
    write(*e, "p", std::vector<double>(100, 1e30));
    write(*e, "q", std::vector<double>(100, 1));
    write(*e, "x", std::vector<double>(100, 1e30));  // the product overflows
  }
  CHECK(fast.run().finite);
  CHECK(read(fast, "p")[5] == kInf);
  CHECK(!checked.run().finite);
  CHECK(read(checked, "p") == std::vector<double>(100, static_cast<float>(1e30)));
  CHECK(read(checked, "q") == std::vector<double>(100, 1));
  REQUIRE(checked.diagnose());
  CHECK(checked.diagnose()->tensor == "parameter \"p\" f32[100]");
  CHECK(checked.diagnose()->origin.find("map.mul") == 0);
  write(checked, "x", std::vector<double>(100, 1));
  CHECK(checked.run().finite);
  CHECK(read(checked, "q") == std::vector<double>(100, 2));
}

TEST_CASE("an infinity that is meant (a mask) is not blamed; the NaN behind it is") {
  Graph g;
  Tensor x = g.input("x", {6, 8}), p = g.parameter("p", {8});
  Tensor masked = select(x > 0.0, x, g.constant(-kInf, {6, 8}));
  Tensor y = softmax(masked, 1) * p;  // a row with nothing left is 0 / 0
  Tensor loss = sum(y);
  g.guard(loss);
  g.assign(p, p + 1.0);
  Executable exe = compile(g, {{"masked", masked}, {"loss", loss}}, {.fuse = false});
  write(exe, "p", std::vector<double>(8, 1));
  std::vector<double> values = draw({{6, 8}, f32}, 5, 0.1, 1);
  values[3] = -1;
  write(exe, "x", values);
  CHECK(exe.run().finite);
  for (int i = 16; i < 24; ++i) values[i] = -1;
  write(exe, "x", values);
  CHECK(!exe.run().finite);
  std::optional<NonFinite> first = exe.diagnose();
  REQUIRE(first);
  CHECK(std::isnan(first->value));
  CHECK(first->index >= 16);
  CHECK(first->index < 24);
  CHECK(read(exe, "p")[0] == 2);
}

TEST_CASE("a guard must be one float") {
  Graph g;
  Tensor x = g.input("x", {4}), i = g.input("i", {}, i32);
  CHECK_THROWS_WITH_AS(g.guard(x), doctest::Contains("expected one f32 or f64"), Error);
  CHECK_THROWS_WITH_AS(g.guard(i), doctest::Contains("found i32[]"), Error);
}

TEST_CASE("the oracle skips a guarded step too") {
  Graph g;
  Tensor p = g.parameter("p", {3});
  g.guard(sum(log(p)));
  g.assign(p, p + 1.0);
  Oracle oracle(g);
  oracle.set("p", {1, 2, 3});
  oracle.step({});
  CHECK(oracle.get("p") == std::vector<double>{2, 3, 4});
  oracle.set("p", {1, -2, 3});
  oracle.step({});
  CHECK(oracle.get("p") == std::vector<double>{1, -2, 3});
}
