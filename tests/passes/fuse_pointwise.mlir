// RUN: split-file %s %t
// RUN: %fusec --print-after=fuse_pointwise --stop-after=fused --no-locations %t/chain.mlir | FileCheck %t/chain.mlir
// RUN: %fusec --print-after=fuse_pointwise --stop-after=fused --no-locations %t/outputs.mlir | FileCheck %t/outputs.mlir
// RUN: %fusec --print-after=fuse_pointwise --stop-after=fused --no-locations %t/refuses.mlir | FileCheck %t/refuses.mlir
// RUN: %fusec explain --all %t/cycle.mlir | FileCheck %t/cycle.mlir
// RUN: %fusec --no-fuse --print-after=fuse_pointwise %t/chain.mlir | count 0

//--- chain.mlir
// SwiGLU's neighbour: a chain of any length, casts and broadcasts included, is one kernel.
fusec.graph "chain" {
  %gate = fusec.input "gate" : tensor<64x128xbf16>
  %up = fusec.input "up" : tensor<64x128xf32>
  %scale = fusec.parameter "scale" : tensor<128xf32>
  %g = fusec.cast %gate : tensor<64x128xbf16> to tensor<64x128xf32>
  %s = fusec.map silu(%g) : (tensor<64x128xf32>) -> tensor<64x128xf32>
  %m = fusec.map mul(%s, %up) : (tensor<64x128xf32>, tensor<64x128xf32>) -> tensor<64x128xf32>
  %b = fusec.view broadcast(%scale) {dims = array<i64: -1, 0>} : tensor<128xf32> to tensor<64x128xf32>
  %y = fusec.map mul(%m, %b) : (tensor<64x128xf32>, tensor<64x128xf32>) -> tensor<64x128xf32>
  fusec.output "y" %y : tensor<64x128xf32>
}
// CHECK-LABEL: // after fuse_pointwise
// CHECK-COUNT-1: fusec.kernel
// CHECK: fusec.cast
// CHECK: fusec.map silu
// CHECK: fusec.map mul
// CHECK: fusec.map mul
// CHECK-NEXT: fusec.yield %{{.*}} : tensor<64x128xf32>
// CHECK-NOT: fusec.kernel

//--- outputs.mlir
// A value that others read too stays a result of the fused kernel.
fusec.graph "outputs" {
  %x = fusec.input "x" : tensor<64x128xf32>
  %w = fusec.parameter "w" : tensor<16x128xf32>
  %e = fusec.map exp(%x) : (tensor<64x128xf32>) -> tensor<64x128xf32>
  %n = fusec.map neg(%e) : (tensor<64x128xf32>) -> tensor<64x128xf32>
  %y = fusec.contract "mk,nk->mn"(%e, %w) : (tensor<64x128xf32>, tensor<16x128xf32>) -> tensor<64x16xf32>
  fusec.output "n" %n : tensor<64x128xf32>
  fusec.output "y" %y : tensor<64x16xf32>
}
// CHECK-LABEL: // after fuse_pointwise
// CHECK: %[[K:.*]]:2 = fusec.kernel "exp_neg"
// CHECK: fusec.library "gemm"(%[[K]]#0
// CHECK: fusec.output "n" %[[K]]#1

//--- refuses.mlir
// Reductions are fuse_reduction's; a library call keeps what is before and behind it apart.
fusec.graph "refuses" {
  %x = fusec.input "x" : tensor<64x128xf32>
  %w = fusec.parameter "w" : tensor<128x128xf32>
  %e = fusec.map exp(%x) : (tensor<64x128xf32>) -> tensor<64x128xf32>
  %s = fusec.reduce sum(%e) axes [1] : tensor<64x128xf32> to tensor<64xf32>
  %l = fusec.map log(%s) : (tensor<64xf32>) -> tensor<64xf32>
  %y = fusec.contract "mk,nk->mn"(%e, %w) : (tensor<64x128xf32>, tensor<128x128xf32>) -> tensor<64x128xf32>
  %t = fusec.map tanh(%y) : (tensor<64x128xf32>) -> tensor<64x128xf32>
  fusec.output "l" %l : tensor<64xf32>
  fusec.output "t" %t : tensor<64x128xf32>
}
// CHECK-LABEL: // after fuse_pointwise
// CHECK: fusec.kernel "exp"
// CHECK: fusec.kernel "sum"
// CHECK: fusec.kernel "log"
// CHECK: fusec.library "gemm"
// CHECK: fusec.kernel "tanh"

//--- cycle.mlir
// exp feeds mul both directly and through a GEMM: one kernel for both would need its own result.
fusec.graph "cycle" {
  %x = fusec.input "x" : tensor<128x128xf32>
  %w = fusec.parameter "w" : tensor<128x128xf32>
  %e = fusec.map exp(%x) : (tensor<128x128xf32>) -> tensor<128x128xf32>
  %y = fusec.contract "mk,nk->mn"(%e, %w) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  %n = fusec.map mul(%e, %y) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  fusec.output "n" %n : tensor<128x128xf32>
}
// CHECK: fuse_pointwise not fused exp ({{.*}}cycle.mlir:{{[0-9]+}}) -> mul ({{.*}}cycle.mlir:{{[0-9]+}}): another op between the two depends on the first
