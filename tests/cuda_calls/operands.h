// Operands of a call as doubles in and out, for the CUDA texts (emulated) and for the CPU device.
#pragma once

#include <doctest/doctest.h>

#include <functional>

#include "../runtime/cpu_call.h"
#include "call_table.h"
#include "emulate.h"

namespace fusec::test {

struct Operand {
  Values values;
  DType type;
};

// The operands after the call ran as CUDA text on the host. Writes out of bounds and errors fail
// the test, unless the caller takes the status.
inline std::vector<Values> run_text(const LibraryCall& call, const std::vector<Operand>& operands,
                                    cuda::Status* status = nullptr, bool skip = false,
                                    const cuda::CallTarget& target = {}) {
  std::vector<Watched> memory;
  for (size_t i = 0; i < operands.size(); ++i) {
    const Operand& o = operands[i];
    int64_t n = static_cast<int64_t>(o.values.size()), offset = call.args[i].byte_offset;
    memory.emplace_back(offset + n * size_of(o.type));
    for (int64_t j = 0; j < n; ++j)
      store_from_double(memory[i].data() + offset, o.type, j, o.values[j]);
  }
  Emulated result = emulate(call, target, memory, skip);
  CHECK(result.intact);
  if (status)
    *status = result.status;
  else
    CHECK(result.status.error == 0);
  std::vector<Values> out;
  for (size_t i = 0; i < operands.size(); ++i) {
    out.emplace_back(operands[i].values.size());
    for (size_t j = 0; j < out[i].size(); ++j)
      out[i][j] = load_as_double(memory[i].data() + call.args[i].byte_offset, operands[i].type,
                                 static_cast<int64_t>(j));
  }
  return out;
}

// The same on the CPU device.
inline std::vector<Values> run_cpu(const LibraryCall& call, const std::vector<Operand>& operands) {
  CpuCall cpu(call.name);
  for (const Operand& o : operands) cpu.operand(o.values, o.type);
  for (const auto& [key, value] : call.attrs)
    std::visit(
        [&](const auto& v) {
          if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>)
            cpu.attr(key, v.c_str());
          else
            cpu.attr(key, v);
        },
        value);
  cpu.run();
  std::vector<Values> out;
  for (size_t i = 0; i < operands.size(); ++i) out.push_back(cpu.values(static_cast<int>(i)));
  return out;
}

inline void check_equal(const Values& got, const Values& expected, const std::string& what) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    if (std::isnan(expected[i]) ? !std::isnan(got[i]) : got[i] != expected[i]) {
      INFO(what << "[" << i << "]: got " << got[i] << ", expected " << expected[i]);
      CHECK(false);
      return;
    }
}

// Each element within its own bound.
inline void check_within(const Values& got, const Values& expected, const Values& bound,
                         const std::string& what) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    bool same = std::isinf(expected[i]) ? got[i] == expected[i]
                                        : std::fabs(got[i] - expected[i]) <= bound[i];
    if (!same) {
      INFO(what << "[" << i << "]: got " << got[i] << ", expected " << expected[i] << " within "
                << bound[i]);
      CHECK(same);
      return;
    }
  }
}

// Checks of calls, run in turn when all texts that they need have been compiled side by side.
class Checks {
 public:
  template <class F>
  void add(std::vector<TargetedCall> calls, F check) {
    calls_.insert(calls_.end(), calls.begin(), calls.end());
    checks_.push_back(std::move(check));
  }
  void run() const {
    compile_ahead(calls_);
    for (const std::function<void()>& check : checks_) check();
  }

 private:
  std::vector<TargetedCall> calls_;
  std::vector<std::function<void()>> checks_;
};

}  // namespace fusec::test
