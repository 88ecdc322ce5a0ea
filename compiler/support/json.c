#include "support/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plain_text.h"
#include "runtime_internal.h"
#include "support/text_file.h"

static hmoec_location location_at(const hmoec_json *json, const char *at) {
  hmoec_location location = {.file = json->path, .line = 1, .column = 1};
  for (const char *c = json->text; c < at; c++) {
    location.column++;
    if (*c != '\n') continue;
    location.line++;
    location.column = 1;
  }
  return location;
}

/* Of a key of any object: the item's own text. */
static hmoec_location place_of(const hmoec_json *json, const char *key) {
  uint64_t offset = hmoe_json_key_offset(json->root, key, json->text, json->size);
  return offset < json->size ? location_at(json, json->text + offset) : (hmoec_location){.file = json->path};
}

hmoec_location hmoec_json_key_location(const hmoec_json *json, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(json->root, key);
  return item ? place_of(json, item->string) : (hmoec_location){.file = json->path};
}

static bool is_before(hmoec_location a, hmoec_location b) { return a.line < b.line || (a.line == b.line && a.column < b.column); }

static bool keys_check(const hmoec_json *json, hmoec_diagnostics *diagnostics) {
  const char *key, *other;
  if (hmoe_json_duplicate(json->root, &key, &other) != HMOE_OK) return hmoec_machine_error(diagnostics, "%s", hmoe_last_error());
  if (!key) return true;
  hmoec_location a = place_of(json, key), b = place_of(json, other);
  hmoec_error(diagnostics, is_before(a, b) ? b : a, "'%.200s' is given twice", key);
  hmoec_note(diagnostics, is_before(a, b) ? a : b, "first given here");
  return false;
}

/* The brackets that are open at `end`, or the end of the text; *out_string: it is in a string. */
static long open_brackets(const char *text, const char *end, bool *out_string) {
  long depth = 0;
  *out_string = false;
  for (const char *at = text; *at && at < end; at++) {
    if (*at == '"') {
      for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1]) at++;
      *out_string = !*at;
      if (!*at) break;
    }
    depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
  }
  return depth;
}

static bool parse_error(const hmoec_json *json, const char *at, hmoec_diagnostics *diagnostics) {
  static const char *const numbers[] = {"NaN", "Infinity", "-Infinity"};
  if (!at || at < json->text || at > json->text + json->size) at = json->text;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (strncmp(at, numbers[i], strlen(numbers[i])) == 0)
      return hmoec_error(diagnostics, location_at(json, at), "%s is not a number of JSON", numbers[i]);
  if (json->size == 0) return hmoec_error(diagnostics, (hmoec_location){.file = json->path}, "expected JSON, found an empty file");
  bool in_string;
  if (open_brackets(json->text, at, &in_string) >= CJSON_NESTING_LIMIT)
    return hmoec_error(diagnostics, location_at(json, at), "brackets nest more than %d deep", CJSON_NESTING_LIMIT);
  if (open_brackets(json->text, json->text + json->size, &in_string) > 0 || in_string)
    return hmoec_error(diagnostics, location_at(json, json->text + json->size),
                       "the file ends inside of its JSON: it is cut short");
  return hmoec_error(diagnostics, location_at(json, at), "this is not JSON");
}

bool hmoec_json_read(hmoec_arena *arena, const char *path, size_t limit_bytes, hmoec_diagnostics *diagnostics,
                     hmoec_json *out_json) {
  const char *reason;
  size_t size;
  *out_json = (hmoec_json){.path = hmoec_arena_strdup(arena, path)};
  uint8_t start[HMOE_CONTENT_BYTES];
  size_t begun = hmoec_file_begin(path, start);
  hmoe_content content = hmoe_content_find(start, begun);
  char found[HMOE_CONTENT_CHARS];
  if (begun && content != HMOE_CONTENT_JSON && content != HMOE_CONTENT_TEXT)
    return hmoec_error(diagnostics, (hmoec_location){.file = path}, "expected JSON, found %s",
                       hmoe_content_string(start, begun, found));
  const char *text = hmoec_text_file_read(arena, path, limit_bytes, &size, &reason);
  if (!text) return hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot open: %s", reason);
  return hmoec_json_parse(arena, path, text, size, diagnostics, out_json);
}

bool hmoec_json_parse(hmoec_arena *arena, const char *path, const char *text, size_t size, hmoec_diagnostics *diagnostics,
                      hmoec_json *out_json) {
  *out_json = (hmoec_json){.path = hmoec_arena_strdup(arena, path), .text = text, .size = size};
  const char *end = NULL;
  out_json->root = hmoe_plain_json_parse(out_json->text, out_json->size + 1, &end, true);
  if (!out_json->root) return parse_error(out_json, end, diagnostics);
  if (!cJSON_IsObject(out_json->root))
    return hmoec_error(diagnostics, (hmoec_location){.file = path, .line = 1, .column = 1}, "expected an object { ... }, found %s",
                       cJSON_IsArray(out_json->root) ? "an array" : hmoec_json_value_string(arena, out_json->root));
  return keys_check(out_json, diagnostics);
}

void hmoec_json_deinit(hmoec_json *json) {
  cJSON_Delete(json->root);
  json->root = NULL;
}

hmoec_json_keys hmoec_json_keys_of(const hmoec_json *json) {
  return (hmoec_json_keys){.json = json, .at = {.file = json->path, .line = 1, .column = 1}};
}

/* Past `count` characters, or what is left of them. */
static void pass(hmoec_json_keys *keys, size_t count) {
  for (; count && keys->offset < keys->json->size; count--) {
    bool line = keys->json->text[keys->offset++] == '\n';
    keys->at.line += line;
    keys->at.column = line ? 1 : keys->at.column + 1;
  }
}

hmoec_location hmoec_json_next_key(hmoec_json_keys *keys) {
  const char *text = keys->json->text; /* ends with a zero */
  while (keys->offset < keys->json->size) {
    hmoec_location at = keys->at;
    bool is_string = text[keys->offset] == '"';
    pass(keys, 1);
    if (!is_string) continue;
    while (keys->offset < keys->json->size && text[keys->offset] != '"') pass(keys, text[keys->offset] == '\\' ? 2 : 1);
    pass(keys, 1);
    if (text[keys->offset + strspn(text + keys->offset, " \n\t\r")] == ':') return at;
  }
  return (hmoec_location){.file = keys->json->path};
}

const char *hmoec_json_value_string(hmoec_arena *arena, const cJSON *value) {
  enum { MOST_CHARS = 60 };
  if (cJSON_IsNumber(value) && !isfinite(value->valuedouble)) return "a number that is too large"; /* printed as null */
  char *text = hmoe_plain_json_print(value, false);
  if (!text) return "something";
  bool cut = strlen(text) > MOST_CHARS;
  const char *copy = hmoec_arena_printf(arena, "%.*s%s", MOST_CHARS, text, cut ? "..." : "");
  free(text);
  return copy;
}
