// RUN: %not %hmoec-opt --plan-workspace --verify %s 2>&1 | %FileCheck %s --implicit-check-not=error:

// Dimensions, sizes and loops that are out of range, one mistake an op.

func.func @run() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  %a = "hmk.buffer"() {kind = "weight", role = "plain", element = "f32", shape = array<i64: 8, 3>, index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  // CHECK: error: expected the buffer's dim to be a dimension below 1, found 1
  %d0 = "hmk.buffer"() {kind = "weight", role = "plain", element = "f32", shape = array<i64: 8, 3>, index = 0 : i64, dim = 1 : i64, slot = -1 : i64} : () -> !hmk.memory
  // CHECK: error: expected the buffer's dim to be a dimension below 1, found -2
  %d1 = "hmk.buffer"() {kind = "weight", role = "plain", element = "f32", shape = array<i64: 8, 3>, index = 0 : i64, dim = -2 : i64, slot = -1 : i64} : () -> !hmk.memory
  // CHECK: error: expected a buffer shape of 1 to 4 dimensions, found 5
  %s0 = "hmk.buffer"() {kind = "weight", role = "plain", element = "f32", shape = array<i64: 1, 1, 1, 1, 1>, index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  // CHECK: error: the size of this buffer is negative or does not fit 63 bits
  %s1 = "hmk.buffer"() {kind = "weight", role = "plain", element = "f32", shape = array<i64: -1, 3>, index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  // CHECK: error: the size of this buffer is negative or does not fit 63 bits
  %s2 = "hmk.buffer"() {kind = "weight", role = "plain", element = "f32", shape = array<i64: 4611686018427387904, 3>, index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  // CHECK: error: the size of this buffer is negative or does not fit 63 bits
  %s3 = "hmk.buffer"() {kind = "weight", role = "plain", element = "f32", shape = array<i64: 8, -3>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  // CHECK: error: expected dims of copy to be dimensions below 1, found 1
  "hmk.copy"(%a, %a) {bind = ["dst", "src"], dims = array<i64: 0, 1>, depth = 0 : i64, rows = -1 : i64} : (!hmk.memory, !hmk.memory) -> ()
  // CHECK: error: expected dims of copy to be dimensions below 1, found -2
  "hmk.copy"(%a, %a) {bind = ["dst", "src"], dims = array<i64: 0, -2>, depth = 0 : i64, rows = -1 : i64} : (!hmk.memory, !hmk.memory) -> ()
  return
}
// CHECK: error: expected functions with hmk.dims, triples of kind, source and factor
func.func @no_dims() {
  return
}
// CHECK: error: expected functions with hmk.dims, triples of kind, source and factor
func.func @two_of_three() attributes {hmk.dims = array<i64: 0, 0>} {
  return
}
func.func @loops() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  // CHECK: error: expected a loop of chunk >= 1 with 0 <= generate <= body
  "hmk.loop"() {bind = [], rows = 0 : i64, body = 0 : i64, kind = "rows", chunk = 0 : i64, top_k = 0 : i64, generate = 0 : i64, cache = -1 : i64} : () -> ()
  // CHECK: error: expected a loop of chunk >= 1 with 0 <= generate <= body
  "hmk.loop"() {bind = [], rows = 0 : i64, body = 0 : i64, kind = "rows", chunk = 16 : i64, top_k = 0 : i64, generate = 1 : i64, cache = -1 : i64} : () -> ()
  // CHECK: error: expected a loop of chunk >= 1 with 0 <= generate <= body
  "hmk.loop"() {bind = [], rows = 0 : i64, body = 0 : i64, kind = "rows", chunk = 16 : i64, top_k = 0 : i64, generate = -1 : i64, cache = -1 : i64} : () -> ()
  // CHECK: error: expected a loop of chunk >= 1 with 0 <= generate <= body
  "hmk.loop"() {bind = [], rows = 0 : i64, body = -1 : i64, kind = "rows", chunk = 16 : i64, top_k = 0 : i64, generate = 0 : i64, cache = -1 : i64} : () -> ()
  "hmk.loop"() {bind = [], rows = 0 : i64, body = 1 : i64, kind = "rows", chunk = 16 : i64, top_k = 0 : i64, generate = 1 : i64, cache = -1 : i64} : () -> ()
  // CHECK: error: loops cannot be nested
  "hmk.loop"() {bind = [], rows = 0 : i64, body = 0 : i64, kind = "rows", chunk = 1 : i64, top_k = 0 : i64, generate = 0 : i64, cache = -1 : i64} : () -> ()
  return
}
