/* How large, how deep and how long what comes from outside may be. Each limit stands here and nowhere else, and in docs/limits.md; what
 * passes one is refused at its place. They are far beyond any model, and low enough that nothing below exhausts a stack of 1 MiB. */
#ifndef HMOEC_SUPPORT_LIMITS_H
#define HMOEC_SUPPORT_LIMITS_H

/* Sizes of files, in bytes. */
enum {
  HMOEC_SPEC_MAX_BYTES = 1 << 20,
  HMOEC_MLIR_MAX_BYTES = 16 << 20,
  HMOEC_C_MAX_BYTES = 16 << 20,
  HMOEC_CONFIG_MAX_BYTES = 4 << 20,
  HMOEC_ROUTING_MAX_BYTES = 256 << 20,
  HMOEC_TUNING_MAX_BYTES = 4 << 20
};

/* Any model, however it is described. */
enum { HMOEC_MODEL_MAX_OPS = 50000 };

/* Text of MLIR: frontend/mlir_scan.h. */
enum {
  HMOEC_MLIR_MAX_DEPTH = 100, /* brackets in one another, also by aliases */
  HMOEC_MLIR_MAX_WORD = 1000, /* characters of a name */
  HMOEC_MLIR_MAX_NUMBER = 100, /* characters of a number */
  HMOEC_MLIR_MAX_STRING = 1 << 16, /* characters of a string */
  HMOEC_MLIR_MAX_BITS = 128, /* of an integer type */
  HMOEC_MLIR_MAX_RESULT = 1000, /* the number in %name#number */
  HMOEC_MLIR_MAX_ALIAS_WORDS = 10000, /* that one alias stands for */
  HMOEC_MLIR_MAX_ALIASED_WORDS = 1000000 /* that all uses of aliases stand for */
};

/* Functions written in C, which a process of their own reads: frontend/c_process.h. */
enum {
  HMOEC_C_MAX_SECONDS = 4, /* of processor time */
  HMOEC_C_MAX_WAIT_SECONDS = 60, /* of any time, on a machine with much else to do */
  HMOEC_C_STACK_BYTES = 256 << 20,
  HMOEC_C_MAX_MEMORY_MIB = 2048,
  HMOEC_C_MAX_OPERATORS = 1000, /* of one expression as it is written: between two of ; , { } # */
  HMOEC_C_MAX_STATEMENTS = 2000, /* that hold others, in one function */
  HMOEC_C_MAX_OPS = 20000,
  HMOEC_C_MAX_CALLS = 256, /* of math.h: each becomes up to a hundred instructions */
  HMOEC_C_MAX_ITERATIONS = 4096, /* of all loops together */
  HMOEC_C_MAX_STEPS = 500000, /* statements and expressions executed */
  HMOEC_C_MAX_DEPTH = 256, /* of statements, expressions and calls in one another */
  HMOEC_C_MAX_ARGUMENTS = 16
};

/* Machine code of GPUs, which a process makes: target/cuda/ptxas.c. */
enum { HMOEC_PTXAS_MAX_WAIT_SECONDS = 600, HMOEC_PTXAS_MAX_REPORT_BYTES = 64 << 20 };

/* Tuning files: of a machine or an entry. */
enum {
  HMOEC_TUNING_MAX_TEXT = 2000, /* characters of a name, or of a kernel */
  HMOEC_TUNING_MAX_CACHES = 8,
  HMOEC_TUNING_MAX_VALUES = 256 /* knobs, numbers */
};

/* Specs. */
enum {
  HMOEC_SPEC_MAX_DEPTH = 100,
  HMOEC_SPEC_MAX_NESTING = 32,
  HMOEC_SPEC_MAX_INCLUDES = 64,
  HMOEC_SPEC_MAX_INCLUDE_DEPTH = 8,
  HMOEC_SPEC_MAX_ARGUMENTS = 64,
  HMOEC_SPEC_MAX_ITERATIONS = 100000, /* of one loop */
  HMOEC_SPEC_MAX_STEPS = 1000000, /* statements and expressions evaluated */
  HMOEC_SPEC_MAX_STACK = 400, /* nested evaluations, over blocks */
  HMOEC_SPEC_MAX_ERRORS = 50, /* then evaluation stops */
  HMOEC_SPEC_MAX_KEY = 1000 /* characters of a checkpoint key */
};

#endif
