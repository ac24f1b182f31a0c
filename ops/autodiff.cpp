// Reverse mode over the recorder: the nodes between some `wrt` and the loss are walked from last to
// first, and each node's rule (gradient_rules.cpp, gradient_pointwise.cpp) turns the gradient of
// its result into gradients of its operands, appended to the same graph.
//
// Several uses of a value give several contributions; they are added in the order in which the walk
// meets them (the last use in program order first), so the graph, and with it every rounding, is a
// function of the program alone. Nodes that lead from no wrt to the loss record nothing.
//
// Refuses (user Error): a loss that is not a float scalar, a wrt that is not float or that the loss
// does not depend on, a path through an op without a gradient.
#include <algorithm>

#include "fusec/ops/grad.h"
#include "fusec/ops/ops.h"
#include "gradient_rules.h"

namespace fusec {

namespace {

// No gradient passes, because the user said so.
bool stops_gradient(const Node& n) {
  return n.kind == OpKind::cast && n.as<CastAttr>().stop;
}

std::string describe(const Tensor& t) {
  const Node& n = t.graph().node(t.value());
  if (const auto* name = std::get_if<NameAttr>(&n.attr)) return name->name;
  std::string op(n.kind == OpKind::map ? name_of(n.as<MapAttr>().op) : name_of(n.kind));
  if (stops_gradient(n)) op = "stop_gradient";
  return "the result of " + op + (n.loc.known() ? " at " + n.loc.str() : "");
}

bool is_float_value(const Graph& graph, Value v) { return is_float(graph.type(v).dtype); }

// Records every op of its lifetime in the scope of the node that is differentiated.
class ReopenedScope {
 public:
  ReopenedScope(Graph& graph, int32_t scope) : graph_(graph) { graph_.reopen_scope(scope); }
  ~ReopenedScope() { graph_.pop_scope(); }
  ReopenedScope(const ReopenedScope&) = delete;
  ReopenedScope& operator=(const ReopenedScope&) = delete;

 private:
  Graph& graph_;
};

class Backward {
 public:
  Backward(const At& loss, const std::vector<Tensor>& wrt)
      : graph_(loss.tensor.graph()), loss_(loss), wrt_(wrt),
        count_(loss.tensor.value().node + 1) {}

  std::vector<Tensor> run() {
    check_arguments();
    find_paths();
    for (const Tensor& w : wrt_)
      if (!reached(w)) fail_unreached(w);
    contributions_.resize(count_);
    Value loss = loss_.tensor.value();
    contribute(loss, graph_.splat(1.0, {}, loss_.tensor.dtype(), loss_.loc));
    std::vector<Tensor> out(wrt_.size());
    for (int32_t i = count_ - 1; i >= 0; --i) {
      if (!on_path_[i]) continue;
      const Node node = graph_.nodes()[i];  // a copy: rules append nodes
      ReopenedScope scope(graph_, node.scope);
      std::vector<Tensor> total = totals(i, node);
      for (size_t w = 0; w < wrt_.size(); ++w)
        if (wrt_[w].value().node == i) out[w] = total[wrt_[w].value().result];
      visit(i, node, total);
      contributions_[i].clear();
    }
    for (size_t w = 0; w < wrt_.size(); ++w)
      if (!out[w].defined()) fail_unreached(wrt_[w]);  // another result of a node on the path
    return out;
  }

 private:
  void check_arguments() const {
    if (loss_.tensor.rank() != 0 || !is_float(loss_.tensor.dtype()))
      fail_user("grad: expected a scalar float loss, found " + loss_.tensor.type().str() +
                    "; reduce it with sum() or mean()", loss_.loc);
    for (size_t i = 0; i < wrt_.size(); ++i) {
      if (!wrt_[i].defined() || &wrt_[i].graph() != &graph_)
        fail_user("grad: wrt[" + std::to_string(i) + "] is not a tensor of the loss's graph",
                  loss_.loc);
      if (!is_float(wrt_[i].dtype()))
        fail_user("grad: " + describe(wrt_[i]) + " is " + wrt_[i].type().str() +
                      "; expected a float tensor to differentiate by", loss_.loc);
    }
  }

  // needs_[i]: some wrt lies at or before node i along differentiable edges. on_path_[i]: and the
  // loss lies at or after it.
  void find_paths() {
    needs_.assign(count_, false);
    on_path_.assign(count_, false);
    for (const Tensor& w : wrt_)
      if (w.value().node < count_) needs_[w.value().node] = true;
    for (int32_t i = 0; i < count_; ++i) {
      const Node& n = graph_.nodes()[i];
      if (n.results.empty() || !is_float(n.results[0].dtype) || stops_gradient(n)) continue;
      for (Value v : n.inputs)
        if (wanted(v)) needs_[i] = true;
    }
    on_path_[loss_.tensor.value().node] = needs_[loss_.tensor.value().node];
    for (int32_t i = count_ - 1; i >= 0; --i) {
      // A wrt that is a stop_gradient has a gradient itself but passes none on.
      const Node& n = graph_.nodes()[i];
      if (!on_path_[i] || stops_gradient(n)) continue;
      for (Value v : n.inputs)
        if (wanted(v)) on_path_[v.node] = true;
    }
  }

  bool wanted(Value v) const { return needs_[v.node] && is_float_value(graph_, v); }
  bool reached(const Tensor& w) const {
    return w.value().node < count_ && on_path_[w.value().node];
  }

  // Says why: no dependence at all, or only through integers and truth values.
  [[noreturn]] void fail_unreached(const Tensor& w) const {
    std::vector<bool> depends(count_, false);
    if (w.value().node < count_) depends[w.value().node] = true;
    std::vector<bool> leads(count_, false);
    leads[count_ - 1] = true;
    for (int32_t i = 0; i < count_; ++i)
      for (Value v : graph_.nodes()[i].inputs)
        if (depends[v.node]) depends[i] = true;
    std::string message = "grad: the loss does not depend on " + describe(w);
    if (!depends[count_ - 1])
      fail_user(message + "; remove it from wrt or use it in the loss", loss_.loc);
    for (int32_t i = count_ - 1; i >= 0; --i)
      if (leads[i] && depends[i])
        for (Value v : graph_.nodes()[i].inputs)
          if (depends[v.node]) leads[v.node] = true;
    for (int32_t i = 0; i < count_; ++i) {
      const Node& n = graph_.nodes()[i];
      bool blocks = !n.results.empty() && (!is_float(n.results[0].dtype) || stops_gradient(n));
      if (!leads[i] || !depends[i] || !blocks) continue;
      std::string op = describe(Tensor(&graph_, {i, 0}));
      fail_user(message + " except through " + op + ", where no gradient passes", loss_.loc);
    }
    fail_user(message + " along a differentiable path", loss_.loc);
  }

  void contribute(Value v, const Tensor& g) {
    auto& of_node = contributions_[v.node];
    of_node.resize(graph_.nodes()[v.node].results.size());
    of_node[v.result].push_back(g);
  }

  std::vector<Tensor> totals(int32_t i, const Node& node) const {
    std::vector<Tensor> out(node.results.size());
    for (size_t r = 0; r < contributions_[i].size(); ++r)
      for (const Tensor& g : contributions_[i][r])
        out[r] = out[r].defined() ? At(out[r], node.loc) + g : g;
    return out;
  }

  void visit(int32_t i, const Node& node, const std::vector<Tensor>& total) {
    std::vector<bool> want;
    for (Value v : node.inputs) want.push_back(on_path_[v.node] && wanted(v));
    if (stops_gradient(node) || std::find(want.begin(), want.end(), true) == want.end()) return;
    for (size_t r = 1; r < total.size(); ++r)
      if (total[r].defined())
        fail_user("grad: result " + std::to_string(r) + " of op " +
                             std::string(name_of(node.kind)) + " has no gradient", node.loc);
    std::vector<Tensor> gradients =
        operand_gradients({graph_, node, {i, 0}, total[0], want});
    for (size_t k = 0; k < node.inputs.size(); ++k)
      if (want[k]) contribute(node.inputs[k], gradients[k]);
  }

  Graph& graph_;
  At loss_;
  const std::vector<Tensor>& wrt_;
  int32_t count_;  // nodes up to the loss; later ones cannot matter
  std::vector<bool> needs_, on_path_;
  // Of each node and result, in the order of the walk.
  std::vector<std::vector<std::vector<Tensor>>> contributions_;
};

}  // namespace

std::vector<Tensor> grad(At loss, const std::vector<Tensor>& wrt) {
  if (!loss.tensor.defined()) fail_user("grad: the loss is an undefined Tensor", loss.loc);
  return Backward(loss, wrt).run();
}

}  // namespace fusec
