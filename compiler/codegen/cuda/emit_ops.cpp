// One KernelOp -> one C++ statement or expression.
#include <cmath>
#include <cstdio>

#include "emit.h"

namespace fusec::codegen_cuda {

using Kind = KernelOp::Kind;

const char* Emitter::type_name(DType t) {
  switch (t) {
    case DType::f32: case DType::bf16: case DType::f16: case DType::f8e4m3: return "float";
    case DType::f64: return "double";
    case DType::i64: return "long long";
    case DType::i32: return "int";
    case DType::u8: return "unsigned char";
    case DType::b8: return "bool";
  }
  return "";
}

std::string Emitter::literal(DType type, double v) {
  if (type == DType::b8) return v != 0 ? "true" : "false";
  if (is_integer(type)) {
    auto i = static_cast<int64_t>(v);
    if (type == DType::u8) return std::to_string(static_cast<uint8_t>(i));
    if (type == DType::i32) i = static_cast<int32_t>(i);
    if (i == INT64_MIN) return "(-9223372036854775807ll - 1)";
    if (type == DType::i32 && i == INT32_MIN) return "(-2147483647 - 1)";
    std::string digits = std::to_string(i) + (type == DType::i64 ? "ll" : "");
    return i < 0 ? "(" + digits + ")" : digits;
  }
  const bool f64_type = type == DType::f64;
  if (!f64_type) v = static_cast<float>(v);
  if (type == DType::bf16) v = float_from_bf16(bf16_from_float(static_cast<float>(v)));
  if (type == DType::f16) v = float_from_f16(f16_from_float(static_cast<float>(v)));
  if (type == DType::f8e4m3) v = float_from_f8e4m3(f8e4m3_from_float(static_cast<float>(v)));
  if (std::isnan(v)) return f64_type ? "__longlong_as_double(0x7ff8000000000000ll)"
                                     : "__int_as_float(0x7fc00000)";
  if (std::isinf(v)) {
    std::string inf = f64_type ? "__longlong_as_double(0x7ff0000000000000ll)"
                               : "__int_as_float(0x7f800000)";
    return v < 0 ? "(-" + inf + ")" : inf;
  }
  char digits[40];
  std::snprintf(digits, sizeof digits, f64_type ? "%.17g" : "%.9g", v);
  std::string s = digits;
  if (s.find_first_of(".e") == std::string::npos) s += ".0";
  if (!f64_type) s += "f";
  return s[0] == '-' ? "(" + s + ")" : s;
}

std::string Emitter::comment_of(int id) const {
  const KernelOp& op = k_.ops[id];
  auto place = [&] {
    std::string s = "p" + std::to_string(op.access.param) + "[";
    for (size_t d = 0; d < op.access.strides.size(); ++d)
      if (int64_t v = op.access.strides[d])
        s += (s.back() == '[' ? "" : " + ") + ("i" + std::to_string(d)) +
             (v == 1 ? "" : " * " + std::to_string(v));
    if (op.access.offset != 0 || s.back() == '[')
      s += (s.back() == '[' ? "" : " + ") + std::to_string(op.access.offset);
    return s + "]";
  };
  switch (op.kind) {
    case Kind::load: return "load " + place();
    case Kind::store: return "store " + place();
    case Kind::constant: return "constant";
    case Kind::index: return "index";
    case Kind::prim: return std::string(name_of(op.prim));
    case Kind::cast: return "as " + std::string(name_of(op.type));
    case Kind::reduce: return std::string(name_of(op.reduce));
  }
  return "";
}

std::string Emitter::eval(int id, Point& p) {
  const KernelOp& op = k_.ops[id];
  if (op.kind == Kind::constant) return literal(op.type, op.imm);
  for (const Scope* s = p.scope; s; s = s->parent)
    if (auto it = s->names.find(id); it != s->names.end()) {
      const bool lanes = it->second.back() == '[';  // an array of lanes: a reduction of columns
      return lanes ? it->second + p.lane + "]" : it->second;
    }
  const std::string number = std::to_string(id);
  const bool kept = p.pass >= 0 && !keep_.values.empty() && keep_.values[id];
  const std::string slot = "k" + number + "[" + p.turn + "][" + p.lane + "]";
  if (kept && p.pass > keep_.first_pass[id]) return slot;
  if (op.kind == Kind::cast && a_.ops[id].rounded_by_store) return eval(op.args[0], p);
  const std::string value = expression(id, p), name = "v" + number;
  out_.line(std::string("const ") + type_name(op.type) + " " + name + " = " + value + ";",
            comment_of(id));
  if (kept) out_.line(slot + " = " + name + ";");
  p.scope->names[id] = name;
  return name;
}

std::string Emitter::expression(int id, Point& p) {
  const KernelOp& op = k_.ops[id];
  const std::string what = "op " + std::to_string(id);
  std::vector<std::string> args;
  for (int arg : op.args)
    if (op.kind == Kind::prim || op.kind == Kind::cast) args.push_back(eval(arg, p));
  switch (op.kind) {
    case Kind::load:
      if (auto it = p.words.find(id); it != p.words.end())
        return use(std::string(name_of(op.type)) + "_at") + "(" + it->second + ", " + p.lane + ")";
      if (a_.ops[id].varies) fail_kernel(k_, what + ": lanes are used before they are loaded");
      return scalar_load(id, p);
    case Kind::index: return index_value(id, p);
    case Kind::prim: return prim(op, k_.ops[op.args.back()].type, args);
    case Kind::cast: return cast(id, args[0]);
    case Kind::reduce: fail_kernel(k_, what + ": a reduction is used before its loop ends");
    case Kind::store: fail_kernel(k_, what + ": a store has no value");
    case Kind::constant: break;
  }
  return "";
}

std::string Emitter::index_value(int id, Point& p) {
  const KernelOp& op = k_.ops[id];
  const bool wide = a_.ops[id].wide;
  std::string sum;
  auto add = [&](const std::string& term) { sum += (sum.empty() ? "" : " + ") + term; };
  for (size_t d = 0; d < op.access.strides.size(); ++d) {
    const int64_t stride = op.access.strides[d];
    if (stride == 0) continue;
    const bool lanes = d + 1 == op.access.strides.size() && !p.lane.empty() && p.lane != "0";
    std::string i = p.index[d];
    if (i == "0") i = lanes ? p.lane : "";
    else if (lanes) i = "(" + i + " + " + p.lane + ")";
    if (i.empty()) continue;
    add((wide ? "(long long)" : "") + i + (stride == 1 ? "" : " * " + num(stride)));
  }
  if (op.access.offset != 0 || sum.empty()) add(num(op.access.offset));
  return "(" + std::string(type_name(op.type)) + ")(" + sum + ")";
}

std::string Emitter::neutral(const KernelOp& op) const {
  if (op.reduce == ReduceKind::sum) return literal(op.type, 0);
  const double inf = op.reduce == ReduceKind::max ? -INFINITY : INFINITY;
  if (is_float(op.type)) return literal(op.type, inf);
  const bool low = op.reduce == ReduceKind::max;
  if (op.type == DType::i32) return low ? "(-2147483647 - 1)" : "2147483647";
  return low ? "(-9223372036854775807ll - 1)" : "9223372036854775807ll";
}

std::string Emitter::joined(const KernelOp& op, const std::string& a, const std::string& b) {
  if (op.reduce == ReduceKind::sum) return a + " + " + b;
  KernelOp same{.kind = Kind::prim, .type = op.type};
  same.prim = op.reduce == ReduceKind::max ? Prim::max : Prim::min;
  return prim(same, op.type, {a, b});
}

std::string Emitter::functor(const KernelOp& op) {
  return use(op.reduce == ReduceKind::sum ? "Sum" : op.reduce == ReduceKind::max ? "Max" : "Min");
}

std::string Emitter::prim(const KernelOp& op, DType t, const std::vector<std::string>& x) {
  const std::string& a = x[0];
  const std::string b = x.size() > 1 ? x[1] : "";
  const bool real = is_float(t), truth = t == DType::b8, f64_type = t == DType::f64;
  auto refuse = [&] {
    fail_kernel(k_, std::string(name_of(op.prim)) + " on " + std::string(name_of(t)));
  };
  if (op.prim != Prim::select && (t == DType::u8 || (truth && op.prim != Prim::add &&
      op.prim != Prim::mul && (op.prim < Prim::eq || op.prim > Prim::ge)))) refuse();
  // Integers wrap.
  auto arithmetic = [&](const char* sign) {
    if (real) return a + sign + b;
    const std::string u = t == DType::i64 ? "(unsigned long long)" : "(unsigned)";
    return "(" + std::string(type_name(t)) + ")(" + u + a + sign + u + b + ")";
  };
  auto function = [&](const char* f32_name, const char* f64_name) {
    if (!real) refuse();
    return std::string(f64_type ? f64_name : f32_name) + "(" + a + (b.empty() ? "" : ", " + b) +
           ")";
  };
  auto extreme = [&](const std::string& name) {
    use(real ? name + (f64_type ? "_nan_f64" : "_nan") : name + "_int");
    return name + (real ? "_nan" : "_int") + "(" + a + ", " + b + ")";
  };
  auto negative = [&] {
    if (t == DType::i32) return use("negated") + "(" + a + ")";
    return "(" + std::string(type_name(t)) + ")(0ull - (unsigned long long)" + a + ")";
  };
  switch (op.prim) {
    case Prim::add: return truth ? "(" + a + " || " + b + ")" : arithmetic(" + ");
    case Prim::sub: return arithmetic(" - ");
    case Prim::mul: return truth ? "(" + a + " && " + b + ")" : arithmetic(" * ");
    case Prim::div: {
      if (f64_type) return a + " / " + b;
      if (!real) return use("divide_int") + "(" + a + ", " + b + ")";
      const bool large = a_.ops[op.args[1]].at_least >= 1e-30;
      return use(large ? "divide_large" : "divide") + "(" + a + ", " + b + ")";
    }
    case Prim::neg: return real ? "-" + a : negative();
    case Prim::abs:
      if (real) return function("fabsf", "fabs");
      return "(" + a + " < 0 ? " + negative() + " : " + a + ")";
    case Prim::min: return extreme("min");
    case Prim::max: return extreme("max");
    case Prim::sqrt:
      if (!real) refuse();
      return f64_type ? "sqrt(" + a + ")" : use("root") + "(" + a + ")";
    case Prim::exp: return function("expf", "exp");
    case Prim::exp2: return function("exp2f", "exp2");
    case Prim::log: return function("logf", "log");
    case Prim::log1p: return function("log1pf", "log1p");
    case Prim::pow: return function("powf", "pow");
    case Prim::floor: return function("floorf", "floor");
    case Prim::round: return function("rintf", "rint");
    case Prim::sin: return function("sinf", "sin");
    case Prim::cos: return function("cosf", "cos");
    case Prim::tanh: return function(f64_type ? "" : use("tanh_f32").c_str(), "tanh");
    case Prim::erf: return function("erff", "erf");
    case Prim::eq: return a + " == " + b;
    case Prim::ne: return a + " != " + b;
    case Prim::lt: return a + " < " + b;
    case Prim::le: return a + " <= " + b;
    case Prim::gt: return a + " > " + b;
    case Prim::ge: return a + " >= " + b;
    case Prim::select: return a + " ? " + b + " : " + x[2];
    case Prim::philox:
      if (t != DType::i64) refuse();
      return use("philox_word") + "(" + a + ", " + b + ")";
  }
  return "";
}

std::string Emitter::cast(int id, const std::string& a) {
  const DType to = k_.ops[id].type, from = k_.ops[k_.ops[id].args[0]].type;
  const DType source = compute_type(from);
  const std::string plain = "(" + std::string(type_name(to)) + ")" + a;
  if (is_narrow_float(to)) {
    const std::string wide = source == DType::f32 ? a : "(float)" + a;
    if (from == to) return wide;
    return use("round_" + std::string(name_of(to))) + "(" + wide + ")";
  }
  if (source == to) return a;
  if (to == DType::b8) return a + " != " + literal(source, 0);
  if (!is_float(source) || is_float(to)) return plain;
  if (to == DType::i64) return use("to_i64") + "(" + a + ")";
  const std::string whole = use("to_i32") + "(" + a + ")";
  return to == DType::u8 ? "(unsigned char)" + whole : whole;
}

}  // namespace fusec::codegen_cuda
