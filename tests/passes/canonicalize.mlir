// The pass runs twice; the first text is that of the stage, after both.
// RUN: split-file %s %t
// RUN: %fusec --dump-ir=canonical --no-locations %t/folds.mlir | FileCheck %t/folds.mlir
// RUN: %fusec --print-after=canonicalize --stop-after=canonical --no-locations %t/keeps.mlir | FileCheck %t/keeps.mlir

//--- folds.mlir
fusec.graph "folds" {
  %x = fusec.input "x" : tensor<4x6xf32>
  %w = fusec.parameter "w" : tensor<6x5xf32>
  %unused = fusec.parameter "unused" : tensor<6x5xf32>

  // Two reshapes are one; back to the first shape they are none.
  %r0 = fusec.view reshape(%x) : tensor<4x6xf32> to tensor<24xf32>
  %r1 = fusec.view reshape(%r0) : tensor<24xf32> to tensor<8x3xf32>
  %r2 = fusec.view reshape(%r1) : tensor<8x3xf32> to tensor<4x6xf32>

  // Two permutes are one; an identity permute is none.
  %c0 = fusec.input "c" : tensor<2x3x4xf32>
  %p0 = fusec.view permute(%c0) {dims = array<i64: 1, 2, 0>} : tensor<2x3x4xf32> to tensor<3x4x2xf32>
  %p1 = fusec.view permute(%p0) {dims = array<i64: 1, 0, 2>} : tensor<3x4x2xf32> to tensor<4x3x2xf32>
  %p2 = fusec.view permute(%p0) {dims = array<i64: 2, 0, 1>} : tensor<3x4x2xf32> to tensor<2x3x4xf32>

  // A permuted operand becomes other labels.
  %wt = fusec.view permute(%w) {dims = array<i64: 1, 0>} : tensor<6x5xf32> to tensor<5x6xf32>
  %y = fusec.contract "mk,nk->mn"(%r2, %wt) : (tensor<4x6xf32>, tensor<5x6xf32>) -> tensor<4x5xf32>

  // x * 1 + 0 is x, also behind a broadcast; a cast to the same type is none.
  %one = fusec.constant dense<1.0> : tensor<f32> : tensor<f32>
  %ones = fusec.view broadcast(%one) {dims = array<i64: -1, -1>} : tensor<f32> to tensor<4x5xf32>
  %zero = fusec.constant dense<0.0> : tensor<4x5xf32> : tensor<4x5xf32>
  %y1 = fusec.map mul(%y, %ones) : (tensor<4x5xf32>, tensor<4x5xf32>) -> tensor<4x5xf32>
  %y2 = fusec.map add(%zero, %y1) : (tensor<4x5xf32>, tensor<4x5xf32>) -> tensor<4x5xf32>
  %y3 = fusec.cast %y2 : tensor<4x5xf32> to tensor<4x5xf32>

  // Every view of a spread scalar is the scalar, spread: two slices with a reshape between them too.
  %f0 = fusec.view reshape(%ones) : tensor<4x5xf32> to tensor<20xf32>
  %f1 = fusec.view slice(%f0) {start = array<i64: 19>, step = array<i64: -2>} : tensor<20xf32> to tensor<9xf32>
  fusec.output "spread" %f1 : tensor<9xf32>

  // Two equal ops are one; what nobody reads goes.
  %a = fusec.map exp(%y3) : (tensor<4x5xf32>) -> tensor<4x5xf32>
  %b = fusec.map exp(%y2) : (tensor<4x5xf32>) -> tensor<4x5xf32>
  %s = fusec.map mul(%a, %b) : (tensor<4x5xf32>, tensor<4x5xf32>) -> tensor<4x5xf32>
  %dead = fusec.map log(%s) : (tensor<4x5xf32>) -> tensor<4x5xf32>

  fusec.output "r1" %r1 : tensor<8x3xf32>
  fusec.output "p1" %p1 : tensor<4x3x2xf32>
  fusec.output "p2" %p2 : tensor<2x3x4xf32>
  fusec.output "s" %s : tensor<4x5xf32>
}
// CHECK-LABEL: fusec.graph "folds"
// CHECK-NEXT: %[[X:.*]] = fusec.input "x"
// CHECK-NEXT: %[[W:.*]] = fusec.parameter "w"
// CHECK-NEXT: %[[R:.*]] = fusec.view reshape(%[[X]]) : tensor<4x6xf32> to tensor<8x3xf32>
// CHECK-NEXT: %[[C:.*]] = fusec.input "c"
// CHECK-NEXT: %[[P:.*]] = fusec.view permute(%[[C]]) {dims = array<i64: 2, 1, 0>} : tensor<2x3x4xf32> to tensor<4x3x2xf32>
// CHECK-NEXT: %[[Y:.*]] = fusec.contract "mk,kn->mn"(%[[X]], %[[W]])
// CHECK-NEXT: %[[ONE:.*]] = fusec.constant dense<1.000000e+00>
// CHECK-NEXT: %[[SPREAD:.*]] = fusec.view broadcast(%[[ONE]]) {dims = array<i64: -1>} : tensor<f32> to tensor<9xf32>
// CHECK-NEXT: fusec.output "spread" %[[SPREAD]]
// CHECK-NEXT: %[[E:.*]] = fusec.map exp(%[[Y]])
// CHECK-NEXT: %[[S:.*]] = fusec.map mul(%[[E]], %[[E]])
// CHECK-NEXT: fusec.output "r1" %[[R]]
// CHECK-NEXT: fusec.output "p1" %[[P]]
// CHECK-NEXT: fusec.output "p2" %[[C]]
// CHECK-NEXT: fusec.output "s" %[[S]]
// CHECK-NEXT: }

//--- keeps.mlir
fusec.graph "keeps" {
  %x = fusec.input "x" : tensor<4x6xf32>
  %y = fusec.input "y" : tensor<4x6xf32>

  // Two casts round: to bf16 and back is not the identity.
  %h = fusec.cast %x : tensor<4x6xf32> to tensor<4x6xbf16>
  %f = fusec.cast %h : tensor<4x6xbf16> to tensor<4x6xf32>

  // A reshape of a permute moves data in between.
  %t = fusec.view permute(%x) {dims = array<i64: 1, 0>} : tensor<4x6xf32> to tensor<6x4xf32>
  %r = fusec.view reshape(%t) : tensor<6x4xf32> to tensor<4x6xf32>

  // Neither neutral nor equal: 2 * x, and sub, whose operands do not commute.
  %two = fusec.constant dense<2.0> : tensor<4x6xf32> : tensor<4x6xf32>
  %m = fusec.map mul(%x, %two) : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  %a = fusec.map sub(%x, %y) : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  %b = fusec.map sub(%y, %x) : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>

  fusec.output "f" %f : tensor<4x6xf32>
  fusec.output "r" %r : tensor<4x6xf32>
  fusec.output "m" %m : tensor<4x6xf32>
  fusec.output "a" %a : tensor<4x6xf32>
  fusec.output "b" %b : tensor<4x6xf32>
}
// CHECK-LABEL: // after canonicalize
// CHECK: %[[X:.*]] = fusec.input "x"
// CHECK: %[[Y:.*]] = fusec.input "y"
// CHECK: %[[H:.*]] = fusec.cast %[[X]] : tensor<4x6xf32> to tensor<4x6xbf16>
// CHECK: %[[F:.*]] = fusec.cast %[[H]] : tensor<4x6xbf16> to tensor<4x6xf32>
// CHECK: %[[T:.*]] = fusec.view permute(%[[X]])
// CHECK: fusec.view reshape(%[[T]])
// CHECK: fusec.map mul(%[[X]]
// CHECK: fusec.map sub(%[[X]], %[[Y]])
// CHECK: fusec.map sub(%[[Y]], %[[X]])
// CHECK: fusec.output "f" %[[F]]
