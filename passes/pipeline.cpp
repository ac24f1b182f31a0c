// The pipeline, read from top to bottom.
#include "fusec/passes/pass.h"

namespace fusec::passes {

const std::vector<Pass>& pipeline() {
  static constexpr auto always = [](const PassContext&) { return true; };
  static constexpr auto fusing = [](const PassContext& c) { return c.fuse; };
  static const std::vector<Pass> table = {
      {"canonicalize", "canonical",
       "later passes match on folded views and see no dead or equal ops", always, canonicalize},
      {"mixed_precision", "canonical", "casts must be visible before anything is fused",
       [](const PassContext& c) { return c.bf16; }, mixed_precision},
      {"decompose", "canonical", "splits whole-tensor sums before regions are chosen", always,
       decompose},
      {"canonicalize", "canonical", "the two passes above leave equal casts and identity views",
       always, canonicalize},
      {"fuse_gemms", "canonical",
       "needs the casts and views as they will stay, and no library call yet", fusing, fuse_gemms},
      {"select_library", "fused", "library calls bound the regions, so they are fixed first",
       always, select_library},
      {"fuse_epilogue", "fused",
       "what a GEMM does itself is no kernel; before ops become kernels, which hide them", fusing,
       fuse_epilogue},
      {"form_kernels", "fused", "fusion merges kernels, so each op becomes one; views fold in here",
       always, form_kernels},
      {"fuse_pointwise", "fused", "chains first: they make reductions see whole prologues", fusing,
       fuse_pointwise},
      {"fuse_reduction", "fused",
       "joins reductions with the chains on both sides and with each other", fusing,
       fuse_reduction},
      {"rematerialize", "fused",
       "what a kernel stores for later kernels is known once regions are; before copies are joined",
       fusing, rematerialize},
      {"store_again", "fused", "what rematerialize left in memory; before copies are joined",
       [](const PassContext& c) { return c.fuse && c.memory_budget > 0; }, store_again},
      {"fuse_horizontal", "fused", "only kernels that are final can be compared for equality",
       fusing, fuse_horizontal},
      {"place_concats", "scheduled",
       "only final kernels know what they store, and the loops depend on where it goes", fusing,
       place_concats},
      {"schedule", "scheduled", "needs the final regions", always, schedule},
      {"recompute", "scheduled",
       "repeats whole scheduled steps: the same code on the same values gives the same bits, and "
       "nothing after it could merge the copies again",
       [](const PassContext& c) { return c.memory_budget > 0; }, recompute},
  };
  return table;
}

}  // namespace fusec::passes
