// RUN: split-file %s %t
// RUN: %not %hmoec-opt --fold-parameters --plan-kernels %t/two.mlir 2>&1 | %FileCheck %s --check-prefix=TWO

// RUN: %not %hmoec-opt --fold-parameters --plan-kernels %t/keys.mlir 2>&1 | %FileCheck %s --check-prefix=KEYS

// KEYS: keys.mlir:{{[0-9]+}}:{{[0-9]+}}: error: parameter "w" stands in line 2 with another shape
// TWO: two.mlir:{{[0-9]+}}:{{[0-9]+}}: error: expected one entry function, found a second

//--- two.mlir
func.func @one(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %router = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> tensor<4x6xf32>
  %wi = "hmoe.parameter"() {key = "expert.{}.wi", count = 4 : i64} : () -> tensor<4x8x6xf32>
  %wo = "hmoe.parameter"() {key = "expert.{}.wo", count = 4 : i64} : () -> tensor<4x6x8xf32>
  %table = "hmoe.parameter"() {key = "table", count = 0 : i64} : () -> tensor<4x5xf32>
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<7x5xf32>
  %wd = "hmoe.parameter"() {key = "wd", count = 0 : i64} : () -> tensor<18x7xf32>
  %bd = "hmoe.parameter"() {key = "bd", count = 0 : i64} : () -> tensor<18xf32>
  %wu = "hmoe.parameter"() {key = "wu", count = 0 : i64} : () -> tensor<18x7xf32>
  %bu = "hmoe.parameter"() {key = "bu", count = 0 : i64} : () -> tensor<18xf32>
  %logits = "hmoe.linear"(%x, %router) : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 1 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
  %o = "hmoe.experts"(%x, %indices, %kept, %wi, %wo) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<4x8x6xf32>, tensor<4x6x8xf32>) -> tensor<?x1x6xf32>
  %moe = "hmoe.combine"(%o, %gates) : (tensor<?x1x6xf32>, tensor<?x1xf32>) -> tensor<?x6xf32>
  return %moe : tensor<?x6xf32>
}
func.func @two(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %router = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> tensor<4x6xf32>
  %wi = "hmoe.parameter"() {key = "expert.{}.wi", count = 4 : i64} : () -> tensor<4x8x6xf32>
  %wo = "hmoe.parameter"() {key = "expert.{}.wo", count = 4 : i64} : () -> tensor<4x6x8xf32>
  %table = "hmoe.parameter"() {key = "table", count = 0 : i64} : () -> tensor<4x5xf32>
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<7x5xf32>
  %wd = "hmoe.parameter"() {key = "wd", count = 0 : i64} : () -> tensor<18x7xf32>
  %bd = "hmoe.parameter"() {key = "bd", count = 0 : i64} : () -> tensor<18xf32>
  %wu = "hmoe.parameter"() {key = "wu", count = 0 : i64} : () -> tensor<18x7xf32>
  %bu = "hmoe.parameter"() {key = "bu", count = 0 : i64} : () -> tensor<18xf32>
  %logits = "hmoe.linear"(%x, %router) : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 1 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
  %o = "hmoe.experts"(%x, %indices, %kept, %wi, %wo) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<4x8x6xf32>, tensor<4x6x8xf32>) -> tensor<?x1x6xf32>
  %moe = "hmoe.combine"(%o, %gates) : (tensor<?x1x6xf32>, tensor<?x1xf32>) -> tensor<?x6xf32>
  return %moe : tensor<?x6xf32>
}

//--- keys.mlir
func.func @keys(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<8x6xf32>
  %v = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<6x8xf32>
  %a = "hmoe.linear"(%x, %w) : (tensor<?x6xf32>, tensor<8x6xf32>) -> tensor<?x8xf32>
  %y = "hmoe.linear"(%a, %v) : (tensor<?x8xf32>, tensor<6x8xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
