// A fused kernel as plain data: loops over a domain, loads, scalar SSA ops, reductions, stores. It
// is what a scheduled region becomes and all that a code generator sees. No MLIR, no vendor.
//
// Domain: a box `extents`, indices i[0], i[1], ... outermost first. Every load and store touches
// element  offset + sum_d strides[d] * i[d]  of its parameter. Schedules:
//
//   flat         one dimension; every stride is 0 or 1. Work unit: an element. Its length is `n` of
//                the launch, not part of the code, so one kernel serves tensors of any size (and
//                many at once: horizontal fusion). No reductions.
//   rows         the first `row_dims` dimensions number the rows; the others are looped inside.
//                Work unit: a row. Reductions run over all inner dimensions. The last dimension is
//                the vector dimension.
//                With walk_dims > 0 a work unit is a panel: the rows of one index of the first
//                row_dims - walk_dims dimensions, walked in turn. A reduction over rows runs over
//                the walked dimensions instead: one result for each inner point of a panel (the
//                gradient of a norm's weight, beside that of its input). What is made of such
//                results is constant along the walked dimensions, and only stored.
//   columns      dimensions [row_dims outer][reduced ...][last]. Reductions run over the middle
//                dimensions; the last dimension is kept, and vectorised. Work unit: `vector`
//                consecutive elements of the last dimension of one outer index (the last unit of a
//                row of units may be shorter). All loads happen inside the reduced loop or on
//                values constant along it; all stores are constant along the reduced dimensions.
//   flat_reduce  one dimension of length `n`, every load stride 0 or 1, one or more reductions
//                whose results are stored at element u of their output, u the work unit:
//                unit u reduces [u * chunk, min((u + 1) * chunk, n)). The result depends on chunk,
//                never on the number of threads.
//
// Buffers are 64-byte aligned and padded: touching up to 64 elements past the end is harmless.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/dtype.h"
#include "fusec/base/shape.h"

namespace fusec {

enum class Prim : uint8_t {
#define FUSEC_PRIM(name, arity, doc) name,
#include "fusec/plan/scalar.def"
};
inline constexpr Prim kLastPrim = Prim::philox;  // of scalar.def, for readers
FUSEC_API std::string_view name_of(Prim p);

enum class ReduceKind : uint8_t { sum, max, min };
FUSEC_API std::string_view name_of(ReduceKind k);

struct KernelParam {
  std::string name;  // for people; not part of the structure
  DType dtype = DType::f32;
  bool read = false, written = false;
  bool operator==(const KernelParam&) const = default;
};

// offset + sum_d strides[d] * i[d], in elements of parameter `param` (or, for KernelOp index, as a
// value). strides.size() == extents.size().
struct Access {
  int param = -1;
  int64_t offset = 0;
  std::vector<int64_t> strides;
  bool operator==(const Access&) const = default;
};

// One SSA value (or store). `type` is the type of the value. bf16, f16 and f8e4m3 here mean: held
// as f32, but rounded to that type; prims never run on them (the builder casts to f32 around
// arithmetic).
// b8 is a truth value.
struct KernelOp {
  enum class Kind : uint8_t {
    load,      // access
    constant,  // imm
    index,     // access with param -1: an integer of `type`
    prim,      // prim(args)
    cast,      // args[0] as `type`: float -> integer truncates, anything -> b8 is != 0
    reduce,    // reduce(args[0]) over the reduced dimensions, or over the walked rows; f32, f64
               // (bf16 is cast before), i32, i64
    store,     // args[0] to access; type = stored dtype
  };
  Kind kind = Kind::constant;
  DType type = DType::f32;
  Prim prim = Prim::add;
  ReduceKind reduce = ReduceKind::sum;
  bool over_rows = false;  // reduce: over the walked dimensions
  double imm = 0;
  std::vector<int> args;  // earlier ops
  Access access;
  bool operator==(const KernelOp&) const = default;
};

enum class ScheduleKind : uint8_t { flat, rows, columns, flat_reduce };
FUSEC_API std::string_view name_of(ScheduleKind k);

struct KernelSchedule {
  ScheduleKind kind = ScheduleKind::flat;
  int vector = 16;    // lanes of one step; a power of two
  int64_t chunk = 0;  // flat_reduce: elements a unit
  int64_t grain = 1;  // fewest work units worth one task
  // Whole vectors are stored past the caches: what the kernel touches does not fit there, so reading
  // a line only to overwrite it would waste a third of the traffic. Arguments are 64-byte aligned.
  bool stream = false;
  // rows with one row dimension, CPU only: the last extent is the most elements that a row has, a
  // launch has n of them. Stores may fill a row up to a multiple of 16, which its stride allows.
  bool ragged = false;
  // Devices that run blocks of threads; 0 on others. A block holds block / team teams, and a team
  // shares one work unit: it walks the inner (rows: all inner; columns: reduced) dimensions with its
  // threads side by side and joins their partial results. flat has teams of 1 and `vector` elements
  // a thread; flat_reduce one team a block; of a panel, the teams of a block take rows in turn.
  int block = 0;  // threads, a multiple of 32 up to 1024
  int team = 0;   // threads, a power of two that divides block, or block itself
  bool operator==(const KernelSchedule&) const = default;
};

struct KernelProgram {
  std::string name;                  // "k07_rms_norm_mul": stable, unique in a plan
  std::vector<std::string> origins;  // user lines and ops it came from, for comments
  std::vector<KernelParam> params;
  std::vector<int64_t> extents;
  int row_dims = 0;
  int walk_dims = 0;  // rows: of the row dimensions, the last ones, which a work unit walks
  KernelSchedule schedule;
  std::vector<KernelOp> ops;

  // Work units of one launch (flat, flat_reduce: from n).
  FUSEC_API int64_t units(int64_t n) const;
  // Thread blocks of one launch, on a device that has them (schedule.block > 0). Block b holds, in
  // order:
  //   flat         elements [b * block * vector, ...), in pieces that all threads share
  //   rows         rows [b * block / team, ...), thread t in team t / team; or panel b
  //   columns      units [c * block / team, ...) of outer index o, with b = o * (blocks an outer
  //                index) + c; thread t serves unit t % (block / team) as member t / (block / team),
  //                so that neighbours touch neighbouring memory
  //   flat_reduce  unit b
  FUSEC_API int64_t blocks(int64_t n) const;
};

// Hash of everything that shapes the code: not name, origins or parameter names.
FUSEC_API uint64_t structural_hash(const KernelProgram& k);
FUSEC_API bool structurally_equal(const KernelProgram& a, const KernelProgram& b);
// All that shapes the code, as text: two kernels have one text exactly if they are structurally
// equal. What a cache of compiled kernels hashes.
FUSEC_API std::string structural_text(const KernelProgram& k);

// Checks the rules at the head of this file; throws an internal Error naming kernel and rule.
FUSEC_API void verify(const KernelProgram& k);

// The CPU form of a compiled kernel: work units [lo, hi) of a launch of length n. args[i] is the
// base address of params[i]. Thread-safe for disjoint ranges.
using KernelFn = void (*)(void* const* args, int64_t lo, int64_t hi, int64_t n);

}  // namespace fusec
