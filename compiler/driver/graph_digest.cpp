#include "graph_digest.h"

#include <bit>
#include <cstring>
#include <map>
#include <type_traits>

#include "fusec/plan/byte_reader.h"

namespace fusec::driver {
namespace {

// Every field with its size or length in front, so that no two graphs give the same bytes. Each
// overload names all fields of its attribute: one that is added does not compile here before it
// has its place.
class Writer {
 public:
  std::string take() { return std::move(out_); }

  void number(int64_t v) { put_number(out_, static_cast<uint64_t>(v), 8); }
  void number(double v) { put_number(out_, std::bit_cast<uint64_t>(v), 8); }
  void text(std::string_view v) { put_text(out_, v); }
  void numbers(const std::vector<int64_t>& v) {
    number(static_cast<int64_t>(v.size()));
    for (int64_t x : v) number(x);
  }
  void type(const TensorType& t) {
    number(static_cast<int64_t>(t.dtype));
    number(static_cast<int64_t>(t.shape.size()));
    for (int64_t d : t.shape) number(d);
  }

  void attr(const std::monostate&) {}
  void attr(const NameAttr& a) {
    const auto& [name] = a;
    text(name);
  }
  void attr(const ConstantAttr& a) {
    const auto& [splat, data] = a;
    number(splat);
    number(int64_t{data != nullptr});
    if (data) text({reinterpret_cast<const char*>(data->data()), data->size() * sizeof(float)});
  }
  void attr(const IotaAttr& a) {
    const auto& [axis] = a;
    number(axis);
  }
  void attr(const MapAttr& a) {
    const auto& [op] = a;
    text(name_of(op));
  }
  void attr(const CastAttr& a) {
    const auto& [to, stop] = a;
    number(static_cast<int64_t>(to));
    number(int64_t{stop});
  }
  void attr(const ReduceAttr& a) {
    const auto& [kind, axes, chunk] = a;
    text(name_of(kind));
    numbers(axes);
    number(chunk);
  }
  void attr(const ContractAttr& a) {
    const auto& [lhs, rhs, out] = a;
    text(lhs), text(rhs), text(out);
  }
  void attr(const ViewAttr& a) {
    const auto& [kind, shape, dims, start, step] = a;
    number(static_cast<int64_t>(kind));
    numbers(shape), numbers(dims), numbers(start), numbers(step);
  }
  void attr(const ConcatAttr& a) {
    const auto& [axis] = a;
    number(axis);
  }
  void attr(const ScatterAttr& a) {
    const auto& [mode] = a;
    number(static_cast<int64_t>(mode));
  }
  void attr(const CumsumAttr& a) {
    const auto& [axis, reverse] = a;
    number(axis);
    number(int64_t{reverse});
  }
  void attr(const TopKAttr& a) {
    const auto& [k] = a;
    number(k);
  }
  void attr(const PagedAttentionAttr& a) {
    const auto& [scale, softcap, window, cu_q, scales] = a;
    number(scale), number(softcap), number(window);
    number(int64_t{cu_q}), number(int64_t{scales});
  }
  void attr(const AttentionAttr& a) {
    const auto& [causal, scale, softcap, top_left, window, prefix, sinks, hook, grads] = a;
    number(int64_t{causal});
    number(scale), number(softcap);
    number(int64_t{top_left}), number(window), number(int64_t{prefix}), number(int64_t{sinks});
    text(hook), number(grads);
  }

  // A text that comes again and again: itself the first time, then its number.
  void repeated(std::string_view v) {
    auto [it, fresh] = seen_.emplace(v, static_cast<int64_t>(seen_.size()));
    number(it->second);
    if (fresh) text(v);
  }

 private:
  std::string out_;
  std::map<std::string, int64_t, std::less<>> seen_;
};

}  // namespace

Digest graph_digest(const Graph& graph, const std::vector<ir::NamedValue>& outputs,
                    const std::string& name, bool assigns) {
  const std::vector<Node>& nodes = graph.nodes();
  const std::vector<bool> needed = ir::needed_nodes(graph, outputs, assigns);
  std::vector<int64_t> index(nodes.size(), -1);  // among those that are needed
  int64_t count = 0;
  Writer w;
  w.text(name);
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!needed[i]) continue;
    index[i] = count++;
    const auto& [kind, attr, inputs, results, loc, scope] = nodes[i];
    w.number(static_cast<int64_t>(kind));
    w.number(static_cast<int64_t>(attr.index()));
    std::visit([&](const auto& a) { w.attr(a); }, attr);
    w.number(static_cast<int64_t>(inputs.size()));
    for (Value v : inputs) w.number(index[v.node]), w.number(int64_t{v.result});
    w.number(static_cast<int64_t>(results.size()));
    for (const TensorType& t : results) w.type(t);
    w.repeated(loc.file);
    w.number(int64_t{loc.line});
    w.repeated(graph.scopes()[scope]);
  }
  w.number(static_cast<int64_t>(outputs.size()));
  for (const ir::NamedValue& o : outputs) {
    w.text(o.name);
    w.number(index[o.value.node]);
    w.number(int64_t{o.value.result});
  }
  return sha256(w.take());
}

}  // namespace fusec::driver
