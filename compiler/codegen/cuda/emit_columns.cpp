// The `columns` schedule: neighbouring threads take neighbouring units of the last dimension, so
// that a warp reads whole lines of memory; the members of a team take every team-th point of the
// reduced dimensions, and join their lanes through shared memory. Lanes past the last column are
// computed (their loads stay within the padding) and never stored.
#include <algorithm>
#include <bit>

#include "emit.h"

namespace fusec::codegen_cuda {

using Kind = KernelOp::Kind;

namespace {
constexpr int64_t kSharedBytes = 32 << 10;
}  // namespace

void Emitter::columns() {
  const size_t rank = k_.extents.size();
  Scope scope;
  Point unit{.scope = &scope, .index = std::vector<std::string>(rank, "0")};
  column_index(unit);
  bind_bases(unit, ((uint64_t{1} << k_.row_dims) - 1) | uint64_t{1} << (rank - 1));
  hoist(unit, 0);
  if (team() > 1) {
    int64_t bytes = 0;
    for (size_t i = 0; i < k_.ops.size(); ++i)
      if (k_.ops[i].kind == Kind::reduce && a_.ops[i].live)
        bytes = std::max(bytes, std::min<int64_t>(kSharedBytes, size_of(k_.ops[i].type) *
                                                                    a_.lanes * block()));
    out_.line("__shared__ __align__(16) unsigned char shared[" + std::to_string(bytes) + "];");
  }
  for (int pass = 0; pass < a_.stages; ++pass) {
    const Ops reduces = reduces_of(k_, a_, pass);
    accumulators(reduces, "[]");
    column_pass(unit, pass);
    column_join(reduces, pass + 1 < a_.stages, unit);
  }
  column_tail(unit);
}

void Emitter::column_index(Point& unit) {
  const int64_t last = k_.extents.back(), vector = k_.schedule.vector;
  const int64_t units = block() / team();
  const int64_t all = (last + vector - 1) / vector;
  const int64_t blocks = std::max<int64_t>((all + units - 1) / units, 1);
  int64_t outer = 1;
  for (int d = 0; d < k_.row_dims; ++d) outer *= k_.extents[d];
  if (outer >= (int64_t{1} << 31) || a_.steps >= (int64_t{1} << 31) ||
      last + units * vector >= (int64_t{1} << 31))
    index_type_ = "long long";
  const std::string type = "const " + index_type_ + " ", as = "(" + index_type_ + ")";
  const std::string column = "i" + std::to_string(k_.extents.size() - 1);
  const std::string U = std::to_string(units);
  if (team() > 1) {
    out_.line("const int unit = " + (units == 1 ? "0" : "threadIdx.x % " + U) + ";");
    out_.line("const int member = threadIdx.x" + (units == 1 ? "" : " / " + U) + ";");
  } else {
    out_.line("const int unit = threadIdx.x;");
  }
  std::string place =
      blocks == 1 ? "" : block_index() + " % " + std::to_string(blocks) + "u * " + U;
  if (form_ == LaunchForm::table && blocks > 1)
    place = block_index() + " % " + std::to_string(blocks) + " * " + U;
  out_.line(type + column + " = (" + as + (place.empty() ? "" : "(" + place + ") + ") +
            "unit) * " + num(vector) + ";");
  unit.index.back() = column;
  if (all % units != 0)
    out_.line("const bool here = " + column + " < " + num(last) + ";"), partial_rows_ = true;
  if (last % a_.lanes != 0) {
    lane_limit_ = "left";
    out_.line(type + "left = " + num(last) + " - " + column + ";");
  }
  if (k_.row_dims > 0) {
    out_.line(type + "outer = " + as + "(" + block_index() +
              (blocks == 1 ? "" : " / " + std::to_string(blocks)) + ");");
    delinearise("outer", 0, k_.row_dims, unit);
  }
}

Emitter::Ops Emitter::below(const Ops& roots, const std::function<bool(int)>& test) const {
  std::vector<char> seen(k_.ops.size(), 0);
  auto mark = [&](auto& self, int id) -> void {
    if (seen[id] || k_.ops[id].kind == Kind::reduce) return;
    seen[id] = 1;
    for (int arg : k_.ops[id].args) self(self, arg);
  };
  for (int r : roots) mark(mark, k_.ops[r].args[0]);
  Ops found;
  for (size_t i = 0; i < k_.ops.size(); ++i)
    if (seen[i] && test(static_cast<int>(i))) found.push_back(static_cast<int>(i));
  return found;
}

void Emitter::column_pass(const Point& unit, int pass) {
  const Ops reduces = reduces_of(k_, a_, pass);
  auto lane_loads = [&](Level level) {
    return below(reduces, [&, level](int i) {
      return k_.ops[i].kind == Kind::load && a_.ops[i].varies && a_.ops[i].level == level;
    });
  };
  const Ops fixed = lane_loads(Level::unit), loads = lane_loads(Level::inner);
  if (a_.turns == 0) return;
  out_.open(partial_rows_ ? "if (here)" : "");
  Point p = unit;
  Scope scope{unit.scope};
  p.scope = &scope;
  int words = 0;
  for (int load : loads) words += words_of(k_.ops[load].type, a_.lanes);
  const int64_t group =
      std::max<int64_t>(1, std::min<int64_t>({a_.turns, 8, kWordsInFlight / std::max(words, 1)}));
  for (int load : fixed) {
    declare_words(load, "");
    p.words[load] = "x" + std::to_string(load);
    load_lanes(load, p.words[load], p, lane_limit_);
  }
  const bool guard = a_.steps % (team() * group) != 0;
  const int inner = static_cast<int>(k_.extents.size()) - 1 - k_.row_dims;
  auto each = [&](const std::function<void(Point&, const std::string&)>& body) {
    turn_loop("u", group, [&](const std::string& u) {
      Point at = p;
      Text outside = out_;
      out_ = outside.inner();
      const std::string turn = group == 1 ? "first" : "(first + u)";
      out_.line("const " + index_type_ + " step = " +
                (team() > 1 ? "member + " + turn + " * " + std::to_string(team()) : turn) + ";");
      delinearise("step", k_.row_dims, inner, at);
      Text numbers = out_;
      out_ = outside.inner();
      if (guard) out_.open("if (step < " + num(a_.steps) + ")");
      body(at, u);
      if (guard) out_.close();
      Text work = out_;
      out_ = outside;
      out_.append_needed(numbers, work);
    });
  };
  out_.no_unroll();
  out_.open("for (" + index_type_ + " first = 0; first < " + num(a_.turns) +
            "; first += " + num(group) + ")");
  for (int load : loads) declare_words(load, std::to_string(group));
  if (!loads.empty())
    each([&](Point& at, const std::string& u) {
      for (int load : loads)
        load_lanes(load, "x" + std::to_string(load) + "[" + u + "]", at, lane_limit_);
    });
  each([&](Point& at, const std::string& u) {
    for (int load : loads) at.words[load] = "x" + std::to_string(load) + "[" + u + "]";
    Scope step{p.scope};
    at.scope = &step;
    for (int i : below(reduces, [&](int id) {
           return a_.ops[id].level == Level::inner && !a_.ops[id].varies;
         }))
      eval(i, at);
    Scope inside{&step};
    at.scope = &inside;
    open_lanes(at);
    accumulate(reduces, at, "[" + at.lane + "]");
    close_lanes();
  });
  out_.close();
  out_.close();
}

void Emitter::column_join(const Ops& reduces, bool to_all, Point& unit) {
  for (int r : reduces) {
    unit.scope->names[r] = "r" + std::to_string(r) + "[";
    if (team() == 1) continue;
    const int64_t units = block() / team(), slots = (team() + 1) / 2 * units;
    const int64_t size = size_of(k_.ops[r].type);
    auto at_once = [&](int64_t places) {
      auto fit = static_cast<uint64_t>(std::max<int64_t>(kSharedBytes / (places * size), 1));
      return std::to_string(std::min<int64_t>(a_.lanes, static_cast<int64_t>(std::bit_floor(fit))));
    };
    const std::string U = std::to_string(units), name = "r" + std::to_string(r);
    const std::string where = ">(" + name + ", (" + type_name(k_.ops[r].type) +
                              "*)shared, member, unit);";
    out_.line(use("across_members") + "<" + functor(k_.ops[r]) + ", " + std::to_string(team()) +
              ", " + U + ", " + at_once(slots) + where);
    if (to_all) out_.line(use("from_member_0") + "<" + U + ", " + at_once(units) + where);
  }
}

void Emitter::column_tail(const Point& unit) {
  const Ops stores = stores_at(k_, a_, Level::unit);
  if (!stores_at(k_, a_, Level::inner).empty())
    fail_kernel(k_, "columns stores a value that is not reduced");
  std::string when = team() > 1 ? "member == 0" : "";
  if (partial_rows_) when += when.empty() ? "here" : " && here";
  out_.open(when.empty() ? "" : "if (" + when + ")");
  Point p = unit;
  for (int load : below(stores, [&](int i) {
         return k_.ops[i].kind == Kind::load && a_.ops[i].varies;
       })) {
    declare_words(load, "");
    p.words[load] = "x" + std::to_string(load);
    load_lanes(load, p.words[load], p, lane_limit_);
  }
  Ops lanes, scalars;
  for (int s : stores) (a_.ops[s].varies ? lanes : scalars).push_back(s);
  if (!lanes.empty()) {
    declare_stored(lanes);
    Scope inside{unit.scope};
    Point at = p;
    at.scope = &inside;
    open_lanes(at);
    stored_lanes(lanes, at);
    close_lanes();
    write_stores(lanes, p, lane_limit_);
  }
  if (!scalars.empty()) {
    out_.open("if (" + unit.index.back() + " == 0)");
    write_stores(scalars, p);
    out_.close();
  }
  out_.close();
}

}  // namespace fusec::codegen_cuda
