// The state of a graph under generation: a pool of values with the range that each may hold, and
// the helpers that the rows of op_table.cpp are written with.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph_fuzz.h"

namespace fusec::fuzz {

// A value with an interval that holds all its elements (estimated; the bounds do not rely on it).
struct Item {
  Tensor t;
  double lo = -2, hi = 2;
};

class Builder {
 public:
  Builder(Graph& graph, uint64_t seed);

  Graph& graph;
  Dice dice;
  std::vector<Item> pool;

  // Any value of the pool, the latest more often; `wanted` restricts it, and a fresh input of the
  // graph's own type serves where nothing fits.
  Item any();
  Item any_float();
  Item any_integer();
  Item of_rank(int64_t least);  // float
  Item any_of(DType type);
  // A value of x's shape (or one that broadcasts to it) and dtype.
  Item partner(const Item& x);

  // x inside [lo, hi]: as it is, scaled by a power of two, clamped, or through a bounded function.
  Tensor fit(const Item& x, double lo = -2, double hi = 2);
  Tensor fit_any(DType type) { return fit(any_of(type)); }

  Tensor input(Shape shape, DType type);
  Tensor parameter(Shape shape, DType type);
  Tensor state(Shape shape, DType type);
  // An index into `rows` rows; check() feeds it with valid and negative ones.
  Tensor index(Shape shape) { return input(std::move(shape), dice.chance(3) ? i64 : i32); }

  Shape shape() const { return base_; }
  Shape some_shape();
  DType main_type() const { return main_; }
  int64_t axis(const Tensor& t) { return dice.below(t.rank()); }
  std::vector<int64_t> some_axes(const Tensor& t);
  int64_t small(int64_t n) { return 1 + dice.below(n); }

 private:
  Shape base_;
  DType main_;
  int next_ = 0;
};

// One way to make a value. Returns nothing where the pool has no fitting operand.
struct OpRow {
  std::string name;
  int weight;
  std::function<std::optional<Item>(Builder&)> make;
};

// Every pointwise op of the table, and the structural and composite ops.
const std::vector<OpRow>& op_table();
std::vector<OpRow> pointwise_rows();
std::vector<OpRow> structural_rows();
std::vector<OpRow> attention_rows();

}  // namespace fusec::fuzz
