/* Arithmetic, comparisons, conversions: what a lane does for itself. A table has a function over 32 lanes for each opcode and type.
 *
 * f32 results that are NaN are 0x7fffffff, as on the device. Approximations are computed in double and rounded, which is nearer than any device is; a
 * launch may ask for results an ulp away. Rounding other than to nearest goes through the mode of the host's floating point. */
#include "ptx_internal.h"

#include <fenv.h>
#include <math.h>

/* ---- numbers ---- */

/* To `digits` binary digits, exponents from `least` on. */
static double quantise(double value, int digits, int least, bool toward_zero) {
  if (value == 0 || value - value != 0) return value;
  int exponent;
  frexp(value, &exponent);
  exponent -= 1;
  if (exponent < least) exponent = least;
  double scaled = ldexp(value, digits - 1 - exponent);
  return ldexp(toward_zero ? trunc(scaled) : rint(scaled), exponent - digits + 1);
}

uint16_t ptx_f32_to_f16(double value, bool toward_zero) {
  if (value != value) return 0x7fff;
  uint16_t sign = signbit(value) ? 0x8000 : 0;
  double size = fabs(quantise(value, 11, -14, toward_zero));
  if (size > 65504) return sign | (toward_zero && !isinf(value) ? 0x7bff : 0x7c00);
  if (size < 0x1p-14) return sign | (uint16_t)(size * 0x1p24);
  int exponent;
  double fraction = frexp(size, &exponent); /* in [1/2, 1) */
  return (uint16_t)(sign | (unsigned)(exponent + 14) << 10 | ((unsigned)(fraction * 2048) & 0x3ff));
}

float ptx_f16_to_f32(uint16_t bits) {
  unsigned exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
  float size;
  if (exponent == 31) size = fraction ? NAN : INFINITY;
  else if (exponent == 0) size = (float)fraction * 0x1p-24f;
  else {
    uint32_t word = (exponent + 112) << 23 | fraction << 13;
    memcpy(&size, &word, 4);
  }
  return bits & 0x8000 ? -size : size;
}

uint16_t ptx_f32_to_bf16(float value, bool toward_zero) {
  uint32_t word;
  memcpy(&word, &value, 4);
  if (value != value) return 0x7fff;
  if (!toward_zero) word += 0x7fff + (word >> 16 & 1);
  return (uint16_t)(word >> 16);
}

/* Of a number of double that was rounded to odd, or is exact. */
static uint16_t double_to_bf16(double value) {
  double rounded = quantise(value, 8, -126, false);
  return ptx_f32_to_bf16(fabs(rounded) > (double)3.4e38f ? (signbit(rounded) ? -INFINITY : INFINITY) : (float)rounded, false);
}

static inline float canonical(float value) {
  uint32_t word;
  memcpy(&word, &value, 4);
  word = value != value ? 0x7fffffff : word;
  memcpy(&value, &word, 4);
  return value;
}

/* ---- functions over lanes ---- */

#define UNARY(name, R, A, value)                                                                                                   \
  static void name(void *out, const void *const *in) {                                                                             \
    R *r = out;                                                                                                                    \
    const A *a = in[0];                                                                                                            \
    EACH_LANE(l) {                                                                                                                 \
      A x = a[l];                                                                                                                  \
      r[l] = (R)(value);                                                                                                           \
    }                                                                                                                              \
  }
#define BINARY(name, R, A, value)                                                                                                  \
  static void name(void *out, const void *const *in) {                                                                             \
    R *r = out;                                                                                                                    \
    const A *a = in[0], *b = in[1];                                                                                                \
    EACH_LANE(l) {                                                                                                                 \
      A x = a[l], y = b[l];                                                                                                        \
      r[l] = (R)(value);                                                                                                           \
    }                                                                                                                              \
  }
#define TERNARY(name, R, A, C, value)                                                                                              \
  static void name(void *out, const void *const *in) {                                                                             \
    R *r = out;                                                                                                                    \
    const A *a = in[0], *b = in[1];                                                                                                \
    const C *c = in[2];                                                                                                            \
    EACH_LANE(l) {                                                                                                                 \
      A x = a[l], y = b[l];                                                                                                        \
      C z = c[l];                                                                                                                  \
      r[l] = (R)(value);                                                                                                           \
    }                                                                                                                              \
  }
/* The same for the unsigned integers, whose sums and low products are those of signed ones, too. */
#define UNSIGNED(MACRO, name, value)                                                                                               \
  MACRO(name##_16, uint16_t, uint16_t, value)                                                                                      \
  MACRO(name##_32, uint32_t, uint32_t, value) MACRO(name##_64, uint64_t, uint64_t, value)
#define SIGNED(MACRO, name, value)                                                                                                 \
  MACRO(name##_s16, int16_t, int16_t, value) MACRO(name##_s32, int32_t, int32_t, value) MACRO(name##_s64, int64_t, int64_t, value)

UNSIGNED(BINARY, add, x + y)
UNSIGNED(BINARY, sub, x - y)
UNSIGNED(BINARY, mul, (uint64_t)x *y)
UNSIGNED(BINARY, and, x &y)
UNSIGNED(BINARY, or, x | y)
UNSIGNED(BINARY, xor, x ^ y)
UNSIGNED(BINARY, min, x < y ? x : y)
UNSIGNED(BINARY, max, x > y ? x : y)
SIGNED(BINARY, min, x < y ? x : y)
SIGNED(BINARY, max, x > y ? x : y)
UNSIGNED(UNARY, not, ~x)
UNSIGNED(UNARY, cnot, x == 0)
UNSIGNED(UNARY, neg, 0 - (uint64_t)x)
SIGNED(UNARY, abs, x < 0 ? 0 - (uint64_t)x : (uint64_t)x)
/* Division by zero is whatever the device does: all ones, and the dividend. */
UNSIGNED(BINARY, div, y ? x / y : UINT64_MAX)
UNSIGNED(BINARY, rem, y ? x % y : x)
SIGNED(BINARY, div, y == 0 ? (int64_t)-1 : y == -1 ? (int64_t)(0 - (uint64_t)x) : x / y)
SIGNED(BINARY, rem, y == 0 ? x : y == -1 ? 0 : x % y)
BINARY(mul_wide_u16, uint32_t, uint16_t, (uint32_t)x *y)
BINARY(mul_wide_s16, int32_t, int16_t, (int32_t)x *y)
BINARY(mul_wide_u32, uint64_t, uint32_t, (uint64_t)x *y)
BINARY(mul_wide_s32, int64_t, int32_t, (int64_t)x *y)
BINARY(mul_hi_u16, uint16_t, uint16_t, (uint32_t)x *y >> 16)
BINARY(mul_hi_s16, int16_t, int16_t, (int32_t)x *y >> 16)
BINARY(mul_hi_u32, uint32_t, uint32_t, (uint64_t)x *y >> 32)
BINARY(mul_hi_s32, int32_t, int32_t, (int64_t)x *y >> 32)
__extension__ typedef unsigned __int128 wide_unsigned;
__extension__ typedef __int128 wide_signed;
BINARY(mul_hi_u64, uint64_t, uint64_t, (wide_unsigned)x *y >> 64)
BINARY(mul_hi_s64, int64_t, int64_t, (wide_signed)x *y >> 64)
TERNARY(mad_16, uint16_t, uint16_t, uint16_t, (uint32_t)x *y + z)
TERNARY(mad_32, uint32_t, uint32_t, uint32_t, x *y + z)
TERNARY(mad_64, uint64_t, uint64_t, uint64_t, x *y + z)
TERNARY(mad_wide_u16, uint32_t, uint16_t, uint32_t, (uint32_t)x *y + z)
TERNARY(mad_wide_s16, uint32_t, int16_t, uint32_t, (uint32_t)(x * y) + z)
TERNARY(mad_wide_u32, uint64_t, uint32_t, uint64_t, (uint64_t)x *y + z)
TERNARY(mad_wide_s32, uint64_t, int32_t, uint64_t, (uint64_t)((int64_t)x * y) + z)
TERNARY(mad_hi_u32, uint32_t, uint32_t, uint32_t, ((uint64_t)x * y >> 32) + z)
TERNARY(mad_hi_s32, uint32_t, int32_t, uint32_t, (uint64_t)((int64_t)x * y >> 32) + z)
static inline int32_t clamp32(int64_t x) { return x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : (int32_t)x; }
BINARY(add_sat_s32, int32_t, int32_t, clamp32((int64_t)x + y))
BINARY(sub_sat_s32, int32_t, int32_t, clamp32((int64_t)x - y))
TERNARY(sad_u32, uint32_t, uint32_t, uint32_t, (x > y ? x - y : y - x) + z)
TERNARY(sad_s32, uint32_t, int32_t, uint32_t, (x > y ? (uint32_t)x - (uint32_t)y : (uint32_t)y - (uint32_t)x) + z)

/* Shifts: the amount is 32 bits whatever is shifted, and as far as all bits gives zeros, or signs. */
#define SHIFT(name, R, value)                                                                                                      \
  static void name(void *out, const void *const *in) {                                                                             \
    R *r = out;                                                                                                                    \
    const R *a = in[0];                                                                                                            \
    const uint32_t *b = in[1];                                                                                                     \
    EACH_LANE(l) {                                                                                                                 \
      R x = a[l];                                                                                                                  \
      uint32_t y = b[l], bits = sizeof(R) * 8;                                                                                     \
      r[l] = (R)(value);                                                                                                           \
    }                                                                                                                              \
  }
SHIFT(shl_16, uint16_t, y < bits ? (uint32_t)x << y : 0)
SHIFT(shl_32, uint32_t, y < bits ? x << y : 0)
SHIFT(shl_64, uint64_t, y < bits ? x << y : 0)
SHIFT(shr_16, uint16_t, y < bits ? x >> y : 0)
SHIFT(shr_32, uint32_t, y < bits ? x >> y : 0)
SHIFT(shr_64, uint64_t, y < bits ? x >> y : 0)
SHIFT(shr_s16, int16_t, x >> (y < bits ? y : bits - 1))
SHIFT(shr_s32, int32_t, x >> (y < bits ? y : bits - 1))
SHIFT(shr_s64, int64_t, x >> (y < bits ? y : bits - 1))
TERNARY(shf_l_wrap, uint32_t, uint32_t, uint32_t, ((uint64_t)y << 32 | x) << (z & 31) >> 32)
TERNARY(shf_r_wrap, uint32_t, uint32_t, uint32_t, ((uint64_t)y << 32 | x) >> (z & 31))
TERNARY(shf_l_clamp, uint32_t, uint32_t, uint32_t, ((uint64_t)y << 32 | x) << (z < 32 ? z : 32) >> 32)
TERNARY(shf_r_clamp, uint32_t, uint32_t, uint32_t, ((uint64_t)y << 32 | x) >> (z < 32 ? z : 32))

/* Bit fields */
static inline uint64_t extract(uint64_t value, uint32_t position, uint32_t length, unsigned bits, bool is_signed) {
  position &= 255;
  length &= 255;
  if (bits == 32) value &= 0xffffffff;
  uint64_t sign = 0;
  if (is_signed && length) {
    uint32_t last = position + length - 1 < bits - 1 ? position + length - 1 : bits - 1;
    sign = value >> last & 1;
  }
  uint64_t mask = length >= 64 ? UINT64_MAX : (UINT64_C(1) << length) - 1;
  uint64_t taken = position < bits ? value >> position & mask : 0;
  if (!length) return 0;
  uint32_t there = position < bits ? bits - position : 0; /* bits of the field that exist */
  if (there > length) there = length;
  if (sign && there < 64) taken |= ~UINT64_C(0) << there;
  return taken;
}
#define EXTRACT(name, R, is_signed)                                                                                                \
  static void name(void *out, const void *const *in) {                                                                             \
    R *r = out;                                                                                                                    \
    const R *a = in[0];                                                                                                            \
    const uint32_t *p = in[1], *n = in[2];                                                                                         \
    EACH_LANE(l) r[l] = (R)extract(a[l], p[l], n[l], sizeof(R) * 8, is_signed);                                                    \
  }
EXTRACT(bfe_u32, uint32_t, false)
EXTRACT(bfe_u64, uint64_t, false)
EXTRACT(bfe_s32, uint32_t, true)
EXTRACT(bfe_s64, uint64_t, true)
#define INSERT(name, R)                                                                                                            \
  static void name(void *out, const void *const *in) {                                                                             \
    R *r = out;                                                                                                                    \
    const R *a = in[0], *b = in[1];                                                                                                \
    const uint32_t *p = in[2], *n = in[3];                                                                                         \
    EACH_LANE(l) {                                                                                                                 \
      uint32_t position = p[l] & 255, length = n[l] & 255, bits = sizeof(R) * 8;                                                   \
      R mask = length >= bits ? (R) ~(R)0 : (R)(((R)1 << length) - 1);                                                             \
      mask = position < bits ? (R)(mask << position) : 0;                                                                          \
      r[l] = (R)((b[l] & (R)~mask) | ((position < bits ? (R)(a[l] << position) : 0) & mask));                                      \
    }                                                                                                                              \
  }
INSERT(bfi_32, uint32_t)
INSERT(bfi_64, uint64_t)

static void prmt(void *out, const void *const *in) {
  uint32_t *r = out;
  const uint32_t *a = in[0], *b = in[1], *s = in[2];
  EACH_LANE(l) {
    uint64_t both = (uint64_t)b[l] << 32 | a[l];
    uint32_t result = 0;
    for (unsigned i = 0; i < 4; i++) {
      unsigned select = s[l] >> 4 * i & 15;
      uint32_t byte = (uint32_t)(both >> 8 * (select & 7)) & 255;
      if (select & 8) byte = byte & 128 ? 255 : 0;
      result |= byte << 8 * i;
    }
    r[l] = result;
  }
}

UNARY(popc_32, uint32_t, uint32_t, __builtin_popcount(x))
UNARY(popc_64, uint32_t, uint64_t, __builtin_popcountll(x))
UNARY(clz_32, uint32_t, uint32_t, x ? __builtin_clz(x) : 32)
UNARY(clz_64, uint32_t, uint64_t, x ? __builtin_clzll(x) : 64)
static inline uint64_t reversed(uint64_t x, int bits) {
  uint64_t r = 0;
  for (int i = 0; i < bits; i++) r |= (x >> i & 1) << (bits - 1 - i);
  return r;
}
UNARY(brev_32, uint32_t, uint32_t, reversed(x, 32))
UNARY(brev_64, uint64_t, uint64_t, reversed(x, 64))
UNARY(bfind_u32, uint32_t, uint32_t, x ? 31 - __builtin_clz(x) : -1)
UNARY(bfind_u64, uint32_t, uint64_t, x ? 63 - __builtin_clzll(x) : -1)
UNARY(bfind_s32, uint32_t, uint32_t, (x >> 31 ? ~x : x) ? 31 - __builtin_clz(x >> 31 ? ~x : x) : -1)
UNARY(bfind_s64, uint32_t, uint64_t, (x >> 63 ? ~x : x) ? 63 - __builtin_clzll(x >> 63 ? ~x : x) : -1)

/* Floating point */
static inline float flip32(float x) {
  uint32_t w;
  memcpy(&w, &x, 4);
  w ^= 0x80000000;
  memcpy(&x, &w, 4);
  return x;
}
/* The smaller of two; -0 is below 0, a number beats NaN. */
#define LESSER(T, x, y) ((x) != (x) ? (y) : (y) != (y) ? (x) : (x) < (y) || ((x) == (y) && signbit(x)) ? (x) : (y))
#define GREATER(T, x, y) ((x) != (x) ? (y) : (y) != (y) ? (x) : (x) > (y) || ((x) == (y) && !signbit(x)) ? (x) : (y))
BINARY(add_f32, float, float, canonical(x + y))
BINARY(sub_f32, float, float, canonical(x - y))
BINARY(mul_f32, float, float, canonical(x *y))
BINARY(div_f32, float, float, canonical(x / y))
BINARY(min_f32, float, float, canonical(LESSER(float, x, y)))
BINARY(max_f32, float, float, canonical(GREATER(float, x, y)))
BINARY(min_nan_f32, float, float, canonical(x != x || y != y ? NAN : LESSER(float, x, y)))
BINARY(max_nan_f32, float, float, canonical(x != x || y != y ? NAN : GREATER(float, x, y)))
BINARY(add_f64, double, double, x + y)
BINARY(sub_f64, double, double, x - y)
BINARY(mul_f64, double, double, x *y)
BINARY(div_f64, double, double, x / y)
BINARY(min_f64, double, double, LESSER(double, x, y))
BINARY(max_f64, double, double, GREATER(double, x, y))
BINARY(copysign_f32, float, float, copysignf(y, x))
BINARY(copysign_f64, double, double, copysign(y, x))
FAST TERNARY(fma_f32, float, float, float, canonical(fmaf(x, y, z))) TERNARY(fma_f64, double, double, double, fma(x, y, z))
    UNARY(neg_f32, float, float, flip32(x)) UNARY(neg_f64, double, double, -x) UNARY(abs_f32, float, float, fabsf(x))
        UNARY(abs_f64, double, double, fabs(x)) UNARY(sqrt_f32, float, float, canonical(sqrtf(x)))
            UNARY(sqrt_f64, double, double, sqrt(x)) UNARY(rcp_f32, float, float, canonical(1.0f / x))
                UNARY(rcp_f64, double, double, 1.0 / x) UNARY(rsqrt_f32, float, float, canonical((float)(1.0 / sqrt((double)x))))
                    UNARY(rsqrt_f64, double, double, 1.0 / sqrt(x)) UNARY(ex2_f32, float, float, canonical((float)exp2((double)x)))
                        UNARY(lg2_f32, float, float, canonical((float)log2((double)x)))
                            UNARY(sin_f32, float, float, canonical((float)sin((double)x)))
                                UNARY(cos_f32, float, float, canonical((float)cos((double)x)))
                                    UNARY(tanh_f32, float, float, canonical((float)tanh((double)x)))

/* f16 and bf16, alone and in pairs: a word is `n` of them. Sums and products are exact in double, or rounded to odd. */
#define HALVES(name, inputs, to_float, from_double, value)                                                                         \
  static void name(void *out, const void *const *in, int n) {                                                                      \
    uint16_t *r = out;                                                                                                             \
    for (int l = 0; l < LANES * n; l++) {                                                                                          \
      double x = (double)to_float(((const uint16_t *)in[0])[l]),                                                                   \
             y = inputs > 1 ? (double)to_float(((const uint16_t *)in[1])[l]) : 0,                                                  \
             z = inputs > 2 ? (double)to_float(((const uint16_t *)in[2])[l]) : 0;                                                  \
      (void)y, (void)z;                                                                                                            \
      r[l] = from_double(value);                                                                                                   \
    }                                                                                                                              \
  }                                                                                                                                \
  static void name##_1(void *out, const void *const *in) { name(out, in, 1); }                                                     \
  static void name##_2(void *out, const void *const *in) { name(out, in, 2); }
                                        static uint16_t double_to_f16(double value) {
  return ptx_f32_to_f16(value, false);
}
#define BOTH_HALVES(name, inputs, value)                                                                                           \
  HALVES(name##_f16, inputs, ptx_f16_to_f32, double_to_f16, value)                                                                 \
  HALVES(name##_bf16, inputs, ptx_bf16_to_f32, double_to_bf16, value)
BOTH_HALVES(add, 2, ptx_add_odd(x, y))
BOTH_HALVES(sub, 2, ptx_add_odd(x, -y))
BOTH_HALVES(mul, 2, x *y)
BOTH_HALVES(min, 2, LESSER(double, x, y))
BOTH_HALVES(max, 2, GREATER(double, x, y))
BOTH_HALVES(min_nan, 2, x != x || y != y ? (double)NAN : LESSER(double, x, y))
BOTH_HALVES(max_nan, 2, x != x || y != y ? (double)NAN : GREATER(double, x, y))
BOTH_HALVES(fma, 3, ptx_add_odd(x *y, z))
BOTH_HALVES(fma_relu, 3, fmax(ptx_add_odd(x *y, z), 0))
BOTH_HALVES(ex2, 1, exp2(x))
BOTH_HALVES(tanh, 1, tanh(x))
UNARY(neg_half, uint16_t, uint16_t, x ^ 0x8000)
UNARY(neg_halves, uint32_t, uint32_t, x ^ 0x80008000)
UNARY(abs_half, uint16_t, uint16_t, x & 0x7fff)
UNARY(abs_halves, uint32_t, uint32_t, x & 0x7fff7fff)

/* ---- which function: opcode, with what tells variants apart, and type ---- */

typedef struct lanes_row {
  const char *name;
  ptx_type type;
  ptx_lanes_function *lanes;
} lanes_row;
#define PLAIN(name)                                                                                                                \
  {#name, T_U16, name##_16}, {#name, T_U32, name##_32}, {#name, T_U64, name##_64}, {#name, T_S16, name##_16},                      \
      {#name, T_S32, name##_32}, {                                                                                                 \
    #name, T_S64, name##_64                                                                                                        \
  }
#define BITS(name)                                                                                                                 \
  {#name, T_B16, name##_16}, {#name, T_B32, name##_32}, { #name, T_B64, name##_64 }
#define BY_SIGN(name)                                                                                                              \
  {#name, T_U16, name##_16}, {#name, T_U32, name##_32}, {#name, T_U64, name##_64}, {#name, T_S16, name##_s16},                     \
      {#name, T_S32, name##_s32}, {                                                                                                \
    #name, T_S64, name##_s64                                                                                                       \
  }
#define FLOATS(name)                                                                                                               \
  {#name, T_F32, name##_f32}, { #name, T_F64, name##_f64 }
#define PAIRS(name)                                                                                                                \
  {#name, T_F16, name##_f16_1}, {#name, T_F16X2, name##_f16_2}, {#name, T_BF16, name##_bf16_1}, { #name, T_BF16X2, name##_bf16_2 }
#define SIGNS(name)                                                                                                                \
  {#name, T_F16, name##_half}, {#name, T_BF16, name##_half}, {#name, T_F16X2, name##_halves}, { #name, T_BF16X2, name##_halves }
static const lanes_row rows[] = {
    PLAIN(add),
    FLOATS(add),
    PAIRS(add),
    {"add.sat", T_S32, add_sat_s32},
    PLAIN(sub),
    FLOATS(sub),
    PAIRS(sub),
    {"sub.sat", T_S32, sub_sat_s32},
    FLOATS(mul),
    PAIRS(mul),
    {"mul.lo", T_U16, mul_16},
    {"mul.lo", T_U32, mul_32},
    {"mul.lo", T_U64, mul_64},
    {"mul.lo", T_S16, mul_16},
    {"mul.lo", T_S32, mul_32},
    {"mul.lo", T_S64, mul_64},
    {"mul.hi", T_U16, mul_hi_u16},
    {"mul.hi", T_U32, mul_hi_u32},
    {"mul.hi", T_U64, mul_hi_u64},
    {"mul.hi", T_S16, mul_hi_s16},
    {"mul.hi", T_S32, mul_hi_s32},
    {"mul.hi", T_S64, mul_hi_s64},
    {"mul.wide", T_U16, mul_wide_u16},
    {"mul.wide", T_S16, mul_wide_s16},
    {"mul.wide", T_U32, mul_wide_u32},
    {"mul.wide", T_S32, mul_wide_s32},
    {"mad.lo", T_U16, mad_16},
    {"mad.lo", T_U32, mad_32},
    {"mad.lo", T_U64, mad_64},
    {"mad.lo", T_S16, mad_16},
    {"mad.lo", T_S32, mad_32},
    {"mad.lo", T_S64, mad_64},
    {"mad.hi", T_U32, mad_hi_u32},
    {"mad.hi", T_S32, mad_hi_s32},
    {"mad.wide", T_U16, mad_wide_u16},
    {"mad.wide", T_S16, mad_wide_s16},
    {"mad.wide", T_U32, mad_wide_u32},
    {"mad.wide", T_S32, mad_wide_s32},
    {"sad", T_U32, sad_u32},
    {"sad", T_S32, sad_s32},
    FLOATS(fma),
    PAIRS(fma),
    {"fma.relu", T_F16, fma_relu_f16_1},
    {"fma.relu", T_F16X2, fma_relu_f16_2},
    {"fma.relu", T_BF16, fma_relu_bf16_1},
    {"fma.relu", T_BF16X2, fma_relu_bf16_2},
    BY_SIGN(div),
    FLOATS(div),
    BY_SIGN(rem),
    BY_SIGN(min),
    FLOATS(min),
    PAIRS(min),
    {"min.NaN", T_F32, min_nan_f32},
    {"min.NaN", T_F16, min_nan_f16_1},
    {"min.NaN", T_F16X2, min_nan_f16_2},
    {"min.NaN", T_BF16, min_nan_bf16_1},
    {"min.NaN", T_BF16X2, min_nan_bf16_2},
    BY_SIGN(max),
    FLOATS(max),
    PAIRS(max),
    {"max.NaN", T_F32, max_nan_f32},
    {"max.NaN", T_F16, max_nan_f16_1},
    {"max.NaN", T_F16X2, max_nan_f16_2},
    {"max.NaN", T_BF16, max_nan_bf16_1},
    {"max.NaN", T_BF16X2, max_nan_bf16_2},
    {"abs", T_S16, abs_s16},
    {"abs", T_S32, abs_s32},
    {"abs", T_S64, abs_s64},
    FLOATS(abs),
    SIGNS(abs),
    {"neg", T_S16, neg_16},
    {"neg", T_S32, neg_32},
    {"neg", T_S64, neg_64},
    FLOATS(neg),
    SIGNS(neg),
    BITS(and),
    BITS(or),
    BITS(xor),
    BITS(not),
    BITS(cnot),
    BITS(shl),
    BITS(shr),
    {"shr", T_U16, shr_16},
    {"shr", T_U32, shr_32},
    {"shr", T_U64, shr_64},
    {"shr", T_S16, shr_s16},
    {"shr", T_S32, shr_s32},
    {"shr", T_S64, shr_s64},
    {"shf.l.wrap", T_B32, shf_l_wrap},
    {"shf.r.wrap", T_B32, shf_r_wrap},
    {"shf.l.clamp", T_B32, shf_l_clamp},
    {"shf.r.clamp", T_B32, shf_r_clamp},
    {"bfe", T_U32, bfe_u32},
    {"bfe", T_S32, bfe_s32},
    {"bfe", T_U64, bfe_u64},
    {"bfe", T_S64, bfe_s64},
    {"bfi", T_B32, bfi_32},
    {"bfi", T_B64, bfi_64},
    {"prmt", T_B32, prmt},
    {"popc", T_B32, popc_32},
    {"popc", T_B64, popc_64},
    {"clz", T_B32, clz_32},
    {"clz", T_B64, clz_64},
    {"brev", T_B32, brev_32},
    {"brev", T_B64, brev_64},
    {"bfind", T_U32, bfind_u32},
    {"bfind", T_U64, bfind_u64},
    {"bfind", T_S32, bfind_s32},
    {"bfind", T_S64, bfind_s64},
    FLOATS(copysign),
    FLOATS(sqrt),
    FLOATS(rcp),
    FLOATS(rsqrt),
    {"ex2", T_F32, ex2_f32},
    {"lg2", T_F32, lg2_f32},
    {"sin", T_F32, sin_f32},
    {"cos", T_F32, cos_f32},
    {"tanh", T_F32, tanh_f32},
    PAIRS(ex2),
    PAIRS(tanh),
};

static void set_lanes(ptx_parser *parser, const ptx_statement *statement, ptx_instruction *out, const char *name, ptx_type type) {
  if (type == T_NONE) ptx_parse_fail(parser, statement->at, "'%s' names no type", statement->name);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (rows[i].type == type && !strcmp(rows[i].name, name)) {
      out->lanes = rows[i].lanes;
      return;
    }
  ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
}

/* ---- what comes before and after a function over lanes ---- */

enum { ROUND_NEAREST, ROUND_ZERO, ROUND_DOWN, ROUND_UP };
static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};

static void flush(void *lanes) {
  uint32_t *word = lanes;
  EACH_LANE(l) if (!(word[l] & 0x7f800000)) word[l] &= 0x80000000;
}

static float nudge(ptx_warp *warp, float value) {
  uint32_t draw = ptx_random(warp->state, 3);
  if (value == 0 || value - value != 0 || draw == 0) return value;
  return nextafterf(value, draw == 1 ? INFINITY : -INFINITY);
}

static void finish(ptx_warp *warp, const ptx_instruction *instruction, void *lanes) {
  if (instruction->flush) flush(lanes);
  if (instruction->saturate && instruction->type == T_F32) {
    float *value = lanes;
    EACH_LANE(l) value[l] = value[l] >= 1 ? 1 : value[l] > 0 ? value[l] : 0;
  }
  if (instruction->saturate && instruction->type == T_F64) {
    double *value = lanes;
    EACH_LANE(l) value[l] = value[l] >= 1 ? 1 : value[l] > 0 ? value[l] : 0;
  }
  if (instruction->approximate && warp->state->launch->perturb) {
    float *value = lanes;
    EACH_LANE(l) value[l] = nudge(warp, value[l]);
  }
}

static ptx_step run_careful(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const void *in[4];
  for (unsigned i = 0; i < instruction->source_count; i++) {
    in[i] = ptx_fetch(warp, &instruction->sources[i], active, i);
    if (instruction->flush) {
      memcpy(warp->scratch[5 + i], in[i], LANES * 4);
      flush(warp->scratch[5 + i]);
      in[i] = warp->scratch[5 + i];
    }
  }
  void *result = warp->scratch[4];
  if (instruction->rounding) fesetround(modes[instruction->rounding]);
  instruction->lanes(result, in);
  if (instruction->rounding) fesetround(FE_TONEAREST);
  finish(warp, instruction, result);
  ptx_put(warp, instruction->targets, active, result, instruction->targets->bytes, false);
  return STEP_NEXT;
}

static int take_rounding(ptx_statement *statement) {
  static const char *const names[] = {"rn", "rz", "rm", "rp", NULL};
  return ptx_take_one(statement, names);
}

/* .rn.ftz.sat of f32 and f64, in any order; the modifiers that float instructions have and integers do not. */
static void float_modifiers(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out, ptx_type type) {
  int rounding = take_rounding(statement);
  if (rounding > 0 && type != T_F32 && type != T_F64)
    ptx_parse_fail(parser, statement->at, "'%s': only rounding to nearest is known here", statement->name);
  out->rounding = (uint8_t)(rounding < 0 ? 0 : rounding);
  if (type == T_F32) out->flush = ptx_take(statement, "ftz");
  if (type == T_F32 || type == T_F64) out->saturate = ptx_take(statement, "sat");
  if (type == T_F32 || type == T_F16 || type == T_BF16 || type == T_F16X2 || type == T_BF16X2) {
    out->approximate = type == T_F32 && ptx_take(statement, "approx");
    if (type != T_F32) ptx_take(statement, "approx");
  }
}

static void bind_simple(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out, const char *name, unsigned count,
                        ptx_type type, ptx_type target) {
  set_lanes(parser, statement, out, name, type);
  bool is_float = ptx_types[type].letter == 'f';
  if (is_float) float_modifiers(parser, statement, out, type);
  ptx_type sources[4] = {type, type, type, type};
  ptx_bind_lanes(parser, statement, out, target, sources, count);
  if (out->rounding || out->flush || out->saturate || out->approximate) out->run = run_careful;
}

static ptx_type type_or_fail(ptx_parser *parser, ptx_statement *statement) {
  ptx_type type = ptx_take_type(statement);
  if (type == T_NONE) ptx_parse_fail(parser, statement->at, "'%s' names no type", statement->name);
  return type;
}

/* ---- predicates ---- */

static ptx_step run_logic(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t a = ptx_fetch_mask(warp, &instruction->sources[0], active),
           b = instruction->source_count > 1 ? ptx_fetch_mask(warp, &instruction->sources[1], active) : 0;
  uint32_t result = instruction->extra.a == '&'   ? a & b
                    : instruction->extra.a == '|' ? a | b
                    : instruction->extra.a == '^' ? a ^ b
                                                  : ~a;
  ptx_put_mask(warp, instruction->targets, active, result);
  return STEP_NEXT;
}

static void bind_logic(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out, int operation) {
  static const ptx_type sources[] = {T_PRED, T_PRED};
  ptx_bind_lanes(parser, statement, out, T_PRED, sources, operation == '~' ? 1 : 2);
  out->run = run_logic;
  out->extra.a = operation;
}

/* ---- binding of plain instructions ---- */

static void bind_add(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_type type = type_or_fail(parser, statement);
  char name[16];
  const char *variant = "";
  if (type == T_S32 && ptx_take(statement, "sat")) variant = ".sat";
  strcpy(name, statement->parts[0]);
  strcat(name, variant);
  bind_simple(parser, statement, out, name, 2, type, type);
}

static ptx_type widened(ptx_type type) {
  return type == T_U16 ? T_U32 : type == T_S16 ? T_S32 : type == T_U32 ? T_U64 : type == T_S32 ? T_S64 : T_NONE;
}

static void bind_mul(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const names[] = {"lo", "hi", "wide", NULL};
  ptx_type type = type_or_fail(parser, statement);
  bool is_mad = !strcmp(statement->parts[0], "mad");
  int part = ptx_take_one(statement, names);
  if (part == NONE && is_mad && type == T_F32) { /* the old name of fma */
    bind_simple(parser, statement, out, "fma", 3, type, type);
    return;
  }
  char name[16];
  strcpy(name, statement->parts[0]);
  if (part != NONE) strcat(strcat(name, "."), names[part]);
  bind_simple(parser, statement, out, name, is_mad ? 3 : 2, type, type);
  if (part == 2) {
    ptx_type wide = widened(type), sources[] = {type, type, wide};
    ptx_bind_lanes(parser, statement, out, wide, sources, is_mad ? 3 : 2);
  }
}

static void bind_fma(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_type type = type_or_fail(parser, statement);
  bind_simple(parser, statement, out, ptx_take(statement, "relu") ? "fma.relu" : "fma", 3, type, type);
}
static void bind_div(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_type type = type_or_fail(parser, statement);
  bool full = type == T_F32 && ptx_take(statement, "full");
  bind_simple(parser, statement, out, "div", 2, type, type);
  if (full) out->approximate = true, out->run = run_careful;
}
static void bind_minmax(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_type type = type_or_fail(parser, statement);
  char name[16];
  strcpy(name, statement->parts[0]);
  if (ptx_types[type].letter == 'f' && ptx_take(statement, "NaN")) strcat(name, ".NaN");
  bind_simple(parser, statement, out, name, 2, type, type);
}
static void bind_two(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_type type = type_or_fail(parser, statement);
  bind_simple(parser, statement, out, statement->parts[0], 2, type, type);
}
static void bind_one(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_type type = type_or_fail(parser, statement);
  bind_simple(parser, statement, out, statement->parts[0], 1, type, type);
}
static void bind_three(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_type type = type_or_fail(parser, statement);
  bind_simple(parser, statement, out, statement->parts[0], 3, type, type);
}
static void bind_bitwise(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const names[] = {"and", "or", "xor", "not", NULL};
  ptx_type type = type_or_fail(parser, statement);
  for (int i = 0; type == T_PRED && names[i]; i++)
    if (!strcmp(names[i], statement->parts[0])) {
      bind_logic(parser, statement, out, "&|^~"[i]);
      return;
    }
  bool is_unary = statement->parts[0][0] == 'n' || statement->parts[0][0] == 'c';
  bind_simple(parser, statement, out, statement->parts[0], is_unary ? 1 : 2, type, type);
}
static void bind_count(ptx_parser *parser, ptx_statement *statement,
                       ptx_instruction *out) { /* popc, clz, bfind: the result has 32 bits */
  ptx_type type = type_or_fail(parser, statement);
  bind_simple(parser, statement, out, statement->parts[0], 1, type, T_U32);
}
static void bind_shift(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_type type = type_or_fail(parser, statement), sources[] = {type, T_U32};
  set_lanes(parser, statement, out, statement->parts[0], type);
  ptx_bind_lanes(parser, statement, out, type, sources, 2);
}
static void bind_shf(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  bool left = ptx_take(statement, "l"), wrap = ptx_take(statement, "wrap");
  if (!left) ptx_take(statement, "r");
  if (!wrap) ptx_take(statement, "clamp");
  ptx_type type = type_or_fail(parser, statement), sources[] = {type, type, T_U32};
  set_lanes(parser, statement, out, left ? (wrap ? "shf.l.wrap" : "shf.l.clamp") : wrap ? "shf.r.wrap" : "shf.r.clamp", type);
  ptx_bind_lanes(parser, statement, out, type, sources, 3);
}
static void bind_field(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_type type = type_or_fail(parser, statement);
  bool insert = !strcmp(statement->parts[0], "bfi");
  ptx_type sources[] = {type, insert ? type : T_U32, T_U32, T_U32};
  set_lanes(parser, statement, out, statement->parts[0], type);
  ptx_bind_lanes(parser, statement, out, type, sources, insert ? 4 : 3);
}

static ptx_step run_lop3(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const uint32_t *a = ptx_fetch(warp, &instruction->sources[0], active, 0),
                 *b = ptx_fetch(warp, &instruction->sources[1], active, 1),
                 *c = ptx_fetch(warp, &instruction->sources[2], active, 2);
  uint32_t *r = (uint32_t *)(void *)warp->scratch[4];
  for (int l = 0; l < LANES; l++) {
    r[l] = 0;
    for (int i = 0; i < 8; i++)
      if (instruction->extra.a >> i & 1) r[l] |= (i & 4 ? a[l] : ~a[l]) & (i & 2 ? b[l] : ~b[l]) & (i & 1 ? c[l] : ~c[l]);
  }
  ptx_put(warp, instruction->targets, active, r, 4, false);
  return STEP_NEXT;
}
static void bind_lop3(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const ptx_type sources[] = {T_B32, T_B32, T_B32};
  ptx_take(statement, "b32");
  ptx_want_operands(parser, statement, 5, 5);
  out->extra.a = ptx_want_integer(parser, &statement->operands[4]);
  statement->operand_count = 4;
  ptx_bind_lanes(parser, statement, out, T_B32, sources, 3);
  out->run = run_lop3;
}

/* ---- comparisons ---- */

#define COMPARE(name, T, value)                                                                                                    \
  static uint32_t name(const void *const *in) {                                                                                    \
    const T *a = in[0], *b = in[1];                                                                                                \
    uint32_t mask = 0;                                                                                                             \
    EACH_LANE(l) {                                                                                                                 \
      T x = a[l], y = b[l];                                                                                                        \
      mask |= (uint32_t)(value) << l;                                                                                              \
    }                                                                                                                              \
    return mask;                                                                                                                   \
  }
#define COMPARISONS(suffix, T)                                                                                                     \
  COMPARE(eq_##suffix, T, x == y)                                                                                                  \
  COMPARE(lt_##suffix, T, x < y)                                                                                                   \
  COMPARE(le_##suffix, T, x <= y) COMPARE(other_##suffix, T, (x < y) | (x > y)) COMPARE(number_##suffix, T, (x == x) & (y == y))
COMPARISONS(u16, uint16_t)
COMPARISONS(s16, int16_t)
COMPARISONS(u32, uint32_t)
COMPARISONS(s32, int32_t)
COMPARISONS(u64, uint64_t)
COMPARISONS(s64, int64_t)
COMPARISONS(f32, float)
COMPARISONS(f64, double)
enum { COMPARE_EQ, COMPARE_LT, COMPARE_LE, COMPARE_OTHER, COMPARE_NUMBER, COMPARISON_KINDS };
#define COMPARE_ROW(suffix) {eq_##suffix, lt_##suffix, le_##suffix, other_##suffix, number_##suffix}
static ptx_compare_function *const comparisons[TYPES][COMPARISON_KINDS] = {
    [T_U16] = COMPARE_ROW(u16),  [T_B16] = COMPARE_ROW(u16), [T_S16] = COMPARE_ROW(s16), [T_U32] = COMPARE_ROW(u32),
    [T_B32] = COMPARE_ROW(u32),  [T_S32] = COMPARE_ROW(s32), [T_U64] = COMPARE_ROW(u64), [T_B64] = COMPARE_ROW(u64),
    [T_S64] = COMPARE_ROW(s64),  [T_F32] = COMPARE_ROW(f32), [T_F64] = COMPARE_ROW(f64), [T_F16] = COMPARE_ROW(f32),
    [T_BF16] = COMPARE_ROW(f32),
};
/* A comparison is one of the five, with its operands exchanged or not, and the answer turned round or not. */
static const struct comparison {
  const char *name, *letters; /* of types that have it */
  uint8_t kind;
  bool exchange, turn;
} comparison_names[] = {{"eq", "busf", COMPARE_EQ, 0, 0},   {"ne", "bus", COMPARE_EQ, 0, 1},
                        {"ne", "f", COMPARE_OTHER, 0, 0},   {"lt", "usf", COMPARE_LT, 0, 0},
                        {"le", "usf", COMPARE_LE, 0, 0},    {"gt", "usf", COMPARE_LT, 1, 0},
                        {"ge", "usf", COMPARE_LE, 1, 0},    {"lo", "u", COMPARE_LT, 0, 0},
                        {"ls", "u", COMPARE_LE, 0, 0},      {"hi", "u", COMPARE_LT, 1, 0},
                        {"hs", "u", COMPARE_LE, 1, 0},      {"equ", "f", COMPARE_OTHER, 0, 1},
                        {"neu", "f", COMPARE_EQ, 0, 1},     {"ltu", "f", COMPARE_LE, 1, 1},
                        {"leu", "f", COMPARE_LT, 1, 1},     {"gtu", "f", COMPARE_LE, 0, 1},
                        {"geu", "f", COMPARE_LT, 0, 1},     {"num", "f", COMPARE_NUMBER, 0, 0},
                        {"nan", "f", COMPARE_NUMBER, 0, 1}, {NULL, NULL, 0, 0, 0}};

static void widen_halves(float *to, const uint16_t *from, int type) {
  EACH_LANE(l) to[l] = type == T_F16 ? ptx_f16_to_f32(from[l]) : ptx_bf16_to_f32(from[l]);
}

static ptx_step run_setp(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const struct comparison *how = instruction->extra.table;
  const void *in[2];
  for (unsigned i = 0; i < 2; i++) {
    const void *lanes = ptx_fetch(warp, &instruction->sources[i], active, i);
    if (instruction->type == T_F16 || instruction->type == T_BF16) {
      widen_halves((float *)(void *)warp->scratch[5 + i], lanes, instruction->type);
      lanes = warp->scratch[5 + i];
    } else if (instruction->flush) {
      memcpy(warp->scratch[5 + i], lanes, LANES * 4);
      flush(warp->scratch[5 + i]);
      lanes = warp->scratch[5 + i];
    }
    in[how->exchange ? 1 - i : i] = lanes;
  }
  uint32_t yes = instruction->compare(in);
  if (how->turn) yes = ~yes;
  uint32_t no = ~yes;
  if (instruction->source_count > 2) {
    uint32_t with = ptx_fetch_mask(warp, &instruction->sources[2], active);
    yes = instruction->extra.a == '&' ? yes & with : instruction->extra.a == '|' ? yes | with : yes ^ with;
    no = instruction->extra.a == '&' ? no & with : instruction->extra.a == '|' ? no | with : no ^ with;
  }
  ptx_put_mask(warp, &instruction->targets[0], active, yes);
  if (instruction->target_count > 1) ptx_put_mask(warp, &instruction->targets[1], active, no);
  return STEP_NEXT;
}

static void bind_setp(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const joins[] = {"and", "or", "xor", NULL};
  ptx_type type = type_or_fail(parser, statement);
  const struct comparison *how = comparison_names;
  const char *name = statement->part_count > 1 ? statement->parts[1] : "";
  while (how->name && (strcmp(how->name, name) || !strchr(how->letters, ptx_types[type].letter))) how++;
  if (!how->name || !comparisons[type][how->kind]) ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  statement->used |= 2;
  int join = ptx_take_one(statement, joins);
  if (type == T_F32) out->flush = ptx_take(statement, "ftz");
  ptx_want_operands(parser, statement, join == NONE ? 3 : 4, join == NONE ? 3 : 4);
  const ptx_operand *target = statement->operands;
  out->target_count = target->kind == OPERAND_PAIR ? 2 : 1;
  out->source_count = join == NONE ? 2 : 3;
  out->targets = ptx_parse_allocate(parser, 2 * sizeof *out->targets);
  out->sources = ptx_parse_allocate(parser, 3 * sizeof *out->sources);
  for (unsigned i = 0; i < out->target_count; i++)
    ptx_bind_target(parser, target->kind == OPERAND_PAIR ? &target->items[i] : target, 0, &out->targets[i]);
  for (unsigned i = 0; i < out->source_count; i++)
    ptx_bind_source(parser, &statement->operands[i + 1], i < 2 ? type : T_PRED, &out->sources[i]);
  out->type = (uint8_t)type;
  out->compare = comparisons[type][how->kind];
  out->extra.a = join == NONE ? 0 : "&|^"[join];
  out->extra.table = how;
  out->run = run_setp;
}

static ptx_step run_selp(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  uint32_t mask = ptx_fetch_mask(warp, &instruction->sources[2], active);
  /* Only what is chosen is read: the other may be nothing yet. */
  const uint8_t *a = ptx_fetch(warp, &instruction->sources[0], active & mask, 0),
                *b = ptx_fetch(warp, &instruction->sources[1], active & ~mask, 1);
  unsigned bytes = instruction->targets->bytes;
  uint8_t *r = warp->scratch[4];
  for (unsigned l = 0; l < LANES; l++) memcpy(r + l * bytes, (mask >> l & 1 ? a : b) + l * bytes, bytes);
  ptx_put(warp, instruction->targets, active, r, bytes, false);
  return STEP_NEXT;
}
static void bind_selp(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  ptx_type type = type_or_fail(parser, statement), sources[] = {type, type, T_PRED};
  ptx_bind_lanes(parser, statement, out, type, sources, 3);
  out->run = run_selp;
}

/* ---- conversions ---- */

static int64_t element(const void *lanes, int l, ptx_type type) {
  switch (type) {
  case T_U8:
  case T_B8: return ((const uint8_t *)lanes)[l];
  case T_S8: return ((const int8_t *)lanes)[l];
  case T_U16:
  case T_B16:
  case T_F16:
  case T_BF16: return ((const uint16_t *)lanes)[l];
  case T_S16: return ((const int16_t *)lanes)[l];
  case T_U32:
  case T_B32: return ((const uint32_t *)lanes)[l];
  case T_S32: return ((const int32_t *)lanes)[l];
  default: return ((const int64_t *)lanes)[l];
  }
}
static double float_element(const void *lanes, int l, ptx_type type) {
  switch (type) {
  case T_F16: return (double)ptx_f16_to_f32(((const uint16_t *)lanes)[l]);
  case T_BF16: return (double)ptx_bf16_to_f32(((const uint16_t *)lanes)[l]);
  case T_F64: return ((const double *)lanes)[l];
  default: return (double)((const float *)lanes)[l];
  }
}

enum { INTEGRAL_NEAREST = 1, INTEGRAL_ZERO, INTEGRAL_DOWN, INTEGRAL_UP };
static double integral(double value, int64_t how) {
  switch (how) {
  case INTEGRAL_NEAREST: return nearbyint(value);
  case INTEGRAL_ZERO: return trunc(value);
  case INTEGRAL_DOWN: return floor(value);
  case INTEGRAL_UP: return ceil(value);
  default: return value;
  }
}

static uint64_t integer_of(double value, ptx_type type, bool from_double) {
  unsigned bits = ptx_types[type].bytes * 8u;
  bool is_signed = ptx_types[type].letter == 's';
  if (value != value) return bits == 64 || from_double ? UINT64_C(1) << (bits - 1) : 0;
  double most = ldexp(1, (int)(is_signed ? bits - 1 : bits)), least = is_signed ? -most : 0;
  if (value >= most) return is_signed ? (UINT64_C(1) << (bits - 1)) - 1 : bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
  if (value <= least) return is_signed ? UINT64_MAX << (bits - 1) : 0;
  return is_signed ? (uint64_t)(int64_t)value : (uint64_t)value;
}

static float f32_of(double value, int rounding) {
  volatile double from = value;
  volatile float result;
  if (rounding) fesetround(modes[rounding]);
  result = (float)from;
  if (rounding) fesetround(FE_TONEAREST);
  return canonical(result);
}
static float f32_of_integer(int64_t value, bool is_signed, int rounding) {
  volatile int64_t from = value;
  volatile float result;
  if (rounding) fesetround(modes[rounding]);
  result = is_signed ? (float)from : (float)(uint64_t)from;
  if (rounding) fesetround(FE_TONEAREST);
  return result;
}

static void store_float(void *lanes, int l, ptx_type type, double value, int rounding) {
  switch (type) {
  case T_F16: ((uint16_t *)lanes)[l] = ptx_f32_to_f16(value, rounding == ROUND_ZERO); break;
  case T_BF16: ((uint16_t *)lanes)[l] = rounding == ROUND_ZERO ? ptx_f32_to_bf16((float)value, true) : double_to_bf16(value); break;
  case T_F64: ((double *)lanes)[l] = value; break;
  default: ((float *)lanes)[l] = f32_of(value, rounding); break;
  }
}

static bool is_float(ptx_type type) { return ptx_types[type].letter == 'f'; }

static ptx_step run_cvt(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  ptx_type to = instruction->type, from = (ptx_type)instruction->extra.a;
  const void *in = ptx_fetch(warp, instruction->sources, active, 0);
  void *out = warp->scratch[4];
  if (instruction->flush && from == T_F32) {
    memcpy(warp->scratch[5], in, LANES * 4);
    flush(warp->scratch[5]);
    in = warp->scratch[5];
  }
  EACH_LANE(l) {
    if (is_float(from)) {
      double value = integral(float_element(in, l, from), instruction->extra.b);
      if (instruction->relu && !(value > 0)) value = value != value ? value : 0;
      if (instruction->saturate && is_float(to)) value = value >= 1 ? 1 : value > 0 ? value : 0;
      if (is_float(to)) store_float(out, l, to, value, instruction->rounding);
      else {
        uint64_t bits = integer_of(value, to, from == T_F64);
        memcpy((uint8_t *)out + l * ptx_types[to].bytes, &bits, ptx_types[to].bytes);
      }
    } else {
      int64_t value = element(in, l, from);
      bool is_signed = ptx_types[from].letter == 's';
      if (to == T_F32) ((float *)out)[l] = f32_of_integer(value, is_signed, instruction->rounding);
      else if (is_float(to)) store_float(out, l, to, is_signed ? (double)value : (double)(uint64_t)value, instruction->rounding);
      else {
        if (instruction->saturate) {
          unsigned bits = ptx_types[to].bytes * 8u;
          bool to_signed = ptx_types[to].letter == 's';
          uint64_t most = to_signed ? (UINT64_C(1) << (bits - 1)) - 1 : bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
          int64_t least = to_signed ? (int64_t)(UINT64_MAX << (bits - 1)) : 0;
          if (is_signed && value < 0) value = value < least ? least : value;
          else if ((uint64_t)value > most) value = (int64_t)most;
        }
        memcpy((uint8_t *)out + l * ptx_types[to].bytes, &value, ptx_types[to].bytes);
      }
    }
  }
  if (instruction->flush && to == T_F32) flush(out);
  ptx_put(warp, instruction->targets, active, out, ptx_types[to].bytes, ptx_types[to].letter == 's');
  return STEP_NEXT;
}

#define CONVERT(name, R, A) UNARY(name, R, A, x)
#define CONVERT_TO(suffix, A)                                                                                                      \
  CONVERT(to8_##suffix, uint8_t, A)                                                                                                \
  CONVERT(to16_##suffix, uint16_t, A) CONVERT(to32_##suffix, uint32_t, A) CONVERT(to64_##suffix, uint64_t, A)
CONVERT_TO(u8, uint8_t)
CONVERT_TO(s8, int8_t)
CONVERT_TO(u16, uint16_t)
CONVERT_TO(s16, int16_t)
CONVERT_TO(u32, uint32_t)
CONVERT_TO(s32, int32_t)
CONVERT_TO(u64, uint64_t)
#define CONVERT_ROW(suffix) {to8_##suffix, to16_##suffix, to32_##suffix, to64_##suffix}
static ptx_lanes_function *const integer_conversions[TYPES][4] = {
    [T_U8] = CONVERT_ROW(u8),   [T_S8] = CONVERT_ROW(s8),   [T_U16] = CONVERT_ROW(u16), [T_S16] = CONVERT_ROW(s16),
    [T_U32] = CONVERT_ROW(u32), [T_S32] = CONVERT_ROW(s32), [T_U64] = CONVERT_ROW(u64), [T_S64] = CONVERT_ROW(u64)};

/* Two f32 to a word: the first operand is the high half. */
static ptx_step run_cvt_pair(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const float *high = ptx_fetch(warp, &instruction->sources[0], active, 0),
              *low = ptx_fetch(warp, &instruction->sources[1], active, 1);
  uint32_t *out = (uint32_t *)(void *)warp->scratch[4];
  bool toward_zero = instruction->rounding == ROUND_ZERO;
  EACH_LANE(l) {
    float h = high[l], w = low[l];
    if (instruction->relu) h = h < 0 ? 0 : h, w = w < 0 ? 0 : w;
    if (instruction->type == T_BF16X2) out[l] = (uint32_t)ptx_f32_to_bf16(h, toward_zero) << 16 | ptx_f32_to_bf16(w, toward_zero);
    else out[l] = (uint32_t)ptx_f32_to_f16((double)h, toward_zero) << 16 | ptx_f32_to_f16((double)w, toward_zero);
  }
  ptx_put(warp, instruction->targets, active, out, 4, false);
  return STEP_NEXT;
}

static ptx_step run_cvt_tf32(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const uint32_t *in = ptx_fetch(warp, instruction->sources, active, 0);
  uint32_t *out = (uint32_t *)(void *)warp->scratch[4];
  EACH_LANE(l) {
    uint32_t word = in[l];
    if ((word & 0x7fffffff) > 0x7f800000) word = 0x7fffffff;
    else if ((word & 0x7f800000) != 0x7f800000) { /* 10 bits of the fraction stay; halves go away from zero, or to even */
      word += instruction->extra.b ? 0x1000 : 0xfff + (word >> 13 & 1);
      word &= ~UINT32_C(0x1fff);
    }
    out[l] = word;
  }
  ptx_put(warp, instruction->targets, active, out, 4, false);
  return STEP_NEXT;
}

static void bind_cvt(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const integrals[] = {"rni", "rzi", "rmi", "rpi", NULL};
  ptx_type to = type_or_fail(parser, statement), from = type_or_fail(parser, statement);
  int rounding = take_rounding(statement), whole = ptx_take_one(statement, integrals);
  ptx_type sources[] = {from, from};
  out->rounding = (uint8_t)(rounding < 0 ? 0 : rounding);
  out->extra.a = from;
  out->extra.b = whole + 1;
  if (to == T_BF16X2 || to == T_F16X2) {
    if (from != T_F32 || rounding > ROUND_ZERO || rounding < 0)
      ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
    out->relu = ptx_take(statement, "relu");
    ptx_bind_lanes(parser, statement, out, to, sources, 2);
    out->run = run_cvt_pair;
    return;
  }
  if (to == T_TF32) {
    out->extra.b = ptx_take(statement, "rna");
    if (from != T_F32 || (rounding != ROUND_NEAREST && !out->extra.b))
      ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
    ptx_bind_lanes(parser, statement, out, T_B32, sources, 1);
    out->run = run_cvt_tf32;
    return;
  }
  bool is_b =
      ptx_types[to].letter == 'b' || ptx_types[from].letter == 'b' || ptx_types[to].letter == 'p' || ptx_types[from].letter == 'p';
  bool narrows = is_float(to) && (is_float(from) ? ptx_types[to].bytes < ptx_types[from].bytes : true);
  if (is_b || from == T_TF32 || from == T_F16X2 || from == T_BF16X2 || ptx_types[to].bytes > 8)
    ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  if (is_float(from) && !is_float(to) && whole == NONE)
    ptx_parse_fail(parser, statement->at, "'%s' needs a rounding to an integer, as .rzi", statement->name);
  if (narrows && rounding == NONE) ptx_parse_fail(parser, statement->at, "'%s' needs a rounding, as .rn", statement->name);
  if ((to == T_F16 || to == T_BF16) && rounding > ROUND_ZERO)
    ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  if (from == T_F32 || to == T_F32) out->flush = ptx_take(statement, "ftz");
  out->saturate = ptx_take(statement, "sat");
  out->relu = (to == T_F16 || to == T_BF16) && ptx_take(statement, "relu");
  ptx_bind_lanes(parser, statement, out, to, sources, 1);
  if (is_float(to) || is_float(from) || out->saturate) out->run = run_cvt;
  else
    out->lanes = integer_conversions[from][ptx_types[to].bytes == 1   ? 0
                                           : ptx_types[to].bytes == 2 ? 1
                                           : ptx_types[to].bytes == 4 ? 2
                                                                      : 3];
}

/* f32 that is infinite, normal, ..: LLVM asks for them now and then. */
static ptx_step run_testp(ptx_warp *warp, const ptx_instruction *instruction, uint32_t active) {
  const void *in = ptx_fetch(warp, instruction->sources, active, 0);
  uint32_t mask = 0;
  EACH_LANE(l) {
    double value = float_element(in, l, (ptx_type)instruction->extra.b);
    int class = instruction->extra.b == T_F64 ? fpclassify(value) : fpclassify((float)value);
    bool yes[] = {class != FP_INFINITE && class != FP_NAN,
                  class == FP_INFINITE,
                  class != FP_NAN,
                  class == FP_NAN,
                  class == FP_NORMAL,
                  class == FP_SUBNORMAL};
    mask |= (uint32_t)yes[instruction->extra.a] << l;
  }
  ptx_put_mask(warp, instruction->targets, active, mask);
  return STEP_NEXT;
}
static void bind_testp(ptx_parser *parser, ptx_statement *statement, ptx_instruction *out) {
  static const char *const names[] = {"finite", "infinite", "number", "notanumber", "normal", "subnormal", NULL};
  ptx_type type = type_or_fail(parser, statement);
  int which = ptx_take_one(statement, names);
  if (which == NONE || (type != T_F32 && type != T_F64))
    ptx_parse_fail(parser, statement->at, "'%s' is not known here", statement->name);
  ptx_bind_lanes(parser, statement, out, T_PRED, &type, 1);
  out->extra.a = which;
  out->extra.b = type;
  out->run = run_testp;
}

const ptx_opcode ptx_scalar_opcodes[] = {
    {"add", bind_add},     {"sub", bind_add},     {"mul", bind_mul},     {"mad", bind_mul},
    {"fma", bind_fma},     {"div", bind_div},     {"rem", bind_two},     {"min", bind_minmax},
    {"max", bind_minmax},  {"abs", bind_one},     {"neg", bind_one},     {"and", bind_bitwise},
    {"or", bind_bitwise},  {"xor", bind_bitwise}, {"not", bind_bitwise}, {"cnot", bind_bitwise},
    {"shl", bind_shift},   {"shr", bind_shift},   {"shf", bind_shf},     {"bfe", bind_field},
    {"bfi", bind_field},   {"lop3", bind_lop3},   {"prmt", bind_three},  {"sad", bind_three},
    {"popc", bind_count},  {"clz", bind_count},   {"bfind", bind_count}, {"brev", bind_one},
    {"setp", bind_setp},   {"selp", bind_selp},   {"cvt", bind_cvt},     {"copysign", bind_two},
    {"ex2", bind_one},     {"lg2", bind_one},     {"rcp", bind_one},     {"sqrt", bind_one},
    {"rsqrt", bind_one},   {"sin", bind_one},     {"cos", bind_one},     {"tanh", bind_one},
    {"testp", bind_testp}, {NULL, NULL}};
