/* Products in bf16 on GPUs, in the emulator: rows that are packed in planes, products of few rows and of many, for every chip. Against plain loops in double
 * precision on the same rounded operands (numeric/matmul_problem.h); splits and the order of warps give the same bits. */
#define HARNESS_CUDA
#include "numeric/matmul_problem.h"

enum { PLANE = HMOE_CUDA_PLANE, TILE_ROWS = 128 };

static const int64_t counts[] = {0, 1, 7, 31, 33, 127, 128, 129, 300};
enum { COUNTS = sizeof counts / sizeof counts[0] };

/* Element (row, k) of rows in planes, `height` rows to a plane. */
static int64_t plane_at(int64_t row, int64_t k, int64_t height) {
  return (k / PLANE * height + row) * PLANE + (int64_t)hmoe_cuda_place((uint64_t)(k % PLANE), (uint64_t)row);
}

/* The row in planes of row r of a product: its block's own. */
static int64_t plane_row(const problem *p, int64_t r) {
  int64_t row_block = p->spec.row_block;
  if (!p->spec.grouped) return r;
  int64_t b = 0;
  while (r >= problem_block(p, b)->row + problem_block(p, b)->rows) b++;
  return b * row_block + r - problem_block(p, b)->row;
}

/* Rows of [rows, stride] to planes of them, or back, as far as planes, `height` rows of them, have the rows: in a loop over groups they begin with block `first`. What is
 * no row's stays as it is. */
static void rows_to_planes(const problem *p, int64_t first, const uint16_t *rows, int64_t stride, uint16_t *planes,
                           int64_t height) {
  for (int64_t i = 0; i < p->rows * stride; i++) {
    int64_t row = plane_row(p, i / stride) - first * p->spec.row_block;
    if (row >= 0 && row < height) planes[plane_at(row, i % stride, height)] = rows[i];
  }
}
static void planes_to_rows(const problem *p, int64_t first, const uint16_t *planes, int64_t height, uint16_t *rows,
                           int64_t stride) {
  for (int64_t i = 0; i < p->rows * stride; i++) {
    int64_t row = plane_row(p, i / stride) - first * p->spec.row_block;
    if (row >= 0 && row < height) rows[i] = planes[plane_at(row, i % stride, height)];
  }
}

static harness_buffer planes_alloc(int64_t height, int64_t stride) { /* NaN */
  harness_buffer b = harness_alloc((size_t)(height * stride) * 2);
  memset(b.data, 0xff, b.bytes);
  return b;
}

/* ---- products ---- */

/* As the planner cuts them: what begins within a product begins where a plane of depth does. */
static hmoec_matmul_spec random_product(bool few, bool grouped) {
  hmoec_cpu_schedule schedule = hmoec_cpu_schedule_default(DEEPEST);
  hmoec_matmul_spec s = random_spec(&schedule, true, grouped);
  s.few_rows = few;
  s.row_block = few ? 1 + harness_below(TILE_ROWS) : TILE_ROWS;
  if (!few) {
    s.a_in_place = true;
    s.a_format = HMOEC_FORMAT_BF16;
    s.has_gather = false;
    if (hmoec_is_bf16(s.c_format)) {
      s.has_scatter = false;
      s.c_padded = harness_coin();
      s.c_stride = padded_columns(&s);
    }
  }
  if (s.a_in_place) s.a_stride = harness_up(s.k, PLANE);
  int64_t planes = harness_up(s.n, PLANE) / PLANE;
  if (grouped) s.dropped_column = s.dropped_column / PLANE * PLANE;
  if (s.dropped_k_begin != s.k) s.dropped_k_begin = s.dropped_k_begin / PLANE * PLANE; /* k: nothing */
  if (planes < 2) s.segments = 1, s.segment[0].end = s.n;
  if (s.segments == 2) {
    s.dropped_column = PLANE * (1 + harness_below(planes - 1));
    s.segment[0].end = s.dropped_column - ((s.c_padded || c_in_planes(&s)) && harness_coin() ? harness_below(PLANE) : 0);
  }
  s.b_group_bytes = s.grouped ? right_bytes(&s) + 64 * harness_below(2) : 0;
  s.bias_group_floats = right_columns(&s) + harness_below(3);
  return s;
}

static int64_t right_panels(const hmoec_matmul_spec *s) { return harness_up(right_columns(s), 32) / 32; }

/* Whether what is in C is added to, or multiplied, and there are columns of B for all of a panel's. */
static bool reads_whole_panels(const hmoec_matmul_spec *s, bool adds) {
  return s->n % 32 == 0 && s->segments == 1 && (adds ? s->accumulate : s->segment[0].multiply);
}

/* One launch of blocks [first, end), of which there might be `most`; p->c is what it makes of p->c, row-major. */
static void run_blocks(const harness_unit *u, size_t kernel, problem *p, int64_t first, int64_t end, int64_t most, int64_t splits) {
  const hmoec_matmul_spec *s = &u->kernels[kernel].spec.matmul;
  int64_t height = most * s->row_block;
  harness_unit chunk = *u;
  void *buffers[BINDINGS];
  problem_bind(p, buffers);
  harness_buffer a = {0}, c = {0}, before = {0};
  if (!s->few_rows) {
    a = planes_alloc(height, s->a_stride);
    rows_to_planes(p, first, p->a.data, s->a_stride, a.data, height);
    buffers[0] = a.data;
  }
  if (c_in_planes(s)) {
    c = planes_alloc(height, s->c_stride);
    rows_to_planes(p, first, p->c.data, s->c_stride, c.data, height);
    before = harness_alloc(c.bytes);
    memcpy(before.data, c.data, c.bytes);
    buffers[2] = c.data;
  }
  chunk.first = (int32_t)first;
  harness_launch(&chunk, kernel, buffers, NULL, 0, p->rows, end, most, splits);
  if (c.map) {
    planes_to_rows(p, first, c.data, height, p->c.data, s->c_stride);
    rows_to_planes(p, first, p->c.data, s->c_stride, before.data, height);
    if (memcmp(before.data, c.data, c.bytes) != 0) problem_fail(p, "written behind a block's rows", 0, splits, 0, NAN);
    harness_free(&c), harness_free(&before);
  }
  if (a.map) harness_free(&a);
}

/* All blocks, of a grouped product `chunk` a launch, and `spare` more that there might be; p->c is what it makes of p->c_before. */
static void run_product(const harness_unit *u, size_t kernel, problem *p, int64_t spare, int64_t splits, int64_t chunk) {
  bool grouped = u->kernels[kernel].spec.matmul.grouped;
  if (!grouped) chunk = p->blocks, spare = 0;
  memcpy(p->c.data, p->c_before, p->c.bytes);
  if (!p->blocks) run_blocks(u, kernel, p, 0, 0, spare, splits);
  for (int64_t first = 0; first < p->blocks; first += chunk)
    run_blocks(u, kernel, p, first, first + chunk < p->blocks ? first + chunk : p->blocks, chunk + spare, splits);
}

/* The first element that is wrong, or -1. Where NaN is wanted, or what is infinite, that is what there must be. */
static int64_t first_wrong(const problem *p, const expectation *e) {
  for (int64_t i = 0; i < problem_c_count(p); i++) {
    double got = (double)element(p->c.data, hmoec_is_bf16(p->spec.c_format), i), want = e->want[i];
    bool ok = isfinite(want) ? fabs(got - want) <= e->bound[i] : isnan(want) ? isnan(got) : got == want;
    if (!ok) return i;
  }
  return -1;
}

/* twin: the same with C in f32, or -1. */
static void check_product(const harness_unit *u, size_t kernel, problem *p, int64_t twin) {
  expectation e = problem_expect(p);
  void *first = malloc(p->c.bytes + 1);
  const int64_t splits[] = {1, 1 + harness_below(p->panels), p->panels + 1};
  for (int i = 0; i < 3; i++) {
    run_product(u, kernel, p, harness_below(3), splits[i], i == 1 && p->blocks ? 1 + harness_below(p->blocks) : p->blocks);
    int64_t wrong = first_wrong(p, &e);
    if (wrong >= 0) problem_fail(p, p->spec.few_rows ? "few rows" : "many rows", 0, splits[i], wrong, e.want[wrong]);
    if (i == 0) memcpy(first, p->c.data, p->c.bytes);
    if (memcmp(first, p->c.data, p->c.bytes) != 0) problem_fail(p, "splits or schedules differ", 0, splits[i], 0, NAN);
  }
  if (twin >= 0) { /* its rows are where the product's are, row-major */
    problem exact = *p;
    exact.spec = u->kernels[twin].spec.matmul;
    exact.c = harness_floats(problem_c_count(p));
    exact.c_before = malloc(exact.c.bytes + 1);
    for (int64_t i = 0; i < problem_c_count(p); i++) ((float *)exact.c_before)[i] = element(p->c_before, true, i);
    run_product(u, (size_t)twin, &exact, 0, 1, exact.blocks);
    for (int64_t i = 0; i < problem_c_count(p); i++)
      if (e.bound[i] > 0 && harness_bf16(((float *)exact.c.data)[i]) != ((uint16_t *)first)[i])
        problem_fail(p, "C is not the rounded f32", 0, 1, i, (double)((float *)exact.c.data)[i]);
    harness_free(&exact.c);
    free(exact.c_before);
  }
  expectation_destroy(&e);
  free(first);
}

static void test_products(void **state) {
  (void)state;
  enum { KERNELS = 12 };
  int64_t number = 0;
  for (const hmoec_cuda_chip *chip = hmoec_cuda_chips; chip->name; chip++) {
    hmoec_kernel kernels[2 * KERNELS];
    int64_t twins[KERNELS], total = KERNELS;
    for (int i = 0; i < KERNELS; i++) {
      kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = random_product(i % 2, i / 2 % 2)};
      while (i == 0 && (!kernels[i].spec.matmul.paired || kernels[i].spec.matmul.segments < 2 ||
                        right_panels(&kernels[i].spec.matmul) % 2 == 0))
        kernels[i].spec.matmul = random_product(false, true); /* pairs, and an odd panel in their tile */
      while ((i == 2 && !reads_whole_panels(&kernels[i].spec.matmul, true)) ||
             (i == 4 && !reads_whole_panels(&kernels[i].spec.matmul, false)))
        kernels[i].spec.matmul = random_product(false, i == 2);
      twins[i] = hmoec_is_bf16(kernels[i].spec.matmul.c_format) && i < KERNELS / 2 ? total : -1;
      if (twins[i] < 0) continue;
      kernels[total] = kernels[i];
      kernels[total++].spec.matmul.c_format = HMOEC_FORMAT_F32;
    }
    harness_unit u = harness_compile_for(chip, kernels, (size_t)total, hmoec_cpu_schedule_default(DEEPEST), NULL);
    for (int i = 0; i < KERNELS; i++)
      for (int r = 0; r < 2; r++) {
        problem p = problem_create(&kernels[i].spec.matmul, counts[number++ % COUNTS], NULL);
        check_product(&u, (size_t)i, &p, twins[i]);
        problem_destroy(&p);
      }
    harness_destroy(&u);
  }
}

/* Some rows hold a NaN or an infinity: these get what double precision gets, and the others what they had. */
static void test_wild_rows(void **state) {
  (void)state;
  enum { K = 77, N = 65, ROWS = 70, KERNELS = 3 };
  static const uint32_t wild[] = {0x7fc00000, 0x7f800001, 0x7f800000, 0xffffffff, 0xff800000};
  for (const hmoec_cuda_chip *chip = hmoec_cuda_chips; chip->name; chip++) {
    hmoec_kernel kernels[KERNELS];
    for (int i = 0; i < KERNELS; i++) /* few rows of f32 and of bf16; many */
      kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL,
                                  .spec.matmul = {.format = HMOEC_FORMAT_BF16,
                                                  .a_format = harness_format(i > 0),
                                                  .few_rows = i < 2,
                                                  .a_in_place = i == 2,
                                                  .k = K,
                                                  .n = N,
                                                  .a_stride = i == 2 ? 2 * PLANE : K,
                                                  .c_stride = N,
                                                  .row_block = i < 2 ? 40 : TILE_ROWS,
                                                  .segments = 1,
                                                  .segment = {{N, HMOEC_ACTIVATION_NONE, false, false}}}};
    harness_unit u = harness_compile_for(chip, kernels, KERNELS, hmoec_cpu_schedule_default(DEEPEST), NULL);
    for (size_t i = 0; i < KERNELS; i++) {
      const hmoec_matmul_spec *s = &kernels[i].spec.matmul;
      problem p = problem_create(s, ROWS, NULL);
      for (int64_t r = 3; r < ROWS; r += 7) {
        uint32_t bits = wild[r / 7 % 5];
        int64_t at = r * s->a_stride + r % K;
        if (hmoec_is_bf16(s->a_format)) ((uint16_t *)p.a.data)[at] = (uint16_t)(bits >> 16 | (bits << 9 ? 0x40 : 0));
        else memcpy((float *)p.a.data + at, &bits, 4);
      }
      check_product(&u, i, &p, -1);
      problem_destroy(&p);
    }
    harness_destroy(&u);
  }
}

/* Few rows, of so much depth that a warp's stages are used several times in a panel; and rows and a C that begin at any f32: the bits are the same. */
static void test_few_rows(void **state) {
  (void)state;
  enum { KERNELS = 8, NARROW = 6 };
  static const int64_t depths[KERNELS] = {1100, 1088, 640, 320, 64, 1100, 1088, 64};
  for (const hmoec_cuda_chip *chip = hmoec_cuda_chips; chip->name; chip++) {
    hmoec_kernel kernels[2 * KERNELS];
    for (int i = 0; i < KERNELS; i++) {
      const int64_t columns = i < NARROW ? 100 : 60;
      kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL,
                                  .spec.matmul = {.format = HMOEC_FORMAT_BF16,
                                                  .few_rows = true,
                                                  .paired = i % 2 && i < NARROW,
                                                  .k = depths[i],
                                                  .n = columns,
                                                  .a_stride = depths[i] + 4 * (i % 3),
                                                  .c_stride = columns,
                                                  .accumulate = i % 3 == 1,
                                                  .row_block = 40,
                                                  .norm = i == 5 ? HMOEC_NORM_RMS : HMOEC_NORM_NONE,
                                                  .norm_epsilon = 1e-5,
                                                  .norm_scale = 1,
                                                  .segments = 1,
                                                  .segment = {{columns, HMOEC_ACTIVATION_NONE, false, false}}}};
      kernels[KERNELS + i] = kernels[i];
      kernels[KERNELS + i].spec.matmul.a_loose = kernels[KERNELS + i].spec.matmul.c_loose = true;
    }
    harness_unit u = harness_compile_for(chip, kernels, 2 * KERNELS, hmoec_cpu_schedule_default(DEEPEST), NULL);
    for (size_t i = 0; i < KERNELS; i++) {
      problem p = problem_create(&kernels[i].spec.matmul, 36, NULL);
      if (kernels[i].spec.matmul.norm == HMOEC_NORM_NONE) check_product(&u, i, &p, -1);
      else run_product(&u, i, &p, 0, 1, p.blocks);
      harness_buffer moved = harness_floats((int64_t)(p.a.bytes / 4) + 1), moved_c = harness_floats((int64_t)(p.c.bytes / 4) + 3);
      memcpy((float *)moved.data + 1, p.a.data, p.a.bytes);
      memcpy((float *)moved_c.data + 3, p.c_before, p.c.bytes);
      void *buffers[BINDINGS], *first = malloc(p.c.bytes);
      memcpy(first, p.c.data, p.c.bytes);
      problem_bind(&p, buffers);
      buffers[0] = (float *)moved.data + 1;
      buffers[2] = (float *)moved_c.data + 3;
      harness_launch(&u, KERNELS + i, buffers, NULL, 0, p.rows, p.blocks, p.blocks, 1);
      assert_memory_equal(first, (float *)moved_c.data + 3, p.c.bytes);
      free(first);
      harness_free(&moved), harness_free(&moved_c);
      problem_destroy(&p);
    }
    harness_destroy(&u);
  }
}

/* ---- rows ---- */

static hmoec_pack_rows_spec random_packing(hmoec_norm norm) {
  static const int64_t widths[] = {1, 5, 33, 63, 64, 65, 127, 128, 200};
  hmoec_pack_rows_spec s = {.n = widths[harness_below(9)],
                            .format = HMOEC_FORMAT_BF16,
                            .grouped = norm == HMOEC_NORM_NONE && harness_coin(),
                            .has_gather = harness_coin(),
                            .norm = norm,
                            .norm_epsilon = 1e-5,
                            .norm_scale = harness_coin() ? 1 : 0.125,
                            .row_block = harness_coin() ? TILE_ROWS : 8 * (1 + harness_below(TILE_ROWS / 8))};
  s.a_stride = s.n + harness_below(5);
  s.out_stride = harness_up(s.n, PLANE);
  return s;
}

/* A problem's rows, blocks and gather are those of a product that has them. */
static problem packing_problem(const hmoec_pack_rows_spec *s, int64_t rows) {
  hmoec_matmul_spec product = {.k = s->n,
                               .n = 1,
                               .a_stride = s->a_stride,
                               .c_stride = 1,
                               .grouped = s->grouped,
                               .has_gather = s->has_gather,
                               .norm = s->norm,
                               .segments = 1,
                               .segment = {{1, HMOEC_ACTIVATION_NONE, false, false}},
                               .row_block = s->row_block};
  return problem_create(&product, rows, NULL);
}

/* Element k of row r: exactly that of a row that is only rounded. */
static void expect_packed(const problem *p, const hmoec_pack_rows_spec *s, int64_t r, int64_t k, const double mean_factor[2],
                          uint16_t found) {
  const float *row = (const float *)p->a.data + problem_source(p, r) * s->a_stride, *weight = p->norm_weight.data,
              *bias = p->norm_bias.data;
  double got = (double)harness_from_bf16(found), want = 0, slack = 0;
  bool ok;
  if (k >= s->n || s->norm == HMOEC_NORM_NONE) {
    uint16_t exact = k < s->n ? harness_bf16(row[k]) : 0;
    want = (double)harness_from_bf16(exact);
    ok = isnan(want) ? isnan(got) : exact == found;
  } else {
    want = ((double)row[k] - mean_factor[0]) * mean_factor[1] * (double)weight[k];
    if (s->norm == HMOEC_NORM_LAYER) want += (double)bias[k];
    want *= s->norm_scale;
    slack = (fabs(want) * 0x1p-8 + 4e-6) * (s->n < 3 ? 300 : 1); /* of so few little is left but rounding */
    ok = isnan(want) ? isnan(got) : fabs(got - want) <= slack;
  }
  if (!ok)
    fail_msg("n %" PRId64 ", norm %d, grouped %d, gather %d, blocks of %" PRId64 ", rows %" PRId64 ": [%" PRId64 "][%" PRId64
             "] is %.9g, expected %.9g",
             s->n, (int)s->norm, s->grouped, s->has_gather, s->row_block, p->rows, r, k, got, want);
}

static void check_packing(const harness_unit *u, size_t kernel, int64_t rows) {
  const hmoec_pack_rows_spec *s = &u->kernels[kernel].spec.pack_rows;
  problem p = packing_problem(s, rows);
  static const uint32_t wild[] = {0x7f800001, 0xffffffff, 0x7f800000, 0xff7fffff, 0x80000000};
  for (int64_t r = 3; r < p.a_rows; r += 5) memcpy((float *)p.a.data + r * s->a_stride + r % s->n, &wild[r / 5 % 5], 4);
  int64_t most = p.blocks + (s->grouped ? harness_below(3) : 0), height = most * s->row_block;
  harness_buffer out = planes_alloc(height, s->out_stride), first = planes_alloc(height, s->out_stride);
  void *buffers[] = {p.a.data,
                     out.data,
                     s->grouped ? p.blocks_buffer.data : NULL,
                     s->has_gather ? p.gather.data : NULL,
                     s->norm ? p.norm_weight.data : NULL,
                     s->norm == HMOEC_NORM_LAYER ? p.norm_bias.data : NULL};
  harness_launch(u, kernel, buffers, NULL, 0, rows, p.blocks, most, 1);
  memcpy(first.data, out.data, out.bytes);
  memset(out.data, 0xff, out.bytes);
  harness_launch(u, kernel, buffers, NULL, 0, rows, p.blocks, most, 1 + harness_below(4));
  assert_memory_equal(first.data, out.data, out.bytes);
  int64_t half = s->grouped ? p.blocks / 2 : 0, lines = (p.blocks - half) * s->row_block;
  if (half) { /* the blocks of a chunk alone, in planes that begin with its first */
    harness_unit chunk = *u;
    harness_buffer part = planes_alloc(lines, s->out_stride);
    chunk.first = (int32_t)half;
    buffers[1] = part.data;
    harness_launch(&chunk, kernel, buffers, NULL, 0, rows, p.blocks, p.blocks - half, 1);
    for (int64_t k = 0; k < s->out_stride; k += PLANE)
      assert_memory_equal((uint16_t *)part.data + k * lines, (uint16_t *)first.data + k * height + half * s->row_block * PLANE,
                          (size_t)(lines * PLANE) * 2);
    harness_free(&part);
  }
  for (int64_t r = 0; r < rows; r++) {
    const float *row = (const float *)p.a.data + problem_source(&p, r) * s->a_stride;
    double mean = 0, squares = 0;
    for (int64_t k = 0; s->norm == HMOEC_NORM_LAYER && k < s->n; k++) mean += (double)row[k] / (double)s->n;
    for (int64_t k = 0; k < s->n; k++) squares += ((double)row[k] - mean) * ((double)row[k] - mean) / (double)s->n;
    bool comparable = !s->norm || !(squares > 1e30); /* such rows cannot be squared in f32 */
    double statistics[] = {mean, 1 / sqrt(squares + s->norm_epsilon)};
    for (int64_t k = 0; k < s->out_stride; k++) {
      uint16_t *at = (uint16_t *)out.data + plane_at(plane_row(&p, r), k, height);
      if (comparable) expect_packed(&p, s, r, k, statistics, *at);
      *at = 0xffff;
    }
  }
  for (size_t i = 0; i < out.bytes / 2; i++) assert_int_equal(((uint16_t *)out.data)[i], 0xffff); /* no row's */
  harness_free(&out), harness_free(&first);
  problem_destroy(&p);
}

static void test_packed_rows(void **state) {
  (void)state;
  enum { KERNELS = 9 };
  for (const hmoec_cuda_chip *chip = hmoec_cuda_chips; chip->name; chip++) {
    hmoec_kernel kernels[KERNELS];
    for (int i = 0; i < KERNELS; i++)
      kernels[i] =
          (hmoec_kernel){.family = HMOEC_KERNEL_PACK_ROWS, .spec.pack_rows = random_packing((hmoec_norm)(i % HMOEC_NORM_COUNT))};
    harness_unit u = harness_compile_for(chip, kernels, KERNELS, hmoec_cpu_schedule_default(DEEPEST), NULL);
    for (size_t i = 0; i < KERNELS; i++)
      for (int c = 0; c < 2; c++) check_packing(&u, i, counts[harness_below(COUNTS)]);
    harness_destroy(&u);
  }
}

/* Few rows that a product normalises are those that PACK_ROWS makes, to the bit. */
static void test_normalised_rows(void **state) {
  (void)state;
  enum { N = 40, PAIR = 3 /* the product, the packing, the product of what is packed */, KERNELS = 4 * PAIR };
  static const int64_t depths[] = {5, 64, 100, 131};
  hmoec_kernel kernels[KERNELS];
  for (int i = 0; i < KERNELS; i += PAIR) {
    int64_t k = depths[i / PAIR], stride = harness_up(k, PLANE);
    hmoec_matmul_spec s = {.format = HMOEC_FORMAT_BF16,
                           .few_rows = true,
                           .k = k,
                           .n = N,
                           .a_stride = k + 1,
                           .c_stride = N,
                           .has_gather = i % 2,
                           .norm = i / PAIR % 2 ? HMOEC_NORM_LAYER : HMOEC_NORM_RMS,
                           .norm_epsilon = 1e-6,
                           .norm_scale = 0.5,
                           .row_block = 32,
                           .segments = 1,
                           .segment = {{N, HMOEC_ACTIVATION_NONE, false, false}}};
    kernels[i] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = s};
    kernels[i + 1] = (hmoec_kernel){.family = HMOEC_KERNEL_PACK_ROWS,
                                    .spec.pack_rows = {.n = k,
                                                       .a_stride = s.a_stride,
                                                       .out_stride = stride,
                                                       .format = HMOEC_FORMAT_BF16,
                                                       .has_gather = s.has_gather,
                                                       .norm = s.norm,
                                                       .norm_epsilon = s.norm_epsilon,
                                                       .norm_scale = s.norm_scale,
                                                       .row_block = TILE_ROWS}};
    s.norm = HMOEC_NORM_NONE;
    s.has_gather = false;
    s.a_format = HMOEC_FORMAT_BF16;
    s.a_stride = stride;
    kernels[i + 2] = (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL, .spec.matmul = s};
  }
  harness_unit u = harness_compile(kernels, KERNELS, hmoec_cpu_schedule_default(DEEPEST));
  for (int i = 0; i < KERNELS; i += PAIR) {
    int64_t rows = counts[1 + i / PAIR * 2], blocks = (rows + TILE_ROWS - 1) / TILE_ROWS,
            stride = kernels[i + 2].spec.matmul.a_stride;
    problem p = problem_create(&kernels[i].spec.matmul, rows, NULL);
    void *buffers[BINDINGS], *within = malloc(p.c.bytes);
    problem_bind(&p, buffers);
    harness_launch(&u, (size_t)i, buffers, NULL, 0, rows, p.blocks, p.blocks, 2);
    memcpy(within, p.c.data, p.c.bytes);
    harness_buffer planes = planes_alloc(blocks * TILE_ROWS, stride), packed = planes_alloc(rows, stride);
    harness_launch(&u, (size_t)i + 1, (void *[]){p.a.data, planes.data, NULL, buffers[4], buffers[11], buffers[12]}, NULL, 0, rows,
                   blocks, blocks, 1);
    planes_to_rows(&p, 0, planes.data, blocks * TILE_ROWS, packed.data, stride);
    buffers[0] = packed.data;
    memcpy(p.c.data, p.c_before, p.c.bytes);
    harness_launch(&u, (size_t)i + 2, buffers, NULL, 0, rows, p.blocks, p.blocks, 1);
    assert_memory_not_equal(p.c.data, p.c_before, p.c.bytes);
    assert_memory_equal(p.c.data, within, p.c.bytes);
    harness_free(&planes), harness_free(&packed);
    free(within);
    problem_destroy(&p);
  }
  harness_destroy(&u);
}

/* ---- bank conflicts ---- */

static hmoec_kernel plain_product(bool few, bool planes, bool paired) {
  enum { K = 3 * PLANE, N = 256 };
  return (hmoec_kernel){.family = HMOEC_KERNEL_MATMUL,
                        .spec.matmul = {.format = HMOEC_FORMAT_BF16,
                                        .a_format = harness_format(!few),
                                        .c_format = harness_format(planes),
                                        .few_rows = few,
                                        .a_in_place = !few,
                                        .paired = paired,
                                        .k = K,
                                        .n = N,
                                        .a_stride = K,
                                        .c_stride = N,
                                        .row_block = TILE_ROWS,
                                        .segments = 1,
                                        .segment = {{N, HMOEC_ACTIVATION_RELU, false, false}}}};
}

/* What loops over depth load from shared memory, and copy there, meets no bank twice; nor does what is stored there. wgmma reads planes as they lie, in the order that the chip wants, which nothing here counts. */
static void test_bank_conflicts(void **state) {
  (void)state;
  enum { KERNELS = 5, FEW = 2, PACKING = 4 };
  for (const hmoec_cuda_chip *chip = hmoec_cuda_chips; chip->name; chip++) {
    const hmoec_kernel kernels[KERNELS] = {plain_product(false, false, false),
                                           plain_product(false, true, true),
                                           plain_product(true, false, false),
                                           plain_product(true, false, true),
                                           {.family = HMOEC_KERNEL_PACK_ROWS,
                                            .spec.pack_rows = {.n = 2 * PLANE,
                                                               .format = HMOEC_FORMAT_BF16,
                                                               .a_stride = 2 * PLANE,
                                                               .out_stride = 2 * PLANE,
                                                               .norm = HMOEC_NORM_RMS,
                                                               .norm_scale = 1,
                                                               .norm_epsilon = 1e-6,
                                                               .row_block = TILE_ROWS}}};
    harness_unit u = harness_compile_for(chip, kernels, KERNELS, hmoec_cpu_schedule_default(DEEPEST), NULL);
    for (size_t i = 0; i < KERNELS; i++) {
      ptx_module_reset(u.module);
      if (i == PACKING) check_packing(&u, i, TILE_ROWS);
      else {
        problem p = problem_create(&kernels[i].spec.matmul, TILE_ROWS, NULL);
        run_product(&u, i, &p, 0, 1, p.blocks);
        problem_destroy(&p);
      }
      ptx_counters c = ptx_module_counters(u.module);
      if (c.copy_conflicts || c.store_conflicts || c.load_conflicts)
        fail_msg("%s, kernel %zu: %d conflicts of %d loads, %d of %d stores, %d of %d copies", chip->name, i, (int)c.load_conflicts,
                 (int)c.load_wavefronts, (int)c.store_conflicts, (int)c.store_wavefronts, (int)c.copy_conflicts,
                 (int)c.copy_wavefronts);
      bool copies =
          i < PACKING && (i >= FEW || !chip->has_wgmma); /* what wgmma multiplies comes by bulk copies, and goes nowhere */
      assert_true(copies ? c.copy_wavefronts && c.load_wavefronts && c.store_wavefronts : !c.copy_wavefronts);
      assert_true(i < FEW || c.load_wavefronts);
    }
    harness_destroy(&u);
  }
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_products),        cmocka_unit_test(test_wild_rows),
                                     cmocka_unit_test(test_few_rows),        cmocka_unit_test(test_packed_rows),
                                     cmocka_unit_test(test_normalised_rows), cmocka_unit_test(test_bank_conflicts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
