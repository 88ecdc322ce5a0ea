float f(float gate, float up) {
  double d = gate;
  unsigned u = gate > 0 && up != 1;
  return (float)(d * up) + (u ? 1 : 2) + (u << 3 ^ ~5u % 7);
}
