// A hook (hook.h) on the scores of one query, for the oracle and for its bounds: the nodes of the
// hook's graph are evaluated on rows of `keys` values by the rules of any other node. Private to
// the oracle.
#pragma once

#include "fusec/ops/bounds.h"
#include "fusec/ops/hook.h"
#include "oracle_bounds.h"

namespace fusec::oracle {

inline Data exact(Data values, const Data*) { return values; }
inline BoundedData exact(Data values, const BoundedData*) { return exactly(std::move(values)); }

inline void pick(const Data& from, int64_t at, Data* to) { to->push_back(from[at]); }
inline void pick(const BoundedData& from, int64_t at, BoundedData* to) {
  to->value.push_back(from.value[at]);
  to->error.push_back(from.error[at]);
}

inline Data compute_one(const Call& call) { return compute(call)[0]; }
inline BoundedData compute_one(const BoundedCall& call) { return compute_bounded(call)[0]; }

// The element of a captured tensor that a load reads.
inline int64_t element_of(const HookLoad& load, const Shape& shape,
                          const std::array<int64_t, kHookAxes>& at) {
  Shape strides = row_major_strides(shape);
  int64_t out = 0;
  for (size_t d = 0; d < shape.size(); ++d) {
    int64_t index = load.index[d].offset;
    for (size_t a = 0; a < kHookAxes; ++a) index += load.index[d].factor[a] * at[a];
    out += index * strides[d];
  }
  return out;
}

// D: Data or BoundedData; C: Call or BoundedCall.
template <class D, class C>
class HookRow {
 public:
  HookRow(const Hook& hook, std::vector<const D*> captured, std::vector<Shape> shapes)
      : hook_(hook), captured_(std::move(captured)), shapes_(std::move(shapes)) {}

  // For query `at` (its key is ignored), of whose scores `given` are those by key.
  void begin(std::array<int64_t, kHookAxes> at, D given, int64_t keys) {
    at_ = at, keys_ = keys;
    known_.assign(hook_.graph->nodes().size(), D());
    have_.assign(known_.size(), false);
    put(hook_.given, std::move(given));
  }

  // The row of values of a node of the hook's graph.
  const D& row(Value v) {
    if (have_[v.node]) return known_[v.node];
    const Node& n = hook_.graph->nodes()[v.node];
    for (size_t a = 0; a < kHookAxes; ++a)
      if (v == hook_.position[a]) {
        Data x(keys_, static_cast<double>(at_[a]));
        for (int64_t j = 0; a == 3 && j < keys_; ++j) x[j] = static_cast<double>(j);
        return put(v, exact(std::move(x), static_cast<const D*>(nullptr)));
      }
    for (const HookLoad& l : hook_.loads)
      if (v == l.value) {
        D x;
        for (int64_t j = 0; j < keys_; ++j) pick(*captured_[l.captured], element(l, j), &x);
        return put(v, std::move(x));
      }
    if (n.kind == OpKind::constant)
      return put(v, exact(Data(keys_, n.as<ConstantAttr>().splat),
                          static_cast<const D*>(nullptr)));
    Node lifted = n;
    lifted.results[0].shape = {keys_};
    std::vector<const D*> in;
    std::vector<TensorType> types;
    for (Value operand : n.inputs) row(operand);
    for (Value operand : n.inputs) {
      in.push_back(&known_[operand.node]);
      types.push_back({{keys_}, hook_.graph->type(operand).dtype});
    }
    return put(v, compute_one(C{lifted, in, types}));
  }

  int64_t element(const HookLoad& l, int64_t key) const {
    std::array<int64_t, kHookAxes> at = at_;
    at[3] = key;
    return element_of(l, shapes_[l.captured], at);
  }

 private:
  const D& put(Value v, D data) {
    have_[v.node] = true;
    return known_[v.node] = std::move(data);
  }

  const Hook& hook_;
  std::vector<const D*> captured_;
  std::vector<Shape> shapes_;
  std::array<int64_t, kHookAxes> at_ = {};
  int64_t keys_ = 0;
  std::vector<D> known_;
  std::vector<bool> have_;
};

}  // namespace fusec::oracle
