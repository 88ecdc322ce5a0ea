// a comment
func.func @f(%x: tensor<?x8xf32> {hmoe.name = "x"}) -> (tensor<?x8xf32> {hmoe.name = "y"}) {
  return %x : tensor<?x8xf32> loc("a.spec":3:7)
}
