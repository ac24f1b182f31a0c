#include "fusec/ir/kernel_builder.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <unordered_map>

#include "fusec/ir/index.h"
#include "kernel_layout.h"
#include "scalar_recorder.h"

using namespace mlir;

namespace fusec::ir {

bool is_free(Operation* op) {
  if (auto c = dyn_cast<ConstantOp>(op)) return c.is_splat();
  if (auto v = dyn_cast<ViewOp>(op)) return !v.getAlias();
  return isa<ViewOp, IotaOp>(op);
}

bool is_fusable(Operation* op) { return isa<MapOp, CastOp, ReduceOp>(op) || is_free(op); }

int64_t cost_of(Operation* op) {
    auto map = dyn_cast<MapOp>(op);
    if (!map) return isa<ReduceOp>(op) ? 64 : 1;
    switch (std::get<MapAttr>(info_of(op).attr).op) {
// clang-format off
#define FUSEC_UNARY(name, doc, value, gx, cost, ...) case Pointwise::name: return cost;
#define FUSEC_BINARY(name, doc, value, ga, gb, cost, ...) case Pointwise::name: return cost;
#define FUSEC_COMPARE(name, doc, value, cost, ...) case Pointwise::name: return cost;
#define FUSEC_BITS(name, doc, value, cost) case Pointwise::name: return cost;
#define FUSEC_TERNARY(name, doc, value, ga, gb, gc, cost, ...) case Pointwise::name: return cost;
// clang-format on
#include "fusec/ops/pointwise.def"
    }
    return 1;
  }

KernelRegion region_of(KernelOp kernel) {
  KernelRegion region;
  Block& body = kernel.getBody().front();
  for (Operation& op : body.without_terminator()) region.ops.push_back(&op);
  region.inputs.assign(body.getArguments().begin(), body.getArguments().end());
  for (mlir::Value v : body.getTerminator()->getOperands()) region.outputs.push_back(v);
  region.places = places_of(kernel);
  return region;
}

std::vector<ResultPlace> places_of(KernelOp kernel) {
  std::vector<ResultPlace> places;
  ArrayRef<int64_t> numbers = kernel.getPlaces();
  for (size_t i = 0; i < numbers.size(); i += 3)
    places.push_back({numbers[i], numbers[i + 1], numbers[i + 2]});
  return places;
}

int64_t bytes_read(BlockArgument argument, llvm::function_ref<bool(Operation*)> is_one_of_ops) {
  const int64_t whole = type_of(argument).bytes();
  int64_t bytes = 0;
  SmallVector<ViewOp> slices;
  for (Operation* user : argument.getUsers()) {
    if (!is_one_of_ops(user)) continue;
    auto view = dyn_cast<ViewOp>(user);
    if (!view || view.getKind() != "slice") return whole;
    bool again = llvm::any_of(slices, [&](ViewOp s) {
      return s.getStart() == view.getStart() && s.getStep() == view.getStep() &&
             s.getType() == view.getType();
    });
    if (again) continue;
    slices.push_back(view);
    bytes += type_of(view.getResult()).bytes();
  }
  return std::min(bytes, whole);
}

int64_t bytes_read(BlockArgument argument) {
  return bytes_read(argument, [](Operation*) { return true; });
}

namespace {

using PlanOp = ::fusec::KernelOp;  // a scalar op of the program, not the dialect's kernel

[[noreturn]] void refuse(std::string reason) { throw IndexFailure{{}, std::move(reason)}; }

// The dimensions that a reduction over rows takes: [first, end), with others behind them, of which
// at least one is longer than 1.
bool is_over_rows(ReduceOp op) {
  ArrayRef<int64_t> axes = op.getAxes(), shape = op.getArg().getType().getShape();
  if (axes.empty() || op.getChunk()) return false;
  for (size_t i = 1; i < axes.size(); ++i)
    if (axes[i] != axes[i - 1] + 1) return false;
  return llvm::any_of(shape.drop_front(axes.back() + 1), [](int64_t n) { return n != 1; });
}

bool is_panel(const Domain& domain) { return llvm::is_contained(domain.walked, true); }

class Builder : ScalarRecorder {
 public:
  Builder(const KernelRegion& region, Domain domain) : region_(region), domain_(std::move(domain)) {
    for (size_t i = 0; i < region.inputs.size(); ++i)
      params_[region.inputs[i].getAsOpaquePointer()] = static_cast<int>(i);
    for (Operation* op : region.ops) inside_.insert(op);
  }

  // Emits everything; the program's extents are the domain's, unscheduled.
  KernelProgram build(bool chunked) {
    for (mlir::Value v : region_.inputs)
      program_.params.push_back({"", type_of(v).dtype, false, false});
    std::vector<size_t> all, kept, beside;  // beside the walked rows
    for (size_t d = 0; d < domain_.rank(); ++d) {
      all.push_back(d);
      if (!domain_.reduced[d]) kept.push_back(d);
      if (!domain_.walked[d]) beside.push_back(d);
    }
    int64_t total = 1, outer = 1, across = 1;
    for (size_t d : all) total *= domain_.extents[d];
    for (size_t d : kept) outer *= domain_.extents[d];
    for (size_t d : beside) across *= domain_.extents[d];
    for (auto [number, v] : llvm::enumerate(region_.outputs)) {
      TensorType t = type_of(v);
      int64_t n = numel(t.shape);
      Affine linear;
      int value;
      if (chunked) {  // result u of unit u: the access is on the unit, by the schedule's contract
        if (!has_reduce_output(v)) refuse("a result of each element beside a reduction in chunks");
        linear = {0, std::vector<int64_t>(domain_.rank(), 0)};
        value = eval(v, Index(t.shape.size(), linear));
      } else if (is_after_rows(v)) {
        if (n != across) refuse("a result over rows on another domain: " + t.str());
        linear = linear_of_dims(domain_, beside);
        value = eval(v, delinearize(linear, t.shape, domain_));
      } else {
        if (n != total && n != outer) refuse("a result on another domain: " + t.str());
        linear = linear_of_dims(domain_,
                                n == total && (n != outer || !has_reduce_output(v)) ? all : kept);
        value = eval(v, delinearize(linear, t.shape, domain_));
      }
      if (!region_.places.empty()) linear = placed(linear, n, region_.places[number], chunked);
      PlanOp store;
      store.kind = PlanOp::Kind::store;
      store.type = t.dtype;
      store.args = {value};
      store.access = {static_cast<int>(program_.params.size()), linear.offset, linear.coef};
      program_.params.push_back({"", t.dtype, false, true});
      stores_.push_back(store);
    }
    for (PlanOp& s : stores_) program_.ops.push_back(s);
    for (const PlanOp& op : program_.ops)
      if (op.kind == PlanOp::Kind::load) program_.params[op.access.param].read = true;
    program_.extents = domain_.extents;
    return std::move(program_);
  }

  int64_t duplicated() const { return duplicated_; }

 private:
  // Where element `linear` of `n` is stored.
  Affine placed(const Affine& linear, int64_t n, const ResultPlace& place, bool chunked) const {
    if (place.length == 0) return linear;
    if (chunked) refuse("the result of a reduction in chunks among the columns of a wider tensor");
    Index at = delinearize(linear, {n / place.length, place.length}, domain_);
    Affine out = linearize(at, {place.row, 1}, domain_.rank());
    out.offset += place.start;
    return out;
  }

  bool has_reduce_output(mlir::Value v) const {
    Operation* op = v.getDefiningOp();
    return op && isa<ReduceOp>(op);
  }

  // Whether a value is made of reductions over walked rows.
  bool is_after_rows(mlir::Value v) {
    Operation* op = v.getDefiningOp();
    if (!op || !inside_.count(op) || !is_panel(domain_)) return false;
    auto [known, fresh] = after_rows_.try_emplace(op, false);
    if (!fresh) return known->second;
    bool after = isa<ReduceOp>(op) && is_over_rows(mlir::cast<ReduceOp>(op));
    for (mlir::Value arg : op->getOperands()) {
      const bool late = is_after_rows(arg);
      if (late && isa<ReduceOp>(op)) refuse("a reduction of a reduction over rows");
      after = after || late;
    }
    return after_rows_[op] = after;
  }

  int eval(mlir::Value v, const Index& index) {
    auto key = std::make_pair(v.getAsOpaquePointer(), index);
    auto known = memo_.find(key);
    if (known != memo_.end()) return known->second;
    int id = compute(v, index);
    memo_.emplace(std::move(key), id);
    return id;
  }

  int load(int param, const TensorType& t, const Index& index) {
    Affine at = linearize(index, row_major_strides(t.shape), domain_.rank());
    PlanOp op;
    op.kind = PlanOp::Kind::load;
    op.type = t.dtype;
    op.access = {param, at.offset, at.coef};
    return emit(op);
  }

  int compute(mlir::Value v, const Index& index) {
    auto param = params_.find(v.getAsOpaquePointer());
    if (param != params_.end()) return load(param->second, type_of(v), index);
    Operation* op = v.getDefiningOp();
    if (!op || !inside_.count(op))
      fail_internal("kernel region uses a value that it does not load");
    if (auto o = dyn_cast<ViewOp>(op)) {
      OpInfo info = info_of(op);
      Shape operand = type_of(o.getArg()).shape;
      // A dense operand under a reshape keeps its linear order, whatever the shapes.
      if (o.getKind() == "reshape")
        if (auto p = params_.find(o.getArg().getAsOpaquePointer()); p != params_.end())
          return load(p->second, type_of(v), index);
      return eval(o.getArg(),
                  view_operand_index(std::get<ViewAttr>(info.attr), operand, index, domain_));
    }
    if (auto o = dyn_cast<ConstantOp>(op)) return splat(o);
    if (auto o = dyn_cast<IotaOp>(op)) {
      PlanOp k;
      k.kind = PlanOp::Kind::index;
      DType t = type_of(v).dtype;
      k.type = holds_floats(t) ? DType::i32 : t;
      const Affine& e = index[o.getAxis()];
      k.access = {-1, e.offset, e.coef};
      return cast(emit(k), t);
    }
    if (evaluated_.count(op)) duplicated_ += cost_of(op);
    evaluated_.insert(op);
    if (auto o = dyn_cast<CastOp>(op)) return cast(eval(o.getArg(), index), type_of(v).dtype);
    if (auto o = dyn_cast<MapOp>(op)) return map(o, index);
    if (auto o = dyn_cast<ReduceOp>(op)) return reduce(o, index);
    refuse("an op that is not part of kernels: " + describe(op));
  }

  int splat(ConstantOp o) {
    DType t = type_of(o.getResult()).dtype;
    auto dense = mlir::cast<DenseElementsAttr>(o.getValue());
    double v = holds_floats(t)  ? dense.getSplatValue<APFloat>().convertToDouble()
               : t == DType::b8 ? static_cast<double>(dense.getSplatValue<bool>())
                                : static_cast<double>(dense.getSplatValue<APInt>().getSExtValue());
    return constant(v, t);
  }

  int map(MapOp o, const Index& index) {
    std::vector<int> args;
    for (mlir::Value a : o.getArgs()) args.push_back(eval(a, index));
    return ScalarRecorder::map(std::get<MapAttr>(info_of(o).attr).op, args,
                               type_of(o.getResult()).dtype);
  }

  int reduce(ReduceOp o, const Index& index) {
    TensorType t = type_of(o.getArg());
    Index at(t.shape.size());
    std::vector<size_t> dims;
    int64_t extent = 1;
    const bool over_rows = is_panel(domain_) && is_over_rows(o);
    const std::vector<bool>& reduced_dims = over_rows ? domain_.walked : domain_.reduced;
    for (size_t d = 0; d < domain_.rank(); ++d)
      if (reduced_dims[d]) dims.push_back(d), extent *= domain_.extents[d];
    for (const Affine& e : index)
      for (size_t d : dims)
        if (e.coef[d] != 0) refuse("a reduction used inside its own loop at another index");
    Shape sizes;
    for (int64_t a : o.getAxes()) sizes.push_back(t.shape[a]);
    if (numel(sizes) != extent) refuse("reductions over ranges of different size");
    Index inner = delinearize(linear_of_dims(domain_, dims), sizes, domain_);
    size_t kept = 0, reduced = 0;
    for (size_t i = 0; i < at.size(); ++i) {
      bool is_reduced = llvm::is_contained(o.getAxes(), static_cast<int64_t>(i));
      at[i] = is_reduced ? inner[reduced++] : o.getChunk() ? Affine{} : index[kept++];
    }
    int value = eval(o.getArg(), at);
    DType compute = compute_type(t.dtype);
    PlanOp op;
    op.kind = PlanOp::Kind::reduce;
    op.reduce = std::get<ReduceAttr>(info_of(o).attr).kind;
    op.type = compute;
    op.over_rows = over_rows;
    op.args = {cast(value, compute)};
    return cast(emit(op), t.dtype);
  }

  const KernelRegion& region_;
  Domain domain_;
  std::vector<PlanOp> stores_;
  std::unordered_map<const void*, int> params_;
  std::set<Operation*> inside_, evaluated_;
  std::map<Operation*, bool> after_rows_;
  std::map<std::pair<const void*, Index>, int> memo_;
  int64_t duplicated_ = 0;
};

// Rows of panels, if reductions over rows stand beside others or beside results of each row:
//   reduce axes [1] : 64x256x1280 to 64x1280    64 panels of 256 rows
std::optional<Domain> panel_domain(const KernelRegion& region) {
  ReduceOp down;
  bool rows = false;
  for (Operation* op : region.ops)
    if (auto r = dyn_cast<ReduceOp>(op)) {
      if (r.getChunk()) return std::nullopt;
      if (!is_over_rows(r)) rows = true;
      else if (!down) down = r;
    }
  if (!down) return std::nullopt;
  Domain domain;
  domain.extents = type_of(down.getArg()).shape;
  int64_t total = numel(domain.extents), walked = 1, inner = 1;
  const int64_t first = down.getAxes().front(), last = down.getAxes().back();
  for (int64_t d = 0; d < static_cast<int64_t>(domain.rank()); ++d) {
    domain.walked.push_back(d >= first && d <= last);
    domain.reduced.push_back(d > last);
    if (d > last) inner *= domain.extents[d];
    else if (d >= first) walked *= domain.extents[d];
  }
  for (mlir::Value v : region.outputs) rows = rows || numel(type_of(v).shape) == total;
  if (!rows || walked <= 1 || inner <= 1 || total == 0) return std::nullopt;
  return domain;
}

// The loop domain before refinement: the operand of the first reduction, else the largest result.
Domain initial_domain(const KernelRegion& region, int64_t* chunk) {
  Domain domain;
  for (Operation* op : region.ops)
    if (auto r = dyn_cast<ReduceOp>(op)) {
      domain.extents = type_of(r.getArg()).shape;
      domain.reduced.assign(domain.rank(), false);
      domain.walked = domain.reduced;
      for (int64_t a : r.getAxes()) domain.reduced[a] = true;
      *chunk = r.getChunk();
      return domain;
    }
  int64_t best = -1;
  for (mlir::Value v : region.outputs) {
    Shape s = type_of(v).shape;
    if (numel(s) > best) best = numel(s), domain.extents = s;
  }
  domain.reduced.assign(domain.rank(), false);
  domain.walked = domain.reduced;
  return domain;
}

void split(Domain& domain, SplitRequest s) {
  domain.extents[s.dim] /= s.inner;
  domain.extents.insert(domain.extents.begin() + s.dim + 1, s.inner);
  domain.reduced.insert(domain.reduced.begin() + s.dim + 1, domain.reduced[s.dim]);
  domain.walked.insert(domain.walked.begin() + s.dim + 1, domain.walked[s.dim]);
}

// On a domain that is refined where a reshape needs it.
KernelBuild build_on(const KernelRegion& region, const std::string& name, Domain domain,
                     int64_t chunk) {
  KernelBuild out;
  for (int attempt = 0; attempt < 16; ++attempt) {
    try {
      Builder builder(region, domain);
      KernelProgram program = builder.build(chunk > 0);
      program.name = name;
      out.failure = layout_kernel(program, domain, chunk);
      if (out.failure.empty()) out.program = std::move(program);
      out.duplicated = builder.duplicated();
      return out;
    } catch (const IndexFailure& f) {
      if (!f.split) {
        out.failure = f.reason;
        return out;
      }
      split(domain, *f.split);
    }
  }
  out.failure = "a domain that needs too many splits";
  return out;
}

}  // namespace

KernelBuild build_kernel(const KernelRegion& region, const std::string& name) {
  KernelBuild out;
  int64_t chunk = 0;
  Domain domain = initial_domain(region, &chunk);
  if (chunk)
    for (Operation* op : region.ops)
      if (auto r = dyn_cast<ReduceOp>(op))
        if (static_cast<int64_t>(r.getChunk()) != chunk ||
            numel(type_of(r.getArg()).shape) != domain.extents[0]) {
          out.failure = "a reduction in chunks beside another reduction";
          return out;
        }
  // First of all: where a panel has as many rows as columns, one range could serve both, and walk
  // every tensor across its rows.
  if (std::optional<Domain> panels = panel_domain(region)) {
    KernelBuild walked = build_on(region, name, *panels, 0);
    if (walked.program) return walked;
  }
  return build_on(region, name, domain, chunk);
}

}  // namespace fusec::ir
