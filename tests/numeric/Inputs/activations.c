/* Activations and score functions as users write them, and corners of C. Each is defined for every float, NaN and infinities included:
 * what C leaves open is never executed. tests/numeric/c_functions_test.c has their list. */
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define SQUARE(x) ((x) * (x))
#define CLAMP(x, low, high) ((x) < (low) ? (low) : (x) > (high) ? (high) : (x))
#define SQRT_2_PI 0.7978845608f

enum { STEPS = 5, FIRST = -2, SECOND = 3 };
typedef float real;

/* ---- One argument ---- */

float plain_relu(float x) { return x > 0 ? x : 0; }
float relu_if(float x) {
  if (x > 0) return x;
  return 0;
}
float relu6(float x) { return fminf(fmaxf(x, 0), 6); }
float squared_relu(float x) {
  float y = x > 0 ? x : 0;
  return y * y;
}
float leaky(float x) { return x >= 0 ? x : 0.01f * x; }
float elu(float x) { return x > 0 ? x : expm1f(x); }
float selu(float x) {
  const float alpha = 1.6732632423543772f, scale = 1.0507009873554805f;
  return scale * (x > 0 ? x : alpha * (expf(x) - 1));
}
float gelu_erf(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }
float gelu_powf(float x) { return 0.5f * x * (1.0f + tanhf(SQRT_2_PI * (x + 0.044715f * powf(x, 3.0f)))); }
float plain_silu(float x) { return x / (1.0f + expf(-x)); }
float quick_gelu(float x) { return x * (1.0f / (1.0f + expf(-1.702f * x))); }
float softplus(float x) { return x > 20 ? x : log1pf(expf(x)); }
static float softplus_of(float x) { return fmaxf(x, 0) + log1pf(expf(-fabsf(x))); }
float mish(float x) { return x * tanhf(softplus_of(x)); }
float hard_swish(float x) { return x * CLAMP(x + 3, 0, 6) / 6; }
float hard_tanh(float x) { return CLAMP(x, -1.0f, 1.0f); }
float snake(float x) {
  float s = sinf(x);
  return x + s * s;
}
float softsign(float x) { return x / (1 + fabsf(x)); }
float tanh_shrink(float x) { return x - tanhf(x); }
float score_sqrt(float x) { return sqrtf(log1pf(expf(CLAMP(x, -30.0f, 30.0f)))); }
float piecewise(float x) {
  if (x < -3) return -1;
  if (x < -1) {
    if (x < -2) return x * 0.5f;
    return x * 0.25f + 0.125f;
  }
  if (x > 4) return 2;
  if (!(x == x)) return -7;
  return x * x * 0.125f;
}

static float multiply_add(float a, float b, float c) { return a * b + c; }
float horner(float x) {
  float y = 0;
  for (int i = 8; i > 0; i--) y = multiply_add(y, x * 0.25f, 1.0f / (float)i);
  return y;
}
float loop_break(float x) {
  float y = x;
  for (int i = 0; i < 12; i++) {
    if (y > 100 || y < -100) break;
    if (i % 3 == 1) continue;
    if (y < 0) {
      y = y * 1.5f;
      continue;
    }
    y = y * 2 + 0.25f;
  }
  return y;
}
float loop_nested(float x) {
  float sum = 0;
  int i = 0;
  while (i < 4) {
    int j = 0;
    do {
      if (sum > 50) break;
      sum += x * (float)(i * j + 1);
      if (sum < -50) return sum - 1;
    } while (++j < 3);
    if (sum > 50) break;
    i++;
  }
  return sum + (float)i;
}
float switched(float x) {
  int step = x > 1 ? 2 : x > 0 ? 1 : x < -1 ? -2 : 0;
  float y = 1;
  switch (step) {
  case 2: y += x; /* fall through */
  case 1: y *= 2; break;
  case FIRST: return x * -0.5f;
  default: y = x; break;
  case SECOND: y = 99;
  }
  return y + 0.5f;
}
float narrow_integers(float x) {
  if (!(x > -1000 && x < 1000)) return x < 0 ? -1 : 1;
  int whole = (int)(x * 37);
  unsigned char low = (unsigned char)whole;
  signed char s = (signed char)(whole >> 3);
  short twice = (short)(whole * 7);
  unsigned short folded = (unsigned short)(twice ^ 0x5a5a);
  unsigned u = (unsigned)whole * 2654435761u;
  u ^= u >> 15;
  low += 200;
  s -= 77;
  return (float)low + (float)s * 0.5f + (float)folded * 0.25f + (float)(twice >> 2) + (float)(u & 1023u) + (float)(whole % 10) +
         (float)(whole / -3);
}
float wide_integers(float x) {
  if (!(fabsf(x) < 1e6f)) return 0;
  int64_t n = (int64_t)(x * 1000);
  uint64_t h = (uint64_t)n * UINT64_C(0x9e3779b97f4a7c15);
  h ^= h >> 29;
  int64_t m = n * 128 | 5;
  return (float)(h >> 40) * 0x1p-24f + (float)(m % 1000003) + (float)((int32_t)(h >> 32) / 16) * 0x1p-28f + (float)(n >> 3);
}
float in_double(float x) {
  double d = x, e = d * d * 1.25 - d / 3.0 + 0.1;
  return (float)(e > 0 ? sqrt(e) : -e * 0.5);
}
float hyperbolic(float x) { return (float)(sinh(CLAMP(x, -20, 20)) / cosh(CLAMP(x, -20, 20)) + atan((double)x)); }
float casts(float x) {
  float y = x != x ? -0.5f : (float)(int)CLAMP(x, -1e6f, 1e6f);
  return y + (float)(char)(x > 2) - (float)(bool)x + (float)(unsigned)(x > 0 ? fminf(x, 4e9f) : 0.f) * 0x1p-20f;
}
float commas(float x) {
  float y, z;
  y = (z = x * 2, z + 1);
  return y = x > 0 ? (z += 1, y * z) : (z -= 1, y - z);
}
float choices(float x) { return x < -2 ? -x : x < -1 ? x + 3 : x < 0 ? 2 * x : x < 1 ? x * x : x < 2 ? 1 / x : 0.5f; }
float logical(float x) {
  int count = 0;
  if (x > -1 && x < 1 && (count++, x != 0.5f)) count += 2;
  if (x < -3 || (x > 3 && ++count) || !(x < 2)) count += 4;
  bool even = !(x > 0) || count > 3;
  return x * (float)count + (float)even + (float)((x > 1) + (x > 2) - (x == 0)) + (float)((x > 0) ^ ((x < 2) & 1));
}
float several(float x) {
  float a = 1, b = 2, c = 3;
  if (x > 0) {
    a = x;
    if (x > 1) {
      b = a + x;
      if (x > 2) c = a * b;
      else c = b - 1;
    } else {
      c = -x;
    }
  } else if (x > -1) {
    b = x * x;
    a = c + b;
  } else {
    float shared = x * 0.5f;
    a = shared, c = shared + b;
  }
  return a + b * c;
}
float fused(float x) { return fmaf(x, x, -1.0f / 3) + fmaf(0.1f, x, 0x1p-20f) - fmaf('a', 1e10f, x); }
float selected(float x) { return fmaxf(x * 0.5f, fminf(x + 1, 2)) + copysignf(0.25f, x) + fdimf(x, 1); }
float rounded(float x) {
  float y = CLAMP(x, -8e6f, 8e6f);
  return isnan(x) ? 0 : floorf(y) + 2 * ceilf(y) + 4 * roundf(y) + 8 * rintf(y) + 16 * truncf(y);
}
float classified(float x) {
  if (isnan(x)) return 1;
  if (isinf(x)) return x > 0 ? 2 : 3;
  if (!isnormal(x)) return signbit(x) ? 4 : 5;
  return (float)(isfinite(x) + isgreater(x, 2) + islessequal(x, -2) + isunordered(x, x));
}
float constants(float x) {
  static const double tenth = 1e-1;
  return x * 0x1.8p-3f + (float)(tenth * 3) + ldexpf(x, -3) + scalbnf(1.0f, 4) + sqrtf(2) + (float)INT_MAX * 0x1p-31f + 'a' +
         (float)sizeof(double) + 07 + (1e30f * 1e30f > 0 ? 1 : 2);
}
float shadowed(float x) {
  float y = x;
  {
    float x = y * 2;
    for (int y = 0; y < 3; y++) x += (float)y;
    if (x > 1) {
      float y = x - 1;
      x = y * y;
    }
    y = x;
  }
  return x + y;
}
static real third_of(real x, int times) {
  if (times == 0) return x;
  if (x > 1) return x / 3;
  if (x < -1) return -x;
  return x * 3;
}
static real second_of(real x) {
  real y = third_of(x, 0) + third_of(x, 1);
  return y > 2 ? y - third_of(y, 2) : third_of(-y, STEPS);
}
static void unused_result(void) {}
float helpers(float x) {
  unused_result();
  return second_of(x) + second_of(x * 0.5f) - SQUARE(second_of(0.25f));
}
float reciprocal(float x) { return 1 / x; }
float remainders(float x) { return fabsf(x) < 1e6f ? fmodf(x, 0.75f) + fmodf(x, -3) : 0; }

/* ---- Two arguments: f(gate, up) ---- */

float swiglu(float gate, float up) { return gate / (1.0f + expf(-gate)) * up; }
float geglu(float gate, float up) { return 0.5f * gate * (1.0f + erff(gate * 0.70710678118654752f)) * up; }
float reglu(float gate, float up) { return gate > 0 ? gate * up : 0; }
float clamped_swiglu(float gate, float up) {
  const float alpha = 1.702f, limit = 7.0f;
  gate = fminf(gate, limit);
  up = fmaxf(fminf(up, limit), -limit);
  return gate / (1.0f + expf(-alpha * gate)) * (up + 1);
}
float powers(float gate, float up) { return powf(fabsf(gate), 0.5f) * (up > 0 ? powf(up, 2) : -1); }
float angles(float gate, float up) { return atan2f(gate, up) + cosf(up); }
float ordered(float gate, float up) {
  if (gate > up) return gate - up;
  return gate == up ? 1 : up * 0.5f;
}
float up_only(float gate, float up) {
  (void)gate;
  return up;
}
