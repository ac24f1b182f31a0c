// Errors through compile(): what was found, what was expected, what to do.
#include "agree.h"
#include "fusec/inspect.h"

using namespace fusec;

namespace {

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "(no error)";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("compile and Executable name the nearest valid thing") {
  Graph g;
  Tensor x = g.input("tokens", {4});
  Executable exe = compile(g, {{"loss", sum(x)}});
  CHECK(contains(message_of([&] { exe.set("token", std::vector<float>(4)); }),
                 "did you mean \"tokens\"?"));
  CHECK(contains(message_of([&] { exe.set("tokens", std::vector<float>(5)); }),
                 "expected 16 bytes, found 20"));
  CHECK(contains(message_of([&] { compile(g, {x}, {.device = "gpu"}); }),
                 "\"gpu\" is not available"));
  CHECK(contains(message_of([&] { compile(g, {{"tokens", sum(x)}}); }), "already taken"));
  CHECK(contains(message_of([&] { parse_stage("fuse"); }), "did you mean \"fused\"?"));
}

TEST_CASE("an index out of range is found at run time") {
  Graph g;
  Tensor t = g.input("t", {4, 2}), i = g.input("i", {3}, i32);
  Executable exe = compile(g, {gather(t, i)});
  exe.set("i", std::vector<int32_t>{0, 9, 1});
  CHECK(contains(message_of([&] { exe.run(); }), "9"));
}

TEST_CASE("text that is no stage gives a place and a reason") {
  InspectOptions o;
  std::string m = message_of([&] {
    inspect_text("module { fusec.graph \"g\" {\n %0 = fusec.inputs \"x\" : tensor<4xf32> } }",
                 "bad.mlir", o);
  });
  CHECK(contains(m, "bad.mlir:2"));
  m = message_of([&] {
    inspect_text(
        "module { fusec.graph \"g\" { %0 = fusec.input \"x\" : tensor<4xf32>\n %1 = fusec.map "
        "silo(%0) : (tensor<4xf32>) -> tensor<4xf32>\n fusec.output \"y\" %1 : tensor<4xf32> } }",
        "bad.mlir", o);
  });
  CHECK(contains(m, "did you mean \"silu\"?"));
}

TEST_CASE("every stage reads back to the same plan") {
  Graph g;
  Tensor x = g.input("x", {32, 48}), w = g.parameter("w", {48, 48});
  Tensor loss = sum(square(rms_norm(linear(x, w))) * 0.5 + 0.1);
  g.assign(w, w - grad(loss, {w})[0] * 0.1);
  InspectOptions all;
  for (int s = 0; s < 7; ++s) all.texts.push_back(static_cast<Stage>(s));
  all.until = Stage::binary;
  Inspection first = inspect(g, {{"loss", loss}}, "g", all);
  std::string plan = first.texts.at(Stage::plan);
  for (int s = 0; s < 7; ++s) {
    CAPTURE(stage_names()[s]);
    InspectOptions o;
    o.until = Stage::binary;
    Inspection again = inspect_text(first.texts.at(static_cast<Stage>(s)), "again", o);
    CHECK(print(again.plan) == plan);
  }
}
