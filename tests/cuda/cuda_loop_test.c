/* GROUP_SETS and LOOP over groups on a GPU, in the emulator, against plain loops: which tokens have which sets, what a chunk generates and into which slots,
 * run after run with one cache. Every seed of the schedule gives the same. */
#include "steps_on_cuda.h"

enum { SOME_TOKENS = 1100, MOST_TOKENS = 8450, MOST_K = 4, MOST_SLOTS = 600, RUNS = 4, WARPS = STEP_THREADS / 32 };

typedef struct grouping {
  int64_t tokens, experts, top_k, row_block;
  uint32_t mode;
} grouping;

typedef struct result {
  hmoe_blocks header;
  hmoe_block blocks[MOST_TOKENS];
  int32_t row_token[MOST_TOKENS], sets[MOST_TOKENS * MOST_K], groups;
} result;

static void sort_set(const grouping *g, const int32_t *indices, int32_t *out) {
  for (int64_t i = 0; i < g->top_k; i++) {
    int32_t value = indices[i] >= 0 && indices[i] < g->experts ? indices[i] : 0;
    int64_t at = i;
    for (; at > 0 && out[at - 1] > value; at--) out[at] = out[at - 1];
    out[at] = value;
  }
}

static int64_t binomial(int64_t n, int64_t k) {
  int64_t c = 1;
  for (int64_t i = 0; i < k; i++) c = c * (n > i ? n - i : 0) / (i + 1);
  return c;
}

/* What names a token's group, and orders it among others: its rank, how many tokens have lesser sets, or itself. */
static int64_t name_of(const grouping *g, const int32_t *sorted, int64_t t) {
  const int32_t *set = sorted + t * g->top_k;
  int64_t rank = 0, less = 0, sets = binomial(g->experts, g->top_k);
  if (g->mode == HMOE_SETS_TOKEN) return t;
  for (int64_t s = 0; s < g->top_k; s++) rank += binomial(set[s], s + 1);
  if (g->mode == HMOE_SETS_RANK) return rank < sets ? rank : sets - 1;
  for (int64_t u = 0; u < g->tokens; u++) {
    int64_t s = 0;
    while (s < g->top_k && sorted[u * g->top_k + s] == set[s]) s++;
    less += s < g->top_k && sorted[u * g->top_k + s] < set[s];
  }
  return less;
}

static void reference(const grouping *g, const int32_t *indices, result *out) {
  static int32_t sorted[MOST_TOKENS * MOST_K];
  int64_t names = g->mode == HMOE_SETS_RANK ? binomial(g->experts, g->top_k) : g->tokens, row = 0;
  memset(out, 0, sizeof *out);
  static int64_t token_names[MOST_TOKENS];
  for (int64_t t = 0; t < g->tokens; t++) sort_set(g, indices + t * g->top_k, sorted + t * g->top_k);
  for (int64_t t = 0; t < g->tokens; t++) token_names[t] = name_of(g, sorted, t);
  for (int64_t name = 0; name < names; name++) {
    int64_t first = row;
    for (int64_t t = 0; t < g->tokens; t++)
      if (token_names[t] == name) out->row_token[row++] = (int32_t)t;
    if (row == first) continue;
    int64_t rows = row - first, count = (rows + g->row_block - 1) / g->row_block;
    for (int64_t i = 0; i < count; i++) {
      int64_t begin = rows * i / count, end = rows * (i + 1) / count;
      int32_t group = g->mode == HMOE_SETS_DISTINCT ? out->groups : (int32_t)name;
      out->blocks[out->header.count++] = (hmoe_block){group, (int32_t)(first + begin), (int32_t)(end - begin), 0};
    }
    memcpy(out->sets + out->groups++ * g->top_k, sorted + out->row_token[first] * g->top_k, (size_t)g->top_k * 4);
  }
  out->header.groups = out->groups;
  out->header.rows = (int32_t)g->tokens;
}

static void free_buffers(const harness_unit *u, hmoe_cuda_call *call) {
  for (int i = 0; i < HMOE_CUDA_BINDINGS_MAX; i++)
    if (call->buffers[i]) ptx_device_free(u->device, call->buffers[i]);
}

static int64_t tasks_of(int64_t elements) { return (elements + STEP_THREADS - 1) / STEP_THREADS; }

/* Groups tokens, and compares; the buffers of the step stay. */
static hmoe_cuda_call group(const harness_unit *u, const grouping *g, const int32_t *indices, result *want) {
  hmoe_cuda_call call = {.rows = g->tokens, .splits = 1};
  const int64_t dims[] = {g->experts, g->top_k, g->row_block, binomial(g->experts, g->top_k), g->mode == HMOE_SETS_DISTINCT};
  bool each = g->mode == HMOE_SETS_TOKEN;
  memcpy(call.dims, dims, sizeof dims);
  reference(g, indices, want);
  int64_t block_words = (int64_t)sizeof(hmoe_blocks) / 4 + want->header.count * 4, tasks = tasks_of(g->tokens);
  call.buffers[HMOE_BIND_GROUP_SETS_INDICES] = step_words(u, indices, g->tokens * g->top_k);
  call.buffers[HMOE_BIND_GROUP_SETS_BLOCKS] = step_words(u, NULL, block_words);
  call.buffers[HMOE_BIND_GROUP_SETS_ROW_TOKEN] = step_words(u, NULL, g->tokens);
  call.buffers[HMOE_BIND_GROUP_SETS_SETS] = step_words(u, NULL, g->tokens * g->top_k);
  bool few = g->tokens <= STEP_THREADS && (!g->tokens || harness_coin());
  bool once = g->mode == HMOE_SETS_RANK && g->experts * g->top_k <= HMOE_CUDA_RANKED_MEMBERS &&
              dims[3] <= HMOE_CUDA_GROUP_EXPERTS && g->tokens <= HMOE_CUDA_RANKED_TOKENS && !few && harness_coin();
  if (!each) call.buffers[HMOE_BIND_GROUP_SETS_SCRATCH] = step_words(u, NULL, 4 * g->tokens);
  if (each) step_launch(u, "hmoe_sets_token", tasks ? tasks : 1, &call);
  if (!each && few) step_launch(u, "hmoe_sets_few", 1, &call);
  if (once) step_launch(u, "hmoe_sets_once", dims[3], &call);
  if (!each && !few && !once) step_launch(u, "hmoe_sets_sort", tasks, &call);
  if (!each && !few && !once) step_launch(u, "hmoe_sets_place", (g->tokens + WARPS - 1) / WARPS, &call);
  if (!each && !few && !once) step_launch(u, "hmoe_sets_block", 1, &call);
  step_expect(u, call.buffers[HMOE_BIND_GROUP_SETS_BLOCKS], want, block_words, "blocks");
  step_expect(u, call.buffers[HMOE_BIND_GROUP_SETS_ROW_TOKEN], want->row_token, g->tokens, "row_token");
  step_expect(u, call.buffers[HMOE_BIND_GROUP_SETS_SETS], want->sets, want->groups * g->top_k, "sets");
  return call;
}

/* Some of the tokens have a set that others have, some one with experts that are none, or twice the same. */
static grouping random_grouping(uint32_t mode, int64_t experts, int64_t top_k, int32_t *indices) {
  static const int64_t counts[] = {0, 1, 2, 31, 255, 256, 257, 300, SOME_TOKENS};
  grouping g = {counts[harness_below(9)], experts, top_k, 1 + harness_below(40), mode};
  int64_t few = 1 + harness_below(experts);
  for (int64_t i = 0; i < g.tokens * top_k; i++) {
    indices[i] = (int32_t)(harness_below(3) ? harness_below(experts) : harness_below(few));
    if (harness_below(80) == 0) indices[i] = (int32_t)(harness_coin() ? -3 : experts + 5);
  }
  return g;
}

static void test_sets(void **state) {
  (void)state;
  static int32_t indices[MOST_TOKENS * MOST_K];
  static result want;
  harness_unit u = harness_compile(NULL, 0, hmoec_cpu_schedule_default(64));
  for (uint32_t i = 0; i < 30; i++) {
    int64_t top_k = 1 + harness_below(MOST_K), experts = top_k + harness_below(9);
    grouping g = random_grouping(i % 3, experts, top_k, indices);
    hmoe_cuda_call call = group(&u, &g, indices, &want);
    free_buffers(&u, &call);
  }
  harness_destroy(&u);
}

/* More tokens than lanes have parts of: some find their places in two. */
static void test_many_sets(void **state) {
  (void)state;
  static int32_t indices[MOST_TOKENS * MOST_K];
  static result want;
  harness_unit u = harness_compile(NULL, 0, hmoec_cpu_schedule_default(64));
  for (uint32_t mode = HMOE_SETS_RANK; mode <= HMOE_SETS_DISTINCT; mode++) {
    grouping g = random_grouping(mode, 8, 2, indices);
    g.tokens = MOST_TOKENS;
    for (int64_t i = 0; i < g.tokens * g.top_k; i++) indices[i] = (int32_t)harness_below(8);
    hmoe_cuda_call call = group(&u, &g, indices, &want);
    free_buffers(&u, &call);
  }
  harness_destroy(&u);
}

/* ---- loops ---- */

/* A cache's book: stamps are those of slots, then the latest chunk, and the slot that was taken last. */
typedef struct book {
  int64_t slots, stamps[MOST_SLOTS + 2];
  int32_t keys[MOST_SLOTS * MOST_K];
} book;

static int64_t find_slot(const book *b, const int32_t *set, int64_t top_k) {
  for (int64_t s = 0; s < b->slots; s++)
    if (!memcmp(b->keys + s * top_k, set, (size_t)top_k * 4)) return s;
  return -1;
}

/* Slots of the chunk's groups, and those that are to be generated, in order. */
static int64_t use_book(book *b, const int32_t *sets, int64_t count, int64_t top_k, int32_t *slots, int32_t *todo) {
  int64_t now = ++b->stamps[b->slots], missing = 0, taken = 0, *hand = &b->stamps[b->slots + 1];
  static int32_t free_slots[MOST_SLOTS];
  for (int64_t i = 0; i < count; i++) {
    slots[i] = (int32_t)find_slot(b, sets + i * top_k, top_k);
    if (slots[i] < 0) todo[missing++] = (int32_t)i;
    else b->stamps[slots[i]] = now;
  }
  for (int64_t s = (*hand + 1) % b->slots; taken < missing; s = (s + 1) % b->slots) {
    if (b->stamps[s] < 0) {
      free_slots[taken++] = (int32_t)s;
      b->stamps[s] = now;
      *hand = s;
    } else if (b->stamps[s] != now) {
      b->stamps[s] = -1;
    }
  }
  for (int64_t n = 0; n < missing; n++) {
    slots[todo[n]] = free_slots[n];
    memcpy(b->keys + free_slots[n] * top_k, sets + todo[n] * top_k, (size_t)top_k * 4);
  }
  return missing;
}

/* All chunks of what was grouped, and chunks past the end, which the host runs as it knows only bounds. b: NULL: a loop without a cache. */
static void check_chunks(const harness_unit *u, const grouping *g, result *want, book *b, int64_t chunk, hmoe_cuda_call *call) {
  static int32_t slots[MOST_TOKENS], todo[MOST_TOKENS], todo_slot[MOST_TOKENS], todo_token[MOST_TOKENS],
      todo_sets[MOST_TOKENS * MOST_K];
  int64_t all = want->header.count, end = 0, block_words = (int64_t)sizeof(hmoe_blocks) / 4 + all * 4, extra = harness_below(2);
  int64_t most = want->groups + extra * chunk;
  for (int64_t first = 0; first < most; first += chunk) {
    int64_t count = want->groups - first, begin = end, missing;
    count = count < 0 ? 0 : count < chunk ? count : chunk;
    missing = count;
    for (int64_t i = 0; i < count; i++) slots[i] = todo[i] = (int32_t)i;
    if (b) missing = use_book(b, want->sets + first * g->top_k, count, g->top_k, slots, todo);
    for (int64_t n = 0; n < missing; n++) {
      int64_t block = begin;
      while (want->blocks[block].group != first + todo[n]) block++;
      todo_slot[n] = slots[todo[n]];
      todo_token[n] = want->row_token[want->blocks[block].row];
      memcpy(todo_sets + n * g->top_k, want->sets + (first + todo[n]) * g->top_k, (size_t)g->top_k * 4);
    }
    for (; end < all && want->blocks[end].group < first + count; end++)
      want->blocks[end].group = slots[want->blocks[end].group - first];
    want->header.first = (int32_t)begin;
    want->header.count = (int32_t)end;
    want->header.all = (int32_t)all;
    want->header.todo = (int32_t)missing;
    const int64_t dims[] = {first, chunk, g->top_k, b ? b->slots : 0};
    memcpy(call->dims, dims, sizeof dims);
    if (b) step_launch(u, "hmoe_loop_find", (chunk + WARPS - 1) / WARPS, call);
    step_launch(u, "hmoe_loop_chunk", 1, call);
    step_expect(u, call->buffers[HMOE_BIND_LOOP_BLOCKS], want, block_words, "blocks");
    if (call->buffers[HMOE_BIND_LOOP_TODO_SETS])
      step_expect(u, call->buffers[HMOE_BIND_LOOP_TODO_SETS], todo_sets, missing * g->top_k, "todo_sets");
    if (call->buffers[HMOE_BIND_LOOP_TODO_SLOT])
      step_expect(u, call->buffers[HMOE_BIND_LOOP_TODO_SLOT], todo_slot, missing, "todo_slot");
    if (call->buffers[HMOE_BIND_LOOP_TODO_TOKEN])
      step_expect(u, call->buffers[HMOE_BIND_LOOP_TODO_TOKEN], todo_token, missing, "todo_token");
    if (!b) continue;
    step_expect(u, call->buffers[HMOE_CUDA_LOOP_KEYS], b->keys, b->slots * g->top_k, "keys");
    step_expect(u, call->buffers[HMOE_CUDA_LOOP_STAMPS], b->stamps, 2 * (b->slots + 2), "stamps");
  }
}

static void bind_loop(const harness_unit *u, const grouping *g, const hmoe_cuda_call *grouped, int64_t chunk,
                      hmoe_cuda_call *call) {
  call->buffers[HMOE_BIND_LOOP_BLOCKS] = grouped->buffers[HMOE_BIND_GROUP_SETS_BLOCKS];
  call->buffers[HMOE_BIND_LOOP_SETS] = grouped->buffers[HMOE_BIND_GROUP_SETS_SETS];
  call->buffers[HMOE_BIND_LOOP_ROW_TOKEN] = grouped->buffers[HMOE_BIND_GROUP_SETS_ROW_TOKEN];
  if (harness_coin()) call->buffers[HMOE_BIND_LOOP_TODO_SETS] = step_words(u, NULL, chunk * g->top_k);
  if (harness_coin()) call->buffers[HMOE_BIND_LOOP_TODO_SLOT] = step_words(u, NULL, chunk);
  if (harness_coin()) call->buffers[HMOE_BIND_LOOP_TODO_TOKEN] = step_words(u, NULL, chunk);
}

static void free_loop(const harness_unit *u, hmoe_cuda_call *grouped, hmoe_cuda_call *call) {
  static const int own[] = {HMOE_BIND_LOOP_TODO_SETS, HMOE_BIND_LOOP_TODO_SLOT, HMOE_BIND_LOOP_TODO_TOKEN};
  free_buffers(u, grouped);
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
    if (call->buffers[own[i]]) ptx_device_free(u->device, call->buffers[own[i]]);
    call->buffers[own[i]] = 0;
  }
}

static void test_groups(void **state) {
  (void)state;
  static int32_t indices[MOST_TOKENS * MOST_K];
  static result want;
  harness_unit u = harness_compile(NULL, 0, hmoec_cpu_schedule_default(64));
  for (uint32_t i = 0; i < 12; i++) {
    int64_t top_k = 1 + harness_below(MOST_K), chunk = 1 + harness_below(i % 3 ? 40 : SOME_TOKENS);
    grouping g = random_grouping(i % 2 ? HMOE_SETS_TOKEN : HMOE_SETS_DISTINCT, top_k + harness_below(9), top_k, indices);
    hmoe_cuda_call grouped = group(&u, &g, indices, &want), call = {.splits = 1};
    bind_loop(&u, &g, &grouped, chunk, &call);
    check_chunks(&u, &g, &want, NULL, chunk, &call);
    free_loop(&u, &grouped, &call);
  }
  harness_destroy(&u);
}

/* One cache, run after run: of fewer slots than there are sets, of more than threads, of one. */
static void test_cache(void **state) {
  (void)state;
  static const int64_t slot_counts[] = {1, 2, 7, 16, 40, 255, 257, MOST_SLOTS};
  static int32_t indices[MOST_TOKENS * MOST_K];
  static result want;
  static book b;
  harness_unit u = harness_compile(NULL, 0, hmoec_cpu_schedule_default(64));
  for (size_t i = 0; i < sizeof slot_counts / sizeof *slot_counts; i++) {
    int64_t top_k = 1 + harness_below(3), experts = top_k + 2 + harness_below(i < 5 ? 4 : 9);
    memset(&b, 0xff, sizeof b);
    b.slots = slot_counts[i];
    hmoe_cuda_call call = {.splits = 1};
    call.buffers[HMOE_CUDA_LOOP_KEYS] = step_words(&u, b.keys, b.slots * top_k);
    call.buffers[HMOE_CUDA_LOOP_STAMPS] = step_words(&u, b.stamps, 2 * (b.slots + 2));
    call.buffers[HMOE_CUDA_LOOP_FOUND] = step_words(&u, NULL, b.slots);
    call.buffers[HMOE_CUDA_LOOP_TAKEN] = step_words(&u, NULL, b.slots);
    for (int run = 0; run < RUNS; run++) {
      grouping g = random_grouping(HMOE_SETS_DISTINCT, experts, top_k, indices);
      if (b.slots < 7 && g.tokens > 31) g.tokens = 31; /* a chunk a group */
      int64_t chunk = harness_coin() ? b.slots : 1 + harness_below(b.slots);
      hmoe_cuda_call grouped = group(&u, &g, indices, &want);
      bind_loop(&u, &g, &grouped, chunk, &call);
      check_chunks(&u, &g, &want, &b, chunk, &call);
      free_loop(&u, &grouped, &call);
    }
    memset(call.buffers, 0, HMOE_BIND_LOOP_COUNT * sizeof *call.buffers);
    free_buffers(&u, &call);
  }
  harness_destroy(&u);
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sets), cmocka_unit_test(test_many_sets), cmocka_unit_test(test_groups),
                                     cmocka_unit_test(test_cache)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
