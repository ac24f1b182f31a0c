// RUN: split-file %s %t
// RUN: %fusec --memory-budget=1 --print-after=store_again --stop-after=fused --no-locations %t/far.mlir | FileCheck %t/far.mlir
// RUN: %fusec --memory-budget=1G --print-after=store_again --stop-after=fused --no-locations %t/far.mlir | FileCheck %t/far.mlir --check-prefix=FITS
// RUN: %fusec explain --all --memory-budget=1 %t/far.mlir | FileCheck %t/far.mlir --check-prefix=WHY
// RUN: %fusec --memory-budget=1 --print-after=store_again --stop-after=fused --no-locations %t/near.mlir | FileCheck %t/near.mlir
// RUN: %fusec --memory-budget=1 --print-after=store_again --stop-after=fused --no-locations %t/sum.mlir | FileCheck %t/sum.mlir
// RUN: %fusec check %t/far.mlir

//--- far.mlir
// The product at the end reads the copy that the kernel behind it makes; it follows that kernel.
fusec.graph "far" {
  %g = fusec.input "g" : tensor<256x128xf32>
  %u = fusec.input "u" : tensor<256x128xf32>
  %in = fusec.parameter "in" : tensor<512x128xf32>
  %w = fusec.parameter "w" : tensor<512x512xf32>
  %out = fusec.parameter "out" : tensor<128x512xf32>
  %s = fusec.map silu(%g) : (tensor<256x128xf32>) -> tensor<256x128xf32>
  %h = fusec.map mul(%s, %u) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<256x128xf32>
  %a0 = fusec.contract "mk,nk->mn"(%h, %in) : (tensor<256x128xf32>, tensor<512x128xf32>) -> tensor<256x512xf32>
  %a1 = fusec.contract "mk,nk->mn"(%a0, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a2 = fusec.contract "mk,nk->mn"(%a1, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a3 = fusec.contract "mk,nk->mn"(%a2, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a4 = fusec.contract "mk,nk->mn"(%a3, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a5 = fusec.contract "mk,nk->mn"(%a4, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a6 = fusec.contract "mk,nk->mn"(%a5, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a7 = fusec.contract "mk,nk->mn"(%a6, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a8 = fusec.contract "mk,nk->mn"(%a7, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a9 = fusec.contract "mk,nk->mn"(%a8, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a10 = fusec.contract "mk,nk->mn"(%a9, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a11 = fusec.contract "mk,nk->mn"(%a10, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a12 = fusec.contract "mk,nk->mn"(%a11, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a13 = fusec.contract "mk,nk->mn"(%a12, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a14 = fusec.contract "mk,nk->mn"(%a13, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a15 = fusec.contract "mk,nk->mn"(%a14, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a16 = fusec.contract "mk,nk->mn"(%a15, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a17 = fusec.contract "mk,nk->mn"(%a16, %out) : (tensor<256x512xf32>, tensor<128x512xf32>) -> tensor<256x128xf32>
  %dw = fusec.contract "mk,mn->kn"(%a17, %h) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<128x128xf32>
  %d0 = fusec.map mul(%a17, %g) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<256x128xf32>
  %d1 = fusec.map mul(%d0, %u) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<256x128xf32>
  fusec.output "dw" %dw : tensor<128x128xf32>
  fusec.output "d" %d1 : tensor<256x128xf32>
}
// CHECK-LABEL: // after store_again
// CHECK: %[[H:.*]] = fusec.kernel "silu_mul"(
// CHECK: fusec.library "gemm"(%[[H]],
// CHECK-NOT: %[[H]]
// CHECK: %[[D:.*]]:2 = fusec.kernel "again_mul_mul"(
// CHECK: fusec.map silu
// CHECK: fusec.yield
// CHECK: fusec.library "gemm"(%{{[0-9]+}}, %[[D]]#0)
// CHECK: fusec.output "d" %[[D]]#1
// FITS: fusec.kernel "silu_mul"(
// FITS-NOT: "again
// WHY: store_again {{ *}}fused {{ *}}again {{.*}} -> mul_mul

//--- near.mlir
// Too close for the memory in between to be worth a write.
fusec.graph "near" {
  %g = fusec.input "g" : tensor<256x128xf32>
  %u = fusec.input "u" : tensor<256x128xf32>
  %in = fusec.parameter "in" : tensor<512x128xf32>
  %w = fusec.parameter "w" : tensor<512x512xf32>
  %out = fusec.parameter "out" : tensor<128x512xf32>
  %s = fusec.map silu(%g) : (tensor<256x128xf32>) -> tensor<256x128xf32>
  %h = fusec.map mul(%s, %u) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<256x128xf32>
  %a0 = fusec.contract "mk,nk->mn"(%h, %in) : (tensor<256x128xf32>, tensor<512x128xf32>) -> tensor<256x512xf32>
  %a1 = fusec.contract "mk,nk->mn"(%a0, %out) : (tensor<256x512xf32>, tensor<128x512xf32>) -> tensor<256x128xf32>
  %dw = fusec.contract "mk,mn->kn"(%a1, %h) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<128x128xf32>
  %d0 = fusec.map mul(%a1, %g) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<256x128xf32>
  %d1 = fusec.map mul(%d0, %u) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<256x128xf32>
  fusec.output "dw" %dw : tensor<128x128xf32>
  fusec.output "d" %d1 : tensor<256x128xf32>
}
// CHECK-LABEL: // after store_again
// CHECK-NOT: "again

//--- sum.mlir
// g * g + u may be one fused multiply-add in one kernel and none in the other.
fusec.graph "sum" {
  %g = fusec.input "g" : tensor<256x128xf32>
  %u = fusec.input "u" : tensor<256x128xf32>
  %in = fusec.parameter "in" : tensor<512x128xf32>
  %w = fusec.parameter "w" : tensor<512x512xf32>
  %out = fusec.parameter "out" : tensor<128x512xf32>
  %s = fusec.map mul(%g, %g) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<256x128xf32>
  %h = fusec.map add(%s, %u) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<256x128xf32>
  %a0 = fusec.contract "mk,nk->mn"(%h, %in) : (tensor<256x128xf32>, tensor<512x128xf32>) -> tensor<256x512xf32>
  %a1 = fusec.contract "mk,nk->mn"(%a0, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a2 = fusec.contract "mk,nk->mn"(%a1, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a3 = fusec.contract "mk,nk->mn"(%a2, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a4 = fusec.contract "mk,nk->mn"(%a3, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a5 = fusec.contract "mk,nk->mn"(%a4, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a6 = fusec.contract "mk,nk->mn"(%a5, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a7 = fusec.contract "mk,nk->mn"(%a6, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a8 = fusec.contract "mk,nk->mn"(%a7, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a9 = fusec.contract "mk,nk->mn"(%a8, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a10 = fusec.contract "mk,nk->mn"(%a9, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a11 = fusec.contract "mk,nk->mn"(%a10, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a12 = fusec.contract "mk,nk->mn"(%a11, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a13 = fusec.contract "mk,nk->mn"(%a12, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a14 = fusec.contract "mk,nk->mn"(%a13, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a15 = fusec.contract "mk,nk->mn"(%a14, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a16 = fusec.contract "mk,nk->mn"(%a15, %w) : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  %a17 = fusec.contract "mk,nk->mn"(%a16, %out) : (tensor<256x512xf32>, tensor<128x512xf32>) -> tensor<256x128xf32>
  %dw = fusec.contract "mk,mn->kn"(%a17, %h) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<128x128xf32>
  %d0 = fusec.map mul(%a17, %g) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<256x128xf32>
  %d1 = fusec.map mul(%d0, %u) : (tensor<256x128xf32>, tensor<256x128xf32>) -> tensor<256x128xf32>
  fusec.output "dw" %dw : tensor<128x128xf32>
  fusec.output "d" %d1 : tensor<256x128xf32>
}
// CHECK-LABEL: // after store_again
// CHECK-NOT: "again
