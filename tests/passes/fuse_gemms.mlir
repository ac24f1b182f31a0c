// RUN: split-file %s %t
// RUN: %fusec --print-after=fuse_gemms --stop-after=canonical --no-locations %t/forward.mlir | FileCheck %t/forward.mlir
// RUN: %fusec --dump-ir=plan --precision=bf16 %t/forward.mlir | FileCheck %t/forward.mlir --check-prefix=PLAN
// RUN: %fusec --print-after=fuse_gemms --stop-after=canonical --no-locations %t/backward.mlir | FileCheck %t/backward.mlir
// RUN: %fusec explain --all %t/refuses.mlir | FileCheck %t/refuses.mlir
// RUN: %fusec --no-fuse --dump-ir=canonical --no-locations %t/forward.mlir | FileCheck %t/forward.mlir --check-prefix=OFF
// RUN: %fusec --print-after=fuse_gemms --stop-after=canonical --no-locations %t/square.mlir | FileCheck %t/square.mlir
// RUN: %fusec --print-after=fuse_gemms --stop-after=canonical --no-locations %t/shared.mlir | FileCheck %t/shared.mlir
// RUN: %fusec --print-after=fuse_gemms --stop-after=canonical --no-locations %t/held.mlir | FileCheck %t/held.mlir
// RUN: %fusec --device=sm_90a --print-after=fuse_gemms --stop-after=canonical --no-locations %t/held.mlir | FileCheck %t/held.mlir --check-prefix=GPU

//--- forward.mlir
// Two weights of one activation: one product, whose columns the kernels read as they are.
fusec.graph "forward" {
  %x = fusec.input "x" : tensor<512x64xf32>
  %g = fusec.parameter "g" : tensor<64x64xf32>
  %u = fusec.parameter "u" : tensor<32x64xf32>
  %a = fusec.contract "mk,nk->mn"(%x, %g) : (tensor<512x64xf32>, tensor<64x64xf32>) -> tensor<512x64xf32>
  %b = fusec.contract "ij,lj->il"(%x, %u) : (tensor<512x64xf32>, tensor<32x64xf32>) -> tensor<512x32xf32>
  %s = fusec.map silu(%a) : (tensor<512x64xf32>) -> tensor<512x64xf32>
  %t = fusec.map tanh(%b) : (tensor<512x32xf32>) -> tensor<512x32xf32>
  fusec.output "s" %s : tensor<512x64xf32>
  fusec.output "t" %t : tensor<512x32xf32>
}
// CHECK-LABEL: // after fuse_gemms
// CHECK-DAG: %[[X:.*]] = fusec.input "x"
// CHECK-DAG: %[[G:.*]] = fusec.parameter "g"
// CHECK-DAG: %[[U:.*]] = fusec.parameter "u"
// CHECK: %[[W:.*]] = fusec.concat 0(%[[G]], %[[U]])
// CHECK: %[[Y:.*]] = fusec.contract "ab,zb->az"(%[[X]], %[[W]]) : (tensor<512x64xf32>, tensor<96x64xf32>) -> tensor<512x96xf32>
// CHECK: fusec.view slice(%[[Y]]) {start = array<i64: 0, 0>, step = array<i64: 1, 1>} : tensor<512x96xf32> to tensor<512x64xf32>
// CHECK: fusec.view slice(%[[Y]]) {start = array<i64: 0, 64>, step = array<i64: 1, 1>} : tensor<512x96xf32> to tensor<512x32xf32>
// CHECK-NOT: fusec.contract
// With narrow copies of the weights, each is written into its rows of the wide one: no copy.
// PLAN-NOT: kernel concat
// PLAN: call gemm {{.*}} n 96,
// PLAN-NOT: call gemm
// OFF-COUNT-2: fusec.contract
// OFF-NOT: fusec.concat

//--- backward.mlir
// The sum of two products is one; the two weight gradients are whole rows of one.
fusec.graph "backward" {
  %x = fusec.input "x" : tensor<512x64xf32>
  %d = fusec.input "d" : tensor<512x64xf32>
  %g = fusec.parameter "g" : tensor<64x64xf32>
  %u = fusec.parameter "u" : tensor<64x64xf32>
  %p = fusec.map tanh(%x) : (tensor<512x64xf32>) -> tensor<512x64xf32>
  %a = fusec.contract "mk,nk->mn"(%p, %g) : (tensor<512x64xf32>, tensor<64x64xf32>) -> tensor<512x64xf32>
  %b = fusec.contract "mk,nk->mn"(%p, %u) : (tensor<512x64xf32>, tensor<64x64xf32>) -> tensor<512x64xf32>
  %da = fusec.map mul(%a, %d) : (tensor<512x64xf32>, tensor<512x64xf32>) -> tensor<512x64xf32>
  %db = fusec.map sub(%b, %d) : (tensor<512x64xf32>, tensor<512x64xf32>) -> tensor<512x64xf32>
  %xa = fusec.contract "mn,nk->mk"(%da, %g) : (tensor<512x64xf32>, tensor<64x64xf32>) -> tensor<512x64xf32>
  %wa = fusec.contract "mn,mk->nk"(%da, %p) : (tensor<512x64xf32>, tensor<512x64xf32>) -> tensor<64x64xf32>
  %xb = fusec.contract "mn,nk->mk"(%db, %u) : (tensor<512x64xf32>, tensor<64x64xf32>) -> tensor<512x64xf32>
  %wb = fusec.contract "mn,mk->nk"(%db, %p) : (tensor<512x64xf32>, tensor<512x64xf32>) -> tensor<64x64xf32>
  %dx = fusec.map add(%xa, %xb) : (tensor<512x64xf32>, tensor<512x64xf32>) -> tensor<512x64xf32>
  fusec.output "dx" %dx : tensor<512x64xf32>
  fusec.output "wa" %wa : tensor<64x64xf32>
  fusec.output "wb" %wb : tensor<64x64xf32>
}
// CHECK-LABEL: // after fuse_gemms
// CHECK-DAG: %[[P:.*]] = fusec.map tanh
// CHECK-DAG: %[[W:.*]] = fusec.concat 0(
// CHECK: fusec.contract "ab,zb->az"(%[[P]], %[[W]])
// CHECK: %[[A:.*]] = fusec.map mul
// CHECK: %[[B:.*]] = fusec.map sub
// CHECK: %[[D:.*]] = fusec.concat 1(%[[A]], %[[B]])
// CHECK-DAG: %[[DW:.*]] = fusec.contract "az,ab->zb"(%[[D]], %[[P]]) : (tensor<512x128xf32>, tensor<512x64xf32>) -> tensor<128x64xf32>
// CHECK-DAG: fusec.view slice(%[[DW]]) {alias, start = array<i64: 64, 0>{{.*}}} : tensor<128x64xf32> to tensor<64x64xf32>
// CHECK-DAG: %[[DX:.*]] = fusec.contract "ab,bz->az"(%[[D]], %[[W]]) : (tensor<512x128xf32>, tensor<128x64xf32>) -> tensor<512x64xf32>
// CHECK-DAG: fusec.output "dx" %[[DX]]

//--- refuses.mlir
// A weight of another product, a width that leaves the next part misaligned, and products that only
// calls read.
fusec.graph "refuses" {
  %x = fusec.input "x" : tensor<512x64xf32>
  %z = fusec.input "z" : tensor<512x64xf32>
  %t = fusec.parameter "t" : tensor<64x64xf32>
  %o = fusec.parameter "o" : tensor<60x64xf32>
  %c = fusec.parameter "c" : tensor<64x64xf32>
  %e = fusec.parameter "e" : tensor<64x64xf32>
  %1 = fusec.contract "mk,nk->mn"(%x, %t) : (tensor<512x64xf32>, tensor<64x64xf32>) -> tensor<512x64xf32>
  %2 = fusec.contract "mk,nk->mn"(%x, %o) : (tensor<512x64xf32>, tensor<60x64xf32>) -> tensor<512x60xf32>
  %3 = fusec.contract "mk,nk->mn"(%x, %c) : (tensor<512x64xf32>, tensor<64x64xf32>) -> tensor<512x64xf32>
  %4 = fusec.contract "mk,nk->mn"(%x, %e) : (tensor<512x64xf32>, tensor<64x64xf32>) -> tensor<512x64xf32>
  %5 = fusec.contract "mk,nk->mn"(%z, %t) : (tensor<512x64xf32>, tensor<64x64xf32>) -> tensor<512x64xf32>
  fusec.output "1" %1 : tensor<512x64xf32>
  fusec.output "2" %2 : tensor<512x60xf32>
  fusec.output "3" %3 : tensor<512x64xf32>
  fusec.output "4" %4 : tensor<512x64xf32>
  fusec.output "5" %5 : tensor<512x64xf32>
}
// CHECK-DAG: another product uses the same weight
// CHECK-DAG: a width of 60 is not a multiple of 8
// CHECK-DAG: its copies move {{[0-9]+}} bytes; reading the activation once saves 131072

//--- square.mlir
// Products of square weights, whose gradients have the same shapes: the later ones are the gradients,
// never the other way round, and a weight may be declared between the products.
fusec.graph "square" {
  %x = fusec.input "x" : tensor<16x8xf32>
  %w = fusec.parameter "w" : tensor<8x8xf32>
  %a = fusec.contract "mk,nk->mn"(%x, %w) : (tensor<16x8xf32>, tensor<8x8xf32>) -> tensor<16x8xf32>
  %v = fusec.parameter "v" : tensor<8x8xf32>
  %b = fusec.contract "mk,nk->mn"(%x, %v) : (tensor<16x8xf32>, tensor<8x8xf32>) -> tensor<16x8xf32>
  %y = fusec.map add(%b, %a) : (tensor<16x8xf32>, tensor<16x8xf32>) -> tensor<16x8xf32>
  %dy = fusec.input "dy" : tensor<16x8xf32>
  %da = fusec.contract "mn,nk->mk"(%dy, %v) : (tensor<16x8xf32>, tensor<8x8xf32>) -> tensor<16x8xf32>
  %db = fusec.contract "mn,nk->mk"(%dy, %w) : (tensor<16x8xf32>, tensor<8x8xf32>) -> tensor<16x8xf32>
  %dx = fusec.map add(%da, %db) : (tensor<16x8xf32>, tensor<16x8xf32>) -> tensor<16x8xf32>
  fusec.output "y" %y : tensor<16x8xf32>
  fusec.output "dx" %dx : tensor<16x8xf32>
}
// CHECK-LABEL: // after fuse_gemms
// CHECK: fusec.graph "square"
// CHECK: fusec.output "y"
// CHECK: fusec.output "dx"

//--- shared.mlir
// Two weights whose products are summed have one dy, and so one gradient: it stays as it is.
fusec.graph "shared" {
  %x = fusec.input "x" : tensor<512x128xf32>
  %dy = fusec.input "dy" : tensor<512x64xf32>
  %p = fusec.parameter "p" : tensor<64x128xf32>
  %q = fusec.parameter "q" : tensor<64x128xf32>
  %y = fusec.contract "mk,nk->mn"(%x, %p) : (tensor<512x128xf32>, tensor<64x128xf32>) -> tensor<512x64xf32>
  %z = fusec.contract "mk,nk->mn"(%x, %q) : (tensor<512x128xf32>, tensor<64x128xf32>) -> tensor<512x64xf32>
  %s = fusec.map add(%y, %z) : (tensor<512x64xf32>, tensor<512x64xf32>) -> tensor<512x64xf32>
  %g = fusec.map mul(%s, %dy) : (tensor<512x64xf32>, tensor<512x64xf32>) -> tensor<512x64xf32>
  %dp = fusec.contract "mn,nk->mk"(%g, %p) : (tensor<512x64xf32>, tensor<64x128xf32>) -> tensor<512x128xf32>
  %dq = fusec.contract "mn,nk->mk"(%g, %q) : (tensor<512x64xf32>, tensor<64x128xf32>) -> tensor<512x128xf32>
  %dx = fusec.map add(%dp, %dq) : (tensor<512x128xf32>, tensor<512x128xf32>) -> tensor<512x128xf32>
  %dw = fusec.contract "mn,mk->nk"(%g, %x) : (tensor<512x64xf32>, tensor<512x128xf32>) -> tensor<64x128xf32>
  fusec.output "s" %s : tensor<512x64xf32>
  fusec.output "dx" %dx : tensor<512x128xf32>
  fusec.output "dw" %dw : tensor<64x128xf32>
}
// CHECK-LABEL: // after fuse_gemms
// CHECK: %[[X:.*]] = fusec.input "x"
// CHECK: %[[W:.*]] = fusec.concat 0(
// CHECK: fusec.contract "ab,zb->az"(%[[X]], %[[W]])
// CHECK: %[[DY:.*]] = fusec.map mul(
// CHECK: %[[DYS:.*]] = fusec.concat 1(%[[DY]], %[[DY]])
// CHECK: %[[DX:.*]] = fusec.contract "ab,bz->az"(%[[DYS]], %[[W]])
// CHECK: %[[DW:.*]] = fusec.contract "mn,mk->nk"(%[[DY]], %[[X]])
// CHECK: fusec.output "dx" %[[DX]]
// CHECK: fusec.output "dw" %[[DW]]

//--- held.mlir
// A CPU reads weights held in 16 bits as they lie: widening them side by side would move more. A
// GPU widens them, and does so side by side.
fusec.graph "held" {
  %x = fusec.input "x" : tensor<512x64xf32>
  %g16 = fusec.parameter "g" : tensor<64x64xbf16>
  %u16 = fusec.parameter "u" : tensor<64x64xbf16>
  %g = fusec.cast %g16 : tensor<64x64xbf16> to tensor<64x64xf32>
  %u = fusec.cast %u16 : tensor<64x64xbf16> to tensor<64x64xf32>
  %a = fusec.contract "mk,nk->mn"(%x, %g) : (tensor<512x64xf32>, tensor<64x64xf32>) -> tensor<512x64xf32>
  %b = fusec.contract "mk,nk->mn"(%x, %u) : (tensor<512x64xf32>, tensor<64x64xf32>) -> tensor<512x64xf32>
  %s = fusec.map silu(%a) : (tensor<512x64xf32>) -> tensor<512x64xf32>
  %y = fusec.map mul(%s, %b) : (tensor<512x64xf32>, tensor<512x64xf32>) -> tensor<512x64xf32>
  fusec.output "y" %y : tensor<512x64xf32>
}
// CHECK-LABEL: // after fuse_gemms
// CHECK-NOT: fusec.concat
// CHECK-COUNT-2: fusec.contract
// GPU-LABEL: // after fuse_gemms
// GPU: fusec.concat
// GPU-COUNT-1: fusec.contract
