// Errors of the recorder and of grad(): the user's own line is in the text, with what was found and
// what was expected. Also the oracle's: unknown names, missing feeds.
#include <functional>

#include "fusec/ops/composite.h"
#include "gradcheck.h"

using namespace fusec;
using namespace fusec::test;

namespace {

// Runs `f`, which must throw, and checks kind, line (0: any) and the words of the message.
template <class F>
void expect_error(F f, uint32_t line, std::vector<std::string> words) {
  try {
    f();
  } catch (const Error& e) {
    std::string text = e.what();
    CAPTURE(text);
    CHECK(e.kind() == ErrorKind::user);
    if (line) CHECK(text.find("ops/error_test.cpp:" + std::to_string(line) + ":") == 0);
    for (const std::string& word : words) {
      CAPTURE(word);
      CHECK(text.find(word) != std::string::npos);
    }
    return;
  }
  FAIL("no error was thrown");
}

}  // namespace

TEST_CASE("undefined tensors, other graphs and numbers that do not fit, at the user's line") {
  Graph g, h;
  Tensor x = g.input("x", {2, 3}), n = g.input("n", {4}, i32), w = g.parameter("w", {2, 3}), u;
  Tensor bytes = g.input("bytes", {4}, u8), f8 = g.input("f8", {2, 3}, f8e4m3);
  auto refused = [](uint32_t line, const std::string& part, const std::function<void()>& f) {
    try {
      f();
      FAIL("expected an error with \"" << part << "\"");
    } catch (const Error& e) {
      CHECK_MESSAGE(e.message().find(part) != std::string::npos, e.message());
      CHECK(e.where().line == line);
    }
  };
  // Each on one line: its number is compared.
  // clang-format off
  refused(__LINE__, "add: the right operand is an undefined Tensor", [&] { (void)(x + u); });
  refused(__LINE__, "the left operand is an undefined Tensor", [&] { (void)(u * x); });
  refused(__LINE__, "undefined Tensor", [&] { (void)(linear(x, u)); });
  refused(__LINE__, "undefined Tensor", [&] { (void)(softmax(u)); });
  refused(__LINE__, "undefined Tensor", [&] { (void)(cosine_similarity(x, u)); });
  refused(__LINE__, "undefined Tensor", [&] { (void)(cumsum(u, 0)); });
  refused(__LINE__, "undefined Tensor", [&] { (void)(select(x > 0.0, x, u)); });
  refused(__LINE__, "belong to the graph", [&] { g.assign(w, h.input("y", {2, 3})); });
  refused(__LINE__, "mul: the number 0.5 is no i32", [&] { (void)(n * 0.5); });
  refused(__LINE__, "lt: the number 3.5 is no i32", [&] { (void)(n < 3.5); });
  refused(__LINE__, "the number 300 is no u8", [&] { (void)(bytes + 300.0); });
  refused(__LINE__, "add: expected a type that is computed with (cast()", [&] { (void)(f8 + f8); });
  refused(__LINE__, "mul: expected a type that is computed with (cast()", [&] { (void)(f8 * 0.3); });
  refused(__LINE__, "lt: expected a type that is computed with", [&] { (void)(f8 < f8); });
  refused(__LINE__, "exp: expected a type that is computed with", [&] { (void)exp(f8); });
  refused(__LINE__, "sum: expected float, i32 or i64 (use cast())", [&] { (void)(sum(f8, {1})); });
  refused(__LINE__, "float operands of one dtype (use cast())", [&] { (void)(linear(f8, f8)); });
  refused(__LINE__, "cumsum: expected float, i32 or i64", [&] { (void)(cumsum(f8, 1)); });
  refused(__LINE__, "top_k: expected float, i32 or i64", [&] { (void)(top_k(f8, 1)); });
  refused(__LINE__, "scatter_add: expected a type that", [&] { (void)(scatter_add(f8, n, f8)); });
  refused(__LINE__, "axis 1 of a tensor of rank 2 is named", [&] { (void)(sum(x, {1, -1})); });
  refused(__LINE__, "f32[2, 3] and f32[2, 3] differ", [&] { (void)(matmul(x, w)); });
  refused(__LINE__, "mean: expected float", [&] { (void)(mean(n)); });
  // clang-format on
}

TEST_CASE("shape and type errors name the user's line, what was found and what was expected") {
  Graph g;
  Tensor a = g.input("a", {2, 3}), b = g.input("b", {4, 3}), i = g.input("i", {2}, i32);
  expect_error([&] { a + b; }, __LINE__, {"[2, 3]", "[4, 3]", "expected"});
  expect_error([&] { linear(a, reshape(b, {3, 4})); }, __LINE__, {"f32[2, 3]", "expected"});
  expect_error([&] { silu(i); }, __LINE__, {"silu", "float", "i32[2]"});
  expect_error([&] { a * cast(a, bf16); }, __LINE__, {"cast()"});
  expect_error([&] { reshape(a, {4, 2}); }, __LINE__, {"f32[2, 3]", "[4, 2]"});
  expect_error([&] { slice(a, 1, 2, 2); }, __LINE__, {"slice", "f32[2, 3]"});
  expect_error([&] { sum(a, {2}); }, __LINE__, {"axis 2", "rank 2"});
  expect_error([&] { einsum("mk,nk->mz", a, b); }, __LINE__, {"'z'"});
  expect_error([&] { gather(a, a); }, __LINE__, {"index", "f32[2, 3]"});
  expect_error([&] { attention(a, b, b); }, __LINE__, {"[B, T, H, d]"});
}

TEST_CASE("grad refuses what it cannot mean") {
  Graph g;
  Tensor x = g.parameter("x", {3}), other = g.parameter("other", {3});
  Tensor index = g.input("index", {2}, i32);
  Tensor loss = sum(square(x));
  expect_error([&] { grad(square(x), {x}); }, __LINE__, {"scalar", "f32[3]", "sum()"});
  expect_error([&] { grad(loss, {other}); }, __LINE__, {"does not depend on other"});
  expect_error([&] { grad(loss, {index}); }, __LINE__, {"index", "i32[2]", "float"});
  expect_error([&] { grad(sum(gather(x, index)), {Tensor()}); }, __LINE__, {"wrt[0]"});
  expect_error([&] { grad(sum(cast(x > 0.0, f32)), {x}); }, __LINE__, {"x", "gt"});
  expect_error([&] { grad(sum(stop_gradient(x)), {x}); }, __LINE__, {"x", "stop_gradient"});
  expect_error([&] { grad(sum(cast(x, i32)), {x}); }, __LINE__, {"scalar float"});
  uint32_t line = __LINE__ + 1;
  Tensor slope = gelu_slope(x);
  expect_error([&] { grad(sum(slope), {x}); }, line, {"gelu_slope", "no gradient"});
}

TEST_CASE("the oracle refuses unknown names, wrong sizes and missing feeds") {
  Graph g;
  Tensor x = g.input("x", {3});
  Tensor table = g.input("table", {2, 2});
  Tensor index = g.input("index", {1}, i32);
  Tensor y = gather(table, index);
  Oracle oracle(g);
  expect_error([&] { oracle.set("xx", {1}); }, 0, {"xx", "did you mean"});
  expect_error([&] { oracle.set("x", {1}); }, 0, {"f32[3]", "found 1"});
  expect_error([&] { oracle.evaluate({x}); }, 0, {"\"x\" was not fed"});
  expect_error([&] { evaluate(g, {{"table", {1, 2, 3, 4}}, {"index", {2}}}, {y}); }, 0,
               {"index below 2", "found 2"});
}

TEST_CASE("the oracle steps: assigns take effect together, states start at zero") {
  Graph g;
  Tensor w = g.parameter("w", {2}), m = g.state("m", {2});
  Tensor d = grad(sum(square(w)), {w})[0];
  Tensor moment = m * 0.5 + d;
  g.assign(m, moment);
  g.assign(w, w - moment * 0.25);
  Oracle oracle(g);
  oracle.set("w", {1, -2});
  CHECK(oracle.step({moment})[0] == std::vector<double>{2, -4});
  CHECK(oracle.get("w") == std::vector<double>{0.5, -1});
  CHECK(oracle.step({moment})[0] == std::vector<double>{2, -4});  // 0.5 * (2, -4) + (1, -2)
  CHECK(oracle.get("w") == std::vector<double>{0, 0});
  CHECK(oracle.evaluate({w})[0] == std::vector<double>{0, 0});
}

TEST_CASE("the oracle rounds to storage when asked, and integers truncate and wrap") {
  Graph g;
  Tensor x = g.input("x", {2}), h = g.input("h", {2}, bf16), i = g.input("i", {2}, i32);
  OracleFeeds feeds = {{"x", {1.0 / 3, 1e-50}}, {"h", {1.00390625, 3}}, {"i", {-7, 2147483647}}};
  std::vector<Tensor> wanted = {x * 1.0, h * 1.0, i / 2.0, i + 1.0};
  auto exact = evaluate(g, feeds, wanted);
  CHECK(exact[0] == feeds["x"]);
  auto rounded = evaluate(g, feeds, wanted, {true});
  CHECK(rounded[0] == std::vector<double>{static_cast<double>(1.0f / 3.0f), 0});
  CHECK(rounded[1] == std::vector<double>{1, 3});  // 1 + 2^-8 ties to even
  CHECK(rounded[2] == std::vector<double>{-3, 1073741823});
  CHECK(rounded[3] == std::vector<double>{-6, -2147483648.0});
}
