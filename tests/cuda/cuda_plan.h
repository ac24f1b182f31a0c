// Small plans by hand, and the GPU that the tests run on: a real one or the stand-in.
#pragma once

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "fusec/base/error.h"
#include "fusec/cuda/cuda.h"

namespace fusec::test {

inline bool on_stand_in() { return std::getenv("STAND_IN") != nullptr; }

// Prints why, where there is no GPU and no NVRTC.
inline bool no_gpu() {
  std::string why;
  if (cuda::device_count(&why) > 0 && !cuda::nvrtc_version(&why).empty()) return false;
  std::printf("[SKIP] %s\n", why.c_str());
  return true;
}

template <class F>
std::string error_of(F f, ErrorKind kind) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.kind() == kind);
    return e.what();
  }
  return "no error";
}
inline bool has(const std::string& text, const std::string& part) {
  bool found = text.find(part) != std::string::npos;
  if (!found) std::printf("expected \"%s\" in: %s\n", part.c_str(), text.c_str());
  return found;
}

// The kernels of the tests, as CUDA text; host_kernels.cpp holds their twins for the stand-in.
//   scale   y = 2 x          add  y = y + x          (single form)
//   scales  scale over a table
inline const char* const kScale = R"(
extern "C" __global__ void scale(const float* x, float* y, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  long long i = blockIdx.x * 128ll + threadIdx.x;
  if (i < n) y[i] = 2 * x[i];
}
)";
inline const char* const kAdd = R"(
extern "C" __global__ void add(const float* x, float* y, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  long long i = blockIdx.x * 128ll + threadIdx.x;
  if (i < n) y[i] += x[i];
}
)";
inline const char* const kScales = R"(
extern "C" __global__ void scales(const unsigned long long* table, int segments,
                                  const unsigned* skip) {
  if (skip && *skip) return;
  int s = 0;
  while (s + 1 < segments && table[(s + 1) * 4] <= blockIdx.x) ++s;
  const unsigned long long* row = table + s * 4;
  long long i = (blockIdx.x - (long long)row[0]) * 128 + threadIdx.x;
  if (i < (long long)row[1]) ((float*)row[3])[i] = 2 * ((const float*)row[2])[i];
}
)";

struct PlanBuilder {
  Plan plan;
  std::vector<cuda::KernelCode> code;

  PlanBuilder() { plan.graph = "a_test"; }

  int buffer(const std::string& name, BufferClass cls, TensorType type, std::string data = "") {
    PlanBuffer b;
    b.name = name;
    b.cls = cls;
    b.type = std::move(type);
    b.data = std::move(data);
    if (!is_persistent(cls)) {
      b.offset = plan.arena_bytes;
      plan.arena_bytes += reserved_bytes(b.type);
    }
    b.last = 1000;
    plan.buffers.push_back(std::move(b));
    return static_cast<int>(plan.buffers.size()) - 1;
  }
  int floats(const std::string& name, BufferClass cls, int64_t n) {
    return buffer(name, cls, {{n}, f32});
  }

  // A flat kernel of blocks of 128 elements: (x read, y written).
  int kernel(const std::string& entry, const char* text, bool table = false) {
    KernelProgram k;
    k.name = "k" + std::to_string(plan.kernels.size()) + "_" + entry;
    k.params = {{"x", f32, true, false}, {"y", f32, entry == "add", true}};
    k.extents = {0};
    k.schedule.kind = ScheduleKind::flat;
    k.schedule.vector = 1;
    k.schedule.block = 128;
    k.schedule.team = 1;
    KernelOp load{KernelOp::Kind::load}, store{KernelOp::Kind::store};
    load.access = {0, 0, {1}};
    store.access = {1, 0, {1}};
    store.args = {0};
    k.ops = {load, store};
    plan.kernels.push_back(std::move(k));
    cuda::KernelCode c;
    c.cubin = cuda::compile_source(text, entry, cuda::device_info(0).arch()).bytes;
    c.entry = entry;
    c.table = table;
    code.push_back(std::move(c));
    return static_cast<int>(plan.kernels.size()) - 1;
  }
  PlanStep& step(int kernel, std::vector<Segment> segments) {
    PlanStep s;
    s.kernel = kernel;
    s.segments = std::move(segments);
    return plan.steps.emplace_back(std::move(s));
  }
  PlanStep& call(const std::string& name, std::vector<int> buffers,
                 std::map<std::string, std::variant<int64_t, double, std::string>> attrs) {
    PlanStep s;
    s.call.name = name;
    for (int b : buffers) s.call.args.push_back({b, 0});
    s.call.attrs = std::move(attrs);
    return plan.steps.emplace_back(std::move(s));
  }
  std::unique_ptr<Program> load(std::shared_ptr<PersistentStore> share = nullptr,
                                cuda::LoadOptions options = {}) const {
    return cuda::load(std::make_shared<Plan>(plan), code, std::move(share), options);
  }
};

inline Segment segment(std::vector<int> buffers, int64_t n) {
  Segment s;
  for (int b : buffers) s.args.push_back({b, 0});
  s.n = n;
  return s;
}

inline void write_floats(Program& p, int buffer, const std::vector<float>& v) {
  p.write(buffer, v.data(), v.size() * sizeof(float));
}
inline std::vector<float> read_floats(const Program& p, int buffer, int64_t n) {
  std::vector<float> v(static_cast<size_t>(n));
  p.read(buffer, v.data(), v.size() * sizeof(float));
  return v;
}
inline std::vector<float> ramp(int64_t n, float first = 0) {
  std::vector<float> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = first + static_cast<float>(i);
  return v;
}

}  // namespace fusec::test
