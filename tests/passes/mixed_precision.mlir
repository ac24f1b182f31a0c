// RUN: split-file %s %t
// RUN: %fusec --precision=bf16 --print-after=mixed_precision --stop-after=canonical --no-locations %t/casts.mlir | FileCheck %t/casts.mlir
// RUN: %fusec --precision=bf16 --print-after=mixed_precision --stop-after=canonical --no-locations %t/keeps.mlir | FileCheck %t/keeps.mlir
// Without the policy the pass does not run at all.
// RUN: %fusec --print-after=mixed_precision --stop-after=canonical %t/casts.mlir | count 0

//--- casts.mlir
fusec.graph "casts" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %w = fusec.parameter "w" : tensor<16x8xf32>
  %y = fusec.contract "mk,nk->mn"(%x, %w) : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
  %z = fusec.map exp(%y) : (tensor<4x16xf32>) -> tensor<4x16xf32>

  %q = fusec.input "q" : tensor<1x8x4x16xf32>
  %k = fusec.input "k" : tensor<1x8x2x16xf32>
  %cu = fusec.input "cu" : tensor<3xi32>
  %o, %lse = fusec.attention(%q, %k, %k, %cu) {causal = true, scale = 0.25 : f64, softcap = 0.0 : f64} : (tensor<1x8x4x16xf32>, tensor<1x8x2x16xf32>, tensor<1x8x2x16xf32>, tensor<3xi32>) -> (tensor<1x8x4x16xf32>, tensor<1x4x8xf32>)
  %dq, %dk, %dv = fusec.attention_grad(%q, %q, %k, %k, %o, %lse, %cu) {causal = true, scale = 0.25 : f64, softcap = 0.0 : f64} : (tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>, tensor<1x8x2x16xf32>, tensor<1x8x2x16xf32>, tensor<1x8x4x16xf32>, tensor<1x4x8xf32>, tensor<3xi32>) -> (tensor<1x8x4x16xf32>, tensor<1x8x2x16xf32>, tensor<1x8x2x16xf32>)

  fusec.output "z" %z : tensor<4x16xf32>
  fusec.output "o" %o : tensor<1x8x4x16xf32>
  fusec.output "dq" %dq : tensor<1x8x4x16xf32>
  fusec.output "dv" %dv : tensor<1x8x2x16xf32>
}
// CHECK-LABEL: // after mixed_precision
// CHECK: %[[X:.*]] = fusec.input "x"
// CHECK: %[[W:.*]] = fusec.parameter "w" : tensor<16x8xf32>
// CHECK: %[[XH:.*]] = fusec.cast %[[X]] : tensor<4x8xf32> to tensor<4x8xbf16>
// CHECK: %[[WH:.*]] = fusec.cast %[[W]] : tensor<16x8xf32> to tensor<16x8xbf16>
// CHECK: %[[YH:.*]] = fusec.contract "mk,nk->mn"(%[[XH]], %[[WH]]) : (tensor<4x8xbf16>, tensor<16x8xbf16>) -> tensor<4x16xbf16>
// CHECK: %[[Y:.*]] = fusec.cast %[[YH]] : tensor<4x16xbf16> to tensor<4x16xf32>
// Pointwise ops stay in f32.
// CHECK: fusec.map exp(%[[Y]]) : (tensor<4x16xf32>) -> tensor<4x16xf32>
// The log-sum-exp of attention stays in f32, cu_seqlens in i32.
// CHECK: fusec.attention(%{{.*}}) {{.*}} : (tensor<1x8x4x16xbf16>, tensor<1x8x2x16xbf16>, tensor<1x8x2x16xbf16>, tensor<3xi32>) -> (tensor<1x8x4x16xbf16>, tensor<1x4x8xf32>)
// CHECK: fusec.attention_grad(%{{.*}}) {{.*}} : (tensor<1x8x4x16xbf16>, tensor<1x8x4x16xbf16>, tensor<1x8x2x16xbf16>, tensor<1x8x2x16xbf16>, tensor<1x8x4x16xbf16>, tensor<1x4x8xf32>, tensor<3xi32>) -> (tensor<1x8x4x16xbf16>, tensor<1x8x2x16xbf16>, tensor<1x8x2x16xbf16>)
// CHECK: fusec.output "dv" %{{.*}} : tensor<1x8x2x16xf32>

//--- keeps.mlir
// What is not f32 already, and what is neither a contraction nor attention, is left alone.
fusec.graph "keeps" {
  %x = fusec.input "x" : tensor<4x8xf64>
  %w = fusec.parameter "w" : tensor<16x8xf64>
  %h = fusec.input "h" : tensor<4x8xbf16>
  %y = fusec.contract "mk,nk->mn"(%x, %w) : (tensor<4x8xf64>, tensor<16x8xf64>) -> tensor<4x16xf64>
  %g = fusec.contract "mk,nk->mn"(%h, %h) : (tensor<4x8xbf16>, tensor<4x8xbf16>) -> tensor<4x4xbf16>
  %f = fusec.input "f" : tensor<4x8xf32>
  %s = fusec.reduce sum(%f) axes [1] : tensor<4x8xf32> to tensor<4xf32>
  fusec.output "y" %y : tensor<4x16xf64>
  fusec.output "g" %g : tensor<4x4xbf16>
  fusec.output "s" %s : tensor<4xf32>
}
// CHECK-LABEL: // after mixed_precision
// CHECK-NOT: fusec.cast
// CHECK: fusec.output "s"
