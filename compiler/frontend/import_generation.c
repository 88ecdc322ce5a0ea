/* What a checkpoint says about generation, as a generation statement. The library reads generation_config.json where there is one, and then no
 * key of config.json; without it, config.json, whose keys of the tokens have defaults that depend on the class. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <string.h>

#include "frontend/import_parts.h"
#include "frontend/spec_lexer.h"
#include "ir/generation.h"

/* The file that counts. */
typedef struct source {
  const hmoec_import_state *import; /* config: the file */
  const hmoec_import_tokens *absent; /* NULL: keys that are absent say nothing */
  hmoec_generation generation;
} source;

typedef struct key_row {
  const char *key;
  uint32_t setting;
  double neutral; /* what the library does anyway: not written */
} key_row;

enum { NO_NEUTRAL = -1 };

static const key_row scalars[] = {
    {"max_new_tokens", HMOE_SETTING_MAX_NEW_TOKENS, NO_NEUTRAL},
    {"max_length", HMOE_SETTING_MAX_LENGTH, NO_NEUTRAL},
    {"min_new_tokens", HMOE_SETTING_MIN_NEW_TOKENS, 0},
    {"min_length", HMOE_SETTING_MIN_LENGTH, 0},
    {"num_beams", HMOE_SETTING_BEAMS, 1},
    {"early_stopping", HMOE_SETTING_EARLY_STOPPING, 0},
    {"no_repeat_ngram_size", HMOE_SETTING_NO_REPEAT_NGRAM, 0},
    {"length_penalty", HMOE_SETTING_LENGTH_PENALTY, 1},
    {"repetition_penalty", HMOE_SETTING_REPETITION_PENALTY, 1},
    {"do_sample", HMOE_SETTING_SAMPLE, 0},
    {"top_k", HMOE_SETTING_TOP_K, NO_NEUTRAL},
    {"temperature", HMOE_SETTING_TEMPERATURE, 1},
    {"top_p", HMOE_SETTING_TOP_P, 1},
    {"min_p", HMOE_SETTING_MIN_P, 0},
};
static const key_row lists[] = {
    {"forced_bos_token_id", HMOE_SETTING_FORCED_BOS_TOKEN, 0},
    {"forced_eos_token_id", HMOE_SETTING_FORCED_EOS_TOKEN, 0},
    {"suppress_tokens", HMOE_SETTING_SUPPRESS_TOKENS, 0},
    {"begin_suppress_tokens", HMOE_SETTING_BEGIN_SUPPRESS_TOKENS, 0},
    {"bad_words_ids", HMOE_SETTING_BAD_WORDS, 0},
};
enum { LIBRARY_TOP_K = 50 }; /* of sampling, where nothing says otherwise */

static const cJSON *stated(const source *s, const char *key) {
  return cJSON_GetObjectItemCaseSensitive(s->import->config.root, key);
}

static hmoec_location at_key(const source *s, const char *key) { return hmoec_json_key_location(&s->import->config, key); }

/* ---- values ---- */

/* An integer or a list of them; of words, a list of such lists, each closed. */
static bool read_integers(const source *s, const char *key, uint32_t setting, const cJSON *from, bool words, int64_t *out,
                          size_t *count) {
  if (cJSON_IsArray(from)) {
    for (const cJSON *item = from->child; item; item = item->next) {
      bool nested = words && cJSON_IsArray(item);
      if ((cJSON_IsArray(item) != words) || !read_integers(s, key, setting, item, false, out, count))
        return cJSON_IsArray(item) == words ? false
                                            : hmoec_config_unexpected(s->import, key, hmoec_setting_expected(setting), from);
      if (nested) out[(*count)++] = HMOEC_WORD_END;
    }
    return true;
  }
  double number = cJSON_IsNumber(from) && !words ? from->valuedouble : -2;
  int64_t integer = number >= -1 && number <= INT32_MAX ? (int64_t)number : -2;
  double rest = number - (double)integer;
  if (integer < -1 || rest > 0 || rest < 0) return hmoec_config_unexpected(s->import, key, hmoec_setting_expected(setting), from);
  out[(*count)++] = integer;
  return true;
}

/* Values that a list takes at most. */
static size_t room_of(const cJSON *from) {
  size_t room = 1;
  for (const cJSON *item = cJSON_IsArray(from) ? from->child : NULL; item; item = item->next) room += 1 + room_of(item);
  return room;
}

static bool read_list(const source *s, const char *key, uint32_t setting, const cJSON *from, hmoec_setting_value *out_value) {
  int64_t *integers = hmoec_arena_alloc_array(s->import->arena, room_of(from), sizeof *integers);
  *out_value = (hmoec_setting_value){.integers = integers};
  if (!read_integers(s, key, setting, from, hmoec_setting_kind_of(setting) == HMOEC_SETTING_WORDS, integers, &out_value->count))
    return false;
  bool single = !cJSON_IsArray(from) && integers[0] == -1; /* how some checkpoints write none */
  if (single) out_value->count = 0;
  return hmoec_setting_check(setting, key, out_value, s->import->diagnostics, at_key(s, key));
}

static bool say(source *s, uint32_t setting, hmoec_setting_value value) {
  s->generation.given[setting] = true;
  s->generation.values[setting] = value;
  return true;
}

static bool say_token(source *s, uint32_t setting, int64_t token) {
  int64_t *kept = hmoec_arena_alloc(s->import->arena, sizeof *kept);
  *kept = token;
  return say(s, setting, (hmoec_setting_value){.integers = kept, .count = token >= 0});
}

/* The tokens of a key: null is none; absent, what the class says. */
static bool read_tokens(const source *s, const char *key, uint32_t setting, int64_t absent, hmoec_setting_value *out_value) {
  const cJSON *from = stated(s, key);
  if (from && !cJSON_IsNull(from)) return read_list(s, key, setting, from, out_value);
  int64_t *kept = hmoec_arena_alloc(s->import->arena, sizeof *kept);
  *kept = absent;
  *out_value = (hmoec_setting_value){.integers = kept, .count = !from && absent >= 0};
  return true;
}

/* ---- what is read ---- */

/* The start: decoder_start_token_id, else bos_token_id, else, as models of this kind are trained, pad_token_id. */
static bool read_start(source *s, const hmoec_setting_value *pad) {
  static const char *const keys[] = {"decoder_start_token_id", "bos_token_id"};
  hmoec_setting_value value = {0};
  for (size_t i = s->import->encodes ? 0 : 1; i < 2 && !value.count; i++)
    if (!read_tokens(s, keys[i], HMOE_SETTING_START_TOKEN, i && s->absent ? s->absent->bos : -1, &value)) return false;
  return say(s, HMOE_SETTING_START_TOKEN, value.count || !s->import->encodes ? value : *pad);
}

static bool read_ends(source *s) {
  hmoec_setting_value end, pad;
  return read_tokens(s, "eos_token_id", HMOE_SETTING_END_TOKEN, s->absent ? s->absent->eos : -1, &end) &&
         read_tokens(s, "pad_token_id", HMOE_SETTING_PAD_TOKEN, s->absent ? s->absent->pad : -1, &pad) && read_start(s, &pad) &&
         say(s, HMOE_SETTING_END_TOKEN, end) && say(s, HMOE_SETTING_PAD_TOKEN, pad);
}

static bool is_for_sampling(uint32_t setting) {
  return setting == HMOE_SETTING_TOP_K || setting == HMOE_SETTING_TEMPERATURE || setting == HMOE_SETTING_TOP_P ||
         setting == HMOE_SETTING_MIN_P;
}

/* As a value; false where it is of another type. */
static bool scalar_from(const source *s, uint32_t setting, const cJSON *from, hmoec_setting_value *out_value) {
  hmoec_setting_kind kind = hmoec_setting_kind_of(setting);
  int64_t *integer = hmoec_arena_alloc(s->import->arena, sizeof *integer);
  *out_value = (hmoec_setting_value){.integers = integer, .count = 1};
  bool never = kind == HMOEC_SETTING_STOPPING && cJSON_IsString(from) && strcmp(from->valuestring, "never") == 0;
  if (kind == HMOEC_SETTING_FLAG || kind == HMOEC_SETTING_STOPPING) {
    *integer = never ? 2 : cJSON_IsTrue(from);
    return never || cJSON_IsBool(from);
  }
  if (!cJSON_IsNumber(from)) return false;
  out_value->number = from->valuedouble;
  if (kind == HMOEC_SETTING_NUMBER) return true;
  if (!(from->valuedouble >= -1e15 && from->valuedouble <= 1e15)) return false;
  *integer = (int64_t)from->valuedouble;
  double rest = from->valuedouble - (double)*integer;
  return rest <= 0 && rest >= 0;
}

static bool read_scalar(source *s, const key_row *row) {
  const cJSON *from = stated(s, row->key);
  hmoec_setting_value value;
  if (!from || cJSON_IsNull(from)) return true;
  const hmoec_import_state *import = s->import;
  bool sampling = s->generation.given[HMOE_SETTING_SAMPLE] && s->generation.values[HMOE_SETTING_SAMPLE].integers[0];
  bool fits = scalar_from(s, row->setting, from, &value);
  if (is_for_sampling(row->setting) && !sampling &&
      !(fits && hmoec_setting_check(row->setting, row->key, &value, NULL, at_key(s, row->key)))) {
    hmoec_warning(import->diagnostics, at_key(s, row->key), "%s = %s is not %s: left out, as nothing here samples", row->key,
                  hmoec_json_value_string(import->arena, from), hmoec_setting_expected(row->setting));
    return true;
  }
  if (!fits) return hmoec_config_unexpected(import, row->key, hmoec_setting_expected(row->setting), from);
  if (!hmoec_setting_check(row->setting, row->key, &value, import->diagnostics, at_key(s, row->key))) return false;
  double number = hmoec_setting_kind_of(row->setting) == HMOEC_SETTING_NUMBER ? value.number : (double)value.integers[0];
  return (number >= row->neutral && number <= row->neutral) || say(s, row->setting, value);
}

static bool read_all(source *s) {
  if (!read_ends(s)) return false;
  for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
    if (!read_scalar(s, &scalars[i])) return false;
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    const cJSON *from = stated(s, lists[i].key);
    hmoec_setting_value value;
    if (!from || cJSON_IsNull(from)) continue;
    if (!read_list(s, lists[i].key, lists[i].setting, from, &value)) return false;
    if (value.count) say(s, lists[i].setting, value);
  }
  bool sample = s->generation.given[HMOE_SETTING_SAMPLE], beams = s->generation.given[HMOE_SETTING_BEAMS];
  if (sample && !s->generation.given[HMOE_SETTING_TOP_K]) say_token(s, HMOE_SETTING_TOP_K, LIBRARY_TOP_K);
  if (sample && beams)
    hmoec_warning(s->import->diagnostics, at_key(s, "do_sample"),
                  "num_beams and do_sample together are not supported: generation takes the beams and does not sample");
  return hmoec_generation_check(&s->generation, s->import->diagnostics, at_key(s, "min_length"));
}

/* ---- what is not ---- */

typedef enum neutral_value { NULL_ONLY, ZERO, ONE, FALSE, ANY } neutral_value;

/* Keys that change which tokens come out and that generation does not have, and the values with which they do not. ANY: keys without effect
 * on tokens, and those that are read above. */
static const struct {
  const char *key;
  neutral_value neutral;
} others[] = {
    {"penalty_alpha", ZERO},
    {"num_beam_groups", ONE},
    {"diversity_penalty", ZERO},
    {"typical_p", ONE},
    {"epsilon_cutoff", ZERO},
    {"eta_cutoff", ZERO},
    {"top_h", NULL_ONLY},
    {"encoder_repetition_penalty", ONE},
    {"encoder_no_repeat_ngram_size", ZERO},
    {"exponential_decay_length_penalty", NULL_ONLY},
    {"constraints", NULL_ONLY},
    {"force_words_ids", NULL_ONLY},
    {"forced_decoder_ids", NULL_ONLY},
    {"sequence_bias", NULL_ONLY},
    {"guidance_scale", ONE},
    {"watermarking_config", NULL_ONLY},
    {"renormalize_logits", FALSE},
    {"remove_invalid_values", FALSE},
    {"token_healing", FALSE},
    {"num_return_sequences", ONE},
    {"max_time", NULL_ONLY},
    {"stop_strings", NULL_ONLY},
    {"dola_layers", NULL_ONLY},
    {"prompt_lookup_num_tokens", NULL_ONLY},
    {"assistant_early_exit", NULL_ONLY},
    {"assistant_ensemble_weight", NULL_ONLY},
    {"speculation_type", NULL_ONLY},
    {"use_mtp", FALSE},
    {"is_assistant", FALSE},
    {"eos_token_id", ANY},
    {"pad_token_id", ANY},
    {"bos_token_id", ANY},
    {"decoder_start_token_id", ANY},
    {"num_assistant_tokens", ANY},
    {"num_assistant_tokens_schedule", ANY},
    {"assistant_confidence_threshold", ANY},
    {"assistant_lookbehind", ANY},
    {"target_lookbehind", ANY},
    {"max_matching_ngram_size", ANY},
    {"use_cache", ANY},
    {"cache_implementation", ANY},
    {"cache_config", ANY},
    {"max_cache_len", ANY},
    {"return_legacy_cache", ANY},
    {"prefill_chunk_size", ANY},
    {"low_memory", ANY},
    {"compile_config", ANY},
    {"disable_compile", ANY},
    {"continuous_batching_config", ANY},
    {"output_attentions", ANY},
    {"output_hidden_states", ANY},
    {"output_scores", ANY},
    {"output_logits", ANY},
    {"return_dict_in_generate", ANY},
    {"generation_kwargs", ANY},
    {"transformers_version", ANY},
};

static bool is_neutral(const cJSON *value, neutral_value neutral) {
  if (cJSON_IsNull(value)) return true;
  double number = cJSON_IsNumber(value) ? value->valuedouble : -1, expected = neutral == ONE;
  switch (neutral) {
  case ANY: return true;
  case NULL_ONLY: return cJSON_IsFalse(value);
  case FALSE: return cJSON_IsFalse(value);
  case ZERO:
  case ONE: return number >= expected && number <= expected;
  }
  return false;
}

static bool is_read(const char *key) {
  for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
    if (strcmp(scalars[i].key, key) == 0) return true;
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    if (strcmp(lists[i].key, key) == 0) return true;
  return *key == '_';
}

/* One warning with the names of all; of config.json, which has other keys as well, only those that are known. */
static void warn_unsupported(const source *s) {
  const char *names = "", *first = NULL;
  size_t known = sizeof others / sizeof *others;
  for (const cJSON *item = s->import->config.root->child; item; item = item->next) {
    size_t i = 0;
    while (i < known && strcmp(others[i].key, item->string) != 0) i++;
    if (i < known ? is_neutral(item, others[i].neutral) : s->absent || is_read(item->string)) continue;
    if (strlen(names) < 600)
      names = hmoec_arena_printf(s->import->arena, "%s%s%.60s = %s", names, first ? ", " : "", item->string,
                                 hmoec_json_value_string(s->import->arena, item));
    first = first ? first : item->string;
  }
  if (first) hmoec_warning(s->import->diagnostics, at_key(s, first), "generation does not know, and will not do: %s", names);
}

static bool same_tokens(const hmoec_setting_value *a, const hmoec_setting_value *b) {
  return a->count == b->count && memcmp(a->integers, b->integers, a->count * sizeof *a->integers) == 0;
}

/* Ids that config.json states and that do not hold. */
static bool warn_differences(const source *s, const source *config) {
  static const key_row rows[] = {{"eos_token_id", HMOE_SETTING_END_TOKEN, 0},
                                 {"pad_token_id", HMOE_SETTING_PAD_TOKEN, 0},
                                 {"decoder_start_token_id", HMOE_SETTING_START_TOKEN, 0}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *key = rows[i].key;
    hmoec_setting_value here, there;
    if (!read_tokens(s, key, rows[i].setting, -1, &here) || !read_tokens(config, key, rows[i].setting, -1, &there)) return false;
    if (!there.count || same_tokens(&here, &there)) continue;
    const char *in_config = hmoec_json_value_string(s->import->arena, stated(config, key));
    if (here.count)
      hmoec_warning(s->import->diagnostics, at_key(s, key), "%s = %s; config.json says %s, which does not count", key,
                    hmoec_json_value_string(s->import->arena, stated(s, key)), in_config);
    else
      hmoec_warning(s->import->diagnostics, at_key(s, key), "there is no %s here; config.json says %s, which does not count", key,
                    in_config);
  }
  return true;
}

/* ---- as text ---- */

static void write_list(FILE *out, const hmoec_setting_value *value, bool words) {
  fputs(words ? "[[" : "[", out);
  for (size_t i = 0; i < value->count; i++) {
    bool end = words && value->integers[i] == HMOEC_WORD_END, last = i + 1 == value->count;
    if (end) fputs(last ? "]" : "], [", out);
    else fprintf(out, "%" PRId64 "%s", value->integers[i], last || (words && value->integers[i + 1] == HMOEC_WORD_END) ? "" : ", ");
  }
  fputs("]\n", out);
}

static void write_value(const source *s, uint32_t setting) {
  FILE *out = s->import->out;
  const hmoec_setting_value *value = &s->generation.values[setting];
  hmoec_setting_kind kind = hmoec_setting_kind_of(setting);
  fprintf(out, "  %s = ", hmoec_setting_name(setting));
  if (kind == HMOEC_SETTING_NUMBER) fprintf(out, "%s\n", hmoec_number_text(s->import->arena, value->number));
  else if (kind == HMOEC_SETTING_STOPPING && value->integers[0] == 2) fputs("never\n", out);
  else if (kind == HMOEC_SETTING_FLAG || kind == HMOEC_SETTING_STOPPING)
    fprintf(out, "%s\n", value->integers[0] ? "true" : "false");
  else if (!value->count) fputs("none\n", out);
  else if (value->count == 1) fprintf(out, "%" PRId64 "\n", value->integers[0]);
  else write_list(out, value, kind == HMOEC_SETTING_WORDS);
}

bool hmoec_import_write_generation(const hmoec_import_state *import, const hmoec_import_tokens *absent) {
  hmoec_import_state own = *import;
  own.config = import->generation;
  bool has_own = import->generation.root != NULL;
  source config = {.import = import, .absent = absent}, file = {.import = &own};
  source *s = has_own ? &file : &config;
  if (!read_all(s) || (has_own && !warn_differences(&file, &config))) return false;
  warn_unsupported(s);
  fputs("\ngeneration {\n", import->out);
  for (uint32_t i = 0; i < HMOE_SETTING_COUNT; i++)
    if (s->generation.given[i]) write_value(s, i);
  fputs("}\n", import->out);
  return true;
}
