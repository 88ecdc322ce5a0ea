// Experts whose bias is computed at open: its padded rows were packed as if they had no padding.

// RUN: %hmoec check %s --cpu portable --tokens 9 | %FileCheck %s
// CHECK: portable {{.*}} ok

func.func @f(%x: tensor<?x5xf32> {hmoe.name = "x"}) -> (tensor<?x5xf32> {hmoe.name = "y0"}) {
  %v1 = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> (tensor<4x5xf32>)
  %v2 = "hmoe.linear"(%x, %v1) {} : (tensor<?x5xf32>, tensor<4x5xf32>) -> (tensor<?x4xf32>)
  %v3, %v4, %v5 = "hmoe.route"(%v2) {top_k = 2 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %v6 = "hmoe.parameter"() {key = "vi{}", count = 4 : i64} : () -> (tensor<4x9x5xf32>)
  %v7 = "hmoe.parameter"() {key = "vo{}", count = 4 : i64} : () -> (tensor<4x5x9xf32>)
  %v8 = "hmoe.parameter"() {key = "bi", count = 0 : i64} : () -> (tensor<4x9xf32>)
  %v9 = "hmoe.activate"(%v8) {function = "relu"} : (tensor<4x9xf32>) -> (tensor<4x9xf32>)
  %v10 = "hmoe.parameter"() {key = "bo", count = 0 : i64} : () -> (tensor<4x5xf32>)
  %v11 = "hmoe.experts"(%x, %v3, %v5, %v6, %v7, %v9, %v10) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x5xf32>, tensor<?x2xi32>, tensor<?x2xi1>, tensor<4x9x5xf32>, tensor<4x5x9xf32>, tensor<4x9xf32>, tensor<4x5xf32>) -> (tensor<?x2x5xf32>)
  %v12 = "hmoe.combine"(%v11, %v4) {} : (tensor<?x2x5xf32>, tensor<?x2xf32>) -> (tensor<?x5xf32>)
  return %v12 : tensor<?x5xf32>
}
