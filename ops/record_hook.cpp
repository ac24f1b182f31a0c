// Runs the user's functions of one score on scalars of a graph of their own. A captured tensor is
// read by tensor(index, ...), which is only possible while a hook is being recorded: each index is
// followed back through sums, differences and products with numbers to the positions it is made of.
#include "record_hook.h"

#include <algorithm>
#include <optional>

#include "fusec/ops/hook.h"

namespace fusec {
namespace {

struct Recording {
  Graph* outer;
  Hook hook = empty_hook();
  std::vector<Tensor> captured;
};

thread_local Recording* recording = nullptr;

class RecordingScope {
 public:
  explicit RecordingScope(Recording* now) : before_(recording) { recording = now; }
  ~RecordingScope() { recording = before_; }
  RecordingScope(const RecordingScope&) = delete;
  RecordingScope& operator=(const RecordingScope&) = delete;

 private:
  Recording* before_;
};

std::string describe(const Node& n) {
  return std::string(n.kind == OpKind::map ? name_of(n.as<MapAttr>().op) : name_of(n.kind));
}

// The value as a sum over positions; nothing if it is none.
std::optional<HookIndex> index_of(const Hook& hook, Value v) {
  const Node& n = hook.graph->nodes()[v.node];
  HookIndex out;
  for (size_t a = 0; a < kHookAxes; ++a)
    if (v == hook.position[a]) {
      out.factor[a] = 1;
      return out;
    }
  if (n.kind == OpKind::constant && !n.as<ConstantAttr>().data) {
    out.offset = static_cast<int64_t>(n.as<ConstantAttr>().splat);
    return out;
  }
  if (n.kind != OpKind::map) return {};
  std::vector<HookIndex> in;
  for (Value operand : n.inputs) {
    std::optional<HookIndex> i = index_of(hook, operand);
    if (!i) return {};
    in.push_back(*i);
  }
  auto is_number = [](const HookIndex& i) { return i.factor == HookIndex().factor; };
  auto sum = [](const HookIndex& x, const HookIndex& y, int64_t times) {
    HookIndex z = x;
    for (size_t a = 0; a < kHookAxes; ++a) z.factor[a] += times * y.factor[a];
    z.offset += times * y.offset;
    return z;
  };
  switch (n.as<MapAttr>().op) {
    case Pointwise::add: return sum(in[0], in[1], 1);
    case Pointwise::sub: return sum(in[0], in[1], -1);
    case Pointwise::neg: return sum({}, in[0], -1);
    case Pointwise::mul:
      if (is_number(in[0])) return sum({}, in[1], in[0].offset);
      if (is_number(in[1])) return sum({}, in[0], in[1].offset);
      return {};
    default: return {};
  }
}

void check_result(const Recording& r, const Tensor& t, const char* which, DType type,
                  SourceLoc loc) {
  std::string who = std::string("attention: the ") + which + " hook";
  if (!t.defined()) fail_user(who + " returned an undefined Tensor", loc);
  if (&t.graph() != r.hook.graph.get())
    fail_user(who + " returned a tensor of the graph; expected a value made of what it is given, "
                    "and of elements tensor(index, ...) of others",
              loc);
  if (t.type() != TensorType{{}, type})
    fail_user(who + " returned " + t.type().str() + "; expected " + TensorType{{}, type}.str(),
              r.hook.graph->node(t.value()).loc.known() ? r.hook.graph->node(t.value()).loc : loc);
}

bool is_given(const Hook& hook, Value v) {
  bool load = std::any_of(hook.loads.begin(), hook.loads.end(),
                          [&](const HookLoad& l) { return l.value == v; });
  return load || v == hook.given ||
         std::find(hook.position.begin(), hook.position.end(), v) != hook.position.end();
}

void check_ops(const Hook& hook, SourceLoc loc) {
  const std::vector<Node>& nodes = hook.graph->nodes();
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node& n = nodes[i];
    bool splat = n.kind == OpKind::constant && !n.as<ConstantAttr>().data;
    bool known = splat || n.kind == OpKind::map || n.kind == OpKind::cast ||
                 is_given(hook, {static_cast<int32_t>(i), 0});
    if (!known || n.results.empty() || !n.results[0].shape.empty())
      fail_user("attention hook: found " + describe(n) +
                    (n.results.empty() ? "" : " -> " + n.results[0].str()) +
                    "; expected pointwise ops and casts of scalars",
                n.loc.known() ? n.loc : loc);
  }
}

Tensor element(const Tensor& captured, const std::vector<At>& at, SourceLoc loc) {
  if (!recording)
    fail_user("tensor(index, ...): expected in a hook of attention() only; use gather() or slice()",
              loc);
  Recording& r = *recording;
  if (&captured.graph() != r.outer)
    fail_user("attention hook: tensor(index, ...) expected a tensor of the graph of q", loc);
  if (static_cast<int64_t>(at.size()) != captured.rank())
    fail_user("attention hook: " + captured.type().str() + " has " +
                  std::to_string(captured.rank()) + " axes, found " + std::to_string(at.size()) +
                  " indices",
              loc);
  HookLoad l;
  for (const At& a : at) {
    std::optional<HookIndex> i;
    if (a.tensor.defined() && &a.tensor.graph() == r.hook.graph.get() &&
        a.tensor.dtype() == DType::i32)
      i = index_of(r.hook, a.tensor.value());
    if (!i)
      fail_user("attention hook: an index of " + captured.type().str() +
                    " is no sum of batch, head, query and key with whole factors; look such values "
                    "up before, in a tensor that is indexed by positions",
                a.loc);
    l.index.push_back(*i);
  }
  auto known = std::find_if(r.captured.begin(), r.captured.end(),
                            [&](const Tensor& t) { return t.value() == captured.value(); });
  l.captured = static_cast<int>(known - r.captured.begin());
  if (known == r.captured.end()) r.captured.push_back(captured);
  for (const HookLoad& other : r.hook.loads)
    if (other.captured == l.captured && other.index == l.index)
      return Tensor(r.hook.graph.get(), other.value);
  l.value = r.hook.graph
                ->append_leaf(OpKind::input, NameAttr{"load" + std::to_string(r.hook.loads.size())},
                              {{}, captured.dtype()}, loc)
                .value();
  r.hook.loads.push_back(l);
  return Tensor(r.hook.graph.get(), l.value);
}

}  // namespace

Tensor Tensor::operator()(const std::source_location& loc) const {
  return element(*this, {}, user_place(loc));
}
Tensor Tensor::operator()(const At& i) const { return element(*this, {i}, i.loc); }
Tensor Tensor::operator()(const At& i, const At& j) const { return element(*this, {i, j}, i.loc); }
Tensor Tensor::operator()(const At& i, const At& j, const At& k) const {
  return element(*this, {i, j, k}, i.loc);
}
Tensor Tensor::operator()(const At& i, const At& j, const At& k, const At& l) const {
  return element(*this, {i, j, k, l}, i.loc);
}

RecordedHook record_hook(const AttentionOptions& options, Graph& graph, SourceLoc loc) {
  Recording r{&graph, empty_hook(), {}};
  RecordingScope scope(&r);
  auto scalar = [&](Value v) { return Tensor(r.hook.graph.get(), v); };
  Score s;
  s.batch = scalar(r.hook.position[0]), s.head = scalar(r.hook.position[1]);
  s.query = scalar(r.hook.position[2]), s.key = scalar(r.hook.position[3]);
  s.value = scalar(r.hook.given);
  if (options.score) {
    Tensor score = options.score(s);
    check_result(r, score, "score", DType::f32, loc);
    r.hook.score = score.value();
  }
  if (options.mask) {
    Tensor mask = options.mask(s);
    check_result(r, mask, "mask", DType::b8, loc);
    r.hook.mask = mask.value();
  }
  check_ops(r.hook, loc);

  // Captured tensors that matter, by their first use.
  RecordedHook out;
  Hook live = read_hook(print(r.hook));
  std::vector<int> number(r.captured.size(), -1);
  for (const HookLoad& l : live.loads) {
    if (number[l.captured] >= 0) continue;
    number[l.captured] = static_cast<int>(out.captured.size());
    out.captured.push_back(r.captured[l.captured]);
  }
  for (HookLoad& l : live.loads) l.captured = number[l.captured];
  out.text = print(live);
  return out;
}

}  // namespace fusec
