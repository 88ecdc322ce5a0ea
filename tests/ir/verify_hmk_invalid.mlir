// RUN: %not %hmoec-opt --plan-workspace --verify %s 2>&1 | %FileCheck %s

// CHECK: error: expected copy to bind src
func.func @run() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  %a = "hmk.buffer"() {kind = "weight", role = "plain", element = "f32", shape = array<i64: 8, 3>, index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  "hmk.copy"(%a) {bind = ["dst"], depth = 0 : i64, rows = -1 : i64, args = array<i64: 0, 0, 0, 0, 0, 0, 0>} : (!hmk.memory) -> ()
  // CHECK: error: expected copy to bind dst
  "hmk.copy"(%a) {bind = ["src"], depth = 0 : i64, rows = -1 : i64, args = array<i64: 0, 0, 0, 0, 0, 0, 0>} : (!hmk.memory) -> ()
  // CHECK: error: buffer 1 of copy has no role that the op knows
  "hmk.copy"(%a, %a) {bind = ["dst", "source"], depth = 0 : i64, rows = -1 : i64, args = array<i64: 0, 0, 0, 0, 0, 0, 0>} : (!hmk.memory, !hmk.memory) -> ()
  // CHECK: error: expected 7 integers in args of copy, found 1
  "hmk.copy"(%a, %a) {bind = ["dst", "src"], depth = 0 : i64, rows = -1 : i64, args = array<i64: 0>} : (!hmk.memory, !hmk.memory) -> ()
  // CHECK: error: expected rows of copy to be a dimension below 1, found 3
  "hmk.copy"(%a, %a) {bind = ["dst", "src"], depth = 0 : i64, rows = 3 : i64, args = array<i64: 0, 0, 0, 0, 0, 0, 0>} : (!hmk.memory, !hmk.memory) -> ()
  // CHECK: error: expected at of copy to have one entry for each of its 2 buffers
  "hmk.copy"(%a, %a) {bind = ["dst", "src"], at = array<i64: 0>, depth = 0 : i64, rows = -1 : i64} : (!hmk.memory, !hmk.memory) -> ()
  // CHECK: error: expected apart of copy to be -1 or more
  "hmk.copy"(%a, %a) {bind = ["dst", "src"], apart = array<i64: -1, -2>, depth = 0 : i64, rows = -1 : i64} : (!hmk.memory, !hmk.memory) -> ()
  // CHECK: error: expected offsets of copy to be 0 or more
  "hmk.copy"(%a, %a) {bind = ["dst", "src"], offsets = array<i64: 0, -4>, depth = 0 : i64, rows = -1 : i64} : (!hmk.memory, !hmk.memory) -> ()
  // CHECK: error: expected bind of copy to have one entry for each of its 2 buffers
  "hmk.copy"(%a, %a) {bind = ["dst"], depth = 0 : i64, rows = -1 : i64} : (!hmk.memory, !hmk.memory) -> ()
  // CHECK: error: expected a buffer role of plain, rows, right, vector, table, keys, values or distances
  %r = "hmk.buffer"() {kind = "weight", role = "left", element = "f32", shape = array<i64: 8, 3>, index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  // CHECK: error: expected a buffer shape of 3 dimensions for role right, found 2
  %s = "hmk.buffer"() {kind = "weight", role = "right", element = "f32", shape = array<i64: 8, 3>, index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  // CHECK: error: expected the columns of this buffer to be those of 2 generated rows
  %g = "hmk.buffer"() {kind = "weight", role = "right", element = "f32", shape = array<i64: 1, 8, 3>, generated_rows = 2 : i64, generates = "bf16", index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  // CHECK: error: expected a buffer kind
  %b = "hmk.buffer"() {kind = "pocket", role = "plain", element = "f32", shape = array<i64: 8, 3>, index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  // CHECK: error: expected a buffer element of f32, i32, i64 or bf16
  %c = "hmk.buffer"() {kind = "weight", role = "plain", element = "f16", shape = array<i64: 8, 3>, index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  // CHECK: error: expected 23 integers in args of pack, found 1
  "hmk.pack"(%a, %a) {bind = ["dst", "source"], rows = -1 : i64, args = array<i64: 0>} : (!hmk.memory, !hmk.memory) -> ()
  // CHECK: error: expected grouped_ffn to bind first_b
  "hmk.grouped_ffn"(%a, %a, %a) {bind = ["a", "b", "c"], rows = 0 : i64, k = 32 : i64, n = 32 : i64, format = "f32", a_format = "f32", c_format = "f32", first_format = "f32", first_a_format = "f32", first_c_format = "f32", flags = [], segments = [1, "none", false, false], dropped = array<i64: 0, 0>, norm = "none", norm_epsilon = 0.0 : f64, norm_scale = 1.0 : f64, first_k = 32 : i64, first_n = 32 : i64, first_flags = [], first_segments = [1, "relu", false, false], first_dropped = array<i64: 0, 0>} : (!hmk.memory, !hmk.memory, !hmk.memory) -> ()
  // CHECK: error: a loop's body reaches past the end
  "hmk.loop"() {bind = [], rows = 0 : i64, body = 2 : i64, kind = "rows", chunk = 16 : i64, top_k = 0 : i64, generate = 0 : i64, cache = -1 : i64} : () -> ()
  return
}
