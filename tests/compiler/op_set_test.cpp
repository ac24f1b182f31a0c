// The ops built from others and the ordered ones, compiled, with their gradients, on all element
// types that they take.
#include "agree.h"

using namespace fusec;
using namespace fusec::test;

TEST_CASE("cumsum and top_k on every type, axis and direction") {
  for (DType t : {f32, f64, bf16, f16, i32, i64}) {
    CAPTURE(name_of(t));
    for (const Shape& shape : {Shape{7}, Shape{3, 1, 5}, Shape{4, 33, 2}, Shape{2, 0, 3}}) {
      CAPTURE(fusec::str(shape));
      Graph g;
      Tensor x = g.input("x", shape, t);
      std::vector<Tensor> wanted;
      for (int64_t axis = 0; axis < x.rank(); ++axis)
        for (bool reverse : {false, true}) wanted.push_back(cumsum(x, axis, reverse));
      for (int64_t k : {int64_t{1}, shape.back()}) {
        TopK best = top_k(x, k);
        wanted.push_back(best.values);
        wanted.push_back(best.indices);
      }
      agree(g, wanted, {.lo = -9, .hi = 9});
    }
  }
}

TEST_CASE("gradients of cumsum, top_k, take_along") {
  Graph g;
  Tensor x = g.input("x", {5, 12}), w = g.input("w", {5, 12});
  Tensor index = g.input("index", {5, 4}, i32);
  Feeds feeds;
  for (int i = 0; i < 20; ++i) feeds["index"].push_back(i % 13 - 1);
  Tensor y = cumsum(x * w, 0) * cumsum(x, 1, true), best = top_k(x + y, 3).values;
  Tensor taken = take_along(y, index, 1);
  Tensor loss = sum(square(best)) + sum(taken * taken) + mean(y, {0, 1});
  std::vector<Tensor> wanted = {y, best, taken, loss};
  for (const Tensor& d : grad(loss, {x, w})) wanted.push_back(d);
  agree(g, wanted, {.lo = -1, .hi = 1, .feeds = feeds});
}

TEST_CASE("truth values and bytes: logic, comparison, select, arithmetic") {
  Graph g;
  Tensor a = g.input("a", {5, 9}, b8), b = g.input("b", {5, 9}, b8);
  Tensor u = g.input("u", {5, 9}, u8), v = g.input("v", {5, 9}, u8), x = g.input("x", {5, 9});
  std::vector<Tensor> wanted = {
      logical_and(a, b), logical_or(a, b), logical_not(a), a == b, a != b, select(a, b, a),
      select(a, u, v), u + v, u * v, u > v, maximum(u, v), cast(u, b8), isnan(x), isfinite(x),
      any(a, {1}), all(logical_or(a, b), {0}), any(x > 1.0, {0, 1}), clamp(x, -1, 1)};
  Feeds feeds = {{"x", {}}};
  for (int i = 0; i < 45; ++i) feeds["x"].push_back(i % 7 ? i * 0.1 - 2 : NAN);
  agree(g, wanted, {.lo = 0, .hi = 200, .feeds = feeds});
}

TEST_CASE("f8e4m3 is moved, selected, cast both ways, and kept in a state") {
  Graph g;
  Tensor x = g.input("x", {5, 9}), e = g.input("e", {5, 9}, f8e4m3), c = g.input("c", {5, 9}, b8);
  Tensor s = g.state("s", {5, 9}, f8e4m3), i = g.constant({4, 0, -1}, {3}, i32);
  Tensor narrow = cast(x * 3.0, f8e4m3);
  std::vector<Tensor> wanted = {
      narrow, select(c, narrow, e), select(c, e, g.constant(300.7, {5, 9}, f8e4m3)),
      transpose(e, 0, 1), slice(e, 1, 1, 3, 2), concat({e, narrow, s}, 0), gather(e, i),
      scatter(e, g.constant({3, 1}, {2}, i32), slice(narrow, 0, 0, 2)),
      cast(e, f32) + cast(narrow, f32), cast(e, i32), cast(e, b8), cast(cast(e, bf16), f8e4m3),
      max(abs(cast(e, f32)), {1}), isnan(cast(e, f32))};
  g.assign(s, narrow);
  Feeds feeds = {{"x", {}}, {"e", {}}};
  for (int k = 0; k < 45; ++k) {
    feeds["x"].push_back(k % 7 ? (k - 20) * std::exp2(k % 19 - 12) : k % 2 ? INFINITY : -1e30);
    feeds["e"].push_back(k == 8 ? NAN : float_from_f8e4m3(static_cast<uint8_t>(k * 37)));
  }
  agree(g, wanted, {.lo = 0, .hi = 200, .feeds = feeds});
}

TEST_CASE("every number of f8e4m3, and what lies between, is rounded as the base library does") {
  std::vector<double> at, all;
  for (int i = 0; i < 256; ++i) all.push_back(float_from_f8e4m3(static_cast<uint8_t>(i)));
  for (int code = 0; code < 0x7f; ++code) {
    double low = all[code], high = code < 0x7e ? all[code + 1] : 480, middle = (low + high) / 2;
    auto just = [](double v, double to) {
      return static_cast<double>(std::nextafterf(static_cast<float>(v), static_cast<float>(to)));
    };
    for (double v : {low, middle, just(middle, 0), just(middle, 1e9), just(low, 1e9)})
      at.push_back(v), at.push_back(-v);
  }
  for (double v : {449.0, 1e30, 0x1p-140, 0x1p-10, double{INFINITY}})
    at.push_back(v), at.push_back(-v);
  Graph g;
  Tensor x = g.input("x", {static_cast<int64_t>(at.size())}), e = g.input("e", {256}, f8e4m3);
  Executable f = compile(g, {{"narrow", cast(x, f8e4m3)}, {"wide", cast(e, f32)}});
  write(f, "x", at);
  std::vector<uint8_t> codes(256);
  for (int i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>(i);
  f.set("e", codes);
  f.run();
  std::vector<uint8_t> narrow = f.get<uint8_t>("narrow");
  std::vector<float> wide = f.get<float>("wide");
  for (size_t i = 0; i < at.size(); ++i) {
    CAPTURE(at[i]);
    CHECK(narrow[i] == f8e4m3_from_float(static_cast<float>(at[i])));
    double nearest = INFINITY;  // by looking at all
    for (int code = 0; code < 256; ++code)
      if (code % 128 < 127) nearest = std::fmin(nearest, std::fabs(all[code] - at[i]));
    if (std::isfinite(at[i]))
      CHECK(std::fabs(float_from_f8e4m3(narrow[i]) - at[i]) == nearest);
  }
  for (int i = 0; i < 256; ++i)
    CHECK((i % 128 == 127 ? std::isnan(wide[i]) : wide[i] == static_cast<float>(all[i])));
}

TEST_CASE("reductions built from others, every float type") {
  for (DType t : {f32, f64, bf16, f16}) {
    CAPTURE(name_of(t));
    Graph g;
    Tensor x = g.input("x", {6, 35, 3}, t);
    std::vector<Tensor> wanted = {argmax(x), argmin(x, 1), argmax(x, 0, true)};
    if (t == f32 || t == f64)
      for (const Tensor& y : {logsumexp(x, {1}), log_softmax(x, 1), variance(x, {0, 2}), sum(x),
                              mean(x, {1}), max(x, {0, 1, 2})})
        wanted.push_back(y);
    agree(g, wanted);
  }
}

TEST_CASE("argmax sees NaN, the first of several, integers") {
  Graph g;
  Tensor x = g.input("x", {3, 4}), n = g.input("n", {3, 4}, i32);
  Feeds feeds = {{"x", {1, 5, 5, 2, -1, NAN, -2, NAN, -INFINITY, 0, INFINITY, 7}}};
  agree(g, {argmax(x), argmin(x), argmax(n), argmin(n, 0)},
        {.lo = -5, .hi = 5, .feeds = feeds});
}

TEST_CASE("views, padding, convolution, pooling and their gradients") {
  Graph g;
  Tensor x = g.input("x", {2, 3, 8, 6}), w = g.input("w", {4, 3, 3, 3}), b = g.input("b", {4});
  Tensor patch = g.input("patch", {5, 3, 2, 2}), p = g.input("p", {6, 10});
  Tensor image = conv2d(x, w, b, {.stride = 2, .padding = 1}), patches = conv2d(x, patch);
  patches = conv2d(x, patch, {}, {.stride = 2});
  Tensor padded = pad(pad(p, 0, 1, 2, 3.0), -1, 0, 5), pooled = mean_pool(reshape(x, {2, 24, 6}));
  Tensor near = cosine_similarity(p, flip(p, 0)), mixed = stack(split(p, 2, 1), 0);
  std::vector<Tensor> wanted = {image, patches, padded, pooled, near, mixed};
  Tensor loss = sum(square(image));
  for (size_t i = 1; i < wanted.size(); ++i) loss = loss + sum(square(wanted[i] + 0.5));
  for (const Tensor& d : grad(loss, {x, w, b, patch, p})) wanted.push_back(d);
  agree(g, wanted, {.lo = -1, .hi = 1});
}

TEST_CASE("feed-forward blocks, experts, interleaved rope, losses, in f32 and bf16") {
  for (DType t : {f32, bf16}) {
    CAPTURE(name_of(t));
    Graph g;
    Tensor x = g.input("x", {12, 16}, t), up = g.input("up", {24, 16}, t),
           gate = g.input("gate", {24, 16}, t), down = g.input("down", {16, 24}, t);
    Tensor heads = g.input("heads", {2, 3, 2, 8}, t), cs = g.input("cs", {3, 4}, t),
           sn = g.input("sn", {3, 4}, t), target = g.input("target", {12}, i32);
    Tensor logits = linear(x, gate);
    Routing route = top_k_router(cast(slice(logits, 1, 0, 4), f32), 2);
    Feeds feeds = {{"target", {3, -1, 23, 0, 17, 3, 5, 5, 1, -7, 2, 8}}};
    std::vector<Tensor> wanted = {
        geglu_mlp(x, gate, up, down), relu_squared_mlp(x, up, down),
        rope(heads, cs, sn, Rope::interleaved), route.chosen, route.weights, route.balance,
        cross_entropy(logits, target,
                      {.softcap = 5, .smoothing = 0.1, .ignore_index = 5,
                       .reduction = Reduction::mean})};
    Tensor loss = sum(square(cast(wanted[0], f32))) + wanted[5] + wanted[6];
    for (const Tensor& d : grad(loss, {x, up, gate, down})) wanted.push_back(d);
    agree(g, wanted, {.lo = -1, .hi = 1, .feeds = feeds});
  }
}

TEST_CASE("experts: dense dispatch and its gradient") {
  Graph g;
  Tensor x = g.input("x", {10, 6}), logits = g.input("logits", {10, 4});
  Tensor gate = g.input("gate", {4, 8, 6}), up = g.input("up", {4, 8, 6}),
         down = g.input("down", {4, 6, 8});
  Routing route = top_k_router(logits, 2);
  Tensor y = moe_swiglu(x, route.weights, gate, up, down);
  std::vector<Tensor> wanted = {y};
  for (const Tensor& d : grad(sum(square(y)) + route.balance, {x, logits, gate, up, down}))
    wanted.push_back(d);
  agree(g, wanted, {.lo = -1, .hi = 1});
}

TEST_CASE("random numbers are those of the oracle, fused or not, and differ from step to step") {
  Graph g;
  Tensor key = step_key(g), x = g.input("x", {33, 65});
  Tensor u = uniform(key, {33, 65}, -1, 3), n = normal(key, {1000}), d = dropout(x, 0.3, key);
  std::vector<Tensor> wanted = {u, n, d, bernoulli(key, {7, 11}, 0.5), uniform(key, {0, 4}),
                                uniform(key, {}), grad(sum(square(d)), {x})[0]};
  agree(g, wanted, {.lo = 1, .hi = 9});

  Executable exe = compile(g, {{"u", u}});
  exe.set("rng", int64_t{7} << 32);
  exe.run();
  std::vector<float> first = exe.get<float>("u");
  exe.run();
  CHECK(exe.get<int64_t>("rng")[0] == (int64_t{7} << 32) + 2);
  CHECK(exe.get<float>("u") != first);
  exe.set("rng", int64_t{7} << 32);
  exe.run();
  CHECK(exe.get<float>("u") == first);
}

TEST_CASE("sampling runs compiled and follows its limits") {
  Graph g;
  Tensor key = step_key(g), row = g.input("logits", {6});
  Tensor many = broadcast_to(row, {500, 6});
  Executable exe = compile(g, {{"top", sample(many, key, {.top_k = 2})},
                               {"nucleus", sample(many, key, {.temperature = 0.5, .top_p = 0.6})},
                               {"best", sample(many, key, {.temperature = 0})}});
  exe.set<float>("logits", std::vector<float>{0, 3, 1, 2.5, -1, 0});
  exe.run();
  int seen[6] = {};
  for (int32_t t : exe.get<int32_t>("top")) ++seen[t];
  CHECK(seen[1] > 250);
  CHECK(seen[3] > 120);
  CHECK(seen[1] + seen[3] == 500);
  for (int32_t t : exe.get<int32_t>("nucleus")) CHECK(t == 1);  // its share is 0.7 at half the heat
  for (int32_t t : exe.get<int32_t>("best")) CHECK(t == 1);
}
