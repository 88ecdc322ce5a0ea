/* What is no pure function of scalars: every function is refused at one place. tests/cli/c_functions_errors.test has the messages. */
#include <math.h>
#include <stdlib.h>

extern float table[4];
static float state;
struct pair {
  float a, b;
};
float elsewhere(float x);
static float self(float x) { return x > 0 ? self(x - 1) : x; }
static float pong(float x);
static float ping(float x) { return x > 0 ? pong(x - 1) : x; }
static float pong(float x) { return ping(x * 0.5f); }
static float apply(float (*f)(float), float x) { return f(x); }

float global(float x) { return x + state; }
float keeps(float x) {
  static float sum = 0;
  return sum += x;
}
float array(float x) {
  float v[2] = {x, 1};
  return v[0] + v[1];
}
float indexed(float x) { return x * table[1]; }
float pointer(float x) {
  float *p = &x;
  return *p;
}
float address(float x) { return *&x; }
float structure(float x) {
  struct pair p = {x, x};
  return p.a * p.b;
}
float recursive(float x) { return self(x) + 1; }
float mutual(float x) { return ping(x); }
float called_pointer(float x) { return apply(elsewhere, x); }
float no_body(float x) { return elsewhere(x); }
float unknown(float x) { return tgammaf(x); }
float side_effect(float x) { return x + (float)rand(); }
float jumps(float x) {
  if (x > 0) goto done;
  x = -x;
done:
  return x;
}
float endless(float x) {
  while (x < 100) x = x * 2 + 1;
  return x;
}
float rounds(float x) {
  for (int i = 0; i < 5000; i++) x += 1;
  return x;
}
float forever(float x) {
  for (;;) x += 1;
}
float divides(float x) { return (float)(100 / (int)x); }
float by_zero(float x) {
  int zero = 3;
  zero -= 3;
  return x + (float)(5 % zero);
}
float overflows(float x) {
  int big = 2147483647;
  return x + (float)(big + 1);
}
float shifts(float x) {
  int amount = 40;
  return x + (float)(1 << amount);
}
float converts(float x) {
  double large = 1e20;
  return x + (float)(int)large;
}
float uninitialised(float x) {
  float y;
  if (x > 0) y = 1;
  return y + x;
}
float assembly(float x) {
  __asm__("" : "+x"(x));
  return x;
}
float complex_number(float x) {
  _Complex float z = x;
  return x;
}
float long_double(float x) { return (float)((long double)x * 2); }
float vectors(float x) {
  typedef float v4 __attribute__((vector_size(16)));
  v4 v = {x, x, x, x};
  return x;
}
float volatile_local(float x) {
  volatile float y = x;
  return y;
}
float statement_expression(float x) {
  float y = ({ x + 1; });
  return y;
}
float variable_length(float x) {
  int n = 3;
  typedef int list[n++];
  return x + (float)n;
}
float many_calls(float x) {
  for (int i = 0; i < 300; i++) x = expf(x) - 1;
  return x;
}
float variable_count(int count, ...) { return (float)count; }
float ranges(float x) {
  switch ((int)(x > 1)) {
  case 0 ... 1: return x;
  }
  return 0;
}
float scaled_by(float x) { return ldexpf(x, (int)x); }
double wide(double x) { return x; }
float three(float a, float b, float c) { return a + b + c; }
void nothing(float x) { (void)x; }
float integer(int x) { return (float)x; }
