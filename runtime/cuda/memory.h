// Memory of a GPU: owned blocks, and the parameters and states that programs share by name.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "fusec/core/device.h"
#include "vendor/driver.h"

namespace fusec::cuda {

// A stream of its own, which waits for no other; everything a program does goes through it.
class Stream {
 public:
  explicit Stream(const Gpu& gpu);
  ~Stream();
  Stream(const Stream&) = delete;
  CuStream get() const { return stream_; }
  // Waits for all that was put in; what failed meanwhile is a device Error.
  void wait(const std::string& doing) const;

 private:
  const Gpu& gpu_;
  CuStream stream_ = nullptr;
};

// Owned bytes of a GPU, 256-byte aligned, zero once `stream` gets there. None for 0 bytes. Running
// out is an OutOfMemory Error that names `what`, the size, and what is free of what there is.
class DeviceBlock {
 public:
  DeviceBlock() = default;
  DeviceBlock(const Gpu& gpu, const Stream& stream, int64_t bytes, const std::string& what);
  ~DeviceBlock();
  DeviceBlock(DeviceBlock&& o) noexcept;
  DeviceBlock& operator=(DeviceBlock&& o) noexcept;
  CuAddress address() const { return address_; }
  int64_t bytes() const { return bytes_; }

 private:
  const Gpu* gpu_ = nullptr;
  CuAddress address_ = 0;
  int64_t bytes_ = 0;
};

// Copies in stream order, from and to memory that need not be pinned; the caller waits.
void copy_to_device(CuAddress to, const void* from, int64_t bytes, const Stream& stream,
                    const std::string& doing);
void copy_to_host(void* to, CuAddress from, int64_t bytes, const Stream& stream,
                  const std::string& doing);

class Store final : public PersistentStore {
 public:
  explicit Store(const Gpu& gpu) : gpu_(gpu) {}
  const Gpu& gpu() const { return gpu_; }
  // The memory of a parameter or state, zero on first use. A name that is held as another type is a
  // user Error.
  CuAddress get(const PlanBuffer& b, const Stream& stream);
  int64_t bytes(const std::string& name) const { return entries_.at(name).block.bytes(); }

 private:
  struct Entry {
    TensorType type;
    DeviceBlock block;
  };
  const Gpu& gpu_;
  std::map<std::string, Entry> entries_;
};

}  // namespace fusec::cuda
