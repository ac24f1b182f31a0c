// The recorder: a Graph is a list of nodes in the order in which the user wrote them; a Tensor is a
// cheap handle to one result of one node. Recording computes shapes and types and checks them, so
// an error carries the user's own line. Nothing here executes and nothing here knows MLIR.
#pragma once

#include <cstdint>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fusec/base/dtype.h"
#include "fusec/base/error.h"
#include "fusec/base/export.h"
#include "fusec/base/shape.h"
#include "fusec/base/tensor_type.h"
#include "fusec/plan/kernel_program.h"  // ReduceKind

namespace fusec {

class Graph;

// Result `result` of node `node` of a graph.
struct Value {
  int32_t node = -1;
  int32_t result = 0;
  bool operator==(const Value&) const = default;
};

struct At;

// Handle to a recorded value. Copy freely; valid as long as its Graph.
class FUSEC_API Tensor {
 public:
  Tensor() = default;
  Tensor(Graph* graph, Value value) : graph_(graph), value_(value) {}

  bool defined() const { return graph_ != nullptr; }
  Graph& graph() const;
  Value value() const { return value_; }
  const TensorType& type() const;
  const Shape& shape() const { return type().shape; }
  DType dtype() const { return type().dtype; }
  int64_t rank() const { return static_cast<int64_t>(shape().size()); }
  // Name of an input, parameter or state; a user Error for any other tensor.
  const std::string& name() const;
  // Size of dimension `i`; negative counts from the end.
  int64_t size(int64_t i) const;

  // In a hook of attention() (ops.h) only: the element at these positions, one an axis.
  Tensor operator()(const std::source_location& loc = std::source_location::current()) const;
  Tensor operator()(const At& i) const;
  Tensor operator()(const At& i, const At& j) const;
  Tensor operator()(const At& i, const At& j, const At& k) const;
  Tensor operator()(const At& i, const At& j, const At& k, const At& l) const;

 private:
  Graph* graph_ = nullptr;
  Value value_;
};

// The place to record for an op written at `loc`: that of the innermost CallSite of this thread, if
// there is one. Errors that know no better (an undefined Tensor) report the last one asked for.
FUSEC_API SourceLoc user_place(SourceLoc loc);

// An operand together with the place where the user wrote it. Every op takes At first, so that
// `a + b` and `silu(x)` both carry the caller's file:line with no macro.
struct At {
  Tensor tensor;
  SourceLoc loc;
  At(const Tensor& t, const std::source_location& s = std::source_location::current())  // NOLINT
      : tensor(t), loc(user_place(s)) {}
  At(const Tensor& t, SourceLoc l) : tensor(t), loc(l) {}
};

// One enumerator for each row of pointwise.def.
enum class Pointwise : uint8_t {
#define FUSEC_POINTWISE(name, ...) name,
#include "fusec/ops/pointwise.def"
};

// Structural op classes. The dialect has one op for each (plus kernel, library call and return).
enum class OpKind : uint8_t {
  input,            // fed by the caller before each run
  parameter,        // trainable, persistent
  state,            // persistent, not trained (optimizer moments); zero at start
  constant,         // splat of one number, or given data
  iota,             // index along one axis
  map,              // pointwise, all operands of the result's shape
  cast,             // change of element type
  reduce,           // sum / max / min over axes
  contract,         // einsum of two operands
  view,             // reshape, permute, broadcast, slice: no arithmetic
  concat,           // along one axis
  gather,           // rows of a table by index
  scatter,          // rows into a table by index: add or set
  cumsum,           // running sum along one axis
  top_k,            // the largest elements of the last axis, and where they are
  attention,        // (q, k, v[, cu_seqlens][, prefix][, sinks][, captured...]) -> (o, lse)
  attention_grad,   // (do, q, k, v, o, lse[, the same]) -> (dq, dk, dv[, dsinks][, dcaptured...])
  paged_attention,  // (q, k_pages, v_pages, page_table, lengths[, cu_q][, k_scale, v_scale]) -> o
  assign,           // write a value to persistent memory at the end of the step
  guard,            // the step's assigns take effect only if this scalar is finite
};
FUSEC_API std::string_view name_of(OpKind kind);
FUSEC_API std::string_view name_of(Pointwise op);


enum class ViewKind : uint8_t { reshape, permute, broadcast, slice };
enum class ScatterMode : uint8_t { add, set };

struct NameAttr { std::string name; };
// `data` empty: every element is `splat`. Else row-major values, one an element.
struct ConstantAttr { double splat = 0; std::shared_ptr<const std::vector<float>> data; };
struct IotaAttr { int64_t axis = 0; };
struct MapAttr { Pointwise op; };
// stop: the same value, but no gradient flows through (stop_gradient).
struct CastAttr { DType to; bool stop = false; };
// `axes` sorted, unique, in range; reduced axes are dropped from the shape. chunk > 0 (made by the
// compiler only): operand [n], axes {0}, result [ceil(n / chunk)], one value for each chunk.
struct ReduceAttr { ReduceKind kind; std::vector<int64_t> axes; int64_t chunk = 0; };
// Einsum labels, one letter a dimension: C[out] = sum over the rest of A[lhs] * B[rhs].
// No label repeats within one operand; every output label occurs in an operand.
struct ContractAttr { std::string lhs, rhs, out; };
// permute:   dims[i] = source axis of result axis i.
// broadcast: dims[i] = source axis of result axis i, or -1 where the result axis is new; a source
//            axis of size 1 may meet a larger result axis.
// slice:     result[i] = source[start + i * step] per axis; step may be negative (flip), not 0.
struct ViewAttr {
  ViewKind kind;
  Shape shape;                       // of the result
  std::vector<int64_t> dims;         // permute, broadcast
  std::vector<int64_t> start, step;  // slice
};
struct ConcatAttr { int64_t axis; };
struct ScatterAttr { ScatterMode mode; };
// reverse: element i is the sum of elements i .. n - 1 instead of 0 .. i.
struct CumsumAttr { int64_t axis = 0; bool reverse = false; };
struct TopKAttr { int64_t k = 1; };
// scale multiplies q.k before softcap and mask; softcap 0 means none: s = cap * tanh(s / cap).
// prefix, sinks: an operand of that name is there; cu_seqlens is if there is one operand more.
// hook: its text (hook.h) or nothing; captured_grads (of attention_grad), bit i: captured tensor i
// has a gradient. What each means is at AttentionOptions in ops.h.
struct AttentionAttr {
  bool causal = true;
  double scale = 1;
  double softcap = 0;
  bool top_left = false;
  int64_t window = 0;
  bool prefix = false, sinks = false;
  std::string hook = {};
  int64_t captured_grads = 0;
};

// cu_q, scales: operands of that name are there. What each means is at PagedAttentionOptions in
// ops.h.
struct PagedAttentionAttr {
  double scale = 1;
  double softcap = 0;
  int64_t window = 0;
  bool cu_q = false, scales = false;
};

using Attr = std::variant<std::monostate, NameAttr, ConstantAttr, IotaAttr, MapAttr, CastAttr,
                          ReduceAttr, ContractAttr, ViewAttr, ConcatAttr, ScatterAttr, CumsumAttr,
                          TopKAttr, AttentionAttr, PagedAttentionAttr>;

struct Node {
  OpKind kind;
  Attr attr;
  std::vector<Value> inputs;
  std::vector<TensorType> results;
  SourceLoc loc;
  int32_t scope = 0;  // index into Graph::scopes()

  template <class T>
  const T& as() const { return std::get<T>(attr); }
};

class FUSEC_API Graph {
 public:
  Graph();
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Named leaves. A name must be unique in the graph and non-empty.
  Tensor input(std::string name, Shape shape, DType dtype = DType::f32,
               const std::source_location& loc = std::source_location::current());
  Tensor parameter(std::string name, Shape shape, DType dtype = DType::f32,
                   const std::source_location& loc = std::source_location::current());
  Tensor state(std::string name, Shape shape, DType dtype = DType::f32,
               const std::source_location& loc = std::source_location::current());

  // A splat constant, or one with data (row-major, numel(shape) values; dtype f32 or i32).
  Tensor constant(double value, Shape shape = {}, DType dtype = DType::f32,
                  const std::source_location& loc = std::source_location::current());
  Tensor constant(std::vector<float> data, Shape shape, DType dtype = DType::f32,
                  const std::source_location& loc = std::source_location::current());
  // A splat constant recorded at an explicit place, for ops that make constants of their own.
  Tensor splat(double value, Shape shape, DType dtype, SourceLoc loc);
  // result[..., i, ...] = i along `axis`.
  Tensor iota(Shape shape, int64_t axis, DType dtype = DType::i32,
              const std::source_location& loc = std::source_location::current());

  // At the end of the step, parameter or state `target` takes the value. Same shape and dtype;
  // at most one assign a target. Reads of `target` in this graph see the old value.
  void assign(const Tensor& target, At value);

  // The assigns of a step take effect only if every guarded value is finite when it ends; else all
  // parameters and states keep their bits and run() says so. Guard a scalar that any trouble
  // reaches, such as the loss and the norm of all gradients: the check costs nothing. `value` must
  // be one f32 or f64.
  void guard(At value);

  // Appends a node, running shape inference (infer.cpp) on it; throws a user Error at `loc`.
  // All public ops end here.
  Tensor append(OpKind kind, Attr attr, std::vector<Value> inputs, SourceLoc loc);
  // Appends a node that has no operands and carries its own type: an input, parameter or state by
  // its full name, a constant or an iota. For graphs that are rebuilt from text or from a graph.
  Tensor append_leaf(OpKind kind, Attr attr, TensorType type, SourceLoc loc);

  const std::vector<Node>& nodes() const;
  const Node& node(Value v) const { return nodes()[v.node]; }
  const TensorType& type(Value v) const { return node(v).results[v.result]; }
  // The input, parameter or state of that name; an undefined Tensor if there is none.
  Tensor find(std::string_view name);
  // All parameters in the order of their creation.
  std::vector<Tensor> parameters();

  // A number that no earlier call on this graph returned: separates streams of random numbers.
  int64_t fresh_stream();

  // Dotted scope of the model part being recorded ("trunk.3.attn"): prefixes parameter names and
  // labels nodes for reports. Use ScopeGuard.
  void push_scope(std::string_view name);
  void pop_scope();
  // Opens scopes()[scope] again, for ops derived from a node of that scope; ends by pop_scope().
  void reopen_scope(int32_t scope);
  const std::vector<std::string>& scopes() const;
  // "trunk.3.attn.q" for name "q" inside that scope.
  std::string scoped(std::string_view name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  Tensor append_typed(OpKind kind, Attr attr, std::vector<Value> inputs,
                      std::vector<TensorType> results, SourceLoc loc);
  Tensor leaf(OpKind kind, std::string name, Shape shape, DType dtype, SourceLoc loc);
};

// For its lifetime, every op is recorded (and every error reported) at the place of `x`: a function
// composed of ops opens one, and its user sees the line that called it.
class FUSEC_API CallSite {
 public:
  explicit CallSite(const At& x);
  ~CallSite();
  CallSite(const CallSite&) = delete;
  CallSite& operator=(const CallSite&) = delete;

 private:
  SourceLoc before_;
};

// Opens a scope for the lifetime of the guard.
class ScopeGuard {
 public:
  ScopeGuard(Graph& graph, std::string_view name) : graph_(graph) { graph_.push_scope(name); }
  ~ScopeGuard() { graph_.pop_scope(); }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Graph& graph_;
};

// Result types of a node from its operand types; throws a user Error at `loc` that names found
// and expected shapes. The one set of shape rules: the dialect's verifier calls it too.
FUSEC_API std::vector<TensorType> infer_types(OpKind kind, const Attr& attr,
                                              const std::vector<TensorType>& inputs,
                                              SourceLoc loc);

// A user Error at `loc`, naming `op`, if the tensor has more elements than any machine could hold.
FUSEC_API void check_size(const std::string& op, const TensorType& type, SourceLoc loc);

}  // namespace fusec
