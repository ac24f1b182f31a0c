// Runs one library call on the CPU device through a Plan, with operands given as doubles.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fusec/base/philox.h"
#include "fusec/cpu/cpu.h"

namespace fusec::test {

using Values = std::vector<double>;

// Uniform values in [-1, 1), rounded to bf16 so that they are exact in every float type.
inline Values random_values(int64_t n, uint64_t key) {
  Values v(n);
  for (int64_t i = 0; i < n; ++i) {
    double u = 2 * philox_uniform(philox(key, i)[0]) - 1;
    v[i] = float_from_bf16(bf16_from_float(static_cast<float>(u)));
  }
  return v;
}

// A plan of one step. Operands are added in argument order; after run() each can be read back.
class CpuCall {
 public:
  explicit CpuCall(std::string name) { call_.name = std::move(name); }

  CpuCall& operand(const Values& values, DType type) {
    PlanBuffer b;
    b.name = "arg" + std::to_string(plan_.buffers.size());
    b.cls = BufferClass::input;
    b.type = {{static_cast<int64_t>(values.size())}, type};
    b.offset = plan_.arena_bytes;
    plan_.arena_bytes += reserved_bytes(b.type);
    call_.args.push_back({static_cast<int>(plan_.buffers.size()), 0});
    plan_.buffers.push_back(b);
    data_.emplace_back(b.type.bytes());
    for (size_t i = 0; i < values.size(); ++i)
      store_from_double(data_.back().data(), type, static_cast<int64_t>(i), values[i]);
    return *this;
  }
  // The memory of argument `arg`, once more.
  CpuCall& again(size_t arg) { return call_.args.push_back(call_.args[arg]), *this; }
  CpuCall& attr(const std::string& key, int64_t v) { return call_.attrs[key] = v, *this; }
  CpuCall& attr(const std::string& key, int v) { return attr(key, static_cast<int64_t>(v)); }
  CpuCall& attr(const std::string& key, double v) { return call_.attrs[key] = v, *this; }
  CpuCall& attr(const std::string& key, const char* v) {
    return call_.attrs[key] = std::string(v), *this;
  }

  const LibraryCall& call() const { return call_; }

  CpuCall& run(int threads = 2) {
    auto plan = std::make_shared<Plan>(plan_);
    plan->graph = "test";
    PlanStep step;
    step.call = call_;
    plan->steps.push_back(step);
    program_ = cpu::load(plan, {}, nullptr, threads);
    for (size_t i = 0; i < data_.size(); ++i)
      program_->write(static_cast<int>(i), data_[i].data(), data_[i].size());
    program_->run();
    return *this;
  }
  std::string bytes(int arg) const {
    std::string out(data_[arg].size(), '\0');
    program_->read(arg, out.data(), out.size());
    return out;
  }
  Values values(int arg) const {
    std::string raw = bytes(arg);
    const TensorType& t = plan_.buffers[arg].type;
    Values v(t.shape[0]);
    for (size_t i = 0; i < v.size(); ++i) v[i] = load_as_double(raw.data(), t.dtype, i);
    return v;
  }

 private:
  Plan plan_;
  LibraryCall call_;
  std::vector<std::vector<char>> data_;
  std::unique_ptr<Program> program_;
};

}  // namespace fusec::test
