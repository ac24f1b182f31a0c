// RUN: split-file %s %t
// RUN: %fusec --dump-ir=scheduled --no-locations %t/kinds.mlir | FileCheck %t/kinds.mlir
// RUN: not %fusec --dump-ir=scheduled %t/refuses.mlir 2>&1 | FileCheck %t/refuses.mlir
// RUN: not %fusec --dump-ir=scheduled %t/walked.mlir 2>&1 | FileCheck %t/walked.mlir

//--- kinds.mlir
// stage: fused
// Loops by what a kernel does: flat for pointwise, rows and columns for reductions, chunks for a whole
// vector. Equal kernels are one code under one name, though their names differed before.
fusec.graph "kinds" {
  %x = fusec.input "x" : tensor<64x128xf32>
  %v = fusec.input "v" : tensor<65536xf32>
  %a = fusec.kernel "exp"(%x) : (tensor<64x128xf32>) -> tensor<64x128xf32> {
  ^bb0(%i: tensor<64x128xf32>):
    %r = fusec.map exp(%i) : (tensor<64x128xf32>) -> tensor<64x128xf32>
    fusec.yield %r : tensor<64x128xf32>
  }
  %b = fusec.kernel "other"(%a) : (tensor<64x128xf32>) -> tensor<64x128xf32> {
  ^bb0(%i: tensor<64x128xf32>):
    %r = fusec.map exp(%i) : (tensor<64x128xf32>) -> tensor<64x128xf32>
    fusec.yield %r : tensor<64x128xf32>
  }
  %c = fusec.kernel "rows"(%b) : (tensor<64x128xf32>) -> tensor<64xf32> {
  ^bb0(%i: tensor<64x128xf32>):
    %r = fusec.reduce sum(%i) axes [1] : tensor<64x128xf32> to tensor<64xf32>
    fusec.yield %r : tensor<64xf32>
  }
  %d = fusec.kernel "columns"(%b) : (tensor<64x128xf32>) -> tensor<128xf32> {
  ^bb0(%i: tensor<64x128xf32>):
    %r = fusec.reduce sum(%i) axes [0] : tensor<64x128xf32> to tensor<128xf32>
    fusec.yield %r : tensor<128xf32>
  }
  %e = fusec.kernel "parts"(%v) : (tensor<65536xf32>) -> tensor<8xf32> {
  ^bb0(%i: tensor<65536xf32>):
    %r = fusec.reduce sum(%i) axes [0] {chunk = 8192 : i64} : tensor<65536xf32> to tensor<8xf32>
    fusec.yield %r : tensor<8xf32>
  }
  fusec.output "c" %c : tensor<64xf32>
  fusec.output "d" %d : tensor<128xf32>
  fusec.output "e" %e : tensor<8xf32>
}
// CHECK: // stage: scheduled
// CHECK: fusec.kernel "k00_exp"({{.*}}) {schedule = {{[{].*}}extents = array<i64: 8192>{{.*}}kind = "flat"
// CHECK: fusec.kernel "k00_exp"({{.*}}) {schedule = {{[{].*}}kind = "flat"
// CHECK: fusec.kernel "k01_rows"({{.*}}) {schedule = {{[{].*}}extents = array<i64: 64, 128>{{.*}}kind = "rows", row_dims = 1
// CHECK: fusec.kernel "k02_columns"({{.*}}) {schedule = {{[{].*}}kind = "columns"
// CHECK: fusec.kernel "k03_parts"({{.*}}) {schedule = {chunk = 8192 {{.*}}kind = "flat_reduce"

//--- refuses.mlir
// stage: fused
// A region that no loop nest computes; the fusion passes must not have made it.
fusec.graph "refuses" {
  %x = fusec.input "x" : tensor<64x128xf32>
  %a, %b = fusec.kernel "both"(%x) : (tensor<64x128xf32>) -> (tensor<64xf32>, tensor<f32>) {
  ^bb0(%i: tensor<64x128xf32>):
    %r = fusec.reduce sum(%i) axes [1] : tensor<64x128xf32> to tensor<64xf32>
    %s = fusec.reduce sum(%i) axes [0, 1] : tensor<64x128xf32> to tensor<f32>
    fusec.yield %r, %s : tensor<64xf32>, tensor<f32>
  }
  fusec.output "a" %a : tensor<64xf32>
  fusec.output "b" %b : tensor<f32>
}
// CHECK: fusec: {{.*}}kernel both cannot be compiled: {{.+}}

//--- walked.mlir
// stage: fused
// Column sums beside rows are for devices that run blocks of threads.
fusec.graph "walked" {
  %x = fusec.input "x" : tensor<64x128xf32>
  %a, %b = fusec.kernel "both"(%x) : (tensor<64x128xf32>) -> (tensor<64xf32>, tensor<128xf32>) {
  ^bb0(%i: tensor<64x128xf32>):
    %r = fusec.reduce sum(%i) axes [1] : tensor<64x128xf32> to tensor<64xf32>
    %s = fusec.reduce sum(%i) axes [0] : tensor<64x128xf32> to tensor<128xf32>
    fusec.yield %r, %s : tensor<64xf32>, tensor<128xf32>
  }
  fusec.output "a" %a : tensor<64xf32>
  fusec.output "b" %b : tensor<128xf32>
}
// CHECK: fusec: {{.*}}walked.mlir:5: error: kernel both sums columns beside rows, which cpu does not; expected two kernels
