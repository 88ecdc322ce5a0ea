/* LOOP: runs the steps of its body once per chunk, so that what they need is bounded by the chunk and not by the run.
 *
 *   rows:    [0, rows) in chunks; sets the CHUNK dimensions
 *   groups:  the distinct groups of a GROUP_SETS result in chunks; what a group needs is generated into slot 0..n-1 of a buffer
 *   cached:  the same, but slots belong to the model's cache and only groups that it lacks are generated. A run of more groups than a chunk has
 *            takes a quarter of a chunk at a time, so that those that often come are not all replaced by those that are next in line
 *
 * A groups loop may stand inside a rows loop. Bindings advance by the rows loop's items, or by groups outside one. */
#include "cpu/cpu.h"

#include <string.h>

/* Bindings of a loop over groups. */
typedef struct group_loop {
  hmoe_blocks *blocks;
  hmoe_block *block; /* the blocks behind the header */
  uint64_t block_capacity;
  const int32_t *sets;
  int32_t *todo_sets, *todo_slot, *todo_token;
  const int32_t *row_token;
  uint64_t row_count, top_k;
} group_loop;

static hmoe_status bind_groups(const hmoe_run *run, const hmoe_plan_step *step, bool cached, group_loop *loop) {
  const hmoe_step_loop *fields = hmoe_run_fields(run, step);
  uint64_t chunk = fields->chunk, word = sizeof(int32_t);
  *loop = (group_loop){.top_k = fields->top_k};
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_LOOP_BLOCKS, HMOE_WRITE, sizeof *loop->blocks, &loop->blocks));
  loop->block = (hmoe_block *)(loop->blocks + 1);
  loop->block_capacity = (hmoe_run_binding_bytes(run, step, HMOE_BIND_LOOP_BLOCKS) - sizeof *loop->blocks) / sizeof *loop->block;
  if (loop->blocks->count < 0 || (uint64_t)loop->blocks->count > loop->block_capacity || loop->blocks->groups < 0 ||
      loop->blocks->groups > loop->blocks->count)
    return hmoe_step_fail(run, step, "%d blocks of %d groups in a buffer for %llu blocks", loop->blocks->count,
                          loop->blocks->groups, (unsigned long long)loop->block_capacity);
  uint64_t most = hmoe_min((uint64_t)hmoe_run_rows(run, step), fields->groups);
  if ((uint64_t)loop->blocks->groups > most)
    return hmoe_step_fail(run, step, "%d groups, at most %llu are expected", loop->blocks->groups, (unsigned long long)most);
  uint64_t set_bytes = hmoe_mul((uint64_t)loop->blocks->groups, hmoe_mul(loop->top_k, word));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_LOOP_SETS, cached ? HMOE_READ : HMOE_OPTIONAL, set_bytes, &loop->sets));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_LOOP_TODO_SETS, HMOE_WRITE | HMOE_OPTIONAL, hmoe_mul(chunk, loop->top_k * word),
                            &loop->todo_sets));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_LOOP_TODO_SLOT, HMOE_WRITE | HMOE_OPTIONAL, chunk * word, &loop->todo_slot));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_LOOP_TODO_TOKEN, HMOE_WRITE | HMOE_OPTIONAL, chunk * word, &loop->todo_token));
  HMOE_TRY(
      hmoe_run_binding(run, step, HMOE_BIND_LOOP_ROW_TOKEN, loop->todo_token ? HMOE_READ : HMOE_OPTIONAL, 0, &loop->row_token));
  loop->row_count = hmoe_run_binding_bytes(run, step, HMOE_BIND_LOOP_ROW_TOKEN) / word;
  if (loop->todo_sets && !loop->sets) return hmoe_step_fail(run, step, "binding %d is missing", HMOE_BIND_LOOP_SETS);
  return HMOE_OK;
}

/* Writes the n-th group to generate. */
static void add_todo(const group_loop *loop, uint64_t n, int32_t group, int32_t slot, const hmoe_block *first) {
  if (loop->todo_sets)
    memcpy(loop->todo_sets + n * loop->top_k, loop->sets + (uint64_t)group * loop->top_k, loop->top_k * sizeof(int32_t));
  if (loop->todo_slot) loop->todo_slot[n] = slot;
  if (loop->todo_token && first->row >= 0 && (uint64_t)first->row < loop->row_count)
    loop->todo_token[n] = loop->row_token[first->row];
}

/* Blocks of groups [group, group + count), which are next in line from `block` on; -1 when the blocks are not in that order. */
static int32_t count_blocks(const group_loop *loop, int32_t block, int32_t group, int32_t count) {
  int32_t current = group - 1, end = block;
  for (; end < loop->blocks->count && loop->block[end].group < group + count; end++) {
    if (loop->block[end].group != current && loop->block[end].group != ++current) return -1;
  }
  return current == group + count - 1 ? end - block : -1;
}

/* One chunk: slots[i] becomes the group of the blocks of its i-th group; missing[0..missing_count) index the groups to generate. */
static void prepare_chunk(const group_loop *loop, const int32_t *slots, const int32_t *missing, uint64_t missing_count,
                          int32_t block, int32_t block_count, int32_t group) {
  uint64_t next = 0;
  for (int32_t i = 0, last = -1; i < block_count; i++) {
    hmoe_block *b = &loop->block[block + i];
    int32_t index = b->group - group;
    if (index != last && next < missing_count && missing[next] == index) {
      add_todo(loop, next, b->group, slots[index], b);
      next++;
    }
    last = index;
    b->group = slots[index];
  }
}

/* Of the fewest, generating reads the hypernetwork too often. */
enum { CACHED_AT_LEAST = 32 };

static int32_t chunk_size(const hmoe_step_loop *fields, int32_t groups, bool cached) {
  int32_t chunk = (int32_t)fields->chunk;
  if (!cached || groups <= chunk) return chunk;
  int32_t part = chunk / 4 > CACHED_AT_LEAST ? chunk / 4 : CACHED_AT_LEAST;
  return part < chunk ? part : chunk;
}

static hmoe_status loop_groups(hmoe_run *run, const hmoe_plan_step *step, uint32_t body, bool cached) {
  const hmoe_step_loop *fields = hmoe_run_fields(run, step);
  uint32_t end = body + fields->steps, generated = cached ? body + fields->generate_steps : end;
  hmoe_cache *cache = cached ? run->model->caches[fields->cache].cache : NULL;
  int32_t *slots = hmoe_cpu_own(run)->loop_slots, *missing = hmoe_cpu_own(run)->loop_missing;
  group_loop loop;
  HMOE_TRY(bind_groups(run, step, cached, &loop));

  hmoe_status status = HMOE_OK;
  int32_t groups = loop.blocks->groups, chunk = chunk_size(fields, groups, cached), block = 0;
  run->chunk_blocks = loop.blocks;
  for (int32_t group = 0; status == HMOE_OK && group < groups; group += chunk) {
    int32_t count = groups - group < chunk ? groups - group : chunk;
    int32_t block_count = count_blocks(&loop, block, group, count);
    if (block_count < 0) {
      status = hmoe_step_fail(run, step, "blocks are not in the order of their groups");
      break;
    }
    uint64_t missing_count = (uint64_t)count;
    if (cached) {
      hmoe_cache_acquire(cache, loop.sets + (uint64_t)group * loop.top_k, (uint64_t)count, slots, missing, &missing_count);
    } else {
      for (int32_t i = 0; i < count; i++) slots[i] = missing[i] = i;
    }
    prepare_chunk(&loop, slots, missing, missing_count, block, block_count, group);
    run->chunk_first = block;
    run->chunk_count = block_count;
    block += block_count;
    if (!run->in_rows) run->items_done = (uint64_t)group;
    status = hmoe_run_set_dims(run, HMOE_DIM_MISSING, (int64_t)missing_count);
    if (status == HMOE_OK && (!cached || missing_count)) status = hmoe_run_steps(run, body, generated);
    if (cached) {
      hmoe_cache_publish(cache, slots, missing, missing_count, status == HMOE_OK);
      if (status == HMOE_OK) status = hmoe_run_steps(run, generated, end);
      hmoe_cache_release(cache, slots, (uint64_t)count);
    }
  }
  run->chunk_blocks = NULL;
  if (!run->in_rows) run->items_done = 0;
  return status;
}

hmoe_status hmoe_cpu_step_loop(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_loop *loop = hmoe_run_fields(run, step);
  uint32_t body = (uint32_t)(step - run->steps) + 1;
  if (loop->kind == HMOE_LOOP_ROWS) return hmoe_run_loop_rows(run, step);
  return loop_groups(run, step, body, loop->kind == HMOE_LOOP_CACHED);
}
