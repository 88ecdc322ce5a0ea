// RUN: %not %hmoec-opt --verify %s 2>&1 | %FileCheck %s

func.func @f(%x: tensor<?x4xf32> {hmoe.name = "x"}) -> (tensor<?x4xf32> {hmoe.name = "y"}) {
  // CHECK: verify_unknown_op.mlir:[[@LINE+3]]:8: error: unregistered operation 'hmoe.softmax'
  // CHECK-NEXT: %y = "hmoe.softmax"(%x)
  // CHECK-NEXT: {{^       \^}}
  %y = "hmoe.softmax"(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
