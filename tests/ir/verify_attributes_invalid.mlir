// RUN: %not %hmoec-opt --verify %s 2>&1 | %FileCheck %s --implicit-check-not=error:

// What passes leave on ops, what ops are made at open, and rows that only some ops number: one mistake an op; all are reported.

func.func @passes(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  // CHECK: [[@LINE+1]]:8: error: activate: at_open takes no value
  %a = "hmoe.activate"(%x) {function = "relu", at_open = 1 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: [[@LINE+1]]:8: error: activate: expected hmoe.strategy and hmoe.reason to be strings
  %b = "hmoe.activate"(%a) {function = "relu", hmoe.strategy = 1 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: [[@LINE+1]]:8: error: activate: expected hmoe.strategy and hmoe.reason to be strings
  %c = "hmoe.activate"(%b) {function = "relu", hmoe.strategy = "table", hmoe.reason} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: [[@LINE+1]]:8: error: activate: expected hmoe.slots to be an i64 between 1 and 16777216
  %d = "hmoe.activate"(%c) {function = "relu", hmoe.slots = 0 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: [[@LINE+1]]:8: error: activate: expected hmoe.slots to be an i64 between 1 and 16777216
  %e = "hmoe.activate"(%d) {function = "relu", hmoe.slots = 16777217 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: [[@LINE+1]]:8: error: activate: expected hmoe.slots to be an i64 between 1 and 16777216
  %f = "hmoe.activate"(%e) {function = "relu", hmoe.slots = 3 : i32} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: [[@LINE+1]]:8: error: activate: hmoe.per_set and hmoe.loop cannot be given
  %g = "hmoe.activate"(%f) {function = "relu", hmoe.per_set} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: [[@LINE+1]]:8: error: activate: hmoe.per_set and hmoe.loop cannot be given
  %h = "hmoe.activate"(%g) {function = "relu", hmoe.loop = 1 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  // The limits themselves are no mistakes.
  %i = "hmoe.activate"(%h) {function = "relu", hmoe.slots = 1 : i64, hmoe.strategy = "cache", hmoe.reason = "none"} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %j = "hmoe.activate"(%i) {function = "relu", hmoe.slots = 16777216 : i64, other.attribute} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %j : tensor<?x4xf32>
}
func.func @foreign_which(%x: tensor<?x6xf32> {hmoe.name = "x"}, %which: tensor<?xi32> {hmoe.name = "which"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<4x6xf32>
  %five_d = "hmoe.parameter"() {key = "five_d", count = 0 : i64} : () -> tensor<5x6x3xf32>
  %five_u = "hmoe.parameter"() {key = "five_u", count = 0 : i64} : () -> tensor<5x3x6xf32>
  %logits = "hmoe.linear"(%x, %w) : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 2 : i64, gate = "topk_then_softmax", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %rank = "hmoe.selection_rank"(%indices) {experts = 4 : i64} : (tensor<?x2xi32>) -> tensor<?xi32>
  %distinct, %whose = "hmoe.distinct_selections"(%indices) {experts = 4 : i64} : (tensor<?x2xi32>) -> (tensor<?x2xi32>, tensor<?xi32>)
  // CHECK: [[@LINE+1]]:8: error: indexed_hyper_expert: which must be made by selection_rank or distinct_selections
  %y = "hmoe.indexed_hyper_expert"(%x, %which, %five_d, %five_u) {memoize = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?xi32>, tensor<5x6x3xf32>, tensor<5x3x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
func.func @other_ranks(%x: tensor<?x6xf32> {hmoe.name = "x"}, %which: tensor<?xi32> {hmoe.name = "which"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<4x6xf32>
  %five_d = "hmoe.parameter"() {key = "five_d", count = 0 : i64} : () -> tensor<5x6x3xf32>
  %five_u = "hmoe.parameter"() {key = "five_u", count = 0 : i64} : () -> tensor<5x3x6xf32>
  %logits = "hmoe.linear"(%x, %w) : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 2 : i64, gate = "topk_then_softmax", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %rank = "hmoe.selection_rank"(%indices) {experts = 4 : i64} : (tensor<?x2xi32>) -> tensor<?xi32>
  %distinct, %whose = "hmoe.distinct_selections"(%indices) {experts = 4 : i64} : (tensor<?x2xi32>) -> (tensor<?x2xi32>, tensor<?xi32>)
  // CHECK: [[@LINE+1]]:8: error: indexed_hyper_expert: which ranges over all selections, down over other rows
  %y = "hmoe.indexed_hyper_expert"(%x, %rank, %five_d, %five_u) {memoize = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?xi32>, tensor<5x6x3xf32>, tensor<5x3x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
func.func @other_distinct(%x: tensor<?x6xf32> {hmoe.name = "x"}, %which: tensor<?xi32> {hmoe.name = "which"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<4x6xf32>
  %five_d = "hmoe.parameter"() {key = "five_d", count = 0 : i64} : () -> tensor<5x6x3xf32>
  %five_u = "hmoe.parameter"() {key = "five_u", count = 0 : i64} : () -> tensor<5x3x6xf32>
  %logits = "hmoe.linear"(%x, %w) : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 2 : i64, gate = "topk_then_softmax", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %rank = "hmoe.selection_rank"(%indices) {experts = 4 : i64} : (tensor<?x2xi32>) -> tensor<?xi32>
  %distinct, %whose = "hmoe.distinct_selections"(%indices) {experts = 4 : i64} : (tensor<?x2xi32>) -> (tensor<?x2xi32>, tensor<?xi32>)
  // CHECK: [[@LINE+1]]:8: error: indexed_hyper_expert: which ranges over the distinct selections, down over other rows
  %y = "hmoe.indexed_hyper_expert"(%x, %whose, %five_d, %five_u) {memoize = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?xi32>, tensor<5x6x3xf32>, tensor<5x3x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
func.func @result_count(%x: tensor<?x5xf32> {hmoe.name = "x"}) -> (tensor<?x5xf32> {hmoe.name = "y"}) {
  %wd = "hmoe.parameter"() {key = "wd", count = 0 : i64} : () -> tensor<18x5xf32>
  %bd = "hmoe.parameter"() {key = "bd", count = 0 : i64} : () -> tensor<18xf32>
  // CHECK: [[@LINE+1]]:23: error: hypernetwork: expected 2 results, found 3
  %down, %up, %beta = "hmoe.hypernetwork"(%x, %wd, %bd, %wd, %bd) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<?x5xf32>, tensor<18x5xf32>, tensor<18xf32>, tensor<18x5xf32>, tensor<18xf32>) -> (tensor<?x6x3xf32>, tensor<?x3x6xf32>, tensor<?x3xf32>)
  return %x : tensor<?x5xf32>
}
// CHECK: [[@LINE+1]]:1: error: argument 0 is f32[?, 0]: expected dimensions of at least 1
func.func @zero(%x: tensor<?x0xf32> {hmoe.name = "x"}, %z: tensor<?x4xf32> {hmoe.name = "z"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  return %z : tensor<?x4xf32>
}
// CHECK: [[@LINE+1]]:1: error: argument 0 is too large: f32[1048576, 1048576, 1048576]
func.func @large(%x: tensor<1048576x1048576x1048576xf32> {hmoe.name = "x"}, %z: tensor<?x4xf32> {hmoe.name = "z"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  return %z : tensor<?x4xf32>
}
// CHECK: [[@LINE+1]]:1: error: the function has no results
func.func @results(%x: tensor<?x4xf32> {hmoe.name = "x"}) {
  return
}
// CHECK: [[@LINE+1]]:1: error: the function has more than one block
func.func @blocks(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  return %x : tensor<?x4xf32>
^other:
  return %x : tensor<?x4xf32>
}
