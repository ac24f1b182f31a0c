// Values that are staged for the next run, on a device that copies ahead and on one that cannot.
#include <doctest/doctest.h>

#include <cstring>
#include <map>

#include "fusec/core/device.h"
#include "fusec/core/loaded_plan.h"

using namespace fusec;

namespace {

// Host memory by buffer; `ahead`: takes what is staged as a GPU does.
class Memory final : public Program {
 public:
  explicit Memory(bool ahead) : ahead_(ahead) {}
  void write(int buffer, const void* data, size_t bytes) override {
    held[buffer].assign(static_cast<const char*>(data), bytes);
  }
  bool stage(int buffer, const void* data, size_t bytes) override {
    if (ahead_) staged_[buffer].assign(static_cast<const char*>(data), bytes);
    return ahead_;
  }
  void take_staged() override {
    for (auto& [buffer, bytes] : staged_) held[buffer] = bytes;
    staged_.clear();
  }
  void read(int buffer, void* data, size_t bytes) const override {
    std::memcpy(data, held.at(buffer).data(), bytes);
  }
  void fill(const std::vector<Filling>&) override {}
  bool run() override { return true; }
  CheckedRun run_checked(bool) override { return {}; }
  void run_step(int) override {}
  ProfiledRun run_profiled() override { return {}; }
  std::shared_ptr<PersistentStore> store() const override { return nullptr; }
  int64_t measured_bytes() const override { return 0; }
  std::string backend(std::string_view) const override { return ""; }

  std::map<int, std::string> held;

 private:
  bool ahead_;
  std::map<int, std::string> staged_;
};

LoadedPlan plan_of_two(bool ahead) {
  auto plan = std::make_shared<Plan>();
  for (const char* name : {"a", "b"})
    plan->buffers.push_back({name, BufferClass::input, {{2}, DType::f32}, 0, 0, 0, {}});
  plan->buffers.push_back({"y", BufferClass::output, {{2}, DType::f32}, 0, 0, 0, {}});
  return LoadedPlan(plan, std::make_unique<Memory>(ahead));
}

}  // namespace

TEST_CASE("staged values become those of their tensors when they are taken, not before") {
  for (bool ahead : {false, true}) {
    CAPTURE(ahead);
    LoadedPlan plan = plan_of_two(ahead);
    const std::vector<float> first = {1, 2}, second = {3, 4}, third = {5, 6};
    plan.set("a", first);
    plan.set("b", first);
    plan.stage("a", std::span<const float>(second));
    CHECK(plan.get<float>("a") == first);
    plan.stage("b", std::span<const float>(second));
    plan.stage("b", std::span<const float>(third));  // the later one counts
    plan.run();
    CHECK(plan.get<float>("b") == first);
    plan.take_staged();
    CHECK(plan.get<float>("a") == second);
    CHECK(plan.get<float>("b") == third);
    plan.set("a", first);
    plan.take_staged();  // nothing more
    CHECK(plan.get<float>("a") == first);
  }
}

TEST_CASE("what cannot be staged is refused") {
  LoadedPlan plan = plan_of_two(true);
  const std::vector<float> two = {1, 2}, three = {1, 2, 3};
  const std::vector<int32_t> whole = {1, 2};
  CHECK_THROWS_WITH_AS(plan.stage("a", std::span<const float>(three)),
                       doctest::Contains("8 bytes, found 12"), Error);
  CHECK_THROWS_WITH_AS(plan.stage("a", std::span<const int32_t>(whole)),
                       doctest::Contains("expected 4-byte floating-point"), Error);
  CHECK_THROWS_WITH_AS(plan.stage("y", std::span<const float>(two)), doctest::Contains("output"),
                       Error);
  CHECK_THROWS_WITH_AS(plan.stage("c", std::span<const float>(two)), doctest::Contains("no input"),
                       Error);
  CHECK_THROWS_WITH_AS(plan.stage("a", nullptr, 8), doctest::Contains("null pointer"), Error);
  CHECK_THROWS_AS(LoadedPlan().stage("a", std::span<const float>(two)), Error);
  CHECK_THROWS_AS(LoadedPlan().take_staged(), Error);
}
