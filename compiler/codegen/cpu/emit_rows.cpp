// The `rows` schedule: a row at a time, the last dimension in vectors. A short row is computed
// once, straight-line, with all its values in registers across the reductions; a long one in one
// loop a pass, where costly values that several passes need lie in row buffers.
#include <algorithm>
#include <bit>

#include "emit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace fusec::codegen_cpu {

using mlir::Value;

void Emitter::emit_rows() {
  const int rank = static_cast<int>(kernel_.extents.size());
  if (!facts_.unrolled) make_row_buffers();
  auto row_body = [&](Value r) {
    Values index(rank);
    locate("i");
    delinearise(r, 0, kernel_.row_dims, index);
    Scope row{&launch_};
    bind_unit_pointers(index, (1u << kernel_.row_dims) - 1);
    facts_.unrolled ? emit_unrolled_row(row, index) : emit_looped_row(row, index);
    Point p{.scope = &row, .index = index};
    hoist(Level::unit, facts_.stages, p);
    std::vector<int> stores = stores_at(Level::unit);
    store_all(stores, stored_values(stores, p), p);
  };
  locate("row");
  loop(lo_, hi_, 1, {}, [&](Value r, const Values&) -> Values {
    row_body(r);
    return {};
  });
}

void Emitter::emit_unrolled_row(Scope& row, const Values& index) {
  const int rank = static_cast<int>(kernel_.extents.size());
  const int64_t last = kernel_.extents.back();
  // Whole powers of two down to 16 lanes, then one partial vector for the rest.
  std::vector<std::pair<int64_t, int>> pieces;  // first element, elements
  for (int64_t at = 0; at < last;) {
    int64_t left = last - at;
    int width = static_cast<int>(std::min<int64_t>(facts_.lanes, std::bit_floor<uint64_t>(left)));
    if (left < 16) width = static_cast<int>(left);
    pieces.emplace_back(at, width);
    at += width;
  }
  std::vector<Scope> scopes(facts_.inner_rows * pieces.size(), Scope{&row});
  std::vector<Point> points;
  for (int64_t m = 0; m < facts_.inner_rows; ++m) {
    Values at = index;
    int64_t rest = m;
    for (int d = rank - 2; d >= kernel_.row_dims; --d) {
      at[d] = i64(rest % kernel_.extents[d]);
      rest /= kernel_.extents[d];
    }
    for (auto [first, count] : pieces) {
      at[rank - 1] = i64(first);
      int width = static_cast<int>(std::bit_ceil<uint64_t>(count));
      points.push_back(
          {.scope = &scopes[points.size()], .index = at, .width = width, .valid = count});
    }
  }
  Point unit{.scope = &row, .index = index};
  for (int pass = 0; pass < facts_.stages; ++pass) {
    hoist(Level::unit, pass, unit);
    for (int r : reduces_of(pass)) {
      Values parts;
      for (Point& p : points) parts.push_back(reduce_argument(r, p));
      row.values[r] = {across(r, parts), {}};
    }
  }
  hoist(Level::unit, facts_.stages, unit);
  std::vector<int> stores = stores_at(Level::inner);
  std::vector<Values> values;
  for (Point& p : points) values.push_back(stored_values(stores, p));
  for (size_t i = 0; i < points.size(); ++i) store_all(stores, values[i], points[i]);
}

void Emitter::emit_looped_row(Scope& row, const Values& index) {
  Point unit{.scope = &row, .index = index};
  for (int pass = 0; pass <= facts_.stages; ++pass) {
    hoist(Level::unit, pass, unit);
    std::vector<int> reduces = reduces_of(pass), stores;
    if (pass == facts_.stages) stores = stores_at(Level::inner);
    if (reduces.empty() && stores.empty()) continue;
    Values acc = row_pass(row, index, pass, reduces, stores);
    for (size_t r = 0; r < reduces.size(); ++r) {
      row.values[reduces[r]] = {across(reduces[r], {acc[r]}), {}};
    }
  }
}

// One walk over the row; returns the accumulators of `reduces`.
Emitter::Values Emitter::row_pass(Scope& row, const Values& index, int pass,
                                  const std::vector<int>& reduces,
                                  const std::vector<int>& stores) {
  const int rank = static_cast<int>(kernel_.extents.size());
  const int lanes = facts_.lanes;
  const int64_t last = kernel_.extents.back(), whole = last / lanes * lanes;
  const int64_t padded = (last + lanes - 1) / lanes * lanes;

  auto step = [&](Scope& outer, Values at, Value i, int valid, const Values& carried,
                  Value last_valid = {}) {
    Scope scope{&outer};
    Value line;
    for (int d = kernel_.row_dims; d < rank - 1; ++d) {
      line = line ? add(mul(line, kernel_.extents[d]), at[d]) : at[d];
    }
    at[rank - 1] = i;
    Point p{.scope = &scope,
            .index = at,
            .width = lanes,
            .valid = valid,
            .last_valid = last_valid,
            .pass = pass};
    if (!buffers_.empty()) p.buffer_index = line ? add(mul(line, padded), i) : i;
    Values next;
    for (size_t r = 0; r < reduces.size(); ++r) {
      next.push_back(combine(reduces[r], carried[r], reduce_argument(reduces[r], p)));
    }
    for (size_t op = 0; op < kernel_.ops.size(); ++op) {
      if (facts_.ops[op].buffered && facts_.ops[op].first_pass == pass) {
        write_row_buffer(static_cast<int>(op), p);
      }
    }
    store_all(stores, stored_values(stores, p), p);
    return next;
  };

  Values init;
  for (int r : reduces) init.push_back(neutral(r, lanes));
  locate("i");
  return nest(kernel_.row_dims, rank - 1, index, init, [&](const Values& at, const Values& in) {
    Scope line{&row};
    Point p{.scope = &line, .index = at, .pass = pass};
    if (rank - 1 > kernel_.row_dims) hoist(Level::inner, pass, p);
    Values acc = in;
    if (kernel_.schedule.ragged)
      return loop(i64(0), n_, lanes, acc, [&](Value i, const Values& carried) {
        Value left = mlir::arith::SubIOp::create(b_, loc_, n_, i);
        return step(line, at, i, lanes, carried, add(left, i64(-1)));
      });
    if (whole == lanes) {
      acc = step(line, at, i64(0), lanes, acc);
    } else if (whole > 0) {
      acc = loop(i64(0), i64(whole), lanes, acc, [&](Value i, const Values& carried) {
        return step(line, at, i, lanes, carried);
      });
    }
    if (whole < last) acc = step(line, at, i64(whole), static_cast<int>(last - whole), acc);
    return acc;
  });
}

}  // namespace fusec::codegen_cpu
