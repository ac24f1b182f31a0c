#include "emulate.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <set>
#include <stdexcept>
#include <thread>

#include "calls/prelude.h"
#include "fusec/base/sha256.h"
#include "gemm.h"

namespace fusec::test {
namespace {

constexpr int64_t kZone = 4096;

using Launch = void (*)(void (*)(...), const int64_t*, unsigned, unsigned, int64_t, uint64_t);

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Takes `part` out of the text; true if it was there.
bool cut(std::string& text, std::string_view part) {
  size_t at = text.find(part);
  if (at == std::string::npos) return false;
  text.erase(at, part.size());
  return true;
}

// A text as C++ of the host: shim.h has what was assembly.
struct HostText {
  std::string text;
  bool bf16;
};
// The own GEMM brings its conversions with it.
std::string host_gemm(std::string text) {
  for (auto [assembly, host] :
       {std::pair{"asm(\"cvt.f32.f16 %0, %1;\" : \"=f\"(r) : \"h\"(x.bits));",
                  "r = half_value(x.bits);"},
        std::pair{"asm(\"cvt.rn.f16.f32 %0, %1;\" : \"=h\"(p->bits) : \"f\"(x));",
                  "p->bits = half_bits(x);"}})
    if (size_t at = text.find(assembly); at != std::string::npos)
      text.replace(at, std::strlen(assembly), host);
  return text;
}

HostText host_text(std::string text) {
  if (text.find("own GEMM") != std::string::npos) text = host_gemm(std::move(text));
  bool is_bf16 = cut(text, cuda::kBf16Instructions);
  is_bf16 |= cut(text, cuda::kBf16Mma);
  cut(text, cuda::kF16Instructions);
  cut(text, cuda::kF16Mma);
  cut(text, cuda::kTensorInstructions);
  cut(text, cuda::kHalfPairs);
  cut(text, cuda::kSumInstructions);
  const bool hopper = cut(text, cuda::kHopperInstructions);
  for (size_t at; (at = text.find("wgmma.mma_async")) != std::string::npos;) {
    const size_t begin = text.rfind("DEV void multiply", at), end = text.find("\n}\n", at) + 3;
    text.erase(begin, end - begin);
  }
  if (text.find("asm") != std::string::npos)
    throw std::runtime_error("assembly outside of the prelude");
  // extern __shared__ [__align__(n)] T name[];
  constexpr std::string_view kShared = "extern __shared__ ", kAlign = "__align__(";
  for (size_t at; (at = text.find(kShared)) != std::string::npos;) {
    size_t type = at + kShared.size(), end = text.find("[];", at);
    if (text.compare(type, kAlign.size(), kAlign) == 0) type = text.find(") ", type) + 2;
    size_t name = text.rfind(' ', end) + 1;
    std::string t = text.substr(type, name - 1 - type), n = text.substr(name, end - name);
    text.replace(at, end + 3 - at, t + "* " + n + " = (" + t + "*)shim::shared_base;");
  }
  static const std::string kInstructions = read_file(FUSEC_TEST_SHIM "/shim_hopper.h");
  return {hopper ? kInstructions + text : std::move(text), is_bf16};
}

// What a text is compiled with, and the folder of what came of it: libraries under the hash of all
// that they were made from, kept from run to run in the build folder.
const std::string kOptions = " -std=c++20 -O1 -w -fPIC -fno-strict-aliasing ";

// `make` writes a file under the name that it is given, which then appears whole or not at all.
template <class F>
void make_once(const fs::path& path, F make) {
  if (fs::exists(path)) return;
  const fs::path own = path.string() + "." + std::to_string(getpid());
  make(own.string());
  fs::rename(own, path);
}

void compile(const std::string& arguments) {
  const std::string command = std::string(FUSEC_TEST_CXX) + kOptions + arguments;
  if (std::system(command.c_str()) != 0) throw std::runtime_error("does not compile: " + command);
}

struct Shim {
  fs::path folder;  // of this shim, compiler and options
  // shim.h for either type, parsed beforehand.
  std::string header(bool is_bf16) const {
    return (folder / (is_bf16 ? "bf16.h" : "f16.h")).string();
  }
};

const Shim& shim() {
  static const Shim made = [] {
    const std::string source = read_file(FUSEC_TEST_SHIM "/shim.h");
    const char* shared = std::getenv("FUSEC_TEST_EMULATED_DIR");  // by builds of other flags
    Shim s{fs::path(shared ? shared : FUSEC_TEST_EMULATED) /
           hex(sha256_of_list({FUSEC_TEST_CXX, FUSEC_TEST_CXX_VERSION, kOptions, source}))};
    fs::create_directories(s.folder);
    std::vector<std::future<void>> both;
    for (const bool is_bf16 : {false, true})
      both.push_back(std::async(std::launch::async, [&, is_bf16] {
        const std::string header = s.header(is_bf16);
        make_once(header, [&](const std::string& path) {
          std::ofstream(path) << (is_bf16 ? "#define SHIM_BF16\n" : "") << source;
        });
        make_once(header + ".gch", [&](const std::string& path) {
          compile("-x c++-header " + header + " -o " + path);
        });
      }));
    for (std::future<void>& f : both) f.get();
    return s;
  }();
  return made;
}

// The library of a text. Thread-safe.
std::string library_of(const std::string& text) {
  const HostText host = host_text(text);
  const fs::path stem = shim().folder / hex(sha256_of_list({host.bf16 ? "1" : "0", host.text}));
  const std::string library = stem.string() + ".so";
  make_once(library, [&](const std::string& path) {
    const std::string source = path + ".cpp";
    std::ofstream(source) << host.text;
    compile("-include " + shim().header(host.bf16) + " -shared " + source + " -o " + path);
    fs::remove(source);
  });
  return library;
}

void* compiled(const std::string& text) {
  static std::map<std::string, void*> known;
  auto [it, fresh] = known.emplace(text, nullptr);
  if (!fresh) return it->second;
  it->second = dlopen(library_of(text).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!it->second) throw std::runtime_error(dlerror());
  return it->second;
}

template <class F>
F symbol(void* library, const char* name) {
  void* s = dlsym(library, name);
  if (!s) throw std::runtime_error(std::string("no symbol ") + name);
  return reinterpret_cast<F>(s);
}

std::vector<cuda::CallLaunch> launches(const LibraryCall& call, const cuda::CallTarget& target) {
  return call.name == "gemm" ? cuda::own_gemm(cuda::read_gemm(call))
                             : cuda::launches_of(call, target);
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

void compile_ahead(const std::vector<TargetedCall>& calls) {
  std::set<std::string> texts;
  for (const TargetedCall& c : calls)
    for (const cuda::CallLaunch& l : launches(c.call, c.target)) texts.insert(l.text);
  std::vector<std::string> all(texts.begin(), texts.end());
  std::atomic<size_t> next = 0;
  std::vector<std::future<void>> workers;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i)
    workers.push_back(std::async(std::launch::async, [&] {
      for (size_t at; (at = next++) < all.size();) library_of(all[at]);
    }));
  for (std::future<void>& w : workers) w.get();
}

Emulated emulate(const LibraryCall& call, const cuda::CallTarget& target,
                 std::vector<Watched>& arguments, bool skip) {
  Emulated result;
  result.status.skip = skip;
  Watched workspace(call.name == "gemm" ? 0 : cuda::call_workspace(call, target));
  std::vector<unsigned> counters(call.name == "gemm" ? 0 : cuda::call_counters(call, target));
  uint64_t seed = 1;
  for (const cuda::CallLaunch& l : launches(call, target)) {
    void* library = compiled(l.text);
    int64_t words[20] = {};
    const size_t maps = l.maps.size();
    if (maps + l.args.size() > 20) throw std::runtime_error("more than 20 arguments");
    std::vector<std::array<int64_t, 15>> boxes;  // TensorMap of shim_hopper.h
    for (const cuda::TensorMap& m : l.maps) {
      const std::byte* base = arguments.at(m.argument).data() + call.args.at(m.argument).byte_offset;
      const cuda::MapShape shape = cuda::shape_of(m);
      boxes.push_back({static_cast<int64_t>(reinterpret_cast<intptr_t>(base))});
      auto next = boxes.back().begin() + 1;
      next = std::copy(shape.sizes.begin(), shape.sizes.end(), next);
      next = std::copy(shape.strides.begin(), shape.strides.end(), next);
      std::copy(shape.box.begin(), shape.box.end(), next);
    }
    for (size_t i = 0; i < maps; ++i)
      words[i] = static_cast<int64_t>(reinterpret_cast<intptr_t>(boxes[i].data()));
    for (size_t i = 0; i < l.args.size(); ++i) {
      using Kind = cuda::LaunchArg::Kind;
      auto address = [](const void* p) {
        return static_cast<int64_t>(reinterpret_cast<intptr_t>(p));
      };
      const cuda::LaunchArg& a = l.args[i];
      switch (a.kind) {
        case Kind::argument:
          words[maps + i] = address(arguments.at(a.value).data()) + call.args.at(a.value).byte_offset;
          break;
        case Kind::workspace: words[maps + i] = address(workspace.data()) + a.value; break;
        case Kind::counters: words[maps + i] = address(counters.data()); break;
        case Kind::status: words[maps + i] = address(&result.status); break;
        case Kind::skip: words[maps + i] = address(&result.status.skip); break;
        case Kind::step: words[maps + i] = 7; break;
        case Kind::i64:
        case Kind::i32: words[maps + i] = a.value; break;
      }
    }
    symbol<Launch>(library, "emulate_launch")(symbol<void (*)(...)>(library, l.entry.c_str()),
                                              words, l.grid[0], l.block[0], l.dynamic_shared,
                                              seed++);
  }
  result.intact = workspace.intact();
  // A run that reports an error may leave counts behind: the next one clears them.
  for (unsigned left : counters) result.intact &= left == 0 || result.status.error != 0 || skip;
  for (const Watched& w : arguments) result.intact &= w.intact();
  return result;
}

}  // namespace fusec::test
