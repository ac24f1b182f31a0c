// What must fuse, does: kernel counts of the patterns of the field, and equal results.
#include "agree.h"

using namespace fusec;
using namespace fusec::test;

TEST_CASE("a pointwise chain with several outputs is one kernel") {
  Graph g;
  Tensor x = g.input("x", {64, 96}), b = g.input("b", {96});
  Tensor h = silu(x + b), y = h * x, z = tanh(y) - h;
  CHECK(launches(agree(g, {h, y, z})) == 1);
}

TEST_CASE("normalisations with residual, scale and cast are one kernel") {
  Graph g;
  Tensor x = g.input("x", {48, 160}), r = g.input("r", {48, 160}), w = g.input("w", {160});
  Tensor s = x + r;
  CHECK(launches(agree(g, {s, cast(rms_norm(s, 1e-6, w), bf16)})) == 1);
  Graph h;
  Tensor t = h.input("t", {48, 160}), v = h.input("v", {160}), c = h.input("c", {160});
  CHECK(launches(agree(h, {layer_norm(t, v, c)})) == 1);
}

TEST_CASE("softmax and softcapped cross-entropy with its gradient are one kernel a row") {
  Graph g;
  Tensor x = g.input("x", {40, 333});
  CHECK(launches(agree(g, {softmax(x)})) == 1);
  Graph h;
  Tensor z = h.input("z", {40, 333}), target = h.input("target", {40}, i32),
         scale = h.input("scale", {});
  Tensor losses = cross_entropy(softcap(z, 15), target);
  Tensor dz = grad(sum(losses * scale), {z})[0];
  Feeds feeds = {{"target", draw({{40}, i32}, 3, -1, 333)}, {"scale", {0.25}}};
  CHECK(launches(agree(h, {losses, dz}, {.feeds = feeds})) == 1);
}

TEST_CASE("rope and the norm behind it are one kernel, forward and backward") {
  Graph g;
  Tensor q = g.input("q", {2, 9, 3, 16}), c = g.input("c", {9, 8}), s = g.input("s", {9, 8});
  Tensor y = rms_norm(rope(q, c, s));
  CHECK(launches(agree(g, {y})) == 1);
  Graph h;
  Tensor p = h.input("q", {2, 9, 3, 16}), w = h.input("w", {2, 9, 3, 16});
  Tensor dq = grad(sum(rms_norm(rope(p, h.input("c", {9, 8}), h.input("s", {9, 8}))) * w), {p})[0];
  CHECK(launches(agree(h, {dq})) == 1);
}

TEST_CASE("an update of many tensors is one launch, with the old values read") {
  Graph g;
  std::vector<Tensor> updated;
  Tensor lr = g.input("lr", {});
  for (int i = 0; i < 7; ++i) {
    std::string n = std::to_string(i);
    Tensor p = g.parameter("p" + n, {3 + i, 50}), d = g.input("d" + n, {3 + i, 50});
    g.assign(p, p - lr * d);
  }
  Executable exe = compile(g, {});
  CHECK(launches(exe.plan()) == 1);
  CHECK(exe.plan().steps.size() == 1);  // written in place: no copies
  for (int i = 0; i < 7; ++i) {
    std::string n = std::to_string(i);
    write(exe, "p" + n, std::vector<double>((3 + i) * 50, 1.0));
    write(exe, "d" + n, std::vector<double>((3 + i) * 50, i));
  }
  write(exe, "lr", {0.5});
  exe.run();
  for (int i = 0; i < 7; ++i)
    for (double v : read(exe, "p" + std::to_string(i))) CHECK(v == 1 - 0.5 * i);
}

TEST_CASE("results do not depend on the number of threads, or the run") {
  Graph g;
  Tensor x = g.input("x", {300, 257}), w = g.parameter("w", {65, 257});
  Tensor y = rms_norm(gelu(linear(x, w)));
  Tensor loss = sum(square(y) * y);
  std::vector<Output> outputs = {{"loss", loss}, {"dw", grad(loss, {w})[0]}};
  std::vector<std::vector<float>> seen;
  for (int threads : {1, 2, 5, 2}) {
    Executable exe = compile(g, outputs, {.threads = threads});
    write(exe, "x", draw(exe.type("x"), 5, -1, 1));
    write(exe, "w", draw(exe.type("w"), 6, -1, 1));
    exe.run();
    seen.push_back(exe.get<float>("dw"));
    seen.back().push_back(exe.get<float>("loss")[0]);
    CHECK(seen.back() == seen.front());
  }
}

TEST_CASE("bf16 policy: an update that also needs the norm of its gradient") {
  Graph g;
  Tensor x = g.input("x", {256, 128}), w = g.parameter("w", {128, 128}),
         m = g.state("m", {128, 128});
  Tensor dw = grad(sum(square(linear(x, w))), {w})[0];
  g.assign(m, m * 0.9 + dw * rsqrt(sum(square(dw))));
  std::vector<std::vector<double>> seen;
  for (Precision p : {Precision::f32, Precision::bf16})
    for (bool fuse : {false, true}) {
      Executable e = compile(g, {}, {.fuse = fuse, .precision = p});
      write(e, "x", draw(e.type("x"), 5, -1, 1));
      write(e, "w", draw(e.type("w"), 6, -1, 1));
      e.run();
      seen.push_back(read(e, "m"));
    }
  check_close(seen[1], seen[0], 1e-5, "f32 fused");
  check_close(seen[3], seen[2], 1e-5, "bf16 fused");
  check_close(seen[2], seen[0], 0.02, "bf16");  // as below
}

TEST_CASE("bf16 policy: casts around GEMM and attention, results near f32") {
  Graph g;
  Tensor x = g.input("x", {2, 16, 32}), w = g.parameter("w", {64, 32});
  Tensor h = reshape(linear(x, w), {2, 16, 4, 16});
  Tensor y = sum(square(attention(h, h, h)), {3});
  Executable wide = compile(g, {y}), narrow = compile(g, {y}, {.precision = Precision::bf16});
  for (Executable* e : {&wide, &narrow}) {
    write(*e, "x", draw(e->type("x"), 5, -1, 1));
    write(*e, "w", draw(e->type("w"), 6, -0.3, 0.3));
    e->run();
  }
  // Three bf16 roundings (2^-9 each) of GEMM operands and result, doubled by the square.
  check_close(read(narrow, "out0"), read(wide, "out0"), 0.02, "bf16");
  CHECK(read(narrow, "out0") != read(wide, "out0"));
}
