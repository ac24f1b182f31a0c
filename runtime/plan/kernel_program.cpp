// Names, work units, structural identity and the rules of a KernelProgram. The rules are checked
// here once so that no code generator has to guess: a program that passes verify() can be spelled
// by every backend. Refuses (internal Error) whatever the head of kernel_program.h rules out.
#include "fusec/plan/kernel_program.h"

#include <algorithm>
#include <bit>

#include "fusec/base/error.h"
#include "fusec/base/hash.h"

namespace fusec {

namespace {

constexpr std::string_view kPrimNames[] = {
#define FUSEC_PRIM(name, arity, doc) #name,
#include "fusec/plan/scalar.def"
};
constexpr int kPrimArity[] = {
#define FUSEC_PRIM(name, arity, doc) arity,
#include "fusec/plan/scalar.def"
};

static_assert(std::size(kPrimNames) == static_cast<size_t>(kLastPrim) + 1);

bool is_comparison(Prim p) { return p >= Prim::eq && p <= Prim::ge; }
bool is_float_only(Prim p) { return p >= Prim::sqrt && p <= Prim::erf; }

// Loops that a reduction runs over: dimensions [lo, hi).
struct ReducedDims {
  int lo = 0, hi = 0;
  explicit ReducedDims(const KernelProgram& k) {
    int rank = static_cast<int>(k.extents.size());
    switch (k.schedule.kind) {
      case ScheduleKind::flat: break;
      case ScheduleKind::rows: lo = k.row_dims, hi = rank; break;
      case ScheduleKind::columns: lo = k.row_dims, hi = rank - 1; break;
      case ScheduleKind::flat_reduce: lo = 0, hi = 1; break;
    }
  }
};

// Checks one program; `varies_[i]` is the set of dimensions along which value i changes.
class Verifier {
 public:
  explicit Verifier(const KernelProgram& k) : k_(k), reduced_(k) {}

  void run() {
    check_domain();
    bool stored = false;
    for (op_ = 0; op_ < static_cast<int>(k_.ops.size()); ++op_) {
      const KernelOp& op = k_.ops[op_];
      uint64_t varies = 0;
      for (int arg : op.args) {
        need(arg >= 0 && arg < op_, "an operand is an earlier op, found %" + std::to_string(arg));
        need(k_.ops[arg].kind != KernelOp::Kind::store, "a store has no value to use");
        varies |= varies_[arg];
      }
      check_op(op, varies);
      stored |= op.kind == KernelOp::Kind::store;
      varies_.push_back(varies);
      after_.push_back(is_after(op));
    }
    op_ = -1;
    need(stored, "a kernel stores at least one value");
    need((k_.walk_dims > 0) == over_rows_, "rows are walked where a reduction runs over them");
    if (k_.schedule.kind == ScheduleKind::columns || k_.schedule.kind == ScheduleKind::flat_reduce)
      need(reductions_ > 0, "schedule " + std::string(name_of(k_.schedule.kind)) +
                                " has at least one reduction");
  }

 private:
  void need(bool holds, const std::string& rule) const {
    if (holds) return;
    std::string where = op_ < 0 ? "" : ", op %" + std::to_string(op_);
    fail_internal("kernel " + k_.name + where + ": broken rule: " + rule);
  }

  // Whether a value is made of reductions over rows: known when the panel has been walked.
  bool is_after(const KernelOp& op) const {
    return op.over_rows ||
           std::any_of(op.args.begin(), op.args.end(), [&](int arg) { return after_[arg]; });
  }

  uint64_t walked() const {
    uint64_t dims = 0;
    for (int d = k_.row_dims - k_.walk_dims; d < k_.row_dims; ++d) dims |= uint64_t{1} << d;
    return dims;
  }

  void check_blocks(const KernelSchedule& s) const {
    if (s.block == 0 && s.team == 0) return;
    need(s.block >= 32 && s.block <= 1024 && s.block % 32 == 0,
         "block is a multiple of 32 up to 1024, found " + std::to_string(s.block));
    bool whole = s.team == s.block;
    need(whole || (s.team >= 1 && std::has_single_bit(static_cast<unsigned>(s.team)) &&
                   s.block % s.team == 0),
         "team is block or a power of two that divides it, found " + std::to_string(s.team));
    if (s.kind == ScheduleKind::flat) need(s.team == 1, "flat has teams of one thread");
    if (s.kind == ScheduleKind::flat_reduce) need(whole, "flat_reduce has one team a block");
  }

  void check_domain() const {
    const KernelSchedule& s = k_.schedule;
    int rank = static_cast<int>(k_.extents.size());
    need(k_.walk_dims == 0 || s.kind == ScheduleKind::rows, "only rows are walked");
    need(rank >= 1 && rank <= 63, "a domain has 1 to 63 dimensions, found " + std::to_string(rank));
    need(s.vector >= 1 && std::has_single_bit(static_cast<unsigned>(s.vector)),
         "vector is a power of two, found " + std::to_string(s.vector));
    check_blocks(s);
    need(s.grain >= 1, "grain is at least 1, found " + std::to_string(s.grain));
    for (int64_t e : k_.extents) need(e >= 0, "extents are not negative, found " + str(k_.extents));
    switch (s.kind) {
      case ScheduleKind::flat:
        need(rank == 1, "flat has one dimension, found " + str(k_.extents));
        break;
      case ScheduleKind::rows:
        need(k_.row_dims >= 0 && k_.row_dims < rank,
             "rows keeps an inner dimension: row_dims < rank, found " +
                 std::to_string(k_.row_dims));
        need(k_.walk_dims >= 0 && k_.walk_dims <= k_.row_dims,
             "walked dimensions are row dimensions: walk_dims <= row_dims, found " +
                 std::to_string(k_.walk_dims));
        break;
      case ScheduleKind::columns:
        need(k_.row_dims >= 0 && k_.row_dims <= rank - 2,
             "columns has a reduced and a last dimension: row_dims <= rank - 2, found " +
                 std::to_string(k_.row_dims));
        break;
      case ScheduleKind::flat_reduce:
        need(rank == 1, "flat_reduce has one dimension, found " + str(k_.extents));
        need(s.chunk >= 1, "flat_reduce has chunk >= 1, found " + std::to_string(s.chunk));
        break;
    }
  }

  void check_access(const Access& a, uint64_t* varies) const {
    need(a.strides.size() == k_.extents.size(), "an access has one stride a dimension, found " +
                                                    std::to_string(a.strides.size()));
    for (size_t d = 0; d < a.strides.size(); ++d)
      if (a.strides[d] != 0) *varies |= uint64_t{1} << d;
  }

  void check_memory(const KernelOp& op, bool store, uint64_t* varies) const {
    const Access& a = op.access;
    need(a.param >= 0 && a.param < static_cast<int>(k_.params.size()),
         "an access names a parameter, found " + std::to_string(a.param));
    const KernelParam& p = k_.params[a.param];
    need(store ? p.written : p.read, "parameter " + p.name + " is marked " +
                                         (store ? "written" : "read") + " where it is used so");
    need(op.type == p.dtype, "a load or store has its parameter's type " +
                                 std::string(name_of(p.dtype)) + ", found " +
                                 std::string(name_of(op.type)));
    check_access(a, varies);
    bool one_dim = k_.schedule.kind == ScheduleKind::flat ||
                   k_.schedule.kind == ScheduleKind::flat_reduce;
    if (one_dim)
      need(a.strides[0] == 0 || a.strides[0] == 1,
           "flat strides are 0 or 1, found " + std::to_string(a.strides[0]));
  }

  void check_store(const KernelOp& op, uint64_t value_varies) const {
    uint64_t place_varies = 0;
    check_memory(op, true, &place_varies);
    need(k_.ops[op.args[0]].type == op.type, "a stored value has the stored type");
    if (k_.schedule.kind == ScheduleKind::flat_reduce) place_varies = 0;  // one element a unit
    if (is_after(op))
      need((place_varies & walked()) == 0, "a result over rows is stored once a panel");
    if (k_.schedule.kind == ScheduleKind::columns)
      for (int d = reduced_.lo; d < reduced_.hi; ++d)
        need(op.access.strides[d] == 0, "a columns store is constant along reduced dimensions");
    for (size_t d = 0; d < k_.extents.size(); ++d) {
      bool single = k_.extents[d] == 1 && k_.schedule.kind != ScheduleKind::flat &&
                    k_.schedule.kind != ScheduleKind::flat_reduce;
      need(single || !(value_varies >> d & 1) || (place_varies >> d & 1),
           "different values never go to one element (dimension " + std::to_string(d) + ")");
    }
  }

  void check_prim(const KernelOp& op) const {
    size_t arity = kPrimArity[static_cast<int>(op.prim)];
    need(op.args.size() == arity, std::string(name_of(op.prim)) + " takes " +
                                      std::to_string(arity) + " operands, found " +
                                      std::to_string(op.args.size()));
    size_t first = op.prim == Prim::select ? 1 : 0;
    if (first) need(k_.ops[op.args[0]].type == DType::b8, "select's first operand is b8");
    DType t = k_.ops[op.args[first]].type;
    for (size_t i = first; i < arity; ++i)
      need(k_.ops[op.args[i]].type == t, "operands of a prim have one type");
    bool arithmetic = t == DType::f32 || t == DType::f64 || t == DType::i32 || t == DType::i64;
    bool truth = t == DType::b8 && (op.prim == Prim::add || op.prim == Prim::mul);
    need(arithmetic || truth || op.prim == Prim::select,
         std::string(name_of(op.prim)) + " does not run on " + std::string(name_of(t)));
    if (op.prim == Prim::philox) need(t == DType::i64, "philox runs on i64");
    if (is_float_only(op.prim)) need(is_float(t), std::string(name_of(op.prim)) + " is float only");
    need(op.type == (is_comparison(op.prim) ? DType::b8 : t), "a prim's result has its type");
  }

  void check_op(const KernelOp& op, uint64_t& varies) {
    using Kind = KernelOp::Kind;
    auto operands = [&](size_t n) {
      need(op.args.size() == n, "expected " + std::to_string(n) + " operands, found " +
                                    std::to_string(op.args.size()));
    };
    switch (op.kind) {
      case Kind::load:
        operands(0);
        check_memory(op, false, &varies);
        break;
      case Kind::constant: operands(0); break;
      case Kind::index:
        operands(0);
        need(op.access.param == -1, "index has no parameter");
        need(is_integer(op.type), "index has an integer type");
        check_access(op.access, &varies);
        break;
      case Kind::prim: check_prim(op); break;
      case Kind::cast: operands(1); break;
      case Kind::reduce: {
        operands(1);
        ++reductions_;
        need(k_.schedule.kind != ScheduleKind::flat, "flat has no reductions");
        need(!after_[op.args[0]], "no reduction takes a result over rows");
        DType t = k_.ops[op.args[0]].type;
        need(t == op.type && (t == DType::f32 || t == DType::f64 || t == DType::i32 ||
                              t == DType::i64),
             "a reduction runs on f32, f64, i32 or i64 and keeps the type");
        if (op.over_rows) {
          over_rows_ = true;
          varies &= ~walked();
          break;
        }
        for (int d = reduced_.lo; d < reduced_.hi; ++d) varies &= ~(uint64_t{1} << d);
        break;
      }
      case Kind::store:
        operands(1);
        check_store(op, varies);
        break;
    }
    if (is_after(op) && op.kind != Kind::store)
      need((varies & walked()) == 0, "what is made of results over rows is one for a panel");
  }

  const KernelProgram& k_;
  ReducedDims reduced_;
  std::vector<uint64_t> varies_;
  std::vector<char> after_;
  bool over_rows_ = false;
  int op_ = -1;
  int reductions_ = 0;
};

bool same_op(const KernelOp& a, const KernelOp& b) {
  // Bits, not values: 0.0 and -0.0 are different code, and a NaN equals itself.
  return a.kind == b.kind && a.type == b.type && a.prim == b.prim && a.reduce == b.reduce &&
         a.over_rows == b.over_rows &&
         std::bit_cast<uint64_t>(a.imm) == std::bit_cast<uint64_t>(b.imm) && a.args == b.args &&
         a.access == b.access;
}

}  // namespace

std::string_view name_of(Prim p) { return kPrimNames[static_cast<int>(p)]; }

std::string_view name_of(ReduceKind k) {
  switch (k) {
    case ReduceKind::sum: return "sum";
    case ReduceKind::max: return "max";
    case ReduceKind::min: return "min";
  }
  return "?";
}

std::string_view name_of(ScheduleKind k) {
  switch (k) {
    case ScheduleKind::flat: return "flat";
    case ScheduleKind::rows: return "rows";
    case ScheduleKind::columns: return "columns";
    case ScheduleKind::flat_reduce: return "flat_reduce";
  }
  return "?";
}

int64_t KernelProgram::units(int64_t n) const {
  int64_t outer = 1;
  for (int d = 0; d < row_dims - walk_dims; ++d) outer *= extents[d];
  switch (schedule.kind) {
    case ScheduleKind::flat: return n;
    case ScheduleKind::rows: return outer;
    case ScheduleKind::columns:
      return outer * ((extents.back() + schedule.vector - 1) / schedule.vector);
    case ScheduleKind::flat_reduce: return (n + schedule.chunk - 1) / schedule.chunk;
  }
  return 0;
}

int64_t KernelProgram::blocks(int64_t n) const {
  auto ceil = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const KernelSchedule& s = schedule;
  if (s.block == 0) fail_internal("kernel " + name + " has no schedule for blocks of threads");
  int64_t teams = s.block / s.team;
  switch (s.kind) {
    case ScheduleKind::flat: return ceil(n, int64_t{s.block} * s.vector);
    case ScheduleKind::rows: return walk_dims > 0 ? units(n) : ceil(units(n), teams);
    case ScheduleKind::columns: {
      int64_t outer = 1;
      for (int d = 0; d < row_dims; ++d) outer *= extents[d];
      return outer * ceil(ceil(extents.back(), s.vector), teams);
    }
    case ScheduleKind::flat_reduce: return units(n);
  }
  return 0;
}

// The length of these is `n` of the launch, not part of the code.
static bool sized_at_launch(const KernelProgram& k) {
  return k.schedule.kind == ScheduleKind::flat || k.schedule.kind == ScheduleKind::flat_reduce;
}

// Of a kernel sized at launch: an access to nothing has any index, so its code stands for no other.
static bool is_empty(const KernelProgram& k) { return sized_at_launch(k) && k.extents[0] == 0; }

// Calls put(v) with every number that shapes the code; lists follow their length. The bindings name
// all fields, so that a field that is added does not compile here before somebody decides on it.
template <class Put>
static void each_structural_number(const KernelProgram& k, Put put) {
  const auto& [name, origins, params, extents, row_dims, walk_dims, schedule, ops] = k;
  const auto& [kind, vector, chunk, grain, stream, ragged, block, team] = schedule;
  auto list = [&](const auto& values) {
    put(values.size());
    for (auto v : values) put(v);
  };
  put(params.size());
  for (const auto& [label, dtype, read, written] : params) put(dtype), put(read), put(written);
  if (sized_at_launch(k))
    put(extents.size()), put(is_empty(k));
  else
    list(extents);
  put(row_dims), put(walk_dims), put(kind), put(vector), put(chunk), put(grain), put(stream);
  put(ragged);
  put(block), put(team);
  put(ops.size());
  for (const auto& [op, type, prim, reduce, over_rows, imm, args, access] : ops) {
    const auto& [param, offset, strides] = access;
    put(op), put(type), put(prim), put(reduce), put(over_rows), put(std::bit_cast<uint64_t>(imm));
    list(args);
    put(param), put(offset);
    list(strides);
  }
}

uint64_t structural_hash(const KernelProgram& k) {
  uint64_t h = hash_text("kernel");
  each_structural_number(k, [&](auto v) { h = hash_combine(h, static_cast<uint64_t>(v)); });
  return h;
}

std::string structural_text(const KernelProgram& k) {
  std::string out;
  each_structural_number(k, [&](auto v) {
    out += std::to_string(static_cast<int64_t>(v));
    out += ' ';
  });
  return out;
}

bool structurally_equal(const KernelProgram& a, const KernelProgram& b) {
  auto same_param = [](const KernelParam& p, const KernelParam& q) {
    return p.dtype == q.dtype && p.read == q.read && p.written == q.written;
  };
  auto equal = [](const auto& x, const auto& y, auto same) {
    if (x.size() != y.size()) return false;
    for (size_t i = 0; i < x.size(); ++i)
      if (!same(x[i], y[i])) return false;
    return true;
  };
  bool any_extents = sized_at_launch(a) && sized_at_launch(b);
  bool same_extents = any_extents
                          ? a.extents.size() == b.extents.size() && is_empty(a) == is_empty(b)
                          : a.extents == b.extents;
  return same_extents && a.row_dims == b.row_dims && a.walk_dims == b.walk_dims &&
         a.schedule == b.schedule &&
         equal(a.params, b.params, same_param) && equal(a.ops, b.ops, same_op);
}

void verify(const KernelProgram& k) { Verifier(k).run(); }

}  // namespace fusec
