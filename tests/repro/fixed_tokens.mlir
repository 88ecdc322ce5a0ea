// A sum with a parameter fixes the number of tokens; a run with more read past the parameter.

// RUN: (%hmoec compile %s -o %t; echo "status $?") 2>&1 | %FileCheck %s --implicit-check-not=internal
// CHECK: fixed_tokens.mlir:{{[0-9]+:[0-9]+}}: error: add: expected one row a token, found f32[5, 5]: token counts cannot be fixed
// CHECK: status 1

func.func @f(%x: tensor<?x5xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y0"}) {
  %v1 = "hmoe.parameter"() {key = "s", count = 0 : i64} : () -> (tensor<5x5xf32>)
  %v2 = "hmoe.add"(%x, %v1) {} : (tensor<?x5xf32>, tensor<5x5xf32>) -> (tensor<5x5xf32>)
  %v3 = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> (tensor<4x5xf32>)
  %v4 = "hmoe.linear"(%v2, %v3) {} : (tensor<5x5xf32>, tensor<4x5xf32>) -> (tensor<5x4xf32>)
  %v5, %v6, %v7 = "hmoe.route"(%v4) {top_k = 2 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<5x4xf32>) -> (tensor<5x2xi32>, tensor<5x2xf32>, tensor<5x2xi1>)
  %v8, %v9 = "hmoe.distinct_selections"(%v5) {experts = 4 : i64} : (tensor<5x2xi32>) -> (tensor<?x2xi32>, tensor<5xi32>)
  %v10 = "hmoe.parameter"() {key = "t", count = 0 : i64} : () -> (tensor<4x6xf32>)
  %v11 = "hmoe.selection_embedding"(%v8, %v10) {of = "unselected", aggregate = "mean"} : (tensor<?x2xi32>, tensor<4x6xf32>) -> (tensor<?x6xf32>)
  return %v11 : tensor<?x6xf32>
}
