// The same readers for libFuzzer.
#include <cstddef>
#include <cstdint>

#include "fusec/base/error.h"
#include "reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    fusec::fuzz::read_bytes({reinterpret_cast<const char*>(data), size});
  } catch (const fusec::Error&) {
  }
  return 0;
}
