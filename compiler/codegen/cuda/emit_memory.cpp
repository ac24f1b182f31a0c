// Addresses, loads and stores. The part of an address that belongs to the work unit is added to the
// pointer once; what a thread adds in its loops fits 32 bits unless the tensor is larger.
#include "emit.h"

namespace fusec::codegen_cuda {

using Kind = KernelOp::Kind;

const char* Emitter::storage_name(DType t) {
  switch (t) {
    case DType::f32: return "float";
    case DType::f64: return "double";
    case DType::bf16: case DType::f16: return "unsigned short";
    case DType::i64: return "long long";
    case DType::i32: return "int";
    case DType::u8: case DType::b8: case DType::f8e4m3: return "unsigned char";
  }
  return "";
}

// Sum of the terms of `dims`; empty if there are none.
std::string Emitter::offset(int op, const Point& p, uint64_t dims) const {
  const KernelOp& o = k_.ops[op];
  std::string sum;
  for (size_t d = 0; d < o.access.strides.size(); ++d) {
    const int64_t stride = o.access.strides[d];
    if (stride == 0 || !(dims >> d & 1) || !(a_.ops[op].dims >> d & 1) || p.index[d] == "0")
      continue;
    if (!sum.empty()) sum += " + ";
    sum += (a_.ops[op].wide ? "(long long)" : "") + p.index[d] +
           (stride == 1 ? "" : " * " + num(stride));
  }
  return sum;
}

void Emitter::bind_bases(const Point& unit, uint64_t unit_dims,
                         const std::function<bool(int)>& test) {
  unit_dims_ = unit_dims;
  for (size_t i = 0; i < k_.ops.size(); ++i) {
    const KernelOp& op = k_.ops[i];
    if (!is_memory(op) || !a_.ops[i].live || a_.ops[i].level != Level::inner ||
        !test(static_cast<int>(i)))
      continue;
    std::string terms = offset(static_cast<int>(i), unit, unit_dims);
    if (op.access.offset != 0) terms += (terms.empty() ? "" : " + ") + num(op.access.offset);
    if (terms.empty()) continue;
    const KernelParam& p = k_.params[op.access.param];
    const std::string param = "p" + std::to_string(op.access.param);
    bases_[i] = (op.kind == Kind::load ? "from" : "to") + std::to_string(i);
    out_.line(std::string(op.kind == Kind::load ? "const " : "") + storage_name(p.dtype) + "* " +
              bases_[i] + " = " + param + " + (" + terms + ");");
  }
}

// Pointer to lane 0 of an access.
std::string Emitter::address(int op, const Point& p) const {
  const bool bound = a_.ops[op].level == Level::inner;
  std::string terms = offset(op, p, bound ? ~unit_dims_ : ~uint64_t{0});
  const int64_t start = k_.ops[op].access.offset;
  if (!bound && start != 0) terms += (terms.empty() ? "" : " + ") + num(start);
  return bases_[op] + (terms.empty() ? "" : " + " + terms);
}

std::string Emitter::scalar_bits(int op, const Point& p) const {
  const std::string at = address(op, p);
  return at.find(' ') == std::string::npos ? at + "[0]" : "*(" + at + ")";
}

std::string Emitter::scalar_load(int op, Point& p) { return scalar_value(op, scalar_bits(op, p)); }

std::string Emitter::scalar_value(int op, const std::string& value) {
  switch (k_.ops[op].type) {
    case DType::bf16: return use("from_bf16") + "(" + value + ")";
    case DType::f16: return use("from_f16") + "(" + value + ")";
    case DType::f8e4m3: return use("from_f8e4m3") + "(" + value + ")";
    case DType::b8: return value + " != 0";
    default: return value;
  }
}

void Emitter::declare_words(int load, const std::string& extent) {
  out_.line("unsigned x" + std::to_string(load) + (extent.empty() ? "" : "[" + extent + "]") + "[" +
            std::to_string(words_of(k_.ops[load].type, a_.lanes)) + "];");
}

// Whether an access may leave the caches first: nothing reads its elements again.
bool Emitter::used_once(int op) const {
  if (!k_.schedule.stream || !a_.ops[op].whole) return false;
  return k_.ops[op].kind == Kind::store || pass_reads_ == 1;
}

void Emitter::load_lanes(int load, const std::string& words, const Point& p,
                         const std::string& lane_limit) {
  const KernelOp& op = k_.ops[load];
  const int64_t size = size_of(op.type);
  if (const OpFacts& f = a_.ops[load]; f.piece > 0) {
    out_.line(use("load_strided") + "<" + num(size) + ", " + std::to_string(a_.lanes) + ">(" +
              words + ", tile" + std::to_string(load) + " + " + p.index.back() + " * " +
              num(f.pitch) + " + " + p.index[p.index.size() - 2] + " * " + num(size) + ", " +
              num(f.pitch / size) + ");");
    return;
  }
  const std::string from = address(load, p);
  if (last_stride(op) == 1) {
    out_.line(use("load") + "<" + std::to_string(a_.ops[load].bytes) + ", " +
                  std::to_string(size * a_.lanes) + (used_once(load) ? ", once" : "") + ">(" +
                  words + ", " + from + ");",
              comment_of(load));
  } else {
    out_.line(use("load_strided") + "<" + std::to_string(size) + ", " + std::to_string(a_.lanes) +
                  ">(" + words + ", " + from + ", " + num(last_stride(op)) +
                  (lane_limit.empty() ? "" : ", " + lane_limit) + ");",
              comment_of(load));
  }
}

// lane_limit: number of lanes that exist, where that may be less than all.
void Emitter::write_stores(const Ops& stores, Point& p, const std::string& lane_limit) {
  for (int s : stores) {
    if (!a_.ops[s].varies) {
      write_scalar(s, p);
      continue;
    }
    const KernelOp& op = k_.ops[s];
    const std::string number = std::to_string(s), words = "w" + number, to = address(s, p);
    const int64_t size = size_of(op.type);
    const std::string kind(op.type == DType::b8 ? "u8" : name_of(op.type));
    out_.line("unsigned " + words + "[" + std::to_string(words_of(op.type, a_.lanes)) + "];");
    out_.line(use("pack_" + kind) + "(" + words + ", y" + number + ");");
    const std::string lanes = std::to_string(a_.lanes);
    auto some = [&] {
      return use("store_strided") + "<" + std::to_string(size) + ", " + lanes + ">(" + to + ", " +
             words + ", " + num(last_stride(op)) +
             (lane_limit.empty() ? "" : ", " + lane_limit) + ");";
    };
    if (last_stride(op) != 1) {
      out_.line(some(), comment_of(s));
      continue;
    }
    const std::string all = use("store") + "<" + std::to_string(a_.ops[s].bytes) + ", " +
                            std::to_string(size * a_.lanes) + (used_once(s) ? ", once" : "") +
                            ">(" + to + ", " + words + ");";
    if (lane_limit.empty()) {
      out_.line(all, comment_of(s));
    } else {
      out_.line("if (" + lane_limit + " >= " + lanes + ") " + all, comment_of(s));
      out_.line("else " + some());
    }
  }
}

void Emitter::write_scalar(int store, Point& p) {
  const KernelOp& op = k_.ops[store];
  std::string value = eval(op.args[0], p);
  const std::string at = address(store, p);
  if (is_narrow_float(op.type))
    value = use("to_" + std::string(name_of(op.type))) + "(" + value + ")";
  out_.line((at.find(' ') == std::string::npos ? at + "[0]" : "*(" + at + ")") + " = " + value +
                ";",
            comment_of(store));
}

}  // namespace fusec::codegen_cuda
