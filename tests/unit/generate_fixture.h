/* Decoders that are tables: the logits of what follows are random numbers that depend on the whole prefix. */
#ifndef GENERATE_FIXTURE_H
#define GENERATE_FIXTURE_H

#include "generate_internal.h"
#include "runtime_fixture.h"

#include <math.h>

enum { ORACLE_ROWS = 64, ORACLE_WIDTH = 64 };

typedef struct oracle {
  int64_t vocab;
  uint64_t seed;
  float end_bias; /* on the logit of end_token */
  int64_t end_token;
  int levels; /* above 0: logits are small integers, of so many values, so that there are ties */
} oracle;

static inline void oracle_logits(const oracle *o, const int64_t *prefix, int64_t length, float *out_logits) {
  uint64_t state = o->seed;
  for (int64_t i = 0; i < length; i++) state = (state ^ (uint64_t)(prefix[i] + 1)) * 0x100000001b3u + (state >> 29);
  for (int i = 0; i < 4; i++) fixture_random(&state);
  for (int64_t i = 0; i < o->vocab; i++) {
    uint32_t number = fixture_random(&state) >> 7; /* 24 bits */
    out_logits[i] = o->levels ? (float)(number % (uint32_t)o->levels) : (float)number * 0x1p-21f - 4.0f;
  }
  if (o->end_token >= 0) out_logits[o->end_token] += o->end_bias;
}

/* A decoder that remembers what it was given. */
typedef struct table_decoder {
  oracle oracle;
  int64_t rows, beams, capacity, length;
  int64_t prefixes[ORACLE_ROWS][ORACLE_WIDTH];
  int starts, steps, reorders;
  bool can_pick, can_best;
  int picks, bests; /* steps that gave no logits */
  int whole_rows; /* rows that had more of the largest than there was room for */
  int fail_at, calls; /* the call that fails; 0: none */
  void (*edit)(struct table_decoder *decoder, float *logits); /* NULL: none */
} table_decoder;

static inline hmoe_status table_call(table_decoder *d) {
  return ++d->calls == d->fail_at ? hmoe_fail(HMOE_UNSUPPORTED, "call %d fails", d->calls) : HMOE_OK;
}

static inline hmoe_status table_start(void *context, int64_t rows, int64_t beams, int64_t capacity) {
  table_decoder *d = context;
  HMOE_TRY(table_call(d));
  assert_true(rows >= 1 && rows <= ORACLE_ROWS && rows % beams == 0 && capacity <= ORACLE_WIDTH);
  assert_int_equal(d->starts++, 0);
  d->rows = rows;
  d->beams = beams;
  d->capacity = capacity;
  return HMOE_OK;
}

static inline hmoe_status table_step(void *context, const int64_t *tokens, int64_t width, float *logits) {
  table_decoder *d = context;
  HMOE_TRY(table_call(d));
  assert_int_equal(d->starts, 1);
  assert_true(d->length + width <= d->capacity);
  for (int64_t row = 0; row < d->rows; row++) {
    memcpy(d->prefixes[row] + d->length, tokens + row * width, (size_t)width * sizeof *tokens);
    for (int64_t i = 0; i < width; i++) assert_true(tokens[row * width + i] >= 0 && tokens[row * width + i] < d->oracle.vocab);
    oracle_logits(&d->oracle, d->prefixes[row], d->length + width, logits + row * d->oracle.vocab);
  }
  d->length += width;
  d->steps++;
  if (d->edit) d->edit(d, logits);
  return HMOE_OK;
}

static inline hmoe_status table_pick(void *context, const int64_t *tokens, int64_t width, int32_t *places) {
  table_decoder *d = context;
  int64_t vocab = d->oracle.vocab;
  float *logits = malloc((size_t)(d->rows * vocab) * sizeof *logits);
  assert_non_null(logits);
  hmoe_status status = table_step(context, tokens, width, logits);
  for (int64_t row = 0; status == HMOE_OK && row < d->rows; row++) {
    places[row] = -1;
    float largest = -INFINITY;
    for (int64_t i = 0; i < vocab; i++)
      if (logits[row * vocab + i] > largest) {
        largest = logits[row * vocab + i];
        places[row] = (int32_t)i;
      }
  }
  free(logits);
  d->picks++;
  return status;
}

static inline int table_falling(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x < y) - (x > y);
}

/* What is not asked for is garbage. */
static inline hmoe_status table_best(void *context, const int64_t *tokens, int64_t width, const hmoe_best *best) {
  table_decoder *d = context;
  int64_t vocab = d->oracle.vocab;
  float *logits = malloc((size_t)(d->rows * vocab) * sizeof *logits), *sorted = malloc((size_t)vocab * sizeof *sorted);
  assert_true(logits && sorted && best->wanted >= 1 && best->wanted < vocab && best->room >= best->wanted);
  hmoe_status status = table_step(context, tokens, width, logits);
  for (int64_t row = 0; status == HMOE_OK && row < d->rows; row++) {
    const float *own = logits + row * vocab;
    int32_t *words = best->words + row * hmoe_best_words(best->room), count = 0;
    for (int64_t i = 0; i < vocab; i++) sorted[i] = own[i] == own[i] ? own[i] : -INFINITY;
    qsort(sorted, (size_t)vocab, sizeof *sorted, table_falling);
    memset(words, 0x55, (size_t)hmoe_best_words(best->room) * sizeof *words);
    memset(best->logits + row * vocab, 0x55, (size_t)vocab * sizeof *logits);
    for (int64_t i = 0; i < vocab; i++) {
      if (!(own[i] >= sorted[best->wanted - 1] && own[i] > -INFINITY)) continue;
      if (count < best->room) {
        words[1 + count] = (int32_t)i;
        memcpy(words + 1 + best->room + count, &own[i], sizeof own[i]);
      }
      count++;
    }
    words[0] = count;
    if (count <= best->room) continue;
    memcpy(best->logits + row * vocab, own, (size_t)vocab * sizeof *own);
    d->whole_rows++;
  }
  free(logits);
  free(sorted);
  d->bests++;
  return status;
}

static inline hmoe_status table_reorder(void *context, const int32_t *rows) {
  table_decoder *d = context;
  HMOE_TRY(table_call(d));
  static int64_t old[ORACLE_ROWS][ORACLE_WIDTH];
  memcpy(old, d->prefixes, sizeof old);
  for (int64_t row = 0; row < d->rows; row++) {
    assert_int_equal(rows[row] / d->beams, row / d->beams); /* beams stay with their row of the prompt */
    memcpy(d->prefixes[row], old[rows[row]], sizeof old[row]);
  }
  d->reorders++;
  return HMOE_OK;
}

static inline hmoe_decoder table_decoder_of(table_decoder *d) {
  return (hmoe_decoder){
      d, d->oracle.vocab, table_start, table_step, table_reorder, d->can_pick ? table_pick : NULL, d->can_best ? table_best : NULL};
}

static inline hmoe_allocator counting_allocator(counting *c) { return (hmoe_allocator){c, count_allocate, count_release}; }

#endif
