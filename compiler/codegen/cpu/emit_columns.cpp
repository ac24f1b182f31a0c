// The `columns` schedule: a unit is a few neighbouring columns of one outer index; their
// accumulators are vectors, the reduced dimensions are looped over. Lanes past the last column are
// computed (their loads stay within the padding) and never stored.
#include <algorithm>

#include "emit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace fusec::codegen_cpu {

namespace arith = mlir::arith;
using mlir::Value;

void Emitter::emit_columns() {
  const int rank = static_cast<int>(kernel_.extents.size());
  const int64_t last = kernel_.extents.back(), unit_columns = kernel_.schedule.vector;
  const int64_t blocks = (last + unit_columns - 1) / unit_columns;
  locate("unit");
  loop(lo_, hi_, 1, {}, [&](Value u, const Values&) -> Values {
    Values index(rank);
    locate("i");
    Value outer = u, base = i64(0);
    if (blocks > 1) {
      outer = arith::DivUIOp::create(b_, loc_, u, i64(blocks));
      base = mul(arith::RemUIOp::create(b_, loc_, u, i64(blocks)), unit_columns);
    }
    delinearise(outer, 0, kernel_.row_dims, index);
    if (unit_columns <= facts_.lanes || last <= facts_.lanes) {
      Scope unit{&launch_};
      emit_column_block(unit, index, base);
      return {};
    }
    Value end = arith::MinSIOp::create(b_, loc_, add(base, i64(unit_columns)), i64(last));
    loop(base, end, facts_.lanes, {}, [&](Value column, const Values&) -> Values {
      Scope unit{&launch_};
      emit_column_block(unit, index, column);
      return {};
    });
    return {};
  });
}

void Emitter::emit_column_block(Scope& unit, Values index, Value base) {
  const int rank = static_cast<int>(kernel_.extents.size());
  const int lanes = facts_.lanes;
  const int64_t last = kernel_.extents.back(), tail = last % lanes;
  index[rank - 1] = base;
  bind_unit_pointers(index, ((1u << kernel_.row_dims) - 1) | 1u << (rank - 1));
  Point p{.scope = &unit, .index = index, .width = lanes, .valid = lanes};
  if (tail != 0) p.last_valid = arith::SubIOp::create(b_, loc_, i64(last - 1), base);
  for (int pass = 0; pass < facts_.stages; ++pass) {
    hoist(Level::unit, pass, p);
    std::vector<int> reduces = reduces_of(pass);
    Values init;
    for (int r : reduces) init.push_back(neutral(r, lanes));
    locate("i");
    Values acc = nest(kernel_.row_dims, rank - 1, index, init,
                      [&](const Values& at, const Values& carried) {
                        Scope scope{&unit};
                        Point inner = p;
                        inner.scope = &scope;
                        inner.index = at;
                        Values next;
                        for (size_t r = 0; r < reduces.size(); ++r) {
                          next.push_back(combine(reduces[r], carried[r],
                                                 reduce_argument(reduces[r], inner)));
                        }
                        return next;
                      });
    for (size_t r = 0; r < reduces.size(); ++r) {
      bool vector = facts_.ops[reduces[r]].varies;
      unit.values[reduces[r]] = {vector ? acc[r] : across(reduces[r], {acc[r]}), {}};
    }
  }
  hoist(Level::unit, facts_.stages, p);
  if (!stores_at(Level::inner).empty()) {
    fail_kernel(kernel_, "columns stores a value that is not reduced");
  }
  std::vector<int> stores = stores_at(Level::unit);
  Values values = stored_values(stores, p);
  if (tail == 0) return store_all(stores, values, p);
  Value partial = arith::CmpIOp::create(b_, loc_, arith::CmpIPredicate::slt, p.last_valid,
                                        i64(lanes - 1));
  auto branch = [&](int valid) {
    return [&, valid](mlir::OpBuilder&, mlir::Location) {
      Point at = p;
      at.valid = valid;
      store_all(stores, values, at);
      mlir::scf::YieldOp::create(b_, loc_);
    };
  };
  mlir::scf::IfOp::create(b_, loc_, partial, branch(static_cast<int>(tail)), branch(lanes));
}

}  // namespace fusec::codegen_cpu
