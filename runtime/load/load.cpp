// Saved plan -> LoadedPlan. All that can be wrong with the bytes is found before memory is
// allocated or code is mapped.
#include "fusec/cpu/cpu.h"
#include "fusec/cpu/machine.h"
#include "fusec/io/file.h"
#include "fusec/plan/plan_image.h"
#include "fusec/runtime.h"

namespace fusec {

LoadedPlan load_plan_bytes(std::string_view bytes, const std::string& name,
                           const LoadOptions& options) {
  std::string what = name;
  try {
    PlanImage image = parse_image(bytes);
    what += ", made by " + image.maker;
    cpu::require_machine(image.machine);
    auto plan = std::make_shared<const Plan>(std::move(image.plan));
    return LoadedPlan(plan, cpu::load(plan, cpu::map_kernels(image.kernels),
                                      options.share ? options.share->store() : nullptr,
                                      cpu::thread_count(options.threads)));
  } catch (Error& e) {
    e.add_note("while loading " + what);
    throw;
  }
}

LoadedPlan load_plan(const std::string& path, const LoadOptions& options) {
  return load_plan_bytes(io::read_file(path), path, options);
}

}  // namespace fusec
