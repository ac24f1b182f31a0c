// Computes a value a second time, inside the kernel that reads it, where that moves fewer bytes than
// storing it: what the forward pass would otherwise keep for the backward pass.
//
//   %y, %s = kernel "silu_mul"(%g, %u) { %s = silu(%g); %y = mul(%s, %u); yield %y, %s }
//   %d = kernel "mul"(%dy, %s)
//   ->  %y = kernel "silu_mul"(%g, %u) {..; yield %y}
//       %d = kernel "silu_mul"(%dy, %g) { %s = silu(%g); yield mul(%dy, %s) }
//
// A value that was rounded to 16 bits is stored so, and widened by its readers.
// Row statistics (a maximum, a sum) are not computed again but stored and read: exp(x - max) of a
// softmax becomes its argument, the row's maximum, and two operations. Refuses values that others
// than kernels read, whole reductions, and what costs more arithmetic than the saved bytes are worth
// on the target. The scalar operations stay the same; only where they run changes.
#include <mlir/IR/Builders.h>
#include <mlir/IR/IRMapping.h>

#include <unordered_set>

#include "kernels.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

constexpr int64_t kSmallest = 16384;  // bytes of a value worth a look
constexpr int64_t kStatistic = 16;    // so many times smaller than the value: stored, not repeated
constexpr size_t kMostOps = 24;

// What computes one result of a kernel.
struct Slice {
  SmallVector<Operation*> ops;           // operands first
  SmallVector<BlockArgument> arguments;  // of the kernel's body
  SmallVector<mlir::Value> statistics;   // values of the body that are stored instead
  int64_t operations = 0;                // of one evaluation of all elements
};

std::optional<unsigned> result_number(KernelOp kernel, mlir::Value inner) {
  auto yields = kernel.getBody().front().getTerminator()->getOperands();
  for (auto [i, v] : llvm::enumerate(yields))
    if (v == inner) return static_cast<unsigned>(i);
  return std::nullopt;
}

std::optional<Slice> slice_of(KernelOp kernel, unsigned result) {
  Slice s;
  mlir::Value root = kernel.getBody().front().getTerminator()->getOperand(result);
  int64_t limit = bytes_of(root) / kStatistic;
  // The value before a widening cast serves as well, at half the bytes; so does what is stored anyway.
  mlir::Value narrow;
  if (auto widen = root.getDefiningOp<CastOp>())
    if (bytes_of(widen.getArg()) < bytes_of(root)) narrow = widen.getArg();
  auto stored_narrower = [&](mlir::Value v) {
    return v != root && bytes_of(v) < bytes_of(root) && result_number(kernel, v);
  };
  llvm::SmallPtrSet<void*, 16> seen;
  auto visit = [&](auto&& self, mlir::Value v) -> bool {
    if (!seen.insert(v.getAsOpaquePointer()).second) return true;
    if (auto argument = dyn_cast<BlockArgument>(v)) {
      s.arguments.push_back(argument);
      return true;
    }
    Operation* op = v.getDefiningOp();
    if (!is_free(op) && (bytes_of(v) <= limit || v == narrow || stored_narrower(v))) {
      s.statistics.push_back(v);
      return true;
    }
    if (isa<ReduceOp>(op) || !is_fusable(op) || s.ops.size() >= kMostOps) return false;
    for (mlir::Value operand : op->getOperands())
      if (!self(self, operand)) return false;
    s.ops.push_back(op);
    if (!is_free(op)) s.operations += cost_of(op) * numel(type_of(v).shape);
    return true;
  };
  if (!visit(visit, root) || s.ops.empty()) return std::nullopt;
  return s;
}

// A kernel that reads a value, directly or through reshapes (from the value to what it reads).
struct Reader {
  KernelOp kernel;
  SmallVector<Operation*> reshapes;
};

// False if anything but kernels reads it.
bool readers_of(mlir::Value v, SmallVector<Operation*> through, SmallVectorImpl<Reader>& out) {
  for (Operation* user : v.getUsers()) {
    if (auto kernel = dyn_cast<KernelOp>(user)) {
      if (kernel.getSegments() != 1) return false;
      if (llvm::none_of(out, [&](Reader& r) { return r.kernel == kernel && r.reshapes == through; }))
        out.push_back({kernel, through});
      continue;
    }
    auto view = dyn_cast<ViewOp>(user);
    if (!view || view.getKind() != "reshape") return false;
    SmallVector<Operation*> further = through;
    further.push_back(user);
    if (!readers_of(view.getResult(), further, out)) return false;
  }
  return true;
}

mlir::Value outer(KernelOp kernel, BlockArgument argument) {
  return kernel.getArgs()[argument.getArgNumber()];
}

// The same kernel with `inputs` and the results of `yields`, its body moved over; `kept` are the
// numbers of the results that stay, in front of the new ones.
KernelOp rebuilt(KernelOp kernel, ArrayRef<unsigned> kept, ArrayRef<mlir::Value> added) {
  OpBuilder b(kernel);
  Operation* yield = kernel.getBody().front().getTerminator();
  SmallVector<mlir::Value> yields;
  for (unsigned i : kept) yields.push_back(yield->getOperand(i));
  yields.append(added.begin(), added.end());
  SmallVector<Type> types;
  for (mlir::Value v : yields) types.push_back(v.getType());
  auto now = KernelOp::create(b, kernel.getLoc(), types, kernel.getName(), kernel.getArgs(), 1,
                              DictionaryAttr());
  now.getBody().takeBody(kernel.getBody());
  yield->setOperands(yields);
  for (auto [i, old] : llvm::enumerate(kept))
    kernel.getOuts()[old].replaceAllUsesWith(now.getOuts()[i]);
  kernel.erase();
  return now;
}

// Drops ops that nothing needs and operands that no op reads.
void strip(KernelOp kernel) {
  Block& body = kernel.getBody().front();
  SmallVector<Operation*> ops;
  for (Operation& op : body.without_terminator()) ops.push_back(&op);
  for (Operation* op : llvm::reverse(ops))
    if (op->use_empty()) op->erase();
  for (unsigned i = body.getNumArguments(); i-- > 0;)
    if (body.getArgument(i).use_empty()) {
      body.eraseArgument(i);
      kernel.getArgsMutable().erase(i);
    }
}

// Drops results that nobody reads, and what only they needed. Null if nothing is left.
KernelOp pruned(KernelOp kernel) {
  SmallVector<unsigned> kept;
  for (auto [i, r] : llvm::enumerate(kernel.getOuts()))
    if (!r.use_empty()) kept.push_back(static_cast<unsigned>(i));
  if (kept.empty()) {
    kernel.erase();
    return {};
  }
  if (kept.size() < kernel.getOuts().size()) kernel = rebuilt(kernel, kept, {});
  strip(kernel);
  return kernel;
}

// Equal ops on equal operands become one: a slice often repeats what its reader does anyway.
void join_equal_ops(KernelOp kernel) {
  SmallVector<Operation*> known;
  for (Operation& op : llvm::make_early_inc_range(kernel.getBody().front().without_terminator())) {
    auto same = llvm::find_if(known, [&](Operation* k) {
      return k->getName() == op.getName() && k->getAttrDictionary() == op.getAttrDictionary() &&
             k->getResultTypes() == op.getResultTypes() &&
             llvm::equal(k->getOperands(), op.getOperands());
    });
    if (same == known.end()) {
      known.push_back(&op);
    } else {
      op.replaceAllUsesWith(*same);
      op.erase();
    }
  }
}

class Rematerializer {
 public:
  explicit Rematerializer(PassContext& context)
      : context_(context), merger_(context, "rematerialize") {}

  // All results of one kernel that are better computed again; null if none is left.
  void run(KernelOp& kernel) {
    if (kernel.getSegments() != 1) return;
    for (bool again = true; again;) {
      again = false;
      for (unsigned i = 0; !again && i < kernel.getOuts().size(); ++i) again = move(kernel, i);
      if (again && !kernel) return;
    }
  }

 private:
  // True if result i is gone; `kernel` is then what is left of the kernel, null if nothing.
  bool move(KernelOp& kernel, unsigned i) {
    mlir::Value value = kernel.getOuts()[i];
    if (bytes_of(value) < kSmallest || value.use_empty()) return false;
    SmallVector<Reader> readers;
    if (!readers_of(value, {}, readers) || refused_.count(structure_key(kernel, i))) return false;
    std::optional<Slice> slice = slice_of(kernel, i);
    if (!slice || !pays(kernel, value, *slice, readers)) return false;
    if (!is_kernel(kernel, i, *slice, true) || !is_kernel(kernel, i, *slice, false)) return false;

    expose(kernel, *slice);
    bool all = true;
    for (Reader& r : readers) {
      KernelOp before = r.kernel, now = compute_in(kernel, *slice, r, i);
      all = all && now;
      for (Reader& other : readers)
        if (now && other.kernel == before) other.kernel = now;
    }
    value = kernel.getOuts()[i];
    if (!all) refused_.insert(structure_key(kernel, i));
    bool gone = llvm::all_of(value.getUsers(), [](Operation* u) { return u->use_empty(); });
    if (gone)
      for (Operation* view : llvm::make_early_inc_range(value.getUsers())) view->erase();
    kernel = pruned(kernel);
    return gone;
  }

  bool pays(KernelOp kernel, mlir::Value value, const Slice& slice,
            ArrayRef<Reader> readers) const {
    auto n = static_cast<int64_t>(readers.size());
    int64_t saved = bytes_of(value) * (1 + n);
    for (const Reader& r : readers)
      for (BlockArgument a : slice.arguments)
        if (!llvm::is_contained(r.kernel->getOperands(), outer(kernel, a)))
          saved -= bytes_of(outer(kernel, a));
    for (mlir::Value v : slice.statistics)
      if (!result_number(kernel, v)) saved -= bytes_of(v) * (1 + n);
    return saved > n * slice.operations / context_.target.operations_a_byte;
  }

  // Statistics that are no results of the kernel yet.
  static SmallVector<mlir::Value> hidden(KernelOp kernel, const Slice& slice) {
    SmallVector<mlir::Value> out;
    for (mlir::Value v : slice.statistics)
      if (!result_number(kernel, v)) out.push_back(v);
    return out;
  }

  // Whether the kernel can have the statistics as results, with or without result i: one that is
  // neither of its rows nor of its elements, as log(bias) of a [1, n] bias, cannot be stored there.
  bool is_kernel(KernelOp kernel, unsigned i, const Slice& slice, bool with_value) {
    SmallVector<unsigned> kept;
    for (unsigned r = 0; r < kernel.getOuts().size(); ++r)
      if (r != i || with_value) kept.push_back(r);
    IRMapping map;
    auto probe = cast<KernelOp>(OpBuilder(kernel).clone(*kernel, map));
    SmallVector<mlir::Value> added;
    for (mlir::Value v : hidden(kernel, slice)) added.push_back(map.lookup(v));
    probe = rebuilt(probe, kept, added);
    strip(probe);
    bool fits = probe.getOuts().empty() || merger_.answer(probe).failure.empty();
    probe.erase();
    return fits;
  }

  // Makes the statistics results of the kernel.
  static void expose(KernelOp& kernel, const Slice& slice) {
    SmallVector<mlir::Value> added = hidden(kernel, slice);
    if (added.empty()) return;
    SmallVector<unsigned> all;
    for (unsigned i = 0; i < kernel.getOuts().size(); ++i) all.push_back(i);
    kernel = rebuilt(kernel, all, added);
  }

  // The slice as a kernel in front of the reader, merged into it; null, and nothing changed, if that
  // is no kernel.
  KernelOp compute_in(KernelOp kernel, const Slice& slice, Reader& reader, unsigned i) {
    KernelOp user = reader.kernel;
    mlir::Value operand = reader.reshapes.empty() ? mlir::Value(kernel.getOuts()[i])
                                                  : reader.reshapes.back()->getResult(0);
    OpBuilder b(user);
    SmallVector<mlir::Value> inputs, inner;
    for (BlockArgument a : slice.arguments)
      inputs.push_back(outer(kernel, a)), inner.push_back(a);
    for (mlir::Value v : slice.statistics)
      inputs.push_back(kernel.getOuts()[*result_number(kernel, v)]), inner.push_back(v);
    auto copy = KernelOp::create(b, slice.ops.back()->getLoc(), operand.getType(), "again", inputs,
                                 1, DictionaryAttr());
    Block& block = copy.getBody().emplaceBlock();
    IRMapping map;
    for (auto [from, v] : llvm::zip(inner, inputs))
      map.map(from, block.addArgument(v.getType(), v.getLoc()));
    b.setInsertionPointToStart(&block);
    for (Operation* op : slice.ops) b.clone(*op, map);
    mlir::Value last = map.lookup(slice.ops.back()->getResult(0));
    map.map(kernel.getOuts()[i], last);
    for (Operation* op : reader.reshapes) last = b.clone(*op, map)->getResult(0);
    YieldOp::create(b, copy.getLoc(), last);
    user->replaceUsesOfWith(operand, copy.getOuts()[0]);
    KernelOp merged = merger_.try_merge(copy, user);
    if (!merged) {
      user->replaceUsesOfWith(copy.getOuts()[0], operand);
      copy.erase();
      return {};
    }
    join_equal_ops(merged);
    return merged;
  }

  static uint64_t structure_key(KernelOp kernel, unsigned i) { return structure_of(kernel) + i; }

  PassContext& context_;
  KernelMerger merger_;
  std::unordered_set<uint64_t> refused_;  // results that some reader did not take
};

}  // namespace

void rematerialize(GraphOp graph, PassContext& context) {
  Rematerializer pass(context);
  Block& body = graph.getBody().front();
  for (Operation* op = body.empty() ? nullptr : &body.front(); op;) {
    auto kernel = dyn_cast<KernelOp>(op);
    if (!kernel) {
      op = op->getNextNode();
      continue;
    }
    // Readers, which lie behind, are replaced, and the kernel may go; what lies before it stays.
    Operation* before = op->getPrevNode();
    pass.run(kernel);
    op = kernel ? kernel->getNextNode() : before ? before->getNextNode() : &body.front();
  }
}

}  // namespace fusec::passes
