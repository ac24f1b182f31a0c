// RUN: split-file %s %t
// RUN: %fusec --print-after=place_concats --stop-after=scheduled --no-locations %t/columns.mlir | FileCheck %t/columns.mlir
// RUN: %fusec --dump-ir=plan %t/columns.mlir | FileCheck %t/columns.mlir --check-prefix=PLAN
// RUN: %fusec --dump-ir=scheduled %t/columns.mlir > %t/read.mlir
// RUN: %fusec --dump-ir=plan %t/read.mlir | FileCheck %t/columns.mlir --check-prefix=PLAN
// RUN: %fusec --dump-ir=plan %t/rows.mlir | FileCheck %t/rows.mlir
// RUN: %fusec explain %t/refuses.mlir | FileCheck %t/refuses.mlir
// RUN: not %fusec --dump-ir=plan %t/wrong.mlir 2>&1 | FileCheck %t/wrong.mlir

//--- columns.mlir
// Two kernels write columns of one matrix; an input is copied to its columns.
fusec.graph "columns" {
  %x = fusec.input "x" : tensor<4x8x64xf32>
  %y = fusec.input "y" : tensor<32x16xf32>
  %s = fusec.map silu(%x) : (tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  %r = fusec.view reshape(%s) : tensor<4x8x64xf32> to tensor<32x64xf32>
  %t = fusec.map tanh(%y) : (tensor<32x16xf32>) -> tensor<32x16xf32>
  %c = fusec.concat 1 (%t, %r, %y) : (tensor<32x16xf32>, tensor<32x64xf32>, tensor<32x16xf32>) -> tensor<32x96xf32>
  fusec.output "c" %c : tensor<32x96xf32>
}
// CHECK-LABEL: // after place_concats
// CHECK: fusec.kernel "silu"({{.*}}) {places = array<i64: 64, 96, 16>}
// CHECK: fusec.kernel "tanh"({{.*}}) {places = array<i64: 16, 96, 0>}
// CHECK: fusec.concat 1({{.*}}) {placed = array<i64: 0, 1>}
// PLAN: output "c"
// PLAN-COUNT-3: : run
// PLAN-NOT: : run

//--- rows.mlir
// Whole rows: the kernels stay as they are and write behind each other.
fusec.graph "rows" {
  %x = fusec.input "x" : tensor<8x64xf32>
  %y = fusec.input "y" : tensor<3x64xf32>
  %s = fusec.map silu(%x) : (tensor<8x64xf32>) -> tensor<8x64xf32>
  %t = fusec.map tanh(%y) : (tensor<3x64xf32>) -> tensor<3x64xf32>
  %c = fusec.concat 0 (%s, %t) : (tensor<8x64xf32>, tensor<3x64xf32>) -> tensor<11x64xf32>
  fusec.output "c" %c : tensor<11x64xf32>
}
// CHECK-DAG: n 512 (b0, b2)
// CHECK-DAG: n 192 (b1, b2+2048)
// CHECK-NOT: kernel concat

//--- refuses.mlir
fusec.graph "refuses" {
  %x = fusec.input "x" : tensor<3x8xf32>
  %y = fusec.input "y" : tensor<64x8xf32>
  %s = fusec.map silu(%x) : (tensor<3x8xf32>) -> tensor<3x8xf32>
  %t = fusec.map tanh(%y) : (tensor<64x8xf32>) -> tensor<64x8xf32>
  %c = fusec.concat 0 (%s, %t) : (tensor<3x8xf32>, tensor<64x8xf32>) -> tensor<67x8xf32>
  %d = fusec.concat 1 (%t, %y) : (tensor<64x8xf32>, tensor<64x8xf32>) -> tensor<64x16xf32>
  fusec.output "c" %c : tensor<67x8xf32>
  fusec.output "d" %d : tensor<64x16xf32>
}
// CHECK-DAG: a part of 24 elements is not a multiple of 64
// CHECK-DAG: no kernel makes it for this concat alone

//--- wrong.mlir
// stage: scheduled
// A part that nothing writes in place is no placed part.
fusec.graph "wrong" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %c = fusec.concat 1 (%x, %x) {placed = array<i64: 0>} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x16xf32>
  fusec.output "c" %c : tensor<4x16xf32>
}
// CHECK: part 0 is placed, but no kernel writes it there
