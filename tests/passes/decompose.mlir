// RUN: split-file %s %t
// RUN: %fusec --print-after=decompose --stop-after=canonical --no-locations %t/splits.mlir | FileCheck %t/splits.mlir
// RUN: %fusec --print-after=decompose --stop-after=canonical --no-locations %t/keeps.mlir | FileCheck %t/keeps.mlir

//--- splits.mlir
// A sum of a whole large tensor becomes partial sums of fixed chunks: parallel, and the same bits for
// any number of workers.
fusec.graph "splits" {
  %x = fusec.input "x" : tensor<256x512xf32>
  %s = fusec.reduce sum(%x) axes [0, 1] : tensor<256x512xf32> to tensor<f32>
  %m = fusec.reduce max(%x) axes [0, 1] : tensor<256x512xf32> to tensor<f32>
  fusec.output "s" %s : tensor<f32>
  fusec.output "m" %m : tensor<f32>
}
// CHECK-LABEL: // after decompose
// CHECK: %[[X:.*]] = fusec.input "x"
// CHECK: %[[F:.*]] = fusec.view reshape(%[[X]]) : tensor<256x512xf32> to tensor<131072xf32>
// CHECK: %[[P:.*]] = fusec.reduce sum(%[[F]]) axes [0] {chunk = [[#CHUNK:]] : i64} : tensor<131072xf32> to tensor<{{[0-9]+}}xf32>
// CHECK: %[[S:.*]] = fusec.reduce sum(%[[P]]) axes [0] : tensor<[[#div(131072,CHUNK)]]xf32> to tensor<f32>
// CHECK: fusec.reduce max(%{{.*}}) axes [0] {chunk = [[#CHUNK]] : i64}
// CHECK: fusec.output "s" %[[S]]

//--- keeps.mlir
// Rows and columns are parallel already, and a small tensor is not worth two steps.
fusec.graph "keeps" {
  %x = fusec.input "x" : tensor<256x512xf32>
  %small = fusec.input "small" : tensor<8x16xf32>
  %rows = fusec.reduce sum(%x) axes [1] : tensor<256x512xf32> to tensor<256xf32>
  %columns = fusec.reduce sum(%x) axes [0] : tensor<256x512xf32> to tensor<512xf32>
  %whole = fusec.reduce sum(%small) axes [0, 1] : tensor<8x16xf32> to tensor<f32>
  fusec.output "rows" %rows : tensor<256xf32>
  fusec.output "columns" %columns : tensor<512xf32>
  fusec.output "whole" %whole : tensor<f32>
}
// CHECK-LABEL: // after decompose
// CHECK-NOT: chunk
// CHECK: fusec.output "whole"
