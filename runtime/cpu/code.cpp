// Code images -> callable functions: all kernels of a plan in one mapping, written first and made
// executable after, never both at once.
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fusec/base/error.h"
#include "fusec/cpu/cpu.h"

// Declared under names of our own: the real ones have other types, and all that is wanted is where
// they begin.
extern "C" {
#define FUSEC_IMPORT(symbol) void fusec_import_##symbol() __asm__(#symbol);
#include "fusec/plan/imports.def"
}

namespace fusec::cpu {
namespace {

uint64_t address_of(const std::string& symbol) {
  static constexpr struct {
    const char* name;
    void (*address)();
  } kImports[] = {
#define FUSEC_IMPORT(symbol) {#symbol, fusec_import_##symbol},
#include "fusec/plan/imports.def"
  };
  for (const auto& import : kImports)
    if (symbol == import.name) return reinterpret_cast<uint64_t>(import.address);
  fail_internal("a kernel calls " + symbol + ", which runtime/plan's imports.def does not list");
}

struct Mapping {
  std::byte* base = nullptr;
  size_t bytes = 0;
  ~Mapping() {
    if (base) munmap(base, bytes);
  }
};

}  // namespace

KernelImages map_kernels(const std::vector<CodeImage>& images) {
  if (images.empty()) return {};
  constexpr size_t kLine = 64;  // no two kernels share a cache line
  std::vector<size_t> at;
  size_t end = kLine;  // checked builds look at the bytes before a function that they call
  for (const CodeImage& image : images) {
    size_t align = std::max<size_t>(kLine, image.alignment);
    at.push_back((end + align - 1) / align * align);
    end = at.back() + image.code.size();
  }
  auto mapping = std::make_shared<Mapping>();
  void* base = mmap(nullptr, end, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED)
    fail_device("could not map " + std::to_string(end) + " bytes for the code of " +
                std::to_string(images.size()) + " kernels: " + std::strerror(errno));
  mapping->base = static_cast<std::byte*>(base);
  mapping->bytes = end;
  constexpr int kTrap = 0xcc;  // int3 between the kernels
  std::memset(base, kTrap, end);
  KernelImages out;
  for (size_t i = 0; i < images.size(); ++i) {
    std::byte* to = mapping->base + at[i];
    std::memcpy(to, images[i].code.data(), images[i].code.size());
    for (const CodeImport& import : images[i].imports) {
      uint64_t address = address_of(import.symbol);
      std::memcpy(to + import.slot, &address, sizeof address);
    }
    out.functions.push_back(reinterpret_cast<KernelFn>(to + images[i].entry));
  }
  if (mprotect(base, end, PROT_READ | PROT_EXEC) != 0)
    fail_device(std::string("the system refuses executable memory for generated kernels: ") +
                std::strerror(errno) +
                "; Fusec's CPU device needs it (SELinux: the boolean or permission execmem)");
  __builtin___clear_cache(static_cast<char*>(base), static_cast<char*>(base) + end);
  out.owner = mapping;
  return out;
}

}  // namespace fusec::cpu
