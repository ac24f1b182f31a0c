// RUN: split-file %s %t
// RUN: %fusec --print-after=rematerialize --stop-after=fused --no-locations %t/backward.mlir | FileCheck %t/backward.mlir
// RUN: %fusec explain --all %t/backward.mlir | FileCheck %t/backward.mlir --check-prefix=WHY
// RUN: %fusec --print-after=rematerialize --stop-after=fused --no-locations %t/statistic.mlir | FileCheck %t/statistic.mlir
// RUN: %fusec --print-after=rematerialize --stop-after=fused --no-locations %t/read.mlir | FileCheck %t/read.mlir

//--- backward.mlir
// The first kernel no longer stores %h (4 bytes an element): the last computes it from %x, which it
// reads anyway. The matrix product keeps the two apart.
fusec.graph "backward" {
  %x = fusec.input "x" : tensor<128x128xf32>
  %u = fusec.input "u" : tensor<128x128xf32>
  %h = fusec.map square(%x) : (tensor<128x128xf32>) -> tensor<128x128xf32>
  %y = fusec.map mul(%h, %u) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  %z = fusec.contract "mk,kn->mn"(%y, %u) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  %d0 = fusec.map mul(%z, %h) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  %d = fusec.map mul(%d0, %x) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  fusec.output "d" %d : tensor<128x128xf32>
}
// CHECK-LABEL: // after rematerialize
// CHECK: fusec.kernel "square_mul"(%{{[0-9]+}}, %{{[0-9]+}}) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
// CHECK: fusec.library "gemm"
// CHECK: fusec.kernel "again_{{.*}}"({{.*}}) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
// CHECK: fusec.map square
// CHECK: fusec.output "d"
// WHY: rematerialize fused

//--- statistic.mlir
// The row's maximum is stored (128 numbers) and read again; the shifted rows are not.
fusec.graph "statistic" {
  %x = fusec.input "x" : tensor<128x128xf32>
  %m = fusec.reduce max(%x) axes [1] : tensor<128x128xf32> to tensor<128xf32>
  %mb = fusec.view broadcast(%m) {dims = array<i64: 0, -1>} : tensor<128xf32> to tensor<128x128xf32>
  %c = fusec.map sub(%x, %mb) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  %y = fusec.map abs(%c) : (tensor<128x128xf32>) -> tensor<128x128xf32>
  %z = fusec.contract "mk,kn->mn"(%y, %y) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  %d0 = fusec.map mul(%z, %c) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  %d = fusec.map mul(%d0, %x) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  fusec.output "d" %d : tensor<128x128xf32>
}
// CHECK-LABEL: // after rematerialize
// CHECK: %[[K:.*]]:2 = fusec.kernel "{{.*}}"(%{{[0-9]+}}) : (tensor<128x128xf32>) -> (tensor<128x128xf32>, tensor<128xf32>)
// CHECK: fusec.kernel "again_{{.*}}"({{.*}}%[[K]]#1{{.*}})
// CHECK: fusec.map sub

//--- read.mlir
// A matrix product reads %h too, so it must be stored: nothing is gained.
fusec.graph "read" {
  %x = fusec.input "x" : tensor<128x128xf32>
  %h = fusec.map square(%x) : (tensor<128x128xf32>) -> tensor<128x128xf32>
  %z = fusec.contract "mk,kn->mn"(%h, %x) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  %d = fusec.map mul(%z, %h) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  fusec.output "d" %d : tensor<128x128xf32>
}
// CHECK-LABEL: // after rematerialize
// CHECK: fusec.kernel "square"
// CHECK: fusec.kernel "mul"
