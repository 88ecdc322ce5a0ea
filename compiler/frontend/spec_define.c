/* Dims and options, and the -D overrides of them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/function_set.h"
#include "frontend/spec_eval.h"

hmoec_location hmoec_eval_define_location(hmoec_evaluator *ev, const hmoec_define *define) {
  return (hmoec_location){.file = hmoec_arena_printf(ev->arena, "-D %s=%s", define->name, define->value)};
}

/* "a, b, c": the names declared by statements of a kind. */
static const char *declared_names(hmoec_evaluator *ev, hmoec_statement_kind kind) {
  const char *list = "";
  for (size_t i = 0; i < ev->declared.count && strlen(list) < 1000; i++)
    if (ev->declarations[i]->kind == kind)
      list = hmoec_arena_printf(ev->arena, "%s%s%s", list, *list ? ", " : "", ev->declared.names[i]);
  return *list ? list : "none";
}

static bool report_unknown(hmoec_evaluator *ev, const hmoec_define *define) {
  const char *close = hmoec_closest_name(define->name, ev->declared.names, ev->declared.count);
  if (hmoec_setting_find(define->name) < HMOE_SETTING_COUNT) close = hmoec_arena_printf(ev->arena, "generation.%s", define->name);
  hmoec_location at = hmoec_eval_define_location(ev, define);
  hmoec_error(ev->diagnostics, at, "the spec has no dim or option '%s'%s%s%s", define->name, close ? "; did you mean '" : "",
              close ? close : "", close ? "'?" : "");
  hmoec_note(ev->diagnostics, at, "dims: %s", declared_names(ev, HMOEC_STATEMENT_DIM));
  hmoec_note(ev->diagnostics, at, "options: %s", declared_names(ev, HMOEC_STATEMENT_OPTION));
  return false;
}

bool hmoec_define_integer(const char *text, int64_t *out_value) {
  const char *digits = *text == '-' ? text + 1 : text;
  if (!*digits || digits[strspn(digits, "0123456789")]) return false;
  errno = 0;
  *out_value = strtoll(text, NULL, 10);
  return errno == 0;
}

static double literal_number(const hmoec_literal *literal) { return literal->decimal ? literal->number : (double)literal->integer; }

static bool literal_equal(const hmoec_literal *a, const hmoec_literal *b) {
  if (a->word || b->word) return a->word && b->word && strcmp(a->word, b->word) == 0;
  if (!a->decimal && !b->decimal) return a->integer == b->integer;
  double x = literal_number(a), y = literal_number(b);
  return x >= y && x <= y;
}

/* "0.5", "-1e-6": a number with a point or an exponent. */
static bool parse_decimal(const char *text, double *out_number) {
  bool negative = *text == '-', decimal;
  size_t length = strlen(text + negative);
  if (hmoec_number_length(text + negative, text + negative + length, &decimal) != length || !decimal ||
      !hmoec_number_parse(text + negative, length, out_number))
    return false;
  if (negative) *out_number = -*out_number;
  return true;
}

static bool is_choice(const hmoec_statement *option, const hmoec_literal *value) {
  if (value->word && hmoec_names_c_function(value->word) && hmoec_option_takes_function(option)) return true;
  for (size_t i = 0; i < option->choice_count; i++)
    if (literal_equal(&option->choices[i], value)) return true;
  return option->choice_count == 0;
}

static const char *literal_string(hmoec_evaluator *ev, const hmoec_literal *literal) {
  if (literal->decimal) return hmoec_number_text(ev->arena, literal->number);
  return literal->word ? literal->word : hmoec_arena_printf(ev->arena, "%" PRId64, literal->integer);
}

static bool report_choice(hmoec_evaluator *ev, const hmoec_statement *option, hmoec_location at, const char *found) {
  const char *list = "";
  hmoec_name_map words = {.arena = ev->arena};
  size_t count = option->choice_count + hmoec_option_takes_function(option);
  for (size_t i = 0; i < count; i++) {
    const char *choice = i < option->choice_count ? literal_string(ev, &option->choices[i]) : "c:FILE:FUNCTION";
    if (strlen(list) < 1000) list = hmoec_arena_printf(ev->arena, "%s%s%s", list, i ? i + 1 == count ? " or " : ", " : "", choice);
    if (i < option->choice_count) hmoec_name_map_add(&words, choice);
  }
  const char *close = hmoec_closest_name(found, words.names, words.count);
  return hmoec_error(ev->diagnostics, at, "expected %s to be %s, found '%s'%s%s%s", option->name.text, list, found,
                     close ? "; did you mean '" : "", close ? close : "", close ? "'?" : "");
}

/* The value of an override as the option's own kind of value. */
static bool option_value(hmoec_evaluator *ev, const hmoec_statement *option, const hmoec_define *define, hmoec_literal *out_value) {
  hmoec_location at = hmoec_eval_define_location(ev, define);
  *out_value = (hmoec_literal){.at = at};
  bool numbers = !option->literal.word, decimals = option->literal.decimal;
  for (size_t i = 0; i < option->choice_count; i++) {
    numbers = numbers || !option->choices[i].word;
    decimals = decimals || option->choices[i].decimal;
  }
  bool is_true = strcmp(define->value, "true") == 0;
  if (numbers && (is_true || strcmp(define->value, "false") == 0)) out_value->integer = is_true;
  else if (decimals && parse_decimal(define->value, &out_value->number)) out_value->decimal = true;
  else if (!numbers || !hmoec_define_integer(define->value, &out_value->integer)) out_value->word = define->value;
  if (!is_choice(option, out_value)) return report_choice(ev, option, at, define->value);
  if (option->choice_count) return true;
  if (!option->literal.word && out_value->word)
    return hmoec_error(ev->diagnostics, at, "expected %s for the option %s, found '%s'", decimals ? "a number" : "an integer",
                       option->name.text, define->value);
  if (option->literal.word && !hmoec_names_c_function(define->value) && (!*define->value || strlen(define->value) > 100))
    return hmoec_error(ev->diagnostics, at, "expected a word of 1 to 100 characters for the option %s", option->name.text);
  return true;
}

static bool dim_value(hmoec_evaluator *ev, const hmoec_statement *dim, const hmoec_define *define, int64_t *out_value) {
  hmoec_location at = hmoec_eval_define_location(ev, define);
  if (!dim->value)
    return strcmp(define->value, "?") == 0 ||
           hmoec_error(ev->diagnostics, at, "%s is known at run time only and cannot be set", define->name);
  if (!hmoec_define_integer(define->value, out_value))
    return hmoec_error(ev->diagnostics, at, "expected an integer for the dim %s, found '%s'", define->name, define->value);
  return *out_value >= 0 ||
         hmoec_error(ev->diagnostics, at, "expected %s to be at least 0, found %" PRId64, define->name, *out_value);
}

bool hmoec_spec_check_defines(hmoec_evaluator *ev) {
  bool ok = true;
  for (size_t i = 0; i < ev->define_count; i++) {
    const hmoec_define *define = &ev->defines[i];
    size_t index = hmoec_name_map_find(&ev->declared, define->name);
    int64_t integer;
    hmoec_literal literal;
    if (hmoec_names_setting(define->name)) continue;
    if (index == HMOEC_NO_NAME) ok = report_unknown(ev, define);
    else if (ev->declarations[index]->kind == HMOEC_STATEMENT_DIM)
      ok = dim_value(ev, ev->declarations[index], define, &integer) && ok;
    else ok = option_value(ev, ev->declarations[index], define, &literal) && ok;
  }
  return ok;
}

bool hmoec_eval_check_choice(hmoec_evaluator *ev, const char *name, const char *word, hmoec_location at) {
  size_t index = hmoec_name_map_find(&ev->declared, name);
  const hmoec_statement *option = index == HMOEC_NO_NAME ? NULL : ev->declarations[index];
  if (!option || option->kind != HMOEC_STATEMENT_OPTION) return true;
  return is_choice(option, &(hmoec_literal){.word = word}) || report_choice(ev, option, at, word);
}

const hmoec_define *hmoec_eval_define_of(const hmoec_evaluator *ev, const char *name) {
  for (size_t i = ev->define_count; i-- > 0;)
    if (strcmp(ev->defines[i].name, name) == 0) return &ev->defines[i];
  return NULL;
}

void hmoec_eval_dim(hmoec_evaluator *ev, const hmoec_statement *dim) {
  hmoec_value value = {.kind = HMOEC_VALUE_DYNAMIC, .word = dim->name.text};
  const hmoec_define *define = hmoec_eval_define_of(ev, dim->name.text);
  int64_t integer = 0;
  if (dim->value) {
    bool ok = define ? dim_value(ev, dim, define, &integer) : hmoec_eval_integer(ev, dim->value, "the size of a dim", &integer);
    if (ok && integer < 0)
      ok = hmoec_error(ev->diagnostics, dim->value->at, "expected %s to be at least 0, found %" PRId64, dim->name.text, integer);
    value = ok ? hmoec_value_integer(integer) : hmoec_value_error();
  }
  hmoec_eval_bind(ev, &ev->globals, dim->name, value, NULL);
}

static bool choices_check(hmoec_evaluator *ev, const hmoec_statement *option) {
  for (size_t i = 1; i < option->choice_count; i++)
    for (size_t first = 0; first < i; first++) {
      if (!literal_equal(&option->choices[first], &option->choices[i])) continue;
      hmoec_error(ev->diagnostics, option->choices[i].at, "%s: the choice '%s' is given twice", option->name.text,
                  literal_string(ev, &option->choices[i]));
      hmoec_note(ev->diagnostics, option->choices[first].at, "first given here");
      return false;
    }
  return true;
}

void hmoec_eval_option(hmoec_evaluator *ev, const hmoec_statement *option) {
  hmoec_literal literal = option->literal;
  if (literal.word) literal.word = hmoec_eval_function_word(ev, literal.word, literal.at);
  const hmoec_define *define = hmoec_eval_define_of(ev, option->name.text);
  bool ok = choices_check(ev, option) &&
            (is_choice(option, &literal) || report_choice(ev, option, literal.at, literal_string(ev, &literal)));
  if (ok && define) ok = option_value(ev, option, define, &literal);
  hmoec_value value = literal.word      ? hmoec_value_word(literal.word)
                      : literal.decimal ? hmoec_value_number(literal.number)
                                        : hmoec_value_integer(literal.integer);
  hmoec_eval_bind(ev, &ev->globals, option->name, ok ? value : hmoec_value_error(), NULL);
}
