// KernelProgram <-> text. For people first: one op a line, SSA names, loads and stores with their
// index spelled out.
//
//   kernel k07_scale {
//     domain   [8192, 1280] rows 1
//     schedule rows vector 16 grain 4
//     param    x   : bf16 read
//     param    out : f32  write
//     %0 = load x[i0*1280 + i1]      : bf16
//     %1 = cast %0                   : f32
//     %2 = prim.exp %1               : f32
//          store %2, out[i0*1280 + i1] : f32
//     // from "mlp.cpp:12 map.exp"
//   }
//
// A parameter whose name is not a unique word is written @N in loads and stores. Reading checks
// syntax and references (operands are earlier ops, parameters exist); verify() checks the rest.
#include <algorithm>

#include "fusec/base/error.h"
#include "fusec/plan/plan.h"
#include "text_reader.h"

namespace fusec {
namespace plan_text {

namespace {

constexpr const char* kOpForms =
    "an op (load, constant, index, prim.*, cast, reduce.*, store), an origin or \"}\"";

bool is_bare(const std::string& name) { return name_text(name) == name; }

std::string param_ref(const KernelProgram& k, int param) {
  if (param >= 0 && param < static_cast<int>(k.params.size())) {
    const std::string& name = k.params[param].name;
    auto same = [&](const KernelParam& p) { return p.name == name; };
    if (is_bare(name) && std::count_if(k.params.begin(), k.params.end(), same) == 1) return name;
  }
  return "@" + std::to_string(param);
}

// "i0*128 + i1 - 3"; "0" if there is nothing to add.
std::string index_text(const Access& a) {
  std::string out;
  auto term = [&](int64_t value, const std::string& variable) {
    bool negative = value < 0;
    uint64_t magnitude = negative ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
    if (!out.empty()) out += negative ? " - " : " + ";
    else if (negative) out += "-";
    if (variable.empty()) out += std::to_string(magnitude);
    else out += variable + (magnitude == 1 ? "" : "*" + std::to_string(magnitude));
  };
  for (size_t d = 0; d < a.strides.size(); ++d)
    if (a.strides[d] != 0) term(a.strides[d], "i" + std::to_string(d));
  if (a.offset != 0) term(a.offset, "");
  return out.empty() ? "0" : out;
}

std::string op_text(const KernelProgram& k, const KernelOp& op) {
  std::string args;
  for (int a : op.args) args += (args.empty() ? " %" : ", %") + std::to_string(a);
  auto memory = [&] { return param_ref(k, op.access.param) + "[" + index_text(op.access) + "]"; };
  switch (op.kind) {
    case KernelOp::Kind::load: return "load " + memory();
    case KernelOp::Kind::constant: return "constant " + number_text(op.imm);
    case KernelOp::Kind::index: return "index " + index_text(op.access);
    case KernelOp::Kind::prim: return "prim." + std::string(name_of(op.prim)) + args;
    case KernelOp::Kind::cast: return "cast" + args;
    case KernelOp::Kind::reduce:
      return "reduce." + std::string(name_of(op.reduce)) + args +
             (op.over_rows ? " over rows" : "");
    case KernelOp::Kind::store: return "store" + args + ", " + memory();
  }
  return "?";
}

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text;
}

// Reads a sum of terms: [+|-] ( iN [* integer] | integer ).
void read_index(Reader& in, const KernelProgram& k, Access* a) {
  a->strides.assign(k.extents.size(), 0);
  bool first = true;
  for (;; first = false) {
    bool negative = in.accept("-");
    if (!negative && !in.accept("+") && !first) return;
    int64_t* slot = &a->offset;
    uint64_t value = 1;
    if (in.peek() == 'i') {
      std::string variable = in.word("an index");
      std::string digits = variable.substr(1);
      bool plain = !digits.empty() && digits.size() <= 2 &&
                   digits.find_first_not_of("0123456789") == std::string::npos;
      size_t d = plain ? std::stoul(digits) : k.extents.size();
      if (d >= k.extents.size())
        in.fail_meaning("index " + variable + " is outside the domain " + str(k.extents));
      slot = &a->strides[d];
      if (in.accept("*")) value = in.magnitude("a stride");
    } else {
      value = in.magnitude("an index i0, i1, ... or an offset");
    }
    // Unsigned arithmetic: repeated terms of hostile text may wrap, which is defined.
    uint64_t sum = static_cast<uint64_t>(*slot);
    sum += negative ? 0 - value : value;
    *slot = static_cast<int64_t>(sum);
  }
}

void read_memory(Reader& in, const KernelProgram& k, Access* a) {
  if (in.accept("@")) {
    a->param = in.small_integer("a parameter number");
  } else {
    std::string name = in.word("a parameter name or @N");
    for (size_t i = 0; i < k.params.size(); ++i)
      if (k.params[i].name == name) a->param = static_cast<int>(i);
    if (a->param < 0) in.fail_meaning("no parameter is called " + quote(name));
  }
  if (a->param < 0 || a->param >= static_cast<int>(k.params.size()))
    in.fail_meaning("parameter @" + std::to_string(a->param) + " does not exist; there are " +
                    std::to_string(k.params.size()));
  in.expect("[");
  read_index(in, k, a);
  in.expect("]");
}

void read_value(Reader& in, const KernelProgram& k, KernelOp* op) {
  in.expect("%");
  int v = in.small_integer("the number of an earlier value");
  bool known = v >= 0 && v < static_cast<int>(k.ops.size()) &&
               k.ops[v].kind != KernelOp::Kind::store;
  if (!known) in.fail_meaning("%" + std::to_string(v) + " is not an earlier value");
  op->args.push_back(v);
}

template <class E>
E enumerator(Reader& in, const std::string& name, E last, const char* what) {
  for (int i = 0; i <= static_cast<int>(last); ++i)
    if (name_of(static_cast<E>(i)) == name) return static_cast<E>(i);
  in.fail_meaning("unknown " + std::string(what) + " " + quote(name));
}

KernelOp read_op(Reader& in, const KernelProgram& k) {
  KernelOp op;
  std::string word = in.word(kOpForms);
  if (word == "store") {
    op.kind = KernelOp::Kind::store;
    read_value(in, k, &op);
    in.expect(",");
    read_memory(in, k, &op.access);
  } else if (word == "load") {
    op.kind = KernelOp::Kind::load;
    read_memory(in, k, &op.access);
  } else if (word == "constant") {
    op.kind = KernelOp::Kind::constant;
    op.imm = in.number("a number");
  } else if (word == "index") {
    op.kind = KernelOp::Kind::index;
    read_index(in, k, &op.access);
  } else if (word == "cast") {
    op.kind = KernelOp::Kind::cast;
    read_value(in, k, &op);
  } else if (word.starts_with("prim.")) {
    op.kind = KernelOp::Kind::prim;
    op.prim = enumerator(in, word.substr(5), kLastPrim, "primitive");
    do read_value(in, k, &op);
    while (in.accept(","));
  } else if (word.starts_with("reduce.")) {
    op.kind = KernelOp::Kind::reduce;
    op.reduce = enumerator(in, word.substr(7), ReduceKind::min, "reduction");
    read_value(in, k, &op);
    op.over_rows = in.accept_word("over");
    if (op.over_rows) in.expect_word("rows");
  } else {
    in.fail_meaning("found " + quote(word) + ", expected " + kOpForms);
  }
  in.expect(":");
  op.type = in.dtype();
  return op;
}

}  // namespace

std::string print_kernel(const KernelProgram& k, const std::string& indent) {
  const KernelSchedule& s = k.schedule;
  std::string in = indent + "  ";
  std::string out = indent + "kernel " + name_text(k.name) + " {\n";
  out += in + "domain   " + str(k.extents) + " rows " + std::to_string(k.row_dims) +
         (k.walk_dims != 0 ? " walked " + std::to_string(k.walk_dims) : "") + "\n";
  out += in + "schedule " + std::string(name_of(s.kind)) + " vector " + std::to_string(s.vector);
  if (s.chunk != 0) out += " chunk " + std::to_string(s.chunk);
  out += " grain " + std::to_string(s.grain) + (s.stream ? " stream" : "") +
         (s.ragged ? " ragged" : "");
  if (s.block != 0) out += " block " + std::to_string(s.block) + " team " + std::to_string(s.team);
  out += "\n";
  size_t name_width = 0, left_width = 0, body_width = 0;
  for (const KernelParam& p : k.params) name_width = std::max(name_width, name_text(p.name).size());
  for (const KernelParam& p : k.params) {
    out += in + "param    " + padded(name_text(p.name), name_width) + " : " +
           padded(std::string(name_of(p.dtype)), p.read || p.written ? 4 : 0);
    out += std::string(p.read ? " read" : "") + (p.written ? " write" : "") + "\n";
  }
  std::vector<std::string> left, body;
  for (size_t i = 0; i < k.ops.size(); ++i) {
    bool store = k.ops[i].kind == KernelOp::Kind::store;
    left.push_back(store ? "" : "%" + std::to_string(i) + " = ");
    body.push_back(op_text(k, k.ops[i]));
    left_width = std::max(left_width, left.back().size());
    body_width = std::max(body_width, std::min<size_t>(body.back().size(), 60));
  }
  for (size_t i = 0; i < k.ops.size(); ++i)
    out += in + padded(left[i], left_width) + padded(body[i], body_width) + " : " +
           std::string(name_of(k.ops[i].type)) + "\n";
  for (const std::string& origin : k.origins) out += in + "// from " + quote(origin) + "\n";
  return out + indent + "}\n";
}

KernelProgram read_kernel(Reader& in) {
  KernelProgram k;
  in.expect_word("kernel");
  k.name = in.name("the kernel's name");
  in.expect("{");
  in.expect_word("domain");
  k.extents = in.shape();
  in.expect_word("rows");
  k.row_dims = in.small_integer("the number of row dimensions");
  if (k.row_dims < 0 || k.row_dims > static_cast<int>(k.extents.size()))
    in.fail_meaning("rows " + std::to_string(k.row_dims) + " does not fit the domain " +
                    str(k.extents));
  if (in.accept_word("walked")) k.walk_dims = in.small_integer("the number of walked dimensions");
  in.expect_word("schedule");
  k.schedule.kind = enumerator(in, in.word("a schedule (flat, rows, columns, flat_reduce)"),
                               ScheduleKind::flat_reduce, "schedule");
  in.expect_word("vector");
  k.schedule.vector = in.small_integer("the vector width");
  if (in.accept_word("chunk")) k.schedule.chunk = in.integer("elements a unit");
  in.expect_word("grain");
  k.schedule.grain = in.integer("work units a task");
  k.schedule.stream = in.accept_word("stream");
  k.schedule.ragged = in.accept_word("ragged");
  if (in.accept_word("block")) {
    k.schedule.block = static_cast<int>(in.integer("threads a block"));
    in.expect_word("team");
    k.schedule.team = static_cast<int>(in.integer("threads a unit"));
  }
  while (in.accept_word("param")) {
    KernelParam p;
    p.name = in.name("the parameter's name");
    in.expect(":");
    p.dtype = in.dtype();
    p.read = in.accept_word("read");
    p.written = in.accept_word("write");
    k.params.push_back(std::move(p));
  }
  std::string origin;
  while (!in.accept("}")) {
    if (in.accept_origin(&origin)) {
      k.origins.push_back(origin);
      continue;
    }
    int number = -1;
    if (in.accept("%")) {
      number = in.small_integer("the number of this op");
      in.expect("=");
    }
    KernelOp op = read_op(in, k);
    bool store = op.kind == KernelOp::Kind::store;
    int expected = store ? -1 : static_cast<int>(k.ops.size());
    if (number != expected)
      in.fail_meaning(store ? "a store has no value to name"
                            : "found no name or %" + std::to_string(number) + ", expected %" +
                                  std::to_string(expected) + " = ...");
    k.ops.push_back(std::move(op));
  }
  return k;
}

}  // namespace plan_text

std::string print(const KernelProgram& kernel) { return plan_text::print_kernel(kernel, ""); }

KernelProgram parse_kernel(std::string_view text) {
  plan_text::Reader in(text);
  KernelProgram k = plan_text::read_kernel(in);
  if (!in.at_end()) in.fail("the end of the text");
  return k;
}

}  // namespace fusec
