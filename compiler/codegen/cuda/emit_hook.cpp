// The kernel of an attention hook (compiler/ir/hook_kernels.h) -> device functions of one score,
// which the attention kernels of runtime/cuda/calls inline:
//
//   tile[j][i] = select(le(key, query), add(tile[j][i], slope[head]), -inf)
//     ->  bool seen(c, at) { ... at.key <= at.query ... }
//         float score(c, at, product) { ... product + c.h0[at.head] ... }
//
// The tile's corner and its loops are gone: positions are those of the score, and a load is an
// element of a captured tensor at a sum of positions. What a score becomes and whether its key is
// seen are functions of their own, so that tiles which the mask leaves whole do not ask it.
#include <algorithm>
#include <cmath>
#include <sstream>

#include "emit.h"
#include "fusec/base/error.h"

namespace fusec::codegen_cuda {
namespace {

using Kind = KernelOp::Kind;

constexpr const char* kAxes[] = {"item", "head", "query", "key"};

struct Load {
  size_t captured = 0;
  int64_t offset = 0, step[4] = {}, wanted = 0;
};

std::vector<Load> read_loads(const LibraryCall& call) {
  std::vector<Load> out;
  std::istringstream text(call.text("hook_loads"));
  for (std::string one; std::getline(text, one, ';');) {
    std::istringstream numbers(one);
    Load l;
    numbers >> l.captured >> l.offset;
    for (int64_t& s : l.step) numbers >> s;
    numbers >> l.wanted;
    if (numbers.fail()) fail_internal("hook_loads does not read: " + one);
    out.push_back(l);
  }
  return out;
}

// The kernel without its tile: what the analysis takes.
KernelProgram for_one_score(KernelProgram k) {
  k.schedule.ragged = false;
  k.schedule.block = k.schedule.team = 32;
  return k;
}

}  // namespace

// Of one call: its loads, as the kernel's parameters [first_load, first_load + loads).
struct Emitter::HookParts {
  const LibraryCall& call;
  std::vector<TensorType> captured;
  std::vector<Load> loads;
  size_t first_load;
};

// The element that a load reads, as "c.h2[...]".
std::string Emitter::captured_element(const HookParts& h, int op) const {
  const Load& l = h.loads.at(k_.ops[op].access.param - h.first_load);
  const DType type = k_.ops[op].type;
  const int64_t size = size_of(type);
  const char* sizes[] = {"b", "h", "t", "s"};
  double reach = std::fabs(static_cast<double>(l.offset));
  for (int a = 0; a < 4; ++a)
    reach +=
        std::fabs(static_cast<double>(l.step[a])) * static_cast<double>(h.call.integer(sizes[a]));
  const bool wide = reach / static_cast<double>(size) >= 0x1p31;
  std::string sum;
  for (int a = 0; a < 4; ++a)
    if (l.step[a] != 0)
      sum += (sum.empty() ? "" : " + ") + std::string(wide ? "(long long)" : "") + "at." +
             kAxes[a] + (l.step[a] == size ? "" : " * " + num(l.step[a] / size));
  if (l.offset != 0 || sum.empty()) sum += (sum.empty() ? "" : " + ") + num(l.offset / size);
  return "c.h" + std::to_string(l.captured) + "[" + sum + "]";
}

// Names for what ops above `root` read; bits of the axes that they depend on.
unsigned Emitter::hook_leaves(const HookParts& h, int root, Point& p) {
  std::vector<bool> needed(k_.ops.size());
  needed[root] = true;
  for (int i = root; i >= 0; --i)
    if (needed[i])
      for (int arg : k_.ops[i].args) needed[arg] = true;
  unsigned axes = 0;
  for (int i = 0; i <= root; ++i) {
    const KernelOp& op = k_.ops[i];
    if (!needed[i] || (op.kind != Kind::load && op.kind != Kind::index)) continue;
    if (p.scope->names.count(i)) continue;  // of an earlier root
    if (op.kind == Kind::index) {  // a step from the corner, which is the score's own place here
      p.scope->names[i] = "0";
    } else if (op.access.param == 0) {
      p.scope->names[i] = "product";
    } else if (op.access.param == 1) {
      p.scope->names[i] = std::string("at.") + kAxes[op.access.offset];
      axes |= 1u << op.access.offset;
    } else {
      const Load& l = h.loads.at(op.access.param - h.first_load);
      for (int a = 0; a < 4; ++a) axes |= l.step[a] != 0 ? 1u << a : 0;
      const std::string name = "v" + std::to_string(i);
      out_.line("const " + std::string(type_name(op.type)) + " " + name + " = " +
                scalar_value(i, captured_element(h, i)) + ";");
      p.scope->names[i] = name;
    }
  }
  return axes;
}

HookFunctions Emitter::hook(const LibraryCall& call) {
  const bool grad = call.name == "attention_grad";
  const HookParts h{call, captured_types(call), read_loads(call), grad ? size_t{3} : size_t{2}};
  std::vector<int> stored(k_.params.size(), -1);
  for (const KernelOp& op : k_.ops)
    if (op.kind == Kind::store) stored.at(op.access.param) = op.args[0];

  // select(seen, score, -inf) is taken apart.
  HookFunctions out;
  int score = stored[0], seen = -1;
  out.masked = call.attrs.contains("hook_mask");
  if (out.masked) {
    const KernelOp& root = k_.ops[score];
    const bool apart = root.kind == Kind::prim && root.prim == Prim::select &&
                       k_.ops[root.args[2]].kind == Kind::constant &&
                       k_.ops[root.args[2]].imm == -INFINITY;
    if (apart)
      seen = root.args[0], score = root.args[1];
    else
      out.masked = false;  // what it hides is a score of -inf
  }

  const std::string qualifiers = "__device__ __forceinline__ ";
  std::vector<int> wanted;
  for (size_t i = h.first_load + h.loads.size(); i < stored.size(); ++i)
    wanted.push_back(stored[i]);
  const std::string count = std::to_string(std::max<size_t>(1, wanted.size()));
  if (out.masked) {
    Scope scope;
    Point p{&scope};
    out_.open(qualifiers + "bool seen(const Captured& c, const Place& at)");
    out.mask_axes = hook_leaves(h, seen, p);
    out_.line("return " + eval(seen, p) + ";");
    out_.close();
  } else {
    out_.line(qualifiers + "bool seen(const Captured&, const Place&) { return true; }");
  }
  Scope scope;
  Point p{&scope};
  const std::string arguments = "(const Captured& c, const Place& at, float product)";
  if (grad) {
    out_.line("struct Slopes {");
    out_.line("  float score, by_product, by_load[" + count + "];");
    out_.line("};");
    out_.open(qualifiers + "Slopes slopes" + arguments);
    std::vector<int> roots = {score, stored[2]};
    roots.insert(roots.end(), wanted.begin(), wanted.end());
    for (int root : roots) hook_leaves(h, root, p);
    out_.line("Slopes r = {};");
    out_.line("r.score = " + eval(score, p) + ";");
    out_.line("r.by_product = " + eval(stored[2], p) + ";");
    for (size_t i = 0; i < wanted.size(); ++i)
      out_.line("r.by_load[" + std::to_string(i) + "] = " + eval(wanted[i], p) + ";");
    out_.line("return r;");
  } else {
    out_.open(qualifiers + "float score" + arguments);
    hook_leaves(h, score, p);
    out_.line("return " + eval(score, p) + ";");
  }
  out_.close();

  std::string fields, parameters, names;
  for (size_t i = 0; i < h.captured.size(); ++i) {
    const std::string one =
        "const " + std::string(storage_name(h.captured[i].dtype)) + "* h" + std::to_string(i);
    fields += "  " + one + ";\n";
    parameters += ", " + one;
    names += (i ? ", h" : "h") + std::to_string(i);
  }
  out.text = "namespace hook {\n" + prelude_.text() + "\nstruct Captured {\n" + fields +
             "};\nstruct Place {\n  int item, head, query, key;\n};\n" + out_.str() +
             "}  // namespace hook\n#define HOOK_PARAMETERS " + parameters +
             "\n#define HOOK_CAPTURED {" + names + "}\n";
  return out;
}

HookFunctions emit_hook(const KernelProgram& kernel, const LibraryCall& call) {
  const KernelProgram one = for_one_score(kernel);
  return Emitter(one, LaunchForm::single, false).hook(call);
}

}  // namespace fusec::codegen_cuda
