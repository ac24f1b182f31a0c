// Recording: nodes are appended in program order, which is also a topological order.
#include "fusec/ops/graph.h"

#include <unordered_map>

#include "fusec/base/nearest.h"

namespace fusec {

std::string_view name_of(OpKind kind) {
  static constexpr std::string_view names[] = {
      "input",  "parameter", "state",          "constant",        "iota",   "map",     "cast",
      "reduce", "contract",  "view",           "concat",          "gather", "scatter", "cumsum",
      "top_k",  "attention", "attention_grad", "paged_attention", "assign", "guard"};
  return names[static_cast<int>(kind)];
}

std::string_view name_of(Pointwise op) {
  static constexpr std::string_view names[] = {
#define FUSEC_POINTWISE(name, ...) #name,
#include "fusec/ops/pointwise.def"
  };
  return names[static_cast<int>(op)];
}

namespace {

thread_local SourceLoc call_site;   // of the innermost CallSite; unknown: none
thread_local SourceLoc last_place;  // of the op that is being recorded, or was last

}  // namespace

SourceLoc user_place(SourceLoc loc) {
  last_place = call_site.known() ? call_site : loc;
  return last_place;
}

CallSite::CallSite(const At& x) : before_(call_site) { call_site = x.loc; }
CallSite::~CallSite() { call_site = before_; }

Graph& Tensor::graph() const {
  if (!graph_)
    fail_user(
        "use of an undefined Tensor: it was never assigned a value (in the op of this line, or "
        "right after it)",
        last_place);
  return *graph_;
}

const TensorType& Tensor::type() const { return graph().type(value_); }

const std::string& Tensor::name() const {
  const Node& n = graph().node(value_);
  if (const auto* attr = std::get_if<NameAttr>(&n.attr)) return attr->name;
  fail_user("name(): expected an input, parameter or state, found the result of " +
                std::string(name_of(n.kind)),
            n.loc);
}

int64_t Tensor::size(int64_t i) const {
  int64_t r = rank();
  if (i < -r || i >= r)
    fail_user("size(" + std::to_string(i) + ") of a tensor of rank " + std::to_string(r),
              graph_->node(value_).loc);
  return shape()[i < 0 ? i + r : i];
}

struct Graph::Impl {
  std::vector<Node> nodes;
  std::unordered_map<std::string, int32_t> named;  // input, parameter, state
  std::unordered_map<int32_t, int32_t> assigned;   // target node -> assign node
  std::vector<std::string> scopes = {""};
  std::vector<int32_t> scope_stack = {0};
  int64_t streams = 0;
};

Graph::Graph() : impl_(std::make_unique<Impl>()) {}
Graph::~Graph() = default;

const std::vector<Node>& Graph::nodes() const { return impl_->nodes; }
const std::vector<std::string>& Graph::scopes() const { return impl_->scopes; }

Tensor Graph::append_typed(OpKind kind, Attr attr, std::vector<Value> inputs,
                           std::vector<TensorType> results, SourceLoc loc) {
  for (const TensorType& t : results) check_size(std::string(name_of(kind)), t, loc);
  impl_->nodes.push_back({kind, std::move(attr), std::move(inputs), std::move(results), loc,
                          impl_->scope_stack.back()});
  return Tensor(this, {static_cast<int32_t>(impl_->nodes.size() - 1), 0});
}

Tensor Graph::append(OpKind kind, Attr attr, std::vector<Value> inputs, SourceLoc loc) {
  std::vector<TensorType> types;
  types.reserve(inputs.size());
  for (Value v : inputs) types.push_back(type(v));
  std::vector<TensorType> results = infer_types(kind, attr, types, loc);
  return append_typed(kind, std::move(attr), std::move(inputs), std::move(results), loc);
}

Tensor Graph::leaf(OpKind kind, std::string name, Shape shape, DType dtype, SourceLoc loc) {
  std::string what(name_of(kind));
  if (name.empty()) fail_user(what + ": the name is empty; give it one", loc);
  for (char c : name)
    if (static_cast<unsigned char>(c) <= ' ' || c == '"' || c == '\\')
      fail_user(what + " \"" + name + "\": a name holds no spaces, quotes or backslashes", loc);
  for (int64_t d : shape)
    if (d < 0) fail_user(what + " " + name + ": negative size in shape " + str(shape), loc);
  auto [it, fresh] = impl_->named.emplace(name, static_cast<int32_t>(impl_->nodes.size()));
  if (!fresh)
    fail_user(what + " \"" + name + "\": the name is already taken by the " +
                  std::string(name_of(impl_->nodes[it->second].kind)) + " at " +
                  impl_->nodes[it->second].loc.str() + "; names are unique in a graph",
              loc);
  return append_typed(kind, NameAttr{std::move(name)}, {}, {{std::move(shape), dtype}}, loc);
}

Tensor Graph::append_leaf(OpKind kind, Attr attr, TensorType type, SourceLoc loc) {
  if (auto* named = std::get_if<NameAttr>(&attr))
    return leaf(kind, std::move(named->name), std::move(type.shape), type.dtype, loc);
  return append_typed(kind, std::move(attr), {}, {std::move(type)}, loc);
}

Tensor Graph::input(std::string name, Shape shape, DType dtype, const std::source_location& loc) {
  return leaf(OpKind::input, std::move(name), std::move(shape), dtype, user_place(loc));
}
Tensor Graph::parameter(std::string name, Shape shape, DType dtype,
                        const std::source_location& loc) {
  return leaf(OpKind::parameter, scoped(name), std::move(shape), dtype, user_place(loc));
}
Tensor Graph::state(std::string name, Shape shape, DType dtype, const std::source_location& loc) {
  return leaf(OpKind::state, scoped(name), std::move(shape), dtype, user_place(loc));
}

Tensor Graph::splat(double value, Shape shape, DType dtype, SourceLoc loc) {
  return append_typed(OpKind::constant, ConstantAttr{value, nullptr}, {},
                      {{std::move(shape), dtype}}, loc);
}

Tensor Graph::constant(double value, Shape shape, DType dtype, const std::source_location& loc) {
  return splat(value, std::move(shape), dtype, user_place(loc));
}

Tensor Graph::constant(std::vector<float> data, Shape shape, DType dtype,
                       const std::source_location& loc) {
  if (dtype != DType::f32 && dtype != DType::i32)
    fail_user("constant with data: expected f32 or i32, found " + std::string(name_of(dtype)) +
                  "; use cast()",
              loc);
  check_size("constant", {shape, dtype}, loc);
  if (static_cast<int64_t>(data.size()) != numel(shape))
    fail_user("constant: shape " + str(shape) + " needs " + std::to_string(numel(shape)) +
                  " values, found " + std::to_string(data.size()),
              loc);
  auto shared = std::make_shared<const std::vector<float>>(std::move(data));
  return append_typed(OpKind::constant, ConstantAttr{0, shared}, {}, {{std::move(shape), dtype}},
                      user_place(loc));
}

Tensor Graph::iota(Shape shape, int64_t axis, DType dtype, const std::source_location& loc) {
  int64_t rank = static_cast<int64_t>(shape.size());
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank)
    fail_user("iota: axis " + std::to_string(axis) + " of shape " + str(shape), loc);
  return append_typed(OpKind::iota, IotaAttr{axis}, {}, {{std::move(shape), dtype}}, user_place(loc));
}

void Graph::assign(const Tensor& target, At value) {
  if (&target.graph() != this || &value.tensor.graph() != this)
    fail_user("assign: target and value must belong to the graph that assigns; record them in one",
              value.loc);
  const Node& t = node(target.value());
  if (t.kind != OpKind::parameter && t.kind != OpKind::state)
    fail_user("assign: the target must be a parameter or state, found the result of " +
                  std::string(name_of(t.kind)),
              value.loc);
  const std::string& name = t.as<NameAttr>().name;
  if (target.type() != value.tensor.type())
    fail_user("assign to " + name + ": expected " + target.type().str() + ", found " +
                  value.tensor.type().str(),
              value.loc);
  auto [it, fresh] =
      impl_->assigned.emplace(target.value().node, static_cast<int32_t>(impl_->nodes.size()));
  if (!fresh)
    fail_user("assign to " + name + ": already assigned at " + impl_->nodes[it->second].loc.str() +
                  "; a target takes one value a step",
              value.loc);
  append_typed(OpKind::assign, NameAttr{name}, {target.value(), value.tensor.value()}, {},
               value.loc);
}

void Graph::guard(At value) {
  const TensorType& t = value.tensor.type();
  if (numel(t.shape) != 1 || (t.dtype != DType::f32 && t.dtype != DType::f64))
    fail_user(
        "guard: expected one f32 or f64, such as a loss or the norm of the gradients, found " +
            t.str() + "; reduce it to a scalar",
        value.loc);
  append_typed(OpKind::guard, std::monostate(), {value.tensor.value()}, {}, value.loc);
}

Tensor Graph::find(std::string_view name) {
  auto it = impl_->named.find(std::string(name));
  return it == impl_->named.end() ? Tensor() : Tensor(this, {it->second, 0});
}

std::vector<Tensor> Graph::parameters() {
  std::vector<Tensor> out;
  for (size_t i = 0; i < impl_->nodes.size(); ++i)
    if (impl_->nodes[i].kind == OpKind::parameter)
      out.push_back(Tensor(this, {static_cast<int32_t>(i), 0}));
  return out;
}

int64_t Graph::fresh_stream() { return impl_->streams++; }

void Graph::push_scope(std::string_view name) {
  std::string full = scoped(name);
  impl_->scopes.push_back(std::move(full));
  impl_->scope_stack.push_back(static_cast<int32_t>(impl_->scopes.size() - 1));
}

void Graph::reopen_scope(int32_t scope) { impl_->scope_stack.push_back(scope); }

void Graph::pop_scope() {
  if (impl_->scope_stack.size() > 1) impl_->scope_stack.pop_back();
}

std::string Graph::scoped(std::string_view name) const {
  const std::string& scope = impl_->scopes[impl_->scope_stack.back()];
  return scope.empty() ? std::string(name) : scope + "." + std::string(name);
}

}  // namespace fusec
