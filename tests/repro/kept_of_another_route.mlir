// Capacity is counted anew from the indices, so kept of another route was computed wrongly.

// RUN: (%hmoec compile %s -o %t; echo "status $?") 2>&1 | %FileCheck %s --implicit-check-not=internal
// CHECK: kept_of_another_route.mlir:{{[0-9]+:[0-9]+}}: error: experts: expected kept to be made by the route that makes the indices
// CHECK: status 1

func.func @f(%x: tensor<?x5xf32> {hmoe.name = "x"}) -> (tensor<?x5xf32> {hmoe.name = "y0"}) {
  %v1 = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> (tensor<4x5xf32>)
  %v2 = "hmoe.linear"(%x, %v1) {} : (tensor<?x5xf32>, tensor<4x5xf32>) -> (tensor<?x4xf32>)
  %v3, %v4, %v5 = "hmoe.route"(%v2) {top_k = 2 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %v6 = "hmoe.parameter"() {key = "router2", count = 0 : i64} : () -> (tensor<4x5xf32>)
  %v7 = "hmoe.linear"(%x, %v6) {} : (tensor<?x5xf32>, tensor<4x5xf32>) -> (tensor<?x4xf32>)
  %v8, %v9, %v10 = "hmoe.route"(%v7) {top_k = 2 : i64, gate = "softmax_then_topk", capacity = 1 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %v11 = "hmoe.parameter"() {key = "wi{}", count = 4 : i64} : () -> (tensor<4x7x5xf32>)
  %v12 = "hmoe.parameter"() {key = "wo{}", count = 4 : i64} : () -> (tensor<4x5x7xf32>)
  %v13 = "hmoe.experts"(%x, %v3, %v10, %v11, %v12) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x5xf32>, tensor<?x2xi32>, tensor<?x2xi1>, tensor<4x7x5xf32>, tensor<4x5x7xf32>) -> (tensor<?x2x5xf32>)
  %v14 = "hmoe.combine"(%v13, %v4) {} : (tensor<?x2x5xf32>, tensor<?x2xf32>) -> (tensor<?x5xf32>)
  return %v14 : tensor<?x5xf32>
}
