/* Functions in C: a pure scalar C function, read with libclang, becomes one func.func of scalars.
 *
 *   float relu(float x) { return x > 0 ? x : 0; }
 *     ->
 *   func.func private @relu(%arg0: f32) -> f32 {
 *     %zero = arith.constant 0.0 : f32
 *     %positive = arith.cmpf ogt, %arg0, %zero : f32
 *     %y = arith.select %positive, %arg0, %zero : f32
 *     return %y : f32
 *   }
 *
 * The body is executed while it is read: what is constant is folded as C says, loops are unrolled, functions of the same file are
 * inlined, and what depends on the arguments becomes ops. The function has one block; it holds ops of arith and math, arith.select,
 * and scf.if with results where an arm is worth skipping. No op can trap or touch memory, none is unused, and every op has
 * its place in the C file. What is not a pure function of scalars is refused at its place, with the reason. */
#ifndef HMOEC_FRONTEND_C_FUNCTION_H
#define HMOEC_FRONTEND_C_FUNCTION_H

#include <mlir-c/IR.h>

#include "support/diagnostics.h"

/* What the C file is compiled with, besides -std=gnu17. Borrowed. */
typedef struct hmoec_c_flags {
  const char *const *includes; /* directories, as of -I */
  size_t include_count;
  const char *const *defines; /* NAME or NAME=VALUE, as of -D */
  size_t define_count;
} hmoec_c_flags;

/* Reads the function `name` of `file` (a path, shown in messages as it is). flags may be NULL. what: what it is asked for, "an activation";
 * arities: bit n is set where it may take n arguments, all of them float, as its result is.
 *
 * at: where the function is asked for. Errors that have no place in the C file are reported there; those in the C file are followed by
 * a note there if it is a place. clang's own errors and warnings go to the sink too, warnings also of a function that is accepted.
 *
 * The op is detached, private, named `name`, and the caller's; it is set only when the result is true. Loads the dialects
 * it needs into the context. Threads may read at the same time, each with its own context and sink. */
bool hmoec_c_function_import(MlirContext context, hmoec_diagnostics *diagnostics, hmoec_location at, const char *file,
                             const char *name, const hmoec_c_flags *flags, const char *what, unsigned arities,
                             MlirOperation *out_function);

/* The same in this process, for the program that import starts (compiler/c_reader.c) and for tests: a file can exhaust the stack, the memory
 * or the time. The file is not looked at before. */
bool hmoec_c_function_read(MlirContext context, hmoec_diagnostics *diagnostics, hmoec_location at, const char *file,
                           const char *name, const hmoec_c_flags *flags, const char *what, unsigned arities,
                           MlirOperation *out_function);

#endif
