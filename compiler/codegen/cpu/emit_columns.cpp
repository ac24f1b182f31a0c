// The `columns` schedule: a unit is some neighbouring columns of one outer index, the reduced
// dimensions are looped over. Few columns: their accumulators are vectors in registers. Many (and
// one pass): rows are read from end to end, as memory likes it, and accumulators lie in the first
// cache. Lanes past the last column are computed (their loads stay within the padding) and never
// stored.
#include <algorithm>

#include "emit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace fusec::codegen_cpu {

namespace arith = mlir::arith;
using mlir::Value;

void Emitter::emit_columns() {
  const int rank = static_cast<int>(kernel_.extents.size());
  const int64_t last = kernel_.extents.back(), unit_columns = kernel_.schedule.vector;
  const int64_t blocks = (last + unit_columns - 1) / unit_columns;
  locate("accumulators");
  Values buffers;  // one a reduction
  if (unit_columns > facts_.lanes && facts_.stages == 1)
    for (int r : reduces_of(0))
      buffers.push_back(mlir::LLVM::AllocaOp::create(
          b_, loc_, mlir::LLVM::LLVMPointerType::get(b_.getContext()),
          value_type(kernel_.ops[r].type), i64(unit_columns + facts_.lanes), 64));
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
    if (facts_.stages == 1) {
      emit_wide_columns(index, base, end, buffers);
      return {};
    }
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
  store_columns(p);
}

// Columns [base, end) of one outer index, all rows from end to end.
void Emitter::emit_wide_columns(Values index, Value base, Value end, const Values& buffers) {
  const int rank = static_cast<int>(kernel_.extents.size());
  const int lanes = facts_.lanes;
  const int64_t last = kernel_.extents.back();
  std::vector<int> reduces = reduces_of(0);
  auto slot = [&](size_t r, Value column) {
    Value at = arith::SubIOp::create(b_, loc_, column, base);
    return gep(buffers[r], value_type(kernel_.ops[reduces[r]].type), at);
  };
  auto kept = [&](size_t r, Value column) -> Value {
    mlir::Type type = shaped(value_type(kernel_.ops[reduces[r]].type), lanes);
    return mlir::LLVM::LoadOp::create(b_, loc_, type, slot(r, column), 64);
  };
  auto keep = [&](size_t r, Value column, Value v) {
    mlir::LLVM::StoreOp::create(b_, loc_, v, slot(r, column), 64);
  };
  auto point = [&](Scope& scope, const Values& at, Value column) {
    Values where = at;
    where[rank - 1] = column;
    Point p{.scope = &scope, .index = where, .width = lanes, .valid = lanes};
    if (last % lanes != 0) p.last_valid = arith::SubIOp::create(b_, loc_, i64(last - 1), column);
    return p;
  };
  auto each_block = [&](const std::function<void(Value)>& body) {
    loop(base, end, lanes, {}, [&](Value column, const Values&) -> Values {
      body(column);
      return {};
    });
  };

  locate("start");
  each_block([&](Value column) {
    for (size_t r = 0; r < reduces.size(); ++r) keep(r, column, neutral(reduces[r], lanes));
  });
  bind_unit_pointers(index, (1u << kernel_.row_dims) - 1);
  Scope unit{&launch_};
  nest(kernel_.row_dims, rank - 1, index, {}, [&](const Values& at, const Values&) -> Values {
    Scope line{&unit};
    Point row{.scope = &line, .index = at};
    hoist(Level::inner, 0, row);  // what does not vary along the row
    locate("column");
    each_block([&](Value column) {
      Scope scope{&line};
      Point p = point(scope, at, column);
      for (size_t r = 0; r < reduces.size(); ++r)
        keep(r, column, combine(reduces[r], kept(r, column), reduce_argument(reduces[r], p)));
    });
    return {};
  });
  locate("finish");
  each_block([&](Value column) {
    Scope scope{&launch_};
    Point p = point(scope, index, column);
    bind_unit_pointers(p.index, ((1u << kernel_.row_dims) - 1) | 1u << (rank - 1));
    for (size_t r = 0; r < reduces.size(); ++r) {
      bool vector = facts_.ops[reduces[r]].varies;
      Value v = kept(r, column);
      scope.values[reduces[r]] = {vector ? v : across(reduces[r], {v}), {}};
    }
    store_columns(p);
  });
}

// Everything that follows the last reduction, for the columns at p.
void Emitter::store_columns(Point& p) {
  const int lanes = facts_.lanes;
  const int64_t tail = kernel_.extents.back() % lanes;
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
