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
// CHECK: [[@LINE+1]]:1: error: expected pad_token to be a token of at least 0, or none, found -2
func.func @token(%x: tensor<4xf32> {hmoe.name = "x"}) -> (tensor<4xf32> {hmoe.name = "y"}) attributes {hmoe.generation = {pad_token = array<i64: -2>}} {
  return %x : tensor<4xf32>
}
// CHECK: [[@LINE+1]]:1: error: expected pad_token of hmoe.generation to be array<i64: ...>
func.func @token_type(%x: tensor<4xf32> {hmoe.name = "x"}) -> (tensor<4xf32> {hmoe.name = "y"}) attributes {hmoe.generation = {pad_token = 1 : i64}} {
  return %x : tensor<4xf32>
}
// CHECK: [[@LINE+1]]:1: error: expected top_p of hmoe.generation to be an f64
func.func @number_type(%x: tensor<4xf32> {hmoe.name = "x"}) -> (tensor<4xf32> {hmoe.name = "y"}) attributes {hmoe.generation = {top_p = 1.0 : f32}} {
  return %x : tensor<4xf32>
}
// CHECK: [[@LINE+1]]:1: error: expected bad_words to be lists of tokens
func.func @words(%x: tensor<4xf32> {hmoe.name = "x"}) -> (tensor<4xf32> {hmoe.name = "y"}) attributes {hmoe.generation = {bad_words = array<i64: 1, -1, 2>}} {
  return %x : tensor<4xf32>
}
// CHECK: [[@LINE+1]]:1: error: hmoe.generation: there is no setting 'beam'
func.func @setting(%x: tensor<4xf32> {hmoe.name = "x"}) -> (tensor<4xf32> {hmoe.name = "y"}) attributes {hmoe.generation = {beam = array<i64: 1>}} {
  return %x : tensor<4xf32>
}
// CHECK: [[@LINE+1]]:1: error: expected hmoe.generation to be a dictionary
func.func @dictionary(%x: tensor<4xf32> {hmoe.name = "x"}) -> (tensor<4xf32> {hmoe.name = "y"}) attributes {hmoe.generation = 1 : i64} {
  return %x : tensor<4xf32>
}
// CHECK: [[@LINE+1]]:1: error: min_length = 3 is more than max_length = 2
func.func @order(%x: tensor<4xf32> {hmoe.name = "x"}) -> (tensor<4xf32> {hmoe.name = "y"}) attributes {hmoe.generation = {min_length = array<i64: 3>, max_length = array<i64: 2>}} {
  return %x : tensor<4xf32>
}
