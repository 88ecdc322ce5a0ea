// RUN: %hmoec-opt --verify %s | %FileCheck %s
// RUN: %hmoec-opt --fold-parameters --plan-kernels %s | %FileCheck %s --check-prefix=PLAN

// Functions of scalars beside a model, where its activations name them.

// CHECK-LABEL: func.func private @clipped
func.func private @clipped(%gate: f32, %up: f32) -> f32 {
  %limit = arith.constant 7.0 : f32
  %above = arith.cmpf ogt, %gate, %limit : f32
  // CHECK: scf.if
  %g = scf.if %above -> (f32) {
    scf.yield %limit : f32
  } else {
    %e = math.exp %gate : f32
    scf.yield %e : f32
  }
  %y = arith.mulf %g, %up : f32
  return %y : f32
}

// CHECK-LABEL: func.func private @root
func.func private @root(%x: f32) -> f32 {
  %y = math.sqrt %x : f32
  return %y : f32
}

// They stay in the planned module, and steps name them.
// PLAN-DAG: func.func private @clipped
// PLAN-DAG: func.func private @root
// PLAN-DAG: hmk.route_topk{{.*}}gate = "@root"
// PLAN-DAG: hmk.grouped_ffn{{.*}}first_segments = [16, "@clipped", false, false]
// PLAN-DAG: hmk.grouped_matmul{{.*}}"paired"{{.*}}segments = [16, "@clipped", false, false]

// CHECK: "hmoe.route"{{.*}}gate = "@root"
// CHECK: "hmoe.gated_experts"{{.*}}activation = "@clipped"
func.func @gated(%x: tensor<?x8xf32> {hmoe.name = "x"}) -> (tensor<?x8xf32> {hmoe.name = "y"}) {
  %router = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> tensor<4x8xf32>
  %logits = "hmoe.linear"(%x, %router) : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  %i, %g, %k = "hmoe.route"(%logits) {capacity = 0 : i64, gate = "@root", top_k = 1 : i64} : (tensor<?x4xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
  %wi_0 = "hmoe.parameter"() {key = "a{}", count = 4 : i64} : () -> tensor<4x16x8xf32>
  %wi_1 = "hmoe.parameter"() {key = "b{}", count = 4 : i64} : () -> tensor<4x16x8xf32>
  %wo = "hmoe.parameter"() {key = "c{}", count = 4 : i64} : () -> tensor<4x8x16xf32>
  %o = "hmoe.gated_experts"(%x, %i, %k, %wi_0, %wi_1, %wo) {activation = "@clipped", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<?x8xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<4x16x8xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<?x1x8xf32>
  %y = "hmoe.combine"(%o, %g) : (tensor<?x1x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
