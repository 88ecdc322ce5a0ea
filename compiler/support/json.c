#include "support/json.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "plain_text.h"
#include "support/name_map.h"
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

static const char *string_end(const char *at) { /* at: after the opening quote; valid JSON */
  while (*at && *at != '"') at += *at == '\\' && at[1] ? 2 : 1;
  return at;
}

/* Keys with escapes are not found: none that is looked for has any. */
hmoec_location hmoec_json_key_location(const hmoec_json *json, const char *key) {
  size_t length = strlen(key);
  unsigned depth = 0;
  for (const char *at = json->text; *at; at++) {
    if (*at == '{' || *at == '[') depth++;
    if (*at == '}' || *at == ']') depth--;
    if (*at != '"') continue;
    const char *end = string_end(at + 1);
    const char *next = *end ? end + 1 + strspn(end + 1, " \t\r\n") : end;
    if (depth == 1 && *next == ':' && (size_t)(end - at - 1) == length && memcmp(at + 1, key, length) == 0)
      return location_at(json, at);
    if (!*end) break;
    at = end;
  }
  return (hmoec_location){.file = json->path};
}

static bool keys_check(hmoec_arena *arena, const hmoec_json *json, const cJSON *object, hmoec_diagnostics *diagnostics) {
  hmoec_name_map keys = {.arena = arena};
  const cJSON *item;
  cJSON_ArrayForEach(item, object) {
    size_t before = keys.count;
    if (cJSON_IsObject(object) && hmoec_name_map_add(&keys, item->string) != before)
      return hmoec_error(diagnostics, hmoec_json_key_location(json, item->string), "'%.200s' is given twice", item->string);
    if ((cJSON_IsObject(item) || cJSON_IsArray(item)) && !keys_check(arena, json, item, diagnostics)) return false;
  }
  return true;
}

static bool parse_error(const hmoec_json *json, const char *at, hmoec_diagnostics *diagnostics) {
  static const char *const numbers[] = {"NaN", "Infinity", "-Infinity"};
  if (!at || at < json->text || at > json->text + json->size) at = json->text;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (strncmp(at, numbers[i], strlen(numbers[i])) == 0)
      return hmoec_error(diagnostics, location_at(json, at), "%s is not a number of JSON", numbers[i]);
  return hmoec_error(diagnostics, location_at(json, at), "this is not JSON");
}

bool hmoec_json_read(hmoec_arena *arena, const char *path, size_t limit_bytes, hmoec_diagnostics *diagnostics,
                     hmoec_json *out_json) {
  const char *reason;
  *out_json = (hmoec_json){.path = hmoec_arena_strdup(arena, path)};
  out_json->text = hmoec_text_file_read(arena, path, limit_bytes, &out_json->size, &reason);
  if (!out_json->text) return hmoec_error(diagnostics, (hmoec_location){.file = path}, "cannot open: %s", reason);
  const char *end = NULL;
  out_json->root = hmoe_plain_json_parse(out_json->text, out_json->size + 1, &end, true);
  if (!out_json->root) return parse_error(out_json, end, diagnostics);
  if (!cJSON_IsObject(out_json->root))
    return hmoec_error(diagnostics, (hmoec_location){.file = path, .line = 1, .column = 1}, "expected an object");
  return keys_check(arena, out_json, out_json->root, diagnostics);
}

void hmoec_json_deinit(hmoec_json *json) {
  cJSON_Delete(json->root);
  json->root = NULL;
}

const char *hmoec_json_value_string(hmoec_arena *arena, const cJSON *value) {
  enum { MOST_CHARS = 60 };
  char *text = hmoe_plain_json_print(value, false);
  if (!text) return "something";
  bool cut = strlen(text) > MOST_CHARS;
  const char *copy = hmoec_arena_printf(arena, "%.*s%s", MOST_CHARS, text, cut ? "..." : "");
  free(text);
  return copy;
}
