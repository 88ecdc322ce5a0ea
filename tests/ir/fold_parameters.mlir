// RUN: %hmoec-opt --fold-parameters %s | %FileCheck %s

// A HyperRouter: its hypernetwork reads parameters alone, so the router it makes is constant; what touches x is not.
// CHECK-LABEL: func.func @hyper_router
// CHECK: "hmoe.linear"({{.*}}) {at_open} : (tensor<1x6xf32>
// CHECK: "hmoe.activate"({{.*}}) {at_open
// CHECK: "hmoe.reshape"({{.*}}) {at_open
// CHECK: "hmoe.slice"({{.*}}) {at_open, begin = 0
// CHECK: "hmoe.slice"({{.*}}) {at_open, begin = 6
// CHECK: "hmoe.linear"(%{{[^)]*}}) : (tensor<?x6xf32>
func.func @hyper_router(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  %e = "hmoe.parameter"() {key = "e", count = 0 : i64} : () -> tensor<1x6xf32>
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<28x6xf32>
  %o = "hmoe.linear"(%e, %w) : (tensor<1x6xf32>, tensor<28x6xf32>) -> tensor<1x28xf32>
  %a = "hmoe.activate"(%o) {function = "relu"} : (tensor<1x28xf32>) -> tensor<1x28xf32>
  %m = "hmoe.reshape"(%a) {shape = array<i64: 4, 7>} : (tensor<1x28xf32>) -> tensor<4x7xf32>
  %router = "hmoe.slice"(%m) {begin = 0 : i64, end = 6 : i64, squeeze = 0 : i64} : (tensor<4x7xf32>) -> tensor<4x6xf32>
  %bias = "hmoe.slice"(%m) {begin = 6 : i64, end = 7 : i64, squeeze = 1 : i64} : (tensor<4x7xf32>) -> tensor<4xf32>
  %y = "hmoe.linear"(%x, %router, %bias) : (tensor<?x6xf32>, tensor<4x6xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
