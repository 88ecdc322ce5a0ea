/* Functions for c_function_test.c, which reads this file with the compiler and calls the same functions natively. */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- Activations ---- */

static float relu(float x) { return x > 0 ? x : 0; }
static float relu_early(const float x) {
  if (x > 0) return x;
  return 0;
}
static inline float relu_max(float x) { return fmaxf(x, 0); }
static float leaky(float x) { return x >= 0 ? x : 0.01f * x; }
static float squared_relu(float x) {
  float r = relu(x);
  return r * r;
}
static float gelu(float x) { return 0.5f * x * (1 + erff(x / sqrtf(2))); }
static float gelu_double(float x) { return x * 0.5 * (1 + erf(x / sqrt(2))); }

#define CUBIC 0.044715f
#define SCALE ((float)(M_2_SQRTPI * M_SQRT1_2))
static inline float power(float x, int n) {
  float product = 1;
  while (n-- > 0) product *= x;
  return product;
}
static float gelu_new(float x) { return 0.5f * x * (1 + tanhf(SCALE * (x + CUBIC * powf(x, 3)))); }
static float gelu_loop(float x) { return 0.5f * x * (1 + tanhf(SCALE * (x + CUBIC * power(x, 3)))); }
static float sigmoid(float x) { return 1 / (1 + expf(-x)); }
static float silu(float x) { return x * sigmoid(x); }
static float mish(float x) { return x * tanhf(x > 20 ? x : log1pf(expf(x))); }
static float softplus(float x) {
  if (x > 20) return x;
  if (x < -20) return expf(x);
  return log1pf(expf(x));
}
static float hard_swish(float x) { return x * fminf(fmaxf(x + 3, 0), 6) / 6; }
static float elu(float x) {
  if (x < 0) x = expm1f(x);
  return x;
}
static float generic_float(float x) { return _Generic((x), float: 1.5f, double: 2.5) * x; }
static float generic_double(float x) { return (float)(_Generic((double)x, float: 1.5f, double: 2.5) * x); }
static float swiglu(float gate, float up) { return silu(gate) * up; }
static float clamped(float a, float b) {
  a = a > 7 ? 7 : a;
  b = b > 7 ? 7 : b < -7 ? -7 : b;
  return (b + 1) * (a * sigmoid(1.702f * a));
}

/* ---- Statements ---- */

static float piecewise(float x) {
  if (x < -3) return -1;
  if (x < -1) return expf(x);
  if (x < 1) return 2 * x;
  if (x < 3) return sqrtf(x);
  return 5;
}
static float nested_returns(float x) {
  if (x > 0) {
    if (x > 10) return expf(-x);
    x = x + 1;
  } else {
    if (x < -10) return -1;
    x = sinf(x);
  }
  if (x > 5) { x *= 2; }
  return x;
}
static float taylor(float x) {
  float term = 1, sum = 1;
  for (int i = 1; i <= 8; i++) {
    term *= x / i;
    sum += term;
  }
  return sum;
}
static float break_loop(float x) {
  float sum = 0;
  for (int i = 0; i < 6; i++) {
    if (x < i) break;
    if (i % 2) continue;
    if (x > 20) continue;
    sum += expf(-x * i);
  }
  return sum;
}
static float last_value(float x) {
  float r;
  int i = 0;
  while (true) {
    if (x > 10 - i) {
      r = i;
      break;
    }
    if (++i == 5) {
      r = -1;
      break;
    }
  }
  return r;
}
static float return_in_loop(float x) {
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 3; j++) {
      if (j > i) break;
      if (x < i * 3 + j) return cosf(x) + i;
    }
  return -1;
}
static float newton(float x) {
  float y = x > 1 ? x : 1;
  int rounds = 0;
  do {
    float next = 0.5f * (y + fabsf(x) / y);
    if (fabsf(next - y) < 1e-6f) break;
    y = next;
  } while (++rounds < 12);
  return y;
}
static float for_parts(float x) {
  int i = 0;
  for (;;) {
    if (i == 3) break;
    i++;
  }
  for (int k = 0; k < 2;) k++, x += 1;
  for (; i < 5; i++) x *= 1.5f;
  for (;; i--)
    if (i == 0) break;
  return x + i;
}
enum mode { SLOW, FAST = 3, FASTER };
static float constant_switch(float x) {
  enum mode mode = FAST;
  switch (mode) {
  case SLOW: x = 0; break;
  case FAST: x += 1; /* fall through */
  case FASTER: x *= 2; break;
  default: x = -1;
  }
  return x;
}
static float run_time_switch(float x) {
  int kind = x;
  switch (kind) {
  case -1:
  case 1: return expf(x) + kind;
  case 2: x += 1; /* fall through */
  case 3: x *= 2; break;
  default: x = -x; break;
  case 4: {
    float y = x;
    x = y * y;
  }
  }
  return x;
}
static float switch_in_loop(float x) {
  float sum = 0;
  for (int i = 0; i < 5; i++) {
    switch (i) {
    case 1: continue;
    case 3:
      if (x > 2) break;
      sum += 100;
    default: sum += x;
    }
    sum *= 1.25f;
  }
  return sum;
}
static float shadowed(float x) {
  float y = x;
  {
    float y = 2;
    x += y;
  }
  for (int y = 0; y < 2; y++) x += y;
  return x - y;
}
static void nothing(void) {}
static float effects(float x) {
  int i = 0, j = 5;
  static const float half = 0.5f;
  nothing();
  float y = (i++, j--, x > 0) ? (i += 2, x) : (j = i << 3, -x);
  if (x > 1 && (i = 7, x < 4)) y += half;
  if (x > 3 || (j += 10)) y += 0.25f;
  (void)y;
  return y + i * 100 + j;
}

/* ---- Types ---- */

static float integers(float x) {
  int n = x;
  unsigned u = n;
  short s = n * 1000;
  unsigned char c = u;
  long l = (long)(n + 200) << 3;
  bool b = x;
  int sum = n / 7 + n % 5 + (n >> 1) + (int)(u >> 3) + s + c + b + (int)l;
  sum += (n & 6) | (n ^ 3);
  sum -= ~n + -n + !n;
  sum += (u > 5u) + (n < 5) + (n == 3) + (n != 4) + (n <= -2) + (u >= 7u);
  sum += n / -1 + n % -1;
  return sum;
}
static float int_constants(float x) {
  enum { SIZE = sizeof(double) * 4 + sizeof(char) };
  unsigned wrapped = 0u - 1;
  uint8_t small = 250;
  small += 10;
  int8_t negative = (int8_t)200;
  long big = 1L << 40;
  int a = 'a', hex = 0x10, octal = 010, minus = -7;
  return x * SIZE + (wrapped >> 28) + small + negative + (float)(big >> 38) + a + hex + octal + minus / 2 + minus % 4 +
         (minus >> 1) + (wrapped == 4294967295u) + (5 & 3 | 8 ^ 1) + (0.1f + 0.2f == 0.3f) + (0.1 + 0.2 == 0.3) + (float)16777217;
}
static float doubles(float x) {
  double y = x, z = 0.1;
  y = y * z + 1e-3;
  y /= 3;
  float mixed = x;
  mixed *= 1.1;
  mixed -= z;
  return y + mixed + (x < 0.1) + (int)(y * 4) + (float)z + 1.0 / 3;
}
static float truths(float x) {
  bool positive = x > 0, small = fabsf(x) < 2;
  int both = positive & small, either = positive | small, one = positive ^ small;
  unsigned char narrow = positive;
  if (!(positive && small) != (either == 0)) one += 4;
  return both + 10 * either + 100 * one + narrow * 0.5f + (positive ? 1 : small) * 7 + (both ? !small : positive) * 3;
}

/* ---- math.h ---- */

static float rounding(float x) {
  return floorf(x) + 2 * ceilf(x) + 3 * truncf(x) + 5 * roundf(x) + 7 * rintf(x) + 11 * nearbyintf(x) + lroundf(x) + 2 * lrintf(x);
}
static float transcendental(float x) {
  float a = fabsf(x) + 1, b = 1 / (1 + fabsf(x));
  return sinf(x) + cosf(x) + tanf(b) + asinf(b) + acosf(b) + atanf(x) + sinhf(b) + coshf(b) + asinhf(x) + acoshf(a) +
         atanhf(b / 2) + logf(a) + log2f(a) + log10f(a) + exp2f(b) + cbrtf(x) + erfcf(b) + atan2f(x, a) + powf(a, b) + fmodf(x, 3) +
         fmaf(x, a, b) + copysignf(a, x) + fdimf(x, 1) + ldexpf(b, 3) + sqrt(a);
}
static float folded(float x) { return x * (expf(1) + powf(2, 0.5f) + fmodf(7, 4) + fmaf(2, 3, 4) + (float)sqrt(2) + roundf(2.5f)); }
static float classified(float x) {
  float y = x > 15 ? INFINITY : x < -15 ? NAN : x;
  if (isnan(y)) return 1;
  if (isinf(y)) return 2 + signbit(y);
  if (!isfinite(-y)) return FLT_MAX;
  if (signbit(y)) return isnormal(y) ? 3 : 4;
  return (isless(y, 3)           ? 5
          : isgreaterequal(y, 6) ? 6
                                 : 7) +
         (y < HUGE_VALF) + (y == -0.0f) + isunordered(y, NAN) + (__builtin_expect(y > 2, 1) ? 0.5f : 0) + __builtin_fabsf(-1.0f) +
         isinf(-INFINITY);
}

#define CHOOSE(x, a, b) ((x) > 0 ? (a) : (b))
static float from_macro(float x) { return CHOOSE(x, CHOOSE(x - 1, x, 2 * x), expf(x)); }

/* ---- What is decided while it is read, and other forms ---- */

static float constant_logic(float x) {
  int n = 0, zero = 0, one = 1;
  float y = (one && x > 0) + 2 * (zero || x > 1) + 4 * (zero && x > 2) + 8 * (one || x > 3);
  if (zero && n++) y = 100;
  if (one || n++) y += 0.5f;
  if (one && ++n) y += n;
  if (zero || ++n) y += n;
  return y + (one ? x : expf(x)) + (zero ? expf(x) : 3) + (one ? 2 : 1) / 4;
}
static float constant_comparisons(float x) {
  double big = 2, small = 1, none = NAN, same = 2, other = NAN;
  int i = -3, j = 5, k = -3;
  unsigned u = -3, v = 5, w = -3;
  int sum = (big >= small) + 2 * (small >= big) + 4 * (big >= same) + 8 * (none >= big) + 16 * (none > big) + 32 * (none <= big) +
            64 * (none < big) + 128 * (none == other) + 256 * (none != other) + 512 * (big > same) + 1024 * (big <= same);
  int signs = (i < j) + 2 * (i > j) + 4 * (i <= j) + 8 * (i >= j) + 16 * (i == j) + 32 * (i != j) + 64 * (u < v) + 128 * (u > v) +
              256 * (u <= v) + 512 * (u >= v) + 1024 * (u == v) + 2048 * (u != v) + 4096 * (u >= w) + 8192 * (i <= k);
  return x + sum + signs;
}
static float comparisons_at_run_time(float x) {
  int i = x, j = i * 3 - 7;
  unsigned u = i, v = j;
  double d = x, e = d * 2 - 3;
  int signs = (i < j) + 2 * (i > j) + 4 * (i <= j) + 8 * (i >= j) + 16 * (i == j) + 32 * (i != j) + 64 * (u < v) + 128 * (u > v) +
              256 * (u <= v) + 512 * (u >= v) + 1024 * (u == v) + 2048 * (u != v);
  return signs + 4096 * ((d < e) + 2 * (d > e) + 4 * (d <= e) + 8 * (d >= e) + 16 * (d == e) + 32 * (d != e));
}
static float parentheses(float x) {
  float y = 1;
  (y) = x;
  ((y)) += 2;
  (y)++;
  return __extension__((y)) * 2;
}
static float same_in_two_ways(float x) {
  float y = x, z = 1;
  for (int i = 0; i < 3; i++) {
    if (y > 1) {
      y = expf(y / 4);
      z = y;
      if (y > 3) break;
      if (y > 2) continue;
    }
    y += 0.25f;
  }
  return y + z * 100;
}
static float absolute(float x) {
  int n = x, least = -2147483647;
  long l = (long)n * 1000;
  return __builtin_abs(n) + __builtin_labs(l) / 7 + __builtin_abs(-3) + __builtin_abs(4) + __builtin_llabs(-5) +
         __builtin_abs(least);
}
static float with_attributes(float x) {
  int kind = 2;
#pragma clang loop unroll(enable)
  for (int i = 0; i < 2; i++) x += 1;
  switch (kind) {
  case 2: x *= 2; __attribute__((fallthrough));
  case 3: x += 1; break;
  default: x = 0;
  }
  return x;
}
static float of_float(float x) { return x * 2; }
static double of_double(double x) { return x * 3; }
static float generic_callee(float x) {
  return _Generic(x, float: of_float, double: of_double)(x) + (float)_Generic((double)x, float: of_float, double: of_double)(x);
}
static float sixteen(float a, float b, float c, float d, float e, float f, float g, float h, float i, float j, float k, float l,
                     float m, float n, float o, float p) {
  return a + 2 * b - c * d + e - f + 3 * g + h - i + j * k - l + m - n + o - p;
}
static float many_arguments(float x) { return sixteen(x, 1, 2, 3, x, 5, 6, 7, 8, 9, x, 11, 12, 13, 14, x); }
static void early(float x) {
  if (x > 0) return;
  x = 1;
}
static float void_calls(float x) {
  early(x), (void)x, early(2);
  return (early(x), x);
}
static float shifts(float x) {
  int n = x, p = n < 0 ? -n : n;
  unsigned u = n;
  long l = p;
  short s = p;
  return (p << 3) + (n >> 2) + (u >> 28) + (float)((u << 31) >> 30) + (float)(l << 33 >> 31) + (s << 2) + (1 << 30) + (-8 >> 1) +
         (float)(1u << 31) + (float)(1L << 62 >> 60) + (p << 0);
}
static float narrow_types(float x) {
  int n = x;
  signed char a = n * 37;
  unsigned char b = n * 37;
  short c = n * 5000;
  unsigned short d = n * 5000;
  long e = n < 0 ? -n : n;
  unsigned long f = n < 0 ? -n : n;
  double zero = 0.0, half = 0.5;
  bool g = n, h = x, i = e, j = zero, k = half;
  a += 3, b -= 4, c *= 2, d /= 3, e <<= 2, f >>= 1, n ^= 5, n |= 8, n &= 63;
  return a + 2 * b + 3 * c + 4 * d + e + f + g + 10 * h + 100 * i + 1000 * j + 2000 * k + n;
}

static float orders(float x, float y) {
  double d = x, e = y;
  int sum = isgreater(x, y) + 2 * isgreaterequal(x, y) + 4 * isless(x, y) + 8 * islessequal(x, y) + 16 * islessgreater(x, y) +
            32 * isunordered(x, y) + 64 * isunordered(y, x) + 128 * isunordered(d, e) + 256 * islessgreater(e, d) +
            512 * isunordered(x, 1.0f) + 1024 * isunordered(1.0f, y) + 2048 * isless(x, 2);
  return sum + 4096 * (isunordered(1.0, 2.0) + 2 * islessgreater(2.0f, 1.0f) + 4 * islessgreater(1.0f, 1.0f) +
                       8 * isunordered(NAN, 1.0f) + 16 * isgreater(2.0, 1.0) + 32 * isless(2.0, 1.0) + 64 * islessequal(2.0, 2.0) +
                       128 * isgreaterequal(1.0, 2.0));
}
static float of_doubles(float x, float y) {
  double a = fmax(x, y) + fmin((double)x, y) * 2 + fdim(x, y) + fdim(y, x) + fma((double)x, y, 0.25) + fma(2.0, 3.0, 4.0);
  float b = fmaxf(x, y) + fminf(x, y) * 2 + fdimf(y, x) + fdimf(3, 1) + fdimf(1, 3) + copysignf(3, x) + copysignf(x, -1);
  return a + b + ldexp(x, -3) + ldexpf(y, 5) + scalbnf(x, 2) + ldexpf(3, 4);
}
