// gather: rows of a table picked by an index tensor. A thread moves one unit of one row, so wide
// and narrow rows spread alike. Index < 0: zeros; an index past the end: zeros, and a report.
#include "calls.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr int kThreads = 256;

constexpr std::string_view kGather = R"cuda(
extern "C" __global__ void __launch_bounds__(256)
fusec_gather(const Unit* __restrict__ table, const Index* __restrict__ index,
             Unit* __restrict__ out, Place total, long long rows, const unsigned* skip,
             Status* status, int step) {
  if (stopped(skip)) return;
  Place at = (Place)blockIdx.x * 256 + threadIdx.x;
  if (at >= total) return;
  Place i = at / kUnits, unit = at % kUnits;
  long long row = index[i];
  Unit value = Unit();
  if (row >= rows) {
    if (unit == 0) report(status, 1, step, row, rows);
  } else if (row >= 0) {
    value = table[row * kUnits + unit];
  }
  out[at] = value;
}
)cuda";

}  // namespace

CallPlan plan_gather(const LibraryCall& call, const CallTarget&) {
  int64_t rows = call.integer("rows"), count = call.integer("count"), width = call.integer("width");
  DType index = type_of(call, "index_type");
  require(call, rows >= 0 && count >= 0 && width >= 0, "sizes must not be negative");
  require(call, index == i32 || index == i64, "indices must be i32 or i64");
  int64_t row_bytes = width * size_of(type_of(call, "type"));
  if (count == 0 || row_bytes == 0) return {};
  int64_t unit = common_unit(call, {0, 2}, row_bytes), total = count * (row_bytes / unit);
  CallLaunch l;
  // The last block's places must fit too.
  bool wide = total > 0x7fffffff - kThreads;
  l.text = Constants("call: gather")
               .type("Unit", unit_type(unit))
               .type("Index", index_type(index))
               .type("Place", wide ? "long long" : "int")
               .integer("kUnits", row_bytes / unit)
               .text() +
           std::string(kPrelude) + std::string(kGather);
  l.entry = "fusec_gather";
  l.grid[0] = blocks_for(call, total, kThreads);
  l.block[0] = kThreads;
  l.args = {argument(0),     argument(1), argument(2), wide ? i64_value(total) : i32_value(total),
            i64_value(rows), skip(),      status(),    step()};
  return {{l}, 0};
}

}  // namespace fusec::cuda
