#include "fusec/base/options.h"

#include <cstdlib>

#include "fusec/base/error.h"

namespace fusec {

const std::vector<EnvOption>& env_options() {
  static const std::vector<EnvOption> table = {
      {"FUSEC_DUMP", "dir[:stage,...]: write one numbered file a stage of every compile"},
      {"FUSEC_THREADS", "worker threads of the CPU device (default: all cores)"},
      {"FUSEC_ONEDNN", "path of oneDNN's shared library; \"off\": use the own GEMM kernel"},
      {"FUSEC_CUDA_PATH", "folder of the CUDA toolkit or of its libraries (default: searched for)"},
      {"FUSEC_CUPTI", "\"off\": time profiles of a GPU by events, without CUPTI"},
      {"FUSEC_ATTENTION",
       "attention on sm_90: \"hopper\" (default): wgmma and tensor maps; \"portable\": mma.sync, "
       "as on other GPUs"},
      {"FUSEC_RACECHECK",
       "1: barriers count lanes, not warps, as compute-sanitizer's racecheck does (slower)"},
      {"FUSEC_TUNE_GEMMS", "1: measure cuBLASLt's algorithms for each GEMM once, keep the fastest"},
      {"FUSEC_GELU_IN_GEMM", "1: GELU behind a bf16 GEMM is a part of it"},
      {"FUSEC_SENTRY", "1: look for NaN and infinities in every tensor of every step (slow)"},
      {"FUSEC_MEMORY_LIMIT", "memory of the device, in bytes or as 512M, 8G (default: measured)"},
      {"FUSEC_TIME", "1: print to stderr where the time goes from the start to the end of step 1"},
      {"FUSEC_CACHE", "0: compile everything anew (default 1: keep compiled code on disk)"},
      {"FUSEC_CACHE_DIR",
       "folder of compiled code (default $XDG_CACHE_HOME/fusec or ~/.cache/fusec)"},
      {"FUSEC_CACHE_SIZE", "MB that the folder of compiled code may take (default 1024)"},
  };
  return table;
}

std::string env(const std::string& name) {
  for (const EnvOption& option : env_options())
    if (name == option.name) {
      const char* value = std::getenv(option.name);
      return value ? value : "";
    }
  fail_internal("environment variable " + name +
                " is not in the table of runtime/base/options.cpp");
}

}  // namespace fusec
