// Saved plan -> LoadedPlan. All that can be wrong with the bytes is found before memory is
// allocated or code is mapped.
#include "fusec/cpu/cpu.h"
#include "fusec/cpu/machine.h"
#include "fusec/cuda/plan_code.h"
#include "fusec/io/file.h"
#include "fusec/plan/plan_image.h"
#include "fusec/runtime.h"

namespace fusec {

namespace {

LoadedPlan load_on_cpu(std::string_view body, const LoadOptions& options, std::string& what) {
  PlanImage image = parse_image_body(body);
  what += ", made by " + image.maker;
  cpu::require_machine(image.machine);
  auto plan = std::make_shared<const Plan>(std::move(image.plan));
  return LoadedPlan(plan, cpu::load(plan, cpu::map_kernels(image.kernels),
                                    options.share ? options.share->store() : nullptr,
                                    cpu::thread_count(options.threads)));
}

// Of the parts of the file only the one for the GPU at hand is loaded. No compiler is asked for
// anything: what the file lacks is an Error.
LoadedPlan load_on_gpu(std::string_view body, const LoadOptions& options, std::string& what) {
  cuda::GpuPlanImage image = cuda::parse_gpu_image_body(body);
  what += ", made by " + image.maker;
  std::string why;
  if (cuda::device_count(&why) == 0)
    fail_device("the saved plan runs on NVIDIA GPUs (" + image.parts.front().code.arch +
                (image.parts.size() > 1 ? " and others" : "") + "), and none can be used: " + why);
  const cuda::DeviceInfo gpu = cuda::device_info(options.gpu);
  cuda::PlanForGpu& part = cuda::part_for(image, gpu.arch(), gpu.name);
  cuda::LoadOptions load;
  load.device = options.gpu;
  load.tf32 = part.code.tf32;
  load.deterministic = part.code.target.deterministic;
  load.call_code = std::move(part.code.calls);
  load.compiles = false;
  load.target = part.code.target;
  load.nvrtc = part.code.nvrtc;
  auto plan = std::make_shared<const Plan>(std::move(part.plan));
  return LoadedPlan(plan, cuda::load(plan, std::move(part.code.kernels),
                                     options.share ? options.share->store() : nullptr, load));
}

}  // namespace

LoadedPlan load_plan_bytes(std::string_view bytes, const std::string& name,
                           const LoadOptions& options) {
  std::string what = name;
  try {
    OpenedImage file = open_image(bytes);
    return file.device == ImageDevice::cpu ? load_on_cpu(file.body, options, what)
                                           : load_on_gpu(file.body, options, what);
  } catch (Error& e) {
    e.add_note("while loading " + what);
    throw;
  }
}

LoadedPlan load_plan(const std::string& path, const LoadOptions& options) {
  return load_plan_bytes(io::read_file(path), path, options);
}

}  // namespace fusec
