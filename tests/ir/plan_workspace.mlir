// RUN: %hmoec-opt --plan-workspace %s | %FileCheck %s

// Three buffers in a row: the third takes the place of the first, whose last step is over. Other rows, another slot.
// CHECK-LABEL: func.func @run
// CHECK: shape = array<i64: 0, 8>, slot = 0
// CHECK: shape = array<i64: 0, 16>, slot = 1
// CHECK: "hmk.map_rows"
// CHECK: shape = array<i64: 0, 24>, slot = 0
// CHECK: shape = array<i64: 4, 8>, slot = 2
func.func @run() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  %x = "hmk.buffer"() {layout = {row_bytes = 32 : i64}, kind = "input", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  %a = "hmk.buffer"() {layout = {row_bytes = 32 : i64}, kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  %b = "hmk.buffer"() {layout = {row_bytes = 64 : i64}, kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 16>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  "hmk.map_rows"(%x, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %b) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  %c = "hmk.buffer"() {layout = {row_bytes = 96 : i64}, kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 24>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  %f = "hmk.buffer"() {layout = {row_bytes = 32 : i64}, kind = "workspace", role = "plain", element = "f32", shape = array<i64: 4, 8>, index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  "hmk.map_rows"(%b, %c) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%c, %f) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  return
}

// A loop keeps what its body uses alive until its end: %a may not be reused inside.
// CHECK-LABEL: func.func @looped
// CHECK: slot = 0
// CHECK: slot = 1
// CHECK: slot = 2
func.func @looped() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  %a = "hmk.buffer"() {layout = {row_bytes = 32 : i64}, kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  %b = "hmk.buffer"() {layout = {row_bytes = 32 : i64}, kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  %c = "hmk.buffer"() {layout = {row_bytes = 32 : i64}, kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  "hmk.loop"() {bind = [], rows = 0 : i64, body = 2 : i64, kind = "rows", chunk = 16 : i64, top_k = 0 : i64, generate = 0 : i64, cache = -1 : i64} : () -> ()
  "hmk.map_rows"(%a, %b) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%b, %c) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  return
}

// What the second way of a choose keeps between its steps takes no place of what both ways read or write. bf16 takes half.
// CHECK-LABEL: func.func @chosen
// CHECK: element = "f32"{{.*}}slot = 0
// CHECK: element = "f32"{{.*}}slot = 1
// CHECK: element = "bf16"{{.*}}slot = 2
// CHECK: element = "f32"{{.*}}slot = 0
func.func @chosen() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  %a = "hmk.buffer"() {layout = {row_bytes = 32 : i64}, kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  %y = "hmk.buffer"() {layout = {row_bytes = 32 : i64}, kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  %h = "hmk.buffer"() {layout = {row_bytes = 16 : i64}, kind = "workspace", role = "plain", element = "bf16", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  %b = "hmk.buffer"() {layout = {row_bytes = 32 : i64}, kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  "hmk.choose"() {bind = [], rows = 0 : i64, first = 1 : i64, second = 2 : i64} : () -> ()
  "hmk.map_rows"(%a, %y) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %h) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%h, %y) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%y, %b) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  return
}
