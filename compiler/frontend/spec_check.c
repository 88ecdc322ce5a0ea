/* What is wrong with a spec whatever its dims and options are: a statement where it cannot stand, a name declared twice, no model. Also
 * gathers what later parts look up: words, blocks, and what -D may name. */
#include <string.h>

#include "frontend/spec_eval.h"
#include "frontend/spec_parser.h"

typedef enum place { PLACE_TOP, PLACE_BODY, PLACE_BLOCK } place;

static const char *const statement_names[] = {
    [HMOEC_STATEMENT_MODEL] = "model", [HMOEC_STATEMENT_DIM] = "dim",         [HMOEC_STATEMENT_OPTION] = "option",
    [HMOEC_STATEMENT_INPUT] = "input", [HMOEC_STATEMENT_PARAM] = "param",     [HMOEC_STATEMENT_OUTPUT] = "output",
    [HMOEC_STATEMENT_ASSIGN] = "=",    [HMOEC_STATEMENT_BLOCK] = "block",     [HMOEC_STATEMENT_RETURN] = "return",
    [HMOEC_STATEMENT_FOR] = "for",     [HMOEC_STATEMENT_IF] = "if",           [HMOEC_STATEMENT_SCOPE] = "scope",
    [HMOEC_STATEMENT_CHECK] = "check", [HMOEC_STATEMENT_INCLUDE] = "include", [HMOEC_STATEMENT_GENERATION] = "generation"};

static bool place_check(hmoec_evaluator *ev, const hmoec_statement *statement, place where) {
  const char *name = statement_names[statement->kind];
  switch (statement->kind) {
  case HMOEC_STATEMENT_MODEL:
  case HMOEC_STATEMENT_DIM:
  case HMOEC_STATEMENT_OPTION:
  case HMOEC_STATEMENT_BLOCK:
  case HMOEC_STATEMENT_GENERATION:
    return where == PLACE_TOP ||
           hmoec_error(ev->diagnostics, statement->at, "%s belongs at the top level, not inside braces", name);
  case HMOEC_STATEMENT_INPUT:
  case HMOEC_STATEMENT_OUTPUT:
    return where != PLACE_BLOCK || hmoec_error(ev->diagnostics, statement->at,
                                               "%s cannot stand in a block: pass values as arguments and return them", name);
  case HMOEC_STATEMENT_RETURN:
    return where == PLACE_BLOCK || hmoec_error(ev->diagnostics, statement->at, "return stands outside of a block");
  default: return true;
  }
}

static bool declare(hmoec_evaluator *ev, const hmoec_statement *statement) {
  size_t before = ev->declared.count;
  size_t index = hmoec_name_map_add(&ev->declared, statement->name.text);
  if (index == before) {
    *HMOEC_APPEND(ev->arena, ev->declarations, before) = statement;
    return true;
  }
  hmoec_error(ev->diagnostics, statement->name.at, "'%s' is declared twice", statement->name.text);
  hmoec_note(ev->diagnostics, ev->declarations[index]->name.at, "first declared here");
  return false;
}

static bool declare_block(hmoec_evaluator *ev, hmoec_statement *block) {
  const char *name = block->name.text;
  const hmoec_op_info *op = hmoec_op_info_find(name);
  if (op && op->from_spec)
    return hmoec_error(ev->diagnostics, block->name.at, "'%s' is the name of an op; choose another for the block", name);
  size_t before = ev->block_names.count;
  size_t index = hmoec_name_map_add(&ev->block_names, name);
  if (index != before) {
    hmoec_error(ev->diagnostics, block->name.at, "block '%s' is declared twice", name);
    hmoec_note(ev->diagnostics, ev->blocks[index]->name.at, "first declared here");
    return false;
  }
  *HMOEC_APPEND(ev->arena, ev->blocks, before) = block;
  bool ok = true;
  hmoec_name_map parameters = {.arena = ev->arena};
  for (size_t i = 0; i < block->parameter_count; i++) {
    hmoec_spec_text parameter = block->parameters[i].name;
    size_t known = parameters.count;
    if (hmoec_name_map_add(&parameters, parameter.text) != known) {
      ok = hmoec_error(ev->diagnostics, parameter.at, "block '%s' has two arguments named '%s'", name, parameter.text);
      for (size_t j = 0; j < i; j++)
        if (strcmp(block->parameters[j].name.text, parameter.text) == 0) {
          hmoec_note(ev->diagnostics, block->parameters[j].name.at, "the first is here");
          break;
        }
    }
    if (!block->parameters[i].value && i && block->parameters[i - 1].value)
      ok = hmoec_error(ev->diagnostics, parameter.at, "argument '%s' needs a default, because the one before it has one",
                       parameter.text);
  }
  return ok;
}

static void add_words(hmoec_evaluator *ev, const hmoec_statement *option) {
  if (option->literal.word) hmoec_name_map_add(&ev->words, option->literal.word);
  for (size_t i = 0; i < option->choice_count; i++)
    if (option->choices[i].word) hmoec_name_map_add(&ev->words, option->choices[i].word);
}

static bool declare_model(hmoec_evaluator *ev, const hmoec_statement *model) {
  if (!ev->model) {
    ev->model = model;
    return true;
  }
  hmoec_error(ev->diagnostics, model->at, "a spec describes one model");
  hmoec_note(ev->diagnostics, ev->model->at, "it is named '%s' here", ev->model->name.text);
  return false;
}

static bool check_statements(hmoec_evaluator *ev, const hmoec_statements *statements, place where);

static bool check_statement(hmoec_evaluator *ev, hmoec_statement *statement, place where) {
  place inside = where == PLACE_BLOCK ? PLACE_BLOCK : PLACE_BODY;
  if (!place_check(ev, statement, where)) return false;
  switch (statement->kind) {
  case HMOEC_STATEMENT_MODEL: return declare_model(ev, statement);
  case HMOEC_STATEMENT_DIM: return declare(ev, statement);
  case HMOEC_STATEMENT_OPTION: add_words(ev, statement); return declare(ev, statement);
  case HMOEC_STATEMENT_INCLUDE: return check_statements(ev, &statement->body, where);
  case HMOEC_STATEMENT_GENERATION: return hmoec_spec_check_generation(ev, statement);
  case HMOEC_STATEMENT_BLOCK: {
    bool declared = declare_block(ev, statement);
    return check_statements(ev, &statement->body, PLACE_BLOCK) && declared;
  }
  case HMOEC_STATEMENT_IF: {
    bool ok = true;
    for (size_t i = 0; i < statement->arm_count; i++) ok = check_statements(ev, &statement->arms[i].body, inside) && ok;
    return ok;
  }
  default: return check_statements(ev, &statement->body, inside);
  }
}

static bool check_statements(hmoec_evaluator *ev, const hmoec_statements *statements, place where) {
  bool ok = true;
  for (size_t i = 0; i < statements->count; i++) ok = check_statement(ev, statements->items[i], where) && ok;
  return ok;
}

static void add_op_words(hmoec_evaluator *ev) {
  const hmoec_op_info *op;
  for (size_t i = 0; (op = hmoec_op_info_at(i)); i++) {
    if (!op->from_spec) continue;
    for (const hmoec_attribute_info *row = op->attributes; row->name; row++)
      for (size_t c = 0; row->choices && row->choices[c]; c++) hmoec_name_map_add(&ev->words, row->choices[c]);
  }
}

void hmoec_evaluator_init(hmoec_evaluator *ev, hmoec_arena *arena, hmoec_diagnostics *diagnostics) {
  *ev = (hmoec_evaluator){.arena = arena,
                          .diagnostics = diagnostics,
                          .words = {.arena = arena},
                          .declared = {.arena = arena},
                          .block_names = {.arena = arena},
                          .globals = {.names = {.arena = arena}},
                          .scope = ""};
  add_op_words(ev);
  hmoec_name_map_add(&ev->words, "never"); /* of early_stopping */
}

bool hmoec_spec_check(hmoec_evaluator *ev, const hmoec_statements *statements) {
  bool ok = check_statements(ev, statements, PLACE_TOP);
  ev->block_active = hmoec_arena_alloc_array(ev->arena, ev->block_names.count, sizeof *ev->block_active);
  return ok;
}
