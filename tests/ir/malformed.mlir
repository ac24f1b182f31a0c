// Text that is no IR at all, or IR that is no graph: one line with the place and what was expected;
// never a crash.
// RUN: split-file %s %t
// RUN: not %fusec %t/garbage.mlir 2>&1 | FileCheck %s --check-prefix=GARBAGE
// RUN: not %fusec %t/empty.mlir 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not %fusec %t/two.mlir 2>&1 | FileCheck %s --check-prefix=TWO
// RUN: not %fusec %t/unclosed.mlir 2>&1 | FileCheck %s --check-prefix=UNCLOSED
// RUN: not %fusec %t/foreign.mlir 2>&1 | FileCheck %s --check-prefix=FOREIGN
// RUN: not %fusec %t/undefined.mlir 2>&1 | FileCheck %s --check-prefix=UNDEFINED
// RUN: not %fusec %t/later.mlir 2>&1 | FileCheck %s --check-prefix=LATER
// RUN: not %fusec %t/stage.mlir 2>&1 | FileCheck %s --check-prefix=STAGE
// RUN: not %fusec %t/plan.txt 2>&1 | FileCheck %s --check-prefix=PLAN
// RUN: not %fusec --resume-from=plan %t/two.mlir 2>&1 | FileCheck %s --check-prefix=RESUME

//--- garbage.mlir
Dear compiler,
// GARBAGE: fusec: error: cannot read {{.*}}garbage.mlir as IR; expected the text of a stage: {{.*}}garbage.mlir:1:1:

//--- empty.mlir
// EMPTY: fusec: error: expected one fusec.graph in the module, found 0

//--- two.mlir
fusec.graph "a" { %x = fusec.input "x" : tensor<4xf32> }
fusec.graph "b" { %x = fusec.input "x" : tensor<4xf32> }
// TWO: fusec: error: expected one fusec.graph in the module, found 2
// RESUME: fusec: error: {{.*}}line 2: found "fusec.graph", expected "plan"

//--- unclosed.mlir
fusec.graph "a" {
  %x = fusec.input "x" : tensor<4xf32>
// UNCLOSED: unclosed.mlir:{{[0-9]+}}:{{[0-9]+}}: {{.*}}expected

//--- foreign.mlir
fusec.graph "a" {
  %x = "arith.constant"() {value = 1.0 : f32} : () -> f32
}
// FOREIGN: foreign.mlir:2:{{[0-9]+}}: {{.*}}unregistered dialect

//--- undefined.mlir
fusec.graph "a" {
  fusec.output "y" %y : tensor<4xf32>
}
// UNDEFINED: undefined.mlir:2:{{[0-9]+}}: use of undeclared SSA value name

//--- later.mlir
fusec.graph "a" {
  %y = fusec.map exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %x = fusec.input "x" : tensor<4xf32>
}
// LATER: later.mlir:2:{{[0-9]+}}: operand #0 does not dominate this use

//--- stage.mlir
// stage: fusd
// STAGE: fusec: error: unknown stage "fusd" (did you mean "fused"?)

//--- plan.txt
plan "a" version 4 {
  arena 256 of
// PLAN: fusec: error: line {{[0-9]+}}: found {{.*}} expected
