// Safetensors: round trip, and every kind of damaged file is refused.
#include "fusec/io/safetensors.h"

#include <cstring>

#include "scratch.h"

using namespace fusec;
using tests::contains;
using tests::user_error;

namespace {

// A file with this header and payload.
std::string file_of(const std::string& header, const std::string& payload) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i));
  return bytes + header + payload;
}

void check_refused(const std::string& bytes, const char* reason) {
  const std::string message = user_error([&] { io::parse_safetensors(bytes, "w.safetensors"); });
  CHECK(contains(message, "w.safetensors is not a sound safetensors file"));
  CHECK(contains(message, reason));
}

struct Sample {
  std::vector<io::NamedType> types = {{"b.weight", {{2, 3}, f32}},
                                      {"a", {{}, bf16}},
                                      {"empty", {{0, 4}, i32}},
                                      {"c", {{5}, u8}},
                                      {"d", {{3}, f8e4m3}}};
  std::vector<std::string> bytes = {std::string(24, 'x'), "yz", "", "12345", "678"};
  std::map<std::string, std::string> metadata = {{"steps", "7"}, {"note", "\"é\"\n"}};

  void write(const std::string& path, bool durable = false) const {
    io::write_safetensors(
        path, types, metadata, [&](size_t i) -> std::string_view { return bytes[i]; }, durable);
  }
};

}  // namespace

TEST_CASE("safetensors: round trip, aligned, the same bytes each time") {
  tests::Scratch scratch;
  const Sample sample;
  sample.write(scratch / "a");
  sample.write(scratch / "b", true);
  const std::string bytes = io::read_file(scratch / "a");
  CHECK(bytes == io::read_file(scratch / "b"));
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  CHECK((8 + header) % 8 == 0);

  const io::SafetensorsReader file(scratch / "a");
  CHECK(file.header().metadata == sample.metadata);
  REQUIRE(file.header().tensors.size() == 5);
  for (size_t i = 0; i < 5; ++i) {
    auto it = std::find_if(file.header().tensors.begin(), file.header().tensors.end(),
                           [&](const auto& t) { return t.name == sample.types[i].name; });
    REQUIRE(it != file.header().tensors.end());
    CHECK(it->type == sample.types[i].type);
    CHECK(file.read(*it) == sample.bytes[i]);
    CHECK(bytes.substr(it->offset, sample.bytes[i].size()) == sample.bytes[i]);
  }
}

TEST_CASE("safetensors: any change of any byte is read or refused, and nothing else") {
  tests::Scratch scratch;
  Sample().write(scratch / "a");
  tests::for_each_mutation(io::read_file(scratch / "a"), [](const std::string& bytes) {
    const io::SafetensorsHeader header = io::parse_safetensors(bytes, "a");
    for (const io::TensorEntry& t : header.tensors) {
      CHECK(t.offset + static_cast<uint64_t>(t.type.bytes()) <= bytes.size());
    }
  });
}

TEST_CASE("safetensors: damaged files are refused with the reason") {
  auto entry = [](const char* type, const char* shape, const char* offsets) {
    return std::string("\"t\":{\"dtype\":\"") + type + "\",\"shape\":" + shape +
           ",\"data_offsets\":" + offsets + "}";
  };
  const std::string data(8, '\0');
  check_refused("abc", "it has 3 bytes");
  check_refused(file_of("{}", "").replace(0, 1, 1, '\x7f'), "its header claims 127 bytes of 10");
  check_refused(std::string(8, '\xff') + "{}", "its header claims 18446744073709551615 bytes");
  check_refused(file_of("{\"t\":", data), "does not parse");
  check_refused(file_of("[]", ""), "its header is an empty array");
  check_refused(file_of("{\"t\":{\"dtype\":\"F32\"}}", data), "has no \"shape\"");
  check_refused(file_of("{\"t\":3}", data), "tensor \"t\" is a number");
  check_refused(file_of("{" + entry("F31", "[2]", "[0,8]") + "}", data),
                "unknown element type \"F31\" (known: F64, F32");
  check_refused(
      file_of("{" + entry("F32", "[2]", "[0,8]") + "," + entry("F32", "[2]", "[0,8]") + "}", data),
      "key \"t\" stands twice");
  check_refused(file_of("{" + entry("F32", "[3]", "[0,8]") + "}", data), "needs 12 bytes, found 8");
  check_refused(file_of("{" + entry("F32", "[3]", "[0,12]") + "}", data), "lies outside");
  check_refused(file_of("{" + entry("F32", "[1]", "[4,8]") + "}", data), "overlap or leave a gap");
  check_refused(file_of("{" + entry("F32", "[1]", "[0,4]") + "}", data), "no tensor owns");
  check_refused(file_of("{" + entry("F32", "[-2]", "[0,8]") + "}", data),
                "expected a whole number");
  check_refused(file_of("{" + entry("F32", "[2.0]", "[0,8]") + "}", data),
                "expected a whole number");
  check_refused(file_of("{" + entry("F32", "[4611686018427387904,4]", "[0,8]") + "}", data),
                "impossible shape");
  check_refused(file_of("{" + entry("F32", "[[[2]]]", "[0,8]") + "}", data), "inside each other");
  check_refused(file_of("{\"__metadata__\":{\"a\":1}}", ""), "metadata \"a\" is a number");
  const std::string name(100000, 'n');
  CHECK(user_error([&] {
          io::parse_safetensors(file_of("{\"" + name + "\":3}", ""), "w");
        }).size() < 400);
}

TEST_CASE("safetensors: a file that is missing, cut, a folder, or shortened while open") {
  tests::Scratch scratch;
  CHECK(contains(user_error([&] { io::SafetensorsReader(scratch / "none"); }), "none: cannot be"));
  CHECK(contains(user_error([&] { io::SafetensorsReader(scratch / "."); }), "not a plain file"));
  Sample().write(scratch / "a");
  const std::string bytes = io::read_file(scratch / "a");
  for (size_t cut : {size_t{1}, size_t{10}, bytes.size() - 9}) {
    const std::string path = scratch.file("cut", bytes.substr(0, bytes.size() - cut));
    CHECK(contains(user_error([&] { io::SafetensorsReader reader(path); }), "not a sound"));
  }
  io::SafetensorsReader reader(scratch / "a");
  std::filesystem::resize_file(scratch / "a", bytes.size() - 4);
  CHECK(contains(user_error([&] { reader.read(reader.header().tensors.back()); }), "shorter"));
}

TEST_CASE("safetensors: a disk that is full half-way leaves the old file") {
  tests::Scratch scratch;
  Sample sample;
  sample.write(scratch / "a");
  const std::string before = io::read_file(scratch / "a");
  // As a writer that fails: the bytes of the last tensor cannot be had.
  CHECK_THROWS_AS(io::write_safetensors(scratch / "a", sample.types, {},
                                        [&](size_t i) -> std::string_view {
                                          if (i == 3) fail_user("no space");
                                          return sample.bytes[i];
                                        }),
                  Error);
  CHECK(io::read_file(scratch / "a") == before);
  CHECK(std::distance(std::filesystem::directory_iterator(scratch / "."), {}) == 1);
}
