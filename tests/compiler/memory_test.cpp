// The memory plan: reuse, in-place updates and their hazards, shared parameters.
#include <cstdlib>
#include <functional>

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

namespace {

std::string message_of(const std::function<void()>& f, ErrorKind* kind = nullptr) {
  try {
    f();
  } catch (const Error& e) {
    if (kind) *kind = e.kind();
    return e.what();
  }
  return "";
}

bool holds(const std::string& text, const std::string& part) {
  INFO(text);
  INFO("looked for: " << part);
  bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("the peak is known, and what is measured equals it") {
  Graph g;
  Tensor x = g.input("x", {256, 128}), w = g.parameter("w", {512, 128});
  int line = __LINE__ + 1;
  Tensor h = exp(linear(x, w)), y = linear(h, h);
  Executable exe = compile(g, {{"y", sum(y, {1})}}, {.threads = 2});
  MemoryReport m = exe.memory();
  CHECK(m.persistent == reserved_bytes({{512, 128}, f32}));
  CHECK(m.arena == exe.plan().arena_bytes);
  REQUIRE(m.largest.size() >= 2);
  CHECK(m.largest[0].bytes == reserved_bytes({{256, 512}, f32}));
  holds(m.largest[0].origin, "memory_test.cpp:" + std::to_string(line));
  for (size_t i = 1; i < m.largest.size(); ++i) CHECK(m.largest[i].bytes <= m.largest[i - 1].bytes);
  exe.set("x", std::vector<float>(256 * 128, 0.01f));
  exe.set("w", std::vector<float>(512 * 128, 0.01f));
  exe.run();
  CHECK(exe.measured_bytes() <= m.peak());
  CHECK(exe.measured_bytes() >= m.persistent + m.arena);
}

TEST_CASE("a plan that does not fit: peak, limit, tensors with the user's line, what would help") {
  Graph g;
  Tensor x = g.input("x", {512, 128}), w = g.parameter("w", {128, 128}), y = x;
  int line = __LINE__ + 1;
  for (int i = 0; i < 6; ++i) y = tanh(rms_norm(linear(y, w)));
  std::vector<Output> outputs = {{"dw", grad(sum(square(y)), {w})[0]}};
  int64_t peak = compile(g, outputs).memory().peak();
  ErrorKind kind = ErrorKind::user;
  std::string text = message_of([&] { compile(g, outputs, {.memory_limit = peak / 2}); }, &kind);
  CHECK(kind == ErrorKind::device);
  holds(text, "nothing was allocated");
  holds(text, "the limit is ");
  holds(text, "CompileOptions::memory_limit");
  holds(text, "memory_test.cpp:" + std::to_string(line));
  holds(text, "smaller batch");
  // The budget that it names is one that works.
  size_t at = text.find("memory_budget = ");
  REQUIRE(at != std::string::npos);
  int64_t budget = std::stoll(text.substr(at + 16));
  CHECK(budget < peak);
  Executable small = compile(g, outputs, {.memory_budget = budget, .memory_limit = budget});
  CHECK(small.memory().peak() <= budget);
  CHECK_NOTHROW(compile(g, outputs, {.memory_limit = peak}));
}

TEST_CASE("the environment sets the limit; shared parameters count once") {
  Graph g, h;
  Tensor p = g.parameter("p", {1000, 100}), q = h.parameter("p", {1000, 100});
  Executable first = compile(g, {sum(p)});
  setenv("FUSEC_MEMORY_LIMIT", "300K", 1);
  std::string text = message_of([&] { compile(h, {sum(q)}); });
  holds(text, "FUSEC_MEMORY_LIMIT");
  CHECK_NOTHROW(compile(h, {sum(q)}, {.share = &first}));
  setenv("FUSEC_MEMORY_LIMIT", "lots", 1);
  holds(message_of([&] { compile(h, {sum(q)}); }), "found \"lots\"");
  unsetenv("FUSEC_MEMORY_LIMIT");
}

TEST_CASE("memory that the machine refuses gives the same paragraph") {
  Graph g;
  int line = __LINE__ + 1;
  Tensor x = g.input("x", {int64_t{1} << 45}), y = exp(x);
  ErrorKind kind = ErrorKind::user;
  std::string text = message_of(
      [&] {
        compile(g, {{"y", y}}, {.memory_limit = int64_t{1} << 60});
      },
      &kind);
  CHECK(kind == ErrorKind::device);
  holds(text, "could not allocate");
  holds(text, "the largest tensors at the peak");
  holds(text, "memory_test.cpp:" + std::to_string(line));
}

TEST_CASE("sizes beyond 64 bits are an error at the op's line") {
  Graph g;
  int64_t big = int64_t{1} << 40;
  ErrorKind kind = ErrorKind::device;
  auto check = [&](int line, const std::function<void()>& f) {
    std::string text = message_of(f, &kind);
    CHECK(kind == ErrorKind::user);
    holds(text, "memory_test.cpp:" + std::to_string(line));
    holds(text, "2^47 elements");
  };
  check(__LINE__, [&] { g.input("x", {big, big}); });
  check(__LINE__, [&] { g.parameter("p", {big, big, big}); });
  check(__LINE__, [&] { g.constant(1, {big, 256}); });
  Tensor row = g.input("row", {1, big}), column = g.input("column", {big, 1});
  check(__LINE__, [&] { row + column; });
  check(__LINE__, [&] { linear(column, column); });
  check(__LINE__, [&] { reshape(row, {big, big}); });
  check(__LINE__, [&] { concat(std::vector<Tensor>(256, row), 0); });
  Tensor empty = g.input("empty", {big, 0, big});
  CHECK(numel(empty.shape()) == 0);
}
