// Running a plan that was compiled elsewhere, without a compiler: link fusec::runtime.
//
//   fusec build vision-gpt:tiny -o tiny.fsc          // or step.save("tiny.fsc")
//
//   #include <fusec/runtime.h>
//   fusec::LoadedPlan step = fusec::load_plan("tiny.fsc");
//   step.set("x", x);
//   step.run();
//   float loss = step.get<float>("loss")[0];
//
// The file holds machine code for one kind of processor, or for NVIDIA GPUs of the architectures it
// was made for; of CUDA only the driver is needed then, and cuBLASLt for its speed. Load only files
// whose maker you trust.
#pragma once

#include <string>
#include <string_view>

#include "fusec/core/loaded_plan.h"

namespace fusec {

struct LoadOptions {
  int threads = 0;  // CPU: worker threads; 0: FUSEC_THREADS, or all cores
  int gpu = 0;      // which GPU runs a plan that was saved for GPUs
  // Parameters and states of the same name (and type) are shared with this plan instead of being
  // allocated: a training step and its evaluation see one model. An Executable will do, too.
  const LoadedPlan* share = nullptr;
};

// Reads a file of `fusec build` or Executable::save(), checks it and allocates its memory. A file
// that is damaged, of another format version, or made for a processor or GPU that is not here
// throws Error: what was found, what was expected, what to do.
FUSEC_API LoadedPlan load_plan(const std::string& path, const LoadOptions& options = {});

// The same from bytes in memory; `name` is for messages. The bytes are copied.
FUSEC_API LoadedPlan load_plan_bytes(std::string_view bytes, const std::string& name,
                                     const LoadOptions& options = {});

}  // namespace fusec
