// RUN: %hmoec-opt --place %s | %FileCheck %s

// Weights and what is in a cache begin at multiples of 64 bytes; every cache has a memory of its own.
// CHECK: hmk.weight_bytes = 128 : i64
// CHECK: index = 0 : i64, kind = "weight", layout = {offset = 0 : i64, row_bytes = 20 : i64}
// CHECK: index = 1 : i64, kind = "weight", layout = {offset = 64 : i64, row_bytes = 20 : i64}
// CHECK: index = 0 : i64, kind = "cache", layout = {offset = 0 : i64, row_bytes = 20 : i64}
// CHECK: index = 0 : i64, kind = "cache", layout = {offset = 64 : i64, row_bytes = 20 : i64}
// CHECK: index = 1 : i64, kind = "cache", layout = {offset = 0 : i64, row_bytes = 20 : i64}

// Rows that may be read in place are, where a product has all of their columns, from the first row on, as many as there are.
// CHECK: "hmk.grouped_matmul"{{.*}}a_in_place = 1 : i64{{.*}}c_padded = 1 : i64
// CHECK: "hmk.grouped_matmul"{{.*}}advances = array<i64: 192, 0, 0>{{.*}}a_in_place = 0 : i64
// CHECK: "hmk.grouped_matmul"{{.*}}k = 30{{.*}}a_in_place = 0 : i64
// CHECK: "hmk.grouped_matmul"{{.*}}a_in_place = 0 : i64{{.*}}offsets = array<i64: 192, 0, 0>

// Columns behind those that a product writes may be others'.
// CHECK: "hmk.grouped_matmul"{{.*}}a_in_place = 1 : i64{{.*}}c_padded = 0 : i64{{.*}}offsets = array<i64: 0, 0, 128>

// What is added to keeps its padding, and so do columns that are followed by others.
// CHECK: "hmk.map_rows"{{.*}}padding = 24 : i64
// CHECK: "hmk.map_rows"{{.*}}padding = 0 : i64
// CHECK: "hmk.map_rows"{{.*}}padding = 0 : i64
module attributes {hmk.dtype = "f32", hmk.target = "cpu", hmk.schedule = {target.row_stride = 48 : i64}} {
func.func @run() attributes {hmk.dims = array<i64: 0, 0, 0>} {
  %w = "hmk.buffer"() {kind = "weight", role = "plain", element = "f32", shape = array<i64: 1, 5>, index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  %v = "hmk.buffer"() {kind = "weight", role = "plain", element = "f32", shape = array<i64: 1, 5>, index = 1 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  %c0 = "hmk.buffer"() {kind = "cache", role = "plain", element = "f32", shape = array<i64: 1, 5>, index = 0 : i64, part = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  %c1 = "hmk.buffer"() {kind = "cache", role = "plain", element = "f32", shape = array<i64: 1, 5>, index = 0 : i64, part = 1 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  %c2 = "hmk.buffer"() {kind = "cache", role = "plain", element = "f32", shape = array<i64: 1, 5>, index = 1 : i64, part = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  %a = "hmk.buffer"() {kind = "workspace", role = "rows", in_place, element = "f32", shape = array<i64: 0, 40>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  %b = "hmk.buffer"() {kind = "workspace", role = "right", element = "f32", shape = array<i64: 1, 40, 32>, index = 0 : i64, dim = -1 : i64, slot = -1 : i64} : () -> !hmk.memory
  %c = "hmk.buffer"() {kind = "workspace", role = "rows", element = "f32", shape = array<i64: 0, 72>, index = 0 : i64, dim = 0 : i64, slot = -1 : i64} : () -> !hmk.memory
  "hmk.grouped_matmul"(%a, %b, %c) {bind = ["a", "b", "c"], rows = 0 : i64, k = 40 : i64, n = 32 : i64, format = "f32", a_format = "f32", c_format = "f32", flags = [], segments = [32, "none", false, false], dropped = array<i64: 32, 40>, norm = "none", norm_epsilon = 0.0 : f64, norm_scale = 1.0 : f64} : (!hmk.memory, !hmk.memory, !hmk.memory) -> ()
  "hmk.grouped_matmul"(%a, %b, %c) {bind = ["a", "b", "c"], by = array<i64: 1, 0, 0>, rows = 0 : i64, k = 40 : i64, n = 32 : i64, format = "f32", a_format = "f32", c_format = "f32", flags = [], segments = [32, "none", false, false], dropped = array<i64: 32, 40>, norm = "none", norm_epsilon = 0.0 : f64, norm_scale = 1.0 : f64} : (!hmk.memory, !hmk.memory, !hmk.memory) -> ()
  "hmk.grouped_matmul"(%a, %b, %c) {bind = ["a", "b", "c"], rows = 0 : i64, k = 30 : i64, n = 32 : i64, format = "f32", a_format = "f32", c_format = "f32", flags = [], segments = [32, "none", false, false], dropped = array<i64: 32, 30>, norm = "none", norm_epsilon = 0.0 : f64, norm_scale = 1.0 : f64} : (!hmk.memory, !hmk.memory, !hmk.memory) -> ()
  "hmk.grouped_matmul"(%a, %b, %c) {bind = ["a", "b", "c"], at = array<i64: 40, 0, 0>, rows = 0 : i64, k = 40 : i64, n = 32 : i64, format = "f32", a_format = "f32", c_format = "f32", flags = [], segments = [32, "none", false, false], dropped = array<i64: 32, 40>, norm = "none", norm_epsilon = 0.0 : f64, norm_scale = 1.0 : f64} : (!hmk.memory, !hmk.memory, !hmk.memory) -> ()
  "hmk.grouped_matmul"(%a, %b, %c) {bind = ["a", "b", "c"], at = array<i64: 0, 0, 32>, rows = 0 : i64, k = 40 : i64, n = 32 : i64, format = "f32", a_format = "f32", c_format = "f32", flags = [], segments = [32, "none", false, false], dropped = array<i64: 32, 40>, norm = "none", norm_epsilon = 0.0 : f64, norm_scale = 1.0 : f64} : (!hmk.memory, !hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %c) {bind = ["in", "out"], at = array<i64: 0, 40>, rows = 0 : i64, function = "none", n = 32 : i64, in_step = 1 : i64, factor_columns = 0 : i64, scale = 1.0 : f64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %c) {bind = ["in", "out"], at = array<i64: 0, 40>, rows = 0 : i64, function = "none", n = 32 : i64, in_step = 1 : i64, factor_columns = 0 : i64, scale = 1.0 : f64, accumulate = 1 : i64} : (!hmk.memory, !hmk.memory) -> ()
  "hmk.map_rows"(%a, %c) {bind = ["in", "out"], rows = 0 : i64, function = "none", n = 32 : i64, in_step = 1 : i64, factor_columns = 0 : i64, scale = 1.0 : f64, accumulate = 0 : i64} : (!hmk.memory, !hmk.memory) -> ()
  return
}
}
