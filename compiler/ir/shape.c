/* Tensor types in plain form: to and from MLIR, as text, and compared. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/ops.h"

static const char *const element_names[] = {[HMOEC_F32] = "f32", [HMOEC_I32] = "i32", [HMOEC_I1] = "i1", [HMOEC_I64] = "i64"};

MlirType hmoec_shape_to_type(MlirContext context, const hmoec_shape *shape) {
  int64_t dims[HMOEC_MAX_RANK];
  for (int64_t i = 0; i < shape->rank; i++)
    dims[i] = shape->dims[i] == HMOEC_DYNAMIC ? mlirShapedTypeGetDynamicSize() : shape->dims[i];
  MlirType element = shape->element == HMOEC_F32   ? mlirF32TypeGet(context)
                     : shape->element == HMOEC_I32 ? mlirIntegerTypeGet(context, 32)
                     : shape->element == HMOEC_I64 ? mlirIntegerTypeGet(context, 64)
                                                   : mlirIntegerTypeGet(context, 1);
  return mlirRankedTensorTypeGet(shape->rank, dims, element, mlirAttributeGetNull());
}

static bool element_from_type(MlirType type, hmoec_element *out_element) {
  if (mlirTypeIsAF32(type)) return *out_element = HMOEC_F32, true;
  if (!mlirTypeIsAInteger(type) || !mlirIntegerTypeIsSignless(type)) return false;
  switch (mlirIntegerTypeGetWidth(type)) {
  case 1: return *out_element = HMOEC_I1, true;
  case 32: return *out_element = HMOEC_I32, true;
  case 64: return *out_element = HMOEC_I64, true;
  default: return false;
  }
}

bool hmoec_shape_from_type(MlirType type, hmoec_shape *out_shape) {
  if (!mlirTypeIsARankedTensor(type) || !mlirAttributeIsNull(mlirRankedTensorTypeGetEncoding(type))) return false;
  *out_shape = (hmoec_shape){.rank = mlirShapedTypeGetRank(type)};
  if (out_shape->rank > HMOEC_MAX_RANK || !element_from_type(mlirShapedTypeGetElementType(type), &out_shape->element)) return false;
  for (intptr_t i = 0; i < out_shape->rank; i++)
    out_shape->dims[i] = mlirShapedTypeIsDynamicDim(type, i) ? HMOEC_DYNAMIC : mlirShapedTypeGetDimSize(type, i);
  return true;
}

/* Callers of the library may hand over any structure. */
static bool is_shape(const hmoec_shape *shape) {
  return shape && (unsigned)shape->element < sizeof element_names / sizeof *element_names && shape->rank >= 0 &&
         shape->rank <= HMOEC_MAX_RANK;
}

const char *hmoec_shape_string(const hmoec_shape *shape, char *buffer, size_t size) {
  if (!buffer || !size) return buffer;
  if (!is_shape(shape)) {
    snprintf(buffer, size, "no shape");
    return buffer;
  }
  int used = snprintf(buffer, size, "%s[", element_names[shape->element]);
  for (int64_t i = 0; i < shape->rank && used >= 0 && (size_t)used < size; i++) {
    const char *comma = i ? ", " : "";
    if (shape->dims[i] == HMOEC_DYNAMIC) used += snprintf(buffer + used, size - (size_t)used, "%s?", comma);
    else used += snprintf(buffer + used, size - (size_t)used, "%s%" PRId64, comma, shape->dims[i]);
  }
  if (used >= 0 && (size_t)used + 1 < size) memcpy(buffer + used, "]", 2);
  return buffer;
}

bool hmoec_dim_compatible(int64_t a, int64_t b) { return a == b || a == HMOEC_DYNAMIC || b == HMOEC_DYNAMIC; }

int hmoec_shape_compatible(const hmoec_shape *a, const hmoec_shape *b) {
  if (!is_shape(a) || !is_shape(b) || a->element != b->element || a->rank != b->rank) return 0;
  for (int64_t i = 0; i < a->rank; i++)
    if (!hmoec_dim_compatible(a->dims[i], b->dims[i])) return 0;
  return 1;
}

int64_t hmoec_shape_elements(const hmoec_shape *shape) {
  int64_t count = 1;
  if (!is_shape(shape)) return INT64_MAX;
  for (int64_t i = 0; i < shape->rank; i++) {
    int64_t dim = shape->dims[i] == HMOEC_DYNAMIC ? 1 : shape->dims[i];
    if (dim < 0 || __builtin_mul_overflow(count, dim, &count)) return INT64_MAX;
  }
  return count;
}

int64_t hmoec_binomial(int64_t n, int64_t k) {
  if (k < 0 || k > n) return 0;
  if (k > n - k) k = n - k;
  /* value * factor / i divides evenly at every step; it is done in two parts, so that only a result that does not fit overflows. */
  int64_t value = 1;
  for (int64_t i = 1; i <= k; i++) {
    int64_t factor = n - k + i, whole, rest;
    if (__builtin_mul_overflow(value / i, factor, &whole) || __builtin_mul_overflow(value % i, factor, &rest) ||
        __builtin_add_overflow(whole, rest / i, &value))
      return INT64_MAX;
  }
  return value;
}
