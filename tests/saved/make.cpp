// Compiles the whole tiny training step, saves it, runs it twice, and writes what went in ("in:x")
// and what came out ("out:loss"): outputs, parameters and the optimizer's moments.
//   saved_make step.fsc step.values
#include <cstdio>

#include "../../bench/model.h"
#include "values.h"

using namespace fusec;

namespace {

test::Values values_of(const Executable& step, const std::string& prefix, bool written) {
  test::Values out;
  for (const PlanBuffer& b : step.plan().buffers) {
    bool input = b.cls == BufferClass::input, output = b.cls == BufferClass::output;
    if (b.cls == BufferClass::temporary || b.cls == BufferClass::constant) continue;
    if (written ? input : output) continue;
    std::string bytes(static_cast<size_t>(b.type.bytes()), '\0');
    step.read(b.name, bytes.data(), bytes.size());
    out[prefix + b.name] = bytes;
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  models::RecordedGraph model = models::build_bundled("vision-gpt:tiny");
  Executable step = compile(*model.graph, model.outputs, {.threads = 2});
  step.save(argv[1]);
  bench::fill(step);
  test::Values values = values_of(step, "in:", false);
  step.run();
  step.run();
  values.merge(values_of(step, "out:", true));
  test::write_values(argv[2], values);
  std::printf("loss %.9g, %zu values\n", step.get<float>("loss")[0], values.size());
}
