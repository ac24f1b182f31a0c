module {
fusec.graph "t" {
  %q = fusec.input "q" : tensor<2x2048x2x128xbf16>
  %k = fusec.input "k" : tensor<2x2048x1x128xbf16>
  %v = fusec.input "v" : tensor<2x2048x1x128xbf16>
  %w = fusec.input "w" : tensor<2x2048x2x128xbf16>
  %o, %lse = fusec.attention(%q, %k, %v) {causal = true, scale = 0.08838834764831845 : f64, softcap = 0.0 : f64} : (tensor<2x2048x2x128xbf16>, tensor<2x2048x1x128xbf16>, tensor<2x2048x1x128xbf16>) -> (tensor<2x2048x2x128xbf16>, tensor<2x2x2048xf32>)
  %dq, %dk, %dv = fusec.attention_grad(%w, %q, %k, %v, %o, %lse) {causal = true, scale = 0.08838834764831845 : f64, softcap = 0.0 : f64} : (tensor<2x2048x2x128xbf16>, tensor<2x2048x2x128xbf16>, tensor<2x2048x1x128xbf16>, tensor<2x2048x1x128xbf16>, tensor<2x2048x2x128xbf16>, tensor<2x2x2048xf32>) -> (tensor<2x2048x2x128xbf16>, tensor<2x2048x1x128xbf16>, tensor<2x2048x1x128xbf16>)
  fusec.output "o" %o : tensor<2x2048x2x128xbf16>
  fusec.output "dq" %dq : tensor<2x2048x2x128xbf16>
  fusec.output "dk" %dk : tensor<2x2048x1x128xbf16>
  fusec.output "dv" %dv : tensor<2x2048x1x128xbf16>
}
}
