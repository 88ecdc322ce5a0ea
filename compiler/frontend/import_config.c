#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/import_parts.h"
#include "plain_text.h"

static const cJSON *value_of(const hmoec_import_state *import, const char *key) {
  const cJSON *value = cJSON_GetObjectItemCaseSensitive(import->config.root, key);
  return cJSON_IsNull(value) ? NULL : value;
}

bool hmoec_config_has(const hmoec_import_state *import, const char *key) { return value_of(import, key) != NULL; }

bool hmoec_config_unexpected(const hmoec_import_state *import, const char *key, const char *expected, const cJSON *found) {
  return hmoec_error(import->diagnostics, hmoec_json_key_location(&import->config, key), "expected %s to be %s, found %s", key,
                     expected, hmoec_json_value_string(import->arena, found));
}

bool hmoec_config_integer(const hmoec_import_state *import, const char *key, int64_t minimum, int64_t missing, int64_t *out_value) {
  const cJSON *value = value_of(import, key);
  *out_value = missing;
  if (!value) return true;
  double number = cJSON_IsNumber(value) ? value->valuedouble : -1e30;
  if (number >= (double)minimum && number <= INT32_MAX) {
    *out_value = (int64_t)number;
    double rest = number - (double)*out_value;
    if (rest <= 0 && rest >= 0) return true;
  }
  const char *expected = hmoec_arena_printf(import->arena, "an integer between %" PRId64 " and %d", minimum, INT32_MAX);
  return hmoec_config_unexpected(import, key, expected, value);
}

bool hmoec_config_flag(const hmoec_import_state *import, const char *key, bool missing, bool *out_value) {
  const cJSON *value = value_of(import, key);
  *out_value = value ? cJSON_IsTrue(value) : missing;
  return !value || cJSON_IsBool(value) || hmoec_config_unexpected(import, key, "true or false", value);
}

bool hmoec_config_word(const hmoec_import_state *import, const char *key, const char *missing, const char **out_value) {
  const cJSON *value = value_of(import, key);
  *out_value = cJSON_IsString(value) ? value->valuestring : missing;
  return !value || cJSON_IsString(value) || hmoec_config_unexpected(import, key, "a string", value);
}

bool hmoec_config_number(const hmoec_import_state *import, const char *key, double missing, double *out_value) {
  const cJSON *value = value_of(import, key);
  *out_value = cJSON_IsNumber(value) ? value->valuedouble : missing;
  bool fits = *out_value > 0 && *out_value <= 1;
  return (!value || cJSON_IsNumber(value)) && fits ? true
                                                   : hmoec_config_unexpected(import, key, "a number above 0 and at most 1", value);
}

bool hmoec_config_refuse(const hmoec_import_state *import, const char *key) {
  bool asked;
  if (!hmoec_config_flag(import, key, false, &asked)) return false;
  return !asked ||
         hmoec_error(import->diagnostics, hmoec_json_key_location(&import->config, key), "%s = true is not supported", key);
}

bool hmoec_config_activation(const hmoec_import_state *import, const char *key, const char *name, const char **out_function) {
  static const char *const rows[][2] = {
      {"relu", "relu"}, {"gelu", "gelu"},  {"gelu_new", "gelu_new"}, {"gelu_pytorch_tanh", "gelu_new"},
      {"silu", "silu"}, {"swish", "silu"}, {"sigmoid", "sigmoid"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (strcmp(rows[i][0], name) != 0) continue;
    *out_function = rows[i][1];
    return true;
  }
  return hmoec_error(import->diagnostics, hmoec_json_key_location(&import->config, key),
                     "%s: the activation \"%.60s\" is not supported; expected relu, gelu, gelu_new, silu or sigmoid", key, name);
}

bool hmoec_config_contradiction(const hmoec_import_state *import, const char *key, const char *format, ...) {
  char text[600];
  va_list arguments;
  va_start(arguments, format);
  hmoe_plain_vformat(text, sizeof text, format, arguments);
  va_end(arguments);
  const cJSON *value = value_of(import, key);
  return hmoec_error(import->diagnostics, hmoec_json_key_location(&import->config, key), "%s = %s, but %s", key,
                     value ? hmoec_json_value_string(import->arena, value) : "null", text);
}
