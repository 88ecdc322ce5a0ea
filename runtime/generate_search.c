/* Which tokens follow. Greedy and sampling take a token a row and step; beams keep several hypotheses a row.
 *
 * Beams are those of Hugging Face transformers 4.30 (beam_search and BeamSearchScorer), so that results
 * agree: scores are sums of f32 log-probabilities; of the best continuations of a row, those that end with an end token
 * finish a hypothesis if they are among the first `beams`, and the first `beams` others go on. So many are looked at that there are as many
 * others, whatever ends: 2 * beams, and with n end tokens (1 + n) * beams, as in version 5, where 4.30 gives up. A finished hypothesis
 * has the end token that finished it, as in version 5; 4.30 gives it the first of the list.
 * A row is done when it has `beams`
 * finished hypotheses and, by early_stopping, at once, or when the best continuation, were it divided by its length now (or the largest there
 * can be), would not be better than the worst of them.
 * Where that version leaves the order to its sort, the lower beam, then the lower token comes first.
 *
 * Rows that are finished are still given to the decoder, as pad tokens: what they compute is not looked at. */
#include "generate_internal.h"

#include <math.h>
#include <string.h>

/* Memory of a search: one piece, cut up. */
typedef struct arena {
  uint8_t *memory;
  uint64_t used;
} arena;

/* With memory NULL it only counts. */
static void *take(arena *a, uint64_t count, uint64_t element_bytes) {
  uint64_t begin = a->used;
  a->used = hmoe_round_up(hmoe_add(begin, hmoe_mul(count, element_bytes)), HMOE_ALIGNMENT);
  return a->memory ? a->memory + begin : NULL;
}

static hmoe_status no_choice(int64_t row, int64_t step) {
  return hmoe_fail(HMOE_INTERNAL, "generate: step %lld: the logits of row %lld are all NaN or -inf", (long long)step,
                   (long long)row);
}

static bool report(const hmoe_search *search, int64_t step, const int64_t *tokens) {
  return search->on_tokens && search->on_tokens(search->on_tokens_context, step, tokens, search->rows);
}

/* ---- greedy and sampling ---- */

typedef struct greedy {
  int64_t *next; /* [rows] */
  float *logits; /* [rows, vocab] */
  int32_t *words; /* [rows, most_words]: of the largest logits, where a decoder finds them itself: hmoe_best, or a place a row */
  void *scratch;
  float *penalised; /* [width] */
  bool *finished; /* [rows] */
} greedy;

/* Of a row, where not all logits are wanted: others are worth the decoder's while only if they are few. */
static int64_t most_words(int64_t vocab) { return vocab < 2 ? 1 : vocab / 2; }

static void place_greedy(arena *a, const hmoe_search *search, const hmoe_decoder *decoder, greedy *out_greedy) {
  uint64_t rows = (uint64_t)search->rows, vocab = (uint64_t)decoder->vocab;
  out_greedy->next = take(a, hmoe_mul(rows, (uint64_t)search->start_length), sizeof *out_greedy->next);
  out_greedy->logits = take(a, hmoe_mul(rows, vocab), sizeof *out_greedy->logits);
  out_greedy->words = take(a, hmoe_mul(rows, decoder->best ? (uint64_t)most_words(decoder->vocab) : 1), sizeof *out_greedy->words);
  out_greedy->scratch = take(a, search->sample ? hmoe_logits_scratch_bytes(decoder->vocab) : 0, 1);
  out_greedy->penalised = take(a, (uint64_t)search->rules.most_length, sizeof(float));
  out_greedy->finished = take(a, rows, sizeof *out_greedy->finished);
}

static hmoe_status choose(const hmoe_search *search, greedy *g, int64_t vocab, int64_t row, int64_t step, const int64_t *prefix) {
  float *logits = g->logits + row * vocab;
  float largest = hmoe_logits_clean(logits, vocab);
  if (largest == -INFINITY) return no_choice(row, step);
  if (hmoe_rules_apply(&search->rules, logits, vocab, prefix, search->start_length + step, g->penalised))
    largest = hmoe_logits_largest(logits, vocab);
  bool draw = search->sample && largest > -INFINITY; /* all are banned: the first, as in greedy generation */
  g->next[row] = draw ? hmoe_logits_sample(logits, vocab, largest, search, hmoe_random_unit(search->seed, row, step), g->scratch)
                      : hmoe_logits_find(logits, vocab, largest);
  return HMOE_OK;
}

/* ---- of a row's largest logits ----
 *
 * A token that is taken is one of the top_k largest logits (of 1, where it is greedy) as rules leave them. Rules that lower some, at most so many, leave those among so
 * many more of the largest as they were: each that is not on the list of these is less than top_k others. */

enum { TIES = 8 }; /* room for elements that equal the last one */

/* What is asked of a decoder for rows of this length; wanted 0: all logits. */
static hmoe_best best_of(const hmoe_search *search, const hmoe_decoder *decoder, const greedy *g, int64_t length) {
  int64_t lowered = hmoe_rules_lowered(&search->rules, length), taken = search->sample ? search->top_k : 1;
  hmoe_best best = {.words = g->words, .logits = g->logits};
  if (!decoder->best || lowered < 0 || taken < 1 || taken >= decoder->vocab || lowered >= decoder->vocab) return best;
  int64_t room = taken + lowered + TIES;
  if (hmoe_best_words(room) > most_words(decoder->vocab)) return best;
  best.wanted = taken + lowered;
  best.room = room;
  return best;
}

static hmoe_status choose_of_best(const hmoe_search *search, const hmoe_best *best, greedy *g, int64_t row, int64_t step,
                                  const int64_t *prefix) {
  int32_t *words = g->words + row * hmoe_best_words(best->room), *places = words + 1;
  float *logits = (float *)(void *)(places + best->room), largest = -INFINITY;
  int64_t count = words[0], kept = 0;
  if (!count) return no_choice(row, step);
  hmoe_rules_apply_to(&search->rules, logits, places, count, prefix, search->start_length + step, g->penalised);
  for (int64_t i = 0; i < count; i++) {
    places[kept] = places[i];
    logits[kept] = logits[i];
    kept += logits[i] > -INFINITY;
  }
  largest = hmoe_logits_largest(logits, kept);
  int64_t chosen = 0;
  if (kept && search->sample)
    chosen = hmoe_logits_sample(logits, kept, largest, search, hmoe_random_unit(search->seed, row, step), g->scratch);
  else if (kept) chosen = hmoe_logits_find(logits, kept, largest);
  g->next[row] = kept ? places[chosen] : 0; /* all are banned: the first */
  return HMOE_OK;
}

static hmoe_status take_picked(greedy *g, int64_t row, int64_t step) {
  g->next[row] = g->words[row];
  return g->words[row] < 0 ? no_choice(row, step) : HMOE_OK;
}

/* The largest logit decides alone. */
static bool can_pick(const hmoe_search *search, const hmoe_decoder *decoder, int64_t length) {
  return decoder->pick && !search->sample && hmoe_rules_lowered(&search->rules, length) == 0;
}

/* A step, and the token of each row that is not finished, by the least that a decoder can give for it. */
static hmoe_status take_step(const hmoe_search *search, const hmoe_decoder *decoder, greedy *g, int64_t step,
                             const int64_t *tokens) {
  int64_t start = search->start_length, fed = step ? 1 : start, width = start + search->max_new_tokens;
  bool picks = can_pick(search, decoder, start + step);
  hmoe_best best = best_of(search, decoder, g, start + step);
  if (picks) HMOE_TRY(decoder->pick(decoder->context, g->next, fed, g->words));
  else if (best.wanted) HMOE_TRY(decoder->best(decoder->context, g->next, fed, &best));
  else HMOE_TRY(decoder->step(decoder->context, g->next, fed, g->logits));
  for (int64_t row = 0; row < search->rows; row++) {
    if (g->finished[row]) continue;
    if (picks) HMOE_TRY(take_picked(g, row, step));
    else if (best.wanted && g->words[row * hmoe_best_words(best.room)] <= best.room)
      HMOE_TRY(choose_of_best(search, &best, g, row, step, tokens + row * width));
    else HMOE_TRY(choose(search, g, decoder->vocab, row, step, tokens + row * width));
  }
  return HMOE_OK;
}

static hmoe_status run_greedy(const hmoe_search *search, const hmoe_decoder *decoder, greedy *g, int64_t *tokens,
                              int64_t *out_length) {
  int64_t rows = search->rows, start = search->start_length, width = start + search->max_new_tokens, open = rows;
  memset(g->finished, 0, (size_t)rows * sizeof *g->finished);
  for (int64_t row = 0; row < rows; row++) memcpy(g->next + row * start, tokens + row * width, (size_t)start * sizeof *tokens);
  int64_t step = 0;
  for (bool stop = false; !stop && open > 0 && step < search->max_new_tokens; step++) {
    HMOE_TRY(take_step(search, decoder, g, step, tokens));
    for (int64_t row = 0; row < rows; row++) {
      if (g->finished[row]) {
        g->next[row] = search->pad_token;
      } else {
        g->finished[row] = hmoe_tokens_have(search->rules.end_token, g->next[row]);
        open -= g->finished[row];
      }
      tokens[row * width + start + step] = g->next[row];
    }
    stop = report(search, step, g->next);
  }
  *out_length = start + step;
  return HMOE_OK;
}

/* ---- beams ---- */

typedef struct hypothesis {
  double score;
  int64_t length; /* of tokens, the end token not counted */
  int64_t *tokens; /* [width] */
  int64_t end_token; /* that ended it, or HMOE_NO_TOKEN */
} hypothesis;

/* The finished hypotheses of a row, in the order in which they came. */
typedef struct hypothesis_list {
  hypothesis *items; /* [beams + 1] */
  int64_t count;
  double worst;
  bool done;
} hypothesis_list;

typedef struct beam_search {
  const hmoe_search *search;
  const hmoe_decoder *decoder;
  int64_t targets, width; /* rows * beams; columns */
  int64_t length; /* columns of sequences that are filled in */
  int64_t *sequences, *other_sequences; /* [targets, width] */
  int64_t *next; /* what the decoder is given: [targets], first [targets, start_length] */
  float *scores, *other_scores; /* [targets] */
  int32_t *parents; /* [targets] */
  float *logits; /* [targets, vocab] */
  hmoe_candidate *best; /* [candidates] */
  int64_t candidates; /* continuations of a row that are looked at */
  void *scratch;
  float *penalised; /* [width] */
  hypothesis_list *lists; /* [rows] */
  hypothesis *hypotheses; /* [rows, beams + 1] */
  int64_t *hypothesis_tokens; /* [rows, beams + 1, width] */
} beam_search;

static void place_beams(arena *a, const hmoe_search *search, const hmoe_decoder *decoder, beam_search *out_beams) {
  uint64_t rows = (uint64_t)search->rows, beams = (uint64_t)search->beams, targets = rows * beams, vocab = (uint64_t)decoder->vocab;
  uint64_t width = (uint64_t)search->rules.most_length, kept = rows * (beams + 1);
  uint64_t looked_at = hmoe_mul(hmoe_max(2, 1 + (uint64_t)search->rules.end_token.count), beams);
  uint64_t candidates = hmoe_min(looked_at, hmoe_mul(beams, vocab));
  *out_beams = (beam_search){.search = search,
                             .decoder = decoder,
                             .targets = (int64_t)targets,
                             .width = (int64_t)width,
                             .length = search->start_length,
                             .sequences = take(a, hmoe_mul(targets, width), sizeof(int64_t)),
                             .other_sequences = take(a, hmoe_mul(targets, width), sizeof(int64_t)),
                             .next = take(a, hmoe_mul(targets, (uint64_t)search->start_length), sizeof(int64_t)),
                             .scores = take(a, targets, sizeof(float)),
                             .other_scores = take(a, targets, sizeof(float)),
                             .parents = take(a, targets, sizeof(int32_t)),
                             .logits = take(a, hmoe_mul(targets, vocab), sizeof(float)),
                             .best = take(a, candidates, sizeof(hmoe_candidate)),
                             .candidates = (int64_t)candidates,
                             .scratch = take(a, hmoe_logits_scratch_bytes((int64_t)(beams * vocab)), 1),
                             .penalised = take(a, width, sizeof(float)),
                             .lists = take(a, rows, sizeof(hypothesis_list)),
                             .hypotheses = take(a, kept, sizeof(hypothesis)),
                             .hypothesis_tokens = take(a, hmoe_mul(kept, width), sizeof(int64_t))};
}

static void begin_beams(beam_search *b, const int64_t *tokens) {
  int64_t beams = b->search->beams, start = b->search->start_length;
  for (int64_t target = 0; target < b->targets; target++) {
    const int64_t *prompt = tokens + target / beams * b->width;
    memcpy(b->sequences + target * b->width, prompt, (size_t)start * sizeof *prompt);
    memcpy(b->next + target * start, prompt, (size_t)start * sizeof *prompt);
    b->scores[target] = target % beams ? -1e9f : 0.0f; /* equal beams: only the first one's continuations count */
  }
  for (int64_t row = 0; row < b->search->rows; row++) {
    b->lists[row] = (hypothesis_list){.items = b->hypotheses + row * (beams + 1), .worst = 1e9};
    for (int64_t i = 0; i <= beams; i++)
      b->lists[row].items[i] = (hypothesis){.tokens = b->hypothesis_tokens + (row * (beams + 1) + i) * b->width};
  }
}

static double score_by_length(const beam_search *b, double sum, int64_t length) {
  return sum / pow((double)length, b->search->length_penalty);
}

/* Keeps the `beams` best; of equal ones those that came last. */
static void add_hypothesis(const beam_search *b, hypothesis_list *list, int64_t target, float sum, int64_t end_token) {
  double score = score_by_length(b, (double)sum, b->length);
  if (list->count >= b->search->beams && !(score > list->worst)) return;
  hypothesis *added = &list->items[list->count++];
  *added = (hypothesis){.score = score, .length = b->length, .tokens = added->tokens, .end_token = end_token};
  memcpy(added->tokens, b->sequences + target * b->width, (size_t)b->length * sizeof *added->tokens);
  if (list->count <= b->search->beams) {
    list->worst = score < list->worst ? score : list->worst;
    return;
  }
  int64_t worst = 0;
  for (int64_t i = 1; i < list->count; i++)
    if (list->items[i].score < list->items[worst].score) worst = i;
  hypothesis removed = list->items[worst];
  memmove(&list->items[worst], &list->items[worst + 1], (size_t)(list->count - worst - 1) * sizeof removed);
  list->items[--list->count] = removed; /* its memory is for the next one */
  list->worst = list->items[0].score;
  for (int64_t i = 1; i < list->count; i++)
    if (list->items[i].score < list->worst) list->worst = list->items[i].score;
}

static hmoe_status score_beam(beam_search *b, int64_t target) {
  const hmoe_search *search = b->search;
  int64_t vocab = b->decoder->vocab;
  float *logits = b->logits + target * vocab;
  float largest = hmoe_logits_clean(logits, vocab);
  if (largest == -INFINITY) return no_choice(target / search->beams, b->length - search->start_length);
  hmoe_logits_log_softmax(logits, vocab, largest);
  hmoe_rules_apply(&search->rules, logits, vocab, b->sequences + target * b->width, b->length, b->penalised);
  hmoe_logits_add(logits, vocab, b->scores[target]);
  return HMOE_OK;
}

/* No continuation of a row can be expected to be better than what it has; best: the sum of the best one. */
static bool is_done(const beam_search *b, const hypothesis_list *list, double best) {
  const hmoe_search *search = b->search;
  if (list->count < search->beams) return false;
  if (search->early_stopping == HMOE_STOP_EARLY) return true;
  bool longest = search->early_stopping == HMOE_STOP_NEVER && search->length_penalty > 0;
  return list->worst >= score_by_length(b, best, longest ? b->width : b->length + 1);
}

/* What the beams of a row become: next, parents, other_scores. */
static hmoe_status advance_row(beam_search *b, int64_t row) {
  hypothesis_list *list = &b->lists[row];
  int64_t beams = b->search->beams, vocab = b->decoder->vocab, first = row * beams;
  for (int64_t i = 0; i < beams; i++) {
    b->next[first + i] = b->search->pad_token;
    b->parents[first + i] = (int32_t)(first + i);
    b->other_scores[first + i] = 0;
  }
  if (list->done) return HMOE_OK;
  for (int64_t i = 0; i < beams; i++) HMOE_TRY(score_beam(b, first + i));
  hmoe_logits_best(b->logits + first * vocab, beams * vocab, b->candidates, b->scratch, b->best);
  int64_t going = 0;
  for (int64_t rank = 0; rank < b->candidates && going < beams; rank++) {
    float score = b->best[rank].score;
    int64_t target = first + b->best[rank].index / vocab, token = b->best[rank].index % vocab;
    if (hmoe_tokens_have(b->search->rules.end_token, token)) {
      if (rank < beams) add_hypothesis(b, list, target, score, token);
      continue;
    }
    b->next[first + going] = token;
    b->parents[first + going] = (int32_t)target;
    b->other_scores[first + going++] = score;
  }
  list->done = !going || is_done(b, list, (double)b->best[0].score); /* none goes on: every token is an end token */
  return HMOE_OK;
}

/* Sequences and scores as next, parents and other_scores say; *out_moved: some beam goes on from another. */
static void apply_advance(beam_search *b, bool *out_moved) {
  *out_moved = false;
  for (int64_t target = 0; target < b->targets; target++) {
    int64_t *sequence = b->other_sequences + target * b->width;
    memcpy(sequence, b->sequences + b->parents[target] * b->width, (size_t)b->length * sizeof *sequence);
    sequence[b->length] = b->next[target];
    *out_moved |= b->parents[target] != target;
  }
  int64_t *sequences = b->sequences;
  b->sequences = b->other_sequences;
  b->other_sequences = sequences;
  float *scores = b->scores;
  b->scores = b->other_scores;
  b->other_scores = scores;
  b->length++;
}

static int64_t finish_row(beam_search *b, int64_t row, int64_t *tokens) {
  hypothesis_list *list = &b->lists[row];
  for (int64_t i = 0; i < b->search->beams && !list->done; i++) {
    int64_t target = row * b->search->beams + i;
    add_hypothesis(b, list, target, b->scores[target], HMOE_NO_TOKEN);
  }
  const hypothesis *best = &list->items[0];
  for (int64_t i = 1; i < list->count; i++)
    if (list->items[i].score >= best->score) best = &list->items[i];
  memcpy(tokens, best->tokens, (size_t)best->length * sizeof *tokens);
  bool ended = best->end_token != HMOE_NO_TOKEN;
  if (ended) tokens[best->length] = best->end_token;
  return best->length + ended;
}

static void report_beams(const beam_search *b, const int64_t *tokens, int64_t length) {
  bool stop = false;
  for (int64_t column = b->search->start_length; column < length && !stop; column++) {
    for (int64_t row = 0; row < b->search->rows; row++) b->next[row] = tokens[row * b->width + column];
    stop = report(b->search, column - b->search->start_length, b->next);
  }
}

static hmoe_status run_beams(beam_search *b, int64_t *tokens, int64_t *out_length) {
  const hmoe_search *search = b->search;
  begin_beams(b, tokens);
  for (int64_t step = 0, open = search->rows; open > 0 && step < search->max_new_tokens; step++) {
    HMOE_TRY(b->decoder->step(b->decoder->context, b->next, step ? 1 : search->start_length, b->logits));
    for (int64_t row = 0; row < search->rows; row++) {
      bool was_done = b->lists[row].done;
      HMOE_TRY(advance_row(b, row));
      open -= b->lists[row].done && !was_done;
    }
    bool moved;
    apply_advance(b, &moved);
    if (moved && open > 0 && step + 1 < search->max_new_tokens) HMOE_TRY(b->decoder->reorder(b->decoder->context, b->parents));
  }
  int64_t longest = 0;
  for (int64_t row = 0; row < search->rows; row++) {
    int64_t *result = tokens + row * b->width, length = finish_row(b, row, result);
    for (int64_t i = length; i < b->width; i++) result[i] = search->pad_token;
    longest = length > longest ? length : longest;
  }
  report_beams(b, tokens, longest);
  *out_length = longest;
  return HMOE_OK;
}

/* ---- both ---- */

static hmoe_status run_search(const hmoe_search *search, const hmoe_decoder *decoder, int64_t *tokens, int64_t *out_length) {
  bool with_beams = search->beams > 1;
  greedy g = {0};
  beam_search b = {0};
  arena a = {0};
  for (int pass = 0; pass < 2; pass++) { /* sizes first */
    uint64_t bytes = a.used;
    if (pass == 1) {
      void *memory = NULL;
      HMOE_TRY(hmoe_allocate(search->allocator, bytes, "generating tokens", &memory));
      a = (arena){.memory = memory};
    }
    if (with_beams) place_beams(&a, search, decoder, &b);
    else place_greedy(&a, search, decoder, &g);
  }
  int64_t capacity = search->start_length + search->max_new_tokens - 1; /* the last token is not run */
  hmoe_status status = decoder->start(decoder->context, search->rows * search->beams, search->beams, capacity);
  if (status == HMOE_OK)
    status = with_beams ? run_beams(&b, tokens, out_length) : run_greedy(search, decoder, &g, tokens, out_length);
  hmoe_release(search->allocator, a.memory, a.used);
  return status;
}

hmoe_status hmoe_search_run(const hmoe_search *given, const hmoe_decoder *decoder, int64_t *tokens, int64_t *out_length) {
  hmoe_search with_lengths = *given;
  const hmoe_search *search = &with_lengths;
  int64_t width = search->start_length + search->max_new_tokens;
  with_lengths.rules.start_length = search->start_length;
  with_lengths.rules.most_length = width;
  *out_length = search->start_length;
  if (search->rows > 0 && search->max_new_tokens > 0) HMOE_TRY(run_search(search, decoder, tokens, out_length));
  for (int64_t row = 0; row < search->rows; row++)
    for (int64_t i = *out_length; i < width; i++) tokens[row * width + i] = search->pad_token;
  return HMOE_OK;
}
