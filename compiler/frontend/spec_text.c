/* Text with values in it: "encoder.block.{l}.layer.1". Between braces stands one name, of an integer or a word. */
#include <string.h>

#include "frontend/spec_eval.h"

/* Where the character at `offset` of a string stands in the file; +1 for the quote. */
static hmoec_location location_in(hmoec_spec_text text, size_t offset) {
  hmoec_location at = text.at;
  if (at.column) at.column += (unsigned)offset + 1;
  return at;
}

/* The text a name stands for, or NULL. */
static const char *name_text(hmoec_evaluator *ev, const char *name, hmoec_location at) {
  hmoec_value value = hmoec_eval_name(ev, name, at);
  switch (value.kind) {
  case HMOEC_VALUE_ERROR: return NULL;
  case HMOEC_VALUE_INTEGER: return hmoec_arena_printf(ev->arena, "%lld", (long long)value.integer);
  case HMOEC_VALUE_WORD:
    if (!strpbrk(value.word, "{}")) return value.word;
    hmoec_error(ev->diagnostics, at, "the word \"%s\" holds braces: it is taken as it is, and nothing in it is replaced",
                value.word);
    return NULL;
  default:
    hmoec_error(ev->diagnostics, at, "expected an integer or a word between braces, but '%s' is %s", name,
                hmoec_value_string(ev, &value));
    return NULL;
  }
}

const char *hmoec_eval_text(hmoec_evaluator *ev, hmoec_spec_text text, const char *index) {
  char buffer[HMOEC_SPEC_MAX_KEY + 1];
  size_t length = 0, index_count = 0;
  for (const char *at = text.text; *at;) {
    size_t offset = (size_t)(at - text.text);
    size_t plain = strcspn(at, "{}");
    const char *piece = at, *closing = at[plain] == '{' ? strchr(at + plain, '}') : NULL;
    if (plain) {
      at += plain;
    } else if (!closing) {
      hmoec_error(ev->diagnostics, location_in(text, offset), "this '%c' has no partner", *at);
      return NULL;
    } else {
      const char *name = hmoec_arena_strndup(ev->arena, at + 1, (size_t)(closing - at - 1));
      bool is_index = index && strcmp(name, index) == 0;
      index_count += is_index;
      piece = is_index ? "{}" : name_text(ev, name, location_in(text, offset + 1));
      if (!piece) return NULL;
      plain = strlen(piece);
      at = closing + 1;
    }
    if (length + plain > HMOEC_SPEC_MAX_KEY) {
      hmoec_error(ev->diagnostics, text.at, "the text is longer than %d characters", HMOEC_SPEC_MAX_KEY);
      return NULL;
    }
    memcpy(buffer + length, piece, plain);
    length += plain;
  }
  if (index && index_count != 1) {
    hmoec_error(ev->diagnostics, text.at, "expected {%s} once in the key of a stack, found it %zu times", index, index_count);
    return NULL;
  }
  return hmoec_arena_strndup(ev->arena, buffer, length);
}

const char *hmoec_eval_key(hmoec_evaluator *ev, hmoec_spec_text text, const char *index) {
  const char *key = hmoec_eval_text(ev, text, index);
  if (!key) return NULL;
  if (*key == '/') key++;
  else if (*ev->scope) key = hmoec_arena_printf(ev->arena, "%s.%s", ev->scope, key);
  if (!*key) {
    hmoec_error(ev->diagnostics, text.at, "the checkpoint key is empty");
    return NULL;
  }
  if (strlen(key) > HMOEC_SPEC_MAX_KEY) {
    hmoec_error(ev->diagnostics, text.at, "the checkpoint key is longer than %d characters", HMOEC_SPEC_MAX_KEY);
    return NULL;
  }
  return key;
}
