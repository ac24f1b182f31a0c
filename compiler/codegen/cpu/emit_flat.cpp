// The schedules over one dimension of run-time length: `flat` (pointwise) and `flat_reduce`.
#include "emit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace fusec::codegen_cpu {

namespace arith = mlir::arith;
using mlir::Value;

// for i in [lo, hi) step lanes: whole vectors only, the last one may reach into the padding.
void Emitter::emit_flat() {
  std::vector<int> stores = stores_at(Level::inner);
  locate("i");
  loop(lo_, hi_, facts_.lanes, {}, [&](Value i, const Values&) -> Values {
    Scope scope{&launch_};
    Point p{.scope = &scope, .index = {i}, .width = facts_.lanes, .valid = facts_.lanes};
    store_all(stores, stored_values(stores, p), p);
    return {};
  });
}

// Each unit reduces its chunk: whole vectors in a loop, then one masked vector.
void Emitter::emit_flat_reduce() {
  const int lanes = facts_.lanes;
  if (facts_.stages > 1) fail_kernel(kernel_, "flat_reduce with a reduction of a reduction");
  std::vector<int> reduces = reduces_of(0);
  locate("unit");
  loop(lo_, hi_, 1, {}, [&](Value u, const Values&) -> Values {
    Scope unit{&launch_};
    bind_unit_pointers({}, 0, u);
    locate("chunk");
    Value begin = mul(u, kernel_.schedule.chunk);
    Value end = arith::MinSIOp::create(b_, loc_, add(begin, i64(kernel_.schedule.chunk)), n_);
    Value length = arith::SubIOp::create(b_, loc_, end, begin);
    Value tail = arith::AndIOp::create(b_, loc_, length, i64(lanes - 1));
    Value whole = arith::SubIOp::create(b_, loc_, end, tail);

    Values acc;
    for (int r : reduces) acc.push_back(neutral(r, lanes));
    auto step = [&](Value i, const Values& carried, Value mask) {
      Scope scope{&unit};
      Point p{.scope = &scope, .index = {i}, .width = lanes, .valid = lanes, .mask = mask};
      Values next;
      for (size_t r = 0; r < reduces.size(); ++r) {
        next.push_back(combine(reduces[r], carried[r], reduce_argument(reduces[r], p)));
      }
      return next;
    };
    acc = loop(begin, whole, lanes, acc,
               [&](Value i, const Values& carried) { return step(i, carried, {}); });

    std::vector<int32_t> iota(lanes);
    for (int i = 0; i < lanes; ++i) iota[i] = i;
    auto type = mlir::VectorType::get({lanes}, b_.getI32Type());
    Value ids = constant(type, mlir::DenseElementsAttr::get(type, llvm::ArrayRef<int32_t>(iota)));
    locate("tail");
    Value count = arith::TruncIOp::create(b_, loc_, b_.getI32Type(), tail);
    Value mask = arith::CmpIOp::create(b_, loc_, arith::CmpIPredicate::slt, ids,
                                       splat(count, lanes));
    acc = step(whole, acc, mask);

    for (size_t r = 0; r < reduces.size(); ++r) {
      unit.values[reduces[r]] = {across(reduces[r], {acc[r]}), {}};
    }
    Point p{.scope = &unit, .index = {begin}};
    hoist(Level::unit, facts_.stages, p);
    std::vector<int> stores = stores_at(Level::unit);
    store_all(stores, stored_values(stores, p), p);
    return {};
  });
}

}  // namespace fusec::codegen_cpu
