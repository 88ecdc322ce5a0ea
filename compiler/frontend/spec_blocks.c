#include "frontend/spec_blocks.h"

#include <string.h>

#include "frontend/spec_eval.h"

struct hmoec_spec_blocks {
  hmoec_evaluator ev;
  hmoec_frame top;
};

hmoec_spec_blocks *hmoec_spec_blocks_create(hmoec_diagnostics *diagnostics, hmoec_builder *builder) {
  hmoec_arena *arena = hmoec_arena_create();
  hmoec_spec_blocks *blocks = hmoec_arena_alloc(arena, sizeof *blocks);
  hmoec_evaluator_init(&blocks->ev, arena, diagnostics);
  blocks->ev.builder = builder;
  blocks->top = (hmoec_frame){.names = {.arena = arena}};
  return blocks;
}

void hmoec_spec_blocks_destroy(hmoec_spec_blocks *blocks) {
  if (blocks) hmoec_arena_destroy(blocks->ev.arena);
}

/* Only declarations: what builds something belongs into a block. */
static bool declarations_check(hmoec_evaluator *ev, const hmoec_statements *statements) {
  bool ok = true;
  for (size_t i = 0; i < statements->count; i++) {
    const hmoec_statement *statement = statements->items[i];
    switch (statement->kind) {
    case HMOEC_STATEMENT_DIM:
    case HMOEC_STATEMENT_OPTION:
    case HMOEC_STATEMENT_CHECK:
    case HMOEC_STATEMENT_BLOCK: break;
    case HMOEC_STATEMENT_INCLUDE: ok = declarations_check(ev, &statement->body) && ok; break;
    default:
      ok = hmoec_error(
          ev->diagnostics, statement->at,
          "a spec whose blocks are called from a program has dims, options, checks and blocks at its top level, nothing else");
    }
  }
  return ok;
}

bool hmoec_spec_blocks_add(hmoec_spec_blocks *blocks, const hmoec_spec_reader *reader, const char *file, const char *text,
                           size_t size, const hmoec_define *defines, size_t define_count) {
  hmoec_evaluator *ev = &blocks->ev;
  unsigned errors = hmoec_diagnostics_errors(ev->diagnostics);
  hmoec_define *copies = hmoec_arena_alloc_array(ev->arena, define_count, sizeof *copies);
  for (size_t i = 0; i < define_count; i++)
    copies[i] = (hmoec_define){hmoec_arena_strdup(ev->arena, defines[i].name), hmoec_arena_strdup(ev->arena, defines[i].value)};
  ev->defines = copies;
  ev->define_count = define_count;
  ev->refused = ev->stopped = false;
  hmoec_statements statements =
      hmoec_spec_parse(ev->arena, ev->diagnostics, reader, hmoec_arena_strdup(ev->arena, file), text, size);
  bool ok = hmoec_diagnostics_errors(ev->diagnostics) == errors && declarations_check(ev, &statements) &&
            hmoec_spec_check(ev, &statements) && hmoec_spec_check_defines(ev);
  if (!ok) return false;
  ev->frame = &blocks->top;
  hmoec_eval_statements(ev, &statements);
  hmoec_eval_generation_defines(ev);
  return hmoec_diagnostics_errors(ev->diagnostics) == errors;
}

static hmoec_value tensor_or_absent(MlirValue tensor) {
  return mlirValueIsNull(tensor) ? (hmoec_value){.kind = HMOEC_VALUE_ABSENT} : hmoec_value_tensor(tensor);
}

static hmoec_value argument_value(hmoec_evaluator *ev, const hmoec_spec_argument *argument) {
  switch (argument->kind) {
  case HMOEC_SPEC_INTEGER: return hmoec_value_integer(argument->integer);
  case HMOEC_SPEC_NUMBER: return hmoec_value_number(argument->number);
  case HMOEC_SPEC_WORD: return hmoec_value_word(hmoec_arena_strdup(ev->arena, argument->word));
  case HMOEC_SPEC_TENSORS: break;
  }
  if (!argument->bundle) return tensor_or_absent(argument->tensors[0]);
  size_t count = 0;
  while (count < argument->tensor_count && !mlirValueIsNull(argument->tensors[count])) count++;
  hmoec_value *items = hmoec_arena_alloc_array(ev->arena, count, sizeof *items);
  for (size_t i = 0; i < count; i++) items[i] = hmoec_value_tensor(argument->tensors[i]);
  return (hmoec_value){.kind = HMOEC_VALUE_BUNDLE,
                       .word = argument->bundle,
                       .items = items,
                       .item_names = hmoec_builder_result_names(argument->bundle),
                       .item_count = count};
}

/* The tensors of a value in order, those of several results and of tuples one after the other. */
static bool flatten(hmoec_evaluator *ev, hmoec_location at, const hmoec_value *value, MlirValue *out_tensors, size_t room,
                    size_t *out_count) {
  switch (value->kind) {
  case HMOEC_VALUE_NOTHING: return true;
  case HMOEC_VALUE_TENSOR:
  case HMOEC_VALUE_ABSENT:
    if (*out_count == room) return hmoec_error(ev->diagnostics, at, "the block returns more than %zu values", room);
    out_tensors[(*out_count)++] = value->kind == HMOEC_VALUE_TENSOR ? value->tensor : (MlirValue){NULL};
    return true;
  case HMOEC_VALUE_BUNDLE:
  case HMOEC_VALUE_TUPLE:
    for (size_t i = 0; i < value->item_count; i++)
      if (!flatten(ev, at, &value->items[i], out_tensors, room, out_count)) return false;
    return true;
  default: return hmoec_error(ev->diagnostics, at, "the block returns %s, not a tensor", hmoec_value_string(ev, value));
  }
}

bool hmoec_spec_blocks_call(hmoec_spec_blocks *blocks, hmoec_location at, const char *scope, const char *name,
                            const hmoec_spec_argument *arguments, size_t argument_count, MlirValue *out_tensors, size_t room,
                            size_t *out_count) {
  hmoec_evaluator *ev = &blocks->ev;
  *out_count = 0;
  at.file = at.file ? hmoec_arena_strdup(ev->arena, at.file) : NULL;
  if (hmoec_name_map_find(&ev->block_names, name) == HMOEC_NO_NAME) {
    const char *close = hmoec_closest_name(name, ev->block_names.names, ev->block_names.count);
    return hmoec_error(ev->diagnostics, at, "there is no block named '%s'%s%s%s", name, close ? "; did you mean '" : "",
                       close ? close : "", close ? "'?" : "");
  }
  hmoec_argument *given = hmoec_arena_alloc_array(ev->arena, argument_count, sizeof *given);
  for (size_t i = 0; i < argument_count; i++) {
    hmoec_value *value = hmoec_arena_alloc(ev->arena, sizeof *value);
    hmoec_expr *expr = hmoec_arena_alloc(ev->arena, sizeof *expr);
    *value = argument_value(ev, &arguments[i]);
    *expr = (hmoec_expr){.kind = HMOEC_EXPR_GIVEN, .at = at, .given = value};
    given[i] = (hmoec_argument){
        .name = {.text = arguments[i].name ? hmoec_arena_strdup(ev->arena, arguments[i].name) : NULL, .at = at}, .value = expr};
  }
  hmoec_expr call = {.kind = HMOEC_EXPR_CALL,
                     .at = at,
                     .text = hmoec_arena_strdup(ev->arena, name),
                     .arguments = given,
                     .argument_count = argument_count};
  ev->frame = &blocks->top;
  ev->scope = hmoec_arena_strdup(ev->arena, scope);
  ev->stopped = false;
  ev->steps = 0;
  hmoec_value result = hmoec_eval_expr(ev, &call);
  return result.kind != HMOEC_VALUE_ERROR && flatten(ev, at, &result, out_tensors, room, out_count);
}
