/* JSON text from files that may come from anywhere. */
#include "plain_text.h"
#include "runtime_internal.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define BAD(...) hmoe_fail(HMOE_INVALID_WEIGHTS, __VA_ARGS__)

static bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

/* Keys before `key` in the order of the text, which is the order of the tree; *found: it was met. */
static uint64_t keys_before(const cJSON *tree, const char *key, bool *found) {
  uint64_t count = 0;
  for (const cJSON *item = tree->child; item && !*found; item = item->next) {
    *found = item->string == key;
    if (!*found) count += (item->string != NULL) + keys_before(item, key, found);
  }
  return count;
}

uint64_t hmoe_json_key_offset(const cJSON *tree, const char *key, const char *text, uint64_t length) {
  bool found = false;
  uint64_t left = keys_before(tree, key, &found);
  for (uint64_t at = 0; found && at < length; at++) {
    if (text[at] != '"') continue;
    uint64_t begin = at++;
    while (at < length && text[at] != '"') at += text[at] == '\\' ? 2 : 1;
    uint64_t next = at + 1;
    while (next < length && is_blank(text[next])) next++;
    if (next < length && text[next] == ':' && left-- == 0) return begin;
  }
  return UINT64_MAX;
}

static int by_text(const void *left, const void *right) { return strcmp(*(const char *const *)left, *(const char *const *)right); }

/* Equal keys of one object; small ones, such as a tensor's, take no memory. */
static hmoe_status object_duplicate(const cJSON *object, const char **out_key, const char **out_other) {
  enum { SMALL = 8 };
  const char *small[SMALL], **keys = small;
  size_t count = 0, at = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, object) count++;
  if (count > SMALL && !(keys = malloc(count * sizeof *keys)))
    return hmoe_fail(HMOE_OUT_OF_MEMORY, "no memory for %zu keys of JSON", count);
  cJSON_ArrayForEach(item, object) keys[at++] = item->string;
  qsort(keys, count, sizeof *keys, by_text);
  for (size_t i = 1; i < count && !*out_key; i++)
    if (!strcmp(keys[i - 1], keys[i])) {
      *out_key = keys[i - 1];
      *out_other = keys[i];
    }
  if (keys != small) free(keys);
  return HMOE_OK;
}

hmoe_status hmoe_json_duplicate(const cJSON *tree, const char **out_key, const char **out_other) {
  *out_key = *out_other = NULL;
  if (cJSON_IsObject(tree)) HMOE_TRY(object_duplicate(tree, out_key, out_other));
  for (const cJSON *item = tree->child; item && !*out_key; item = item->next)
    if (item->child) HMOE_TRY(hmoe_json_duplicate(item, out_key, out_other));
  return HMOE_OK;
}

static hmoe_status check_keys(const char *file, const char *what, const cJSON *object, const char *text, uint64_t length,
                              uint64_t offset) {
  const char *key, *other;
  HMOE_TRY(hmoe_json_duplicate(object, &key, &other));
  if (!key) return HMOE_OK;
  uint64_t first = hmoe_json_key_offset(object, key, text, length) + offset,
           second = hmoe_json_key_offset(object, other, text, length) + offset;
  return BAD("%s: %s: the key '%.200s' is there twice, at bytes %llu and %llu", file, what, key,
             (unsigned long long)hmoe_min(first, second), (unsigned long long)(first < second ? second : first));
}

hmoe_status hmoe_json_read(const char *file, const char *what, const char *text, uint64_t length, uint64_t offset,
                           struct cJSON **out_object) {
  *out_object = NULL;
  if (length == 0 || text[0] != '{')
    return BAD("%s: %s: expected a JSON object, found byte 0x%02x", file, what, length ? (unsigned)(uint8_t)text[0] : 0);
  const char *end = NULL;
  cJSON *object = hmoe_plain_json_parse(text, length, &end, false);
  if (!object) {
    /* The parser reports no reason; it stops at `end` for a syntax error, and may also have run out of memory. */
    uint64_t at = end && end >= text && (uint64_t)(end - text) <= length ? (uint64_t)(end - text) : 0;
    return BAD("%s: %s: not valid JSON at byte %llu", file, what, (unsigned long long)(at + offset));
  }
  hmoe_status status = HMOE_OK;
  for (const char *rest = end; status == HMOE_OK && rest < text + length; rest++)
    if (!is_blank(*rest))
      status = BAD("%s: %s: expected only blanks after the object, found byte 0x%02x at byte %llu", file, what,
                   (unsigned)(uint8_t)*rest, (unsigned long long)(rest - text) + offset);
  if (status == HMOE_OK && !cJSON_IsObject(object)) status = BAD("%s: %s: expected a JSON object", file, what);
  if (status == HMOE_OK) status = check_keys(file, what, object, text, length, offset);
  if (status == HMOE_OK) *out_object = object;
  else cJSON_Delete(object);
  return status;
}
