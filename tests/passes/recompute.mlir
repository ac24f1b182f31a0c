// RUN: split-file %s %t
// RUN: %fusec --memory-budget=1 --dump-ir=scheduled %t/chain.mlir | FileCheck %t/chain.mlir
// RUN: %fusec --memory-budget=1G --dump-ir=scheduled %t/chain.mlir | FileCheck %t/chain.mlir --check-prefix=FITS
// RUN: %fusec explain --memory-budget=1 %t/chain.mlir | FileCheck %t/chain.mlir --check-prefix=WHY
// RUN: %fusec --memory-budget=1 --dump-ir=scheduled %t/kept.mlir | FileCheck %t/kept.mlir

//--- chain.mlir
// exp(x) is read at once and again at the end: while the wide values in between are there, it need
// not be. The copy stands right before its second reader and runs the same kernel.
fusec.graph "chain" {
  %x = fusec.input "x" : tensor<128x128xf32>
  %u = fusec.input "u" : tensor<512x128xf32>
  %v = fusec.input "v" : tensor<512x512xf32>
  %w = fusec.input "w" : tensor<128x512xf32>
  %e = fusec.map exp(%x) : (tensor<128x128xf32>) -> tensor<128x128xf32>
  %a = fusec.contract "mk,nk->mn"(%e, %u) : (tensor<128x128xf32>, tensor<512x128xf32>) -> tensor<128x512xf32>
  %b = fusec.contract "mk,nk->mn"(%a, %v) : (tensor<128x512xf32>, tensor<512x512xf32>) -> tensor<128x512xf32>
  %c = fusec.contract "mk,nk->mn"(%b, %w) : (tensor<128x512xf32>, tensor<128x512xf32>) -> tensor<128x128xf32>
  %d = fusec.contract "mk,kn->mn"(%c, %e) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  fusec.output "d" %d : tensor<128x128xf32>
}
// CHECK: [[E:%.+]] = fusec.kernel "[[K:k00_exp]]"(%0) {schedule
// CHECK: [[A:%.+]] = fusec.library "gemm"([[E]], %{{[0-9]+}})
// CHECK-NEXT: [[B:%.+]] = fusec.library "gemm"([[A]], %{{[0-9]+}})
// CHECK-NEXT: [[C:%.+]] = fusec.library "gemm"([[B]], %{{[0-9]+}})
// CHECK: [[F:%.+]] = fusec.kernel "[[K]]"(%0) {recompute
// CHECK: fusec.library "gemm"([[C]], [[F]])
// FITS-NOT: {recompute
// WHY: recompute {{ *}}k00_exp {{.*}}before library.gemm {{.*}}: recomputed: saves {{[0-9]+}} bytes over {{[0-9]+}} steps, costs 16384 flops
// WHY: recompute {{ *}}the memory budget of {{.*}} cannot be met

//--- kept.mlir
// Nothing to gain: what exp is made of would have to be kept instead, and an output is kept anyway.
fusec.graph "kept" {
  %x = fusec.input "x" : tensor<128x128xf32>
  %e = fusec.map exp(%x) : (tensor<128x128xf32>) -> tensor<128x128xf32>
  %a = fusec.contract "mk,nk->mn"(%e, %x) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  %b = fusec.contract "mk,nk->mn"(%a, %x) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  %d = fusec.contract "mk,kn->mn"(%b, %e) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  fusec.output "e" %e : tensor<128x128xf32>
  fusec.output "d" %d : tensor<128x128xf32>
}
// CHECK: fusec.kernel "k00_exp"
// CHECK-NOT: {recompute
