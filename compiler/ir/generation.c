#include "ir/generation.h"

#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "plain_text.h"

typedef struct setting_row {
  hmoec_setting_kind kind;
  const char *expected;
  double above, at_least, at_most; /* of a number, as a float */
} setting_row;

static const char *const names[HMOE_SETTING_COUNT] = {
    [HMOE_SETTING_START_TOKEN] = "start_token",
    [HMOE_SETTING_PAD_TOKEN] = "pad_token",
    [HMOE_SETTING_FORCED_BOS_TOKEN] = "forced_bos_token",
    [HMOE_SETTING_END_TOKEN] = "end_token",
    [HMOE_SETTING_FORCED_EOS_TOKEN] = "forced_eos_token",
    [HMOE_SETTING_SUPPRESS_TOKENS] = "suppress_tokens",
    [HMOE_SETTING_BEGIN_SUPPRESS_TOKENS] = "begin_suppress_tokens",
    [HMOE_SETTING_BAD_WORDS] = "bad_words",
    [HMOE_SETTING_MAX_NEW_TOKENS] = "max_new_tokens",
    [HMOE_SETTING_MAX_LENGTH] = "max_length",
    [HMOE_SETTING_MIN_NEW_TOKENS] = "min_new_tokens",
    [HMOE_SETTING_MIN_LENGTH] = "min_length",
    [HMOE_SETTING_BEAMS] = "beams",
    [HMOE_SETTING_EARLY_STOPPING] = "early_stopping",
    [HMOE_SETTING_NO_REPEAT_NGRAM] = "no_repeat_ngram",
    [HMOE_SETTING_SAMPLE] = "sample",
    [HMOE_SETTING_TOP_K] = "top_k",
    [HMOE_SETTING_LENGTH_PENALTY] = "length_penalty",
    [HMOE_SETTING_REPETITION_PENALTY] = "repetition_penalty",
    [HMOE_SETTING_TEMPERATURE] = "temperature",
    [HMOE_SETTING_TOP_P] = "top_p",
    [HMOE_SETTING_MIN_P] = "min_p",
};

#define TOKEN_ROW {HMOEC_SETTING_TOKEN, "a token of at least 0, or none", 0, 0, 0}
#define TOKENS_ROW {HMOEC_SETTING_TOKENS, "tokens of at least 0, or none", 0, 0, 0}
#define INTEGER_ROW(expected) {HMOEC_SETTING_INTEGER, expected, 0, 0, 0}
#define COUNT_ROW INTEGER_ROW("an integer of at least 0")

static const setting_row rows[HMOE_SETTING_COUNT] = {
    [HMOE_SETTING_START_TOKEN] = TOKEN_ROW,
    [HMOE_SETTING_PAD_TOKEN] = TOKEN_ROW,
    [HMOE_SETTING_FORCED_BOS_TOKEN] = TOKEN_ROW,
    [HMOE_SETTING_END_TOKEN] = TOKENS_ROW,
    [HMOE_SETTING_FORCED_EOS_TOKEN] = TOKENS_ROW,
    [HMOE_SETTING_SUPPRESS_TOKENS] = TOKENS_ROW,
    [HMOE_SETTING_BEGIN_SUPPRESS_TOKENS] = TOKENS_ROW,
    [HMOE_SETTING_BAD_WORDS] = {HMOEC_SETTING_WORDS, "lists of tokens of at least 0, none of them empty, or none", 0, 0, 0},
    [HMOE_SETTING_MAX_NEW_TOKENS] = COUNT_ROW,
    [HMOE_SETTING_MAX_LENGTH] = COUNT_ROW,
    [HMOE_SETTING_MIN_NEW_TOKENS] = COUNT_ROW,
    [HMOE_SETTING_MIN_LENGTH] = COUNT_ROW,
    [HMOE_SETTING_BEAMS] = INTEGER_ROW("an integer of at least 1"),
    [HMOE_SETTING_EARLY_STOPPING] = {HMOEC_SETTING_STOPPING, "true, false or never", 0, 0, 0},
    [HMOE_SETTING_NO_REPEAT_NGRAM] = COUNT_ROW,
    [HMOE_SETTING_SAMPLE] = {HMOEC_SETTING_FLAG, "true or false", 0, 0, 0},
    [HMOE_SETTING_TOP_K] = INTEGER_ROW("an integer of at least 0, which is all"),
    [HMOE_SETTING_LENGTH_PENALTY] = {HMOEC_SETTING_NUMBER, "a number", -DBL_MAX, -FLT_MAX, FLT_MAX},
    [HMOE_SETTING_REPETITION_PENALTY] = {HMOEC_SETTING_NUMBER, "a number above 0", 0, 0, FLT_MAX},
    [HMOE_SETTING_TEMPERATURE] = {HMOEC_SETTING_NUMBER, "a number above 0", 0, 0, FLT_MAX},
    [HMOE_SETTING_TOP_P] = {HMOEC_SETTING_NUMBER, "a number above 0, at most 1", 0, 0, 1},
    [HMOE_SETTING_MIN_P] = {HMOEC_SETTING_NUMBER, "a number of at least 0, at most 1", -1, 0, 1},
};

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

uint32_t hmoec_setting_find(const char *name) {
  uint32_t setting = 0;
  while (setting < HMOE_SETTING_COUNT && strcmp(names[setting], name) != 0) setting++;
  return setting;
}

const char *hmoec_setting_name(uint32_t setting) { return names[setting]; }
hmoec_setting_kind hmoec_setting_kind_of(uint32_t setting) { return rows[setting].kind; }
const char *hmoec_setting_expected(uint32_t setting) { return rows[setting].expected; }
const char *const *hmoec_setting_names(void) { return names; }

/* ---- values ---- */

static bool integer_valid(uint32_t setting, const hmoec_setting_value *value) {
  int64_t most = rows[setting].kind == HMOEC_SETTING_FLAG ? 1 : rows[setting].kind == HMOEC_SETTING_STOPPING ? 2 : INT32_MAX;
  return value->count == 1 && value->integers[0] >= (setting == HMOE_SETTING_BEAMS) && value->integers[0] <= most;
}

static bool words_valid(const hmoec_setting_value *value) {
  for (size_t i = 0; i < value->count; i++) {
    bool end = value->integers[i] == HMOEC_WORD_END;
    if (end ? i == 0 || value->integers[i - 1] == HMOEC_WORD_END : i + 1 == value->count) return false;
  }
  return true;
}

static bool number_valid(const setting_row *row, double number) {
  float narrow = (float)number; /* as the runtime has it */
  return (double)narrow > row->above && (double)narrow >= row->at_least && (double)narrow <= row->at_most;
}

/* Why a value cannot be, behind "expected NAME to be ...": "found 3", "" where that says it all; NULL: it can be. */
static const char *objection(uint32_t setting, const hmoec_setting_value *value, char *text, size_t size) {
  const setting_row *row = &rows[setting];
  *text = 0;
  switch (row->kind) {
  case HMOEC_SETTING_NUMBER:
    hmoe_plain_format(text, size, ", found %g", value->number);
    return number_valid(row, value->number) ? NULL : text;
  case HMOEC_SETTING_INTEGER:
  case HMOEC_SETTING_FLAG:
  case HMOEC_SETTING_STOPPING:
    if (integer_valid(setting, value)) return NULL;
    if (value->count != 1) snprintf(text, size, ", found %zu values", value->count);
    else snprintf(text, size, "%s, found %" PRId64, value->integers[0] > INT32_MAX ? " that fits 31 bits" : "", value->integers[0]);
    return text;
  case HMOEC_SETTING_TOKEN:
    snprintf(text, size, ", found %zu tokens", value->count);
    if (value->count > 1) return text;
    break;
  case HMOEC_SETTING_WORDS:
    if (!words_valid(value)) return text;
    break;
  case HMOEC_SETTING_TOKENS: break;
  }
  for (size_t i = 0; i < value->count; i++) {
    int64_t token = value->integers[i];
    if ((token >= 0 && token <= INT32_MAX) || (token == HMOEC_WORD_END && row->kind == HMOEC_SETTING_WORDS)) continue;
    snprintf(text, size, ", found %" PRId64, token);
    return text;
  }
  return NULL;
}

bool hmoec_setting_check(uint32_t setting, const char *name, const hmoec_setting_value *value, hmoec_diagnostics *diagnostics,
                         hmoec_location at) {
  char text[64];
  const char *why = objection(setting, value, text, sizeof text);
  if (!why) return true;
  return diagnostics && hmoec_error(diagnostics, at, "expected %s to be %s%s", name, rows[setting].expected, why);
}

static bool order_check(const hmoec_generation *g, uint32_t least, uint32_t most, hmoec_diagnostics *diagnostics,
                        hmoec_location at) {
  if (!g->given[least] || !g->given[most] || g->values[least].integers[0] <= g->values[most].integers[0]) return true;
  return hmoec_error(diagnostics, at, "%s = %" PRId64 " is more than %s = %" PRId64, names[least], g->values[least].integers[0],
                     names[most], g->values[most].integers[0]);
}

bool hmoec_generation_check(const hmoec_generation *generation, hmoec_diagnostics *diagnostics, hmoec_location at) {
  return order_check(generation, HMOE_SETTING_MIN_NEW_TOKENS, HMOE_SETTING_MAX_NEW_TOKENS, diagnostics, at) &&
         order_check(generation, HMOE_SETTING_MIN_LENGTH, HMOE_SETTING_MAX_LENGTH, diagnostics, at);
}

/* ---- attributes ---- */

MlirAttribute hmoec_generation_to_attribute(MlirContext context, const hmoec_generation *generation) {
  MlirNamedAttribute list[HMOE_SETTING_COUNT];
  intptr_t count = 0;
  for (uint32_t i = 0; i < HMOE_SETTING_COUNT; i++) {
    const hmoec_setting_value *value = &generation->values[i];
    if (!generation->given[i]) continue;
    MlirAttribute attribute = rows[i].kind == HMOEC_SETTING_NUMBER
                                  ? mlirFloatAttrDoubleGet(context, mlirF64TypeGet(context), value->number)
                                  : mlirDenseI64ArrayGet(context, (intptr_t)value->count, value->integers);
    list[count++] = mlirNamedAttributeGet(mlirIdentifierGet(context, ref(names[i])), attribute);
  }
  return count ? mlirDictionaryAttrGet(context, count, list) : mlirAttributeGetNull();
}

/* One entry of the dictionary as a value; false where its type is another. */
static bool value_from(uint32_t setting, MlirAttribute attribute, hmoec_arena *arena, hmoec_setting_value *out_value) {
  *out_value = (hmoec_setting_value){0};
  if (rows[setting].kind == HMOEC_SETTING_NUMBER) {
    if (!mlirAttributeIsAFloat(attribute) || !mlirTypeIsAF64(mlirAttributeGetType(attribute))) return false;
    out_value->number = mlirFloatAttrGetValueDouble(attribute);
    return true;
  }
  if (!mlirAttributeIsADenseI64Array(attribute)) return false;
  out_value->count = (size_t)mlirDenseArrayGetNumElements(attribute);
  int64_t *integers = hmoec_arena_alloc_array(arena, out_value->count, sizeof *integers);
  for (size_t i = 0; i < out_value->count; i++) integers[i] = mlirDenseI64ArrayGetElement(attribute, (intptr_t)i);
  out_value->integers = integers;
  return true;
}

bool hmoec_generation_from_attribute(MlirAttribute attribute, hmoec_arena *arena, hmoec_diagnostics *diagnostics, hmoec_location at,
                                     hmoec_generation *out_generation) {
  *out_generation = (hmoec_generation){0};
  if (mlirAttributeIsNull(attribute)) return true;
  if (!mlirAttributeIsADictionary(attribute)) return hmoec_error(diagnostics, at, "expected hmoe.generation to be a dictionary");
  for (intptr_t i = 0; i < mlirDictionaryAttrGetNumElements(attribute); i++) {
    MlirNamedAttribute entry = mlirDictionaryAttrGetElement(attribute, i);
    MlirStringRef text = mlirIdentifierStr(entry.name);
    uint32_t setting = 0;
    while (setting < HMOE_SETTING_COUNT && !mlirStringRefEqual(ref(names[setting]), text)) setting++;
    if (setting == HMOE_SETTING_COUNT)
      return hmoec_error(diagnostics, at, "hmoe.generation: there is no setting '%.*s'", (int)text.length, text.data);
    hmoec_setting_value *value = &out_generation->values[setting];
    if (!value_from(setting, entry.attribute, arena, value))
      return hmoec_error(diagnostics, at, "expected %s of hmoe.generation to be %s", names[setting],
                         rows[setting].kind == HMOEC_SETTING_NUMBER ? "an f64" : "array<i64: ...>");
    if (!hmoec_setting_check(setting, names[setting], value, diagnostics, at)) return false;
    out_generation->given[setting] = true;
  }
  return hmoec_generation_check(out_generation, diagnostics, at);
}
