#include "fusec/core/work_group.h"

#include <algorithm>
#include <array>

namespace fusec {
namespace {

bool starts_with_one_of(std::string_view part, std::initializer_list<std::string_view> starts) {
  return std::any_of(starts.begin(), starts.end(),
                     [&](std::string_view s) { return part.substr(0, s.size()) == s; });
}

bool is_one_of(std::string_view part, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), part) != names.end();
}

// Does any dotted part of the scope satisfy `f`?
template <class F>
bool any_part(std::string_view scope, F f) {
  while (!scope.empty()) {
    const size_t end = std::min(scope.find('.'), scope.size());
    if (f(scope.substr(0, end))) return true;
    scope.remove_prefix(std::min(end + 1, scope.size()));
  }
  return false;
}

bool reduces_rows(const KernelProgram& kernel) {
  return kernel.schedule.kind == ScheduleKind::rows &&
         std::any_of(kernel.ops.begin(), kernel.ops.end(),
                     [](const KernelOp& op) { return op.kind == KernelOp::Kind::reduce; });
}

WorkGroup group_of_scope(std::string_view scope) {
  if (any_part(scope, [](auto p) { return is_one_of(p, {"vision", "resampler", "projector"}); }))
    return WorkGroup::vision;
  if (any_part(scope, [](auto p) { return p == "optimizer"; })) return WorkGroup::optimizer;
  if (any_part(scope, [](auto p) { return is_one_of(p, {"loss", "head"}); }))
    return WorkGroup::loss;
  if (any_part(scope, [](auto p) { return starts_with_one_of(p, {"norm"}); }))
    return WorkGroup::norms;
  if (any_part(scope, [](auto p) { return starts_with_one_of(p, {"attn", "attention"}); }))
    return WorkGroup::attention;
  if (any_part(scope, [](auto p) { return is_one_of(p, {"mlp", "moe", "ffn"}); }))
    return WorkGroup::mlp;
  if (any_part(scope, [](auto p) { return p == "embedding"; })) return WorkGroup::embedding;
  return WorkGroup::other;
}

}  // namespace

std::string_view name_of(WorkGroup group) {
  static constexpr std::array<std::string_view, kWorkGroups> names = {
      "attention", "mlp", "norms", "optimizer", "loss", "embedding", "vision", "data", "other"};
  return names[static_cast<size_t>(group)];
}

WorkGroup group_of(const Plan& plan, const PlanStep& step) {
  const WorkGroup scope = group_of_scope(step.scope);
  if (step.kernel < 0) {
    if (is_one_of(step.call.name, {"copy", "fill"})) return WorkGroup::data;
    if (scope != WorkGroup::vision && starts_with_one_of(step.call.name, {"attention"}))
      return WorkGroup::attention;
    return scope;
  }
  if (step.commit) return WorkGroup::optimizer;
  const bool block = scope == WorkGroup::attention || scope == WorkGroup::mlp;
  const bool lone = scope == WorkGroup::other && step.scope == "trunk";  // its last norm
  if ((block || lone) && reduces_rows(plan.kernels[step.kernel])) return WorkGroup::norms;
  return scope;
}

std::string shape_of(const PlanStep& step) {
  if (step.kernel >= 0) return "";
  const LibraryCall& c = step.call;
  auto n = [&](std::string_view key) { return std::to_string(c.integer(key)); };
  if (c.name == "gemm") {
    std::string text = c.integer("batch") > 1 ? n("batch") + "x " : "";
    text += n("m") + "x" + n("n") + "x" + n("k") + " " + c.text("type_a");
    if (c.text("type_c") != c.text("type_a")) text += ">" + c.text("type_c");
    if (c.integer("trans_a")) text += " ta";
    if (c.integer("trans_b")) text += " tb";
    if (GemmEpilogue e = epilogue_of(c); e.any()) text += " +" + e.str();
    return text;
  }
  if (c.name == "attention" || c.name == "attention_grad") {
    std::string text = "b" + n("b") + " t" + n("t");
    if (c.integer("s") != c.integer("t")) text += " s" + n("s");
    text += " h" + n("h");
    if (c.integer("kv") != c.integer("h")) text += " kv" + n("kv");
    return text + " d" + n("d") + " " + c.text("type") + (c.integer("causal") ? " causal" : "");
  }
  if (c.name == "gather" || c.name == "scatter")
    return n("count") + " of " + n("rows") + "x" + n("width") + " " + c.text("type");
  return "";
}

}  // namespace fusec
