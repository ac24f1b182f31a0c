// Makes what follows a matrix product part of its GEMM, where a kernel would otherwise do nothing
// else: a bias, a GELU (tanh form), the sum with another matrix.
//
//   %c = library "gemm"(%a, %b) : f32
//   %s = map add(%c, broadcast %bias) ; %o = cast %s : f32 to bf16      read by a GEMM, attention
//   ->  %o = library "gemm"(%a, %b, %bias) {epilogue = "bias", type_c = "bf16"}
//
// A GELU whose argument the backward pass reads stores that, too ("gelu_aux"). Sums are f32 in both
// forms and are rounded where the casts of the IR say so: a product that is rounded before its bias
// stays as it is (the precision policy rounds those behind the bias that this pass takes).
//
// A sum of several products (the gradient of what several layers read) is a chain of GEMMs, each of
// which adds to what the one before wrote, in its memory (plan_memory).
//
// The gradient of a GELU whose argument was stored: the product times the slope ("dgelu"), with the
// sums over its rows that are the bias's gradient ("bgrad"). A bias's gradient beside that of its
// weight, dw = dy^T x, is a sum over what the GEMM reads ("bgrada", "bgradb"); it is taken where it
// would be a kernel of its own, and not where one that writes or reads dy sums beside.
//
// Refuses: sums that only kernels read, which add the bias as they load; batched products, products
// whose result is permuted; GELU in f32 or where it was not asked for; sums that go into a
// parameter, which their kernel writes in place.
#include <llvm/ADT/SetVector.h>
#include <mlir/IR/Builders.h>

#include "epilogue.h"
#include "kernels.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

// The one op that reads a value, if it is a cast to `type`.
CastOp only_cast(mlir::Value v, Type type) {
  if (!v.hasOneUse()) return {};
  auto cast = dyn_cast<CastOp>(*v.user_begin());
  return cast && cast.getType().getElementType() == type ? cast : CastOp();
}

// The one op that reads `v`, behind reshapes that nothing else reads, if it adds it to another.
MapOp sum_with(mlir::Value v) {
  while (v.hasOneUse()) {
    auto view = dyn_cast<ViewOp>(*v.user_begin());
    if (!view || view.getKind() != "reshape") break;
    v = view.getResult();
  }
  if (!v.hasOneUse()) return {};
  auto add = dyn_cast<MapOp>(*v.user_begin());
  return add && add.getFn() == "add" && add.getArgs()[0] != add.getArgs()[1] ? add : MapOp();
}

// The argument of a sum that is the product.
mlir::Value product_in(MapOp add, LibraryOp gemm) {
  mlir::Value first = add.getArgs()[0];
  return behind_reshapes(first) == gemm.getOuts()[0] ? first : add.getArgs()[1];
}

// The GEMM without an epilogue whose f32 result is `v`, if only one op reads it.
LibraryOp bare_product(mlir::Value v) {
  while (v.hasOneUse()) {
    auto view = v.getDefiningOp<ViewOp>();
    if (!view || view.getKind() != "reshape") break;
    v = view.getArg();
  }
  auto gemm = v.getDefiningOp<LibraryOp>();
  if (!gemm || gemm.getName() != "gemm" || !v.hasOneUse()) return {};
  LibraryCall call = call_of(gemm);
  bool bare = call.integer("batch") == 1 && call.number("beta") == 0 &&
              !call.attrs.count("epilogue") && call.text("type_c") == "f32";
  return bare ? gemm : LibraryOp();
}

template <class Test>
bool any_reader(mlir::Value v, Test test) {
  return llvm::any_of(v.getUsers(), [&](Operation* user) {
    auto view = dyn_cast<ViewOp>(user);
    return view && view.getKind() == "reshape" ? any_reader(view.getResult(), test) : test(user);
  });
}
bool read_by_kernel(mlir::Value v) { return any_reader(v, is_fusable); }
bool is_assigned(mlir::Value v) {
  return any_reader(v, [](Operation* user) { return isa<AssignOp>(user); });
}

// Whether the sum's one reader adds another product to it which will be able to take it as its
// addend: sums of several products are a chain of GEMMs.
bool becomes_addend(MapOp sum) {
  MapOp next = sum_with(sum.getResult());
  if (!next) return false;
  bool first = behind_reshapes(next.getArgs()[0]) == sum.getResult();
  if (!bare_product(next.getArgs()[first ? 1 : 0]) || is_assigned(next.getResult())) return false;
  return !read_by_kernel(next.getResult()) || becomes_addend(next);
}

class Fuser {
 public:
  Fuser(LibraryOp gemm, PassContext& context)
      : gemm_(gemm), context_(context), call_(call_of(gemm)), b_(gemm) {}

  void run() {
    if (call_.integer("batch") != 1 || call_.number("beta") != 0 || call_.attrs.count("epilogue"))
      return;
    mlir::Value product = gemm_.getOuts()[0];
    if (call_.text("type_c") == "f64") return;
    if (call_.text("type_c") != "f32") return explain_rounded(product);
    element_ = cast<RankedTensorType>(gemm_.getArgs()[0].getType()).getElementType();
    narrow_ = element_.isBF16() || element_.isF16();
    if (auto e = match_epilogue(product, call_.integer("n"), context_.gelu_in_gemm && narrow_))
      return fuse(*e);
    if (context_.gelu_in_gemm && narrow_)
      if (auto e = match_gradient(product, call_.integer("n"))) return gradient(*e);
    accumulate(product);
  }

  // Sums over k of an operand: the gradient of a bias beside that of its weight.
  void sum_operand() {
    if (call_.integer("batch") != 1 || call_.number("beta") != 0) return;
    if (call_.text("type_c") == "f64") return;  // GEMMs in f64 have no epilogue
    GemmEpilogue e = epilogue_of(call_);
    if (e.any() && !(e.add && !e.bias && !e.gelu)) return;
    if (call_.integer("trans_a") != 0 && take_sums(e, 0, call_.integer("m"))) return;
    if (call_.integer("trans_b") == 0) take_sums(e, 1, call_.integer("n"));
  }

 private:
  void fuse(const Epilogue& e) {
    Operation* last = e.gelu ? e.gelu : e.add;
    // 16-bit operands: everything behind the sum is in their type, or nothing is.
    CastOp out = narrow_ ? only_cast(e.result(), element_) : CastOp();
    CastOp widened = e.bias ? e.bias.getDefiningOp<CastOp>() : CastOp();
    bool narrow_bias =
        !e.bias || (widened && widened.getArg().getType().getElementType() == element_);
    CastOp aux;
    if (e.aux())
      for (Operation* user : e.sum.getUsers())
        if (auto c = dyn_cast<CastOp>(user); c && c.getType().getElementType() == element_) aux = c;
    bool two_readers = std::distance(e.sum.user_begin(), e.sum.user_end()) == 2;
    if (e.gelu && (!out || !narrow_bias || (e.aux() && (!aux || !two_readers))))
      return refuse(last, "a GELU in f32 is not exact enough inside a GEMM");
    if (out && !narrow_bias) return refuse(last, "the bias is f32, the result of 16 bits");
    mlir::Value stored = out ? out.getResult() : e.result();
    if (!needed_in_memory(stored))
      return refuse(last, "only kernels read the sum, and add the bias as they load");

    GemmEpilogue epilogue;
    epilogue.bias = static_cast<bool>(e.add);
    epilogue.gelu = static_cast<bool>(e.gelu);
    epilogue.aux = e.aux();
    SmallVector<mlir::Value> args(gemm_.getArgs());
    if (e.bias) args.push_back(out ? widened.getArg() : e.bias);
    SmallVector<Type> types = {stored.getType()};
    if (aux) types.push_back(aux.getType());
    if (e.add)
      b_.setInsertionPoint(e.add);
    else
      b_.setInsertionPointAfter(e.sum.getDefiningOp());
    LibraryOp now = replace(args, types, epilogue, out ? element_ : b_.getF32Type());
    stored.replaceAllUsesWith(now.getOuts()[0]);
    if (aux) aux.getResult().replaceAllUsesWith(now.getOuts()[1]);
    record(Decision::yes("in the GEMM: " + epilogue.str(), 2 * bytes_of(now.getOuts()[0])), last);
    erase_dead(out ? out.getOperation() : last);
    if (aux) erase_dead(aux);
  }

  // * gelu_slope(pre), where the IR rounds what comes out and `pre` lies in memory; and the sums
  // over its rows where the IR rounds those.
  void gradient(const EpilogueGradient& e) {
    CastOp out = only_cast(e.result(), element_);
    auto widened = e.pre.getDefiningOp<CastOp>();
    if (!out || !widened || widened.getArg().getType().getElementType() != element_)
      return refuse(e.mul, "a GELU's gradient that is not rounded to 16 bits");
    Operation* source = behind_reshapes(widened.getArg()).getDefiningOp();
    if (!source || is_fusable(source)) return refuse(e.mul, "a kernel makes the GELU's argument");
    if (!needed_in_memory(out.getResult()))
      return refuse(e.mul, "only kernels read the gradient, and multiply as they load");
    GemmEpilogue epilogue;
    epilogue.dgelu = true;
    CastOp sums;
    any_reader(out.getResult(), [&](Operation* user) {
      if (auto up = dyn_cast<CastOp>(user); up && !sums) sums = rounded_sums(up, element_);
      return false;
    });
    epilogue.bgrad = static_cast<bool>(sums);
    SmallVector<mlir::Value> args(gemm_.getArgs());
    args.push_back(widened.getArg());
    SmallVector<Type> types = {out.getType()};
    if (sums) types.push_back(sums.getType());
    b_.setInsertionPoint(e.mul);
    LibraryOp now = replace(args, types, epilogue, element_);
    out.getResult().replaceAllUsesWith(now.getOuts()[0]);
    if (sums) sums.getResult().replaceAllUsesWith(now.getOuts()[1]);
    record(Decision::yes("in the GEMM: " + epilogue.str(),
                         (2 + (sums ? 1 : 0)) * bytes_of(now.getOuts()[0])),
           e.mul);
    erase_dead(out);
    if (sums) erase_dead(sums);
  }

  // The rounded sums over the rows of what `up` widens, or null.
  CastOp rounded_sums(CastOp up, Type element) {
    CastOp found;
    any_reader(up.getResult(), [&](Operation* user) {
      auto reduce = dyn_cast<ReduceOp>(user);
      if (reduce && sums_rows(reduce, call_.integer("n")) && !found)
        found = only_cast(reduce.getResult(), element);
      return false;
    });
    return found;
  }

  // Whether operand `i`, [k, columns] in memory, has sums over its rows that the GEMM now makes.
  bool take_sums(GemmEpilogue epilogue, int i, int64_t columns) {
    mlir::Value operand = behind_reshapes(gemm_.getArgs()[i]);
    auto sums_of = [&](mlir::Value v) {
      ReduceOp found;
      any_reader(v, [&](Operation* user) {
        auto reduce = dyn_cast<ReduceOp>(user);
        if (reduce && sums_rows(reduce, columns)) found = reduce;
        return false;
      });
      return found;
    };
    auto no = [&](ReduceOp sums, const char* why) {
      record(Decision::no(why, bytes_of(operand)), sums);
      return false;
    };
    auto rounded = operand.getDefiningOp<CastOp>();
    if (ReduceOp sums = rounded ? sums_of(rounded.getArg()) : ReduceOp())
      return no(sums, "the sum is over the value before the rounding that the GEMM reads");
    ReduceOp sums = sums_of(operand);
    bool others = any_reader(operand, [&](Operation* user) {
      auto up = dyn_cast<CastOp>(user);
      if (up && !sums && up.getResult().hasOneUse()) {
        sums = sums_of(up.getResult());
        if (sums) return false;
      }
      return is_fusable(user) && user != sums;
    });
    if (!sums) return false;
    Operation* source = operand.getDefiningOp();
    if (source && is_fusable(source))
      return no(sums, "the kernel that writes the rows sums them, too, without reading them again");
    if (others) return no(sums, "a kernel reads the rows, and sums them beside");
    if (call_.text("type_c") != std::string(name_of(type_of(sums.getResult()).dtype)))
      return no(sums, "the sum is f32, the product of 16 bits, and cuBLASLt has one type for both");
    for (Operation* user : sums->getUsers())
      if (user->isBeforeInBlock(gemm_)) return no(sums, "the sum is needed before the product");
    (i == 0 ? epilogue.bgrada : epilogue.bgradb) = true;
    b_.setInsertionPoint(gemm_);
    SmallVector<Type> types = {gemm_.getOuts()[0].getType(), sums.getType()};
    SmallVector<mlir::Value> args(gemm_.getArgs());
    LibraryOp now = replace(args, types, epilogue, sums.getType().getElementType());
    gemm_.getOuts()[0].replaceAllUsesWith(now.getOuts()[0]);
    sums.getResult().replaceAllUsesWith(now.getOuts()[1]);
    record(Decision::yes("in the GEMM: " + epilogue.str(), bytes_of(operand)), sums);
    Operation* read = sums.getArg().getDefiningOp();
    sums->erase();
    gemm_->erase();
    if (read) erase_dead(read);
    return true;
  }

  // + x, element by element. In 16 bits where the IR widens x for the sum and rounds the sum.
  void accumulate(mlir::Value product) {
    MapOp add = sum_with(product);
    if (!add) return;
    mlir::Value v = product_in(add, gemm_), x = add.getArgs()[add.getArgs()[0] == v ? 1 : 0];
    LibraryOp other = bare_product(x);
    if (other && gemm_->isBeforeInBlock(other)) return;  // which then takes this one's result
    CastOp out = narrow_ ? only_cast(add.getResult(), element_) : CastOp();
    if (out) {
      auto widened = x.getDefiningOp<CastOp>();
      if (!widened || widened.getArg().getType().getElementType() != element_)
        return refuse(add, "the sum is rounded to 16 bits, its addend is f32");
      x = widened.getArg();
    }
    Operation* source = behind_reshapes(x).getDefiningOp();
    if (!source || is_fusable(source)) return refuse(add, "a kernel makes the other addend");
    mlir::Value stored = out ? out.getResult() : add.getResult();
    if (is_assigned(stored)) return refuse(add, "the sum is written in place by its own kernel");
    if (read_by_kernel(stored) && (out || !becomes_addend(add)))
      return refuse(add, "kernels read the sum, and add as they load");
    GemmEpilogue epilogue;
    epilogue.add = true;
    bool dies = isa<LibraryOp>(source) && behind_reshapes(x).hasOneUse() && x.hasOneUse();
    SmallVector<mlir::Value> args(gemm_.getArgs());
    args.push_back(x);
    b_.setInsertionPoint(add);
    SmallVector<Type> types = {stored.getType()};
    LibraryOp now = replace(args, types, epilogue, out ? element_ : b_.getF32Type());
    stored.replaceAllUsesWith(now.getOuts()[0]);
    record(Decision::yes(dies ? "in the GEMM: add, in the addend's memory" : "in the GEMM: add",
                         2 * bytes_of(now.getOuts()[0])),
           add);
    erase_dead(out ? out.getOperation() : add);
  }

  // Why a product that the precision policy rounds first has no epilogue.
  void explain_rounded(mlir::Value product) {
    if (!product.hasOneUse()) return;
    auto widen = dyn_cast<CastOp>(*product.user_begin());
    if (!widen) return;
    auto e = match_epilogue(widen.getResult(), call_.integer("n"), true);
    if (!e) return;
    if (e->gelu && !context_.gelu_in_gemm)
      return refuse(e->gelu, "a GELU inside a GEMM must be asked for (gelu_in_gemm)");
    refuse(e->gelu ? e->gelu : e->add,
           needed_in_memory(e->result())
               ? "the product is rounded before its bias, and no cast is moved"
               : "only kernels read the sum, and add the bias as they load");
  }

  LibraryOp replace(ValueRange args, TypeRange types, const GemmEpilogue& epilogue, Type type_c) {
    NamedAttrList config(gemm_.getConfig());
    config.set("type_c", b_.getStringAttr(std::string(name_of(dtype_of(type_c)))));
    config.set("epilogue", b_.getStringAttr(epilogue.str()));
    return LibraryOp::create(b_, gemm_.getLoc(), types, "gemm", args,
                             config.getDictionary(b_.getContext()));
  }

  void refuse(Operation* consumer, const std::string& why) {
    record(Decision::no(why, 2 * bytes_of(consumer->getResult(0))), consumer);
  }
  void record(Decision d, Operation* consumer) {
    d.pass = "fuse_epilogue";
    d.producer = describe(gemm_);
    d.consumer = describe(consumer);
    context_.decisions.push_back(std::move(d));
  }

  // An op that nothing reads any more, and what only it read.
  static void erase_dead(Operation* op) {
    if (!op->use_empty() || !isa<ViewOp, CastOp, MapOp, ReduceOp, LibraryOp>(op)) return;
    llvm::SmallSetVector<Operation*, 4> sources;
    for (mlir::Value v : op->getOperands())
      if (Operation* def = v.getDefiningOp()) sources.insert(def);
    op->erase();
    for (Operation* source : sources) erase_dead(source);
  }

  LibraryOp gemm_;
  PassContext& context_;
  LibraryCall call_;
  OpBuilder b_;
  Type element_;
  bool narrow_ = false;
};

}  // namespace

void fuse_epilogue(GraphOp graph, PassContext& context) {
  SmallVector<LibraryOp> gemms;
  for (Operation& op : graph.getBody().front())
    if (auto l = dyn_cast<LibraryOp>(op); l && l.getName() == "gemm") gemms.push_back(l);
  // In the order of the sums: one that is an addend of the next is a GEMM's result by then.
  auto end = [](LibraryOp l) -> Operation* {
    MapOp sum = sum_with(l.getOuts()[0]);
    return sum ? sum.getOperation() : l.getOperation();
  };
  llvm::stable_sort(gemms, [&](LibraryOp a, LibraryOp b) {
    Operation *x = end(a), *y = end(b);
    return x != y && x->isBeforeInBlock(y);
  });
  for (LibraryOp l : gemms) Fuser(l, context).run();
  SmallVector<LibraryOp> all;  // among them those that have an addend now
  for (Operation& op : graph.getBody().front())
    if (auto l = dyn_cast<LibraryOp>(op); l && l.getName() == "gemm") all.push_back(l);
  for (LibraryOp l : all) Fuser(l, context).sum_operand();
}

}  // namespace fusec::passes
