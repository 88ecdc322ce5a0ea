// A HyperMoE sublayer: sum of unselected embeddings, generated biases.
func.func @layer(%x: tensor<?x64xf32> {hmoe.name = "x"}) -> (tensor<?x64xf32> {hmoe.name = "y"}) {
  %router = "hmoe.parameter"() {key = "router.classifier.weight", count = 0 : i64} : () -> tensor<8x64xf32>
  %wi = "hmoe.parameter"() {key = "experts.expert_{}.wi.weight", count = 8 : i64} : () -> tensor<8x128x64xf32>
  %wo = "hmoe.parameter"() {key = "experts.expert_{}.wo.weight", count = 8 : i64} : () -> tensor<8x64x128xf32>
  %logits = "hmoe.linear"(%x, %router) : (tensor<?x64xf32>, tensor<8x64xf32>) -> tensor<?x8xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 1 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x8xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
  %o = "hmoe.experts"(%x, %indices, %kept, %wi, %wo) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<8x128x64xf32>, tensor<8x64x128xf32>) -> tensor<?x1x64xf32>
  %moe = "hmoe.combine"(%o, %gates) : (tensor<?x1x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  %table = "hmoe.parameter"() {key = "n_experts_embedding.weight", count = 0 : i64} : () -> tensor<8x24xf32>
  %p0 = "hmoe.parameter"() {key = "embedding_process.0.weight", count = 0 : i64} : () -> tensor<20x24xf32>
  %p0_bias = "hmoe.parameter"() {key = "embedding_process.0.bias", count = 0 : i64} : () -> tensor<20xf32>
  %p2 = "hmoe.parameter"() {key = "embedding_process.2.weight", count = 0 : i64} : () -> tensor<12x20xf32>
  %p2_bias = "hmoe.parameter"() {key = "embedding_process.2.bias", count = 0 : i64} : () -> tensor<12xf32>
  %l1 = "hmoe.parameter"() {key = "param_gen.decoder.linear1.weight", count = 0 : i64} : () -> tensor<28x22xf32>
  %l1_bias = "hmoe.parameter"() {key = "param_gen.decoder.linear1.bias", count = 0 : i64} : () -> tensor<28xf32>
  %wd = "hmoe.parameter"() {key = "param_gen.decoder.weight_down.weight", count = 0 : i64} : () -> tensor<1024x28xf32>
  %wd_bias = "hmoe.parameter"() {key = "param_gen.decoder.weight_down.bias", count = 0 : i64} : () -> tensor<1024xf32>
  %wu = "hmoe.parameter"() {key = "param_gen.decoder.weight_up.weight", count = 0 : i64} : () -> tensor<1024x28xf32>
  %wu_bias = "hmoe.parameter"() {key = "param_gen.decoder.weight_up.bias", count = 0 : i64} : () -> tensor<1024xf32>
  %vd = "hmoe.parameter"() {key = "param_gen.decoder.bias_down.weight", count = 0 : i64} : () -> tensor<16x28xf32>
  %vd_bias = "hmoe.parameter"() {key = "param_gen.decoder.bias_down.bias", count = 0 : i64} : () -> tensor<16xf32>
  %vu = "hmoe.parameter"() {key = "param_gen.decoder.bias_up.weight", count = 0 : i64} : () -> tensor<64x28xf32>
  %vu_bias = "hmoe.parameter"() {key = "param_gen.decoder.bias_up.bias", count = 0 : i64} : () -> tensor<64xf32>
  %layers = "hmoe.parameter"() {key = "param_gen.layer_embed.weight", count = 0 : i64} : () -> tensor<6x10xf32>
  %s = "hmoe.selection_embedding"(%indices, %table) {of = "unselected", aggregate = "sum"} : (tensor<?x1xi32>, tensor<8x24xf32>) -> tensor<?x24xf32>
  %q0 = "hmoe.linear"(%s, %p0, %p0_bias) : (tensor<?x24xf32>, tensor<20x24xf32>, tensor<20xf32>) -> tensor<?x20xf32>
  %q1 = "hmoe.activate"(%q0) {function = "relu"} : (tensor<?x20xf32>) -> tensor<?x20xf32>
  %q = "hmoe.linear"(%q1, %p2, %p2_bias) : (tensor<?x20xf32>, tensor<12x20xf32>, tensor<12xf32>) -> tensor<?x12xf32>
  %ql = "hmoe.append_row"(%q, %layers) {row = 3 : i64} : (tensor<?x12xf32>, tensor<6x10xf32>) -> tensor<?x22xf32>
  %r0 = "hmoe.linear"(%ql, %l1, %l1_bias) : (tensor<?x22xf32>, tensor<28x22xf32>, tensor<28xf32>) -> tensor<?x28xf32>
  %r = "hmoe.activate"(%r0) {function = "relu"} : (tensor<?x28xf32>) -> tensor<?x28xf32>
  %down, %up, %beta, %gamma = "hmoe.hypernetwork"(%r, %wd, %wd_bias, %wu, %wu_bias, %vd, %vd_bias, %vu, %vu_bias) {bottleneck = 16 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1>, resultSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<?x28xf32>, tensor<1024x28xf32>, tensor<1024xf32>, tensor<1024x28xf32>, tensor<1024xf32>, tensor<16x28xf32>, tensor<16xf32>, tensor<64x28xf32>, tensor<64xf32>) -> (tensor<?x64x16xf32>, tensor<?x16x64xf32>, tensor<?x16xf32>, tensor<?x64xf32>)
  %hyper = "hmoe.hyper_expert"(%x, %down, %up, %beta, %gamma) {strategy = "auto", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>} : (tensor<?x64xf32>, tensor<?x64x16xf32>, tensor<?x16x64xf32>, tensor<?x16xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %y = "hmoe.add"(%moe, %hyper) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
