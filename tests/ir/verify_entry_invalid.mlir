// RUN: %not %hmoec-opt --verify %s 2>&1 | %FileCheck %s

// What arguments and functions carry (ir/entry.h), one mistake a function.

// CHECK: [[@LINE+1]]:1: error: argument 0: expected hmoe.dims to name the 1 dimensions that are known at run time only
func.func @dims_count(%x: tensor<?x4xf32> {hmoe.name = "x", hmoe.dims = ["n", "m"]}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  return %x : tensor<?x4xf32>
}
// CHECK: [[@LINE+1]]:1: error: argument 0: expected hmoe.dims to name the 1 dimensions that are known at run time only
func.func @dims_form(%x: tensor<?x4xf32> {hmoe.name = "x", hmoe.dims = "n"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  return %x : tensor<?x4xf32>
}
// CHECK: [[@LINE+1]]:1: error: argument 0: expected the names in hmoe.dims to be strings
func.func @dims_element(%x: tensor<?x4xf32> {hmoe.name = "x", hmoe.dims = [3]}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  return %x : tensor<?x4xf32>
}
// CHECK: [[@LINE+1]]:1: error: "a b" cannot name a dimension of argument 0: it is not an identifier
func.func @dims_identifier(%x: tensor<?x4xf32> {hmoe.name = "x", hmoe.dims = ["a b"]}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  return %x : tensor<?x4xf32>
}
// CHECK: [[@LINE+1]]:1: error: "y" cannot name a dimension of argument 0: it is the name of an input or output
func.func @dims_taken(%x: tensor<?x4xf32> {hmoe.name = "x", hmoe.dims = ["y"]}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  return %x : tensor<?x4xf32>
}
// CHECK: [[@LINE+1]]:1: error: "tokens" cannot name a dimension of argument 0: it is the name of an input or output
func.func @dims_unnamed(%x: tensor<?x4xf32> {hmoe.name = "tokens"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  return %x : tensor<?x4xf32>
}
// CHECK: [[@LINE+1]]:1: error: argument 0: only i32 and i64 inputs have a default
func.func @default_element(%x: tensor<4xf32> {hmoe.name = "x", hmoe.default = 1 : i64}) -> (tensor<4xf32> {hmoe.name = "y"}) {
  return %x : tensor<4xf32>
}
// CHECK: [[@LINE+1]]:1: error: argument 0: expected hmoe.default to be an i64
func.func @default_form(%x: tensor<4xi32> {hmoe.name = "x", hmoe.default = 1 : i32}) -> (tensor<4xi32> {hmoe.name = "y"}) {
  return %x : tensor<4xi32>
}
// CHECK: [[@LINE+1]]:1: error: argument 0: the default 4294967296 does not fit in 32 bits
func.func @default_range(%x: tensor<4xi32> {hmoe.name = "x", hmoe.default = 4294967296 : i64}) -> (tensor<4xi32> {hmoe.name = "y"}) {
  return %x : tensor<4xi32>
}
// CHECK: [[@LINE+1]]:1: error: expected hmoe.pad_token to be an i64 of at least -1 that fits 31 bits
func.func @token(%x: tensor<4xf32> {hmoe.name = "x"}) -> (tensor<4xf32> {hmoe.name = "y"}) attributes {hmoe.pad_token = -2 : i64} {
  return %x : tensor<4xf32>
}
