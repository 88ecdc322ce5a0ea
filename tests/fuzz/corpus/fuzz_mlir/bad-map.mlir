#a1 = [1, 1]
#a2 = [#a1, #a1]
module attributes {a.b = affine_map<(d0) -> (-d0)>, a.c = #a2} {}
