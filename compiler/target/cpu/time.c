/* A task of a product, of r rows in row tiles and p panels of depth k:
 *
 *   arithmetic = p sum over tiles of max((rows + tile) * 64 k / flops, panel bytes / read)     rows as the tile computes them: AMX 16 or 32
 *              + p bytes of A / read, where a tile's rows of A do not stay in the first-level cache
 *   sums       = p r sums, and what an activation takes
 *   weights    = panel bytes p / bandwidth of where they lie
 *   time       = max(arithmetic + sums, weights) + what is left of the other + copies of rows
 *
 * What reads weights from far overlaps with arithmetic, but not all of it: LEFT. Weights of w bytes lie in a cache of c, to be found there in the next run,
 * if w <= c; they are read in the same order every time, so that at 2 c none is left. */
#include "target/cpu/time.h"

#include <math.h>

#include "hmoe/abi.h"
#include "runtime_internal.h"
#include "target/cpu/emit.h"
#include "target/cpu/knobs.h"

#define VERSIONS(first, name, unit)                                                                                                \
  [(first) + HMOE_CPU_PORTABLE] = {name ".portable", unit}, [(first) + HMOE_CPU_AVX2] = {name ".avx2", unit},                      \
             [(first) + HMOE_CPU_AVX512] = {name ".avx512", unit}, [(first) + HMOE_CPU_AVX512_BF16] = {name ".avx512_bf16", unit}, \
             [(first) + HMOE_CPU_AMX] = {name ".amx", unit}

const hmoec_machine_number hmoec_cpu_numbers[HMOEC_CPU_NUMBERS] = {
    VERSIONS(CPU_FLOPS, "flops", "GFLOP/s"),
    VERSIONS(CPU_FLOPS_BF16, "flops_bf16", "GFLOP/s"),
    VERSIONS(CPU_TILE, "tile", "rows"),
    VERSIONS(CPU_TILE_BF16, "tile_bf16", "rows"),
    VERSIONS(CPU_READ, "read", "GB/s"),
    VERSIONS(CPU_READ_BF16, "read_bf16", "GB/s"),
    [CPU_READ_L3] = {"read_l3", "GB/s"},
    [CPU_READ_MEMORY] = {"read_memory", "GB/s"},
    [CPU_READ_SHARED] = {"read_shared", "GB/s"},
    [CPU_LATENCY] = {"latency", "ns"},
    [CPU_SUMS] = {"sums", "ns"},
    [CPU_SUMS_BF16] = {"sums_bf16", "ns"},
    [CPU_ELEMENT] = {"element", "ns"},
    [CPU_NORM] = {"norm", "ns"},
    [CPU_FUNCTION] = {"function", "ns"},
    [CPU_PICK] = {"pick", "ns"},
    [CPU_QUERY] = {"query", "ns"},
    [CPU_KEYS] = {"keys", "ns"},
    [CPU_GROUPED] = {"grouped", "ns"},
    [CPU_STEP] = {"step", "us"},
    [CPU_BARRIER] = {"barrier", "us"},
    [CPU_WAKE] = {"wake", "us"},
    [CPU_ASLEEP] = {"asleep", "us"},
};

#define OF(first, a, b, c, d, e)                                                                                                   \
  [(first) + HMOE_CPU_PORTABLE] = a, [(first) + HMOE_CPU_AVX2] = b, [(first) + HMOE_CPU_AVX512] = c,                               \
             [(first) + HMOE_CPU_AVX512_BF16] = d, [(first) + HMOE_CPU_AMX] = e

const hmoec_machine hmoec_cpu_machines[HMOEC_CPU_MACHINES] = {
    {.name = "a server with AMX, two threads",
     .version = HMOE_CPU_AMX,
     .threads = 2,
     .cache_bytes = {48 << 10, 2 << 20, 128 << 20},
     .number = {OF(CPU_FLOPS, 32, 105, 197, 197, 197),
                OF(CPU_FLOPS_BF16, 28, 81, 135, 107, 1050),
                OF(CPU_TILE, 0, 0.1, 1.35, 1.35, 1.35),
                OF(CPU_TILE_BF16, 0, 0.2, 0.4, 0, 0),
                OF(CPU_READ, 60, 125, 145, 145, 145),
                OF(CPU_READ_BF16, 26, 60, 83, 87, 65),
                [CPU_READ_L3] = 28,
                [CPU_READ_MEMORY] = 15,
                [CPU_READ_SHARED] = 15,
                [CPU_LATENCY] = 1.3,
                [CPU_SUMS] = 2.6,
                [CPU_SUMS_BF16] = 3.5,
                [CPU_ELEMENT] = 0.115,
                [CPU_NORM] = 0.26,
                [CPU_FUNCTION] = 0.3,
                [CPU_PICK] = 15,
                [CPU_QUERY] = 30,
                [CPU_KEYS] = 20,
                [CPU_GROUPED] = 5,
                [CPU_STEP] = 0.1,
                [CPU_BARRIER] = 0.3,
                [CPU_WAKE] = 12,
                [CPU_ASLEEP] = 25}},
};

enum { AMX_ROWS = 16, ROWS_OF_A_RATE = 64, KEYS_OF_A_RATE = 128 };
static const double LEFT = 0.4, USUAL_TILE = 14 /* rows */, TASK = 20e-9 /* to take a task, and to return from it */,
                    ROW = 4e-9 /* to begin one of a row-wise kernel */, TILE_CALL = 6e-9, AMX_CALL = 20e-9 /* of a micro-kernel */;

typedef struct model {
  const hmoec_machine *machine;
  size_t version;
  const hmoec_schedule *schedule;
  uint64_t weight_bytes;
  double threads;
} model;

static double number(const model *m, int which) { return m->machine->number[which]; }
static double nanoseconds(const model *m, int which) { return 1e-9 * number(m, which); }

/* Of a rate or bandwidth in units of 10^9; what a file leaves at 0 takes very long, and no time is infinite. */
static double giga(double value) { return 1e9 * (value > 1e-3 ? value : 1e-3); }

static int of_version(const model *m, int f32, int bf16, bool is_bf16) { return (int)m->version + (is_bf16 ? bf16 : f32); }

/* What is done a vector at a time takes longer where vectors are shorter than those of the version that was measured. */
static double narrower(const model *m) {
  return (double)hmoec_cpu_versions[m->machine->version].lanes / (double)hmoec_cpu_versions[m->version].lanes;
}

/* Part of the weights that is found in a cache of so many bytes. */
static double found(double cache_bytes, double bytes) { return bytes <= cache_bytes ? 1 : fmax(0, 2 * cache_bytes / bytes - 1); }

/* Seconds to read a byte of weights, beyond what `read` says of the second-level cache. */
static double far_byte(const model *m) {
  double bytes = (double)m->weight_bytes, near = found(m->threads * 0.875 * (double)m->machine->cache_bytes[1], bytes),
         third = found((double)m->machine->cache_bytes[2], bytes);
  double memory = giga(number(m, m->threads > 1 ? CPU_READ_SHARED : CPU_READ_MEMORY));
  return (1 - near) * (third / giga(number(m, CPU_READ_L3)) + (1 - third) / memory);
}

static double activation_time(const model *m, hmoec_activation activation) {
  double function = nanoseconds(m, CPU_FUNCTION) * narrower(m);
  switch (activation) {
  case HMOEC_ACTIVATION_NONE:
  case HMOEC_ACTIVATION_RELU: return 0;
  case HMOEC_ACTIVATION_GELU: return 2 * function;
  default: return function;
  }
}

/* ---- products ---- */

typedef struct product_cost {
  double arithmetic, bytes, copies;
} product_cost;

/* Rows that micro-kernels compute at most at one time. */
static int64_t tile_rows(const model *m, bool bf16) {
  if (bf16 && m->version == HMOE_CPU_AMX) return 2 * AMX_ROWS;
  return hmoec_cpu_knob(m->schedule, (bf16 ? CPU_TILE_ROWS_BF16 : CPU_TILE_ROWS) + m->version);
}

/* Of a panel of depth k, for so many rows: arithmetic, and sums. */
static double panel_time(const model *m, bool bf16, double k, double rows, double width) {
  bool amx = bf16 && m->version == HMOE_CPU_AMX;
  double most = (double)tile_rows(m, bf16), tiles = fmax(1, ceil(rows / most)), each = rows / tiles;
  if (amx) each = ceil(each / (double)AMX_ROWS) * (double)AMX_ROWS;
  double flops = 2 * width * HMOE_PANEL * k * (each + number(m, of_version(m, CPU_TILE, CPU_TILE_BF16, bf16))),
         bytes = HMOE_PANEL * k * (bf16 ? 2 : 4);
  double rate = giga(number(m, of_version(m, CPU_FLOPS, CPU_FLOPS_BF16, bf16))),
         read = giga(number(m, of_version(m, CPU_READ, CPU_READ_BF16, bf16)));
  double deep =
      !amx && bytes / HMOE_PANEL * each > 0.75 * (double)m->machine->cache_bytes[0] ? 1.5 * rows * bytes / HMOE_PANEL / read : 0;
  double least = width < 1 ? k * nanoseconds(m, CPU_LATENCY) : 0;
  return tiles * (fmax(fmax(flops / rate, bytes / read), least) + (amx ? AMX_CALL : TILE_CALL)) + deep +
         rows * width * nanoseconds(m, bf16 ? CPU_SUMS_BF16 : CPU_SUMS) * narrower(m);
}

static double depth_of(const hmoec_matmul_spec *p) {
  return hmoec_is_bf16(p->format) ? (double)((p->k + HMOE_PANEL - 1) / HMOE_PANEL * HMOE_PANEL) : (double)p->k;
}

/* Panels of C in [begin, end) of a share, and of B. */
static double panels_of(const hmoec_matmul_spec *p, const hmoec_task *task, double *out_columns) {
  int64_t panels = (p->n + HMOE_PANEL - 1) / HMOE_PANEL, splits = task->splits > 0 ? task->splits : 1;
  int64_t begin = task->split * panels / splits, end = (task->split + 1) * panels / splits;
  int64_t paired = p->paired ? (p->segment[0].end + HMOE_PANEL - 1) / HMOE_PANEL : 0;
  int64_t twice = (end < paired ? end : paired) - begin;
  *out_columns = fmin((double)(end - begin) * HMOE_PANEL, (double)p->n);
  return (double)(end - begin) + (twice > 0 ? (double)twice : 0);
}

/* chunks: of depth, between which sums wait. */
static product_cost product_of(const model *m, const hmoec_matmul_spec *p, const hmoec_task *task, double chunks) {
  bool bf16 = hmoec_is_bf16(p->format);
  double columns, panels = panels_of(p, task, &columns), k = depth_of(p);
  double width = !bf16 && p->n <= HMOEC_NARROW_COLUMNS && chunks == 1 ? 0.5 : 1; /* narrow ones compute half of a panel */
  product_cost cost = {.bytes = panels * HMOE_PANEL * k * (bf16 ? 2 : 4)};
  cost.arithmetic = panels * chunks * panel_time(m, bf16, k / chunks, task->rows, width) +
                    task->rows * columns * activation_time(m, p->segment[0].activation);
  if (p->accumulate || p->has_scatter) cost.arithmetic += task->rows * columns * nanoseconds(m, CPU_ELEMENT);
  double element = p->norm == HMOEC_NORM_NONE    ? nanoseconds(m, CPU_ELEMENT) * (bf16 ? 0.6 : 1)
                   : p->norm == HMOEC_NORM_LAYER ? 1.35 * nanoseconds(m, CPU_NORM)
                                                 : nanoseconds(m, CPU_NORM);
  /* Weights drive rows out of the cache between the step that wrote them and this one. */
  double far = m->weight_bytes > m->machine->cache_bytes[1] ? 4 / giga(number(m, CPU_READ_L3)) : 0;
  if (!p->a_in_place) cost.copies = task->rows * (ROW + (double)p->k * (element + far));
  return cost;
}

static double time_of(const model *m, const product_cost *cost) {
  double far = cost->bytes * far_byte(m);
  return TASK + fmax(cost->arithmetic, far) + LEFT * fmin(cost->arithmetic, far) + cost->copies;
}

static product_cost pair_of(const model *m, const hmoec_ffn_spec *pair, const hmoec_task *task) {
  double chunks = ceil((double)pair->first.n / (double)(pair->chunk_columns > 0 ? pair->chunk_columns : pair->first.n));
  product_cost up = product_of(m, &pair->first, task, 1), down = product_of(m, &pair->second, task, chunks);
  return (product_cost){up.arithmetic + down.arithmetic, up.bytes + down.bytes, up.copies + down.copies};
}

/* ---- the rest: of a row, whatever its task ---- */

static double attention_time(const model *m, const hmoec_attention_spec *a, double queries, double keys) {
  double panels = ceil(keys / HMOE_PANEL), blocks = ceil(keys / (double)HMOEC_KEY_BLOCK), size = (double)a->head_size;
  double scores = panels * panel_time(m, false, size, queries, 1),
         values = ceil(size / HMOE_PANEL) * blocks * panel_time(m, false, keys / fmax(blocks, 1), queries, 1);
  double rest = queries * narrower(m) * (blocks * nanoseconds(m, CPU_QUERY) + panels * nanoseconds(m, CPU_KEYS));
  double bytes = keys * 4 * (size + ceil(size / HMOE_PANEL) * HMOE_PANEL);
  return TASK + fmax(scores + values, bytes * far_byte(m)) + rest;
}

static double row_time(const model *m, const hmoec_kernel *kernel) {
  double element = nanoseconds(m, CPU_ELEMENT);
  switch (kernel->family) {
  case HMOEC_KERNEL_ROUTE: {
    const hmoec_route_spec *s = &kernel->spec.route;
    return ROW + (double)s->top_k * nanoseconds(m, CPU_PICK) + 3 * (double)s->experts * element;
  }
  case HMOEC_KERNEL_COMBINE: {
    const hmoec_combine_spec *s = &kernel->spec.combine;
    return ROW + (double)s->n * element * (0.5 + 0.5 * (double)(s->top_k + s->accumulate));
  }
  case HMOEC_KERNEL_SELECT: {
    const hmoec_select_spec *s = &kernel->spec.select;
    double members = (double)(s->of == HMOEC_SELECTED ? s->top_k : s->experts - s->top_k);
    return ROW + 0.6 * (members + 1) * (double)s->embedding * element;
  }
  case HMOEC_KERNEL_CONTRACT: {
    const hmoec_contract_spec *s = &kernel->spec.contract;
    return ROW + 2 * (double)(s->bottleneck * (s->hidden + 1)) * element;
  }
  case HMOEC_KERNEL_ROWS: {
    const hmoec_rows_spec *s = &kernel->spec.rows;
    double passes = 1 + 0.8 * (s->has_factor && s->factor_columns) + 0.5 * s->accumulate + 4 * (s->in_step > 1);
    return ROW + (double)s->n * (passes * element + activation_time(m, s->activation));
  }
  case HMOEC_KERNEL_NORM: {
    const hmoec_norm_spec *s = &kernel->spec.norm;
    return ROW + (double)s->n * nanoseconds(m, CPU_NORM) * (s->kind == HMOEC_NORM_LAYER ? 1.35 : 1);
  }
  case HMOEC_KERNEL_PACK_ROWS: return ROW + (double)kernel->spec.pack_rows.n * element;
  case HMOEC_KERNEL_EMBED: /* columns of a right operand are gathered one by one */
    return ROW + (double)kernel->spec.embed.n * element * (kernel->spec.embed.layout == HMOEC_TABLE_RIGHT ? 5 : 1);
  case HMOEC_KERNEL_STORE: /* so are those of keys */
    return ROW + (double)(kernel->spec.store.heads * kernel->spec.store.head_size) * element * 5;
  default: return ROW;
  }
}

/* ---- what is asked ---- */

double hmoec_cpu_task_time(const hmoec_machine *machine, size_t version, const hmoec_schedule *schedule, const hmoec_kernel *kernel,
                           const hmoec_task *task) {
  const hmoec_schedule usual = {{0}};
  const model m = {machine, version, schedule ? schedule : &usual, task->weight_bytes, (double)task->threads};
  product_cost cost;
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL: cost = product_of(&m, &kernel->spec.matmul, task, 1); return time_of(&m, &cost);
  case HMOEC_KERNEL_FFN: cost = pair_of(&m, &kernel->spec.ffn, task); return time_of(&m, &cost);
  case HMOEC_KERNEL_ATTENTION: return attention_time(&m, &kernel->spec.attention, task->rows, task->keys);
  default: return TASK + task->rows * row_time(&m, kernel);
  }
}

static double product_bound(const model *m, const hmoec_matmul_spec *p, const hmoec_task *task) {
  bool bf16 = hmoec_is_bf16(p->format);
  double columns, panels = panels_of(p, task, &columns), rows = columns > 0 ? task->rows : 0;
  double flops = 2 * rows * (double)p->k * (columns + (p->paired ? panels * HMOE_PANEL - columns : 0));
  double read = 1 / giga(number(m, of_version(m, CPU_READ, CPU_READ_BF16, bf16)));
  double most = (double)tile_rows(m, bf16), tile = number(m, of_version(m, CPU_TILE, CPU_TILE_BF16, bf16));
  return fmax(flops * (1 + tile / most) / giga(number(m, of_version(m, CPU_FLOPS, CPU_FLOPS_BF16, bf16))),
              panels * HMOE_PANEL * depth_of(p) * (bf16 ? 2 : 4) * fmax(read, far_byte(m)));
}

double hmoec_cpu_task_bound(const hmoec_machine *machine, size_t version, const hmoec_schedule *schedule,
                            const hmoec_kernel *kernel, const hmoec_task *task) {
  const hmoec_schedule usual = {{0}};
  const model m = {machine, version, schedule ? schedule : &usual, task->weight_bytes, (double)task->threads};
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL: return product_bound(&m, &kernel->spec.matmul, task);
  case HMOEC_KERNEL_FFN:
    return product_bound(&m, &kernel->spec.ffn.first, task) + product_bound(&m, &kernel->spec.ffn.second, task);
  case HMOEC_KERNEL_ATTENTION: return attention_time(&m, &kernel->spec.attention, task->rows, task->keys);
  default: return task->rows * row_time(&m, kernel);
  }
}

/* In three numbers: a row as one of many, a block as that of a single row. */
hmoec_kernel_time hmoec_cpu_kernel_time(const hmoec_machine *machine, size_t version, const hmoec_schedule *schedule,
                                        const hmoec_kernel *kernel, uint64_t weight_bytes) {
  const hmoec_schedule usual = {{0}};
  const model m = {machine, version, schedule ? schedule : &usual, weight_bytes, machine->threads};
  hmoec_task one = {.rows = 1, .keys = 1, .splits = 1, .weight_bytes = weight_bytes, .threads = machine->threads}, many = one;
  many.rows = ROWS_OF_A_RATE;
  many.keys = KEYS_OF_A_RATE;
  double block = hmoec_cpu_task_time(machine, version, schedule, kernel, &one);
  product_cost cost;
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL: cost = product_of(&m, &kernel->spec.matmul, &many, 1); break;
  case HMOEC_KERNEL_FFN: cost = pair_of(&m, &kernel->spec.ffn, &many); break;
  case HMOEC_KERNEL_ATTENTION:
    return (hmoec_kernel_time){.row = hmoec_cpu_task_time(machine, version, schedule, kernel, &many) / (many.rows * many.keys),
                               .block = block};
  default: return (hmoec_kernel_time){.row = row_time(&m, kernel), .block = block};
  }
  return (hmoec_kernel_time){.row = (cost.arithmetic + cost.copies) / many.rows,
                             .block = block,
                             .split_row = kernel->family == HMOEC_KERNEL_MATMUL ? cost.copies / many.rows : 0};
}

double hmoec_cpu_step_time(const hmoec_machine *machine, uint32_t kind, double rows) {
  bool groups = kind == HMOE_STEP_GROUP || kind == HMOE_STEP_GROUP_SETS;
  return 1e-6 * machine->number[CPU_STEP] + 1e-9 * rows * machine->number[groups ? CPU_GROUPED : CPU_ELEMENT];
}

int64_t hmoec_cpu_run_block_rows(int64_t row_block, int64_t rows, int64_t threads) {
  return (int64_t)hmoe_cpu_fair_block((uint64_t)row_block, (uint64_t)rows, (uint64_t)(threads > 0 ? threads : 1));
}

hmoec_sharing_time hmoec_cpu_sharing_time(const hmoec_machine *machine) {
  return (hmoec_sharing_time){.barrier = 1e-6 * machine->number[CPU_BARRIER],
                              .wake = 1e-6 * machine->number[CPU_WAKE],
                              .asleep = 1e-6 * machine->number[CPU_ASLEEP]};
}

hmoec_machine_rates hmoec_cpu_rates(const hmoec_machine *machine, size_t version, hmoec_format format) {
  double threads = machine->threads;
  const model m = {.machine = machine, .version = version};
  bool bf16 = hmoec_is_bf16(format);
  double tile = number(&m, of_version(&m, CPU_TILE, CPU_TILE_BF16, bf16)),
         rate = giga(number(&m, of_version(&m, CPU_FLOPS, CPU_FLOPS_BF16, bf16)));
  return (hmoec_machine_rates){.flops = threads * rate * USUAL_TILE / (USUAL_TILE + tile),
                               .read = threads * giga(machine->number[CPU_READ_SHARED]),
                               .touch = threads * 4 * giga(1 / fmax(machine->number[CPU_ELEMENT], 1e-6)),
                               .step = 1e-6 * (machine->number[CPU_STEP] + machine->number[CPU_BARRIER])};
}
