// The `rows` schedule where a block walks a panel of rows and keeps sums over them: the gradient of
// a norm's input beside that of its weight, which would read both tensors a second time.
//
//   c9[turn][lane] = 0                     sums over rows: a thread owns the same columns of each
//   for each row of the panel:
//     rows to come  -> shared memory       each thread copies what it will itself read: no barrier
//     x4[turn]     <- shared memory
//     passes over the row, as emit_rows.cpp has them; the last one adds to c9
//   the teams of the block join their c9, and the first one stores it
//
// What is the same for all rows (the weight) is loaded once. The partial results of a row lie in
// two places in turn, so that one barrier a reduction is enough: no thread is two rows behind
// another.
#include <algorithm>
#include <bit>

#include "emit.h"

namespace fusec::codegen_cuda {

using Kind = KernelOp::Kind;

namespace {
constexpr int64_t kAheadBytes = 40 << 10;  // beside the partial results, in 48 KB
constexpr int64_t kMostAhead = 8;          // rows
constexpr int64_t kJoinBytes = 32 << 10;
}  // namespace

void Emitter::panels() {
  keep_ = choose_residency(k_, a_);
  pass_reads_ = keep_.unrolled || a_.stages == 0 ? 1 : 2;
  const uint64_t rows = (uint64_t{1} << k_.row_dims) - 1, walked = a_.walked_dims;
  const int64_t teams = block() / team(), turns = (a_.walk + teams - 1) / teams;
  const Ahead ahead = choose_ahead();
  auto comes_ahead = [&](int i) {
    return std::find(ahead.loads.begin(), ahead.loads.end(), i) != ahead.loads.end();
  };
  Ops fixed, kept, scalars;
  for (int i = 0; i < static_cast<int>(k_.ops.size()); ++i) {
    const OpFacts& f = a_.ops[i];
    if (keep_.loads[i] && !comes_ahead(i)) (f.walks ? kept : fixed).push_back(i);
    if (k_.ops[i].kind == Kind::load && f.live && f.level == Level::unit && f.walks)
      scalars.push_back(i);
  }

  Scope scope;
  Point unit{.scope = &scope, .index = std::vector<std::string>(k_.extents.size(), "0")};
  panel_index(unit);
  bind_bases(unit, rows & ~walked,
             [&](int i) { return std::find(fixed.begin(), fixed.end(), i) != fixed.end(); });
  if (a_.turns > 0) row_resident(fixed, unit);
  for (size_t i = 0; i < k_.ops.size(); ++i) {
    const OpFacts& f = a_.ops[i];
    const Kind kind = k_.ops[i].kind;
    if (f.live && f.level == Level::unit && !f.varies && !f.walks && f.stage == 0 &&
        kind != Kind::store && kind != Kind::reduce)
      eval(static_cast<int>(i), unit);
  }
  const std::string shape = "[" + std::to_string(std::max<int64_t>(a_.turns, 1)) + "][" +
                            std::to_string(a_.lanes) + "]";
  int64_t shared = ahead.slot * ahead.depth;
  for (int r : sums_over_rows(k_, a_)) {
    const KernelOp& op = k_.ops[r];
    out_.line(std::string(type_name(op.type)) + " c" + std::to_string(r) + shape + ";");
    turn_loop("k", a_.turns, [&](const std::string& k) {
      out_.unroll();
      out_.line("for (int j = 0; j < " + std::to_string(a_.lanes) + "; ++j) c" +
                std::to_string(r) + "[" + k + "][j] = " + neutral(op) + ";");
    });
    if (teams > 1)
      shared = std::max(shared, std::min(kJoinBytes, size_of(op.type) * a_.lanes * block()));
  }
  if (shared > 0)
    out_.line("__shared__ __align__(16) unsigned char shared[" + std::to_string(shared) + "];");
  scalars_ahead(scalars, unit, "0", true);

  out_.no_unroll();
  const int64_t start = ahead.depth > 0 ? 1 - ahead.depth : 0;
  out_.open("for (" + index_type_ + " turn = " + num(start) + "; turn < " + num(turns) +
            "; ++turn)");
  Scope row_scope{&scope};
  Point row = unit;
  row.scope = &row_scope;
  if (ahead.depth > 0) {
    fetch_ahead(ahead, unit);
    out_.line(use("end_group") + "();");
    out_.line("if (turn < 0) continue;");
    out_.line(use("wait_groups") + "<" + std::to_string(ahead.depth - 1) + ">();");
  }
  partial_rows_ = a_.walk % teams != 0;
  walked_row("turn", partial_rows_, true, row);
  for (int load : scalars) {
    const std::string number = std::to_string(load);
    out_.line(std::string("const ") + type_name(k_.ops[load].type) + " v" + number + " = " +
                  scalar_value(load, "n" + number) + ";",
              comment_of(load));
    row_scope.names[load] = "v" + number;
  }
  scalars_ahead(scalars, unit, "turn + 1", false);
  for (int load : ahead.loads) {
    declare_words(load, std::to_string(a_.turns));
    row.words[load] = "x" + std::to_string(load);
  }
  if (!ahead.loads.empty())
    turn_loop("k", a_.turns, [&](const std::string& k) {
      for (size_t i = 0; i < ahead.loads.size(); ++i) {
        const int64_t bytes = size_of(k_.ops[ahead.loads[i]].type) * a_.lanes;
        out_.line(use("load") + "<" + std::to_string(bytes) + ", " + std::to_string(bytes) + ">(x" +
                  std::to_string(ahead.loads[i]) + "[" + k + "], " +
                  place_ahead(ahead, i, "turn", k) + ");");
      }
    });
  bind_bases(row, rows, [&](int i) {
    return !comes_ahead(i) && !a_.ops[i].after && (k_.ops[i].kind == Kind::store ||
           (keep_.first_pass[i] >= 0 && unit.words.find(i) == unit.words.end()));
  });
  if (a_.turns > 0) row_resident(kept, row);
  join_slot_ = "(turn & 1) * " + std::to_string(block() / 32) + " + ";
  row_passes(row);
  join_slot_.clear();
  out_.close();
  panel_sums(unit, fixed);
}

// The panel of this block, and this thread's place in it.
void Emitter::panel_index(Point& unit) {
  const int64_t teams = block() / team();
  int64_t panels = 1;
  for (int d = 0; d < k_.row_dims - k_.walk_dims; ++d) panels *= k_.extents[d];
  if (panels * a_.walk >= (int64_t{1} << 30) || a_.steps * a_.lanes >= (int64_t{1} << 31))
    index_type_ = "long long";
  const std::string T = std::to_string(team());
  if (team() > 1)
    out_.line("const int member = threadIdx.x" + (teams > 1 ? " % " + T : std::string()) + ";");
  if (teams > 1) out_.line("const int team = threadIdx.x" + (team() > 1 ? " / " + T : "") + ";");
  if (k_.row_dims == k_.walk_dims) return;
  out_.line("const " + index_type_ + " panel = (" + index_type_ + ")" + block_index() + ";");
  delinearise("panel", 0, k_.row_dims - k_.walk_dims, unit);
}

// Loads of the rows to come: whatever walks and stays packed, as far as a block's memory goes.
Emitter::Ahead Emitter::choose_ahead() const {
  Ahead ahead;
  for (int i = 0; i < static_cast<int>(k_.ops.size()); ++i) {
    const OpFacts& f = a_.ops[i];
    if (!keep_.loads[i] || !f.walks || last_stride(k_.ops[i]) != 1 || f.bytes < 4) continue;
    const int64_t bytes = size_of(k_.ops[i].type) * a_.lanes * a_.turns * block();
    if (2 * (ahead.slot + bytes) > kAheadBytes) continue;
    ahead.loads.push_back(i);
    ahead.at.push_back(ahead.slot);
    ahead.slot += bytes;
  }
  // Each load has a multiple of 32 threads' bytes, so that every access is aligned.
  if (ahead.slot > 0) ahead.depth = std::min(kMostAhead, kAheadBytes / ahead.slot);
  return ahead;
}

// Where this thread's lanes of load `i` lie, of turn `k` of the row of `turn`.
std::string Emitter::place_ahead(const Ahead& ahead, size_t i, const std::string& turn,
                                 const std::string& k) const {
  const int64_t bytes = size_of(k_.ops[ahead.loads[i]].type) * a_.lanes;
  std::string at = "shared + " + turn + " % " + num(ahead.depth) + " * " + num(ahead.slot);
  if (ahead.at[i] > 0) at += " + " + num(ahead.at[i]);
  if (k != "0") at += " + " + k + " * " + num(bytes * block());
  return at + " + threadIdx.x * " + num(bytes);
}

// The row of this thread's team at a turn. Past the last one it is the last: `here` is false then.
void Emitter::walked_row(const std::string& turn, bool may_pass, bool names_here, Point& p) {
  const int64_t teams = block() / team();
  std::string row = turn;
  if (teams > 1)
    row = (turn.find(' ') == std::string::npos ? turn : "(" + turn + ")") + " * " + num(teams) +
          " + team";
  if (may_pass) {
    const std::string here = names_here ? "here" : "walked < " + num(a_.walk);
    out_.line("const " + index_type_ + " walked = " + row + ";");
    if (names_here) out_.line("const bool here = walked < " + num(a_.walk) + ";");
    row = here + " ? walked : " + num(std::max<int64_t>(a_.walk - 1, 0));
  }
  out_.line("const " + index_type_ + " row = " + row + ";");
  delinearise("row", k_.row_dims - k_.walk_dims, k_.walk_dims, p);
}

void Emitter::fetch_ahead(const Ahead& ahead, const Point& unit) {
  const int64_t teams = block() / team(), turns = (a_.walk + teams - 1) / teams;
  out_.line("const " + index_type_ + " ahead = turn + " + num(ahead.depth - 1) + ";");
  out_.open("if (ahead < " + num(turns) + ")");
  Point p = unit;
  walked_row("ahead", a_.walk % teams != 0, false, p);
  bind_bases(p, (uint64_t{1} << k_.row_dims) - 1, [&](int i) {
    return std::find(ahead.loads.begin(), ahead.loads.end(), i) != ahead.loads.end();
  });
  turn_loop("k", a_.turns, [&](const std::string& k) {
    row_step(p, k, false, [&](Point& at) {
      for (size_t i = 0; i < ahead.loads.size(); ++i) {
        const int load = ahead.loads[i];
        const int64_t bytes = size_of(k_.ops[load].type) * a_.lanes;
        out_.line(use("copy_ahead") + "<" + std::to_string(a_.ops[load].bytes) + ", " +
                      std::to_string(bytes) + ">(" + place_ahead(ahead, i, "ahead", k) + ", " +
                      address(load, at) + ");",
                  comment_of(load));
      }
    });
  });
  out_.close();
}

// Numbers of a row, asked for one row earlier.
void Emitter::scalars_ahead(const Ops& loads, const Point& unit, const std::string& turn,
                            bool declare) {
  if (loads.empty()) return;
  if (declare)
    for (int load : loads)
      out_.line(std::string(storage_name(k_.ops[load].type)) + " n" + std::to_string(load) + ";");
  out_.open("");
  Point p = unit;
  walked_row(turn, true, false, p);
  for (int load : loads)
    out_.line("n" + std::to_string(load) + " = " + scalar_bits(load, p) + ";");
  out_.close();
}

// The block's sums over rows, from those of its teams, and what is stored of them.
void Emitter::panel_sums(Point& unit, const Ops& fixed) {
  const int64_t teams = block() / team();
  const Ops sums = sums_over_rows(k_, a_);
  if (teams > 1)
    for (int r : sums) {
      const int64_t size = size_of(k_.ops[r].type), slots = (teams + 1) / 2 * team();
      const auto fit = static_cast<uint64_t>(std::max<int64_t>(kJoinBytes / (slots * size), 1));
      const auto at_once = std::min<int64_t>(a_.lanes, static_cast<int64_t>(std::bit_floor(fit)));
      turn_loop("k", a_.turns, [&](const std::string& k) {
        out_.line(use("across_members") + "<" + functor(k_.ops[r]) + ", " + num(teams) + ", " +
                  num(team()) + ", " + num(at_once) + ">(c" + std::to_string(r) + "[" + k + "], (" +
                  type_name(k_.ops[r].type) + "*)shared, team, " +
                  (team() > 1 ? "member" : "0") + ");");
      });
    }
  Ops stores;
  for (int i = 0; i < static_cast<int>(k_.ops.size()); ++i)
    if (k_.ops[i].kind == Kind::store && a_.ops[i].after) stores.push_back(i);
  const Ops loads = below(stores, [&](int i) {
    return k_.ops[i].kind == Kind::load && a_.ops[i].level == Level::inner &&
           std::find(fixed.begin(), fixed.end(), i) == fixed.end();
  });
  out_.open(teams > 1 ? "if (team == 0)" : "");
  bind_bases(unit, ((uint64_t{1} << k_.row_dims) - 1) & ~a_.walked_dims, [&](int i) {
    return (k_.ops[i].kind == Kind::store && a_.ops[i].after) ||
           std::find(loads.begin(), loads.end(), i) != loads.end();
  });
  turn_loop("k", a_.turns, [&](const std::string& k) {
    row_step(unit, k, false, [&](Point& p) {
      Scope scope{p.scope};
      p.scope = &scope;
      for (int r : sums) scope.names[r] = "c" + std::to_string(r) + "[" + k + "][";
      for (auto& [load, words] : p.words) words += "[" + k + "]";
      for (int load : loads) {
        if (!a_.ops[load].varies) continue;
        declare_words(load, "");
        p.words[load] = "x" + std::to_string(load);
        load_lanes(load, p.words[load], p);
      }
      declare_stored(stores);
      Scope inside{&scope};
      Point at = p;
      at.scope = &inside;
      open_lanes(at);
      stored_lanes(stores, at);
      close_lanes();
      write_stores(stores, p);
    });
  });
  out_.close();
}

}  // namespace fusec::codegen_cuda
