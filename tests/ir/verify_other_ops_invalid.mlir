// RUN: %not %hmoec-opt --verify %s 2>&1 | %FileCheck %s --implicit-check-not="error:"
module {
  module {}
  func.func @f(%x: tensor<?x4xf32> {hmoe.name = "a b"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
    return %x : tensor<?x4xf32>
  }
}
// What follows an op that is no function is checked all the same.
// CHECK: verify_other_ops_invalid.mlir:3:3: error: expected functions in a model, found builtin.module
// CHECK: verify_other_ops_invalid.mlir:4:3: error: the name "a b" of argument 0 is not an identifier
