// RUN: %hmoec-opt --fold-layer-embedding %s | %FileCheck %s

// CHECK-LABEL: func.func @bias
// CHECK-NOT: append_row
// CHECK: %[[ROW:.*]] = "hmoe.take_row"(%{{.*}}) {row = 2 : i64} : (tensor<3x2xf32>) -> tensor<1x2xf32>
// CHECK: %[[LEFT:.*]] = "hmoe.slice"({{.*}}begin = 0 : i64, end = 6 : i64
// CHECK: %[[RIGHT:.*]] = "hmoe.slice"({{.*}}begin = 6 : i64, end = 8 : i64
// CHECK: %[[CONSTANT:.*]] = "hmoe.linear"(%[[ROW]], %[[RIGHT]], %{{.*}}) : {{.*}} -> tensor<1x7xf32>
// CHECK: %[[BIAS:.*]] = "hmoe.reshape"(%[[CONSTANT]])
// CHECK: "hmoe.linear"(%{{.*}}, %[[LEFT]], %[[BIAS]]) : {{.*}} -> tensor<?x7xf32>
func.func @bias(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x7xf32> {hmoe.name = "y"}) {
  %layers = "hmoe.parameter"() {key = "layers", count = 0 : i64} : () -> tensor<3x2xf32>
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<7x8xf32>
  %b = "hmoe.parameter"() {key = "b", count = 0 : i64} : () -> tensor<7xf32>
  %a = "hmoe.append_row"(%x, %layers) {row = 2 : i64} : (tensor<?x6xf32>, tensor<3x2xf32>) -> tensor<?x8xf32>
  %y = "hmoe.linear"(%a, %w, %b) : (tensor<?x8xf32>, tensor<7x8xf32>, tensor<7xf32>) -> tensor<?x7xf32>
  return %y : tensor<?x7xf32>
}

// Without a bias the constant is the bias; the appended rows stay for their other user.
// CHECK-LABEL: func.func @other_user
// CHECK: "hmoe.append_row"
// CHECK: "hmoe.linear"(%{{[^,]*}}, %{{[^,]*}}) : (tensor<1x2xf32>
// CHECK: "hmoe.activate"
func.func @other_user(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x7xf32> {hmoe.name = "y"}, tensor<?x8xf32> {hmoe.name = "z"}) {
  %layers = "hmoe.parameter"() {key = "layers", count = 0 : i64} : () -> tensor<3x2xf32>
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<7x8xf32>
  %a = "hmoe.append_row"(%x, %layers) {row = 0 : i64} : (tensor<?x6xf32>, tensor<3x2xf32>) -> tensor<?x8xf32>
  %y = "hmoe.linear"(%a, %w) : (tensor<?x8xf32>, tensor<7x8xf32>) -> tensor<?x7xf32>
  %z = "hmoe.activate"(%a) {function = "relu"} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y, %z : tensor<?x7xf32>, tensor<?x8xf32>
}

// Nothing appended, nothing done.
// CHECK-LABEL: func.func @plain
// CHECK-NOT: take_row
// CHECK: "hmoe.linear"
// CHECK-NOT: take_row
func.func @plain(%x: tensor<?x6xf32> {hmoe.name = "x"}) -> (tensor<?x7xf32> {hmoe.name = "y"}) {
  %w = "hmoe.parameter"() {key = "w", count = 0 : i64} : () -> tensor<7x6xf32>
  %y = "hmoe.linear"(%x, %w) : (tensor<?x6xf32>, tensor<7x6xf32>) -> tensor<?x7xf32>
  return %y : tensor<?x7xf32>
}
