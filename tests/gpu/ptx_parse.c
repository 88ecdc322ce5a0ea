/* Text to kernels. A body is read twice: first for its declarations and labels, as a label may be named before it stands, then for its instructions.
 *
 * A statement ends at ';'. A brace where a statement could begin opens or closes a scope, which has registers and labels of its own (inline assembly
 * is written so); anywhere else it is a vector. What LLVM's back end and nvcc write is read; functions are skipped, whole. */
#include "ptx_internal.h"

#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const ptx_type_info ptx_types[TYPES] = {
    [T_NONE] = {"", 0, 0},       [T_PRED] = {"pred", 1, 'p'},  [T_B8] = {"b8", 1, 'b'},       [T_U8] = {"u8", 1, 'u'},
    [T_S8] = {"s8", 1, 's'},     [T_B16] = {"b16", 2, 'b'},    [T_U16] = {"u16", 2, 'u'},     [T_S16] = {"s16", 2, 's'},
    [T_F16] = {"f16", 2, 'f'},   [T_BF16] = {"bf16", 2, 'f'},  [T_B32] = {"b32", 4, 'b'},     [T_U32] = {"u32", 4, 'u'},
    [T_S32] = {"s32", 4, 's'},   [T_F32] = {"f32", 4, 'f'},    [T_F16X2] = {"f16x2", 4, 'f'}, [T_BF16X2] = {"bf16x2", 4, 'f'},
    [T_TF32] = {"tf32", 4, 'f'}, [T_B64] = {"b64", 8, 'b'},    [T_U64] = {"u64", 8, 'u'},     [T_S64] = {"s64", 8, 's'},
    [T_F64] = {"f64", 8, 'f'},   [T_B128] = {"b128", 16, 'b'},
};

enum {
  MOST_REGISTERS = 1 << 16,
  MOST_SHARED = 227 * 1024,
  MOST_LOCAL = 512 * 1024,
  MOST_PARAMETERS = 32764,
  MOST_OPERANDS = 320,
  MOST_DEPTH = 64,
  MOST_GLOBAL = 64 << 20
};

const char *ptx_kind_name(ptx_kind kind) {
  static const char *const names[PTX_KINDS] = {"ok",         "syntax",     "launch",   "memory",    "bounds", "uninitialised",
                                               "misaligned", "blocks",     "race",     "in flight", "proxy",  "accumulator",
                                               "register",   "descriptor", "mbarrier", "barrier",   "pool",   "divergence",
                                               "deadlock",   "endless",    "trap",     "early"};
  return (unsigned)kind < PTX_KINDS ? names[kind] : "?";
}

/* ---- arena ---- */

struct arena_block {
  struct arena_block *next;
  size_t used, room;
};

void *ptx_arena_allocate(ptx_arena *arena, size_t bytes) {
  if (bytes > SIZE_MAX / 4) return NULL;
  bytes = (bytes + 63) / 64 * 64;
  struct arena_block *block = arena->blocks;
  if (!block || block->room - block->used < bytes) {
    size_t room = bytes > (1 << 16) ? bytes : 1 << 16;
    /* calloc gives pages that nobody touched for free: big blocks are often touched here and there only. */
    struct arena_block *fresh = calloc(1, room + 128);
    if (!fresh) return NULL;
    fresh->room = room;
    if (block && bytes == room) { /* full from the beginning: the other goes on being filled */
      fresh->next = block->next;
      block->next = fresh;
    } else {
      fresh->next = block;
      arena->blocks = fresh;
    }
    block = fresh;
  }
  uintptr_t begin = ((uintptr_t)(block + 1) + 63) / 64 * 64;
  void *at = (char *)block + (begin - (uintptr_t)block) + block->used;
  block->used += bytes;
  arena->total += bytes;
  return at;
}

void ptx_arena_release(ptx_arena *arena) {
  for (struct arena_block *block = arena->blocks, *next; block; block = next) {
    next = block->next;
    free(block);
  }
  *arena = (ptx_arena){0};
}

/* ---- errors ---- */

void ptx_place(const char *text, size_t size, size_t at, uint32_t *out_line, uint32_t *out_column) {
  uint32_t line = 1, column = 1;
  for (size_t i = 0; i < at && i < size; i++) {
    column = text[i] == '\n' ? 1 : column + 1;
    line += text[i] == '\n';
  }
  *out_line = line;
  *out_column = column;
}

void ptx_parse_fail(ptx_parser *parser, size_t at, const char *format, ...) {
  ptx_report *report = parser->report;
  report->kind = PTX_SYNTAX;
  ptx_place(parser->text, parser->size, at, &report->line, &report->column);
  int used = snprintf(report->text, sizeof report->text, "%u:%u: ", report->line, report->column);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(report->text + used, sizeof report->text - (size_t)used, format, arguments);
  va_end(arguments);
  longjmp(parser->on_error, 1);
}

void *ptx_parse_allocate(ptx_parser *parser, size_t bytes) {
  void *memory = ptx_arena_allocate(&parser->module->arena, bytes ? bytes : 1);
  if (memory) return memory;
  parser->report->kind = PTX_MEMORY;
  snprintf(parser->report->text, sizeof parser->report->text, "no memory for the module");
  longjmp(parser->on_error, 1);
}

/* ---- characters and words ---- */

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '$' || c == '%';
}

static char peek(const ptx_parser *parser) { return parser->pos < parser->size ? parser->text[parser->pos] : '\0'; }

static void skip(ptx_parser *parser) {
  const char *text = parser->text;
  for (;;) {
    while (parser->pos < parser->size && is_space(text[parser->pos])) parser->pos++;
    if (parser->pos + 1 >= parser->size || text[parser->pos] != '/') return;
    if (text[parser->pos + 1] == '/') {
      while (parser->pos < parser->size && text[parser->pos] != '\n') parser->pos++;
    } else if (text[parser->pos + 1] == '*') {
      size_t begin = parser->pos;
      parser->pos += 2;
      while (parser->pos + 1 < parser->size && !(text[parser->pos] == '*' && text[parser->pos + 1] == '/')) parser->pos++;
      if (parser->pos + 1 >= parser->size) ptx_parse_fail(parser, begin, "this comment has no end");
      parser->pos += 2;
    } else return;
  }
}

/* What stands here, for messages. */
static const char *found(ptx_parser *parser) {
  static _Thread_local char text[40];
  if (parser->pos >= parser->size) return "the end of the text";
  size_t size = 0;
  text[size++] = '\'';
  for (size_t at = parser->pos; at < parser->size && size < 24; at++) { /* a point may begin a word */
    char c = parser->text[at];
    if (at > parser->pos && (!is_word(c) || (!is_word(parser->text[at - 1]) && parser->text[at - 1] != '.'))) break;
    text[size++] = c >= ' ' && c < 127 ? c : '?';
  }
  text[size++] = '\'';
  text[size] = '\0';
  return text;
}

static bool take(ptx_parser *parser, char c) {
  skip(parser);
  if (peek(parser) != c) return false;
  parser->pos++;
  return true;
}

static void want(ptx_parser *parser, char c) {
  if (!take(parser, c)) ptx_parse_fail(parser, parser->pos, "expected '%c', found %s", c, found(parser));
}

static char *keep(ptx_parser *parser, const char *text, size_t size) {
  char *copy = ptx_parse_allocate(parser, size + 1);
  memcpy(copy, text, size);
  return copy;
}

/* A name: letters, digits, _ $ %. Dots as well where `dots`, and then :: as in shared::cta. */
static const char *word(ptx_parser *parser, bool dots, size_t *out_size) {
  skip(parser);
  size_t begin = parser->pos;
  while (parser->pos < parser->size) {
    char c = parser->text[parser->pos];
    if (is_word(c) || (dots && c == '.')) parser->pos++;
    else if (dots && c == ':' && parser->pos + 1 < parser->size && parser->text[parser->pos + 1] == ':') parser->pos += 2;
    else break;
  }
  *out_size = parser->pos - begin;
  return parser->text + begin;
}

static char *want_name(ptx_parser *parser, const char *what) {
  size_t size;
  const char *name = word(parser, false, &size);
  if (!size || is_digit(*name)) {
    parser->pos -= size;
    ptx_parse_fail(parser, parser->pos, "expected %s, found %s", what, found(parser));
  }
  return keep(parser, name, size);
}

static bool is_directive(ptx_parser *parser, const char *name) {
  size_t size = strlen(name);
  skip(parser);
  if (parser->size - parser->pos < size || memcmp(parser->text + parser->pos, name, size)) return false;
  if (parser->size - parser->pos > size && is_word(parser->text[parser->pos + size])) return false;
  parser->pos += size;
  return true;
}

static uint64_t want_count(ptx_parser *parser, const char *what, uint64_t most) {
  skip(parser);
  size_t begin = parser->pos;
  if (!is_digit(peek(parser))) ptx_parse_fail(parser, begin, "expected %s, found %s", what, found(parser));
  char digits[24] = "";
  size_t size = 0;
  while (is_word(peek(parser)) && size < sizeof digits - 1) digits[size++] = parser->text[parser->pos++];
  char *end;
  errno = 0;
  unsigned long long value = strtoull(digits, &end, 0);
  if (*end || errno || value > most)
    ptx_parse_fail(parser, begin, "expected %s of at most %llu, found '%s'", what, (unsigned long long)most, digits);
  return value;
}

static ptx_type type_named(const char *name, size_t size) {
  for (int t = 1; t < TYPES; t++)
    if (strlen(ptx_types[t].name) == size && !memcmp(ptx_types[t].name, name, size)) return (ptx_type)t;
  return T_NONE;
}

/* .b32 and the like; T_NONE leaves the place as it was. */
static ptx_type take_type(ptx_parser *parser) {
  skip(parser);
  size_t begin = parser->pos, size;
  if (peek(parser) != '.') return T_NONE;
  parser->pos++;
  const char *name = word(parser, false, &size);
  ptx_type type = type_named(name, size);
  if (type == T_NONE) parser->pos = begin;
  return type;
}

static ptx_type want_type(ptx_parser *parser) {
  ptx_type type = take_type(parser);
  if (type == T_NONE) ptx_parse_fail(parser, parser->pos, "expected a type, found %s", found(parser));
  return type;
}

/* ---- names of a body: registers, labels, variables, by scope ---- */

typedef struct name_entry {
  const char *name;
  size_t size;
  uint32_t scope;
  enum { NAME_REGISTERS, NAME_LABEL, NAME_VARIABLE } kind;
  uint32_t first, count; /* registers; of a single one, count is 0 */
  ptx_symbol *symbol;
  struct name_entry *next;
} name_entry;

enum { BUCKETS = 256 };
struct name_table {
  name_entry *buckets[BUCKETS];
  uint32_t chain[MOST_DEPTH], depth, scopes; /* the scopes that are open */
};

static unsigned bucket_of(const char *name, size_t size) {
  unsigned hash = 5381;
  for (size_t i = 0; i < size; i++) hash = hash * 33 + (unsigned char)name[i];
  return hash % BUCKETS;
}

static void declare(ptx_parser *parser, size_t at, name_entry entry) {
  name_entry **bucket = &parser->locals->buckets[bucket_of(entry.name, entry.size)];
  for (const name_entry *other = *bucket; other; other = other->next)
    if (other->scope == entry.scope && other->size == entry.size && !memcmp(other->name, entry.name, entry.size))
      ptx_parse_fail(parser, at, "'%s' is declared twice", entry.name);
  name_entry *kept = ptx_parse_allocate(parser, sizeof *kept);
  *kept = entry;
  kept->next = *bucket;
  *bucket = kept;
}

static const name_entry *look(const struct name_table *table, const char *name, size_t size, uint32_t scope, bool is_range) {
  for (const name_entry *entry = table->buckets[bucket_of(name, size)]; entry; entry = entry->next)
    if (entry->scope == scope && entry->size == size && (entry->count != 0) == is_range && !memcmp(entry->name, name, size))
      return entry;
  return NULL;
}

/* The innermost declaration. %r12 is found as itself or as one of %r<13>; out_index is its register then. */
static const name_entry *find_local(const ptx_parser *parser, const char *name, size_t size, uint32_t *out_index) {
  const struct name_table *table = parser->locals;
  for (uint32_t i = table->depth; i-- > 0;) {
    const name_entry *entry = look(table, name, size, table->chain[i], false);
    if (entry) {
      *out_index = entry->first;
      return entry;
    }
    size_t stem = size;
    while (stem > 0 && is_digit(name[stem - 1])) stem--;
    if (stem == size || size - stem > 6 || (size - stem > 1 && name[stem] == '0')) continue;
    uint32_t number = 0;
    for (size_t j = stem; j < size; j++) number = number * 10 + (uint32_t)(name[j] - '0');
    entry = look(table, name, stem, table->chain[i], true);
    if (entry && number < entry->count) {
      *out_index = entry->first + number;
      return entry;
    }
  }
  return NULL;
}

static ptx_symbol *find_symbol(const ptx_module *module, const char *name, size_t size) {
  for (size_t i = 0; i < module->symbol_count; i++)
    if (strlen(module->symbols[i]->name) == size && !memcmp(module->symbols[i]->name, name, size)) return module->symbols[i];
  return NULL;
}

/* ---- variables ---- */

static void grow(ptx_parser *parser, void **list, size_t count, size_t *room, size_t item_bytes) {
  if (count < *room) return;
  size_t more = *room ? *room * 2 : 16;
  void *fresh = ptx_parse_allocate(parser, more * item_bytes);
  if (count) memcpy(fresh, *list, count * item_bytes);
  *list = fresh;
  *room = more;
}

/* Initial values: numbers in braces, nested as they may be, or one number. */
static void initial_values(ptx_parser *parser, uint8_t *data, uint64_t bytes, ptx_type type) {
  uint64_t used = 0;
  int depth = 0;
  do {
    skip(parser);
    size_t at = parser->pos;
    if (take(parser, '{')) {
      if (++depth > MOST_DEPTH) ptx_parse_fail(parser, at, "braces are nested too deeply");
    } else if (take(parser, '}')) {
      if (--depth < 0) ptx_parse_fail(parser, at, "unexpected '}'");
      take(parser, ',');
    } else {
      bool negative = take(parser, '-');
      size_t size;
      const char *digits = word(parser, true, &size);
      char copy[40] = "", *end = copy;
      if (!size || size >= sizeof copy || !is_digit(*digits))
        ptx_parse_fail(parser, at, "expected a number to initialise with; others are not known here");
      memcpy(copy, digits, size);
      uint64_t value;
      if (copy[0] == '0' && strchr("fFdD", copy[1]) && copy[1]) value = strtoull(copy + 2, &end, 16);
      else value = strtoull(copy, &end, 0);
      if (*end == 'U') end++;
      if (*end) ptx_parse_fail(parser, at, "expected a number to initialise with, found '%s'", copy);
      if (negative) value = (uint64_t)0 - value;
      unsigned width = ptx_types[type].bytes > 8 ? 8 : ptx_types[type].bytes;
      if (bytes - used < ptx_types[type].bytes) ptx_parse_fail(parser, at, "more values than the variable has room for");
      memcpy(data + used, &value, width);
      used += ptx_types[type].bytes;
      take(parser, ',');
    }
    skip(parser);
  } while (depth > 0 && parser->pos < parser->size);
}

/* .shared .align 16 .b8 name[256], name2; the space was read. */
static void variable(ptx_parser *parser, ptx_space space, bool is_extern) {
  ptx_module *module = parser->module;
  ptx_kernel *kernel = parser->kernel;
  uint64_t alignment = 0;
  ptx_type type = T_NONE;
  unsigned vector = 1;
  for (;;) {
    size_t at = parser->pos;
    if (is_directive(parser, ".align")) {
      alignment = want_count(parser, "an alignment", 1 << 20);
      if (!alignment || (alignment & (alignment - 1))) ptx_parse_fail(parser, at, "expected an alignment that is a power of two");
    } else if (is_directive(parser, ".v2")) vector = 2;
    else if (is_directive(parser, ".v4")) vector = 4;
    else if (is_directive(parser, ".attribute")) {
      want(parser, '(');
      while (parser->pos < parser->size && peek(parser) != ')') parser->pos++;
      want(parser, ')');
    } else {
      type = want_type(parser);
      break;
    }
  }
  do {
    skip(parser);
    size_t at = parser->pos;
    char *name = want_name(parser, "the name of a variable");
    uint64_t count = 1;
    bool is_open = false;
    while (take(parser, '[')) {
      if (take(parser, ']')) is_open = true;
      else {
        count *= want_count(parser, "a number of elements", MOST_GLOBAL);
        if (count > MOST_GLOBAL) ptx_parse_fail(parser, at, "'%s' is larger than %d bytes", name, MOST_GLOBAL);
        want(parser, ']');
      }
    }
    ptx_symbol *symbol = ptx_parse_allocate(parser, sizeof *symbol);
    unsigned width = ptx_types[type].bytes * vector;
    *symbol = (ptx_symbol){.name = name, .space = space, .alignment = alignment ? alignment : width, .bytes = count * width};
    if (is_open) symbol->bytes = 0;
    uint64_t most = space == SPACE_SHARED ? MOST_SHARED : space == SPACE_LOCAL ? MOST_LOCAL : MOST_GLOBAL;
    if (symbol->bytes > most) ptx_parse_fail(parser, at, "'%s' is larger than %llu bytes", name, (unsigned long long)most);
    skip(parser);
    if (space == SPACE_GLOBAL || space == SPACE_CONST) {
      if (is_extern || !symbol->bytes) ptx_parse_fail(parser, at, "'%s' is defined elsewhere: only shared memory may be", name);
      symbol->value = ptx_device_allocate(module->device, symbol->bytes, symbol->alignment < 16 ? 16 : symbol->alignment, name);
      if (!symbol->value) ptx_parse_fail(parser, at, "no memory for '%s'", name);
      grow(parser, (void **)&module->symbols, module->symbol_count, &module->symbol_room, sizeof *module->symbols);
      module->symbols[module->symbol_count++] = symbol; /* from now on its memory is the module's to free */
      uint8_t *data = ptx_parse_allocate(parser, symbol->bytes);
      if (take(parser, '=')) initial_values(parser, data, symbol->bytes, type);
      ptx_device_write(module->device, symbol->value, data, symbol->bytes);
    } else if (kernel && space == SPACE_LOCAL) {
      kernel->local_bytes =
          (kernel->local_bytes + (uint32_t)symbol->alignment - 1) / (uint32_t)symbol->alignment * (uint32_t)symbol->alignment;
      symbol->value = kernel->local_bytes;
      kernel->local_bytes += (uint32_t)symbol->bytes;
      if (kernel->local_bytes > MOST_LOCAL) ptx_parse_fail(parser, at, "more than %d bytes of local memory", MOST_LOCAL);
    } else if (space == SPACE_SHARED) {
      symbol->is_dynamic = is_open;
      if (kernel && !is_open) { /* those of the module get their place when a kernel is read */
        kernel->static_shared =
            (kernel->static_shared + (uint32_t)symbol->alignment - 1) / (uint32_t)symbol->alignment * (uint32_t)symbol->alignment;
        symbol->value = kernel->static_shared;
        kernel->static_shared += (uint32_t)symbol->bytes;
        if (kernel->static_shared > MOST_SHARED) ptx_parse_fail(parser, at, "more than %d bytes of shared memory", MOST_SHARED);
      }
    } else ptx_parse_fail(parser, at, "a variable in this space is not known here");
    if (kernel)
      declare(parser, at,
              (name_entry){.name = name,
                           .size = strlen(name),
                           .scope = parser->locals->chain[parser->locals->depth - 1],
                           .kind = NAME_VARIABLE,
                           .symbol = symbol});
    else if (space == SPACE_SHARED) {
      if (find_symbol(module, name, strlen(name))) ptx_parse_fail(parser, at, "'%s' is declared twice", name);
      grow(parser, (void **)&module->symbols, module->symbol_count, &module->symbol_room, sizeof *module->symbols);
      module->symbols[module->symbol_count++] = symbol;
    }
  } while (take(parser, ','));
  want(parser, ';');
}

/* ---- kernels: parameters and directives ---- */

static ptx_symbol *parameter_symbol(ptx_parser *parser, const char *name, size_t size) {
  const ptx_kernel *kernel = parser->kernel;
  for (uint32_t i = 0; i < kernel->parameter_count; i++)
    if (strlen(kernel->parameters[i].name) == size && !memcmp(kernel->parameters[i].name, name, size)) {
      ptx_symbol *symbol = ptx_parse_allocate(parser, sizeof *symbol);
      *symbol = (ptx_symbol){.name = kernel->parameters[i].name,
                             .space = SPACE_PARAM,
                             .bytes = kernel->parameters[i].bytes,
                             .value = kernel->parameters[i].offset};
      return symbol;
    }
  return NULL;
}

static void parameters(ptx_parser *parser, ptx_kernel *kernel) {
  size_t room = 0;
  if (!take(parser, '(') || take(parser, ')')) return;
  do {
    if (!is_directive(parser, ".param")) ptx_parse_fail(parser, parser->pos, "expected '.param', found %s", found(parser));
    uint64_t alignment = 0, count = 1;
    ptx_type type = T_NONE;
    bool of_pointer = false;
    for (;;) {
      if (is_directive(parser, ".align")) {
        uint64_t value = want_count(parser, "an alignment", 1 << 20);
        if (!value || (value & (value - 1))) ptx_parse_fail(parser, parser->pos, "expected an alignment that is a power of two");
        if (!of_pointer) alignment = value;
      } else if (is_directive(parser, ".ptr")) of_pointer = true; /* what follows is of the memory it points to */
      else if (is_directive(parser, ".global") || is_directive(parser, ".shared") || is_directive(parser, ".const") ||
               is_directive(parser, ".local")) {
      } else if (type == T_NONE) type = want_type(parser);
      else break;
    }
    size_t at = parser->pos;
    char *name = want_name(parser, "the name of a parameter");
    if (take(parser, '[')) {
      count = want_count(parser, "a number of elements", MOST_PARAMETERS);
      want(parser, ']');
    }
    if (!alignment) alignment = ptx_types[type].bytes;
    grow(parser, (void **)&kernel->parameters, kernel->parameter_count, &room, sizeof *kernel->parameters);
    uint64_t offset = (kernel->parameter_bytes + alignment - 1) / alignment * alignment, bytes = count * ptx_types[type].bytes;
    if (offset + bytes > MOST_PARAMETERS) ptx_parse_fail(parser, at, "more than %d bytes of parameters", MOST_PARAMETERS);
    kernel->parameters[kernel->parameter_count++] = (ptx_parameter){name, (uint32_t)offset, (uint32_t)bytes};
    kernel->parameter_bytes = (uint32_t)(offset + bytes);
  } while (take(parser, ','));
  want(parser, ')');
}

static void three(ptx_parser *parser, uint32_t out[3], uint64_t most) {
  for (int i = 0; i < 3; i++) out[i] = 1;
  for (int i = 0; i < 3; i++) {
    out[i] = (uint32_t)want_count(parser, "a size", most);
    if (!out[i]) ptx_parse_fail(parser, parser->pos, "expected a size of at least 1");
    if (i == 2 || !take(parser, ',')) break;
  }
}

static void directives(ptx_parser *parser, ptx_kernel *kernel) {
  uint32_t ignored[3];
  for (;;) {
    skip(parser);
    if (peek(parser) == '{') return;
    if (is_directive(parser, ".reqntid")) {
      three(parser, kernel->required, 1024);
      kernel->most_threads = kernel->required[0] * kernel->required[1] * kernel->required[2];
    } else if (is_directive(parser, ".maxntid")) {
      three(parser, ignored, 1024);
      kernel->most_threads = ignored[0] * ignored[1] * ignored[2];
    } else if (is_directive(parser, ".reqnctapercluster")) three(parser, kernel->cluster, 16);
    else if (is_directive(parser, ".maxclusterrank") || is_directive(parser, ".minnctapersm") ||
             is_directive(parser, ".maxnctapersm") || is_directive(parser, ".maxnreg"))
      want_count(parser, "a number", 1 << 20);
    else if (is_directive(parser, ".explicitcluster") || is_directive(parser, ".noreturn") ||
             is_directive(parser, ".blocksareclusters"))
      continue;
    else ptx_parse_fail(parser, parser->pos, "expected a directive of the kernel or its body, found %s", found(parser));
    if (kernel->most_threads > 1024) ptx_parse_fail(parser, parser->pos, "more than 1024 threads");
  }
}

/* ---- operands ---- */

static void operand(ptx_parser *parser, ptx_operand *out, int depth);

static void list_of(ptx_parser *parser, ptx_operand *out, char end, int depth) {
  ptx_operand items[MOST_OPERANDS];
  uint32_t count = 0;
  if (!take(parser, end)) {
    do {
      if (count == MOST_OPERANDS) ptx_parse_fail(parser, parser->pos, "more than %d operands", MOST_OPERANDS);
      operand(parser, &items[count++], depth + 1);
    } while (take(parser, ','));
    want(parser, end);
  }
  out->items = ptx_parse_allocate(parser, (count ? count : 1) * sizeof *items);
  if (count) memcpy(out->items, items, count * sizeof *items);
  out->count = count;
}

static bool number(ptx_parser *parser, ptx_operand *out) {
  size_t begin = parser->pos;
  bool negative = take(parser, '-');
  skip(parser);
  if (!is_digit(peek(parser))) {
    if (negative) ptx_parse_fail(parser, begin, "expected a number behind '-', found %s", found(parser));
    return false;
  }
  char text[64] = "", *end = text;
  size_t size = 0;
  while (size < sizeof text - 1) {
    char c = peek(parser);
    bool is_exponent_sign = (c == '-' || c == '+') && size && (text[size - 1] == 'e' || text[size - 1] == 'E') &&
                            memcmp(text, "0x", 2) && strchr(text, '.');
    if (!is_word(c) && c != '.' && !is_exponent_sign) break;
    text[size++] = c;
    parser->pos++;
  }
  errno = 0;
  if (text[0] == '0' && (text[1] == 'f' || text[1] == 'F') && size == 10) {
    uint32_t bits = (uint32_t)strtoul(text + 2, &end, 16);
    float value;
    memcpy(&value, &bits, 4);
    out->kind = OPERAND_FLOAT;
    out->number = (double)value;
    out->value = bits;
    out->count = 4;
  } else if (text[0] == '0' && (text[1] == 'd' || text[1] == 'D') && size == 18) {
    uint64_t bits = strtoull(text + 2, &end, 16);
    out->kind = OPERAND_FLOAT;
    memcpy(&out->number, &bits, 8);
    out->value = (int64_t)bits;
    out->count = 8;
  } else if (strchr(text, '.') && memcmp(text, "0x", 2)) {
    out->kind = OPERAND_FLOAT;
    out->number = strtod_l(text, &end, newlocale(LC_ALL_MASK, "C", (locale_t)0)); /* the C library's own: nothing to free */
    memcpy(&out->value, &out->number, 8);
    out->count = 8;
  } else {
    out->kind = OPERAND_INTEGER;
    if (text[0] == '0' && (text[1] == 'b' || text[1] == 'B')) out->value = (int64_t)strtoull(text + 2, &end, 2);
    else out->value = (int64_t)strtoull(text, &end, 0);
    if (*end == 'U' || *end == 'u') end++;
  }
  if (*end || size == sizeof text - 1 || errno) ptx_parse_fail(parser, begin, "'%s' is not a number", text);
  if (negative) {
    out->value = out->kind == OPERAND_INTEGER ? (int64_t)(0 - (uint64_t)out->value)
                                              : out->value ^ (out->count == 4 ? INT64_C(1) << 31 : INT64_MIN);
    out->number = -out->number;
  }
  return true;
}

/* + 16 or +-16 behind a name */
static int64_t addend(ptx_parser *parser) {
  int64_t sum = 0;
  for (;;) {
    skip(parser);
    size_t at = parser->pos;
    bool minus = peek(parser) == '-';
    if (!minus && peek(parser) != '+') return sum;
    parser->pos += !minus;
    skip(parser);
    ptx_operand value = {0};
    if (!number(parser, &value) || value.kind != OPERAND_INTEGER) ptx_parse_fail(parser, at, "expected an integer to add");
    sum = (int64_t)((uint64_t)sum + (uint64_t)value.value);
  }
}

static void named(ptx_parser *parser, ptx_operand *out) {
  size_t size, at = parser->pos;
  const char *name = word(parser, false, &size);
  if (!size) ptx_parse_fail(parser, at, "expected an operand, found %s", found(parser));
  if (size == 1 && *name == '_') {
    out->kind = OPERAND_SINK;
    return;
  }
  uint32_t index = 0;
  const name_entry *entry = find_local(parser, name, size, &index);
  ptx_symbol *symbol = NULL;
  if (entry && entry->kind == NAME_REGISTERS) {
    out->kind = OPERAND_REGISTER;
    out->reg = (int32_t)index;
    return;
  }
  if (entry && entry->kind == NAME_LABEL) {
    out->kind = OPERAND_LABEL;
    out->value = entry->first;
    return;
  }
  if (entry) symbol = entry->symbol;
  if (!symbol) symbol = parameter_symbol(parser, name, size);
  if (!symbol) symbol = find_symbol(parser->module, name, size);
  if (symbol) {
    out->kind = OPERAND_SYMBOL;
    out->symbol = symbol;
    return;
  }
  if (*name == '%' || (size == 7 && !memcmp(name, "WARP_SZ", 7))) { /* %tid.x has a point */
    while (is_word(peek(parser)) || peek(parser) == '.') parser->pos++;
    size = (size_t)(parser->text + parser->pos - name);
    out->special = ptx_special_find(name, size);
    if (out->special >= 0) {
      out->kind = OPERAND_SPECIAL;
      return;
    }
  }
  ptx_parse_fail(parser, at, "'%.*s' is not declared", (int)(size > 80 ? 80 : size), name);
}

static void operand(ptx_parser *parser, ptx_operand *out, int depth) {
  skip(parser);
  *out = (ptx_operand){.at = (uint32_t)parser->pos, .reg = NONE, .special = NONE};
  if (depth > 8) ptx_parse_fail(parser, parser->pos, "operands are nested too deeply");
  if (take(parser, '{')) {
    out->kind = OPERAND_VECTOR;
    list_of(parser, out, '}', depth);
  } else if (take(parser, '[')) {
    list_of(parser, out, ']', depth);
    out->kind = OPERAND_ADDRESS;
    if (!out->count) ptx_parse_fail(parser, out->at, "expected an address");
    out->value = out->items[0].kind == OPERAND_INTEGER ? 0 : out->items[0].value;
    if (out->items[0].kind != OPERAND_REGISTER && out->items[0].kind != OPERAND_SYMBOL && out->items[0].kind != OPERAND_INTEGER)
      ptx_parse_fail(parser, out->at, "expected an address: a register, a variable or a number");
  } else if (take(parser, '!')) {
    operand(parser, out, depth + 1);
    out->negated = !out->negated;
  } else if (!number(parser, out)) {
    named(parser, out);
    if (out->kind == OPERAND_REGISTER || out->kind == OPERAND_SYMBOL) {
      int64_t more = addend(parser);
      if (more && out->kind == OPERAND_REGISTER && depth == 0) ptx_parse_fail(parser, out->at, "expected a register alone");
      out->value = more;
    }
  }
  skip(parser);
  if (peek(parser) == '|') {
    parser->pos++;
    ptx_operand *both = ptx_parse_allocate(parser, 2 * sizeof *both);
    both[0] = *out;
    operand(parser, &both[1], depth + 1);
    *out = (ptx_operand){.kind = OPERAND_PAIR, .at = both[0].at, .items = both, .count = 2, .reg = NONE, .special = NONE};
  }
}

/* ---- bodies ---- */

static uint32_t name_index(ptx_parser *parser, const char *name) {
  ptx_module *module = parser->module;
  for (size_t i = 0; i < module->name_count; i++)
    if (!strcmp(module->names[i], name)) return (uint32_t)i;
  size_t room = module->name_room;
  grow(parser, (void **)&module->names, module->name_count, &room, sizeof *module->names);
  grow(parser, (void **)&module->counts, module->name_count, &module->name_room, sizeof *module->counts);
  module->names[module->name_count] = keep(parser, name, strlen(name));
  return (uint32_t)module->name_count++;
}

static void registers(ptx_parser *parser, ptx_kernel *kernel, size_t *room) {
  struct name_table *table = parser->locals;
  ptx_type type = want_type(parser);
  do {
    skip(parser);
    size_t at = parser->pos;
    char *name = want_name(parser, "the name of a register");
    uint32_t count = 0;
    if (take(parser, '<')) {
      count = (uint32_t)want_count(parser, "a number of registers", MOST_REGISTERS);
      if (!count) ptx_parse_fail(parser, at, "expected at least 1 register");
      want(parser, '>');
    }
    declare(parser, at,
            (name_entry){.name = name,
                         .size = strlen(name),
                         .scope = table->chain[table->depth - 1],
                         .kind = NAME_REGISTERS,
                         .first = kernel->register_count,
                         .count = count});
    for (uint32_t i = 0; i < (count ? count : 1); i++) {
      if (kernel->register_count == MOST_REGISTERS) ptx_parse_fail(parser, at, "more than %d registers", MOST_REGISTERS);
      grow(parser, (void **)&kernel->registers, kernel->register_count, room, sizeof *kernel->registers);
      unsigned bytes = type == T_PRED ? 0 : ptx_types[type].bytes;
      kernel->registers[kernel->register_count++] = (ptx_register){type, kernel->register_bytes, (uint8_t)bytes};
      kernel->register_bytes += bytes ? bytes * LANES : LANES; /* all begin where the widest may */
    }
  } while (take(parser, ','));
  want(parser, ';');
}

static void to_semicolon(ptx_parser *parser) {
  size_t begin = parser->pos;
  int depth = 0;
  for (skip(parser); parser->pos < parser->size; skip(parser)) {
    char c = parser->text[parser->pos++];
    if (c == '"') {
      while (parser->pos < parser->size && parser->text[parser->pos] != '"') parser->pos++;
      parser->pos += parser->pos < parser->size;
    }
    depth += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (depth < 0) break;
    if (c == ';' && depth == 0) return;
  }
  ptx_parse_fail(parser, begin, "this statement has no ';'");
}

/* name: but not name:: */
static char *take_label(ptx_parser *parser) {
  skip(parser);
  size_t begin = parser->pos, size;
  const char *name = word(parser, false, &size);
  skip(parser);
  if (size && !is_digit(*name) && peek(parser) == ':' &&
      !(parser->pos + 1 < parser->size && parser->text[parser->pos + 1] == ':')) {
    parser->pos++;
    return keep(parser, name, size);
  }
  parser->pos = begin;
  return NULL;
}

static void instruction(ptx_parser *parser, ptx_instruction *out) {
  skip(parser);
  ptx_statement statement = {.at = (uint32_t)parser->pos};
  *out = (ptx_instruction){.predicate = NONE, .at = (uint32_t)parser->pos};
  if (take(parser, '@')) {
    out->predicate_not = take(parser, '!');
    ptx_operand guard = {0};
    skip(parser);
    named(parser, (guard.at = (uint32_t)parser->pos, guard.reg = NONE, &guard));
    if (guard.kind != OPERAND_REGISTER || parser->kernel->registers[guard.reg].type != T_PRED)
      ptx_parse_fail(parser, guard.at, "expected a predicate behind '@'");
    out->predicate = guard.reg;
  }
  size_t size;
  skip(parser);
  statement.at = (uint32_t)parser->pos;
  const char *name = word(parser, true, &size);
  if (!size || size > 200 || !(*name >= 'a' && *name <= 'z')) {
    parser->pos -= size;
    ptx_parse_fail(parser, parser->pos, "expected an instruction, found %s", found(parser));
  }
  char *copy = keep(parser, name, size);
  statement.name = keep(parser, name, size);
  for (char *part = copy; part; statement.part_count++) {
    if (statement.part_count == sizeof statement.parts / sizeof *statement.parts)
      ptx_parse_fail(parser, statement.at, "'%s' has too many modifiers", statement.name);
    statement.parts[statement.part_count] = part;
    part = strchr(part, '.');
    if (part) *part++ = '\0';
  }
  statement.used = 1;
  if (!ptx_is_opcode(statement.parts[0]))
    ptx_parse_fail(parser, statement.at, "the instruction '%s' is not known here", statement.name);
  if (strcmp(statement.parts[0], "call") == 0) to_semicolon(parser);
  else {
    ptx_operand all = {0};
    if (!take(parser, ';')) list_of(parser, &all, ';', -1);
    statement.operands = all.items;
    statement.operand_count = all.count;
  }
  out->size = (uint32_t)(parser->pos - out->at);
  out->kind = name_index(parser, statement.name);
  ptx_bind(parser, &statement, out);
}

static void body(ptx_parser *parser, ptx_kernel *kernel, bool declarations) {
  struct name_table *table = parser->locals;
  size_t room = 0, begin = parser->pos;
  uint32_t count = 0;
  table->depth = table->scopes = 0;
  do {
    skip(parser);
    size_t at = parser->pos;
    char *label;
    if (parser->pos >= parser->size) ptx_parse_fail(parser, begin, "this body has no '}'");
    if (take(parser, '{')) {
      if (table->depth == MOST_DEPTH) ptx_parse_fail(parser, at, "scopes are nested too deeply");
      table->chain[table->depth++] = ++table->scopes;
    } else if (take(parser, '}')) table->depth--;
    else if (take(parser, ';')) continue;
    else if (is_directive(parser, ".reg")) {
      if (declarations) registers(parser, kernel, &room);
      else to_semicolon(parser);
    } else if (is_directive(parser, ".shared")) {
      if (declarations) variable(parser, SPACE_SHARED, false);
      else to_semicolon(parser);
    } else if (is_directive(parser, ".local")) {
      if (declarations) variable(parser, SPACE_LOCAL, false);
      else to_semicolon(parser);
    } else if (is_directive(parser, ".pragma") || is_directive(parser, ".param") || is_directive(parser, ".branchtargets") ||
               is_directive(parser, ".callprototype"))
      to_semicolon(parser);
    else if (is_directive(parser, ".loc")) {
      while (parser->pos < parser->size && peek(parser) != '\n') parser->pos++;
    } else if (peek(parser) == '.')
      ptx_parse_fail(parser, at, "this directive is not known here: %s", (parser->pos++, found(parser)));
    else if ((label = take_label(parser))) {
      if (declarations)
        declare(
            parser, at,
            (name_entry){
                .name = label, .size = strlen(label), .scope = table->chain[table->depth - 1], .kind = NAME_LABEL, .first = count});
    } else if (declarations) {
      to_semicolon(parser);
      count++;
    } else instruction(parser, &kernel->code[count++]);
  } while (table->depth > 0);
  if (!declarations) { /* who runs past the last one returns */
    ptx_statement end = {.name = "ret", .parts = {"ret"}, .part_count = 1, .used = 1, .at = (uint32_t)parser->pos - 1};
    kernel->code[count] = (ptx_instruction){.predicate = NONE, .at = end.at, .size = 1, .kind = name_index(parser, "ret")};
    ptx_bind(parser, &end, &kernel->code[count]);
    return;
  }
  kernel->code_count = count;
  kernel->code = ptx_parse_allocate(parser, (count + 1) * sizeof *kernel->code);
}

/* Shared variables of the module stand before the kernel's own; the dynamic ones begin where the others end. */
static void place_shared(ptx_parser *parser, ptx_kernel *kernel, bool dynamic) {
  ptx_module *module = parser->module;
  uint64_t used = kernel->static_shared, alignment = 16;
  for (size_t i = 0; i < module->symbol_count; i++)
    if (module->symbols[i]->space == SPACE_SHARED && module->symbols[i]->is_dynamic && module->symbols[i]->alignment > alignment)
      alignment = module->symbols[i]->alignment;
  if (dynamic) used = (used + alignment - 1) / alignment * alignment;
  for (size_t i = 0; i < module->symbol_count; i++) {
    ptx_symbol *symbol = module->symbols[i];
    if (symbol->space != SPACE_SHARED || symbol->is_dynamic != dynamic) continue;
    if (!dynamic) used = (used + symbol->alignment - 1) / symbol->alignment * symbol->alignment;
    symbol->value = used;
    if (!dynamic) used += symbol->bytes;
  }
  if (used > MOST_SHARED) ptx_parse_fail(parser, kernel->at, "more than %d bytes of shared memory", MOST_SHARED);
  if (dynamic) kernel->dynamic_shared = (uint32_t)used;
  else kernel->static_shared = (uint32_t)used;
}

static void entry(ptx_parser *parser) {
  ptx_module *module = parser->module;
  skip(parser);
  size_t at = parser->pos;
  char *name = want_name(parser, "the name of a kernel");
  if (ptx_module_kernel(module, name, 0, NULL)) ptx_parse_fail(parser, at, "'%s' is declared twice", name);
  grow(parser, (void **)&module->kernels, module->kernel_count, &module->kernel_room, sizeof *module->kernels);
  ptx_kernel *kernel = &module->kernels[module->kernel_count];
  *kernel = (ptx_kernel){.name = name, .at = (uint32_t)at};
  parameters(parser, kernel);
  directives(parser, kernel);
  parser->kernel = kernel;
  parser->locals = ptx_parse_allocate(parser, sizeof *parser->locals);
  place_shared(parser, kernel, false);
  size_t begin = parser->pos;
  body(parser, kernel, true);
  place_shared(parser, kernel, true);
  kernel->register_bytes = (kernel->register_bytes + 63) / 64 * 64;
  parser->pos = begin;
  body(parser, kernel, false);
  parser->kernel = NULL;
  parser->locals = NULL;
  module->kernel_count++;
}

static void function(ptx_parser *parser) { /* to the end of its prototype or body */
  size_t begin = parser->pos;
  int depth = 0;
  for (skip(parser); parser->pos < parser->size; skip(parser)) {
    char c = parser->text[parser->pos++];
    if (c == '{') depth++;
    if (c == ';' && depth == 0) return;
    if (c == '}' && --depth <= 0) return;
  }
  ptx_parse_fail(parser, begin, "this function has no end");
}

void ptx_module_parse(ptx_parser *parser) {
  for (size_t i = 0; i < parser->size; i++)
    if (!parser->text[i]) ptx_parse_fail(parser, i, "a NUL is in the text");
  bool has_version = false, has_target = false;
  for (;;) {
    skip(parser);
    size_t at = parser->pos, size;
    if (parser->pos >= parser->size) break;
    if (is_directive(parser, ".version")) {
      const char *text = word(parser, true, &size);
      if (!size || !is_digit(*text)) ptx_parse_fail(parser, at, "expected a version, as in .version 8.6");
      has_version = true;
      continue;
    }
    if (!has_version) ptx_parse_fail(parser, at, "expected '.version', found %s", found(parser));
    if (is_directive(parser, ".target")) {
      do {
        const char *text = word(parser, false, &size);
        if (size < 4 || (memcmp(text, "sm_", 3) && memcmp(text, "texmode", 4) && memcmp(text, "debug", 4)))
          ptx_parse_fail(parser, at, "expected a processor, as in .target sm_90a");
      } while (take(parser, ','));
      has_target = true;
      continue;
    }
    if (is_directive(parser, ".address_size")) {
      if (want_count(parser, "64", 64) != 64) ptx_parse_fail(parser, at, "expected '.address_size 64'");
      continue;
    }
    if (is_directive(parser, ".file")) {
      while (parser->pos < parser->size && peek(parser) != '\n') parser->pos++;
      continue;
    }
    if (is_directive(parser, ".section")) ptx_parse_fail(parser, at, "sections for debuggers are not known here");
    bool is_extern = false;
    for (;;) {
      if (is_directive(parser, ".extern")) is_extern = true;
      else if (!is_directive(parser, ".visible") && !is_directive(parser, ".weak") && !is_directive(parser, ".common")) break;
    }
    if (!has_target) ptx_parse_fail(parser, at, "expected '.target', found %s", found(parser));
    if (is_directive(parser, ".entry")) entry(parser);
    else if (is_directive(parser, ".func")) function(parser);
    else if (is_directive(parser, ".global")) variable(parser, SPACE_GLOBAL, is_extern);
    else if (is_directive(parser, ".const")) variable(parser, SPACE_CONST, is_extern);
    else if (is_directive(parser, ".shared")) variable(parser, SPACE_SHARED, is_extern);
    else ptx_parse_fail(parser, parser->pos, "expected a kernel, a function or a variable, found %s", found(parser));
  }
  if (!has_version) ptx_parse_fail(parser, parser->size, "expected '.version', found the end of the text");
}

/* ---- modules ---- */

static bool parse(ptx_parser *parser) {
  if (setjmp(parser->on_error)) return false;
  ptx_module_parse(parser);
  return true;
}

ptx_module *ptx_module_create(ptx_device *device, const char *text, size_t size, ptx_report *out_report) {
  *out_report = (ptx_report){.kind = PTX_MEMORY, .text = "no memory for the module"};
  ptx_module *module = calloc(1, sizeof *module);
  if (!module) return NULL;
  module->device = device;
  if (size > UINT32_MAX / 2) {
    *out_report = (ptx_report){.kind = PTX_SYNTAX, .text = "the text is larger than 2 GiB"};
    ptx_module_destroy(module);
    return NULL;
  }
  char *copy = ptx_arena_allocate(&module->arena, size + 1);
  if (!copy) {
    ptx_module_destroy(module);
    return NULL;
  }
  if (size) memcpy(copy, text, size);
  module->text = copy;
  module->size = size;
  ptx_parser parser = {.module = module, .text = copy, .size = size, .report = out_report};
  if (!parse(&parser)) {
    ptx_module_destroy(module);
    return NULL;
  }
  *out_report = (ptx_report){.kind = PTX_OK};
  return module;
}

void ptx_module_destroy(ptx_module *module) {
  if (!module) return;
  for (size_t i = 0; i < module->symbol_count; i++)
    if (module->symbols[i]->space == SPACE_GLOBAL || module->symbols[i]->space == SPACE_CONST)
      ptx_device_free(module->device, module->symbols[i]->value);
  ptx_arena_release(&module->arena);
  free(module);
}

static const ptx_kernel *kernel_named(const ptx_module *module, const char *name, size_t index) {
  if (!name) return index < module->kernel_count ? &module->kernels[index] : NULL;
  for (size_t i = 0; i < module->kernel_count; i++)
    if (!strcmp(module->kernels[i].name, name)) return &module->kernels[i];
  return NULL;
}

bool ptx_module_kernel(const ptx_module *module, const char *name, size_t index, ptx_kernel_info *out_info) {
  const ptx_kernel *kernel = kernel_named(module, name, index);
  if (!kernel) return false;
  if (out_info) {
    *out_info = (ptx_kernel_info){.name = kernel->name,
                                  .parameters = kernel->parameter_count,
                                  .parameter_bytes = kernel->parameter_bytes,
                                  .shared_bytes = kernel->static_shared,
                                  .local_bytes = kernel->local_bytes,
                                  .most_threads = kernel->most_threads ? kernel->most_threads : 1024};
    memcpy(out_info->block, kernel->required, sizeof out_info->block);
    memcpy(out_info->cluster, kernel->cluster, sizeof out_info->cluster);
  }
  return true;
}

bool ptx_module_parameter(const ptx_module *module, const char *kernel_name, uint32_t index, uint32_t *out_offset,
                          uint32_t *out_bytes) {
  const ptx_kernel *kernel = kernel_named(module, kernel_name, 0);
  if (!kernel || index >= kernel->parameter_count) return false;
  *out_offset = kernel->parameters[index].offset;
  *out_bytes = kernel->parameters[index].bytes;
  return true;
}

bool ptx_module_global(const ptx_module *module, const char *name, uint64_t *out_address, uint64_t *out_bytes) {
  const ptx_symbol *symbol = find_symbol(module, name, strlen(name));
  if (!symbol || (symbol->space != SPACE_GLOBAL && symbol->space != SPACE_CONST)) return false;
  *out_address = symbol->value;
  *out_bytes = symbol->bytes;
  return true;
}

ptx_counters ptx_module_counters(const ptx_module *module) { return module->counters; }

uint64_t ptx_module_count(const ptx_module *module, const char *name) {
  uint64_t sum = 0;
  size_t size = strlen(name);
  for (size_t i = 0; i < module->name_count; i++)
    if (!strncmp(module->names[i], name, size) && (!module->names[i][size] || module->names[i][size] == '.'))
      sum += module->counts[i];
  return sum;
}

void ptx_module_reset(ptx_module *module) {
  module->counters = (ptx_counters){0};
  if (module->name_count) memset(module->counts, 0, module->name_count * sizeof *module->counts);
}
