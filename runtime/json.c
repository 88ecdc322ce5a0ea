/* JSON text from files that may come from anywhere. */
#include "plain_text.h"
#include "runtime_internal.h"

#include <cjson/cJSON.h>

#define BAD(...) hmoe_fail(HMOE_INVALID_WEIGHTS, __VA_ARGS__)

static bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

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
  if (status == HMOE_OK) *out_object = object;
  else cJSON_Delete(object);
  return status;
}
