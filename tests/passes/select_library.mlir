// RUN: split-file %s %t
// RUN: %fusec --print-after=select_library --stop-after=fused --no-locations %t/gemm.mlir | FileCheck %t/gemm.mlir
// RUN: %fusec --print-after=select_library --stop-after=fused --no-locations %t/calls.mlir | FileCheck %t/calls.mlir
// RUN: %fusec --print-after=select_library --stop-after=fused --no-locations %t/held.mlir | FileCheck %t/held.mlir
// RUN: %fusec --device=sm_90a --print-after=select_library --stop-after=fused --no-locations %t/held.mlir | FileCheck %t/held.mlir --check-prefix=GPU

//--- gemm.mlir
fusec.graph "gemm" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %w = fusec.parameter "w" : tensor<16x8xf32>
  %a = fusec.input "a" : tensor<2x3x4x5xf32>
  %b = fusec.input "b" : tensor<2x3x5x6xf32>
  %t = fusec.input "t" : tensor<5x2x4xf32>
  %u = fusec.input "u" : tensor<2x6x5xf32>

  // x w^T: no operand moves.
  %linear = fusec.contract "mk,nk->mn"(%x, %w) : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
  // The transposed result is the same product with its sides exchanged.
  %swapped = fusec.contract "mk,nk->nm"(%x, %w) : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<16x4xf32>
  // Leading labels of all three are batches.
  %batched = fusec.contract "abmk,abkn->abmn"(%a, %b) : (tensor<2x3x4x5xf32>, tensor<2x3x5x6xf32>) -> tensor<2x3x4x6xf32>
  // Two summed labels in the same order are one.
  %weight = fusec.contract "abm,abn->mn"(%t, %t) : (tensor<5x2x4xf32>, tensor<5x2x4xf32>) -> tensor<4x4xf32>

  // What no layout of a GEMM describes is permuted first: here the batch label lies inside.
  %inside = fusec.contract "kbm,bnk->bmn"(%t, %u) : (tensor<5x2x4xf32>, tensor<2x6x5xf32>) -> tensor<2x4x6xf32>
  // A label summed in one operand only is a reduction.
  %lonely = fusec.contract "kbm,bnj->bmn"(%t, %u) : (tensor<5x2x4xf32>, tensor<2x6x5xf32>) -> tensor<2x4x6xf32>

  fusec.output "linear" %linear : tensor<4x16xf32>
  fusec.output "swapped" %swapped : tensor<16x4xf32>
  fusec.output "batched" %batched : tensor<2x3x4x6xf32>
  fusec.output "weight" %weight : tensor<4x4xf32>
  fusec.output "inside" %inside : tensor<2x4x6xf32>
  fusec.output "lonely" %lonely : tensor<2x4x6xf32>
}
// CHECK-LABEL: // after select_library
// CHECK-NOT: fusec.contract
// CHECK: %[[X:.*]] = fusec.input "x"
// CHECK: %[[W:.*]] = fusec.parameter "w"
// CHECK: %[[T:.*]] = fusec.input "t"
// CHECK: %[[U:.*]] = fusec.input "u"
// CHECK: fusec.library "gemm"(%[[X]], %[[W]]) {{.*}}batch = 1 {{.*}}k = 8 : {{.*}}m = 4 : {{.*}}n = 16 : {{.*}}trans_a = 0 : i64, trans_b = 1 : i64
// CHECK: fusec.library "gemm"(%[[W]], %[[X]]) {{.*}}m = 16 : {{.*}}n = 4 : {{.*}}trans_a = 0 : i64, trans_b = 1 : i64
// CHECK: fusec.library "gemm"({{.*}}) {{.*}}batch = 6 {{.*}}k = 5 : {{.*}}m = 4 : {{.*}}n = 6 : {{.*}}stride_a = 20 : i64, stride_b = 30 : i64, stride_c = 24 : i64, trans_a = 0 : i64, trans_b = 0 : i64
// CHECK: fusec.library "gemm"(%[[T]], %[[T]]) {{.*}}k = 10 : {{.*}}trans_a = 1 : i64, trans_b = 0 : i64
// CHECK: %[[TP:.*]] = fusec.view permute(%[[T]]) {dims = array<i64: 1, 2, 0>} : tensor<5x2x4xf32> to tensor<2x4x5xf32>
// CHECK: fusec.library "gemm"(%[[TP]], %[[U]]) {{.*}}batch = 2 {{.*}}trans_b = 1
// CHECK: %[[TS:.*]] = fusec.reduce sum(%[[T]]) axes [0] : tensor<5x2x4xf32> to tensor<2x4xf32>
// CHECK: %[[US:.*]] = fusec.reduce sum(%[[U]]) axes [2] : tensor<2x6x5xf32> to tensor<2x6xf32>
// CHECK: fusec.library "gemm"(%[[TS]], %[[US]]) {{.*}}batch = 2 {{.*}}k = 1 :

//--- calls.mlir
// Attention, gather, scatter, cumsum and top_k become calls; pointwise ops, reductions and concat stay.
fusec.graph "calls" {
  %q = fusec.input "q" : tensor<1x8x4x16xf32>
  %k = fusec.input "k" : tensor<1x8x2x16xf32>
  %cu = fusec.input "cu" : tensor<3xi32>
  %table = fusec.parameter "table" : tensor<100x32xf32>
  %index = fusec.input "index" : tensor<2x5xi32>
  %o, %lse = fusec.attention(%q, %k, %k, %cu) {causal = true, scale = 0.25 : f64, softcap = 15.0 : f64} : (tensor<1x8x4x16xf32>, tensor<1x8x2x16xf32>, tensor<1x8x2x16xf32>, tensor<3xi32>) -> (tensor<1x8x4x16xf32>, tensor<1x4x8xf32>)
  %slope = fusec.input "slope" : tensor<4xf32>
  %ho, %hl = fusec.attention(%q, %k, %k, %slope) {causal = true, hook = "a0 = score; a1 = load 0 f32 [head]; a2 = mul(a0, a1); score(a2)", scale = 0.25 : f64, softcap = 0.0 : f64, window = 3 : i64} : (tensor<1x8x4x16xf32>, tensor<1x8x2x16xf32>, tensor<1x8x2x16xf32>, tensor<4xf32>) -> (tensor<1x8x4x16xf32>, tensor<1x4x8xf32>)
  fusec.output "ho" %ho : tensor<1x8x4x16xf32>
  %pq = fusec.input "pq" : tensor<6x4x16xbf16>
  %pages = fusec.input "pages" : tensor<9x4x2x16xui8>
  %pt = fusec.input "pt" : tensor<2x3xi32>
  %lengths = fusec.input "lengths" : tensor<2xi32>
  %scale = fusec.input "scale" : tensor<9x4x2xf32>
  %po = fusec.paged_attention(%pq, %pages, %pages, %pt, %lengths, %cu, %scale, %scale) {cu_q, scale = 0.25 : f64, scales, softcap = 0.0 : f64, window = 5 : i64} : (tensor<6x4x16xbf16>, tensor<9x4x2x16xui8>, tensor<9x4x2x16xui8>, tensor<2x3xi32>, tensor<2xi32>, tensor<3xi32>, tensor<9x4x2xf32>, tensor<9x4x2xf32>) -> tensor<6x4x16xbf16>
  fusec.output "po" %po : tensor<6x4x16xbf16>
  %rows = fusec.gather(%table, %index) : (tensor<100x32xf32>, tensor<2x5xi32>) -> tensor<2x5x32xf32>
  %sum = fusec.scatter add(%table, %index, %rows) : (tensor<100x32xf32>, tensor<2x5xi32>, tensor<2x5x32xf32>) -> tensor<100x32xf32>
  %e = fusec.map exp(%sum) : (tensor<100x32xf32>) -> tensor<100x32xf32>
  %s = fusec.reduce sum(%e) axes [1] : tensor<100x32xf32> to tensor<100xf32>
  %run = fusec.cumsum 1 reverse (%k) : tensor<1x8x2x16xf32> to tensor<1x8x2x16xf32>
  %best, %place = fusec.top_k 5 (%s) : (tensor<100xf32>) -> (tensor<5xf32>, tensor<5xi32>)
  fusec.output "run" %run : tensor<1x8x2x16xf32>
  fusec.output "best" %best : tensor<5xf32>
  fusec.output "o" %o : tensor<1x8x4x16xf32>
  fusec.output "s" %s : tensor<100xf32>
}
// CHECK-LABEL: // after select_library
// CHECK: fusec.library "attention"({{.*}}) {b = 1 : i64, causal = 1 : i64, d = 16 : i64, docs = 2 : i64, h = 4 : i64, kv = 2 : i64, s = 8 : i64, scale = 2.500000e-01 : f64, softcap = 1.500000e+01 : f64, t = 8 : i64, type = "f32"}
// CHECK: fusec.library "attention"({{.*}}) {b = 1 : i64, captured = 1 : i64, captured_types = "f32 4", causal = 1 : i64, {{.*}}hook = "a0 = score; {{.*}}", {{.*}}window = 3 : i64}
// CHECK: fusec.library "paged_attention"({{.*}}) {b = 2 : i64, cu_q = 1 : i64, d = 16 : i64, h = 4 : i64, kv = 2 : i64, max_pages = 3 : i64, page_size = 4 : i64, page_type = "u8", pages = 9 : i64, scale = 2.500000e-01 : f64, softcap = 0.000000e+00 : f64, tokens = 6 : i64, type = "bf16", window = 5 : i64}
// CHECK: fusec.library "gather"({{.*}}) {count = 10 : i64, index_type = "i32", rows = 100 : i64, type = "f32", width = 32 : i64}
// CHECK: fusec.library "scatter"({{.*}}) {count = 10 : i64, {{.*}}mode = "add"
// CHECK: fusec.map exp
// CHECK: fusec.reduce sum
// CHECK: fusec.library "cumsum"({{.*}}) {inner = 32 : i64, n = 8 : i64, outer = 1 : i64, reverse = 1 : i64, type = "f32"}
// CHECK: fusec.library "top_k"({{.*}}) {k = 5 : i64, n = 100 : i64, rows = 1 : i64, type = "f32"} {{.*}} -> (tensor<5xf32>, tensor<5xi32>)

//--- held.mlir
// A CPU's product reads a parameter of 16 bits as it is held, on either side; what is no
// parameter is widened first. cuBLASLt multiplies one type.
fusec.graph "held" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %w16 = fusec.parameter "w" : tensor<16x8xbf16>
  %h16 = fusec.parameter "h" : tensor<16x8xf16>
  %i16 = fusec.input "i" : tensor<16x8xbf16>
  %w = fusec.cast %w16 : tensor<16x8xbf16> to tensor<16x8xf32>
  %h = fusec.cast %h16 : tensor<16x8xf16> to tensor<16x8xf32>
  %i = fusec.cast %i16 : tensor<16x8xbf16> to tensor<16x8xf32>
  %a = fusec.contract "mk,nk->mn"(%x, %w) : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
  %b = fusec.contract "mk,nk->nm"(%x, %h) : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<16x4xf32>
  %c = fusec.contract "mk,nk->mn"(%x, %i) : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
  fusec.output "a" %a : tensor<4x16xf32>
  fusec.output "b" %b : tensor<16x4xf32>
  fusec.output "c" %c : tensor<4x16xf32>
}
// CHECK-LABEL: // after select_library
// CHECK-DAG: %[[X:.*]] = fusec.input "x"
// CHECK-DAG: %[[W:.*]] = fusec.parameter "w"
// CHECK-DAG: %[[H:.*]] = fusec.parameter "h"
// CHECK: %[[I:.*]] = fusec.cast %{{.*}} : tensor<16x8xbf16> to tensor<16x8xf32>
// CHECK-NOT: fusec.cast
// CHECK: fusec.library "gemm"(%[[X]], %[[W]]) {{.*}}type_a = "f32", type_b = "bf16", type_c = "f32"
// CHECK: fusec.library "gemm"(%[[H]], %[[X]]) {{.*}}type_a = "f16", type_b = "f32", type_c = "f32"
// CHECK: fusec.library "gemm"(%[[X]], %[[I]]) {{.*}}type_a = "f32", type_b = "f32", type_c = "f32"
// GPU-LABEL: // after select_library
// GPU-COUNT-3: type_a = "f32", type_b = "f32", type_c = "f32"
