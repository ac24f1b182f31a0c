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
                 "expected 4 values, 16 bytes, found 20"));
  CHECK(contains(message_of([&] { compile(g, {x}, {.device = "gpu"}); }),
                 "unknown device \"gpu\""));
  CHECK(contains(message_of([&] { compile(g, {{"tokens", sum(x)}}); }), "already taken"));
  CHECK(contains(message_of([&] { parse_stage("fuse"); }), "did you mean \"fused\"?"));
}

TEST_CASE("a device that is none, or not there, or only to look at") {
  Graph g;
  Tensor x = g.input("x", {4});
  auto refusal = [&](const std::string& device, ErrorKind kind) {
    try {
      compile(g, {{"y", x + 1.0}}, {.device = device});
    } catch (const Error& e) {
      CHECK(e.kind() == kind);
      return std::string(e.what());
    }
    return std::string("(no error)");
  };
  for (const char* device : {"gpu", "CUDA", "", "cuda0", "sm_", "sm_x", "sm_90ab"}) {
    std::string m = refusal(device, ErrorKind::user);
    CHECK(contains(m, "unknown device \"" + std::string(device) + "\""));
    CHECK(contains(m, "expected \"auto\", \"cpu\", \"cuda\", \"cuda:N\""));
  }
  for (const char* device : {"cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:99999999999"})
    CHECK(contains(refusal(device, ErrorKind::user), "expected the number of a GPU"));
  CHECK(contains(refusal("cuda:99", ErrorKind::device), "\"cuda:99\" is not available"));
  CHECK(contains(refusal("sm_90a", ErrorKind::device), "an architecture to look at"));
}

// The plan is a GPU's; that it does not fit is known before a GPU or NVRTC is looked for.
TEST_CASE("a plan for a GPU that does not fit is refused with its peak and a way out") {
  Graph g;
  Tensor x = g.input("x", {1000, 1000}), w = g.parameter("w", {1000, 1000});
  std::string m = message_of([&] {
    compile(g, {{"y", matmul(x, w)}}, {.device = "sm_90a", .memory_limit = 5 << 20});
  });
  CHECK(contains(m, "not enough memory, and nothing was allocated"));
  CHECK(contains(m, "the limit is 5.24 MB (CompileOptions::memory_limit)"));
  CHECK(contains(m, "f32[1000, 1000]"));
  CHECK(contains(m, "what would help"));
}

TEST_CASE("an index out of range is found at run time") {
  Graph g;
  Tensor t = g.input("t", {4, 2}), i = g.input("i", {3}, i32);
  Executable exe = compile(g, {gather(t, i)});
  exe.set("i", std::vector<int32_t>{0, 9, 1});
  exe.set("t", std::vector<float>(8, 1.0f));
  CHECK(contains(message_of([&] { exe.run(); }), "9"));
}

TEST_CASE("what a run reads must have a value; an output has one after a run") {
  Graph g;
  Tensor x = g.input("x", {2}), w = g.parameter("w", {2}), s = g.state("s", {2});
  std::string line = "errors_test.cpp:" + std::to_string(__LINE__ - 1);
  Tensor y = x * w + s;
  Executable exe = compile(g, {{"y", y}});
  std::string m = message_of([&] { exe.run(); });
  CHECK(contains(m, "2 tensors have no value"));
  CHECK(contains(m, "x is f32[2], input (compiler/" + line));
  CHECK(contains(m, "w is f32[2], parameter (compiler/" + line));
  exe.set("x", std::vector<float>{1, 2});
  CHECK(contains(message_of([&] { exe.get<float>("y"); }), "no value yet; run() makes it"));
  CHECK(contains(message_of([&] { exe.set("y", std::vector<float>{1, 2}); }), "an output"));
  m = message_of([&] { exe.run(); });
  CHECK(contains(m, "1 tensor has no value"));
  CHECK(!contains(m, "x is"));
  exe.set("w", std::vector<float>{3, 4});
  exe.run();
  CHECK(exe.get<float>("y") == std::vector<float>{3, 8});
  // Another executable that shares the parameter finds it set, by its name.
  Graph h;
  Tensor wrong = h.input("x", {2}) * h.parameter("ww", {2});
  Executable other = compile(h, {{"y", wrong}}, {.share = &exe});
  other.set("x", std::vector<float>{1, 2});
  CHECK(contains(message_of([&] { other.run(); }), "ww is f32[2]"));
}

TEST_CASE("without assigns a run of a training graph changes nothing") {
  Graph g;
  Tensor x = g.input("x", {3}), w = g.parameter("w", {3});
  Tensor loss = sum(square(x * w));
  g.assign(w, w - grad(loss, {w})[0] * 0.1);
  Executable train = compile(g, {{"loss", loss}});
  Executable look = compile(g, {{"loss", loss}}, {.assigns = false, .share = &train});
  train.set("w", std::vector<float>{1, 2, 3});
  for (Executable* e : {&train, &look}) e->set("x", std::vector<float>{1, 1, 1});
  look.run();
  CHECK(look.item<float>("loss") == 14);
  CHECK(train.get<float>("w") == std::vector<float>{1, 2, 3});
  train.run();
  CHECK(train.get<float>("w") != std::vector<float>{1, 2, 3});
}

TEST_CASE("host values have the tensor's type") {
  Graph g;
  Tensor x = g.input("x", {4}), i = g.input("i", {4}, i32), h = g.input("h", {4}, bf16);
  Executable exe = compile(g, {{"y", x + cast(i, f32) + cast(h, f32)}});
  CHECK(contains(message_of([&] { exe.set("x", std::vector<double>(2)); }),
                 "expected 4-byte floating-point numbers, found 8-byte floating-point numbers"));
  CHECK(contains(message_of([&] { exe.set("i", std::vector<float>(4)); }),
                 "expected 4-byte integers, found 4-byte floating-point numbers"));
  CHECK_NOTHROW(exe.set("h", std::vector<uint16_t>(4)));
  CHECK(contains(message_of([&] { exe.write("x", nullptr, 16); }), "null pointer"));
  Executable moved = std::move(exe);
  for (const Executable* e : {&exe})
    CHECK(contains(message_of([&] { e->type("x"); }), "this executable is empty"));
  const Executable empty;
  for (auto use : {+[](const Executable& e) { e.times(); }, +[](const Executable& e) { e.memory(); },
                   +[](const Executable& e) { e.save("nowhere.fsc"); }})
    CHECK(contains(message_of([&] { use(empty); }), "this executable is empty"));
  CHECK(contains(message_of([&] { Executable().run(); }), "this executable is empty"));
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
