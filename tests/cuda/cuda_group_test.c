/* GROUP on a GPU, in the emulator, against plain loops: rows by expert, capacity by scope, histories, blocks. Every seed of the schedule gives the same. */
#include "steps_on_cuda.h"

enum { MOST = 4096, MAX_EXPERTS = 70, MANY_EXPERTS = 300 /* more than a block has threads */, THREADS = STEP_THREADS };

typedef struct grouping {
  int64_t rows, experts, top_k, capacity, row_block, scope_rows, past_rows, stride;
  bool has_gates, has_slots, has_row_gates, has_history;
} grouping;

typedef struct result {
  hmoe_blocks header;
  hmoe_block blocks[MOST];
  int32_t row_token[MOST], row_slot[MOST], history[2 * MOST];
  float row_gate[MOST];
} result;

static int32_t clamped(int32_t index, int64_t experts) { return index >= 0 && index < experts ? index : 0; }

static void add_blocks(const grouping *g, result *out, int64_t expert, int64_t row, int64_t rows, int32_t dropped) {
  int64_t count = (rows + g->row_block - 1) / g->row_block;
  for (int64_t i = 0; i < count; i++) {
    int64_t begin = rows * i / count, end = rows * (i + 1) / count;
    out->blocks[out->header.count++] = (hmoe_block){(int32_t)expert, (int32_t)(row + begin), (int32_t)(end - begin), dropped};
  }
}

static void reference(const grouping *g, const int32_t *indices, const float *gates, result *out) {
  out->header = (hmoe_blocks){.groups = (int32_t)g->experts, .rows = (int32_t)g->rows};
  int64_t next = 0;
  for (int64_t e = 0; e < g->experts; e++) {
    for (int32_t dropped = 0; dropped < 2; dropped++) {
      int64_t first = next;
      for (int64_t i = 0; i < g->rows; i++) {
        if (clamped(indices[i], g->experts) != e) continue;
        int64_t scope = i / g->scope_rows, before = 0;
        for (int64_t j = scope * g->scope_rows; j < i; j++) before += clamped(indices[j], g->experts) == e;
        for (int64_t h = 0; g->has_history && h < g->past_rows; h++)
          before += clamped(out->history[scope * g->stride + h], g->experts) == e;
        if ((g->capacity && before >= g->capacity) != dropped) continue;
        out->row_token[next] = (int32_t)(i / g->top_k);
        out->row_slot[next] = (int32_t)i;
        out->row_gate[next++] = g->has_gates ? gates[i] : 1.0f;
      }
      add_blocks(g, out, e, first, next - first, dropped);
    }
  }
  for (int64_t i = 0; g->has_history && i < g->rows; i++)
    out->history[i / g->scope_rows * g->stride + g->past_rows + i % g->scope_rows] = indices[i];
}

static void check(const harness_unit *u, const grouping *g) {
  static int32_t indices[MOST];
  static float gates[MOST];
  static result want;
  memset(&want, 0, sizeof want);
  int64_t scopes = (g->rows + g->scope_rows - 1) / g->scope_rows, words = g->has_history ? scopes * g->stride : 0;
  bool one = harness_below(4) == 0;
  for (int64_t i = 0; i < g->rows; i++) {
    indices[i] = (int32_t)(one ? g->experts - 1 : harness_below(g->experts));
    if (harness_below(50) == 0) indices[i] = (int32_t)(harness_coin() ? -3 : g->experts + 5);
    gates[i] = harness_float();
  }
  for (int64_t i = 0; i < words; i++) want.history[i] = (int32_t)harness_below(g->experts + 1);
  uint64_t history = g->has_history ? step_words(u, want.history, words) : 0;
  reference(g, indices, gates, &want);
  hmoe_cuda_call call = {.rows = g->rows, .splits = 1};
  const int64_t dims[] = {g->experts, g->top_k, g->capacity, g->row_block, g->scope_rows, g->past_rows, g->stride};
  memcpy(call.dims, dims, sizeof dims);
  call.buffers[HMOE_BIND_GROUP_INDICES] = step_words(u, indices, g->rows);
  if (g->has_gates) call.buffers[HMOE_BIND_GROUP_GATES] = step_words(u, gates, g->rows);
  int64_t block_words = (int64_t)sizeof(hmoe_blocks) / 4 + want.header.count * 4;
  call.buffers[HMOE_BIND_GROUP_BLOCKS] = step_words(u, NULL, block_words);
  call.buffers[HMOE_BIND_GROUP_ROW_TOKEN] = step_words(u, NULL, g->rows);
  if (g->has_slots) call.buffers[HMOE_BIND_GROUP_ROW_SLOT] = step_words(u, NULL, g->rows);
  if (g->has_row_gates) call.buffers[HMOE_BIND_GROUP_ROW_GATE] = step_words(u, NULL, g->rows);
  call.buffers[HMOE_BIND_GROUP_COUNTERS] = step_words(u, NULL, 2 * g->experts);
  call.buffers[HMOE_BIND_GROUP_HISTORY] = history;
  bool once = !g->capacity && harness_coin();
  if (!once) step_launch(u, "hmoe_group_count", g->experts, &call);
  step_launch(u, once ? "hmoe_group_once" : "hmoe_group_write", g->experts, &call);
  if (g->has_history) step_launch(u, "hmoe_group_history", (g->rows + THREADS - 1) / THREADS, &call);
  step_expect(u, call.buffers[HMOE_BIND_GROUP_BLOCKS], &want, block_words, "blocks");
  step_expect(u, call.buffers[HMOE_BIND_GROUP_ROW_TOKEN], want.row_token, g->rows, "row_token");
  if (g->has_slots) step_expect(u, call.buffers[HMOE_BIND_GROUP_ROW_SLOT], want.row_slot, g->rows, "row_slot");
  if (g->has_row_gates) step_expect(u, call.buffers[HMOE_BIND_GROUP_ROW_GATE], want.row_gate, g->rows, "row_gate");
  if (g->has_history) step_expect(u, history, want.history, words, "history");
  for (int i = 0; i < HMOE_CUDA_BINDINGS_MAX; i++)
    if (call.buffers[i]) ptx_device_free(u->device, call.buffers[i]);
}

static void test_group(void **state) {
  (void)state;
  static const int64_t row_counts[] = {0, 1, 2, 31, 255, 256, 257, 300, 700, 1100};
  harness_unit u = harness_compile(NULL, 0, hmoec_cpu_schedule_default(64));
  for (int i = 0; i < 60; i++) {
    grouping g = {
        .top_k = 1 + harness_below(4), .experts = 1 + harness_below(i % 4 ? 9 : MAX_EXPERTS), .row_block = 1 + harness_below(64)};
    g.rows = row_counts[harness_below(10)] / g.top_k * g.top_k;
    g.capacity = i % 3 ? 1 + harness_below(40) : 0;
    g.scope_rows = i % 5 && g.rows ? (1 + harness_below(g.rows)) / g.top_k * g.top_k : g.rows;
    if (!g.scope_rows) g.scope_rows = g.top_k;
    g.has_gates = harness_coin(), g.has_slots = harness_coin(), g.has_row_gates = harness_coin();
    g.has_history = i % 5 && harness_coin() && g.rows / g.scope_rows < 50;
    g.past_rows = g.has_history ? harness_below(20) * g.top_k : 0;
    g.stride = g.past_rows + g.scope_rows + harness_below(5);
    if (g.has_history && (g.rows / g.scope_rows + 1) * g.stride > 2 * MOST) g.has_history = false;
    check(&u, &g);
  }
  check(&u, &(grouping){.rows = 700, .experts = MANY_EXPERTS, .top_k = 1, .capacity = 2, .row_block = 2, .scope_rows = 700});
  check(&u, &(grouping){.rows = 700, .experts = HMOE_CUDA_GROUP_EXPERTS, .top_k = 1, .row_block = 2, .scope_rows = 700});
  harness_destroy(&u);
}

/* Few tokens are grouped by the block of threads that chooses their experts: as by launches of their own, from what it has chosen. */
static void test_chosen(void **state) {
  (void)state;
  enum { MOST_TOKENS = CUDA_ROUTE_THREADS / CUDA_WARP, KERNELS = 6 };
  static const int64_t sizes[KERNELS][2] = {{5, 5}, {64, 6}, {130, 3}, {300, 1}, {HMOE_CUDA_GROUP_EXPERTS, 2}, {80, 40}};
  static const int64_t tokens[] = {1, 2, 5, 7, 8};
  static float logits[MOST_TOKENS * HMOE_CUDA_GROUP_EXPERTS], gates[MOST];
  static int32_t indices[MOST];
  hmoec_kernel kernels[KERNELS];
  for (int k = 0; k < KERNELS; k++)
    kernels[k] = (hmoec_kernel){.family = HMOEC_KERNEL_ROUTE,
                                .spec.route = {.experts = sizes[k][0],
                                               .top_k = sizes[k][1],
                                               .ldl = sizes[k][0],
                                               .gate = k % 2 ? HMOEC_GATE_TOPK_THEN_SOFTMAX : HMOEC_GATE_SOFTMAX_THEN_TOPK,
                                               .row_block = MOST_TOKENS}};
  harness_unit u = harness_compile(kernels, KERNELS, hmoec_cpu_schedule_default(64));
  for (int i = 0; i < KERNELS * 5; i++) {
    int k = i % KERNELS;
    int64_t experts = sizes[k][0], top_k = sizes[k][1], count = tokens[i / KERNELS];
    grouping g = {.rows = count * top_k, .experts = experts, .top_k = top_k, .row_block = 1 + harness_below(20), .has_gates = true};
    g.scope_rows = g.rows;
    for (int64_t l = 0; l < count * experts; l++) logits[l] = harness_float();
    hmoe_cuda_call call = {.rows = count, .splits = 1, .dims = {g.row_block}};
    char name[32];
    snprintf(name, sizeof name, "test_%d", k);
    call.buffers[0] = step_words(&u, logits, count * experts);
    call.buffers[HMOE_CUDA_CHOSEN_INDICES] = step_words(&u, NULL, g.rows);
    call.buffers[HMOE_CUDA_CHOSEN_GATES] = step_words(&u, NULL, g.rows);
    step_launch_of(&u, name, 1, CUDA_ROUTE_THREADS, &call); /* which tells what is chosen, and no more */
    assert_true(ptx_device_read(u.device, call.buffers[HMOE_CUDA_CHOSEN_INDICES], indices, (uint64_t)g.rows * 4, NULL));
    assert_true(ptx_device_read(u.device, call.buffers[HMOE_CUDA_CHOSEN_GATES], gates, (uint64_t)g.rows * 4, NULL));
    static result want;
    memset(&want, 0, sizeof want);
    reference(&g, indices, gates, &want);
    int64_t block_words = (int64_t)sizeof(hmoe_blocks) / 4 + want.header.count * 4;
    bool has_slots = harness_coin(), has_gates = harness_coin();
    call.buffers[HMOE_CUDA_CHOSEN_BLOCKS] = step_words(&u, NULL, block_words);
    call.buffers[HMOE_CUDA_CHOSEN_ROW_TOKEN] = step_words(&u, NULL, g.rows);
    if (has_slots) call.buffers[HMOE_CUDA_CHOSEN_ROW_SLOT] = step_words(&u, NULL, g.rows);
    if (has_gates) call.buffers[HMOE_CUDA_CHOSEN_ROW_GATE] = step_words(&u, NULL, g.rows);
    step_launch_of(&u, name, 1, CUDA_ROUTE_THREADS, &call);
    step_expect(&u, call.buffers[HMOE_CUDA_CHOSEN_INDICES], indices, g.rows, "indices");
    step_expect(&u, call.buffers[HMOE_CUDA_CHOSEN_BLOCKS], &want, block_words, "blocks");
    step_expect(&u, call.buffers[HMOE_CUDA_CHOSEN_ROW_TOKEN], want.row_token, g.rows, "row_token");
    if (has_slots) step_expect(&u, call.buffers[HMOE_CUDA_CHOSEN_ROW_SLOT], want.row_slot, g.rows, "row_slot");
    if (has_gates) step_expect(&u, call.buffers[HMOE_CUDA_CHOSEN_ROW_GATE], want.row_gate, g.rows, "row_gate");
    for (int b = 0; b < HMOE_CUDA_BINDINGS_MAX; b++)
      if (call.buffers[b]) ptx_device_free(u.device, call.buffers[b]);
  }
  harness_destroy(&u);
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_group), cmocka_unit_test(test_chosen)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
