#include "attention.h"
namespace fusec::cuda {
CallPlan mma_attention_grad(const Attention& a, const LibraryCall& call, const CallTarget& target) {
  return any_attention_grad(a, call, target);
}
}  // namespace fusec::cuda
