// The frame of a kernel's function and the structure that the four schedules share: entry, loops,
// index arithmetic, hoisting. Exists so that a schedule file reads as its loop nest.
#include "emit.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"

namespace fusec::codegen_cpu {

namespace LLVM = mlir::LLVM;
namespace arith = mlir::arith;
using mlir::Value;

Emitter::Emitter(mlir::ModuleOp module, const KernelProgram& kernel, const CpuTarget& target,
                 std::string symbol)
    : module_(module),
      kernel_(kernel),
      facts_(analyse(kernel, target)),
      symbol_(std::move(symbol)),
      native_bf16_(target.features.find("+avx512bf16") != std::string::npos),
      b_(module.getContext()),
      loc_(b_.getUnknownLoc()) {}

void Emitter::emit() {
  mlir::Type pointer = LLVM::LLVMPointerType::get(b_.getContext());
  mlir::Type i64_type = b_.getI64Type();
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b_.getContext()),
                                          {pointer, i64_type, i64_type, i64_type});
  b_.setInsertionPointToEnd(module_.getBody());
  auto function = LLVM::LLVMFuncOp::create(b_, loc_, symbol_, type);
  entry_ = function.addEntryBlock(b_);
  const char* names[] = {"args", "lo", "hi", "n"};
  for (int i = 0; i < 4; ++i) {
    locate(names[i]);
    entry_->getArgument(i).setLoc(loc_);
  }
  lo_ = entry_->getArgument(1);
  hi_ = entry_->getArgument(2);
  n_ = entry_->getArgument(3);
  b_.setInsertionPointToStart(entry_);

  for (size_t i = 0; i < kernel_.params.size(); ++i) {
    locate(kernel_.params[i].name.empty() ? "p" : kernel_.params[i].name);
    Value slot = gep(entry_->getArgument(0), pointer, static_cast<int64_t>(i));
    params_.push_back(LLVM::LoadOp::create(b_, loc_, pointer, slot));
  }
  pointers_.resize(kernel_.ops.size());
  bind_unit_pointers({}, 0);
  Point entry{.scope = &launch_};
  hoist(Level::launch, 0, entry);
  switch (kernel_.schedule.kind) {
    case ScheduleKind::flat: emit_flat(); break;
    case ScheduleKind::rows: emit_rows(); break;
    case ScheduleKind::columns: emit_columns(); break;
    case ScheduleKind::flat_reduce: emit_flat_reduce(); break;
  }
  // Stores past the caches are not ordered with what tells other threads that they are done.
  if (kernel_.schedule.stream) LLVM::FenceOp::create(b_, loc_, LLVM::AtomicOrdering::seq_cst, "");
  LLVM::ReturnOp::create(b_, loc_, mlir::ValueRange{});
}

void Emitter::locate(const std::string& name) {
  loc_ = mlir::NameLoc::get(b_.getStringAttr(name));
}

Value Emitter::constant(mlir::Type type, mlir::TypedAttr attr) {
  auto& known = constants_[type.getAsOpaquePointer()];
  for (auto& [key, value] : known) {
    if (key == attr.getAsOpaquePointer()) return value;
  }
  mlir::OpBuilder::InsertionGuard guard(b_);
  b_.setInsertionPointToStart(entry_);
  Value v = arith::ConstantOp::create(b_, b_.getUnknownLoc(), attr);
  known.emplace_back(attr.getAsOpaquePointer(), v);
  return v;
}

Value Emitter::i64(int64_t v) { return constant(b_.getI64Type(), b_.getI64IntegerAttr(v)); }

Value Emitter::add(Value a, Value b) {
  if (!a) return b;
  if (!b) return a;
  llvm::APInt x, y;
  bool cx = mlir::matchPattern(a, mlir::m_ConstantInt(&x));
  bool cy = mlir::matchPattern(b, mlir::m_ConstantInt(&y));
  if (cx && cy) return i64(x.getSExtValue() + y.getSExtValue());
  if (cx && x.isZero()) return b;
  if (cy && y.isZero()) return a;
  return arith::AddIOp::create(b_, loc_, a, b);
}

Value Emitter::mul(Value a, int64_t b) {
  llvm::APInt x;
  if (b == 1) return a;
  if (mlir::matchPattern(a, mlir::m_ConstantInt(&x))) return i64(x.getSExtValue() * b);
  return arith::MulIOp::create(b_, loc_, a, i64(b));
}

Emitter::Values Emitter::loop(Value lo, Value hi, int64_t step, const Values& init,
                              const std::function<Values(Value, const Values&)>& body) {
  Value by = i64(step);
  auto op = mlir::scf::ForOp::create(
      b_, loc_, lo, hi, by, init,
      [&](mlir::OpBuilder&, mlir::Location, Value iv, mlir::ValueRange carried) {
        Values next = body(iv, Values(carried.begin(), carried.end()));
        mlir::scf::YieldOp::create(b_, loc_, next);
      });
  return Values(op.getResults().begin(), op.getResults().end());
}

void Emitter::delinearise(Value linear, int first, int count, Values& index) {
  for (int d = first + count - 1; d >= first; --d) {
    if (d == first) {
      index[d] = linear;
    } else {
      Value extent = i64(kernel_.extents[d]);
      index[d] = arith::RemUIOp::create(b_, loc_, linear, extent);
      linear = arith::DivUIOp::create(b_, loc_, linear, extent);
    }
  }
}

Emitter::Values Emitter::nest(int first, int end, Values index, const Values& init,
                              const std::function<Values(const Values&, const Values&)>& body) {
  if (first == end) return body(index, init);
  return loop(i64(0), i64(kernel_.extents[first]), 1, init, [&](Value iv, const Values& carried) {
    index[first] = iv;
    return nest(first + 1, end, index, carried, body);
  });
}

void Emitter::hoist(Level level, int stage, Point& p) {
  for (size_t i = 0; i < kernel_.ops.size(); ++i) {
    const OpFacts& f = facts_.ops[i];
    auto kind = kernel_.ops[i].kind;
    if (!f.live || f.level != level || f.stage > stage) continue;
    if (kind == KernelOp::Kind::store || kind == KernelOp::Kind::reduce) continue;
    if (!f.varies || level != Level::inner) eval(static_cast<int>(i), p);
  }
}

void Emitter::bind_unit_pointers(const Values& index, uint32_t unit_dims, Value extra) {
  unit_dims_ = unit_dims;
  for (size_t i = 0; i < kernel_.ops.size(); ++i) {
    const KernelOp& op = kernel_.ops[i];
    const OpFacts& f = facts_.ops[i];
    if (op.access.param < 0 || !f.live || launch_.values.count(static_cast<int>(i))) continue;
    locate(kernel_.params[op.access.param].name + "_at");
    Value offset;
    for (size_t d = 0; d < f.strides.size(); ++d) {
      if ((unit_dims >> d & 1) && f.strides[d] != 0) {
        offset = add(offset, mul(index[d], f.strides[d]));
      }
    }
    if (extra && op.kind == KernelOp::Kind::store) offset = add(offset, extra);
    if (op.access.offset != 0) offset = add(offset, i64(op.access.offset));
    Value base = params_[op.access.param];
    pointers_[i] = offset ? gep(base, storage_type(kernel_.params[op.access.param].dtype), offset)
                          : base;
  }
}

std::vector<int> Emitter::reduces_of(int pass) const {
  std::vector<int> found;
  for (size_t i = 0; i < kernel_.ops.size(); ++i) {
    const OpFacts& f = facts_.ops[i];
    if (kernel_.ops[i].kind == KernelOp::Kind::reduce && f.live && f.stage == pass + 1) {
      found.push_back(static_cast<int>(i));
    }
  }
  return found;
}

std::vector<int> Emitter::stores_at(Level level) const {
  std::vector<int> found;
  for (size_t i = 0; i < kernel_.ops.size(); ++i) {
    if (kernel_.ops[i].kind == KernelOp::Kind::store && facts_.ops[i].level == level) {
      found.push_back(static_cast<int>(i));
    }
  }
  return found;
}

Emitter::Values Emitter::stored_values(const std::vector<int>& stores, Point& p) {
  Values values;
  for (int op : stores) values.push_back(stored_value(op, p));
  return values;
}

void Emitter::store_all(const std::vector<int>& stores, const Values& values, const Point& p) {
  for (size_t i = 0; i < stores.size(); ++i) store(stores[i], values[i], p);
}

std::string symbol_of(const std::string& kernel_name) {
  // A prefix where the name is not one of a plan ("k07_..."): a kernel called "exp" must not take
  // the place of the C library's.
  bool numbered = kernel_name.size() > 1 && kernel_name[0] == 'k' && kernel_name[1] >= '0' &&
                  kernel_name[1] <= '9';
  std::string s = numbered ? kernel_name : "kernel_" + kernel_name;
  for (char& c : s) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && c != '_' && c != '.') c = '_';
  }
  return s;
}

}  // namespace fusec::codegen_cpu
