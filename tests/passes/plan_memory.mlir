// RUN: split-file %s %t
// RUN: %fusec --no-fuse --dump-ir=plan %t/reuse.mlir | FileCheck %t/reuse.mlir
// RUN: %fusec --dump-ir=plan %t/in_place.mlir | FileCheck %t/in_place.mlir
// RUN: %fusec --dump-ir=plan %t/swap.mlir | FileCheck %t/swap.mlir
// RUN: %fusec --dump-ir=plan %t/keeps.mlir | FileCheck %t/keeps.mlir
// RUN: %fusec --dump-ir=plan %t/guard.mlir | FileCheck %t/guard.mlir
// RUN: %fusec --dump-ir=plan %t/accumulate.mlir | FileCheck %t/accumulate.mlir
// RUN: %fusec --dump-ir=plan %t/apart.mlir | FileCheck %t/apart.mlir
// RUN: %fusec --dump-ir=plan %t/scatter.mlir | FileCheck %t/scatter.mlir
// RUN: %fusec --dump-ir=plan %t/scatter_keeps.mlir | FileCheck %t/scatter_keeps.mlir
// RUN: %fusec --dump-ir=plan %t/paged.mlir | FileCheck %t/paged.mlir

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

//--- accumulate.mlir
// Three products are summed where the output lies: no temporary.
fusec.graph "accumulate" {
  %x = fusec.input "x" : tensor<64x32xf32>
  %y = fusec.input "y" : tensor<64x32xf32>
  %z = fusec.input "z" : tensor<64x32xf32>
  %w = fusec.parameter "w" : tensor<48x32xf32>
  %c = fusec.contract "mk,nk->mn"(%z, %w) : (tensor<64x32xf32>, tensor<48x32xf32>) -> tensor<64x48xf32>
  %a = fusec.contract "mk,nk->mn"(%x, %w) : (tensor<64x32xf32>, tensor<48x32xf32>) -> tensor<64x48xf32>
  %b = fusec.contract "mk,nk->mn"(%y, %w) : (tensor<64x32xf32>, tensor<48x32xf32>) -> tensor<64x48xf32>
  %s = fusec.map add(%a, %b) : (tensor<64x48xf32>, tensor<64x48xf32>) -> tensor<64x48xf32>
  %t = fusec.map add(%s, %c) : (tensor<64x48xf32>, tensor<64x48xf32>) -> tensor<64x48xf32>
  fusec.output "t" %t : tensor<64x48xf32>
}
// CHECK: plan "accumulate"
// CHECK-NOT: temporary
// CHECK: [[W:b[0-9]+]] : parameter "w"
// CHECK-NOT: temporary
// CHECK: [[T:b[0-9]+]] : output "t"
// CHECK-NOT: temporary
// CHECK: steps {
// CHECK-NEXT: 0 : call gemm (b{{[0-9]+}}, [[W]], [[T]])
// CHECK-NEXT: 1 : call gemm (b{{[0-9]+}}, [[W]], [[T]], [[T]]) {{.*}}epilogue "add"
// CHECK-NEXT: 2 : call gemm (b{{[0-9]+}}, [[W]], [[T]], [[T]]) {{.*}}epilogue "add"{{.*}}
// CHECK-NEXT: }

//--- apart.mlir
// An addend that is an operand of the product, is read by a later step, or is no temporary stays.
fusec.graph "apart" {
  %x = fusec.input "x" : tensor<64x64xf32>
  %z = fusec.input "z" : tensor<64x64xf32>
  %w = fusec.parameter "w" : tensor<64x64xf32>
  %h = fusec.contract "mk,nk->mn"(%x, %w) : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %p = fusec.contract "mk,nk->mn"(%h, %w) : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %s = fusec.map add(%p, %h) : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %q = fusec.contract "mk,nk->mn"(%x, %s) : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %r = fusec.contract "mk,nk->mn"(%z, %w) : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %t = fusec.map add(%r, %q) : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %u = fusec.contract "mk,nk->mn"(%q, %w) : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %v = fusec.map add(%u, %z) : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  fusec.output "t" %t : tensor<64x64xf32>
  fusec.output "v" %v : tensor<64x64xf32>
}
// CHECK: plan "apart"
// CHECK: [[Z:b[0-9]+]] : input "z"
// CHECK: steps {
// CHECK: call gemm (b{{[0-9]+}}, b{{[0-9]+}}, [[H:b[0-9]+]])
// CHECK: call gemm ([[H]], b{{[0-9]+}}, [[S:b[0-9]+]], [[H]]) {{.*}}epilogue "add"
// CHECK-NOT: call gemm (b{{[0-9]+}}, b{{[0-9]+}}, [[Q:b[0-9]+]], [[Q]])

//--- scatter.mlir
// Rows are written into a state where it lies; who reads the new value reads it there.
fusec.graph "scatter" {
  %p = fusec.parameter "p" state : tensor<64x16xf32>
  %i = fusec.input "i" : tensor<2xi32>
  %x = fusec.input "x" : tensor<2x16xf32>
  %n = fusec.scatter set(%p, %i, %x) : (tensor<64x16xf32>, tensor<2xi32>, tensor<2x16xf32>) -> tensor<64x16xf32>
  %y = fusec.gather(%n, %i) : (tensor<64x16xf32>, tensor<2xi32>) -> tensor<2x16xf32>
  fusec.assign %p, %n : tensor<64x16xf32>, tensor<64x16xf32>
  fusec.output "y" %y : tensor<2x16xf32>
}
// CHECK: plan "scatter"
// CHECK: [[P:b[0-9]+]] : state "p"
// CHECK: steps {
// CHECK-NEXT: 0 : call scatter ([[P]], b{{[0-9]+}}, b{{[0-9]+}})
// CHECK-SAME: bytes 264 unfused 264
// CHECK-NEXT: 1 : call gather ([[P]], b{{[0-9]+}}, b{{[0-9]+}})
// CHECK-NEXT: {{^ *}}}

//--- scatter_keeps.mlir
// The old value is read behind the scatter: a copy is made, and copied back.
fusec.graph "scatter_keeps" {
  %p = fusec.parameter "p" state : tensor<64x16xf32>
  %i = fusec.input "i" : tensor<2xi32>
  %x = fusec.input "x" : tensor<2x16xf32>
  %n = fusec.scatter set(%p, %i, %x) : (tensor<64x16xf32>, tensor<2xi32>, tensor<2x16xf32>) -> tensor<64x16xf32>
  %y = fusec.gather(%p, %i) : (tensor<64x16xf32>, tensor<2xi32>) -> tensor<2x16xf32>
  fusec.assign %p, %n : tensor<64x16xf32>, tensor<64x16xf32>
  fusec.output "y" %y : tensor<2x16xf32>
}
// CHECK: plan "scatter_keeps"
// CHECK: [[P:b[0-9]+]] : state "p"
// CHECK: steps {
// CHECK: call copy ([[P]], [[T:b[0-9]+]])
// CHECK: call scatter ([[T]],
// CHECK: call gather ([[P]],
// CHECK: call copy ([[T]], [[P]])

//--- paged.mlir
// One decoding step: the new row goes into the cache, which attention reads; no copy of a cache, and no
// temporary of its size.
fusec.graph "paged" {
  %k = fusec.parameter "k" state : tensor<9x4x2x16xbf16>
  %v = fusec.parameter "v" state : tensor<9x4x2x16xbf16>
  %q = fusec.input "q" : tensor<2x4x16xbf16>
  %new = fusec.input "new" : tensor<2x2x16xbf16>
  %row = fusec.input "row" : tensor<2xi32>
  %table = fusec.input "table" : tensor<2x3xi32>
  %lengths = fusec.input "lengths" : tensor<2xi32>
  %kf = fusec.view reshape(%k) : tensor<9x4x2x16xbf16> to tensor<36x2x16xbf16>
  %ks = fusec.scatter set(%kf, %row, %new) : (tensor<36x2x16xbf16>, tensor<2xi32>, tensor<2x2x16xbf16>) -> tensor<36x2x16xbf16>
  %kn = fusec.view reshape(%ks) : tensor<36x2x16xbf16> to tensor<9x4x2x16xbf16>
  %vf = fusec.view reshape(%v) : tensor<9x4x2x16xbf16> to tensor<36x2x16xbf16>
  %vs = fusec.scatter set(%vf, %row, %new) : (tensor<36x2x16xbf16>, tensor<2xi32>, tensor<2x2x16xbf16>) -> tensor<36x2x16xbf16>
  %vn = fusec.view reshape(%vs) : tensor<36x2x16xbf16> to tensor<9x4x2x16xbf16>
  %o = fusec.paged_attention(%q, %kn, %vn, %table, %lengths) {scale = 0.25 : f64, softcap = 0.0 : f64} : (tensor<2x4x16xbf16>, tensor<9x4x2x16xbf16>, tensor<9x4x2x16xbf16>, tensor<2x3xi32>, tensor<2xi32>) -> tensor<2x4x16xbf16>
  fusec.assign %k, %kn : tensor<9x4x2x16xbf16>, tensor<9x4x2x16xbf16>
  fusec.assign %v, %vn : tensor<9x4x2x16xbf16>, tensor<9x4x2x16xbf16>
  fusec.output "o" %o : tensor<2x4x16xbf16>
}
// CHECK: plan "paged"
// CHECK: [[K:b[0-9]+]] : state "k"
// CHECK: [[V:b[0-9]+]] : state "v"
// CHECK-NOT: : temporary
// CHECK: steps {
// CHECK-NEXT: 0 : call scatter ([[K]], b{{[0-9]+}}, b{{[0-9]+}})
// CHECK-NEXT: 1 : call scatter ([[V]], b{{[0-9]+}}, b{{[0-9]+}})
// CHECK-NEXT: 2 : call paged_attention (b{{[0-9]+}}, [[K]], [[V]], b{{[0-9]+}}, b{{[0-9]+}}, b{{[0-9]+}}) { b 2, cu_q 0, d 16, h 4, kv 2, max_pages 3, page_size 4, page_type "bf16", pages 9, scale 0.25, softcap 0.0, tokens 2, type "bf16", window 0 }
// CHECK-NEXT: {{^ *}}}
