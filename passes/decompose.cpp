// Splits large reductions in two, so that they run in parallel and yet give the same bits for any
// number of workers: those of a whole tensor, and those over leading axes (columns: the gradients
// of biases and norm weights).
//
//   %s = reduce sum(%x) axes [0, 1] : 4096x512 to []
//   ->  %r = view reshape(%x) : to 2097152
//       %p = reduce sum(%r) axes [0] {chunk = 8192} : to 256
//       %s = reduce sum(%p) axes [0] : to []
//
//   %s = reduce sum(%x) axes [0] : 16384x1024 to 1024
//   ->  %r = view reshape(%x) : to 64x256x1024
//       %p = reduce sum(%r) axes [1] : to 64x1024
//       %s = reduce sum(%p) axes [0] : to 1024
//
// 16-bit floats are summed in f32 from end to end, so the parts are f32. Leaves alone: reductions
// of rows, which are parallel already, and small tensors.
#include <mlir/IR/Builders.h>

#include "fusec/passes/pass.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

// Elements of a column reduction worth two kernels: one a core is enough for a few cores.
constexpr int64_t kManyElements = 1 << 20, kManyForBlocks = 1 << 16;
constexpr int64_t kMostParts = 64, kLeastParts = 8, kLeastRows = 32, kLeastColumns = 16;
constexpr int64_t kPanelElements = 1 << 14;  // fewer are no work for a block

// Builds the ops in front of one reduction.
class Splitter {
 public:
  explicit Splitter(ReduceOp op) : op_(op), b_(op) {
    Type t = op.getType().getElementType();
    sum_type_ = t.getIntOrFloatBitWidth() == 16 ? b_.getF32Type() : t;
  }

  void whole(int64_t chunk) {
    int64_t n = op_.getArg().getType().getNumElements();
    mlir::Value flat = reshape(wide(op_.getArg()), {n});
    finish(reduce(reduce(flat, {0}, {(n + chunk - 1) / chunk}, chunk), {0}, {}));
  }

  void columns(int64_t rows, int64_t columns, int64_t parts) {
    mlir::Value cut = reshape(wide(op_.getArg()), {parts, rows / parts, columns});
    mlir::Value sums = reduce(reduce(cut, {1}, {parts, columns}), {0}, {columns});
    finish(reshape(sums, Shape(op_.getType().getShape())));
  }

 private:
  RankedTensorType tensor(ArrayRef<int64_t> shape) {
    return RankedTensorType::get(shape, sum_type_);
  }

  mlir::Value wide(mlir::Value v) {
    auto t = cast<RankedTensorType>(v.getType());
    if (t.getElementType() == sum_type_) return v;
    return CastOp::create(b_, op_.getLoc(), tensor(t.getShape()), v);
  }
  mlir::Value reshape(mlir::Value v, ArrayRef<int64_t> shape) {
    return ViewOp::create(b_, op_.getLoc(), tensor(shape), "reshape", v, ArrayRef<int64_t>{},
                          ArrayRef<int64_t>{}, ArrayRef<int64_t>{});
  }
  mlir::Value reduce(mlir::Value v, ArrayRef<int64_t> axes, ArrayRef<int64_t> shape,
                     int64_t chunk = 0) {
    return ReduceOp::create(b_, op_.getLoc(), tensor(shape), op_.getKind(), v, axes, chunk);
  }
  void finish(mlir::Value v) {
    if (v.getType() != op_.getType()) v = CastOp::create(b_, op_.getLoc(), op_.getType(), v);
    op_.getResult().replaceAllUsesWith(v);
    op_.erase();
  }

  ReduceOp op_;
  OpBuilder b_;
  Type sum_type_;
};

// Largest number of equal parts of `rows`, at most `most`, 0 if there is none worth it.
int64_t parts_of(int64_t rows, int64_t most, int64_t least_rows) {
  for (int64_t parts = most; parts >= kLeastParts; --parts)
    if (rows % parts == 0 && rows / parts >= least_rows) return parts;
  return 0;
}

// Two parts a multiprocessor, where there is work for them: a kernel that keeps column sums beside
// rows has a block for each.
int64_t parts_of(int64_t rows, int64_t columns, const TargetInfo& target) {
  const int64_t least = std::max(kLeastRows / 2, kPanelElements / columns);
  const int64_t panels = parts_of(rows, 2 * int64_t{target.cores}, least);
  if (panels > 0 && 2 * panels >= target.cores) return panels;
  return parts_of(rows, kMostParts, kLeastRows);
}

}  // namespace

void decompose(GraphOp graph, PassContext& context) {
  int64_t chunk = context.target.reduce_chunk;
  for (Operation& op : llvm::make_early_inc_range(graph.getBody().front())) {
    auto reduce = dyn_cast<ReduceOp>(op);
    if (!reduce || reduce.getChunk()) continue;
    int64_t n = reduce.getArg().getType().getNumElements();
    if (reduce.getType().getRank() == 0) {
      if (n >= 2 * chunk) Splitter(reduce).whole(chunk);
      continue;
    }
    bool leading = true;
    for (auto [i, axis] : llvm::enumerate(reduce.getAxes()))
      leading = leading && axis == static_cast<int64_t>(i);
    int64_t columns = reduce.getType().getNumElements();
    const int64_t many = context.target.cores > 0 ? kManyForBlocks : kManyElements;
    if (!leading || n < many || columns < kLeastColumns) continue;
    if (int64_t parts = parts_of(n / columns, columns, context.target))
      Splitter(reduce).columns(n / columns, columns, parts);
  }
}

}  // namespace fusec::passes
