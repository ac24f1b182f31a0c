// CUDA C++ text -> machine code of one architecture (a cubin, never PTX: the driver then has
// nothing left to compile). Generated text includes nothing, so no header of the toolkit is looked
// for.
#include "vendor/nvrtc.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <optional>

#include "fusec/base/error.h"
#include "vendor/library_search.h"

namespace fusec::cuda {
namespace {

constexpr int kInvalidOption = 5;  // NVRTC_ERROR_INVALID_OPTION
constexpr size_t kMostLog = 6000;  // characters of a log in an Error

std::atomic<bool> searched = false;

Nvrtc open() {
  searched = true;
  Nvrtc n;
  OpenLibrary library = open_toolkit_library({"libnvrtc.so.13", "libnvrtc.so.12"});
  n.library = library.name;
  n.problem = library.problem;
  if (!library.handle) return n;
#define FUSEC_BIND(symbol, ...)                                                    \
  n.symbol = reinterpret_cast<decltype(n.symbol)>(dlsym(library.handle, #symbol)); \
  if (!n.symbol && n.problem.empty()) n.problem = library.name + " exports no " #symbol;
  FUSEC_NVRTC_SYMBOLS(FUSEC_BIND)
#undef FUSEC_BIND
  if (!n.problem.empty()) return n;
  if (n.nvrtcVersion(&n.major, &n.minor) != 0) {
    n.problem = n.library + " does not tell its version";
    return n;
  }
  // A compile opens this by its bare name, which the loader knows only where the toolkit is in its
  // search path. What is open already is found by that name anywhere. Where this fails the compile
  // tries by itself, and its error says the rest.
  std::string folder = folder_of(reinterpret_cast<const void*>(n.nvrtcVersion));
  dlopen((folder + "/libnvrtc-builtins.so." + n.version()).c_str(), RTLD_NOW | RTLD_LOCAL);
  return n;
}

class ProgramHandle {
 public:
  ProgramHandle(const Nvrtc& n, const std::string& source) : n_(n) {
    // Always one name, so that the code depends on the text alone.
    result_ = n.nvrtcCreateProgram(&program_, source.c_str(), "kernel.cu", 0, nullptr, nullptr);
  }
  ~ProgramHandle() {
    if (program_) n_.nvrtcDestroyProgram(&program_);
  }
  ProgramHandle(const ProgramHandle&) = delete;
  NvrtcProgram get() const { return program_; }
  int result() const { return result_; }

  std::string log() const {
    size_t size = 0;
    if (n_.nvrtcGetProgramLogSize(program_, &size) != 0 || size <= 1) return "";
    std::string text(size, '\0');
    if (n_.nvrtcGetProgramLog(program_, text.data()) != 0) return "";
    text.resize(text.find('\0'));
    return text;
  }

 private:
  const Nvrtc& n_;
  NvrtcProgram program_ = nullptr;
  int result_ = 0;
};

std::string supported_archs(const Nvrtc& n) {
  int count = 0;
  if (n.nvrtcGetNumSupportedArchs(&count) != 0 || count <= 0) return "none that it names";
  std::vector<int> archs(count);
  if (n.nvrtcGetSupportedArchs(archs.data()) != 0) return "none that it names";
  std::string out;
  for (int arch : archs) out += (out.empty() ? "sm_" : ", sm_") + std::to_string(arch);
  return out;
}

// The lines of a source that a log speaks of: "kernel.cu(12): error: ...".
std::string quoted_lines(const std::string& source, const std::string& log) {
  constexpr std::string_view kPlace = "kernel.cu(";
  constexpr int kMost = 5;
  std::vector<int64_t> wanted;
  for (size_t at = log.find(kPlace); at != std::string::npos && wanted.size() < kMost;
       at = log.find(kPlace, at + 1)) {
    int64_t line = 0;
    const char* digits = log.data() + at + kPlace.size();
    std::from_chars(digits, log.data() + log.size(), line);
    if (line > 0 && std::find(wanted.begin(), wanted.end(), line) == wanted.end())
      wanted.push_back(line);
  }
  std::string out;
  for (int64_t line : wanted) {
    size_t begin = 0;
    for (int64_t i = 1; i < line && begin != std::string::npos; ++i) {
      begin = source.find('\n', begin);
      if (begin != std::string::npos) ++begin;
    }
    if (begin == std::string::npos) continue;
    out += "\n" + std::to_string(line) + " | " +
           source.substr(begin, source.find('\n', begin) - begin);
  }
  return out;
}

[[noreturn]] void fail_compile(const Nvrtc& n, int result, const std::string& name,
                               const std::string& arch, const std::string& source,
                               std::string log) {
  std::string status = n.nvrtcGetErrorString(result);
  while (log.ends_with('\n')) log.pop_back();
  if (result == kInvalidOption)
    fail_device("NVRTC " + n.version() + " (" + n.library + ") refuses to compile for " + arch +
                ": " + (log.empty() ? status : log) + "; it knows " + supported_archs(n) +
                ". A newer CUDA toolkit may know this GPU");
  if (log.size() > kMostLog) log = log.substr(0, kMostLog) + "\n...";
  std::string text = "NVRTC " + n.version() + " does not compile " + name + " for " + arch + " (" +
                     status + ")" + (log.empty() ? "" : ":\n" + log) + quoted_lines(source, log);
  // NVRTC_ERROR_BUILTIN_OPERATION_FAILURE and out of memory are the machine's, all else is ours.
  if (result == 7 || result == 1)
    fail_device(text + "; is libnvrtc-builtins.so." + n.version() + " beside " + n.library + "?");
  fail_internal(text);
}

std::optional<int> number_before(std::string_view line, std::string_view unit) {
  size_t end = line.find(unit);
  if (end == std::string_view::npos) return std::nullopt;
  size_t begin = end;
  while (begin > 0 && line[begin - 1] >= '0' && line[begin - 1] <= '9') --begin;
  int value = 0;
  if (std::from_chars(line.data() + begin, line.data() + end, value).ec != std::errc())
    return std::nullopt;
  return value;
}

}  // namespace

const Nvrtc& nvrtc() {
  static const Nvrtc library = open();
  return library;
}

const Nvrtc& require_nvrtc() {
  const Nvrtc& n = nvrtc();
  if (!n.problem.empty())
    fail_device("kernels for a GPU are compiled by NVRTC, which cannot be used: " + n.problem);
  return n;
}

bool nvrtc_searched() { return searched; }

std::vector<std::string> compile_options(const std::string& arch, const std::string& version) {
  int major = 0, minor = 0;
  const char* end = version.data() + version.size();
  auto [dot, failure] = std::from_chars(version.data(), end, major);
  if (failure == std::errc() && dot != end) std::from_chars(dot + 1, end, minor);
  std::vector<std::string> options = {
      "-arch=" + arch, "--std=c++17",
      "--modify-stack-limit=false",  // else each compile changes the limit of the whole process
      "-Xptxas=-v"};
  // Its own cache would open the driver inside a compile.
  if (major > 12 || (major == 12 && minor >= 9)) options.push_back("--no-cache");
  return options;
}

Cubin parse_assembler_report(std::string_view log) {
  Cubin out;
  out.serialized = log.find("(C75") != std::string_view::npos;
  bool known = false;
  for (size_t at = 0; at < log.size();) {
    size_t end = std::min(log.find('\n', at), log.size());
    std::string_view line = log.substr(at, end - at);
    at = end + 1;
    if (std::optional<int> stack = number_before(line, " bytes stack frame")) {
      if (known) break;  // a second kernel
      out.stack_bytes = *stack;
      out.spill_bytes = number_before(line, " bytes spill stores").value_or(0);
    }
    if (std::optional<int> registers = number_before(line, " registers")) {
      if (known) break;
      known = true;
      out.registers = *registers;
      out.shared_bytes = number_before(line, " bytes smem").value_or(0);
    }
  }
  return out;
}

Cubin compile_source(const std::string& source, const std::string& name, const std::string& arch) {
  const Nvrtc& n = require_nvrtc();
  ProgramHandle program(n, source);
  if (program.result() != 0) fail_compile(n, program.result(), name, arch, source, "");
  std::vector<std::string> options = compile_options(arch, n.version());
  std::vector<const char*> pointers;
  for (const std::string& option : options) pointers.push_back(option.c_str());
  int result =
      n.nvrtcCompileProgram(program.get(), static_cast<int>(pointers.size()), pointers.data());
  std::string log = program.log();
  if (result != 0) fail_compile(n, result, name, arch, source, log);

  Cubin out = parse_assembler_report(log);
  size_t size = 0;
  result = n.nvrtcGetCUBINSize(program.get(), &size);
  if (result == 0 && size > 0) {
    out.bytes.resize(size);
    result = n.nvrtcGetCUBIN(program.get(), out.bytes.data());
  }
  if (result != 0 || size == 0) fail_compile(n, result, name, arch, source, "no machine code");
  return out;
}

}  // namespace fusec::cuda
