// A libcuda.so.1 in host memory: a GPU of 64 MB whose kernels are C++ functions of the test
// program, found by their names. It keeps the driver's rules that the runtime must keep: a
// call without a current context fails, what a stream is told while recording is not executed,
// memory that was not allocated is not copied. A test may ask for failures: see stand_in.h.
#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "stand_in.h"

namespace {

using Work = std::function<int()>;

// Of CU_GRAPH_NODE_TYPE_...
constexpr int kKernelNode = 0, kMemcpyNode = 1, kMemsetNode = 2;
struct Node {
  int type;
  std::string name;
  Work work;
};
struct Graph {
  std::vector<std::shared_ptr<Node>> nodes;
};
struct Stream {
  bool recording = false, broken = false;
  Graph recorded;
};
struct Library;
struct Kernel {
  std::string entry;
  const Library* library;
  const fusec::test::HostKernel* function;
  int most_shared = 48 << 10;
};

struct Library {
  std::string text;
  std::vector<std::unique_ptr<Kernel>> kernels;
};

constexpr size_t kMemory = 64 << 20;
constexpr int kOutOfMemory = 2, kNoContext = 201, kInvalid = 1, kNotFound = 500,
              kNotWhileRecording = 900;

thread_local std::vector<void*> contexts;
std::map<uintptr_t, size_t> blocks;
size_t used = 0;
std::atomic<int> sticky = 0;  // a fault that lost the GPU
fusec::test::StandIn control;
char primary;

std::mutex asking;  // loads, copies and products come from several threads
std::mutex allocating;
std::mutex noting;

int asked_failure(const char* name) {
  std::lock_guard lock(asking);
  ++control.calls[name];
  auto it = control.fail.find(name);
  if (it == control.fail.end() || it->second.first-- > 0) return 0;
  int code = it->second.second;
  control.fail.erase(it);
  return code;
}

int enter(const char* name, bool needs_context = true) {
  if (int code = asked_failure(name)) return code;
  if (int code = sticky) return code;
  return needs_context && contexts.empty() ? kNoContext : 0;
}

#define ENTER(name) \
  if (int code_ = enter(#name)) return code_
#define ENTER_FREE(name) \
  if (int code_ = enter(#name, false)) return code_

bool inside(uintptr_t address, size_t bytes) {
  std::lock_guard lock(allocating);
  auto it = blocks.upper_bound(address);
  if (it == blocks.begin()) return false;
  --it;
  return address + bytes <= it->first + it->second;
}

int execute(const Node& node) {
  if (int code = node.work()) return code;
  std::lock_guard lock(noting);
  if (!control.traced.empty()) control.ran.push_back({node.type, node.name});
  return 0;
}

int put(Stream* s, int type, std::string name, Work work) {
  auto node = std::make_shared<Node>(Node{type, std::move(name), std::move(work)});
  if (!s->recording) return execute(*node);
  s->recorded.nodes.push_back(std::move(node));
  return 0;
}

int driver_version(int* v) { return *v = 13000, 0; }
int error_name(int code, const char** text) {
  static std::string name;
  name = "STAND_IN_ERROR_" + std::to_string(code);
  return *text = name.c_str(), 0;
}
int error_string(int, const char** text) { return *text = "as asked for", 0; }
int init(unsigned) { return asked_failure("cuInit"); }
int device_count(int* count) { return *count = std::getenv("STAND_IN_NO_GPU") ? 0 : 1, 0; }
int device_get(int* device, int ordinal) { return *device = 100 + ordinal, 0; }
int device_name(char* name, int size, int) { return std::strncpy(name, "Stand-in", size), 0; }
int device_attribute(int* value, int which, int) {
  *value = which == 75 ? 9 : which == 76 ? 0 : which == 16 ? 4 : which == 97 ? 232448 : 1 << 20;
  return 0;
}
int device_memory(size_t* bytes, int) { return *bytes = kMemory, 0; }
int context_retain(void** context, int device) {
  return device == 100 ? (*context = &primary, 0) : kInvalid;
}
int context_push(void* context) { return contexts.push_back(context), 0; }
int context_pop(void** context) {
  if (contexts.empty()) return kNoContext;
  *context = contexts.back();
  return contexts.pop_back(), 0;
}
int memory_info(size_t* free, size_t* total) {
  ENTER(cuMemGetInfo);
  std::lock_guard lock(allocating);
  return *free = kMemory - used, *total = kMemory, 0;
}
int memory_alloc(unsigned long long* address, size_t bytes) {
  ENTER(cuMemAlloc);
  if (bytes == 0) return kInvalid;
  std::lock_guard lock(allocating);
  if (used + bytes > kMemory) return kOutOfMemory;
  void* p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(p, 0xa5, bytes);
  blocks[reinterpret_cast<uintptr_t>(p)] = bytes;
  used += bytes;
  control.used = used;
  return *address = reinterpret_cast<uintptr_t>(p), 0;
}
int memory_free(unsigned long long address) {
  ENTER(cuMemFree);
  std::lock_guard lock(allocating);
  auto it = blocks.find(address);
  if (it == blocks.end()) return kInvalid;
  used -= it->second;
  control.used = used;
  blocks.erase(it);
  return std::free(reinterpret_cast<void*>(address)), 0;
}
int host_alloc(void** address, size_t bytes, unsigned) {
  ENTER(cuMemHostAlloc);
  return *address = std::malloc(bytes), 0;
}
int host_free(void* address) { return std::free(address), 0; }
int copy_in(unsigned long long to, const void* from, size_t bytes, Stream* s) {
  ENTER(cuMemcpyHtoDAsync);
  if (!inside(to, bytes)) return kInvalid;
  return put(s, kMemcpyNode, "",
             [=] { return std::memcpy(reinterpret_cast<void*>(to), from, bytes), 0; });
}
int copy_out(void* to, unsigned long long from, size_t bytes, Stream* s) {
  ENTER(cuMemcpyDtoHAsync);
  if (!inside(from, bytes)) return kInvalid;
  return put(s, kMemcpyNode, "",
             [=] { return std::memcpy(to, reinterpret_cast<void*>(from), bytes), 0; });
}
int copy_within(unsigned long long to, unsigned long long from, size_t bytes, Stream* s) {
  ENTER(cuMemcpyDtoDAsync);
  if (!inside(to, bytes) || !inside(from, bytes)) return kInvalid;
  return put(s, kMemcpyNode, "", [=] {
    return std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes), 0;
  });
}
int set_bytes(unsigned long long to, unsigned char value, size_t bytes, Stream* s) {
  ENTER(cuMemsetD8Async);
  if (!inside(to, bytes)) return kInvalid;
  return put(s, kMemsetNode, "",
             [=] { return std::memset(reinterpret_cast<void*>(to), value, bytes), 0; });
}
int stream_create(Stream** s, unsigned) {
  ENTER(cuStreamCreate);
  return *s = new Stream, 0;
}
int stream_destroy(Stream* s) { return delete s, 0; }
int stream_wait(Stream* s) {
  if (s->recording) return s->broken = true, kNotWhileRecording;
  ENTER(cuStreamSynchronize);
  return 0;
}
int begin_capture(Stream* s, int) {
  ENTER(cuStreamBeginCapture);
  s->recording = true;
  return 0;
}
int end_capture(Stream* s, Graph** graph) {
  if (!s->recording) return kInvalid;
  s->recording = false;
  *graph = new Graph{std::move(s->recorded)};
  s->recorded.nodes.clear();
  return s->broken ? 901 : 0;
}
int capture_info(Stream* s, int* state, uint64_t* id, Graph** graph, Node*** newest,
                 size_t* newest_count) {
  ENTER(cuStreamGetCaptureInfo);
  if (id || newest || newest_count) return kInvalid;
  *state = s->recording ? 1 : 0;
  return *graph = s->recording ? &s->recorded : nullptr, 0;
}
int graph_nodes(Graph* graph, Node** nodes, size_t* count) {
  ENTER(cuGraphGetNodes);
  if (!graph) return kInvalid;
  if (nodes && *count < graph->nodes.size()) return kInvalid;
  *count = graph->nodes.size();
  for (size_t i = 0; nodes && i < *count; ++i) nodes[i] = graph->nodes[i].get();
  return 0;
}
int node_type(Node* node, int* type) { return *type = node->type, 0; }
int instantiate(Graph** exec, Graph* graph, unsigned long long) {
  ENTER(cuGraphInstantiateWithFlags);
  return *exec = new Graph(*graph), 0;
}
int graph_launch(Graph* exec, Stream*) {
  ENTER(cuGraphLaunch);
  for (const auto& node : exec->nodes)
    if (int code = execute(*node)) return code;
  return 0;
}
int graph_destroy(Graph* graph) { return delete graph, 0; }
int event_create(double** event, unsigned) { return *event = new double(0), 0; }
std::mutex clock_mutex;
double now = 0;  // ms: of events alone
int event_record(double* event, Stream*) {
  std::lock_guard lock(clock_mutex);
  return *event = now += 0.25, 0;
}
int event_wait(double*) {
  ENTER(cuEventSynchronize);
  return 0;
}
int event_elapsed(float* ms, double* a, double* b) { return *ms = static_cast<float>(*b - *a), 0; }
int event_destroy(double* event) { return delete event, 0; }
int library_load(Library** library, const void* code, int*, void**, unsigned, int*, void**,
                 unsigned) {
  ENTER(cuLibraryLoadData);
  return *library = new Library{static_cast<const char*>(code), {}}, 0;
}
int library_unload(Library* library) { return delete library, 0; }
int get_kernel(Kernel** kernel, Library* library, const char* name) {
  ENTER(cuLibraryGetKernel);
  if (library->text.find(name) == std::string::npos) return kNotFound;
  void* f = dlsym(RTLD_DEFAULT, ("fusec_kernel_" + std::string(name)).c_str());
  // Where the numbers do not matter, what has no twin in C++ does nothing.
  static const fusec::test::HostKernel nothing{0, [](void**, unsigned, const std::string&) {}};
  if (!f && std::getenv("STAND_IN_IDLE")) f = const_cast<fusec::test::HostKernel*>(&nothing);
  if (!f) return kNotFound;
  library->kernels.push_back(std::make_unique<Kernel>(
      Kernel{name, library, static_cast<const fusec::test::HostKernel*>(f)}));
  *kernel = library->kernels.back().get();
  return 0;
}
int get_function(void** function, Kernel* kernel) {
  ENTER(cuKernelGetFunction);
  return *function = kernel, 0;
}
int set_attribute(int which, int value, Kernel* kernel, int device) {
  ENTER(cuKernelSetAttribute);
  if (which != 8 || device != 100) return kInvalid;
  return kernel->most_shared = value, 0;
}
int encode_map(void* map, int type, unsigned rank, void* address, const uint64_t*, const uint64_t*,
               const unsigned*, const unsigned*, int, int, int, int) {
  ENTER(cuTensorMapEncodeTiled);
  bool aligned = reinterpret_cast<uintptr_t>(map) % 64 == 0 &&
                 reinterpret_cast<uintptr_t>(address) % 16 == 0;
  if (!aligned || (type != 6 && type != 9) || rank == 0 || rank > 5) return kInvalid;
  std::memset(map, 0, 128);
  return 0;
}
int launch(Kernel* k, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
           unsigned shared, Stream* s, void** args, void**) {
  ENTER(cuLaunchKernel);
  if (gx * gy * gz == 0 || bx * by * bz == 0 || bx * by * bz > 1024) return kInvalid;
  if (static_cast<int>(shared) > k->most_shared) return kInvalid;
  std::vector<uint64_t> copied(k->function->args);  // a launch keeps no pointer to its arguments
  for (size_t i = 0; i < copied.size(); ++i) std::memcpy(&copied[i], args[i], sizeof(uint64_t));
  return put(s, kKernelNode, k->entry, [=] {
    if (int code = asked_failure(("run " + k->entry).c_str())) return sticky = code, code;
    std::vector<uint64_t> own = copied;
    std::vector<void*> pointers;
    for (uint64_t& value : own) pointers.push_back(&value);
    k->function->run(pointers.data(), gx, k->library->text);
    return 0;
  });
}

const std::map<std::string, void*>& table() {
  static const std::map<std::string, void*> functions = {
#define ROW(name, function) {#name, reinterpret_cast<void*>(&function)}
      ROW(cuInit, init),
      ROW(cuDriverGetVersion, driver_version),
      ROW(cuGetErrorName, error_name),
      ROW(cuGetErrorString, error_string),
      ROW(cuDeviceGetCount, device_count),
      ROW(cuDeviceGet, device_get),
      ROW(cuDeviceGetName, device_name),
      ROW(cuDeviceGetAttribute, device_attribute),
      ROW(cuDeviceTotalMem, device_memory),
      ROW(cuDevicePrimaryCtxRetain, context_retain),
      ROW(cuCtxPushCurrent, context_push),
      ROW(cuCtxPopCurrent, context_pop),
      ROW(cuMemGetInfo, memory_info),
      ROW(cuMemAlloc, memory_alloc),
      ROW(cuMemFree, memory_free),
      ROW(cuMemHostAlloc, host_alloc),
      ROW(cuMemFreeHost, host_free),
      ROW(cuMemcpyHtoDAsync, copy_in),
      ROW(cuMemcpyDtoHAsync, copy_out),
      ROW(cuMemcpyDtoDAsync, copy_within),
      ROW(cuMemsetD8Async, set_bytes),
      ROW(cuStreamCreate, stream_create),
      ROW(cuStreamDestroy, stream_destroy),
      ROW(cuStreamSynchronize, stream_wait),
      ROW(cuStreamBeginCapture, begin_capture),
      ROW(cuStreamEndCapture, end_capture),
      ROW(cuStreamGetCaptureInfo, capture_info),
      ROW(cuGraphGetNodes, graph_nodes),
      ROW(cuGraphNodeGetType, node_type),
      ROW(cuGraphInstantiateWithFlags, instantiate),
      ROW(cuGraphLaunch, graph_launch),
      ROW(cuGraphExecDestroy, graph_destroy),
      ROW(cuGraphDestroy, graph_destroy),
      ROW(cuEventCreate, event_create),
      ROW(cuEventRecord, event_record),
      ROW(cuEventSynchronize, event_wait),
      ROW(cuEventElapsedTime, event_elapsed),
      ROW(cuEventDestroy, event_destroy),
      ROW(cuLibraryLoadData, library_load),
      ROW(cuLibraryUnload, library_unload),
      ROW(cuLibraryGetKernel, get_kernel),
      ROW(cuKernelGetFunction, get_function),
      ROW(cuKernelSetAttribute, set_attribute),
      ROW(cuTensorMapEncodeTiled, encode_map),
      ROW(cuLaunchKernel, launch),
#undef ROW
  };
  return functions;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int cuGetProcAddress_v2(const char* name, void** function, int version, unsigned long long,
                               int* status) {
  const char* missing = std::getenv("STAND_IN_LACKS");
  auto it = table().find(name);
  bool found = it != table().end() && version <= 13000 && !(missing && it->first == missing);
  *function = found ? it->second : nullptr;
  *status = found ? 0 : 1;
  return found ? 0 : kNotFound;
}

EXPORT fusec::test::StandIn* fusec_stand_in() { return &control; }

EXPORT void fusec_stand_in_pass(double milliseconds) {
  std::lock_guard lock(clock_mutex);
  now += milliseconds;
}
// Called by the stand-in of cuBLASLt, whose work must obey recording too: a fill, and two kernels.
EXPORT int fusec_stand_in_put(void* stream, const std::function<int()>& work) {
  auto* s = static_cast<Stream*>(stream);
  auto nothing = [] { return 0; };
  if (int code = put(s, kMemsetNode, "", nothing)) return code;
  if (int code = put(s, kKernelNode, "stand_in_gemm", work)) return code;
  return put(s, kKernelNode, "stand_in_reduce", nothing);
}

// Called by the stand-in of CUPTI: counts the call; the failure that a test asked for.
EXPORT int fusec_stand_in_failure(const char* name) { return asked_failure(name); }
