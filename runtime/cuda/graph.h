// A CUDA graph: what a stream was told once, replayed by one call.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "memory.h"

namespace fusec::cuda {

// Nodes of a recording so far; transfers: copies and fills.
struct NodeCounts {
  size_t kernels = 0, transfers = 0;
};
// Of the recording that `stream` is in.
NodeCounts recorded_nodes(const Stream& stream);

class Graph {
 public:
  explicit Graph(const Gpu& gpu) : gpu_(gpu) {}
  ~Graph();
  Graph(const Graph&) = delete;

  // Records what `work` puts into the stream, which must have run once before: nothing may be
  // loaded while recording. False, with the reason in problem(), if that cannot be recorded.
  bool record(const Stream& stream, const std::function<void()>& work);
  bool recorded() const { return exec_ != nullptr; }
  const std::string& problem() const { return problem_; }
  void launch(const Stream& stream) const;

 private:
  const Gpu& gpu_;
  CuGraphExec exec_ = nullptr;
  std::string problem_;
};

}  // namespace fusec::cuda
