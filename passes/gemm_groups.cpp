// Which products of a step multiply one activation with weights, and what the backward pass has of
// each: dx = dy w, a term of a sum behind casts and reshapes, and dw = dy^T x.
#include "gemm_groups.h"

using namespace mlir;

namespace fusec::passes {

using namespace ir;

namespace {

bool repeats(const std::string& labels) {
  for (size_t i = 0; i < labels.size(); ++i)
    if (labels.find(labels[i], i + 1) != std::string::npos) return true;
  return false;
}

// Whether a kernel makes it for contractions alone, and so may write it into its place.
bool written_in_place(mlir::Value v) {
  if (!llvm::all_of(v.getUsers(), [](Operation* u) { return isa<ContractOp>(u); })) return false;
  for (auto view = v.getDefiningOp<ViewOp>(); view; view = v.getDefiningOp<ViewOp>()) {
    v = view.getArg();
    if (view.getKind() != "reshape" || !v.hasOneUse()) return false;
  }
  Operation* def = v.getDefiningOp();
  return def && isa<MapOp, CastOp, ReduceOp>(def);
}

}  // namespace

std::string letters(size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += static_cast<char>('a' + i);
  return out;
}

std::optional<Product> product_of(ContractOp op, bool lhs) {
  if (op.getLhs() == op.getRhs()) return std::nullopt;
  auto attr = std::get<ContractAttr>(info_of(op).attr);
  mlir::Value shared = lhs ? op.getLhs() : op.getRhs();
  const std::string& mine = lhs ? attr.lhs : attr.rhs;
  const std::string& others = lhs ? attr.rhs : attr.lhs;
  if (repeats(mine) || repeats(others) || mine.size() > 20) return std::nullopt;
  Product p{op, shared, lhs ? op.getRhs() : op.getLhs(), {}, {}, lhs};
  int own = 0;
  auto renamed = [&](const std::string& labels) {
    std::string out;
    for (char x : labels) {
      size_t at = mine.find(x);
      out += at == std::string::npos ? 'z' : static_cast<char>('a' + at);
    }
    return out;
  };
  for (char x : others)
    if (mine.find(x) == std::string::npos) ++own;
  p.other_labels = renamed(others), p.out = renamed(attr.out);
  if (own != 1 || p.out.find('z') == std::string::npos) return std::nullopt;
  return p;
}

bool is_weight(mlir::Value v) {
  while (Operation* op = v.getDefiningOp()) {
    if (auto p = dyn_cast<ParameterOp>(op)) return !p.getState();
    auto view = dyn_cast<ViewOp>(op);
    if (!isa<CastOp>(op) && !(view && (view.getKind() == "reshape" || view.getKind() == "permute")))
      return false;
    v = op->getOperand(0);
  }
  return false;
}

bool is_held_narrow(mlir::Value v) {
  auto widen = v.getDefiningOp<CastOp>();
  if (!widen || type_of(v).dtype != f32) return false;
  auto held = widen.getArg().getDefiningOp<ParameterOp>();
  if (!held || held.getState()) return false;
  const DType type = type_of(widen.getArg()).dtype;
  return type == bf16 || type == f16;
}

bool is_rounded_later(ContractOp op) {
  return llvm::all_of(op->getOperands(), [](mlir::Value v) {
    auto widen = v.getDefiningOp<CastOp>();
    if (!widen) return false;
    mlir::Type from = mlir::cast<mlir::ShapedType>(widen.getArg().getType()).getElementType();
    return (from.isBF16() || from.isF16()) && bytes_of(widen.getArg()) < bytes_of(v);
  });
}

bool read_by_others(mlir::Value v) {
  return llvm::any_of(v.getUsers(), [](Operation* user) {
    if (isa<ViewOp>(user)) return read_by_others(user->getResult(0));
    return !isa<MapOp, CastOp, ReduceOp>(user);
  });
}

int64_t copy_bytes(mlir::Value part) { return written_in_place(part) ? 0 : 2 * bytes_of(part); }

bool is_tied(const Product& p) {
  return llvm::any_of(p.other.getUsers(), [&](Operation* user) {
    auto c = dyn_cast<ContractOp>(user);
    if (!c || c == p.op) return false;
    std::optional<Product> q = product_of(c, c.getLhs() != p.other);
    return q && q->other_axis() == p.other_axis();
  });
}

MapOp as_sum(Operation* op) {
  auto map = dyn_cast_or_null<MapOp>(op);
  return map && map.getFn() == "add" ? map : MapOp();
}

namespace {

// dx = dy w sums over the width of w, wherever dy has it: where the forward product puts it.
bool follows_width(const Product& dx, const Product& forward) {
  size_t axis = forward.other_axis();
  return dx.other_labels[axis] == static_cast<char>('a' + forward.out_axis()) &&
         dx.out.find(dx.other_labels[axis]) == std::string::npos;
}

// From the product through casts and reshapes to the sum that it is a term of.
void climb(Member& m) {
  mlir::Value v = m.input_grad->result();
  while (v.hasOneUse()) {
    Operation* user = *v.getUsers().begin();
    auto view = dyn_cast<ViewOp>(user);
    if (!isa<CastOp>(user) && !(view && view.getKind() == "reshape")) break;
    m.chain.push_back(user);
    v = user->getResult(0);
  }
  m.leaf = v;
  while (v.hasOneUse() && as_sum(*v.getUsers().begin()))
    v = (*v.getUsers().begin())->getResult(0);
  m.sum = v;
}

}  // namespace

// The product of the weight with dy, and from there the one of dy with the activation.
void GradientFinder::find(Member& m) {
  const Product& f = m.forward;
  for (Operation* user : f.other.getUsers()) {
    auto c = dyn_cast<ContractOp>(user);
    // Of square products either may look like the other's gradient: that comes behind.
    if (!c || c == f.op || c->isBeforeInBlock(f.op)) continue;
    std::optional<Product> p = product_of(c, c.getLhs() != f.other);
    if (!p || type_of(p->shared) != type_of(f.result()) ||
        type_of(c.getResult()) != type_of(f.shared) || !follows_width(*p, f))
      continue;
    m.input_grad = p;
  }
  if (m.input_grad) {
    climb(m);
    for (Operation* user : m.input_grad->shared.getUsers())
      if (auto c = dyn_cast<ContractOp>(user); c && !claimed_.count(c))
        take_weight_grad(m, c, m.input_grad->shared);
    return;
  }
  // Without a gradient of the activation, dy is known by the shape of what it gives.
  for (Operation* user : f.shared.getUsers()) {
    auto c = dyn_cast<ContractOp>(user);
    if (!c || c == f.op || claimed_.count(c)) continue;
    mlir::Value dy = c.getLhs() == f.shared ? c.getRhs() : c.getLhs();
    if (is_weight(dy) || type_of(dy) != type_of(f.result())) continue;
    take_weight_grad(m, c, dy);
    if (m.weight_grad) break;
  }
}

void GradientFinder::take_weight_grad(Member& m, ContractOp c, mlir::Value dy) {
  const Product& f = m.forward;
  if (c.getLhs() != f.shared && c.getRhs() != f.shared) return;
  std::optional<Product> p = product_of(c, c.getLhs() == f.shared);
  if (!p || p->other != dy || p->other_axis() != f.out_axis() || p->width() != f.width()) return;
  m.weight_grad = p;
  claimed_.insert(c);
}

bool summed(const Group& group) {
  // Terms of 16 bits are rounded one by one; those that the precision policy widens are not.
  const Member& any = group.front();
  if (any.input_grad && size_of(type_of(any.leaf).dtype) < 4) return false;
  return llvm::all_of(group, [&](const Member& m) {
    const Member& first = group.front();
    return m.input_grad && m.leaf != m.sum && m.sum == first.sum &&
           m.leaf.getType() == first.leaf.getType() &&
           m.input_grad->other_labels == first.input_grad->other_labels &&
           m.input_grad->out == first.input_grad->out &&
           std::equal(m.chain.begin(), m.chain.end(), first.chain.begin(), first.chain.end(),
                      [](Operation* x, Operation* y) {
                        return x->getName() == y->getName() &&
                               x->getResultTypes() == y->getResultTypes();
                      });
  });
}

bool have_weight_grads(const Group& group) {
  return llvm::all_of(group, [](const Member& m) { return m.weight_grad.has_value(); });
}

}  // namespace fusec::passes
