// Walks a recorded graph in program order and evaluates what is needed, holding all values in
// double. Refuses (user Error): unknown names, wrong element counts, a needed leaf without a feed.
#include "fusec/ops/oracle.h"

#include <cmath>

#include "fusec/base/nearest.h"
#include "oracle_ops.h"

namespace fusec {

namespace {

using oracle::Data;

bool is_leaf(const Node& n) {
  return n.kind == OpKind::input || n.kind == OpKind::parameter || n.kind == OpKind::state;
}

void round_to_storage(Data& data, DType dtype) {
  if (!holds_floats(dtype) || dtype == DType::f64) return;
  for (double& x : data) {
    uint32_t word = 0;  // the widest rounded type is f32
    store_from_double(&word, dtype, 0, x);
    x = load_as_double(&word, dtype, 0);
  }
}

Data constant_data(const Node& n) {
  const auto& attr = n.as<ConstantAttr>();
  if (attr.data) return Data(attr.data->begin(), attr.data->end());
  return Data(numel(n.results[0].shape), attr.splat);
}

Data iota_data(const Node& n) {
  const Shape& shape = n.results[0].shape;
  int64_t axis = n.as<IotaAttr>().axis, stride = row_major_strides(shape)[axis];
  Data out(numel(shape));
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<double>(static_cast<int64_t>(i) / stride % shape[axis]);
  return out;
}

}  // namespace

Oracle::Oracle(const Graph& graph, OracleOptions options) : graph_(graph), options_(options) {}

const Node& Oracle::leaf(const std::string& name) const {
  std::vector<std::string> known;
  for (const Node& n : graph_.nodes()) {
    if (!is_leaf(n)) continue;
    if (n.as<NameAttr>().name == name) return n;
    known.push_back(n.as<NameAttr>().name);
  }
  fail_user("oracle: no input, parameter or state is called \"" + name + "\"" +
            suggest(name, known));
}

void Oracle::set(const std::string& name, std::vector<double> values) {
  const TensorType& type = leaf(name).results[0];
  if (static_cast<int64_t>(values.size()) != numel(type.shape))
    fail_user("oracle: " + name + " is " + type.str() + " with " +
              std::to_string(numel(type.shape)) + " elements, found " +
              std::to_string(values.size()));
  if (options_.round_storage) round_to_storage(values, type.dtype);
  values_[name] = std::move(values);
}

const std::vector<double>& Oracle::get(const std::string& name) const {
  auto it = values_.find(name);
  if (it == values_.end()) fail_user("oracle: \"" + name + "\" has no value yet; set() it first");
  return it->second;
}

std::vector<Data> Oracle::run(const std::vector<Tensor>& wanted, bool assigns,
                              OracleFeeds* assigned) const {
  const std::vector<Node>& nodes = graph_.nodes();
  std::vector<bool> needed(nodes.size(), false);
  for (const Tensor& t : wanted) {
    if (!t.defined() || &t.graph() != &graph_)
      fail_user("oracle: a wanted tensor is not of this graph");
    needed[t.value().node] = true;
  }
  for (size_t i = nodes.size(); i-- > 0;) {
    if (nodes[i].kind == OpKind::guard && assigns) needed[nodes[i].inputs[0].node] = true;
    if (nodes[i].kind == OpKind::assign && assigns) needed[nodes[i].inputs[1].node] = true;
    if (!needed[i]) continue;
    for (Value v : nodes[i].inputs) needed[v.node] = true;
  }

  bool finite = true;  // every guard so far
  std::vector<std::vector<Data>> values(nodes.size());
  auto value = [&](Value v) -> const Data& { return values[v.node][v.result]; };
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node& n = nodes[i];
    if (n.kind == OpKind::guard && assigns)
      finite = finite && std::isfinite(value(n.inputs[0]).at(0));
    if (n.kind == OpKind::assign && assigns)
      (*assigned)[n.as<NameAttr>().name] = value(n.inputs[1]);
    if (!needed[i]) continue;
    if (is_leaf(n)) {
      const std::string& name = n.as<NameAttr>().name;
      auto it = values_.find(name);
      if (it == values_.end() && n.kind != OpKind::state)
        fail_user("oracle: " + std::string(name_of(n.kind)) + " \"" + name + "\" was not fed",
                  n.loc);
      values[i] = {it == values_.end() ? Data(numel(n.results[0].shape), 0.0) : it->second};
      continue;
    }
    if (n.kind == OpKind::constant) {
      values[i] = {constant_data(n)};
    } else if (n.kind == OpKind::iota) {
      values[i] = {iota_data(n)};
    } else {
      oracle::Call call{n, {}, {}};
      for (Value v : n.inputs) {
        call.in.push_back(&value(v));
        call.types.push_back(graph_.type(v));
      }
      values[i] = oracle::compute(call);
    }
    if (options_.round_storage)
      for (size_t r = 0; r < values[i].size(); ++r)
        round_to_storage(values[i][r], n.results[r].dtype);
  }
  if (!finite) assigned->clear();
  std::vector<Data> out;
  for (const Tensor& t : wanted) out.push_back(value(t.value()));
  return out;
}

std::vector<std::vector<double>> Oracle::evaluate(const std::vector<Tensor>& wanted) const {
  return run(wanted, false, nullptr);
}

std::vector<std::vector<double>> Oracle::step(const std::vector<Tensor>& wanted) {
  OracleFeeds assigned;
  std::vector<Data> out = run(wanted, true, &assigned);
  for (auto& [name, data] : assigned) values_[name] = std::move(data);
  return out;
}

std::vector<std::vector<double>> evaluate(const Graph& graph, const OracleFeeds& feeds,
                                          const std::vector<Tensor>& wanted,
                                          OracleOptions options) {
  Oracle oracle(graph, options);
  for (const auto& [name, data] : feeds) oracle.set(name, data);
  return oracle.evaluate(wanted);
}

}  // namespace fusec
