// RUN: %not %hmoec-opt --verify %s 2>&1 | %FileCheck %s

// One mistake a function; all are reported, each at its line.

// CHECK-DAG: [[@LINE+1]]:1: error: function @three: expected one or two arguments of f32, and one result of f32
func.func private @three(%a: f32, %b: f32, %c: f32) -> f32 {
  return %a : f32
}
// CHECK-DAG: [[@LINE+1]]:1: error: function @double: expected one or two arguments of f32, and one result of f32
func.func private @double(%a: f64) -> f64 {
  return %a : f64
}
// CHECK-DAG: [[@LINE+1]]:1: error: function @declared has no body
func.func private @declared(%a: f32) -> f32
// CHECK-DAG: [[@LINE+2]]:8: error: function @index: expected values of f32, f64, i1, i8, i16, i32 or i64
func.func private @index(%a: f32) -> f32 {
  %i = arith.constant 3 : index
  return %a : f32
}
// CHECK-DAG: [[@LINE+3]]:8: error: function @divides: expected arith.divsi by a constant that is not 0
func.func private @divides(%a: f32) -> f32 {
  %i = arith.fptosi %a : f32 to i32
  %j = arith.divsi %i, %i : i32
  %y = arith.sitofp %j : i32 to f32
  return %y : f32
}
// CHECK-DAG: [[@LINE+2]]:8: error: function @calls: func.call is not an op of scalar functions
func.func private @calls(%a: f32) -> f32 {
  %y = func.call @calls(%a) : (f32) -> f32
  return %y : f32
}
// CHECK-DAG: [[@LINE+1]]:1: error: a function cannot be named decode: entries of models are
func.func private @decode(%a: f32) -> f32 {
  return %a : f32
}
func.func private @pair(%a: f32, %b: f32) -> f32 {
  return %b : f32
}
func.func @model(%x: tensor<?x8xf32> {hmoe.name = "x"}) -> (tensor<?x8xf32> {hmoe.name = "y"}) {
  // CHECK-DAG: [[@LINE+1]]:8: error: activate: function names the function @nothing, which is not there
  %y = "hmoe.activate"(%x) {function = "@nothing"} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK-DAG: [[@LINE+1]]:8: error: activate: expected function to be a function of one argument, @pair has 2
  %z = "hmoe.activate"(%y) {function = "@pair"} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}
