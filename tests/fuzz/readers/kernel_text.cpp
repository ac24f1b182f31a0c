// Kernel text: parse, verify, and print again.
#include "fusec/plan/plan.h"
#include "plan_seeds.h"
#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  std::vector<std::string> out;
  for (const KernelProgram& k : small_plan().kernels) out.push_back(print(k));
  return out;
}

void read_bytes(std::string_view bytes) {
  KernelProgram kernel = parse_kernel(bytes);
  verify(kernel);
  (void)structural_hash(kernel);
  if (print(parse_kernel(print(kernel))) != print(kernel)) throw 0;
}

}  // namespace fusec::fuzz
