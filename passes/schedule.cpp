// Gives every kernel its loops: the schedule attribute, and a name that is unique for its code.
//
//   kernel "silu_mul"(...)  ->  kernel "k03_silu_mul"(...) {schedule = {kind = "flat", vector = 64,
//                                                           extents = [1048576], ...}}
//
// Equal kernels share one name and are scheduled once. Refuses (internal Error) a region that
// build_kernel() cannot compile: the fusion passes must not have made it.
#include <mlir/IR/Builders.h>

#include "fusec/base/hash.h"
#include "kernels.h"

using namespace mlir;

namespace fusec::passes {

using namespace ir;

void schedule(GraphOp graph, PassContext& context) {
  Builder b(graph.getContext());
  struct Scheduled {
    StringAttr name;
    DictionaryAttr attr;
  };
  // What no cache holds is better stored past it (see KernelSchedule::stream), but for values that
  // replace a parameter: they will be written in place, on lines that were just read.
  auto streams = [&](KernelOp kernel) {
    int64_t bytes = 0;
    for (mlir::Value v : kernel.getOperands()) bytes += bytes_of(v);
    for (mlir::Value v : kernel.getResults()) {
      bytes += bytes_of(v);
      if (llvm::any_of(v.getUsers(), [](Operation* u) { return isa<AssignOp>(u); })) return false;
    }
    return bytes > context.target.cache_bytes;
  };
  std::unordered_map<uint64_t, Scheduled> known;
  std::unordered_map<uint64_t, std::string> names;  // by code
  for (KernelOp kernel : graph.getBody().front().getOps<KernelOp>()) {
    auto [it, fresh] = known.try_emplace(hash_combine(structure_of(kernel), streams(kernel)));
    if (fresh) {
      KernelBuild built = build_kernel(region_of(kernel), kernel.getName().str());
      if (!built.program)
        fail_internal("kernel " + kernel.getName().str() + " cannot be compiled: " + built.failure,
                      source_of(kernel));
      KernelProgram& p = *built.program;
      if (p.walk_dims > 0 && context.target.cores == 0)
        fail_user("kernel " + kernel.getName().str() + " sums columns beside rows, which " +
                      context.target.name + " does not; expected two kernels",
                  source_of(kernel));
      KernelSchedule& s = p.schedule;
      s.stream = streams(kernel) &&
                 (s.kind == ScheduleKind::flat || s.kind == ScheduleKind::rows);
      auto [named, new_code] = names.try_emplace(structural_hash(p));
      if (new_code) {
        StringRef base = kernel.getName();
        if (base.starts_with("k"))
          base = base.substr(base.find('_') == StringRef::npos ? 0 : base.find('_') + 1);
        std::string number = std::to_string(names.size() - 1);
        named->second = (number.size() < 2 ? "k0" : "k") + number + "_" + base.substr(0, 48).str();
      }
      it->second.name = b.getStringAttr(named->second);
      it->second.attr =
          b.getDictionaryAttr({b.getNamedAttr("kind", b.getStringAttr(name_of(s.kind))),
                               b.getNamedAttr("extents", b.getDenseI64ArrayAttr(p.extents)),
                               b.getNamedAttr("row_dims", b.getI64IntegerAttr(p.row_dims)),
                               b.getNamedAttr("vector", b.getI64IntegerAttr(s.vector)),
                               b.getNamedAttr("chunk", b.getI64IntegerAttr(s.chunk)),
                               b.getNamedAttr("grain", b.getI64IntegerAttr(s.grain)),
                               b.getNamedAttr("stream", b.getBoolAttr(s.stream))});
    }
    kernel.setNameAttr(it->second.name);
    kernel.setScheduleAttr(it->second.attr);
  }
}

}  // namespace fusec::passes
