// A Switch sublayer without HyperExpert.
func.func @layer(%x: tensor<?x64xf32> {hmoe.name = "x"}) -> (tensor<?x64xf32> {hmoe.name = "y"}) {
  %router = "hmoe.parameter"() {key = "router.classifier.weight", count = 0 : i64} : () -> tensor<8x64xf32>
  %wi = "hmoe.parameter"() {key = "experts.expert_{}.wi.weight", count = 8 : i64} : () -> tensor<8x128x64xf32>
  %wo = "hmoe.parameter"() {key = "experts.expert_{}.wo.weight", count = 8 : i64} : () -> tensor<8x64x128xf32>
  %logits = "hmoe.linear"(%x, %router) : (tensor<?x64xf32>, tensor<8x64xf32>) -> tensor<?x8xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 1 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x8xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
  %o = "hmoe.experts"(%x, %indices, %kept, %wi, %wo) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<8x128x64xf32>, tensor<8x64x128xf32>) -> tensor<?x1x64xf32>
  %moe = "hmoe.combine"(%o, %gates) : (tensor<?x1x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  return %moe : tensor<?x64xf32>
}
