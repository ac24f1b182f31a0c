#include "epilogue.h"

#include "fusec/ir/kernel_builder.h"

using namespace mlir;

namespace fusec::passes {

using namespace ir;

namespace {

constexpr int64_t kAuxRows = 8;  // elements that a row of what goes into a GELU is a multiple of

// The vector that `v` repeats for each run of `columns` elements, or null.
mlir::Value repeated_vector(mlir::Value v, int64_t columns) {
  auto view = v.getDefiningOp<ViewOp>();
  if (!view || view.getKind() != "broadcast") return {};
  TensorType source = type_of(view.getArg());
  Shape target = type_of(v).shape;
  if (numel(source.shape) != columns) return {};
  size_t first = target.size();  // the axes from here on make a row
  for (int64_t n = 1; first > 0 && n != columns;) n *= target[--first];
  int64_t row = 1;
  for (size_t i = first; i < target.size(); ++i) row *= target[i];
  if (row != columns) return {};
  for (size_t i = 0; i < target.size(); ++i) {
    int64_t from = view.getDims()[i], size = from < 0 ? 1 : source.shape[from];
    if (size != (i < first ? 1 : target[i])) return {};
  }
  Operation* def = behind_reshapes(view.getArg()).getDefiningOp();
  if (!def || is_free(def)) return {};  // a view or a number would have to be written out first
  return view.getArg();
}

}  // namespace

mlir::Value behind_reshapes(mlir::Value v) {
  for (auto view = v.getDefiningOp<ViewOp>(); view && view.getKind() == "reshape";
       view = v.getDefiningOp<ViewOp>())
    v = view.getArg();
  return v;
}

bool needed_in_memory(mlir::Value v) {
  return llvm::any_of(v.getUsers(), [](Operation* user) {
    auto view = dyn_cast<ViewOp>(user);
    if (view && view.getKind() == "reshape") return needed_in_memory(view.getResult());
    return !is_fusable(user);
  });
}

std::optional<Epilogue> match_epilogue(mlir::Value product, int64_t columns, bool gelu) {
  if (columns <= 0) return std::nullopt;
  Epilogue e;
  e.sum = product;
  while (e.sum.hasOneUse()) {
    auto view = dyn_cast<ViewOp>(*e.sum.user_begin());
    if (!view || view.getKind() != "reshape") break;
    e.sum = view.getResult();
  }
  if (e.sum.hasOneUse())
    if (auto add = dyn_cast<MapOp>(*e.sum.user_begin()); add && add.getFn() == "add")
      for (int i : {0, 1})
        if (add.getArgs()[i] == e.sum && !e.add)
          if (mlir::Value bias = repeated_vector(add.getArgs()[1 - i], columns))
            e.add = add, e.bias = bias;
  if (e.add) e.sum = e.add.getResult();
  if (gelu)
    for (Operation* user : e.sum.getUsers())
      if (auto map = dyn_cast<MapOp>(user); map && map.getFn() == "gelu") e.gelu = map;
  if (e.aux() && columns % kAuxRows != 0) e.gelu = {};
  if (!e.add && !e.gelu) return std::nullopt;
  return e;
}

bool sums_rows(ReduceOp reduce, int64_t columns) {
  if (reduce.getKind() != "sum") return false;
  Shape shape = type_of(reduce.getArg()).shape;
  int64_t row = 1;
  bool inside = true;  // of the kept, innermost axes
  for (size_t i = shape.size(); i-- > 0;) {
    bool summed = llvm::is_contained(reduce.getAxes(), static_cast<int64_t>(i));
    if (!summed && !inside && shape[i] != 1) return false;
    inside = inside && !summed;
    if (inside) row *= shape[i];
  }
  return row == columns && !inside;
}

std::optional<EpilogueGradient> match_gradient(mlir::Value product, int64_t columns) {
  if (columns <= 0 || columns % kAuxRows != 0) return std::nullopt;
  mlir::Value v = product;
  while (v.hasOneUse()) {
    auto view = dyn_cast<ViewOp>(*v.user_begin());
    if (!view || view.getKind() != "reshape") break;
    v = view.getResult();
  }
  if (!v.hasOneUse()) return std::nullopt;
  EpilogueGradient e;
  e.mul = dyn_cast<MapOp>(*v.user_begin());
  if (!e.mul || e.mul.getFn() != "mul") return std::nullopt;
  for (int i : {0, 1}) {
    auto slope = e.mul.getArgs()[i].getDefiningOp<MapOp>();
    if (slope && slope.getFn() == "gelu_slope" && e.mul.getArgs()[1 - i] == v)
      e.pre = slope.getArgs()[0];
  }
  if (!e.pre) return std::nullopt;
  return e;
}

int64_t columns_of(ContractOp c) {
  auto attr = std::get<ContractAttr>(info_of(c).attr);
  auto in = [](const std::string& labels, char x) { return labels.find(x) != std::string::npos; };
  Shape shape = type_of(c.getResult()).shape;
  int64_t columns = 1;
  bool rows = false;
  for (size_t i = attr.out.size(); i-- > 0;) {
    bool l = in(attr.lhs, attr.out[i]), r = in(attr.rhs, attr.out[i]);
    if (l && r) return 0;
    bool same_side = in(attr.lhs, attr.out.back()) == l;
    if (rows && same_side) return 0;
    rows = rows || !same_side;
    if (!rows) columns *= shape[i];
  }
  return rows ? columns : 0;
}

}  // namespace fusec::passes
