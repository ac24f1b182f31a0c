// What hooks of scores and masks add to the kernels of attention: the text of their functions (the
// call's attribute hook_cuda; see emit_hook of the code generator), and a kernel that runs before:
// it asks the mask once for every pair and keeps, for each tile of 64 queries and 64 keys, whether
// it hides all, some or none. Tiles with nothing to see are then left out, whole ones do not ask.
#include "attention.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr std::string_view kNoHook = R"cuda(
namespace hook {
struct Captured {};
struct Place {
  int item, head, query, key;
};
struct Slopes {
  float score, by_product, by_load[1];
};
DEV bool seen(const Captured&, const Place&) { return true; }
DEV float score(const Captured&, const Place&, float product) { return product; }
DEV Slopes slopes(const Captured&, const Place&, float product) { return {product, 1, {0}}; }
}  // namespace hook
#define HOOK_PARAMETERS
#define HOOK_CAPTURED {}
)cuda";

constexpr std::string_view kMaskTiles = R"cuda(
constexpr int kMaskTile = 64;  // queries and keys
enum : unsigned char { kHidden = 0, kMixed = 1, kWhole = 2 };

// Where the tile of a query and a key of a head lies in the list; with a mask that asks for neither
// item nor head, there is one list for all.
DEV long long mask_tile(int item, int head, int query, int key, int t, int s) {
  const int query_tiles = (t + kMaskTile - 1) / kMaskTile, key_tiles = (s + kMaskTile - 1) / kMaskTile;
  long long list = (long long)(kMaskItems ? item : 0) * (kMaskHeads ? kH : 1) + (kMaskHeads ? head : 0);
  return (list * query_tiles + query / kMaskTile) * key_tiles + key / kMaskTile;
}
)cuda";

constexpr std::string_view kList = R"cuda(
extern "C" __global__ void __launch_bounds__(128)
fusec_attention_mask_tiles(unsigned char* tiles, int t, int s_length, int query_tiles,
                           int key_tiles, const unsigned* skip HOOK_PARAMETERS) {
  if (stopped(skip)) return;
  const hook::Captured captured = HOOK_CAPTURED;
  const int key = blockIdx.x % key_tiles * kMaskTile;
  const int query = blockIdx.x / key_tiles % query_tiles * kMaskTile;
  const int list = blockIdx.x / key_tiles / query_tiles;
  const int head = kMaskHeads ? list % kH : 0, item = kMaskHeads ? list / kH : list;
  const int keys = min(kMaskTile, s_length - key), queries = min(kMaskTile, t - query);
  bool some = false, hidden = false;
  for (int i = threadIdx.x; i < kMaskTile * kMaskTile; i += 128) {
    const int x = i % kMaskTile, y = i / kMaskTile;
    if (x >= keys || y >= queries) continue;
    const bool visible = hook::seen(captured, {item, head, query + y, key + x});
    some |= visible, hidden |= !visible;
  }
  some = __syncthreads_or(some);
  hidden = __syncthreads_or(hidden);
  if (threadIdx.x == 0) tiles[blockIdx.x] = !some ? kHidden : hidden ? kMixed : kWhole;
}
)cuda";

}  // namespace

std::string hook_text(const Attention& a) {
  return (a.hook.empty() ? std::string(kNoHook) : a.hook) + std::string(kMaskTiles);
}

void append_captured(const Attention& a, std::vector<LaunchArg>& args) {
  for (size_t i = 0; i < a.captured_count; ++i) args.push_back(argument(a.captured + i));
}

LaunchArg list_mask_tiles(const Attention& a, const LibraryCall& call, CallPlan& plan) {
  if (!a.masked || a.t == 0 || a.s == 0) return argument(0);  // not read
  const int64_t query_tiles = (a.t + 63) / 64, key_tiles = (a.s + 63) / 64;
  const int64_t lists = (a.mask_items() ? a.b : 1) * (a.mask_heads() ? a.h : 1);
  const int64_t tiles = lists * query_tiles * key_tiles;
  LaunchArg list = workspace(take(plan.workspace, tiles));
  CallLaunch l;
  l.text = attention_constants(a, "call: tiles of an attention mask").text() +
           std::string(kPrelude) + hook_text(a) + std::string(kList);
  l.entry = "fusec_attention_mask_tiles";
  l.grid[0] = blocks_for(call, tiles, 1);
  l.block[0] = 128;
  l.args = {list,  i32_value(a.t), i32_value(a.s), i32_value(query_tiles), i32_value(key_tiles),
            skip()};
  append_captured(a, l.args);
  plan.launches.push_back(std::move(l));
  return list;
}

}  // namespace fusec::cuda
