// The `columns` schedule: a unit is some neighbouring columns of one outer index, the reduced
// dimensions are looped over. Few columns: their accumulators are vectors in registers. Many (and
// one pass): rows are read from end to end, as memory likes it, and accumulators lie in the first
// cache. Long sums are sums of blocks' sums, so that no number goes through as many roundings as
// there are rows (tolerance.h counts on it). Lanes past the last column are computed (their loads
// stay within the padding) and never stored.
#include <algorithm>

#include "emit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace fusec::codegen_cpu {

namespace arith = mlir::arith;
using mlir::Value;

namespace {

constexpr int64_t kRowsOfBlock = 256;

int64_t rows_of(const KernelProgram& k) {
  int64_t n = 1;
  for (size_t d = k.row_dims; d + 1 < k.extents.size(); ++d) n *= k.extents[d];
  return n;
}

}  // namespace

void Emitter::emit_columns() {
  const int rank = static_cast<int>(kernel_.extents.size());
  const int64_t last = kernel_.extents.back(), unit_columns = kernel_.schedule.vector;
  const int64_t blocks = (last + unit_columns - 1) / unit_columns;
  locate("accumulators");
  Values buffers;  // one a reduction, and of long sums one for those of a block
  if (unit_columns > facts_.lanes && facts_.stages == 1)
    for (int copy = 0; copy < (rows_of(kernel_) > kRowsOfBlock ? 2 : 1); ++copy)
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

Emitter::Values Emitter::nest_in_blocks(
    Values index, const std::function<Values(bool)>& begin,
    const std::function<Values(const Values&, const Values&)>& joined,
    const std::function<Values(const Values&, const Values&)>& body) {
  const int first = kernel_.row_dims, end = static_cast<int>(kernel_.extents.size()) - 1;
  if (rows_of(kernel_) <= kRowsOfBlock) return nest(first, end, index, begin(false), body);
  int cut = end - 1;  // the dimension whose blocks, with all that is inside, are no longer
  int64_t inside = 1;
  while (cut > first && inside * kernel_.extents[cut] <= kRowsOfBlock)
    inside *= kernel_.extents[cut--];
  const int64_t block = std::max<int64_t>(1, kRowsOfBlock / inside), extent = kernel_.extents[cut];
  return nest(first, cut, index, begin(false), [&](const Values& at, const Values& totals) {
    return loop(i64(0), i64(extent), block, totals, [&](Value start, const Values& sums) {
      Value stop = add(start, i64(block));
      if (extent % block != 0) stop = arith::MinSIOp::create(b_, loc_, stop, i64(extent));
      Values parts = loop(start, stop, 1, begin(true), [&](Value i, const Values& carried) {
        Values place = at;
        place[cut] = i;
        return nest(cut + 1, end, place, carried, body);
      });
      return joined(sums, parts);
    });
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
    auto begin = [&](bool) {
      Values init;
      for (int r : reduces) init.push_back(neutral(r, lanes));
      return init;
    };
    auto joined = [&](const Values& a, const Values& b) {
      Values out;
      for (size_t r = 0; r < reduces.size(); ++r) out.push_back(combine(reduces[r], a[r], b[r]));
      return out;
    };
    locate("i");
    Values acc = nest_in_blocks(index, begin, joined, [&](const Values& at, const Values& carried) {
      Scope scope{&unit};
      Point inner = p;
      inner.scope = &scope;
      inner.index = at;
      Values next;
      for (size_t r = 0; r < reduces.size(); ++r)
        next.push_back(combine(reduces[r], carried[r], reduce_argument(reduces[r], inner)));
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
  // Buffer `at` is that of reduction at % reduces.size().
  auto slot = [&](size_t at, Value column) {
    Value offset = arith::SubIOp::create(b_, loc_, column, base);
    return gep(buffers[at], value_type(kernel_.ops[reduces[at % reduces.size()]].type), offset);
  };
  auto kept = [&](size_t at, Value column) -> Value {
    mlir::Type type = shaped(value_type(kernel_.ops[reduces[at % reduces.size()]].type), lanes);
    return mlir::LLVM::LoadOp::create(b_, loc_, type, slot(at, column), 64);
  };
  auto keep = [&](size_t at, Value column, Value v) {
    mlir::LLVM::StoreOp::create(b_, loc_, v, slot(at, column), 64);
  };
  const size_t parts = buffers.size() - reduces.size();  // the first buffer that rows are added to
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

  auto clear = [&](size_t from) {
    each_block([&](Value column) {
      for (size_t r = 0; r < reduces.size(); ++r)
        keep(from + r, column, neutral(reduces[r], lanes));
    });
    return Values();
  };
  bind_unit_pointers(index, (1u << kernel_.row_dims) - 1);
  Scope unit{&launch_};
  auto begin = [&](bool block) {
    locate("start");
    return clear(block ? parts : 0);
  };
  auto joined = [&](const Values&, const Values&) {
    locate("join");
    each_block([&](Value column) {
      for (size_t r = 0; r < reduces.size(); ++r)
        keep(r, column, combine(reduces[r], kept(r, column), kept(parts + r, column)));
    });
    return Values();
  };
  nest_in_blocks(index, begin, joined, [&](const Values& at, const Values&) -> Values {
    Scope line{&unit};
    Point row{.scope = &line, .index = at};
    hoist(Level::inner, 0, row);  // what does not vary along the row
    locate("column");
    each_block([&](Value column) {
      Scope scope{&line};
      Point p = point(scope, at, column);
      for (size_t r = 0; r < reduces.size(); ++r)
        keep(parts + r, column,
             combine(reduces[r], kept(parts + r, column), reduce_argument(reduces[r], p)));
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
