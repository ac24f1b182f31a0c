// A bundled training step with plausible inputs, for benches.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "fusec/base/philox.h"
#include "fusec/fusec.h"
#include "fusec/models/bundled.h"
#include "fusec/models/init.h"

namespace fusec::bench {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double best(const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); }
inline double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

// Fills every input: pictures and scalars small and positive, token ids valid, slots one after the
// other behind the first token of each row.
inline void fill_inputs(Executable& exe) {
  const Plan& plan = exe.plan();
  int64_t vocab = exe.type("head.weight").shape[0];
  const Shape tokens = exe.type("tokens").shape;
  for (const PlanBuffer& b : plan.buffers) {
    if (b.cls != BufferClass::input) continue;
    int64_t n = numel(b.type.shape);
    if (b.type.dtype == DType::i32) {
      std::vector<int32_t> v(n);
      for (int64_t i = 0; i < n; ++i)
        v[i] = b.name == "slots"
                   ? static_cast<int32_t>(i / (n / tokens[0]) * tokens[1] + 1 + i % (n / tokens[0]))
                   : static_cast<int32_t>(philox(1, i)[0] % static_cast<uint32_t>(vocab));
      exe.set(b.name, v);
    } else {
      std::vector<float> v(n, 1e-3f);
      for (int64_t i = 0; i < n && n > 1; ++i)
        v[i] = 0.05f * static_cast<float>(philox_normal(philox(2, i)[0], philox(2, i)[1]));
      exe.set(b.name, v);
    }
  }
}

// The same, and parameters small and random.
inline void fill(Executable& exe) {
  fill_inputs(exe);
  for (const PlanBuffer& b : exe.plan().buffers) {
    if (b.cls != BufferClass::parameter) continue;
    std::vector<float> v(numel(b.type.shape));
    for (size_t i = 0; i < v.size(); ++i)
      v[i] = 0.05f * static_cast<float>(philox_normal(philox(2, i)[0], philox(2, i)[1]));
    exe.set(b.name, v);
  }
}

}  // namespace fusec::bench
