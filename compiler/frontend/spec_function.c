/* Functions written in C, as a spec names them: c("FILE", NAME), with the directories and macros that FILE needs,
 *
 *   c("activations.c", swish, include = "include", define = ["BETA=2", "FAST"])
 *
 * which is the word "c:FILE:NAME" and a line behind it for each of those (frontend/function_set.h). FILE and directories are relative to
 * the spec. */
#include <string.h>

#include "frontend/function_set.h"
#include "frontend/spec_eval.h"
#include "frontend/spec_path.h"

const char *hmoec_eval_function_word(hmoec_evaluator *ev, const char *word, hmoec_location at) {
  if (!hmoec_names_c_function(word)) return word;
  return hmoec_arena_printf(ev->arena, "c:%s", hmoec_path_beside(ev->arena, at.file, word + 2));
}

bool hmoec_option_takes_function(const hmoec_statement *option) {
  const hmoec_op_info *op;
  for (size_t i = 0; (op = hmoec_op_info_at(i)); i++)
    for (const hmoec_attribute_info *row = op->attributes; row->name; row++)
      for (size_t c = 0; row->arities && row->choices[c]; c++)
        for (size_t o = 0; o < option->choice_count && strcmp(row->choices[c], "none") != 0; o++)
          if (option->choices[o].word && strcmp(option->choices[o].word, row->choices[c]) == 0) return true;
  return false;
}

/* A text argument that stands on one line; NULL after an error. */
static const char *text_of(hmoec_evaluator *ev, const hmoec_expr *expr, const char *what) {
  if (expr->kind == HMOEC_EXPR_STRING && *expr->text) return expr->text;
  hmoec_error(ev->diagnostics, expr->at, "c: expected %s as text, in double quotes", what);
  return NULL;
}

/* The lines of one text, or of a list of them, behind the word. */
static const char *add_flags(hmoec_evaluator *ev, const char *word, const hmoec_argument *argument, bool include) {
  const hmoec_expr *value = argument->value;
  size_t count = value->kind == HMOEC_EXPR_LIST ? value->items.count : 1;
  if (count > HMOEC_SPEC_MAX_ARGUMENTS) {
    hmoec_error(ev->diagnostics, value->at, "expected at most %d %s, found %zu", HMOEC_SPEC_MAX_ARGUMENTS,
                include ? "directories" : "macros", count);
    return NULL;
  }
  for (size_t i = 0; i < count; i++) {
    const hmoec_expr *item = value->kind == HMOEC_EXPR_LIST ? value->items.items[i] : value;
    const char *text = text_of(ev, item, include ? "a directory" : "a macro (\"NAME\" or \"NAME=VALUE\")");
    if (!text) return NULL;
    if (include) text = hmoec_path_beside(ev->arena, item->at.file, text);
    word = hmoec_arena_printf(ev->arena, "%s\n%s%s", word, include ? "-I" : "-D", text);
  }
  return word;
}

hmoec_value hmoec_eval_c_function(hmoec_evaluator *ev, const hmoec_expr *call) {
  const hmoec_argument *arguments = call->arguments;
  const hmoec_value error = hmoec_value_error();
  if (call->argument_count < 2 || arguments[0].name.text || arguments[1].name.text) {
    hmoec_error(ev->diagnostics, call->at, "c: expected the file and the function, c(\"FILE\", NAME)");
    return error;
  }
  const hmoec_expr *function = arguments[1].value;
  const char *file = text_of(ev, arguments[0].value, "the file");
  if (!file) return error;
  if (function->kind != HMOEC_EXPR_NAME && function->kind != HMOEC_EXPR_STRING) {
    hmoec_error(ev->diagnostics, function->at, "c: expected the name of a function");
    return error;
  }
  const char *word = hmoec_arena_printf(ev->arena, "c:%s:%s", hmoec_path_beside(ev->arena, call->at.file, file), function->text);
  for (size_t i = 2; i < call->argument_count; i++) {
    const char *name = arguments[i].name.text;
    bool include = name && strcmp(name, "include") == 0;
    if (!include && !(name && strcmp(name, "define") == 0)) {
      hmoec_error(ev->diagnostics, name ? arguments[i].name.at : arguments[i].value->at,
                  "c: expected include = or define = behind the function");
      return error;
    }
    word = add_flags(ev, word, &arguments[i], include);
    if (!word) return error;
  }
  return hmoec_value_word(word);
}
