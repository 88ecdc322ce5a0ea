// A sum of two vectors at open was planned as a matrix with as many rows as columns; it is one row.

// RUN: %hmoec check %s --tokens 5 | %FileCheck %s --implicit-check-not=WRONG
// CHECK: y0 {{.*}} ok

func.func @f(%x: tensor<?x5xf32> {hmoe.name = "x"}) -> (tensor<?x6xf32> {hmoe.name = "y0"}) {
  %v1 = "hmoe.parameter"() {key = "a", count = 0 : i64} : () -> (tensor<6x5xf32>)
  %v2 = "hmoe.parameter"() {key = "b", count = 0 : i64} : () -> (tensor<6xf32>)
  %v3 = "hmoe.parameter"() {key = "c", count = 0 : i64} : () -> (tensor<6xf32>)
  %v4 = "hmoe.add"(%v2, %v3) {} : (tensor<6xf32>, tensor<6xf32>) -> (tensor<6xf32>)
  %v5 = "hmoe.linear"(%x, %v1, %v4) {} : (tensor<?x5xf32>, tensor<6x5xf32>, tensor<6xf32>) -> (tensor<?x6xf32>)
  return %v5 : tensor<?x6xf32>
}
