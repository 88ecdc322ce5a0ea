/* Steps over rows of tokens: what the caller gives, how far along each token is, and the masks that a state keeps.
 *
 *   IDS          integers of the caller's as i32, each of them below a limit; a default where the caller gives none
 *   POSITIONS    dst[b][t] = max(0, (sum over u <= past + t of mask[b][u]) - 1)
 *   LAST_ROWS    dst[b] = b*length + the largest t with mask[b][past + t] != 0, or length - 1
 *   APPEND_MASK  dst[b][past + t] = src[b][t]
 *
 * A token takes some words and a few instructions: on the calling thread. */
#include "cpu/cpu.h"

#include <stdio.h>
#include <string.h>

/* ---- IDS ---- */

/* The caller's pointer may be less aligned than its elements would like: the plan says what they are, not the type of the input. */
static int64_t load_integer(const uint8_t *source, uint64_t index, uint64_t element_bytes) {
  if (element_bytes == sizeof(int64_t)) {
    int64_t value;
    memcpy(&value, source + index * sizeof value, sizeof value);
    return value;
  }
  int32_t value;
  memcpy(&value, source + index * sizeof value, sizeof value);
  return value;
}

hmoe_status hmoe_cpu_step_ids(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_ids *ids = hmoe_run_fields(run, step);
  uint64_t count = (uint64_t)hmoe_run_rows(run, step), element_bytes = ids->element_bytes, limit = ids->limit;
  const uint8_t *source;
  int32_t *dst;
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_IDS_SOURCE, HMOE_READ, hmoe_mul(count, element_bytes), &source));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_IDS_DESTINATION, HMOE_WRITE, hmoe_mul(count, sizeof *dst), &dst));
  if (!source) {
    for (uint64_t i = 0; i < count; i++) dst[i] = (int32_t)ids->fill;
    return HMOE_OK;
  }
  for (uint64_t i = 0; i < count; i++) {
    int64_t value = load_integer(source, i, element_bytes);
    if ((uint64_t)value >= limit) { return hmoe_run_bad_id(run, step, source, i, value); }
    dst[i] = (int32_t)value;
  }
  return HMOE_OK;
}

/* ---- masks ---- */

/* Bytes of [rows][length] i32. */
static uint64_t dense_bytes(const hmoe_token_rows *tokens) {
  return hmoe_mul(hmoe_mul(tokens->rows, tokens->length), sizeof(int32_t));
}

hmoe_status hmoe_cpu_step_positions(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_positions *positions = hmoe_run_fields(run, step);
  uint64_t limit = positions->limit;
  hmoe_token_rows tokens = hmoe_run_tokens(run, &positions->tokens);
  const int32_t *mask;
  int32_t *dst;
  HMOE_TRY(hmoe_run_bind_mask(run, step, HMOE_BIND_TOKENS_SOURCE, HMOE_READ | HMOE_OPTIONAL, &tokens, &mask));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_TOKENS_DESTINATION, HMOE_WRITE, dense_bytes(&tokens), &dst));
  for (uint64_t b = 0; b < tokens.rows; b++) {
    const int32_t *row = mask ? mask + b * tokens.stride : NULL;
    int64_t real = row ? 0 : (int64_t)tokens.past;
    for (uint64_t u = 0; row && u < tokens.past; u++) real += row[u];
    for (uint64_t t = 0; t < tokens.length; t++) {
      real += row ? row[tokens.past + t] : 1;
      int64_t position = real > 0 ? real - 1 : 0;
      if ((uint64_t)position >= limit) return hmoe_run_bad_position(b, position, limit);
      dst[b * tokens.length + t] = (int32_t)position;
    }
  }
  return HMOE_OK;
}

hmoe_status hmoe_cpu_step_last_rows(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_last_rows *last_rows = hmoe_run_fields(run, step);
  hmoe_token_rows tokens = hmoe_run_tokens(run, &last_rows->tokens);
  const int32_t *mask;
  int32_t *dst;
  HMOE_TRY(hmoe_run_bind_mask(run, step, HMOE_BIND_TOKENS_SOURCE, HMOE_READ | HMOE_OPTIONAL, &tokens, &mask));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_TOKENS_DESTINATION, HMOE_WRITE, hmoe_mul(tokens.rows, sizeof *dst), &dst));
  if (tokens.rows && !tokens.length) return hmoe_fail(HMOE_INVALID_ARGUMENT, "rows of 0 tokens have no last one");
  if (hmoe_mul(tokens.rows, tokens.length) > INT32_MAX)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "the run is too large: %llu rows of %llu tokens", (unsigned long long)tokens.rows,
                     (unsigned long long)tokens.length);
  for (uint64_t b = 0; b < tokens.rows; b++) {
    const int32_t *row = mask ? mask + b * tokens.stride + tokens.past : NULL;
    uint64_t last = tokens.length;
    while (row && last > 0 && row[last - 1] == 0) last--;
    dst[b] = (int32_t)(b * tokens.length + (last ? last : tokens.length) - 1);
  }
  return HMOE_OK;
}

hmoe_status hmoe_cpu_step_append_mask(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_append_mask *append = hmoe_run_fields(run, step);
  hmoe_token_rows tokens = hmoe_run_tokens(run, &append->tokens);
  const int32_t *source;
  int32_t *dst;
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_TOKENS_SOURCE, HMOE_READ, dense_bytes(&tokens), &source));
  HMOE_TRY(hmoe_run_bind_mask(run, step, HMOE_BIND_TOKENS_DESTINATION, HMOE_WRITE, &tokens, &dst));
  for (uint64_t b = 0; b < tokens.rows && tokens.length; b++)
    memcpy(dst + b * tokens.stride + tokens.past, source + b * tokens.length, tokens.length * sizeof *dst);
  return HMOE_OK;
}
