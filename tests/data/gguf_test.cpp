// GGUF: a file of another writer gives that writer's values bit by bit; every kind of damaged file
// is refused with the reason.
#include "fusec/io/gguf.h"

#include <cstring>
#include <numeric>
#include <thread>

#include "gguf_file.h"
#include "scratch.h"

using namespace fusec;
using tests::contains;
using tests::GgufFile;
using tests::raw;
using tests::raw_text;
using tests::user_error;

namespace {

std::string fixture(const char* name) { return std::string(FUSEC_GGUF_FIXTURES "/") + name; }

std::vector<float> floats_of(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

bool same_bits(const float* a, const float* b, size_t count) {
  return count == 0 || std::memcmp(a, b, count * sizeof(float)) == 0;
}

std::string refusal(const std::string& bytes) {
  return user_error([&] { io::parse_gguf(bytes, "w.gguf"); });
}

void check_refused(const std::string& bytes, const std::string& reason) {
  const std::string message = refusal(bytes);
  CHECK(contains(message, "w.gguf is not a sound GGUF file: "));
  CHECK(contains(message, reason));
}

// Two small tensors and an alignment of 8.
GgufFile sample() {
  GgufFile file;
  file.alignment = 8;
  file.key("general.alignment", 4, raw<uint32_t>(8)).key("b", 7, raw<uint8_t>(1));
  file.array("words", 8, 2, raw_text("one") + raw_text("two"));
  file.array(
      "deep", 9, 2,
      raw<uint32_t>(4) + raw<uint64_t>(1) + raw<uint32_t>(7) + raw<uint32_t>(0) + raw<uint64_t>(0));
  file.tensor("a", {3, 2}, 0, std::string(24, 'x')).tensor("q", {32}, 8, std::string(34, 'y'));
  return file.tensor("half", {3}, 1, std::string(6, 'z'));
}

}  // namespace

TEST_CASE("gguf: each format has the values of the reference, whole and by rows") {
  const io::GgufReader file(fixture("formats.gguf"));
  const std::vector<float> expected = floats_of(io::read_file(fixture("formats.f32")));
  CHECK(file.header().version == 3);
  size_t at = 0;
  std::vector<std::string> names;
  for (const io::GgufTensor& tensor : file.header().tensors) {
    CAPTURE(tensor.name);
    names.push_back(tensor.format->name);
    CHECK(tensor.name.ends_with("." + names.back()));
    const std::vector<float> values = file.read(tensor.name);
    REQUIRE(at + values.size() <= expected.size());
    CHECK(same_bits(values.data(), expected.data() + at, values.size()));
    const auto row = static_cast<size_t>(tensor.row());
    for (int64_t r = 0; r < tensor.rows(); ++r) {
      std::vector<float> one(row + 1, -7);
      file.read_into(tensor, r, 1, one.data());
      CHECK(same_bits(one.data(), values.data() + static_cast<size_t>(r) * row, row));
      CHECK(one[row] == -7);
    }
    at += values.size();
  }
  CHECK(at == expected.size());
  CHECK(names == std::vector<std::string>{"f32", "f16", "f64", "bf16", "q4_0", "q4_1", "q5_0",
                                          "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k",
                                          "mxfp4"});
  CHECK(file.tensor("plain.f16").shape == Shape{2, 3, 5});
  CHECK(file.tensor("blocks.q4_0").shape == Shape{3, 64});
}

TEST_CASE("gguf: each type of metadata, by key") {
  const io::GgufReader file(fixture("formats.gguf"));
  const io::GgufMetadata& m = file.header().metadata;
  CHECK(m.text("general.architecture") == "llama");
  CHECK(m.integer("n.u8") == 255);
  CHECK(m.integer("n.i8") == -128);
  CHECK(m.integer("n.u16") == 65535);
  CHECK(m.integer("n.i16") == -32768);
  CHECK(m.integer("n.u32") == 4294967295);
  CHECK(m.integer("n.i32") == -2147483648LL);
  CHECK(std::get<uint64_t>(m.at("n.u64").data) == UINT64_MAX);
  CHECK(m.integer("n.i64") == INT64_MIN);
  CHECK(m.number("n.f32") == double{0.1f});
  CHECK(m.number("n.f64") == 0.1);
  CHECK(m.number("n.i8") == -128);
  CHECK(m.number("n.u8") == 255);
  CHECK(m.flag("n.bool"));
  CHECK(m.text("n.text") == "h\u00e9llo \U0001f600");
  CHECK(m.texts("a.texts") == std::vector<std::string>{"a", "", "b\u00e9"});
  CHECK(m.integers("a.i32") == std::vector<int64_t>{1, -2, 3});
  CHECK(m.integers("a.u8") == std::vector<int64_t>{0, 255});
  CHECK(m.numbers("a.f32") == std::vector<double>{0.5, -1.5});
  CHECK(m.numbers("a.i32") == std::vector<double>{1, -2, 3});
  CHECK(m.numbers("a.u8") == std::vector<double>{0, 255});
  CHECK(std::get<std::vector<bool>>(m.at("a.bool").data) == std::vector<bool>{true, false, true});
  const auto& nested = std::get<std::vector<io::GgufValue>>(m.at("a.nested").data);
  REQUIRE(nested.size() == 2);
  CHECK(std::get<std::vector<int64_t>>(nested[0].data) == std::vector<int64_t>{1, 2});
  CHECK(std::get<std::vector<int64_t>>(nested[1].data) == std::vector<int64_t>{3});

  CHECK(m.has("n.u8"));
  CHECK(!m.has("n.u9"));
  CHECK(contains(user_error([&] { m.integer("n.u9"); }), "no metadata \"n.u9\"; did you mean"));
  CHECK(contains(user_error([&] { m.text("n.u8"); }),
                 "metadata \"n.u8\" is the integer 255, expected a string"));
  CHECK(contains(user_error([&] { m.integer("n.u64"); }), "is the integer 18446744073709551615"));
  CHECK(contains(user_error([&] { m.number("n.bool"); }), "is the flag true, expected a number"));
  CHECK(contains(user_error([&] { m.integers("a.texts"); }), "is an array of 3 strings"));
  CHECK(contains(user_error([&] { m.flag("n.f64"); }), "is the float 0.1"));
  CHECK(contains(user_error([&] { m.texts("a.nested"); }), "is an array of 2 arrays"));
}

TEST_CASE("gguf: version 2, an alignment of its own, scalars and empty tensors") {
  GgufFile made = sample();
  made.version = 2;
  made.tensor("scalar", {}, 0, raw(2.5f)).tensor("none", {32, 0, 5}, 8, "");
  tests::Scratch scratch;
  const io::GgufReader file(scratch.file("a.gguf", made.bytes()));
  CHECK(file.header().version == 2);
  CHECK(file.tensor("a").shape == Shape{2, 3});
  CHECK(file.tensor("a").offset % 8 == 0);
  CHECK(file.tensor("a").rows() == 2);
  CHECK(file.tensor("a").row() == 3);
  CHECK(file.tensor("scalar").shape == Shape{});
  CHECK(file.read("scalar") == std::vector<float>{2.5f});
  CHECK(file.tensor("none").shape == Shape{5, 0, 32});
  CHECK(file.read("none").empty());
  CHECK(contains(user_error([&] { file.read("scalars"); }), "did you mean \"scalar\"?"));
  const auto internal = [&](int64_t first, int64_t rows) {
    float out[16];
    CHECK_THROWS_WITH_AS(file.read_into(file.tensor("a"), first, rows, out),
                         doctest::Contains("of 2"), Error);
  };
  internal(1, 2);
  internal(-1, 1);
  internal(0, -1);
  internal(3, 0);
}

TEST_CASE("gguf: a tensor larger than a piece, by several threads at once") {
  constexpr int64_t kRows = 700, kRow = 288;  // 9 blocks a row, so pieces end inside rows
  std::string bytes;
  std::vector<float> expected;
  for (int64_t block = 0; block < kRows * kRow / 32; ++block) {
    bytes += raw<uint16_t>(0x3c00);  // 1.0
    for (int j = 0; j < 32; ++j) {
      const auto value = static_cast<int8_t>((block * 37 + j * 5) % 251 - 125);
      bytes += static_cast<char>(value);
      expected.push_back(value);
    }
  }
  // Three pieces of a q8_0 tensor in blocks of 34 bytes do not divide it evenly.
  std::string wide;
  while (wide.size() < 600'000) wide += bytes;
  const uint64_t rows = wide.size() / bytes.size() * kRows;
  tests::Scratch scratch;
  const std::string path =
      scratch.file("a.gguf", GgufFile().tensor("t", {kRow, rows}, 8, wide).bytes());
  const io::GgufReader file(path);
  const std::vector<float> values = file.read("t");
  REQUIRE(values.size() == rows * kRow);
  for (size_t i = 0; i < values.size(); i += expected.size())
    CHECK(same_bits(values.data() + i, expected.data(), expected.size()));
  std::vector<float> shared(values.size());
  std::vector<std::thread> threads;
  constexpr int64_t kThreads = 3;
  const auto all = static_cast<int64_t>(rows);
  for (int64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const int64_t first = all * t / kThreads, end = all * (t + 1) / kThreads;
      file.read_into(file.tensor("t"), first, end - first, shared.data() + first * kRow);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(shared == values);
}

TEST_CASE("gguf: a missing tensor of a file that is a part of a model says so") {
  tests::Scratch scratch;
  GgufFile part;
  part.key("split.no", 2, raw<uint16_t>(1)).key("split.count", 2, raw<uint16_t>(3));
  const io::GgufReader file(scratch.file("a.gguf", part.bytes()));
  CHECK(contains(user_error([&] { file.read("t"); }), "a.gguf (it is part 1 of 3, from 0): no"));
}

TEST_CASE("gguf: formats that are listed but not read spoil no other tensor") {
  tests::Scratch scratch;
  const io::GgufReader file(
      scratch.file("a.gguf", GgufFile()
                                 .tensor("iq", {256}, 16, std::string(66, 'i'))
                                 .tensor("a", {1}, 0, raw(1.5f))
                                 .bytes()));
  CHECK(file.read("a") == std::vector<float>{1.5f});
  CHECK_THROWS_WITH_AS(
      file.read("iq"),
      doctest::Contains(
          "tensor \"iq\" is stored as iq2_xxs, which is not read; expected one of f32"),
      Error);
}

TEST_CASE("gguf: damaged headers are refused with the reason") {
  const std::string good = sample().bytes();
  CHECK(io::parse_gguf(good, "w").tensors.size() == 3);
  check_refused("", "the word GGUF needs at least 1 x 4 bytes, but 0 are left of its 0");
  check_refused("GGML" + good.substr(4), "does not begin with the word GGUF");
  auto version = [&](uint32_t v) { return "GGUF" + raw(v) + good.substr(8); };
  check_refused(version(1), "it has version 1, expected 2 or 3");
  check_refused(version(4), "it has version 4, expected 2 or 3");
  check_refused(version(0x03000000), "it is big-endian");

  GgufFile many = sample();
  many.extra_keys = uint64_t{1} << 60;
  check_refused(many.bytes(), "metadata of 1152921504606846980 keys needs at least");
  many = sample();
  many.extra_tensors = UINT64_MAX - 3;
  check_refused(many.bytes(), "a list of 18446744073709551615 tensors needs at least");
  check_refused(GgufFile().key("a", 8, raw(UINT64_MAX) + "abc").bytes(),
                "metadata \"a\" needs at least 18446744073709551615 x 1 bytes");
  check_refused(GgufFile().array("a", 10, uint64_t{1} << 61, "").bytes(),
                "metadata \"a\" needs at least 2305843009213693952 x 8 bytes");
  check_refused(GgufFile().array("a", 9, 1000, std::string(4000, '\0')).bytes(), "1000 x 12 bytes");
  check_refused(GgufFile().key("a", 13, "").bytes(), "metadata \"a\" has unknown type 13");
  check_refused(GgufFile().array("a", 13, 1, "").bytes(), "an array of unknown type 13");
  check_refused(GgufFile().key("a", 7, raw<uint8_t>(2)).bytes(), "a bool of 2, expected 0 or 1");
  check_refused(GgufFile().array("a", 7, 1, raw<uint8_t>(9)).bytes(), "a bool of 9");
  check_refused(GgufFile().key("", 7, raw<uint8_t>(1)).bytes(), "metadata key 0 has 0 bytes");
  check_refused(GgufFile().key("\xff", 7, raw<uint8_t>(1)).bytes(), "expected UTF-8 of 1 to 65535");
  check_refused(GgufFile().key(std::string(65536, 'k'), 7, raw<uint8_t>(1)).bytes(), "65536 bytes");
  check_refused(GgufFile().key("k", 0, "1").key("k", 0, "1").bytes(), "\"k\" stands twice");
  std::string nested = raw<uint32_t>(0) + raw<uint64_t>(0);
  for (int i = 0; i < 4; ++i) nested = raw<uint32_t>(9) + raw<uint64_t>(1) + nested;
  check_refused(GgufFile().key("a", 9, nested).bytes(), "more than 4 arrays inside each other");
  const std::string key(60000, 'n');
  CHECK(refusal(GgufFile().key(key, 99, "").bytes()).size() < 400);

  for (const std::string& value : {raw<uint32_t>(0), raw<uint32_t>(24), raw<uint32_t>(UINT32_MAX)})
    check_refused(GgufFile().key("general.alignment", 4, value).bytes(), "expected a power of two");
  check_refused(GgufFile().key("general.alignment", 8, raw_text("8")).bytes(),
                "general.alignment is a string, expected a power of two");
}

TEST_CASE("gguf: tensors that do not fit their file are refused with the reason") {
  const std::string four(4, 'f');
  check_refused(GgufFile().tensor("t", {1}, 0, four).tensor("t", {1}, 0, four).bytes(),
                "tensor \"t\" stands twice");
  check_refused(GgufFile().tensor("", {1}, 0, four).bytes(), "the name of tensor 0 has 0 bytes");
  check_refused(GgufFile().tensor("t", {1, 1, 1, 1, 1}, 0, four).bytes(),
                "has 5 dimensions, expected at most 4");
  check_refused(GgufFile().tensor("t", {1}, 77, four).bytes(),
                "tensor \"t\" has unknown format 77 (read: f32, f16,");
  check_refused(GgufFile().tensor("t", {33}, 2, std::string(36, 'b')).bytes(),
                "has rows of 33, expected a multiple of q4_0's 32");
  check_refused(GgufFile().tensor("t", {}, 2, std::string(18, 'b')).bytes(), "has rows of 1,");
  check_refused(GgufFile().tensor("t", {UINT64_MAX}, 0, four).bytes(),
                "has a dimension of 18446744073709551615");
  check_refused(GgufFile().tensor("t", {uint64_t{1} << 40, uint64_t{1} << 40}, 0, four).bytes(),
                "has an impossible shape");
  check_refused(GgufFile().tensor("t", {0, uint64_t{1} << 46, uint64_t{1} << 46}, 0, "").bytes(),
                "has an impossible shape");
  check_refused(GgufFile().tensor("t", {2}, 0, four).bytes(), "tensor \"t\" of 8 bytes at ");
  check_refused(GgufFile().tensor("t", {1}, 0, four, 32).bytes(), "passes the end of its");
  check_refused(GgufFile().tensor("t", {1}, 0, four, UINT64_MAX - 31).bytes(), "passes the end");
  check_refused(GgufFile().tensor("t", {1}, 0, four + four, 4).bytes(),
                "begins at 4, expected a multiple of the alignment 32");
  check_refused(GgufFile()
                    .tensor("t", {9}, 0, std::string(36, 'a'))
                    .tensor("u", {1}, 0, four, uint64_t{0} - 32)
                    .bytes(),
                "tensors \"t\" and \"u\" overlap");
}

TEST_CASE("gguf: any change of any byte is read or refused, and nothing else") {
  tests::for_each_mutation(sample().bytes(), [](const std::string& bytes) {
    for (const io::GgufTensor& t : io::parse_gguf(bytes, "a").tensors) {
      CHECK(t.bytes() <= bytes.size());
      CHECK((t.bytes() == 0 || t.offset <= bytes.size() - t.bytes()));
    }
  });
}

TEST_CASE("gguf: a file that is missing, a folder, or shortened while open") {
  tests::Scratch scratch;
  CHECK(contains(user_error([&] { io::GgufReader(scratch / "none"); }), "none: cannot be read"));
  CHECK(contains(user_error([&] { io::GgufReader(scratch / "."); }), "expected a .gguf file"));
  const std::string bytes = sample().bytes(), path = scratch.file("a.gguf", bytes);
  const io::GgufReader file(path);
  CHECK(file.read("half").size() == 3);
  std::filesystem::resize_file(path, bytes.size() - 4);
  CHECK(contains(user_error([&] { file.read("half"); }), "became shorter while it was read"));
  CHECK(contains(user_error([&] { io::GgufReader again(path); }), "tensor \"half\" of 6 bytes"));
}
