// Text stages and their way back, symbols, errors, many kernels at once.
#include <doctest/doctest.h>

#include <algorithm>

#include "build.h"
#include "fusec/base/error.h"
#include "fusec/cpu/cpu.h"
#include "fusec/cpu/machine.h"
#include "harness.h"

using namespace fusec;
using namespace fusec::codegen_cpu;
using namespace fusec::test;
using cpu::KernelImages;
using cpu::map_kernels;

namespace {

KernelProgram rms_norm(const std::string& name, int64_t n) {
  Build b(name, ScheduleKind::rows, {8, n}, 1);
  int p = b.in("x", bf16), y = b.out("y", bf16);
  int x = b.cast(b.load(p, {n, 1}), f32);
  int s = b.reduce(ReduceKind::sum, b.prim(Prim::mul, {x, x}));
  int inv = b.prim(Prim::div, {b.c(1), b.prim(Prim::sqrt, {b.prim(Prim::div, {s, b.c(n)})})});
  b.store(y, b.cast(b.prim(Prim::mul, {x, inv}), bf16), {n, 1});
  return b.k;
}

}  // namespace

TEST_CASE("source stage: named, commented, and compiles back to the same bits") {
  CpuTarget target = host_target();
  KernelProgram k = rms_norm("k07-rms norm", 300), m = rms_norm("k08", 64);
  std::string text = emit_llvm_ir(k, target);
  CHECK(text.find("; kernel k07-rms norm") != std::string::npos);
  CHECK(text.find(";   from map.test (test.cpp:1)") != std::string::npos);
  CHECK(text.find("@k07_rms_norm(") != std::string::npos);
  KernelImages direct = map_kernels(compile_kernels({&k, &m}, 1, target).images);
  KernelImages back = map_kernels(
      compile_llvm_ir({text, emit_llvm_ir(m, target)}, {k.name, m.name}, target).images);
  REQUIRE(back.functions.size() == 2);

  Buffer x(bf16, 2400), a(bf16, 2400), b(bf16, 2400);
  x.fill(-1, 1, 3);
  void* direct_args[] = {x.data(), a.data()};
  void* back_args[] = {x.data(), b.data()};
  direct.functions[0](direct_args, 0, 8, 0);
  back.functions[0](back_args, 0, 8, 0);
  for (int i = 0; i < 2400; ++i) REQUIRE(a.get(i) == b.get(i));
  compare_code(m, back.functions[1], {512, 512}, 0, {.relative = 0x1p-8});
}

TEST_CASE("vector stage: MLIR that shows the kernel's own ops and names") {
  std::string text = emit_vector_ir(rms_norm("k1", 4096), host_target());
  for (const char* part : {"// kernel k1, schedule rows", "llvm.func @k1(%args", "scf.for",
                           "math.sqrt", "%x", "vector.shuffle"}) {
    CHECK_MESSAGE(text.find(part) != std::string::npos, part);
  }
}

TEST_CASE("binary stage is an ELF object") {
  std::vector<char> object = object_code(rms_norm("k1", 64), host_target());
  REQUIRE(object.size() > 64);
  CHECK(std::string(object.data(), 4) == "\177ELF");
}

TEST_CASE("source stage: errors name the kernel") {
  CpuTarget target = host_target();
  CHECK_THROWS_WITH_AS(compile_llvm_ir({"define void @x( {"}, {"k3"}, target),
                       doctest::Contains("the source of kernel k3 is not LLVM IR: line 1"), Error);
  CHECK_THROWS_WITH_AS(compile_llvm_ir({"define void @x() { ret void }"}, {"k3"}, target),
                       doctest::Contains("defines no function @k3"), Error);
}

TEST_CASE("many kernels, equal names, more threads than kernels; threads do not change results") {
  std::vector<KernelProgram> all;
  for (int i = 0; i < 12; ++i) all.push_back(rms_norm("same", 50 + 37 * i));
  std::vector<const KernelProgram*> kernels;
  for (const KernelProgram& k : all) kernels.push_back(&k);
  KernelImages one = map_kernels(compile_kernels(kernels, 1, host_target()).images);
  KernelImages many = map_kernels(compile_kernels(kernels, 16, host_target()).images);
  REQUIRE(many.functions.size() == 12);
  for (size_t i = 0; i < all.size(); ++i) {
    int64_t n = 8 * all[i].extents.back();
    compare_code(all[i], many.functions[i], {n, n}, 0, {.relative = 0x1p-8});
    Buffer x(bf16, n), a(bf16, n), b(bf16, n);
    x.fill(-1, 1, i);
    void* one_args[] = {x.data(), a.data()};
    void* many_args[] = {x.data(), b.data()};
    one.functions[i](one_args, 0, 8, 0);
    many.functions[i](many_args, 0, 3, 0);
    many.functions[i](many_args, 3, 8, 0);
    for (int64_t e = 0; e < n; ++e) REQUIRE(a.get(e) == b.get(e));
  }
  CHECK(compile_kernels({}, 4, host_target()).images.empty());
}

TEST_CASE("an image depends on the kernel's structure and the target, on nothing else") {
  CpuTarget target = host_target();
  KernelProgram k = rms_norm("k1", 64), renamed = rms_norm("a name", 64),
                other = rms_norm("k1", 80);
  renamed.params[0].name = "anything";
  renamed.origins = {"elsewhere.cpp:3"};
  std::vector<CodeImage> images = compile_kernels({&k, &renamed, &other}, 2, target).images;
  CHECK(images[0] == images[1]);
  CHECK(images[0].code != images[2].code);
  CHECK(images[0] == compile_kernels({&k}, 1, target).images[0]);
  CHECK(images[0] == link_object_code({object_code(k, target)}, {k.name}).images[0]);
  CHECK(structural_text(k) == structural_text(renamed));
  CHECK(structural_text(k) != structural_text(other));
}

TEST_CASE("structural text: every part of a kernel that shapes code is in it") {
  const KernelProgram k = rms_norm("k", 64);
  auto differs = [&](auto change) {
    KernelProgram other = k;
    change(other);
    CHECK_FALSE(structurally_equal(k, other));
    CHECK(structural_text(k) != structural_text(other));
  };
  differs([](KernelProgram& o) { o.params[0].dtype = f16; });
  differs([](KernelProgram& o) { o.params[0].written = true; });
  differs([](KernelProgram& o) { o.extents[0] = 9; });
  differs([](KernelProgram& o) { o.row_dims = 0; });
  differs([](KernelProgram& o) { o.schedule.kind = ScheduleKind::columns; });
  differs([](KernelProgram& o) { o.schedule.vector = 8; });
  differs([](KernelProgram& o) { o.schedule.grain = 2; });
  for (size_t i = 0; i < k.ops.size(); ++i) {
    differs([&](KernelProgram& o) { o.ops[i].type = f64; });
    differs([&](KernelProgram& o) { o.ops[i].imm = o.ops[i].imm == 0 ? -0.0 : 0.5; });
    differs([&](KernelProgram& o) { o.ops[i].args.push_back(0); });
    differs([&](KernelProgram& o) { o.ops[i].access.offset = 5; });
    differs([&](KernelProgram& o) { o.ops[i].access.strides.push_back(1); });
  }
}

TEST_CASE("every part of the target is in its description, and its features are this processor's") {
  CpuTarget target = host_target();
  for (int part = 0; part < 3; ++part) {
    CpuTarget other = target;
    if (part == 0) other.cpu = "x86-64";
    if (part == 1) other.features += ",-avx2";
    if (part == 2) other.vector_bits = 64;
    CHECK(describe(other) != describe(target));
  }
  CHECK(describe(target).find("LLVM ") == 0);
  // What LLVM finds here and what the runtime finds by itself must agree, or saved plans would be
  // refused where they were made.
  CHECK(machine_of(target).features == cpu::host_features());
  CHECK_NOTHROW(cpu::require_machine(machine_of(target)));
}

TEST_CASE("calls of the C library go through the import table") {
  Build b("calls", ScheduleKind::flat, {0}, 0);
  int p = b.in("x", f64), y = b.out("y", f64);
  int x = b.load(p, {1});
  b.store(y, b.prim(Prim::add, {b.prim(Prim::exp, {x}), b.prim(Prim::tanh, {x})}), {1});
  CodeImage image = compile_kernels({&b.k}, 1, host_target()).images[0];
  std::vector<std::string> symbols;
  for (const CodeImport& i : image.imports) symbols.push_back(i.symbol);
  std::sort(symbols.begin(), symbols.end());
  CHECK(symbols == std::vector<std::string>{"exp", "tanh"});
  compare(b.k, {100, 100}, 100);
}

TEST_CASE("bytes that are no object are refused with the kernel's name") {
  std::vector<char> good = object_code(rms_norm("k1", 64), host_target());
  CHECK_THROWS_WITH_AS(link_object_code({{'x', 'y'}}, {"k9"}), doctest::Contains("kernel k9"),
                       Error);
  CHECK_THROWS_WITH_AS(link_object_code({good}, {"k9"}), doctest::Contains("does not define k9"),
                       Error);
}
