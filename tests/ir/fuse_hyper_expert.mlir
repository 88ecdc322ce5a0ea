// RUN: %hmoec-opt --fuse-hyper-expert %s | %FileCheck %s

// CHECK-LABEL: func.func @top1
// CHECK-NOT: "hmoe.combine"
// CHECK: %[[Y:.*]] = "hmoe.fused_experts"(%{{.*}}) {activation = "relu", expert_biases = 0 : i64, generated_biases = 0 : i64
// CHECK-NOT: "hmoe.add"
// CHECK: return %[[Y]]
func.func @top1(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
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
  %which = "hmoe.selection_rank"(%indices) {experts = 4 : i64} : (tensor<?x1xi32>) -> tensor<?xi32>
  %sets = "hmoe.all_selections"() {experts = 4 : i64, top_k = 1 : i64} : () -> tensor<4x1xi32>
  %s = "hmoe.selection_embedding"(%sets, %table) {of = "unselected", aggregate = "sum"} : (tensor<4x1xi32>, tensor<4x5xf32>) -> tensor<4x5xf32>
  %r = "hmoe.linear"(%s, %w) : (tensor<4x5xf32>, tensor<7x5xf32>) -> tensor<4x7xf32>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<4x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<4x6x3xf32>, tensor<4x3x6xf32>)
  %h = "hmoe.indexed_hyper_expert"(%x, %which, %down, %up) {memoize = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?xi32>, tensor<4x6x3xf32>, tensor<4x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// Gated experts, too.
// CHECK-LABEL: func.func @gated
// CHECK-NOT: "hmoe.combine"
// CHECK: %[[Y:.*]] = "hmoe.fused_gated_experts"(%{{.*}}) {activation = "silu", expert_biases = 0 : i64, generated_biases = 0 : i64
// CHECK-NOT: "hmoe.add"
// CHECK: return %[[Y]]
func.func @gated(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %router = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> tensor<4x6xf32>
  %wi = "hmoe.parameter"() {key = "expert.{}.wi", count = 4 : i64} : () -> tensor<4x8x6xf32>
  %wi_1 = "hmoe.parameter"() {key = "expert.{}.wi_1", count = 4 : i64} : () -> tensor<4x8x6xf32>
  %wo = "hmoe.parameter"() {key = "expert.{}.wo", count = 4 : i64} : () -> tensor<4x6x8xf32>
  %table = "hmoe.parameter"() {key = "table", count = 0 : i64} : () -> tensor<4x5xf32>
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<7x5xf32>
  %wd = "hmoe.parameter"() {key = "wd", count = 0 : i64} : () -> tensor<18x7xf32>
  %bd = "hmoe.parameter"() {key = "bd", count = 0 : i64} : () -> tensor<18xf32>
  %wu = "hmoe.parameter"() {key = "wu", count = 0 : i64} : () -> tensor<18x7xf32>
  %bu = "hmoe.parameter"() {key = "bu", count = 0 : i64} : () -> tensor<18xf32>
  %logits = "hmoe.linear"(%x, %router) : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 1 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
  %o = "hmoe.gated_experts"(%x, %indices, %kept, %wi, %wi_1, %wo) {activation = "silu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<?x6xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<4x8x6xf32>, tensor<4x8x6xf32>, tensor<4x6x8xf32>) -> tensor<?x1x6xf32>
  %moe = "hmoe.combine"(%o, %gates) : (tensor<?x1x6xf32>, tensor<?x1xf32>) -> tensor<?x6xf32>
  %which = "hmoe.selection_rank"(%indices) {experts = 4 : i64} : (tensor<?x1xi32>) -> tensor<?xi32>
  %sets = "hmoe.all_selections"() {experts = 4 : i64, top_k = 1 : i64} : () -> tensor<4x1xi32>
  %s = "hmoe.selection_embedding"(%sets, %table) {of = "unselected", aggregate = "sum"} : (tensor<4x1xi32>, tensor<4x5xf32>) -> tensor<4x5xf32>
  %r = "hmoe.linear"(%s, %w) : (tensor<4x5xf32>, tensor<7x5xf32>) -> tensor<4x7xf32>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<4x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<4x6x3xf32>, tensor<4x3x6xf32>)
  %h = "hmoe.indexed_hyper_expert"(%x, %which, %down, %up) {memoize = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?xi32>, tensor<4x6x3xf32>, tensor<4x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// Either order of the sum.
// CHECK-LABEL: func.func @swapped
// CHECK: "hmoe.fused_experts"
func.func @swapped(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
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
  %which = "hmoe.selection_rank"(%indices) {experts = 4 : i64} : (tensor<?x1xi32>) -> tensor<?xi32>
  %sets = "hmoe.all_selections"() {experts = 4 : i64, top_k = 1 : i64} : () -> tensor<4x1xi32>
  %s = "hmoe.selection_embedding"(%sets, %table) {of = "unselected", aggregate = "sum"} : (tensor<4x1xi32>, tensor<4x5xf32>) -> tensor<4x5xf32>
  %r = "hmoe.linear"(%s, %w) : (tensor<4x5xf32>, tensor<7x5xf32>) -> tensor<4x7xf32>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<4x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<4x6x3xf32>, tensor<4x3x6xf32>)
  %h = "hmoe.indexed_hyper_expert"(%x, %which, %down, %up) {memoize = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?xi32>, tensor<4x6x3xf32>, tensor<4x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%h, %moe) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// A selection of two experts shares its HyperExpert: nothing to ride along with.
// CHECK-LABEL: func.func @top2
// CHECK-NOT: fused_experts
// CHECK: "hmoe.indexed_hyper_expert"
func.func @top2(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
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
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 2 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi1>)
  %o = "hmoe.experts"(%x, %indices, %kept, %wi, %wo) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x2xi32>, tensor<?x2xi1>, tensor<4x8x6xf32>, tensor<4x6x8xf32>) -> tensor<?x2x6xf32>
  %moe = "hmoe.combine"(%o, %gates) : (tensor<?x2x6xf32>, tensor<?x2xf32>) -> tensor<?x6xf32>
  %which = "hmoe.selection_rank"(%indices) {experts = 4 : i64} : (tensor<?x2xi32>) -> tensor<?xi32>
  %sets = "hmoe.all_selections"() {experts = 4 : i64, top_k = 2 : i64} : () -> tensor<6x2xi32>
  %s = "hmoe.selection_embedding"(%sets, %table) {of = "unselected", aggregate = "sum"} : (tensor<6x2xi32>, tensor<4x5xf32>) -> tensor<6x5xf32>
  %r = "hmoe.linear"(%s, %w) : (tensor<6x5xf32>, tensor<7x5xf32>) -> tensor<6x7xf32>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<6x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<6x6x3xf32>, tensor<6x3x6xf32>)
  %h = "hmoe.indexed_hyper_expert"(%x, %which, %down, %up) {memoize = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?xi32>, tensor<6x6x3xf32>, tensor<6x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// The experts read x, the HyperExpert something else.
// CHECK-LABEL: func.func @other_input
// CHECK-NOT: fused_experts
// CHECK: return
func.func @other_input(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %z = "hmoe.add"(%x, %x) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
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
  %which = "hmoe.selection_rank"(%indices) {experts = 4 : i64} : (tensor<?x1xi32>) -> tensor<?xi32>
  %sets = "hmoe.all_selections"() {experts = 4 : i64, top_k = 1 : i64} : () -> tensor<4x1xi32>
  %s = "hmoe.selection_embedding"(%sets, %table) {of = "unselected", aggregate = "sum"} : (tensor<4x1xi32>, tensor<4x5xf32>) -> tensor<4x5xf32>
  %r = "hmoe.linear"(%s, %w) : (tensor<4x5xf32>, tensor<7x5xf32>) -> tensor<4x7xf32>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<4x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<4x6x3xf32>, tensor<4x3x6xf32>)
  %h = "hmoe.indexed_hyper_expert"(%z, %which, %down, %up) {memoize = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?xi32>, tensor<4x6x3xf32>, tensor<4x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// The mixture is wanted by itself as well.
// CHECK-LABEL: func.func @used_twice
// CHECK-NOT: fused_experts
// CHECK: return
func.func @used_twice(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}, tensor<?x6xf32> {hmoe.name = "moe"}) {
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
  %which = "hmoe.selection_rank"(%indices) {experts = 4 : i64} : (tensor<?x1xi32>) -> tensor<?xi32>
  %sets = "hmoe.all_selections"() {experts = 4 : i64, top_k = 1 : i64} : () -> tensor<4x1xi32>
  %s = "hmoe.selection_embedding"(%sets, %table) {of = "unselected", aggregate = "sum"} : (tensor<4x1xi32>, tensor<4x5xf32>) -> tensor<4x5xf32>
  %r = "hmoe.linear"(%s, %w) : (tensor<4x5xf32>, tensor<7x5xf32>) -> tensor<4x7xf32>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<4x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<4x6x3xf32>, tensor<4x3x6xf32>)
  %h = "hmoe.indexed_hyper_expert"(%x, %which, %down, %up) {memoize = 0 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?xi32>, tensor<4x6x3xf32>, tensor<4x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y, %moe : tensor<?x6xf32>, tensor<?x6xf32>
}
