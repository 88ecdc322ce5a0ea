/* STORE and ATTENTION, in f32.
 *
 * STORE: a warp a row of k and v. ATTENTION: a block of 256 threads has up to tile_rows queries of a head at one time, and keys in tiles of 64. A tile gives
 * each query what it would be if there were no other keys,
 *
 *   s = scale q . key + bias, -FLT_MAX where the mask is 0, -inf where the query does not see the key
 *   m' = max(-FLT_MAX, s) ; weight = exp(s - m') ; sum' = sum of weights ; o' = sum of weight * value, keys ascending
 *
 * which then becomes part of what all tiles before it have given, tiles ascending:
 *
 *   M = max(m, m') ; sum = sum exp(m - M) + sum' exp(m' - M) ; o = o exp(m - M) + o' exp(m' - M)
 *
 * and out = o / sum. A tile's part depends on no other tile, so it may be computed anywhere; in which order sums are added is the same in both ways:
 *   many queries   the block goes through the tiles; keys and values come through shared memory, once for all queries
 *   few queries    a warp a query and a tile, eight at one time; what they give is put together behind them
 *   shared keys    of few queries: several blocks of threads have some of the tiles each, and leave what these give in memory; another launch puts it together
 * A key that a query does not see is not added to o', for a weight of 0 would not keep out what is not finite. */
#include <float.h>
#include <math.h>

#include <mlir-c/BuiltinTypes.h>

#include "target/cuda/cuda.h"

enum {
  THREADS = CUDA_ATTENTION_THREADS,
  WARPS = THREADS / CUDA_WARP,
  KEYS = HMOE_CUDA_PART_KEYS, /* of a tile */
  FEW = HMOE_CUDA_SHARED_QUERIES, /* queries for which tiles are not worth it */
  MOST_PANELS = 16, /* of values; with UNROLLED keys each they are registers enough */
  GRID = 16, /* threads of a tile in either direction: a thread has tile_rows / GRID rows, and two neighbours of every 32 columns */
  MOST_ROWS = 4, /* of a thread */
  COLUMNS = 2, /* of a thread in a panel */
  TILE_SUMS = 8192 / THREADS, /* of o a thread, at most */
  CHUNK = KEYS * CUDA_PANEL, /* floats that are copied at one time: 32 of depth of a tile's keys, or 32 columns of its values */
  UNROLLED = 8, /* of loops that wait for memory */
  DEPTH_STEP = 4 /* of others */
};
_Static_assert((int)WARPS == (int)HMOE_CUDA_PARTS_AT_ONCE, "the runtime counts on it");

static const MlirType none = {NULL};
static const MlirValue nothing = {NULL};

/* Rows of k and v into keys [rows][heads][C/32][D][32] and values [rows][heads][ceil(D/32)][C][32]. */
void hmoec_cuda_emit_store(hmoec_cuda_emitter *e, const hmoec_store_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  int64_t d = spec->head_size, padded = cuda_panels_of(d) * CUDA_PANEL;
  MlirValue k = cuda_binding(e, task, 0), v = cuda_binding(e, task, 1), keys = cuda_binding(e, task, 2),
            values = cuda_binding(e, task, 3);
  MlirValue length = cuda_dim(e, task, 0), past = cuda_dim(e, task, 1), capacity = cuda_dim(e, task, 2);
  MlirValue width = ir_i64(ir, CUDA_PANEL), zero = ir_f32(ir, 0.0f);
  ir_loop r;
  cuda_rows_begin(e, task, spec->row_block, CUDA_ROW_WARPS, &r);
  MlirValue row = ir_div_i(ir, r.index, length), position = ir_add_i(ir, past, ir_rem_i(ir, r.index, length));
  MlirValue k_row = cuda_row(e, k, r.index, spec->ld_k), v_row = cuda_row(e, v, r.index, spec->ld_v);
  MlirValue block = ir_div_i(ir, position, width), lane = ir_rem_i(ir, position, width);
  cuda_some_columns c;
  MlirValue heads[CUDA_COLUMNS_AT_ONCE], places[CUDA_COLUMNS_AT_ONCE], real[CUDA_COLUMNS_AT_ONCE], key[CUDA_COLUMNS_AT_ONCE],
      value[CUDA_COLUMNS_AT_ONCE];
  cuda_some_columns_begin(e, task, spec->heads * padded, &c);
  for (int64_t n = 0; n < CUDA_COLUMNS_AT_ONCE; n++) { /* in the padding the last one's number, which is not taken */
    heads[n] = ir_div_i(ir, c.at[n], ir_i64(ir, padded)), places[n] = ir_rem_i(ir, c.at[n], ir_i64(ir, padded));
    real[n] = ir_compare_i(ir, IR_LT, places[n], ir_i64(ir, d));
    MlirValue from = ir_add_i(ir, ir_mul_i(ir, heads[n], ir_i64(ir, d)), ir_min_i(ir, places[n], ir_i64(ir, d - 1)));
    key[n] = cuda_f32(e, k_row, from), value[n] = ir_select(ir, real[n], cuda_f32(e, v_row, from), zero);
  }
  for (int64_t n = 0; n < CUDA_COLUMNS_AT_ONCE; n++) {
    MlirValue i = places[n],
              strip = ir_add_i(ir, ir_mul_i(ir, row, ir_i64(ir, spec->heads)), heads[n]); /* positions before the head's */
    strip = ir_mul_i(ir, strip, capacity);
    ir_branch is_key, is_value;
    ir_if_begin(ir, &is_key, ir_and(ir, c.there[n], real[n]), none);
    MlirValue line = ir_add_i(ir, ir_mul_i(ir, ir_add_i(ir, ir_div_i(ir, strip, width), block), ir_i64(ir, d)), i);
    cuda_put(e, keys, ir_add_i(ir, ir_mul_i(ir, line, width), lane), key[n]);
    cuda_if_end(e, &is_key);
    ir_if_begin(ir, &is_value, c.there[n], none);
    MlirValue part =
        ir_add_i(ir, ir_mul_i(ir, strip, ir_i64(ir, padded / CUDA_PANEL)), ir_mul_i(ir, ir_div_i(ir, i, width), capacity));
    cuda_put(e, values, ir_add_i(ir, ir_mul_i(ir, ir_add_i(ir, part, position), width), ir_rem_i(ir, i, width)), value[n]);
    cuda_if_end(e, &is_value);
  }
  cuda_some_columns_end(e, &c);
  ir_for_end(ir, &r, NULL);
}

/* ---- attention ---- */

typedef struct attention {
  hmoec_cuda_emitter *e;
  const hmoec_attention_spec *spec;
  const hmoec_cuda_task *task;
  int64_t panels; /* of values; of depth there are as many pieces of 32 */
  MlirValue kv_length, capacity;
  MlirValue keys, values, bias, mask; /* of the head */
  MlirValue q, out; /* of the head, of the first of the queries in hand */
  MlirValue rows, position, end; /* how many they are, the first one's position, the keys that the last one sees */
  MlirValue is_last; /* head */
  MlirValue shares, share; /* tasks that have these queries' keys together, and which of them this one is */
  MlirValue is_shared; /* whether there are several */
  MlirValue parts,
      most_tiles; /* where they leave what tiles give: of the first of the queries in hand; how many tiles a query has room for */
} attention;

/* Queries of a head that a block has at one time: their sums are in registers. */
int64_t hmoec_cuda_attention_rows(int64_t head_size) {
  int64_t rows = GRID * MOST_ROWS;
  while (rows > GRID && rows * cuda_panels_of(head_size) * CUDA_PANEL > TILE_SUMS * THREADS) rows /= 2;
  return rows;
}

int64_t hmoec_cuda_attention_most_head(void) { return MOST_PANELS * CUDA_PANEL; }

int64_t hmoec_cuda_attention_part_floats(int64_t head_size) { return 2 + cuda_panels_of(head_size) * CUDA_PANEL; }

/* ---- shared memory: queries [head_size][pitch], weights [KEYS][pitch], two chunks. What few queries' tiles give is where weights and chunks are. ---- */

static int64_t tile_rows(const attention *a) { return hmoec_cuda_attention_rows(a->spec->head_size); }
static int64_t pitch_of(int64_t head_size) { return hmoec_cuda_attention_rows(head_size) + 4; }
static int64_t weights_at(int64_t head_size) { return head_size * pitch_of(head_size) * 4; }
static int64_t chunks_at(int64_t head_size) { return weights_at(head_size) + KEYS * pitch_of(head_size) * 4; }

int64_t hmoec_cuda_attention_shared_bytes(const hmoec_attention_spec *spec) { return chunks_at(spec->head_size) + 2 * CHUNK * 4; }

/* ---- scores, and what tiles give ---- */

/* How many keys the query at a position sees. */
static MlirValue seen_by(attention *a, MlirValue position) {
  ir_builder *ir = &a->e->ir;
  return a->spec->causal ? ir_min_i(ir, a->kv_length, ir_add_i(ir, position, ir_i64(ir, 1))) : a->kv_length;
}

static MlirValue clamp(ir_builder *ir, MlirValue x, int64_t least, int64_t most) {
  return ir_max_i(ir, ir_min_i(ir, x, ir_i64(ir, most)), ir_i64(ir, least));
}

/* Of a sum over the depth; t: the query's position, seen: how many keys it sees. masked: whether the key is, where there is a mask. */
static MlirValue score(attention *a, MlirValue sum, MlirValue key, MlirValue t, MlirValue seen, MlirValue masked) {
  ir_builder *ir = &a->e->ir;
  const hmoec_attention_spec *s = a->spec;
  MlirValue result = ir_mul(ir, sum, ir_f32(ir, (float)s->scale));
  if (s->has_bias) {
    MlirValue distance = clamp(ir, ir_sub_i(ir, key, t), -s->max_distance - 1, s->max_distance + 1);
    result = ir_add(ir, result, cuda_f32(a->e, a->bias, ir_add_i(ir, distance, ir_i64(ir, s->bias_zero))));
  }
  if (s->has_mask) result = ir_select(ir, masked, ir_f32(ir, -FLT_MAX), result);
  return ir_select(ir, ir_compare_i(ir, IR_LT, key, seen), result, ir_f32(ir, -INFINITY));
}

/* Whether the key is masked; of one that is not there, whether the last one is. */
static MlirValue is_masked(attention *a, MlirValue key) {
  ir_builder *ir = &a->e->ir;
  if (!a->spec->has_mask) return nothing;
  MlirValue last = ir_sub_i(ir, a->end, ir_i64(ir, 1));
  return ir_compare_i(ir, IR_EQ, cuda_i32(a->e, a->mask, ir_min_i(ir, key, last)), ir_i32(ir, 0));
}

static MlirValue larger(ir_builder *ir, MlirValue x, MlirValue y) { return ir_select(ir, ir_compare_f(ir, IR_GT, x, y), x, y); }

/* What a tile gives becomes part of what is known: *m and *sum now, and o = o * of_old + o' * of_new. One of the two is 1. */
static void join(attention *a, MlirValue tile_m, MlirValue tile_sum, MlirValue *m, MlirValue *sum, MlirValue *of_old,
                 MlirValue *of_new) {
  ir_builder *ir = &a->e->ir;
  MlirValue one = ir_f32(ir, 1.0f), grows = ir_compare_f(ir, IR_GT, tile_m, *m);
  MlirValue most = ir_select(ir, grows, tile_m, *m), least = ir_select(ir, grows, *m, tile_m);
  MlirValue fade = cuda_exp(a->e, ir_sub(ir, least, most));
  *of_old = ir_select(ir, grows, fade, one);
  *of_new = ir_select(ir, grows, one, fade);
  *m = most;
  *sum = cuda_fma(a->e, *sum, *of_old, ir_mul(ir, tile_sum, *of_new));
}

/* One element of the result; row: of the queries in hand. */
static void put_result(attention *a, MlirValue row, MlirValue column, MlirValue o, MlirValue sum) {
  ir_builder *ir = &a->e->ir;
  bool to_bf16 = hmoec_is_bf16(a->spec->out_format);
  MlirValue to = cuda_row_of(a->e, a->out, to_bf16 ? ir->i16 : ir->f32, row, a->spec->ld_out);
  MlirValue none_there = ir_compare_i(ir, IR_LE, a->kv_length, ir_i64(ir, 0));
  ir_branch inside;
  ir_if_begin(ir, &inside, ir_compare_i(ir, IR_LT, column, ir_i64(ir, a->spec->head_size)), none);
  MlirValue value = ir_select(ir, none_there, ir_f32(ir, 0.0f), ir_div(ir, o, sum));
  cuda_put(a->e, to, column, to_bf16 ? cuda_to_bf16(a->e, value) : value);
  cuda_if_end(a->e, &inside);
}

/* Behind the last head rows are padded up to a whole column step, not by those who share keys. */
static void pad_rows(attention *a) {
  ir_builder *ir = &a->e->ir;
  int64_t used = a->spec->heads * a->spec->head_size, rest = cuda_panels_of(used) * CUDA_PANEL - used;
  if (!rest) return;
  bool to_bf16 = hmoec_is_bf16(a->spec->out_format);
  MlirValue width = ir_i64(ir, rest), zero = ir_f32(ir, 0.0f);
  ir_loop i;
  MlirValue elements = ir_select(ir, a->is_last, ir_mul_i(ir, a->rows, width), ir_i64(ir, 0));
  ir_for_begin(ir, &i, a->task->thread, ir_select(ir, a->is_shared, ir_i64(ir, 0), elements), THREADS, 0, NULL);
  MlirValue to = cuda_row_of(a->e, a->out, to_bf16 ? ir->i16 : ir->f32, ir_div_i(ir, i.index, width), a->spec->ld_out);
  MlirValue column = ir_add_i(ir, ir_rem_i(ir, i.index, width), ir_i64(ir, a->spec->head_size));
  cuda_put(a->e, to, column, to_bf16 ? cuda_to_bf16(a->e, zero) : zero);
  ir_for_end(ir, &i, NULL);
}

/* queries[i][row]; zeros for the rest of a warp's rows. */
static void load_queries(attention *a) {
  ir_builder *ir = &a->e->ir;
  MlirValue size = ir_i64(ir, a->spec->head_size), together = ir_i64(ir, MOST_ROWS * CUDA_WARP / GRID);
  MlirValue some = ir_rem_i(ir, a->rows, together),
            rows = ir_add_i(ir, a->rows, ir_rem_i(ir, ir_sub_i(ir, together, some), together));
  ir_loop n;
  ir_for_begin(ir, &n, a->task->thread, ir_mul_i(ir, rows, size), THREADS, 0, NULL);
  MlirValue row = ir_div_i(ir, n.index, size), i = ir_rem_i(ir, n.index, size);
  ir_branch real;
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, row, a->rows), ir->f32);
  ir_if_else(ir, &real, cuda_f32(a->e, cuda_row(a->e, a->q, row, a->spec->ld_q), i));
  MlirValue x = ir_if_end(ir, &real, ir_f32(ir, 0.0f));
  cuda_put(a->e, cuda_row(a->e, cuda_shared(a->e, 0), i, pitch_of(a->spec->head_size)), row, x);
  ir_for_end(ir, &n, NULL);
}

/* ---- few queries ---- */

/* Sums over the depth of q, a column of queries, with this lane's keys. */
static void multiply_keys(attention *a, MlirValue q, const MlirValue keys[2], MlirValue sums[2]) {
  hmoec_cuda_emitter *e = a->e;
  ir_builder *ir = &e->ir;
  int64_t size = a->spec->head_size, whole = size / UNROLLED * UNROLLED;
  MlirValue width = ir_i64(ir, CUDA_PANEL), column[2];
  for (int h = 0; h < 2; h++)
    column[h] =
        ir_at(ir, cuda_row(e, a->keys, ir_div_i(ir, keys[h], width), size * CUDA_PANEL), ir->f32, ir_rem_i(ir, keys[h], width));
  for (int rest = 0; rest < 2; rest++) {
    if (rest ? whole == size : !whole) continue;
    int64_t step = rest ? 1 : UNROLLED;
    ir_loop i;
    ir_for_begin(ir, &i, ir_i64(ir, rest ? whole : 0), ir_i64(ir, rest ? size : whole), step, 2, sums);
    MlirValue next[2] = {i.args[0], i.args[1]};
    for (int64_t u = 0; u < step; u++) {
      MlirValue at = ir_add_i(ir, i.index, ir_i64(ir, u)), x = cuda_f32(e, cuda_row(e, q, at, pitch_of(size)), ir_i64(ir, 0));
      for (int h = 0; h < 2; h++)
        next[h] = cuda_fma(e, x, cuda_f32(e, cuda_row(e, column[h], at, CUDA_PANEL), ir_i64(ir, 0)), next[h]);
    }
    ir_for_end(ir, &i, next);
    sums[0] = i.args[0], sums[1] = i.args[1];
  }
}

/* Keys of which a lane adds values at one time: so many that 64 loads are on the way, or 8. */
static int64_t keys_at_once(int64_t panels) { return panels <= 2 ? CUDA_WARP : panels <= 4 ? CUDA_WARP / 2 : UNROLLED; }

/* o[p] += weights of `count` keys from `first` on, times their values in this lane's column of panel p. A lane has weights of keys lane and 32 + lane. */
static void add_values(attention *a, const MlirValue weights[2], MlirValue first, MlirValue count, MlirValue *o) {
  hmoec_cuda_emitter *e = a->e;
  ir_builder *ir = &e->ir;
  int64_t keys = keys_at_once(a->panels);
  MlirValue step = ir_i64(ir, keys), whole = ir_sub_i(ir, count, ir_rem_i(ir, count, step)),
            last = ir_sub_i(ir, count, ir_i64(ir, 1));
  MlirValue values = cuda_row(e, a->values, first, CUDA_PANEL), loaded[UNROLLED * MOST_PANELS];
  for (int rest = 0; rest < 2; rest++) { /* the last few together, too: the values that are not there are others */
    ir_loop j;
    ir_for_begin(ir, &j, rest ? whole : ir_i64(ir, 0), rest ? count : whole, keys, a->panels, o);
    MlirValue half = ir_select(ir, ir_compare_i(ir, IR_LT, j.index, ir_i64(ir, CUDA_WARP)), weights[0], weights[1]);
    for (int64_t p = 0; p < a->panels; p++) o[p] = j.args[p];
    int64_t here = keys - rest; /* of the last few one less at least */
    for (int64_t n = 0; n < here * a->panels; n++) { /* all of them before one is used */
      MlirValue key = ir_add_i(ir, j.index, ir_i64(ir, n / a->panels)), at = rest ? ir_min_i(ir, key, last) : key;
      MlirValue line = ir_add_i(ir, ir_mul_i(ir, a->capacity, ir_i64(ir, n % a->panels)), at);
      loaded[n] = cuda_f32(e, cuda_row(e, values, line, CUDA_PANEL), a->task->lane);
    }
    for (int64_t u = 0; u < here; u++) {
      MlirValue key = ir_add_i(ir, j.index, ir_i64(ir, u));
      MlirValue w = cuda_lane_value(e, half, ir_truncate(ir, ir_rem_i(ir, key, ir_i64(ir, CUDA_WARP))));
      for (int64_t p = 0; p < a->panels; p++) {
        MlirValue sum = cuda_fma(e, w, loaded[u * a->panels + p], o[p]);
        o[p] = rest ? ir_select(ir, ir_compare_i(ir, IR_LT, key, count), sum, o[p]) : sum;
      }
    }
    ir_for_end(ir, &j, o);
    for (int64_t p = 0; p < a->panels; p++) o[p] = j.args[p];
  }
}

/* What a warp's tile gives a query: m', sum', and o' from element 2 on. */
static MlirValue given_by(attention *a, MlirValue warp) {
  return cuda_row(a->e, cuda_shared(a->e, weights_at(a->spec->head_size)), warp,
                  hmoec_cuda_attention_part_floats(a->spec->head_size));
}

/* What tiles of shared keys give a query, in memory: m' and sum' of all of them, then o' of each. Where m' of a tile is, and its o'. */
static MlirValue part_of(attention *a, MlirValue row, MlirValue tile) {
  MlirValue query = ir_mul_i(&a->e->ir, row, a->most_tiles);
  return cuda_row(a->e, cuda_row(a->e, a->parts, query, hmoec_cuda_attention_part_floats(a->spec->head_size)), tile, 2);
}
static MlirValue part_values_of(attention *a, MlirValue row, MlirValue tile) {
  MlirValue behind = cuda_row(a->e, part_of(a, row, ir_i64(&a->e->ir, 0)), a->most_tiles, 2);
  return cuda_row(a->e, behind, tile, a->panels * CUDA_PANEL);
}

static void put_part(attention *a, MlirValue to, MlirValue values, MlirValue m, MlirValue sum, const MlirValue *o) {
  ir_builder *ir = &a->e->ir;
  ir_branch first;
  ir_if_begin(ir, &first, ir_compare_i(ir, IR_EQ, a->task->lane, ir_i64(ir, 0)), none);
  cuda_put(a->e, to, ir_i64(ir, 0), m);
  cuda_put(a->e, to, ir_i64(ir, 1), sum);
  cuda_if_end(a->e, &first);
  for (int64_t p = 0; p < a->panels; p++) cuda_put(a->e, values, ir_add_i(ir, a->task->lane, ir_i64(ir, p * CUDA_PANEL)), o[p]);
}

/* To the warp's place in shared memory, or, of shared keys, to the tile's in memory. */
static void put_given(attention *a, MlirValue row, MlirValue tile, MlirValue m, MlirValue sum, const MlirValue *o) {
  ir_builder *ir = &a->e->ir;
  ir_branch shared;
  ir_if_begin(ir, &shared, a->is_shared, none);
  put_part(a, part_of(a, row, tile), part_values_of(a, row, tile), m, sum, o);
  ir_if_else(ir, &shared, nothing);
  MlirValue to = given_by(a, a->task->warp);
  put_part(a, to, ir_at_constant(ir, to, ir->f32, 2), m, sum, o);
  ir_if_end(ir, &shared, nothing);
}

/* This warp's tile of a query that sees so many keys, some of them in the tile. */
static void emit_tile_of_warp(attention *a, MlirValue row, MlirValue tile, MlirValue seen) {
  hmoec_cuda_emitter *e = a->e;
  ir_builder *ir = &e->ir;
  MlirValue first = ir_mul_i(ir, tile, ir_i64(ir, KEYS));
  MlirValue last = ir_sub_i(ir, seen, ir_i64(ir, 1)), zero = ir_f32(ir, 0.0f), t = ir_add_i(ir, a->position, row);
  MlirValue keys[2], there[2], sums[2] = {zero, zero}, m = ir_f32(ir, -FLT_MAX), o[MOST_PANELS];
  for (int h = 0; h < 2; h++) {
    keys[h] = ir_add_i(ir, first, ir_add_i(ir, a->task->lane, ir_i64(ir, h * CUDA_WARP)));
    there[h] = ir_min_i(ir, keys[h], last);
  }
  multiply_keys(a, ir_at(ir, cuda_shared(e, 0), ir->f32, row), there, sums);
  for (int h = 0; h < 2; h++) {
    sums[h] = score(a, sums[h], keys[h], t, seen, is_masked(a, keys[h]));
    m = larger(ir, sums[h], m);
  }
  m = cuda_reduce(e, CUDA_MAX, m);
  for (int h = 0; h < 2; h++) sums[h] = cuda_exp(e, ir_sub(ir, sums[h], m));
  /* In the order in which threads with two neighbours of either half add them. */
  MlirValue sum = ir_add(ir, cuda_reduce_over(e, CUDA_SUM, sums[0], 1, 1), cuda_reduce_over(e, CUDA_SUM, sums[1], 1, 1));
  sum = cuda_reduce_over(e, CUDA_SUM, sum, CUDA_WARP / 2, 2);
  for (int64_t p = 0; p < a->panels; p++) o[p] = zero;
  add_values(a, sums, first, ir_min_i(ir, ir_i64(ir, KEYS), ir_sub_i(ir, seen, first)), o);
  put_given(a, row, tile, m, sum, o);
}

/* Tiles of the last of the queries in hand: so many has each. */
static MlirValue tiles_of(attention *a) {
  ir_builder *ir = &a->e->ir;
  return ir_max_i(ir, ir_div_i(ir, ir_add_i(ir, a->end, ir_i64(ir, KEYS - 1)), ir_i64(ir, KEYS)), ir_i64(ir, 1));
}

/* Queries one behind the other, the tiles of each ascending, a warp each, and WARPS of them at one time: all, or the task's share of them. A thread then has a
 * column of the result, or two, and joins what those have given; rows before the last may see less than all tiles. */
static void emit_few(attention *a) {
  enum { MOST_OWN = MOST_PANELS * CUDA_PANEL / THREADS };
  hmoec_cuda_emitter *e = a->e;
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_f32(ir, 0.0f), one = ir_i64(ir, 1), least = ir_f32(ir, -FLT_MAX);
  MlirValue tiles = tiles_of(a), all = ir_mul_i(ir, a->rows, tiles), state[2 + MOST_OWN] = {least, zero}; /* m, sum, o */
  MlirValue begin = ir_div_i(ir, ir_mul_i(ir, all, a->share), a->shares),
            end = ir_div_i(ir, ir_mul_i(ir, all, ir_add_i(ir, a->share, one)), a->shares);
  int64_t padded = a->panels * CUDA_PANEL, own = (padded + THREADS - 1) / THREADS;
  for (int64_t c = 0; c < own; c++) state[2 + c] = zero;
  ir_loop n, k;
  ir_for_begin(ir, &n, begin, end, WARPS, 2 + own, state);
  MlirValue number = ir_add_i(ir, n.index, a->task->warp);
  ir_branch exists, sees;
  ir_if_begin(ir, &exists, ir_compare_i(ir, IR_LT, number, end), none);
  MlirValue row = ir_div_i(ir, number, tiles), given_tile = ir_rem_i(ir, number, tiles);
  MlirValue seen = seen_by(a, ir_add_i(ir, a->position, row));
  ir_if_begin(ir, &sees, ir_compare_i(ir, IR_LT, ir_mul_i(ir, given_tile, ir_i64(ir, KEYS)), seen), none);
  emit_tile_of_warp(a, row, given_tile, seen);
  ir_if_else(ir, &sees, nothing);
  MlirValue zeros[MOST_PANELS];
  for (int64_t p = 0; p < a->panels; p++) zeros[p] = zero;
  put_given(a, row, given_tile, least, zero, zeros);
  ir_if_end(ir, &sees, nothing);
  cuda_if_end(e, &exists);
  cuda_barrier(e);

  MlirValue has_columns = ir_compare_i(ir, IR_LT, a->task->thread, ir_select(ir, a->is_shared, ir_i64(ir, 0), ir_i64(ir, padded)));
  MlirValue count = ir_min_i(ir, ir_i64(ir, WARPS), ir_sub_i(ir, end, n.index));
  ir_for_begin(ir, &k, ir_i64(ir, 0), ir_select(ir, has_columns, count, ir_i64(ir, 0)), 1, 2 + own, n.args);
  MlirValue item = ir_add_i(ir, n.index, k.index), tile = ir_rem_i(ir, item, tiles), given = given_by(a, k.index);
  MlirValue begins = ir_compare_i(ir, IR_EQ, tile, ir_i64(ir, 0)), of_old, of_new;
  for (int64_t i = 0; i < 2 + own; i++) state[i] = ir_select(ir, begins, i ? zero : least, k.args[i]);
  join(a, cuda_f32(e, given, ir_i64(ir, 0)), cuda_f32(e, given, one), &state[0], &state[1], &of_old, &of_new);
  MlirValue columns[MOST_OWN];
  for (int64_t c = 0; c < own; c++) {
    columns[c] = ir_add_i(ir, a->task->thread, ir_i64(ir, c * THREADS));
    MlirValue at = c ? ir_min_i(ir, columns[c], ir_i64(ir, padded - 1)) : columns[c];
    MlirValue o = cuda_f32(e, given, ir_add_i(ir, at, ir_i64(ir, 2)));
    state[2 + c] = cuda_fma(e, state[2 + c], of_old, ir_mul(ir, o, of_new));
  }
  ir_branch ends;
  ir_if_begin(ir, &ends, ir_compare_i(ir, IR_EQ, tile, ir_sub_i(ir, tiles, one)), none);
  for (int64_t c = 0; c < own; c++) put_result(a, ir_div_i(ir, item, tiles), columns[c], state[2 + c], state[1]);
  cuda_if_end(e, &ends);
  ir_for_end(ir, &k, state);
  cuda_barrier(e); /* before the next tiles' come where these are */
  ir_for_end(ir, &n, k.args);
}

/* ---- what shared keys gave ---- */

/* A warp a query and a panel of its columns, a lane a column. Lanes find the factors of 32 tiles at one time, a tile each: m of all tiles before it is a
 * maximum over lanes, which is the same in any order. */
static void emit_shared(attention *a) {
  hmoec_cuda_emitter *e = a->e;
  ir_builder *ir = &e->ir;
  MlirValue zero = ir_f32(ir, 0.0f), least = ir_f32(ir, -FLT_MAX), one = ir_i64(ir, 1), panels = ir_i64(ir, a->panels),
            lane = a->task->lane;
  MlirValue tiles = tiles_of(a), last = ir_sub_i(ir, tiles, one);
  ir_loop n, chunk, j;
  ir_for_begin(ir, &n, a->task->warp, ir_mul_i(ir, a->rows, panels), WARPS, 0, NULL);
  MlirValue row = ir_div_i(ir, n.index, panels),
            column = ir_add_i(ir, ir_mul_i(ir, ir_rem_i(ir, n.index, panels), ir_i64(ir, CUDA_PANEL)), lane);
  MlirValue values = ir_at(ir, part_values_of(a, row, ir_i64(ir, 0)), ir->f32, column);
  ir_for_begin(ir, &chunk, ir_i64(ir, 0), tiles, CUDA_WARP, 3, (MlirValue[]){least, zero, zero}); /* m, sum, o */
  MlirValue tile = ir_add_i(ir, chunk.index, lane), given = part_of(a, row, ir_min_i(ir, tile, last));
  MlirValue tile_m = cuda_f32(e, given, ir_i64(ir, 0)), tile_sum = cuda_f32(e, given, one);
  MlirValue m = larger(ir, tile_m, cuda_lane_below(e, tile_m, 1)); /* of the tiles up to this one */
  for (int32_t distance = 2; distance < CUDA_WARP; distance *= 2) m = larger(ir, cuda_lane_below(e, m, distance), m);
  m = larger(ir, m, chunk.args[0]);
  MlirValue before = cuda_lane_below(e, m, 1);
  before = ir_select(ir, ir_compare_i(ir, IR_EQ, lane, ir_i64(ir, 0)), chunk.args[0], before);
  MlirValue of_old, of_new, unused = zero;
  join(a, tile_m, tile_sum, &before, &unused, &of_old, &of_new);
  MlirValue count = ir_min_i(ir, ir_i64(ir, CUDA_WARP), ir_sub_i(ir, tiles, chunk.index));
  ir_for_begin(ir, &j, ir_i64(ir, 0), count, UNROLLED, 2, &chunk.args[1]);
  MlirValue sum = j.args[0], o = j.args[1], loaded[UNROLLED];
  for (int64_t u = 0; u < UNROLLED; u++) {
    MlirValue at = ir_min_i(ir, ir_add_i(ir, chunk.index, ir_add_i(ir, j.index, ir_i64(ir, u))), last);
    loaded[u] = cuda_f32(e, cuda_row(e, values, at, a->panels * CUDA_PANEL), ir_i64(ir, 0));
  }
  for (int64_t u = 0; u < UNROLLED; u++) {
    MlirValue number = ir_add_i(ir, j.index, ir_i64(ir, u)), is_there = ir_compare_i(ir, IR_LT, number, count);
    MlirValue from = ir_truncate(ir, number), fade = cuda_lane_value(e, of_old, from), factor = cuda_lane_value(e, of_new, from);
    sum = ir_select(ir, is_there, cuda_fma(e, sum, fade, ir_mul(ir, cuda_lane_value(e, tile_sum, from), factor)), sum);
    o = ir_select(ir, is_there, cuda_fma(e, o, fade, ir_mul(ir, loaded[u], factor)), o);
  }
  ir_for_end(ir, &j, (MlirValue[]){sum, o});
  m = cuda_lane_value(e, m, ir_i32(ir, CUDA_WARP - 1)); /* lanes behind the last tile have its m */
  ir_for_end(ir, &chunk, (MlirValue[]){m, j.args[0], j.args[1]});
  put_result(a, row, column, chunk.args[2], chunk.args[1]);
  ir_for_end(ir, &n, NULL);
}

/* ---- many queries ---- */

typedef struct tile {
  attention *a;
  int64_t rows; /* of a thread */
  MlirValue row, column; /* the thread's first ones */
  MlirValue active; /* whether its warp has a query */
  MlirValue seen[MOST_ROWS], warp_seen, warp_plain; /* keys that its rows, its warp's last and its warp's first row see */
} tile;

/* Keys from `first` on, 32 of their depth, [32][KEYS]: chunk c of a tile. Then values, 32 columns, [KEYS][32]: chunk panels + c. Zeros where there are none that
 * a query in hand sees. */
static void copy_chunk(attention *a, int64_t chunk, MlirValue first) {
  hmoec_cuda_emitter *e = a->e;
  ir_builder *ir = &e->ir;
  bool is_keys = chunk < a->panels;
  int64_t width = is_keys ? KEYS : CUDA_PANEL, from_depth = chunk * CUDA_PANEL, panel = chunk - a->panels;
  MlirValue zero = ir_i64(ir, 0), four = ir_i64(ir, 4), sixteen = ir_i64(ir, 16);
  for (int64_t i = 0; i < CHUNK / 4 / THREADS; i++) {
    MlirValue at = ir_mul_i(ir, ir_add_i(ir, a->task->thread, ir_i64(ir, i * THREADS)), four);
    MlirValue line = ir_div_i(ir, at, ir_i64(ir, width)), element = ir_rem_i(ir, at, ir_i64(ir, width)), from, bytes;
    if (is_keys) {
      MlirValue key = ir_add_i(ir, first, element), depth = ir_add_i(ir, line, ir_i64(ir, from_depth)),
                thirty_two = ir_i64(ir, CUDA_PANEL);
      from = cuda_row(e, a->keys, ir_div_i(ir, key, thirty_two), a->spec->head_size * CUDA_PANEL);
      from = ir_at(ir, cuda_row(e, from, depth, CUDA_PANEL), ir->f32, ir_rem_i(ir, key, thirty_two));
      bytes = ir_max_i(ir, ir_min_i(ir, ir_mul_i(ir, ir_sub_i(ir, a->end, key), four), sixteen), zero);
      bytes = ir_select(ir, ir_compare_i(ir, IR_LT, depth, ir_i64(ir, a->spec->head_size)), bytes, zero);
    } else {
      MlirValue key = ir_add_i(ir, first, line), row = ir_add_i(ir, ir_mul_i(ir, a->capacity, ir_i64(ir, panel)), key);
      from = ir_at(ir, cuda_row(e, a->values, row, CUDA_PANEL), ir->f32, element);
      bytes = ir_select(ir, ir_compare_i(ir, IR_LT, key, a->end), sixteen, zero);
    }
    MlirValue to = ir_at(ir, cuda_shared(e, chunks_at(a->spec->head_size) + chunk % 2 * CHUNK * 4), ir->f32, at);
    cuda_copy_async(e, to, from, ir_truncate(ir, bytes));
  }
  cuda_copy_commit(e);
}

/* Chunk `chunk` of the tile is in shared memory, and the one behind it on its way to where the one before it was. */
static void next_chunk(attention *a, int64_t chunk, MlirValue first) {
  ir_builder *ir = &a->e->ir;
  bool is_last = chunk + 1 == 2 * a->panels;
  cuda_copy_wait(a->e, 0);
  cuda_barrier(a->e);
  copy_chunk(a, is_last ? 0 : chunk + 1, is_last ? ir_add_i(ir, first, ir_i64(ir, KEYS)) : first);
}

static MlirType vector(ir_builder *ir, int64_t count) { return mlirVectorTypeGet(1, &count, ir->f32); }

/* sums[row][half * 2 + c] += queries[i][row] keys[i][half * 32 + c] for the depth of a chunk. */
static void multiply_chunk(tile *t, int64_t chunk, MlirValue *sums) {
  attention *a = t->a;
  ir_builder *ir = &a->e->ir;
  int64_t size = a->spec->head_size, pitch = pitch_of(size), count = t->rows * 2 * COLUMNS;
  int64_t depth = size - chunk * CUDA_PANEL < CUDA_PANEL ? size - chunk * CUDA_PANEL : CUDA_PANEL,
          whole = depth / DEPTH_STEP * DEPTH_STEP;
  MlirValue q = ir_at(ir, cuda_shared(a->e, chunk * CUDA_PANEL * pitch * 4), ir->f32, t->row);
  MlirValue k = ir_at(ir, cuda_shared(a->e, chunks_at(size) + chunk % 2 * CHUNK * 4), ir->f32, t->column);
  for (int rest = 0; rest < 2; rest++) {
    if (rest ? whole == depth : !whole) continue;
    int64_t step = rest ? 1 : DEPTH_STEP;
    ir_loop i;
    MlirValue end = ir_select(ir, t->active, ir_i64(ir, rest ? depth : whole), ir_i64(ir, 0));
    ir_for_begin(ir, &i, ir_i64(ir, rest ? whole : 0), end, step, count, sums);
    for (int64_t s = 0; s < count; s++) sums[s] = i.args[s];
    MlirValue left_at = cuda_row(a->e, q, i.index, pitch), right_at = cuda_row(a->e, k, i.index, KEYS);
    for (int64_t u = 0; u < step; u++) {
      MlirValue left = ir_load(ir, vector(ir, t->rows), ir_at_constant(ir, left_at, ir->f32, u * pitch), 4 * t->rows);
      for (int64_t half = 0; half < 2; half++) {
        MlirValue at = ir_at_constant(ir, right_at, ir->f32, u * KEYS + half * CUDA_PANEL),
                  right = ir_load(ir, vector(ir, COLUMNS), at, 4 * COLUMNS);
        for (int64_t r = 0; r < t->rows; r++)
          for (int64_t c = 0; c < COLUMNS; c++) {
            MlirValue *sum = &sums[(r * 2 + half) * COLUMNS + c];
            *sum = cuda_fma(a->e, cuda_element(a->e, left, ir->f32, r), cuda_element(a->e, right, ir->f32, c), *sum);
          }
      }
    }
    ir_for_end(ir, &i, sums);
    for (int64_t s = 0; s < count; s++) sums[s] = i.args[s];
  }
}

/* Scores of the tile become weights in shared memory, [KEYS][pitch]; m' and sum' of the thread's rows. */
static void weigh(tile *t, MlirValue first, MlirValue *sums, MlirValue *tile_m, MlirValue *tile_sum) {
  attention *a = t->a;
  ir_builder *ir = &a->e->ir;
  int64_t count = 2 * COLUMNS;
  MlirValue keys[2 * COLUMNS], masked[2 * COLUMNS];
  for (int64_t k = 0; k < count; k++) {
    keys[k] = ir_add_i(ir, first, ir_add_i(ir, t->column, ir_i64(ir, k / COLUMNS * CUDA_PANEL + k % COLUMNS)));
    masked[k] = is_masked(a, keys[k]);
  }
  for (int64_t r = 0; r < t->rows; r++) {
    MlirValue position = ir_add_i(ir, a->position, ir_add_i(ir, t->row, ir_i64(ir, r))), m = ir_f32(ir, -FLT_MAX),
              *s = &sums[r * count];
    for (int64_t k = 0; k < count; k++) {
      s[k] = score(a, s[k], keys[k], position, t->seen[r], masked[k]);
      m = larger(ir, s[k], m);
    }
    tile_m[r] = cuda_reduce_over(a->e, CUDA_MAX, m, GRID / 2, 1);
    for (int64_t k = 0; k < count; k++) s[k] = cuda_exp(a->e, ir_sub(ir, s[k], tile_m[r]));
    MlirValue sum = ir_add(ir, ir_add(ir, s[0], s[1]), ir_add(ir, s[2], s[3]));
    tile_sum[r] = cuda_reduce_over(a->e, CUDA_SUM, sum, GRID / 2, 1);
  }
  int64_t pitch = pitch_of(a->spec->head_size);
  MlirValue weights =
      ir_at(ir, cuda_row(a->e, cuda_shared(a->e, weights_at(a->spec->head_size)), t->column, pitch), ir->f32, t->row);
  for (int64_t k = 0; k < count; k++)
    for (int64_t r = 0; r < t->rows; r++)
      ir_store(ir, sums[r * count + k], ir_at_constant(ir, weights, ir->f32, (k / COLUMNS * CUDA_PANEL + k % COLUMNS) * pitch + r),
               4);
}

/* o' of the thread's rows and its columns of a panel, [rows][COLUMNS]. */
static void sum_values(tile *t, int64_t panel, MlirValue first, MlirValue *o) {
  attention *a = t->a;
  ir_builder *ir = &a->e->ir;
  int64_t size = a->spec->head_size, pitch = pitch_of(size), count = t->rows * COLUMNS;
  MlirValue weights = ir_at(ir, cuda_shared(a->e, weights_at(size)), ir->f32, t->row);
  MlirValue values = ir_at(ir, cuda_shared(a->e, chunks_at(size) + (a->panels + panel) % 2 * CHUNK * 4), ir->f32, t->column);
  MlirValue end = clamp(ir, ir_sub_i(ir, t->warp_seen, first), 0, KEYS),
            plain = clamp(ir, ir_sub_i(ir, t->warp_plain, first), 0, KEYS);
  plain = ir_sub_i(ir, plain, ir_rem_i(ir, plain, ir_i64(ir, DEPTH_STEP)));
  for (int64_t i = 0; i < count; i++) o[i] = ir_f32(ir, 0.0f);
  for (int some = 0; some < 2; some++) { /* keys that all rows of the warp see, then those that some do */
    ir_loop j;
    ir_for_begin(ir, &j, some ? plain : ir_i64(ir, 0), some ? end : plain, some ? 1 : DEPTH_STEP, count, o);
    for (int64_t i = 0; i < count; i++) o[i] = j.args[i];
    MlirValue left_at = cuda_row(a->e, weights, j.index, pitch), right_at = cuda_row(a->e, values, j.index, CUDA_PANEL);
    for (int64_t u = 0; u < (some ? 1 : DEPTH_STEP); u++) {
      MlirValue left = ir_load(ir, vector(ir, t->rows), ir_at_constant(ir, left_at, ir->f32, u * pitch), 4 * t->rows);
      MlirValue right = ir_load(ir, vector(ir, COLUMNS), ir_at_constant(ir, right_at, ir->f32, u * CUDA_PANEL), 4 * COLUMNS);
      for (int64_t r = 0; r < t->rows; r++)
        for (int64_t c = 0; c < COLUMNS; c++) {
          MlirValue *sum = &o[r * COLUMNS + c];
          MlirValue next = cuda_fma(a->e, cuda_element(a->e, left, ir->f32, r), cuda_element(a->e, right, ir->f32, c), *sum);
          *sum = some ? ir_select(ir, ir_compare_i(ir, IR_LT, ir_add_i(ir, first, j.index), t->seen[r]), next, *sum) : next;
        }
    }
    ir_for_end(ir, &j, o);
    for (int64_t i = 0; i < count; i++) o[i] = j.args[i];
  }
}

static void tile_begin(attention *a, tile *t) {
  ir_builder *ir = &a->e->ir;
  int64_t rows = tile_rows(a) / GRID, warp_rows = rows * CUDA_WARP / GRID;
  MlirValue grid = ir_i64(ir, GRID), zero = ir_i64(ir, 0), warp_row = ir_mul_i(ir, a->task->warp, ir_i64(ir, warp_rows));
  *t = (tile){.a = a, .rows = rows};
  t->row = ir_mul_i(ir, ir_div_i(ir, a->task->thread, grid), ir_i64(ir, rows));
  t->column = ir_mul_i(ir, ir_rem_i(ir, a->task->thread, grid), ir_i64(ir, COLUMNS));
  t->active = ir_compare_i(ir, IR_LT, warp_row, a->rows);
  for (int64_t r = 0; r < rows; r++) t->seen[r] = seen_by(a, ir_add_i(ir, a->position, ir_add_i(ir, t->row, ir_i64(ir, r))));
  MlirValue position = ir_add_i(ir, a->position, warp_row);
  t->warp_plain = ir_select(ir, t->active, seen_by(a, position), zero);
  MlirValue last = ir_min_i(ir, seen_by(a, ir_add_i(ir, position, ir_i64(ir, warp_rows - 1))), a->end);
  t->warp_seen = ir_select(ir, t->active, last, zero);
}

static void emit_many(attention *a) {
  hmoec_cuda_emitter *e = a->e;
  ir_builder *ir = &e->ir;
  tile t;
  tile_begin(a, &t);
  int64_t columns = a->panels * COLUMNS, sums = t.rows * columns, carried = 2 * t.rows + sums;
  MlirValue state[2 * MOST_ROWS + TILE_SUMS], zero = ir_f32(ir, 0.0f); /* m, sum, o[row][panel][COLUMNS] */
  for (int64_t i = 0; i < carried; i++) state[i] = i < t.rows ? ir_f32(ir, -FLT_MAX) : zero;
  copy_chunk(a, 0, ir_i64(ir, 0));
  ir_loop tiles;
  ir_for_begin(ir, &tiles, ir_i64(ir, 0), a->end, KEYS, carried, state);
  MlirValue scores[MOST_ROWS * 2 * COLUMNS], tile_m[MOST_ROWS], tile_sum[MOST_ROWS], of_old[MOST_ROWS], of_new[MOST_ROWS];
  for (int64_t i = 0; i < t.rows * 2 * COLUMNS; i++) scores[i] = zero;
  for (int64_t c = 0; c < a->panels; c++) {
    next_chunk(a, c, tiles.index);
    multiply_chunk(&t, c, scores);
  }
  weigh(&t, tiles.index, scores, tile_m, tile_sum);
  for (int64_t i = 0; i < carried; i++) state[i] = tiles.args[i];
  for (int64_t r = 0; r < t.rows; r++) join(a, tile_m[r], tile_sum[r], &state[r], &state[t.rows + r], &of_old[r], &of_new[r]);
  for (int64_t p = 0; p < a->panels; p++) {
    MlirValue o[MOST_ROWS * COLUMNS];
    next_chunk(a, a->panels + p, tiles.index);
    sum_values(&t, p, tiles.index, o);
    for (int64_t r = 0; r < t.rows; r++)
      for (int64_t c = 0; c < COLUMNS; c++) {
        MlirValue *all = &state[2 * t.rows + r * columns + p * COLUMNS + c];
        *all = cuda_fma(e, *all, of_old[r], ir_mul(ir, o[r * COLUMNS + c], of_new[r]));
      }
  }
  ir_for_end(ir, &tiles, state);
  cuda_copy_wait(e, 0);
  for (int64_t r = 0; r < t.rows; r++) {
    MlirValue row = ir_add_i(ir, t.row, ir_i64(ir, r));
    ir_branch exists;
    ir_if_begin(ir, &exists, ir_compare_i(ir, IR_LT, row, a->rows), none);
    for (int64_t c = 0; c < columns; c++) {
      MlirValue column = ir_add_i(ir, t.column, ir_i64(ir, c / COLUMNS * CUDA_PANEL + c % COLUMNS));
      put_result(a, row, column, tiles.args[2 * t.rows + r * columns + c], tiles.args[t.rows + r]);
    }
    cuda_if_end(e, &exists);
  }
}

/* The queries of a part of the task: all in one way, by their number, or by what the launch is for. */
static void emit_queries(attention *a) {
  ir_builder *ir = &a->e->ir;
  ir_branch joins, few;
  ir_if_begin(ir, &joins, ir_compare_i(ir, IR_EQ, a->task->splits, ir_i64(ir, 0)), none);
  emit_shared(a);
  ir_if_else(ir, &joins, nothing);
  load_queries(a);
  cuda_barrier(a->e);
  ir_if_begin(ir, &few, ir_compare_i(ir, IR_LE, a->rows, ir_i64(ir, FEW)), none);
  emit_few(a);
  ir_if_else(ir, &few, nothing);
  emit_many(a);
  ir_if_end(ir, &few, nothing); /* which ends behind a barrier after the last reading of queries */
  ir_if_end(ir, &joins, nothing);
}

void hmoec_cuda_emit_attention(hmoec_cuda_emitter *e, const hmoec_attention_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  attention a = {.e = e, .spec = spec, .task = task, .panels = cuda_panels_of(spec->head_size)};
  MlirValue length = cuda_dim(e, task, 1), past = cuda_dim(e, task, 2);
  a.kv_length = cuda_dim(e, task, 3), a.capacity = cuda_dim(e, task, 4);
  MlirValue heads = ir_i64(ir, spec->heads), step = ir_i64(ir, spec->query_block), one = ir_i64(ir, 1);
  MlirValue blocks = ir_div_i(ir, ir_add_i(ir, length, ir_sub_i(ir, step, one)), step);
  a.is_shared = ir_compare_i(ir, IR_GT, task->splits, one);
  a.shares = ir_max_i(ir, task->splits, one);
  a.share = ir_rem_i(ir, task->task, a.shares);
  MlirValue number = ir_div_i(ir, task->task, a.shares);
  MlirValue block = ir_rem_i(ir, number, blocks), of_batch = ir_div_i(ir, number, blocks);
  MlirValue batch_row = ir_div_i(ir, of_batch, heads), head = ir_rem_i(ir, of_batch, heads);
  MlirValue kv_row = ir_div_i(ir, batch_row, ir_div_i(ir, cuda_dim(e, task, 0), cuda_dim(e, task, 5)));
  MlirValue strip = ir_mul_i(ir, ir_add_i(ir, ir_mul_i(ir, kv_row, heads), head), a.capacity);
  a.keys = cuda_row(e, cuda_binding(e, task, 1), strip, spec->head_size);
  a.values = cuda_row(e, cuda_binding(e, task, 2), strip, a.panels * CUDA_PANEL);
  if (spec->has_bias) a.bias = cuda_row(e, cuda_binding(e, task, 3), head, spec->bias_ld);
  if (spec->has_mask) a.mask = ir_at(ir, cuda_binding(e, task, 4), ir->i32, ir_mul_i(ir, kv_row, cuda_dim(e, task, 6)));
  a.is_last = ir_compare_i(ir, IR_EQ, head, ir_i64(ir, spec->heads - 1));
  MlirValue begin = ir_mul_i(ir, block, step), end = ir_min_i(ir, ir_add_i(ir, begin, step), length);
  MlirType element = hmoec_is_bf16(spec->out_format) ? ir->i16 : ir->f32;
  MlirValue column = ir_mul_i(ir, head, ir_i64(ir, spec->head_size));

  ir_loop part;
  ir_for_begin(ir, &part, begin, end, tile_rows(&a), 0, NULL);
  MlirValue first = ir_add_i(ir, ir_mul_i(ir, batch_row, length), part.index);
  a.q = ir_at(ir, cuda_row(e, cuda_binding(e, task, 0), first, spec->ld_q), ir->f32, column);
  a.out = ir_at(ir, cuda_row_of(e, cuda_binding(e, task, 5), element, first, spec->ld_out), element, column);
  a.rows = ir_min_i(ir, ir_i64(ir, tile_rows(&a)), ir_sub_i(ir, end, part.index));
  a.position = ir_add_i(ir, past, part.index);
  a.end = seen_by(&a, ir_add_i(ir, a.position, ir_sub_i(ir, a.rows, one)));
  MlirValue query = ir_add_i(ir, ir_mul_i(ir, of_batch, length), part.index);
  a.most_tiles = ir_div_i(ir, ir_add_i(ir, a.kv_length, ir_i64(ir, KEYS - 1)), ir_i64(ir, KEYS));
  a.parts =
      cuda_row(e, cuda_binding(e, task, 6), ir_mul_i(ir, query, a.most_tiles), hmoec_cuda_attention_part_floats(spec->head_size));
  pad_rows(&a);
  emit_queries(&a);
  ir_for_end(ir, &part, NULL);
}
