// RUN: %hmoec-opt --verify %s | %FileCheck %s

// Every op, also those that only passes make, in a form that is right. Nothing changes.

// CHECK-LABEL: func.func @top2
func.func @top2(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}, tensor<?x2xf32> {hmoe.name = "gates"}) {
  %router = "hmoe.parameter"() {key = "router.weight", count = 0 : i64} : () -> tensor<4x6xf32>
  %bias = "hmoe.parameter"() {key = "router.bias", count = 0 : i64} : () -> tensor<4xf32>
  %wi = "hmoe.parameter"() {key = "expert.{}.wi", count = 4 : i64} : () -> tensor<4x8x6xf32>
  %wo = "hmoe.parameter"() {key = "expert.{}.wo", count = 4 : i64} : () -> tensor<4x6x8xf32>
  %table = "hmoe.parameter"() {key = "table", count = 0 : i64} : () -> tensor<4x5xf32>
  %layers = "hmoe.parameter"() {key = "layers", count = 0 : i64} : () -> tensor<3x2xf32>
  %wd = "hmoe.parameter"() {key = "wd", count = 0 : i64} : () -> tensor<18x7xf32>
  %bd = "hmoe.parameter"() {key = "bd", count = 0 : i64} : () -> tensor<18xf32>
  %wu = "hmoe.parameter"() {key = "wu", count = 0 : i64} : () -> tensor<18x7xf32>
  %bu = "hmoe.parameter"() {key = "bu", count = 0 : i64} : () -> tensor<18xf32>
  %logits = "hmoe.linear"(%x, %router, %bias) : (tensor<?x6xf32>, tensor<4x6xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 2 : i64, gate = "softmax_topk_renorm", capacity = 3 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %o = "hmoe.experts"(%x, %indices, %kept, %wi, %wo) {activation = "gelu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x2xi32>, tensor<?x2xi1>, tensor<4x8x6xf32>, tensor<4x6x8xf32>) -> tensor<?x2x6xf32>
  %moe = "hmoe.combine"(%o, %gates) : (tensor<?x2x6xf32>, tensor<?x2xf32>) -> tensor<?x6xf32>
  %s = "hmoe.selection_embedding"(%indices, %table) {of = "unselected", aggregate = "mean"} : (tensor<?x2xi32>, tensor<4x5xf32>) -> tensor<?x5xf32>
  %r = "hmoe.append_row"(%s, %layers) {row = 2 : i64} : (tensor<?x5xf32>, tensor<3x2xf32>) -> tensor<?x7xf32>
  // CHECK: "hmoe.hypernetwork"
  // CHECK-SAME: resultSegmentSizes = array<i32: 1, 1, 0, 0>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<?x6x3xf32>, tensor<?x3x6xf32>)
  %h = "hmoe.hyper_expert"(%x, %down, %up) {strategy = "auto", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x6x3xf32>, tensor<?x3x6xf32>) -> tensor<?x6xf32>
  %a = "hmoe.activate"(%h) {function = "none"} : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %a) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y, %gates : tensor<?x6xf32>, tensor<?x2xf32>
}

// CHECK-LABEL: func.func @folded
func.func @folded(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %flat = "hmoe.parameter"() {key = "flat", count = 0 : i64} : () -> tensor<1x28xf32>
  %table = "hmoe.parameter"() {key = "table", count = 0 : i64} : () -> tensor<4x5xf32>
  %wd = "hmoe.parameter"() {key = "wd", count = 0 : i64} : () -> tensor<18x5xf32>
  %bd = "hmoe.parameter"() {key = "bd", count = 0 : i64} : () -> tensor<18xf32>
  %rows = "hmoe.reshape"(%flat) {shape = array<i64: 4, 7>, at_open} : (tensor<1x28xf32>) -> tensor<4x7xf32>
  %router = "hmoe.slice"(%rows) {begin = 0 : i64, end = 6 : i64, squeeze = 0 : i64, at_open} : (tensor<4x7xf32>) -> tensor<4x6xf32>
  %bias = "hmoe.slice"(%rows) {begin = 6 : i64, end = 7 : i64, squeeze = 1 : i64, at_open} : (tensor<4x7xf32>) -> tensor<4xf32>
  %first = "hmoe.take_row"(%table) {row = 3 : i64, at_open} : (tensor<4x5xf32>) -> tensor<1x5xf32>
  %logits = "hmoe.linear"(%x, %router, %bias) : (tensor<?x6xf32>, tensor<4x6xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 2 : i64, gate = "topk_then_softmax", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %sets = "hmoe.all_selections"() {experts = 4 : i64, top_k = 2 : i64, at_open} : () -> tensor<6x2xi32>
  %s = "hmoe.selection_embedding"(%sets, %table) {of = "selected", aggregate = "sum", at_open} : (tensor<6x2xi32>, tensor<4x5xf32>) -> tensor<6x5xf32>
  %down, %up = "hmoe.hypernetwork"(%s, %wd, %bd, %wd, %bd) {bottleneck = 3 : i64, at_open, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<6x5xf32>, tensor<18x5xf32>, tensor<18xf32>, tensor<18x5xf32>, tensor<18xf32>) -> (tensor<6x6x3xf32>, tensor<6x3x6xf32>)
  %which = "hmoe.selection_rank"(%indices) {experts = 4 : i64} : (tensor<?x2xi32>) -> tensor<?xi32>
  // CHECK: "hmoe.indexed_hyper_expert"
  %h = "hmoe.indexed_hyper_expert"(%x, %which, %down, %up) {memoize = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?xi32>, tensor<6x6x3xf32>, tensor<6x3x6xf32>) -> tensor<?x6xf32>
  %distinct, %whose = "hmoe.distinct_selections"(%indices) {experts = 4 : i64} : (tensor<?x2xi32>) -> (tensor<?x2xi32>, tensor<?xi32>)
  %s2 = "hmoe.selection_embedding"(%distinct, %table) {of = "selected", aggregate = "sum"} : (tensor<?x2xi32>, tensor<4x5xf32>) -> tensor<?x5xf32>
  %down2, %up2 = "hmoe.hypernetwork"(%s2, %wd, %bd, %wd, %bd) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x5xf32>, tensor<18x5xf32>, tensor<18xf32>, tensor<18x5xf32>, tensor<18xf32>) -> (tensor<?x6x3xf32>, tensor<?x3x6xf32>)
  %h2 = "hmoe.indexed_hyper_expert"(%h, %whose, %down2, %up2) {memoize = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?xi32>, tensor<?x6x3xf32>, tensor<?x3x6xf32>) -> tensor<?x6xf32>
  return %h2 : tensor<?x6xf32>
}

// CHECK-LABEL: func.func @gated
func.func @gated(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %router = "hmoe.parameter"() {key = "router.weight", count = 0 : i64} : () -> tensor<4x6xf32>
  %wi = "hmoe.parameter"() {key = "expert.{}.wi", count = 4 : i64} : () -> tensor<4x8x6xf32>
  %wo = "hmoe.parameter"() {key = "expert.{}.wo", count = 4 : i64} : () -> tensor<4x6x8xf32>
  %bi = "hmoe.parameter"() {key = "expert.{}.bi", count = 4 : i64} : () -> tensor<4x8xf32>
  %bo = "hmoe.parameter"() {key = "expert.{}.bo", count = 4 : i64} : () -> tensor<4x6xf32>
  %logits = "hmoe.linear"(%x, %router) : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  // CHECK: "hmoe.route"{{.*}} gate = "sigmoid", renorm = 1 : i64
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 2 : i64, gate = "sigmoid", capacity = 3 : i64, renorm = 1 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %o = "hmoe.gated_experts"(%x, %indices, %kept, %wi, %wi, %wo) {activation = "sigmoid", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<?x6xf32>, tensor<?x2xi32>, tensor<?x2xi1>, tensor<4x8x6xf32>, tensor<4x8x6xf32>, tensor<4x6x8xf32>) -> tensor<?x2x6xf32>
  %a = "hmoe.combine"(%o, %gates) : (tensor<?x2x6xf32>, tensor<?x2xf32>) -> tensor<?x6xf32>
  %p = "hmoe.gated_experts"(%x, %indices, %kept, %wi, %wi, %wo, %bi, %bi, %bo) {activation = "silu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x6xf32>, tensor<?x2xi32>, tensor<?x2xi1>, tensor<4x8x6xf32>, tensor<4x8x6xf32>, tensor<4x6x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x6xf32>) -> tensor<?x2x6xf32>
  %b = "hmoe.combine"(%p, %gates) : (tensor<?x2x6xf32>, tensor<?x2xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%a, %b) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
