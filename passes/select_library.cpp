// Turns contractions, attention (paged, too), gather, scatter, cumsum and top_k into library calls
// (plan.h).
//
//   %c = contract "mk,nk->mn"(%a, %b)  ->  %c = library "gemm"(%a, %b) {m, n, k, trans_b = 1, ...}
//
// A contraction whose labels are not [batch][m][k], [batch][k][m] (and so on) gets a permute in
// front, or behind; a label summed in one operand only becomes a reduction first. Operands that
// were widened from 16 bits are multiplied in 16 bits, with sums in f32; on a CPU a parameter that
// was, too, where the other operand is f32. Refuses nothing.
#include <mlir/IR/Builders.h>

#include "fusec/ops/hook.h"
#include "fusec/passes/pass.h"
#include "gemm_groups.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

class Selector {
 public:
  // reads_held: the device's GEMM takes operands of two types.
  Selector(Operation* op, bool reads_held) : op_(op), b_(op), reads_held_(reads_held) {}

  void contract(ContractOp c) {
    auto attr = std::get<ContractAttr>(info_of(c).attr);
    Side lhs{c.getLhs(), attr.lhs}, rhs{c.getRhs(), attr.rhs};
    sum_lonely(lhs, rhs.labels, attr.out);
    sum_lonely(rhs, lhs.labels, attr.out);
    const bool wide = type_of(c.getResult()).dtype == f32;
    if (!(wide && narrow(lhs, rhs)) && wide && reads_held_) as_held(lhs), as_held(rhs);
    std::string batch, m, n, k;
    for (char x : attr.out) {
      bool l = has(lhs, x), r = has(rhs, x);
      (l && r ? batch : l ? m : n) += x;
    }
    for (char x : lhs.labels)
      if (has(rhs, x) && attr.out.find(x) == std::string::npos) k += x;
    if (attr.out == batch + n + m && !m.empty() && !n.empty()) {  // compute the transpose instead
      std::swap(lhs, rhs);
      std::swap(m, n);
    }
    int64_t trans_a = arrange(lhs, batch + m + k, batch + k + m);
    int64_t trans_b = arrange(rhs, batch + k + n, batch + n + k);
    std::string out = batch + m + n;
    Shape shape;
    for (char x : out) shape.push_back(size(lhs, rhs, x));
    int64_t M = product(lhs, m), N = product(rhs, n), K = product(lhs, k), B = product(lhs, batch);
    auto type = cast<RankedTensorType>(c.getType());
    std::string t(name_of(type_of(c.getResult()).dtype));
    std::string left(name_of(type_of(lhs.value).dtype)), right(name_of(type_of(rhs.value).dtype));
    mlir::Value result =
        call("gemm", {lhs.value, rhs.value}, {RankedTensorType::get(shape, type.getElementType())},
             {integer("m", M), integer("n", N), integer("k", K), integer("batch", B),
              integer("lda", trans_a ? M : K), integer("ldb", trans_b ? K : N), integer("ldc", N),
              integer("stride_a", M * K), integer("stride_b", K * N), integer("stride_c", M * N),
              integer("trans_a", trans_a), integer("trans_b", trans_b), text("type_a", left),
              text("type_b", right), text("type_c", t), number("alpha", 1), number("beta", 0)})
            ->getResult(0);
    SmallVector<Operation*> read = {op_->getOperand(0).getDefiningOp(),
                                    op_->getOperand(1).getDefiningOp()};
    finish({permuted(result, out, attr.out)});
    if (read[0] == read[1]) read.pop_back();
    for (Operation* widened : read)
      if (isa_and_nonnull<CastOp>(widened) && widened->use_empty()) widened->erase();
  }

  template <class Attention>
  void attention(Attention a, const char* name, size_t q_at) {
    TensorType q = type_of(a.getArgs()[q_at]), k = type_of(a.getArgs()[q_at + 1]);
    size_t base = q_at == 0 ? 3 : 6;
    auto attr = std::get<AttentionAttr>(info_of(a).attr);
    AttentionOperands at = attention_operands(attr, base, a.getArgs().size());
    int64_t docs = at.cu_seqlens ? type_of(a.getArgs()[at.cu_seqlens]).shape[0] - 1 : 0;
    SmallVector<Type> results(op_->getResultTypes());
    SmallVector<NamedAttribute> config = {
        integer("b", q.shape[0]), integer("t", q.shape[1]), integer("s", k.shape[1]),
        integer("h", q.shape[2]), integer("kv", k.shape[2]), integer("d", q.shape[3]),
        integer("causal", attr.causal), integer("docs", docs), number("scale", attr.scale),
        number("softcap", attr.softcap), text("type", std::string(name_of(q.dtype)))};
    if (attr.top_left) config.push_back(integer("top_left", 1));
    if (attr.window) config.push_back(integer("window", attr.window));
    if (attr.prefix) config.push_back(integer("prefix", 1));
    if (attr.sinks) config.push_back(integer("sinks", 1));
    if (!attr.hook.empty()) {
      config.push_back(text("hook", attr.hook));
      std::string types;
      for (mlir::Value v : a.getArgs().drop_front(at.captured)) {
        TensorType t = type_of(v);
        types += (types.empty() ? "" : "; ") + std::string(name_of(t.dtype));
        for (int64_t n : t.shape) types += " " + std::to_string(n);
      }
      config.push_back(integer("captured", static_cast<int64_t>(a.getArgs().size() - at.captured)));
      config.push_back(text("captured_types", types));
    }
    if (attr.captured_grads) config.push_back(integer("captured_grads", attr.captured_grads));
    finish(call(name, a.getArgs(), results, config)->getResults());
  }

  void paged_attention(PagedAttentionOp a) {
    TensorType q = type_of(a.getArgs()[0]), k = type_of(a.getArgs()[1]);
    TensorType table = type_of(a.getArgs()[3]);
    auto attr = std::get<PagedAttentionAttr>(info_of(a).attr);
    SmallVector<NamedAttribute> config = {integer("tokens", q.shape[0]),
                                          integer("b", table.shape[0]),
                                          integer("h", q.shape[1]),
                                          integer("kv", k.shape[2]),
                                          integer("d", q.shape[2]),
                                          integer("pages", k.shape[0]),
                                          integer("page_size", k.shape[1]),
                                          integer("max_pages", table.shape[1]),
                                          integer("window", attr.window),
                                          integer("cu_q", attr.cu_q),
                                          number("scale", attr.scale),
                                          number("softcap", attr.softcap),
                                          text("type", std::string(name_of(q.dtype))),
                                          text("page_type", std::string(name_of(k.dtype)))};
    finish(call("paged_attention", a.getArgs(), {a.getType()}, config)->getResults());
  }

  void gather(GatherOp g) {
    finish(call("gather", {g.getTable(), g.getIndex()}, {g.getType()},
                rows(g.getTable(), g.getIndex()))
               ->getResults());
  }

  void scatter(ScatterOp s) {
    SmallVector<NamedAttribute> config = rows(s.getBase(), s.getIndex());
    config.push_back(text("mode", s.getMode().str()));
    finish(call("scatter", {s.getBase(), s.getIndex(), s.getUpdates()}, {s.getType()}, config)
               ->getResults());
  }

  void cumsum(CumsumOp c) {
    TensorType t = type_of(c.getArg());
    int64_t axis = c.getAxis(), outer = 1, inner = 1;
    for (int64_t d = 0; d < axis; ++d) outer *= t.shape[d];
    for (size_t d = axis + 1; d < t.shape.size(); ++d) inner *= t.shape[d];
    finish(call("cumsum", {c.getArg()}, {c.getType()},
                {integer("outer", outer), integer("n", t.shape[axis]), integer("inner", inner),
                 integer("reverse", c.getReverse()), text("type", std::string(name_of(t.dtype)))})
               ->getResults());
  }

  void top_k(TopKOp k) {
    TensorType t = type_of(k.getArg());
    int64_t n = t.shape.back();
    finish(call("top_k", {k.getArg()}, op_->getResultTypes(),
                {integer("rows", n ? numel(t.shape) / n : 0), integer("n", n),
                 integer("k", k.getK()), text("type", std::string(name_of(t.dtype)))})
               ->getResults());
  }

 private:
  struct Side {
    mlir::Value value;
    std::string labels;
  };

  static bool has(const Side& s, char x) { return s.labels.find(x) != std::string::npos; }
  static int64_t dim(const Side& s, char x) { return type_of(s.value).shape[s.labels.find(x)]; }
  static int64_t size(const Side& a, const Side& b, char x) {
    return has(a, x) ? dim(a, x) : dim(b, x);
  }
  static int64_t product(const Side& s, const std::string& labels) {
    int64_t n = 1;
    for (char x : labels) n *= dim(s, x);
    return n;
  }

  void sum_lonely(Side& s, const std::string& other, const std::string& out) {
    SmallVector<int64_t> axes;
    std::string left;
    Shape shape;
    TensorType t = type_of(s.value);
    for (size_t i = 0; i < s.labels.size(); ++i) {
      char x = s.labels[i];
      if (other.find(x) == std::string::npos && out.find(x) == std::string::npos) {
        axes.push_back(static_cast<int64_t>(i));
      } else {
        left += x;
        shape.push_back(t.shape[i]);
      }
    }
    if (axes.empty()) return;
    s.value = ReduceOp::create(b_, op_->getLoc(), tensor_type(b_.getContext(), {shape, t.dtype}),
                               "sum", s.value, axes, 0);
    s.labels = left;
  }

  // Operands that were widened from one 16-bit type are multiplied as they were: sums are f32 both
  // ways. False, and nothing changed, for others.
  static bool narrow(Side& lhs, Side& rhs) {
    auto l = lhs.value.getDefiningOp<CastOp>(), r = rhs.value.getDefiningOp<CastOp>();
    if (!l || !r) return false;
    Type type = l.getArg().getType().getElementType();
    if (type != r.getArg().getType().getElementType() || (!type.isBF16() && !type.isF16()))
      return false;
    for (Side* s : {&lhs, &rhs}) {
      s->value = s->value.getDefiningOp<CastOp>().getArg();
      for (auto view = s->value.getDefiningOp<ViewOp>(); view && view.getKind() == "permute";
           view = s->value.getDefiningOp<ViewOp>()) {
        std::string source(s->labels.size(), ' ');
        for (auto [i, d] : llvm::enumerate(view.getDims())) source[d] = s->labels[i];
        s->labels = source;
        s->value = view.getArg();
      }
    }
    return true;
  }

  // A weight that is held in 16 bits is widened by the product that reads it.
  static void as_held(Side& s) {
    if (is_held_narrow(s.value)) s.value = s.value.getDefiningOp<CastOp>().getArg();
  }

  mlir::Value permuted(mlir::Value v, const std::string& from, const std::string& to) {
    if (from == to) return v;
    SmallVector<int64_t> dims;
    TensorType t = type_of(v), out{{}, t.dtype};
    for (char x : to) {
      dims.push_back(static_cast<int64_t>(from.find(x)));
      out.shape.push_back(t.shape[dims.back()]);
    }
    return ViewOp::create(b_, op_->getLoc(), tensor_type(b_.getContext(), out), "permute", v, dims,
                          ArrayRef<int64_t>{}, ArrayRef<int64_t>{});
  }

  // 0: labels read `plain`; 1: `transposed`. Otherwise permutes to `plain`.
  int64_t arrange(Side& s, const std::string& plain, const std::string& transposed) {
    if (s.labels == plain) return 0;
    if (s.labels == transposed) return 1;
    s.value = permuted(s.value, s.labels, plain);
    s.labels = plain;
    return 0;
  }

  SmallVector<NamedAttribute> rows(mlir::Value table, mlir::Value index) {
    TensorType t = type_of(table), i = type_of(index);
    int64_t width = 1;
    for (size_t d = 1; d < t.shape.size(); ++d) width *= t.shape[d];
    return {integer("rows", t.shape[0]), integer("count", numel(i.shape)), integer("width", width),
            text("type", std::string(name_of(t.dtype))),
            text("index_type", std::string(name_of(i.dtype)))};
  }

  NamedAttribute integer(StringRef k, int64_t v) {
    return b_.getNamedAttr(k, b_.getI64IntegerAttr(v));
  }
  NamedAttribute number(StringRef k, double v) { return b_.getNamedAttr(k, b_.getF64FloatAttr(v)); }
  NamedAttribute text(StringRef k, const std::string& v) {
    return b_.getNamedAttr(k, b_.getStringAttr(v));
  }

  Operation* call(StringRef name, ValueRange args, TypeRange results,
                  ArrayRef<NamedAttribute> config) {
    return LibraryOp::create(b_, op_->getLoc(), results, name, args, b_.getDictionaryAttr(config));
  }

  void finish(ValueRange results) {
    op_->replaceAllUsesWith(results);
    op_->erase();
  }

  Operation* op_;
  OpBuilder b_;
  bool reads_held_;
};

}  // namespace

void select_library(GraphOp graph, PassContext& context) {
  for (Operation& op : llvm::make_early_inc_range(graph.getBody().front())) {
    Selector select(&op, context.target.cores == 0);
    if (auto o = dyn_cast<ContractOp>(op))
      select.contract(o);
    else if (auto o = dyn_cast<AttentionOp>(op))
      select.attention(o, "attention", 0);
    else if (auto o = dyn_cast<AttentionGradOp>(op))
      select.attention(o, "attention_grad", 1);
    else if (auto o = dyn_cast<PagedAttentionOp>(op))
      select.paged_attention(o);
    else if (auto o = dyn_cast<GatherOp>(op))
      select.gather(o);
    else if (auto o = dyn_cast<ScatterOp>(op))
      select.scatter(o);
    else if (auto o = dyn_cast<CumsumOp>(op))
      select.cumsum(o);
    else if (auto o = dyn_cast<TopKOp>(op))
      select.top_k(o);
  }
}

}  // namespace fusec::passes
