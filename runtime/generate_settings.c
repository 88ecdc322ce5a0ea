/* What generation is told: by its caller, else by the model, else by the defaults. One row a setting says where the caller's value stands
 * and what values there may be, for both. */
#include "generate_internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef enum setting_kind { TOKEN, TOKENS, WORDS, INTEGER, NUMBER } setting_kind;

typedef struct setting_row {
  const char *name;
  setting_kind kind;
  size_t field; /* of hmoe_generation: hmoe_tokens, int64_t or float */
  int64_t most; /* of an integer */
  float above, at_least, at_most; /* of a number; above -INFINITY: at_least counts */
} setting_row;

#define ROW(NAME, field, ...) [HMOE_SETTING_##NAME] = {#field, __VA_ARGS__}
#define TOKENS_ROW(NAME, field, kind) ROW(NAME, field, kind, offsetof(hmoe_generation, field), 0, 0, 0, 0)
#define INTEGER_ROW(NAME, field, most) ROW(NAME, field, INTEGER, offsetof(hmoe_generation, field), most, 0, 0, 0)
#define NUMBER_ROW(NAME, field, above, at_least, at_most)                                                                          \
  ROW(NAME, field, NUMBER, offsetof(hmoe_generation, field), 0, above, at_least, at_most)

static const setting_row rows[HMOE_SETTING_COUNT] = {
    TOKENS_ROW(START_TOKEN, start_token, TOKEN),
    TOKENS_ROW(PAD_TOKEN, pad_token, TOKEN),
    TOKENS_ROW(FORCED_BOS_TOKEN, forced_bos_token, TOKEN),
    TOKENS_ROW(END_TOKEN, end_token, TOKENS),
    TOKENS_ROW(FORCED_EOS_TOKEN, forced_eos_token, TOKENS),
    TOKENS_ROW(SUPPRESS_TOKENS, suppress_tokens, TOKENS),
    TOKENS_ROW(BEGIN_SUPPRESS_TOKENS, begin_suppress_tokens, TOKENS),
    TOKENS_ROW(BAD_WORDS, bad_words, WORDS),
    INTEGER_ROW(MAX_NEW_TOKENS, max_new_tokens, INT64_MAX),
    INTEGER_ROW(MAX_LENGTH, max_length, INT64_MAX),
    INTEGER_ROW(MIN_NEW_TOKENS, min_new_tokens, INT64_MAX),
    INTEGER_ROW(MIN_LENGTH, min_length, INT64_MAX),
    INTEGER_ROW(BEAMS, beams, INT64_MAX),
    INTEGER_ROW(EARLY_STOPPING, early_stopping, HMOE_STOP_NEVER),
    INTEGER_ROW(NO_REPEAT_NGRAM, no_repeat_ngram, INT64_MAX),
    INTEGER_ROW(SAMPLE, sample, 1),
    INTEGER_ROW(TOP_K, top_k, INT64_MAX),
    NUMBER_ROW(LENGTH_PENALTY, length_penalty, -INFINITY, -FLT_MAX, FLT_MAX),
    NUMBER_ROW(REPETITION_PENALTY, repetition_penalty, 0, 0, FLT_MAX),
    NUMBER_ROW(TEMPERATURE, temperature, 0, 0, FLT_MAX),
    NUMBER_ROW(TOP_P, top_p, 0, 0, 1),
    NUMBER_ROW(MIN_P, min_p, -INFINITY, 0, 1),
};

/* ---- what values there may be ---- */

static bool number_valid(const setting_row *row, float number) {
  return number > row->above && number >= row->at_least && number <= row->at_most;
}

static float number_of(int64_t bits) {
  double number;
  memcpy(&number, &bits, sizeof number);
  return (float)number;
}

static bool word_valid(const int64_t *values, uint32_t count, uint32_t i) {
  return values[i] != HMOE_WORD_END ? i + 1 < count : i > 0 && values[i - 1] != HMOE_WORD_END;
}

const char *hmoe_setting_name(uint32_t setting) { return rows[setting].name; }

bool hmoe_setting_valid(uint32_t setting, const int64_t *values, uint32_t count) {
  const setting_row *row = &rows[setting];
  switch (row->kind) {
  case INTEGER: return count == 1 && values[0] >= 0 && values[0] <= row->most;
  case NUMBER: return count == 1 && number_valid(row, number_of(values[0]));
  case TOKEN:
  case TOKENS:
  case WORDS: break;
  }
  for (uint32_t i = 0; i < count; i++) {
    bool end = row->kind == WORDS && values[i] == HMOE_WORD_END;
    if ((!end && (values[i] < 0 || values[i] > INT32_MAX)) || (row->kind == WORDS && !word_valid(values, count, i))) return false;
  }
  return row->kind != TOKEN || count <= 1;
}

/* ---- who says what ---- */

typedef enum speaker { NOBODY, MODEL, CALLER } speaker;

typedef struct said {
  speaker by;
  int64_t integer; /* 0: none */
  float number;
  hmoe_tokens tokens;
} said;

static hmoe_status refuse_number(const setting_row *row, float found) {
  const char *bound = row->above >= 0 ? "more than 0" : row->at_most <= 1 ? "HMOE_OFF, or at least 0" : "a number";
  return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.%s: expected %s%s, found %g", row->name, bound,
                   row->at_most <= 1 ? " and at most 1" : "", (double)found);
}

static hmoe_status read_number(const setting_row *row, float given, said *out_said) {
  bool no_penalty = row == &rows[HMOE_SETTING_LENGTH_PENALTY] && given == HMOE_NO_LENGTH_PENALTY;
  bool no_min_p = row == &rows[HMOE_SETTING_MIN_P] && given == HMOE_OFF;
  float number = no_penalty || no_min_p ? 0 : given;
  if (!number_valid(row, number)) return refuse_number(row, given);
  *out_said = (said){.by = CALLER, .number = number};
  return HMOE_OK;
}

static hmoe_status read_integer(const setting_row *row, int64_t given, said *out_said) {
  *out_said = (said){.by = CALLER, .integer = given == HMOE_OFF ? 0 : given};
  if (given < HMOE_OFF)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.%s: expected at least 0, or HMOE_OFF, found %lld", row->name,
                     (long long)given);
  if (given > row->most)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.%s: expected at most %lld, found %lld", row->name, (long long)row->most,
                     (long long)given);
  return HMOE_OK;
}

static hmoe_status read_tokens(const setting_row *row, hmoe_tokens given, int64_t vocab, said *out_said) {
  *out_said = (said){.by = CALLER, .tokens = given};
  if (row->kind == TOKEN && given.count > 1)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.%s: expected one token at most, found %zu", row->name, given.count);
  for (size_t i = 0; i < given.count; i++) {
    bool end = row->kind == WORDS && given.tokens[i] == HMOE_WORD_END;
    if (!end && (given.tokens[i] < 0 || given.tokens[i] >= vocab))
      return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.%s: expected tokens below %lld, found %lld", row->name, (long long)vocab,
                       (long long)given.tokens[i]);
    if (end && (i == 0 || given.tokens[i - 1] == HMOE_WORD_END))
      return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.%s: a word has no tokens", row->name);
  }
  if (row->kind == WORDS && given.count && given.tokens[given.count - 1] != HMOE_WORD_END)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.%s: expected HMOE_WORD_END behind the last word", row->name);
  return HMOE_OK;
}

static said of_model(const hmoe_plan *plan, uint32_t setting) {
  const hmoe_plan_setting *settings = HMOE_PLAN_ARRAY(plan, plan->generation, hmoe_plan_setting);
  for (uint32_t i = 0; i < plan->generation.count; i++) {
    if (settings[i].setting != setting) continue;
    const int64_t *values = HMOE_PLAN_ARRAY(plan, settings[i].values, int64_t);
    switch (rows[setting].kind) {
    case INTEGER: return (said){.by = MODEL, .integer = values[0]};
    case NUMBER: return (said){.by = MODEL, .number = number_of(values[0])};
    case TOKEN:
    case TOKENS:
    case WORDS: return (said){.by = MODEL, .tokens = {values, settings[i].values.count}};
    }
  }
  return (said){.by = NOBODY};
}

static hmoe_status read_setting(const hmoe_generation *options, const hmoe_plan *plan, uint32_t setting, int64_t vocab,
                                said *out_said) {
  const setting_row *row = &rows[setting];
  const uint8_t *field = (const uint8_t *)options + row->field;
  if (row->kind == INTEGER) {
    int64_t given;
    memcpy(&given, field, sizeof given);
    if (given) return read_integer(row, given, out_said);
  } else if (row->kind == NUMBER) {
    float given;
    memcpy(&given, field, sizeof given);
    if (!(given >= 0 && given <= 0)) return read_number(row, given, out_said);
  } else {
    hmoe_tokens given;
    memcpy(&given, field, sizeof given);
    if (given.tokens) return read_tokens(row, given, vocab, out_said);
    if (given.count) return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.%s: %zu tokens at NULL", row->name, given.count);
  }
  *out_said = of_model(plan, setting);
  return HMOE_OK;
}

/* ---- what follows ---- */

static float number_or(const said *all, uint32_t setting, float otherwise) {
  return all[setting].by == NOBODY ? otherwise : all[setting].number;
}

/* One that the model says and can never give is none. */
static int64_t token_or_none(const said *all, uint32_t setting, int64_t vocab) {
  hmoe_tokens tokens = all[setting].tokens;
  return tokens.count && tokens.tokens[0] < vocab ? tokens.tokens[0] : HMOE_NO_TOKEN;
}

/* Which of two settings holds: the caller's goes before the model's, `first` before `second`. HMOE_SETTING_COUNT: neither is said. */
static uint32_t which_holds(const said *all, uint32_t first, uint32_t second) {
  if (all[second].by > all[first].by) return second;
  return all[first].by == NOBODY ? HMOE_SETTING_COUNT : first;
}

static hmoe_status resolve_lengths(const said *all, hmoe_search *search) {
  int64_t start = search->start_length;
  uint32_t most = which_holds(all, HMOE_SETTING_MAX_NEW_TOKENS, HMOE_SETTING_MAX_LENGTH);
  uint32_t least = which_holds(all, HMOE_SETTING_MIN_NEW_TOKENS, HMOE_SETTING_MIN_LENGTH);
  if (most == HMOE_SETTING_COUNT)
    return hmoe_fail(HMOE_INVALID_ARGUMENT,
                     "generation.max_new_tokens: expected how many tokens to generate at most; the model does not say");
  search->max_new_tokens = all[most].integer;
  if (most == HMOE_SETTING_MAX_LENGTH && all[most].integer) {
    if (all[most].integer <= start && search->rows)
      return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.max_length: %s%lld leaves no token to generate: the row begins with %lld",
                       all[most].by == MODEL ? "the model's " : "", (long long)all[most].integer, (long long)start);
    search->max_new_tokens = all[most].integer > start ? all[most].integer - start : 0;
  }
  if (least == HMOE_SETTING_COUNT) return HMOE_OK;
  uint64_t length = (uint64_t)all[least].integer;
  if (least == HMOE_SETTING_MIN_NEW_TOKENS && length) length = hmoe_add(length, (uint64_t)start);
  search->rules.least_length = (int64_t)hmoe_min(length, INT64_MAX);
  uint64_t longest = hmoe_add((uint64_t)start, (uint64_t)search->max_new_tokens);
  if (all[least].by == CALLER && length > longest)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "generation.%s: %lld is more than there may be: %lld new tokens, a length of %llu",
                     rows[least].name, (long long)all[least].integer, (long long)search->max_new_tokens,
                     (unsigned long long)longest);
  return HMOE_OK;
}

/* The first of several settings that the caller gives; HMOE_SETTING_COUNT: none. */
static uint32_t given_of(const said *all, const uint32_t *settings, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (all[settings[i]].by == CALLER) return settings[i];
  return HMOE_SETTING_COUNT;
}

/* Beams, sampling, or neither. */
static hmoe_status resolve_mode(const said *all, hmoe_search *search) {
  static const uint32_t for_samples[] = {HMOE_SETTING_TEMPERATURE, HMOE_SETTING_TOP_K, HMOE_SETTING_TOP_P, HMOE_SETTING_MIN_P};
  static const uint32_t for_beams[] = {HMOE_SETTING_LENGTH_PENALTY, HMOE_SETTING_EARLY_STOPPING};
  const said *beams = &all[HMOE_SETTING_BEAMS], *sample = &all[HMOE_SETTING_SAMPLE];
  uint32_t of_sampling = given_of(all, for_samples, 4), of_beams = given_of(all, for_beams, 2);
  bool asks_beams = beams->by == CALLER && beams->integer > 1;
  bool asks_sample = of_sampling != HMOE_SETTING_COUNT || (sample->by == CALLER && sample->integer);
  hmoe_status bad = HMOE_INVALID_ARGUMENT;
  if (of_sampling != HMOE_SETTING_COUNT && sample->by == CALLER && !sample->integer)
    return hmoe_fail(bad, "generation.%s: it is for sampling, and generation.sample says that there is none",
                     rows[of_sampling].name);
  if (asks_beams && asks_sample)
    return hmoe_fail(bad, "generation: beams and %s%s do not go together",
                     of_sampling == HMOE_SETTING_COUNT ? "sample" : rows[of_sampling].name,
                     of_sampling == HMOE_SETTING_COUNT ? "" : ", which is for sampling,");
  search->beams = asks_sample || beams->integer < 1 ? 1 : beams->integer;
  search->sample = asks_sample || (sample->integer && search->beams == 1);
  if (of_beams != HMOE_SETTING_COUNT && search->beams == 1)
    return hmoe_fail(bad, "generation.%s: it is for beams, and there are none", rows[of_beams].name);
  return HMOE_OK;
}

hmoe_status hmoe_settings_resolve(const hmoe_generation *options, const hmoe_plan *plan, int64_t vocab, hmoe_search *search,
                                  int64_t *out_start) {
  said all[HMOE_SETTING_COUNT];
  for (uint32_t i = 0; i < HMOE_SETTING_COUNT; i++) HMOE_TRY(read_setting(options, plan, i, vocab, &all[i]));
  search->rules = (hmoe_rules){
      .repetition_penalty = number_or(all, HMOE_SETTING_REPETITION_PENALTY, 1),
      .no_repeat_ngram = all[HMOE_SETTING_NO_REPEAT_NGRAM].integer,
      .bad_words = all[HMOE_SETTING_BAD_WORDS].tokens,
      .end_token = all[HMOE_SETTING_END_TOKEN].tokens,
      .forced_bos_token = token_or_none(all, HMOE_SETTING_FORCED_BOS_TOKEN, vocab),
      .forced_eos_token = all[HMOE_SETTING_FORCED_EOS_TOKEN].tokens,
      .suppress_tokens = all[HMOE_SETTING_SUPPRESS_TOKENS].tokens,
      .begin_suppress_tokens = all[HMOE_SETTING_BEGIN_SUPPRESS_TOKENS].tokens,
  };
  search->early_stopping = all[HMOE_SETTING_EARLY_STOPPING].integer;
  search->length_penalty = (double)number_or(all, HMOE_SETTING_LENGTH_PENALTY, 1);
  search->temperature = number_or(all, HMOE_SETTING_TEMPERATURE, 1);
  search->top_k = all[HMOE_SETTING_TOP_K].integer;
  search->top_p = number_or(all, HMOE_SETTING_TOP_P, 1);
  search->min_p = number_or(all, HMOE_SETTING_MIN_P, 0);
  search->seed = options->seed;
  *out_start = token_or_none(all, HMOE_SETTING_START_TOKEN, vocab);
  int64_t pad = token_or_none(all, HMOE_SETTING_PAD_TOKEN, vocab);
  if (pad == HMOE_NO_TOKEN) pad = token_or_none(all, HMOE_SETTING_END_TOKEN, vocab);
  search->pad_token = pad == HMOE_NO_TOKEN ? 0 : pad;
  HMOE_TRY(resolve_mode(all, search));
  return resolve_lengths(all, search);
}
