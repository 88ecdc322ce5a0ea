/* Element types of checkpoints and their conversion to f32 and bf16. Sources have no alignment: every load goes through memcpy. */
#include "runtime_internal.h"

#include <string.h>

static float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static float from_half(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
  uint32_t exponent = (half >> 10) & 0x1fu;
  uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1f) return from_bits(sign | 0x7f800000u | mantissa << 13);
  if (exponent == 0) {
    float magnitude = (float)mantissa * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

static void read_f32(const uint8_t *source, uint64_t stride, size_t count, float *out, size_t out_stride) {
  if (stride == 1 && out_stride == 1) {
    memcpy(out, source, count * sizeof *out);
    return;
  }
  for (size_t i = 0; i < count; i++) memcpy(&out[i * out_stride], source + i * stride * 4, 4);
}

static void read_f64(const uint8_t *source, uint64_t stride, size_t count, float *out, size_t out_stride) {
  for (size_t i = 0; i < count; i++) {
    double value;
    memcpy(&value, source + i * stride * 8, sizeof value);
    out[i * out_stride] = (float)value;
  }
}

static void read_f16(const uint8_t *source, uint64_t stride, size_t count, float *out, size_t out_stride) {
  for (size_t i = 0; i < count; i++) {
    uint16_t half;
    memcpy(&half, source + i * stride * 2, sizeof half);
    out[i * out_stride] = from_half(half);
  }
}

static void read_bf16(const uint8_t *source, uint64_t stride, size_t count, float *out, size_t out_stride) {
  for (size_t i = 0; i < count; i++) {
    uint16_t high;
    memcpy(&high, source + i * stride * 2, sizeof high);
    out[i * out_stride] = from_bits((uint32_t)high << 16);
  }
}

/* To nearest, ties to even; a NaN stays one, and becomes quiet. */
static uint16_t round_to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40u;
  return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

void hmoe_dtype_read_bf16(const hmoe_dtype *dtype, const uint8_t *source, uint64_t stride, size_t count, uint16_t *out) {
  enum { CHUNK = 64 };
  if (dtype->read == read_bf16) {
    if (stride == 1) memcpy(out, source, count * sizeof *out);
    else
      for (size_t i = 0; i < count; i++) memcpy(&out[i], source + i * stride * 2, 2);
    return;
  }
  float values[CHUNK];
  for (size_t begin = 0; begin < count; begin += CHUNK) {
    size_t size = count - begin < CHUNK ? count - begin : CHUNK;
    dtype->read(source + begin * stride * (dtype->bits / 8), stride, size, values, 1);
    for (size_t i = 0; i < size; i++) out[begin + i] = round_to_bf16(values[i]);
  }
}

const hmoe_dtype *hmoe_dtype_find(const char *name) {
  static const hmoe_dtype types[] = {
      {"F32", 32, read_f32}, {"BF16", 16, read_bf16},  {"F16", 16, read_f16},    {"F64", 64, read_f64}, {"BOOL", 8, NULL},
      {"U8", 8, NULL},       {"I8", 8, NULL},          {"U16", 16, NULL},        {"I16", 16, NULL},     {"U32", 32, NULL},
      {"I32", 32, NULL},     {"U64", 64, NULL},        {"I64", 64, NULL},        {"F8_E4M3", 8, NULL},  {"F8_E5M2", 8, NULL},
      {"F8_E8M0", 8, NULL},  {"F8_E4M3FNUZ", 8, NULL}, {"F8_E5M2FNUZ", 8, NULL}, {"F6_E2M3", 6, NULL},  {"F6_E3M2", 6, NULL},
      {"F4", 4, NULL},       {"C64", 64, NULL},
  };
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(types[i].name, name)) return &types[i];
  return NULL;
}
