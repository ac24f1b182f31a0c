// The training step of the bundled vision-gpt:tiny with fixed made-up inputs and parameters.
#pragma once

#include <vector>

#include "fusec/base/philox.h"
#include "fusec/models/bundled.h"

namespace fusec::models {

inline Executable compile_tiny(const CompileOptions& options) {
  RecordedGraph step = build_bundled("vision-gpt:tiny");
  return compile(*step.graph, step.outputs, options);
}

// Writes every input and parameter; states are left as they are (zero at first). Another key gives
// other values.
inline void feed_tiny(Executable& exe, uint64_t key = 1) {
  Shape tokens = exe.type("tokens").shape;
  for (const PlanBuffer& b : exe.plan().buffers) {
    int64_t n = numel(b.type.shape);
    if (b.cls == BufferClass::input && b.type.dtype == DType::i32) {
      std::vector<int32_t> ids(n);
      int64_t queries = n / tokens[0];
      for (int64_t i = 0; i < n; ++i)
        ids[i] = b.name == "slots" ? static_cast<int32_t>(i / queries * tokens[1] + 1 + i % queries)
                                   : static_cast<int32_t>(philox(key, i)[0] % 1000);
      exe.set(b.name, ids);
    } else if (b.cls == BufferClass::input || b.cls == BufferClass::parameter) {
      std::vector<float> values(n);
      for (int64_t i = 0; i < n; ++i) {
        PhiloxBlock words = philox(key + 1, i);
        values[i] = n == 1 ? 1e-3f : 0.1f * static_cast<float>(philox_normal(words[0], words[1]));
      }
      exe.set(b.name, values);
    }
  }
}

// Every byte of every output, parameter and state.
inline std::string bits_of(const Executable& exe) {
  std::string all;
  for (const PlanBuffer& b : exe.plan().buffers) {
    if (b.cls != BufferClass::output && b.cls != BufferClass::parameter &&
        b.cls != BufferClass::state)
      continue;
    std::string bytes(b.type.bytes(), '\0');
    exe.read(b.name, bytes.data(), bytes.size());
    all += bytes;
  }
  return all;
}

}  // namespace fusec::models
