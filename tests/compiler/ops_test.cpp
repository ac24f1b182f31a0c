// Every op, compiled, against the oracle: the pointwise table by itself, the structural ops on odd
// shapes, and gradients of all of them.
#include "agree.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Row {
  Pointwise op;
  int arity;
  bool compare, differentiable;
  double lo, hi;
};

bool has_gradient(const char* column) { return std::string(column) != "none"; }

const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
#define FUSEC_UNARY(name, doc, value, gx, cost, lo, hi) \
  {Pointwise::name, 1, false, has_gradient(#gx), lo, hi},
#define FUSEC_BINARY(name, doc, value, ga, gb, cost, lo, hi) \
  {Pointwise::name, 2, false, has_gradient(#ga), lo, hi},
#define FUSEC_COMPARE(name, doc, value, cost, lo, hi) {Pointwise::name, 2, true, false, lo, hi},
#define FUSEC_TERNARY(name, doc, value, ga, gb, gc, cost, lo, hi) \
  {Pointwise::name, 3, false, false, lo, hi},
#include "fusec/ops/pointwise.def"
  };
  return table;
}

Tensor apply(Graph& g, const Row& row, const Shape& shape, DType t) {
  std::vector<Tensor> operands;
  for (int i = 0; i < row.arity; ++i)
    operands.push_back(g.input("x" + std::to_string(i), shape, t));
  if (row.op == Pointwise::select) operands[0] = operands[0] > 0.0;
  return pointwise(row.op, operands, {});
}

}  // namespace

TEST_CASE("pointwise table, values") {
  for (const Row& row : rows())
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{5, 13}, Shape{3, 64}, Shape{1000}}) {
      CAPTURE(name_of(row.op));
      CAPTURE(fusec::str(shape));
      Graph g;
      Tensor y = apply(g, row, shape, f32);
      agree(g, {y}, {.lo = row.lo, .hi = row.hi});
    }
}

TEST_CASE("pointwise table, bf16 storage") {
  for (const Row& row : rows()) {
    CAPTURE(name_of(row.op));
    Graph g;
    Tensor y = apply(g, row, {7, 37}, bf16);
    // Equal after rounding, but for ties that the last bit of the f32 value decides: one bf16 step.
    agree(g, {y}, {.lo = row.lo, .hi = row.hi});
  }
}

TEST_CASE("pointwise table, gradients") {
  for (const Row& row : rows()) {
    if (!row.differentiable) continue;
    CAPTURE(name_of(row.op));
    Graph g;
    Tensor y = apply(g, row, {6, 21}, f32);
    Tensor weight = g.input("weight", y.shape());
    std::vector<Tensor> wrt;
    for (int i = 0; i < row.arity; ++i) wrt.push_back(g.find("x" + std::to_string(i)));
    agree(g, grad(sum(y * weight), wrt), {.lo = row.lo, .hi = row.hi});
  }
}

TEST_CASE("casts") {
  for (DType from : {f32, f64, bf16, f16, i64, i32, u8, b8, f8e4m3})
    for (DType to : {f32, f64, bf16, f16, i64, i32, u8, b8, f8e4m3}) {
      CAPTURE(name_of(from));
      CAPTURE(name_of(to));
      Graph g;
      Tensor x = g.input("x", {3, 29}, from);
      agree(g, {cast(x, to)}, {.lo = from == u8 ? 0.0 : -9.0, .hi = 9});
    }
}

TEST_CASE("large sums of what no kernel loads: constants, indices, stretched scalars") {
  Graph g;
  Tensor two = g.constant(-2, {137, 120}), s = g.input("s", {});
  agree(g, {sum(two), sum(cast(g.iota({30000}, 0), f32)), sum(broadcast_to(s, {40000})),
            max(broadcast_to(s, {40000}) + g.constant(1, {40000})), sum(g.constant(3, {20000}))});
}

TEST_CASE("reductions over every set of axes") {
  for (const std::vector<int64_t>& axes :
       {std::vector<int64_t>{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 2}, {0, 1, 2}}) {
    CAPTURE(fusec::str(axes));
    Graph g;
    Tensor x = g.input("x", {5, 9, 33});
    agree(g, {sum(x, axes), max(x, axes), min(x, axes), mean(square(x), axes, true)});
    Tensor loss = sum(square(sum(exp(x), axes)) * 0.01);
    agree(g, grad(loss, {x}));
  }
}

TEST_CASE("a reduction of a large whole tensor runs in chunks") {
  Graph g;
  Tensor x = g.input("x", {100, 777});
  Plan plan = agree(g, {sum(square(x)), max(x, {0, 1})});
  Tensor y = exp(x), parts = sum(y * y);  // the elements are wanted too
  agree(g, {y, parts, parts * sum(x)});
  bool chunked = false;
  for (const KernelProgram& k : plan.kernels)
    chunked |= k.schedule.kind == ScheduleKind::flat_reduce;
  CHECK(chunked);
}

TEST_CASE("views, alone and inside chains") {
  Graph g;
  Tensor x = g.input("x", {4, 6, 10});
  Tensor y = g.input("y", {10, 6, 4});
  std::vector<Tensor> results = {
      permute(x, {2, 0, 1}),
      permute(x, {2, 1, 0}) + y,
      flip(x, 1) * x,
      slice(x, 2, 1, 4, 2),
      slice(slice(x, 0, 1, 3), 1, 5, 3, -2) * 2.0,
      reshape(permute(x, {1, 0, 2}), {6, 40}),
      broadcast_to(slice(x, 1, 2, 1), {4, 6, 10}) + x,
      transpose(exp(x), 0, 2) + y,
      reshape(flip(reshape(x, {4, 6, 2, 5}), 2), {4, 60}),
      concat({x, flip(x, 2), x * 2.0}, 1),
      concat({slice(x, 1, 0, 2), slice(x, 1, 3, 1)}, 1),
  };
  agree(g, results);
}

TEST_CASE("gradients of views") {
  Graph g;
  Tensor x = g.input("x", {4, 6, 10});
  Tensor y = concat(
      {permute(slice(flip(x, 2), 1, 1, 4), {1, 0, 2}), permute(slice(x, 1, 5, 3, -2), {1, 0, 2})},
      0);
  agree(g, grad(sum(square(y) * y), {x}), {.lo = 0.5, .hi = 1.5});
}

TEST_CASE("contractions of every operand order") {
  for (const char* labels : {"mk,kn->mn", "mk,nk->mn", "km,kn->mn", "km,nk->mn", "mk,kn->nm",
                             "bmk,bkn->bmn", "bmk,bnk->bmn", "mbk,bkn->bmn", "bhtd,bhsd->bhts",
                             "bthd,bshd->bhts", "mk,k->m", "k,k->", "m,n->mn", "mkx,kn->mn"}) {
    CAPTURE(labels);
    std::map<char, int64_t> size = {{'m', 7}, {'n', 5}, {'k', 19}, {'b', 3}, {'h', 2},
                                    {'t', 6}, {'s', 4}, {'d', 8},  {'x', 2}};
    std::string l = labels;
    auto shape = [&](const std::string& part) {
      Shape s;
      for (char c : part) s.push_back(size[c]);
      return s;
    };
    size_t comma = l.find(','), arrow = l.find("->");
    Graph g;
    Tensor a = g.input("a", shape(l.substr(0, comma)));
    Tensor b = g.input("b", shape(l.substr(comma + 1, arrow - comma - 1)));
    Tensor c = einsum(labels, a, b);
    agree(g, {c});
    agree(g, grad(sum(c * c), {a, b}));
  }
}

TEST_CASE("contractions on every float type, an empty sum among them") {
  for (DType t : {f32, f64, bf16, f16})
    for (const char* labels : {"mk,kn->mn", "km,nk->nm", "mk,k->m"})
      for (int64_t k : {0, 1, 37}) {
        CAPTURE(name_of(t));
        CAPTURE(labels);
        Graph g;
        bool vector = std::string(labels) == "mk,k->m";
        Tensor a = g.input("a", labels[0] == 'k' ? Shape{k, 9} : Shape{9, k}, t);
        Tensor b = g.input("b", vector ? Shape{k} : labels[3] == 'k' ? Shape{k, 40} : Shape{40, k},
                           t);
        Tensor c = einsum(labels, a, b);
        std::vector<Tensor> wanted = {c};
        for (const Tensor& d : grad(sum(cast(c, f32)), {a, b})) wanted.push_back(d);
        // One rounding of each stored result: half a step of its type.
        agree(g, wanted);
      }
}

TEST_CASE("gather and scatter, with skipped and repeated rows") {
  Graph g;
  Tensor table = g.input("table", {9, 5});
  Tensor index = g.input("index", {2, 4}, i32);
  Tensor once = g.input("once", {3}, i32);
  Tensor updates = g.input("updates", {3, 5});
  Feeds feeds = {{"index", {3, -1, 8, 3, 0, 3, -1, 7}}, {"once", {4, -1, 2}}};
  Tensor rows = gather(table, index), set = scatter(table, once, updates);
  Tensor added = scatter_add(table * 2.0, reshape(index, {8}), reshape(square(rows), {8, 5}));
  agree(g, {rows, set, added}, {.feeds = feeds});
  agree(g, grad(sum(square(rows)) + sum(square(set)) + sum(square(added)), {table, updates}),
        {.feeds = feeds});
}

TEST_CASE("attention, forward and backward") {
  for (bool causal : {true, false})
    for (double cap : {0.0, 5.0}) {
      Graph g;
      Tensor q = g.input("q", {2, 7, 4, 16}), k = g.input("k", {2, 11, 2, 16}),
             v = g.input("v", {2, 11, 2, 16});
      Tensor o = attention(q, k, v, {.causal = causal, .softcap = cap});
      agree(g, {o});
      agree(g, grad(sum(square(o) * o), {q, k, v}));
    }
  for (DType t : {bf16, f16}) {
    CAPTURE(name_of(t));
    Graph g;
    Tensor q = g.input("q", {1, 9, 2, 8}, t), k = g.input("k", {1, 9, 1, 8}, t);
    // o is rounded to its type before the backward pass reads it: a step or two of it.
    agree(g, {attention(q, k, k), grad(sum(cast(attention(q, k, k), f32)), {q})[0]},
          {.lo = -1, .hi = 1});
  }
  Graph g;
  Tensor q = g.input("q", {1, 12, 2, 8}), cu = g.input("cu", {4}, i32);
  Tensor o = attention(q, q, q, {.cu_seqlens = cu});
  agree(g, {o}, {.feeds = {{"cu", {0, 5, 5, 12}}}});
}

TEST_CASE("attention equals its composite, values and gradients") {
  for (bool causal : {true, false}) {
    Graph g;
    Tensor q = g.input("q", {2, 9, 6, 8}), k = g.input("k", {2, 13, 3, 8}),
           v = g.input("v", {2, 13, 3, 8});
    AttentionOptions o{.causal = causal, .softcap = 4};
    Tensor fast = attention(q, k, v, o), slow = naive_attention(q, k, v, o);
    std::vector<Tensor> wrt = {q, k, v}, wanted = {fast, slow};
    for (const Tensor& y : {fast, slow})
      for (const Tensor& d : grad(sum(square(y) * y), wrt)) wanted.push_back(d);
    agree(g, wanted);
    // and the two with each other: their difference is as small as either's error
    Tensor gap = fast - slow;
    Executable exe = compile(g, {{"gap", gap}});
    for (const char* name : {"q", "k", "v"}) write(exe, name, draw(exe.type(name), 3, -1, 1));
    exe.run();
    for (double x : read(exe, "gap")) CHECK(std::fabs(x) < 1e-5);
  }
}

TEST_CASE("composites and their gradients") {
  Graph g;
  Tensor x = g.input("x", {6, 40}), w = g.input("w", {40}), b = g.input("b", {40});
  Tensor target = g.input("target", {6}, i32);
  Feeds feeds = {{"target", {3, -1, 39, 0, 17, 3}}};
  Tensor heads = g.input("heads", {2, 5, 3, 8}), cs = g.input("cs", {5, 4}),
         sn = g.input("sn", {5, 4});
  std::vector<Tensor> results = {softmax(x),
                                 rms_norm(x, 1e-6, w),
                                 layer_norm(x, w, b),
                                 softcap(x, 1.5),
                                 cross_entropy(x, target),
                                 swiglu(x, x * w),
                                 rms_norm(rope(heads, cs, sn))};
  agree(g, results, {.feeds = feeds});
  Tensor loss = sum(square(results[0]));
  for (size_t i = 1; i < results.size(); ++i) loss = loss + sum(square(results[i] + 0.5));
  agree(g, grad(loss, {x, w, b, heads}), {.feeds = feeds});
}

TEST_CASE("integer arithmetic and iota") {
  Graph g;
  Tensor a = g.input("a", {4, 33}, i32), n = g.iota({4, 33}, 1), m = g.iota({4, 33}, 0, i64);
  agree(g, {a * n + a, maximum(a, n), cast(m, f32) * 0.5, select(a > n, a, n)},
        {.lo = -50, .hi = 50});
}

TEST_CASE("exp and exp2 where results are the least that are normal, and below") {
  std::vector<double> powers;
  for (int i = 0; i < 64; ++i) powers.push_back(-124.5 - 0.0625 * i);
  for (double x : {-150.0, -1e30, 127.99, 0.0}) powers.push_back(x);
  const auto n = static_cast<int64_t>(powers.size());
  Graph g;
  Tensor x = g.input("x", {n});
  agree(g, {exp2(x), exp(x * 0.693147), exp(x)}, {.feeds = {{"x", powers}}});
}
