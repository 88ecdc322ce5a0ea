// A stack of vectors is a matrix too; packing read past its first tensor, and open failed.

// RUN: %hmoec check %s --tokens 9 | %FileCheck %s --implicit-check-not=WRONG
// CHECK: ok{{$}}

func.func @f(%x: tensor<?x5xf32> {hmoe.name = "x"}) -> (tensor<?x5xf32> {hmoe.name = "y0"}) {
  %v1 = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> (tensor<4x5xf32>)
  %v2 = "hmoe.linear"(%x, %v1) {} : (tensor<?x5xf32>, tensor<4x5xf32>) -> (tensor<?x4xf32>)
  %v3, %v4, %v5 = "hmoe.route"(%v2) {top_k = 2 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %v6 = "hmoe.parameter"() {key = "bo{}", count = 4 : i64} : () -> (tensor<4x5xf32>)
  %v7 = "hmoe.parameter"() {key = "vi{}", count = 4 : i64} : () -> (tensor<4x9x5xf32>)
  %v8 = "hmoe.parameter"() {key = "vo", count = 0 : i64} : () -> (tensor<4x5x9xf32>)
  %v9 = "hmoe.parameter"() {key = "bi{}", count = 4 : i64} : () -> (tensor<4x9xf32>)
  %v10 = "hmoe.experts"(%x, %v3, %v5, %v7, %v8, %v9, %v6) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x5xf32>, tensor<?x2xi32>, tensor<?x2xi1>, tensor<4x9x5xf32>, tensor<4x5x9xf32>, tensor<4x9xf32>, tensor<4x5xf32>) -> (tensor<?x2x5xf32>)
  %v11 = "hmoe.combine"(%v10, %v4) {} : (tensor<?x2x5xf32>, tensor<?x2xf32>) -> (tensor<?x5xf32>)
  %v12 = "hmoe.selection_embedding"(%v3, %v6) {of = "unselected", aggregate = "mean"} : (tensor<?x2xi32>, tensor<4x5xf32>) -> (tensor<?x5xf32>)
  %v13 = "hmoe.add"(%v11, %v12) {} : (tensor<?x5xf32>, tensor<?x5xf32>) -> (tensor<?x5xf32>)
  return %v13 : tensor<?x5xf32>
}
