/* Kernels made wrong (ptx_mutations.h): one instruction of their PTX at a time is left out, or another one. Each mutant is reported by the emulator or gives
 * another result; what does neither stands in `harmless`, with the reason. It tests the other tests of kernels: what is unseen here is a hole in the emulator, or
 * a case that no input has.
 *
 * Whatever synchronises is broken at every place, of guards and addresses a few of each kernel. HMOE_MUTATIONS=N takes N of them. */
#define HARNESS_CUDA
#include "numeric/matmul_problem.h"
#include "ptx_mutations.h"

enum {
  K = 100,
  FEW_K = 168, /* all warps are one team; whole pieces, so that all that stands under a guard is done by some lane */
  N = 70,
  TEAMS_N = 290, /* of one plane: every warp is a team, and has steps of its own, all stages' and more */
  NARROW_K = 640, /* more planes than warps, in steps of less than a panel */
  NARROW_N = 40,
  ROWS = 100,
  PACKED = 128,
  NORM_ROWS = 20,
  SAMPLES = 6 /* of a rule, of a kernel */,
  MOST_LINES = 4096,
  SEEDS = 3,
  DIMS = 7 /* of attention */,
  MOST_INPUTS = 4,
  SPARE = 1 /* blocks that there are not */
};

static const struct harmless {
  const char *kernel, *rule, *instruction; /* as ptx_describe has it, or how that begins */
  const char *why;
} harmless[] = {
    {"matmul", "guard: never", "setp.lt.u64  %p, %rd, %rd; mov.b64  %rd, 0; @%p bra  $L",
     "a quotient that is known to be 0 is computed, and is 0"},
    {"stream", "guard: never", "setp.lt.u64  %p, %rd, %rd; mov.b64  %rd, 0; @%p bra  $L",
     "a quotient that is known to be 0 is computed, and is 0"},
    {"stream", "guard: always", "setp.eq.b64  %p, %rd, 2; @%p bra  $L", "what is read in pieces may be read value by value"},
    {"stream", "guard: never", "setp.eq.b64  %p, %rd, 2; @%p bra  $L", "and this piece of the last plane is whole"},
    {"stream", "guard: never", "setp.lt.s64  %p, %rd, 9; mov.b32  %r, %r; @%p bra  $L",
     "in place of rows that are missing there is the first one, whose sums nobody reads"},
    {"stream", "guard: never", "setp.lt.s64  %p, %rd, 25; setp.gt.s64", "as above"},
    {"stream", "guard: never", "setp.ge.u64  %p, %rd, %rd; cp.async.commit_group; @%p bra  $L",
     "in place of weights behind a group's last plane there are the next group's, which nobody multiplies"},
    {"tile80", "guard: never", "setp.lt.u64  %p, %rd, %rd; mov.b64  %rd, 0; @%p bra  $L",
     "a quotient that is known to be 0 is computed, and is 0"},
    {"matmul", "guard: never", "setp.lt.s32  %p, %r, 1; @%p bra  $L", "a block has at least one row (hmoe/abi.h)"},
    {"tile80", "dropped", "cp.async.wait_group  0",
     "the last plane waited for all groups that have copies; those behind are empty"},
    {"tile80", "one group less", "cp.async.wait_group  0", "as above"},
    {"pack_rows", "guard: never", "setp.ne.b64  %p, %rd, 0; shfl.sync.bfly.b32  %r, %r, 1, 31, -1; @%p bra  $L",
     "all lanes write what lane 0 writes: they have the same sum"},
    {"attention", "guard: never", "setp.lt.u64  %p, %rd, %rd; mov.b64  %rd, %rd; @%p bra  $L",
     "a quotient that is known to be 0 is computed, and is 0"},
    {"attention", "guard: never", "setp.ge.s64  %p, %rd, %rd; mov.b32  %r, %r; @%p bra  $L",
     "a warp that has no query multiplies what nobody asks it for"},
    {"tile90", "guard: never", "setp.gt.u64  %p, %rd, 290", "a tile that is not the last has all its columns"},
};
enum { HARMLESS = sizeof harmless / sizeof *harmless };
static bool is_made[HARMLESS], is_met[HARMLESS]; /* there is such a mutant, and one that nothing sees */

typedef struct input {
  int64_t rows, blocks, most, splits;
  int32_t first, counted; /* as in harness_unit; counted 0: nothing is */
  const int64_t *dims; /* DIMS of them, or NULL */
  void *buffers[BINDINGS];
  harness_buffer *out;
  void *before, *want; /* of `out` */
} input;

typedef struct subject {
  const char *name;
  size_t kernel, count;
  input inputs[MOST_INPUTS];
} subject;

static void *copy_of(const harness_buffer *b) {
  void *copy = malloc(b->bytes);
  assert_non_null(copy);
  memcpy(copy, b->data, b->bytes);
  return copy;
}

static bool launch(const harness_unit *unit, size_t kernel, const input *in, ptx_report *out_report) {
  harness_unit u = *unit;
  u.first = in->first;
  u.counted = in->counted ? &in->counted : NULL;
  return harness_try(&u, kernel, in->buffers, in->dims, in->dims ? DIMS : 0, in->rows, in->blocks, in->most, in->splits,
                     out_report);
}

/* False: reported, or a result is not the one wanted. */
static bool survives(const harness_unit *u, const subject *s, const char *text) {
  harness_unit mutant = *u;
  ptx_report report;
  mutant.module = ptx_module_create(u->device, text, strlen(text), &report);
  if (!mutant.module) fail_msg("%s: the mutant is no PTX: %s", s->name, report.text);
  bool same = true;
  for (size_t i = 0; same && i < s->count * SEEDS; i++) { /* in other orders of warps */
    const input *in = &s->inputs[i % s->count];
    memcpy(in->out->data, in->before, in->out->bytes);
    same = launch(&mutant, s->kernel, in, &report) && memcmp(in->out->data, in->want, in->out->bytes) == 0;
  }
  ptx_module_destroy(mutant.module);
  return same;
}

static bool is_harmless(const subject *s, const ptx_rule *rule, const char *what, bool survived) {
  for (size_t i = 0; i < HARMLESS; i++) {
    const struct harmless *h = &harmless[i];
    if (strcmp(s->name, h->kernel) != 0 || strcmp(rule->name, h->rule) != 0 ||
        strncmp(what, h->instruction, strlen(h->instruction)) != 0)
      continue;
    is_made[i] = true;
    is_met[i] |= survived;
    return true;
  }
  return false;
}

static size_t made, unseen;

/* How many mutants of a rule there are at most: of what synchronises all. */
static size_t samples_of(const ptx_rule *rule) {
  const char *asked = getenv("HMOE_MUTATIONS");
  size_t some = asked ? strtoul(asked, NULL, 10) : SAMPLES;
  return rule->change == PTX_ALWAYS || rule->change == PTX_NEVER || rule->change == PTX_FURTHER ? some : MOST_LINES;
}

static void mutate(harness_unit *u, subject *s) {
  ptx_report report;
  ptx_module_reset(u->module);
  for (size_t i = 0; i < s->count; i++) s->inputs[i].before = copy_of(s->inputs[i].out);
  for (size_t i = 0; i < s->count; i++) {
    input *in = &s->inputs[i];
    memcpy(in->out->data, in->before, in->out->bytes);
    if (!launch(u, s->kernel, in, &report)) fail_msg("%s: %s", s->name, report.text);
    in->want = copy_of(in->out);
  }
  u->limit = 2 * ptx_module_counters(u->module).instructions + 10000;
  char entry[64];
  snprintf(entry, sizeof entry, ".entry test_%zu(", s->kernel);
  const char *from = strstr(u->ptx, entry), *to = from ? strstr(from, "\n}") : NULL;
  assert_non_null(to);
  for (size_t r = 0; r < PTX_RULES; r++) {
    const ptx_rule *rule = &ptx_rules[r];
    static ptx_line lines[MOST_LINES];
    size_t count = ptx_lines_of(rule, from, to, lines, MOST_LINES);
    size_t taken = count < samples_of(rule) ? count : samples_of(rule);
    for (size_t i = 0; i < taken; i++) {
      const ptx_line *line = &lines[i * count / taken];
      char *text = ptx_mutant(rule, u->ptx, line), what[224];
      if (!text) fail_msg("%s: %s does not apply: %.80s", s->name, rule->name, line->begin);
      ptx_describe(line, rule->change == PTX_ALWAYS || rule->change == PTX_NEVER, what, sizeof what);
      bool survived = survives(u, s, text);
      made++;
      if (!is_harmless(s, rule, what, survived) && survived) {
        unsigned number = 1;
        for (const char *c = u->ptx; c < line->begin; c++) number += *c == '\n';
        print_error("%s, line %u: %s: nothing sees it: %s\n", s->name, number, rule->name, what);
        unseen++;
      }
      free(text);
    }
  }
  u->limit = 0;
  for (size_t i = 0; i < s->count; i++) free(s->inputs[i].before), free(s->inputs[i].want);
}

/* Of three groups of rows. */
static hmoec_matmul_spec product(int64_t k, int64_t n, int64_t row_block, hmoec_format format) {
  hmoec_matmul_spec s = {.format = format,
                         .k = k,
                         .n = n,
                         .a_stride = k + 8,
                         .c_stride = n,
                         .row_block = row_block,
                         .has_bias = true,
                         .bias_group_floats = n,
                         .segments = 1,
                         .grouped = true,
                         .segment = {{n, HMOEC_ACTIVATION_NONE, false, false}}};
  s.b_group_bytes = right_bytes(&s);
  return s;
}

/* Rows in planes: deeper than what is on the way at one time. */
static hmoec_matmul_spec packed_product(int64_t k, int64_t n) {
  hmoec_matmul_spec s = product(k, n, PACKED, HMOEC_FORMAT_BF16);
  s.a_format = HMOEC_FORMAT_BF16;
  s.a_in_place = true;
  s.a_stride = harness_up(k, HMOE_CUDA_PLANE);
  return s;
}

/* Of many rows, in groups of several blocks but for the first, which is another launch's; and of one row, so that most threads have none. In f32 one row takes the way for
 * few, as do seven, and the other way when the device has counted it. */
static void mutate_product(harness_unit *u, const char *name, size_t kernel, int64_t rows) {
  const hmoec_matmul_spec *s = &u->kernels[kernel].spec.matmul;
  enum { COUNTS = 4 };
  const int64_t counts[COUNTS] = {rows, 1, 7, 1};
  problem problems[COUNTS];
  subject subject = {.name = name, .kernel = kernel, .count = hmoec_is_bf16(s->format) ? 2 : COUNTS};
  harness_seed(); /* what others were given changes nothing here */
  for (size_t i = 0; i < subject.count; i++) {
    problem *p = &problems[i];
    *p = problem_create(s, counts[i], NULL);
    if (s->a_in_place) { /* any rows do, without what is not one */
      harness_free(&p->a);
      p->a = harness_alloc((size_t)((p->blocks + SPARE) * PACKED * s->a_stride) * 2);
      for (size_t e = 0; e < p->a.bytes / 2; e++) ((uint16_t *)p->a.data)[e] = harness_bf16(harness_float());
    }
    for (int64_t e = 0; !s->a_in_place && e < (int64_t)(p->a.bytes / 4); e++) /* nobody may read what is between rows */
      if (e % s->a_stride >= s->k) ((float *)p->a.data)[e] = NAN;
    input *in = &subject.inputs[i];
    *in = (input){
        .rows = p->rows, .blocks = p->blocks, .most = p->blocks + SPARE, .splits = i == 1 ? 2 : 1, .first = !i, .out = &p->c};
    in->counted = i == 3;
    problem_bind(p, in->buffers);
  }
  mutate(u, &subject);
  for (size_t i = 0; i < subject.count; i++) problem_destroy(&problems[i]);
}

static void test_every_chip(void **state) {
  (void)state;
  enum { FLOATS, FEW, TEAMS, NARROW, MANY, PACKING, NORM, KERNELS };
  hmoec_matmul_spec few = product(FEW_K, N, 32, HMOEC_FORMAT_BF16),
                    teams = product(HMOE_CUDA_PLANE, TEAMS_N, 32, HMOEC_FORMAT_BF16),
                    narrow = product(NARROW_K, NARROW_N, 40, HMOEC_FORMAT_BF16);
  few.few_rows = teams.few_rows = narrow.few_rows = true;
  teams.accumulate = true;
  const hmoec_kernel kernels[KERNELS] = {
      [FLOATS] = {.family = HMOEC_KERNEL_MATMUL, .spec.matmul = product(K, N, 2 * ROWS, HMOEC_FORMAT_F32)},
      [FEW] = {.family = HMOEC_KERNEL_MATMUL, .spec.matmul = few},
      [TEAMS] = {.family = HMOEC_KERNEL_MATMUL, .spec.matmul = teams},
      [NARROW] = {.family = HMOEC_KERNEL_MATMUL, .spec.matmul = narrow},
      [MANY] = {.family = HMOEC_KERNEL_MATMUL, .spec.matmul = packed_product(300, 200)},
      [PACKING] = {.family = HMOEC_KERNEL_PACK_ROWS,
                   .spec.pack_rows = {.n = K,
                                      .a_stride = K,
                                      .out_stride = 2 * HMOE_CUDA_PLANE,
                                      .format = HMOEC_FORMAT_BF16,
                                      .norm = HMOEC_NORM_LAYER,
                                      .norm_epsilon = 1e-5,
                                      .norm_scale = 1,
                                      .row_block = PACKED}},
      [NORM] = {
          .family = HMOEC_KERNEL_NORM,
          .spec.norm = {
              .kind = HMOEC_NORM_LAYER, .n = K, .ld_x = K, .ld_out = 128, .epsilon = 1e-5, .scale = 1, .row_block = NORM_ROWS}}};
  harness_unit u = harness_compile_for(&hmoec_cuda_chips[0], kernels, KERNELS, hmoec_cpu_schedule_default(DEEPEST), NULL);
  mutate_product(&u, "matmul", FLOATS, 2 * ROWS);
  mutate_product(&u, "stream", FEW, 3 * ROWS);
  mutate_product(&u, "stream", TEAMS, 3 * ROWS);
  mutate_product(&u, "stream", NARROW, 3 * ROWS);
  mutate_product(&u, "tile80", MANY, 3 * ROWS);
  harness_buffer a = harness_floats(ROWS * K), weight = harness_floats(K), bias = harness_floats(K);
  harness_buffer planes = harness_floats(PACKED * HMOE_CUDA_PLANE), rows = harness_floats(ROWS * 128);
  const int64_t blocks = (ROWS + NORM_ROWS - 1) / NORM_ROWS;
  subject packing = {"pack_rows",
                     PACKING,
                     2,
                     {{.rows = ROWS,
                       .blocks = 1,
                       .most = 1,
                       .splits = 1,
                       .buffers = {a.data, planes.data, NULL, NULL, weight.data, bias.data},
                       .out = &planes},
                      {.rows = ROWS,
                       .blocks = 1,
                       .most = 1,
                       .splits = 1,
                       .counted = 1,
                       .buffers = {a.data, planes.data, NULL, NULL, weight.data, bias.data},
                       .out = &planes}}};
  subject norm = {"norm",
                  NORM,
                  2,
                  {{.rows = ROWS,
                    .blocks = blocks,
                    .most = blocks,
                    .splits = 1,
                    .buffers = {a.data, weight.data, bias.data, rows.data},
                    .out = &rows},
                   {.rows = ROWS,
                    .blocks = blocks,
                    .most = blocks,
                    .splits = 1,
                    .counted = 1,
                    .buffers = {a.data, weight.data, bias.data, rows.data},
                    .out = &rows}}};
  mutate(&u, &packing);
  mutate(&u, &norm);
  harness_free(&a), harness_free(&weight), harness_free(&bias), harness_free(&planes), harness_free(&rows);
  harness_destroy(&u);
}

/* Few queries, with keys of one task, and shared by some: what their parts leave, and that put together, of more tiles than a warp finds factors of at one time;
 * and many, twice. */
static void test_attention(void **state) {
  (void)state;
  enum { HEADS = 2, SIZE = 40, LENGTH = 3, KEYS = 159, MANY = 74, TILES = 35, ROOM = 160, WIDTH = 96, DISTANCE = 20 };
  const hmoec_kernel kernel = {.family = HMOEC_KERNEL_ATTENTION,
                               .spec.attention = {.heads = HEADS,
                                                  .head_size = SIZE,
                                                  .ld_q = HEADS * SIZE,
                                                  .ld_out = WIDTH,
                                                  .scale = 0.125,
                                                  .causal = true,
                                                  .has_bias = true,
                                                  .has_mask = true,
                                                  .max_distance = DISTANCE,
                                                  .bias_zero = DISTANCE + 32,
                                                  .bias_ld = 2 * (DISTANCE + 32) + 1,
                                                  .query_block = 128}};
  harness_unit u = harness_compile_for(&hmoec_cuda_chips[0], &kernel, 1, hmoec_cpu_schedule_default(DEEPEST), NULL);
  const int64_t floats = hmoec_cuda_attention_part_floats(SIZE), few[DIMS] = {1, LENGTH, KEYS - LENGTH, KEYS, ROOM, 1, ROOM},
                many[DIMS] = {1, MANY, KEYS - MANY, KEYS, ROOM, 1, ROOM},
                tiles[DIMS] = {1, 1, 64 * TILES - 1, 64 * TILES, 64 * TILES, 1, 64 * TILES};
  harness_seed();
  harness_buffer q = harness_floats(MANY * HEADS * SIZE), keys = harness_floats(HEADS * ROOM * SIZE),
                 values = harness_floats(HEADS * ROOM * 64), bias = harness_floats(HEADS * kernel.spec.attention.bias_ld),
                 mask = harness_alloc(ROOM * 4), out = harness_alloc(MANY * WIDTH * 4),
                 left = harness_alloc((size_t)(HEADS * LENGTH * 3 * floats) * 4), parts = harness_floats(HEADS * TILES * floats);
  for (int i = 0; i < ROOM; i++) ((int32_t *)mask.data)[i] = i % 5 > 0;
  memset(out.data, 0xff, out.bytes), memset(left.data, 0xff, left.bytes);
  input in = {.rows = HEADS,
              .blocks = HEADS,
              .most = HEADS,
              .splits = 1,
              .buffers = {q.data, keys.data, values.data, bias.data, mask.data, out.data, NULL},
              .out = &out,
              .dims = few};
  subject s = {"attention", 0, 4, {in, in, in, in}};
  s.inputs[1].dims = many;
  s.inputs[2].splits = 4, s.inputs[2].out = &left, s.inputs[2].buffers[6] = left.data;
  s.inputs[3].splits = 0, s.inputs[3].dims = tiles, s.inputs[3].buffers[6] = parts.data;
  mutate(&u, &s);
  harness_free(&q), harness_free(&keys), harness_free(&values), harness_free(&bias), harness_free(&mask), harness_free(&out);
  harness_free(&left), harness_free(&parts);
  harness_destroy(&u);
}

/* A block of threads that has four tiles, of two widths, one after the other. */
static void test_wgmma(void **state) {
  (void)state;
  const hmoec_kernel kernel = {.family = HMOEC_KERNEL_MATMUL, .spec.matmul = packed_product(330, 291)};
  harness_unit u = harness_compile_for(&hmoec_cuda_chips[1], &kernel, 1, hmoec_cpu_schedule_default(DEEPEST), NULL);
  u.sharing = 1;
  mutate_product(&u, "tile90", 0, 400);
  harness_destroy(&u);
}

static void test_all_are_seen(void **state) {
  (void)state;
  print_message("%zu mutants\n", made);
  assert_true(made >= 60);
  assert_int_equal(unseen, 0);
  for (size_t i = 0; i < HARMLESS; i++) {
    const struct harmless *h = &harmless[i];
    if (is_made[i] && !is_met[i]) fail_msg("%s: %s: %s: it is seen", h->kernel, h->rule, h->instruction);
    if (!is_made[i] && !getenv("HMOE_MUTATIONS"))
      fail_msg("%s: %s: %s: there is no such mutant", h->kernel, h->rule, h->instruction);
  }
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_chip), cmocka_unit_test(test_attention),
                                     cmocka_unit_test(test_wgmma), cmocka_unit_test(test_all_are_seen)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
