// RUN: %hmoec-opt --fold-duplicates %s | %FileCheck %s

// CHECK-LABEL: func.func @equal
// CHECK-COUNT-1: "hmoe.parameter"
// CHECK: %[[A:.*]] = "hmoe.linear"
// CHECK-NOT: "hmoe.linear"
// CHECK: "hmoe.add"(%[[A]], %[[A]])
func.func @equal(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x7xf32> {hmoe.name = "y"}) {
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<7x6xf32>
  %v = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<7x6xf32>
  %a = "hmoe.linear"(%x, %w) : (tensor<?x6xf32>, tensor<7x6xf32>) -> tensor<?x7xf32>
  %b = "hmoe.linear"(%x, %v) : (tensor<?x6xf32>, tensor<7x6xf32>) -> tensor<?x7xf32>
  %y = "hmoe.add"(%a, %b) : (tensor<?x7xf32>, tensor<?x7xf32>) -> tensor<?x7xf32>
  return %y : tensor<?x7xf32>
}

// What nothing uses goes, with what only it used.
// CHECK-LABEL: func.func @unused
// CHECK-NOT: "hmoe.{{[a-z]}}
// CHECK: return
func.func @unused(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<7x6xf32>
  %a = "hmoe.linear"(%x, %w) : (tensor<?x6xf32>, tensor<7x6xf32>) -> tensor<?x7xf32>
  return %x : tensor<?x6xf32>
}

// Ops that differ in an attribute or an operand stay.
// CHECK-LABEL: func.func @different
// CHECK: "hmoe.activate"({{.*}}) {function = "relu"}
// CHECK: "hmoe.activate"({{.*}}) {function = "silu"}
// CHECK: "hmoe.add"
func.func @different(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y"}) {
  %a = "hmoe.activate"(%x) {function = "relu"} : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %b = "hmoe.activate"(%x) {function = "silu"} : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %y = "hmoe.add"(%a, %b) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// What is no function stays.
// CHECK: arith.constant 1
%c = arith.constant 1 : i32
