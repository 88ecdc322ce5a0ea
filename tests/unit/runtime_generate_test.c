/* The search for tokens, with decoders that are tables: greedy, sampling, beams against the same rules written plainly, bans, ends.
 * */
#include "generate_fixture.h"

enum { PAD = 0, END = 1 };

/* Prompts of random tokens other than pad and end; what follows them is garbage. */
static void fill_prompts(int64_t *tokens, int64_t rows, int64_t start, int64_t width, int64_t vocab, uint64_t seed) {
  for (int64_t i = 0; i < rows * width; i++) tokens[i] = -77;
  for (int64_t row = 0; row < rows; row++)
    for (int64_t i = 0; i < start; i++) tokens[row * width + i] = 2 + fixture_random(&seed) % (uint32_t)(vocab - 2);
}

static const int64_t end_token = END;

static hmoe_rules make_rules(void) {
  return (hmoe_rules){.repetition_penalty = 1, .forced_bos_token = HMOE_NO_TOKEN, .end_token = {&end_token, 1}};
}

static hmoe_search make_search(const hmoe_allocator *allocator, int64_t rows, int64_t start, int64_t max_new_tokens) {
  return (hmoe_search){.allocator = allocator,
                       .rows = rows,
                       .start_length = start,
                       .max_new_tokens = max_new_tokens,
                       .beams = 1,
                       .length_penalty = 1,
                       .temperature = 1,
                       .top_p = 1,
                       .pad_token = PAD,
                       .rules = make_rules()};
}

static table_decoder *decoder_create(int64_t vocab, uint64_t seed, float end_bias) {
  table_decoder *d = calloc(1, sizeof *d);
  d->oracle = (oracle){.vocab = vocab, .seed = seed, .end_bias = end_bias, .end_token = END};
  return d;
}

/* Runs on memory that is counted. */
static hmoe_status run(hmoe_search search, table_decoder *d, int64_t *tokens, int64_t *out_length) {
  counting c = {0};
  hmoe_allocator allocator = counting_allocator(&c);
  search.allocator = &allocator;
  hmoe_decoder decoder = table_decoder_of(d);
  hmoe_status status = hmoe_search_run(&search, &decoder, tokens, out_length);
  assert_int_equal(c.live, 0);
  assert_int_equal(c.bytes, 0);
  return status;
}

/* ---- greedy ---- */

static bool repeats_ngram(const int64_t *row, int64_t length, int64_t token, int64_t ngram) {
  for (int64_t i = 0; i + ngram <= length; i++) {
    bool same = row[i + ngram - 1] == token;
    for (int64_t j = 0; j + 1 < ngram && same; j++) same = row[i + j] == row[length - ngram + 1 + j];
    if (same) return true;
  }
  return false;
}

/* One row, token by token. Returns the columns that are filled in. */
static int64_t expect_greedy(const oracle *o, int64_t *row, int64_t start, int64_t width, int64_t ngram) {
  float logits[256];
  int64_t length = start;
  for (bool ended = false; length < width && !ended; length++) {
    oracle_logits(o, row, length, logits);
    int64_t best = -1;
    for (int64_t i = 0; i < o->vocab; i++)
      if (!(ngram && repeats_ngram(row, length, i, ngram)) && (best < 0 || logits[i] > logits[best])) best = i;
    row[length] = best < 0 ? 0 : best;
    ended = row[length] == END;
  }
  for (int64_t i = length; i < width; i++) row[i] = PAD;
  return length;
}

static void test_greedy(void **state) {
  (void)state;
  int64_t tokens[8 * 40], expected[8 * 40];
  int early = 0;
  for (uint64_t seed = 0; seed < 300; seed++) {
    int64_t vocab = 3 + (int64_t)(seed * 7 % 90), rows = 1 + (int64_t)(seed % 5), start = 1 + (int64_t)(seed % 4);
    int64_t max_new_tokens = 1 + (int64_t)(seed % 19), width = start + max_new_tokens, longest = 0, length;
    table_decoder *d = decoder_create(vocab, seed, 1.5f);
    d->oracle.levels = seed % 3 ? 0 : 4; /* ties */
    d->can_pick = seed % 4 < 2;
    hmoe_search search = make_search(NULL, rows, start, max_new_tokens);
    search.rules.no_repeat_ngram = seed % 2 ? 0 : 1 + (int64_t)(seed / 2 % 4);
    fill_prompts(tokens, rows, start, width, vocab, seed);
    memcpy(expected, tokens, sizeof tokens);
    for (int64_t row = 0; row < rows; row++) {
      int64_t one = expect_greedy(&d->oracle, expected + row * width, start, width, search.rules.no_repeat_ngram);
      longest = one > longest ? one : longest;
    }
    assert_ok(run(search, d, tokens, &length));
    assert_int_equal(length, longest);
    assert_memory_equal(tokens, expected, (size_t)(rows * width) * sizeof *tokens);
    assert_int_equal(d->capacity, width - 1);
    int64_t short_rows = search.rules.no_repeat_ngram - start, picks = d->steps; /* which have no n-gram yet */
    if (search.rules.no_repeat_ngram && short_rows < picks) picks = short_rows > 0 ? short_rows : 0;
    assert_int_equal(d->picks, d->can_pick ? picks : 0);
    assert_int_equal(d->steps, longest - start); /* the last token is not run, and nothing is after all have ended */
    assert_int_equal(d->reorders, 0);
    early += longest < width;
    free(d);
  }
  assert_true(early > 30);
}

static void test_nothing_to_generate(void **state) {
  (void)state;
  int64_t tokens[2 * 9], length = -1;
  table_decoder *d = decoder_create(10, 1, 0);
  fill_prompts(tokens, 2, 3, 3, 10, 1);
  int64_t copy[2 * 9];
  memcpy(copy, tokens, sizeof tokens);
  assert_ok(run(make_search(NULL, 2, 3, 0), d, tokens, &length));
  assert_int_equal(length, 3);
  assert_memory_equal(tokens, copy, sizeof tokens);
  assert_ok(run(make_search(NULL, 0, 3, 6), d, NULL, &length));
  assert_int_equal(length, 3);
  assert_int_equal(d->calls, 0);
  free(d);
}

/* Without an end token rows are never finished. */
static void test_no_end_token(void **state) {
  (void)state;
  int64_t tokens[30], length;
  for (int64_t beams = 1; beams <= 2; beams++) {
    table_decoder *d = decoder_create(5, 1, 50.0f);
    hmoe_search search = make_search(NULL, 1, 1, 20);
    search.rules.end_token = (hmoe_tokens){0};
    search.beams = beams;
    fill_prompts(tokens, 1, 1, 21, 5, 1);
    assert_ok(run(search, d, tokens, &length));
    assert_int_equal(length, 21);
    for (int i = 1; i < 21; i++) assert_int_equal(tokens[i], END);
    free(d);
  }
}

/* ---- callbacks ---- */

typedef struct listener {
  const int64_t *rows_of; /* the result, when it is known */
  int64_t seen[ORACLE_WIDTH][8];
  int64_t rows, calls, stop_after;
} listener;

static int listen(void *context, int64_t step, const int64_t *tokens, int64_t rows) {
  listener *l = context;
  assert_int_equal(step, l->calls++);
  l->rows = rows;
  memcpy(l->seen[step], tokens, (size_t)rows * sizeof *tokens);
  return l->calls == l->stop_after;
}

static void test_callback(void **state) {
  (void)state;
  enum { ROWS = 3, START = 2, NEW = 12, WIDTH = START + NEW };
  for (int mode = 0; mode < 3; mode++)
    for (int64_t stop_after = 0; stop_after < 6; stop_after++) {
      int64_t tokens[ROWS * WIDTH], length;
      table_decoder *d = decoder_create(20, 5, -1.0f);
      listener l = {.stop_after = stop_after};
      hmoe_search search = make_search(NULL, ROWS, START, NEW);
      search.sample = mode == 1;
      search.beams = mode == 2 ? 3 : 1;
      search.on_tokens = listen;
      search.on_tokens_context = &l;
      fill_prompts(tokens, ROWS, START, WIDTH, 20, 5);
      assert_ok(run(search, d, tokens, &length));
      if (stop_after) assert_int_equal(l.calls, stop_after);
      if (mode < 2 || !stop_after) assert_int_equal(length, START + l.calls);
      for (int64_t row = 0; row < ROWS; row++) {
        for (int64_t i = 0; i < l.calls; i++) assert_int_equal(l.seen[i][row], tokens[row * WIDTH + START + i]);
        for (int64_t i = length; i < WIDTH; i++) assert_int_equal(tokens[row * WIDTH + i], PAD);
      }
      free(d);
    }
}

/* ---- numbers that are none ---- */

static void edit_nan(table_decoder *d, float *logits) {
  for (int64_t i = 0; i < d->rows * d->oracle.vocab; i++)
    if (i % d->oracle.vocab != 3) logits[i] = i % 2 ? NAN : -INFINITY;
}

static void edit_all_nan(table_decoder *d, float *logits) {
  for (int64_t i = 0; i < d->oracle.vocab && d->steps == 3; i++)
    logits[(d->rows - 1) * d->oracle.vocab + i] = i % 2 ? NAN : -INFINITY;
}

static void edit_infinite(table_decoder *d, float *logits) {
  for (int64_t row = 0; row < d->rows; row++) logits[row * d->oracle.vocab + 4] = logits[row * d->oracle.vocab + 6] = INFINITY;
}

static table_decoder *nonfinite_decoder(int64_t vocab, bool can_pick, bool can_best, void (*edit)(table_decoder *, float *)) {
  table_decoder *d = decoder_create(vocab, 1, 0);
  d->can_pick = can_pick;
  d->can_best = can_best;
  d->edit = edit;
  return d;
}

static void test_nonfinite(void **state) {
  (void)state;
  enum { GREEDY, PICKED, OF_BEST, SAMPLED, BEAMS, MODES, VOCAB = 41 };
  for (int mode = 0; mode < MODES; mode++) {
    int64_t tokens[2 * 40], length;
    hmoe_search search = make_search(NULL, 2, 1, 6);
    search.sample = mode == SAMPLED;
    search.beams = mode == BEAMS ? 3 : 1;
    search.rules.end_token = (hmoe_tokens){0};
    fill_prompts(tokens, 2, 1, 7, 9, 1);
    table_decoder *d = nonfinite_decoder(VOCAB, mode == PICKED, mode == OF_BEST, edit_nan);
    assert_ok(run(search, d, tokens, &length));
    for (int i = 1; i < 7; i++) assert_int_equal(tokens[i], 3);
    assert_true(d->picks == (mode == PICKED ? d->steps : 0) && d->bests == (mode == OF_BEST ? d->steps : 0));
    free(d);

    d = nonfinite_decoder(VOCAB, mode == PICKED, mode == OF_BEST, edit_all_nan);
    assert_fails(run(search, d, tokens, &length), HMOE_INTERNAL, "step 2: the logits of row 1 are all NaN or -inf");
    free(d);

    d = nonfinite_decoder(VOCAB, mode == PICKED, mode == OF_BEST, edit_infinite);
    assert_ok(run(search, d, tokens, &length));
    for (int i = 1; i < 7; i++) assert_true(tokens[i] == 4 || (tokens[i] == 6 && mode >= SAMPLED));
    free(d);
  }
}

/* ---- failures ---- */

static void test_failures(void **state) {
  (void)state;
  int64_t tokens[2 * 9], length;
  for (int64_t beams = 1; beams <= 3; beams += 2) {
    hmoe_search search = make_search(NULL, 2, 2, 7);
    search.beams = beams;
    int failures = 0;
    for (bool done = false; !done; failures += !done) {
      table_decoder *d = decoder_create(11, 3, 0);
      d->fail_at = failures + 1;
      fill_prompts(tokens, 2, 2, 9, 11, 3);
      hmoe_status status = run(search, d, tokens, &length);
      done = status == HMOE_OK;
      if (!done) assert_fails(status, HMOE_UNSUPPORTED, "fails");
      free(d);
    }
    assert_true(failures > (beams > 1 ? 10 : 7));

    counting c = {.fail_at = 1};
    hmoe_allocator allocator = counting_allocator(&c);
    search.allocator = &allocator;
    table_decoder *d = decoder_create(11, 3, 0);
    hmoe_decoder decoder = table_decoder_of(d);
    assert_fails(hmoe_search_run(&search, &decoder, tokens, &length), HMOE_OUT_OF_MEMORY, "no memory for generating tokens...");
    if (beams > 1) search.max_new_tokens = INT64_MAX / 16; /* of beams all prefixes are kept */
    else search.start_length = INT64_MAX / 16;
    assert_fails(hmoe_search_run(&search, &decoder, tokens, &length), HMOE_OUT_OF_MEMORY, "no memory for generating tokens...");
    assert_int_equal(d->calls, 0);
    free(d);
  }
}

/* ---- beams ----
 *
 * The rules of beam search as Hugging Face transformers 4.30 has them, written plainly: every continuation is made and sorted. */

typedef struct plain_beam {
  int64_t tokens[ORACLE_WIDTH];
  int64_t length;
  float sum;
} plain_beam;

typedef struct plain_candidate {
  float score;
  int64_t beam, token;
} plain_candidate;

typedef struct plain_finished {
  plain_beam beam;
  double score;
  bool ended;
} plain_finished;

static int compare_candidates(const void *a, const void *b) {
  const plain_candidate *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  if (x->beam != y->beam) return x->beam < y->beam ? -1 : 1;
  return x->token < y->token ? -1 : 1;
}

static void plain_add(plain_finished *list, int64_t *count, int64_t beams, const plain_beam *beam, float sum, double penalty,
                      bool ended) {
  plain_finished added = {*beam, (double)sum / pow((double)beam->length, penalty), ended};
  int64_t worst = 0;
  for (int64_t i = 1; i < *count; i++)
    if (list[i].score < list[worst].score) worst = i;
  if (*count == beams) {
    if (added.score <= list[worst].score) return;
    for (int64_t i = worst; i + 1 < *count; i++) list[i] = list[i + 1];
    --*count;
  }
  list[(*count)++] = added;
}

static int64_t expect_beams(const oracle *o, const hmoe_search *s, int64_t *row) {
  enum { BEAMS = 20, VOCAB = 40 };
  static plain_beam beams[BEAMS], next[BEAMS];
  static plain_candidate candidates[BEAMS * VOCAB];
  static plain_finished finished[BEAMS + 1];
  int64_t count = 0;
  bool done = false;
  for (int64_t i = 0; i < s->beams; i++) {
    beams[i] = (plain_beam){.length = s->start_length, .sum = i ? -1e9f : 0};
    memcpy(beams[i].tokens, row, (size_t)s->start_length * sizeof *row);
  }
  for (int64_t step = 0; step < s->max_new_tokens && !done; step++) {
    int64_t length = s->start_length + step;
    for (int64_t i = 0; i < s->beams; i++) {
      float logits[VOCAB];
      oracle_logits(o, beams[i].tokens, length, logits);
      double total = 0;
      float largest = -INFINITY;
      for (int64_t v = 0; v < o->vocab; v++) largest = fmaxf(largest, logits[v]);
      for (int64_t v = 0; v < o->vocab; v++) total += exp((double)logits[v] - (double)largest);
      for (int64_t v = 0; v < o->vocab; v++) {
        bool banned = s->rules.no_repeat_ngram && repeats_ngram(beams[i].tokens, length, v, s->rules.no_repeat_ngram);
        float logarithm = banned ? -INFINITY : logits[v] - largest - (float)log(total);
        candidates[i * o->vocab + v] = (plain_candidate){logarithm + beams[i].sum, i, v};
      }
    }
    qsort(candidates, (size_t)(s->beams * o->vocab), sizeof *candidates, compare_candidates);
    int64_t going = 0;
    for (int64_t rank = 0; rank < 2 * s->beams && going < s->beams; rank++) {
      const plain_candidate *c = &candidates[rank];
      if (c->token == END) {
        if (rank < s->beams) plain_add(finished, &count, s->beams, &beams[c->beam], c->score, s->length_penalty, true);
        continue;
      }
      next[going] = beams[c->beam];
      next[going].tokens[length] = c->token;
      next[going].length = length + 1;
      next[going++].sum = c->score;
    }
    memcpy(beams, next, sizeof beams);
    double worst = INFINITY;
    for (int64_t i = 0; i < count; i++) worst = fmin(worst, finished[i].score);
    done = count == s->beams && worst >= (double)candidates[0].score / pow((double)(length + 1), s->length_penalty);
  }
  for (int64_t i = 0; i < s->beams && !done; i++)
    plain_add(finished, &count, s->beams, &beams[i], beams[i].sum, s->length_penalty, false);
  int64_t best = 0;
  for (int64_t i = 1; i < count; i++)
    if (finished[i].score >= finished[best].score) best = i;
  int64_t length = finished[best].beam.length;
  memcpy(row, finished[best].beam.tokens, (size_t)length * sizeof *row);
  if (finished[best].ended) row[length++] = END;
  for (int64_t i = length; i < s->start_length + s->max_new_tokens; i++) row[i] = s->pad_token;
  return length;
}

static void test_beams(void **state) {
  (void)state;
  static const double penalties[] = {1.0, 0.0, 2.0, -1.0, 0.6};
  int64_t tokens[4 * 40], expected[4 * 40];
  int ended = 0, reordered = 0;
  for (uint64_t seed = 0; seed < 600; seed++) {
    int64_t vocab = 3 + (int64_t)(seed * 5 % 30), rows = 1 + (int64_t)(seed % 4), start = 1 + (int64_t)(seed % 3);
    int64_t max_new_tokens = 1 + (int64_t)(seed % 13), width = start + max_new_tokens, longest = 0, length;
    table_decoder *d = decoder_create(vocab, seed + 1000, (float)(seed % 7) - 2.0f);
    hmoe_search search = make_search(NULL, rows, start, max_new_tokens);
    search.beams = 2 + (int64_t)(seed % 5);
    search.length_penalty = penalties[seed % 5];
    search.rules.no_repeat_ngram = seed % 3 ? 0 : 2 + (int64_t)(seed / 3 % 2);
    fill_prompts(tokens, rows, start, width, vocab, seed);
    memcpy(expected, tokens, sizeof tokens);
    for (int64_t row = 0; row < rows; row++) {
      int64_t one = expect_beams(&d->oracle, &search, expected + row * width);
      longest = one > longest ? one : longest;
    }
    assert_ok(run(search, d, tokens, &length));
    assert_int_equal(length, longest);
    assert_memory_equal(tokens, expected, (size_t)(rows * width) * sizeof *tokens);
    assert_int_equal(d->capacity, width - 1);
    ended += longest < width;
    assert_true(d->reorders < d->steps); /* nothing comes behind the last */
    reordered += d->reorders > 0;
    free(d);
  }
  assert_true(ended > 50 && reordered > 300);
}

/* The best sequence of all there are, by trying them. */
static void try_all(const oracle *o, const hmoe_search *s, int64_t *row, int64_t length, double sum, double *best,
                    int64_t *out_best) {
  float logits[8];
  int64_t width = s->start_length + s->max_new_tokens;
  oracle_logits(o, row, length, logits);
  double total = 0;
  for (int64_t v = 0; v < o->vocab; v++) total += exp((double)logits[v]);
  for (int64_t v = 0; v < o->vocab; v++) {
    double with = sum + (double)logits[v] - log(total), divisor = v == END ? (double)length : (double)(length + 1);
    row[length] = v;
    if (v != END && length + 1 < width) {
      try_all(o, s, row, length + 1, with, best, out_best);
    } else if (with / pow(divisor, s->length_penalty) > *best) {
      *best = with / pow(divisor, s->length_penalty);
      for (int64_t i = 0; i < width; i++) out_best[i] = i <= length ? row[i] : PAD;
    }
  }
}

/* With as many beams as there are prefixes nothing is lost. */
static void test_beams_exhaustive(void **state) {
  (void)state;
  enum { VOCAB = 4, NEW = 3, WIDTH = 2 + NEW };
  for (uint64_t seed = 0; seed < 100; seed++) {
    int64_t tokens[WIDTH], row[WIDTH], best_row[WIDTH], length;
    table_decoder *d = decoder_create(VOCAB, seed, 0.5f);
    hmoe_search search = make_search(NULL, 1, 2, NEW);
    search.beams = 60;
    search.length_penalty = seed % 2 ? 1.0 : 0.0;
    fill_prompts(tokens, 1, 2, WIDTH, VOCAB, seed);
    memcpy(row, tokens, sizeof row);
    double best = -INFINITY;
    try_all(&d->oracle, &search, row, 2, 0, &best, best_row);
    assert_ok(run(search, d, tokens, &length));
    assert_memory_equal(tokens, best_row, sizeof tokens);
    free(d);
  }
}

/* A row's beams do not depend on the rows beside it. */
static void test_beams_across_batches(void **state) {
  (void)state;
  enum { ROWS = 6, WIDTH = 12 };
  int64_t all[ROWS * WIDTH], one[WIDTH], length;
  hmoe_search search = make_search(NULL, ROWS, 2, WIDTH - 2);
  search.beams = 4;
  search.rules.no_repeat_ngram = 3;
  table_decoder *d = decoder_create(25, 7, 1.0f);
  fill_prompts(all, ROWS, 2, WIDTH, 25, 7);
  int64_t prompts[ROWS * WIDTH];
  memcpy(prompts, all, sizeof all);
  assert_ok(run(search, d, all, &length));
  free(d);
  search.rows = 1;
  for (int64_t row = 0; row < ROWS; row++) {
    d = decoder_create(25, 7, 1.0f);
    memcpy(one, prompts + row * WIDTH, sizeof one);
    assert_ok(run(search, d, one, &length));
    assert_memory_equal(one, all + row * WIDTH, sizeof one);
    free(d);
  }
}

/* ---- sampling ---- */

enum { DRAWS = 20000, DRAW_VOCAB = 12 };

static const float draw_logits[DRAW_VOCAB] = {0.3f, -1.0f, 2.0f, 1.0f, -INFINITY, 1.0f, 0.0f, -3.0f, 1.9f, NAN, 0.5f, -0.2f};

/* What stays, in double precision and by sorting; probabilities. */
static void expect_distribution(const hmoe_search *s, double *out_probability) {
  int order[DRAW_VOCAB], kept = DRAW_VOCAB;
  double weights[DRAW_VOCAB], total = 0, cumulated = 0;
  for (int i = 0; i < DRAW_VOCAB; i++) {
    weights[i] = isnan(draw_logits[i]) ? 0 : exp((double)draw_logits[i] / (double)s->temperature);
    int place = i;
    for (; place > 0 && weights[order[place - 1]] < weights[i]; place--) order[place] = order[place - 1];
    order[place] = i;
  }
  if (s->top_k && s->top_k < kept)
    for (kept = (int)s->top_k; kept < DRAW_VOCAB && weights[order[kept]] == weights[order[s->top_k - 1]];) kept++;
  for (int i = 0; i < kept; i++) total += weights[order[i]];
  memset(out_probability, 0, DRAW_VOCAB * sizeof *out_probability);
  double reached = 0;
  for (int i = 0; i < kept && cumulated < (double)s->top_p * total; i++) {
    cumulated += weights[order[i]];
    out_probability[order[i]] = weights[order[i]];
    reached = cumulated;
  }
  for (int i = 0; i < DRAW_VOCAB; i++) out_probability[i] /= reached;
}

static void test_distribution(void **state) {
  (void)state;
  static const struct {
    float temperature;
    int64_t top_k;
    float top_p;
  } cases[] = {{1, 0, 1},        {0.5f, 0, 1},    {2.5f, 0, 1},  {1, 1, 1},      {1, 3, 1},
               {1, 4, 1},        {1, 0, 0.7f},    {1, 0, 0.8f},  {1, 0, 0.01f},  {1, 6, 0.9f},
               {0.7f, 5, 0.75f}, {1, 40, 0.999f}, {0.01f, 0, 1}, {1e-30f, 0, 1}, {1, 0, 0.55f}};
  void *scratch = malloc(hmoe_logits_scratch_bytes(DRAW_VOCAB));
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoe_search search = make_search(NULL, 1, 1, 1);
    search.temperature = cases[i].temperature;
    search.top_k = cases[i].top_k;
    search.top_p = cases[i].top_p;
    double probability[DRAW_VOCAB], square = 0;
    expect_distribution(&search, probability);
    if (cases[i].temperature < 1e-20f)
      for (int v = 0; v < DRAW_VOCAB; v++) probability[v] = v == 2; /* exp overflows in the expectation */
    int drawn[DRAW_VOCAB] = {0}, possible = 0;
    for (int64_t step = 0; step < DRAWS; step++) {
      float logits[DRAW_VOCAB];
      memcpy(logits, draw_logits, sizeof logits);
      float largest = hmoe_logits_clean(logits, DRAW_VOCAB);
      drawn[hmoe_logits_sample(logits, DRAW_VOCAB, largest, &search, hmoe_random_unit(5, 0, step), scratch)]++;
    }
    for (int v = 0; v < DRAW_VOCAB; v++) {
      double expected = (double)DRAWS * probability[v];
      if (expected < 1e-3) {
        assert_int_equal(drawn[v], 0);
        continue;
      }
      possible++;
      square += (drawn[v] - expected) * (drawn[v] - expected) / expected;
    }
    /* Of chi-square with up to 9 degrees of freedom, 99.9 % is below. */
    static const double limits[] = {0.001, 10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32, 26.12, 27.88};
    if (square > limits[possible - 1]) fail_msg("case %zu: chi-square %g with %d possible tokens", i, square, possible);
  }
  free(scratch);
}

/* Large rows, where selection works in blocks, against a sort. */
static int compare_candidates_by_index(const void *a, const void *b) {
  const hmoe_candidate *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return x->index < y->index ? -1 : 1;
}

static void test_selection(void **state) {
  (void)state;
  enum { COUNT = 5000 };
  static hmoe_candidate sorted[COUNT], best[COUNT];
  static float scores[COUNT], logits[COUNT];
  void *scratch = malloc(hmoe_logits_scratch_bytes(COUNT));
  uint64_t random = 9;
  for (int round = 0; round < 60; round++) {
    int64_t count = round % 4 ? 1 + fixture_random(&random) % COUNT : COUNT;
    for (int64_t i = 0; i < count; i++) {
      scores[i] = (float)(fixture_random(&random) % (round % 3 ? 1u << 24 : 5u)) - (round % 2 ? 3.0f : 1e6f);
      if (fixture_random(&random) % 10 == 0 && round % 5 == 0) scores[i] = -INFINITY;
      sorted[i] = (hmoe_candidate){scores[i], i};
    }
    qsort(sorted, (size_t)count, sizeof *sorted, compare_candidates_by_index);
    for (int64_t k = 1; k <= count; k = k * 3 + 1) {
      hmoe_logits_best(scores, count, k, scratch, best);
      for (int64_t i = 0; i < k; i++) {
        assert_int_equal(best[i].index, sorted[i].index);
        assert_true(best[i].score == sorted[i].score);
      }
      /* Sampling from the k largest gives one of them, or an equal one. */
      hmoe_search search = {.temperature = 1e5f, .top_k = k, .top_p = 1};
      memcpy(logits, scores, sizeof logits);
      int64_t token = hmoe_logits_sample(logits, count, sorted[0].score, &search, hmoe_random_unit(1, round, k), scratch);
      assert_true(scores[token] >= sorted[k - 1].score);
    }
    /* The fewest that reach top_p: nothing below them is drawn, even by the last number below 1. */
    for (int i = 1; i <= 9; i += 2) {
      hmoe_search search = {.temperature = round % 2 ? 2e5f : 1.0f, .top_p = 0.1f * (float)i};
      double total = 0, cumulated = 0;
      for (int64_t v = 0; v < count; v++) total += exp((double)(scores[v] - sorted[0].score) / (double)search.temperature);
      int64_t kept = 0;
      while (kept < count && cumulated < (double)search.top_p * total)
        cumulated += exp((double)(sorted[kept++].score - sorted[0].score) / (double)search.temperature);
      for (int draws = 0; draws < 3; draws++) {
        memcpy(logits, scores, sizeof logits);
        double unit = draws ? hmoe_random_unit(1, round, i) : 1 - 0x1p-53;
        int64_t token = hmoe_logits_sample(logits, count, sorted[0].score, &search, unit, scratch);
        int64_t limit = kept < count ? kept : count - 1; /* one more, for the roundings */
        assert_true(scores[token] >= sorted[limit].score);
      }
    }
  }
  free(scratch);
}

/* A number at the very border of two tokens draws the latter, and none draws a token that cannot be, wherever blocks of sums end. */
static void test_draw_at_borders(void **state) {
  (void)state;
  enum { COUNT = 4096, PART = 1024 };
  static float logits[COUNT];
  void *scratch = malloc(hmoe_logits_scratch_bytes(COUNT));
  hmoe_search search = make_search(NULL, 1, 1, 1);
  for (int64_t banned = 0; banned < COUNT; banned += PART)
    for (int64_t token = banned; token < COUNT; token += PART) {
      for (int64_t i = 0; i < COUNT; i++) logits[i] = i < banned ? -INFINITY : 0;
      double unit = (double)(token - banned) / (double)(COUNT - banned);
      if (unit * (double)(COUNT - banned) < (double)(token - banned)) continue; /* a third, rounded */
      assert_int_equal(hmoe_logits_sample(logits, COUNT, 0, &search, unit, scratch), token);
    }
  free(scratch);
}

static void test_log_softmax(void **state) {
  (void)state;
  enum { COUNT = 33333 };
  static float logits[COUNT], result[COUNT];
  uint64_t random = 4;
  for (int round = 0; round < 4; round++) {
    double total = 0, worst = 0;
    for (int i = 0; i < COUNT; i++) logits[i] = (float)(fixture_random(&random) >> 7) * 0x1p-24f * (round < 2 ? 30.0f : 0.1f);
    memcpy(result, logits, sizeof logits);
    float largest = hmoe_logits_clean(result, COUNT);
    hmoe_logits_log_softmax(result, COUNT, largest);
    for (int i = 0; i < COUNT; i++) total += exp((double)logits[i] - (double)largest);
    for (int i = 0; i < COUNT; i++)
      worst = fmax(worst, fabs((double)result[i] - ((double)logits[i] - (double)largest - log(total))));
    assert_true(worst < 4e-6);
  }
}

/* A row's tokens do not depend on how many rows are beside it, nor on what they are. */
static void test_sampling_across_batches(void **state) {
  (void)state;
  enum { ROWS = 7, WIDTH = 20, VOCAB = 50 };
  int64_t all[ROWS * WIDTH], again[ROWS * WIDTH], some[ROWS * WIDTH], length;
  hmoe_search search = make_search(NULL, ROWS, 3, WIDTH - 3);
  search.sample = true;
  search.seed = 11;
  search.top_k = 20;
  search.top_p = 0.9f;
  for (int64_t rows = 1; rows <= ROWS; rows++) {
    table_decoder *d = decoder_create(VOCAB, 2, 0);
    fill_prompts(all, ROWS, 3, WIDTH, VOCAB, 6);
    search.rows = ROWS;
    assert_ok(run(search, d, all, &length));
    free(d);
    d = decoder_create(VOCAB, 2, 0);
    fill_prompts(some, ROWS, 3, WIDTH, VOCAB, 6);
    search.rows = rows;
    assert_ok(run(search, d, some, &length));
    free(d);
    for (int64_t i = 0; i < rows * WIDTH; i++) assert_int_equal(some[i], all[i]);
  }
  int different = 0;
  for (uint64_t seed = 0; seed < 10; seed++) {
    table_decoder *d = decoder_create(VOCAB, 2, 0);
    fill_prompts(again, ROWS, 3, WIDTH, VOCAB, 6);
    search.seed = seed;
    assert_ok(run(search, d, again, &length));
    different += memcmp(again, all, sizeof all) != 0;
    free(d);
  }
  assert_int_equal(different, 10);
}

/* Some logits become what nothing can be done with; where `few` all but some of them. */
static void spoil(table_decoder *d, float *logits) {
  static const float odd[] = {NAN, -INFINITY, NAN, INFINITY, -0.0f, 0.0f};
  uint64_t seed = d->oracle.seed + (uint64_t)d->length;
  for (int64_t i = 0; i < d->rows * d->oracle.vocab; i++) {
    uint32_t number = fixture_random(&seed) >> 8;
    if (d->oracle.seed % 3 == 0 && number % 11 == 0) logits[i] = odd[number % 6];
    if (d->oracle.seed % 3 == 1 && i % d->oracle.vocab % 40 != 3) logits[i] = odd[number % 3];
  }
}

/* Tokens of rows of which a decoder gives the largest logits alone are those of whole rows, whatever is asked for; in which steps whole rows are asked for is known. */
static void test_best(void **state) {
  (void)state;
  enum { ROWS = 3, START = 4, NEW = 5, WIDTH = START + NEW };
  static const int64_t vocabs[] = {1, 2, 30, 120, 700}, banned[] = {3, 7, 8, 500, 3},
                       words[] = {5, HMOE_WORD_END, 6, 9, HMOE_WORD_END};
  static const float penalties[] = {1, 1, 1.7f, 1.01f, 0.9f};
  int64_t whole[ROWS * WIDTH], some[ROWS * WIDTH], lengths[2];
  int bests = 0, rows_taken = 0, plain = 0;
  for (uint64_t seed = 0; seed < 900; seed++) {
    uint64_t random = seed * 7919 + 1;
    for (int i = 0; i < 4; i++) fixture_random(&random);
#define ONE_OF(values) ((values)[(fixture_random(&random) >> 9) % (sizeof(values) / sizeof *(values))])
#define BELOW(n) ((int64_t)((fixture_random(&random) >> 9) % (n)))
    int64_t vocab = ONE_OF(vocabs);
    hmoe_search search = make_search(NULL, ROWS, START, NEW);
    search.sample = BELOW(4) > 0;
    search.seed = seed;
    search.top_k = ONE_OF(((const int64_t[]){1, 2, 3, 10, 40, 0}));
    search.top_p = ONE_OF(((const float[]){1, 1, 0.9f, 0.5f}));
    search.min_p = ONE_OF(((const float[]){0, 0, 0.05f}));
    search.temperature = ONE_OF(((const float[]){1, 0.3f, 20}));
    search.rules.repetition_penalty = ONE_OF(penalties);
    search.rules.no_repeat_ngram = BELOW(3);
    search.rules.least_length = BELOW(2) * 6;
    if (BELOW(3) == 0) search.rules.suppress_tokens = (hmoe_tokens){banned, 5};
    if (BELOW(3) == 0) search.rules.begin_suppress_tokens = (hmoe_tokens){banned, 2};
    if (BELOW(3) == 0) search.rules.bad_words = (hmoe_tokens){words, 5};
    if (BELOW(5) == 0) search.rules.forced_eos_token = (hmoe_tokens){banned, 2};
    hmoe_status status[2];
    for (int with = 0; with < 2; with++) {
      table_decoder *d = decoder_create(vocab, seed, 0);
      int64_t *tokens = with ? some : whole;
      if (vocab < 2) d->oracle.end_token = -1;
      d->oracle.levels = seed % 4 == 3 ? 9 : 0;
      d->edit = seed % 2 ? spoil : NULL;
      d->can_best = d->can_pick = with;
      memset(tokens, 0, sizeof whole);
      if (vocab > 2) fill_prompts(tokens, ROWS, START, WIDTH, vocab, seed);
      status[with] = run(search, d, tokens, &lengths[with]);
      assert_true(!with || d->steps >= d->bests + d->picks);
      bests += d->bests;
      rows_taken += d->whole_rows;
      if (with) plain += d->steps - d->bests - d->picks;
      if (with && search.sample && (!search.top_k || search.top_k >= vocab)) assert_int_equal(d->bests, 0);
      if (with && vocab == 700 && status[1] == HMOE_OK && search.rules.repetition_penalty >= 1 &&
          !search.rules.forced_eos_token.count && (search.top_k || !search.sample))
        assert_int_equal(d->steps, d->bests + d->picks);
      free(d);
    }
    assert_int_equal(status[0], status[1]);
    if (status[0] != HMOE_OK) continue;
    assert_int_equal(lengths[0], lengths[1]);
    if (memcmp(whole, some, sizeof whole) != 0) fail_msg("seed %d: other tokens", (int)seed);
  }
  print_message("%d steps by the largest, %d whole rows, %d steps without\n", bests, rows_taken, plain);
  assert_true(bests > 1000 && rows_taken > 100 && plain > 100);
#undef ONE_OF
#undef BELOW
}

/* The stated generator, so that seeds stay what they are. */
static void test_random_numbers(void **state) {
  (void)state;
  /* SplitMix64 seeded with 0 begins with 0xe220a8397b1dcdaf; that seeds the stream of row 0. */
  double sum = 0;
  for (int64_t i = 0; i < 1000; i++) {
    double unit = hmoe_random_unit(0, i % 10, i / 10);
    assert_true(unit >= 0 && unit < 1);
    sum += unit;
  }
  assert_true(fabs(sum / 1000 - 0.5) < 0.03);
  uint64_t z = 0xe220a8397b1dcdafu + 2 * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  assert_true(hmoe_random_unit(0, 0, 1) == (double)(z >> 11) * 0x1p-53);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_best),
      cmocka_unit_test(test_greedy),
      cmocka_unit_test(test_nothing_to_generate),
      cmocka_unit_test(test_no_end_token),
      cmocka_unit_test(test_callback),
      cmocka_unit_test(test_nonfinite),
      cmocka_unit_test(test_failures),
      cmocka_unit_test(test_beams),
      cmocka_unit_test(test_beams_exhaustive),
      cmocka_unit_test(test_beams_across_batches),
      cmocka_unit_test(test_distribution),
      cmocka_unit_test(test_selection),
      cmocka_unit_test(test_draw_at_borders),
      cmocka_unit_test(test_log_softmax),
      cmocka_unit_test(test_sampling_across_batches),
      cmocka_unit_test(test_random_numbers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
