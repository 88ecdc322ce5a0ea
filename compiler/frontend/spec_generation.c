/* generation { NAME = value ... }: what generation does where its caller says nothing. Values go to the builder, which knows what settings
 * there are; -D generation.NAME=VALUE goes before all of them. */
#include <string.h>

#include "frontend/spec_eval.h"
#include "frontend/spec_parser.h"

static const char prefix[] = "generation.";

bool hmoec_names_setting(const char *name) { return strncmp(name, prefix, sizeof prefix - 1) == 0; }

bool hmoec_spec_check_generation(hmoec_evaluator *ev, const hmoec_statement *generation) {
  bool ok = true;
  for (size_t i = 0; i < generation->body.count; i++) {
    const hmoec_statement *line = generation->body.items[i];
    if (line->kind != HMOEC_STATEMENT_ASSIGN || line->name_count != 1)
      ok = hmoec_error(ev->diagnostics, line->at, "generation has lines NAME = value, nothing else");
  }
  return ok;
}

/* ---- values ---- */

static bool unexpected(hmoec_evaluator *ev, uint32_t setting, hmoec_location at, const char *found) {
  return hmoec_error(ev->diagnostics, at, "expected %s to be %s, found %s", hmoec_setting_name(setting),
                     hmoec_setting_expected(setting), found);
}

static bool takes_tokens(uint32_t setting) {
  hmoec_setting_kind kind = hmoec_setting_kind_of(setting);
  return kind == HMOEC_SETTING_TOKEN || kind == HMOEC_SETTING_TOKENS || kind == HMOEC_SETTING_WORDS;
}

/* A value as it grows. */
typedef struct growing {
  int64_t *integers;
  size_t count;
  double number;
} growing;

static void value_add(hmoec_evaluator *ev, growing *value, int64_t integer) {
  *HMOEC_APPEND(ev->arena, value->integers, value->count) = integer;
}

static void say(hmoec_evaluator *ev, hmoec_location at, const char *name, const growing *value) {
  hmoec_builder_setting(ev->builder, at, name,
                        &(hmoec_setting_value){.integers = value->integers, .count = value->count, .number = value->number});
}

/* none, never, an integer, a number, a list of integers. */
static bool value_from(hmoec_evaluator *ev, uint32_t setting, hmoec_location at, const hmoec_value *from, growing *out_value) {
  hmoec_setting_kind kind = hmoec_setting_kind_of(setting);
  bool word = from->kind == HMOEC_VALUE_WORD;
  if (from->kind == HMOEC_VALUE_ERROR) return false;
  if (word && strcmp(from->word, "none") == 0 && takes_tokens(setting)) return true;
  if (word && strcmp(from->word, "never") == 0 && kind == HMOEC_SETTING_STOPPING) {
    value_add(ev, out_value, 2);
  } else if (from->kind == HMOEC_VALUE_NUMBER && kind == HMOEC_SETTING_NUMBER) {
    out_value->number = from->number;
  } else if (from->kind == HMOEC_VALUE_INTEGER && kind == HMOEC_SETTING_NUMBER) {
    out_value->number = (double)from->integer;
  } else if (from->kind == HMOEC_VALUE_INTEGER && kind != HMOEC_SETTING_WORDS) {
    value_add(ev, out_value, from->integer);
  } else if (from->kind == HMOEC_VALUE_LIST && takes_tokens(setting)) {
    for (size_t i = 0; i < from->item_count; i++) value_add(ev, out_value, from->items[i].integer);
    if (kind == HMOEC_SETTING_WORDS) value_add(ev, out_value, HMOEC_WORD_END);
  } else {
    return unexpected(ev, setting, at, hmoec_value_string(ev, from));
  }
  return true;
}

/* Lists of lists have no value of their own: each word is an expression. */
static bool eval_setting(hmoec_evaluator *ev, uint32_t setting, const hmoec_expr *expr, growing *out_value) {
  bool words = hmoec_setting_kind_of(setting) == HMOEC_SETTING_WORDS && expr->kind == HMOEC_EXPR_LIST && expr->items.count &&
               expr->items.items[0]->kind == HMOEC_EXPR_LIST;
  size_t count = words ? expr->items.count : 1;
  bool ok = true;
  for (size_t i = 0; i < count; i++) {
    const hmoec_expr *item = words ? expr->items.items[i] : expr;
    hmoec_value value = hmoec_eval_expr(ev, item);
    ok = value_from(ev, setting, item->at, &value, out_value) && ok;
  }
  return ok;
}

void hmoec_eval_generation(hmoec_evaluator *ev, const hmoec_statement *generation) {
  for (size_t i = 0; i < generation->body.count; i++) {
    const hmoec_statement *line = generation->body.items[i];
    const char *name = line->names[0].text;
    uint32_t setting = hmoec_setting_find(name);
    growing value = {0};
    if (setting == HMOE_SETTING_COUNT) say(ev, line->names[0].at, name, &value); /* reports it */
    else if (!hmoec_eval_define_of(ev, hmoec_arena_printf(ev->arena, "%s%s", prefix, name)) &&
             eval_setting(ev, setting, line->value, &value))
      say(ev, line->value->at, name, &value);
  }
}

/* ---- overrides ---- */

/* "none", "never", "true", "1", "0.5", "1,2". */
static bool parse_define(hmoec_evaluator *ev, uint32_t setting, hmoec_location at, const char *text, growing *out_value) {
  hmoec_setting_kind kind = hmoec_setting_kind_of(setting);
  bool on = strcmp(text, "true") == 0, integers = true, decimal;
  const char *digits = *text == '-' ? text + 1 : text;
  if (kind == HMOEC_SETTING_WORDS && strcmp(text, "none") != 0)
    return hmoec_error(ev->diagnostics, at, "expected %s to be none here; lists of lists stand in the spec",
                       hmoec_setting_name(setting));
  if (strcmp(text, "none") == 0 && takes_tokens(setting)) return true;
  if (kind == HMOEC_SETTING_NUMBER) {
    size_t length = strlen(digits);
    if (!length || hmoec_number_length(digits, digits + length, &decimal) != length ||
        !hmoec_number_parse(digits, length, &out_value->number))
      return unexpected(ev, setting, at, hmoec_arena_printf(ev->arena, "'%s'", text));
    if (digits != text) out_value->number = -out_value->number;
    return true;
  }
  if (kind == HMOEC_SETTING_STOPPING && strcmp(text, "never") == 0) {
    value_add(ev, out_value, 2);
  } else if ((kind == HMOEC_SETTING_STOPPING || kind == HMOEC_SETTING_FLAG) && (on || strcmp(text, "false") == 0)) {
    value_add(ev, out_value, on);
  } else {
    char *list = hmoec_arena_strdup(ev->arena, text), *item;
    while (integers && (item = strsep(&list, ","))) {
      int64_t integer;
      integers = hmoec_define_integer(item, &integer);
      if (integers) value_add(ev, out_value, integer);
    }
    if (!integers) return unexpected(ev, setting, at, hmoec_arena_printf(ev->arena, "'%s'", text));
  }
  return true;
}

void hmoec_eval_generation_defines(hmoec_evaluator *ev) {
  for (size_t i = 0; i < ev->define_count; i++) {
    const hmoec_define *define = &ev->defines[i];
    if (!hmoec_names_setting(define->name)) continue;
    hmoec_location at = hmoec_eval_define_location(ev, define);
    const char *name = define->name + sizeof prefix - 1;
    uint32_t setting = hmoec_setting_find(name);
    growing value = {0};
    if (setting == HMOE_SETTING_COUNT || parse_define(ev, setting, at, define->value, &value)) say(ev, at, name, &value);
  }
}
