// The `rows` schedule: a team of threads a row. Thread m of a team of T takes steps m, m + T, ...
// of `lanes` elements; the k-th of them is its turn k. Passes over the row end at reductions.
//
//   x4[turn]  <- loads of all turns (a row that fits in registers)
//   pass 0:   r7 = max over turns and lanes of v6;   joined over the team
//   pass 1:   r9 = sum of exp(v6 - r7);              joined over the team
//   pass 2:   stores
#include <algorithm>
#include <bit>

#include "emit.h"

namespace fusec::codegen_cuda {

using Kind = KernelOp::Kind;

void Emitter::rows() {
  const int rank = static_cast<int>(k_.extents.size());
  keep_ = choose_residency(k_, a_);
  pass_reads_ = keep_.unrolled || a_.stages == 0 ? 1 : 2;
  Scope scope;
  Point unit{.scope = &scope, .index = std::vector<std::string>(rank, "0")};
  row_index(unit);
  bind_bases(unit, (uint64_t{1} << k_.row_dims) - 1);
  row_tiles();
  Ops kept;
  for (size_t i = 0; i < k_.ops.size(); ++i)
    if (keep_.loads[i]) kept.push_back(static_cast<int>(i));
  if (a_.turns > 0) row_resident(kept, unit);
  row_passes(unit);
}

// All passes over the row of this thread, and what is stored once a row.
void Emitter::row_passes(Point& unit) {
  if (a_.turns > 0) kept_values();
  hoist(unit, 0);
  for (int pass = 0; pass <= a_.stages; ++pass) {
    row_pass(unit, pass);
    row_join(reduces_in(k_, a_, keep_, pass), unit);
    hoist(unit, pass + 1);
  }
  const Ops stores = stores_at(k_, a_, Level::unit);
  if (stores.empty()) return;
  for (int s : stores) eval(k_.ops[s].args[0], unit);
  const bool loads = std::any_of(k_.ops.begin(), k_.ops.end(), [&](const KernelOp& op) {
    return op.kind == Kind::load && a_.ops[&op - k_.ops.data()].level == Level::unit;
  });
  // A kernel may write in place what every thread of the team has read.
  if (loads && team() > 1) out_.line(team() > 32 ? "__syncthreads();" : "__syncwarp();");
  std::string when = team() > 1 ? "member == 0" : "";
  if (partial_rows_) when += when.empty() ? "here" : " && here";
  out_.open(when.empty() ? "" : "if (" + when + ")");
  for (int s : stores) write_scalar(s, unit);
  out_.close();
}

// The row of this thread; a team without one repeats the last and stores nothing.
void Emitter::row_index(Point& unit) {
  int64_t rows = 1;
  for (int d = 0; d < k_.row_dims; ++d) rows *= k_.extents[d];
  const int64_t teams = block() / team();
  if (rows >= (int64_t{1} << 31) || a_.steps * a_.lanes >= (int64_t{1} << 31))
    index_type_ = "long long";
  if (team() > 1)
    out_.line("const int member = threadIdx.x" +
              (teams > 1 ? " % " + std::to_string(team()) : std::string()) + ";");
  partial_rows_ = rows % teams != 0;
  if (k_.row_dims == 0 && !partial_rows_) return;
  std::string row = "(" + index_type_ + ")" + block_index();
  if (teams > 1)
    row += " * " + std::to_string(teams) + " + (int)threadIdx.x" +
           (team() > 1 ? " / " + std::to_string(team()) : std::string());
  if (partial_rows_) {
    out_.line("const " + index_type_ + " turn = " + row + ";");
    out_.line("const bool here = turn < " + num(rows) + ";");
    row = "here ? turn : " + num(std::max<int64_t>(rows - 1, 0));
  }
  if (k_.row_dims == 0) return;
  out_.line("const " + index_type_ + " row = " + row + ";");
  delinearise("row", 0, k_.row_dims, unit);
}

// Copies what a tile reads along its first dimension to shared memory, as it lies in memory; the
// lanes of the last dimension are then read there. All loads are in flight at once.
void Emitter::row_tiles() {
  const size_t rank = k_.extents.size();
  Ops loads;
  for (size_t i = 0; i < k_.ops.size(); ++i)
    if (a_.ops[i].piece > 0) loads.push_back(static_cast<int>(i));
  auto each_piece = [&](int load, const std::function<void(const std::string&)>& body) {
    const int64_t line = k_.extents[rank - 2] / a_.ops[load].piece;
    const int64_t pieces = line * k_.extents[rank - 1];
    turn_loop("k", (pieces + block() - 1) / block(), [&](const std::string& k) {
      out_.line("const int piece = threadIdx.x" +
                (k == "0" ? "" : " + " + k + " * " + std::to_string(block())) + ";");
      if (pieces % block() != 0) out_.open("if (piece < " + num(pieces) + ")");
      out_.line("const int i = piece % " + num(line) + " * " + num(a_.ops[load].piece) +
                ", j = piece / " + num(line) + ";");
      body(k);
      if (pieces % block() != 0) out_.close();
    });
  };
  for (int load : loads) {
    const OpFacts& f = a_.ops[load];
    const int64_t bytes = f.piece * size_of(k_.ops[load].type);
    const int64_t pieces = k_.extents[rank - 2] / f.piece * k_.extents[rank - 1];
    const std::string number = std::to_string(load);
    out_.line("__shared__ __align__(16) unsigned char tile" + number + "[" +
              num(f.pitch * k_.extents[rank - 1]) + "];");
    out_.line("unsigned t" + number + "[" + num((pieces + block() - 1) / block()) + "][" +
              num(bytes / 4) + "];");
    each_piece(load, [&](const std::string& k) {
      out_.line(use("load") + "<" + std::to_string(f.piece_bytes) + ", " + num(bytes) +
                    (used_once(load) ? ", once" : "") + ">(t" + number + "[" + k + "], " +
                    bases_[load] + " + i + " + (f.wide ? "(long long)" : "") + "j * " +
                    num(k_.ops[load].access.strides[rank - 1]) + ");",
                comment_of(load));
    });
  }
  for (int load : loads) {
    const OpFacts& f = a_.ops[load];
    const int64_t size = size_of(k_.ops[load].type);
    const std::string number = std::to_string(load);
    each_piece(load, [&](const std::string& k) {
      out_.line(use("store") + "<4, " + num(f.piece * size) + ">(tile" + number + " + j * " +
                num(f.pitch) + " + i * " + num(size) + ", t" + number + "[" + k + "]);");
    });
  }
  if (!loads.empty()) out_.line("__syncthreads();");
}

// Loads that every pass finds in registers, all of them in flight at once.
void Emitter::row_resident(const Ops& loads, Point& unit) {
  for (int load : loads) {
    declare_words(load, std::to_string(a_.turns));
    unit.words[load] = "x" + std::to_string(load);
  }
  if (loads.empty()) return;
  turn_loop("k", a_.turns, [&](const std::string& k) { row_loads(loads, unit, k, k, false); });
}

void Emitter::kept_values() {
  const std::string turns = std::to_string(a_.turns);
  for (size_t i = 0; i < k_.ops.size(); ++i)
    if (keep_.values[i])
      out_.line(std::string(type_name(k_.ops[i].type)) + " k" + std::to_string(i) + "[" + turns +
                "][" + std::to_string(a_.lanes) + "];");
}

// for (k = 0; k < count; ++k), unrolled; body(name of k).
void Emitter::turn_loop(const std::string& name, int64_t count,
                        const std::function<void(const std::string&)>& body) {
  if (count == 1) {
    out_.open("");
    body("0");
  } else {
    out_.unroll();
    out_.open("for (int " + name + " = 0; " + name + " < " + std::to_string(count) + "; ++" + name +
              ")");
    body(name);
  }
  out_.close();
}

// Runs `body` at the step of a turn, behind the test that there is one; `spare`: turns past the
// last occur. The step's numbers are declared where the body names them.
void Emitter::row_step(Point p, const std::string& turn, bool spare,
                       const std::function<void(Point&)>& body) {
  const int rank = static_cast<int>(k_.extents.size()), inner = rank - 1 - k_.row_dims;
  const int64_t a_line = a_.steps / std::max<int64_t>(a_.lines, 1);
  const std::string last = "i" + std::to_string(rank - 1), T = std::to_string(team());
  const std::string lanes = a_.lanes == 1 ? "" : " * " + std::to_string(a_.lanes);
  Text outside = out_;
  out_ = outside.inner();
  out_.line("const " + index_type_ + " step = " +
            (team() == 1 ? turn : "member" + (turn == "0" ? "" : " + " + turn + " * " + T)) + ";");
  p.index[rank - 1] = a_line > 1 ? last : "0";
  if (a_.lines > 1 && inner > 0) {
    std::string line = a_line > 1 ? "step / " + num(a_line) : "step";
    delinearise(index_type_ == "int" ? "(unsigned)step" + line.substr(4) : line, k_.row_dims, inner,
                p);
  }
  if (a_line > 1)
    out_.line("const " + index_type_ + " " + last + " = " +
              (a_.lines > 1 ? "(int)((unsigned)step % " + std::to_string(a_line) + "u)" : "step") +
              lanes + ";");
  Text numbers = out_;
  out_ = outside.inner();
  const bool guard = a_.steps % team() != 0 || spare;
  if (guard) out_.open("if (step < " + num(a_.steps) + ")");
  body(p);
  if (guard) out_.close();
  Text work = out_;
  out_ = outside;
  out_.append_needed(numbers, work);
}

void Emitter::row_loads(const Ops& loads, const Point& unit, const std::string& turn,
                        const std::string& slot, bool spare) {
  row_step(unit, turn, spare, [&](Point& p) {
    for (int load : loads) load_lanes(load, "x" + std::to_string(load) + "[" + slot + "]", p);
  });
}

// Lanes of one turn: reductions, and stores of the last pass.
void Emitter::row_compute(const Point& unit, int pass, const std::string& turn, bool spare) {
  const Ops reduces = reduces_in(k_, a_, keep_, pass);
  Ops lanes, lines;
  if (pass == a_.stages)
    for (int s : stores_at(k_, a_, Level::inner)) (a_.ops[s].varies ? lanes : lines).push_back(s);
  row_step(unit, turn, spare, [&](Point& p) {
    Scope scope{p.scope};
    p.scope = &scope;
    p.pass = pass;
    p.turn = turn;
    for (size_t i = 0; i < k_.ops.size(); ++i)
      if (keep_.needed[pass][i] && !a_.ops[i].varies) eval(static_cast<int>(i), p);
    const bool adds = pass == a_.stages && !sums_over_rows(k_, a_).empty();
    if (!reduces.empty() || !lanes.empty() || adds) row_lanes(reduces, lanes, p);
    if (lanes.empty() && lines.empty()) return;
    if (partial_rows_) out_.open("if (here)");
    write_stores(lanes, p);
    const std::string last = p.index.back();
    if (!lines.empty()) {
      out_.open(last == "0" ? "" : "if (" + last + " == 0)");
      for (int s : lines) write_scalar(s, p);
      out_.close();
    }
    if (partial_rows_) out_.close();
  });
}

void Emitter::row_pass(Point& unit, int pass) {
  const Ops reduces = reduces_in(k_, a_, keep_, pass);
  const bool stores = pass == a_.stages && (!stores_at(k_, a_, Level::inner).empty() ||
                                            !sums_over_rows(k_, a_).empty());
  if (reduces.empty() && !stores) return;
  accumulators(reduces, "");
  for (int r : reduces)
    if (int max = joined_max(r); max >= 0)
      out_.line("r" + std::to_string(max) + " = -3.40282347e38f;", "the lowest finite number");
  if (a_.turns == 0) return;
  Ops fetched;
  for (size_t i = 0; i < k_.ops.size(); ++i)
    if (keep_.needed[pass][i] && k_.ops[i].kind == Kind::load && a_.ops[i].varies &&
        !keep_.loads[i])
      fetched.push_back(static_cast<int>(i));
  // The compiler would rather keep what it made of packed words, in more registers than there are.
  for (const auto& [load, words] : unit.words)
    if (pass > 0 && keep_.needed[pass][load] && keep_.first_pass[load] < pass &&
        a_.turns * words_of(k_.ops[load].type, a_.lanes) > 8)
      out_.line(use("hide") + "(" + words + ");");
  Point p = unit;
  const bool whole = fetched.empty() ? keep_.unrolled : a_.turns <= keep_.group;
  const int64_t group = whole ? a_.turns : keep_.group;
  auto loads_and_work = [&](const std::string& first, bool spare) {
    auto turn = [&](const std::string& u) {
      return first.empty() ? u : u == "0" ? first : "(" + first + " + " + u + ")";
    };
    for (int load : fetched) declare_words(load, std::to_string(group));
    if (!fetched.empty())
      turn_loop("u", group,
                [&](const std::string& u) { row_loads(fetched, p, turn(u), u, spare); });
    turn_loop(first.empty() ? "k" : "u", group, [&](const std::string& u) {
      for (int load : fetched) p.words[load] = "x" + std::to_string(load) + "[" + u + "]";
      for (const auto& [load, words] : unit.words) p.words[load] = words + "[" + turn(u) + "]";
      row_compute(p, pass, turn(u), spare);
    });
  };
  if (whole) {
    out_.open("");
    loads_and_work("", false);
  } else {
    keep_.unrolled ? out_.unroll() : out_.no_unroll();
    out_.open("for (int first = 0; first < " + num(a_.turns) + "; first += " + num(group) + ")");
    loads_and_work("first", a_.turns % group != 0);
  }
  out_.close();
}

}  // namespace fusec::codegen_cuda
