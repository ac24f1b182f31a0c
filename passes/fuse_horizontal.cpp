// Makes one kernel with many segments of kernels that do the same to tensors of different sizes:
//
//   kernel "adamw"(%p0, %g0, ..) ; kernel "adamw"(%p1, %g1, ..) ; ...
//   ->  kernel "adamw"(%p0, %g0, .., %p1, %g1, ..) {segments = 2}
//
// so the optimizer and the gradient norm of all parameters are a few launches over a pointer table.
// Takes flat kernels (their code does not depend on the size), and small ones of one size, that are
// equally far from the end of the step, which proves that none depends on another. Refuses results
// that others than assigns read, unless they are small: joining those would hold memory longer than
// it saves; but for copies of parameters, on devices where a launch has its price.
#include <mlir/IR/Builders.h>
#include <mlir/IR/IRMapping.h>

#include "fusec/base/hash.h"
#include "fusec/ir/export.h"
#include "kernels.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

constexpr int64_t kSmall = 65536;  // bytes

// Longest path to the end of the step.
llvm::DenseMap<Operation*, int> distances(Block& body) {
  llvm::DenseMap<Operation*, int> distance;
  for (Operation& op : llvm::reverse(body)) {
    int d = 0;
    for (Operation* user : op.getUsers()) d = std::max(d, distance[user] + 1);
    distance[&op] = d;
  }
  return distance;
}

// Reads parameters alone: independent of every other kernel that does.
bool reads_parameters(KernelOp kernel) {
  return !kernel.getArgs().empty() && llvm::all_of(kernel.getArgs(), [](mlir::Value v) {
    return v.getDefiningOp<ParameterOp>() != nullptr;
  });
}

bool is_candidate(KernelOp kernel, bool may_hold) {
  if (kernel.getSegments() != 1) return false;
  // The length of each segment of a reduction is that of its tensors: one must have it.
  if (int64_t n = reduced_length(kernel))
    if (llvm::none_of(kernel.getArgs(),
                      [&](mlir::Value v) { return numel(type_of(v).shape) == n; }))
      return false;
  for (mlir::Value r : kernel.getOuts())
    for (Operation* user : r.getUsers())
      if (!isa<AssignOp>(user) && bytes_of(r) > kSmall) return may_hold;
  return true;
}

void join(ArrayRef<KernelOp> group) {
  KernelOp first = group.front(), last = group.back();
  SmallVector<mlir::Value> args;
  SmallVector<Type> types;
  for (KernelOp k : group) {
    args.append(k.getArgs().begin(), k.getArgs().end());
    for (mlir::Value r : k.getOuts()) types.push_back(r.getType());
  }
  OpBuilder b(last);
  auto joined = KernelOp::create(b, first.getLoc(), types, first.getName(), args,
                                 static_cast<int64_t>(group.size()), DictionaryAttr());
  IRMapping map;
  first.getBody().cloneInto(&joined.getBody(), map);
  unsigned next = 0;
  for (KernelOp k : group)
    for (mlir::Value r : k.getOuts()) r.replaceAllUsesWith(joined.getOuts()[next++]);
  for (KernelOp k : group) k.erase();
}

// Puts ops behind what they read, and moves nothing else: an op goes forward only to a reader that
// the order would have before it.
void restore_order(Block& body) {
  SmallVector<Operation*> order;
  llvm::SmallPtrSet<Operation*, 32> placed;
  auto place = [&](auto&& self, Operation* op) -> void {
    if (!placed.insert(op).second) return;
    for (mlir::Value v : op->getOperands())
      if (Operation* def = v.getDefiningOp()) self(self, def);
    order.push_back(op);
  };
  for (Operation& op : body) place(place, &op);
  for (Operation* op : order) op->moveBefore(&body, body.end());
}

}  // namespace

void fuse_horizontal(GraphOp graph, PassContext& context) {
  Block& body = graph.getBody().front();
  llvm::DenseMap<Operation*, int> distance = distances(body);
  std::map<std::pair<int, uint64_t>, SmallVector<KernelOp>> groups;
  std::unordered_map<uint64_t, std::pair<ScheduleKind, uint64_t>> known;
  for (KernelOp kernel : body.getOps<KernelOp>()) {
    // The narrow copies of weights are read from the forward to the backward pass, so that making
    // all of them first holds little more; a launch each costs more than that where launches do.
    bool at_start = context.target.cores > 0 && reads_parameters(kernel);
    if (!is_candidate(kernel, at_start)) continue;
    auto [it, fresh] = known.try_emplace(structure_of(kernel), ScheduleKind::rows, 0);
    if (fresh)
      if (KernelBuild built = build_kernel(region_of(kernel), ""); built.program)
        it->second = {built.program->schedule.kind, structural_hash(*built.program)};
    auto [kind, hash] = it->second;
    bool any_size = kind == ScheduleKind::flat || kind == ScheduleKind::flat_reduce;
    if (hash && (any_size || llvm::all_of(kernel.getArgs(),
                                          [](mlir::Value v) { return bytes_of(v) <= kSmall; })))
      groups[{at_start ? -1 : distance[kernel], hash}].push_back(kernel);
  }
  for (auto& [key, group] : groups) {
    if (group.size() < 2) continue;
    Decision d = Decision::yes(std::to_string(group.size()) + " equal kernels on other tensors");
    d.pass = "fuse_horizontal";
    d.producer = describe(group.front());
    d.consumer = describe(group.back());
    context.decisions.push_back(d);
    join(group);
  }
  restore_order(body);
}

}  // namespace fusec::passes
