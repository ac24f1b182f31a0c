// Makes a failing sample small by rebuilding it with one change at a time: the recorder's own shape
// rules refuse what makes no sense, and `fails` decides what is kept. Ends in a local minimum: no
// output, op or size can go on its own.
#include <algorithm>
#include <map>
#include <set>

#include "graph_fuzz.h"

namespace fusec::fuzz {
namespace {

struct Edit {
  int only = -1;  // node that becomes the one output, without assigns
  int drop_output = -1;
  int drop_assign = -1;      // node
  int replaced = -1;         // node whose first result becomes ...
  int operand = -1;          // ... this operand of it, or a fresh input if -1
  int64_t from = 0, to = 0;  // every size `from` of leaves and views becomes `to`
};

// Copies what outputs and assigns need, with the edit.
class Rebuild {
 public:
  Rebuild(const Sample& s, const Edit& e) : sample_(s), edit_(e), made_(s.graph->nodes().size()) {}

  std::optional<Sample> run() {
    try {
      return copy();
    } catch (const Error&) {  // the edit makes no graph
      return {};
    }
  }

 private:
  Sample copy() {
    const std::vector<Node>& nodes = sample_.graph->nodes();
    std::vector<bool> needed(nodes.size(), false);
    const bool all = edit_.only < 0;
    if (!all) needed[edit_.only] = true;
    for (size_t i = 0; all && i < sample_.outputs.size(); ++i)
      if (static_cast<int>(i) != edit_.drop_output)
        needed[sample_.outputs[i].tensor.value().node] = true;
    for (size_t i = nodes.size(); i-- > 0;) {
      if (all && nodes[i].kind == OpKind::assign && static_cast<int>(i) != edit_.drop_assign)
        needed[i] = true;
      if (!needed[i]) continue;
      if (static_cast<int>(i) == edit_.replaced) {
        if (edit_.operand >= 0) needed[nodes[i].inputs[edit_.operand].node] = true;
        continue;
      }
      for (Value v : nodes[i].inputs) needed[v.node] = true;
    }
    Sample out{std::make_unique<Graph>(), {}};
    for (const Node& n : nodes)
      if (auto* name = std::get_if<NameAttr>(&n.attr)) taken_.insert(name->name);
    for (size_t i = 0; i < nodes.size(); ++i)
      if (needed[i]) node(*out.graph, static_cast<int>(i));
    if (!all) out.outputs.emplace_back("only", Tensor(out.graph.get(), value({edit_.only, 0})));
    for (size_t i = 0; all && i < sample_.outputs.size(); ++i) {
      const Output& o = sample_.outputs[i];
      if (static_cast<int>(i) != edit_.drop_output)
        out.outputs.emplace_back(o.name, Tensor(out.graph.get(), value(o.tensor.value())));
    }
    return out;
  }

  Value value(Value v) const {
    const std::vector<Value>& results = made_[v.node];
    if (results.size() == 1 && v.result > 0) fail_user("shrink: a result that is gone");
    return results.size() == 1 ? results[0] : results.at(v.result);
  }

  Shape resized(Shape s) const {
    for (int64_t& d : s)
      if (edit_.from != edit_.to && d == edit_.from) d = edit_.to;
    return s;
  }

  void node(Graph& g, int i) {
    const Node& n = sample_.graph->nodes()[i];
    if (i == edit_.replaced) {
      if (edit_.operand >= 0) {
        made_[i] = {value(n.inputs[edit_.operand])};
        return;
      }
      std::string name = "r" + std::to_string(i);
      while (taken_.count(name)) name += "_";
      TensorType t{resized(n.results[0].shape), n.results[0].dtype};
      made_[i] = {g.append_leaf(OpKind::input, NameAttr{name}, t, n.loc).value()};
      return;
    }
    if (n.kind == OpKind::assign) {
      g.assign(Tensor(&g, value(n.inputs[0])), At(Tensor(&g, value(n.inputs[1])), n.loc));
      return;
    }
    if (n.inputs.empty()) {
      TensorType t{resized(n.results[0].shape), n.results[0].dtype};
      Attr attr = n.attr;
      if (auto* c = std::get_if<ConstantAttr>(&attr); c && c->data && t.shape != n.results[0].shape)
        attr = ConstantAttr{c->data->empty() ? 0.0 : c->data->front(), nullptr};
      made_[i] = {g.append_leaf(n.kind, attr, t, n.loc).value()};
      return;
    }
    std::vector<Value> in;
    for (Value v : n.inputs) in.push_back(value(v));
    Attr attr = n.attr;
    if (auto* view = std::get_if<ViewAttr>(&attr)) adapt(*view, g.type(in[0]).shape);
    Tensor first = g.append(n.kind, std::move(attr), std::move(in), n.loc);
    for (size_t r = 0; r < n.results.size(); ++r)
      made_[i].push_back({first.value().node, static_cast<int32_t>(r)});
  }

  // A view's result shape, for an operand of another shape.
  void adapt(ViewAttr& view, const Shape& source) const {
    view.shape = resized(view.shape);
    if (view.kind == ViewKind::permute)
      for (size_t d = 0; d < view.dims.size() && d < view.shape.size(); ++d)
        if (view.dims[d] >= 0 && view.dims[d] < static_cast<int64_t>(source.size()))
          view.shape[d] = source[view.dims[d]];
    if (view.kind == ViewKind::broadcast)
      for (size_t d = 0; d < view.dims.size() && d < view.shape.size(); ++d)
        if (view.dims[d] >= 0 && view.dims[d] < static_cast<int64_t>(source.size()) &&
            source[view.dims[d]] != 1)
          view.shape[d] = source[view.dims[d]];
    if (view.kind == ViewKind::slice)
      for (size_t d = 0; d < view.shape.size() && d < source.size(); ++d) {
        int64_t &n = view.shape[d], &start = view.start[d], step = view.step[d];
        start = std::clamp<int64_t>(start, 0, std::max<int64_t>(0, source[d] - 1));
        int64_t most =
            source[d] == 0 ? 0 : 1 + (step > 0 ? (source[d] - 1 - start) / step : start / -step);
        n = std::min(n, most);
      }
    if (view.kind == ViewKind::reshape && numel(view.shape) != numel(source))
      for (int64_t& d : view.shape) {
        int64_t others = d == 0 ? 0 : numel(view.shape) / d;
        if (others > 0 && numel(source) % others == 0) {
          d = numel(source) / others;
          break;
        }
      }
  }

  const Sample& sample_;
  const Edit& edit_;
  std::vector<std::vector<Value>> made_;
  std::set<std::string> taken_;
};

// What could be tried on a sample, the largest cuts first.
std::vector<Edit> edits_of(const Sample& s) {
  std::vector<Edit> out;
  const std::vector<Node>& nodes = s.graph->nodes();
  size_t roots = s.outputs.size();
  for (const Node& n : nodes) roots += n.kind == OpKind::assign;
  // What is one output already gets smaller below.
  for (size_t i = 0; i < nodes.size() && (roots > 1 || s.outputs.empty()); ++i)
    if (!nodes[i].inputs.empty() && nodes[i].kind != OpKind::assign) {
      Edit e;
      e.only = static_cast<int>(i);
      out.push_back(e);
    }
  for (size_t i = 0; i < s.outputs.size(); ++i) {
    Edit e;
    e.drop_output = static_cast<int>(i);
    out.push_back(e);
  }
  for (size_t i = 0; i < nodes.size(); ++i)
    if (nodes[i].kind == OpKind::assign) {
      Edit e;
      e.drop_assign = static_cast<int>(i);
      out.push_back(e);
    }
  for (size_t i = nodes.size(); i-- > 0;) {
    if (nodes[i].inputs.empty() || nodes[i].kind == OpKind::assign) continue;
    for (int k = -1; k < static_cast<int>(nodes[i].inputs.size()); ++k) {
      Edit e;
      e.replaced = static_cast<int>(i);
      e.operand = k;
      out.push_back(e);
    }
  }
  std::set<int64_t, std::greater<>> sizes;
  for (const Node& n : nodes)
    for (const TensorType& t : n.results)
      for (int64_t d : t.shape)
        if (d > 1) sizes.insert(d);
  for (int64_t d : sizes)
    for (int64_t to : {int64_t{1}, int64_t{2}, d / 2, d - 1})
      if (to > 0 && to < d) {
        Edit e;
        e.from = d, e.to = to;
        out.push_back(e);
      }
  return out;
}

}  // namespace

Sample shrink(Sample sample, const std::function<bool(Sample&)>& fails, int budget) {
  for (bool smaller = true; smaller && budget > 0;) {
    smaller = false;
    for (const Edit& e : edits_of(sample)) {
      if (budget <= 0) break;
      if (e.drop_output >= 0 && sample.outputs.size() + count_ops(*sample.graph) <= 1) continue;
      std::optional<Sample> candidate = Rebuild(sample, e).run();
      if (!candidate) continue;
      --budget;
      if (!fails(*candidate)) continue;
      sample = std::move(*candidate);
      smaller = true;
      break;
    }
  }
  return sample;
}

}  // namespace fusec::fuzz
