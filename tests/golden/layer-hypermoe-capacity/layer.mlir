// A HyperMoE sublayer with odd sizes and capacity 4.
func.func @layer(%x: tensor<?x33xf32> {hmoe.name = "x"}) -> (tensor<?x33xf32> {hmoe.name = "y"}) {
  %router = "hmoe.parameter"() {key = "router.classifier.weight", count = 0 : i64} : () -> tensor<5x33xf32>
  %wi = "hmoe.parameter"() {key = "experts.expert_{}.wi.weight", count = 5 : i64} : () -> tensor<5x50x33xf32>
  %wo = "hmoe.parameter"() {key = "experts.expert_{}.wo.weight", count = 5 : i64} : () -> tensor<5x33x50xf32>
  %logits = "hmoe.linear"(%x, %router) : (tensor<?x33xf32>, tensor<5x33xf32>) -> tensor<?x5xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 1 : i64, gate = "softmax_then_topk", capacity = 4 : i64} : (tensor<?x5xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
  %o = "hmoe.experts"(%x, %indices, %kept, %wi, %wo) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x33xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<5x50x33xf32>, tensor<5x33x50xf32>) -> tensor<?x1x33xf32>
  %moe = "hmoe.combine"(%o, %gates) : (tensor<?x1x33xf32>, tensor<?x1xf32>) -> tensor<?x33xf32>
  %table = "hmoe.parameter"() {key = "n_experts_embedding.weight", count = 0 : i64} : () -> tensor<5x9xf32>
  %p0 = "hmoe.parameter"() {key = "embedding_process.0.weight", count = 0 : i64} : () -> tensor<7x9xf32>
  %p0_bias = "hmoe.parameter"() {key = "embedding_process.0.bias", count = 0 : i64} : () -> tensor<7xf32>
  %p2 = "hmoe.parameter"() {key = "embedding_process.2.weight", count = 0 : i64} : () -> tensor<6x7xf32>
  %p2_bias = "hmoe.parameter"() {key = "embedding_process.2.bias", count = 0 : i64} : () -> tensor<6xf32>
  %l1 = "hmoe.parameter"() {key = "param_gen.decoder.linear1.weight", count = 0 : i64} : () -> tensor<5x9xf32>
  %l1_bias = "hmoe.parameter"() {key = "param_gen.decoder.linear1.bias", count = 0 : i64} : () -> tensor<5xf32>
  %wd = "hmoe.parameter"() {key = "param_gen.decoder.weight_down.weight", count = 0 : i64} : () -> tensor<231x5xf32>
  %wd_bias = "hmoe.parameter"() {key = "param_gen.decoder.weight_down.bias", count = 0 : i64} : () -> tensor<231xf32>
  %wu = "hmoe.parameter"() {key = "param_gen.decoder.weight_up.weight", count = 0 : i64} : () -> tensor<231x5xf32>
  %wu_bias = "hmoe.parameter"() {key = "param_gen.decoder.weight_up.bias", count = 0 : i64} : () -> tensor<231xf32>
  %vd = "hmoe.parameter"() {key = "param_gen.decoder.bias_down.weight", count = 0 : i64} : () -> tensor<7x5xf32>
  %vd_bias = "hmoe.parameter"() {key = "param_gen.decoder.bias_down.bias", count = 0 : i64} : () -> tensor<7xf32>
  %vu = "hmoe.parameter"() {key = "param_gen.decoder.bias_up.weight", count = 0 : i64} : () -> tensor<33x5xf32>
  %vu_bias = "hmoe.parameter"() {key = "param_gen.decoder.bias_up.bias", count = 0 : i64} : () -> tensor<33xf32>
  %layers = "hmoe.parameter"() {key = "param_gen.layer_embed.weight", count = 0 : i64} : () -> tensor<4x3xf32>
  %s = "hmoe.selection_embedding"(%indices, %table) {of = "unselected", aggregate = "sum"} : (tensor<?x1xi32>, tensor<5x9xf32>) -> tensor<?x9xf32>
  %q0 = "hmoe.linear"(%s, %p0, %p0_bias) : (tensor<?x9xf32>, tensor<7x9xf32>, tensor<7xf32>) -> tensor<?x7xf32>
  %q1 = "hmoe.activate"(%q0) {function = "relu"} : (tensor<?x7xf32>) -> tensor<?x7xf32>
  %q = "hmoe.linear"(%q1, %p2, %p2_bias) : (tensor<?x7xf32>, tensor<6x7xf32>, tensor<6xf32>) -> tensor<?x6xf32>
  %ql = "hmoe.append_row"(%q, %layers) {row = 1 : i64} : (tensor<?x6xf32>, tensor<4x3xf32>) -> tensor<?x9xf32>
  %r0 = "hmoe.linear"(%ql, %l1, %l1_bias) : (tensor<?x9xf32>, tensor<5x9xf32>, tensor<5xf32>) -> tensor<?x5xf32>
  %r = "hmoe.activate"(%r0) {function = "relu"} : (tensor<?x5xf32>) -> tensor<?x5xf32>
  %down, %up, %beta, %gamma = "hmoe.hypernetwork"(%r, %wd, %wd_bias, %wu, %wu_bias, %vd, %vd_bias, %vu, %vu_bias) {bottleneck = 7 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1>, resultSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<?x5xf32>, tensor<231x5xf32>, tensor<231xf32>, tensor<231x5xf32>, tensor<231xf32>, tensor<7x5xf32>, tensor<7xf32>, tensor<33x5xf32>, tensor<33xf32>) -> (tensor<?x33x7xf32>, tensor<?x7x33xf32>, tensor<?x7xf32>, tensor<?x33xf32>)
  %hyper = "hmoe.hyper_expert"(%x, %down, %up, %beta, %gamma) {strategy = "auto", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>} : (tensor<?x33xf32>, tensor<?x33x7xf32>, tensor<?x7x33xf32>, tensor<?x7xf32>, tensor<?x33xf32>) -> tensor<?x33xf32>
  %y = "hmoe.add"(%moe, %hyper) : (tensor<?x33xf32>, tensor<?x33xf32>) -> tensor<?x33xf32>
  return %y : tensor<?x33xf32>
}
