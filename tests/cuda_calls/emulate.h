// Runs the launches of a library call on the host: each text is compiled by the C++ compiler that
// built the tests, against shim.h, and its blocks run one by one. What was compiled once is kept in
// the build folder, under the hash of text, shim and compiler.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "call.h"

namespace fusec::test {

// Memory of an argument, its bytes in front and behind watched: a write there is an Error.
class Watched {
 public:
  explicit Watched(int64_t bytes);
  std::byte* data() { return memory_.data() + front_; }
  const std::byte* data() const { return memory_.data() + front_; }
  int64_t size() const { return size_; }
  // Whether nothing around the bytes has changed.
  bool intact() const;

 private:
  int64_t size_, front_;
  std::vector<std::byte> memory_;
};

struct Emulated {
  cuda::Status status;
  bool intact = true;  // no argument was written out of its bounds
};

struct TargetedCall {
  LibraryCall call;
  cuda::CallTarget target = {};
};

// Compiles what calls need that will be emulated, on all cores; emulate() would one by one.
void compile_ahead(const std::vector<TargetedCall>& calls);

// `arguments` in the order of the call; they are read and written in place. skip: the guard's flag
// at the start, seen by the call (a commit step).
Emulated emulate(const LibraryCall& call, const cuda::CallTarget& target,
                 std::vector<Watched>& arguments, bool skip = false);

}  // namespace fusec::test
