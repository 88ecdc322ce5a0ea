float f(float x) {
  float y;
  if (x > 0) y = 1;
  return y;
}
