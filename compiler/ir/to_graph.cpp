// Turns dialect ops into recorded nodes one by one; the inverse of import.cpp. Ops of an op class
// go through info_of() and Graph::append(), so a new class needs no line here; leaves, constants
// and effects are spelled out. Refuses kernels inside graphs, library calls and other later-stage
// ops.
#include "fusec/ir/to_graph.h"

#include <map>

using namespace mlir;

namespace fusec::ir {
namespace {

class Recorder {
 public:
  explicit Recorder(Graph& graph) : graph_(graph) {}

  void bind(mlir::Value from, const Tensor& to) { values_[from] = to.value(); }
  Tensor tensor(mlir::Value v) { return Tensor(&graph_, value(v)); }

  void record(Operation* op) {
    std::string scope = scope_of(op);
    if (!scope.empty()) open(scope);
    record_op(op);
    if (!scope.empty()) graph_.pop_scope();
  }

 private:
  fusec::Value value(mlir::Value v) const {
    auto it = values_.find(v);
    if (it == values_.end()) fail_internal("to_graph: a value is used before its op");
    return it->second;
  }

  void open(const std::string& scope) {
    auto known = scopes_.find(scope);
    if (known != scopes_.end()) return graph_.reopen_scope(known->second);
    graph_.push_scope(scope);
    scopes_[scope] = static_cast<int32_t>(graph_.scopes().size() - 1);
  }

  void record_op(Operation* op) {
    SourceLoc loc = source_of(op);
    if (auto c = dyn_cast<ConstantOp>(op)) return bind(c.getResult(), constant(c, loc));
    if (auto i = dyn_cast<IotaOp>(op)) {
      TensorType t = type_of(i.getResult());
      return bind(
          i.getResult(),
          graph_.append_leaf(OpKind::iota, IotaAttr{static_cast<int64_t>(i.getAxis())}, t, loc));
    }
    if (auto in = dyn_cast<InputOp>(op))
      return bind(in.getResult(), leaf(OpKind::input, in.getName(), in.getResult(), loc));
    if (auto p = dyn_cast<ParameterOp>(op))
      return bind(p.getResult(), leaf(p.getState() ? OpKind::state : OpKind::parameter, p.getName(),
                                      p.getResult(), loc));
    if (auto a = dyn_cast<AssignOp>(op))
      return graph_.assign(tensor(a.getTarget()), At(tensor(a.getValue()), loc));
    if (auto g = dyn_cast<GuardOp>(op)) return graph_.guard(At(tensor(g.getValue()), loc));
    if (isa<KernelOp, LibraryOp, YieldOp, GraphOp, OutputOp>(op))
      fail_user(describe(op) +
                    ": expected the text of stage graph or canonical, found an op of a "
                    "later stage",
                loc);
    OpInfo info = info_of(op);
    std::vector<fusec::Value> inputs;
    for (mlir::Value v : op->getOperands()) inputs.push_back(value(v));
    Tensor first = graph_.append(info.kind, std::move(info.attr), std::move(inputs), loc);
    for (unsigned r = 0; r < op->getNumResults(); ++r)
      values_[op->getResult(r)] = {first.value().node, static_cast<int32_t>(r)};
  }

  // By its full name, whatever scope is open.
  Tensor leaf(OpKind kind, StringRef name, mlir::Value v, SourceLoc loc) {
    return graph_.append_leaf(kind, NameAttr{name.str()}, type_of(v), loc);
  }

  Tensor constant(ConstantOp c, SourceLoc loc) {
    TensorType t = type_of(c.getResult());
    auto dense = mlir::dyn_cast<DenseElementsAttr>(c.getValue());
    if (!dense) fail_user("constant: expected dense data, found another kind of elements", loc);
    if (dense.isSplat())
      return graph_.splat(holds_floats(t.dtype) ? dense.getSplatValue<APFloat>().convertToDouble()
                                                : number(dense.getSplatValue<APInt>(), t.dtype),
                          t.shape, t.dtype, loc);
    auto data = std::make_shared<std::vector<float>>();
    data->reserve(numel(t.shape));
    auto push = [&](double v) {
      float f = static_cast<float>(v);
      if (static_cast<double>(f) != v && v == v)
        fail_user("constant of " + t.str() + ": data must be exact in f32", loc);
      data->push_back(f);
    };
    if (t.dtype != DType::f32 && t.dtype != DType::i32)
      fail_user("constant of " + t.str() + ": expected data of f32 or i32, or a splat", loc);
    if (t.dtype == DType::f32)
      for (APFloat v : dense.getValues<APFloat>()) push(v.convertToDouble());
    else
      for (APInt v : dense.getValues<APInt>()) push(number(v, t.dtype));
    return graph_.append_leaf(OpKind::constant, ConstantAttr{0, std::move(data)}, t, loc);
  }

  static double number(const APInt& v, DType t) {
    return t == DType::b8 || t == DType::u8 ? static_cast<double>(v.getZExtValue())
                                            : static_cast<double>(v.getSExtValue());
  }

  Graph& graph_;
  llvm::DenseMap<mlir::Value, fusec::Value> values_;
  std::map<std::string, int32_t> scopes_;
};

}  // namespace

RecordedModule to_graph(GraphOp top) {
  RecordedModule out{top.getName().str(), std::make_unique<Graph>(), {}};
  Recorder recorder(*out.graph);
  for (Operation& op : top.getBody().front()) {
    if (auto o = dyn_cast<OutputOp>(op))
      out.outputs.push_back({o.getName().str(), recorder.tensor(o.getValue()).value()});
    else
      recorder.record(&op);
  }
  return out;
}

RecordedKernel to_graph(KernelOp kernel) {
  RecordedKernel out{std::make_unique<Graph>(), {}, {}};
  Recorder recorder(*out.graph);
  Block& body = kernel.getBody().front();
  for (auto [i, arg] : llvm::enumerate(body.getArguments())) {
    TensorType t = type_of(arg);
    out.inputs.push_back(out.graph->append_leaf(OpKind::input, NameAttr{"arg" + std::to_string(i)},
                                                t, source_of(kernel)));
    recorder.bind(arg, out.inputs.back());
  }
  for (Operation& op : body.without_terminator()) recorder.record(&op);
  for (mlir::Value v : body.getTerminator()->getOperands())
    out.outputs.push_back(recorder.tensor(v));
  out.places = places_of(kernel);
  return out;
}

}  // namespace fusec::ir
