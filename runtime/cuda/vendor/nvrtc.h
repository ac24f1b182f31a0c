// NVRTC, the CUDA C++ compiler as a library, opened when first needed. It needs no driver.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "fusec/cuda/cuda.h"

namespace fusec::cuda {

using NvrtcProgram = struct NvrtcProgramTag*;

// Every function that is used: name, and type (all return an nvrtcResult, 0 for success, but one).
#define FUSEC_NVRTC_SYMBOLS(X)                                                                \
  X(nvrtcVersion, int(int* major, int* minor))                                                \
  X(nvrtcGetErrorString, const char*(int result))                                             \
  X(nvrtcGetNumSupportedArchs, int(int* count))                                               \
  X(nvrtcGetSupportedArchs, int(int* archs))                                                  \
  X(nvrtcCreateProgram, int(NvrtcProgram * program, const char* source, const char* name,     \
                            int headers, const char* const* texts, const char* const* names)) \
  X(nvrtcDestroyProgram, int(NvrtcProgram * program))                                         \
  X(nvrtcCompileProgram, int(NvrtcProgram program, int count, const char* const* options))    \
  X(nvrtcGetCUBINSize, int(NvrtcProgram program, size_t * size))                              \
  X(nvrtcGetCUBIN, int(NvrtcProgram program, char* cubin))                                    \
  X(nvrtcGetProgramLogSize, int(NvrtcProgram program, size_t * size))                         \
  X(nvrtcGetProgramLog, int(NvrtcProgram program, char* log))

struct Nvrtc {
#define FUSEC_MEMBER(name, ...) std::add_pointer_t<__VA_ARGS__> name = nullptr;
  FUSEC_NVRTC_SYMBOLS(FUSEC_MEMBER)
#undef FUSEC_MEMBER
  int major = 0, minor = 0;
  std::string library;  // "libnvrtc.so.13", or its path
  std::string problem;  // why nothing of it may be used; empty: all of it may

  std::string version() const { return std::to_string(major) + "." + std::to_string(minor); }
};

// The process's NVRTC, searched for once.
const Nvrtc& nvrtc();
// The same; a device Error with the names tried if there is none.
const Nvrtc& require_nvrtc();

// Whether nvrtc() has been called.
bool nvrtc_searched();

// The options that every unit is compiled with, for this architecture by that version of NVRTC.
std::vector<std::string> compile_options(const std::string& arch, const std::string& version);

// What the assembler's report (-Xptxas=-v) says of the first kernel in a compile log.
Cubin parse_assembler_report(std::string_view log);

}  // namespace fusec::cuda
