// What a plan will hold in memory, known before any device is touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/plan/plan.h"

namespace fusec {

struct MemoryTensor {
  std::string name;  // of a leaf or output; "" for a value inside the step
  BufferClass cls = BufferClass::temporary;
  TensorType type;
  std::string origin;                 // op, user's file:line, model scope
  int64_t bytes = 0;                  // reserved
  FUSEC_API std::string str() const;  // "8.39 MB  f32[1024, 2048]  map.exp (nn.cpp:40, head)"
};

struct MemoryReport {
  int64_t persistent = 0;     // parameters, states, constants
  int64_t arena = 0;          // everything else, by lifetime
  int64_t workspace = 0;      // scratch of library calls, all threads together
  int64_t without_reuse = 0;  // the arena if each tensor of the fused step had a place of its own
  int64_t peak() const { return persistent + arena + workspace; }
  int peak_step = 0;                  // the step with the most live bytes
  std::string peak_name;              // its kernel or call
  std::vector<MemoryTensor> largest;  // at that step, the largest first
};

// `workspace` is the device's answer (cpu::workspace_bytes); `count` bounds `largest`.
FUSEC_API MemoryReport memory_report(const Plan& plan, int64_t workspace, size_t count = 8);

}  // namespace fusec
