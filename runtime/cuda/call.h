// A library call of plan.h (all but gemm, which is cuBLASLt's) as plain data: the kernels to
// launch, their texts for NVRTC and where each argument comes from. The program compiles the texts
// together with those of the plan, equal ones once.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "fusec/cuda/call_target.h"
#include "fusec/plan/plan.h"

namespace fusec::cuda {

// At the start of the program's status block on the device, zeroed before each run. Kernels and
// calls of commit steps do nothing while skip != 0.
struct Status {
  uint32_t skip = 0;  // set by a guard, and with every error
  // The first one wins (atomicCAS). 1: an index out of range. 2: cu_seqlens that do not start at 0,
  // fall, or exceed the tokens. Of paged_attention, 3: an entry of page_table that names no page,
  // 4: a length out of range, 5: a cu_q as 2.
  uint32_t error = 0;
  int64_t step = 0;   // of the plan, where the error was found
  int64_t index = 0;  // 1: the index, and the number of rows it had to be below;
                      // 2, 5: the value, and the number of tokens; 3: the entry, and the number
                      // of pages; 4: the length, and the largest
  int64_t bound = 0;
};

struct LaunchArg {
  enum class Kind : uint8_t {
    argument,   // address of the call's argument `value`
    workspace,  // address of byte `value` of the call's workspace (256-byte aligned at 0)
    counters,   // unsigned*: numbers that are 0 before each call, and that it leaves at 0
    status,     // Status*
    skip,       // const unsigned*: &status->skip in a commit step, else null
    step,       // int: number of the step
    i64,        // long long `value`
    i32,        // int `value`
  };
  Kind kind = Kind::argument;
  int64_t value = 0;
};

// A view of an argument, [items, heads, rows, columns] of 16-bit elements, from which sm_90 and
// later copy a box of rows as panels of 64 columns: [panel][row][128 bytes], the 16-byte pieces of
// a row swapped by the row (piece ^ row % 8). Rows beyond `rows` read as zeros and are not written.
// Where columns fill no panels, the map has one panel of all of them, of which a box is 64 columns
// (box_panels 1); columns beyond are as rows beyond.
struct TensorMap {
  int64_t argument = 0;
  bool bf16 = true;                                      // else f16
  int64_t items = 1, rows = 1, heads = 1, columns = 64;  // in memory [item][row][head][column]
  int64_t box_rows = 64, box_panels = 1;
};

// What the driver is told of it, in its order: (column, row, panel, head, item); bytes from one to
// the next of all but the first.
struct MapShape {
  std::array<uint64_t, 5> sizes;
  std::array<uint64_t, 4> strides;
  std::array<unsigned, 5> box;
};
MapShape shape_of(const TensorMap& map);

struct CallLaunch {
  std::string text;   // translation unit; depends on types and shapes, never on addresses
  std::string entry;  // extern "C" name
  std::array<unsigned, 3> grid = {1, 1, 1}, block = {1, 1, 1};
  int64_t dynamic_shared = 0;
  std::vector<LaunchArg> args;
  std::vector<TensorMap> maps = {};  // the kernel's first parameters, before args
};

// The launches of a well-formed call, in order; none for empty tensors. An Error of kind
// unsupported says what this device cannot do.
std::vector<CallLaunch> launches_of(const LibraryCall& call, const CallTarget& target);

// Bytes of workspace that launches_of() refers to, and how many counters.
int64_t call_workspace(const LibraryCall& call, const CallTarget& target);
int64_t call_counters(const LibraryCall& call, const CallTarget& target);

}  // namespace fusec::cuda
