// Turns the text of a hook into kernels over a tile of scores, tile[key][query]:
//
//   mask      tile = 0 where the key is seen, -inf elsewhere
//   score     tile = hook(scale, cap), -inf where the mask hides the key; in place
//   gradient  the same, and slope = d tile / d (the product it came from); for each load that wants
//             it, d tile / d (the element loaded)
//
// Queries are the vector dimension. Positions are the tile's own (`where`, four numbers) plus the
// loop's indices; a load's pointer is moved to the tile's corner by the caller.
#include "hook_kernels.h"

#include <cmath>

#include "fusec/ops/hook.h"
#include "scalar_recorder.h"

namespace fusec::ir {
namespace {

using Kind = ::fusec::KernelOp::Kind;
using HookValue = ::fusec::Value;

enum class Form : uint8_t { mask, score, gradient };

class TileKernel : ScalarRecorder {
 public:
  TileKernel(const Hook& hook, const LibraryCall& call) : hook_(hook), call_(call) {
    program_.extents = {call.integer("hook_block"), call.integer("hook_lanes")};
    program_.row_dims = 1;
    program_.schedule = {ScheduleKind::rows, 16, 0, 1};
    program_.schedule.ragged = true;
    values_.assign(hook.graph->nodes().size(), -1);
  }

  KernelProgram build(Form form, const HookDerivatives& by,
                      const std::vector<std::vector<int64_t>>& strides,
                      const std::vector<bool>& wanted) {
    static constexpr const char* names[] = {"mask", "score", "gradient"};
    program_.name = std::string("hook_") + names[static_cast<int>(form)];
    param("tile", DType::f32, form != Form::mask, true);
    param("where", DType::i32, true, false);
    if (form == Form::gradient) param("slope", DType::f32, false, true);
    first_load_ = program_.params.size();
    for (size_t i = 0; i < hook_.loads.size(); ++i)
      param("load" + std::to_string(i), hook_.graph->type(hook_.loads[i].value).dtype, true, false);
    strides_ = &strides;

    Scalar nothing = {this, constant(-INFINITY, DType::f32)}, seen;
    if (hook_.has_mask()) seen = {this, value(hook_.mask)};
    auto masked = [&](int v, Scalar hidden) {
      return hook_.has_mask() ? select(seen, Scalar(this, v), hidden).op : v;
    };
    if (form == Form::mask) {
      store(0, masked(constant(0, DType::f32), nothing));
      return finish();
    }
    double cap = call_.number("softcap"), scale = call_.number("scale");
    Scalar z = Scalar(this, load(0, DType::f32, {program_.extents[1], 1})) * scale, slope = scale;
    if (cap != 0) {
      Scalar bend = tanh(z * (1 / cap));
      z = bend * cap;
      slope = (1.0 - bend * bend) * scale;
    }
    values_[hook_.given.node] = z.op;
    int score = masked(value(hook_.score), nothing);
    if (form == Form::score) {
      store(0, score);
      return finish();
    }
    std::vector<int> results = {score};
    auto derivative = [&](HookValue v) {
      return v.node < 0 ? constant(0, DType::f32) : value(v);
    };
    results.push_back((Scalar(this, derivative(by.by_given)) * slope).op);
    for (size_t i = 0; i < hook_.loads.size(); ++i) {
      if (!wanted[i]) continue;
      param("by_load" + std::to_string(i), DType::f32, false, true);
      results.push_back(derivative(by.by_load[i]));
    }
    store(0, results[0]);
    store(2, results[1]);
    for (size_t i = 2; i < results.size(); ++i)
      store(static_cast<int>(first_load_ + hook_.loads.size() + i - 2), results[i]);
    return finish();
  }

 private:
  void param(std::string name, DType type, bool read, bool written) {
    program_.params.push_back({std::move(name), type, read, written});
  }

  int load(int param, DType type, std::vector<int64_t> strides, int64_t offset = 0) {
    ::fusec::KernelOp op;
    op.kind = Kind::load;
    op.type = type;
    op.access = {param, offset, std::move(strides)};
    return emit(std::move(op));
  }

  void store(int param, int value) {
    ::fusec::KernelOp op;
    op.kind = Kind::store;
    op.type = DType::f32;
    op.args = {value};
    op.access = {param, 0, {program_.extents[1], 1}};
    stores_.push_back(std::move(op));
  }

  KernelProgram finish() {
    for (::fusec::KernelOp& s : stores_) program_.ops.push_back(std::move(s));
    for (KernelParam& p : program_.params) p.read = false;
    for (const ::fusec::KernelOp& op : program_.ops)
      if (op.kind == Kind::load) program_.params[op.access.param].read = true;
    return std::move(program_);
  }

  int position(size_t axis) {
    int corner = load(1, DType::i32, {0, 0}, static_cast<int64_t>(axis));
    if (axis < 2) return corner;
    ::fusec::KernelOp op;
    op.kind = Kind::index;
    op.type = DType::i32;
    op.access = {-1, 0, {axis == 3 ? 1 : 0, axis == 3 ? 0 : 1}};
    return (Scalar(this, corner) + Scalar(this, emit(std::move(op)))).op;
  }

  int value(HookValue v) {
    int& known = values_[v.node];
    if (known >= 0) return known;
    int made = define(v);  // may grow nothing but program_
    return values_[v.node] = made;
  }

  int define(HookValue v) {
    const Node& n = hook_.graph->nodes()[v.node];
    DType type = n.results[0].dtype;
    for (size_t a = 0; a < kHookAxes; ++a)
      if (v == hook_.position[a]) return position(a);
    for (size_t i = 0; i < hook_.loads.size(); ++i)
      if (v == hook_.loads[i].value)
        return load(static_cast<int>(first_load_ + i), type, (*strides_)[i]);
    if (n.kind == OpKind::constant) return constant(n.as<ConstantAttr>().splat, type);
    std::vector<int> in;
    for (HookValue operand : n.inputs) in.push_back(value(operand));
    if (n.kind == OpKind::cast) return cast(in[0], type);
    if (n.kind == OpKind::map) return ScalarRecorder::map(n.as<MapAttr>().op, in, type);
    fail_internal("attention hook: " + std::string(name_of(n.kind)) + " is no op of a kernel");
  }

  const Hook& hook_;
  const LibraryCall& call_;
  const std::vector<std::vector<int64_t>>* strides_ = nullptr;
  std::vector<int> values_;
  std::vector<::fusec::KernelOp> stores_;
  size_t first_load_ = 0;
};

}  // namespace

HookKernels make_hook_kernels(const LibraryCall& call) {
  std::vector<TensorType> captured = captured_types(call);
  bool grad = call.name == "attention_grad";
  Hook hook = read_hook(call.text("hook"));
  HookDerivatives by;
  if (grad) by = differentiate(hook);
  HookKernels out;
  int64_t wanted = call.integer_or("captured_grads", 0);
  std::vector<std::vector<int64_t>> strides;
  std::vector<bool> slopes;
  for (size_t i = 0; i < hook.loads.size(); ++i) {
    const HookLoad& l = hook.loads[i];
    Shape row_major = row_major_strides(captured.at(l.captured).shape);
    int64_t offset = 0;
    std::array<int64_t, kHookAxes> step = {};
    for (size_t d = 0; d < l.index.size(); ++d) {
      offset += l.index[d].offset * row_major[d];
      for (size_t a = 0; a < kHookAxes; ++a) step[a] += l.index[d].factor[a] * row_major[d];
    }
    strides.push_back({step[3], step[2]});
    slopes.push_back(grad && (wanted >> l.captured & 1) && by.by_load[i].node >= 0);
    int64_t size = size_of(captured[l.captured].dtype);
    out.loads += (i ? "; " : "") + std::to_string(l.captured) + " " + std::to_string(offset * size);
    for (int64_t s : step) out.loads += " " + std::to_string(s * size);
    out.loads += slopes.back() ? " 1" : " 0";
  }
  auto build = [&](Form form) {
    out.programs.push_back(TileKernel(hook, call).build(form, by, strides, slopes));
    out.programs.back().origins = {"the hook of " + call.name};
  };
  if (hook.has_mask()) build(Form::mask);
  build(grad ? Form::gradient : Form::score);
  return out;
}

}  // namespace fusec::ir
