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

#include <unordered_set>

#include "slice.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

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
    if (bytes_of(value) < kWorthwhile || value.use_empty()) return false;
    SmallVector<Reader> readers;
    if (!readers_of(value, {}, readers) || refused_.count(structure_key(kernel, i))) return false;
    std::optional<Slice> slice = slice_of(kernel, i);
    if (!slice || !pays(kernel, value, *slice, readers)) return false;
    for (bool with_value : {true, false})
      if (!can_expose(kernel, i, *slice, with_value, merger_)) return false;

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
          saved -= bytes_read(a, [&](Operation* op) { return llvm::is_contained(slice.ops, op); });
    for (mlir::Value v : slice.statistics)
      if (!result_number(kernel, v)) saved -= bytes_of(v) * (1 + n);
    return saved > n * slice.operations / context_.target.operations_a_byte;
  }

  // The slice as a kernel in front of the reader, merged into it; null, and nothing changed, if that
  // is no kernel.
  KernelOp compute_in(KernelOp kernel, const Slice& slice, Reader& reader, unsigned i) {
    KernelOp user = reader.kernel;
    mlir::Value operand = reader.reshapes.empty() ? mlir::Value(kernel.getOuts()[i])
                                                  : reader.reshapes.back()->getResult(0);
    OpBuilder b(user);
    KernelOp copy = compute_again(b, kernel, slice, i, reader.reshapes);
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
