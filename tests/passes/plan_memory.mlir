// RUN: split-file %s %t
// RUN: %fusec --no-fuse --dump-ir=plan %t/reuse.mlir | FileCheck %t/reuse.mlir
// RUN: %fusec --dump-ir=plan %t/in_place.mlir | FileCheck %t/in_place.mlir
// RUN: %fusec --dump-ir=plan %t/swap.mlir | FileCheck %t/swap.mlir
// RUN: %fusec --dump-ir=plan %t/keeps.mlir | FileCheck %t/keeps.mlir
// RUN: %fusec --dump-ir=plan %t/guard.mlir | FileCheck %t/guard.mlir

//--- reuse.mlir
// Four values of 32 KB one after the other need one place: each step overwrites its dying operand.
fusec.graph "reuse" {
  %x = fusec.input "x" : tensor<64x128xf32>
  %a = fusec.map exp(%x) : (tensor<64x128xf32>) -> tensor<64x128xf32>
  %b = fusec.map tanh(%a) : (tensor<64x128xf32>) -> tensor<64x128xf32>
  %c = fusec.map neg(%b) : (tensor<64x128xf32>) -> tensor<64x128xf32>
  %d = fusec.map abs(%c) : (tensor<64x128xf32>) -> tensor<64x128xf32>
  %s = fusec.reduce sum(%d) axes [1] : tensor<64x128xf32> to tensor<64xf32>
  fusec.output "s" %s : tensor<64xf32>
}
// CHECK: plan "reuse"
// x, one temporary and s; without reuse x, four temporaries and s. Each has 64 elements of slack.
// CHECK: arena 66560 of 165632
// CHECK-COUNT-1: : temporary
// CHECK-NOT: : temporary
// CHECK: kernel

//--- in_place.mlir
// The new value of a parameter is written where the old one was: no copy.
fusec.graph "in_place" {
  %p = fusec.parameter "p" : tensor<64x128xf32>
  %g = fusec.input "g" : tensor<64x128xf32>
  %n = fusec.map sub(%p, %g) : (tensor<64x128xf32>, tensor<64x128xf32>) -> tensor<64x128xf32>
  fusec.assign %p, %n : tensor<64x128xf32>, tensor<64x128xf32>
}
// CHECK: plan "in_place"
// CHECK: steps {
// CHECK-NEXT: 0 : run 0 {{.*}}
// CHECK-NEXT: n 8192 ([[P:b[0-9]+]], b{{[0-9]+}}, [[P]])
// CHECK-NEXT: }

//--- swap.mlir
// An assign reads the old values: two parameters change places through a temporary.
fusec.graph "swap" {
  %p = fusec.parameter "p" : tensor<64xf32>
  %q = fusec.parameter "q" : tensor<64xf32>
  fusec.assign %p, %q : tensor<64xf32>, tensor<64xf32>
  fusec.assign %q, %p : tensor<64xf32>, tensor<64xf32>
}
// CHECK: plan "swap"
// CHECK: [[P:b[0-9]+]] : parameter "p"
// CHECK: [[Q:b[0-9]+]] : parameter "q"
// CHECK: [[T:b[0-9]+]] : temporary
// CHECK: 0 : call copy ([[Q]], [[T]])
// CHECK-NEXT: 1 : call copy ([[P]], [[Q]])
// CHECK-NEXT: 2 : call copy ([[T]], [[P]])

//--- keeps.mlir
// The old value is read at another index (the transpose), and by a step that runs after the new one is
// there (the GEMM reads q behind the kernel that makes the new q): both are copied at the end.
fusec.graph "keeps" {
  %p = fusec.parameter "p" : tensor<128x128xf32>
  %q = fusec.parameter "q" : tensor<128x128xf32>
  %t = fusec.view permute(%p) {dims = array<i64: 1, 0>} : tensor<128x128xf32> to tensor<128x128xf32>
  %n = fusec.map neg(%t) : (tensor<128x128xf32>) -> tensor<128x128xf32>
  %m = fusec.map exp(%q) : (tensor<128x128xf32>) -> tensor<128x128xf32>
  %y = fusec.contract "mk,nk->mn"(%m, %q) : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  fusec.assign %p, %n : tensor<128x128xf32>, tensor<128x128xf32>
  fusec.assign %q, %m : tensor<128x128xf32>, tensor<128x128xf32>
  fusec.output "y" %y : tensor<128x128xf32>
}
// CHECK: plan "keeps"
// CHECK-DAG: [[P:b[0-9]+]] : parameter "p"
// CHECK-DAG: [[Q:b[0-9]+]] : parameter "q"
// CHECK: steps {
// CHECK-DAG: call copy (b{{[0-9]+}}, [[P]])
// CHECK-DAG: call copy (b{{[0-9]+}}, [[Q]])

//--- guard.mlir
// Under a guard the update still writes in place, behind the guard; the sum, which others read, is not
// part of what may be skipped.
fusec.graph "guard" {
  %p = fusec.parameter "p" : tensor<64x128xf32>
  %g = fusec.input "g" : tensor<64x128xf32>
  %n = fusec.map sub(%p, %g) : (tensor<64x128xf32>, tensor<64x128xf32>) -> tensor<64x128xf32>
  %s = fusec.reduce sum(%g) axes [0, 1] : tensor<64x128xf32> to tensor<f32>
  fusec.assign %p, %n : tensor<64x128xf32>, tensor<64x128xf32>
  fusec.guard %s : tensor<f32>
  fusec.output "s" %s : tensor<f32>
}
// CHECK: plan "guard"
// CHECK: steps {
// CHECK-NEXT: 0 : run [[SUM:[0-9]+]]
// CHECK-NOT: commit
// CHECK: 1 : call guard (b{{[0-9]+}}) { type "f32" }
// CHECK-NEXT: 2 : run {{.*}} commit makes "map.sub
// CHECK-NEXT: n 8192 ([[Q:b[0-9]+]], b{{[0-9]+}}, [[Q]])
// CHECK-NEXT: }
