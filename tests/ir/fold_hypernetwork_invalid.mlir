// RUN: %not %hmoec-opt --fold-hypernetwork %s 2>&1 | %FileCheck %s
// RUN: %not %hmoec-opt --fold-hypernetwork --strategy=nonsense %s 2>&1 | %FileCheck %s --check-prefix=NAME

// CHECK: fold_hypernetwork_invalid.mlir:{{[0-9]+}}:{{[0-9]+}}: error: strategy table needs generated weights that depend on the selection set alone
// NAME: error: expected strategy auto, table, cache, factored or per_token, found 'nonsense'
func.func @token(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
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
  %u = "hmoe.parameter"() {key = "u", count = 0 : i64} : () -> tensor<7x6xf32>
  %r = "hmoe.linear"(%x, %u) : (tensor<?x6xf32>, tensor<7x6xf32>) -> tensor<?x7xf32>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<?x6x3xf32>, tensor<?x3x6xf32>)
  %h = "hmoe.hyper_expert"(%x, %down, %up) {strategy = "table", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x6x3xf32>, tensor<?x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// CHECK: error: strategy cache needs generated weights that depend on the selection set alone
func.func @token_cache(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
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
  %u = "hmoe.parameter"() {key = "u", count = 0 : i64} : () -> tensor<7x6xf32>
  %r = "hmoe.linear"(%x, %u) : (tensor<?x6xf32>, tensor<7x6xf32>) -> tensor<?x7xf32>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<?x6x3xf32>, tensor<?x3x6xf32>)
  %h = "hmoe.hyper_expert"(%x, %down, %up) {strategy = "cache", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x6x3xf32>, tensor<?x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// C(60, 30) sets can be counted but not kept.
// CHECK: error: strategy table: {{[0-9]+}} selection sets of {{[0-9]+}} bytes are more than a table may have
func.func @large(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %router = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> tensor<60x6xf32>
  %wi = "hmoe.parameter"() {key = "expert.{}.wi", count = 60 : i64} : () -> tensor<60x8x6xf32>
  %wo = "hmoe.parameter"() {key = "expert.{}.wo", count = 60 : i64} : () -> tensor<60x6x8xf32>
  %table = "hmoe.parameter"() {key = "table", count = 0 : i64} : () -> tensor<60x5xf32>
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<7x5xf32>
  %wd = "hmoe.parameter"() {key = "wd", count = 0 : i64} : () -> tensor<18x7xf32>
  %bd = "hmoe.parameter"() {key = "bd", count = 0 : i64} : () -> tensor<18xf32>
  %wu = "hmoe.parameter"() {key = "wu", count = 0 : i64} : () -> tensor<18x7xf32>
  %bu = "hmoe.parameter"() {key = "bu", count = 0 : i64} : () -> tensor<18xf32>
  %logits = "hmoe.linear"(%x, %router) : (tensor<?x6xf32>, tensor<60x6xf32>) -> tensor<?x60xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 30 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x60xf32>) -> (tensor<?x30xi32>, tensor<?x30xf32>, tensor<?x30xi1>)
  %o = "hmoe.experts"(%x, %indices, %kept, %wi, %wo) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x30xi32>, tensor<?x30xi1>, tensor<60x8x6xf32>, tensor<60x6x8xf32>) -> tensor<?x30x6xf32>
  %moe = "hmoe.combine"(%o, %gates) : (tensor<?x30x6xf32>, tensor<?x30xf32>) -> tensor<?x6xf32>
  %s = "hmoe.selection_embedding"(%indices, %table) {of = "unselected", aggregate = "mean"} : (tensor<?x30xi32>, tensor<60x5xf32>) -> tensor<?x5xf32>
  %r = "hmoe.linear"(%s, %w) : (tensor<?x5xf32>, tensor<7x5xf32>) -> tensor<?x7xf32>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<?x6x3xf32>, tensor<?x3x6xf32>)
  %h = "hmoe.hyper_expert"(%x, %down, %up) {strategy = "table", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x6x3xf32>, tensor<?x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
