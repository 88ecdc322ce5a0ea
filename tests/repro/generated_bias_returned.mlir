// What a hypernetwork generates has no memory of its own; returning it left invalid kernels behind an "internal" note.
// `check` called it a success: every strategy was left out.

// RUN: (%hmoec check %s --tokens 3; echo "status $?") 2>&1 | %FileCheck %s --implicit-check-not=internal
// CHECK: generated_bias_returned.mlir:{{[0-9]+:[0-9]+}}: error: return: what a hypernetwork generates can only be the weights of a HyperExpert
// CHECK: status 1

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
  %v14 = "hmoe.parameter"() {key = "pwd", count = 0 : i64} : () -> (tensor<15x4xf32>)
  %v15 = "hmoe.parameter"() {key = "pbd", count = 0 : i64} : () -> (tensor<15xf32>)
  %v16 = "hmoe.parameter"() {key = "pwu", count = 0 : i64} : () -> (tensor<15x4xf32>)
  %v17 = "hmoe.parameter"() {key = "pbu", count = 0 : i64} : () -> (tensor<15xf32>)
  %v18 = "hmoe.parameter"() {key = "pvd", count = 0 : i64} : () -> (tensor<3x4xf32>)
  %v19 = "hmoe.parameter"() {key = "pcd", count = 0 : i64} : () -> (tensor<3xf32>)
  %v20 = "hmoe.parameter"() {key = "pvu", count = 0 : i64} : () -> (tensor<5x4xf32>)
  %v21 = "hmoe.parameter"() {key = "pcu", count = 0 : i64} : () -> (tensor<5xf32>)
  %v22, %v23, %v24, %v25 = "hmoe.hypernetwork"(%v13, %v14, %v15, %v16, %v17, %v18, %v19, %v20, %v21) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1>, resultSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<?x4xf32>, tensor<15x4xf32>, tensor<15xf32>, tensor<15x4xf32>, tensor<15xf32>, tensor<3x4xf32>, tensor<3xf32>, tensor<5x4xf32>, tensor<5xf32>) -> (tensor<?x5x3xf32>, tensor<?x3x5xf32>, tensor<?x3xf32>, tensor<?x5xf32>)
  %v26 = "hmoe.hyper_expert"(%x, %v22, %v23, %v24, %v25) {strategy = "auto", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>} : (tensor<?x5xf32>, tensor<?x5x3xf32>, tensor<?x3x5xf32>, tensor<?x3xf32>, tensor<?x5xf32>) -> (tensor<?x5xf32>)
  return %v26, %v25 : tensor<?x5xf32>, tensor<?x5xf32>
}
