// The runtime takes at most 4096 experts a token; compiling said nothing, and open failed.

// RUN: (%hmoec compile %s -o %t; echo "status $?") 2>&1 | %FileCheck %s --implicit-check-not=internal
// CHECK: too_many_selected.mlir:{{[0-9]+:[0-9]+}}: error: route: expected top_k to be at most 4096, found 4097
// CHECK: status 1

func.func @f(%x: tensor<?x5xf32> {hmoe.name = "x"}) -> (tensor<?x4097xf32> {hmoe.name = "y0"}) {
  %v1 = "hmoe.parameter"() {key = "router", count = 0 : i64} : () -> (tensor<5000x5xf32>)
  %v2 = "hmoe.linear"(%x, %v1) {} : (tensor<?x5xf32>, tensor<5000x5xf32>) -> (tensor<?x5000xf32>)
  %v3, %v4, %v5 = "hmoe.route"(%v2) {top_k = 4097 : i64, gate = "softmax_then_topk", capacity = 0 : i64} : (tensor<?x5000xf32>) -> (tensor<?x4097xi32>, tensor<?x4097xf32>, tensor<?x4097xi1>)
  return %v4 : tensor<?x4097xf32>
}
