// RUN: split-file %s %t
// RUN: %fusec --device sm_90a --print-after=fuse_reduction --stop-after=fused --no-locations %t/norm.mlir | FileCheck %t/norm.mlir
// RUN: %fusec --device sm_90a --dump-ir=plan --no-locations %t/norm.mlir | FileCheck %t/norm.mlir --check-prefix=PLAN
// RUN: %fusec --print-after=fuse_reduction --stop-after=fused --no-locations %t/norm.mlir | FileCheck %t/norm.mlir --check-prefix=CPU
// RUN: %fusec --device sm_90a --print-after=fuse_reduction --stop-after=fused --no-locations %t/bias.mlir | FileCheck %t/bias.mlir
// RUN: %fusec explain %t/few.mlir --device sm_90a | FileCheck %t/few.mlir
// RUN: %fusec explain %t/wide.mlir --device sm_90a | FileCheck %t/wide.mlir
// RUN: %fusec --device sm_90a --print-after=fuse_reduction --stop-after=fused --no-locations %t/softmax.mlir | FileCheck %t/softmax.mlir

//--- norm.mlir
// The gradients of a norm's input (a sum over each row) and of its weight and bias (sums over rows)
// read the same two tensors: one kernel, a block for each of 256 panels of rows.
fusec.graph "norm" {
  %x = fusec.input "x" : tensor<8x4096x512xbf16>
  %d = fusec.input "dy" : tensor<8x4096x512xbf16>
  %xw = fusec.cast %x : tensor<8x4096x512xbf16> to tensor<8x4096x512xf32>
  %dw = fusec.cast %d : tensor<8x4096x512xbf16> to tensor<8x4096x512xf32>
  %p = fusec.map mul(%xw, %dw) : (tensor<8x4096x512xf32>, tensor<8x4096x512xf32>) -> tensor<8x4096x512xf32>
  %s = fusec.reduce sum(%p) axes [2] : tensor<8x4096x512xf32> to tensor<8x4096xf32>
  %sb = fusec.view broadcast(%s) {dims = array<i64: 0, 1, -1>} : tensor<8x4096xf32> to tensor<8x4096x512xf32>
  %m = fusec.map mul(%xw, %sb) : (tensor<8x4096x512xf32>, tensor<8x4096x512xf32>) -> tensor<8x4096x512xf32>
  %g = fusec.map sub(%dw, %m) : (tensor<8x4096x512xf32>, tensor<8x4096x512xf32>) -> tensor<8x4096x512xf32>
  %dx = fusec.cast %g : tensor<8x4096x512xf32> to tensor<8x4096x512xbf16>
  %weight = fusec.reduce sum(%p) axes [0, 1] : tensor<8x4096x512xf32> to tensor<512xf32>
  %bias = fusec.reduce sum(%dw) axes [0, 1] : tensor<8x4096x512xf32> to tensor<512xf32>
  fusec.output "dx" %dx : tensor<8x4096x512xbf16>
  fusec.output "weight" %weight : tensor<512xf32>
  fusec.output "bias" %bias : tensor<512xf32>
}
// CHECK-LABEL: // after fuse_reduction
// CHECK: fusec.kernel
// CHECK-SAME: (tensor<8x4096x512xbf16>, tensor<8x4096x512xbf16>) -> (
// CHECK-DAG: fusec.reduce sum(%{{.*}}) axes [2]
// CHECK-DAG: fusec.reduce sum(%{{.*}}) axes [1] : tensor<256x128x512xf32> to tensor<256x512xf32>
// CHECK-DAG: fusec.reduce sum(%{{.*}}) axes [1] : tensor<256x128x512xf32> to tensor<256x512xf32>
// CHECK: fusec.yield
// What is left adds the panels' sums.
// CHECK-COUNT-2: axes [0] : tensor<256x512xf32>
// CHECK-NOT: tensor<8x4096x512xbf16>,
// PLAN: domain   [256, 128, 512] rows 2 walked 1
// PLAN-NEXT: schedule rows vector 8 grain 1 {{(stream )?}}block 256 team 32
// PLAN-COUNT-2: over rows
// PLAN: run 0
// CPU-LABEL: // after fuse_reduction
// A range of 512 rows is no reason to walk 512 columns with it.
// CPU: axes [2]
// CPU: fusec.yield
// CPU: axes [1] : tensor<64x512x512xf32>

//--- bias.mlir
// The gradient of a bias beside the tensor that it sums.
fusec.graph "bias" {
  %h = fusec.input "h" : tensor<8192x1024xbf16>
  %d = fusec.input "dy" : tensor<8192x1024xbf16>
  %hw = fusec.cast %h : tensor<8192x1024xbf16> to tensor<8192x1024xf32>
  %dw = fusec.cast %d : tensor<8192x1024xbf16> to tensor<8192x1024xf32>
  %g = fusec.map mul(%hw, %dw) : (tensor<8192x1024xf32>, tensor<8192x1024xf32>) -> tensor<8192x1024xf32>
  %dh = fusec.cast %g : tensor<8192x1024xf32> to tensor<8192x1024xbf16>
  %bias = fusec.reduce sum(%g) axes [0] : tensor<8192x1024xf32> to tensor<1024xf32>
  fusec.output "dh" %dh : tensor<8192x1024xbf16>
  fusec.output "bias" %bias : tensor<1024xf32>
}
// CHECK-LABEL: // after fuse_reduction
// CHECK: %{{.*}}:2 = fusec.kernel
// CHECK: axes [1] : tensor<256x32x1024xf32> to tensor<256x1024xf32>
// CHECK: fusec.kernel
// CHECK-NOT: fusec.kernel

//--- few.mlir
// Too few rows to keep the multiprocessors busy.
fusec.graph "few" {
  %d = fusec.input "dy" : tensor<512x2048xf32>
  %g = fusec.map exp(%d) : (tensor<512x2048xf32>) -> tensor<512x2048xf32>
  %bias = fusec.reduce sum(%g) axes [0] : tensor<512x2048xf32> to tensor<2048xf32>
  fusec.output "dh" %g : tensor<512x2048xf32>
  fusec.output "bias" %bias : tensor<2048xf32>
}
// CHECK: not fused {{.*}} column sums beside rows: only 16 blocks would walk the rows of 132 multiprocessors

//--- wide.mlir
// A block's registers hold no sums of so many columns.
fusec.graph "wide" {
  %d = fusec.input "dy" : tensor<8192x16384xbf16>
  %w = fusec.cast %d : tensor<8192x16384xbf16> to tensor<8192x16384xf32>
  %g = fusec.map exp(%w) : (tensor<8192x16384xf32>) -> tensor<8192x16384xf32>
  %bias = fusec.reduce sum(%g) axes [0] : tensor<8192x16384xf32> to tensor<16384xf32>
  fusec.output "dh" %g : tensor<8192x16384xf32>
  fusec.output "bias" %bias : tensor<16384xf32>
}
// CHECK: not fused {{.*}} column sums beside rows: 1 sums of 16384 columns do not fit in a block's registers

//--- softmax.mlir
// A sum over rows is known when all of them have been walked: no row may use it.
fusec.graph "softmax" {
  %x = fusec.input "x" : tensor<256x64x256xf32>
  %s = fusec.reduce sum(%x) axes [1] : tensor<256x64x256xf32> to tensor<256x256xf32>
  %sb = fusec.view broadcast(%s) {dims = array<i64: 0, -1, 1>} : tensor<256x256xf32> to tensor<256x64x256xf32>
  %y = fusec.map div(%x, %sb) : (tensor<256x64x256xf32>, tensor<256x64x256xf32>) -> tensor<256x64x256xf32>
  fusec.output "y" %y : tensor<256x64x256xf32>
}
// CHECK-LABEL: // after fuse_reduction
// CHECK: fusec.kernel
// CHECK: fusec.reduce sum
// CHECK: fusec.yield
// CHECK: fusec.kernel
// CHECK-NOT: fusec.reduce
// CHECK: fusec.map div
