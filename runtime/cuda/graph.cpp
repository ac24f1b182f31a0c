#include "graph.h"

#include <vector>

#include "fusec/base/error.h"

namespace fusec::cuda {
namespace {

// CU_GRAPH_NODE_TYPE_...
constexpr int kKernelNode = 0, kMemcpyNode = 1, kMemsetNode = 2;

}  // namespace

NodeCounts recorded_nodes(const Stream& stream) {
  int state = 0;
  CuGraph graph = nullptr;
  size_t count = 0;
  // Not asked for the newest nodes: that fails where one may start before another has ended.
  FUSEC_CU(cuStreamGetCaptureInfo(stream.get(), &state, nullptr, &graph, nullptr, nullptr),
           "looking at what is recorded");
  FUSEC_CU(cuGraphGetNodes(graph, nullptr, &count), "counting what is recorded");
  std::vector<CuGraphNode> nodes(count);
  FUSEC_CU(cuGraphGetNodes(graph, nodes.data(), &count), "looking at what is recorded");
  NodeCounts out;
  for (CuGraphNode node : nodes) {
    int type = -1;
    FUSEC_CU(cuGraphNodeGetType(node, &type), "looking at what is recorded");
    out.kernels += type == kKernelNode;
    out.transfers += type == kMemcpyNode || type == kMemsetNode;
  }
  return out;
}

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
