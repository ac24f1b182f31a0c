#include "draw.h"

#include <optional>
#include <string>

#include "call.h"
#include "fusec/base/error.h"
#include "launch.h"

namespace fusec::cuda {
namespace {

LibraryCall call_of(const DeviceDraw& draw) {
  LibraryCall call;
  call.name = "draw_normal";
  call.args = {{0, 0}};
  call.attrs["count"] = draw.count;
  call.attrs["deviation"] = static_cast<double>(draw.numbers.deviation);
  call.attrs["key"] = static_cast<int64_t>(draw.numbers.key);
  call.attrs["stream"] = static_cast<int64_t>(draw.numbers.stream);
  return call;
}

}  // namespace

bool draw_normal(const Gpu& gpu, const Stream& stream, const CallTarget& target,
                 const LoadOptions& options, const std::vector<DeviceDraw>& draws) {
  if (!options.compiles) return false;
  const std::string doing = "drawing " + std::to_string(draws.size()) + " tensors";
  std::string cubin;
  std::optional<Code> code;  // of all: their texts are one
  for (const DeviceDraw& draw : draws)
    for (const CallLaunch& l : launches_of(call_of(draw), target)) {
      if (!code) {
        try {
          cubin = compile_units({{"draw_normal", l.text}}, gpu.info.arch(), 1)[0];
        } catch (const Error& e) {
          if (e.kind() != ErrorKind::device) throw;
          return false;  // no NVRTC, for a plan whose code was all in the cache
        }
        code.emplace(gpu, cubin, "draw_normal", options.nvrtc);
      }
      Launch launch;
      launch.kernel = code->kernel(l.entry, l.dynamic_shared);
      launch.name = launch.entry = l.entry;
      launch.grid = l.grid, launch.block = l.block;
      const LaunchScope scope{.arguments = {draw.to}};
      for (const LaunchArg& arg : l.args) launch.args.push_back(resolve(arg, scope));
      launch.go(stream.get());
    }
  stream.wait(doing);
  return true;
}

}  // namespace fusec::cuda
