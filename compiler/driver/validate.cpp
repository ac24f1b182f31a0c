// Steps a plan one by one: what a step is about to read is read first (a kernel may overwrite its
// operands), the step runs, and what it wrote is compared with the oracle's value of its region.
// A kernel that serves tensors of many lengths (flat, flat_reduce) has one region; for another
// length the region is rebuilt, which is possible because every access of such a kernel is element
// i of a whole tensor or the one element of a scalar.
#include "validate.h"

#include <limits>
#include <map>

#include "fusec/ops/ops.h"

namespace fusec::driver {
namespace {

bool any_length(const KernelProgram& k) {
  return k.schedule.kind == ScheduleKind::flat || k.schedule.kind == ScheduleKind::flat_reduce;
}

// True where parameter `param` is indexed by the loop, rather than one element for all of it.
bool follows_loop(const KernelProgram& k, size_t param) {
  for (const KernelOp& op : k.ops)
    if ((op.kind == KernelOp::Kind::load || op.kind == KernelOp::Kind::store) &&
        op.access.param == static_cast<int>(param) && op.access.strides[0] != 0)
      return true;
  return false;
}

// Values that an iota and its views alone give, as a flat kernel sees them: first + i * step.
Tensor index_of_length(const ir::RecordedKernel& region, const Tensor& t, Graph& out, int64_t n,
                       const SourceLoc& loc) {
  const std::vector<double> own = evaluate_bounded(*region.graph, {}, {t}).at(0).value;
  auto spread = [&](double v) { return broadcast_to(At(out.splat(v, {}, i64, loc), loc), {n}); };
  Tensor i = out.append_leaf(OpKind::iota, IotaAttr{0}, {{n}, i64}, loc);
  Tensor at = add(At(mul(At(i, loc), spread(own.size() > 1 ? own[1] - own[0] : 0)), loc),
                  spread(own.empty() ? 0 : own[0]));
  return cast(At(at, loc), t.dtype());
}

// The same region on flat tensors of length n.
ir::RecordedKernel of_length(const ir::RecordedKernel& region, const KernelProgram& k, int64_t n) {
  ir::RecordedKernel out{std::make_unique<Graph>(), {}, {}};
  const std::vector<Node>& nodes = region.graph->nodes();
  std::vector<Tensor> made(nodes.size());
  std::vector<bool> is_index(nodes.size());
  size_t input = 0;
  auto whole = [&](const Tensor& t) { return t.rank() == 1; };
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    DType type = node.results[0].dtype;
    if (node.kind == OpKind::input) {
      bool loop = follows_loop(k, input++);
      made[i] = out.graph->append_leaf(OpKind::input, node.attr, {loop ? Shape{n} : Shape{}, type},
                                       node.loc);
      out.inputs.push_back(made[i]);
      continue;
    }
    if (node.kind == OpKind::constant) {
      made[i] = out.graph->splat(node.as<ConstantAttr>().splat, {}, type, node.loc);
      continue;
    }
    if (node.kind == OpKind::iota || (node.kind == OpKind::view && is_index[node.inputs[0].node])) {
      is_index[i] = true;
      made[i] = index_of_length(region, Tensor(region.graph.get(), Value{static_cast<int>(i), 0}),
                                *out.graph, n, node.loc);
      continue;
    }
    bool loop = false;
    std::vector<Tensor> operands;
    for (Value v : node.inputs) operands.push_back(made[v.node]);
    for (const Tensor& t : operands) loop = loop || whole(t);
    if (node.kind == OpKind::view) {  // of a flat kernel: whole to whole, or a scalar spread
      made[i] = operands[0];
      continue;
    }
    std::vector<Value> values;
    for (Tensor& t : operands) {
      if (loop && !whole(t)) t = broadcast_to(At(t, node.loc), {n});
      values.push_back(t.value());
    }
    made[i] = out.graph->append(node.kind, node.attr, std::move(values), node.loc);
  }
  bool reduces = k.schedule.kind == ScheduleKind::flat_reduce;
  for (const Tensor& t : region.outputs) {
    Tensor y = made[t.value().node];
    bool loop = !reduces && follows_loop(k, out.inputs.size() + out.outputs.size());
    out.outputs.push_back(loop && !whole(y) ? broadcast_to(At(y, SourceLoc()), {n}) : y);
  }
  return out;
}

class Validator {
 public:
  Validator(Program& program, const Plan& plan, const KernelReferences& references)
      : program_(program), plan_(plan), references_(references), reader_(program, plan) {}

  ValidateReport run() {
    for (size_t s = 0; s < plan_.steps.size(); ++s) {
      step_ = static_cast<int>(s);
      const PlanStep& step = plan_.steps[s];
      if (step.kernel < 0)
        call(step.call);
      else if (references_.at(step.kernel).graph)
        kernel(step);
      else
        copies(step);
      ++report_.steps;
    }
    return std::move(report_);
  }

 private:
  const ir::RecordedKernel& region(int kernel, int64_t n) {
    const ir::RecordedKernel& own = references_[kernel];
    const KernelProgram& k = plan_.kernels[kernel];
    if (!any_length(k)) return own;
    int64_t length = 0;
    if (k.schedule.kind == ScheduleKind::flat) {
      for (const Tensor& t : own.outputs) length = std::max(length, numel(t.shape()));
    } else {  // what is reduced may be wider than all that is loaded
      for (const Node& node : own.graph->nodes())
        if (node.kind == OpKind::reduce) length = numel(own.graph->type(node.inputs[0]).shape);
    }
    if (length == n) return own;
    auto [it, fresh] = other_lengths_.try_emplace({kernel, n});
    if (fresh) it->second = of_length(own, k, n);
    return it->second;
  }

  void kernel(const PlanStep& step) {
    std::vector<BoundedFeeds> feeds;
    for (const Segment& s : step.segments) {
      const ir::RecordedKernel& r = region(step.kernel, s.n);
      BoundedFeeds& feed = feeds.emplace_back();
      for (size_t i = 0; i < r.inputs.size(); ++i)
        feed["arg" + std::to_string(i)] =
            exactly(reader_.read(s.args[i], r.inputs[i].dtype(), numel(r.inputs[i].shape())));
    }
    program_.run_step(step_);
    for (size_t i = 0; i < step.segments.size(); ++i) {
      const Segment& s = step.segments[i];
      const ir::RecordedKernel& r = region(step.kernel, s.n);
      std::vector<BoundedData> expected = evaluate_bounded(*r.graph, feeds[i], r.outputs);
      for (size_t o = 0; o < expected.size(); ++o) {
        const Tensor& t = r.outputs[o];
        const BufferRef& to = s.args[r.inputs.size() + o];
        int64_t n = numel(t.shape());
        std::vector<double> got;
        if (r.places.empty() || r.places[o].length == 0) {
          got = reader_.read(to, t.dtype(), n);
        } else {
          std::vector<int64_t> at(n);
          for (int64_t e = 0; e < n; ++e) at[e] = r.places[o].at(e);
          got = picked(reader_.read(to, t.dtype()), at);
        }
        std::string part = step.segments.size() > 1 ? ", segment " + std::to_string(i) : "";
        judge(got, expected[o], t.shape(), part + ", result " + std::to_string(o));
      }
    }
  }

  // A kernel of loads and stores: each store takes what its load takes.
  void copies(const PlanStep& step) {
    const KernelProgram& k = plan_.kernels[step.kernel];
    const Segment& s = step.segments.at(0);
    const KernelOp& store = k.ops.back();
    const KernelOp& load = k.ops.at(store.args.at(0));
    std::vector<double> from = reader_.read(s.args[load.access.param], load.type), expected;
    std::vector<int64_t> at;
    int64_t points = 1;
    for (int64_t e : k.extents) points *= e;
    for (int64_t p = 0; p < points; ++p) {
      int64_t rest = p, source = load.access.offset, target = store.access.offset;
      for (size_t d = k.extents.size(); d-- > 0;) {
        source += load.access.strides[d] * (rest % k.extents[d]);
        target += store.access.strides[d] * (rest % k.extents[d]);
        rest /= k.extents[d];
      }
      expected.push_back(from.at(source));
      at.push_back(target);
    }
    program_.run_step(step_);
    judge(picked(reader_.read(s.args[store.access.param], store.type), at),
          exactly(std::move(expected)), {points}, "");
  }

  void call(const LibraryCall& call) {
    std::vector<ExpectedWrite> expected = define_call(call, reader_);
    program_.run_step(step_);
    for (const ExpectedWrite& w : expected) {
      int64_t count = static_cast<int64_t>(w.data.value.size());
      const BufferRef& to = call.args[w.argument];
      std::vector<double> got =
          w.at.empty() ? reader_.read(to, w.type, count) : picked(reader_.read(to, w.type), w.at);
      report_.sampled += w.left_out;
      judge(got, w.data, {count}, ", argument " + std::to_string(w.argument));
    }
  }

  static std::vector<double> picked(const std::vector<double>& from,
                                    const std::vector<int64_t>& at) {
    std::vector<double> out;
    out.reserve(at.size());
    for (int64_t i : at) out.push_back(from.at(i));
    return out;
  }

  void judge(const std::vector<double>& got, const BoundedData& expected, const Shape& shape,
             const std::string& part) {
    Agreement a = compare(got, expected);
    ++report_.tensors;
    report_.elements += a.elements;
    report_.excluded += a.excluded;
    if (a.wrong == 0) return;
    const PlanStep& step = plan_.steps[step_];
    Mismatch m;
    m.where = "step " + std::to_string(step_) +
              (step.kernel < 0 ? ", library call " + step.call.name
                               : ", kernel " + plan_.kernels[step.kernel].name) +
              (step.scope.empty() ? "" : " of " + step.scope) + part;
    if (step.kernel >= 0) m.ops = plan_.kernels[step.kernel].origins;
    m.index = index_of(a.first, shape);
    m.got = a.got, m.expected = a.expected, m.allowed = a.allowed;
    m.wrong = a.wrong, m.elements = static_cast<int64_t>(got.size());
    report_.wrong.push_back(std::move(m));
  }

  static Shape index_of(int64_t linear, const Shape& shape) {
    Shape out(shape.size());
    for (size_t d = shape.size(); d-- > 0;) {
      out[d] = linear % shape[d];
      linear /= shape[d];
    }
    return out;
  }

  Program& program_;
  const Plan& plan_;
  const KernelReferences& references_;
  StepReader reader_;
  std::map<std::pair<int, int64_t>, ir::RecordedKernel> other_lengths_;
  int step_ = 0;
  ValidateReport report_;
};

}  // namespace

std::vector<double> StepReader::read(const BufferRef& ref, DType type, int64_t count) const {
  const PlanBuffer& b = plan_.buffers.at(ref.buffer);
  std::vector<char> bytes(b.type.bytes());
  program_.read(ref.buffer, bytes.data(), bytes.size());
  int64_t held = (b.type.bytes() - ref.byte_offset) / size_of(type);
  // A region that loads a part of its operand may stand for a structurally equal one whose operand
  // is that part alone: what is not there is not loaded, and the NaN would say so.
  std::vector<double> out(count, std::numeric_limits<double>::quiet_NaN());
  for (int64_t i = 0; i < std::min(count, held); ++i)
    out[i] = load_as_double(bytes.data() + ref.byte_offset, type, i);
  return out;
}

std::vector<double> StepReader::read(const BufferRef& ref, DType type) const {
  const PlanBuffer& b = plan_.buffers.at(ref.buffer);
  return read(ref, type, (b.type.bytes() - ref.byte_offset) / size_of(type));
}

ValidateReport validate(Program& program, const Plan& plan, const KernelReferences& references) {
  if (references.size() != plan.kernels.size())
    fail_user("validate: the graph has " + std::to_string(references.size()) +
              " kernels, the plan " + std::to_string(plan.kernels.size()) +
              "; expected the plan of this graph");
  return Validator(program, plan, references).run();
}

}  // namespace fusec::driver
