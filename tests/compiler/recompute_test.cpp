// Recompute: less memory, the same bits. The properties are checked over many budgets, from more
// than a step needs down to less than any step can do with.
#include <functional>

#include "agree.h"
#include "fusec/inspect.h"

using namespace fusec;
using namespace fusec::test;

namespace {

// Blocks of the form x + mlp(norm(x)), with the update of all weights: what a training step keeps.
struct Net {
  Graph g;
  std::vector<Output> outputs;

  explicit Net(int depth, int64_t rows = 256, int64_t width = 64) {
    Tensor x = g.input("x", {rows, width}), target = g.input("t", {rows, width});
    std::vector<Tensor> weights;
    for (int i = 0; i < depth; ++i) {
      std::string n = std::to_string(i);
      Tensor gate = g.parameter("gate" + n, {2 * width, width}),
             up = g.parameter("up" + n, {2 * width, width}),
             down = g.parameter("down" + n, {width, 2 * width});
      Tensor h = rms_norm(x);
      x = x + linear(silu(linear(h, gate)) * linear(h, up), down);
      for (const Tensor& w : {gate, up, down}) weights.push_back(w);
    }
    Tensor loss = mean(square(x - target), {0, 1});
    std::vector<Tensor> d = grad(loss, weights);
    g.guard(loss);
    for (size_t i = 0; i < weights.size(); ++i) g.assign(weights[i], weights[i] - d[i] * 0.5);
    outputs = {{"loss", loss}};
  }

  Inspection planned(int64_t budget) {
    InspectOptions o;
    o.compile.device = "cpu";  // what is kept depends on the device's balance
    o.compile.memory_budget = budget;
    o.compile.threads = 2;
    return inspect(g, outputs, "net", o);
  }
};

void feed(Executable& exe) {
  uint64_t seed = 1;
  for (const PlanBuffer& b : exe.plan().buffers)
    if (b.cls == BufferClass::input || b.cls == BufferClass::parameter)
      write(exe, b.name, draw(b.type, ++seed, -0.3, 0.3));
}

std::vector<double> results(const Executable& exe) {
  std::vector<double> all;
  for (const PlanBuffer& b : exe.plan().buffers)
    if (b.cls == BufferClass::output || b.cls == BufferClass::parameter)
      for (double v : read(exe, b.name)) all.push_back(v);
  return all;
}

// Peaks for budgets from 105% of the free peak down to 5%. A budget that can be met is; the peak
// never rises as the budget falls; one that cannot be met is said so and gives the least.
void check_budgets(const std::function<Inspection(int64_t)>& plan) {
  int64_t free = plan(0).memory.peak(), least = plan(1).memory.peak(), last = INT64_MAX;
  CHECK(least <= free);
  for (int percent = 105; percent > 0; percent -= 5) {
    int64_t budget = free * percent / 100;
    Inspection r = plan(budget);
    CAPTURE(percent);
    CHECK(r.memory.peak() <= last);
    CHECK(r.memory.peak() >= least);
    CHECK(r.warnings.empty() == (r.memory.peak() <= budget));
    if (budget >= least) CHECK(r.memory.peak() <= budget);
    if (budget < least) CHECK(r.memory.peak() == least);
    last = r.memory.peak();
  }
}

}  // namespace

TEST_CASE("a smaller budget never raises the peak") {
  for (int depth : {1, 3, 6}) {
    CAPTURE(depth);
    Net net(depth);
    check_budgets([&](int64_t budget) { return net.planned(budget); });
  }
  Net deep(6);
  int64_t free = deep.planned(0).memory.arena, least = deep.planned(1).memory.arena;
  MESSAGE("six blocks: arena " << free << " free, " << least << " least");
  CHECK(least < free * 0.7);
}

TEST_CASE("the same bits with any budget") {
  for (Precision precision : {Precision::f32, Precision::bf16}) {
    CAPTURE(static_cast<int>(precision));
    Net net(4);
    std::vector<double> expected;
    size_t steps = 0;
    for (int64_t budget : {int64_t{0}, net.planned(0).memory.peak() * 4 / 5, int64_t{1}}) {
      Executable exe = compile(net.g, net.outputs,
                               {.precision = precision, .threads = 2, .memory_budget = budget});
      feed(exe);
      exe.run();
      REQUIRE(exe.run().finite);  // twice: the second step sees the first one's weights
      if (expected.empty()) {
        expected = results(exe);
        steps = exe.plan().steps.size();
      } else {
        CHECK(exe.plan().steps.size() > steps);
      }
      CHECK((results(exe) == expected));
    }
  }
}

TEST_CASE("gradients agree with the oracle, everything recomputed that can be") {
  Graph g;
  Tensor x = g.input("x", {2, 32, 24}), w = g.parameter("w", {24, 24}),
         v = g.parameter("v", {24, 24});
  Tensor y = x;
  for (int i = 0; i < 3; ++i) {
    Tensor q = reshape(linear(rms_norm(y), w), {2, 32, 3, 8});
    y = y + linear(gelu(reshape(attention(q, q, q), {2, 32, 24})), v);
  }
  Tensor loss = sum(square(softmax(y)) * y);
  std::vector<Tensor> d = grad(loss, {x, w, v});
  Plan least = agree(g, {loss, d[0], d[1], d[2]},
                     {.lo = -0.5, .hi = 0.5, .compile = {.memory_budget = 1}});
  int attentions = 0;
  for (const PlanStep& s : least.steps) attentions += s.call.name == "attention";
  Plan free = agree(g, {loss, d[0], d[1], d[2]}, {.lo = -0.5, .hi = 0.5});
  CHECK(least.steps.size() > free.steps.size());
  CHECK(attentions >= 3);
  CHECK(least.arena_bytes < free.arena_bytes);
}

TEST_CASE("a value read through a view, and one that scatter overwrites") {
  Graph g;
  Tensor x = g.input("x", {64, 48}), i = g.input("i", {64}, i32), w = g.parameter("w", {48, 48});
  Tensor a = tanh(x), y = a;
  for (int k = 0; k < 4; ++k) y = tanh(linear(y, w)) * 0.5;
  Tensor b = reshape(transpose(reshape(a, {32, 2, 48}), 0, 1), {64, 48});
  Tensor c = scatter_add(exp(x), i, y * b);
  Feeds feeds = {{"i", draw({{64}, i32}, 3, -1, 64)}};
  for (int64_t budget : {0, 1})
    agree(g, {sum(square(c)), c, grad(sum(c * c), {w})[0]},
          {.lo = -0.4,
           .hi = 0.4,
          
           .feeds = feeds,
           .compile = {.memory_budget = budget}});
}

TEST_CASE("what was decided is said") {
  Net net(4);
  int64_t free = net.planned(0).memory.peak();
  auto of_pass = [](const Inspection& r) {
    std::vector<Decision> out;
    for (const Decision& d : r.decisions)
      if (d.pass == "recompute") out.push_back(d);
    return out;
  };
  CHECK(of_pass(net.planned(0)).empty());
  std::vector<Decision> none = of_pass(net.planned(2 * free)),
                        some = of_pass(net.planned(free * 9 / 10)), all = of_pass(net.planned(1));
  REQUIRE(none.size() == 1);
  CHECK(!none[0].verdict);
  REQUIRE(!some.empty());
  CHECK(some[0].verdict);
  CHECK(some[0].reason.find("recomputed: saves ") == 0);
  CHECK(some[0].bytes_saved > 0);
  CHECK(some.size() < all.size());
  CHECK(!all.back().verdict);
  REQUIRE(net.planned(1).warnings.size() == 1);
  CHECK(net.planned(1).warnings[0].find("cannot be met") != std::string::npos);
}
