/* What the parts of the C reader share. It is a structured abstract execution of clang's syntax tree: an environment maps local
 * variables to values, and a value is a constant or an MLIR value.
 *   c_function.c     the file, clang's messages, the function and its signature
 *   c_statement.c    statements      c_loop.c   loops, switch      c_flow.c   where control may be, branches and their merging
 *   c_expression.c   expressions     c_call.c   calls, inlining    c_math.c   the functions of math.h
 *   c_value.c        arithmetic on values, folded where constant   c_type.c   types
 *   c_emit.c         ops
 * A part that fails has reported why. Names of variables and lists of cursors live in the reader's arena. */
#ifndef HMOEC_FRONTEND_C_PARTS_H
#define HMOEC_FRONTEND_C_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include <clang-c/Index.h>
#include <mlir-c/IR.h>

#include "support/arena.h"
#include "support/diagnostics.h"
#include "support/limits.h"

/* ---- Types (c_type.c) ---- */

typedef enum hmoec_c_class { HMOEC_C_VOID, HMOEC_C_INTEGER, HMOEC_C_FLOATING } hmoec_c_class;

typedef struct hmoec_c_type {
  hmoec_c_class class;
  unsigned bits; /* 1: _Bool */
  bool is_signed;
} hmoec_c_type;

/* ---- Values (c_value.c) ---- */

typedef enum hmoec_c_kind {
  HMOEC_C_UNSET,    /* a variable that has not been given a value */
  HMOEC_C_PERHAPS,  /* a variable that has one on some paths */
  HMOEC_C_CONSTANT,
  HMOEC_C_TRUTH,    /* an integer that is 0 or 1: `value` is an i1, whatever the type's width */
  HMOEC_C_RUNTIME   /* `value`, of the type's width; never _Bool */
} hmoec_c_kind;

typedef struct hmoec_c_value {
  hmoec_c_type type;
  hmoec_c_kind kind;
  int64_t integer; /* of a constant, extended from the type's width by its sign */
  double floating; /* of a constant; a float's value exactly */
  MlirValue value;
} hmoec_c_value;

/* ---- Where control may be (c_flow.c) ---- */

/* How control leaves a statement. In a region (the function, or an arm of a branch) exactly one of them is reached. */
typedef enum hmoec_c_way { HMOEC_C_FALL, HMOEC_C_BREAK, HMOEC_C_CONTINUE, HMOEC_C_RETURN, HMOEC_C_WAYS } hmoec_c_way;

typedef struct hmoec_c_exit {
  hmoec_c_value reached; /* a _Bool */
  hmoec_c_value *values; /* of the variables where it is reached; of RETURN: the value returned */
} hmoec_c_exit;

typedef struct hmoec_c_state {
  hmoec_c_exit exits[HMOEC_C_WAYS];
} hmoec_c_state;

typedef struct hmoec_c_variable {
  CXCursor cursor;
  const char *name;
  hmoec_c_type type;
} hmoec_c_variable;

/* One call in execution. */
typedef struct hmoec_c_frame {
  struct hmoec_c_frame *caller; /* NULL: the function asked for */
  CXCursor function, call;
  const char *name;
  hmoec_c_type result;
  hmoec_c_variable *variables; /* in scope, innermost last */
  size_t variable_count, variable_capacity;
  size_t marks[HMOEC_C_WAYS]; /* of BREAK and CONTINUE: how many variables their target has */
  hmoec_c_state state;
} hmoec_c_frame;

typedef struct hmoec_c_reader {
  MlirContext context;
  hmoec_diagnostics *diagnostics;
  hmoec_location at;
  hmoec_arena *arena;
  CXTranslationUnit unit;
  hmoec_c_frame *frame;
  CXCursor place; /* what is being read: where ops and errors belong */
  MlirBlock entry, block;
  MlirOperation last_constant;
  struct hmoec_c_constant *constants;
  size_t constant_count, constant_capacity;
  const char *const *argument_names;
  unsigned ops, calls, iterations, steps, depth;
} hmoec_c_reader;

typedef struct hmoec_c_list {
  CXCursor *cursors;
  size_t count;
} hmoec_c_list;

/* ---- c_function.c ---- */

/* Reports an error at reader->place, the calls that led there and who asked. Returns false. */
bool hmoec_c_refuse(hmoec_c_reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The place of a cursor: of code from a macro, where the macro is used. file is the arena's. */
hmoec_location hmoec_c_place(const hmoec_c_reader *reader, CXCursor cursor);
/* Copies a CXString and disposes of it. */
const char *hmoec_c_text(const hmoec_c_reader *reader, CXString string);
hmoec_c_list hmoec_c_children(const hmoec_c_reader *reader, CXCursor cursor);
/* One step deeper into the tree, at a cursor; leave it again, whatever happened. */
bool hmoec_c_enter(hmoec_c_reader *reader, CXCursor cursor);
void hmoec_c_leave(hmoec_c_reader *reader);

/* ---- c_type.c ---- */

static const hmoec_c_type hmoec_c_bool = {HMOEC_C_INTEGER, 1, false};
static const hmoec_c_type hmoec_c_int = {HMOEC_C_INTEGER, 32, true};

/* void, or a scalar: refuses what is neither, at reader->place. `of`: what has the type ("variable 'x'"). */
bool hmoec_c_type_read(hmoec_c_reader *reader, CXType type, const char *of, hmoec_c_type *out_type);
bool hmoec_c_type_equal(hmoec_c_type a, hmoec_c_type b);
/* Of an arithmetic operand alone, and of two. */
hmoec_c_type hmoec_c_type_promote(hmoec_c_type type);
hmoec_c_type hmoec_c_type_common(hmoec_c_type a, hmoec_c_type b);
const char *hmoec_c_type_name(hmoec_c_type type);

/* ---- c_emit.c ---- */

/* Appends an op with one result at the current place. name: in full ("arith.addf"). */
MlirValue hmoec_c_emit(hmoec_c_reader *reader, const char *name, MlirType type, const MlirValue *operands, size_t count);
/* arith.cmpf or arith.cmpi: an i1. */
MlirValue hmoec_c_emit_compare(hmoec_c_reader *reader, const char *name, int64_t predicate, MlirValue a, MlirValue b);
/* The inverse of an i1. */
MlirValue hmoec_c_emit_not(hmoec_c_reader *reader, MlirValue truth);
/* Is it the inverse of *out_of, made by hmoec_c_emit_not? */
bool hmoec_c_is_not(MlirValue truth, MlirValue *out_of);
MlirType hmoec_c_emit_type(const hmoec_c_reader *reader, hmoec_c_type type);
/* A constant or run-time value of the type's width. Constants stand at the beginning of the function, each once. */
MlirValue hmoec_c_materialize(hmoec_c_reader *reader, hmoec_c_value value);
MlirLocation hmoec_c_mlir_location(const hmoec_c_reader *reader, CXCursor cursor);
/* Removes ops and results that nothing uses. */
void hmoec_c_sweep(MlirBlock block);

/* ---- c_value.c ---- */

hmoec_c_value hmoec_c_integer(hmoec_c_type type, int64_t value); /* wrapped to the width */
hmoec_c_value hmoec_c_floating(hmoec_c_type type, double value); /* rounded to the width */
hmoec_c_value hmoec_c_truth(bool value);                         /* a _Bool */
hmoec_c_value hmoec_c_runtime(hmoec_c_type type, MlirValue value);
hmoec_c_value hmoec_c_of_truth(hmoec_c_type type, MlirValue truth);
bool hmoec_c_is(hmoec_c_value truth, bool value); /* a constant of that truth? */
bool hmoec_c_is_truth(hmoec_c_value value);       /* an integer that can only be 0 or 1? */
bool hmoec_c_same(hmoec_c_value a, hmoec_c_value b);

bool hmoec_c_convert(hmoec_c_reader *reader, hmoec_c_value value, hmoec_c_type type, hmoec_c_value *out_value);
/* value != 0, a _Bool. */
hmoec_c_value hmoec_c_condition(hmoec_c_reader *reader, hmoec_c_value value);
hmoec_c_value hmoec_c_not(hmoec_c_reader *reader, hmoec_c_value truth);
hmoec_c_value hmoec_c_or(hmoec_c_reader *reader, hmoec_c_value a, hmoec_c_value b);
/* Both of one type; of shifts, each promoted. Any operator but && || = and the comma. */
bool hmoec_c_binary(hmoec_c_reader *reader, enum CXBinaryOperatorKind kind, hmoec_c_value a, hmoec_c_value b,
                    hmoec_c_value *out_value);
/* Plus, minus, ~ of a promoted value. */
bool hmoec_c_unary(hmoec_c_reader *reader, enum CXUnaryOperatorKind kind, hmoec_c_value a, hmoec_c_value *out_value);
/* condition ? a : b, of one type. */
hmoec_c_value hmoec_c_choose(hmoec_c_reader *reader, hmoec_c_value condition, hmoec_c_value a, hmoec_c_value b);

/* ---- c_flow.c ---- */

/* Two arms in execution. begin, then for each arm enter .. leave (an arm may be entered again), then end. */
typedef struct hmoec_c_branch {
  CXCursor place;
  hmoec_c_value condition;
  MlirOperation op; /* scf.if without results, while the arms are being filled */
  MlirBlock outer, blocks[2];
  hmoec_c_state arms[2];
  size_t variable_count;
} hmoec_c_branch;

/* condition: a run-time _Bool. */
void hmoec_c_branch_begin(hmoec_c_reader *reader, hmoec_c_branch *branch, hmoec_c_value condition);
/* Arm 0 is executed where control falls through so far, arm 1 is where it has left. */
void hmoec_c_branch_begin_guard(hmoec_c_reader *reader, hmoec_c_branch *branch);
void hmoec_c_branch_enter(hmoec_c_reader *reader, hmoec_c_branch *branch, unsigned arm);
void hmoec_c_branch_leave(hmoec_c_reader *reader, hmoec_c_branch *branch, unsigned arm);
/* Joins the arms' states, and a value of each if values is not NULL (of one type), with ops as needed. */
void hmoec_c_branch_end(hmoec_c_reader *reader, hmoec_c_branch *branch, const hmoec_c_value *values, hmoec_c_value *out_value);

void hmoec_c_state_init(hmoec_c_state *state);
hmoec_c_value hmoec_c_falls(const hmoec_c_reader *reader);
/* Control goes this way from here. value: what is returned, or NULL. */
void hmoec_c_go(hmoec_c_reader *reader, hmoec_c_way way, const hmoec_c_value *value);
/* What went this way falls through from here. */
void hmoec_c_land(hmoec_c_reader *reader, hmoec_c_way way);

hmoec_c_value *hmoec_c_variable_add(hmoec_c_reader *reader, CXCursor cursor, hmoec_c_type type);
/* The number of a local variable, SIZE_MAX where it is none. */
size_t hmoec_c_variable_find(const hmoec_c_reader *reader, CXCursor cursor);

/* ---- c_statement.c, c_loop.c ---- */

bool hmoec_c_execute(hmoec_c_reader *reader, CXCursor statement);
bool hmoec_c_execute_list(hmoec_c_reader *reader, const CXCursor *statements, size_t count);
bool hmoec_c_declare(hmoec_c_reader *reader, CXCursor statement, bool initialise);
bool hmoec_c_loop(hmoec_c_reader *reader, CXCursor statement);
bool hmoec_c_switch(hmoec_c_reader *reader, CXCursor statement);

/* ---- c_expression.c, c_call.c, c_math.c ---- */

/* A void expression gives a value of type void. */
bool hmoec_c_evaluate(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value);
bool hmoec_c_evaluate_condition(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_truth);
/* What clang knows to be constant. False, without a message, where it does not. */
bool hmoec_c_evaluate_constant(CXCursor expression, hmoec_c_type type, hmoec_c_value *out_value);
/* The expression of _Generic that its type selects. */
bool hmoec_c_generic(hmoec_c_reader *reader, CXCursor expression, CXCursor *out_selected);
bool hmoec_c_call(hmoec_c_reader *reader, CXCursor expression, hmoec_c_value *out_value);
/* Executes a body whose parameters have been declared and gives what it returns; the frame is the reader's. */
bool hmoec_c_run_body(hmoec_c_reader *reader, CXCursor function, hmoec_c_value *out_value);

typedef struct hmoec_c_math hmoec_c_math;
/* NULL where it is no function of math.h that we have. */
const hmoec_c_math *hmoec_c_math_find(const char *name, unsigned *out_bits);
bool hmoec_c_math_call(hmoec_c_reader *reader, const hmoec_c_math *function, unsigned bits, const char *name,
                       const hmoec_c_value *arguments, size_t count, hmoec_c_value *out_value);

#endif
