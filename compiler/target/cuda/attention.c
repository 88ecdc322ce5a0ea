/* STORE and ATTENTION, in f32.
 *
 * STORE: a warp a row of k and v. ATTENTION: a warp a query of the task's block, keys 32 at a time, a lane each:
 *
 *   s = scale q . key + bias, or -FLT_MAX where the mask is 0                        a key's elements lie 32 apart: lanes read whole lines
 *   m' = max(m, s of the 32) ; sum = sum exp(m - m') + sum of exp(s - m') ; o = o exp(m - m') + sum over the 32 of exp(s - m') value
 *
 * and o / sum at the end. A lane has every 32nd column of o. Keys past the query are not looked at: their weight is 0 whatever they hold. */
#include <float.h>
#include <math.h>

#include "target/cuda/cuda.h"

enum { MOST_COLUMNS = 16 /* of o a lane: registers */ };

static const MlirType none = {NULL};

/* Rows of k and v into keys [rows][heads][C/32][D][32] and values [rows][heads][ceil(D/32)][C][32]. */
void hmoec_cuda_emit_store(hmoec_cuda_emitter *e, const hmoec_store_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  int64_t d = spec->head_size, padded = cuda_panels_of(d) * CUDA_PANEL;
  MlirValue k = cuda_binding(e, task, 0), v = cuda_binding(e, task, 1), keys = cuda_binding(e, task, 2),
            values = cuda_binding(e, task, 3);
  MlirValue length = cuda_dim(e, task, 0), past = cuda_dim(e, task, 1), capacity = cuda_dim(e, task, 2);
  MlirValue width = ir_i64(ir, CUDA_PANEL), zero = ir_f32(ir, 0.0f);
  ir_loop r, c;
  cuda_rows_begin(e, task, spec->row_block, &r);
  MlirValue row = ir_div_i(ir, r.index, length), position = ir_add_i(ir, past, ir_rem_i(ir, r.index, length));
  MlirValue k_row = cuda_row(e, k, r.index, spec->ld_k), v_row = cuda_row(e, v, r.index, spec->ld_v);
  MlirValue block = ir_div_i(ir, position, width), lane = ir_rem_i(ir, position, width);
  cuda_columns_begin(e, task, 0, spec->heads * padded, 0, NULL, &c);
  MlirValue head = ir_div_i(ir, c.index, ir_i64(ir, padded)), i = ir_rem_i(ir, c.index, ir_i64(ir, padded));
  MlirValue from = ir_add_i(ir, ir_mul_i(ir, head, ir_i64(ir, d)), i);
  MlirValue strip =
      ir_mul_i(ir, ir_add_i(ir, ir_mul_i(ir, row, ir_i64(ir, spec->heads)), head), capacity); /* positions before the head's */
  ir_branch real;
  ir_if_begin(ir, &real, ir_compare_i(ir, IR_LT, i, ir_i64(ir, d)), ir->f32);
  MlirValue line = ir_add_i(ir, ir_mul_i(ir, ir_add_i(ir, ir_div_i(ir, strip, width), block), ir_i64(ir, d)), i);
  cuda_put(e, keys, ir_add_i(ir, ir_mul_i(ir, line, width), lane), cuda_f32(e, k_row, from));
  ir_if_else(ir, &real, cuda_f32(e, v_row, from));
  MlirValue value = ir_if_end(ir, &real, zero);
  MlirValue part =
      ir_add_i(ir, ir_mul_i(ir, strip, ir_i64(ir, padded / CUDA_PANEL)), ir_mul_i(ir, ir_div_i(ir, i, width), capacity));
  cuda_put(e, values, ir_add_i(ir, ir_mul_i(ir, ir_add_i(ir, part, position), width), ir_rem_i(ir, i, width)), value);
  ir_for_end(ir, &c, NULL);
  ir_for_end(ir, &r, NULL);
}

typedef struct attention {
  hmoec_cuda_emitter *e;
  const hmoec_attention_spec *spec;
  const hmoec_cuda_task *task;
  MlirValue length, past, kv_length, capacity, mask_stride;
  MlirValue head, keys, values, bias, mask; /* of the head, and of the row that is read */
  int64_t columns; /* of o a lane */
} attention;

static MlirValue clamp(ir_builder *ir, MlirValue x, int64_t least, int64_t most) {
  return ir_max_i(ir, ir_min_i(ir, x, ir_i64(ir, most)), ir_i64(ir, least));
}

/* Of this lane's key; the key is there. t: the query's position. */
static MlirValue score(attention *a, MlirValue q, MlirValue t, MlirValue first, MlirValue key) {
  ir_builder *ir = &a->e->ir;
  const hmoec_attention_spec *s = a->spec;
  MlirValue zero = ir_f32(ir, 0.0f), width = ir_i64(ir, CUDA_PANEL);
  MlirValue lines = ir_mul_i(ir, ir_div_i(ir, first, width), ir_i64(ir, s->head_size)); /* before the block of keys */
  ir_loop i;
  ir_for_begin(ir, &i, ir_i64(ir, 0), ir_i64(ir, s->head_size), 1, 1, &zero);
  MlirValue at = ir_add_i(ir, ir_mul_i(ir, ir_add_i(ir, lines, i.index), width), a->task->lane);
  MlirValue sum = cuda_fma(a->e, cuda_f32(a->e, q, i.index), cuda_f32(a->e, a->keys, at), i.args[0]);
  ir_for_end(ir, &i, &sum);
  MlirValue result = ir_mul(ir, i.args[0], ir_f32(ir, (float)s->scale));
  if (s->has_bias) {
    MlirValue distance = clamp(ir, ir_sub_i(ir, key, t), -s->max_distance - 1, s->max_distance + 1);
    result = ir_add(ir, result, cuda_f32(a->e, a->bias, ir_add_i(ir, distance, ir_i64(ir, s->bias_zero))));
  }
  if (s->has_mask) {
    MlirValue masked = ir_compare_i(ir, IR_EQ, cuda_i32(a->e, a->mask, key), ir_i32(ir, 0));
    result = ir_select(ir, masked, ir_f32(ir, -FLT_MAX), result);
  }
  return result;
}

/* o[c] += sum of the weights of `count` keys from `first` on, times their values, keys ascending. */
static void add_values(attention *a, MlirValue weight, MlirValue first, MlirValue count, MlirValue *o) {
  hmoec_cuda_emitter *e = a->e;
  ir_builder *ir = &e->ir;
  ir_loop j;
  ir_for_begin(ir, &j, ir_i64(ir, 0), count, 1, a->columns, o);
  MlirValue lane = ir_truncate(ir, j.index), operands[] = {ir_i32(ir, -1), weight, lane, ir_i32(ir, 31)}, next[MOST_COLUMNS];
  MlirValue w = ir_intrinsic(ir, "llvm.nvvm.shfl.sync.idx.f32", ir->f32, 4, operands), position = ir_add_i(ir, first, j.index);
  for (int64_t c = 0; c < a->columns; c++) {
    MlirValue line = ir_add_i(ir, ir_mul_i(ir, a->capacity, ir_i64(ir, c)), position);
    MlirValue at = ir_add_i(ir, ir_mul_i(ir, line, ir_i64(ir, CUDA_PANEL)), a->task->lane);
    next[c] = cuda_fma(e, w, cuda_f32(e, a->values, at), j.args[c]);
  }
  ir_for_end(ir, &j, next);
  for (int64_t c = 0; c < a->columns; c++) o[c] = j.args[c];
}

/* out of the query at row r, whose position is t. */
static void emit_query(attention *a, MlirValue r, MlirValue t) {
  hmoec_cuda_emitter *e = a->e;
  ir_builder *ir = &e->ir;
  const hmoec_attention_spec *s = a->spec;
  MlirValue q = cuda_row(e, cuda_binding(e, a->task, 0), r, s->ld_q), zero = ir_f32(ir, 0.0f), least = ir_f32(ir, -INFINITY);
  q = ir_at(ir, q, ir->f32, ir_mul_i(ir, a->head, ir_i64(ir, s->head_size)));
  MlirValue end = s->causal ? ir_min_i(ir, a->kv_length, ir_add_i(ir, t, ir_i64(ir, 1))) : a->kv_length;
  MlirValue state[2 + MOST_COLUMNS] = {least, zero}; /* m, sum, o */
  for (int64_t c = 0; c < a->columns; c++) state[2 + c] = zero;
  ir_loop b;
  ir_for_begin(ir, &b, ir_i64(ir, 0), end, CUDA_PANEL, 2 + a->columns, state);
  MlirValue key = ir_add_i(ir, b.index, a->task->lane), count = ir_min_i(ir, ir_sub_i(ir, end, b.index), ir_i64(ir, CUDA_PANEL));
  MlirValue exists = ir_compare_i(ir, IR_LT, key, end);
  ir_branch real;
  ir_if_begin(ir, &real, exists, ir->f32);
  ir_if_else(ir, &real, score(a, q, t, b.index, key));
  MlirValue own = ir_if_end(ir, &real, least);
  MlirValue m = cuda_reduce(e, CUDA_MAX, own), larger = ir_compare_f(ir, IR_GT, b.args[0], m);
  m = ir_select(ir, larger, b.args[0], m);
  MlirValue weight = ir_select(ir, exists, cuda_exp(e, ir_sub(ir, own, m)), zero);
  MlirValue factor = cuda_exp(e, ir_sub(ir, b.args[0], m)), o[MOST_COLUMNS];
  for (int64_t c = 0; c < a->columns; c++) o[c] = ir_mul(ir, b.args[2 + c], factor);
  add_values(a, weight, b.index, count, o);
  state[0] = m;
  state[1] = cuda_fma(e, b.args[1], factor, cuda_reduce(e, CUDA_SUM, weight));
  for (int64_t c = 0; c < a->columns; c++) state[2 + c] = o[c];
  ir_for_end(ir, &b, state);

  bool to_bf16 = hmoec_is_bf16(s->out_format);
  MlirType element = to_bf16 ? ir->i16 : ir->f32;
  MlirValue to = cuda_row_of(e, cuda_binding(e, a->task, 5), element, r, s->ld_out), sum = b.args[1];
  to = ir_at(ir, to, element, ir_mul_i(ir, a->head, ir_i64(ir, s->head_size)));
  MlirValue none_seen = ir_compare_i(ir, IR_LE, end, ir_i64(ir, 0));
  for (int64_t c = 0; c < a->columns; c++) {
    MlirValue column = ir_add_i(ir, a->task->lane, ir_i64(ir, c * CUDA_PANEL));
    MlirValue value = ir_select(ir, none_seen, zero, ir_div(ir, b.args[2 + c], sum));
    ir_branch inside;
    ir_if_begin(ir, &inside, ir_compare_i(ir, IR_LT, column, ir_i64(ir, s->head_size)), none);
    cuda_put(e, to, column, to_bf16 ? cuda_to_bf16(e, value) : value);
    cuda_if_end(e, &inside);
  }
  /* The last head's warps pad the row up to a whole column step. */
  int64_t used = s->heads * s->head_size, rest = cuda_panels_of(used) * CUDA_PANEL - used;
  if (!rest) return;
  ir_branch pads;
  MlirValue is_last = ir_compare_i(ir, IR_EQ, a->head, ir_i64(ir, s->heads - 1));
  ir_if_begin(ir, &pads, ir_and(ir, is_last, ir_compare_i(ir, IR_LT, a->task->lane, ir_i64(ir, rest))), none);
  cuda_put(e, to, ir_add_i(ir, a->task->lane, ir_i64(ir, s->head_size)), to_bf16 ? cuda_to_bf16(e, zero) : zero);
  cuda_if_end(e, &pads);
}

bool hmoec_cuda_has_attention(const hmoec_attention_spec *spec) { return cuda_panels_of(spec->head_size) <= MOST_COLUMNS; }

void hmoec_cuda_emit_attention(hmoec_cuda_emitter *e, const hmoec_attention_spec *spec, const hmoec_cuda_task *task) {
  ir_builder *ir = &e->ir;
  attention a = {.e = e, .spec = spec, .task = task, .columns = cuda_panels_of(spec->head_size)};
  a.length = cuda_dim(e, task, 1), a.past = cuda_dim(e, task, 2), a.kv_length = cuda_dim(e, task, 3),
  a.capacity = cuda_dim(e, task, 4);
  MlirValue heads = ir_i64(ir, spec->heads), step = ir_i64(ir, spec->query_block), one = ir_i64(ir, 1);
  MlirValue blocks = ir_div_i(ir, ir_add_i(ir, a.length, ir_sub_i(ir, step, one)), step);
  MlirValue block = ir_rem_i(ir, task->task, blocks), of_batch = ir_div_i(ir, task->task, blocks);
  MlirValue batch_row = ir_div_i(ir, of_batch, heads);
  a.head = ir_rem_i(ir, of_batch, heads);
  MlirValue kv_row = ir_div_i(ir, batch_row, ir_div_i(ir, cuda_dim(e, task, 0), cuda_dim(e, task, 5)));
  MlirValue strip = ir_mul_i(ir, ir_add_i(ir, ir_mul_i(ir, kv_row, heads), a.head), a.capacity);
  a.keys = cuda_row(e, cuda_binding(e, task, 1), strip, spec->head_size);
  a.values = cuda_row(e, cuda_binding(e, task, 2), strip, a.columns * CUDA_PANEL);
  if (spec->has_bias) a.bias = cuda_row(e, cuda_binding(e, task, 3), a.head, spec->bias_ld);
  if (spec->has_mask) a.mask = ir_at(ir, cuda_binding(e, task, 4), ir->i32, ir_mul_i(ir, kv_row, cuda_dim(e, task, 6)));
  MlirValue begin = ir_mul_i(ir, block, step), end = ir_min_i(ir, ir_add_i(ir, begin, step), a.length);
  ir_loop t;
  ir_for_begin(ir, &t, ir_add_i(ir, begin, task->warp), end, CUDA_ROW_WARPS, 0, NULL);
  emit_query(&a, ir_add_i(ir, ir_mul_i(ir, batch_row, a.length), t.index), ir_add_i(ir, a.past, t.index));
  ir_for_end(ir, &t, NULL);
}
