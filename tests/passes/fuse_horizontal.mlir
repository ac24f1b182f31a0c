// RUN: split-file %s %t
// RUN: %fusec --print-after=fuse_horizontal --stop-after=fused --no-locations %t/update.mlir | FileCheck %t/update.mlir
// RUN: %fusec --print-after=fuse_horizontal --stop-after=fused --no-locations %t/refuses.mlir | FileCheck %t/refuses.mlir
// RUN: %fusec --dump-ir=plan %t/update.mlir | FileCheck %t/update.mlir --check-prefix=PLAN
// RUN: %fusec --device=sm_90a --precision=bf16 --print-after=fuse_horizontal --stop-after=fused --no-locations %t/weights.mlir | FileCheck %t/weights.mlir

//--- update.mlir
// One update of parameters of different shapes is one launch over a table of pointers.
fusec.graph "update" {
  %lr = fusec.input "lr" : tensor<f32>
  %a = fusec.parameter "a" : tensor<64x128xf32>
  %b = fusec.parameter "b" : tensor<300xf32>
  %c = fusec.parameter "c" : tensor<2x3x50xf32>
  %ga = fusec.input "ga" : tensor<64x128xf32>
  %gb = fusec.input "gb" : tensor<300xf32>
  %gc = fusec.input "gc" : tensor<2x3x50xf32>
  %la = fusec.view broadcast(%lr) {dims = array<i64: -1, -1>} : tensor<f32> to tensor<64x128xf32>
  %lb = fusec.view broadcast(%lr) {dims = array<i64: -1>} : tensor<f32> to tensor<300xf32>
  %lc = fusec.view broadcast(%lr) {dims = array<i64: -1, -1, -1>} : tensor<f32> to tensor<2x3x50xf32>
  %sa = fusec.map mul(%ga, %la) : (tensor<64x128xf32>, tensor<64x128xf32>) -> tensor<64x128xf32>
  %sb = fusec.map mul(%gb, %lb) : (tensor<300xf32>, tensor<300xf32>) -> tensor<300xf32>
  %sc = fusec.map mul(%gc, %lc) : (tensor<2x3x50xf32>, tensor<2x3x50xf32>) -> tensor<2x3x50xf32>
  %na = fusec.map sub(%a, %sa) : (tensor<64x128xf32>, tensor<64x128xf32>) -> tensor<64x128xf32>
  %nb = fusec.map sub(%b, %sb) : (tensor<300xf32>, tensor<300xf32>) -> tensor<300xf32>
  %nc = fusec.map sub(%c, %sc) : (tensor<2x3x50xf32>, tensor<2x3x50xf32>) -> tensor<2x3x50xf32>
  fusec.assign %a, %na : tensor<64x128xf32>, tensor<64x128xf32>
  fusec.assign %b, %nb : tensor<300xf32>, tensor<300xf32>
  fusec.assign %c, %nc : tensor<2x3x50xf32>, tensor<2x3x50xf32>
}
// CHECK-LABEL: // after fuse_horizontal
// CHECK: %[[K:.*]]:3 = fusec.kernel "mul_sub"({{.*}}) {segments = 3 : i64}
// CHECK-NOT: fusec.kernel
// CHECK-DAG: fusec.assign %{{.*}}, %[[K]]#0
// CHECK-DAG: fusec.assign %{{.*}}, %[[K]]#1
// CHECK-DAG: fusec.assign %{{.*}}, %[[K]]#2
// Every segment writes its parameter in place.
// PLAN: steps {
// PLAN-NEXT: 0 : run 0
// PLAN-COUNT-3: n {{[0-9]+}} (
// PLAN-NOT: copy

//--- refuses.mlir
// Other code (exp), a large result that the step still reads (big0, big1: joining would hold both at
// once), and kernels of which one needs the other (n0, n1) stay apart.
fusec.graph "refuses" {
  %p0 = fusec.parameter "p0" : tensor<128xf32>
  %p1 = fusec.parameter "p1" : tensor<128xf32>
  %x0 = fusec.input "x0" : tensor<256x128xf32>
  %x1 = fusec.input "x1" : tensor<256x128xf32>
  %w = fusec.parameter "w" : tensor<16x128xf32>
  %big0 = fusec.map tanh(%x0) : (tensor<256x128xf32>) -> tensor<256x128xf32>
  %y0 = fusec.contract "mk,nk->mn"(%big0, %w) : (tensor<256x128xf32>, tensor<16x128xf32>) -> tensor<256x16xf32>
  %big1 = fusec.map tanh(%x1) : (tensor<256x128xf32>) -> tensor<256x128xf32>
  %y1 = fusec.contract "mk,nk->mn"(%big1, %w) : (tensor<256x128xf32>, tensor<16x128xf32>) -> tensor<256x16xf32>
  %n0 = fusec.map neg(%p0) : (tensor<128xf32>) -> tensor<128xf32>
  %e1 = fusec.map exp(%p1) : (tensor<128xf32>) -> tensor<128xf32>
  fusec.assign %p0, %n0 : tensor<128xf32>, tensor<128xf32>
  fusec.assign %p1, %e1 : tensor<128xf32>, tensor<128xf32>
  fusec.output "y0" %y0 : tensor<256x16xf32>
  fusec.output "y1" %y1 : tensor<256x16xf32>
}
// CHECK-LABEL: // after fuse_horizontal
// CHECK-NOT: segments
// CHECK: fusec.output "y1"

//--- weights.mlir
// On a GPU the bf16 copies of all weights are one launch.
fusec.graph "weights" {
  %x = fusec.input "x" : tensor<256x256xf32>
  %v = fusec.parameter "v" : tensor<256x256xf32>
  %w = fusec.parameter "w" : tensor<512x256xf32>
  %h = fusec.contract "mk,nk->mn"(%x, %v) : (tensor<256x256xf32>, tensor<256x256xf32>) -> tensor<256x256xf32>
  %y = fusec.contract "mk,nk->mn"(%h, %w) : (tensor<256x256xf32>, tensor<512x256xf32>) -> tensor<256x512xf32>
  fusec.output "y" %y : tensor<256x512xf32>
}
// CHECK-LABEL: // after fuse_horizontal
// CHECK: fusec.kernel "cast"(%{{[0-9]+}}, %{{[0-9]+}}) {segments = 2 : i64} : (tensor<256x256xf32>, tensor<512x256xf32>) -> (tensor<256x256xbf16>, tensor<512x256xbf16>)
