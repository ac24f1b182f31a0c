// Turns recorded nodes into dialect ops one by one. It decides nothing.
#include "fusec/ir/import.h"

#include <mlir/IR/Builders.h>

using namespace mlir;

namespace fusec::ir {
namespace {

class Importer {
 public:
  Importer(const Graph& graph, OpBuilder& b)
      : graph_(graph), b_(b), results_(graph.nodes().size()) {}

  void node(size_t i) {
    const Node& n = graph_.nodes()[i];
    Location loc = location(b_.getContext(), n.loc, graph_.scopes()[n.scope]);
    SmallVector<mlir::Value> in;
    for (fusec::Value v : n.inputs) in.push_back(value(v));
    SmallVector<Type> out;
    for (const TensorType& t : n.results) out.push_back(tensor_type(b_.getContext(), t));
    if (Operation* op = make(n, loc, in, out)) results_[i] = op;
  }

  mlir::Value value(fusec::Value v) const { return results_[v.node]->getResult(v.result); }

 private:
  Operation* make(const Node& n, Location loc, ArrayRef<mlir::Value> in, ArrayRef<Type> out) {
    switch (n.kind) {
      case OpKind::input: return InputOp::create(b_, loc, out[0], n.as<NameAttr>().name);
      case OpKind::parameter:
      case OpKind::state:
        return ParameterOp::create(b_, loc, out[0], n.as<NameAttr>().name, n.kind == OpKind::state);
      case OpKind::constant: return constant(n, loc, cast<RankedTensorType>(out[0]));
      case OpKind::iota: return IotaOp::create(b_, loc, out[0], n.as<IotaAttr>().axis);
      case OpKind::map: return MapOp::create(b_, loc, out[0], name_of(n.as<MapAttr>().op), in);
      case OpKind::cast:
        if (n.as<CastAttr>().stop) return forward(in[0], loc);
        return CastOp::create(b_, loc, out[0], in[0]);
      case OpKind::reduce: {
        const auto& a = n.as<ReduceAttr>();
        return ReduceOp::create(b_, loc, out[0], name_of(a.kind), in[0], a.axes, a.chunk);
      }
      case OpKind::contract: {
        const auto& a = n.as<ContractAttr>();
        return ContractOp::create(b_, loc, out[0], a.lhs + "," + a.rhs + "->" + a.out, in[0],
                                  in[1]);
      }
      case OpKind::view: {
        static constexpr StringRef kinds[] = {"reshape", "permute", "broadcast", "slice"};
        const auto& a = n.as<ViewAttr>();
        return ViewOp::create(b_, loc, out[0], kinds[static_cast<int>(a.kind)], in[0], a.dims,
                              a.start, a.step);
      }
      case OpKind::concat: return ConcatOp::create(b_, loc, out[0], n.as<ConcatAttr>().axis, in);
      case OpKind::gather: return GatherOp::create(b_, loc, out[0], in[0], in[1]);
      case OpKind::scatter:
        return ScatterOp::create(b_, loc, out[0],
                                 n.as<ScatterAttr>().mode == ScatterMode::add ? "add" : "set",
                                 in[0], in[1], in[2]);
      case OpKind::cumsum: {
        const auto& a = n.as<CumsumAttr>();
        return CumsumOp::create(b_, loc, out[0], a.axis, a.reverse, in[0]);
      }
      case OpKind::top_k: return TopKOp::create(b_, loc, out[0], out[1], n.as<TopKAttr>().k, in[0]);
      case OpKind::attention: {
        const auto& a = n.as<AttentionAttr>();
        return AttentionOp::create(b_, loc, out[0], out[1], in, a.causal, APFloat(a.scale),
                                   APFloat(a.softcap), a.top_left, integer(a.window), a.prefix,
                                   a.sinks, hook(a));
      }
      case OpKind::attention_grad: {
        const auto& a = n.as<AttentionAttr>();
        return AttentionGradOp::create(b_, loc, out[0], out[1], out[2], ArrayRef(out).drop_front(3),
                                       in, a.causal, APFloat(a.scale), APFloat(a.softcap),
                                       a.top_left, integer(a.window), a.prefix, a.sinks, hook(a),
                                       integer(a.captured_grads));
      }
      case OpKind::paged_attention: {
        const auto& a = n.as<PagedAttentionAttr>();
        return PagedAttentionOp::create(b_, loc, out[0], in, APFloat(a.scale), APFloat(a.softcap),
                                        integer(a.window), a.cu_q, a.scales);
      }
      case OpKind::assign: return AssignOp::create(b_, loc, in[0], in[1]);
      case OpKind::guard: return GuardOp::create(b_, loc, in[0]);
    }
    return nullptr;
  }

  // Attributes that are absent where they say nothing.
  IntegerAttr integer(int64_t v) { return v ? b_.getI64IntegerAttr(v) : IntegerAttr(); }
  StringAttr hook(const AttentionAttr& a) {
    return a.hook.empty() ? StringAttr() : b_.getStringAttr(a.hook);
  }

  // stop_gradient is the identity: an identity reshape keeps "one node, one op" simple.
  Operation* forward(mlir::Value v, Location loc) {
    return ViewOp::create(b_, loc, v.getType(), "reshape", v, ArrayRef<int64_t>{},
                          ArrayRef<int64_t>{}, ArrayRef<int64_t>{});
  }

  Operation* constant(const Node& n, Location loc, RankedTensorType type) {
    const auto& a = n.as<ConstantAttr>();
    Type element = type.getElementType();
    auto number = [&](double v) -> Attribute {
      if (isa<Float8E4M3FNType>(element)) v = float_from_f8e4m3(f8e4m3_from_float(v));
      if (isa<FloatType>(element)) return FloatAttr::get(element, v);
      return IntegerAttr::get(element,
                              APInt(element.getIntOrFloatBitWidth(),
                                    static_cast<uint64_t>(static_cast<int64_t>(v)), true, true));
    };
    DenseElementsAttr value;
    if (!a.data)
      value = DenseElementsAttr::get(type, number(a.splat));
    else if (isa<FloatType>(element))
      value = DenseElementsAttr::get(type, ArrayRef<float>(*a.data));
    else {
      std::vector<int32_t> integers(a.data->begin(), a.data->end());
      value = DenseElementsAttr::get(type, ArrayRef<int32_t>(integers));
    }
    return ConstantOp::create(b_, loc, value);
  }

  const Graph& graph_;
  OpBuilder& b_;
  std::vector<Operation*> results_;
};

}  // namespace

std::vector<bool> needed_nodes(const Graph& graph, const std::vector<NamedValue>& outputs,
                               bool assigns) {
  const std::vector<Node>& nodes = graph.nodes();
  std::vector<bool> needed(nodes.size(), false);
  for (const NamedValue& o : outputs) needed[o.value.node] = true;
  for (size_t i = nodes.size(); i-- > 0;) {
    bool effect = nodes[i].kind == OpKind::assign || nodes[i].kind == OpKind::guard;
    if (effect && assigns) needed[i] = true;
    if (!needed[i]) continue;
    for (fusec::Value v : nodes[i].inputs) needed[v.node] = true;
  }
  return needed;
}

OwningOpRef<ModuleOp> import_graph(MLIRContext& context, const Graph& graph,
                                   const std::vector<NamedValue>& outputs,
                                   const std::string& name, bool assigns) {
  OpBuilder b(&context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(b, b.getUnknownLoc());
  b.setInsertionPointToStart(module->getBody());
  auto top = GraphOp::create(b, b.getUnknownLoc(), name);
  b.setInsertionPointToStart(&top.getBody().emplaceBlock());
  Importer importer(graph, b);
  std::vector<bool> needed = needed_nodes(graph, outputs, assigns);
  for (size_t i = 0; i < needed.size(); ++i)
    if (needed[i]) importer.node(i);
  for (const NamedValue& o : outputs)
    OutputOp::create(b, location(&context, graph.node(o.value).loc, ""), o.name,
                     importer.value(o.value));
  return module;
}

}  // namespace fusec::ir
