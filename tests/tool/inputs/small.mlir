// One layer with its update: a GEMM, an RMSNorm behind it, a gather, and an assign.
fusec.graph "small" {
  %x = fusec.input "x" : tensor<64x32xf32>
  %i = fusec.input "i" : tensor<64xi32>
  %table = fusec.parameter "table" : tensor<10x48xf32>
  %w = fusec.parameter "w" : tensor<48x32xf32>
  %m = fusec.parameter "m" state : tensor<48xf32>
  %e = fusec.gather(%table, %i) : (tensor<10x48xf32>, tensor<64xi32>) -> tensor<64x48xf32>
  %h = fusec.contract "mk,nk->mn"(%x, %w) : (tensor<64x32xf32>, tensor<48x32xf32>) -> tensor<64x48xf32>
  %r = fusec.map add(%h, %e) : (tensor<64x48xf32>, tensor<64x48xf32>) -> tensor<64x48xf32>
  %q = fusec.map square(%r) : (tensor<64x48xf32>) -> tensor<64x48xf32>
  %s = fusec.reduce sum(%q) axes [1] : tensor<64x48xf32> to tensor<64xf32>
  %n = fusec.map rsqrt(%s) : (tensor<64xf32>) -> tensor<64xf32>
  %b = fusec.view broadcast(%n) {dims = array<i64: 0, -1>} : tensor<64xf32> to tensor<64x48xf32>
  %y = fusec.map mul(%r, %b) : (tensor<64x48xf32>, tensor<64x48xf32>) -> tensor<64x48xf32>
  %c = fusec.reduce sum(%y) axes [0] : tensor<64x48xf32> to tensor<48xf32>
  %u = fusec.map add(%m, %c) : (tensor<48xf32>, tensor<48xf32>) -> tensor<48xf32>
  fusec.assign %m, %u : tensor<48xf32>, tensor<48xf32>
  fusec.output "y" %y : tensor<64x48xf32>
}
