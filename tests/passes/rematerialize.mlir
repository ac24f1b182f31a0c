// RUN: split-file %s %t
// RUN: %fusec --print-after=rematerialize --stop-after=fused --no-locations %t/backward.mlir | FileCheck %t/backward.mlir
// RUN: %fusec explain --all %t/backward.mlir | FileCheck %t/backward.mlir --check-prefix=WHY
// RUN: %fusec --print-after=rematerialize --stop-after=fused --no-locations %t/statistic.mlir | FileCheck %t/statistic.mlir
// RUN: %fusec --print-after=rematerialize --stop-after=fused --no-locations %t/read.mlir | FileCheck %t/read.mlir
// RUN: %fusec check %t/bias.mlir

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

//--- bias.mlir
// log(%b) is a number a column, which the kernel of the sum of %y by columns does not store; it is a
// kernel all the same.
fusec.graph "bias" {
  %x = fusec.input "x" : tensor<75x110xbf16>
  %b = fusec.input "b" : tensor<1x110xbf16>
  %l = fusec.map log(%b) : (tensor<1x110xbf16>) -> tensor<1x110xbf16>
  %lb = fusec.view broadcast(%l) {dims = array<i64: 0, 1>} : tensor<1x110xbf16> to tensor<75x110xbf16>
  %s = fusec.map sub(%x, %lb) : (tensor<75x110xbf16>, tensor<75x110xbf16>) -> tensor<75x110xbf16>
  %z = fusec.input "z" : tensor<75x110xbf16>
  %y = fusec.map maximum(%s, %z) : (tensor<75x110xbf16>, tensor<75x110xbf16>) -> tensor<75x110xbf16>
  %m = fusec.reduce max(%s) axes [0] : tensor<75x110xbf16> to tensor<110xbf16>
  fusec.output "m" %m : tensor<110xbf16>
  fusec.output "y" %y : tensor<75x110xbf16>
}
