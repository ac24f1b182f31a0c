#include "copies_ahead.h"

namespace fusec::cuda {

CopiesAhead::~CopiesAhead() {
  if (stream_) release_on(gpu_, [this](const Driver& d) { d.cuStreamSynchronize(stream_->get()); });
}

void CopiesAhead::start(CuAddress to, const void* from, int64_t bytes, const std::string& what) {
  if (bytes == 0) return;
  if (!stream_) stream_.emplace(gpu_);
  auto at = copies_.find(to);
  if (at == copies_.end())
    at = copies_.emplace(to, Copy{DeviceBlock(gpu_, *stream_, bytes, "the next " + what)}).first;
  at->second.waits = false;
  copy_to_device(at->second.block.address(), from, bytes, *stream_, "writing the next " + what);
  at->second.waits = true;
}

void CopiesAhead::take(const Stream& stream) {
  if (!stream_) return;
  const std::string doing = "taking what was copied ahead";
  stream_->wait(doing);
  for (auto& [to, copy] : copies_) {
    if (!copy.waits) continue;
    copy.waits = false;
    FUSEC_CU(cuMemcpyDtoDAsync(to, copy.block.address(), static_cast<size_t>(copy.block.bytes()),
                               stream.get()),
             doing);
  }
  // The next start() may write the same memory; this costs microseconds.
  stream.wait(doing);
}

int64_t CopiesAhead::bytes() const {
  int64_t total = 0;
  for (const auto& [to, copy] : copies_) total += copy.block.bytes();
  return total;
}

}  // namespace fusec::cuda
