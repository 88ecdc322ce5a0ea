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

/* ---- memory that is too small ---- */

enum {
  TOKENS = 3,
  PICKS = TOKENS * TOP_K,
  BLOCKS = 4,
  CHUNK = 2,
  FIRST_CONSTANT = 3,
  MOST_CONSTANT = 8
}; /* dimensions of 0 to 8 */

static void note_nothing(const hmoe_kernel_call *call, int64_t task, void *scratch) { (void)call, (void)task, (void)scratch; }

typedef struct sized {
  uint64_t bytes[8]; /* of each binding, just enough; 0: it is not there */
} sized;

/* A plan of one step of these bindings, or of a loop with an empty body behind the step that makes its blocks. */
static fixture_plan *sized_plan(uint32_t kind, const sized *sizes, size_t field_bytes, const void *fields) {
  fixture_plan *plan = plan_create("sized");
  plan_entry(plan, "open");
  fixture_entry *e = plan_entry(plan, "run");
  uint32_t tokens = plan_dim(e, HMOE_DIM_INPUT, 0, 0), rows = plan_dim(e, HMOE_DIM_SCALE, tokens, TOP_K);
  uint32_t missing = plan_dim(e, HMOE_DIM_MISSING, 0, CHUNK);
  for (uint64_t i = 0; i <= MOST_CONSTANT; i++) plan_dim(e, HMOE_DIM_CONST, 0, i);
  uint32_t x = plan_input(plan, e, "x", 1, 0);
  e->buffers[x].fixed_bytes = sizes->bytes[0];
  hmoe_plan_binding bindings[8];
  for (int i = 0; i < 8; i++)
    bindings[i] = (hmoe_plan_binding){.buffer = i == 0            ? x
                                                : sizes->bytes[i] ? plan_temporary(e, sizes->bytes[i], 0, HMOE_NONE)
                                                                  : HMOE_NONE};
  uint32_t count = 8;
  while (count > 0 && bindings[count - 1].buffer == HMOE_NONE) count--;
  if (kind == HMOE_STEP_LOOP) { /* blocks are copied, for a loop changes them */
    bindings[0].buffer = plan_temporary(e, sizes->bytes[0], 0, HMOE_NONE);
    plan_copy(plan, e, BINDINGS(AT(bindings[0].buffer), AT(x)), sizes->bytes[0]);
  }
  plan_step(plan, e, kind, kind == HMOE_STEP_GROUP ? rows : tokens, count, bindings, field_bytes, fields);
  if (kind == HMOE_STEP_LOOP) plan_kernel(plan, e, 0, missing, BINDINGS(AT(x)));
  return plan;
}

/* The step with all that it needs, then with each of its bindings four bytes short. messages[i]: of binding i; NULL: it may be short. */
static void check_sizes(uint32_t kind, const sized *sizes, size_t field_bytes, const void *fields, const void *x,
                        const char *const messages[8]) {
  static const char empty[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  const hmoe_kernel_fn kernel = note_nothing;
  for (int i = -1; i < 8; i++) {
    if (i >= 0 && !sizes->bytes[i]) continue;
    fixture_plan *plan = sized_plan(kind, sizes, field_bytes, fields);
    const hmoe_plan_step *step = &plan->entries[1].steps[kind == HMOE_STEP_LOOP];
    hmoe_plan_binding *bindings = (hmoe_plan_binding *)(void *)(plan->bytes + step->bindings.offset);
    if (i >= 0) plan->entries[1].buffers[bindings[i].buffer].fixed_bytes -= 4;
    if (i == 0 && kind == HMOE_STEP_LOOP) { /* its copy is as short */
      hmoe_step_copy *copy = (hmoe_step_copy *)(void *)(plan->bytes + plan->entries[1].steps[0].fields.offset);
      copy->run_bytes -= 4;
    }
    hmoe_options options = fixture_options(1);
    hmoe_model *model;
    assert_ok(hmoe_model_open(plan_finish(plan, &kernel, 1),
                              &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = empty, .size_bytes = sizeof empty}, &options,
                              &model));
    hmoe_status status = hmoe_model_run(model, 1, (int64_t[]){TOKENS}, (const void *const[]){x}, NULL);
    if (i < 0 || !messages[i]) assert_ok(status);
    else assert_fails(status, HMOE_INCOMPATIBLE, messages[i]);
    hmoe_model_close(model);
    free(plan);
  }
}

static void test_sizes(void **unused) {
  (void)unused;
  static const int32_t picks[PICKS] = {0, 1, 1, 0, 0, 2}; /* two sets; experts 0, 1 and 2 have 3, 2 and 1 rows */
  enum { WORDS = PICKS * 4, HEADER = sizeof(hmoe_blocks), BLOCK = sizeof(hmoe_block) };
  check_sizes(HMOE_STEP_GROUP, &(sized){{WORDS, WORDS, HEADER + BLOCKS * BLOCK, WORDS, WORDS, WORDS, EXPERTS * 16}},
              FIELDS(group, .experts = EXPERTS, .top_k = TOP_K, .row_block = ROW_BLOCK, .scope_dim = HMOE_NONE,
                     .past_dim = HMOE_NONE, .stride_dim = HMOE_NONE),
              picks,
              (const char *const[8]){
                  "step 0 (group): binding 0 has 20 bytes, 24 are needed", "step 0 (group): binding 1 has 20 bytes, 24 are needed",
                  "step 0 (group): the blocks buffer holds only 3 blocks", "step 0 (group): binding 3 has 20 bytes, 24 are needed",
                  "step 0 (group): binding 4 has 20 bytes, 24 are needed", "step 0 (group): binding 5 has 20 bytes, 24 are needed",
                  "step 0 (group): binding 6 has 76 bytes, 80 are needed"});
  static const char *const sets[8] = {
      "step 0 (group_sets): binding 0 has 20 bytes, 24 are needed", "step 0 (group_sets): the blocks buffer holds only 1 blocks",
      "step 0 (group_sets): binding 2 has 8 bytes, 12 are needed", "step 0 (group_sets): binding 3 has 20 bytes, 24 are needed",
      "step 0 (group_sets): binding 4 has 348 bytes, 352 are needed"};
  const char *each[8] = {sets[0], "step 0 (group_sets): the blocks buffer holds only 2 blocks", sets[2], sets[3]};
  for (uint32_t mode = HMOE_SETS_DISTINCT; mode <= HMOE_SETS_TOKEN; mode++) {
    uint64_t blocks = mode == HMOE_SETS_TOKEN ? 3 : 2, scratch = mode == HMOE_SETS_TOKEN ? 0 : (8 * TOKENS + 64) * 4;
    check_sizes(HMOE_STEP_GROUP_SETS, &(sized){{WORDS, HEADER + blocks * BLOCK, TOKENS * 4, WORDS, scratch}},
                FIELDS(group_sets, .experts = EXPERTS, .top_k = TOP_K, .mode = mode, .row_block = ROW_BLOCK), picks,
                mode == HMOE_SETS_TOKEN ? each : sets);
  }
  /* A loop is told how many groups there are by the blocks it is given. */
  static const struct {
    hmoe_blocks header;
    hmoe_block blocks[3];
  } given = {{.count = 3, .groups = 3, .rows = 3}, {{0, 0, 1, 0}, {1, 1, 1, 0}, {2, 2, 1, 0}}};
  check_sizes(HMOE_STEP_LOOP, &(sized){{sizeof given, 3 * TOP_K * 4, CHUNK * TOP_K * 4, CHUNK * 4, CHUNK * 4, TOKENS * 4}},
              FIELDS(loop, .kind = HMOE_LOOP_GROUPS, .steps = 1, .chunk = CHUNK, .groups = HMOE_NONE, .top_k = TOP_K), &given,
              (const char *const[8]){
                  "step 1 (loop): 3 blocks of 3 groups in a buffer for 2 blocks",
                  "step 1 (loop): binding 1 has 20 bytes, 24 are needed", "step 1 (loop): binding 2 has 12 bytes, 16 are needed",
                  "step 1 (loop): binding 3 has 4 bytes, 8 are needed", "step 1 (loop): binding 4 has 4 bytes, 8 are needed"});
}

/* Scopes of tokens, and what is kept of earlier ones: past_dim tokens and those of this run in rows of stride_dim. */
static void test_scopes(void **unused) {
  (void)unused;
  static const int32_t picks[PICKS] = {0, 1, 1, 0, 0, 2};
  static const struct {
    uint32_t scope, past, stride;
    uint64_t history_words;
    const char *message;
  } cases[] = {
      {0, 0, 0, 0, "step 0 (group): capacity for every 0 tokens"},
      {1, 2, 3, 3 * 3 * TOP_K, NULL}, /* three scopes of a token each */
      {1, 2, 3, 3 * 3 * TOP_K - 1, "step 0 (group): binding 7 has 68 bytes, 72 are needed"},
      {1, 3, 3, 3 * 3 * TOP_K, "step 0 (group): 2 rows are more than the history holds"},
      {2, 1, 3, 2 * 3 * TOP_K, NULL}, /* the last is not whole */
      {2, 1, 3, 2 * 3 * TOP_K - 1, "step 0 (group): binding 7 has 44 bytes, 48 are needed"},
      {8, 0, 8, 8 * TOP_K, NULL},
      {8, 0, 7, 8 * TOP_K, "step 0 (group): 16 rows are more than the history holds"},
  };
  static const char empty[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const sized sizes = {
        {PICKS * 4, 0, sizeof(hmoe_blocks) + 8 * sizeof(hmoe_block), PICKS * 4, 0, 0, EXPERTS * 16, cases[i].history_words * 4}};
    fixture_plan *plan = sized_plan(HMOE_STEP_GROUP, &sizes,
                                    FIELDS(group, .experts = EXPERTS, .top_k = TOP_K, .row_block = ROW_BLOCK, .capacity = 1,
                                           .scope_dim = FIRST_CONSTANT + cases[i].scope, .past_dim = FIRST_CONSTANT + cases[i].past,
                                           .stride_dim = FIRST_CONSTANT + cases[i].stride));
    hmoe_options options = fixture_options(1);
    hmoe_model *model;
    assert_ok(hmoe_model_open(plan_finish(plan, NULL, 0),
                              &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = empty, .size_bytes = sizeof empty}, &options,
                              &model));
    hmoe_status status = hmoe_model_run(model, 1, (int64_t[]){TOKENS}, (const void *const[]){picks}, NULL);
    if (cases[i].message) assert_fails(status, HMOE_INCOMPATIBLE, cases[i].message);
    else assert_ok(status);
    hmoe_model_close(model);
    free(plan);
  }
}

/* `rows` rows of one expert, or one set of a token each: into how many blocks. */
static void check_cut(uint32_t kind, uint32_t threads, uint32_t row_block, int64_t rows, int32_t expected) {
  enum { MOST = 2200, WORD = 4 };
  static const char empty[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  static const int32_t indices[MOST];
  static struct {
    hmoe_blocks header;
    hmoe_block blocks[MOST];
  } out;
  assert_true(rows <= MOST);
  fixture_plan *plan = plan_create("cut");
  plan_entry(plan, "open");
  fixture_entry *e = plan_entry(plan, "run");
  uint32_t tokens = plan_dim(e, HMOE_DIM_INPUT, 0, 0), x = plan_input(plan, e, "indices", 1, WORD);
  uint32_t blocks = plan_output(plan, e, "blocks", 1, sizeof(hmoe_block));
  e->buffers[blocks].fixed_bytes = sizeof(hmoe_blocks);
  uint32_t row_token = plan_temporary(e, 0, WORD, tokens), none = HMOE_NONE;
  uint32_t scratch = plan_temporary(e, 64 * WORD, 8 * WORD, tokens), sets = plan_temporary(e, 0, WORD, tokens);
  if (kind == HMOE_STEP_GROUP)
    plan_step(plan, e, kind, tokens, BINDINGS(AT(x), AT(none), AT(blocks), AT(row_token), AT(none), AT(none), AT(scratch)),
              FIELDS(group, .experts = 2, .top_k = 1, .row_block = row_block, .scope_dim = HMOE_NONE, .past_dim = HMOE_NONE,
                     .stride_dim = HMOE_NONE));
  else
    plan_step(plan, e, kind, tokens, BINDINGS(AT(x), AT(blocks), AT(row_token), AT(sets), AT(scratch)),
              FIELDS(group_sets, .experts = 2, .top_k = 1, .mode = HMOE_SETS_RANK, .row_block = row_block));
  hmoe_options options = fixture_options(threads);
  hmoe_model *model;
  assert_ok(hmoe_model_open(plan_finish(plan, NULL, 0),
                            &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = empty, .size_bytes = sizeof empty}, &options,
                            &model));
  assert_ok(hmoe_model_run(model, 1, (int64_t[]){rows}, (const void *const[]){indices}, (void *const[]){&out}));
  assert_int_equal(out.header.count, expected);
  int64_t next = 0;
  for (int32_t b = 0; b < out.header.count; next += out.blocks[b++].rows) {
    assert_int_equal(out.blocks[b].row, next);
    assert_in_range(out.blocks[b].rows, rows / expected, (rows + expected - 1) / expected);
  }
  assert_int_equal(next, rows);
  hmoe_model_close(model);
  free(plan);
}

/* Four blocks a thread are wanted, of 64 rows at least and in steps of 32, and of no more than a block may have. */
static void test_cut_by_threads(void **unused) {
  (void)unused;
  static const struct {
    uint32_t threads, row_block;
    int64_t rows;
    int32_t expected;
  } cases[] = {{1, 64, 2048, 32}, {2, 50, 500, 10},  {2, 256, 64, 1},    {2, 256, 65, 2},   {2, 256, 512, 8},  {2, 256, 519, 9},
               {2, 256, 520, 6},  {2, 256, 767, 8},  {2, 256, 1024, 8},  {2, 256, 2047, 8}, {2, 256, 2048, 8}, {2, 256, 2049, 9},
               {1, 256, 1024, 4}, {1, 256, 2048, 8}, {4, 256, 2048, 16}, {4, 100, 2048, 21}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    check_cut(HMOE_STEP_GROUP, cases[i].threads, cases[i].row_block, cases[i].rows, cases[i].expected);
    check_cut(HMOE_STEP_GROUP_SETS, cases[i].threads, cases[i].row_block, cases[i].rows, cases[i].expected);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_counts_go_on), cmocka_unit_test(test_reorder),
                                     cmocka_unit_test(test_sizes), cmocka_unit_test(test_scopes),
                                     cmocka_unit_test(test_cut_by_threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
