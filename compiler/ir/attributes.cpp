// Recorder <-> MLIR: element types, locations, and an op's attributes in the recorder's form.
#include <mlir/IR/Location.h>

#include "fusec/base/nearest.h"
#include "fusec/ir/dialect.h"

using namespace mlir;

namespace fusec::ir {

Type element_type(MLIRContext* c, DType t) {
  switch (t) {
    case DType::f32: return Float32Type::get(c);
    case DType::f64: return Float64Type::get(c);
    case DType::bf16: return BFloat16Type::get(c);
    case DType::f16: return Float16Type::get(c);
    case DType::i64: return IntegerType::get(c, 64);
    case DType::i32: return IntegerType::get(c, 32);
    case DType::u8: return IntegerType::get(c, 8, IntegerType::Unsigned);
    case DType::b8: return IntegerType::get(c, 1);
    case DType::f8e4m3: return Float8E4M3FNType::get(c);
  }
  return {};
}

RankedTensorType tensor_type(MLIRContext* c, const TensorType& t) {
  return RankedTensorType::get(t.shape, element_type(c, t.dtype));
}

DType dtype_of(Type t) {
  if (t.isF32()) return DType::f32;
  if (t.isF64()) return DType::f64;
  if (t.isBF16()) return DType::bf16;
  if (t.isF16()) return DType::f16;
  if (t.isInteger(64)) return DType::i64;
  if (t.isInteger(32)) return DType::i32;
  if (t.isUnsignedInteger(8)) return DType::u8;
  if (t.isInteger(1)) return DType::b8;
  if (isa<Float8E4M3FNType>(t)) return DType::f8e4m3;
  std::string text;
  llvm::raw_string_ostream(text) << t;
  fail_user("element type " + text +
            ": expected f32, f64, bf16, f16, i64, i32, ui8, i1 or "
            "f8E4M3FN");
}

TensorType type_of(mlir::Value v) {
  auto t = cast<RankedTensorType>(v.getType());
  return {Shape(t.getShape().begin(), t.getShape().end()), dtype_of(t.getElementType())};
}

namespace {

template <class E>
E parse_enum(StringRef word, std::initializer_list<std::pair<const char*, E>> rows,
             const char* what) {
  std::vector<std::string> known;
  for (const auto& [name, value] : rows) {
    if (word == name) return value;
    known.push_back(name);
  }
  fail_user(std::string("unknown ") + what + " \"" + word.str() + "\"" +
            suggest(word.str(), known));
}

Pointwise parse_pointwise(StringRef word) {
  static const std::map<std::string, Pointwise> table = {
#define FUSEC_POINTWISE(name, ...) {#name, Pointwise::name},
#include "fusec/ops/pointwise.def"
  };
  auto it = table.find(word.str());
  if (it != table.end()) return it->second;
  std::vector<std::string> known;
  for (const auto& row : table) known.push_back(row.first);
  fail_user("unknown pointwise op \"" + word.str() + "\"" + suggest(word.str(), known));
}

}  // namespace

OpInfo info_of(Operation* op) {
  if (auto o = dyn_cast<MapOp>(op)) return {OpKind::map, MapAttr{parse_pointwise(o.getFn())}};
  if (auto o = dyn_cast<CastOp>(op)) return {OpKind::cast, CastAttr{type_of(o.getResult()).dtype}};
  if (auto o = dyn_cast<ReduceOp>(op))
    return {OpKind::reduce, ReduceAttr{parse_enum<ReduceKind>(o.getKind(),
                                                              {{"sum", ReduceKind::sum},
                                                               {"max", ReduceKind::max},
                                                               {"min", ReduceKind::min}},
                                                              "reduction"),
                                       o.getAxes().vec(), static_cast<int64_t>(o.getChunk())}};
  if (auto o = dyn_cast<ContractOp>(op)) {
    auto [lhs, rest] = o.getLabels().split(',');
    auto [rhs, out] = rest.split("->");
    return {OpKind::contract, ContractAttr{lhs.str(), rhs.str(), out.str()}};
  }
  if (auto o = dyn_cast<ViewOp>(op)) {
    ViewAttr a;
    a.kind = parse_enum<ViewKind>(o.getKind(),
                                  {{"reshape", ViewKind::reshape},
                                   {"permute", ViewKind::permute},
                                   {"broadcast", ViewKind::broadcast},
                                   {"slice", ViewKind::slice}},
                                  "view");
    a.shape = type_of(o.getResult()).shape;
    a.dims = o.getDims().vec();
    a.start = o.getStart().vec();
    a.step = o.getStep().vec();
    return {OpKind::view, a};
  }
  if (auto o = dyn_cast<ConcatOp>(op))
    return {OpKind::concat, ConcatAttr{static_cast<int64_t>(o.getAxis())}};
  if (isa<GatherOp>(op)) return {OpKind::gather, {}};
  if (auto o = dyn_cast<ScatterOp>(op))
    return {OpKind::scatter,
            ScatterAttr{parse_enum<ScatterMode>(
                o.getMode(), {{"add", ScatterMode::add}, {"set", ScatterMode::set}}, "mode")}};
  if (auto o = dyn_cast<CumsumOp>(op))
    return {OpKind::cumsum, CumsumAttr{static_cast<int64_t>(o.getAxis()), o.getReverse()}};
  if (auto o = dyn_cast<TopKOp>(op))
    return {OpKind::top_k, TopKAttr{static_cast<int64_t>(o.getK())}};
  auto attention = [](auto o) {
    return AttentionAttr{o.getCausal(),
                         o.getScale().convertToDouble(),
                         o.getSoftcap().convertToDouble(),
                         o.getTopLeft(),
                         static_cast<int64_t>(o.getWindow().value_or(0)),
                         o.getPrefix(),
                         o.getSinks(),
                         o.getHook().value_or("").str()};
  };
  if (auto o = dyn_cast<AttentionOp>(op)) return {OpKind::attention, attention(o)};
  if (auto o = dyn_cast<AttentionGradOp>(op)) {
    AttentionAttr a = attention(o);
    a.captured_grads = static_cast<int64_t>(o.getCapturedGrads().value_or(0));
    return {OpKind::attention_grad, a};
  }
  if (auto o = dyn_cast<PagedAttentionOp>(op))
    return {OpKind::paged_attention,
            PagedAttentionAttr{o.getScale().convertToDouble(), o.getSoftcap().convertToDouble(),
                               static_cast<int64_t>(o.getWindow().value_or(0)), o.getCuQ(),
                               o.getScales()}};
  fail_internal("no recorder form of " + op->getName().getStringRef().str());
}

LibraryCall call_of(LibraryOp op) {
  LibraryCall call;
  call.name = op.getName().str();
  for (NamedAttribute a : op.getConfig()) {
    std::string key = a.getName().str();
    if (auto i = dyn_cast<IntegerAttr>(a.getValue()))
      call.attrs[key] = i.getInt();
    else if (auto f = dyn_cast<FloatAttr>(a.getValue()))
      call.attrs[key] = f.getValueAsDouble();
    else if (auto s = dyn_cast<StringAttr>(a.getValue()))
      call.attrs[key] = s.getValue().str();
  }
  return call;
}

SourceLoc source_of(Operation* op) {
  Location loc = op->getLoc();
  if (auto named = dyn_cast<NameLoc>(loc)) loc = named.getChildLoc();
  if (auto file = dyn_cast<FileLineColLoc>(loc))
    return {intern_file(file.getFilename().str()), file.getLine()};
  return {};
}

std::string scope_of(Operation* op) {
  auto named = dyn_cast<NameLoc>(op->getLoc());
  return named ? named.getName().str() : "";
}

Location location(MLIRContext* c, SourceLoc loc, const std::string& scope) {
  Location place = loc.known() ? Location(FileLineColLoc::get(c, loc.file, loc.line, 0))
                               : Location(UnknownLoc::get(c));
  return scope.empty() ? place : Location(NameLoc::get(StringAttr::get(c, scope), place));
}

std::string describe(Operation* op) {
  std::string name = op->getName().stripDialect().str();
  if (auto o = dyn_cast<MapOp>(op)) name += "." + o.getFn().str();
  if (auto o = dyn_cast<ReduceOp>(op)) name += "." + o.getKind().str();
  if (auto o = dyn_cast<ViewOp>(op)) name += "." + o.getKind().str();
  if (auto o = dyn_cast<LibraryOp>(op)) name += "." + o.getName().str();
  if (auto o = dyn_cast<KernelOp>(op)) name = o.getName().str();
  std::string place = source_of(op).str();
  return place.empty() ? name : name + " (" + place + ")";
}

}  // namespace fusec::ir
