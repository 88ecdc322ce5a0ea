/* GROUP with a history: what capacity keeps of a sequence does not depend on how many tokens a run takes of it. */
#include "runtime_fixture.h"

enum { EXPERTS = 5, TOP_K = 2, CAPACITY = 4, ROWS = 3, LENGTH = 23, ROW_BLOCK = 2 };

typedef struct toy {
  fixture_plan *plan;
  fixture_file file;
} toy;

/* One entry: the picks [rows, length, TOP_K] of a run into blocks of experts. */
static toy *toy_create(void) {
  toy *t = calloc(1, sizeof *t);
  fixture_plan *plan = t->plan = plan_create("toy");
  uint32_t history = plan_state(plan, HMOE_SCOPE_TARGET, 1, TOP_K * 4);
  plan_entry(plan, "open");
  fixture_entry *e = plan_entry(plan, "decode");
  e->entry.needs_state = 1;
  uint32_t length = plan_dim(e, HMOE_DIM_INPUT, 0, 0), rows = plan_dim(e, HMOE_DIM_STATE, 0, 0);
  uint32_t stride = plan_dim(e, HMOE_DIM_STATE, 1, 0), past = plan_dim(e, HMOE_DIM_STATE, 2, 0);
  uint32_t tokens = plan_dim(e, HMOE_DIM_PRODUCT, rows, length), picks = plan_dim(e, HMOE_DIM_SCALE, tokens, TOP_K);
  uint32_t indices = plan_input(plan, e, "indices", 1, TOP_K * 4), gates = plan_input(plan, e, "gates", 0, TOP_K * 4);
  e->buffers[indices].dim = e->buffers[gates].dim = tokens;
  uint32_t blocks = plan_output(plan, e, "blocks", 1, TOP_K * sizeof(hmoe_block));
  e->buffers[blocks].fixed_bytes = sizeof(hmoe_blocks) + 2 * EXPERTS * sizeof(hmoe_block);
  e->buffers[blocks].dim = tokens;
  uint32_t row_slot = plan_output(plan, e, "row_slot", 1, 4), row_token = plan_output(plan, e, "row_token", 1, 4);
  e->buffers[row_slot].dim = e->buffers[row_token].dim = picks;
  uint32_t row_gate = plan_temporary(e, 0, 4, picks), counters = plan_temporary(e, 4 * EXPERTS * 4, 0, HMOE_NONE);
  uint32_t kept = plan_buffer(e, HMOE_BUFFER_STATE, history, 0, 0, 0, HMOE_NONE);
  plan_step(plan, e, HMOE_STEP_GROUP, picks,
            BINDINGS(AT(indices), AT(gates), AT(blocks), AT(row_token), AT(row_slot), AT(row_gate), AT(counters), AT(kept)),
            FIELDS(group, .experts = EXPERTS, .top_k = TOP_K, .row_block = ROW_BLOCK, .scope_dim = length, .capacity = CAPACITY,
                   .past_dim = past, .stride_dim = stride));
  e->entry.advance[HMOE_SCOPE_TARGET] = length;
  plan_finish(plan, NULL, 0);
  return t;
}

static hmoe_model *toy_open(toy *t) {
  hmoe_options options = fixture_options(2);
  hmoe_weights weights = file_finish(&t->file);
  hmoe_model *model = NULL;
  assert_ok(hmoe_model_open(&t->plan->object, &weights, &options, &model));
  return model;
}

/* Runs tokens [begin, end) of each row; kept[row][token][slot] of what the blocks say. */
static void run_part(hmoe_model *model, hmoe_state *state, const int32_t *picks, int64_t begin, int64_t end, bool *kept) {
  int64_t length = end - begin;
  int32_t indices[ROWS * LENGTH * TOP_K], row_slot[ROWS * LENGTH * TOP_K], row_token[ROWS * LENGTH * TOP_K];
  float gates[ROWS * LENGTH * TOP_K] = {0};
  static union {
    hmoe_blocks header;
    char bytes[sizeof(hmoe_blocks) + (2 * EXPERTS + ROWS * LENGTH * TOP_K) * sizeof(hmoe_block)];
  } blocks;
  for (int64_t row = 0; row < ROWS; row++)
    memcpy(indices + row * length * TOP_K, picks + (row * LENGTH + begin) * TOP_K, (size_t)(length * TOP_K) * sizeof *indices);
  assert_ok(hmoe_model_run_state(model, 1, state, &length, (const void *const[]){indices, gates},
                                 (void *const[]){&blocks, row_slot, row_token}));
  assert_int_equal(blocks.header.rows, ROWS * length * TOP_K);
  const hmoe_block *list = (const hmoe_block *)(const void *)(&blocks.header + 1);
  int64_t seen = 0;
  for (int32_t b = 0; b < blocks.header.count; b++)
    for (int32_t r = list[b].row; r < list[b].row + list[b].rows; r++, seen++) {
      int64_t slot = row_slot[r], token = slot / TOP_K;
      assert_int_equal(row_token[r], token);
      assert_int_equal(indices[slot], list[b].group);
      kept[((token / length) * LENGTH + begin + token % length) * TOP_K + slot % TOP_K] = !list[b].dropped;
    }
  assert_int_equal(seen, ROWS * length * TOP_K);
}

/* The first CAPACITY picks of an expert in a row are kept. */
static void expect_kept(const int32_t *picks, const bool *kept, int64_t end) {
  for (int64_t row = 0; row < ROWS; row++) {
    int count[EXPERTS] = {0};
    for (int64_t i = row * LENGTH * TOP_K; i < (row * LENGTH + end) * TOP_K; i++)
      assert_int_equal(kept[i], count[picks[i]]++ < CAPACITY);
  }
}

static void random_picks(uint64_t *seed, int32_t *picks) {
  for (int64_t t = 0; t < ROWS * LENGTH; t++) {
    picks[TOP_K * t] = (int32_t)(fixture_random(seed) % EXPERTS);
    picks[TOP_K * t + 1] = (int32_t)(((uint32_t)picks[TOP_K * t] + 1 + fixture_random(seed) % (EXPERTS - 1)) % EXPERTS);
  }
}

static void test_counts_go_on(void **unused) {
  (void)unused;
  toy *t = toy_create();
  hmoe_model *model = toy_open(t);
  hmoe_state_options options = {.struct_size = sizeof options, .target_rows = ROWS, .target_capacity = LENGTH};
  hmoe_state *state = NULL;
  assert_ok(hmoe_state_create(model, &options, &state));
  uint64_t seed = 7;
  for (int round = 0; round < 60; round++) {
    int32_t picks[ROWS * LENGTH * TOP_K];
    bool kept[ROWS * LENGTH * TOP_K];
    random_picks(&seed, picks);
    for (int64_t begin = 0; begin < LENGTH;) {
      int64_t end = round == 0 ? LENGTH : round == 1 ? begin + 1 : begin + 1 + fixture_random(&seed) % 7;
      if (end > LENGTH) end = LENGTH;
      run_part(model, state, picks, begin, end, kept);
      begin = end;
      if (begin > 4 && fixture_random(&seed) % 8 == 0)
        assert_ok(hmoe_state_rewind(state, begin -= 3)); /* forgets what it counted */
    }
    expect_kept(picks, kept, LENGTH);
    assert_ok(hmoe_state_rewind(state, 0));
  }
  hmoe_state_destroy(state);
  hmoe_model_close(model);
  file_deinit(&t->file);
  free(t->plan);
  free(t);
}

/* A row that goes on as another has the other's counts. */
static void test_reorder(void **unused) {
  (void)unused;
  toy *t = toy_create();
  hmoe_model *model = toy_open(t);
  hmoe_state_options options = {.struct_size = sizeof options, .target_rows = ROWS, .target_capacity = LENGTH};
  hmoe_state *state = NULL;
  assert_ok(hmoe_state_create(model, &options, &state));
  uint64_t seed = 11;
  for (int round = 0; round < 20; round++) {
    enum { HALF = 9, ROW = LENGTH * TOP_K };
    int32_t picks[ROWS * ROW], before[ROWS * ROW];
    bool kept[ROWS * ROW], kept_before[ROWS * ROW];
    random_picks(&seed, picks);
    run_part(model, state, picks, 0, HALF, kept);
    int32_t rows[ROWS];
    for (int i = 0; i < ROWS; i++) rows[i] = (int32_t)(fixture_random(&seed) % ROWS);
    assert_ok(hmoe_state_reorder(state, rows));
    memcpy(before, picks, sizeof before);
    memcpy(kept_before, kept, sizeof kept_before);
    for (int i = 0; i < ROWS; i++) {
      memcpy(picks + i * ROW, before + rows[i] * ROW, HALF * TOP_K * sizeof *picks);
      memcpy(kept + i * ROW, kept_before + rows[i] * ROW, HALF * TOP_K * sizeof *kept);
    }
    run_part(model, state, picks, HALF, LENGTH, kept);
    expect_kept(picks, kept, LENGTH);
    assert_ok(hmoe_state_rewind(state, 0));
  }
  hmoe_state_destroy(state);
  hmoe_model_close(model);
  file_deinit(&t->file);
  free(t->plan);
  free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_counts_go_on), cmocka_unit_test(test_reorder)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
