float sqrtf(float);
#define N 3
static float part(float v, int n) {
  for (int i = 0; i < n; i++) {
    if (i == 2) continue;
    v += v > 0 ? sqrtf(v) : -v * 0.5f;
  }
  return v;
}
float f(float x) {
  enum { A = 1, B };
  float y = part(x, N);
  switch (B) {
  case A: return 0;
  case B: y *= 2;
  default: break;
  }
  if (x < -1) return (float)(int)(x * 0 + 3);
  while (0) y--;
  return _Generic(y, float: y, int: 3);
}
