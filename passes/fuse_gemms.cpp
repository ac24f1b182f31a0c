// Makes one product of those that multiply one activation with several weights (q, k, v; gate, up),
// and of the products of their backward pass.
//
//   %q = contract(%x, %wq) ; %k = contract(%x, %wk)
//   ->  %w = concat 0 (%wq, %wk) ; %y = contract(%x, %w) ; %q = slice %y ; %k = slice %y
//
//   %dx = add(contract(%dq, %wq), contract(%dk, %wk))
//   ->  %dy = concat 1 (%dq, %dk) ; %dx = contract(%dy, %w)           the sum is the product's own
//   %dwq = contract(%dq, %x) ; %dwk = contract(%dk, %x)
//   ->  %dw = contract(%dy, %x) ; %dwq, %dwk = whole rows of %dw, in its memory
//
// The activation is then read once, and a few products too small for a device become a large one.
// Kernels read slices as they are, and write the parts of a concat in place (place_concats); what
// no kernel makes or reads is copied, and a product whose copies move more bytes than it saves
// stays alone. Refuses weights that another product uses the same way (tied), products whose GEMM
// takes a bias along, widths that are no multiple of 8, which would leave the next part misaligned,
// and on a CPU weights held in 16 bits beside an activation in f32, which its GEMM reads as they
// lie.
#include <mlir/IR/Builders.h>

#include <algorithm>
#include <map>
#include <utility>

#include "gemm_groups.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

constexpr int64_t kAligned = 8;        // columns of a part
constexpr int64_t kWholeVectors = 64;  // elements in front of a part that is a tensor of its own

class GemmFuser {
 public:
  GemmFuser(GraphOp graph, PassContext& context)
      : body_(graph.getBody().front()), context_(context), b_(graph.getContext()) {}

  void run() {
    for (const Candidates& c : candidates()) {
      Group group;
      for (auto [op, lhs] : c)
        if (!dead_.contains(op))
          if (std::optional<Product> p = product_of(op, lhs))
            group.push_back({*p, {}, {}, {}, {}, {}});
      if (group.size() >= 2) fuse(group);
    }
    for (Operation* op : dead_) op->erase();
  }

 private:
  using Candidates =
      SmallVector<std::pair<ContractOp, bool>>;  // the activation is its first operand

  // Contractions of one activation with weights, by their labels, in the order of the step.
  std::vector<Candidates> candidates() {
    std::vector<Candidates> out;
    std::map<std::pair<void*, std::string>, size_t> known;
    for (ContractOp op : body_.getOps<ContractOp>())
      for (bool lhs : {true, false}) {
        std::optional<Product> p = product_of(op, lhs);
        if (!p || !is_weight(p->other) || is_weight(p->shared)) continue;
        if (context_.target.cores == 0 && is_held_narrow(p->other)) continue;
        auto [it, fresh] =
            known.try_emplace({p->shared.getAsOpaquePointer(), p->labels("")}, out.size());
        if (fresh) out.emplace_back();
        out[it->second].push_back({op, lhs});
        break;
      }
    return out;
  }

  // Ops go at the end of the pass: until then, no new op takes the address of an old one.
  void drop(Operation* op) {
    op->dropAllReferences();
    dead_.insert(op);
  }

  void decided(Decision d, ContractOp first, ContractOp last, int64_t bytes) {
    d.bytes_saved = bytes;
    d.pass = "fuse_gemms";
    d.producer = describe(first);
    d.consumer = describe(last);
    context_.decisions.push_back(std::move(d));
  }

  void fuse(Group& group) {
    ContractOp first = group.front().forward.op;
    llvm::erase_if(group, [&](const Member& m) {
      std::string why;
      if (m.forward.width() % kAligned != 0)
        why = "a width of " + std::to_string(m.forward.width()) + " is not a multiple of " +
              std::to_string(kAligned);
      else if (is_rounded_later(m.forward.op))
        why = "its bias is a part of its own GEMM";
      else if (is_tied(m.forward))
        why = "another product uses the same weight";
      if (!why.empty()) decided(Decision::no(why), first, m.forward.op, 0);
      return !why.empty();
    });
    for (Member& m : group) gradients_.find(m);
    drop_costly(group);
    if (group.size() < 2) return;
    const bool sums = summed(group), weight_grads = have_weight_grads(group);
    fuse_forward(group);
    if (weight_grads) fuse_weight_grads(group);
    if (sums) fuse_input_grads(group);
    share_weights(group);
  }

  // Leaves out members that cost more than they save, the worst first.
  void drop_costly(Group& group) {
    while (group.size() >= 2) {
      const bool sums = summed(group);
      const bool weights = have_weight_grads(group);
      const int64_t one = bytes_of(group.front().forward.shared);
      const int64_t each = one * (1 + (sums ? 2 : 0) + (weights ? 1 : 0));
      int64_t cost = 0, most = -1, saved = each * static_cast<int64_t>(group.size() - 1);
      size_t worst = 0;
      for (auto [i, m] : llvm::enumerate(group)) {
        int64_t mine = copy_bytes(m.forward.other);
        if (read_by_others(m.forward.result())) mine += 2 * bytes_of(m.forward.result());
        if (sums || weights) mine += copy_bytes(m.dy());
        cost += mine;
        if (mine > most) most = mine, worst = i;
      }
      ContractOp first = group.front().forward.op, last = group.back().forward.op;
      if (cost < saved && most < each)
        return decided(Decision::yes(std::to_string(group.size()) + " products of one activation"),
                       first, last, saved - cost);
      const bool alone = most >= each;
      decided(Decision::no((alone ? "its copies move " : "the copies of all move ") +
                           std::to_string(alone ? most : cost) +
                           " bytes; reading the activation once saves " +
                           std::to_string(alone ? each : saved)),
              first, group[worst].forward.op, each);
      group.erase(group.begin() + worst);
    }
  }

  // In front of `before`; null: as soon as all parts are there.
  mlir::Value concat(ArrayRef<mlir::Value> parts, size_t axis, Location loc, Operation* before) {
    TensorType t = type_of(parts.front());
    t.shape[axis] = 0;
    std::vector<void*> key = {reinterpret_cast<void*>(axis)};
    for (mlir::Value v : parts) {
      t.shape[axis] += type_of(v).shape[axis];
      key.push_back(v.getAsOpaquePointer());
    }
    mlir::Value& known = concats_[key];
    if (known) return known;
    Operation* last = parts.front().getDefiningOp();
    for (mlir::Value v : parts)
      if (last->isBeforeInBlock(v.getDefiningOp())) last = v.getDefiningOp();
    OpBuilder b(b_.getContext());
    if (before)
      b.setInsertionPoint(before);
    else
      b.setInsertionPointAfter(last);
    return known = ConcatOp::create(b, loc, tensor_type(b.getContext(), t),
                                    static_cast<int64_t>(axis), parts, ArrayRef<int64_t>{});
  }

  // `size` elements of `axis` from `start`. Of whole rows, a tensor of its own where that is
  // aligned.
  ViewOp part_of(mlir::Value whole, size_t axis, int64_t start, Type type, Location loc) {
    TensorType t = type_of(whole);
    SmallVector<int64_t> starts(t.shape.size(), 0), steps(t.shape.size(), 1);
    starts[axis] = start;
    int64_t before = start;
    for (size_t d = 1; d < t.shape.size(); ++d) before *= t.shape[d];
    auto view = ViewOp::create(b_, loc, type, "slice", whole, ArrayRef<int64_t>{}, starts, steps);
    if (axis == 0 && before % kWholeVectors == 0) view.setAlias(true);
    return view;
  }

  ContractOp wide(const Product& like, mlir::Value shared, mlir::Value other, int64_t width) {
    TensorType t = type_of(like.result());
    t.shape[like.out_axis()] = width;
    std::string mine = letters(type_of(shared).shape.size());
    return ContractOp::create(b_, like.loc(), tensor_type(b_.getContext(), t), like.labels(mine),
                              like.other_is_rhs ? shared : other,
                              like.other_is_rhs ? other : shared);
  }

  static int64_t total(const Group& group) {
    int64_t n = 0;
    for (const Member& m : group) n += m.forward.width();
    return n;
  }

  // Joined where they are first needed: parameters are there from the start.
  mlir::Value weights(const Group& group, Operation* before = nullptr) {
    SmallVector<mlir::Value> parts;
    for (const Member& m : group) parts.push_back(m.forward.other);
    const Product& f = group.front().forward;
    return concat(parts, f.other_axis(), f.loc(), before);
  }

  mlir::Value gradients(const Group& group) {
    SmallVector<mlir::Value> parts;
    for (const Member& m : group) parts.push_back(m.dy());
    return concat(parts, group.front().forward.out_axis(), group.front().dy().getLoc(), nullptr);
  }

  // One product of the whole activation and `other`, whose parts replace the members' products. It
  // stands where the last of them did; what reads the others before that follows behind.
  template <class Get>
  void join(const Group& group, mlir::Value other, Get product) {
    Operation* first = product(group.front()).op;
    Operation* last = first;
    for (const Member& m : group) {
      Operation* op = product(m).op;
      if (op->isBeforeInBlock(first)) first = op;
      if (last->isBeforeInBlock(op)) last = op;
    }
    b_.setInsertionPoint(last);
    const Product& p = product(group.front());
    ContractOp made = wide(p, p.shared, other, total(group));
    int64_t start = 0;
    llvm::SmallPtrSet<Operation*, 16> late;
    Operation* behind = made;
    for (const Member& m : group) {
      ContractOp op = product(m).op;
      ViewOp part = part_of(made.getResult(), p.out_axis(), start, op.getType(), op.getLoc());
      op.getResult().replaceAllUsesWith(part.getResult());
      late.insert(behind = part);
      start += m.forward.width();
    }
    for (Operation* op = first; op != made.getOperation();) {
      Operation* next = op->getNextNode();
      if (llvm::any_of(op->getOperands(),
                       [&](mlir::Value v) { return late.count(v.getDefiningOp()) > 0; })) {
        late.insert(op);
        op->moveAfter(behind);
        behind = op;
      }
      op = next;
    }
    for (const Member& m : group) drop(product(m).op);
  }

  void fuse_forward(const Group& group) {
    Operation* last = group.front().forward.op;
    for (const Member& m : group)
      if (last->isBeforeInBlock(m.forward.op)) last = m.forward.op;
    join(group, weights(group, last), [](const Member& m) -> const Product& { return m.forward; });
  }

  void fuse_input_grads(Group& group) {
    auto product = [](const Member& m) -> const Product& { return *m.input_grad; };
    MapOp root = as_sum(group.front().sum.getDefiningOp());
    b_.setInsertionPoint(root);
    const Product& p = *group.front().input_grad;
    std::string mine = letters(type_of(p.shared).shape.size());
    mlir::Value dy = gradients(group), w = weights(group);
    mlir::Value v = ContractOp::create(b_, p.loc(), p.result().getType(), p.labels(mine),
                                       p.other_is_rhs ? dy : w, p.other_is_rhs ? w : dy);
    for (Operation* op : group.front().chain) {
      Operation* copy = b_.clone(*op);
      copy->setOperand(0, v);
      v = copy->getResult(0);
    }
    // The terms in their order, the wide one in the place of the first that it stands for.
    SmallVector<mlir::Value> terms;
    auto collect = [&](auto&& self, mlir::Value term, bool top) -> void {
      MapOp sum = as_sum(term.getDefiningOp());
      if (!sum || (!top && !term.hasOneUse())) return terms.push_back(term);
      for (mlir::Value operand : sum.getArgs()) self(self, operand, false);
    };
    collect(collect, root.getResult(), true);
    mlir::Value sum;
    for (mlir::Value term : terms) {
      if (llvm::any_of(group, [&](const Member& m) { return m.leaf == term; })) {
        if (!v) continue;
        term = std::exchange(v, mlir::Value());
      }
      if (sum)
        sum = MapOp::create(b_, root.getLoc(), root.getType(), "add", ValueRange{sum, term});
      else
        sum = term;
    }
    root.getResult().replaceAllUsesWith(sum);
    decided(Decision::yes("the sum of " + std::to_string(group.size()) + " products is one"),
            product(group.front()).op, product(group.back()).op,
            2 * bytes_of(p.result()) * static_cast<int64_t>(group.size() - 1));
    drop_tree(root);
  }

  // Erases ops that nothing uses any more, from `op` to the leaves.
  void drop_tree(Operation* op) {
    if (!op || !op->use_empty() || !isa<MapOp, CastOp, ViewOp, ContractOp>(op)) return;
    SmallVector<mlir::Value> operands(op->getOperands());
    drop(op);
    for (mlir::Value v : operands) drop_tree(v.getDefiningOp());
  }

  void fuse_weight_grads(Group& group) {
    auto product = [](const Member& m) -> const Product& { return *m.weight_grad; };
    const Product& p = *group.front().weight_grad;
    ContractOp first = p.op, last = product(group.back()).op;
    if (!llvm::all_of(group, [&](const Member& m) {
          return m.weight_grad->other_labels == p.other_labels && m.weight_grad->out == p.out;
        }))
      return decided(Decision::no("weight gradients of other layouts"), first, last, 0);
    if (depend(group))
      return decided(Decision::no("one weight gradient depends on another"), first, last, 0);
    decided(Decision::yes(std::to_string(group.size()) + " weight gradients of one activation"),
            first, last, bytes_of(p.shared) * static_cast<int64_t>(group.size() - 1));
    join(group, gradients(group), product);
  }

  // True if a dy needs one of the weight gradients.
  bool depend(const Group& group) {
    llvm::SmallPtrSet<Operation*, 32> seen, made;
    Operation* first = group.front().weight_grad->op;
    for (const Member& m : group) {
      made.insert(m.weight_grad->op);
      if (m.weight_grad->op->isBeforeInBlock(first)) first = m.weight_grad->op;
    }
    auto reaches = [&](auto&& self, Operation* op) -> bool {
      if (!op || op->isBeforeInBlock(first) || !seen.insert(op).second) return false;
      if (made.count(op)) return true;
      return llvm::any_of(op->getOperands(),
                          [&](mlir::Value v) { return self(self, v.getDefiningOp()); });
    };
    return llvm::any_of(group,
                        [&](const Member& m) { return reaches(reaches, m.dy().getDefiningOp()); });
  }

  // What still reads one weight alone takes its rows of the wide one, so that the narrow copy of a
  // parameter is stored once.
  void share_weights(const Group& group) {
    mlir::Value whole = weights(group);
    Operation* made = whole.getDefiningOp();
    if (group.front().forward.other_axis() != 0) return;
    auto behind = [&](OpOperand& use) {
      return isa<ContractOp>(use.getOwner()) && made->isBeforeInBlock(use.getOwner());
    };
    int64_t start = 0;
    for (const Member& m : group) {
      mlir::Value w = m.forward.other;
      int64_t from = std::exchange(start, start + m.forward.width());
      if (!w.getDefiningOp<CastOp>() || llvm::none_of(w.getUses(), behind)) continue;
      b_.setInsertionPointAfter(made);
      auto rows = part_of(whole, 0, from, w.getType(), w.getLoc());
      if (rows.getAlias())
        w.replaceUsesWithIf(rows.getResult(), behind);
      else
        rows.erase();
    }
  }

  Block& body_;
  PassContext& context_;
  OpBuilder b_;
  std::map<std::vector<void*>, mlir::Value> concats_;
  GradientFinder gradients_;
  llvm::SetVector<Operation*> dead_;
};

}  // namespace

void fuse_gemms(GraphOp graph, PassContext& context) { GemmFuser(graph, context).run(); }

}  // namespace fusec::passes
