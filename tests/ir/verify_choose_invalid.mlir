// RUN: %not %hmoec-opt --plan-workspace --verify %s 2>&1 | %FileCheck %s
// RUN: sed '/error: a loo[p]/,$d' %s > %t.mlir; %not %hmoec-opt --plan-workspace --verify %t.mlir 2>&1 | %FileCheck %s --check-prefix=ALONE

// ALONE: error: a choose cannot stand in a choose
// ALONE-NOT: module

// Both in a loop and outside one: nothing to say.
// CHECK-NOT: error
func.func @legal() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  %a = "hmk.buffer"() {kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  "hmk.choose"() {bind = [], rows = 0 : i64, first = 1 : i64, second = 1 : i64} : () -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.loop"() {bind = [], rows = 0 : i64, body = 4 : i64, kind = "rows", chunk = 16 : i64, top_k = 0 : i64, generate = 0 : i64, cache = -1 : i64} : () -> ()
  "hmk.choose"() {bind = [], rows = 0 : i64, first = 1 : i64, second = 2 : i64} : () -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  return
}
// CHECK: error: a choose cannot stand in a choose
func.func @nested() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  %a = "hmk.buffer"() {kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  "hmk.choose"() {bind = [], rows = 0 : i64, first = 2 : i64, second = 1 : i64} : () -> ()
  "hmk.choose"() {bind = [], rows = 0 : i64, first = 1 : i64, second = 1 : i64} : () -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  return
}
// CHECK: error: a loop cannot stand in a choose
func.func @loop_inside() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  %a = "hmk.buffer"() {kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  "hmk.choose"() {bind = [], rows = 0 : i64, first = 2 : i64, second = 1 : i64} : () -> ()
  "hmk.loop"() {bind = [], rows = 0 : i64, body = 1 : i64, kind = "rows", chunk = 16 : i64, top_k = 0 : i64, generate = 0 : i64, cache = -1 : i64} : () -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  return
}
// CHECK: error: expected a choose of two ways of 1 step or more
func.func @one_way() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  %a = "hmk.buffer"() {kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  "hmk.choose"() {bind = [], rows = 0 : i64, first = 1 : i64, second = 0 : i64} : () -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  return
}
// CHECK: error: the ways of a choose reach past the end of its loop
func.func @out_of_loop() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  %a = "hmk.buffer"() {kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  "hmk.loop"() {bind = [], rows = 0 : i64, body = 2 : i64, kind = "rows", chunk = 16 : i64, top_k = 0 : i64, generate = 0 : i64, cache = -1 : i64} : () -> ()
  "hmk.choose"() {bind = [], rows = 0 : i64, first = 1 : i64, second = 1 : i64} : () -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  return
}
// CHECK: error: the ways of a choose reach past the end of the function
func.func @out_of_function() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  %a = "hmk.buffer"() {kind = "workspace", role = "plain", element = "f32", shape = array<i64: 0, 8>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  "hmk.choose"() {bind = [], rows = 0 : i64, first = 2 : i64, second = 2 : i64} : () -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %a) {bind = ["in", "out"], rows = 0 : i64, function = "relu", scale = 1.0, in_step = 1 : i64, factor_columns = 0 : i64, n = 8 : i64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  return
}
