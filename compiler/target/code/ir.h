/* A thin typed layer over the MLIR C API in which kernels of all targets are written: one function an operation, built at the end of ir->block.
 *
 * Kernels use scf, arith and vector operations and the loads, stores and pointer arithmetic of the llvm dialect; no memref. Vectors
 * have ir->lanes elements. The prefix is short because kernels are written in it. Failures set ir->failed and yield a placeholder of
 * the right type, so that a kernel needs no checks of its own; the caller looks at ir->failed once, at the end. */
#ifndef HMOEC_TARGET_CODE_IR_H
#define HMOEC_TARGET_CODE_IR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mlir-c/IR.h>

#include "ir/scalar.h"

/* A processor's instructions for bf16, as intrinsics of LLVM. */
typedef struct ir_bf16 {
  const char *round; /* a vector of f32 to as many bf16: to nearest, ties to even; NaN stays NaN */
  const char *dot; /* to a vector of f32 the products of neighbours are added, of two vectors of twice as many bf16 */
} ir_bf16;

typedef struct ir_builder {
  MlirContext context;
  MlirLocation location;
  MlirBlock block; /* insertion point: its end */
  MlirBlock module_body; /* of the function being written */
  MlirAttribute attributes; /* of it; null outside */
  const char *version; /* in the names of functions that a version has once */
  int64_t lanes; /* f32 elements of a vector */
  bool has_fma; /* ir_fma is one rounding; otherwise a product and a sum */
  const ir_bf16 *bf16; /* NULL: none, and ir_to_bf16 computes */
  bool has_quotients; /* ir_quotient is one instruction, off by two units in the last place at most; 0 of divisors past 2^126 */
  bool failed;
  const hmoec_scalar_library *functions; /* what activations from HMOEC_ACTIVATION_COUNT on name */
  MlirType i1, i8, i16, i32, i64, f32, f64, ptr;
  MlirType vi1, vi16, vi32, vi64, vf32, vf64; /* vectors of `lanes` */
} ir_builder;

/* Signed; ordered for floats (NaN: false). */
typedef enum ir_compare { IR_EQ, IR_NE, IR_LT, IR_LE, IR_GT, IR_GE } ir_compare;

void ir_init(ir_builder *ir, MlirContext context, int64_t lanes, bool has_fma, const ir_bf16 *bf16);

/* Constants; `vector` ones are splats. */
MlirValue ir_i64(ir_builder *ir, int64_t value);
MlirValue ir_i32(ir_builder *ir, int32_t value);
MlirValue ir_f32(ir_builder *ir, float value);
MlirValue ir_vector_i16(ir_builder *ir, int16_t value);
MlirValue ir_vector_i32(ir_builder *ir, int32_t value);
MlirValue ir_vector_i64(ir_builder *ir, int64_t value);
MlirValue ir_vector_f32(ir_builder *ir, float value);
MlirValue ir_vector_f64(ir_builder *ir, double value);
MlirValue ir_iota(ir_builder *ir); /* i32: 0, 1, ... */
MlirValue ir_prefix_mask(ir_builder *ir, int64_t count); /* the first `count` lanes */
MlirValue ir_splat(ir_builder *ir, MlirValue scalar); /* of a number */
MlirValue ir_splat_to(ir_builder *ir, MlirValue scalar, int64_t lanes);
MlirValue ir_splat_of(ir_builder *ir, MlirAttribute value); /* a vector constant of the attribute's type */
MlirType ir_vector_of(ir_builder *ir, MlirType element);
/* An op of one result by its full name, with one attribute, or none if its name is NULL. */
MlirValue ir_op(ir_builder *ir, const char *name, MlirType type, intptr_t count, const MlirValue *operands,
                const char *attribute_name, MlirAttribute attribute);
/* Whether a vector of floats is one constant in all lanes, written as a dense constant or as the splat of a scalar one. */
bool ir_is_splat_of(MlirValue vector, double *out_value);

/* Arithmetic on equal types, scalars or vectors. Integers: the _i ones. */
MlirValue ir_add_i(ir_builder *ir, MlirValue a, MlirValue b);
MlirValue ir_sub_i(ir_builder *ir, MlirValue a, MlirValue b);
MlirValue ir_mul_i(ir_builder *ir, MlirValue a, MlirValue b);
MlirValue ir_div_i(ir_builder *ir, MlirValue a, MlirValue b); /* unsigned */
MlirValue ir_rem_i(ir_builder *ir, MlirValue a, MlirValue b); /* unsigned */
MlirValue ir_min_i(ir_builder *ir, MlirValue a, MlirValue b); /* signed */
MlirValue ir_max_i(ir_builder *ir, MlirValue a, MlirValue b); /* signed */
MlirValue ir_and(ir_builder *ir, MlirValue a, MlirValue b);
MlirValue ir_or(ir_builder *ir, MlirValue a, MlirValue b);
MlirValue ir_xor(ir_builder *ir, MlirValue a, MlirValue b);
MlirValue ir_shift_left(ir_builder *ir, MlirValue a, MlirValue b);
MlirValue ir_shift_right(ir_builder *ir, MlirValue a, MlirValue b); /* arithmetic */
MlirValue ir_shift_right_unsigned(ir_builder *ir, MlirValue a, MlirValue b);
MlirValue ir_add(ir_builder *ir, MlirValue a, MlirValue b);
MlirValue ir_sub(ir_builder *ir, MlirValue a, MlirValue b);
MlirValue ir_mul(ir_builder *ir, MlirValue a, MlirValue b);
MlirValue ir_div(ir_builder *ir, MlirValue a, MlirValue b);
MlirValue ir_quotient(ir_builder *ir, MlirValue a, MlirValue b); /* a / b where not every bit counts; see has_quotients */
MlirValue ir_sqrt(ir_builder *ir, MlirValue a);
MlirValue ir_fma(ir_builder *ir, MlirValue a, MlirValue b, MlirValue c); /* a*b + c; vectors */
MlirValue ir_compare_i(ir_builder *ir, ir_compare how, MlirValue a, MlirValue b);
MlirValue ir_compare_f(ir_builder *ir, ir_compare how, MlirValue a, MlirValue b);
/* i32 of f32, scalars or vectors: integers that order as the numbers do. Bits order as integers where they are positive, and the other way round where
 * they are not; 0 and -0 are one key, and NaN is above all. */
MlirValue ir_order_key(ir_builder *ir, MlirValue v);
MlirValue ir_order_key_value(ir_builder *ir, MlirValue key); /* of a scalar's key the scalar, 0 of -0 and a NaN of NaN */
MlirValue ir_select(ir_builder *ir, MlirValue condition, MlirValue yes, MlirValue no);
MlirValue ir_bitcast(ir_builder *ir, MlirValue value, MlirType type);
MlirValue ir_extend(ir_builder *ir, MlirValue i32_value); /* to i64, signed */
MlirValue ir_truncate(ir_builder *ir, MlirValue i64_value); /* to i32 */
/* Between vectors of f32 and f64, of i32 and i64 (signed; the low half), and from integers. */
MlirValue ir_widen(ir_builder *ir, MlirValue vf32);
MlirValue ir_narrow(ir_builder *ir, MlirValue vf64);
MlirValue ir_widen_i(ir_builder *ir, MlirValue vi32);
MlirValue ir_narrow_i(ir_builder *ir, MlirValue vi64);
MlirValue ir_from_i32(ir_builder *ir, MlirValue vi32, MlirType type); /* vf32 or vf64 */
MlirValue ir_to_i32(ir_builder *ir, MlirValue vf32); /* towards 0; anything where that is no i32 */
/* Of all lanes. `kind` is vector's combining kind: "add", "maxnumf", "minsi". */
MlirValue ir_reduce(ir_builder *ir, const char *kind, MlirValue vector);
MlirValue ir_exchange(ir_builder *ir, MlirValue vector, int64_t distance); /* lane i gets lane i ^ distance */

/* bf16. A word is two neighbouring bf16 values, the first in its low half. */
MlirValue ir_to_bf16(ir_builder *ir, MlirValue vf32); /* vi16: to nearest, ties to even; NaN stays NaN */
MlirValue ir_from_bf16(ir_builder *ir, MlirValue vi16); /* vf32, exact */
MlirValue ir_low_bf16(ir_builder *ir, MlirValue words); /* vi32 -> vf32, exact */
MlirValue ir_high_bf16(ir_builder *ir, MlirValue words);
MlirValue ir_dot_bf16(ir_builder *ir, MlirValue sum, MlirValue a,
                      MlirValue b); /* sum + a.low*b.low + a.high*b.high; where the builder has bf16 */

/* Calls an intrinsic of LLVM; `result` null: it has none. */
MlirValue ir_intrinsic(ir_builder *ir, const char *name, MlirType result, intptr_t count, const MlirValue *arguments);
MlirValue ir_i8(ir_builder *ir, int64_t value); /* for the immediates of intrinsics */

/* Memory. Addresses count in elements of `type`, and stay in their address space; align_bytes is what is known of the address. */
MlirValue ir_at(ir_builder *ir, MlirValue base, MlirType type, MlirValue index);
MlirValue ir_at_constant(ir_builder *ir, MlirValue base, MlirType type, int64_t index);
MlirValue ir_load(ir_builder *ir, MlirType type, MlirValue address, int64_t align_bytes);
void ir_store(ir_builder *ir, MlirValue value, MlirValue address, int64_t align_bytes);
MlirValue ir_load_masked(ir_builder *ir, MlirType type, MlirValue address, MlirValue mask); /* 0 where the mask is off */
void ir_store_masked(ir_builder *ir, MlirValue value, MlirValue address, MlirValue mask);
void ir_prefetch(ir_builder *ir, MlirValue address,
                 int level); /* for reading, into the cache of that level (1 or 2); any address */

/* for (index = low; index < high; index += step), carrying args. After ir_for_end, args are the loop's results. */
enum { IR_LOOP_ARGS = 64 };
typedef struct ir_loop {
  MlirOperation op;
  MlirBlock outer;
  MlirValue index;
  intptr_t count;
  MlirValue args[IR_LOOP_ARGS];
} ir_loop;
void ir_for_begin(ir_builder *ir, ir_loop *loop, MlirValue low, MlirValue high, int64_t step, intptr_t count,
                  const MlirValue *initial);
void ir_for_begin_by(ir_builder *ir, ir_loop *loop, MlirValue low, MlirValue high, MlirValue step, intptr_t count,
                     const MlirValue *initial); /* by a step that is counted */
void ir_for_end(ir_builder *ir, ir_loop *loop, const MlirValue *next);

/* if (condition) { ... ir_if_else ... } ; `type` of its one result, or a null type for none. */
typedef struct ir_branch {
  MlirOperation op;
  MlirBlock outer;
  bool has_result, has_else;
} ir_branch;
void ir_if_begin(ir_builder *ir, ir_branch *branch, MlirValue condition, MlirType type);
void ir_if_else(ir_builder *ir, ir_branch *branch, MlirValue result); /* result of the first arm */
MlirValue ir_if_end(ir_builder *ir, ir_branch *branch, MlirValue result); /* result of the last arm; the value of the if */

/* Columns [begin, end), a vector at a time: whole vectors in a loop, then the rest under a constant mask.
 *   for (ir_lanes_begin(ir, &lanes, begin, end); ir_lanes_next(ir, &lanes);) ... lanes.index ... */
typedef struct ir_lanes {
  ir_loop loop;
  int64_t begin, end;
  enum { IR_LANES_START, IR_LANES_LOOP, IR_LANES_WHOLE, IR_LANES_REST } state;
  MlirValue index; /* first column of the vector */
  bool masked;
  MlirValue mask;
} ir_lanes;
void ir_lanes_begin(ir_builder *ir, ir_lanes *lanes, int64_t begin, int64_t end);
bool ir_lanes_next(ir_builder *ir, ir_lanes *lanes);
/* type: vf32, vi32 or vi16, which is also what a row is made of. row[index...], 0 outside */
MlirValue ir_lanes_load(ir_builder *ir, const ir_lanes *lanes, MlirType type, MlirValue row);
void ir_lanes_store(ir_builder *ir, const ir_lanes *lanes, MlirValue value, MlirValue row);

/* llvm.func with the given argument types and no result; its body becomes ir->block. `attributes`: target attributes ("passthrough"). */
void ir_function_begin(ir_builder *ir, MlirBlock module_body, const char *name, intptr_t count, const MlirType *types,
                       MlirAttribute attributes, MlirValue *out_arguments);
void ir_function_end(ir_builder *ir);
/* Another function, on vectors and with a vector as its result, while one is being written: it has that one's target attributes. */
typedef struct ir_inner_function {
  MlirBlock outer;
  MlirLocation outer_location;
} ir_inner_function;
void ir_inner_function_begin(ir_builder *ir, ir_inner_function *inner, const char *name, intptr_t count, MlirType type,
                             MlirValue *out_arguments);
void ir_inner_function_end(ir_builder *ir, const ir_inner_function *inner, MlirValue result);
bool ir_has_function(ir_builder *ir, const char *name); /* the module */
/* Calls a function of the module with one result of its operands' type. */
MlirValue ir_call_function(ir_builder *ir, const char *name, int count, const MlirValue *arguments);
MlirValue ir_address_of(ir_builder *ir, const char *symbol);
/* A constant of the module, 64-byte aligned. */
void ir_constant_bytes(ir_builder *ir, MlirBlock module_body, const char *name, const int8_t *bytes, intptr_t size);
void ir_call(ir_builder *ir, MlirValue function, intptr_t count, const MlirValue *arguments); /* at most 12 */
/* f(vectors) lane by lane for a function of the C library, on vectors of f64 by that name ("fmod") and on vectors of f32 by that with an f.
 * The module declares it once; the object then needs libm. At most 3 operands. */
MlirValue ir_call_library(ir_builder *ir, const char *name, int count, const MlirValue *vectors);

#endif
