// A sum in a chain that two cache loops share: the second loop added to what the first had left.

// RUN: %hmoec check %s --tokens 9 --strategy cache | %FileCheck %s --implicit-check-not=WRONG
// CHECK: ok{{$}}

func.func @f(%x: tensor<?x5xf32> {hmoe.name = "x"}) -> (tensor<?x5xf32> {hmoe.name = "y0"}, tensor<?x5xf32> {hmoe.name = "y1"}) {
  %v1 = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> (tensor<4x5xf32>)
  %v2 = "hmoe.linear"(%x, %v1) {} : (tensor<?x5xf32>, tensor<4x5xf32>) -> (tensor<?x4xf32>)
  %v3, %v4, %v5 = "hmoe.route"(%v2) {top_k = 2 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %v6 = "hmoe.parameter"() {key = "wi{}", count = 4 : i64} : () -> (tensor<4x7x5xf32>)
  %v7 = "hmoe.parameter"() {key = "wo{}", count = 4 : i64} : () -> (tensor<4x5x7xf32>)
  %v8 = "hmoe.experts"(%x, %v3, %v5, %v6, %v7) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x5xf32>, tensor<?x2xi32>, tensor<?x2xi1>, tensor<4x7x5xf32>, tensor<4x5x7xf32>) -> (tensor<?x2x5xf32>)
  %v9 = "hmoe.combine"(%v8, %v4) {} : (tensor<?x2x5xf32>, tensor<?x2xf32>) -> (tensor<?x5xf32>)
  %v10 = "hmoe.parameter"() {key = "tab", count = 0 : i64} : () -> (tensor<4x6xf32>)
  %v11 = "hmoe.selection_embedding"(%v3, %v10) {of = "unselected", aggregate = "mean"} : (tensor<?x2xi32>, tensor<4x6xf32>) -> (tensor<?x6xf32>)
  %v12 = "hmoe.parameter"() {key = "w1", count = 0 : i64} : () -> (tensor<4x6xf32>)
  %v13 = "hmoe.linear"(%v11, %v12) {} : (tensor<?x6xf32>, tensor<4x6xf32>) -> (tensor<?x4xf32>)
  %v14 = "hmoe.activate"(%v13) {function = "relu"} : (tensor<?x4xf32>) -> (tensor<?x4xf32>)
  %v15 = "hmoe.parameter"() {key = "w2", count = 0 : i64} : () -> (tensor<4x6xf32>)
  %v16 = "hmoe.linear"(%v11, %v15) {} : (tensor<?x6xf32>, tensor<4x6xf32>) -> (tensor<?x4xf32>)
  %v17 = "hmoe.add"(%v14, %v16) {} : (tensor<?x4xf32>, tensor<?x4xf32>) -> (tensor<?x4xf32>)
  %v18 = "hmoe.parameter"() {key = "pwd", count = 0 : i64} : () -> (tensor<15x4xf32>)
  %v19 = "hmoe.parameter"() {key = "pbd", count = 0 : i64} : () -> (tensor<15xf32>)
  %v20 = "hmoe.parameter"() {key = "pwu", count = 0 : i64} : () -> (tensor<15x4xf32>)
  %v21 = "hmoe.parameter"() {key = "pbu", count = 0 : i64} : () -> (tensor<15xf32>)
  %v22, %v23 = "hmoe.hypernetwork"(%v17, %v18, %v19, %v20, %v21) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x4xf32>, tensor<15x4xf32>, tensor<15xf32>, tensor<15x4xf32>, tensor<15xf32>) -> (tensor<?x5x3xf32>, tensor<?x3x5xf32>)
  %v24 = "hmoe.hyper_expert"(%x, %v22, %v23) {strategy = "auto", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<?x5xf32>, tensor<?x5x3xf32>, tensor<?x3x5xf32>) -> (tensor<?x5xf32>)
  %v25 = "hmoe.parameter"() {key = "qwd", count = 0 : i64} : () -> (tensor<15x4xf32>)
  %v26 = "hmoe.parameter"() {key = "qbd", count = 0 : i64} : () -> (tensor<15xf32>)
  %v27 = "hmoe.parameter"() {key = "qwu", count = 0 : i64} : () -> (tensor<15x4xf32>)
  %v28 = "hmoe.parameter"() {key = "qbu", count = 0 : i64} : () -> (tensor<15xf32>)
  %v29, %v30 = "hmoe.hypernetwork"(%v17, %v25, %v26, %v27, %v28) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x4xf32>, tensor<15x4xf32>, tensor<15xf32>, tensor<15x4xf32>, tensor<15xf32>) -> (tensor<?x5x3xf32>, tensor<?x3x5xf32>)
  %v31 = "hmoe.hyper_expert"(%v9, %v29, %v30) {strategy = "auto", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<?x5xf32>, tensor<?x5x3xf32>, tensor<?x3x5xf32>) -> (tensor<?x5xf32>)
  return %v24, %v31 : tensor<?x5xf32>, tensor<?x5xf32>
}
