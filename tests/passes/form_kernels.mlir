// RUN: split-file %s %t
// RUN: %fusec --print-after=form_kernels --stop-after=fused --no-locations %t/kernels.mlir | FileCheck %t/kernels.mlir
// RUN: %fusec --print-after=form_kernels --stop-after=fused --no-locations %t/copies.mlir | FileCheck %t/copies.mlir
// RUN: %fusec --print-after=form_kernels --stop-after=fused --no-locations %t/alias.mlir | FileCheck %t/alias.mlir
// RUN: %fusec --print-after=form_kernels --stop-after=fused --no-locations %t/chain.mlir | FileCheck %t/chain.mlir
// RUN: %fusec check %t/chain.mlir

//--- kernels.mlir
// stage: canonical
// Each op is a kernel of its own; broadcasts, permutes, slices, splats and iota fold into its loads.
fusec.graph "kernels" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %bias = fusec.parameter "bias" : tensor<8xf32>
  %t = fusec.input "t" : tensor<8x4xf32>
  %half = fusec.constant dense<0.5> : tensor<4x8xf32> : tensor<4x8xf32>
  %b = fusec.view broadcast(%bias) {dims = array<i64: -1, 0>} : tensor<8xf32> to tensor<4x8xf32>
  %p = fusec.view permute(%t) {dims = array<i64: 1, 0>} : tensor<8x4xf32> to tensor<4x8xf32>
  %sum = fusec.map add(%x, %b) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %scaled = fusec.map mul(%p, %half) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %max = fusec.reduce max(%sum) axes [1] : tensor<4x8xf32> to tensor<4xf32>
  fusec.output "max" %max : tensor<4xf32>
  fusec.output "scaled" %scaled : tensor<4x8xf32>
}
// CHECK-LABEL: // after form_kernels
// CHECK-DAG: %[[X:.*]] = fusec.input "x"
// CHECK-DAG: %[[BIAS:.*]] = fusec.parameter "bias"
// CHECK-DAG: %[[T:.*]] = fusec.input "t"
// CHECK: %[[ADD:.*]] = fusec.kernel "add"(%[[BIAS]], %[[X]]) : (tensor<8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT: ^bb0(%[[A0:.*]]: tensor<8xf32>, %[[A1:.*]]: tensor<4x8xf32>):
// CHECK-NEXT: %[[B:.*]] = fusec.view broadcast(%[[A0]])
// CHECK-NEXT: %[[R:.*]] = fusec.map add(%[[A1]], %[[B]])
// CHECK-NEXT: fusec.yield %[[R]]
// CHECK: %[[MUL:.*]] = fusec.kernel "mul"(%[[T]])
// CHECK: fusec.view permute
// CHECK: fusec.constant dense<5.000000e-01>
// CHECK: %[[MAX:.*]] = fusec.kernel "max"(%[[ADD]])
// CHECK: fusec.output "max" %[[MAX]]
// CHECK: fusec.output "scaled" %[[MUL]]

//--- copies.mlir
// stage: canonical
// A view that something else than a kernel reads is a copy; the kernel goes on reading the source.
fusec.graph "copies" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %w = fusec.parameter "w" : tensor<16x4xf32>
  %p = fusec.view permute(%x) {dims = array<i64: 1, 0>} : tensor<4x8xf32> to tensor<8x4xf32>
  %y = fusec.library "gemm"(%p, %w) {m = 8 : i64, n = 16 : i64, k = 4 : i64, batch = 1 : i64, lda = 4 : i64, ldb = 4 : i64, ldc = 16 : i64, stride_a = 32 : i64, stride_b = 64 : i64, stride_c = 128 : i64, trans_a = 0 : i64, trans_b = 1 : i64, alpha = 1.0 : f64, beta = 0.0 : f64, type_a = "f32", type_b = "f32", type_c = "f32"} : (tensor<8x4xf32>, tensor<16x4xf32>) -> tensor<8x16xf32>
  %e = fusec.map exp(%p) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  fusec.output "y" %y : tensor<8x16xf32>
  fusec.output "e" %e : tensor<8x4xf32>
}
// CHECK-LABEL: // after form_kernels
// CHECK: %[[X:.*]] = fusec.input "x"
// CHECK: %[[COPY:.*]] = fusec.kernel "permute"(%[[X]])
// CHECK: fusec.library "gemm"(%[[COPY]]
// CHECK: fusec.kernel "exp"(%[[X]])

//--- alias.mlir
// stage: canonical
// A reshape of dense memory is the same memory: no kernel is made for it.
fusec.graph "alias" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %w = fusec.parameter "w" : tensor<16x4xf32>
  %r = fusec.view reshape(%x) : tensor<4x8xf32> to tensor<8x4xf32>
  %y = fusec.library "gemm"(%r, %w) {m = 8 : i64, n = 16 : i64, k = 4 : i64, batch = 1 : i64, lda = 4 : i64, ldb = 4 : i64, ldc = 16 : i64, stride_a = 32 : i64, stride_b = 64 : i64, stride_c = 128 : i64, trans_a = 0 : i64, trans_b = 1 : i64, alpha = 1.0 : f64, beta = 0.0 : f64, type_a = "f32", type_b = "f32", type_c = "f32"} : (tensor<8x4xf32>, tensor<16x4xf32>) -> tensor<8x16xf32>
  fusec.output "y" %y : tensor<8x16xf32>
}
// CHECK-LABEL: // after form_kernels
// CHECK-NOT: fusec.kernel
// CHECK: %[[R:.*]] = fusec.view reshape
// CHECK-NOT: fusec.kernel
// CHECK: fusec.library "gemm"(%[[R]]

//--- chain.mlir
// stage: canonical
// Two slices with a reshape between them have no affine index: the first is a copy.
fusec.graph "chain" {
  %x = fusec.input "x" : tensor<3x7x6xbf16>
  %a = fusec.view slice(%x) {start = array<i64: 0, 0, 0>, step = array<i64: 1, 1, 1>} : tensor<3x7x6xbf16> to tensor<3x7x5xbf16>
  %b = fusec.view reshape(%a) : tensor<3x7x5xbf16> to tensor<3x35xbf16>
  %c = fusec.view slice(%b) {start = array<i64: 0, 1>, step = array<i64: 1, 1>} : tensor<3x35xbf16> to tensor<3x33xbf16>
  fusec.output "c" %c : tensor<3x33xbf16>
}
// CHECK-LABEL: // after form_kernels
// CHECK: %[[X:.*]] = fusec.input "x"
// CHECK: %[[A:.*]] = fusec.kernel "slice"(%[[X]]) : (tensor<3x7x6xbf16>) -> tensor<3x7x5xbf16>
// CHECK: %[[C:.*]] = fusec.kernel "slice"(%[[A]]) : (tensor<3x7x5xbf16>) -> tensor<3x33xbf16>
// CHECK: fusec.view reshape
// CHECK: fusec.output "c" %[[C]]
