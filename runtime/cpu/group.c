/* Sorts rows of work so that rows sharing weights are neighbours, and cuts them into blocks. Only indices move.
 *
 *   GROUP       rows (token, slot) by expert: a counting sort, stable, so a group's order is token, then slot; rows over the capacity
 *               of their scope (all tokens, or so many that follow each other, and those of earlier runs) come after the others of their group
 *   GROUP_SETS  tokens by the set of their experts: distinct sets in order of first appearance, by a hash table in the given scratch
 *
 * A group's rows are cut into equal blocks. Indices out of range are taken as expert 0: nothing is ever written outside the buffers. */
#include "cpu/cpu.h"

#include <string.h>

/* Where blocks are written. */
typedef struct block_writer {
  hmoe_blocks *header;
  hmoe_block *blocks;
  uint64_t capacity, row_block;
} block_writer;

static hmoe_status bind_blocks(const hmoe_run *run, const hmoe_plan_step *step, uint32_t binding, uint64_t row_block,
                               block_writer *out) {
  *out = (block_writer){.row_block = row_block};
  HMOE_TRY(hmoe_run_binding(run, step, binding, HMOE_WRITE, sizeof *out->header, &out->header));
  out->blocks = (hmoe_block *)(out->header + 1);
  out->capacity = (hmoe_run_binding_bytes(run, step, binding) - sizeof *out->header) / sizeof *out->blocks;
  memset(out->header, 0, sizeof *out->header);
  return HMOE_OK;
}

/* Cuts rows [row, row + rows) of one group into as few blocks as can be, of sizes that differ by one at most: a full block and a short
 * rest would make the last task of a step a small one, at the price of a large one. */
static bool add_blocks(block_writer *writer, int32_t group, uint64_t row, uint64_t rows, bool dropped) {
  uint64_t count = (rows + writer->row_block - 1) / writer->row_block;
  if (count > writer->capacity - (uint64_t)writer->header->count) return false;
  for (uint64_t i = 0; i < count; i++) {
    uint64_t begin = rows * i / count, end = rows * (i + 1) / count;
    writer->blocks[writer->header->count++] = (hmoe_block){group, (int32_t)(row + begin), (int32_t)(end - begin), dropped};
  }
  return true;
}

static hmoe_status fail_capacity(const hmoe_run *run, const hmoe_plan_step *step, const block_writer *writer) {
  return hmoe_step_fail(run, step, "the blocks buffer holds only %llu blocks", (unsigned long long)writer->capacity);
}

static uint32_t clamp_expert(int32_t index, uint64_t experts) { return (uint64_t)(uint32_t)index < experts ? (uint32_t)index : 0; }

/* Rows that one capacity is for: those of a scope's tokens, or all. */
static hmoe_status find_scope(const hmoe_run *run, const hmoe_plan_step *step, uint64_t rows, uint64_t *out_rows) {
  const hmoe_step_group *group = hmoe_run_fields(run, step);
  *out_rows = hmoe_max(rows, 1);
  if (group->scope_dim == HMOE_NONE) return HMOE_OK;
  *out_rows = hmoe_mul((uint64_t)run->workspace->dims[group->scope_dim], group->top_k);
  return *out_rows || !rows ? HMOE_OK : hmoe_step_fail(run, step, "capacity for every 0 tokens");
}

/* A sort of rows by expert: each expert's counts, later where its next row goes, kept or dropped. */
typedef struct expert_sort {
  uint64_t experts;
  uint64_t capacity; /* of an expert in a scope; 0: none */
  uint64_t scope_rows, next_scope; /* the row that the next scope begins with */
  int32_t *kept, *dropped, *in_scope; /* [experts] each */
  int32_t *history; /* of scope s: the experts of earlier rows at s * history_stride, past_rows of them; NULL: none */
  uint64_t past_rows, history_stride;
} expert_sort;

/* Whether row i, of expert e, is within the capacity of its scope. Rows come in order; each pass over them starts with next_scope 0. */
static bool keeps(expert_sort *sort, uint64_t i, uint32_t e) {
  if (!sort->capacity) return true;
  if (i == sort->next_scope) {
    memset(sort->in_scope, 0, sort->experts * sizeof *sort->in_scope);
    for (uint64_t h = 0; sort->history && h < sort->past_rows; h++) {
      int32_t earlier = sort->history[i / sort->scope_rows * sort->history_stride + h];
      sort->in_scope[clamp_expert(earlier, sort->experts)]++;
    }
    sort->next_scope += sort->scope_rows;
  }
  return (uint64_t)sort->in_scope[e]++ < sort->capacity;
}

/* Where scopes keep the experts of their rows between runs. */
static hmoe_status bind_history(const hmoe_run *run, const hmoe_plan_step *step, uint64_t rows, expert_sort *sort) {
  const hmoe_step_group *group = hmoe_run_fields(run, step);
  if (group->past_dim == HMOE_NONE || group->stride_dim == HMOE_NONE) return HMOE_OK;
  uint64_t scopes = (rows + sort->scope_rows - 1) / sort->scope_rows;
  sort->past_rows = hmoe_mul((uint64_t)run->workspace->dims[group->past_dim], group->top_k);
  sort->history_stride = hmoe_mul((uint64_t)run->workspace->dims[group->stride_dim], group->top_k);
  if (hmoe_add(sort->past_rows, sort->scope_rows) > sort->history_stride)
    return rows ? hmoe_step_fail(run, step, "%llu rows are more than the history holds", (unsigned long long)sort->scope_rows)
                : HMOE_OK;
  return hmoe_run_binding(run, step, HMOE_BIND_GROUP_HISTORY, HMOE_WRITE | HMOE_OPTIONAL,
                          hmoe_mul(hmoe_mul(scopes, sort->history_stride), sizeof(int32_t)), &sort->history);
}

hmoe_status hmoe_cpu_step_group(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_group *group = hmoe_run_fields(run, step);
  uint64_t experts = group->experts, top_k = group->top_k;
  uint64_t rows = (uint64_t)hmoe_run_rows(run, step), row_bytes = rows * sizeof(int32_t);
  if (rows > INT32_MAX)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "the run is too large: %llu rows to group", (unsigned long long)rows);
  const int32_t *indices;
  const float *gates;
  int32_t *row_token, *row_slot, *counters;
  float *row_gate;
  block_writer writer;
  expert_sort sort = {.experts = experts, .capacity = group->capacity};
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_GROUP_INDICES, HMOE_READ, row_bytes, &indices));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_GROUP_GATES, HMOE_READ | HMOE_OPTIONAL, row_bytes, &gates));
  HMOE_TRY(bind_blocks(run, step, HMOE_BIND_GROUP_BLOCKS, hmoe_cpu_block_rows(run, group->row_block, rows), &writer));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_GROUP_ROW_TOKEN, HMOE_WRITE, row_bytes, &row_token));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_GROUP_ROW_SLOT, HMOE_WRITE | HMOE_OPTIONAL, row_bytes, &row_slot));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_GROUP_ROW_GATE, HMOE_WRITE | HMOE_OPTIONAL, row_bytes, &row_gate));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_GROUP_COUNTERS, HMOE_WRITE, experts * 4 * sizeof(int32_t), &counters));
  HMOE_TRY(find_scope(run, step, rows, &sort.scope_rows));
  HMOE_TRY(bind_history(run, step, rows, &sort));

  sort.kept = counters;
  sort.dropped = counters + experts;
  sort.in_scope = counters + 2 * experts;
  memset(counters, 0, experts * 2 * sizeof *counters);
  for (uint64_t i = 0; i < rows; i++) {
    uint32_t e = clamp_expert(indices[i], experts);
    (keeps(&sort, i, e) ? sort.kept : sort.dropped)[e]++;
  }
  uint64_t row = 0;
  for (uint64_t e = 0; e < experts; e++) {
    uint64_t kept = (uint64_t)sort.kept[e], dropped = (uint64_t)sort.dropped[e];
    if (!add_blocks(&writer, (int32_t)e, row, kept, false) || !add_blocks(&writer, (int32_t)e, row + kept, dropped, true))
      return fail_capacity(run, step, &writer);
    sort.kept[e] = (int32_t)row;
    sort.dropped[e] = (int32_t)(row + kept);
    row += kept + dropped;
  }
  sort.next_scope = 0;
  for (uint64_t i = 0; i < rows; i++) {
    uint32_t e = clamp_expert(indices[i], experts);
    int32_t to = (keeps(&sort, i, e) ? sort.kept : sort.dropped)[e]++;
    row_token[to] = (int32_t)(i / top_k);
    if (row_slot) row_slot[to] = (int32_t)i;
    if (row_gate) row_gate[to] = gates ? gates[i] : 1.0f;
  }
  for (uint64_t begin = 0; sort.history && begin < rows; begin += sort.scope_rows)
    memcpy(sort.history + begin / sort.scope_rows * sort.history_stride + sort.past_rows, indices + begin,
           hmoe_min(sort.scope_rows, rows - begin) * sizeof *indices);
  writer.header->groups = (int32_t)experts;
  writer.header->rows = (int32_t)rows;
  return HMOE_OK;
}

/* Ascending copy of a token's experts. */
static void sort_set(const int32_t *indices, uint64_t top_k, uint64_t experts, int32_t *out) {
  for (uint64_t i = 0; i < top_k; i++) {
    int32_t value = (int32_t)clamp_expert(indices[i], experts);
    uint64_t at = i;
    for (; at > 0 && out[at - 1] > value; at--) out[at] = out[at - 1];
    out[at] = value;
  }
}

/* sum C(c_i, i + 1) over the ascending members c_0 < c_1 < ... */
static int32_t rank_of(const int32_t *set, uint64_t top_k, uint64_t sets) {
  uint64_t rank = 0;
  for (uint64_t i = 0; i < top_k; i++) rank = hmoe_add(rank, hmoe_binomial((uint64_t)set[i], i + 1));
  return (int32_t)hmoe_min(rank, sets - 1); /* only a set with a repeated member exceeds it */
}

static uint64_t hash_set(const int32_t *set, uint64_t top_k) {
  uint64_t hash = 0x9e3779b97f4a7c15u;
  for (uint64_t i = 0; i < top_k; i++) {
    hash = (hash ^ (uint32_t)set[i]) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  return hash;
}

/* Scratch of GROUP_SETS, at most 8 * tokens + 64 words: the table takes less than 4 words a token. */
typedef struct set_table {
  int32_t *slots; /* distinct group, or -1 */
  uint64_t mask;
  int32_t *group_of_token, *counts, *next, *ranks; /* [tokens] each */
} set_table;

static set_table lay_out_table(int32_t *scratch, uint64_t tokens) {
  uint64_t size = 2;
  while (size < 2 * tokens) size *= 2;
  memset(scratch, 0xff, size * sizeof *scratch);
  int32_t *after = scratch + size;
  return (set_table){scratch, size - 1, after, after + tokens, after + 2 * tokens, after + 3 * tokens};
}

/* Tokens to distinct groups; returns how many there are. set_of(group) = sets + group * top_k. */
static int32_t find_groups(const set_table *table, const int32_t *indices, uint64_t tokens, uint64_t experts, uint64_t top_k,
                           int32_t *sets, uint64_t ranked_sets) {
  int32_t groups = 0;
  for (uint64_t t = 0; t < tokens; t++) {
    int32_t set[HMOE_TOP_K_MAX];
    sort_set(indices + t * top_k, top_k, experts, set);
    int32_t rank = ranked_sets ? rank_of(set, top_k, ranked_sets) : 0;
    uint64_t at = (ranked_sets ? hash_set(&rank, 1) : hash_set(set, top_k)) & table->mask;
    int32_t group;
    for (; (group = table->slots[at]) >= 0; at = (at + 1) & table->mask) {
      if (ranked_sets ? table->ranks[group] == rank : !memcmp(sets + (uint64_t)group * top_k, set, top_k * sizeof *set)) break;
    }
    if (group < 0) {
      group = table->slots[at] = groups++;
      table->ranks[group] = rank;
      table->counts[group] = 0;
      if (sets) memcpy(sets + (uint64_t)group * top_k, set, top_k * sizeof *set);
    }
    table->group_of_token[t] = group;
    table->counts[group]++;
  }
  return groups;
}

static hmoe_status group_each_token(hmoe_run *run, const hmoe_plan_step *step, block_writer *writer, const int32_t *indices,
                                    int32_t *row_token, int32_t *sets) {
  const hmoe_step_group_sets *group = hmoe_run_fields(run, step);
  uint64_t tokens = (uint64_t)hmoe_run_rows(run, step), top_k = group->top_k;
  for (uint64_t t = 0; t < tokens; t++) {
    row_token[t] = (int32_t)t;
    if (indices && sets) sort_set(indices + t * top_k, top_k, group->experts, sets + t * top_k);
    if (!add_blocks(writer, (int32_t)t, t, 1, false)) return fail_capacity(run, step, writer);
  }
  writer->header->groups = writer->header->rows = (int32_t)tokens;
  return HMOE_OK;
}

hmoe_status hmoe_cpu_step_group_sets(hmoe_run *run, const hmoe_plan_step *step) {
  const hmoe_step_group_sets *group = hmoe_run_fields(run, step);
  uint64_t experts = group->experts, top_k = group->top_k;
  uint64_t tokens = (uint64_t)hmoe_run_rows(run, step), word = sizeof(int32_t);
  if (tokens > INT32_MAX / 8)
    return hmoe_fail(HMOE_INVALID_ARGUMENT, "the run is too large: %llu tokens to group", (unsigned long long)tokens);
  bool each = group->mode == HMOE_SETS_TOKEN, ranks = group->mode == HMOE_SETS_RANK;
  const int32_t *indices;
  int32_t *row_token, *sets, *scratch;
  block_writer writer;
  HMOE_TRY(
      hmoe_run_binding(run, step, HMOE_BIND_GROUP_SETS_INDICES, each ? HMOE_OPTIONAL : HMOE_READ, tokens * top_k * word, &indices));
  HMOE_TRY(bind_blocks(run, step, HMOE_BIND_GROUP_SETS_BLOCKS, hmoe_cpu_block_rows(run, group->row_block, tokens), &writer));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_GROUP_SETS_ROW_TOKEN, HMOE_WRITE, tokens * word, &row_token));
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_GROUP_SETS_SETS, each || ranks ? HMOE_WRITE | HMOE_OPTIONAL : HMOE_WRITE,
                            tokens * top_k * word, &sets));
  if (each) return group_each_token(run, step, &writer, indices, row_token, sets);
  HMOE_TRY(hmoe_run_binding(run, step, HMOE_BIND_GROUP_SETS_SCRATCH, HMOE_WRITE, (8 * tokens + 64) * word, &scratch));

  set_table table = lay_out_table(scratch, tokens);
  uint64_t ranked_sets = ranks ? hmoe_binomial(experts, top_k) : 0;
  int32_t groups = find_groups(&table, indices, tokens, experts, top_k, sets, ranked_sets);
  int32_t row = 0;
  for (int32_t g = 0; g < groups; g++) {
    int32_t name = ranks ? table.ranks[g] : g;
    if (!add_blocks(&writer, name, (uint64_t)row, (uint64_t)table.counts[g], false)) return fail_capacity(run, step, &writer);
    table.next[g] = row;
    row += table.counts[g];
  }
  for (uint64_t t = 0; t < tokens; t++) row_token[table.next[table.group_of_token[t]]++] = (int32_t)t;
  writer.header->groups = groups;
  writer.header->rows = (int32_t)tokens;
  return HMOE_OK;
}
