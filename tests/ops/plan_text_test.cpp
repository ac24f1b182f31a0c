// Plans and kernels as text: what is printed reads back to the same text, whatever the names and
// numbers; garbage is an Error with a line, never a crash; and verify() refuses broken plans.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "fusec/base/bytes.h"
#include "fusec/base/error.h"
#include "fusec/plan/plan.h"

using namespace fusec;

namespace {

KernelOp load(int param, std::vector<int64_t> strides, DType type = f32, int64_t offset = 0) {
  KernelOp op;
  op.kind = KernelOp::Kind::load;
  op.type = type;
  op.access = {param, offset, std::move(strides)};
  return op;
}
KernelOp store(int value, int param, std::vector<int64_t> strides, DType type = f32) {
  KernelOp op = load(param, std::move(strides), type);
  op.kind = KernelOp::Kind::store;
  op.args = {value};
  return op;
}
KernelOp prim(Prim p, std::vector<int> args, DType type = f32) {
  KernelOp op;
  op.kind = KernelOp::Kind::prim;
  op.prim = p;
  op.args = std::move(args);
  op.type = type;
  return op;
}
KernelOp unary(KernelOp::Kind kind, int arg, DType type) {
  KernelOp op;
  op.kind = kind;
  op.args = {arg};
  op.type = type;
  return op;
}
KernelOp constant(double value, DType type = f32) {
  KernelOp op;
  op.imm = value;
  op.type = type;
  return op;
}

// y[r, c] = bf16(exp(x[r, c]) / sum over c of exp(x)), rows of 6.
KernelProgram rows_kernel() {
  KernelProgram k;
  k.name = "k00_softmax";
  k.origins = {"ops/mlp.cpp:12 map.exp", "say \"hi\"\nthere"};
  k.params = {{"x", f32, true, false}, {"y", bf16, false, true}};
  k.extents = {4, 6};
  k.row_dims = 1;
  k.schedule.kind = ScheduleKind::rows;
  k.schedule.grain = 2;
  k.ops = {load(0, {6, 1}), prim(Prim::exp, {0}), unary(KernelOp::Kind::reduce, 1, f32),
           prim(Prim::div, {1, 2}), unary(KernelOp::Kind::cast, 3, bf16),
           store(4, 1, {6, 1}, bf16)};
  return k;
}

// z = a + a * 0.5, with parameter names that are no words and not unique.
KernelProgram flat_kernel() {
  KernelProgram k;
  k.name = "odd name";
  k.params = {{"p q", bf16, true, false}, {"z", f32, false, true}, {"z", f32, true, false}};
  k.extents = {0};
  k.schedule.vector = 8;
  k.ops = {load(0, {1}, bf16), unary(KernelOp::Kind::cast, 0, f32), constant(0.5),
           load(2, {0}), prim(Prim::mul, {1, 2}), prim(Prim::add, {3, 4}), store(5, 1, {1})};
  return k;
}

KernelProgram reduce_kernel() {
  KernelProgram k;
  k.name = "k02_norm";
  k.params = {{"g", f32, true, false}, {"partial", f32, false, true}};
  k.extents = {0};
  k.schedule.kind = ScheduleKind::flat_reduce;
  k.schedule.chunk = 16;
  k.ops = {load(0, {1}), prim(Prim::mul, {0, 0}), unary(KernelOp::Kind::reduce, 1, f32),
           store(2, 1, {1})};
  return k;
}

KernelProgram columns_kernel() {
  KernelProgram k;
  k.name = "k03_columns";
  k.params = {{"g", f32, true, false}, {"out", f32, false, true}};
  k.extents = {4, 6};
  k.schedule.kind = ScheduleKind::columns;
  k.schedule.vector = 4;
  KernelOp index;
  index.kind = KernelOp::Kind::index;
  index.type = i32;
  index.access = {-1, 1, {2, 0}};
  KernelOp top = unary(KernelOp::Kind::reduce, 3, f32);
  top.reduce = ReduceKind::max;
  k.ops = {load(0, {-6, 1}, f32, 18), index, unary(KernelOp::Kind::cast, 1, f32),
           prim(Prim::add, {0, 2}), top, store(4, 1, {0, 1})};
  return k;
}

PlanBuffer buffer(std::string name, BufferClass cls, TensorType type, int64_t offset = -1,
                  int first = 0, int last = 0) {
  return {std::move(name), cls, std::move(type), offset, first, last, {}};
}

Plan sample() {
  Plan p;
  p.graph = "tiny \"quoted\"";
  p.arena_bytes = 4096;
  p.sum_of_temporaries = 9000;
  p.buffers = {buffer("x", BufferClass::input, {{4, 6}, f32}, 0, 0, 4),
               buffer("y", BufferClass::output, {{4, 6}, bf16}, 512, 0, 4),
               buffer("t0", BufferClass::temporary, {{24}, f32}, 1024, 1, 2),
               buffer("t1", BufferClass::temporary, {{24}, f32}, 1024, 2, 3),  // in place
               buffer("c0", BufferClass::constant, {{2}, f32}),
               buffer("w", BufferClass::parameter, {{6}, f32}),
               buffer("m", BufferClass::state, {{100}, f32}),
               buffer("c1", BufferClass::constant, {{20}, f32})};
  p.buffers[4].data = std::string("\x00\x00\x80\x3f\xff\xff\x80\xbf", 8);
  p.buffers[7].data = std::string(80, '\x5a');
  p.kernels = {rows_kernel(), flat_kernel(), reduce_kernel(), columns_kernel()};
  PlanStep rows, flat, reduce, columns, call;
  rows.kernel = 0;
  rows.segments = {{{{0, 0}, {1, 0}}, 0}};
  rows.scope = "trunk.0";
  rows.makes = {"map.exp (a \"b\".cpp:1, trunk.0)", ""};
  rows.bytes = 144, rows.unfused_bytes = 400, rows.flops = 1234567890123;
  flat.kernel = 1;
  flat.segments = {{{{1, 2}, {2, 4}, {4, 4}}, 23}, {{{1, 0}, {6, 0}, {4, 0}}, 6}};
  reduce.kernel = 2;
  reduce.segments = {{{{2, 0}, {3, 0}}, 24}};
  columns.kernel = 3;
  columns.segments = {{{{0, 0}, {5, 0}}, 0}};
  call.call = {"gemm", {{0, 0}, {5, 0}, {6, 16}},
               {{"alpha", 1.0}, {"beta", 0.0}, {"m", int64_t{4}}, {"tiny", 1e-300}}};
  for (const char* key : {"n", "k", "batch", "lda", "ldb", "ldc", "stride_a", "stride_b",
                          "stride_c", "trans_a", "trans_b"})
    call.call.attrs[key] = int64_t{1};
  for (const char* key : {"type_a", "type_b", "type_c"}) call.call.attrs[key] = std::string("f32");
  p.steps = {rows, flat, reduce, columns, call};
  return p;
}

// Reading must end in a value or in an Error, whatever the text.
void read_garbage(const std::string& text) {
  try {
    Plan p = parse_plan(text);
    CHECK(print(parse_plan(print(p))) == print(p));
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::user);
    CHECK(e.message().find("line ") == 0);
  }
}

void expect_broken(Plan p, const std::function<void(Plan&)>& damage, const std::string& rule) {
  damage(p);
  try {
    verify(p);
  } catch (const Error& e) {
    std::string text = e.what();
    CAPTURE(text);
    CHECK(e.kind() == ErrorKind::internal);
    CHECK(text.find(rule) != std::string::npos);
    return;
  }
  FAIL("verify() accepted a plan that breaks: " << rule);
}

TEST_CASE("the code of an empty flat kernel stands for no other") {
  // The element that a slice of nothing would start at says nothing about other slices.
  const char* text = R"(kernel k {
    domain   [0] rows 0
    schedule flat vector 16 grain 64
    param    "x" : f32  read
    param    "y" : f32  write
    %0 = load @0[1] : f32
         store %0, @1[i0] : f32
  })";
  KernelProgram empty = parse_kernel(text), one = empty, two = empty;
  one.extents = {1}, two.extents = {2};
  CHECK(!structurally_equal(empty, one));
  CHECK(structural_hash(empty) != structural_hash(one));
  CHECK(structurally_equal(one, two));
  CHECK(structural_text(one) == structural_text(two));
}

}  // namespace

TEST_CASE("a plan verifies, prints and reads back") {
  Plan p = sample();
  verify(p);
  std::string text = print(p);
  Plan back = parse_plan(text);
  CHECK(print(back) == text);
  verify(back);
  REQUIRE(back.kernels.size() == p.kernels.size());
  for (size_t i = 0; i < p.kernels.size(); ++i) {
    CHECK(structurally_equal(p.kernels[i], back.kernels[i]));
    CHECK(structural_hash(p.kernels[i]) == structural_hash(back.kernels[i]));
    CHECK(p.kernels[i].origins == back.kernels[i].origins);
    CHECK(print(parse_kernel(print(p.kernels[i]))) == print(p.kernels[i]));
  }
  CHECK(back.buffers[4].data == p.buffers[4].data);
  CHECK(back.buffers[7].data == p.buffers[7].data);
  CHECK(back.steps[4].call.attrs == p.steps[4].call.attrs);
  CHECK(back.steps[0].flops == p.steps[0].flops);
  CHECK(back.find("w") == 5);
  CHECK(back.find("t0") == -1);
}

TEST_CASE("text is for people") {
  std::string text = print(rows_kernel());
  CHECK(text.find("%0 = load x[i0*6 + i1]") != std::string::npos);
  CHECK(text.find("%1 = prim.exp %0") != std::string::npos);
  CHECK(text.find("// from \"ops/mlp.cpp:12 map.exp\"") != std::string::npos);
  CHECK(print(columns_kernel()).find("load g[-i0*6 + i1 + 18]") != std::string::npos);
  CHECK(print(flat_kernel()).find("store %5, @1[i0]") != std::string::npos);
}

TEST_CASE("extreme numbers and names survive") {
  constexpr int64_t lowest = std::numeric_limits<int64_t>::min();
  KernelProgram k = flat_kernel();
  k.name = std::string("\x01\"\\\xff", 4);
  for (double v : std::vector<double>{INFINITY, -INFINITY, 0.1, -0.0, 5e-324, 1.7e308, NAN})
    k.ops.push_back(constant(v));
  k.ops.push_back(load(0, {lowest}, bf16, lowest));
  k.ops.push_back(load(0, {-1}, bf16, std::numeric_limits<int64_t>::max()));
  KernelProgram back = parse_kernel(print(k));
  CHECK(structurally_equal(k, back));
  CHECK(back.name == k.name);
  CHECK(print(back) == print(k));
}

TEST_CASE("structure is not names") {
  KernelProgram a = rows_kernel(), b = a;
  b.name = "other";
  b.origins.clear();
  b.params[0].name = "input";
  CHECK(structurally_equal(a, b));
  CHECK(structural_hash(a) == structural_hash(b));
  b.ops[0].access.offset = 1;
  CHECK(!structurally_equal(a, b));
  CHECK(structural_hash(a) != structural_hash(b));
  KernelProgram zero = flat_kernel(), minus = zero;
  zero.ops[2].imm = 0.0;
  minus.ops[2].imm = -0.0;
  CHECK(!structurally_equal(zero, minus));
}

TEST_CASE("work units") {
  CHECK(rows_kernel().units(0) == 4);
  CHECK(flat_kernel().units(1000) == 1000);
  CHECK(reduce_kernel().units(33) == 3);
  CHECK(columns_kernel().units(0) == 2);
}

TEST_CASE("syntax errors say line, found and expected") {
  std::string text = print(rows_kernel());
  text.replace(text.find("prim.exp"), 8, "prim.exq");
  try {
    parse_kernel(text);
    FAIL("accepted prim.exq");
  } catch (const Error& e) {
    CHECK(e.message() == "line 7: unknown primitive \"exq\"");
  }
  try {
    parse_plan("plan \"x\" version 4 {\n  arena ten of 3\n}");
    FAIL("accepted arena ten");
  } catch (const Error& e) {
    CHECK(e.message() == "line 2: found \"ten\", expected arena bytes (a 64-bit integer)");
  }
}

TEST_CASE("truncated and mutated text never crashes the reader") {
  const std::string text = print(sample());
  for (size_t n = 0; n < text.size(); ++n) read_garbage(text.substr(0, n));
  std::mt19937 random(7);
  const std::string alphabet = "{}[]()%:,.\"\\/+-*=0123456789abixnfr@ \n\t\xff";
  for (size_t n = 0; n < text.size(); ++n) {
    std::string mutated = text;
    mutated[n] = random() % 8 == 0 ? static_cast<char>(random())
                                   : alphabet[random() % alphabet.size()];
    read_garbage(mutated);
    mutated = text;
    mutated.erase(n, 1 + random() % 5);
    read_garbage(mutated);
    mutated = text;
    mutated.insert(n, text.substr(random() % text.size(), random() % 12));
    read_garbage(mutated);
  }
  read_garbage(std::string(1000, '\0'));
  read_garbage("plan \"\" version 4 { arena 1 of 1 buffers { b0 : input \"a\" f32[" +
               std::string(9999, '9'));
}

TEST_CASE("verify refuses broken plans, naming the rule") {
  Plan p = sample();
  expect_broken(p, [](Plan& q) { q.buffers[3].first = 1; }, "do not share arena bytes");
  expect_broken(p, [](Plan& q) { q.buffers[1].offset = 0; }, "do not share arena bytes");
  expect_broken(p, [](Plan& q) { q.buffers[2].offset = 100; }, "multiple of 256");
  expect_broken(p, [](Plan& q) { q.arena_bytes = 1280; }, "inside the arena");
  expect_broken(p, [](Plan& q) { q.buffers[4].data.pop_back(); }, "type.bytes()");
  expect_broken(p, [](Plan& q) { q.buffers[5].name = "x"; }, "unique");
  expect_broken(p, [](Plan& q) { q.steps[0].kernel = 9; }, "names a kernel");
  expect_broken(p, [](Plan& q) { q.steps[1].segments[0].args.pop_back(); }, "one argument a param");
  expect_broken(p, [](Plan& q) { q.steps[1].segments[0].n = 24; }, "accesses stay inside");
  expect_broken(p, [](Plan& q) { q.steps[1].segments[0].args[2].buffer = 99; }, "names a buffer");
  expect_broken(
      p, [](Plan& q) { q.buffers[2].first = 2; }, "live in steps that use it");
  expect_broken(p, [](Plan& q) { q.steps[4].call.args.pop_back(); }, "expected 3 arguments, found 2");
  expect_broken(p, [](Plan& q) { q.steps[4].call.attrs.erase("lda"); }, "attribute \"lda\"");
  expect_broken(p, [](Plan& q) { q.steps[4].call.name = "gem"; }, "did you mean \"gemm\"?");
  auto epilogue = [&](const char* text, const char* rule) {
    expect_broken(
        p, [&](Plan& q) { q.steps[4].call.attrs["epilogue"] = std::string(text); }, rule);
  };
  for (const char* wrong :
       {"relu", "gelu_bias", "bias_", "biasgelu", "aux", "bias_aux", "_bias", "", "add_add",
        "bgrad", "bgrad_dgelu", "bias_dgelu", "gelu_dgelu", "add_dgelu", "dgelu_bgrada",
        "bias_bgradb", "bgrada_bgradb", "none_add"})
    epilogue(wrong, "gemm: expected an epilogue of");
  for (const char* right :
       {"add", "bias_gelu_aux", "dgelu", "dgelu_bgrad", "bgrada", "add_bgradb"}) {
    LibraryCall call;
    call.attrs["epilogue"] = std::string(right);
    CHECK(epilogue_of(call).str() == right);
  }
  epilogue("dgelu_bgrad", "gemm: expected 5 arguments for epilogue \"dgelu_bgrad\", found 3");
  epilogue("bias", "gemm: expected 4 arguments for epilogue \"bias\", found 3");
  epilogue("add_bias_gelu_aux", "gemm: expected 6 arguments");
  auto in_place = [&](int64_t at, bool operand, const char* rule) {
    expect_broken(
        p,
        [&](Plan& q) {
          LibraryCall& call = q.steps[4].call;
          call.attrs["epilogue"] = std::string("add");
          if (operand) call.args[0] = call.args[2];
          call.args.push_back({call.args[2].buffer, call.args[2].byte_offset + at});
        },
        rule);
  };
  in_place(4, false, "an addend in the memory of C lies where C does");
  in_place(0, true, "accumulated in place is no other argument, found it as argument 0");
  expect_broken(p, [](Plan& q) { q.steps[0].segments[0].args[0].buffer = 1; }, "have one type");
}

TEST_CASE("verify refuses broken kernels, naming the rule") {
  auto broken = [](int kernel, const std::function<void(KernelProgram&)>& damage,
                   const std::string& rule) {
    expect_broken(sample(), [&](Plan& q) { damage(q.kernels[kernel]); }, rule);
  };
  broken(0, [](KernelProgram& k) { k.ops[1].args = {1}; }, "earlier op");
  broken(0, [](KernelProgram& k) { k.ops[3].args = {1}; }, "takes 2 operands");
  broken(0, [](KernelProgram& k) { k.ops[5].args = {3}; }, "stored type");
  broken(0, [](KernelProgram& k) { k.row_dims = 2; }, "row_dims < rank");
  broken(0, [](KernelProgram& k) { k.ops[5].access.strides = {6, 0}; }, "different values");
  broken(0, [](KernelProgram& k) { k.ops[0].access.strides = {1}; }, "one stride a dimension");
  broken(0, [](KernelProgram& k) { k.params[0].read = false; }, "marked read");
  broken(0, [](KernelProgram& k) { k.ops.pop_back(); }, "stores at least one");
  broken(0, [](KernelProgram& k) { k.schedule.vector = 12; }, "power of two");
  broken(1, [](KernelProgram& k) { k.ops[0].access.strides = {2}; }, "0 or 1");
  broken(1, [](KernelProgram& k) { k.ops[4].args = {0, 0}; }, "does not run on bf16");
  broken(2, [](KernelProgram& k) { k.schedule.chunk = 0; }, "chunk");
  broken(3, [](KernelProgram& k) { k.ops[5].access.strides = {6, 1}; }, "constant along reduced");
}

TEST_CASE("what makes a buffer, commit steps and guards read back") {
  Plan p = parse_plan(
      "plan \"g\" version 4 { arena 0 of 0\n"
      "buffers { b0 : parameter \"p\" f32[] made by \"parameter (a.cpp:1)\" }\n"
      "steps {\n"
      "0 : call guard (b0) { type \"f32\" }\n"
      "1 : call fill (b0) { bytes 4 } commit makes \"map.neg (a.cpp:2)\", \"map.exp\"\n"
      "} }");
  CHECK(p.buffers[0].origin == "parameter (a.cpp:1)");
  CHECK(!p.steps[0].commit);
  CHECK(p.steps[1].commit);
  CHECK(p.steps[1].makes == std::vector<std::string>{"map.neg (a.cpp:2)", "map.exp"});
  CHECK(print(parse_plan(print(p))) == print(p));
  CHECK_NOTHROW(verify(p));
  p.steps[0].call.attrs.clear();
  CHECK_THROWS_WITH_AS(verify(p), doctest::Contains("expected a text attribute \"type\""), Error);
}

TEST_CASE("amounts of memory") {
  CHECK(parse_bytes("4096", "x") == 4096);
  CHECK(parse_bytes("64K", "x") == 64 << 10);
  CHECK(parse_bytes("1.5g", "x") == 3 * (int64_t{1} << 29));
  for (const char* wrong : {"", "M", "-1", "0", "5Q", "1e40", "3 M", "nan", "64MB"})
    CHECK_THROWS_WITH_AS(parse_bytes(wrong, "--memory-budget"),
                         doctest::Contains("--memory-budget: expected an amount"), Error);
}
