#include "graph.h"

#include "fusec/base/error.h"

namespace fusec::cuda {

Graph::~Graph() {
  if (exec_) release_on(gpu_, [this](const Driver& d) { d.cuGraphExecDestroy(exec_); });
}

bool Graph::record(const Stream& stream, const std::function<void()>& work) {
  const Driver& d = driver();
  // Calls of other threads are no business of this recording.
  CuResult result = d.cuStreamBeginCapture(stream.get(), kCaptureThreadLocal);
  if (result != 0) {
    problem_ = "cuStreamBeginCapture: " + d.text_of(result);
    return false;
  }
  std::string failed;
  try {
    work();
  } catch (const Error& e) {
    failed = e.message();
  } catch (const std::exception& e) {
    failed = e.what();
  }
  CuGraph graph = nullptr;
  result = d.cuStreamEndCapture(stream.get(), &graph);  // also after a failure: frees the stream
  if (!failed.empty())
    problem_ = failed;
  else if (result != 0 || !graph)
    problem_ = "cuStreamEndCapture: " + d.text_of(result);
  else if (result = d.cuGraphInstantiateWithFlags(&exec_, graph, 0); result != 0)
    problem_ = "cuGraphInstantiateWithFlags: " + d.text_of(result);
  if (!problem_.empty()) exec_ = nullptr;
  if (graph) d.cuGraphDestroy(graph);
  return recorded();
}

void Graph::launch(const Stream& stream) const {
  FUSEC_CU(cuGraphLaunch(exec_, stream.get()), "replaying the graph of the step");
}

}  // namespace fusec::cuda
