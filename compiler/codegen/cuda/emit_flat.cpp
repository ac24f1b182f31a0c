// The schedules over one dimension of run-time length: `flat` (pointwise) and `flat_reduce`.
#include <algorithm>

#include "emit.h"

namespace fusec::codegen_cuda {

using Kind = KernelOp::Kind;

// A block covers block * vector elements in pieces of block * lanes, so that each access of a warp
// is one stretch of memory whatever the types. The last lanes may reach into the padding.
void Emitter::flat() {
  const int64_t pieces = k_.schedule.vector / a_.lanes, stride = int64_t{block()} * a_.lanes;
  Scope scope;
  Point unit{.scope = &scope, .index = {"i"}};
  out_.line("const long long i = (long long)" + block_index() + " * " +
            num(pieces * stride) + " + " +
            (a_.lanes == 1 ? "threadIdx.x" : "threadIdx.x * " + std::to_string(a_.lanes)) + ";");
  out_.line("if (i >= n) return;");
  bind_bases(unit, 0);
  Ops loads;
  for (size_t i = 0; i < k_.ops.size(); ++i)
    if (k_.ops[i].kind == Kind::load && a_.ops[i].varies && a_.ops[i].live)
      loads.push_back(static_cast<int>(i));
  auto each_piece = [&](auto body) {
    turn_loop("c", pieces, [&](const std::string& c) {
      Point p = unit;
      if (c != "0") {
        p.index[0] = "(i + c * " + num(stride) + ")";
        out_.open("if (i + c * " + num(stride) + " < n)");
      }
      body(p, c);
      if (c != "0") out_.close();
    });
  };
  for (int load : loads) declare_words(load, std::to_string(pieces));
  if (!loads.empty())
    each_piece([&](Point& p, const std::string& c) {
      for (int load : loads) load_lanes(load, "x" + std::to_string(load) + "[" + c + "]", p);
    });
  hoist(unit, 0);
  const Ops lanes = stores_at(k_, a_, Level::inner), scalars = stores_at(k_, a_, Level::unit);
  if (!lanes.empty())
    each_piece([&](Point& p, const std::string& c) {
      for (int load : loads) p.words[load] = "x" + std::to_string(load) + "[" + c + "]";
      declare_stored(lanes);
      Scope inside{&scope};
      Point at = p;
      at.scope = &inside;
      open_lanes(at);
      stored_lanes(lanes, at);
      close_lanes();
      write_stores(lanes, p);
    });
  if (scalars.empty()) return;
  out_.open("if (i == 0)");
  write_stores(scalars, unit);
  out_.close();
}

void Emitter::flat_reduce() {
  const Ops reduces = reduces_of(k_, a_, 0);
  Scope scope;
  Point unit{.scope = &scope, .index = {"i"}};
  out_.line("const int member = threadIdx.x;");
  out_.line("const long long unit = " + block_index() + ", begin = unit * " +
            num(k_.schedule.chunk) + ";");
  out_.line("const long long left = n - begin;");
  if (k_.schedule.chunk >= (int64_t{1} << 30)) index_type_ = "long long";
  out_.line("const " + index_type_ + " count = left < " + num(k_.schedule.chunk) + " ? (" +
            index_type_ + ")left : " + num(k_.schedule.chunk) + ";");
  bind_bases(unit, 0);
  hoist(unit, 0);
  accumulators(reduces, "");
  flat_reduce_loop(reduces, unit);
  row_join(reduces, unit);
  out_.open("if (member == 0)");
  Scope inside{&scope};
  unit.scope = &inside;
  hoist(unit, a_.stages);
  for (int s : stores_at(k_, a_, Level::unit)) {
    eval(k_.ops[s].args[0], unit);
    bases_[s] += " + unit";
  }
  for (int s : stores_at(k_, a_, Level::unit)) write_scalar(s, unit);
  out_.close();
}

// Groups of pieces of block * lanes elements; lanes past the end count for nothing.
void Emitter::flat_reduce_loop(const Ops& reduces, Point& unit) {
  Ops loads;
  int words = 0;
  for (size_t i = 0; i < k_.ops.size(); ++i) {
    if (k_.ops[i].kind != Kind::load || !a_.ops[i].varies || !a_.ops[i].live) continue;
    loads.push_back(static_cast<int>(i));
    words += words_of(k_.ops[i].type, a_.lanes);
  }
  const int64_t stride = int64_t{block()} * a_.lanes;
  const int64_t pieces = (k_.schedule.chunk + stride - 1) / stride;
  const int64_t group =
      std::max<int64_t>(1, std::min<int64_t>({pieces, 8, kWordsInFlight / std::max(words, 1)}));
  out_.no_unroll();
  out_.open("for (" + index_type_ + " first = member * " + std::to_string(a_.lanes) +
            "; first < count; first += " + num(group * stride) + ")");
  for (int load : loads) declare_words(load, std::to_string(group));
  auto each_piece = [&](auto body) {
    turn_loop("u", group, [&](const std::string& u) {
      Point p = unit;
      p.index[0] = "(begin + at)";
      out_.line("const " + index_type_ + " at = first" +
                (u == "0" ? "" : " + u * " + num(stride)) + ";");
      if (u != "0") out_.open("if (at < count)");
      body(p, u);
      if (u != "0") out_.close();
    });
  };
  if (!loads.empty())
    each_piece([&](Point& p, const std::string& u) {
      for (int load : loads) load_lanes(load, "x" + std::to_string(load) + "[" + u + "]", p);
    });
  each_piece([&](Point& p, const std::string& u) {
    for (int load : loads) p.words[load] = "x" + std::to_string(load) + "[" + u + "]";
    Scope inside{p.scope};
    Point at = p;
    at.scope = &inside;
    open_lanes(at);
    if (at.lane != "0") out_.open("if (at + j < count)");
    accumulate(reduces, at, "");
    if (at.lane != "0") out_.close();
    close_lanes();
  });
  out_.close();
}

}  // namespace fusec::codegen_cuda
