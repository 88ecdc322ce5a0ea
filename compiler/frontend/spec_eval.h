/* What the parts of the evaluator share. It walks the tree once, keeps what names stand for, and makes each op as it comes to it:
 *   spec_check.c   what is wrong whatever the values: statements out of place, things declared twice
 *   spec_define.c  dims, options and their overrides
 *   spec_generation.c  what generation does, and the overrides of it
 *   spec_eval.c    statements
 *   spec_expr.c    expressions of integers, numbers and words
 *   spec_call.c    ops and blocks
 *   spec_function.c  functions written in C
 *   spec_text.c    checkpoint keys and messages: "expert_{e}"
 * A part that fails has reported why. A name whose value failed stands for HMOEC_VALUE_ERROR, which nothing complains about again. */
#ifndef HMOEC_FRONTEND_SPEC_EVAL_H
#define HMOEC_FRONTEND_SPEC_EVAL_H

#include "frontend/builder.h"
#include "frontend/spec.h"
#include "support/limits.h"
#include "support/name_map.h"

typedef enum hmoec_value_kind {
  HMOEC_VALUE_ERROR,   /* was reported */
  HMOEC_VALUE_ABSENT,  /* a value or param whose condition did not hold: fills no operand */
  HMOEC_VALUE_NOTHING, /* what a block without return gives */
  HMOEC_VALUE_INTEGER, /* integer */
  HMOEC_VALUE_NUMBER,  /* number: decimal, passed on as it is */
  HMOEC_VALUE_WORD,    /* word */
  HMOEC_VALUE_DYNAMIC, /* a dim known at run time; word: its name */
  HMOEC_VALUE_TENSOR,  /* tensor */
  HMOEC_VALUE_BUNDLE,  /* items by name: the results of the op `word` */
  HMOEC_VALUE_TUPLE,   /* items: what a block returns */
  HMOEC_VALUE_LIST,    /* items: integers */
} hmoec_value_kind;

typedef struct hmoec_value {
  hmoec_value_kind kind;
  int64_t integer;
  double number;
  const char *word;
  MlirValue tensor;
  const struct hmoec_value *items;
  const char *const *item_names;
  size_t item_count;
} hmoec_value;

typedef struct hmoec_binding {
  hmoec_value value;
  bool bound;                 /* false: the index of a loop that is over */
  bool index;                 /* of a running loop */
  hmoec_statement *declared;  /* the input or param; NULL for other values */
  hmoec_location at;          /* where it was given its value; no file: not known */
} hmoec_binding;

/* The names a block, or the top level, has made. */
typedef struct hmoec_frame {
  hmoec_name_map names;
  hmoec_binding *bindings; /* by index in names */
  size_t capacity;
  const hmoec_statement *block; /* NULL: the top level */
  bool returned;
  hmoec_value result;
} hmoec_frame;

typedef struct hmoec_evaluator {
  hmoec_arena *arena;
  hmoec_diagnostics *diagnostics;
  hmoec_builder *builder;
  hmoec_name_map words;         /* choices of options and of op attributes */
  hmoec_name_map declared;      /* dims and options, wherever they stand: what -D may name */
  const hmoec_statement **declarations;
  hmoec_name_map block_names;
  hmoec_statement **blocks;     /* by index in block_names */
  bool *block_active;           /* being evaluated: calling it again would be recursion */
  const hmoec_statement *model;
  const hmoec_define *defines;
  size_t define_count;
  hmoec_frame globals;          /* dims and options that were evaluated */
  hmoec_frame *frame;
  const char *scope;            /* prefix of checkpoint keys, "" or "encoder.block.0" */
  unsigned stack;
  size_t steps;
  bool refused;                 /* a check failed: what comes after the checks would only say the same in other words */
  bool stopped;
} hmoec_evaluator;

/* Everything that is made lives in the arena. The builder and the overrides are the caller's to set. */
void hmoec_evaluator_init(hmoec_evaluator *ev, hmoec_arena *arena, hmoec_diagnostics *diagnostics);

/* spec_check.c: adds to words, declared, blocks and model. */
bool hmoec_spec_check(hmoec_evaluator *ev, const hmoec_statements *statements);

/* spec_define.c */
bool hmoec_spec_check_defines(hmoec_evaluator *ev);
void hmoec_eval_dim(hmoec_evaluator *ev, const hmoec_statement *dim);
void hmoec_eval_option(hmoec_evaluator *ev, const hmoec_statement *option);
/* A word that `name`, if it is an option, is compared with: false, reported, where it can never be that. */
bool hmoec_eval_check_choice(hmoec_evaluator *ev, const char *name, const char *word, hmoec_location at);

const hmoec_define *hmoec_eval_define_of(const hmoec_evaluator *ev, const char *name); /* the last override of a name, or NULL */
bool hmoec_define_integer(const char *text, int64_t *out_value); /* "-12": false where it is none of 64 bits */
hmoec_location hmoec_eval_define_location(hmoec_evaluator *ev, const hmoec_define *define);

/* spec_generation.c */
bool hmoec_spec_check_generation(hmoec_evaluator *ev, const hmoec_statement *generation);
void hmoec_eval_generation(hmoec_evaluator *ev, const hmoec_statement *generation);
/* Is this "generation.NAME"? */
bool hmoec_names_setting(const char *name);
/* The overrides, after all statements. */
void hmoec_eval_generation_defines(hmoec_evaluator *ev);

/* spec_eval.c */
void hmoec_eval_statements(hmoec_evaluator *ev, const hmoec_statements *statements);
/* Counts a step; false, after reporting it, when the spec does too much or is nested too deeply. Pairs with hmoec_eval_leave. */
bool hmoec_eval_enter(hmoec_evaluator *ev, hmoec_location at);
void hmoec_eval_leave(hmoec_evaluator *ev);
/* The binding of a name in the frame, or among the dims and options; NULL: unknown. */
hmoec_binding *hmoec_eval_find(hmoec_evaluator *ev, const char *name);
/* Binds a name in a frame. False, reported, where the name is taken by something that cannot be replaced. */
bool hmoec_eval_bind(hmoec_evaluator *ev, hmoec_frame *frame, hmoec_spec_text name, hmoec_value value, hmoec_statement *declared);
/* "; did you mean 'x'?" or "", for the names that can be seen. */
const char *hmoec_eval_suggestion(hmoec_evaluator *ev, const char *name);

/* spec_expr.c */
hmoec_value hmoec_eval_expr(hmoec_evaluator *ev, const hmoec_expr *expr);
/* The value of a name, with the params and inputs it uses marked; reports an unknown name. */
hmoec_value hmoec_eval_name(hmoec_evaluator *ev, const char *name, hmoec_location at);
bool hmoec_eval_integer(hmoec_evaluator *ev, const hmoec_expr *expr, const char *what, int64_t *out_integer);
bool hmoec_eval_condition(hmoec_evaluator *ev, const hmoec_expr *expr, bool *out_holds);
/* "the integer 3", "the word relu", "a tensor", ... */
const char *hmoec_value_string(const hmoec_evaluator *ev, const hmoec_value *value);
hmoec_value hmoec_value_error(void);
hmoec_value hmoec_value_integer(int64_t integer);
hmoec_value hmoec_value_number(double number);
hmoec_value hmoec_value_word(const char *word);
hmoec_value hmoec_value_tensor(MlirValue tensor);

/* spec_call.c */
hmoec_value hmoec_eval_call(hmoec_evaluator *ev, const hmoec_expr *call);

/* spec_function.c: c("FILE", NAME), a word. */
hmoec_value hmoec_eval_c_function(hmoec_evaluator *ev, const hmoec_expr *call);
/* A word as it stands in a spec: the file of "c:FILE:NAME" is one beside the spec. */
const char *hmoec_eval_function_word(hmoec_evaluator *ev, const char *word, hmoec_location at);
/* Whether an option may be a C function: some of its choices are activations or gates. */
bool hmoec_option_takes_function(const hmoec_statement *option);

/* spec_text.c: replaces each {name}. `index`, where not NULL, becomes "{}" and must stand exactly once. NULL on error. */
const char *hmoec_eval_text(hmoec_evaluator *ev, hmoec_spec_text text, const char *index);
/* A checkpoint key in the current scope; a leading "/" leaves the scope out. */
const char *hmoec_eval_key(hmoec_evaluator *ev, hmoec_spec_text text, const char *index);

#endif
