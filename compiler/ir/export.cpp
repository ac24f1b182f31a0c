// Turns the scheduled graph into steps over buffers: one step for each kernel and library call, a
// copy for each assign (plan_memory removes most), aliases for reshapes. Structurally equal kernels
// become one entry of Plan::kernels.
#include "fusec/ir/export.h"

#include <unordered_map>

#include "fusec/ir/kernel_builder.h"
#include "hook_kernels.h"

using namespace mlir;

namespace fusec::ir {
namespace {

class Exporter {
 public:
  Exporter(GraphOp graph, std::vector<KernelOp>* sources)
      : graph_(graph), sources_(sources) { plan_.graph = graph.getName().str(); }

  Plan run() {
    for (ConcatOp c : graph_.getBody().front().getOps<ConcatOp>()) find_places(c);
    for (Operation& op : graph_.getBody().front()) export_op(op);
    // A value that is itself persistent may be overwritten by another assign: take it aside first.
    for (AssignOp a : assigns_)
      if (BufferRef from = refs_.lookup(a.getValue());
          is_persistent(plan_.buffers[from.buffer].cls)) {
        BufferRef aside{buffer("t" + std::to_string(next_++), BufferClass::temporary,
                               type_of(a.getValue()), origin_of(a)),
                        0};
        copy(from, aside, bytes(a.getValue()), a);
        aside_[a] = aside;
      }
    for (AssignOp a : assigns_) {
      auto it = aside_.find(a);
      copy(it != aside_.end() ? it->second : refs_.lookup(a.getValue()),
           refs_.lookup(a.getTarget()), bytes(a.getValue()), a);
    }
    return std::move(plan_);
  }

 private:
  static int64_t bytes(mlir::Value v) { return type_of(v).bytes(); }

  int buffer(std::string name, BufferClass cls, TensorType type, std::string origin) {
    plan_.buffers.push_back(
        {std::move(name), cls, std::move(type), -1, 0, 0, {}, std::move(origin)});
    return static_cast<int>(plan_.buffers.size() - 1);
  }

  // "map.silu (mlp.cpp:12, trunk.0.mlp)".
  static std::string origin_of(Operation* op) {
    std::string text = describe(op), scope = scope_of(op);
    if (scope.empty()) return text;
    return text.back() == ')' ? text.substr(0, text.size() - 1) + ", " + scope + ")"
                              : text + " (" + scope + ")";
  }

  // Where the parts of a concat lie in it: `outer` times `length` elements from `start`, a `row`
  // apart.
  struct Part {
    mlir::Value value;
    int64_t outer = 1, length = 0, start = 0, row = 0;
  };
  static SmallVector<Part> parts_of(ConcatOp c) {
    Shape shape = type_of(c.getResult()).shape;
    int64_t axis = c.getAxis(), outer = 1, inner = 1, start = 0;
    for (int64_t d = 0; d < axis; ++d) outer *= shape[d];
    for (size_t d = axis + 1; d < shape.size(); ++d) inner *= shape[d];
    SmallVector<Part> parts;
    for (mlir::Value v : c.getArgs()) {
      parts.push_back({v, outer, type_of(v).shape[axis] * inner, start, shape[axis] * inner});
      start += parts.back().length;
    }
    return parts;
  }

  // Results of kernels that are written into the memory of a concat. Of one outer index, parts are
  // whole tensors, some bytes behind its start; else the kernel knows the columns (places).
  void find_places(ConcatOp c) {
    SmallVector<Part> parts = parts_of(c);
    for (int64_t i : c.getPlaced()) {
      mlir::Value v = c.getArgs()[i];
      while (auto view = v.getDefiningOp<ViewOp>()) v = view.getArg();
      const Part& part = parts[i];
      auto kernel = v.getDefiningOp<KernelOp>();
      bool columns = part.outer != 1, known = kernel != nullptr && in_concat_.count(v) == 0;
      if (known && columns) {
        std::vector<ResultPlace> places = places_of(kernel);
        size_t result = cast<OpResult>(v).getResultNumber();
        known = !places.empty() && places[result].length == part.length &&
                places[result].row == part.row && places[result].start == part.start;
      }
      if (!known)
        fail_user(describe(c) + ": part " + std::to_string(i) +
                      " is placed, but no kernel writes it there",
                  source_of(c));
      in_concat_[v] = {c, columns ? 0 : part.start * size_of(type_of(v).dtype)};
    }
  }

  int concat_buffer(ConcatOp c) {
    auto [it, fresh] = concats_.try_emplace(c, -1);
    if (fresh)
      it->second = buffer("t" + std::to_string(next_++), BufferClass::temporary,
                          type_of(c.getResult()), origin_of(c));
    return it->second;
  }

  BufferRef temporary(mlir::Value v, const std::string& origin) {
    if (auto placed = in_concat_.find(v); placed != in_concat_.end())
      return refs_[v] = {concat_buffer(placed->second.first), placed->second.second};
    BufferRef ref{buffer("t" + std::to_string(next_++), BufferClass::temporary, type_of(v), origin),
                  0};
    refs_[v] = ref;
    return ref;
  }

  void export_op(Operation& op) {
    if (auto o = dyn_cast<InputOp>(op)) {
      refs_[o.getResult()] = {
          buffer(o.getName().str(), BufferClass::input, type_of(o.getResult()), origin_of(o)), 0};
    } else if (auto o = dyn_cast<ParameterOp>(op)) {
      refs_[o.getResult()] = {
          buffer(o.getName().str(), o.getState() ? BufferClass::state : BufferClass::parameter,
                 type_of(o.getResult()), origin_of(o)),
          0};
    } else if (auto o = dyn_cast<ConstantOp>(op)) {
      constant(o);
    } else if (auto o = dyn_cast<ViewOp>(op)) {
      if (o.getKind() != "reshape" && !o.getAlias()) not_planned(op);
      BufferRef ref = refs_.lookup(o.getArg());
      if (o.getAlias() && bytes(o.getResult()) > 0)
        ref.byte_offset += o.getStart()[0] * (bytes(o.getResult()) / o.getType().getShape()[0]);
      refs_[o.getResult()] = ref;
    } else if (auto o = dyn_cast<ConcatOp>(op)) {
      concat(o);
    } else if (auto o = dyn_cast<KernelOp>(op)) {
      kernel(o);
    } else if (auto o = dyn_cast<LibraryOp>(op)) {
      library(o);
    } else if (auto o = dyn_cast<AssignOp>(op)) {
      assigns_.push_back(o);
    } else if (auto o = dyn_cast<GuardOp>(op)) {
      guard(o);
    } else if (auto o = dyn_cast<OutputOp>(op)) {
      output(o);
    } else {
      not_planned(op);
    }
  }

  [[noreturn]] void not_planned(Operation& op) {
    fail_internal("cannot plan " + describe(&op) + ": expected the text of the scheduled stage",
                  source_of(&op));
  }

  void constant(ConstantOp o) {
    TensorType t = type_of(o.getResult());
    int id = buffer("c" + std::to_string(next_++), BufferClass::constant, t, origin_of(o));
    std::string& data = plan_.buffers[id].data;
    data.resize(t.bytes());
    auto dense = mlir::cast<DenseElementsAttr>(o.getValue());
    if (!dense.isSplat() && t.dtype != DType::b8) {  // truth values are packed there
      data.assign(dense.getRawData().begin(), dense.getRawData().end());
      refs_[o.getResult()] = {id, 0};
      return;
    }
    int64_t i = 0;
    if (holds_floats(t.dtype))
      for (APFloat v : dense.getValues<APFloat>())
        store_from_double(data.data(), t.dtype, i++, v.convertToDouble());
    else
      for (APInt v : dense.getValues<APInt>())
        store_from_double(data.data(), t.dtype, i++,
                          t.dtype == DType::b8 || t.dtype == DType::u8
                              ? static_cast<double>(v.getZExtValue())
                              : static_cast<double>(v.getSExtValue()));
    refs_[o.getResult()] = {id, 0};
  }

  PlanStep& step(Operation* op) {
    plan_.steps.emplace_back();
    plan_.steps.back().scope = scope_of(op);
    return plan_.steps.back();
  }

  void copy(BufferRef from, BufferRef to, int64_t n, Operation* op) {
    PlanStep& s = step(op);
    s.call.name = "copy";
    s.call.args = {from, to};
    s.call.attrs = {{"bytes", n}};
    s.bytes = s.unfused_bytes = 2 * n;
    s.makes = {origin_of(op)};
  }

  void guard(GuardOp o) {
    PlanStep& s = step(o);
    s.call.name = "guard";
    s.call.args = {refs_.lookup(o.getValue())};
    s.call.attrs = {{"type", std::string(name_of(type_of(o.getValue()).dtype))}};
  }

  // A named result gets a buffer of its own; a value made by a step is simply renamed.
  void output(OutputOp o) {
    BufferRef from = refs_.lookup(o.getValue());
    PlanBuffer& b = plan_.buffers[from.buffer];
    if (b.cls == BufferClass::temporary && b.type.bytes() == bytes(o.getValue())) {
      b.cls = BufferClass::output;
      b.name = o.getName().str();
      b.type = type_of(o.getValue());
      return;
    }
    BufferRef to{buffer(o.getName().str(), BufferClass::output, type_of(o.getValue()), b.origin),
                 0};
    copy(from, to, bytes(o.getValue()), o);
  }

  int add_kernel(KernelProgram program, KernelOp source = {}) {
    uint64_t h = structural_hash(program);
    for (auto [it, end] = codes_.equal_range(h); it != end; ++it)
      if (structurally_equal(plan_.kernels[it->second], program)) return it->second;
    for (const KernelProgram& k : plan_.kernels)
      if (k.name == program.name) program.name += "_" + std::to_string(plan_.kernels.size());
    plan_.kernels.push_back(std::move(program));
    if (sources_) sources_->push_back(source);
    int id = static_cast<int>(plan_.kernels.size() - 1);
    codes_.emplace(h, id);
    return id;
  }

  static KernelSchedule read_schedule(DictionaryAttr a, KernelProgram& p) {
    KernelSchedule s = p.schedule;
    auto number = [&](StringRef key, int64_t otherwise) {
      auto v = a.getAs<IntegerAttr>(key);
      return v ? v.getInt() : otherwise;
    };
    s.vector = static_cast<int>(number("vector", s.vector));
    s.grain = number("grain", s.grain);
    auto stream = a.getAs<BoolAttr>("stream");
    s.stream = stream && stream.getValue();
    if (auto kind = a.getAs<StringAttr>("kind"); !kind || kind.getValue().str() != name_of(s.kind))
      fail_user("kernel " + p.name + ": its schedule kind does not fit its body; expected \"" +
                std::string(name_of(s.kind)) + "\"");
    return s;
  }

  void kernel(KernelOp k) {
    auto known = ids_.find(k.getNameAttr());
    int id;
    if (known != ids_.end()) {
      id = known->second;
    } else {
      KernelBuild built = build_kernel(region_of(k), k.getName().str());
      if (!built.program || !k.getScheduleAttr())
        fail_internal("kernel " + k.getName().str() +
                          " has no schedule or cannot be compiled: " + built.failure,
                      source_of(k));
      built.program->schedule = read_schedule(k.getScheduleAttr(), *built.program);
      for (Operation& op : k.getBody().front().without_terminator())
        if (!is_free(&op)) built.program->origins.push_back(describe(&op));
      id = add_kernel(std::move(*built.program), k);
      ids_[k.getNameAttr()] = id;
    }
    std::vector<std::string> makes;
    for (mlir::Value v : k.getBody().front().getTerminator()->getOperands())
      makes.push_back(v.getDefiningOp() ? origin_of(v.getDefiningOp()) : origin_of(k));
    int64_t segments = k.getSegments();
    size_t ins = k.getArgs().size() / segments, outs = k.getOuts().size() / segments;
    std::vector<Segment> list;
    ScheduleKind kind = plan_.kernels[id].schedule.kind;
    int64_t traffic = 0;
    Block& body = k.getBody().front();
    for (int64_t s = 0; s < segments; ++s) {
      Segment segment;
      if (kind == ScheduleKind::flat_reduce && segments == 1) segment.n = reduced_length(k);
      for (size_t i = 0; i < ins; ++i) {
        mlir::Value v = k.getArgs()[s * ins + i];
        segment.args.push_back(refs_.lookup(v));
        traffic += segments == 1 ? bytes_read(body.getArgument(i)) : bytes(v);
        if (kind == ScheduleKind::flat_reduce && segments > 1)  // tensors of the reduced length
          segment.n = std::max(segment.n, numel(type_of(v).shape));
      }
      for (size_t i = 0; i < outs; ++i) {
        mlir::Value v = k.getOuts()[s * outs + i];
        segment.args.push_back(temporary(v, makes[i]));
        traffic += bytes(v);
        if (kind == ScheduleKind::flat) segment.n = std::max(segment.n, numel(type_of(v).shape));
      }
      list.push_back(std::move(segment));
    }
    PlanStep& st = step(k);
    st.kernel = id;
    st.segments = std::move(list);
    st.makes = std::move(makes);
    st.bytes = traffic;
    // The same ops one by one: each reads its operands (through views, their sources) and writes
    // its results. Segments scale with their traffic.
    int64_t body_traffic = 0, unfused = 0;
    for (BlockArgument a : body.getArguments()) body_traffic += bytes_read(a);
    for (mlir::Value v : body.getTerminator()->getOperands()) body_traffic += bytes(v);
    for (Operation& op : body.without_terminator()) {
      if (is_free(&op)) continue;
      for (mlir::Value v : op.getOperands()) {
        while (auto view = v.getDefiningOp<ViewOp>()) v = view.getArg();
        if (!v.getDefiningOp() || !is_free(v.getDefiningOp())) unfused += bytes(v);
      }
      for (mlir::Value v : op.getResults()) unfused += bytes(v);
    }
    st.flops = flops_of(k);
    st.unfused_bytes =
        body_traffic ? static_cast<int64_t>(static_cast<double>(unfused) * traffic / body_traffic)
                     : 0;
    st.unfused_bytes = std::max(st.unfused_bytes, st.bytes);
  }

  void library(LibraryOp l) {
    LibraryCall call = call_of(l);
    int64_t traffic = 0;
    for (mlir::Value v : l.getArgs()) traffic += bytes(v);
    for (mlir::Value v : l.getOuts()) traffic += bytes(v);
    SmallVector<BufferRef> in, out;
    for (mlir::Value v : l.getArgs()) in.push_back(refs_.lookup(v));
    if (call.name == "scatter") {
      out.push_back(scatter_target(l));
      call.args = {out[0], in[1], in[2]};
    } else {
      for (mlir::Value v : l.getOuts()) out.push_back(temporary(v, origin_of(l)));
      // What follows the results: cu_seqlens and its like of attention, what an epilogue reads.
      size_t own = call.name == "attention"         ? 3
                   : call.name == "attention_grad"  ? 6
                   : call.name == "paged_attention" ? 5
                   : call.name == "gemm"            ? 2
                                                    : in.size();
      call.args.assign(in.begin(), in.begin() + own);
      call.args.insert(call.args.end(), out.begin(), out.end());
      call.args.insert(call.args.end(), in.begin() + own, in.end());
    }
    if (call.attrs.contains("hook")) hook(call);
    PlanStep& s = step(l);
    s.bytes = s.unfused_bytes = traffic;
    if (call.name == "gemm") {  // each of an epilogue's ops alone reads and writes the matrix
      GemmEpilogue e = epilogue_of(call);
      s.unfused_bytes +=
          (2 * (e.add + e.bias + e.gelu + e.dgelu) + e.bgrad) * bytes(l.getOuts()[0]);
      if (e.bgrada || e.bgradb) s.unfused_bytes += bytes(l.getArgs()[e.bgrada ? 0 : 1]);
    }
    s.makes.assign(out.size(), origin_of(l));
    s.flops = flops_of(l);
    s.call = std::move(call);
  }

  // The kernels of an attention call's hook, and what the call must know of them.
  void hook(LibraryCall& call) {
    int64_t longest = std::max(call.integer("t"), call.integer("s"));
    int64_t block = longest <= 128 ? 32 : 64, lanes = std::min(block, call.integer("t"));
    call.attrs["hook_block"] = block;
    call.attrs["hook_lanes"] = std::max<int64_t>(16, (lanes + 15) / 16 * 16);
    HookKernels kernels = make_hook_kernels(call);
    call.attrs["hook_loads"] = kernels.loads;
    std::vector<int64_t> ids;
    for (KernelProgram& k : kernels.programs) ids.push_back(add_kernel(std::move(k)));
    if (ids.size() > 1) call.attrs["hook_mask"] = ids.front();
    call.attrs["hook_kernel"] = ids.back();
  }

  // The base itself when nothing else needs it, else a copy.
  BufferRef scatter_target(LibraryOp l) {
    mlir::Value base = l.getArgs()[0];
    BufferRef ref = refs_.lookup(base);
    if (base.hasOneUse() && plan_.buffers[ref.buffer].cls == BufferClass::temporary &&
        base.getDefiningOp<KernelOp>()) {
      refs_[l.getOuts()[0]] = ref;
      return ref;
    }
    BufferRef to = temporary(l.getOuts()[0], origin_of(l));
    copy(ref, to, bytes(base), l);
    return to;
  }

  // A strided copy of each part that is not there already.
  void concat(ConcatOp c) {
    BufferRef to{concat_buffer(c), 0};
    refs_[c.getResult()] = to;
    for (auto [i, part] : llvm::enumerate(parts_of(c))) {
      if (llvm::is_contained(c.getPlaced(), static_cast<int64_t>(i))) continue;
      if (part.length > 0 && part.outer > 0) copy_part(c, part, to);
    }
  }

  // [outer, length] into columns of [outer, row].
  void copy_part(ConcatOp c, const Part& part, BufferRef to) {
    DType t = type_of(part.value).dtype;
    KernelProgram p;
    p.name = "concat";
    p.params = {{"part", t, true, false}, {"whole", t, false, true}};
    p.extents = {part.outer, part.length};
    p.row_dims = 1;
    int lanes = 1;
    while (lanes < 16 && lanes < part.length) lanes *= 2;
    p.schedule = {ScheduleKind::rows, lanes, 0, std::max<int64_t>(1, 16384 / part.length)};
    ::fusec::KernelOp load, store;
    load.kind = ::fusec::KernelOp::Kind::load;
    load.type = t;
    load.access = {0, 0, {part.length, 1}};
    store.kind = ::fusec::KernelOp::Kind::store;
    store.type = t;
    store.args = {0};
    store.access = {1, part.start, {part.row, 1}};
    p.ops = {load, store};
    p.origins = {describe(c)};
    int id = add_kernel(std::move(p));
    PlanStep& s = step(c);
    s.kernel = id;
    s.segments = {{{refs_.lookup(part.value), to}, 0}};
    s.bytes = s.unfused_bytes = 2 * bytes(part.value);
    s.makes = {origin_of(c)};
  }

  GraphOp graph_;
  std::vector<KernelOp>* sources_;
  Plan plan_;
  llvm::DenseMap<mlir::Value, BufferRef> refs_;
  llvm::DenseMap<mlir::Value, std::pair<ConcatOp, int64_t>> in_concat_;  // and byte offset
  llvm::DenseMap<Operation*, int> concats_;                              // their buffers
  llvm::DenseMap<StringAttr, int> ids_;
  std::unordered_multimap<uint64_t, int> codes_;
  std::vector<AssignOp> assigns_;
  llvm::DenseMap<Operation*, BufferRef> aside_;
  int next_ = 0;
};

}  // namespace

int64_t reduced_length(KernelOp kernel) {
  for (ReduceOp r : kernel.getBody().front().getOps<ReduceOp>())
    return numel(type_of(r.getArg()).shape);
  return 0;
}

int64_t flops_of(Operation* op) {
  if (auto kernel = dyn_cast<KernelOp>(op)) {
    int64_t flops = 0;
    for (Operation& o : kernel.getBody().front().without_terminator())
      if (!is_free(&o))
        flops += numel(type_of(o.getNumOperands() ? o.getOperand(0) : o.getResult(0)).shape);
    return flops;
  }
  auto library = dyn_cast<LibraryOp>(op);
  if (!library) return 0;
  LibraryCall call = call_of(library);
  if (call.name == "gemm") {
    GemmEpilogue e = epilogue_of(call);
    return call.integer("m") * call.integer("n") * call.integer("batch") *
           (2 * call.integer("k") + e.add + e.bias + e.gelu + e.dgelu);
  }
  if (call.name == "attention" || call.name == "attention_grad")
    return (call.name == "attention" ? 4 : 10) * call.integer("b") * call.integer("t") *
           call.integer("s") * call.integer("h") * call.integer("d") /
           (call.integer("causal") ? 2 : 1);
  if (call.name == "paged_attention")  // at most: with full pages
    return 4 * call.integer("tokens") * call.integer("h") * call.integer("d") *
           call.integer("max_pages") * call.integer("page_size");
  return 0;
}

Plan export_plan(GraphOp graph, std::vector<KernelOp>* sources) {
  return Exporter(graph, sources).run();
}

}  // namespace fusec::ir
