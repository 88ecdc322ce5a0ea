// A table of embeddings that is computed at open has padded rows; the kernel read it as if it had none.

// RUN: %hmoec check %s --tokens 9 | %FileCheck %s --implicit-check-not=WRONG
// CHECK: ok{{$}}

func.func @f(%x: tensor<?x5xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y0"}) {
  %v1 = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> (tensor<4x5xf32>)
  %v2 = "hmoe.linear"(%x, %v1) {} : (tensor<?x5xf32>, tensor<4x5xf32>) -> (tensor<?x4xf32>)
  %v3, %v4, %v5 = "hmoe.route"(%v2) {top_k = 2 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %v6 = "hmoe.parameter"() {key = "m", count = 0 : i64} : () -> (tensor<4x9xf32>)
  %v7 = "hmoe.parameter"() {key = "n", count = 0 : i64} : () -> (tensor<6x9xf32>)
  %v8 = "hmoe.linear"(%v6, %v7) {} : (tensor<4x9xf32>, tensor<6x9xf32>) -> (tensor<4x6xf32>)
  %v9 = "hmoe.selection_embedding"(%v3, %v8) {of = "unselected", aggregate = "mean"} : (tensor<?x2xi32>, tensor<4x6xf32>) -> (tensor<?x6xf32>)
  return %v9 : tensor<?x6xf32>
}
