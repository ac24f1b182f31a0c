// A saved plan: runs with code written by hand, and refuses every other file with a reason.
#include <doctest/doctest.h>

#include <bit>
#include <filesystem>
#include <functional>

#include "fusec/base/error.h"
#include "fusec/base/philox.h"
#include "fusec/cpu/machine.h"
#include "fusec/io/file.h"
#include "fusec/plan/plan_image.h"
#include "fusec/runtime.h"

using namespace fusec;

namespace {

constexpr int64_t kCount = 24;

// y = 0x07070707 as bits, by memset: f(args, lo, hi, n) with lo = 0.
Plan plan_of_one_kernel() {
  KernelProgram k;
  k.name = "k00_sevens";
  k.params = {{"y", f32, false, true}};
  k.extents = {0};
  KernelOp constant, store;
  constant.imm = std::bit_cast<float>(0x07070707);
  store.kind = KernelOp::Kind::store;
  store.args = {0};
  store.access = {0, 0, {1}};
  k.ops = {constant, store};
  Plan plan;
  plan.graph = "sevens";
  plan.kernels = {k};
  PlanBuffer y;
  y.name = "y";
  y.cls = BufferClass::output;
  y.type = {{kCount}, f32};
  y.offset = 0;
  plan.buffers = {y};
  plan.arena_bytes = reserved_bytes(y.type);
  PlanStep step;
  step.kernel = 0;
  step.segments = {{{{0, 0}}, kCount}};
  plan.steps = {step};
  return plan;
}

CodeImage sevens() {
  CodeImage image;
  image.code = std::string(
      "\xcc"                              // not the entry
      "\x48\x8b\x3f"                      // mov rdi, [rdi]
      "\x48\x8d\x14\x95\x00\x00\x00\x00"  // lea rdx, [rdx * 4]
      "\xbe\x07\x00\x00\x00"              // mov esi, 7
      "\xff\x25\x01\x00\x00\x00"          // jmp [rip + 1]
      "\x00"
      "\x00\x00\x00\x00\x00\x00\x00\x00",  // the slot
      32);
  image.entry = 1;
  image.alignment = 16;
  image.imports = {{24, "memset"}};
  return image;
}

Machine here() { return {"x86_64-pc-linux-gnu", "any", {}}; }
std::string file() { return plan_image_bytes(plan_of_one_kernel(), here(), {sevens()}); }

// What is said of the bytes; "" if they load.
std::string complaint(const std::string& bytes) {
  try {
    load_plan_bytes(bytes, "test.fsc", {.threads = 1});
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}
bool has(const std::string& text, const std::string& part) {
  bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}

}  // namespace

TEST_CASE("code and plan come back from their bytes, and the code runs at another address") {
  CHECK(parse_code_image(to_bytes(sevens())) == sevens());
  PlanImage image = parse_image(file());
  CHECK(image.machine == here());
  CHECK(print(image.plan) == print(plan_of_one_kernel()));
  REQUIRE(image.kernels.size() == 1);
  CHECK(image.kernels[0] == sevens());
  CHECK(image.maker.starts_with("fusec "));
#if defined(__x86_64__)
  LoadedPlan loaded = load_plan_bytes(file(), "test.fsc", {.threads = 1});
  loaded.run();
  for (float v : loaded.get<float>("y")) CHECK(std::bit_cast<uint32_t>(v) == 0x07070707);
  CHECK(loaded.profile().size() == 1);
  CHECK_THROWS_WITH_AS(loaded.get<float>("z"), doctest::Contains("no input"), Error);
#endif
}

TEST_CASE("a file is read from disk; one that is not there is an error with its path") {
  std::string path =
      (std::filesystem::temp_directory_path() / "fusec-plan-image-test.fsc").string();
  io::write_file(path, file());
  CHECK(load_plan(path, {.threads = 1}).plan().graph == "sevens");
  std::filesystem::remove(path);
  CHECK_THROWS_WITH_AS(load_plan(path), doctest::Contains(path.c_str()), Error);
}

TEST_CASE("every cut and every changed byte is noticed") {
  const std::string good = file();
  for (size_t n = 0; n < good.size(); ++n) CHECK_THROWS_AS(parse_image(good.substr(0, n)), Error);
  for (size_t i = 0; i < good.size(); ++i) {
    if (i >= 12 && i < 16) continue;  // the reserved word says nothing yet
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    CHECK_THROWS_AS(parse_image(bad), Error);
  }
  CHECK(has(complaint(good.substr(0, good.size() - 5)), "the file was cut"));
  std::string flipped = good;
  flipped[good.size() - 9] ^= 1;
  CHECK(has(complaint(flipped), "checksum is wrong"));
  CHECK(has(complaint(flipped), "while loading test.fsc"));
  std::string version = good;
  version[8] = 9;
  CHECK(has(complaint(version), "found format version 9, this runtime reads version 1"));
  CHECK(has(complaint(version), "fusec build"));
  CHECK(has(complaint("module {}"), "do not begin like a file of `fusec build`"));
  CHECK(has(complaint(""), "do not begin like"));
  std::string text_mode = good;
  text_mode.erase(4, 1);
  CHECK(has(complaint(text_mode), "line ends were changed"));
}

TEST_CASE("a body with any damage parses to a plan that verifies, or throws Error") {
  const std::string body = file().substr(32);
  int accepted = 0;
  auto attempt = [&](const std::string& bytes) {
    try {
      verify(parse_image_body(bytes).plan);
      ++accepted;
    } catch (const Error&) {
    }
  };
  for (size_t n = 0; n < body.size(); ++n) attempt(body.substr(0, n));
  CHECK(accepted == 0);
  for (size_t i = 0; i < body.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = body;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      attempt(bad);
    }
  for (uint64_t i = 0; i < 3000; ++i) {
    auto random = philox(11, i);
    std::string bad = body;
    for (int j = 0; j < 3; ++j)
      bad[random[j] % bad.size()] = static_cast<char>(random[3] >> (8 * j));
    attempt(bad);
  }
  CHECK(accepted > 0);  // names may be anything, so the cases are not all trivial
}

TEST_CASE("code that would leave its bounds, or calls what is not offered, is refused") {
  auto refused = [](const std::function<void(CodeImage&)>& change) {
    CodeImage image = sevens();
    change(image);
    CHECK_THROWS_AS(parse_code_image(to_bytes(image)), Error);
  };
  refused([](CodeImage& c) { c.entry = 32; });
  refused([](CodeImage& c) { c.alignment = 48; });
  refused([](CodeImage& c) { c.alignment = 8192; });
  refused([](CodeImage& c) { c.alignment = 0; });
  refused([](CodeImage& c) { c.imports[0].slot = 32; });
  refused([](CodeImage& c) { c.imports[0].slot = 25; });
  refused([](CodeImage& c) { c.imports[0].slot = 0xfffffff8; });
  refused([](CodeImage& c) { c.imports[0].symbol = "system"; });
  refused([](CodeImage& c) { c.code.clear(); });
  CHECK_THROWS_AS(parse_code_image(to_bytes(sevens()) + "x"), Error);
}

TEST_CASE("a plan for another machine says what is missing and what to do") {
  auto made_for = [](const Machine& m) {
    return complaint(plan_image_bytes(plan_of_one_kernel(), m, {sevens()}));
  };
  CHECK(has(made_for({"aarch64-unknown-linux-gnu", "neoverse-v2", {}}), "aarch64-unknown-linux"));
  CHECK(has(made_for({"x86_64-apple-darwin", "any", {}}), "rebuild it there with `fusec build`"));
  std::string lacks = made_for({"x86_64-pc-linux-gnu", "future", {"avx9000", "sse3"}});
  CHECK(has(lacks, "built for processor future, and this one lacks avx9000; rebuild"));
#if defined(__x86_64__)
  CHECK(made_for({"x86_64-pc-linux-gnu", "this one", cpu::host_features()}).empty());
#endif
  CHECK(has(complaint(plan_image_bytes(plan_of_one_kernel(), here(), {})),
            "code of 0 kernels, its plan has 1"));
}

TEST_CASE("plans share parameters by name") {
  Plan plan = plan_of_one_kernel();
  PlanBuffer w;
  w.name = "w";
  w.cls = BufferClass::parameter;
  w.type = {{3}, f32};
  plan.buffers.push_back(w);
  std::string bytes = plan_image_bytes(plan, here(), {sevens()});
  LoadedPlan first = load_plan_bytes(bytes, "first", {.threads = 1});
  first.set("w", std::vector<float>{1, 2, 3});
  LoadedPlan second = load_plan_bytes(bytes, "second", {.threads = 1, .share = &first});
  CHECK(second.get<float>("w") == std::vector<float>{1, 2, 3});
  second.set("w", std::vector<float>{4, 5, 6});
  CHECK(first.get<float>("w") == std::vector<float>{4, 5, 6});
}
