// Interprets a KernelProgram op by op, each over all points of the domain.
#include "reference.h"

#include <cmath>
#include <cstddef>
#include <limits>

#include "fusec/base/dtype.h"
#include "fusec/base/philox.h"

namespace fusec::test {
namespace {

using Kind = KernelOp::Kind;

double rounded(double v, DType t) {
  switch (t) {
    case DType::f64: return v;
    case DType::f32: return static_cast<float>(v);
    case DType::bf16: return float_from_bf16(bf16_from_float(static_cast<float>(v)));
    case DType::f16: return float_from_f16(f16_from_float(static_cast<float>(v)));
    case DType::i64: return std::trunc(v);
    case DType::i32: return static_cast<int32_t>(static_cast<int64_t>(std::trunc(v)));
    case DType::u8: return static_cast<uint8_t>(static_cast<int64_t>(std::trunc(v)));
    case DType::b8: return v != 0;
    case DType::f8e4m3:
      return float_from_f8e4m3(f8e4m3_from_float(static_cast<float>(v)));
  }
  return v;
}

double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }
double smaller(double a, double b) { return std::isnan(a) || a < b ? a : b; }

double apply(Prim p, DType t, const double* x) {
  const double a = x[0], b = x[1];
  switch (p) {
    case Prim::add: return t == DType::b8 ? (a != 0 || b != 0) : a + b;
    case Prim::sub: return a - b;
    case Prim::mul: return a * b;
    case Prim::div: return is_integer(t) ? std::trunc(a / b) : a / b;
    case Prim::neg: return -a;
    case Prim::abs: return std::fabs(a);
    case Prim::min: return smaller(a, b);
    case Prim::max: return larger(a, b);
    case Prim::sqrt: return std::sqrt(a);
    case Prim::exp: return std::exp(a);
    case Prim::exp2: return std::exp2(a);
    case Prim::log: return std::log(a);
    case Prim::log1p: return std::log1p(a);
    case Prim::pow: return std::pow(a, b);
    case Prim::floor: return std::floor(a);
    case Prim::round: return std::nearbyint(a);
    case Prim::sin: return std::sin(a);
    case Prim::cos: return std::cos(a);
    case Prim::tanh: return std::tanh(a);
    case Prim::erf: return std::erf(a);
    case Prim::eq: return a == b;
    case Prim::ne: return a != b;
    case Prim::lt: return a < b;
    case Prim::le: return a <= b;
    case Prim::gt: return a > b;
    case Prim::ge: return a >= b;
    case Prim::select: return a != 0 ? b : x[2];
    case Prim::philox:
      return static_cast<double>(philox_word(static_cast<int64_t>(a), static_cast<int64_t>(b)));
  }
  return 0;
}

class Interpreter {
 public:
  Interpreter(const KernelProgram& k, const std::vector<void*>& args, int64_t n)
      : k_(k), args_(args), extents_(k.extents) {
    if (one_dim()) extents_ = {n};
    total_ = numel(extents_);
  }

  void run() {
    for (const KernelOp& op : k_.ops) values_.push_back(evaluate(op));
    for (size_t i = 0; i < k_.ops.size(); ++i) {
      if (k_.ops[i].kind == Kind::store) write(k_.ops[i]);
    }
  }

 private:
  bool one_dim() const {
    return k_.schedule.kind == ScheduleKind::flat || k_.schedule.kind == ScheduleKind::flat_reduce;
  }

  int64_t address(const Access& a, int64_t point) const {
    int64_t at = a.offset;
    for (size_t d = extents_.size(); d-- > 0;) {
      at += a.strides[d] * (point % extents_[d]);
      point /= extents_[d];
    }
    return at;
  }

  // Number of the reduction that a point belongs to.
  int64_t group(int64_t point, bool over_rows) const {
    if (over_rows) {  // the point with its walked coordinates at 0
      int64_t place = 0, size = 1, rest = point;
      for (int d = static_cast<int>(extents_.size()) - 1; d >= 0; --d) {
        const bool walked = d < k_.row_dims && d >= k_.row_dims - k_.walk_dims;
        if (!walked) place += rest % extents_[d] * size;
        rest /= extents_[d];
        size *= extents_[d];
      }
      return place;
    }
    int64_t inner = 1;
    for (size_t d = k_.row_dims; d < extents_.size(); ++d) inner *= extents_[d];
    switch (k_.schedule.kind) {
      case ScheduleKind::rows: return point / inner;
      case ScheduleKind::columns: return point / inner * extents_.back() + point % extents_.back();
      case ScheduleKind::flat_reduce: return point / k_.schedule.chunk;
      case ScheduleKind::flat: break;
    }
    return 0;
  }

  std::vector<double> evaluate(const KernelOp& op) const {
    std::vector<double> v(total_);
    if (op.kind == Kind::reduce) return reduce(op);
    for (int64_t i = 0; i < total_; ++i) {
      switch (op.kind) {
        case Kind::load:
          v[i] = load_as_double(args_[op.access.param], op.type, address(op.access, i));
          break;
        case Kind::constant: v[i] = rounded(op.imm, op.type); break;
        case Kind::index:
          v[i] = rounded(static_cast<double>(address(op.access, i)), op.type);
          break;
        case Kind::prim: {
          double x[3] = {};
          for (size_t a = 0; a < op.args.size(); ++a) x[a] = values_[op.args[a]][i];
          v[i] = apply(op.prim, k_.ops[op.args.back()].type, x);
          break;
        }
        case Kind::cast: v[i] = rounded(values_[op.args[0]][i], op.type); break;
        case Kind::reduce: case Kind::store: break;
      }
    }
    return v;
  }

  std::vector<double> reduce(const KernelOp& op) const {
    constexpr double inf = std::numeric_limits<double>::infinity();
    double neutral = op.reduce == ReduceKind::sum ? 0 : op.reduce == ReduceKind::max ? -inf : inf;
    std::vector<double> groups(total_ == 0 ? 0 : total_, neutral), v(total_);
    for (int64_t i = 0; i < total_; ++i) {
      double& g = groups[group(i, op.over_rows)];
      double x = values_[op.args[0]][i];
      g = op.reduce == ReduceKind::sum ? g + x : op.reduce == ReduceKind::max ? larger(g, x)
                                                                              : smaller(g, x);
    }
    for (int64_t i = 0; i < total_; ++i) v[i] = groups[group(i, op.over_rows)];
    return v;
  }

  void write(const KernelOp& op) const {
    for (int64_t i = 0; i < total_; ++i) {
      int64_t at = k_.schedule.kind == ScheduleKind::flat_reduce
                       ? op.access.offset + i / k_.schedule.chunk
                       : address(op.access, i);
      store_from_double(args_[op.access.param], op.type, at, values_[op.args[0]][i]);
    }
  }

  const KernelProgram& k_;
  const std::vector<void*>& args_;
  std::vector<int64_t> extents_;
  int64_t total_ = 0;
  std::vector<std::vector<double>> values_;
};

}  // namespace

void run_reference(const KernelProgram& kernel, const std::vector<void*>& args, int64_t n) {
  Interpreter(kernel, args, n).run();
}

}  // namespace fusec::test
