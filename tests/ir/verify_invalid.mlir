// RUN: %not %hmoec-opt --verify %s 2>&1 | %FileCheck %s

// One mistake a function; all are reported, each at its line.

// CHECK: [[@LINE+1]]:1: error: argument 0 has no name: expected the string attribute hmoe.name
func.func @argument_name(%x: tensor<?x4xf32>) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  return %x : tensor<?x4xf32>
}
// CHECK: [[@LINE+1]]:1: error: the name "x" is used twice
func.func @name_twice(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x4xf32> {hmoe.name = "x"}) {
  return %x : tensor<?x4xf32>
}
// CHECK: [[@LINE+1]]:1: error: the name "x y" of argument 0 is not an identifier
func.func @name_form(%x: tensor<?x4xf32> {hmoe.name = "x y"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  return %x : tensor<?x4xf32>
}
// CHECK: [[@LINE+1]]:1: error: argument 0 is f32[4, ?]: only the first dimension, or batch and length, may be known at run time
func.func @inner_dynamic(%x: tensor<4x?xf32> {hmoe.name = "x"}) -> (tensor<4xf32> {hmoe.name = "y"}) {
  %y = "hmoe.parameter"() {key = "y", count = 0 : i64} : () -> tensor<4xf32>
  return %y : tensor<4xf32>
}
// CHECK: [[@LINE+1]]:1: error: argument 0 is not a tensor of f32, i32, i64 or i1 of rank 4 or less
func.func @element(%x: tensor<4xf64> {hmoe.name = "x"}) -> (tensor<4xf32> {hmoe.name = "y"}) {
  %y = "hmoe.parameter"() {key = "y", count = 0 : i64} : () -> tensor<4xf32>
  return %y : tensor<4xf32>
}
func.func @other_dialect(%x: tensor<4xf32> {hmoe.name = "x"}) -> (tensor<4xf32> {hmoe.name = "y"}) {
  // CHECK: [[@LINE+1]]:8: error: arith.addf is not an op of the model dialect
  %y = arith.addf %x, %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
func.func @shape(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x3xf32> {hmoe.name = "y"}) {
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<3x5xf32>
  // CHECK: [[@LINE+1]]:8: error: linear: expected w f32[out, 4], found f32[3, 5]
  %y = "hmoe.linear"(%x, %w) : (tensor<?x4xf32>, tensor<3x5xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
func.func @result(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x3xf32> {hmoe.name = "y"}) {
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<2x4xf32>
  // CHECK: [[@LINE+1]]:8: error: linear: expected result 0 to be f32[?, 2], found f32[?, 3]
  %y = "hmoe.linear"(%x, %w) : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
func.func @key(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<3x4xf32> {hmoe.name = "y"}) {
  // CHECK: [[@LINE+1]]:8: error: parameter "w": a stack has one "{}" in its key, found 0
  %y = "hmoe.parameter"() {key = "w", count = 3 : i64} : () -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}
func.func @choice(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  // CHECK: [[@LINE+1]]:8: error: activate: expected function to be one of relu, gelu, gelu_new, silu, sigmoid, none or a C function, found "glu"; did you mean gelu?
  %y = "hmoe.activate"(%x) {function = "glu"} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
func.func @attribute(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  // CHECK: [[@LINE+1]]:8: error: activate has no attribute "slope"
  %y = "hmoe.activate"(%x) {function = "relu", slope = 1 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
func.func @integer_width(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x2xf32> {hmoe.name = "y"}) {
  // CHECK: [[@LINE+1]]:29: error: route: expected top_k to be an i64
  %indices, %gates, %kept = "hmoe.route"(%x) {top_k = 2 : i32, gate = "topk_then_softmax", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  return %gates : tensor<?x2xf32>
}
func.func @at_open(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  // CHECK: [[@LINE+1]]:8: error: activate is at_open, but x depends on an input
  %y = "hmoe.activate"(%x) {function = "relu", at_open} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
func.func @foreign_indices(%i: tensor<?x2xi32> {hmoe.name = "i"}) -> (tensor<?x3xf32> {hmoe.name = "y"}) {
  %table = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<5x3xf32>
  // CHECK: [[@LINE+1]]:8: error: selection_embedding: indices must be made by route
  %y = "hmoe.selection_embedding"(%i, %table) {of = "unselected", aggregate = "mean"} : (tensor<?x2xi32>, tensor<5x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
func.func @fewer_experts(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x3xf32> {hmoe.name = "y"}) {
  %table = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<3x3xf32>
  %indices, %gates, %kept = "hmoe.route"(%x) {top_k = 2 : i64, gate = "topk_then_softmax", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  // CHECK: [[@LINE+1]]:8: error: selection_embedding: indices range over 4 experts, expected 3
  %y = "hmoe.selection_embedding"(%indices, %table) {of = "unselected", aggregate = "mean"} : (tensor<?x2xi32>, tensor<3x3xf32>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
func.func @segments(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<3x4xf32>
  %wi = "hmoe.parameter"() {key = "wi", count = 0 : i64} : () -> tensor<3x4x4xf32>
  %down = "hmoe.parameter"() {key = "down", count = 0 : i64} : () -> tensor<3x4x2xf32>
  %up = "hmoe.parameter"() {key = "up", count = 0 : i64} : () -> tensor<3x2x4xf32>
  %logits = "hmoe.linear"(%x, %w) : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x3xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 1 : i64, gate = "topk_then_softmax", capacity = 0 : i64} : (tensor<?x3xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
  // CHECK: [[@LINE+1]]:8: error: fused_experts: operandSegmentSizes does not say which operands there are
  %y = "hmoe.fused_experts"(%x, %indices, %gates, %kept, %wi, %wi, %down, %up, %w, %w) {activation = "relu", expert_biases = 1 : i64, generated_biases = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0>} : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>, tensor<3x4x4xf32>, tensor<3x4x4xf32>, tensor<3x4x2xf32>, tensor<3x2x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
func.func @renorm(%logits: tensor<?x4xf32> {hmoe.name = "l"}) -> (tensor<?x2xf32> {hmoe.name = "y"}) {
  // CHECK: [[@LINE+1]]:29: error: route: renorm = 1 divides the gates of gate = sigmoid by their sum; in place of gate = topk_then_softmax take softmax_topk_renorm
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 2 : i64, gate = "topk_then_softmax", capacity = 0 : i64, renorm = 1 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  return %gates : tensor<?x2xf32>
}
func.func @gated_biases(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %wi = "hmoe.parameter"() {key = "wi.{}", count = 4 : i64} : () -> tensor<4x8x6xf32>
  %wo = "hmoe.parameter"() {key = "wo.{}", count = 4 : i64} : () -> tensor<4x6x8xf32>
  %bi = "hmoe.parameter"() {key = "bi.{}", count = 4 : i64} : () -> tensor<4x8xf32>
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<4x6xf32>
  %logits = "hmoe.linear"(%x, %w) : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 2 : i64, gate = "sigmoid", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  // CHECK: [[@LINE+1]]:8: error: gated_experts: expected 6 or 9 operands (x, indices, kept, wi_0, wi_1, wo, bi_0, bi_1, bo), found 8
  %a = "hmoe.gated_experts"(%x, %indices, %kept, %wi, %wi, %wo, %bi, %bi) {activation = "silu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0>} : (tensor<?x6xf32>, tensor<?x2xi32>, tensor<?x2xi1>, tensor<4x8x6xf32>, tensor<4x8x6xf32>, tensor<4x6x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<?x2x6xf32>
  // CHECK: [[@LINE+1]]:8: error: gated_experts: expected bo f32[4, 6], found f32[4, 8]
  %o = "hmoe.gated_experts"(%x, %indices, %kept, %wi, %wi, %wo, %bi, %bi, %bi) {activation = "silu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x6xf32>, tensor<?x2xi32>, tensor<?x2xi1>, tensor<4x8x6xf32>, tensor<4x8x6xf32>, tensor<4x6x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<?x2x6xf32>
  %y = "hmoe.combine"(%o, %gates) : (tensor<?x2x6xf32>, tensor<?x2xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
