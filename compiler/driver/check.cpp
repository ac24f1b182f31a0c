// check(): the oracle against the unfused and the fused program of one graph; and graphs from text.
#include "fusec/check.h"

#include <cmath>
#include <cstdio>

#include "fusec/inspect.h"
#include "fusec/ir/to_graph.h"
#include "fusec/ops/bounds.h"
#include "stage_text.h"

namespace fusec {
namespace {

constexpr double kMostWork = 3e8;  // element operations of the oracle for one whole graph

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", v);
  return text;
}

bool is_leaf(const Node& n) {
  return n.kind == OpKind::input || n.kind == OpKind::parameter || n.kind == OpKind::state;
}

// Element operations of one evaluation, roughly.
double work_of(const Graph& graph) {
  double total = 0;
  for (const Node& n : graph.nodes()) {
    double results = 0, operands = 0;
    for (const TensorType& t : n.results) results += static_cast<double>(numel(t.shape));
    for (Value v : n.inputs) operands += static_cast<double>(numel(graph.type(v).shape));
    if (n.kind == OpKind::contract || n.kind == OpKind::attention ||
        n.kind == OpKind::attention_grad || n.kind == OpKind::paged_attention)
      operands *= std::max(1.0, std::sqrt(results));
    total += results + operands;
  }
  return total;
}

std::vector<double> read_values(const Executable& exe, const std::string& name) {
  const TensorType& t = exe.type(name);
  std::vector<char> bytes(t.bytes());
  exe.read(name, bytes.data(), bytes.size());
  std::vector<double> out(numel(t.shape));
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = load_as_double(bytes.data(), t.dtype, static_cast<int64_t>(i));
  return out;
}

void write_values(Executable& exe, const std::string& name, const std::vector<double>& values) {
  const TensorType& t = exe.type(name);
  std::vector<char> bytes(t.bytes());
  for (size_t i = 0; i < values.size(); ++i)
    store_from_double(bytes.data(), t.dtype, static_cast<int64_t>(i), values[i]);
  exe.write(name, bytes.data(), bytes.size());
}

Shape index_of(int64_t linear, const Shape& shape) {
  Shape out(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    out[d] = linear % shape[d];
    linear /= shape[d];
  }
  return out;
}

class Checker {
 public:
  Checker(Graph& graph, const std::vector<Output>& outputs, const CheckOptions& options)
      : graph_(graph), outputs_(outputs), options_(options) {}

  CheckReport run() {
    report_.whole = options_.whole && work_of(graph_) <= kMostWork;
    std::vector<Executable> programs;
    try {
      for (bool fuse : {false, true}) {
        CompileOptions compile = options_.compile;
        compile.fuse = fuse;
        compile.validate = options_.kernels;
        if (!fuse) compile.plan_text.clear();  // it is a plan of the fused graph
        programs.push_back(fusec::compile(graph_, outputs_, compile));
      }
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::unsupported) throw;
      report_.refused = e.message();
      return std::move(report_);
    }
    seed(programs);
    for (int step = 0; step < options_.steps && report_.ok(); ++step) {
      for (size_t p = 0; p < programs.size(); ++p)
        if (options_.kernels && (report_.whole || step + 1 == options_.steps))
          take(programs[p].validate(), kModes[p]);
        else
          programs[p].run();
      if (report_.whole) compare_step(programs, step);
    }
    return std::move(report_);
  }

 private:
  static constexpr const char* kModes[] = {"unfused", "fused"};

  void seed(std::vector<Executable>& programs) {
    for (size_t i = 0; i < graph_.nodes().size(); ++i) {
      const Node& n = graph_.nodes()[i];
      if (!is_leaf(n)) continue;
      const std::string& name = n.as<NameAttr>().name;
      std::vector<double> values =
          seeded_values(graph_, {static_cast<int32_t>(i), 0}, options_.seed);
      for (Executable& exe : programs)
        if (exe.plan().find(name) >= 0) write_values(exe, name, values);
      feeds_[name] = exactly(std::move(values));
    }
  }

  void take(ValidateReport r, const std::string& mode) {
    report_.tensors += r.tensors;
    report_.elements += r.elements;
    report_.excluded += r.excluded;
    for (Mismatch& m : r.wrong) {
      m.where = mode + ", " + m.where;
      report_.wrong.push_back(std::move(m));
    }
  }

  void compare_step(std::vector<Executable>& programs, int step) {
    std::vector<Tensor> wanted;
    for (const Output& o : outputs_) wanted.push_back(o.tensor);
    BoundedFeeds assigned;
    std::vector<BoundedData> expected = evaluate_bounded(graph_, feeds_, wanted, &assigned);
    for (size_t p = 0; p < programs.size(); ++p) {
      std::string mode = std::string(kModes[p]) + ", step " + std::to_string(step);
      for (size_t i = 0; i < outputs_.size(); ++i) {
        std::string name = outputs_[i].name.empty() ? "out" + std::to_string(i) : outputs_[i].name;
        judge(programs[p], name, expected[i], mode + ", output " + name, outputs_[i].tensor);
      }
      for (const auto& [name, data] : assigned)
        judge(programs[p], name, data, mode + ", " + name, graph_.find(name));
    }
    for (auto& [name, data] : assigned) feeds_[name] = std::move(data);
  }

  void judge(const Executable& exe, const std::string& name, const BoundedData& expected,
             const std::string& where, const Tensor& tensor) {
    Agreement a = compare(read_values(exe, name), expected);
    ++report_.tensors;
    report_.elements += a.elements;
    report_.excluded += a.excluded;
    if (a.wrong == 0) return;
    const Node& n = graph_.node(tensor.value());
    std::string op(name_of(n.kind));
    if (n.kind == OpKind::map) op += "." + std::string(name_of(n.as<MapAttr>().op));
    if (n.loc.known()) op += " (" + n.loc.str() + ")";
    report_.wrong.push_back({where,
                             {op},
                             index_of(a.first, tensor.shape()),
                             a.got,
                             a.expected,
                             a.allowed,
                             a.wrong,
                             a.elements + a.excluded});
  }

  Graph& graph_;
  const std::vector<Output>& outputs_;
  const CheckOptions& options_;
  BoundedFeeds feeds_;
  CheckReport report_;
};

std::string closing(int64_t tensors, int64_t elements, int64_t excluded) {
  double share = elements + excluded > 0 ? 100.0 * static_cast<double>(excluded) /
                                               static_cast<double>(elements + excluded)
                                         : 0;
  char text[160];
  std::snprintf(text, sizeof text, "%lld tensors, %lld elements compared, %lld (%.3f%%) excluded",
                static_cast<long long>(tensors), static_cast<long long>(elements),
                static_cast<long long>(excluded), share);
  return text;
}

}  // namespace

std::string Mismatch::str() const {
  std::string text = where + ", element " + fusec::str(index) + ": got " + number(got) +
                     ", expected " + number(expected) + " within " + number(allowed) + " (" +
                     std::to_string(wrong) + " of " + std::to_string(elements) + " elements)";
  for (const std::string& op : ops) text += "\n  " + op;
  return text;
}

std::string ValidateReport::str() const {
  std::string text = std::to_string(steps) + " steps, " + closing(tensors, elements, excluded);
  if (sampled) text += ", " + std::to_string(sampled) + " of large calls left out";
  text += ok() ? ": all agree"
               : ": " + std::to_string(wrong.size()) + " wrong, first in\n" + wrong.front().str();
  return text;
}

std::string CheckReport::str() const {
  if (!refused.empty()) return "not compiled: " + refused;
  std::string text = closing(tensors, elements, excluded);
  if (!whole) text += "; kernels only, not whole programs";
  text += ok() ? ": all agree"
               : ": " + std::to_string(wrong.size()) + " wrong, first in\n" + wrong.front().str();
  return text;
}

CheckReport check(Graph& graph, const std::vector<Output>& outputs, const CheckOptions& options) {
  return Checker(graph, outputs, options).run();
}

ReadGraph read_graph(std::string_view text, const std::string& name) {
  if (driver::stage_of_text(text) > Stage::canonical)
    fail_user(name +
              ": expected the text of stage graph or canonical; later stages do not turn "
              "back into a graph");
  auto context = ir::make_context();
  auto module = ir::parse(*context, text, name);
  ir::RecordedModule recorded = ir::to_graph(ir::graph_of(*module));
  ReadGraph out{recorded.name, std::move(recorded.graph), {}};
  for (const ir::NamedValue& o : recorded.outputs)
    out.outputs.emplace_back(o.name, Tensor(out.graph.get(), o.value));
  return out;
}

std::string write_graph(Graph& graph, const std::vector<Output>& outputs, const std::string& name) {
  InspectOptions options;
  options.until = Stage::graph;
  options.texts = {Stage::graph};
  return inspect(graph, outputs, name, options).texts.at(Stage::graph);
}

}  // namespace fusec
