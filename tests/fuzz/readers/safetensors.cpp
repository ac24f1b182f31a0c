// Safetensors files.
#include "fusec/io/safetensors.h"

#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  auto file = [](const std::string& header, size_t bytes) {
    uint64_t size = header.size();
    return std::string(reinterpret_cast<const char*>(&size), 8) + header + std::string(bytes, 'x');
  };
  return {file("{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
               "\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]},"
               "\"__metadata__\":{\"step\":\"7\"}}",
               26),
          file("{}", 0)};
}

void read_bytes(std::string_view bytes) { (void)io::parse_safetensors(bytes, "bytes"); }

}  // namespace fusec::fuzz
