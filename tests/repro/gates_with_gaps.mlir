// Gates that a linear computes lie in rows with padding; grouping read them as if there were none.

// RUN: %hmoec check %s --tokens 9 | %FileCheck %s --implicit-check-not=WRONG
// CHECK: ok{{$}}

func.func @f(%x: tensor<?x5xf32> {hmoe.name = "x"}) -> (tensor<?x5xf32> {hmoe.name = "y0"}) {
  %v1 = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> (tensor<4x5xf32>)
  %v2 = "hmoe.linear"(%x, %v1) {} : (tensor<?x5xf32>, tensor<4x5xf32>) -> (tensor<?x4xf32>)
  %v3, %v4, %v5 = "hmoe.route"(%v2) {top_k = 2 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %v6 = "hmoe.parameter"() {key = "gw", count = 0 : i64} : () -> (tensor<2x5xf32>)
  %v7 = "hmoe.linear"(%x, %v6) {} : (tensor<?x5xf32>, tensor<2x5xf32>) -> (tensor<?x2xf32>)
  %v8 = "hmoe.parameter"() {key = "wi{}", count = 4 : i64} : () -> (tensor<4x7x5xf32>)
  %v9 = "hmoe.parameter"() {key = "wo{}", count = 4 : i64} : () -> (tensor<4x5x7xf32>)
  %v10 = "hmoe.experts"(%x, %v3, %v5, %v8, %v9) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x5xf32>, tensor<?x2xi32>, tensor<?x2xi1>, tensor<4x7x5xf32>, tensor<4x5x7xf32>) -> (tensor<?x2x5xf32>)
  %v11 = "hmoe.combine"(%v10, %v7) {} : (tensor<?x2x5xf32>, tensor<?x2xf32>) -> (tensor<?x5xf32>)
  return %v11 : tensor<?x5xf32>
}
