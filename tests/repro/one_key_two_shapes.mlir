// Two parameters of one key and different shapes compiled, and no checkpoint could be opened.

// RUN: (%hmoec compile %s -o %t; echo "status $?") 2>&1 | %FileCheck %s --implicit-check-not=internal
// CHECK: one_key_two_shapes.mlir:{{[0-9]+:[0-9]+}}: error: parameter "a" stands in line {{[0-9]+}} with another shape
// CHECK: status 1

func.func @f(%x: tensor<?x5xf32> {hmoe.name = "x"}) -> (tensor<?x3xf32> {hmoe.name = "y0"}, tensor<?x4xf32> {hmoe.name = "y1"}) {
  %v1 = "hmoe.parameter"() {key = "a", count = 0 : i64} : () -> (tensor<3x5xf32>)
  %v2 = "hmoe.linear"(%x, %v1) {} : (tensor<?x5xf32>, tensor<3x5xf32>) -> (tensor<?x3xf32>)
  %v3 = "hmoe.parameter"() {key = "a", count = 0 : i64} : () -> (tensor<4x5xf32>)
  %v4 = "hmoe.linear"(%x, %v3) {} : (tensor<?x5xf32>, tensor<4x5xf32>) -> (tensor<?x4xf32>)
  return %v2, %v4 : tensor<?x3xf32>, tensor<?x4xf32>
}
