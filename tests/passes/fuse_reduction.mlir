// RUN: split-file %s %t
// RUN: %fusec --print-after=fuse_reduction --stop-after=fused --no-locations %t/rmsnorm.mlir | FileCheck %t/rmsnorm.mlir
// RUN: %fusec --print-after=fuse_reduction --stop-after=fused --no-locations %t/softmax.mlir | FileCheck %t/softmax.mlir
// RUN: %fusec --print-after=fuse_reduction --stop-after=fused --no-locations %t/siblings.mlir | FileCheck %t/siblings.mlir
// RUN: %fusec --print-after=fuse_reduction --stop-after=fused --no-locations %t/ranges.mlir | FileCheck %t/ranges.mlir
// RUN: %fusec explain %t/ranges.mlir | FileCheck %t/ranges.mlir --check-prefix=WHY
// RUN: %fusec --no-fuse --dump-ir=fused --no-locations %t/rmsnorm.mlir | FileCheck %t/rmsnorm.mlir --check-prefix=APART

//--- rmsnorm.mlir
// Residual add, RMSNorm and its scale: one kernel that reads each row once.
fusec.graph "rmsnorm" {
  %x = fusec.input "x" : tensor<512x256xf32>
  %r = fusec.input "r" : tensor<512x256xf32>
  %w = fusec.parameter "w" : tensor<256xf32>
  %h = fusec.map add(%x, %r) : (tensor<512x256xf32>, tensor<512x256xf32>) -> tensor<512x256xf32>
  %q = fusec.map square(%h) : (tensor<512x256xf32>) -> tensor<512x256xf32>
  %s = fusec.reduce sum(%q) axes [1] : tensor<512x256xf32> to tensor<512xf32>
  %n = fusec.constant dense<0.00390625> : tensor<512xf32> : tensor<512xf32>
  %m = fusec.map mul(%s, %n) : (tensor<512xf32>, tensor<512xf32>) -> tensor<512xf32>
  %i = fusec.map rsqrt(%m) : (tensor<512xf32>) -> tensor<512xf32>
  %ib = fusec.view broadcast(%i) {dims = array<i64: 0, -1>} : tensor<512xf32> to tensor<512x256xf32>
  %wb = fusec.view broadcast(%w) {dims = array<i64: -1, 0>} : tensor<256xf32> to tensor<512x256xf32>
  %y0 = fusec.map mul(%h, %ib) : (tensor<512x256xf32>, tensor<512x256xf32>) -> tensor<512x256xf32>
  %y = fusec.map mul(%y0, %wb) : (tensor<512x256xf32>, tensor<512x256xf32>) -> tensor<512x256xf32>
  fusec.output "h" %h : tensor<512x256xf32>
  fusec.output "y" %y : tensor<512x256xf32>
}
// CHECK-LABEL: // after fuse_reduction
// CHECK: %[[K:.*]]:2 = fusec.kernel "{{[a-z_]*}}"(%{{[0-9]+}}, %{{[0-9]+}}, %{{[0-9]+}}) : (tensor<512x256xf32>, tensor<512x256xf32>, tensor<256xf32>) -> (tensor<512x256xf32>, tensor<512x256xf32>)
// CHECK-NOT: fusec.kernel
// CHECK: fusec.output "h" %[[K]]#0
// CHECK: fusec.output "y" %[[K]]#1
// The baseline keeps one kernel an op.
// APART-COUNT-7: fusec.kernel
// APART-NOT: fusec.kernel

//--- softmax.mlir
// Two reductions over the same rows.
fusec.graph "softmax" {
  %x = fusec.input "x" : tensor<512x256xf32>
  %max = fusec.reduce max(%x) axes [1] : tensor<512x256xf32> to tensor<512xf32>
  %mb = fusec.view broadcast(%max) {dims = array<i64: 0, -1>} : tensor<512xf32> to tensor<512x256xf32>
  %c = fusec.map sub(%x, %mb) : (tensor<512x256xf32>, tensor<512x256xf32>) -> tensor<512x256xf32>
  %e = fusec.map exp(%c) : (tensor<512x256xf32>) -> tensor<512x256xf32>
  %s = fusec.reduce sum(%e) axes [1] : tensor<512x256xf32> to tensor<512xf32>
  %sb = fusec.view broadcast(%s) {dims = array<i64: 0, -1>} : tensor<512xf32> to tensor<512x256xf32>
  %y = fusec.map div(%e, %sb) : (tensor<512x256xf32>, tensor<512x256xf32>) -> tensor<512x256xf32>
  fusec.output "y" %y : tensor<512x256xf32>
}
// CHECK-LABEL: // after fuse_reduction
// CHECK: %[[K:.*]] = fusec.kernel "{{.*}}"(%{{[0-9]+}}) : (tensor<512x256xf32>) -> tensor<512x256xf32>
// CHECK: fusec.reduce max
// CHECK: fusec.reduce sum
// CHECK-NOT: fusec.kernel
// CHECK: fusec.output "y" %[[K]]

//--- siblings.mlir
// Neither feeds the other, but both read x: one load serves both.
fusec.graph "siblings" {
  %x = fusec.input "x" : tensor<512x256xf32>
  %max = fusec.reduce max(%x) axes [1] : tensor<512x256xf32> to tensor<512xf32>
  %min = fusec.reduce min(%x) axes [1] : tensor<512x256xf32> to tensor<512xf32>
  fusec.output "max" %max : tensor<512xf32>
  fusec.output "min" %min : tensor<512xf32>
}
// CHECK-LABEL: // after fuse_reduction
// CHECK: %[[K:.*]]:2 = fusec.kernel "max_min"
// CHECK-NOT: fusec.kernel

//--- ranges.mlir
// Rows and columns of one tensor are loops over different ranges.
fusec.graph "ranges" {
  %x = fusec.input "x" : tensor<512x256xf32>
  %rows = fusec.reduce sum(%x) axes [1] : tensor<512x256xf32> to tensor<512xf32>
  %rb = fusec.view broadcast(%rows) {dims = array<i64: 0, -1>} : tensor<512xf32> to tensor<512x256xf32>
  %d = fusec.map sub(%x, %rb) : (tensor<512x256xf32>, tensor<512x256xf32>) -> tensor<512x256xf32>
  %columns = fusec.reduce sum(%d) axes [0] : tensor<512x256xf32> to tensor<256xf32>
  fusec.output "columns" %columns : tensor<256xf32>
}
// CHECK-LABEL: // after fuse_reduction
// CHECK: fusec.kernel "sum
// CHECK: fusec.reduce sum(%{{.*}}) axes [1]
// CHECK: fusec.kernel
// CHECK: fusec.reduce sum(%{{.*}}) axes [0]
// WHY: fuse_reduction not fused sum_sub ({{.*}}) -> sum ({{.*}}): column sums beside rows: this device computes them apart (would save 1.05 MB)
