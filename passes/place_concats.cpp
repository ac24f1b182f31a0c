// Lets kernels write the parts of a concat into their place, which saves the copies.
//
//   %a = kernel "silu"(%x) ; %c = concat 1 (%a, %b)
//   ->  %a = kernel "silu"(%x) {places = [64, 96, 0]} ; %c = concat 1 (%a, %b) {placed = [0]}
//
// Parts along the first axis are whole tensors one behind the other, and the kernel stays as it is.
// Other parts are columns: the kernel stores them a row apart. Refuses parts that something else
// reads too, that no kernel makes, or whose kernel lies so far ahead that the whole concat would be
// held for it; parts whose neighbours a vector store would overrun; columns of kernels that cannot
// be compiled so.
#include <mlir/IR/Builders.h>

#include "kernels.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

constexpr int kNear = 48;  // steps between a part and the concat

// A flat kernel may store up to a vector past its end, and all arguments are 64-byte aligned.
constexpr int64_t kWholeVectors = 64;

// The kernel result behind reshapes that nothing else reads; null if there is none.
OpResult part_result(mlir::Value v) {
  while (v.hasOneUse()) {
    auto view = v.getDefiningOp<ViewOp>();
    if (!view) break;
    if (view.getKind() != "reshape") return {};
    v = view.getArg();
  }
  return v.hasOneUse() && v.getDefiningOp<KernelOp>() ? cast<OpResult>(v) : OpResult();
}

bool reads_leaves(KernelOp kernel) {
  return llvm::all_of(kernel.getArgs(), [](mlir::Value v) {
    return isa_and_nonnull<ParameterOp, InputOp, ConstantOp>(v.getDefiningOp());
  });
}

class Placer {
 public:
  Placer(Block& body, PassContext& context) : context_(context) {
    int at = 0;
    for (Operation& op : body) {
      number_[&op] = at;
      at += isa<KernelOp, LibraryOp, ConcatOp>(op);
    }
  }

  void run(ConcatOp concat) {
    Shape shape = type_of(concat.getResult()).shape;
    int64_t axis = concat.getAxis(), outer = 1, inner = 1, start = 0;
    for (int64_t d = 0; d < axis; ++d) outer *= shape[d];
    for (size_t d = axis + 1; d < shape.size(); ++d) inner *= shape[d];
    SmallVector<int64_t> placed;
    for (auto [i, v] : llvm::enumerate(concat.getArgs())) {
      ResultPlace place{type_of(v).shape[axis] * inner, shape[axis] * inner, start};
      bool last = i + 1 == concat.getArgs().size();
      start += place.length;
      if (place.length == 0 || outer == 0) continue;
      Decision d = decide(concat, part_result(v), outer, place, last);
      d.bytes_saved = 2 * bytes_of(v);
      d.pass = "place_concats";
      d.producer = v.getDefiningOp() ? describe(v.getDefiningOp()) : "";
      d.consumer = describe(concat);
      context_.decisions.push_back(d);
      if (d) placed.push_back(static_cast<int64_t>(i));
    }
    if (!placed.empty()) concat.setPlaced(placed);
  }

 private:
  Decision decide(ConcatOp concat, OpResult part, int64_t outer, const ResultPlace& place,
                  bool last) {
    if (!part) return Decision::no("no kernel makes it for this concat alone");
    auto kernel = cast<KernelOp>(part.getOwner());
    if (number_.lookup(concat) - number_.lookup(kernel) > kNear && !reads_leaves(kernel))
      return Decision::no("more than " + std::to_string(kNear) + " steps lie between the two");
    if (outer == 1) {
      if (place.start % kWholeVectors != 0 || (!last && place.length % kWholeVectors != 0))
        return Decision::no("a part of " + std::to_string(place.length) +
                            " elements is not a multiple of " + std::to_string(kWholeVectors));
      return Decision::yes("written in place");
    }
    if (kernel.getSegments() != 1) return Decision::no("columns of a kernel with segments");
    SmallVector<int64_t> before(kernel.getPlaces()), places = before;
    places.resize(3 * kernel.getOuts().size(), 0);
    size_t at = 3 * part.getResultNumber();
    places[at] = place.length, places[at + 1] = place.row, places[at + 2] = place.start;
    kernel.setPlaces(places);
    std::string failure = answers_(kernel).failure;
    if (failure.empty()) return Decision::yes("written as columns");
    kernel.setPlaces(before);
    return Decision::no(failure);
  }

  PassContext& context_;
  KernelAnswers answers_;
  llvm::DenseMap<Operation*, int> number_;
};

}  // namespace

void place_concats(GraphOp graph, PassContext& context) {
  Block& body = graph.getBody().front();
  Placer placer(body, context);
  for (ConcatOp concat : body.getOps<ConcatOp>()) placer.run(concat);
}

}  // namespace fusec::passes
