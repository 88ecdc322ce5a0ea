/* Shared by the tests of C functions: functions of a C file read into a library, kernels that apply them, points to apply them to, and
 * the distance between results. */
#ifndef C_FUNCTIONS_H
#define C_FUNCTIONS_H

#include <float.h>

#include "frontend/function_set.h"
#include "interpreter/run_scalar.h"
#include "ir/location.h"
#include "kernels_harness.h"

enum { COLUMNS = 61, ROWS = 168, POINTS = COLUMNS * ROWS };

/* ---- Functions ---- */

/* f(x) or f(gate, up), as the C compiler has it */
typedef union c_function {
  float (*one)(float);
  float (*two)(float, float);
} c_function;

static inline float c_function_call(c_function f, size_t arity, const float *x) {
  return arity == 1 ? f.one(x[0]) : f.two(x[0], x[1]);
}

/* Functions on their way to a library: begin, add, end. */
typedef struct c_import {
  hmoec_diagnostics *diagnostics; /* borrowed */
  MlirContext context;
  hmoec_function_set *set;
} c_import;

static inline c_import c_import_begin(hmoec_diagnostics *diagnostics) {
  MlirDialectRegistry registry = mlirDialectRegistryCreate();
  mlirRegisterAllDialects(registry);
  c_import all = {.diagnostics = diagnostics, .context = mlirContextCreateWithRegistry(registry, false)};
  mlirDialectRegistryDestroy(registry);
  hmoec_diagnostics_attach(diagnostics, all.context);
  all.set = hmoec_function_set_create(all.context, diagnostics, "model", NULL);
  return all;
}

static inline bool c_import_add(c_import *all, const char *file, const char *name, unsigned arities) {
  char text[512];
  snprintf(text, sizeof text, "c:%s:%s", file, name);
  return hmoec_function_set_get(all->set, (hmoec_location){0}, text, "an activation", arities) != NULL;
}

static inline hmoec_scalar_library c_import_end(c_import *all) {
  hmoec_scalar_library library;
  MlirModule module = mlirModuleCreateEmpty(mlirLocationUnknownGet(all->context));
  hmoec_function_set_move(all->set, mlirModuleGetBody(module));
  assert_true(mlirOperationVerify(mlirModuleGetOperation(module)));
  assert_true(hmoec_scalar_library_init(module, all->diagnostics, &library));
  hmoec_function_set_destroy(all->set);
  mlirModuleDestroy(module);
  mlirContextDestroy(all->context);
  return library;
}

/* ---- Points ---- */

static const float c_specials[] = {0,           0x1p-149f,
                                   0x1.8p-130f, FLT_MIN,
                                   0x1p-30f,    0x1.fffffep-2f,
                                   0.5f,        0x1.000002p-1f,
                                   0.75f,       1,
                                   1.5f,        2,
                                   2.5f,        3,
                                   3.5f,        4,
                                   7,           20,
                                   88.72284f,   127.5f,
                                   1000,        8388607.5f,
                                   8388608,     1e6f,
                                   16777215.0f, 0x1p24f,
                                   0x1p31f,     0x1.8p62f,
                                   1e30f,       FLT_MAX,
                                   INFINITY,    NAN};
enum { C_SPECIALS = 2 * (int)(sizeof c_specials / sizeof c_specials[0]) };

/* Specials first, then numbers of usual sizes, halves, and any bits but those of a signaling NaN, of which fmin and fmax make what they
 * like. */
static inline float c_point(int64_t i) {
  if (i < C_SPECIALS) return i % 2 ? -c_specials[i / 2] : c_specials[i / 2];
  uint32_t bits = (uint32_t)(harness_random() >> 16);
  float any;
  memcpy(&any, &bits, 4);
  switch (i % 5) {
  case 0: return isnan(any) ? NAN : any;
  case 1: return (float)(harness_below(64) - 32) * 0.25f;
  case 2: return nextafterf((float)(harness_below(32) - 16) * 0.5f, harness_coin() ? INFINITY : -INFINITY);
  default: return harness_float() * (float)(1 << harness_below(9));
  }
}

/* Distance in floats: 0 for NaN and NaN, and where both are 0. */
static inline double c_distance(float a, float b) {
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b) ? 0 : INFINITY;
  int32_t bits[2];
  memcpy(&bits[0], &a, 4), memcpy(&bits[1], &b, 4);
  for (int i = 0; i < 2; i++)
    if (bits[i] < 0) bits[i] = INT32_MIN - bits[i];
  return fabs((double)bits[0] - (double)bits[1]);
}

/* ---- Kernels that apply them ---- */

/* One argument: a copy of rows. Two: a product with ones, which multiplies. */
static inline hmoec_kernel c_kernel(const hmoec_scalar_library *library, size_t index) {
  hmoec_activation activation = (hmoec_activation)(HMOEC_ACTIVATION_COUNT + index);
  if (library->programs[index].argument_count == 1)
    return (hmoec_kernel){.family = HMOEC_KERNEL_ROWS,
                          .spec.rows = {.n = COLUMNS,
                                        .ld_in = COLUMNS,
                                        .ld_out = COLUMNS,
                                        .in_step = 1,
                                        .scale = 1,
                                        .row_block = 16,
                                        .activation = activation}};
  return (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL,
                        .spec.matmul = {.k = 1,
                                        .n = COLUMNS,
                                        .a_stride = 1,
                                        .c_stride = COLUMNS,
                                        .row_block = 16,
                                        .segments = 1,
                                        .segment = {{.end = COLUMNS, .activation = activation, .multiply = true}}}};
}

/* points [POINTS] of one argument, [2][POINTS] of two. There the first argument is one a row, and not -0, which a sum of products is
 * never. */
static inline void c_points_fill(size_t arity, float *points) {
  for (int64_t i = 0; i < POINTS; i++) {
    points[i] = c_point(arity == 1 ? i : i % COLUMNS ? C_SPECIALS : i / COLUMNS);
    if (arity == 1) continue;
    points[i] = i % COLUMNS ? points[i - 1] : points[i] + 0.0f;
    points[POINTS + i] = c_point(i % COLUMNS < C_SPECIALS ? harness_below(C_SPECIALS) : C_SPECIALS + i);
  }
}

/* What the kernel of function `index` gives at the points. */
static inline void c_kernel_run(const harness_unit *u, int version, size_t index, size_t arity, const float *points, float *out) {
  harness_buffer result = harness_alloc(POINTS * 4), in = harness_alloc(arity == 1 ? POINTS * 4 : ROWS * 4),
                 ones = harness_alloc((size_t)harness_panels_bytes(1, COLUMNS));
  float row[COLUMNS];
  for (int i = 0; i < COLUMNS; i++) row[i] = 1;
  harness_pack_panels(row, 1, COLUMNS, ones.data);
  if (arity == 1) {
    memcpy(in.data, points, in.bytes);
    harness_run(u, version, index, (void *[]){in.data, NULL, result.data}, ROWS, (ROWS + 15) / 16, 1);
  } else {
    for (int r = 0; r < ROWS; r++) ((float *)in.data)[r] = points[r * COLUMNS];
    memcpy(result.data, points + POINTS, result.bytes);
    harness_run(u, version, index, (void *[15]){in.data, ones.data, result.data}, ROWS, (ROWS + 15) / 16, 1);
  }
  memcpy(out, result.data, POINTS * sizeof *out);
  harness_free(&result), harness_free(&in), harness_free(&ones);
}

#endif
