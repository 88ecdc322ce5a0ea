#a = [1 : i64, -2.5e-1 : f32, "t\0a", unit]
!t = tensor<?x4xf32>
module {
  func.func private @scaled(%x: f32) -> f32 {
    %c = arith.constant 2.0 : f32
    %y = arith.mulf %x, %c : f32
    return %y : f32
  }
  func.func @m(%x: !t {hmoe.name = "x"}) -> (!t {hmoe.name = "y"}) attributes {a.b = #a, a.c = array<i32: 1, 2>} {
    %w = "hmoe.parameter"() {key = "w", count = 0} : () -> tensor<4x4xf32>
    %l = "hmoe.linear"(%x, %w) : (!t, tensor<4x4xf32>) -> !t
    %y = "hmoe.activate"(%l) {function = "relu"} : (!t) -> !t
    return %y : !t
  }
}
