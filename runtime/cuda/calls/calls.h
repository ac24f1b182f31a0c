// What the files of this folder share: the attributes of a call, and launches under construction.
// A text is `constants` (types and sizes of this call) + parts of prelude.h + the kernels.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "call.h"
#include "fusec/base/dtype.h"

namespace fusec::cuda {

// Launches of one call, and the bytes of workspace and the counters that they refer to.
struct CallPlan {
  std::vector<CallLaunch> launches;
  int64_t workspace = 0, counters = 0;
};

CallPlan plan_copy(const LibraryCall& call, const CallTarget& target);
CallPlan plan_fill(const LibraryCall& call, const CallTarget& target);
CallPlan plan_guard(const LibraryCall& call, const CallTarget& target);
CallPlan plan_gather(const LibraryCall& call, const CallTarget& target);
CallPlan plan_scatter(const LibraryCall& call, const CallTarget& target);
CallPlan plan_cumsum(const LibraryCall& call, const CallTarget& target);
CallPlan plan_top_k(const LibraryCall& call, const CallTarget& target);
CallPlan plan_attention(const LibraryCall& call, const CallTarget& target);
CallPlan plan_attention_grad(const LibraryCall& call, const CallTarget& target);
CallPlan plan_draw_normal(const LibraryCall& call, const CallTarget& target);
CallPlan plan_paged_attention(const LibraryCall& call, const CallTarget& target);

// The element type named by attribute `key`; an internal Error if it is none.
DType type_of(const LibraryCall& call, std::string_view key);
// An internal Error unless `ok`; `rule` says what must hold.
void require(const LibraryCall& call, bool ok, const char* rule);

// Bytes, a power of two of at most 16, that `size` and the offsets of all `args` are multiples of:
// the widest access that all of them allow.
int64_t common_unit(const LibraryCall& call, std::vector<size_t> args, int64_t size);

// Blocks of `each` items; an unsupported Error for more than one grid holds.
unsigned blocks_for(const LibraryCall& call, int64_t items, int64_t each);

// "constexpr int kName = 5;" line by line.
class Constants {
 public:
  explicit Constants(std::string_view title) : text_("// " + std::string(title) + "\n") {}
  Constants& integer(const char* name, int64_t value);
  Constants& real(const char* name, double value);  // a float, exactly
  Constants& type(const char* name, std::string_view type);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// Arguments of a launch.
inline LaunchArg argument(size_t i) { return {LaunchArg::Kind::argument, static_cast<int64_t>(i)}; }
inline LaunchArg workspace(int64_t byte) { return {LaunchArg::Kind::workspace, byte}; }
inline LaunchArg counters() { return {LaunchArg::Kind::counters}; }
inline LaunchArg status() { return {LaunchArg::Kind::status}; }
inline LaunchArg skip() { return {LaunchArg::Kind::skip}; }
inline LaunchArg step() { return {LaunchArg::Kind::step}; }
inline LaunchArg i32_value(int64_t v) { return {LaunchArg::Kind::i32, v}; }
inline LaunchArg i64_value(int64_t v) { return {LaunchArg::Kind::i64, v}; }

// Takes `bytes` of a workspace, 256-byte aligned.
inline int64_t take(int64_t& workspace, int64_t bytes) {
  int64_t at = workspace;
  workspace += (bytes + 255) / 256 * 256;
  return at;
}

}  // namespace fusec::cuda
