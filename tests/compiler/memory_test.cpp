// The memory plan: reuse, in-place updates and their hazards, shared parameters.
#include "agree.h"

using namespace fusec;
using namespace fusec::test;

TEST_CASE("temporaries reuse the arena") {
  Graph g;
  Tensor x = g.input("x", {128, 128}), w = g.parameter("w", {128, 128});
  Tensor y = x;
  for (int i = 0; i < 8; ++i) y = tanh(linear(y, w));
  Plan plan = agree(g, {sum(y, {1})}, {.lo = -0.2, .hi = 0.2});
  CHECK(plan.arena_bytes < plan.sum_of_temporaries / 2);
}

TEST_CASE("an output of the old value survives the assign in the same step") {
  Graph g;
  Tensor p = g.parameter("p", {100}), d = g.input("d", {100});
  Tensor updated = p + d;
  g.assign(p, updated);
  Executable exe = compile(g, {{"old", p * 1.5}, {"sum", sum(updated)}, {"copy", p}});
  write(exe, "p", std::vector<double>(100, 2));
  write(exe, "d", std::vector<double>(100, 3));
  exe.run();
  CHECK(read(exe, "old")[7] == 3);
  CHECK(read(exe, "copy")[7] == 2);
  CHECK(read(exe, "sum")[0] == 500);
  CHECK(read(exe, "p")[7] == 5);
}

TEST_CASE("two parameters that trade values") {
  Graph g;
  Tensor a = g.parameter("a", {70}), b = g.parameter("b", {70});
  g.assign(a, b * 1.0 + 1.0);
  g.assign(b, a * 2.0);
  Executable exe = compile(g, {});
  write(exe, "a", std::vector<double>(70, 10));
  write(exe, "b", std::vector<double>(70, 20));
  exe.run();
  CHECK(read(exe, "a")[69] == 21);
  CHECK(read(exe, "b")[69] == 20);
  exe.run();
  CHECK(read(exe, "a")[69] == 21);
  CHECK(read(exe, "b")[69] == 42);
}

TEST_CASE("a straight swap, with no arithmetic") {
  Graph g;
  Tensor a = g.parameter("a", {70}), b = g.parameter("b", {70});
  g.assign(a, b);
  g.assign(b, a);
  Executable exe = compile(g, {});
  write(exe, "a", std::vector<double>(70, 10));
  write(exe, "b", std::vector<double>(70, 20));
  exe.run();
  CHECK(read(exe, "a")[3] == 20);
  CHECK(read(exe, "b")[3] == 10);
}

TEST_CASE("an update that reads the parameter at another index is not done in place") {
  Graph g;
  Tensor p = g.parameter("p", {8, 40});
  g.assign(p, flip(p, 0) + p);
  Executable exe = compile(g, {});
  std::vector<double> start = draw({{8, 40}, f32}, 9, -1, 1);
  write(exe, "p", start);
  exe.run();
  std::vector<double> now = read(exe, "p");
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 40; ++j)
      CHECK(now[i * 40 + j] ==
            doctest::Approx(start[i * 40 + j] + start[(7 - i) * 40 + j]).epsilon(1e-6));
}

TEST_CASE("executables share parameters by name; states start at zero") {
  Graph g;
  Tensor p = g.parameter("p", {5}), s = g.state("s", {5});
  g.assign(s, s + p);
  Executable first = compile(g, {});
  Graph h;
  Executable second =
      compile(h, {{"twice", h.parameter("p", {5}) * 2.0}, {"s2", h.state("s", {5}) * 1.0}},
              {.share = &first});
  write(first, "p", {1, 2, 3, 4, 5});
  first.run();
  first.run();
  second.run();
  CHECK(read(second, "twice") == std::vector<double>{2, 4, 6, 8, 10});
  CHECK(read(second, "s2") == std::vector<double>{2, 4, 6, 8, 10});
}

TEST_CASE("zero-size tensors") {
  Graph g;
  Tensor x = g.input("x", {0, 16}), w = g.parameter("w", {8, 16});
  agree(g, {sum(exp(x), {0}), sum(linear(x, w)), exp(x)});
}
