/* Scalar functions of a model: what a user wrote in C (frontend/c_function.h), or by hand in a .mlir file, to stand where an activation
 * or a gate's score function is named.
 *
 *   func.func private @squared_relu(%x: f32) -> f32 { ... arith, math, scf.if ... }
 *   %o = "hmoe.experts"(...) {activation = "@squared_relu"}
 *
 * One or two f32 arguments (two: f(gate, up) of gated experts), one f32 result, no memory and nothing that can trap: every op may be
 * executed whether its value is needed or not. Operations mean what they mean in C: f32 ones round to f32, integers wrap.
 *
 * hmoec_scalar_read turns such a function into plain data. The interpreter runs that one value at a time (interpreter/run_scalar.h), the code
 * generator writes it out a vector at a time, and its bytes are part of what identifies a compiled model. */
#ifndef HMOEC_IR_SCALAR_H
#define HMOEC_IR_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mlir-c/IR.h>

#include "support/diagnostics.h"

typedef enum hmoec_scalar_type {
  HMOEC_SCALAR_I1,
  HMOEC_SCALAR_I8,
  HMOEC_SCALAR_I16,
  HMOEC_SCALAR_I32,
  HMOEC_SCALAR_I64,
  HMOEC_SCALAR_F32,
  HMOEC_SCALAR_F64,
  HMOEC_SCALAR_TYPES
} hmoec_scalar_type;

/* X(CODE, name, operands): math ops are named as in MLIR, and so is what libm calls nearly the same. */
#define HMOEC_SCALAR_OPS(X)                                                                                                        \
  X(CONSTANT, "arith.constant", 0)                                                                                                 \
  X(IF, "scf.if", 1)                                                                                                               \
  X(YIELD, "scf.yield", -1)                                                                                                        \
  X(RETURN, "func.return", 1)                                                                                                      \
  X(ADDF, "arith.addf", 2)                                                                                                         \
  X(SUBF, "arith.subf", 2)                                                                                                         \
  X(MULF, "arith.mulf", 2)                                                                                                         \
  X(DIVF, "arith.divf", 2)                                                                                                         \
  X(REMF, "arith.remf", 2)                                                                                                         \
  X(NEGF, "arith.negf", 1)                                                                                                         \
  X(MINNUMF, "arith.minnumf", 2)                                                                                                   \
  X(MAXNUMF, "arith.maxnumf", 2)                                                                                                   \
  X(CMPF, "arith.cmpf", 2)                                                                                                         \
  X(CMPI, "arith.cmpi", 2)                                                                                                         \
  X(SELECT, "arith.select", 3)                                                                                                     \
  X(ADDI, "arith.addi", 2)                                                                                                         \
  X(SUBI, "arith.subi", 2)                                                                                                         \
  X(MULI, "arith.muli", 2)                                                                                                         \
  X(DIVSI, "arith.divsi", 2)                                                                                                       \
  X(DIVUI, "arith.divui", 2)                                                                                                       \
  X(REMSI, "arith.remsi", 2)                                                                                                       \
  X(REMUI, "arith.remui", 2)                                                                                                       \
  X(ANDI, "arith.andi", 2)                                                                                                         \
  X(ORI, "arith.ori", 2)                                                                                                           \
  X(XORI, "arith.xori", 2)                                                                                                         \
  X(SHLI, "arith.shli", 2)                                                                                                         \
  X(SHRSI, "arith.shrsi", 2)                                                                                                       \
  X(SHRUI, "arith.shrui", 2)                                                                                                       \
  X(EXTSI, "arith.extsi", 1)                                                                                                       \
  X(EXTUI, "arith.extui", 1)                                                                                                       \
  X(TRUNCI, "arith.trunci", 1)                                                                                                     \
  X(SITOFP, "arith.sitofp", 1)                                                                                                     \
  X(UITOFP, "arith.uitofp", 1)                                                                                                     \
  X(FPTOSI, "arith.fptosi", 1)                                                                                                     \
  X(FPTOUI, "arith.fptoui", 1)                                                                                                     \
  X(EXTF, "arith.extf", 1)                                                                                                         \
  X(TRUNCF, "arith.truncf", 1)                                                                                                     \
  X(FMA, "math.fma", 3)                                                                                                            \
  X(ATAN2, "math.atan2", 2)                                                                                                        \
  X(COPYSIGN, "math.copysign", 2)                                                                                                  \
  X(POWF, "math.powf", 2)                                                                                                          \
  X(ABSF, "math.absf", 1)                                                                                                          \
  X(ACOS, "math.acos", 1)                                                                                                          \
  X(ACOSH, "math.acosh", 1)                                                                                                        \
  X(ASIN, "math.asin", 1)                                                                                                          \
  X(ASINH, "math.asinh", 1)                                                                                                        \
  X(ATAN, "math.atan", 1)                                                                                                          \
  X(ATANH, "math.atanh", 1)                                                                                                        \
  X(CBRT, "math.cbrt", 1)                                                                                                          \
  X(CEIL, "math.ceil", 1)                                                                                                          \
  X(COS, "math.cos", 1)                                                                                                            \
  X(COSH, "math.cosh", 1)                                                                                                          \
  X(ERF, "math.erf", 1)                                                                                                            \
  X(ERFC, "math.erfc", 1)                                                                                                          \
  X(EXP, "math.exp", 1)                                                                                                            \
  X(EXP2, "math.exp2", 1)                                                                                                          \
  X(EXPM1, "math.expm1", 1)                                                                                                        \
  X(FLOOR, "math.floor", 1)                                                                                                        \
  X(LOG, "math.log", 1)                                                                                                            \
  X(LOG10, "math.log10", 1)                                                                                                        \
  X(LOG1P, "math.log1p", 1)                                                                                                        \
  X(LOG2, "math.log2", 1)                                                                                                          \
  X(ROUND, "math.round", 1)                                                                                                        \
  X(ROUNDEVEN, "math.roundeven", 1)                                                                                                \
  X(SIN, "math.sin", 1)                                                                                                            \
  X(SINH, "math.sinh", 1)                                                                                                          \
  X(SQRT, "math.sqrt", 1)                                                                                                          \
  X(TAN, "math.tan", 1)                                                                                                            \
  X(TANH, "math.tanh", 1)                                                                                                          \
  X(TRUNC, "math.trunc", 1)

typedef enum hmoec_scalar_code {
#define HMOEC_SCALAR_CODE(code, name, operands) HMOEC_SCALAR_##code,
  HMOEC_SCALAR_OPS(HMOEC_SCALAR_CODE)
#undef HMOEC_SCALAR_CODE
      HMOEC_SCALAR_CODES
} hmoec_scalar_code;

/* The op's full name in MLIR. */
const char *hmoec_scalar_name(hmoec_scalar_code code);

enum { HMOEC_SCALAR_MAX_OPS = 24000, HMOEC_SCALAR_MAX_DEPTH = 200, HMOEC_SCALAR_MAX_ARGUMENTS = 2, HMOEC_SCALAR_MAX_NAME = 60 };

/* In the order of execution. An `if` is followed by the ops of its first arm, which end with a yield, and those of its second from
 * else_begin on, if it has any; the op after both is `next`. */
typedef struct hmoec_scalar_op {
  uint32_t code; /* hmoec_scalar_code */
  uint32_t type; /* hmoec_scalar_type: of the result; of cmpf and cmpi: of the operands */
  uint32_t operands; /* where its operands begin in the program's list of values */
  uint32_t operand_count;
  uint32_t results; /* the value that it makes, or the first of several */
  uint32_t result_count;
  uint32_t else_begin, next;
  uint32_t predicate; /* of compares, as MLIR numbers them */
  uint32_t zero;
  uint64_t bits; /* of a constant: an integer, or an f64 */
} hmoec_scalar_op;

/* Value v < argument_count is argument v. */
typedef struct hmoec_scalar_program {
  char *name; /* as attributes write it: "@squared_relu" */
  size_t argument_count, op_count, operand_count, value_count;
  hmoec_scalar_op *ops;
  uint32_t *operands; /* values */
  uint32_t *types; /* hmoec_scalar_type of every value */
} hmoec_scalar_program;

/* All scalar functions of a module, in its order. */
typedef struct hmoec_scalar_library {
  hmoec_scalar_program *programs;
  size_t count;
} hmoec_scalar_library;

/* Whether a func.func is a scalar function: it is private. Entries of a model are public. */
bool hmoec_is_scalar_function(MlirOperation function);
/* Whether planning makes a function of that name, so that no scalar function can have it. */
bool hmoec_scalar_name_taken(MlirStringRef name);
/* The function named by an attribute's text, "@name"; NULL if the text names no function. Borrowed. */
const char *hmoec_scalar_reference(const char *text);
/* The scalar function of that name ("squared_relu") in the module, or null. */
MlirOperation hmoec_scalar_find(MlirOperation module, const char *name, size_t length);
/* Arguments of a scalar function. */
size_t hmoec_scalar_arity(MlirOperation function);

/* Reads one function of a module that MLIR verifies. Everything that must not be in one is reported, at its op. */
bool hmoec_scalar_read(MlirOperation function, hmoec_diagnostics *diagnostics, hmoec_scalar_program *out_program);
void hmoec_scalar_deinit(hmoec_scalar_program *program);
bool hmoec_scalar_library_init(MlirModule module, hmoec_diagnostics *diagnostics, hmoec_scalar_library *out_library);
void hmoec_scalar_library_deinit(hmoec_scalar_library *library);
/* The program named by "@name", or NULL. */
const hmoec_scalar_program *hmoec_scalar_library_find(const hmoec_scalar_library *library, const char *text, size_t length);
/* Of everything that the programs compute; the names are not part of it. */
uint64_t hmoec_scalar_library_hash(const hmoec_scalar_library *library, uint64_t seed);

#endif
