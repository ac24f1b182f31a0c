// Looks at what each step wrote and remembers the first tensor that is not finite.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "fusec/core/device.h"

namespace fusec::cpu {

class Sentry {
 public:
  // Looks at the leaves at once. strict: infinities count even where a constant may mean them.
  Sentry(const Plan& plan, const std::vector<std::byte*>& addresses, bool strict);
  // Call after each step, in order.
  void after(int step);
  const std::optional<NonFinite>& found() const { return found_; }

 private:
  enum class State : unsigned char { finite, infinite, nan };
  struct Fault {
    State state = State::finite;
    int64_t index = 0;
    double value = 0;
  };
  Fault scan(int buffer) const;
  Fault scan_written(const PlanStep& step, const Segment* segment, size_t arg) const;
  void leaf(int buffer);
  void wrote(int step, const std::vector<BufferRef>& args, size_t arg, size_t result, Fault fault,
             const std::vector<State>& before, bool infinity_is_meant);
  std::string name(int buffer) const;

  const Plan& plan_;
  const std::vector<std::byte*>& addresses_;
  bool strict_;
  std::vector<State> state_;  // of each buffer's present value
  std::optional<NonFinite> found_;
};

// A copy of everything that the commit steps of a plan write.
class PersistentBackup {
 public:
  PersistentBackup(const Plan& plan, const std::vector<std::byte*>& addresses);
  void restore() const;

 private:
  struct Copy {
    std::byte* from;
    std::vector<std::byte> bytes;
  };
  std::vector<Copy> copies_;
};

}  // namespace fusec::cpu
