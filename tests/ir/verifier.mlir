// What the verifier of each op class refuses, with the line and what was expected instead. The rules
// are those of ops/infer.cpp; here is one case an op, and one for each way an attribute can be wrong.
// RUN: split-file %s %t
// RUN: not %fusec --dump-ir=graph %t/constant.mlir 2>&1 | FileCheck %t/constant.mlir
// RUN: not %fusec --dump-ir=graph %t/map_shapes.mlir 2>&1 | FileCheck %t/map_shapes.mlir
// RUN: not %fusec --dump-ir=graph %t/map_types.mlir 2>&1 | FileCheck %t/map_types.mlir
// RUN: not %fusec --dump-ir=graph %t/map_count.mlir 2>&1 | FileCheck %t/map_count.mlir
// RUN: not %fusec --dump-ir=graph %t/map_name.mlir 2>&1 | FileCheck %t/map_name.mlir
// RUN: not %fusec --dump-ir=graph %t/map_result.mlir 2>&1 | FileCheck %t/map_result.mlir
// RUN: not %fusec --dump-ir=graph %t/cast.mlir 2>&1 | FileCheck %t/cast.mlir
// RUN: not %fusec --dump-ir=graph %t/element_type.mlir 2>&1 | FileCheck %t/element_type.mlir
// RUN: not %fusec --dump-ir=graph %t/reduce_axes.mlir 2>&1 | FileCheck %t/reduce_axes.mlir
// RUN: not %fusec --dump-ir=graph %t/reduce_kind.mlir 2>&1 | FileCheck %t/reduce_kind.mlir
// RUN: not %fusec --dump-ir=graph %t/reduce_chunk.mlir 2>&1 | FileCheck %t/reduce_chunk.mlir
// RUN: not %fusec --dump-ir=graph %t/contract_labels.mlir 2>&1 | FileCheck %t/contract_labels.mlir
// RUN: not %fusec --dump-ir=graph %t/contract_sizes.mlir 2>&1 | FileCheck %t/contract_sizes.mlir
// RUN: not %fusec --dump-ir=graph %t/view_reshape.mlir 2>&1 | FileCheck %t/view_reshape.mlir
// RUN: not %fusec --dump-ir=graph %t/view_permute.mlir 2>&1 | FileCheck %t/view_permute.mlir
// RUN: not %fusec --dump-ir=graph %t/view_broadcast.mlir 2>&1 | FileCheck %t/view_broadcast.mlir
// RUN: not %fusec --dump-ir=graph %t/view_slice.mlir 2>&1 | FileCheck %t/view_slice.mlir
// RUN: not %fusec --dump-ir=graph %t/view_kind.mlir 2>&1 | FileCheck %t/view_kind.mlir
// RUN: not %fusec --dump-ir=graph %t/concat.mlir 2>&1 | FileCheck %t/concat.mlir
// RUN: not %fusec --dump-ir=graph %t/gather.mlir 2>&1 | FileCheck %t/gather.mlir
// RUN: not %fusec --dump-ir=graph %t/scatter.mlir 2>&1 | FileCheck %t/scatter.mlir
// RUN: not %fusec --dump-ir=graph %t/scatter_mode.mlir 2>&1 | FileCheck %t/scatter_mode.mlir
// RUN: not %fusec --dump-ir=graph %t/attention.mlir 2>&1 | FileCheck %t/attention.mlir
// RUN: not %fusec --dump-ir=graph %t/attention_documents.mlir 2>&1 | FileCheck %t/attention_documents.mlir
// RUN: not %fusec --dump-ir=graph %t/attention_grad.mlir 2>&1 | FileCheck %t/attention_grad.mlir
// RUN: not %fusec --dump-ir=graph %t/attention_prefix.mlir 2>&1 | FileCheck %t/attention_prefix.mlir
// RUN: not %fusec --dump-ir=graph %t/attention_hook.mlir 2>&1 | FileCheck %t/attention_hook.mlir
// RUN: not %fusec --dump-ir=graph %t/attention_captured.mlir 2>&1 | FileCheck %t/attention_captured.mlir
// RUN: not %fusec --dump-ir=graph %t/paged_attention.mlir 2>&1 | FileCheck %t/paged_attention.mlir
// RUN: not %fusec --dump-ir=graph %t/assign_target.mlir 2>&1 | FileCheck %t/assign_target.mlir
// RUN: not %fusec --dump-ir=graph %t/assign_type.mlir 2>&1 | FileCheck %t/assign_type.mlir
// RUN: not %fusec --dump-ir=graph %t/kernel_segments.mlir 2>&1 | FileCheck %t/kernel_segments.mlir
// RUN: not %fusec --dump-ir=graph %t/kernel_types.mlir 2>&1 | FileCheck %t/kernel_types.mlir
// RUN: not %fusec --dump-ir=graph %t/kernel_yield.mlir 2>&1 | FileCheck %t/kernel_yield.mlir
// RUN: not %fusec --dump-ir=graph %t/alias_columns.mlir 2>&1 | FileCheck %t/alias_columns.mlir
// RUN: not %fusec --dump-ir=graph %t/placed_part.mlir 2>&1 | FileCheck %t/placed_part.mlir
// RUN: not %fusec --dump-ir=graph %t/kernel_places.mlir 2>&1 | FileCheck %t/kernel_places.mlir
// RUN: not %fusec --dump-ir=graph %t/operand_type.mlir 2>&1 | FileCheck %t/operand_type.mlir

//--- constant.mlir
fusec.graph "constant" {
  %c = fusec.constant dense<1.0> : tensor<4xf32> : tensor<8xf32>
}
// CHECK: constant.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}value and result differ in type

//--- map_shapes.mlir
fusec.graph "map_shapes" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %y = fusec.input "y" : tensor<8xf32>
  %r = fusec.map add(%x, %y) : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
}
// CHECK: map_shapes.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}add: expected operands of one shape, found f32[4, 8] and f32[8]

//--- map_types.mlir
fusec.graph "map_types" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %y = fusec.input "y" : tensor<4x8xbf16>
  %r = fusec.map add(%x, %y) : (tensor<4x8xf32>, tensor<4x8xbf16>) -> tensor<4x8xf32>
}
// CHECK: map_types.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}add: expected operands of one dtype (use cast()), found f32[4, 8] and bf16[4, 8]

//--- map_count.mlir
fusec.graph "map_count" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.map exp(%x, %x) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
}
// CHECK: map_count.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}exp: expected 1 operands, found 2

//--- map_name.mlir
fusec.graph "map_name" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.map sillu(%x) : (tensor<4x8xf32>) -> tensor<4x8xf32>
}
// CHECK: map_name.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}unknown pointwise op "sillu" (did you mean "silu"?)

//--- map_result.mlir
fusec.graph "map_result" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.map lt(%x, %x) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
}
// CHECK: map_result.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}result 0: expected b8[4, 8], found f32[4, 8]

//--- cast.mlir
fusec.graph "cast" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.cast %x : tensor<4x8xf32> to tensor<8x4xbf16>
}
// CHECK: cast.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}result 0: expected bf16[4, 8], found bf16[8, 4]

//--- element_type.mlir
fusec.graph "element_type" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.cast %x : tensor<4x8xf32> to tensor<4x8xi7>
}
// CHECK: element_type.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}element type i7: expected f32, f64, bf16, f16, i64, i32, ui8, i1 or f8E4M3FN

//--- reduce_axes.mlir
fusec.graph "reduce_axes" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.reduce sum(%x) axes [2] : tensor<4x8xf32> to tensor<4x8xf32>
}
// CHECK: reduce_axes.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}sum: expected sorted distinct axes below 2, found [2]

//--- reduce_kind.mlir
fusec.graph "reduce_kind" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.reduce summ(%x) axes [1] : tensor<4x8xf32> to tensor<4xf32>
}
// CHECK: reduce_kind.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}unknown reduction "summ" (did you mean "sum"?)

//--- reduce_chunk.mlir
fusec.graph "reduce_chunk" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.reduce sum(%x) axes [0] {chunk = 4 : i64} : tensor<4x8xf32> to tensor<8xf32>
}
// CHECK: reduce_chunk.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}sum in chunks: expected one dimension, found f32[4, 8]

//--- contract_labels.mlir
fusec.graph "contract_labels" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %w = fusec.parameter "w" : tensor<16x8xf32>
  %r = fusec.contract "mk,nk->mz"(%x, %w) : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
}
// CHECK: contract_labels.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}contract mk,nk->mz: expected distinct output labels that occur in an operand, found 'z'

//--- contract_sizes.mlir
fusec.graph "contract_sizes" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %w = fusec.parameter "w" : tensor<16x8xf32>
  %r = fusec.contract "mk,kn->mn"(%x, %w) : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x8xf32>
}
// CHECK: contract_sizes.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}contract mk,kn->mn: expected one size for 'k', found f32[4, 8] and f32[16, 8]

//--- view_reshape.mlir
fusec.graph "view_reshape" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.view reshape(%x) : tensor<4x8xf32> to tensor<5x8xf32>
}
// CHECK: view_reshape.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}reshape: expected an equal number of elements, found f32[4, 8] to [5, 8]

//--- view_permute.mlir
fusec.graph "view_permute" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.view permute(%x) {dims = array<i64: 0, 0>} : tensor<4x8xf32> to tensor<4x4xf32>
}
// CHECK: view_permute.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}permute: expected each axis once, found [0, 0] of f32[4, 8]

//--- view_broadcast.mlir
fusec.graph "view_broadcast" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.view broadcast(%x) {dims = array<i64: -1, 0, 1>} : tensor<4x8xf32> to tensor<2x4x9xf32>
}
// CHECK: view_broadcast.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}broadcast: expected every source axis once, in order, of equal size or 1, found f32[4, 8] to [2, 4, 9]

//--- view_slice.mlir
fusec.graph "view_slice" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.view slice(%x) {start = array<i64: 0, 4>, step = array<i64: 1, 2>} : tensor<4x8xf32> to tensor<4x3xf32>
}
// CHECK: view_slice.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}slice: expected elements inside the operand, step not 0, found f32[4, 8] to [4, 3], start [0, 4], step [1, 2]

//--- view_kind.mlir
fusec.graph "view_kind" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.view transpose(%x) : tensor<4x8xf32> to tensor<8x4xf32>
}
// CHECK: view_kind.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}unknown view "transpose" (known: reshape, permute, broadcast, slice)

//--- concat.mlir
fusec.graph "concat" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %y = fusec.input "y" : tensor<5x8xf32>
  %r = fusec.concat 1 (%x, %y) : (tensor<4x8xf32>, tensor<5x8xf32>) -> tensor<4x16xf32>
}
// CHECK: concat.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}concat: expected parts that differ only along the axis, found f32[4, 8] and f32[5, 8]

//--- gather.mlir
fusec.graph "gather" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.gather(%x, %x) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8x8xf32>
}
// CHECK: gather.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}gather: expected an i32 or i64 index, found f32[4, 8]

//--- scatter.mlir
fusec.graph "scatter" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %i = fusec.input "i" : tensor<3xi32>
  %r = fusec.scatter add(%x, %i, %x) : (tensor<4x8xf32>, tensor<3xi32>, tensor<4x8xf32>) -> tensor<4x8xf32>
}
// CHECK: scatter.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}scatter: expected updates f32[3, 8], found f32[4, 8]

//--- scatter_mode.mlir
fusec.graph "scatter_mode" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %i = fusec.input "i" : tensor<3xi32>
  %r = fusec.scatter max(%x, %i, %x) : (tensor<4x8xf32>, tensor<3xi32>, tensor<4x8xf32>) -> tensor<4x8xf32>
}
// CHECK: scatter_mode.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}unknown mode "max"

//--- attention.mlir
fusec.graph "attention" {
  %q = fusec.input "q" : tensor<1x8x4x16xf32>
  %k = fusec.input "k" : tensor<1x8x3x16xf32>
  %o, %lse = fusec.attention(%q, %k, %k) {causal = true, scale = 1.0 : f64, softcap = 0.0 : f64} : (tensor<1x8x4x16xf32>, tensor<1x8x3x16xf32>, tensor<1x8x3x16xf32>) -> (tensor<1x8x4x16xf32>, tensor<1x4x8xf32>)
}
// CHECK: attention.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}attention: expected q [B, T, H, d], k and v [B, S, KV, d], all f32, bf16 or f16, H a multiple of KV (naive_attention takes f64), found f32[1, 8, 4, 16], f32[1, 8, 3, 16], f32[1, 8, 3, 16]

//--- attention_documents.mlir
fusec.graph "attention_documents" {
  %q = fusec.input "q" : tensor<2x8x4x16xf32>
  %i = fusec.input "i" : tensor<3xi32>
  %o, %lse = fusec.attention(%q, %q, %q, %i) {causal = true, scale = 1.0 : f64, softcap = 0.0 : f64} : (tensor<2x8x4x16xf32>, tensor<2x8x4x16xf32>, tensor<2x8x4x16xf32>, tensor<3xi32>) -> (tensor<2x8x4x16xf32>, tensor<2x4x8xf32>)
}
// CHECK: attention_documents.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}attention: expected cu_seqlens i32[n + 1] with B = 1 and T = S, found i32[3] with q f32[2, 8, 4, 16], k f32[2, 8, 4, 16]

//--- attention_grad.mlir
fusec.graph "attention_grad" {
  %q = fusec.input "q" : tensor<1x8x4x16xf32>
  %l = fusec.input "l" : tensor<1x8x4xf32>
  %dq, %dk, %dv = fusec.attention_grad(%q, %q, %q, %q, %q, %l) {causal = true, scale = 1.0 : f64, softcap = 0.0 : f64} : (tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>, tensor<1x8x4xf32>) -> (tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>)
}
// CHECK: attention_grad.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}attention_grad: expected do and o like q, lse f32[1, 4, 8], found

//--- attention_prefix.mlir
fusec.graph "attention_prefix" {
  %q = fusec.input "q" : tensor<1x8x4x16xf32>
  %i = fusec.input "i" : tensor<2xi32>
  %o, %lse = fusec.attention(%q, %q, %q, %i) {causal = true, prefix, scale = 1.0 : f64, softcap = 0.0 : f64} : (tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>, tensor<2xi32>) -> (tensor<1x8x4x16xf32>, tensor<1x4x8xf32>)
}
// CHECK: attention_prefix.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}attention: expected prefix i32[1], a number a batch item or document, found i32[2]

//--- attention_hook.mlir
fusec.graph "attention_hook" {
  %q = fusec.input "q" : tensor<1x8x4x16xf32>
  %o, %lse = fusec.attention(%q, %q, %q) {causal = true, hook = "a0 = score; a1 = silly(a0); score(a1)", scale = 1.0 : f64, softcap = 0.0 : f64} : (tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>) -> (tensor<1x8x4x16xf32>, tensor<1x4x8xf32>)
}
// CHECK: attention_hook.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}attention hook: expected a pointwise op, found silly

//--- attention_captured.mlir
fusec.graph "attention_captured" {
  %q = fusec.input "q" : tensor<1x8x4x16xf32>
  %i = fusec.input "i" : tensor<7xf32>
  %o, %lse = fusec.attention(%q, %q, %q, %i) {causal = true, hook = "a0 = score; a1 = load 0 f32 [key]; a2 = mul(a0, a1); score(a2)", scale = 1.0 : f64, softcap = 0.0 : f64} : (tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>, tensor<1x8x4x16xf32>, tensor<7xf32>) -> (tensor<1x8x4x16xf32>, tensor<1x4x8xf32>)
}
// CHECK: attention_captured.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}attention hook: captured tensor 0, f32[7], is read at key along axis 0, which reaches from 0 to 7

//--- paged_attention.mlir
fusec.graph "paged_attention" {
  %q = fusec.input "q" : tensor<6x4x16xf32>
  %k = fusec.input "k" : tensor<9x4x2x16xf32>
  %t = fusec.input "t" : tensor<2x3xi32>
  %l = fusec.input "l" : tensor<2xi32>
  %o = fusec.paged_attention(%q, %k, %k, %t, %l) {scale = 1.0 : f64, softcap = 0.0 : f64} : (tensor<6x4x16xf32>, tensor<9x4x2x16xf32>, tensor<9x4x2x16xf32>, tensor<2x3xi32>, tensor<2xi32>) -> tensor<6x4x16xf32>
}
// CHECK: paged_attention.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}paged_attention: expected a query token a sequence, q [2, H, d]; else cu_q, found f32[6, 4, 16]

//--- assign_target.mlir
fusec.graph "assign_target" {
  %x = fusec.input "x" : tensor<4x8xf32>
  fusec.assign %x, %x : tensor<4x8xf32>, tensor<4x8xf32>
}
// CHECK: assign_target.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}the target must be a fusec.parameter

//--- assign_type.mlir
fusec.graph "assign_type" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %w = fusec.parameter "w" : tensor<16x8xf32>
  fusec.assign %w, %x : tensor<16x8xf32>, tensor<4x8xf32>
}
// CHECK: assign_type.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}expected a value of type 'tensor<16x8xf32>'

//--- cumsum_axis.mlir
fusec.graph "cumsum_axis" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %c = fusec.cumsum 2 (%x) : tensor<4x8xf32> to tensor<4x8xf32>
}
// CHECK: cumsum_axis.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}cumsum: expected an axis below 2, found 2

//--- top_k_size.mlir
fusec.graph "top_k_size" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %v, %i = fusec.top_k 9 (%x) : (tensor<4x8xf32>) -> (tensor<4x9xf32>, tensor<4x9xi32>)
}
// CHECK: top_k_size.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}top_k: expected 1 <= k <= the size of the last axis, found k = 9 of f32[4, 8]

//--- philox_type.mlir
fusec.graph "philox_type" {
  %x = fusec.input "x" : tensor<4xf32>
  %p = fusec.map philox(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
}
// CHECK: philox_type.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}philox: expected an i64 key and counter, found f32[4] and f32[4]

//--- kernel_segments.mlir
fusec.graph "kernel_segments" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.kernel "k"(%x) {segments = 2 : i64} : (tensor<4x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>):
    fusec.yield %a : tensor<4x8xf32>
  }
}
// CHECK: kernel_segments.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}expected 2 segments of 1 operands and 1 results

//--- kernel_types.mlir
fusec.graph "kernel_types" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.kernel "k"(%x) : (tensor<4x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<8x4xf32>):
    fusec.yield %a : tensor<8x4xf32>
  }
}
// CHECK: kernel_types.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}argument types differ

//--- kernel_yield.mlir
fusec.graph "kernel_yield" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.kernel "k"(%x) : (tensor<4x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>):
    %e = fusec.map exp(%a) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  }
}
// CHECK: kernel_yield.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}expected the body to end in fusec.yield

//--- operand_type.mlir
fusec.graph "operand_type" {
  %y = fusec.input "y" : f32
}
// CHECK: operand_type.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}expected builtin.tensor, but found 'f32'

//--- alias_columns.mlir
fusec.graph "alias_columns" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %s = fusec.view slice(%x) {alias, start = array<i64: 0, 4>, step = array<i64: 1, 1>} : tensor<4x8xf32> to tensor<4x4xf32>
}
// CHECK: alias_columns.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}expected an alias to be a slice of whole rows

//--- placed_part.mlir
fusec.graph "placed_part" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %c = fusec.concat 0 (%x, %x) {placed = array<i64: 2>} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
}
// CHECK: placed_part.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}expected placed to hold numbers of parts in rising order, found 2

//--- kernel_places.mlir
fusec.graph "kernel_places" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %r = fusec.kernel "k"(%x) {places = array<i64: 8, 12, 6>} : (tensor<4x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: tensor<4x8xf32>):
    %e = fusec.map exp(%a) : (tensor<4x8xf32>) -> tensor<4x8xf32>
    fusec.yield %e : tensor<4x8xf32>
  }
}
// CHECK: kernel_places.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}result 0: no place of length 8 at 6 in rows of 12
