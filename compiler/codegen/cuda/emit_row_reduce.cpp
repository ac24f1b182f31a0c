// Reductions of the `rows` schedule: what a thread does with the lanes of one step, and how the
// threads of a team join what they have.
//
// The hyperbolic tangents of a softcap, c * tanh(x / c), are taken of all lanes at once: most of
// their arguments are small, and a polynomial is then all that is needed.
//
// Two forms differ from adding each lane to an accumulator:
//   sum of exp(value - max)        -> kept relative to the maximum so far, in the pass of max
//   sum of select(i == n, value, 0) -> the lanes are looked at only where n is among them
#include <algorithm>
#include <bit>
#include <cmath>

#include "emit.h"

namespace fusec::codegen_cuda {

using Kind = KernelOp::Kind;

namespace {

constexpr int kPickLanes = 4;  // of fewer lanes, the test costs what it saves
constexpr double kSmallScale = 0.25;

}  // namespace

int Emitter::joined_max(int reduce) const {
  return keep_.joined_max.empty() ? -1 : keep_.joined_max[reduce];
}

// Of a sum of select(index == number, value, 0) with one number for all lanes.
bool Emitter::find_pick(int reduce, Pick& pick) const {
  const KernelOp& sum = k_.ops[reduce];
  if (sum.reduce != ReduceKind::sum || a_.lanes < kPickLanes) return false;
  const KernelOp& choice = k_.ops[sum.args[0]];
  if (choice.kind != Kind::prim || choice.prim != Prim::select || !is_float(choice.type) ||
      keep_.values[sum.args[0]])
    return false;
  const KernelOp &same = k_.ops[choice.args[0]], &other = k_.ops[choice.args[2]];
  if (other.kind != Kind::constant || other.imm != 0 || std::signbit(other.imm)) return false;
  if (same.kind != Kind::prim || same.prim != Prim::eq || keep_.values[choice.args[0]])
    return false;
  pick = {same.args[0], same.args[1], choice.args[1]};
  if (k_.ops[pick.index].kind != Kind::index) std::swap(pick.index, pick.number);
  const KernelOp& index = k_.ops[pick.index];
  return index.kind == Kind::index && index.type == DType::i32 && !a_.ops[pick.index].wide &&
         last_stride(index) == 1 && !a_.ops[pick.number].varies;
}

// Of the lanes of a pass: those of a product with a small constant, that no other needs.
Emitter::Ops Emitter::small_tanhs(int pass) const {
  Ops found;
  if (a_.lanes < kPickLanes) return found;
  std::vector<char> behind(k_.ops.size(), 0);  // a tangent that was found
  for (int i = 0; i < static_cast<int>(k_.ops.size()); ++i) {
    const KernelOp& op = k_.ops[i];
    for (int arg : op.args) behind[i] = behind[i] || behind[arg];
    if (op.kind != Kind::prim || op.prim != Prim::tanh || op.type != DType::f32 || behind[i] ||
        !a_.ops[i].varies || !keep_.needed[pass][i] || keep_.values[i])
      continue;
    const KernelOp& scaled = k_.ops[op.args[0]];
    if (scaled.kind != Kind::prim || scaled.prim != Prim::mul) continue;
    if (std::none_of(scaled.args.begin(), scaled.args.end(), [&](int arg) {
          return k_.ops[arg].kind == Kind::constant && std::fabs(k_.ops[arg].imm) <= kSmallScale;
        }))
      continue;
    behind[i] = 1;
    found.push_back(i);
  }
  return found;
}

// The lanes of one step: reductions, and what is stored.
void Emitter::row_lanes(const Ops& reduces, const Ops& stores, Point& p) {
  const std::string lanes = std::to_string(a_.lanes);
  Ops plain, sums, gathered;
  for (int tanh : small_tanhs(p.pass)) {
    const std::string array = "h" + std::to_string(tanh);
    out_.line("float " + array + "[" + lanes + "];");
    Scope inside{p.scope};
    Point at = p;
    at.scope = &inside;
    open_lanes(at);
    out_.line(array + "[" + at.lane + "] = " + eval(k_.ops[tanh].args[0], at) + ";");
    close_lanes();
    out_.line(use("tanh_lanes") + "(" + array + ");", comment_of(tanh));
    p.scope->names[tanh] = array + "[";
  }
  std::map<int, Pick> picks;
  auto gather = [&](int value) {
    if (std::find(gathered.begin(), gathered.end(), value) != gathered.end()) return;
    gathered.push_back(value);
    out_.line(std::string(type_name(k_.ops[value].type)) + " m" + std::to_string(value) + "[" +
              lanes + "];");
  };
  for (int r : reduces) {
    const bool joins = std::any_of(reduces.begin(), reduces.end(),
                                   [&](int sum) { return joined_max(sum) == r; });
    Pick pick;
    if (joined_max(r) >= 0) {
      sums.push_back(r);
      gather(k_.ops[joined_max(r)].args[0]);
    } else if (find_pick(r, pick)) {
      gather(pick.value);
      picks[r] = pick;
    } else if (!joins) {
      plain.push_back(r);
    }
  }
  declare_stored(stores);
  Scope inside{p.scope};
  Point at = p;
  at.scope = &inside;
  open_lanes(at);
  accumulate(plain, at, "");
  for (int value : gathered)
    out_.line("m" + std::to_string(value) + "[" + at.lane + "] = " + eval(value, at) + ";");
  stored_lanes(stores, at);
  if (p.pass == a_.stages)
    for (int r : sums_over_rows(k_, a_)) {
      const std::string sum = "c" + std::to_string(r) + "[" + p.turn + "][" + at.lane + "]";
      const std::string value = joined(k_.ops[r], sum, eval(k_.ops[r].args[0], at));
      out_.line((partial_rows_ ? "if (here) " : "") + sum + " = " + value + ";",
                std::string(name_of(k_.ops[r].reduce)) + " over rows");
    }
  close_lanes();
  for (int sum : sums) {
    const int max = joined_max(sum);
    out_.line(use("add_exps") + "(r" + std::to_string(max) + ", r" + std::to_string(sum) + ", m" +
              std::to_string(k_.ops[max].args[0]) + ");");
  }
  for (const auto& [r, pick] : picks) {
    const std::string number = std::to_string(r), at_lane = "at" + number;
    out_.line("const unsigned " + at_lane + " = (unsigned)" + eval(pick.number, p) +
              " - (unsigned)" + index_value(pick.index, p) + ";");
    out_.open("if (" + at_lane + " < " + lanes + "u)");
    out_.unroll();
    out_.line("for (int j = 0; j < " + lanes + "; ++j)");
    out_.line("  if (" + at_lane + " == j) r" + number + " += m" + std::to_string(pick.value) +
              "[j];");
    out_.close();
  }
}

// Partial results of a team's threads -> the whole, in every thread; the order is fixed. Reductions
// of one pass share the barrier. A sum of exponentials follows its maximum.
void Emitter::row_join(const Ops& reduces, Point& unit) {
  if (reduces.empty()) return;
  for (int r : reduces) unit.scope->names[r] = "r" + std::to_string(r);
  const int warps = team() / 32, lanes = std::min(team(), 32);
  auto joins = [&](int r) {
    return std::any_of(reduces.begin(), reduces.end(),
                       [&](int sum) { return joined_max(sum) == r; });
  };
  auto across = [&](int r, int count, std::string value) {
    const std::string number = std::to_string(r);
    if (joins(r)) {
      out_.line("t" + number + " = " + value + ";");
      value = "t" + number;
    }
    if (const int max = joined_max(r); max >= 0)
      value = "(" + value + ") * " + use("exp_below") + "(t" + std::to_string(max) + " - r" +
              std::to_string(max) + ")";
    out_.line("r" + number + " = " + use("across_lanes") + "<" + functor(k_.ops[r]) + ", " +
              std::to_string(count) + ">(" + value + ");");
  };
  for (int r : reduces)
    if (joins(r) && team() > 1) out_.line("float t" + std::to_string(r) + ";");
  if (team() > 1)
    for (int r : reduces) across(r, lanes, "r" + std::to_string(r));
  if (warps > 1) {
    for (int r : reduces) {
      const std::string shared = "s" + std::to_string(r);
      out_.line(std::string("__shared__ ") + type_name(k_.ops[r].type) + " " + shared + "[" +
                std::to_string(block() / 32 * (join_slot_.empty() ? 1 : 2)) + "];");
      out_.line("if (threadIdx.x % 32 == 0) " + shared + "[" + join_slot_ +
                "threadIdx.x / 32] = r" + std::to_string(r) + ";");
    }
    out_.line("__syncthreads();");
    const bool power = std::has_single_bit(static_cast<unsigned>(warps));
    const std::string first =
        join_slot_ + (team() == block() ? ""
                                        : "threadIdx.x / " + std::to_string(team()) + " * " +
                                              std::to_string(warps) + " + ");
    for (int r : reduces) {
      const std::string shared = "s" + std::to_string(r), count = std::to_string(warps);
      if (power)
        across(r, warps, shared + "[" + first + "threadIdx.x % " + count + "]");
      else
        across(r, 32, "threadIdx.x % 32 < " + count + " ? " + shared + "[" + join_slot_ +
                          "threadIdx.x % 32] : " +
                          neutral(k_.ops[r]));
    }
  }
  for (int r : reduces)
    if (int max = joined_max(r); max >= 0)
      out_.line(use("end_exps") + "(r" + std::to_string(max) + ", r" + std::to_string(r) + ");");
}

}  // namespace fusec::codegen_cuda
