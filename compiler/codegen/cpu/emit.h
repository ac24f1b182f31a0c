// KernelProgram -> one llvm.func of vector, arith, math and scf ops inside a module.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "analysis.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace fusec::codegen_cpu {

// A computed op. `value`: the form arithmetic uses (narrow floats as f32, b8 as i1). `packed`: the
// form memory holds; null unless OpFacts::packed or the value came from memory.
struct Val {
  mlir::Value value, packed;
};

// Values known at a point of the code; those of `parent` too. A scope lives as long as its region.
struct Scope {
  const Scope* parent = nullptr;
  std::unordered_map<int, Val> values = {};
};

// Where an op is evaluated.
struct Point {
  Scope* scope = nullptr;
  std::vector<mlir::Value> index;  // i[d] as i64; the last one is that of lane 0
  int width = 1;                   // lanes of varying values
  int valid = 1;                   // lanes that exist; the others hold anything
  mlir::Value mask;                // flat_reduce: lanes that exist, where that is not a constant
  mlir::Value last_valid;          // columns: highest lane that may be read by element loads
  int pass = -1;                   // rows: selects reads of row buffers
  mlir::Value buffer_index;        // rows: element of the row, for row buffers
};

class Emitter {
 public:
  // Emits into `module` under `symbol`. `native_bf16`: the target converts f32 to bf16.
  Emitter(mlir::ModuleOp module, const KernelProgram& kernel, const CpuTarget& target,
          std::string symbol);
  void emit();

 private:
  using Values = std::vector<mlir::Value>;

  // emit_flat.cpp, emit_rows.cpp, emit_columns.cpp: one schedule each.
  void emit_flat();
  void emit_flat_reduce();
  void emit_rows();
  void emit_unrolled_row(Scope& row, const Values& index);
  void emit_looped_row(Scope& row, const Values& index);
  Values row_pass(Scope& row, const Values& index, int pass, const std::vector<int>& reduces,
                  const std::vector<int>& stores);
  void emit_columns();
  void emit_column_block(Scope& unit, Values index, mlir::Value base);
  void emit_wide_columns(Values index, mlir::Value base, mlir::Value end, const Values& buffers);
  // Loops over the reduced dimensions. Of long ones, blocks of rows are carried on their own, from
  // begin(true), and joined to what is carried from begin(false).
  Values nest_in_blocks(Values index, const std::function<Values(bool block)>& begin,
                        const std::function<Values(const Values&, const Values&)>& joined,
                        const std::function<Values(const Values&, const Values&)>& body);
  void store_columns(Point& p);

  // emit.cpp: structure shared by the schedules.
  mlir::Value i64(int64_t v);
  mlir::Value constant(mlir::Type type, mlir::TypedAttr attr);
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, int64_t b);
  // scf.for over [lo, hi); body gets index and carried values, returns the next carried values.
  Values loop(mlir::Value lo, mlir::Value hi, int64_t step, const Values& init,
              const std::function<Values(mlir::Value, const Values&)>& body);
  // Splits a linear index into i[first .. first+count), the first being the slowest.
  void delinearise(mlir::Value linear, int first, int count, Values& index);
  // Nested loops over dimensions [first, end).
  Values nest(int first, int end, Values index, const Values& init,
              const std::function<Values(const Values&, const Values&)>& body);
  // Evaluates the ops of a level up to a stage, so that inner code finds them.
  void hoist(Level level, int stage, Point& p);
  void bind_unit_pointers(const Values& index, uint32_t unit_dims, mlir::Value extra = {});
  std::vector<int> reduces_of(int pass) const;
  std::vector<int> stores_at(Level level) const;
  // What the stores write at this point. All values come before the first store, so that a kernel
  // may work in place.
  Values stored_values(const std::vector<int>& stores, Point& p);
  void store_all(const std::vector<int>& stores, const Values& values, const Point& p);

  // emit_ops.cpp: one op.
  Val eval(int op, Point& p);
  mlir::Value operand(int op, Point& p, bool vector);
  mlir::Value prim(const KernelOp& op, DType type, const Values& args);
  Val cast(const KernelOp& op, const OpFacts& f, mlir::Value arg, DType from);
  mlir::Value index_value(int op, Point& p);
  mlir::Value per_lane_call(const char* function, mlir::Value arg);
  mlir::Value philox(mlir::Value key, mlir::Value counter);

  // emit_memory.cpp: loads, stores, storage formats.
  mlir::Value address(int op, const Point& p);
  Val load(int op, Point& p);
  mlir::Value stored_value(int op, Point& p);
  void store(int op, mlir::Value packed, const Point& p);
  mlir::Value load_lanes(mlir::Value pointer, mlir::Type element, int64_t stride, const Point& p);
  bool streams(int op, mlir::Value packed) const;
  void store_lanes(mlir::Value pointer, mlir::Value v, int64_t stride, const Point& p);
  mlir::Value widen(mlir::Value packed, DType t);
  mlir::Value narrow(mlir::Value value, DType t);
  mlir::Value widen_f8e4m3(mlir::Value packed);  // emit_f8.cpp
  mlir::Value narrow_f8e4m3(mlir::Value value);
  mlir::Value lane_mask(int width, int valid);
  mlir::Type storage_type(DType t);
  mlir::Value gep(mlir::Value base, mlir::Type element, mlir::Value offset);
  mlir::Value gep(mlir::Value base, mlir::Type element, int64_t offset);
  void make_row_buffers();
  mlir::Value read_row_buffer(int op, const Point& p);
  void write_row_buffer(int op, Point& p);

  // emit_reduce.cpp
  mlir::Value neutral(int reduce, int width);
  mlir::Value combine(int reduce, mlir::Value a, mlir::Value b);
  // Argument of a reduction at p, with the neutral element in lanes that do not exist.
  mlir::Value reduce_argument(int reduce, Point& p);
  // Lanes of vectors of any widths to one scalar, in a fixed order.
  mlir::Value across(int reduce, Values vectors);

  mlir::Type value_type(DType t);
  mlir::Type shaped(mlir::Type element, int width);
  mlir::Type shaped_like(mlir::Type element, mlir::Value like);
  mlir::Value splat(mlir::Value scalar, int width);
  mlir::Value float_constant(mlir::Value like, double v);
  mlir::Value int_constant(mlir::Value like, int64_t v);
  void locate(const std::string& name);

  mlir::ModuleOp module_;
  const KernelProgram& kernel_;
  Analysis facts_;
  std::string symbol_;
  bool native_bf16_;
  mlir::OpBuilder b_;
  mlir::Location loc_;
  mlir::Block* entry_ = nullptr;
  Values params_;
  mlir::Value lo_, hi_, n_;
  Scope launch_;
  uint32_t unit_dims_ = 0;
  std::vector<mlir::Value> pointers_;  // by op: parameter base, or that plus the unit's offset
  std::vector<mlir::Value> buffers_;   // by op: row buffer
  std::unordered_map<const void*, std::vector<std::pair<const void*, mlir::Value>>> constants_;
};

// Characters a symbol may not have become '_'.
std::string symbol_of(const std::string& kernel_name);

}  // namespace fusec::codegen_cpu
