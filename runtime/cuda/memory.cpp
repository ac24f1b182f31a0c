#include "memory.h"

#include <utility>

#include "fusec/base/bytes.h"
#include "fusec/base/error.h"

namespace fusec::cuda {

Stream::Stream(const Gpu& gpu) : gpu_(gpu) {
  FUSEC_CU(cuStreamCreate(&stream_, kNonBlocking), "making a stream");
}

Stream::~Stream() {
  release_on(gpu_, [this](const Driver& d) { d.cuStreamDestroy(stream_); });
}

void Stream::wait(const std::string& doing) const { FUSEC_CU(cuStreamSynchronize(stream_), doing); }

DeviceBlock::DeviceBlock(const Gpu& gpu, const Stream& stream, int64_t bytes,
                         const std::string& what)
    : gpu_(&gpu) {
  if (bytes <= 0) return;
  CuAddress address = 0;
  CuResult result = driver().cuMemAlloc(&address, static_cast<size_t>(bytes));
  if (result == kOutOfMemory) {
    size_t free = 0, total = 0;
    driver().cuMemGetInfo(&free, &total);
    throw OutOfMemory("could not allocate " + size_text(bytes) + " for " + what + " on " +
                      gpu.info.name + ": " + size_text(static_cast<int64_t>(free)) +
                      " are free of " + size_text(static_cast<int64_t>(total)));
  }
  driver().check(result, "cuMemAlloc", "allocating " + size_text(bytes) + " for " + what);
  address_ = address;
  bytes_ = bytes;
  result = driver().cuMemsetD8Async(address, 0, static_cast<size_t>(bytes), stream.get());
  if (result == 0) return;
  driver().cuMemFree(std::exchange(address_, 0));
  driver().fail(result, "cuMemsetD8Async", "clearing " + what);
}

DeviceBlock::~DeviceBlock() {
  if (address_ != 0) release_on(*gpu_, [this](const Driver& d) { d.cuMemFree(address_); });
}

DeviceBlock::DeviceBlock(DeviceBlock&& o) noexcept
    : gpu_(o.gpu_), address_(std::exchange(o.address_, 0)), bytes_(std::exchange(o.bytes_, 0)) {}

DeviceBlock& DeviceBlock::operator=(DeviceBlock&& o) noexcept {
  std::swap(gpu_, o.gpu_);
  std::swap(address_, o.address_);
  std::swap(bytes_, o.bytes_);
  return *this;
}

void copy_to_device(CuAddress to, const void* from, int64_t bytes, const Stream& stream,
                    const std::string& doing) {
  if (bytes > 0)
    FUSEC_CU(cuMemcpyHtoDAsync(to, from, static_cast<size_t>(bytes), stream.get()), doing);
}

void copy_to_host(void* to, CuAddress from, int64_t bytes, const Stream& stream,
                  const std::string& doing) {
  if (bytes > 0)
    FUSEC_CU(cuMemcpyDtoHAsync(to, from, static_cast<size_t>(bytes), stream.get()), doing);
}

CuAddress Store::get(const PlanBuffer& b, const Stream& stream) {
  auto it = entries_.find(b.name);
  if (it == entries_.end())
    it = entries_
             .emplace(b.name, Entry{b.type, DeviceBlock(gpu_, stream, reserved_bytes(b.type),
                                                        std::string(name_of(b.cls)) + " \"" +
                                                            b.name + "\" " + b.type.str())})
             .first;
  if (it->second.type != b.type)
    fail_user(std::string(name_of(b.cls)) + " \"" + b.name + "\" is " + b.type.str() +
              " in this graph, but programs that share its memory hold it as " +
              it->second.type.str() + "; give it another name or the same type");
  return it->second.block.address();
}

}  // namespace fusec::cuda
