// Every op of the dialect prints as text that parses to the same: printing what was read changes
// nothing, with source locations and without. One line an op class, in the order of fusec.td.
// RUN: split-file %s %t
// RUN: %fusec --dump-ir=graph --no-locations %t/graph.mlir > %t/1.mlir
// RUN: %fusec --dump-ir=graph --no-locations %t/1.mlir | diff %t/1.mlir -
// RUN: FileCheck %t/graph.mlir --input-file=%t/1.mlir
// RUN: %fusec --dump-ir=graph %t/graph.mlir > %t/2.mlir
// RUN: %fusec --dump-ir=graph %t/2.mlir | diff %t/2.mlir -
// RUN: FileCheck %s --check-prefix=LOC --input-file=%t/2.mlir
// RUN: %fusec --dump-ir=fused --no-locations %t/fused.mlir > %t/3.mlir
// RUN: %fusec --dump-ir=fused --no-locations %t/3.mlir | diff %t/3.mlir -
// RUN: FileCheck %t/fused.mlir --input-file=%t/3.mlir

// LOC: loc("{{.*}}graph.mlir":{{[0-9]+}}:{{[0-9]+}})

//--- graph.mlir
// CHECK: // stage: graph
// CHECK: fusec.graph "ops" {
fusec.graph "ops" {
  // CHECK-NEXT: fusec.input "x" : tensor<4x8xf32>
  %x = fusec.input "x" : tensor<4x8xf32>
  // CHECK-NEXT: fusec.input "i" : tensor<3xi32>
  %i = fusec.input "i" : tensor<3xi32>
  // CHECK-NEXT: fusec.parameter "w" : tensor<16x8xf32>
  %w = fusec.parameter "w" : tensor<16x8xf32>
  // CHECK-NEXT: fusec.parameter "m" state : tensor<4x8xf32>
  %m = fusec.parameter "m" state : tensor<4x8xf32>
  // CHECK-NEXT: fusec.constant dense<5.000000e-01> : tensor<4x8xf32> : tensor<4x8xf32>
  %half = fusec.constant dense<0.5> : tensor<4x8xf32> : tensor<4x8xf32>
  // CHECK-NEXT: fusec.constant dense<[1, -2, 3]> : tensor<3xi32> : tensor<3xi32>
  %data = fusec.constant dense<[1, -2, 3]> : tensor<3xi32> : tensor<3xi32>
  // CHECK-NEXT: fusec.iota 1 : tensor<4x8xi32>
  %iota = fusec.iota 1 : tensor<4x8xi32>
  // CHECK-NEXT: fusec.map silu(%{{.*}}) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %silu = fusec.map silu(%x) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  // CHECK-NEXT: fusec.map lt(%{{.*}}, %{{.*}}) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xi1>
  %lt = fusec.map lt(%x, %half) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xi1>
  // CHECK-NEXT: fusec.map select(
  %select = fusec.map select(%lt, %x, %silu) : (tensor<4x8xi1>, tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  // CHECK-NEXT: fusec.cast %{{.*}} : tensor<4x8xf32> to tensor<4x8xbf16>
  %cast = fusec.cast %select : tensor<4x8xf32> to tensor<4x8xbf16>
  // CHECK-NEXT: fusec.reduce max(%{{.*}}) axes [0, 1] : tensor<4x8xf32> to tensor<f32>
  %max = fusec.reduce max(%x) axes [0, 1] : tensor<4x8xf32> to tensor<f32>
  // CHECK-NEXT: fusec.contract "mk,nk->mn"(%{{.*}}, %{{.*}}) : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
  %contract = fusec.contract "mk,nk->mn"(%x, %w) : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
  // CHECK-NEXT: fusec.view reshape(%{{.*}}) : tensor<4x8xf32> to tensor<2x16xf32>
  %reshape = fusec.view reshape(%x) : tensor<4x8xf32> to tensor<2x16xf32>
  // CHECK-NEXT: fusec.view permute(%{{.*}}) {dims = array<i64: 1, 0>} : tensor<4x8xf32> to tensor<8x4xf32>
  %permute = fusec.view permute(%x) {dims = array<i64: 1, 0>} : tensor<4x8xf32> to tensor<8x4xf32>
  // CHECK-NEXT: fusec.view broadcast(%{{.*}}) {dims = array<i64: -1, -1>} : tensor<f32> to tensor<4x8xf32>
  %broadcast = fusec.view broadcast(%max) {dims = array<i64: -1, -1>} : tensor<f32> to tensor<4x8xf32>
  // CHECK-NEXT: fusec.view slice(%{{.*}}) {start = array<i64: 3, 1>, step = array<i64: -1, 2>} : tensor<4x8xf32> to tensor<4x3xf32>
  %slice = fusec.view slice(%x) {start = array<i64: 3, 1>, step = array<i64: -1, 2>} : tensor<4x8xf32> to tensor<4x3xf32>
  // CHECK-NEXT: fusec.concat 1(%{{.*}}, %{{.*}}) : (tensor<4x8xf32>, tensor<4x3xf32>) -> tensor<4x11xf32>
  %concat = fusec.concat 1 (%x, %slice) : (tensor<4x8xf32>, tensor<4x3xf32>) -> tensor<4x11xf32>
  // CHECK-NEXT: fusec.gather(%{{.*}}, %{{.*}}) : (tensor<16x8xf32>, tensor<3xi32>) -> tensor<3x8xf32>
  %gather = fusec.gather(%w, %i) : (tensor<16x8xf32>, tensor<3xi32>) -> tensor<3x8xf32>
  // CHECK-NEXT: fusec.scatter set(%{{.*}}, %{{.*}}, %{{.*}}) : (tensor<16x8xf32>, tensor<3xi32>, tensor<3x8xf32>) -> tensor<16x8xf32>
  %set = fusec.scatter set(%w, %i, %gather) : (tensor<16x8xf32>, tensor<3xi32>, tensor<3x8xf32>) -> tensor<16x8xf32>
  // CHECK-NEXT: fusec.scatter add(
  %add = fusec.scatter add(%set, %i, %gather) : (tensor<16x8xf32>, tensor<3xi32>, tensor<3x8xf32>) -> tensor<16x8xf32>
  // CHECK-NEXT: fusec.input "q"
  %q = fusec.input "q" : tensor<2x8x4x16xf32>
  // CHECK-NEXT: fusec.input "k"
  %k = fusec.input "k" : tensor<2x6x2x16xf32>
  // CHECK-NEXT: fusec.attention(%{{.*}}, %{{.*}}, %{{.*}}) {causal = false, scale = 2.500000e-01 : f64, softcap = 0.000000e+00 : f64} : (tensor<2x8x4x16xf32>, tensor<2x6x2x16xf32>, tensor<2x6x2x16xf32>) -> (tensor<2x8x4x16xf32>, tensor<2x4x8xf32>)
  %o, %lse = fusec.attention(%q, %k, %k) {causal = false, scale = 0.25 : f64, softcap = 0.0 : f64} : (tensor<2x8x4x16xf32>, tensor<2x6x2x16xf32>, tensor<2x6x2x16xf32>) -> (tensor<2x8x4x16xf32>, tensor<2x4x8xf32>)
  // CHECK-NEXT: fusec.attention_grad(
  %dq, %dk, %dv = fusec.attention_grad(%o, %q, %k, %k, %o, %lse) {causal = false, scale = 0.25 : f64, softcap = 0.0 : f64} : (tensor<2x8x4x16xf32>, tensor<2x8x4x16xf32>, tensor<2x6x2x16xf32>, tensor<2x6x2x16xf32>, tensor<2x8x4x16xf32>, tensor<2x4x8xf32>) -> (tensor<2x8x4x16xf32>, tensor<2x6x2x16xf32>, tensor<2x6x2x16xf32>)
  // CHECK-NEXT: fusec.input "prefix"
  %prefix = fusec.input "prefix" : tensor<2xi32>
  // CHECK-NEXT: fusec.input "slope"
  %slope = fusec.input "slope" : tensor<4xf32>
  // CHECK-NEXT: fusec.attention({{.*}}) {causal = true, hook = "a0 = score; a1 = load 0 f32 {{\[}}head{{\]}}; a2 = mul(a0, a1); a3 = key; a4 = query; a5 = le(a3, a4); score(a2); mask(a5)", prefix, scale = 2.500000e-01 : f64, sinks, softcap = 0.000000e+00 : f64, top_left, window = 3 : i64} :
  %ho, %hl = fusec.attention(%q, %k, %k, %prefix, %slope, %slope) {causal = true, hook = "a0 = score; a1 = load 0 f32 [head]; a2 = mul(a0, a1); a3 = key; a4 = query; a5 = le(a3, a4); score(a2); mask(a5)", prefix, scale = 2.500000e-01 : f64, sinks, softcap = 0.000000e+00 : f64, top_left, window = 3 : i64} : (tensor<2x8x4x16xf32>, tensor<2x6x2x16xf32>, tensor<2x6x2x16xf32>, tensor<2xi32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<2x8x4x16xf32>, tensor<2x4x8xf32>)
  // CHECK-NEXT: fusec.attention_grad({{.*}}) {{.*}}captured_grads = 1 : i64, {{.*}} -> (tensor<2x8x4x16xf32>, tensor<2x6x2x16xf32>, tensor<2x6x2x16xf32>, tensor<4xf32>, tensor<4xf32>)
  %hg:5 = fusec.attention_grad(%ho, %q, %k, %k, %ho, %hl, %prefix, %slope, %slope) {causal = true, captured_grads = 1 : i64, hook = "a0 = score; a1 = load 0 f32 [head]; a2 = mul(a0, a1); a3 = key; a4 = query; a5 = le(a3, a4); score(a2); mask(a5)", prefix, scale = 2.500000e-01 : f64, sinks, softcap = 0.000000e+00 : f64, top_left, window = 3 : i64} : (tensor<2x8x4x16xf32>, tensor<2x8x4x16xf32>, tensor<2x6x2x16xf32>, tensor<2x6x2x16xf32>, tensor<2x8x4x16xf32>, tensor<2x4x8xf32>, tensor<2xi32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<2x8x4x16xf32>, tensor<2x6x2x16xf32>, tensor<2x6x2x16xf32>, tensor<4xf32>, tensor<4xf32>)
  // CHECK-NEXT: fusec.input "pq"
  %pq = fusec.input "pq" : tensor<6x4x16xbf16>
  // CHECK-NEXT: fusec.input "pages"
  %pages = fusec.input "pages" : tensor<9x4x2x16xui8>
  // CHECK-NEXT: fusec.input "pt"
  %pt = fusec.input "pt" : tensor<2x3xi32>
  // CHECK-NEXT: fusec.input "pcu"
  %pcu = fusec.input "pcu" : tensor<3xi32>
  // CHECK-NEXT: fusec.input "pscale"
  %pscale = fusec.input "pscale" : tensor<9x4x2xf32>
  // CHECK-NEXT: fusec.paged_attention({{.*}}) {cu_q, scale = 2.500000e-01 : f64, scales, softcap = 0.000000e+00 : f64, window = 5 : i64} : (tensor<6x4x16xbf16>, tensor<9x4x2x16xui8>, tensor<9x4x2x16xui8>, tensor<2x3xi32>, tensor<2xi32>, tensor<3xi32>, tensor<9x4x2xf32>, tensor<9x4x2xf32>) -> tensor<6x4x16xbf16>
  %po = fusec.paged_attention(%pq, %pages, %pages, %pt, %prefix, %pcu, %pscale, %pscale) {cu_q, scale = 0.25 : f64, scales, softcap = 0.0 : f64, window = 5 : i64} : (tensor<6x4x16xbf16>, tensor<9x4x2x16xui8>, tensor<9x4x2x16xui8>, tensor<2x3xi32>, tensor<2xi32>, tensor<3xi32>, tensor<9x4x2xf32>, tensor<9x4x2xf32>) -> tensor<6x4x16xbf16>
  // CHECK-NEXT: fusec.cast %{{.*}} : tensor<4x8xf32> to tensor<4x8xf8E4M3FN>
  %narrow = fusec.cast %x : tensor<4x8xf32> to tensor<4x8xf8E4M3FN>
  // CHECK-NEXT: fusec.constant dense<1.750000e+00> : tensor<4x8xf8E4M3FN> : tensor<4x8xf8E4M3FN>
  %eights = fusec.constant dense<1.75> : tensor<4x8xf8E4M3FN> : tensor<4x8xf8E4M3FN>
  // CHECK-NEXT: fusec.cumsum 1(%{{.*}}) : tensor<4x8xf32> to tensor<4x8xf32>
  %run = fusec.cumsum 1 (%x) : tensor<4x8xf32> to tensor<4x8xf32>
  // CHECK-NEXT: fusec.cumsum 0 reverse(%{{.*}}) : tensor<4x8xf32> to tensor<4x8xf32>
  %back = fusec.cumsum 0 reverse (%run) : tensor<4x8xf32> to tensor<4x8xf32>
  // CHECK-NEXT: fusec.top_k 3(%{{.*}}) : (tensor<4x8xf32>) -> (tensor<4x3xf32>, tensor<4x3xi32>)
  %best, %place = fusec.top_k 3 (%back) : (tensor<4x8xf32>) -> (tensor<4x3xf32>, tensor<4x3xi32>)
  // CHECK-NEXT: fusec.assign %{{.*}}, %{{.*}} : tensor<4x8xf32>, tensor<4x8xf32>
  fusec.assign %m, %broadcast : tensor<4x8xf32>, tensor<4x8xf32>
  // CHECK-NEXT: fusec.output "cast" %{{.*}} : tensor<4x8xbf16>
  fusec.output "cast" %cast : tensor<4x8xbf16>
}

//--- fused.mlir
// stage: fused
// CHECK: // stage: fused
fusec.graph "fused" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %y = fusec.input "y" : tensor<16xf32>
  // CHECK: %[[K:.*]]:2 = fusec.kernel "exp"(%{{.*}}, %{{.*}}) {segments = 2 : i64} : (tensor<4x8xf32>, tensor<16xf32>) -> (tensor<4x8xf32>, tensor<16xf32>) {
  // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<4x8xf32>):
  // CHECK-NEXT: %[[E:.*]] = fusec.map exp(%[[A]])
  // CHECK-NEXT: fusec.yield %[[E]] : tensor<4x8xf32>
  %e0, %e1 = fusec.kernel "exp"(%x, %y) {segments = 2 : i64} : (tensor<4x8xf32>, tensor<16xf32>) -> (tensor<4x8xf32>, tensor<16xf32>) {
  ^bb0(%a: tensor<4x8xf32>):
    %e = fusec.map exp(%a) : (tensor<4x8xf32>) -> tensor<4x8xf32>
    fusec.yield %e : tensor<4x8xf32>
  }
  // CHECK: fusec.library "copy"(%[[K]]#1) {bytes = 64 : i64} : (tensor<16xf32>) -> tensor<16xf32>
  %c = fusec.library "copy"(%e1) {bytes = 64 : i64} : (tensor<16xf32>) -> tensor<16xf32>
  fusec.output "e0" %e0 : tensor<4x8xf32>
  fusec.output "c" %c : tensor<16xf32>
}
