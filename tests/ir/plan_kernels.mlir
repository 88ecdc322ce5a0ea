// RUN: split-file %s %t
// RUN: %hmoec-opt --fold-parameters --plan-kernels %t/top1.mlir | %FileCheck %s --check-prefix=TOP1
// RUN: %hmoec-opt --fold-parameters --plan-kernels --place %t/top1.mlir | %FileCheck %s --check-prefix=PAIR
// RUN: %hmoec-opt --fold-parameters --plan-kernels %t/top2.mlir | %FileCheck %s --check-prefix=TOP2
// RUN: %hmoec-opt --fold-parameters --plan-kernels %t/sum.mlir | %FileCheck %s --check-prefix=SUM --implicit-check-not="apart ="
// RUN: %hmoec-opt --fold-hypernetwork --strategy=cache --fold-parameters --fold-duplicates --plan-kernels %t/hyper.mlir | %FileCheck %s --check-prefix=CACHE
// RUN: %hmoec-opt --fold-hypernetwork --strategy=factored --fold-parameters --fold-duplicates --plan-kernels %t/hyper.mlir | %FileCheck %s --check-prefix=FACTORED
// RUN: %hmoec-opt --fold-hypernetwork --strategy=table --fuse-hyper-expert --fold-parameters --fold-duplicates --plan-kernels %t/hyper.mlir | %FileCheck %s --check-prefix=FUSED

// Top-1: packed at open; the second product scatters straight into the caller's memory.
// TOP1: func.func @open()
// TOP1: "hmk.pack"
// TOP1: kind = "param"{{.*}}shape = array<i64: 8, 6>
// TOP1: func.func @run() attributes {hmk.dim_names = ["tokens"], hmk.dims = array<i64: 0, 0, 0>, hmk.inputs = ["x", tensor<?x6xf32>, array<i64: -1, 6>, unit], hmk.model = "top1", hmk.outputs = ["y", tensor<?x6xf32>, array<i64: -1, 6>, unit]}
// TOP1: "hmk.grouped_matmul"{{.*}}k = 6 : i64{{.*}}n = 4 : i64
// TOP1: "hmk.route_topk"{{.*}}top_k = 1
// TOP1: "hmk.group_tokens"{{.*}}capacity = 3
// TOP1: kind = "output"
// TOP1: "hmk.grouped_matmul"{{.*}}bind = ["a", "b", "c", "blocks", "gather"]{{.*}}segments = [8, "relu", false, false]
// TOP1: "hmk.grouped_matmul"{{.*}}bind = ["a", "b", "c", "blocks", "scatter", "row_gate", "pass", "pass_index"]{{.*}}flags = []{{.*}}segments = [6, "none", true, false]
// TOP1-NOT: "hmk.combine"

// The same two products in one step, for blocks of many rows: buffers of the second, but the first's a and gather.
// PAIR: "hmk.choose"(%[[BLOCKS:[0-9]+]]){{.*}}bind = ["blocks"], first = 1 : i64{{.*}}schedule = {block_rows = 16 : i64, percent = 100 : i64, row_block = 64 : i64}, second = 2 : i64
// PAIR: "hmk.grouped_ffn"(%[[X:[0-9]+]], %[[B2:[0-9]+]], %[[Y:[0-9]+]], %[[BLOCKS]], {{.*}}bind = ["a", "b", "c", "blocks", "gather", "scatter", "row_gate", "pass", "pass_index", "first_b"]{{.*}}dropped = array<i64: 0, 8>{{.*}}first_flags = []{{.*}}first_k = 6 : i64, first_n = 8 : i64, first_segments = [8, "relu", false, false], flags = [], format = "f32", k = 8 : i64, layout = {a_in_place = 1 : i64, a_stride = 48 : i64, b_group_bytes = 1024 : i64, bias_group_floats = 0 : i64, c_padded = 0 : i64, c_stride = 6 : i64, first_a_in_place = 0 : i64, first_a_stride = 6 : i64, first_b_group_bytes = 768 : i64, first_bias_group_floats = 0 : i64, first_c_padded = 1 : i64, first_c_stride = 48 : i64, pass_ld = 6 : i64}{{.*}}schedule = {chunk_columns = 256 : i64, row_block = 64 : i64}
// PAIR: "hmk.grouped_matmul"(%[[X]], %{{[0-9]+}}, %[[HIDDEN:[0-9]+]], %[[BLOCKS]]
// PAIR: "hmk.grouped_matmul"(%[[HIDDEN]], %[[B2]], %[[Y]], %[[BLOCKS]]

// Top-2: picks are twice the tokens (dimension 1); a token's two rows are summed in slot order.
// TOP2: func.func @run() attributes {{{.*}}hmk.dims = array<i64: 0, 0, 0, 1, 0, 2>
// TOP2: "hmk.group_tokens"{{.*}}rows = 1 : i64{{.*}}top_k = 2
// TOP2: "hmk.combine"{{.*}}accumulate = 0{{.*}}top_k = 2

// The operands of a sum share its destination: the first to run writes, the second accumulates.
// SUM: func.func @run()
// SUM: "hmk.grouped_matmul"{{.*}}bind = ["a", "b", "c"]{{.*}}flags = []{{.*}}n = 6
// SUM: "hmk.grouped_matmul"{{.*}}"scatter"{{.*}}flags = ["accumulate"]

// The cache: the chain and the generator run on missing sets inside the loop, then its two grouped products, in one of two ways.
// CACHE: "hmk.group_selections"{{.*}}mode = "distinct"
// CACHE: "hmk.loop"{{.*}}body = 8 : i64{{.*}}generate = 4 : i64{{.*}}kind = "cached"
// CACHE: "hmk.select_embedding"
// CACHE: "hmk.grouped_matmul"
// CACHE: kind = "cache"
// CACHE: "hmk.grouped_matmul"{{.*}}"scatter"
// CACHE: "hmk.grouped_matmul"{{.*}}"scatter"
// CACHE: "hmk.choose"
// CACHE: "hmk.grouped_ffn"
// CACHE: "hmk.grouped_matmul"{{.*}}"gather"
// CACHE: "hmk.grouped_matmul"{{.*}}"scatter"

// FACTORED: "hmk.loop"{{.*}}body = 3 : i64{{.*}}kind = "rows"
// FACTORED: "hmk.grouped_matmul"
// FACTORED: "hmk.contract"{{.*}}bottleneck = 3 : i64, by = array<i64: 0, 1, 0>, hidden = 7 : i64
// FACTORED: "hmk.grouped_matmul"{{.*}}"accumulate"

// Fused: D is generated into its columns of the first pack, U copied under W2's rows; two segments at run.
// FUSED: func.func @open()
// FUSED: "hmk.all_selections"
// FUSED: "hmk.grouped_matmul"{{.*}}at = array<i64: 0, 0, 32, 0>
// FUSED: "hmk.copy"{{.*}}depth = 32
// FUSED: func.func @run()
// FUSED: segments = [8, "relu", true, false, 35, "relu", false, false]
// FUSED-NOT: "hmk.group_selections"

//--- top1.mlir
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
  %indices, %gates, %kept = "hmoe.route"(%logits) {top_k = 1 : i64, gate = "softmax_then_topk", capacity = 3 : i64} : (tensor<?x4xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
  %o = "hmoe.experts"(%x, %indices, %kept, %wi, %wo) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x6xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<4x8x6xf32>, tensor<4x6x8xf32>) -> tensor<?x1x6xf32>
  %moe = "hmoe.combine"(%o, %gates) : (tensor<?x1x6xf32>, tensor<?x1xf32>) -> tensor<?x6xf32>
  return %moe : tensor<?x6xf32>
}

//--- top2.mlir
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
  return %moe : tensor<?x6xf32>
}

//--- sum.mlir
func.func @sum(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %share = "hmoe.parameter"() {key = "share", count = 0 : i64} : () -> tensor<6x6xf32>
  %z = "hmoe.linear"(%x, %share) : (tensor<?x6xf32>, tensor<6x6xf32>) -> tensor<?x6xf32>
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
  %y = "hmoe.add"(%moe, %z) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

//--- hyper.mlir
func.func @hyper(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
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
