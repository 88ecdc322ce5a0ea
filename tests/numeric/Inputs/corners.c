/* Corners of C that are accepted, each a function named c_. It is compiled as the test runs, without warnings and with integers that wrap. */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#define REPEAT(n) for (int i_ = 0; i_ < (n); i_++)
float c_sizeof_side(float x) {
  int n = 3;
  int m = (int)sizeof(n++);
  return x + (float)(n + m);
}
float c_offset(float x) {
  struct s {
    int a;
    float b;
  };
  return x + (float)__builtin_offsetof(struct s, b);
}
float c_alignof(float x) { return x + (float)_Alignof(double); }
static void cl(float *p) { (void)p; }
float c_cleanup(float x) {
  __attribute__((cleanup(cl))) float y = x;
  return y;
}
float c_dup_for(float x) {
  float s = 0;
  REPEAT(3) s += x;
  return s;
}
float c_for_empty(float x) {
  int i = 0;
  for (; i < 3;) {
    x += 1;
    i++;
  }
  return x;
}
float c_for_comma(float x) {
  for (int i = 0, j = 5; i < j; i++, j--) x += (float)(i * j);
  return x;
}
float c_float_loop(float x) {
  for (float t = 0; t < 1; t += 0.3f) x += t;
  return x;
}
float c_do_continue(float x) {
  int i = 0;
  do {
    i++;
    if (x > (float)i) continue;
    x -= 1;
  } while (i < 4);
  return x;
}
float c_switch_nodefault(float x) {
  int k = x > 0 ? 1 : 0;
  switch (k) {
  case 1: x = 5;
  }
  return x;
}
float c_switch_decl(float x) {
  switch (x > 0) {
    int y;
  case 0:
    y = 3;
    x += (float)y;
    break;
  default: y = 4; x -= (float)y;
  }
  return x;
}
float c_switch_inner(float x) {
  for (int i = 0; i < 3; i++) {
    switch (i) {
    case 1: continue;
    case 2: break;
    default: x += 1;
    }
    x += 10;
  }
  return x;
}
float c_switch_long(float x) {
  long k = x > 1 ? 0x100000001L : 1;
  switch (k) {
  case 1: return 1;
  case 0x100000001L: return 2;
  }
  return 3;
}
float c_switch_char(float x) {
  signed char k = x > 1 ? -1 : 1;
  switch (k) {
  case -1: return 1;
  case 255: return 2;
  case 1: return 4;
  }
  return 3;
}
float c_switch_unsigned(float x) {
  unsigned k = x > 1 ? ~0u : 1;
  switch (k) {
  case -1: return 1;
  default: return 4;
  }
}
float c_bool_inc(float x) {
  bool b = x > 0;
  b++;
  b += 2;
  return b;
}
float c_bool_dec(float x) {
  bool b = x > 0;
  b--;
  return b;
}
float c_bool_nan(float x) { return (bool)x + (bool)(x * 0.5f) * 2; }
float c_bool_neg(float x) {
  bool b = x > 0;
  return -b + ~b + !b;
}
float c_char_wrap(float x) {
  unsigned char c = 250;
  c += (x > 0) * 10;
  char d = (char)(c + 100);
  return c + d;
}
float c_shift_assign(float x) {
  int i = x > 0 ? -8 : 9;
  i >>= 1;
  i <<= 3;
  return i;
}
float c_ushift(float x) {
  unsigned i = x > 0 ? 0x80000000u : 9;
  i >>= 31;
  return i;
}
float c_shift_long(float x) {
  int i = x > 0 ? 3 : 5;
  return (float)(1 << (long)i) + (float)(1LL << (i + 32));
}
float c_uchar_shift(float x) {
  unsigned char c = x > 0 ? 255 : 1;
  return (float)(c << 24) + (float)(c >> 1);
}
float c_mixed(float x) {
  int i = x > 0 ? -1 : 1;
  unsigned u = 1;
  return i < u;
}
float c_mixed2(float x) {
  long l = x > 0 ? -1 : 1;
  unsigned u = 1;
  return l < u;
}
float c_mixed3(float x) {
  short s = x > 0 ? -1 : 1;
  unsigned short u = 65535;
  return (s == u) + 2 * ((unsigned short)s == u);
}
float c_ternary_type(float x) {
  unsigned u = 1;
  int i = -2;
  return (float)(x > 0 ? u : i);
}
float c_ternary_const(float x) { return (float)(x > 0 ? 1u : -2); }
float c_nested_ternary(float x) { return x > 0 ? x > 1 ? x > 2 ? 1 : 2 : 3 : 4; }
float c_neg_zero(float x) { return 1 / (x * -0.0f) + 1 / copysignf(0.f, x == x ? x : 1); }
float c_negate_uint(float x) {
  unsigned u = x > 0 ? 1 : 2;
  return (float)-u;
}
float c_int_min(float x) {
  int i = x > 0 ? INT_MIN : 7;
  return (float)(i / 2) + (float)(i % 7);
}
float c_long_float(float x) {
  long l = x > 0 ? LONG_MAX - 5 : 16777217;
  return (float)l;
}
float c_ulong_float(float x) {
  unsigned long l = x > 0 ? ULONG_MAX : 0x8000008000000001ul;
  return (float)l;
}
float c_ulong_const(float x) { return x + (float)0x8000008000000001ul + (float)16777217; }
float c_double_const(float x) { return (float)(x + 0.1) + 0.1f * 3 + 1.0f / 3 + (float)(1.0 / 3); }
float c_hexfloat(float x) { return x * 0x1.fffffep0f + 0x1p-149f; }
float c_octal(float x) { return x + 0777 + 0b101 + '\n' + '\xff' + L'a' + u'b'; }
float c_limits(float x) { return x * FLT_EPSILON + FLT_MIN + CHAR_MIN + SHRT_MAX + (float)UINT64_MAX + FLT_DIG + M_PI; }
float c_multi(float x) {
  float a, b, c;
  a = b = c = x + 1;
  return a * b - c;
}
float c_comma_for(float x) {
  float y;
  return (y = x, y += 1, y) * 2;
}
float c_andor(float x) {
  int n = 0;
  (void)(x > 0 && (n = 1));
  (void)(x > 1 || (n += 2));
  return n;
}
float c_not_chain(float x) { return !!x + !x * 2 + !(x > 1) * 4; }
static float kr(x, n)
float x;
short n;
{ return x + n; }
float c_kr_call(float x) { return kr(x, 70000); }
static inline __attribute__((always_inline)) float inl(const float x) { return x + 1; }
float c_inline(float x) { return inl(inl(x)); }
static void noop(float x) {
  if (x > 0) return;
  x += 1;
}
float c_void_call(float x) {
  noop(x);
  x > 0 ? noop(x) : (void)0;
  return x;
}
static int early(float x) {
  for (int i = 0; i < 5; i++) {
    if (x < (float)i) return i;
  }
  return -1;
}
float c_early(float x) { return (float)early(x) + (float)early(-x); }
float c_paramassign(float x) {
  x += 1;
  {
    float x = 3;
    x++;
  }
  return x;
}
float c_static_const(float x) {
  static const float k = 2.5f;
  static const int n = 3;
  return x * k + n;
}
float c_enum_local(float x) {
  enum { A = 4, B = A * 2 + 1 };
  return x + A + B;
}
float c_typedef_local(float x) {
  typedef double d;
  d y = x;
  return (float)(y * y);
}
float c_expect(float x) {
  if (__builtin_expect(x > 0, 1)) return 1;
  return 0;
}
float c_builtin(float x) {
  return __builtin_fabsf(x) + __builtin_floorf(x) + __builtin_copysignf(1, x == x ? x : 1) + (__builtin_isnan(x) ? 1 : 0);
}
float c_inf(float x) { return x > 0 ? INFINITY : -INFINITY; }
float c_nan(float x) { return x > 0 ? NAN : __builtin_nanf(""); }
float c_huge(float x) { return x + HUGE_VALF; }
float c_isinf(float x) {
  return (float)isinf(x) + 2 * (float)!!isnan(x) + 4 * (float)!!isfinite(x) + 8 * (float)!!isnormal(x) +
         16.f * !!signbit(x == x ? x : 1);
}
float c_isgreater(float x, float y) {
  return isgreater(x, y) + 2 * isless(x, y) + 4 * islessgreater(x, y) + 8 * isunordered(x, y) + 16 * isgreaterequal(x, y) +
         32 * islessequal(x, y);
}
float c_fdim(float x, float y) { return fdimf(x, y); }
float c_fmod(float x, float y) { return fmodf(x, y); }
float c_lround(float x) { return fabsf(x) < 1e9f ? (float)lroundf(x) + (float)lrintf(x) : 0; }
float c_abs(float x) {
  int i = fabsf(x) < 1e6f ? (int)x : 3;
  return (float)abs(i) + (float)labs(-i) + (float)__builtin_abs(i - 7);
}
float c_abs_uint(float x) {
  unsigned i = fabsf(x) < 1e6f && x > 0 ? (unsigned)x : 3;
  return (float)labs(i - 10);
}
float c_abs_float(float x) { return fabsf(x) < 1e6f ? (float)abs((int)x) : 0; }
float c_pow(float x, float y) { return powf(x, 2) + (float)pow(y, 2); }
float c_scalb(float x) { return ldexpf(x, 10) + scalbnf(x, -126) + (float)ldexp(x, -1000); }
float c_rint(float x) { return rintf(x) + nearbyintf(x) * 2 + roundf(x) * 4 + truncf(x); }
float c_fma_const(float x) { return fmaf(0.1f, 0.1f, x) + (float)fma(0.1, 0.1, x) + fmaf(1e30f, 1e30f, -x); }
float c_attr(float x) {
  if (x > 0) [[likely]]
    return 1;
  else return 2;
}
float c_fall(float x) {
  switch (x > 0) {
  case 0: x = 1; __attribute__((fallthrough));
  case 1: x += 2;
  }
  return x;
}
float c_pragma(float x) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) x += 1;
  return x;
}
float c_while_side(float x) {
  int i = 4;
  while (i-- > 0) x += (float)i;
  return x + (float)i;
}
float c_cond_side(float x) {
  int i = 0;
  float y = x > 0 ? (i = 5, x) : (i = 7, -x);
  return y + (float)i;
}
float c_assign_cond(float x) {
  float y;
  if ((y = x * 2) > 1) return y;
  return -y;
}
float c_infinite_break(float x) {
  int i = 0;
  for (;;) {
    if (++i > 6) break;
    x += 1;
  }
  return x;
}
float c_nested_break(float x) {
  int n = 0;
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      if (x > (float)(i * j)) break;
      n++;
    }
  return n;
}
float c_perhaps(float x) {
  float y;
  if (x > 0) y = 1;
  else y = 2;
  return y;
}
float c_unset_ok(float x) {
  float y;
  for (int i = 0; i < 2; i++) {
    if (i == 0) y = x;
    else x = y + 1;
  }
  return x;
}
float c_redecl(float x) {
  float s = 0;
  for (int i = 0; i < 3; i++) {
    float y;
    if (i == 0) y = 1;
    else y = x;
    s += y;
  }
  return s;
}
float c_i8(float x) {
  signed char c = x > 0 ? 127 : -128;
  c++;
  return c;
}
float c_u16mul(float x) {
  unsigned short a = x > 0 ? 65535 : 2;
  return (float)(unsigned)((unsigned)a * a);
}
float c_compound_float_int(float x) {
  int i = 5;
  i *= 1.5f;
  i += 0.9;
  return x + (float)i;
}
float c_compound_run(float x) {
  int i = 5;
  if (fabsf(x) < 1000) i *= x;
  return i;
}
float c_compound_u8(float x) {
  unsigned char c = 200;
  c = c + (x > 0 ? 100 : 1);
  c /= 3;
  c -= 90;
  return c;
}
float c_minus_one_div(float x) {
  int i = fabsf(x) < 1000 ? (int)x : 4;
  return (float)(i / -1) + (float)(i % -1) + (float)(i / 1);
}
float c_umod(float x) {
  unsigned u = x > 0 ? 4000000000u : 17;
  return (float)(u % 10) + (float)(u / 7);
}
float c_ll(float x) {
  long long l = fabsf(x) < 1e9f ? (long long)x : 4;
  return (float)(l * 1000000007LL % 998244353);
}
float c_char16(float x) { return x + sizeof(L'a') + sizeof('a') + sizeof(x + 1.0); }
float c_paren_assign(float x) {
  float y = 0;
  (y) = x;
  ((y))++;
  return y;
}
float c_volatile_cast(float x) { return (volatile float)x; }
float c_ext(float x) { return __extension__ x; }
float c_wrap_signed(float x) {
  unsigned u = 0x80000000u;
  int i = (int)u;
  return x + (float)i;
}
float c_uint_neg_float(float x) { return x > 0 && x < 10 ? (float)(unsigned char)x : 0; }
float c_const_logic(float x) {
  return (1 && x > 0) + (0 || x > 1) * 2 + (x > 0 && 1) * 4 + (x > 0 || 0) * 8 + (x > 0 && 0) * 16 + (x > 1 || 1) * 32;
}
float c_eq_float_int(float x) { return (x == 1) + (1 == x) * 2 + ((int)1.9f == 1) * 4; }
