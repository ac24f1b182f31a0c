// Safetensors: round trip, and every kind of damaged file is refused.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "fusec/io/file.h"
#include "fusec/models/checkpoint.h"

namespace fusec::models {
namespace {

std::string temporary(const char* name) {
  return (std::filesystem::temp_directory_path() / name).string();
}

// A file with this header and payload.
std::string file_of(const std::string& header, const std::string& payload) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i));
  return bytes + header + payload;
}

void check_refused(const std::string& bytes, const char* reason) {
  CAPTURE(reason);
  std::string path = temporary("fusec_damaged.safetensors");
  io::write_file(path, bytes);
  CHECK_THROWS_WITH_AS(read_safetensors(path), doctest::Contains(reason), Error);
  std::filesystem::remove(path);
}

TEST_CASE("safetensors round trip") {
  std::string path = temporary("fusec_round.safetensors");
  Checkpoint out;
  out.tensors.push_back({"b.weight", {{2, 3}, f32}, std::string(24, 'x')});
  out.tensors.push_back({"a", {{}, bf16}, "yz"});
  out.tensors.push_back({"empty", {{0, 4}, i32}, ""});
  out.metadata = {{"steps", "7"}};
  write_safetensors(path, out);
  Checkpoint in = read_safetensors(path);
  CHECK(in.metadata == out.metadata);
  REQUIRE(in.tensors.size() == 3);
  for (const NamedTensor& t : out.tensors) {
    auto it = std::find_if(in.tensors.begin(), in.tensors.end(),
                           [&](const NamedTensor& other) { return other.name == t.name; });
    REQUIRE(it != in.tensors.end());
    CHECK(it->type == t.type);
    CHECK(it->data == t.data);
  }
  std::string bytes = io::read_file(path);
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  CHECK((8 + header) % 8 == 0);

  for (size_t cut : {size_t{1}, size_t{10}, bytes.size() - 9}) {
    check_refused(bytes.substr(0, bytes.size() - cut), "not a sound safetensors file");
  }
  std::filesystem::remove(path);
}

TEST_CASE("damaged files are refused with the reason") {
  auto entry = [](const char* type, const char* shape, const char* offsets) {
    return std::string("\"t\":{\"dtype\":\"") + type + "\",\"shape\":" + shape +
           ",\"data_offsets\":" + offsets + "}";
  };
  std::string data(8, '\0');
  check_refused("abc", "it has 3 bytes");
  check_refused(file_of("{}", "").replace(0, 1, 1, '\x7f'), "its header claims 127 bytes");
  check_refused(file_of("{\"t\":", data), "does not parse");
  check_refused(file_of("{\"t\":{\"dtype\":\"F32\"}}", data), "does not parse");
  check_refused(file_of("{" + entry("F31", "[2]", "[0,8]") + "}", data),
                "unknown element type F31");
  check_refused(file_of("{" + entry("F32", "[3]", "[0,8]") + "}", data), "needs 12 bytes, found 8");
  check_refused(file_of("{" + entry("F32", "[3]", "[0,12]") + "}", data), "lies outside");
  check_refused(file_of("{" + entry("F32", "[1]", "[4,8]") + "}", data), "overlap or leave a gap");
  check_refused(file_of("{" + entry("F32", "[1]", "[0,4]") + "}", data), "no tensor owns");
  check_refused(file_of("{" + entry("F32", "[-2]", "[0,8]") + "}", data), "impossible shape");
  check_refused(file_of("{" + entry("F32", "[4611686018427387904,4]", "[0,8]") + "}", data),
                "impossible shape");
}

TEST_CASE("a missing file is a user error that names it") {
  CHECK_THROWS_WITH_AS(read_safetensors("/nonexistent/w.safetensors"),
                       doctest::Contains("/nonexistent/w.safetensors"), Error);
}

}  // namespace
}  // namespace fusec::models
