#include "library/entry_time.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hmoe/abi.h"

enum { DRAWS = 6, MOST_THREADS = 256, MOST_TASKS = 1 << 12 /* that are followed one by one */, MOST_GROUPS = 1 << 16 };
static const double MOST_DRAWN = 1 << 22; /* comparisons; where more are needed expectations will do */

/* The rows of a blocks buffer, a group's side by side. */
typedef struct grouping {
  double *blocks; /* rows of each; owned */
  int64_t count, groups; /* groups that have rows */
} grouping;

typedef struct prediction {
  const hmoec_unit *unit;
  const hmoe_plan_entry *entry;
  const hmoe_plan_step *steps;
  const hmoec_run_case *run;
  double *dims;
  grouping *of_buffer; /* one a buffer of the entry */
  double part; /* in a loop over groups: of the blocks, in one turn */
  uint64_t random, weight_bytes;
  bool failed, counting; /* counting: bytes of weights, not time */
  double counted;
  hmoec_step_time *out;
  double *tries; /* of a step: how often `once` was added to */
} prediction;

static const void *at(const prediction *p, hmoe_plan_span span) { return (const char *)p->unit->plan + span.offset; }

/* ---- dimensions ---- */

static double dim_value(const hmoe_plan_dim *dim, uint32_t index, const double *values, double given, const hmoec_run_case *run) {
  double factor = (double)dim->factor, source = dim->source < index ? values[dim->source] : 0,
         other = dim->factor < index ? values[dim->factor] : 0;
  switch (dim->kind) {
  case HMOE_DIM_INPUT: return given;
  case HMOE_DIM_SCALE: return factor * source;
  case HMOE_DIM_MIN: return source < factor ? source : factor;
  case HMOE_DIM_PRODUCT: return source * other;
  case HMOE_DIM_SUM: return source + other;
  case HMOE_DIM_ROUND_UP: return ceil(source / factor) * factor;
  case HMOE_DIM_CEIL_DIV: return ceil(source / factor);
  case HMOE_DIM_STATE:
    return dim->source % 3 == 0 ? (double)run->rows : dim->source % 3 == 2 ? (double)run->past : 0; /* capacities: of no account */
  default: return factor; /* CHUNK, MISSING: at most; CONST */
  }
}

/* From `first` on: the others depend on those that are set. */
static void derive(const hmoec_unit *unit, const hmoe_plan_entry *entry, const hmoec_run_case *run, double *values, bool all) {
  const hmoe_plan_dim *dims = (const void *)((const char *)unit->plan + entry->dims.offset);
  bool batched = entry->dims.count > 1 && dims[1].kind == HMOE_DIM_INPUT; /* the first is the batch then */
  for (uint32_t i = 0; i < entry->dims.count; i++) {
    if (!all && (dims[i].kind == HMOE_DIM_CHUNK || dims[i].kind == HMOE_DIM_MISSING)) continue;
    values[i] = dim_value(&dims[i], i, values, batched && i == 0 ? (double)run->rows : (double)run->tokens, run);
  }
}

static const hmoe_plan_entry *entry_of(const hmoec_unit *unit, uint32_t index) {
  const hmoe_plan *plan = unit->plan;
  return (const hmoe_plan_entry *)(const void *)((const char *)plan + plan->entries.offset) + index;
}

void hmoec_entry_dims(const hmoec_unit *unit, uint32_t entry, const hmoec_run_case *run, double *out_values) {
  derive(unit, entry_of(unit, entry), run, out_values, true);
}

static void set_dims(prediction *p, uint32_t kind, double value) {
  const hmoe_plan_dim *dims = at(p, p->entry->dims);
  for (uint32_t i = 0; i < p->entry->dims.count; i++)
    if (dims[i].kind == kind) p->dims[i] = fmin(value, (double)dims[i].factor);
  derive(p->unit, p->entry, p->run, p->dims, false);
}

static double rows_of(const prediction *p, const hmoe_plan_step *step) {
  return step->rows_dim == HMOE_NONE ? 0 : p->dims[step->rows_dim];
}

/* ---- routing ---- */

static double draw(prediction *p) {
  p->random = p->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (double)(p->random >> 11) / 9007199254740992.0;
}

/* How many of `rows` picks each of so many groups gets, top_k different ones a token. */
static void draw_counts(prediction *p, double rows, int64_t groups, int64_t top_k, double *out_counts) {
  double total = 0;
  double *weights = calloc((size_t)groups, sizeof *weights);
  if (!weights) {
    p->failed = true;
    return;
  }
  for (int64_t g = 0; g < groups; g++) total += weights[g] = pow((double)(g + 1), p->run->even ? 0 : -p->run->skew);
  double tokens = floor(rows / (double)top_k);
  bool direct = top_k == 1 && !(p->run->skew > 0);
  if (p->run->even || rows * (direct ? 1 : (double)groups) > MOST_DRAWN) {
    double given = 0, sum = 0;
    for (int64_t g = 0; g < groups; g++) { /* whole rows, the sum of which is right */
      sum += weights[g] / total * rows;
      out_counts[g] = floor(sum + 0.5) - given;
      given += out_counts[g];
    }
  } else if (direct) {
    for (int64_t t = 0; t < (int64_t)tokens; t++) out_counts[(int64_t)(draw(p) * (double)groups)]++;
  } else {
    for (int64_t t = 0; t < (int64_t)tokens; t++) {
      double left = total;
      int64_t picked[HMOE_TOP_K_MAX < 64 ? HMOE_TOP_K_MAX : 64];
      int64_t picks = top_k < 64 ? top_k : 64;
      for (int64_t k = 0; k < picks; k++) {
        double sum = 0, want = draw(p) * left;
        int64_t chosen = -1;
        for (int64_t g = 0; g < groups; g++) {
          bool taken = false;
          for (int64_t j = 0; j < k; j++) taken |= picked[j] == g;
          if (taken) continue;
          chosen = g;
          if ((sum += weights[g]) > want) break;
        }
        if (chosen < 0) break;
        picked[k] = chosen;
        left -= weights[chosen];
        out_counts[chosen]++;
      }
    }
  }
  free(weights);
}

/* Cuts groups into blocks, as a run does. */
static void cut(prediction *p, grouping *out, const double *counts, int64_t groups, double rows, int64_t row_block) {
  if (p->unit->target->run_block_rows) row_block = p->unit->target->run_block_rows(row_block, (int64_t)rows, p->run->threads);
  *out = (grouping){0};
  for (int64_t g = 0; g < groups; g++) out->count += (int64_t)ceil(counts[g] / (double)row_block);
  out->blocks = calloc((size_t)out->count + 1, sizeof *out->blocks);
  if (!out->blocks) {
    p->failed = true;
    out->count = 0;
    return;
  }
  int64_t block = 0;
  for (int64_t g = 0; g < groups; g++) {
    int64_t pieces = (int64_t)ceil(counts[g] / (double)row_block);
    out->groups += pieces > 0;
    for (int64_t i = 0; i < pieces; i++)
      out->blocks[block++] = floor(counts[g] * (double)(i + 1) / (double)pieces) - floor(counts[g] * (double)i / (double)pieces);
  }
}

static uint32_t buffer_of(const prediction *p, const hmoe_plan_step *step, uint32_t binding) {
  return ((const hmoe_plan_binding *)at(p, step->bindings))[binding].buffer;
}

/* How many sets of experts there are; at most MOST_GROUPS. */
static int64_t set_count(int64_t experts, int64_t top_k) {
  int64_t sets = hmoec_binomial(experts, top_k);
  return sets < MOST_GROUPS ? sets : MOST_GROUPS;
}

static void group(prediction *p, const hmoe_plan_step *step) {
  double rows = rows_of(p, step);
  int64_t groups, top_k, row_block;
  uint32_t buffer;
  bool each = false; /* token a group of its own */
  if (step->kind == HMOE_STEP_GROUP) {
    const hmoe_step_group *f = at(p, step->fields);
    groups = f->experts, top_k = f->top_k, row_block = f->row_block;
    buffer = buffer_of(p, step, HMOE_BIND_GROUP_BLOCKS);
  } else {
    const hmoe_step_group_sets *f = at(p, step->fields);
    groups = set_count(f->experts, f->top_k), top_k = 1, row_block = f->row_block;
    each = f->mode == HMOE_SETS_TOKEN;
    buffer = buffer_of(p, step, HMOE_BIND_GROUP_SETS_BLOCKS);
  }
  if (each) groups = (int64_t)fmin(fmax(rows, 1), MOST_GROUPS);
  double *counts = calloc((size_t)(groups ? groups : 1), sizeof *counts);
  if (!counts || groups < 1 || row_block < 1 || buffer >= p->entry->buffers.count) {
    p->failed = true;
    free(counts);
    return;
  }
  if (each)
    for (int64_t g = 0; g < groups; g++) counts[g] = rows / (double)groups;
  else draw_counts(p, rows, groups, top_k, counts);
  free(p->of_buffer[buffer].blocks);
  cut(p, &p->of_buffer[buffer], counts, groups, rows, row_block);
  free(counts);
}

/* ---- kernels ---- */

/* Bytes of right operands of one group. */
static double right_bytes(const prediction *p, const hmoec_matmul_spec *s) {
  int64_t columns = s->n + (s->paired ? s->segment[0].end : 0);
  return (double)hmoec_format_bytes(s->format, hmoec_right_elements(p->unit->target, s->format, s->k, columns));
}

static double group_bytes(const prediction *p, const hmoec_kernel *kernel) {
  if (kernel->family == HMOEC_KERNEL_MATMUL) return right_bytes(p, &kernel->spec.matmul);
  if (kernel->family == HMOEC_KERNEL_FFN) return right_bytes(p, &kernel->spec.ffn.first) + right_bytes(p, &kernel->spec.ffn.second);
  return 0;
}

typedef struct grid {
  const double *blocks; /* rows of each; NULL: all but the last have row_block */
  int64_t count, row_block;
  double rows, keys;
  int64_t most_splits, tasks;
} grid;

static double block_rows(const grid *g, int64_t block) {
  if (g->blocks) return g->blocks[block];
  double left = g->rows - (double)block * (double)g->row_block;
  return left < (double)g->row_block ? left : (double)g->row_block;
}

static double task_time(const prediction *p, const hmoec_kernel *kernel, const hmoec_task *task) {
  const hmoec_unit *u = p->unit;
  return u->target->task_time(u->machine, p->run->version, &u->schedule, kernel, task);
}

/* So many tasks that the last of them does not matter, of blocks that are alike or nearly so. */
static double longest_of_many(const prediction *p, const hmoec_kernel *kernel, const grid *g, int64_t threads) {
  const hmoec_task task = {
      .rows = g->rows / (double)g->count, .keys = g->keys, .splits = 1, .weight_bytes = p->weight_bytes, .threads = threads};
  return task_time(p, kernel, &task) * (double)g->count / (double)threads;
}

/* A thread that is done takes the next task. */
static double longest(const prediction *p, const hmoec_kernel *kernel, const grid *g, int64_t splits, int64_t threads) {
  if (g->count > MOST_TASKS) return longest_of_many(p, kernel, g, threads);
  double busy[MOST_THREADS] = {0}, last = 0, before = -1, of_split[64] = {0};
  hmoec_task task = {.keys = g->keys, .splits = splits, .weight_bytes = p->weight_bytes, .threads = threads};
  for (int64_t block = 0; block < g->count; block++) {
    task.rows = block_rows(g, block);
    for (task.split = 0; task.split < splits; task.split++) {
      double known = task.split < 64 ? of_split[task.split] : 0,
             time = fabs(task.rows - before) < 0.5 && known > 0 ? known : task_time(p, kernel, &task);
      if (task.split < 64) of_split[task.split] = time;
      int64_t first = 0;
      for (int64_t t = 1; t < threads; t++)
        if (busy[t] < busy[first]) first = t;
      busy[first] += time;
      last = fmax(last, busy[first]);
    }
    before = task.rows;
  }
  return last;
}

static double bound_of(const prediction *p, const hmoec_kernel *kernel, const grid *g, int64_t threads) {
  double sum = 0, before = -1, time = 0;
  hmoec_task task = {.keys = g->keys, .splits = 1, .weight_bytes = p->weight_bytes, .threads = threads};
  for (int64_t block = 0; block < g->count; block++) {
    task.rows = block_rows(g, block);
    if (task.rows < before || task.rows > before)
      time = p->unit->target->task_bound(p->unit->machine, p->run->version, &p->unit->schedule, kernel, &task);
    before = task.rows;
    sum += time;
  }
  return sum / (double)threads;
}

static grid grid_of(const prediction *p, const hmoe_plan_step *step, const hmoe_step_kernel *f, const hmoec_kernel *kernel) {
  grid g = {.rows = rows_of(p, step), .row_block = f->row_block ? f->row_block : 1, .most_splits = 1, .tasks = f->tasks};
  if (f->grid != HMOE_GRID_ROWS) g.most_splits = f->column_splits;
  if (f->grid == HMOE_GRID_BLOCKS) {
    const grouping *of = &p->of_buffer[buffer_of(p, step, f->blocks_binding)];
    g.blocks = of->blocks;
    g.count = (int64_t)ceil((double)of->count * p->part);
    g.rows = 0;
    for (int64_t i = 0; i < g.count; i++) g.rows += of->blocks[i];
    return g;
  }
  g.count = (int64_t)ceil(g.rows / (double)g.row_block);
  if (kernel->family == HMOEC_KERNEL_ATTENTION && f->dims.count > 3) { /* tasks, each of a block of queries */
    const uint32_t *dims = at(p, f->dims);
    double length = p->dims[dims[1]], past = p->dims[dims[2]], keys = p->dims[dims[3]],
           blocks = fmax(1, ceil(length / (double)kernel->spec.attention.query_block)), queries = length / blocks;
    g.row_block = (int64_t)fmax(1, ceil(queries));
    g.rows = g.rows * (double)g.row_block;
    g.keys = kernel->spec.attention.causal ? fmin(keys, past + (length + queries) / 2) : keys;
  }
  return g;
}

static void add(prediction *p, const hmoe_plan_step *step, double seconds, double bound, double rows, bool shared, double turns) {
  hmoec_step_time *out = &p->out[step - p->steps];
  out->seconds += turns * seconds / (double)DRAWS;
  out->bound += turns * bound / (double)DRAWS;
  out->runs += turns / (double)DRAWS;
  out->rows += turns * rows / (double)DRAWS;
  out->shared = shared;
}

static double kernel_seconds(prediction *p, const hmoe_plan_step *step, double turns, bool keep) {
  const hmoe_step_kernel *f = at(p, step->fields);
  const hmoec_kernel *kernel = &p->unit->kernels[f->kernel];
  const hmoec_target *target = p->unit->target;
  grid g = grid_of(p, step, f, kernel);
  if (p->counting) {
    const grouping *of = f->grid == HMOE_GRID_BLOCKS ? &p->of_buffer[buffer_of(p, step, f->blocks_binding)] : NULL;
    p->counted += group_bytes(p, kernel) * (of ? (double)of->groups : g.rows > 0);
    return 0;
  }
  if (g.count < 1) return 0;
  int64_t threads = p->run->threads < 1 ? 1 : p->run->threads > MOST_THREADS ? MOST_THREADS : p->run->threads, splits = 1;
  int64_t wanted = g.tasks * threads;
  if (threads > 1 && g.most_splits > 1 && g.count < wanted) splits = (wanted + g.count - 1) / g.count;
  splits = splits < g.most_splits ? splits : g.most_splits;
  double alone = longest(p, kernel, &g, 1, 1), shared = alone;
  if (threads > 1 && g.count * splits > 1)
    shared = longest(p, kernel, &g, splits, threads) + target->sharing_time(p->unit->machine).barrier;
  double over = target->step_time ? target->step_time(p->unit->machine, HMOE_STEP_KERNEL, 0) : 0,
         seconds = fmin(alone, shared) + over;
  p->out[step - p->steps].once += seconds;
  p->tries[step - p->steps]++;
  if (keep) add(p, step, seconds, bound_of(p, kernel, &g, threads), g.rows, shared < alone, turns);
  return seconds;
}

/* ---- steps ---- */

static double run_steps(prediction *p, uint32_t first, uint32_t end, double turns, bool keep);

static double choose_seconds(prediction *p, const hmoe_plan_step *step, double turns, bool keep) {
  const hmoe_step_choose *f = at(p, step->fields);
  uint32_t begin = (uint32_t)(step - p->steps) + 1, middle = begin + f->first_steps, end = middle + f->second_steps;
  if (p->counting) return run_steps(p, begin, middle, 1, false);
  bool pair = run_steps(p, begin, middle, 1, false) <= run_steps(p, middle, end, 1, false);
  return pair ? run_steps(p, begin, middle, turns, keep) : run_steps(p, middle, end, turns, keep);
}

static double loop_seconds(prediction *p, const hmoe_plan_step *step, double turns, bool keep) {
  const hmoe_step_loop *f = at(p, step->fields);
  uint32_t body = (uint32_t)(step - p->steps) + 1, end = body + f->steps, generate = body + f->generate_steps;
  double items = rows_of(p, step), part = p->part, chunk = f->chunk ? f->chunk : 1, misses = 1, seconds = 0;
  if (f->kind != HMOE_LOOP_ROWS) {
    const hmoe_plan *plan = p->unit->plan;
    uint32_t blocks = buffer_of(p, step, HMOE_BIND_LOOP_BLOCKS);
    items = blocks < p->entry->buffers.count ? (double)p->of_buffer[blocks].groups : 0;
    if (f->kind == HMOE_LOOP_CACHED) { /* what it has room for is there */
      const hmoe_plan_cache *cache = (const hmoe_plan_cache *)at(p, plan->caches) + f->cache;
      misses = fmax(0, 1 - (double)cache->slots / fmax(1, (double)f->groups));
    }
  }
  double times = ceil(items / chunk);
  if (times < 1) return 0;
  set_dims(p, f->kind == HMOE_LOOP_ROWS ? HMOE_DIM_CHUNK : HMOE_DIM_MISSING, ceil(items / times * misses));
  if (f->kind != HMOE_LOOP_ROWS) p->part = part / times;
  if (f->kind == HMOE_LOOP_CACHED && misses > 0) seconds += run_steps(p, body, generate, turns * times, keep);
  seconds += run_steps(p, f->kind == HMOE_LOOP_CACHED ? generate : body, end, turns * times, keep);
  p->part = part;
  derive(p->unit, p->entry, p->run, p->dims, true);
  return times * seconds;
}

static uint32_t body_of(const prediction *p, const hmoe_plan_step *step) {
  if (step->kind == HMOE_STEP_LOOP) return ((const hmoe_step_loop *)at(p, step->fields))->steps;
  if (step->kind != HMOE_STEP_CHOOSE) return 0;
  const hmoe_step_choose *f = at(p, step->fields);
  return f->first_steps + f->second_steps;
}

static double run_steps(prediction *p, uint32_t first, uint32_t end, double turns, bool keep) {
  double sum = 0;
  for (uint32_t i = first; i < end && i < p->entry->steps.count; i++) {
    const hmoe_plan_step *step = &p->steps[i];
    double rows = rows_of(p, step), other = 0;
    switch (step->kind) {
    case HMOE_STEP_KERNEL: sum += kernel_seconds(p, step, turns, keep); break;
    case HMOE_STEP_CHOOSE: sum += choose_seconds(p, step, turns, keep); break;
    case HMOE_STEP_LOOP: sum += loop_seconds(p, step, turns, keep); break;
    case HMOE_STEP_GROUP:
    case HMOE_STEP_GROUP_SETS:
      if (p->counting) group(p, step); /* once a draw */
      /* fallthrough */
    default:
      if (p->unit->target->step_time && !p->counting) other = p->unit->target->step_time(p->unit->machine, step->kind, rows);
      sum += other;
      if (keep) add(p, step, other, other, rows, false, turns);
    }
    i += body_of(p, step);
  }
  return sum;
}

bool hmoec_entry_time_init(const hmoec_unit *unit, uint32_t entry, const hmoec_run_case *run, hmoec_entry_time *out_time) {
  *out_time = (hmoec_entry_time){0};
  if (!unit->machine || !unit->target->task_time) return false;
  prediction p = {.unit = unit, .entry = entry_of(unit, entry), .run = run, .part = 1, .random = 1};
  p.steps = at(&p, p.entry->steps);
  p.dims = calloc(p.entry->dims.count + 1, sizeof *p.dims);
  p.of_buffer = calloc(p.entry->buffers.count + 1, sizeof *p.of_buffer);
  out_time->steps = p.out = calloc(p.entry->steps.count + 1, sizeof *p.out);
  p.tries = calloc(p.entry->steps.count + 1, sizeof *p.tries);
  out_time->step_count = p.entry->steps.count;
  p.failed = !p.dims || !p.of_buffer || !p.out || !p.tries;
  for (int draws = 0; !p.failed && draws < DRAWS; draws++) {
    derive(unit, p.entry, run, p.dims, true);
    p.counting = true;
    p.counted = 0;
    run_steps(&p, 0, p.entry->steps.count, 1, false);
    p.counting = false;
    p.weight_bytes = (uint64_t)fmin(p.counted, 1e18);
    out_time->weight_bytes += p.weight_bytes / DRAWS;
    if (!p.failed) run_steps(&p, 0, p.entry->steps.count, 1, true);
  }
  for (uint32_t i = 0; !p.failed && i < p.entry->steps.count; i++) {
    out_time->seconds += p.out[i].seconds;
    out_time->bound += p.out[i].bound;
    if (p.out[i].runs > 0) p.out[i].rows /= p.out[i].runs;
    if (p.tries[i] > 0) p.out[i].once /= p.tries[i];
  }
  for (uint32_t i = 0; p.of_buffer && i < p.entry->buffers.count; i++) free(p.of_buffer[i].blocks);
  free(p.of_buffer);
  free(p.tries);
  free(p.dims);
  return !p.failed;
}

void hmoec_entry_time_deinit(hmoec_entry_time *time) {
  free(time->steps);
  time->steps = NULL;
}

bool hmoec_time_is_hopeful(double seconds, double bound) {
  const double nothing_to_find = 0.75; /* of the time */
  return bound < nothing_to_find * seconds;
}
