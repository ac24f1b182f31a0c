// Fusion never moves a cast.
//
// Formulation. The IR before fusion (stage canonical: casts are explicit there) and after it (stage
// scheduled) are both DAGs of ops. Expand every kernel into its body and look through views, which
// do no arithmetic. Give each value an expression: its op, the element type of its result, and the
// expressions of its operands; casts are ops like any other. The claim is that every root - each
// output, each assigned value, each guard - has the same expression before and after. Equal
// expressions hold the same casts in the same order on every path from a leaf to a root, between
// the same producers and consumers, whatever the kernels; a cast moved across an op, dropped, added
// or merged into a neighbour changes the expression of all roots behind it. What recompute repeats
// has the expression of the original, so the claim holds with recompute too.
//
// Two ops change their spelling in between and are compared by meaning: a contraction becomes a
// GEMM call (its operands may trade places; with an epilogue it stands for more), attention, gather
// and scatter become calls.
//
// Beside it: what a kernel stores has the element type of the value in the IR, so memory holds no
// other precision than the expressions say (checked on the plan, where a store is typed).
//
// The expressions are read from the text of the stages, with a reader of its own: what is compared
// is what the tool prints and nothing inside the compiler.
#include <algorithm>
#include <cctype>
#include <functional>
#include <set>
#include <sstream>

#include "agree.h"
#include "fusec/inspect.h"

using namespace fusec;
using namespace fusec::test;

namespace {

using Hash = size_t;

Hash mix(Hash a, Hash b) { return a * 0x9e3779b97f4a7c15ULL + (b ^ (a >> 29)) + 1; }
Hash of(const std::string& text) { return std::hash<std::string>()(text); }

// "%12", "%7:2", "%7#1", "%arg3" in the order of the text.
std::vector<std::string> values_in(const std::string& text) {
  std::vector<std::string> out;
  for (size_t i = 0; i < text.size(); ++i)
    if (text[i] == '%') {
      size_t end = i + 1;
      while (end < text.size() && (std::isalnum(text[end]) || text[end] == '#')) ++end;
      out.push_back(text.substr(i, end - i));
    }
  return out;
}

// Element type of the last tensor of a line: "...-> tensor<8x4xbf16>" gives "bf16".
std::string element_of(std::string type) {
  type = type.substr(type.rfind("tensor<") + 7);
  type = type.substr(0, type.find('>'));
  size_t x = type.rfind('x');
  return x == std::string::npos ? type : type.substr(x + 1);
}

// The types after "->" or "to", one a result.
std::vector<std::string> result_types(const std::string& line) {
  size_t arrow = line.rfind(" -> ");
  std::string tail = arrow != std::string::npos ? line.substr(arrow) : line;
  std::vector<std::string> out;
  for (size_t at = tail.find("tensor<"); at != std::string::npos; at = tail.find("tensor<", at + 1))
    out.push_back(element_of(tail.substr(at, tail.find('>', at) + 1 - at)));
  if (arrow == std::string::npos && out.size() > 1) out = {out.back()};  // "A to B"
  return out;
}

class Expressions {
 public:
  std::map<std::string, Hash> roots;
  int casts = 0, kernels = 0;

 private:
  void read(const std::string& line) {
    size_t at = line.find("fusec.");
    if (line.find("^bb0") != std::string::npos) return open_body(line);
    if (at == std::string::npos || line.find("fusec.graph") != std::string::npos) return;
    std::string op = line.substr(at + 6);
    std::string word = op.substr(0, op.find_first_of(" ("));
    std::vector<std::string> made = values_in(line.substr(0, at));
    std::vector<std::string> used = values_in(op);
    if (word == "kernel") {
      ++kernels;
      kernel_results_ = made;
      kernel_args_ = used;
    } else if (word == "yield") {
      close_body(used);
    } else if (word == "assign") {
      roots["assign " + name_[used[0]]] = at_(used[1]);
    } else if (word == "output") {
      roots["output " + op.substr(7, op.find('"', 8) - 6)] = at_(used[0]);
    } else if (word == "guard") {
      roots["guard " + std::to_string(guards_++)] = at_(used[0]);
    } else {
      define(word, op, line, made, used);
    }
  }

  // In a body, its values; else the graph's.
  Hash at_(const std::string& v) const {
    auto it = inner_.find(v);
    if (it != inner_.end()) return it->second;
    auto outer = value_.find(v);
    REQUIRE(outer != value_.end());
    return outer->second;
  }

  void define(std::string word, const std::string& op, const std::string& line,
              const std::vector<std::string>& made, const std::vector<std::string>& used) {
    REQUIRE(!made.empty());
    std::vector<std::string> types = result_types(line);
    Hash h = 0;
    std::vector<Hash> operands;
    for (const std::string& v : used) operands.push_back(at_(v));
    if (word == "view") {
      set(made[0], operands.at(0));
      return;
    }
    if (word == "library") {
      size_t quote = op.find('"');
      word = op.substr(quote + 1, op.find('"', quote + 1) - quote - 1);
      if (word == "gemm") return gemm(line, made[0], operands, types);
    }
    std::string detail = word;
    if (word == "input" || word == "parameter") {
      detail += " " + op.substr(op.find('"'), op.find('"', op.find('"') + 1) - op.find('"') + 1);
      name_[made[0]] = detail;
    }
    if (word == "map" || word == "reduce") detail = op.substr(0, op.find('('));
    if (word == "constant") detail = op;
    if (word == "cast") ++casts;
    if (word == "contract" || detail == "map add" || detail == "map mul")
      std::sort(operands.begin(), operands.end());
    h = of(detail);
    for (Hash o : operands) h = mix(h, o);
    if (types.size() == 1) return set(made[0], mix(h, of(types[0])));
    std::string base = made[0].substr(0, made[0].find(':'));
    for (size_t i = 0; i < types.size(); ++i)
      set(made.size() > 1 ? made.at(i) : base + "#" + std::to_string(i),
          mix(mix(h, i + 1), of(types[i])));
  }

  // A GEMM stands for a contraction and for the ops of its epilogue. Its sums are f32 where there
  // is one, or where its result is: of 16-bit operands that means of their widened values.
  void gemm(const std::string& line, const std::string& made, std::vector<Hash> operands,
            const std::vector<std::string>& types) {
    auto attribute = [&](const std::string& key) {
      size_t at = line.find(key + " = \"");
      if (at == std::string::npos) return std::string();
      at += key.size() + 4;
      return line.substr(at, line.find('"', at) - at);
    };
    auto op = [](const char* name, std::vector<Hash> of_values, const std::string& type) {
      std::sort(of_values.begin(), of_values.end());
      Hash h = of(name);
      for (Hash v : of_values) h = mix(h, v);
      return mix(h, of(type));
    };
    std::string epilogue = attribute("epilogue"), in = attribute("type_a"),
                out = attribute("type_c");
    auto has = [&](const std::string& word) {
      return ("_" + epilogue + "_").find("_" + word + "_") != std::string::npos;
    };
    std::string sums = epilogue.empty() && in == out ? out : "f32";
    auto widened = [&](Hash v, const std::string& from) {
      return from == sums ? v : op("cast", {v}, sums);
    };
    Hash v = op("contract", {widened(operands.at(0), in), widened(operands.at(1), in)}, sums);
    size_t next = 2;
    for (const char* word : {"add", "bias"})
      if (has(word)) v = op("map add", {v, widened(operands.at(next++), out)}, sums);
    if (has("dgelu")) {
      Hash slope = op("map gelu_slope", {widened(operands.at(next++), out)}, sums);
      v = op("map mul", {v, slope}, sums);
    }
    REQUIRE(next == operands.size());
    Hash aux = v;
    if (has("gelu")) v = op("map gelu", {v}, sums);
    auto stored = [&](Hash x) { return out == sums ? x : op("cast", {x}, out); };
    bool beside = has("bgrad") || has("bgrada") || has("bgradb");
    REQUIRE(types.size() == (has("aux") || beside ? 2u : 1u));
    if (types.size() == 1) return set(made, stored(v));
    std::string base = made.substr(0, made.find(':'));
    set(base + "#0", stored(v));
    Hash rows = has("bgrad") ? stored(v) : operands.at(has("bgradb") ? 1 : 0);
    std::string from = has("bgrad") ? out : in;
    Hash total = op("reduce sum", {from == "f32" ? rows : op("cast", {rows}, "f32")}, "f32");
    set(base + "#1", has("aux") ? stored(aux) : out == "f32" ? total : op("cast", {total}, out));
  }

  void set(const std::string& v, Hash h) { (in_body_ ? inner_ : value_)[v] = h; }

  void open_body(const std::string& line) {
    in_body_ = true;
    inner_.clear();
    body_args_.clear();
    std::istringstream parts(line.substr(line.find('(') + 1));
    for (std::string part; std::getline(parts, part, '%');)
      if (part.starts_with("arg")) body_args_.push_back("%" + part.substr(0, part.find(':')));
    bind(0);
  }

  // Arguments of segment `s`: the values that the kernel is called with.
  void bind(size_t s) {
    for (size_t i = 0; i < body_args_.size(); ++i)
      inner_[body_args_[i]] = value_.at(kernel_args_.at(s * body_args_.size() + i));
  }

  // Every segment runs the same body on arguments of its own. The body has been evaluated for the
  // first; a kernel with more is evaluated again from its remembered lines.
  void close_body(const std::vector<std::string>& yields) {
    std::string base =
        kernel_results_.empty() ? "" : kernel_results_[0].substr(0, kernel_results_[0].find(':'));
    size_t segments = body_args_.empty() ? 1 : kernel_args_.size() / body_args_.size();
    std::vector<Hash> results;
    for (size_t s = 0; s < segments; ++s) {
      if (s > 0) {
        inner_.clear();
        bind(s);
        for (const std::string& line : body_lines_) replay(line);
      }
      for (const std::string& y : yields) results.push_back(inner_.at(y));
    }
    in_body_ = false;
    inner_.clear();
    body_lines_.clear();
    if (results.size() == 1) value_[base] = results[0];
    for (size_t i = 0; i < results.size(); ++i) value_[base + "#" + std::to_string(i)] = results[i];
  }

  void replay(const std::string& line) {
    size_t at = line.find("fusec.");
    std::string op = line.substr(at + 6);
    int before = casts;
    define(op.substr(0, op.find_first_of(" (")), op, line, values_in(line.substr(0, at)),
           values_in(op));
    casts = before;
  }

 public:
  // Lines of the open body are kept for further segments.
  static Expressions of_text(const std::string& text) {
    Expressions e;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
      bool body_op = e.in_body_ && line.find("fusec.") != std::string::npos &&
                     line.find("fusec.yield") == std::string::npos;
      if (body_op) e.body_lines_.push_back(line);
      e.read(line);
    }
    return e;
  }

 private:
  Expressions() = default;
  std::map<std::string, Hash> value_, inner_;
  std::map<std::string, std::string> name_;  // of leaves
  std::vector<std::string> kernel_results_, kernel_args_, body_args_, body_lines_;
  bool in_body_ = false;
  int guards_ = 0;
};

// Returns how many casts the canonical form holds.
int check_casts(Graph& g, const std::vector<Output>& outputs, const CompileOptions& options) {
  InspectOptions o;
  o.compile = options;
  o.locations = false;
  o.texts = {Stage::canonical, Stage::scheduled};
  Inspection r = inspect(g, outputs, "graph", o);
  Expressions before = Expressions::of_text(r.texts[Stage::canonical]);
  Expressions after = Expressions::of_text(r.texts[Stage::scheduled]);
  CHECK(before.roots.size() >= outputs.size());
  CHECK(before.roots.size() == after.roots.size());
  CHECK(before.kernels == 0);
  for (const auto& [name, expression] : before.roots) {
    CAPTURE(name);
    REQUIRE(after.roots.count(name));
    CHECK(after.roots.at(name) == expression);
  }
  for (const PlanStep& s : r.plan.steps)
    if (s.kernel >= 0)
      for (const KernelOp& op : r.plan.kernels[s.kernel].ops)
        if (op.kind == KernelOp::Kind::store || op.kind == KernelOp::Kind::load)
          CHECK(op.type == r.plan.kernels[s.kernel].params[op.access.param].dtype);
  return before.casts;
}

}  // namespace

TEST_CASE("the reader tells a moved cast from one that stayed") {
  auto root = [](const std::string& body) {
    return Expressions::of_text("%0 = fusec.input \"x\" : tensor<8xf32>\n" + body +
                                "fusec.output \"y\" %9 : tensor<8xbf16>\n")
        .roots.at("output \"y\"");
  };
  std::string late =
      "%1 = fusec.map exp(%0) : (tensor<8xf32>) -> tensor<8xf32>\n"
      "%9 = fusec.cast %1 : tensor<8xf32> to tensor<8xbf16>\n";
  std::string early =
      "%1 = fusec.cast %0 : tensor<8xf32> to tensor<8xbf16>\n"
      "%9 = fusec.map exp(%1) : (tensor<8xbf16>) -> tensor<8xbf16>\n";
  std::string fused =
      "%9 = fusec.kernel \"k\"(%0) : (tensor<8xf32>) -> tensor<8xbf16> {\n"
      "^bb0(%arg0: tensor<8xf32>):\n"
      "%4 = fusec.map exp(%arg0) : (tensor<8xf32>) -> tensor<8xf32>\n"
      "%5 = fusec.cast %4 : tensor<8xf32> to tensor<8xbf16>\n"
      "fusec.yield %5 : tensor<8xbf16>\n}\n";
  std::string twice =
      "%1 = fusec.map exp(%0) : (tensor<8xf32>) -> tensor<8xf32>\n"
      "%2 = fusec.cast %1 : tensor<8xf32> to tensor<8xbf16>\n"
      "%3 = fusec.cast %2 : tensor<8xbf16> to tensor<8xf32>\n"
      "%9 = fusec.cast %3 : tensor<8xf32> to tensor<8xbf16>\n";
  CHECK(root(late) == root(fused));
  CHECK(root(late) != root(early));
  CHECK(root(late) != root(twice));
}

TEST_CASE("casts of a bf16 training step stay where they are, recompute included") {
  Graph g;
  Tensor x = g.input("x", {2, 16, 32}), w = g.parameter("w", {64, 32}),
         v = g.parameter("v", {32, 64});
  Tensor m = g.state("m", {64, 32});
  Tensor h = reshape(linear(rms_norm(x), w), {2, 16, 4, 16});
  Tensor y = linear(gelu(reshape(attention(h, h, h), {2, 16, 64})), v) + x;
  Tensor loss = sum(square(softmax(y)));
  std::vector<Tensor> d = grad(loss, {w, v});
  Tensor norm = sqrt(sum(square(d[0])) + sum(square(d[1])));
  g.guard(norm);
  g.assign(m, m * 0.9 + d[0] / norm);
  g.assign(w, w - d[0] / norm);
  g.assign(v, v - d[1] / norm);
  for (int64_t budget : {0, 1}) {
    CAPTURE(budget);
    CompileOptions options;
    options.precision = Precision::bf16;
    options.memory_budget = budget;
    CHECK(check_casts(g, {{"loss", loss}}, options) > 10);
    options.fuse = false;
    CHECK(check_casts(g, {{"loss", loss}}, options) > 10);
  }
}

TEST_CASE("casts around products with bias and GELU, which a GEMM takes with it") {
  Graph g;
  Tensor x = g.input("x", {2, 16, 32});
  Tensor wq = g.parameter("wq", {64, 32}), bq = g.parameter("bq", {64});
  Tensor w1 = g.parameter("w1", {128, 64}), b1 = g.parameter("b1", {128});
  Tensor w2 = g.parameter("w2", {32, 128}), b2 = g.parameter("b2", {32});
  Tensor q = reshape(linear(x, wq, bq), {2, 16, 4, 16});
  Tensor a = reshape(attention(q, q, q), {2, 16, 64});
  Tensor y = linear(gelu(linear(a, w1, b1)), w2, b2) + x;
  Tensor loss = sum(square(y));
  std::vector<Tensor> p = {wq, bq, w1, b1, w2, b2};
  std::vector<Tensor> d = grad(loss, p);
  for (size_t i = 0; i < p.size(); ++i) g.assign(p[i], p[i] - d[i] * 0.01);
  for (Precision precision : {Precision::f32, Precision::bf16})
    for (bool gelu_in_gemm : {false, true})
      for (bool fuse : {false, true}) {
        CompileOptions options;
        options.precision = precision;
        options.gelu_in_gemm = gelu_in_gemm;
        options.fuse = fuse;
        check_casts(g, {{"loss", loss}, {"y", y}}, options);
        std::set<std::string> epilogues;
        InspectOptions o;
        o.compile = options;
        for (const PlanStep& s : inspect(g, {{"loss", loss}}, "graph", o).plan.steps)
          if (s.kernel < 0 && s.call.name == "gemm") epilogues.insert(epilogue_of(s.call).str());
        bool with_gelu = gelu_in_gemm && precision == Precision::bf16;
        std::set<std::string> expected = {"none"};
        if (fuse) expected.insert("bias");
        if (fuse && with_gelu) expected.insert({"bias_gelu_aux", "dgelu_bgrad"});
        CHECK(epilogues == expected);
      }
}

TEST_CASE("casts between mixed types, written by hand") {
  Graph g;
  Tensor x = g.input("x", {24, 40}, bf16), y = g.input("y", {24, 40}),
         i = g.input("i", {24, 40}, i32);
  Tensor a = cast(cast(x, f32) * y, bf16), b = cast(exp(a), f32) + cast(i, f32);
  Tensor c = cast(sum(b, {1}, true), bf16), d = cast(cast(b, f16), f32) * cast(c, f32);
  Tensor e = select(d > cast(i, f32), cast(tanh(d), bf16), x);
  CHECK(check_casts(g, {{"a", a}, {"c", c}, {"d", d}, {"e", e}, {"r", rms_norm(cast(e, f32))}},
                    {}) >= 9);
}

TEST_CASE("casts in random graphs of mixed types") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 engine(seed);
    auto pick = [&](size_t n) { return static_cast<size_t>(engine() % n); };
    Graph g;
    std::vector<Tensor> pool = {g.input("x", {12, 36}), g.input("y", {12, 36}, bf16),
                                g.input("z", {12, 36}, f16)};
    const DType types[] = {f32, bf16, f16};
    for (int n = 0; n < 18; ++n) {
      Tensor a = pool[pick(pool.size())], b = pool[pick(pool.size())];
      switch (pick(6)) {
        case 0: pool.push_back(cast(a, types[pick(3)])); break;
        case 1: pool.push_back(tanh(a)); break;
        case 2: pool.push_back(cast(a, f32) * cast(b, f32)); break;
        case 3: pool.push_back(a + cast(b, a.dtype())); break;
        case 4: pool.push_back(cast(cast(a, f32) - mean(cast(a, f32), {1}, true), bf16)); break;
        default: pool.push_back(transpose(reshape(a, {36, 12}), 0, 1)); break;
      }
    }
    std::vector<Output> outputs;
    for (int n = 0; n < 3; ++n)
      outputs.emplace_back("r" + std::to_string(n), pool[3 + pick(pool.size() - 3)]);
    check_casts(g, outputs, {});
  }
}
