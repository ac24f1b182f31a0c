// Generated op classes, and verifiers that run the recorder's shape rules on every op.
#include "fusec/ir/dialect.h"

#include <mlir/IR/Builders.h>

using namespace mlir;

static ParseResult parseKeyword(OpAsmParser& parser, StringAttr& attr) {
  StringRef word;
  if (parser.parseKeyword(&word)) return failure();
  attr = parser.getBuilder().getStringAttr(word);
  return success();
}
static void printKeyword(OpAsmPrinter& p, Operation*, StringAttr attr) { p << attr.getValue(); }

// A region whose names are its own: a use outside of a name defined inside never binds to it, which
// in text that does not parse would leave a use of freed memory behind.
static ParseResult parseIsolated(OpAsmParser& parser, Region& region) {
  if (parser.parseRegion(region, {}, true)) return failure();
  if (region.empty()) region.emplaceBlock();
  return success();
}
static void printIsolated(OpAsmPrinter& p, Operation*, Region& region) { p.printRegion(region); }

#include "dialect.cpp.inc"
#define GET_OP_CLASSES
#include "ops.cpp.inc"

namespace fusec::ir {

void FusecDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "ops.cpp.inc"
      >();
}

// Runs infer_types on the operands and compares with the declared results.
static LogicalResult verify_types(Operation* op) {
  try {
    OpInfo info = info_of(op);
    std::vector<TensorType> operands;
    for (mlir::Value v : op->getOperands()) operands.push_back(type_of(v));
    std::vector<TensorType> results = infer_types(info.kind, info.attr, operands, {});
    if (results.size() != op->getNumResults())
      return op->emitOpError("expected ") << results.size() << " results";
    for (size_t i = 0; i < results.size(); ++i)
      if (results[i] != type_of(op->getResult(i)))
        return op->emitOpError("result ") << i << ": expected " << results[i].str() << ", found "
                                          << type_of(op->getResult(i)).str();
    return success();
  } catch (const Error& e) {
    return op->emitOpError(e.message());
  }
}

LogicalResult MapOp::verify() { return verify_types(*this); }
LogicalResult CastOp::verify() { return verify_types(*this); }
LogicalResult ReduceOp::verify() { return verify_types(*this); }
LogicalResult ContractOp::verify() { return verify_types(*this); }
LogicalResult ViewOp::verify() {
  if (failed(verify_types(*this))) return failure();
  if (!getAlias()) return success();
  ArrayRef<int64_t> shape = getType().getShape(), whole = getArg().getType().getShape();
  bool rows = getKind() == "slice" && !shape.empty() && getStep()[0] == 1;
  for (size_t d = 1; rows && d < shape.size(); ++d)
    rows = shape[d] == whole[d] && getStart()[d] == 0 && getStep()[d] == 1;
  if (!rows) return emitOpError("expected an alias to be a slice of whole rows");
  return success();
}
LogicalResult ConcatOp::verify() {
  if (failed(verify_types(*this))) return failure();
  int64_t last = -1;
  for (int64_t part : getPlaced()) {
    if (part <= last || part >= static_cast<int64_t>(getArgs().size()))
      return emitOpError("expected placed to hold numbers of parts in rising order, found ")
             << part;
    last = part;
  }
  return success();
}
LogicalResult GatherOp::verify() { return verify_types(*this); }
LogicalResult ScatterOp::verify() { return verify_types(*this); }
LogicalResult CumsumOp::verify() { return verify_types(*this); }
LogicalResult TopKOp::verify() { return verify_types(*this); }
LogicalResult AttentionOp::verify() { return verify_types(*this); }
LogicalResult AttentionGradOp::verify() { return verify_types(*this); }
LogicalResult PagedAttentionOp::verify() { return verify_types(*this); }

LogicalResult IotaOp::verify() {
  int64_t axis = getAxis(), rank = getResult().getType().getRank();
  if (axis < 0 || axis >= rank)
    return emitOpError("expected an axis of 0 to ") << rank - 1 << ", found " << axis;
  return success();
}

LogicalResult LibraryOp::verify() {
  LibraryCall call = call_of(*this);
  std::string wrong =
      what_is_wrong(call, getArgs().size() + (call.name == "scatter" ? 0 : getOuts().size()));
  if (!wrong.empty()) return emitOpError(wrong);
  return success();
}

// Names and assigns are properties of the whole graph.
LogicalResult GraphOp::verifyRegions() {
  std::map<StringRef, Operation*> names;
  llvm::SmallPtrSet<Operation*, 16> assigned;
  for (Operation& op : getBody().front()) {
    StringAttr name;
    if (isa<InputOp, ParameterOp, OutputOp>(op)) name = op.getAttrOfType<StringAttr>("name");
    if (name && (name.empty() || !names.emplace(name.getValue(), &op).second))
      return op.emitOpError("expected a name of its own, found \"")
             << name.getValue() << "\" again";
    if (auto assign = dyn_cast<AssignOp>(op))
      if (!assigned.insert(assign.getTarget().getDefiningOp()).second)
        return op.emitOpError("expected one assign a parameter, found a second");
  }
  return success();
}

LogicalResult ConstantOp::verify() {
  if (getValue().getShapedType() != getResult().getType())
    return emitOpError("value and result differ in type");
  return success();
}

LogicalResult AssignOp::verify() {
  if (!getTarget().getDefiningOp<ParameterOp>())
    return emitOpError("the target must be a fusec.parameter");
  if (getTarget().getType() != getValue().getType())
    return emitOpError("expected a value of type ") << getTarget().getType();
  return success();
}

LogicalResult GuardOp::verify() {
  TensorType t = type_of(getValue());
  if (numel(t.shape) != 1 || (t.dtype != DType::f32 && t.dtype != DType::f64))
    return emitOpError("expected one f32 or f64, found ") << t.str();
  return success();
}

LogicalResult KernelOp::verify() {
  Block& body = getBody().front();
  auto yield = dyn_cast_or_null<YieldOp>(body.empty() ? nullptr : &body.back());
  if (!yield) return emitOpError("expected the body to end in fusec.yield");
  size_t n = getSegments();
  if (n < 1 || getArgs().size() != n * body.getNumArguments() ||
      getOuts().size() != n * yield.getArgs().size())
    return emitOpError("expected ") << n << " segments of " << body.getNumArguments()
                                    << " operands and " << yield.getArgs().size() << " results";
  for (auto [outer, inner] : llvm::zip(getArgs(), body.getArguments()))
    if (outer.getType() != inner.getType()) return emitOpError("argument types differ");
  for (auto [outer, inner] : llvm::zip(getOuts(), yield.getArgs()))
    if (outer.getType() != inner.getType()) return emitOpError("result types differ");
  ArrayRef<int64_t> places = getPlaces();
  if (places.empty()) return success();
  if (n != 1 || places.size() != 3 * getOuts().size())
    return emitOpError("expected one segment and three numbers of places a result");
  for (auto [i, r] : llvm::enumerate(getOuts())) {
    int64_t length = places[3 * i], row = places[3 * i + 1], start = places[3 * i + 2];
    if (length == 0) continue;
    if (length < 0 || start < 0 || start > row - length || numel(type_of(r).shape) % length)
      return emitOpError("result ") << i << ": no place of length " << length << " at " << start
                                    << " in rows of " << row;
  }
  return success();
}

}  // namespace fusec::ir
