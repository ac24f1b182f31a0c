#include "emulate.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>

#include "calls/prelude.h"

namespace fusec::test {
namespace {

constexpr int64_t kZone = 4096;

using Launch = void (*)(void (*)(...), const int64_t*, unsigned, unsigned, int64_t, uint64_t);

// Takes `part` out of the text; true if it was there.
bool cut(std::string& text, std::string_view part) {
  size_t at = text.find(part);
  if (at == std::string::npos) return false;
  text.erase(at, part.size());
  return true;
}

// The text as C++ of the host: shim.h has what was assembly.
std::string host_text(std::string text) {
  bool is_bf16 = cut(text, cuda::kBf16Instructions);
  is_bf16 |= cut(text, cuda::kBf16Mma);
  cut(text, cuda::kF16Instructions);
  cut(text, cuda::kF16Mma);
  cut(text, cuda::kTensorInstructions);
  if (text.find("asm") != std::string::npos)
    throw std::runtime_error("assembly outside of the prelude");
  // extern __shared__ __align__(n) T name[];
  for (size_t at; (at = text.find("extern __shared__")) != std::string::npos;) {
    size_t type = text.find(") ", at) + 2, end = text.find("[];", at);
    size_t name = text.rfind(' ', end) + 1;
    std::string t = text.substr(type, name - 1 - type), n = text.substr(name, end - name);
    text.replace(at, end + 3 - at, t + "* " + n + " = (" + t + "*)shim::shared_base;");
  }
  return std::string(is_bf16 ? "#define SHIM_BF16\n" : "") + "#include \"shim.h\"\n" + text;
}

void* compiled(const std::string& text) {
  static std::map<std::string, void*> known;
  auto [it, fresh] = known.emplace(text, nullptr);
  if (!fresh) return it->second;
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("fusec_emulate_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  std::string stem = (folder / ("text" + std::to_string(known.size()))).string();
  std::ofstream(stem + ".cpp") << host_text(text);
  std::string command = std::string(FUSEC_TEST_CXX) +
                        " -std=c++20 -O1 -w -fPIC -shared -fno-strict-aliasing -I " +
                        FUSEC_TEST_SHIM + " " + stem + ".cpp -o " + stem + ".so";
  if (std::system(command.c_str()) != 0) throw std::runtime_error("does not compile: " + command);
  it->second = dlopen((stem + ".so").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!it->second) throw std::runtime_error(dlerror());
  std::filesystem::remove_all(folder);
  return it->second;
}

template <class F>
F symbol(void* library, const char* name) {
  void* s = dlsym(library, name);
  if (!s) throw std::runtime_error(std::string("no symbol ") + name);
  return reinterpret_cast<F>(s);
}

}  // namespace

Watched::Watched(int64_t bytes) : size_(bytes), memory_(bytes + 2 * kZone + 256, std::byte{0xff}) {
  front_ = kZone + static_cast<int64_t>(-reinterpret_cast<uintptr_t>(memory_.data() + kZone) & 255);
}

bool Watched::intact() const {
  for (int64_t i = 0; i < static_cast<int64_t>(memory_.size()); ++i)
    if ((i < front_ || i >= front_ + size_) && memory_[i] != std::byte{0xff}) return false;
  return true;
}

Emulated emulate(const LibraryCall& call, const cuda::CallTarget& target,
                 std::vector<Watched>& arguments, bool skip) {
  Emulated result;
  result.status.skip = skip;
  Watched workspace(cuda::call_workspace(call, target));
  uint64_t seed = 1;
  for (const cuda::CallLaunch& l : cuda::launches_of(call, target)) {
    void* library = compiled(l.text);
    int64_t words[20] = {};
    if (l.args.size() > 20) throw std::runtime_error("more than 20 arguments");
    for (size_t i = 0; i < l.args.size(); ++i) {
      using Kind = cuda::LaunchArg::Kind;
      auto address = [](const void* p) {
        return static_cast<int64_t>(reinterpret_cast<intptr_t>(p));
      };
      const cuda::LaunchArg& a = l.args[i];
      switch (a.kind) {
        case Kind::argument:
          words[i] = address(arguments.at(a.value).data()) + call.args.at(a.value).byte_offset;
          break;
        case Kind::workspace: words[i] = address(workspace.data()) + a.value; break;
        case Kind::status: words[i] = address(&result.status); break;
        case Kind::skip: words[i] = address(&result.status.skip); break;
        case Kind::step: words[i] = 7; break;
        case Kind::i64:
        case Kind::i32: words[i] = a.value; break;
        case Kind::f32: throw std::runtime_error("f32 arguments are not emulated");
      }
    }
    symbol<Launch>(library, "emulate_launch")(symbol<void (*)(...)>(library, l.entry.c_str()),
                                              words, l.grid[0], l.block[0], l.dynamic_shared,
                                              seed++);
  }
  result.intact = workspace.intact();
  for (const Watched& w : arguments) result.intact &= w.intact();
  return result;
}

}  // namespace fusec::test
