#include "check.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "fusec/base/nearest.h"
#include "fusec/check.h"
#include "fusec/models/bundled.h"

namespace fusec::tool {
namespace {

std::string text_of(std::ifstream& file) {
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

ReadGraph read_input(const std::string& input) {
  if (std::ifstream file(input, std::ios::binary); file) return read_graph(text_of(file), input);
  const std::vector<std::string>& names = models::bundled_names();
  if (std::find(names.begin(), names.end(), input) == names.end())
    fail_user("no file and no bundled model \"" + input + "\"" + suggest(input, names));
  models::RecordedGraph model = models::build_bundled(input);
  return {input, std::move(model.graph), std::move(model.outputs)};
}

}  // namespace

int check_model(const CheckFlags& flags) {
  if (flags.input.empty())
    fail_user("check: expected a .mlir file or a bundled model; fusec --list shows them");
  ReadGraph model = read_input(flags.input);
  CheckOptions options;
  options.seed = flags.seed;
  options.steps = flags.steps;
  options.compile.threads = flags.threads;
  options.compile.device = flags.device;
  if (flags.precision == "bf16")  // the policy rounds operands, which the graph does not say
    options.compile.precision = Precision::bf16, options.whole = false;
  else if (flags.precision != "f32")
    fail_user("unknown precision \"" + flags.precision + "\"" +
              suggest(flags.precision, {"f32", "bf16"}));
  if (!flags.plan.empty()) {
    std::ifstream file(flags.plan, std::ios::binary);
    if (!file) fail_user("cannot read the plan " + flags.plan);
    options.compile.plan_text = text_of(file);
  }
  CheckReport report = check(*model.graph, model.outputs, options);
  fmt::print("{} seed {}: {}\n", flags.input, flags.seed, report.str());
  return report.ok() ? 0 : 1;
}

}  // namespace fusec::tool
