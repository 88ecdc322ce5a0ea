/* Rules on logits: each by numbers worked out by hand, all together against the same rules written plainly, and in greedy and beam search. */
#include "generate_fixture.h"

enum { VOCAB = 8 };

static hmoe_rules no_rules(void) {
  return (hmoe_rules){.repetition_penalty = 1, .forced_bos_token = HMOE_NO_TOKEN, .start_length = 2, .most_length = 9};
}

/* Applies rules to 0.5, -1, 1.5, -2, 2.5, -3, 3.5, -4 and expects these. */
static void check(const hmoe_rules *rules, const int64_t *row, int64_t length, bool any, const float *expected) {
  float logits[VOCAB], scratch[16];
  for (int i = 0; i < VOCAB; i++) logits[i] = i % 2 ? -(float)(i + 1) / 2 : (float)(i + 1) / 2;
  assert_int_equal(hmoe_rules_apply(rules, logits, VOCAB, row, length, scratch), any);
  for (int i = 0; i < VOCAB; i++)
    if (!(logits[i] >= expected[i] && logits[i] <= expected[i]))
      fail_msg("logit %d: expected %g, found %g", i, (double)expected[i], (double)logits[i]);
}

#define LOGITS(...) ((const float[VOCAB]){__VA_ARGS__})
#define ROW(...) (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)
#define X -INFINITY

static void test_each(void **state) {
  (void)state;
  hmoe_rules r = no_rules();
  check(&r, ROW(1, 2), false, LOGITS(0.5f, -1, 1.5f, -2, 2.5f, -3, 3.5f, -4));

  r.repetition_penalty = 2; /* once a token; a prompt may have tokens that are no logits */
  check(&r, ROW(2, 3, 2, 100, -5), true, LOGITS(0.5f, -1, 0.75f, -4, 2.5f, -3, 3.5f, -4));
  r.repetition_penalty = 0.5f;
  check(&r, ROW(0, 1), true, LOGITS(1, -0.5f, 1.5f, -2, 2.5f, -3, 3.5f, -4));

  r = no_rules();
  r.no_repeat_ngram = 2;
  check(&r, ROW(1, 2, 1, 4, 1), true, LOGITS(0.5f, -1, X, -2, X, -3, 3.5f, -4));
  r.no_repeat_ngram = 1;
  check(&r, ROW(6, 0), true, LOGITS(X, -1, 1.5f, -2, 2.5f, -3, X, -4));

  r = no_rules(); /* 5 always; 3 behind 1, 2; 6 behind 4; 7 is an end token and so no word; 1 behind three that are not there */
  r.end_token = HMOE_TOKENS(7);
  r.bad_words = HMOE_TOKENS(5, -1, 1, 2, 3, -1, 4, 6, -1, 7, -1, 0, 1, 2, 1, -1, 200, -1);
  check(&r, ROW(1, 2), true, LOGITS(0.5f, -1, 1.5f, X, 2.5f, X, 3.5f, -4));
  check(&r, ROW(2), true, LOGITS(0.5f, -1, 1.5f, -2, 2.5f, X, 3.5f, -4));
  check(&r, ROW(1, 4), true, LOGITS(0.5f, -1, 1.5f, -2, 2.5f, X, X, -4));

  r = no_rules();
  r.end_token = HMOE_TOKENS(4, 6, 99);
  r.least_length = 4;
  check(&r, ROW(1, 1, 1), true, LOGITS(0.5f, -1, 1.5f, -2, X, -3, X, -4));
  check(&r, ROW(1, 1, 1, 1), false, LOGITS(0.5f, -1, 1.5f, -2, 2.5f, -3, 3.5f, -4));

  r = no_rules();
  r.forced_bos_token = 3;
  check(&r, ROW(1), true, LOGITS(X, X, X, 0, X, X, X, X));
  check(&r, ROW(1, 2), false, LOGITS(0.5f, -1, 1.5f, -2, 2.5f, -3, 3.5f, -4));

  r = no_rules();
  r.forced_eos_token = HMOE_TOKENS(2, 5);
  check(&r, ROW(1, 1, 1, 1, 1, 1, 1, 1), true, LOGITS(X, X, 0, X, X, 0, X, X)); /* one below most_length */
  check(&r, ROW(1, 1, 1, 1, 1, 1, 1), false, LOGITS(0.5f, -1, 1.5f, -2, 2.5f, -3, 3.5f, -4));

  r = no_rules();
  r.suppress_tokens = HMOE_TOKENS(0, 7, 8);
  check(&r, ROW(1, 2, 3), true, LOGITS(X, -1, 1.5f, -2, 2.5f, -3, 3.5f, X));

  r = no_rules();
  r.begin_suppress_tokens = HMOE_TOKENS(6);
  check(&r, ROW(1, 2), true, LOGITS(0.5f, -1, 1.5f, -2, 2.5f, -3, X, -4));
  check(&r, ROW(1, 2, 3), false, LOGITS(0.5f, -1, 1.5f, -2, 2.5f, -3, 3.5f, -4));
  r.forced_bos_token = 1; /* matters for rows that begin with one token */
  check(&r, ROW(1, 2), true, LOGITS(0.5f, -1, 1.5f, -2, 2.5f, -3, X, -4));
  r.start_length = 1;
  check(&r, ROW(1), true, LOGITS(X, 0, X, X, X, X, X, X));
  check(&r, ROW(1, 2), true, LOGITS(0.5f, -1, 1.5f, -2, 2.5f, -3, X, -4));
}

/* What a later rule says goes before an earlier one. */
static void test_order(void **state) {
  (void)state;
  hmoe_rules r = no_rules();
  r.repetition_penalty = 2;
  r.end_token = HMOE_TOKENS(2);
  r.least_length = 9;
  r.forced_eos_token = HMOE_TOKENS(2, 4); /* forced although it comes too early */
  r.suppress_tokens = HMOE_TOKENS(4); /* suppressed although it is forced */
  check(&r, ROW(2, 2, 2, 2, 2, 2, 2, 2), true, LOGITS(X, X, 0, X, X, X, X, X));
  r.start_length = 1;
  r.most_length = 2;
  r.forced_bos_token = 6; /* the first is the last */
  check(&r, ROW(2), true, LOGITS(X, X, 0, X, X, X, X, X));
}

/* ---- the rules together, in searches ---- */

enum { PAD = 0, START = 2, WIDTH = 12, PLAIN_VOCAB = 11, BEAMS = 3 };

static bool among(hmoe_tokens tokens, int64_t token) {
  for (size_t i = 0; i < tokens.count; i++)
    if (tokens.tokens[i] == token) return true;
  return false;
}

/* One token's score by all rules, read off their descriptions. */
static float plain_score(const hmoe_rules *r, const float *scores, int64_t token, const int64_t *row, int64_t length,
                         int64_t most) {
  float score = scores[token];
  bool banned = among(r->suppress_tokens, token), in_row = false;
  for (int64_t i = 0; i < length; i++) in_row |= row[i] == token;
  if (in_row) score = score < 0 ? score * r->repetition_penalty : score / r->repetition_penalty;
  int64_t n = r->no_repeat_ngram;
  for (int64_t i = 0; n && i + n <= length; i++) {
    bool same = row[i + n - 1] == token;
    for (int64_t j = 0; j < n - 1; j++) same &= row[i + j] == row[length - n + 1 + j];
    if (same) score = -INFINITY;
  }
  for (size_t begin = 0, end; begin < r->bad_words.count; begin = end + 1) {
    const int64_t *word = r->bad_words.tokens + begin;
    for (end = begin; r->bad_words.tokens[end] >= 0;) end++;
    int64_t before = (int64_t)(end - begin) - 1;
    bool same = before <= length && word[before] == token && (before || !among(r->end_token, token));
    for (int64_t j = 0; j < before && same; j++) same = row[length - before + j] == word[j];
    if (same) score = -INFINITY;
  }
  if (length < r->least_length && among(r->end_token, token)) score = -INFINITY;
  if (length == most - 1 && r->forced_eos_token.count) score = among(r->forced_eos_token, token) ? 0 : -INFINITY;
  if (length == START && among(r->begin_suppress_tokens, token)) banned = true;
  return banned ? -INFINITY : score;
}

static hmoe_rules random_rules(uint64_t *seed, int64_t memory[32]) {
  hmoe_rules r = {.repetition_penalty = 1, .forced_bos_token = HMOE_NO_TOKEN};
  uint32_t which = fixture_random(seed) >> 5;
  for (int i = 0; i < 32; i++) memory[i] = (int64_t)((fixture_random(seed) >> 7) % PLAIN_VOCAB);
  if (which & 1) r.repetition_penalty = which & 2 ? 1.7f : 0.6f;
  if (which & 4) r.no_repeat_ngram = 1 + (which >> 10 & 1) * 2;
  if (which & 8) {
    memory[2] = memory[5] = memory[7] = HMOE_WORD_END;
    r.bad_words = (hmoe_tokens){memory, 8};
  }
  r.end_token = (hmoe_tokens){memory + 8, 1 + (which >> 4 & 1)};
  if (which & 32) r.least_length = START + 1 + (int64_t)(which >> 12 & 3);
  if (which & 64) r.forced_eos_token = (hmoe_tokens){memory + 10, 1 + (which >> 14 & 1)};
  if (which & 128) r.suppress_tokens = (hmoe_tokens){memory + 12, 2};
  if (which & 256) r.begin_suppress_tokens = (hmoe_tokens){memory + 14, 3};
  return r;
}

static int64_t plain_greedy(const oracle *o, const hmoe_rules *r, int64_t *row, int64_t width) {
  float logits[PLAIN_VOCAB];
  int64_t length = START;
  for (bool ended = false; length < width && !ended; length++) {
    int64_t best = 0;
    float best_score = -INFINITY;
    oracle_logits(o, row, length, logits);
    for (int64_t v = 0; v < o->vocab; v++) {
      float score = plain_score(r, logits, v, row, length, width);
      if (score > best_score) best = v;
      best_score = fmaxf(best_score, score);
    }
    row[length] = best;
    ended = among(r->end_token, best);
  }
  return length;
}

typedef struct plain_beam {
  int64_t row[WIDTH];
  int64_t length, end;
  float sum;
  double score;
} plain_beam;

/* The first of the best, by the library's rules: every continuation is made, and taken in falling order. */
static int64_t plain_beams(const oracle *o, const hmoe_search *s, int64_t *row, int64_t width) {
  plain_beam beams[BEAMS], next[BEAMS], finished[BEAMS + 1];
  float scores[BEAMS * PLAIN_VOCAB];
  int64_t count = 0;
  bool done = false;
  for (int i = 0; i < BEAMS; i++) {
    beams[i] = (plain_beam){.sum = i ? -1e9f : 0};
    memcpy(beams[i].row, row, START * sizeof *row);
  }
  for (int64_t length = START; length <= width && !done; length++) {
    int64_t going = 0;
    float first = 0;
    for (int i = 0; i < BEAMS && length < width; i++) {
      float logits[PLAIN_VOCAB], largest = -INFINITY;
      double total = 0;
      oracle_logits(o, beams[i].row, length, logits);
      for (int64_t v = 0; v < o->vocab; v++) largest = fmaxf(largest, logits[v]);
      for (int64_t v = 0; v < o->vocab; v++) total += exp((double)logits[v] - (double)largest);
      for (int64_t v = 0; v < o->vocab; v++) logits[v] = logits[v] - largest - (float)log(total);
      for (int64_t v = 0; v < o->vocab; v++)
        scores[i * o->vocab + v] = plain_score(&s->rules, logits, v, beams[i].row, length, width) + beams[i].sum;
    }
    bool taken[BEAMS * PLAIN_VOCAB] = {false};
    for (int rank = 0; going < BEAMS; rank++) {
      int64_t best = -1;
      if (length == width) { /* cut off: what is open counts */
        if (rank == BEAMS) break;
        plain_beam cut = beams[rank];
        cut.length = length;
        cut.end = -1;
        cut.score = (double)cut.sum / pow((double)length, s->length_penalty);
        finished[count++] = cut;
      } else {
        for (int64_t i = 0; i < BEAMS * o->vocab; i++)
          if (!taken[i] && (best < 0 || scores[i] > scores[best])) best = i;
        taken[best] = true;
        if (rank == 0) first = scores[best];
        plain_beam made = beams[best / o->vocab];
        made.sum = scores[best];
        made.length = length;
        made.end = best % o->vocab;
        made.score = (double)made.sum / pow((double)length, s->length_penalty);
        if (!among(s->rules.end_token, made.end)) {
          made.row[length] = made.end;
          next[going++] = made;
          continue;
        }
        if (rank >= BEAMS) continue;
        finished[count++] = made;
      }
      if (count <= BEAMS) continue;
      int64_t worst = 0; /* one too many: the worst goes, of equal ones the last */
      for (int64_t i = 1; i < count; i++)
        if (finished[i].score < finished[worst].score) worst = i;
      if (finished[count - 1].score <= finished[worst].score) worst = count - 1;
      for (int64_t i = worst; i + 1 < count; i++) finished[i] = finished[i + 1];
      count--;
    }
    memcpy(beams, next, sizeof beams);
    double worst = INFINITY;
    for (int64_t i = 0; i < count; i++) worst = fmin(worst, finished[i].score);
    int64_t divisor = s->early_stopping == HMOE_STOP_NEVER && s->length_penalty > 0 ? width : length + 1;
    done = count == BEAMS &&
           (s->early_stopping == HMOE_STOP_EARLY || worst >= (double)first / pow((double)divisor, s->length_penalty));
  }
  int64_t best = 0;
  for (int64_t i = 1; i < count; i++)
    if (finished[i].score >= finished[best].score) best = i;
  int64_t length = finished[best].length;
  memcpy(row, finished[best].row, (size_t)length * sizeof *row);
  if (finished[best].end >= 0) row[length++] = finished[best].end;
  return length;
}

static void test_searches(void **state) {
  (void)state;
  static const double penalties[] = {1.0, 0.0, 2.0, -1.0};
  int ended = 0, differ = 0, picks = 0, mixed = 0;
  int64_t last[3][WIDTH] = {{0}};
  for (uint64_t number = 0; number < 3000; number++) {
    uint64_t seed = number * 77 + 5;
    int64_t memory[32], tokens[WIDTH], expected[WIDTH], length, width = START + 2 + (int64_t)(number % (WIDTH - START - 1));
    hmoe_allocator allocator = hmoe_allocator_default();
    hmoe_search search = {.allocator = &allocator,
                          .rows = 1,
                          .start_length = START,
                          .max_new_tokens = width - START,
                          .beams = number % 4 ? BEAMS : 1,
                          .early_stopping = (int64_t)(number % 3),
                          .length_penalty = penalties[number / 3 % 4],
                          .temperature = 1,
                          .top_p = 1,
                          .pad_token = PAD,
                          .rules = random_rules(&seed, memory)};
    table_decoder *d = calloc(1, sizeof *d);
    d->oracle = (oracle){.vocab = PLAIN_VOCAB, .seed = number, .end_token = memory[8], .end_bias = (float)(number % 5) - 1.0f};
    d->can_pick = number % 8 == 0;
    for (int i = 0; i < START; i++) tokens[i] = expected[i] = (int64_t)((fixture_random(&seed) >> 6) % PLAIN_VOCAB);
    hmoe_decoder decoder = table_decoder_of(d);
    assert_ok(hmoe_search_run(&search, &decoder, tokens, &length));
    int64_t plain = search.beams > 1 ? plain_beams(&d->oracle, &search, expected, width)
                                     : plain_greedy(&d->oracle, &search.rules, expected, width);
    if (length != plain || memcmp(tokens, expected, (size_t)plain * sizeof *tokens) != 0) fail_msg("case %d", (int)number);
    ended += length < width;
    picks += d->picks;
    mixed += d->picks > 0 && d->picks < d->steps;
    differ += memcmp(last[number % 3], tokens, sizeof *last) != 0;
    free(d);
  }
  assert_true(ended > 500 && differ > 2000);
  print_message("%d steps without logits, %d rows with and without\n", picks, mixed);
  assert_true(picks > 20 && mixed > 5); /* rules speak at some lengths only */
}

/* Every token ends a row: nothing goes on. */
static void test_all_end(void **state) {
  (void)state;
  static const int64_t all[] = {0, 1, 2, 1};
  int64_t tokens[2 * 6], length;
  hmoe_allocator allocator = hmoe_allocator_default();
  for (int64_t beams = 1; beams <= 4; beams += 3) {
    table_decoder *d = calloc(1, sizeof *d);
    d->oracle = (oracle){.vocab = 3, .end_token = -1};
    for (int i = 0; i < 12; i++) tokens[i] = 1;
    hmoe_search search = {.allocator = &allocator,
                          .rows = 2,
                          .start_length = 2,
                          .max_new_tokens = 4,
                          .beams = beams,
                          .length_penalty = 1,
                          .temperature = 1,
                          .top_p = 1,
                          .rules = no_rules()};
    search.rules.end_token = (hmoe_tokens){all, 4};
    hmoe_decoder decoder = table_decoder_of(d);
    assert_ok(hmoe_search_run(&search, &decoder, tokens, &length));
    assert_int_equal(length, 3);
    assert_int_equal(d->steps, 1);
    free(d);
  }
}

/* min_p leaves what is likely enough; by a draw of each unit. */
static void test_min_p(void **state) {
  (void)state;
  float logits[4], scratch[64];
  bool seen[4] = {false};
  hmoe_search search = {.temperature = 1, .top_p = 1, .min_p = 0.3f}; /* weights 1, 0.37, 0.22, 0.14 */
  for (int i = 0; i < 100; i++) {
    memcpy(logits, (const float[]){3, 2, 1.5f, 1}, sizeof logits);
    seen[hmoe_logits_sample(logits, 4, 3, &search, i / 100.0, scratch)] = true;
  }
  assert_true(seen[0] && seen[1] && !seen[2] && !seen[3]);
}

/* How many logits rules lower is said before a row is known, and is never too few; -1 where some are raised, or all are banned but some. */
static void test_lowered(void **state) {
  (void)state;
  enum { LENGTH = 6 };
  int none = 0, exact = 0, raised = 0;
  for (uint64_t seed = 1; seed < 3000; seed++) {
    uint64_t random = seed;
    int64_t memory[32], row[LENGTH];
    hmoe_rules r = random_rules(&random, memory);
    r.start_length = 1 + (int64_t)(seed % 3);
    r.most_length = 1 + (int64_t)(seed % 8);
    int64_t length = 1 + (fixture_random(&random) >> 9) % LENGTH, changed = 0;
    float logits[VOCAB], before[VOCAB], scratch[LENGTH];
    for (int64_t i = 0; i < LENGTH; i++) row[i] = (fixture_random(&random) >> 9) % VOCAB;
    for (int i = 0; i < VOCAB; i++) before[i] = logits[i] = (float)(int)(fixture_random(&random) >> 9) * 1e-3f - 500;
    bool any = hmoe_rules_apply(&r, logits, VOCAB, row, length, scratch), is_raised = false;
    for (int i = 0; i < VOCAB; i++) {
      changed += logits[i] != before[i];
      is_raised |= logits[i] > before[i];
    }
    int64_t lowered = hmoe_rules_lowered(&r, length);
    if (is_raised) assert_int_equal(lowered, -1);
    if (lowered >= 0) assert_true(changed <= lowered);
    if (!any) assert_int_equal(lowered, 0);
    if (lowered < 0)
      assert_true(r.repetition_penalty < 1 || (r.forced_bos_token != HMOE_NO_TOKEN && length == 1) || length == r.most_length - 1);
    none += lowered == 0;
    raised += lowered < 0;
    exact += lowered > 0 && lowered == changed;
  }
  assert_true(none > 20 && raised > 20 && exact > 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each),    cmocka_unit_test(test_order),   cmocka_unit_test(test_searches),
      cmocka_unit_test(test_all_end), cmocka_unit_test(test_lowered), cmocka_unit_test(test_min_p),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
