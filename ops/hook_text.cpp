// The text of a hook and back. A user Error tells what can not be read, and its place in the text.
#include "fusec/ops/hook.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <optional>

namespace fusec {
namespace {

constexpr const char* kAxisNames[kHookAxes] = {"batch", "head", "query", "key"};

std::string number_text(double v) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", v);
  return text;
}

}  // namespace

std::string hook_index_text(const HookIndex& index) {
  std::string out;
  auto term = [&](int64_t factor, const std::string& name) {
    if (factor == 0) return;
    out += factor < 0 ? "-" : out.empty() ? "" : "+";
    int64_t size = factor < 0 ? -factor : factor;
    if (name.empty() || size != 1) out += std::to_string(size) + (name.empty() ? "" : "*");
    out += name;
  };
  for (size_t a = 0; a < kHookAxes; ++a) term(index.factor[a], kAxisNames[a]);
  term(index.offset, "");
  return out.empty() ? "0" : out;
}

namespace {

class Printer {
 public:
  explicit Printer(const Hook& hook) : hook_(hook), names_(hook.graph->nodes().size()) {}

  std::string run() {
    value(hook_.score);
    if (hook_.has_mask()) value(hook_.mask);
    text_ += "score(" + names_[hook_.score.node] + ")";
    if (hook_.has_mask()) text_ += "; mask(" + names_[hook_.mask.node] + ")";
    return std::move(text_);
  }

 private:
  void value(Value v) {
    if (!names_[v.node].empty()) return;
    const Node& n = hook_.graph->nodes()[v.node];
    std::string type(name_of(n.results[0].dtype)), op;
    for (Value in : n.inputs) value(in);
    if (n.kind == OpKind::constant) {
      op = "constant(" + number_text(n.as<ConstantAttr>().splat) + ", " + type + ")";
    } else if (n.kind == OpKind::cast) {
      const auto& attr = n.as<CastAttr>();
      op = attr.stop ? "stop(" : "cast(";
      op += names_[n.inputs[0].node] + ", " + type + ")";
    } else if (n.kind == OpKind::map) {
      for (Value in : n.inputs) op += (op.empty() ? "" : ", ") + names_[in.node];
      op = std::string(name_of(n.as<MapAttr>().op)) + "(" + op + ")";
    } else {
      op = input(v);
    }
    names_[v.node] = "a" + std::to_string(next_++);
    text_ += names_[v.node] + " = " + op + "; ";
  }

  std::string input(Value v) const {
    if (v == hook_.given) return "score";
    for (size_t a = 0; a < kHookAxes; ++a)
      if (v == hook_.position[a]) return kAxisNames[a];
    for (const HookLoad& l : hook_.loads) {
      if (l.value != v) continue;
      std::string at;
      for (const HookIndex& i : l.index) at += (at.empty() ? "" : ", ") + hook_index_text(i);
      return "load " + std::to_string(l.captured) + " " +
             std::string(name_of(hook_.graph->type(v).dtype)) + " [" + at + "]";
    }
    fail_internal("a hook has an input of unknown meaning");
  }

  const Hook& hook_;
  std::vector<std::string> names_;
  std::string text_;
  int next_ = 0;
};

class Reader {
 public:
  explicit Reader(std::string_view text) : whole_(text), rest_(text) {}

  Hook run() {
    while (true) {
      std::string name = word();
      if (name == "score" || name == "mask") {
        expect('(');
        (name == "score" ? hook_.score : hook_.mask) = value();
        expect(')');
        if (!accept(';')) break;
        continue;
      }
      expect('=');
      if (values_.contains(name)) fail("a name that is new, found " + name + " again");
      values_[name] = definition();
      expect(';');
    }
    if (!rest_.empty()) fail("the end");
    if (hook_.graph->type(hook_.score) != TensorType{{}, DType::f32}) fail("a score of f32[]");
    if (hook_.has_mask() && hook_.graph->type(hook_.mask) != TensorType{{}, DType::b8})
      fail("a mask of b8[]");
    return std::move(hook_);
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    fail_user("attention hook: expected " + expected + " at character " +
              std::to_string(whole_.size() - rest_.size()) + " of \"" + std::string(whole_) + "\"");
  }
  void skip() {
    while (!rest_.empty() && rest_[0] == ' ') rest_.remove_prefix(1);
  }
  bool accept(char c) {
    skip();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    skip();
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(std::string("'") + c + "'");
  }
  static bool in_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  }
  std::string word() {
    skip();
    size_t n = 0;
    while (n < rest_.size() && in_word(rest_[n])) ++n;
    if (n == 0) fail("a word");
    std::string out(rest_.substr(0, n));
    rest_.remove_prefix(n);
    skip();
    return out;
  }
  int64_t integer() {
    skip();
    int64_t v = 0;
    auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), v);
    constexpr int64_t kMost = int64_t{1} << 40;
    if (error != std::errc() || v < -kMost || v > kMost) fail("an integer");
    rest_.remove_prefix(end - rest_.data());
    skip();
    return v;
  }
  double number() {
    double v = 0;
    auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), v);
    if (error != std::errc()) fail("a number");
    rest_.remove_prefix(end - rest_.data());
    return v;
  }
  DType dtype() {
    std::string name = word();
    std::optional<DType> t = parse_dtype(name);
    if (!t) fail("an element type, found " + name);
    return *t;
  }
  Value value() {
    std::string name = word();
    auto it = values_.find(name);
    if (it == values_.end()) fail("a value of before, found " + name);
    return it->second;
  }

  Value definition() {
    std::string op = word();
    if (op == "score") return hook_.given;
    for (size_t a = 0; a < kHookAxes; ++a)
      if (op == kAxisNames[a]) return hook_.position[a];
    if (op == "load") return load();
    expect('(');
    Value out;
    if (op == "constant") {
      double v = number();
      expect(',');
      out = hook_.graph->splat(v, {}, dtype(), {}).value();
    } else if (op == "cast" || op == "stop") {
      Value from = value();
      expect(',');
      out = hook_.graph->append(OpKind::cast, CastAttr{dtype(), op == "stop"}, {from}, {}).value();
    } else {
      out = map(op);
    }
    expect(')');
    return out;
  }

  Value map(const std::string& op) {
    static const std::map<std::string, Pointwise> table = {
#define FUSEC_POINTWISE(name, ...) {#name, Pointwise::name},
#include "fusec/ops/pointwise.def"
    };
    auto it = table.find(op);
    if (it == table.end()) fail("a pointwise op, found " + op);
    std::vector<Value> in = {value()};
    while (accept(',')) in.push_back(value());
    return hook_.graph->append(OpKind::map, MapAttr{it->second}, std::move(in), {}).value();
  }

  Value load() {
    HookLoad l;
    int64_t n = integer();
    if (n < 0 || n > 1000) fail("the number of a captured tensor");
    l.captured = static_cast<int>(n);
    DType type = dtype();
    expect('[');
    if (!accept(']')) {
      do l.index.push_back(index());
      while (accept(','));
      expect(']');
    }
    std::string name = "load" + std::to_string(hook_.loads.size());
    l.value = hook_.graph->append_leaf(OpKind::input, NameAttr{name}, {{}, type}, {}).value();
    hook_.loads.push_back(l);
    return l.value;
  }

  HookIndex index() {
    HookIndex out;
    do {
      int64_t factor = accept('-') ? -1 : 1;
      skip();
      if (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9') {
        factor *= integer();
        if (!accept('*')) {
          out.offset += factor;
          continue;
        }
      }
      std::string name = word();
      auto at = std::find(std::begin(kAxisNames), std::end(kAxisNames), name);
      if (at == std::end(kAxisNames)) fail("batch, head, query or key, found " + name);
      out.factor[at - std::begin(kAxisNames)] += factor;
    } while (accept('+') || (!rest_.empty() && rest_[0] == '-'));
    return out;
  }

  std::string_view whole_, rest_;
  Hook hook_ = empty_hook();
  std::map<std::string, Value> values_;
};

}  // namespace

Hook empty_hook() {
  Hook hook;
  auto input = [&](const char* name, DType type) {
    return hook.graph->append_leaf(OpKind::input, NameAttr{name}, {{}, type}, {}).value();
  };
  hook.given = hook.score = input("score", DType::f32);
  for (size_t a = 0; a < kHookAxes; ++a) hook.position[a] = input(kAxisNames[a], DType::i32);
  return hook;
}

std::string print(const Hook& hook) { return Printer(hook).run(); }

Hook read_hook(std::string_view text) { return Reader(text).run(); }

}  // namespace fusec
