// CUPTI, which tells when the GPU ran what: opened for the first profile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "vendor/driver.h"

namespace fusec::cuda {

// CUPTI_ACTIVITY_KIND_...
enum CuptiKind : int { kCuptiMemcpy = 1, kCuptiMemset = 2, kCuptiKernel = 10 };

// What every record of a buffer starts with; cuptiActivityGetNextRecord knows their sizes.
struct CuptiRecord {
  int kind;
};

// The start of CUpti_ActivityKernel8 (CUDA 12.0) to 11 (13.2): later ones only added to the end, as
// what was built against one libcupti.so.12 (.13) must read the records of every other.
struct CuptiKernelRecord {
  int kind;
  uint8_t cache, shared_config;
  uint16_t registers;
  int partition_requested, partition_used;
  uint64_t start, end;  // ns; both 0: not known
  uint64_t completed;
  uint32_t device, context, stream;
  int32_t grid[3], block[3];
  int32_t static_shared, dynamic_shared;
  uint32_t local_per_thread, local_total;
  uint32_t correlation;
  int64_t grid_id;
  const char* name;
};
static_assert(offsetof(CuptiKernelRecord, start) == 16 && offsetof(CuptiKernelRecord, name) == 104);

// The start of CUpti_ActivityMemcpy5 and 6, and of CUpti_ActivityMemset4.
struct CuptiMemoryRecord {
  int kind;
  uint32_t detail;
  uint64_t bytes;
  uint64_t start, end;  // ns; both 0: not known
};
static_assert(offsetof(CuptiMemoryRecord, start) == 16);

// Called by threads of CUPTI: asks for memory (null: none, records are dropped; most: of records, 0
// for any number), gives it back with `valid` bytes of records.
using CuptiRequest = void (*)(uint8_t** buffer, size_t* bytes, size_t* most);
using CuptiComplete = void (*)(CuContext context, uint32_t stream, uint8_t* buffer, size_t bytes,
                               size_t valid);

inline constexpr uint32_t kCuptiFlushAll = 1;  // CUPTI_ACTIVITY_FLAG_FLUSH_FORCED

// Every function that is used; all return a CUptiResult, 0 for success.
#define FUSEC_CUPTI_SYMBOLS(X)                                                             \
  X(cuptiGetVersion, int(uint32_t* version))                                               \
  X(cuptiGetResultString, int(int result, const char** text))                              \
  X(cuptiActivityRegisterCallbacks, int(CuptiRequest, CuptiComplete))                      \
  X(cuptiActivityEnable, int(int kind))                                                    \
  X(cuptiActivityDisable, int(int kind))                                                   \
  X(cuptiActivityFlushAll, int(uint32_t flag))                                             \
  X(cuptiActivityGetNextRecord, int(uint8_t * buffer, size_t valid, CuptiRecord * *record)) \
  X(cuptiActivityGetNumDroppedRecords, int(CuContext, uint32_t stream, size_t* dropped))

struct Cupti {
#define FUSEC_MEMBER(name, ...) std::add_pointer_t<__VA_ARGS__> name = nullptr;
  FUSEC_CUPTI_SYMBOLS(FUSEC_MEMBER)
#undef FUSEC_MEMBER
  std::string line;     // "CUPTI 13.0 (libcupti.so.13)"
  std::string problem;  // why nothing of it may be used; empty: all of it may

  // "cuptiActivityEnable: CUPTI_ERROR_INSUFFICIENT_PRIVILEGES", and what to do.
  std::string text_of(int result, const char* call) const;
};

// The process's CUPTI, searched for once.
const Cupti& cupti();

}  // namespace fusec::cuda
