#include "frontend/function_set.h"

#include <string.h>

#include <mlir-c/BuiltinAttributes.h>

#include "ir/scalar.h"
#include "support/arena.h"
#include "support/name_map.h"

typedef struct function_entry {
  MlirOperation op; /* null: was refused, or is the module's */
  const char *reference;
  size_t arity;
} function_entry;

struct hmoec_function_set {
  MlirContext context; /* borrowed, as are the next two */
  hmoec_diagnostics *diagnostics;
  const hmoec_c_flags *flags;
  hmoec_arena *arena;
  hmoec_name_map texts;   /* as functions were asked for */
  function_entry *entries; /* by index in texts */
  size_t capacity;
  hmoec_name_map symbols; /* names that are taken */
};

bool hmoec_names_c_function(const char *text) { return strncmp(text, "c:", 2) == 0; }

hmoec_function_set *hmoec_function_set_create(MlirContext context, hmoec_diagnostics *diagnostics, const char *model,
                                              const hmoec_c_flags *flags) {
  hmoec_arena *arena = hmoec_arena_create();
  hmoec_function_set *set = hmoec_arena_alloc(arena, sizeof *set);
  *set = (hmoec_function_set){.context = context,
                              .diagnostics = diagnostics,
                              .flags = flags,
                              .arena = arena,
                              .texts = {.arena = arena},
                              .symbols = {.arena = arena}};
  hmoec_name_map_add(&set->symbols, hmoec_arena_strdup(arena, model));
  return set;
}

void hmoec_function_set_destroy(hmoec_function_set *set) {
  if (!set) return;
  for (size_t i = 0; i < set->texts.count; i++)
    if (!mlirOperationIsNull(set->entries[i].op)) mlirOperationDestroy(set->entries[i].op);
  hmoec_arena_destroy(set->arena);
}

/* "c:FILE:NAME" and the lines behind it, taken apart. */
typedef struct function_text {
  const char *file, *name;
  hmoec_c_flags flags; /* the set's, then its own */
} function_text;

static bool text_parse(hmoec_function_set *set, hmoec_location at, const char *text, function_text *out) {
  size_t line = strcspn(text, "\n");
  const char *first = hmoec_arena_printf(set->arena, "%.*s", (int)line, text), *colon = strrchr(first, ':');
  if (colon == first + 1 || colon == first + 2 || !colon[1])
    return hmoec_error(set->diagnostics, at, "expected c:FILE:FUNCTION, found '%s'", first);
  out->file = hmoec_arena_printf(set->arena, "%.*s", (int)(colon - first - 2), first + 2);
  out->name = colon + 1;
  size_t includes = set->flags ? set->flags->include_count : 0, defines = set->flags ? set->flags->define_count : 0, lines = 0;
  for (const char *at_line = text + line; *at_line; at_line++) lines += *at_line == '\n';
  const char **include = hmoec_arena_alloc_array(set->arena, includes + lines, sizeof *include),
             **define = hmoec_arena_alloc_array(set->arena, defines + lines, sizeof *define);
  for (size_t i = 0; i < includes; i++) include[i] = set->flags->includes[i];
  for (size_t i = 0; i < defines; i++) define[i] = set->flags->defines[i];
  for (const char *flag = text + line; *flag; flag += strcspn(flag, "\n")) {
    flag++;
    const char *value = hmoec_arena_printf(set->arena, "%.*s", (int)strcspn(flag, "\n"), flag);
    if (strncmp(value, "-I", 2) == 0) include[includes++] = value + 2;
    else if (strncmp(value, "-D", 2) == 0) define[defines++] = value + 2;
    else return hmoec_error(set->diagnostics, at, "%s: expected -IDIRECTORY or -DNAME, found '%s'", first, value);
  }
  out->flags = (hmoec_c_flags){.includes = include, .include_count = includes, .defines = define, .define_count = defines};
  return true;
}

/* The function's name, or with a number behind it where that is taken. */
static const char *symbol_add(hmoec_function_set *set, const char *name) {
  const char *symbol = name;
  for (unsigned number = 2; hmoec_scalar_name_taken(mlirStringRefCreateFromCString(symbol)) ||
                            hmoec_name_map_find(&set->symbols, symbol) != HMOEC_NO_NAME;
       number++)
    symbol = hmoec_arena_printf(set->arena, "%s_%u", name, number);
  symbol = hmoec_arena_strdup(set->arena, symbol);
  hmoec_name_map_add(&set->symbols, symbol);
  return symbol;
}

static function_entry entry_read(hmoec_function_set *set, hmoec_location at, const char *text, const char *what, unsigned arities) {
  function_entry entry = {.op = {NULL}};
  function_text parts;
  if (!text_parse(set, at, text, &parts)) return entry;
  if (strlen(parts.name) > HMOEC_SCALAR_MAX_NAME - 4) {
    hmoec_error(set->diagnostics, at, "the name of a C function has at most %d characters here, found '%s'",
                HMOEC_SCALAR_MAX_NAME - 4, parts.name);
    return entry;
  }
  MlirOperation op;
  if (!hmoec_c_function_import(set->context, set->diagnostics, at, parts.file, parts.name, &parts.flags, what, arities, &op))
    return entry;
  const char *symbol = symbol_add(set, parts.name);
  mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString("sym_name"),
                                  mlirStringAttrGet(set->context, mlirStringRefCreateFromCString(symbol)));
  return (function_entry){.op = op, .reference = hmoec_arena_printf(set->arena, "@%s", symbol), .arity = hmoec_scalar_arity(op)};
}

const char *hmoec_function_set_get(hmoec_function_set *set, hmoec_location at, const char *text, const char *what,
                                   unsigned arities) {
  size_t index = hmoec_name_map_find(&set->texts, text);
  if (index == HMOEC_NO_NAME) {
    function_entry entry = entry_read(set, at, text, what, arities);
    index = hmoec_name_map_add(&set->texts, hmoec_arena_strdup(set->arena, text));
    if (index == set->capacity) {
      set->capacity = index ? 2 * index : 4;
      set->entries = hmoec_arena_grow(set->arena, set->entries, index, set->capacity, sizeof *set->entries);
    }
    set->entries[index] = entry;
  }
  const function_entry *entry = &set->entries[index];
  if (entry->reference && !(arities & 1u << entry->arity)) {
    hmoec_error(set->diagnostics, at, "%s is a function of %zu arguments and cannot be %s", entry->reference + 1, entry->arity,
                what);
    return NULL;
  }
  return entry->reference;
}

void hmoec_function_set_move(hmoec_function_set *set, MlirBlock module_body) {
  for (size_t i = 0; i < set->texts.count; i++) {
    if (mlirOperationIsNull(set->entries[i].op)) continue;
    mlirBlockAppendOwnedOperation(module_body, set->entries[i].op);
    set->entries[i].op = (MlirOperation){NULL};
  }
}
