// RUN: %hmoec-opt --fold-hypernetwork %s | %FileCheck %s
// RUN: %hmoec-opt --fold-hypernetwork --strategy=factored %s | %FileCheck %s --check-prefix=FORCED
// RUN: %hmoec-opt --fold-hypernetwork --table-budget=1024 %s | %FileCheck %s --check-prefix=SMALL
// RUN: %hmoec-opt --fold-hypernetwork --memory=1024 %s | %FileCheck %s --check-prefix=SMALL

// Top-1 over 4 experts: a table of 4 rows. The chain from the selection to the generated weights is rebuilt on all sets.
// CHECK-LABEL: func.func @table
// CHECK: %[[SETS:.*]] = "hmoe.all_selections"() {experts = 4 : i64, top_k = 1 : i64} : () -> tensor<4x1xi32>
// CHECK: %[[WHICH:.*]] = "hmoe.selection_rank"
// CHECK: "hmoe.selection_embedding"(%[[SETS]]
// CHECK: "hmoe.linear"{{.*}} -> tensor<4x7xf32>
// CHECK: %[[W:.*]]:2 = "hmoe.hypernetwork"{{.*}} -> (tensor<4x6x3xf32>, tensor<4x3x6xf32>)
// CHECK: "hmoe.indexed_hyper_expert"(%{{.*}}, %[[WHICH]], %[[W]]#0, %[[W]]#1) {hmoe.reason = "{{.*}}", hmoe.strategy = "table", memoize = 0
// CHECK-NOT: "hmoe.hyper_expert"
// FORCED-LABEL: func.func @table
// FORCED: "hmoe.factored_hyper_expert"
// A budget too small for the table; caches have 16 slots at least, or all of the sets. Memory for the whole module is the same for one.
// SMALL-LABEL: func.func @table
// SMALL: "hmoe.hyper_expert"{{.*}}hmoe.reason = "a table of 4 sets would take 0.00 MiB; for 512 tokens, within 0.00 MiB, per_token is the fastest", hmoe.strategy = "per_token"
func.func @table(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
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
  %s = "hmoe.selection_embedding"(%indices, %table) {of = "unselected", aggregate = "mean"} : (tensor<?x1xi32>, tensor<4x5xf32>) -> tensor<?x5xf32>
  %r = "hmoe.linear"(%s, %w) : (tensor<?x5xf32>, tensor<7x5xf32>) -> tensor<?x7xf32>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<?x6x3xf32>, tensor<?x3x6xf32>)
  %h = "hmoe.hyper_expert"(%x, %down, %up) {strategy = "auto", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x6x3xf32>, tensor<?x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// CHECK-LABEL: func.func @cache
// CHECK: %[[D:.*]]:2 = "hmoe.distinct_selections"
// CHECK: "hmoe.selection_embedding"(%[[D]]#0
// CHECK: "hmoe.indexed_hyper_expert"(%{{.*}}, %[[D]]#1, {{.*}}hmoe.slots = {{.*}}hmoe.strategy = "cache", memoize = 1
func.func @cache(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
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
  %s = "hmoe.selection_embedding"(%indices, %table) {of = "unselected", aggregate = "mean"} : (tensor<?x2xi32>, tensor<4x5xf32>) -> tensor<?x5xf32>
  %r = "hmoe.linear"(%s, %w) : (tensor<?x5xf32>, tensor<7x5xf32>) -> tensor<?x7xf32>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<?x6x3xf32>, tensor<?x3x6xf32>)
  %h = "hmoe.hyper_expert"(%x, %down, %up) {strategy = "cache", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x6x3xf32>, tensor<?x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// per_token leaves the op as it is.
// CHECK-LABEL: func.func @per_token
// CHECK-NOT: selection_rank
// CHECK: "hmoe.hyper_expert"{{.*}}strategy = "per_token"
func.func @per_token(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
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
  %s = "hmoe.selection_embedding"(%indices, %table) {of = "unselected", aggregate = "mean"} : (tensor<?x1xi32>, tensor<4x5xf32>) -> tensor<?x5xf32>
  %r = "hmoe.linear"(%s, %w) : (tensor<?x5xf32>, tensor<7x5xf32>) -> tensor<?x7xf32>
  %down, %up = "hmoe.hypernetwork"(%r, %wd, %bd, %wu, %bu) {bottleneck = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<?x7xf32>, tensor<18x7xf32>, tensor<18xf32>, tensor<18x7xf32>, tensor<18xf32>) -> (tensor<?x6x3xf32>, tensor<?x3x6xf32>)
  %h = "hmoe.hyper_expert"(%x, %down, %up) {strategy = "per_token", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x6x3xf32>, tensor<?x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// A generator that reads the token has no table: factored, on its own.
// CHECK-LABEL: func.func @token
// CHECK-NOT: all_selections
// CHECK-NOT: distinct_selections
// CHECK: "hmoe.hyper_expert"{{.*}}hmoe.reason = "no table of what this generator reads; for 512 tokens per_token is the fastest", hmoe.strategy = "per_token"
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
  %h = "hmoe.hyper_expert"(%x, %down, %up) {strategy = "auto", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x6x3xf32>, tensor<?x3x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%moe, %h) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
