/* The functions written in C that a model under construction names. Each is read once and becomes a scalar function (ir/scalar.h) of the
 * module.
 *
 * A text names one: "c:FILE:NAME", FILE relative to the working directory; behind it, each on a line, what is special to it:
 * "-IDIRECTORY", "-DNAME" or "-DNAME=VALUE". */
#ifndef HMOEC_FRONTEND_FUNCTION_SET_H
#define HMOEC_FRONTEND_FUNCTION_SET_H

#include <mlir-c/IR.h>

#include "frontend/c_function.h"

typedef struct hmoec_function_set hmoec_function_set;

/* Whether a text names a C function. */
bool hmoec_names_c_function(const char *text);

/* model: no function gets that name. flags: of every C file, borrowed until destroy, or NULL. Never NULL. */
hmoec_function_set *hmoec_function_set_create(MlirContext context, hmoec_diagnostics *diagnostics, const char *model,
                                              const hmoec_c_flags *flags);
void hmoec_function_set_destroy(hmoec_function_set *set);
/* The function as attributes name it, "@squared_relu"; it has one of so many arguments (bit i of arities: i arguments are allowed). NULL
 * after an error, which is reported. Owned by the set. */
const char *hmoec_function_set_get(hmoec_function_set *set, hmoec_location at, const char *text, const char *what,
                                   unsigned arities);
/* Moves the functions to the end of a module. */
void hmoec_function_set_move(hmoec_function_set *set, MlirBlock module_body);

#endif
