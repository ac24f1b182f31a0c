// RUN: split-file %s %t
// RUN: %fusec --print-after=fuse_epilogue --stop-after=fused --no-locations %t/f32.mlir | FileCheck %t/f32.mlir
// RUN: %fusec --precision=bf16 --print-after=fuse_epilogue --stop-after=fused --no-locations %t/bf16.mlir | FileCheck %t/bf16.mlir
// RUN: %fusec --precision=bf16 --print-after=mixed_precision --stop-after=canonical --no-locations %t/bf16.mlir | FileCheck %t/bf16.mlir --check-prefix=POLICY
// RUN: env FUSEC_GELU_IN_GEMM=1 %fusec --precision=bf16 --print-after=fuse_epilogue --stop-after=fused --no-locations %t/gelu.mlir | FileCheck %t/gelu.mlir
// RUN: %fusec explain --all %t/f32.mlir | FileCheck %s --check-prefix=WHY
// RUN: %fusec explain --precision=bf16 %t/gelu.mlir | FileCheck %s --check-prefix=ASK
// WHY-DAG: fuse_epilogue    fused     library.gemm {{.*}} -> map.add {{.*}}: in the GEMM: bias
// WHY-DAG: fuse_epilogue    fused     library.gemm {{.*}} -> map.add {{.*}}: in the GEMM: add
// WHY-DAG: fuse_epilogue    not fused library.gemm {{.*}} -> map.add {{.*}}: only kernels read the sum, and add the bias as they load
// WHY-DAG: fuse_epilogue    not fused library.gemm {{.*}} -> map.add {{.*}}: the sum is written in place by its own kernel
// ASK: fuse_epilogue    not fused library.gemm {{.*}} -> map.gelu {{.*}}: a GELU inside a GEMM must be asked for (gelu_in_gemm)
// RUN: %fusec --print-after=fuse_epilogue --stop-after=fused --no-locations %t/sums.mlir | FileCheck %t/sums.mlir
// RUN: %fusec explain --all %t/sums.mlir | FileCheck %t/sums.mlir --check-prefix=SUMS
// RUN: env FUSEC_GELU_IN_GEMM=1 %fusec --precision=bf16 --print-after=fuse_epilogue --stop-after=fused --no-locations %t/slope.mlir | FileCheck %t/slope.mlir
// RUN: %fusec --print-after=fuse_epilogue --stop-after=fused --no-locations %t/beside.mlir | FileCheck %t/beside.mlir
// RUN: %fusec explain --all %t/beside.mlir | FileCheck %t/beside.mlir --check-prefix=BESIDE
// RUN: %fusec explain --all --precision=bf16 %t/beside.mlir | FileCheck %t/beside.mlir --check-prefix=NARROW

//--- f32.mlir
fusec.graph "f32" {
  %x = fusec.input "x" : tensor<2x4x8xf32>
  %w = fusec.parameter "w" : tensor<16x8xf32>
  %b = fusec.parameter "b" : tensor<16xf32>
  %v = fusec.parameter "v" : tensor<8x16xf32>
  %c = fusec.parameter "c" : tensor<8xf32>
  %m = fusec.parameter "m" state : tensor<2x4x8xf32>
  %z = fusec.input "z" : tensor<2x4x16xf32>

  // A GEMM reads the sum: the bias is the first one's own.
  %p = fusec.contract "abk,nk->abn"(%x, %w) : (tensor<2x4x8xf32>, tensor<16x8xf32>) -> tensor<2x4x16xf32>
  %bb = fusec.view broadcast(%b) {dims = array<i64: -1, -1, 0>} : tensor<16xf32> to tensor<2x4x16xf32>
  %h = fusec.map add(%p, %bb) : (tensor<2x4x16xf32>, tensor<2x4x16xf32>) -> tensor<2x4x16xf32>
  // A kernel reads the sum: it adds the bias as it loads.
  %q = fusec.contract "abk,nk->abn"(%h, %v) : (tensor<2x4x16xf32>, tensor<8x16xf32>) -> tensor<2x4x8xf32>
  %cb = fusec.view broadcast(%c) {dims = array<i64: -1, -1, 0>} : tensor<8xf32> to tensor<2x4x8xf32>
  %y = fusec.map add(%cb, %q) : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  %e = fusec.map exp(%y) : (tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  // The sum with an input, and nothing else, is the GEMM's; one that goes into a state is not.
  %r = fusec.contract "abk,nk->abn"(%e, %w) : (tensor<2x4x8xf32>, tensor<16x8xf32>) -> tensor<2x4x16xf32>
  %rz = fusec.map add(%z, %r) : (tensor<2x4x16xf32>, tensor<2x4x16xf32>) -> tensor<2x4x16xf32>
  %t = fusec.contract "abk,nk->abn"(%z, %v) : (tensor<2x4x16xf32>, tensor<8x16xf32>) -> tensor<2x4x8xf32>
  %tm = fusec.map add(%t, %m) : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  fusec.assign %m, %tm : tensor<2x4x8xf32>, tensor<2x4x8xf32>
  fusec.output "e" %e : tensor<2x4x8xf32>
  fusec.output "rz" %rz : tensor<2x4x16xf32>
}
// CHECK-LABEL: // after fuse_epilogue
// CHECK: %[[X:.*]] = fusec.input "x"
// CHECK: %[[W:.*]] = fusec.parameter "w"
// CHECK: %[[B:.*]] = fusec.parameter "b"
// CHECK: %[[M:.*]] = fusec.parameter "m"
// CHECK: %[[Z:.*]] = fusec.input "z"
// CHECK: %[[H:.*]] = fusec.library "gemm"(%[[X]], %[[W]], %[[B]]) {{.*}}epilogue = "bias"{{.*}}type_c = "f32"{{.*}} -> tensor<2x4x16xf32>
// CHECK: %[[Q:.*]] = fusec.library "gemm"(%[[H]], %{{.*}}) {
// CHECK-NOT: epilogue
// CHECK: fusec.map add(%{{.*}}, %[[Q]])
// CHECK: %[[E:.*]] = fusec.map exp
// CHECK: %[[RZ:.*]] = fusec.library "gemm"(%[[E]], %[[W]], %[[Z]]) {{.*}}epilogue = "add"
// CHECK: %[[T:.*]] = fusec.library "gemm"(%[[Z]], %{{.*}}) {
// CHECK-NOT: epilogue
// CHECK: fusec.map add(%[[T]], %[[M]])
// CHECK: fusec.output "rz" %[[RZ]]

//--- bf16.mlir
// Attention reads the sum as bf16: it is rounded there once, with a bias that was rounded. The
// product that a kernel reads is rounded as it was.
fusec.graph "bf16" {
  %x = fusec.input "x" : tensor<2x4x8xf32>
  %w = fusec.parameter "w" : tensor<32x8xf32>
  %b = fusec.parameter "b" : tensor<32xf32>
  %w2 = fusec.parameter "w2" : tensor<8x32xf32>
  %b2 = fusec.parameter "b2" : tensor<8xf32>
  %p = fusec.contract "abk,nk->abn"(%x, %w) : (tensor<2x4x8xf32>, tensor<32x8xf32>) -> tensor<2x4x32xf32>
  %bb = fusec.view broadcast(%b) {dims = array<i64: -1, -1, 0>} : tensor<32xf32> to tensor<2x4x32xf32>
  %h = fusec.map add(%p, %bb) : (tensor<2x4x32xf32>, tensor<2x4x32xf32>) -> tensor<2x4x32xf32>
  %q = fusec.view reshape(%h) : tensor<2x4x32xf32> to tensor<2x4x2x16xf32>
  %o, %lse = fusec.attention(%q, %q, %q) {causal = true, scale = 0.25 : f64, softcap = 0.0 : f64} : (tensor<2x4x2x16xf32>, tensor<2x4x2x16xf32>, tensor<2x4x2x16xf32>) -> (tensor<2x4x2x16xf32>, tensor<2x2x4xf32>)
  %r = fusec.view reshape(%o) : tensor<2x4x2x16xf32> to tensor<2x4x32xf32>
  %s = fusec.contract "abk,nk->abn"(%r, %w2) : (tensor<2x4x32xf32>, tensor<8x32xf32>) -> tensor<2x4x8xf32>
  %bs = fusec.view broadcast(%b2) {dims = array<i64: -1, -1, 0>} : tensor<8xf32> to tensor<2x4x8xf32>
  %t = fusec.map add(%s, %bs) : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  %y = fusec.map add(%t, %x) : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  fusec.output "y" %y : tensor<2x4x8xf32>
}
// POLICY-LABEL: // after mixed_precision
// POLICY: %[[B16:.*]] = fusec.cast %{{.*}} : tensor<32xf32> to tensor<32xbf16>
// POLICY: %[[B32:.*]] = fusec.cast %[[B16]] : tensor<32xbf16> to tensor<32xf32>
// POLICY: fusec.view broadcast(%[[B32]])
// POLICY: %[[SUM:.*]] = fusec.map add
// POLICY: fusec.cast %[[SUM]] : tensor<2x4x32xf32> to tensor<2x4x32xbf16>
// POLICY: fusec.contract {{.*}} -> tensor<2x4x8xbf16>
// CHECK-LABEL: // after fuse_epilogue
// CHECK: fusec.library "gemm"(%{{.*}}, %{{.*}}, %{{.*}}) {{.*}}epilogue = "bias"{{.*}}type_a = "bf16"{{.*}}type_c = "bf16"{{.*}} (tensor<2x4x8xbf16>, tensor<32x8xbf16>, tensor<32xbf16>) -> tensor<2x4x32xbf16>
// CHECK-NOT: fusec.map
// CHECK: fusec.library "attention"
// CHECK: fusec.library "gemm"(%{{.*}}, %{{.*}}) {
// CHECK-NOT: epilogue
// CHECK: fusec.map add

//--- gelu.mlir
// The backward pass reads what went into the GELU: it is stored beside the result, both rounded.
fusec.graph "gelu" {
  %x = fusec.input "x" : tensor<4x8xf32>
  %w = fusec.parameter "w" : tensor<16x8xf32>
  %b = fusec.parameter "b" : tensor<16xf32>
  %v = fusec.parameter "v" : tensor<8x16xf32>
  %p = fusec.contract "mk,nk->mn"(%x, %w) : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
  %bb = fusec.view broadcast(%b) {dims = array<i64: -1, 0>} : tensor<16xf32> to tensor<4x16xf32>
  %h = fusec.map add(%p, %bb) : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32>
  %g = fusec.map gelu(%h) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  %y = fusec.contract "mk,nk->mn"(%g, %v) : (tensor<4x16xf32>, tensor<8x16xf32>) -> tensor<4x8xf32>
  %d = fusec.map gelu_slope(%h) : (tensor<4x16xf32>) -> tensor<4x16xf32>
  fusec.output "y" %y : tensor<4x8xf32>
  fusec.output "d" %d : tensor<4x16xf32>
}
// CHECK-LABEL: // after fuse_epilogue
// CHECK: %[[GH:.*]]:2 = fusec.library "gemm"(%{{.*}}, %{{.*}}, %{{.*}}) {{.*}}epilogue = "bias_gelu_aux"{{.*}} -> (tensor<4x16xbf16>, tensor<4x16xbf16>)
// CHECK-NOT: fusec.map gelu(
// CHECK: %[[H32:.*]] = fusec.cast %[[GH]]#1 : tensor<4x16xbf16> to tensor<4x16xf32>
// CHECK: fusec.library "gemm"(%[[GH]]#0, %{{.*}}) {
// CHECK: fusec.map gelu_slope(%[[H32]])

//--- sums.mlir
// A sum of three products that a GEMM reads is a chain; its products are added in the IR's order,
// wherever they stand. One that a kernel reads is none. In 16 bits the sum is taken where the IR
// widens the addend and rounds the sum, and not where its addend is f32.
fusec.graph "sums" {
  %x = fusec.input "x" : tensor<8x16xf32>
  %y = fusec.input "y" : tensor<8x16xf32>
  %z = fusec.input "z" : tensor<8x16xf32>
  %n = fusec.input "n" : tensor<8x16xbf16>
  %m = fusec.input "m" : tensor<24x16xbf16>
  %m2 = fusec.input "m2" : tensor<24x16xbf16>
  %o = fusec.input "o" : tensor<8x24xbf16>
  %f = fusec.input "f" : tensor<8x24xf32>
  %w = fusec.parameter "w" : tensor<24x16xf32>
  %v = fusec.parameter "v" : tensor<16x24xf32>
  %c = fusec.contract "mk,nk->mn"(%z, %w) : (tensor<8x16xf32>, tensor<24x16xf32>) -> tensor<8x24xf32>
  %a = fusec.contract "mk,nk->mn"(%x, %w) : (tensor<8x16xf32>, tensor<24x16xf32>) -> tensor<8x24xf32>
  %b = fusec.contract "mk,nk->mn"(%y, %w) : (tensor<8x16xf32>, tensor<24x16xf32>) -> tensor<8x24xf32>
  %s = fusec.map add(%a, %b) : (tensor<8x24xf32>, tensor<8x24xf32>) -> tensor<8x24xf32>
  %t = fusec.map add(%c, %s) : (tensor<8x24xf32>, tensor<8x24xf32>) -> tensor<8x24xf32>
  %u = fusec.contract "mk,nk->mn"(%t, %v) : (tensor<8x24xf32>, tensor<16x24xf32>) -> tensor<8x16xf32>
  %u2 = fusec.contract "mk,kn->mn"(%f, %w) : (tensor<8x24xf32>, tensor<24x16xf32>) -> tensor<8x16xf32>
  %us = fusec.map add(%u, %u2) : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
  %e = fusec.map exp(%us) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %n32 = fusec.cast %n : tensor<8x16xbf16> to tensor<8x16xf32>
  %m32 = fusec.cast %m : tensor<24x16xbf16> to tensor<24x16xf32>
  %o32 = fusec.cast %o : tensor<8x24xbf16> to tensor<8x24xf32>
  %p = fusec.contract "mk,nk->mn"(%n32, %m32) : (tensor<8x16xf32>, tensor<24x16xf32>) -> tensor<8x24xf32>
  %po = fusec.map add(%p, %o32) : (tensor<8x24xf32>, tensor<8x24xf32>) -> tensor<8x24xf32>
  %po16 = fusec.cast %po : tensor<8x24xf32> to tensor<8x24xbf16>
  %m232 = fusec.cast %m2 : tensor<24x16xbf16> to tensor<24x16xf32>
  %q = fusec.contract "mk,nk->mn"(%n32, %m232) : (tensor<8x16xf32>, tensor<24x16xf32>) -> tensor<8x24xf32>
  %qf = fusec.map add(%q, %f) : (tensor<8x24xf32>, tensor<8x24xf32>) -> tensor<8x24xf32>
  %qf16 = fusec.cast %qf : tensor<8x24xf32> to tensor<8x24xbf16>
  fusec.output "e" %e : tensor<8x16xf32>
  fusec.output "po" %po16 : tensor<8x24xbf16>
  fusec.output "qf" %qf16 : tensor<8x24xbf16>
}
// CHECK-LABEL: // after fuse_epilogue
// CHECK: %[[X:.*]] = fusec.input "x"
// CHECK: %[[Y:.*]] = fusec.input "y"
// CHECK: %[[Z:.*]] = fusec.input "z"
// CHECK: %[[O:.*]] = fusec.input "o"
// CHECK: %[[A:.*]] = fusec.library "gemm"(%[[X]], %{{.*}}) {
// CHECK-NOT: epilogue
// CHECK: %[[S:.*]] = fusec.library "gemm"(%[[Y]], %{{.*}}, %[[A]]) {{.*}}epilogue = "add"
// CHECK: %[[T:.*]] = fusec.library "gemm"(%[[Z]], %{{.*}}, %[[S]]) {{.*}}epilogue = "add"
// CHECK: fusec.library "gemm"(%[[T]], %{{.*}}) {
// CHECK-NOT: epilogue
// CHECK: fusec.map add
// CHECK: fusec.map exp
// CHECK: fusec.library "gemm"(%{{.*}}, %{{.*}}, %[[O]]) {{.*}}epilogue = "add"{{.*}}type_c = "bf16"
// CHECK: %[[Q:.*]] = fusec.library "gemm"
// CHECK-NOT: epilogue
// CHECK: fusec.map add(%[[Q]]
// SUMS-DAG: fuse_epilogue    fused     library.gemm {{.*}} -> map.add {{.*}}: in the GEMM: add, in the addend's memory
// SUMS-DAG: fuse_epilogue    not fused library.gemm {{.*}} -> map.add {{.*}}: kernels read the sum, and add as they load
// SUMS-DAG: fuse_epilogue    not fused library.gemm {{.*}} -> map.add {{.*}}: the sum is rounded to 16 bits, its addend is f32

//--- slope.mlir
// The GELU's argument is what the GEMM forward stored; the gradient of its bias is summed over the
// rounded gradient and rounded, and the slope and the sum leave no kernel behind.
fusec.graph "mlp" {
  %x = fusec.input "x" : tensor<24x16xf32>
  %dy = fusec.input "dy" : tensor<24x16xf32>
  %w = fusec.parameter "w" : tensor<32x16xf32>
  %b = fusec.parameter "b" : tensor<32xf32>
  %v = fusec.parameter "v" : tensor<16x32xf32>
  %p = fusec.contract "mk,nk->mn"(%x, %w) : (tensor<24x16xf32>, tensor<32x16xf32>) -> tensor<24x32xf32>
  %bb = fusec.view broadcast(%b) {dims = array<i64: -1, 0>} : tensor<32xf32> to tensor<24x32xf32>
  %h = fusec.map add(%p, %bb) : (tensor<24x32xf32>, tensor<24x32xf32>) -> tensor<24x32xf32>
  %g = fusec.map gelu(%h) : (tensor<24x32xf32>) -> tensor<24x32xf32>
  %y = fusec.contract "mk,nk->mn"(%g, %v) : (tensor<24x32xf32>, tensor<16x32xf32>) -> tensor<24x16xf32>
  %dg = fusec.contract "mn,nk->mk"(%dy, %v) : (tensor<24x16xf32>, tensor<16x32xf32>) -> tensor<24x32xf32>
  %s = fusec.map gelu_slope(%h) : (tensor<24x32xf32>) -> tensor<24x32xf32>
  %dh = fusec.map mul(%dg, %s) : (tensor<24x32xf32>, tensor<24x32xf32>) -> tensor<24x32xf32>
  %db = fusec.reduce sum(%dh) axes [0] : tensor<24x32xf32> to tensor<32xf32>
  %dw = fusec.contract "mn,mk->nk"(%dh, %x) : (tensor<24x32xf32>, tensor<24x16xf32>) -> tensor<32x16xf32>
  %dx = fusec.contract "mn,nk->mk"(%dh, %w) : (tensor<24x32xf32>, tensor<32x16xf32>) -> tensor<24x16xf32>
  fusec.output "y" %y : tensor<24x16xf32>
  fusec.output "db" %db : tensor<32xf32>
  fusec.output "dw" %dw : tensor<32x16xf32>
  fusec.output "dx" %dx : tensor<24x16xf32>
}
// CHECK-LABEL: // after fuse_epilogue
// CHECK: %[[H:.*]]:2 = fusec.library "gemm"{{.*}}epilogue = "bias_gelu_aux"
// CHECK: %[[DH:.*]]:2 = fusec.library "gemm"(%{{.*}}, %{{.*}}, %[[H]]#1) {{.*}}epilogue = "dgelu_bgrad"{{.*}} -> (tensor<24x32xbf16>, tensor<32xbf16>)
// CHECK-NOT: fusec.map
// CHECK-NOT: fusec.reduce
// CHECK-DAG: fusec.library "gemm"(%[[DH]]#0, %{{.*}}) {
// CHECK-DAG: fusec.cast %[[DH]]#1 : tensor<32xbf16> to tensor<32xf32>

//--- beside.mlir
// A bias's gradient is its weight's GEMM's where another GEMM makes the rows; not where a kernel that
// writes or reads them sums beside, nor where the sum is of another type or of other values.
fusec.graph "lin" {
  %x = fusec.input "x" : tensor<24x16xf32>
  %dz = fusec.input "dz" : tensor<24x48xf32>
  %v = fusec.parameter "v" : tensor<48x32xf32>
  %dy = fusec.contract "mn,nk->mk"(%dz, %v) : (tensor<24x48xf32>, tensor<48x32xf32>) -> tensor<24x32xf32>
  %db = fusec.reduce sum(%dy) axes [0] : tensor<24x32xf32> to tensor<32xf32>
  %dw = fusec.contract "mn,mk->nk"(%dy, %x) : (tensor<24x32xf32>, tensor<24x16xf32>) -> tensor<32x16xf32>
  %dc = fusec.reduce sum(%dz) axes [0] : tensor<24x48xf32> to tensor<48xf32>
  %e = fusec.map exp(%dz) : (tensor<24x48xf32>) -> tensor<24x48xf32>
  %de = fusec.reduce sum(%e) axes [0] : tensor<24x48xf32> to tensor<48xf32>
  %du = fusec.contract "mk,mn->kn"(%x, %e) : (tensor<24x16xf32>, tensor<24x48xf32>) -> tensor<16x48xf32>
  %dt = fusec.contract "mk,mn->kn"(%x, %dz) : (tensor<24x16xf32>, tensor<24x48xf32>) -> tensor<16x48xf32>
  fusec.output "db" %db : tensor<32xf32>
  fusec.output "dc" %dc : tensor<48xf32>
  fusec.output "de" %de : tensor<48xf32>
  fusec.output "dw" %dw : tensor<32x16xf32>
  fusec.output "du" %du : tensor<16x48xf32>
  fusec.output "dt" %dt : tensor<16x48xf32>
}
// CHECK-LABEL: // after fuse_epilogue
// CHECK: %[[DY:.*]] = fusec.library "gemm"
// CHECK: %[[DW:.*]]:2 = fusec.library "gemm"(%[[DY]], %{{.*}}) {{.*}}epilogue = "bgrada"{{.*}} -> (tensor<32x16xf32>, tensor<32xf32>)
// CHECK-COUNT-2: fusec.reduce sum
// CHECK-NOT: fusec.reduce
// CHECK: fusec.output "db" %[[DW]]#1
// BESIDE-DAG: library.gemm {{.*}} -> reduce.sum {{.*}}: in the GEMM: bgrada
// BESIDE-DAG: library.gemm {{.*}} -> reduce.sum {{.*}}: the kernel that writes the rows sums them, too
// BESIDE-DAG: library.gemm {{.*}} -> reduce.sum {{.*}}: a kernel reads the rows, and sums them beside
// NARROW-DAG: library.gemm {{.*}} -> reduce.sum {{.*}}: the sum is f32, the product of 16 bits
// NARROW-DAG: library.gemm {{.*}} -> reduce.sum {{.*}}: the sum is over the value before the rounding
