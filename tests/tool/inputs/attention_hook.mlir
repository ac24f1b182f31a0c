// Attention with a prefix, sinks, a window and a hook that captures a slope a head and a mask.
fusec.graph "hooked" {
  %q = fusec.input "q" : tensor<1x24x4x8xf32>
  %k = fusec.input "k" : tensor<1x40x2x8xf32>
  %g = fusec.input "g" : tensor<1x24x4x8xf32>
  %prefix = fusec.input "prefix" : tensor<1xi32>
  %sinks = fusec.parameter "sinks" : tensor<4xf32>
  %slope = fusec.parameter "slope" : tensor<4xf32>
  %mask = fusec.input "mask" : tensor<24x40xi1>
  %o, %lse = fusec.attention(%q, %k, %k, %prefix, %sinks, %slope, %mask) {causal = true, hook = "a0 = score; a1 = load 0 f32 [head]; a2 = key; a3 = query; a4 = sub(a2, a3); a5 = cast(a4, f32); a6 = mul(a1, a5); a7 = add(a0, a6); a8 = load 1 b8 [query, key]; score(a7); mask(a8)", prefix, scale = 0.25 : f64, sinks, softcap = 5.0 : f64, window = 9 : i64} : (tensor<1x24x4x8xf32>, tensor<1x40x2x8xf32>, tensor<1x40x2x8xf32>, tensor<1xi32>, tensor<4xf32>, tensor<4xf32>, tensor<24x40xi1>) -> (tensor<1x24x4x8xf32>, tensor<1x4x24xf32>)
  %d:5 = fusec.attention_grad(%g, %q, %k, %k, %o, %lse, %prefix, %sinks, %slope, %mask) {captured_grads = 1 : i64, causal = true, hook = "a0 = score; a1 = load 0 f32 [head]; a2 = key; a3 = query; a4 = sub(a2, a3); a5 = cast(a4, f32); a6 = mul(a1, a5); a7 = add(a0, a6); a8 = load 1 b8 [query, key]; score(a7); mask(a8)", prefix, scale = 0.25 : f64, sinks, softcap = 5.0 : f64, window = 9 : i64} : (tensor<1x24x4x8xf32>, tensor<1x24x4x8xf32>, tensor<1x40x2x8xf32>, tensor<1x40x2x8xf32>, tensor<1x24x4x8xf32>, tensor<1x4x24xf32>, tensor<1xi32>, tensor<4xf32>, tensor<4xf32>, tensor<24x40xi1>) -> (tensor<1x24x4x8xf32>, tensor<1x40x2x8xf32>, tensor<1x40x2x8xf32>, tensor<4xf32>, tensor<4xf32>)
  fusec.output "o" %o : tensor<1x24x4x8xf32>
  fusec.output "dq" %d#0 : tensor<1x24x4x8xf32>
  fusec.output "dk" %d#1 : tensor<1x40x2x8xf32>
  fusec.output "dv" %d#2 : tensor<1x40x2x8xf32>
  fusec.output "dsinks" %d#3 : tensor<4xf32>
  fusec.output "dslope" %d#4 : tensor<4xf32>
}
