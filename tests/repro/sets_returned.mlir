// Rows of selection sets are not rows of tokens, though both counts are dynamic: they were returned from memory that nothing had written.

// RUN: (%hmoec compile %s -o %t; echo "status $?") 2>&1 | %FileCheck %s --implicit-check-not=internal
// CHECK: sets_returned.mlir:{{[0-9]+:[0-9]+}}: error: output 0 does not have one row a token
// CHECK: status 1

func.func @f(%x: tensor<?x5xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y0"}) {
  %v1 = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> (tensor<4x5xf32>)
  %v2 = "hmoe.linear"(%x, %v1) {} : (tensor<?x5xf32>, tensor<4x5xf32>) -> (tensor<?x4xf32>)
  %v3, %v4, %v5 = "hmoe.route"(%v2) {top_k = 2 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %v6, %v7 = "hmoe.distinct_selections"(%v3) {experts = 4 : i64} : (tensor<?x2xi32>) -> (tensor<?x2xi32>, tensor<?xi32>)
  %v8 = "hmoe.parameter"() {key = "t", count = 0 : i64} : () -> (tensor<4x6xf32>)
  %v9 = "hmoe.selection_embedding"(%v6, %v8) {of = "unselected", aggregate = "mean"} : (tensor<?x2xi32>, tensor<4x6xf32>) -> (tensor<?x6xf32>)
  return %v9 : tensor<?x6xf32>
}
