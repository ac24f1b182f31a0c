// Memory that vector code likes: aligned, zeroed, and one growing scratch block a thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace fusec::cpu {

// Zero-filled bytes, aligned to kArenaAlign (to 2 MiB, with huge pages asked for, when large).
// Owns them. Running out is an OutOfMemory Error that names `what` and the size.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  AlignedBuffer(int64_t bytes, const char* what);
  std::byte* data() const { return data_.get(); }
  int64_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  int64_t bytes_ = 0;
};

// Uninitialised scratch of the calling thread, valid until its next call on this thread. It grows
// to the largest request and is freed with the thread.
float* thread_scratch(int64_t floats);
// Bytes that the calling thread's scratch holds now.
int64_t thread_scratch_bytes();
// Growth of the calling thread's scratch is added to `total` from now on.
void account_scratch(std::atomic<int64_t>* total);

}  // namespace fusec::cpu
