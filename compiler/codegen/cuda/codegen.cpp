// The entry of the code generator.
#include "fusec/codegen_cuda/codegen.h"

#include "emit.h"
#include "shape.h"

namespace fusec::codegen_cuda {

std::string emit(const KernelProgram& kernel, LaunchForm form, bool comments) {
  const KernelProgram small = with_fewer_dims(kernel);
  return Emitter(small, form, comments).text();
}

int64_t dynamic_shared(const KernelProgram&) { return 0; }

}  // namespace fusec::codegen_cuda
