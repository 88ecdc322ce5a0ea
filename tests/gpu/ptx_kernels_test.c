/* Grouped products as LLVM compiles them (kernels/), compared with a plain reference on odd numbers of rows; and the same kernels with one thing broken, which
 * the emulator has to see. */
#include "ptx_testing.h"

#include <math.h>

enum { MOST_KERNELS = 64, MOST_GROUPS = 8, WRONG_RESULT = PTX_KINDS };

typedef struct kernel_line {
  char file[32], name[32], kind[16], bug[32];
  uint32_t k, n, block, stages, gather, shared;
} kernel_line;

static kernel_line kernels[MOST_KERNELS];
static size_t kernel_count;
static struct {
  char name[32];
  ptx_module *module;
} files[2];
static ptx_device *device;

static uint64_t random_state = 1;
static uint32_t draw(uint32_t below) {
  random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
  return (uint32_t)((random_state >> 32) * below >> 32);
}
static float draw_value(void) { return ((float)draw(1 << 16) - 32768.0f) / 16384.0f; }

static uint16_t to_bf16(float value) {
  uint32_t word;
  memcpy(&word, &value, 4);
  return (uint16_t)((word + 0x7fff + (word >> 16 & 1)) >> 16);
}
static float from_bf16(uint16_t bits) {
  uint32_t word = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &word, 4);
  return value;
}

/* planes(R, K): [K / 64][R][64], the pieces of 8 values of a row exchanged by row % 8 */
static size_t plane_index(size_t rows, size_t row, size_t k) {
  return (k / 64 * rows + row) * 64 + ((k / 8 % 8) ^ (row % 8)) * 8 + k % 8;
}

static void read_kernels(void) {
  char path[512];
  snprintf(path, sizeof path, "%s/kernels.txt", HMOE_GPU_KERNELS);
  FILE *list = fopen(path, "r");
  if (!list) fail_msg("%s is missing", path);
  kernel_line *one = kernels;
  while (kernel_count < MOST_KERNELS &&
         fscanf(list, "%31s %31s %15s %u %u %u %u %u %u %31s", one->file, one->name, one->kind, &one->k, &one->n, &one->block,
                &one->stages, &one->gather, &one->shared, one->bug) == 10)
    one = &kernels[++kernel_count];
  fclose(list);
  for (int i = 0; i < 2; i++) {
    snprintf(files[i].name, sizeof files[i].name, "%s", i ? "sm_80.ptx" : "sm_90a.ptx");
    snprintf(path, sizeof path, "%s/%s", HMOE_GPU_KERNELS, files[i].name);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing", path);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(size + 1);
    assert_int_equal(fread(text, 1, size, file), size);
    ptx_report report;
    files[i].module = ptx_module_create(device, text, size, &report);
    if (!files[i].module) fail_msg("%s: %s", files[i].name, report.text);
    free(text);
    fclose(file);
  }
}

static uint64_t upload(const char *name, const void *data, size_t bytes) {
  uint64_t address = ptx_device_allocate(device, bytes, 1024, name);
  assert_true(address && ptx_device_write(device, address, data, bytes));
  return address;
}

/* The kind of what was found, or WRONG_RESULT. */
static int run(const kernel_line *kernel, const uint32_t *group_rows, uint32_t groups, uint64_t seed, ptx_report *report,
               ptx_counters *counters, double *out_error) {
  bool planes = !strcmp(kernel->kind, "planes"), hopper = planes || !strcmp(kernel->kind, "rows"),
       stream = !strcmp(kernel->kind, "stream");
  uint32_t k = kernel->k, n = kernel->n, most = stream ? 8 : 128, picks = 0, rows = 0, starts[MOST_GROUPS], tiles[256][4],
           tile_count = 0;
  for (uint32_t g = 0; g < groups; g++) {
    starts[g] = rows;
    for (uint32_t t = 0; t < group_rows[g]; t += most) {
      uint32_t left = group_rows[g] - t, tile[4] = {g, rows + t, left < most ? left : most, 0};
      memcpy(tiles[tile_count++], tile, sizeof tile);
    }
    picks += group_rows[g];
    rows += (group_rows[g] + 7) / 8 * 8; /* groups begin at multiples of 8 rows */
  }
  uint32_t stride = rows + 128;
  random_state = seed * 77 + 12345;
  uint16_t *x = calloc((size_t)stride * k, 2), *image = calloc((size_t)stride * k, 2), *w = calloc((size_t)groups * n * k, 2),
           *packed = calloc((size_t)groups * n * k, 2);
  float *bias = calloc((size_t)groups * n, 4);
  int32_t *scatter = calloc(stride, 4), *places = calloc(picks, 4), *gather = calloc(stride, 4);
  double *want = calloc((size_t)stride * n, sizeof *want);
  for (size_t i = 0; i < (size_t)rows * k; i++) x[i] = to_bf16(draw_value());
  for (size_t i = 0; i < (size_t)groups * n * k; i++) w[i] = to_bf16(draw_value() / sqrtf((float)k));
  for (size_t i = 0; i < (size_t)groups * n; i++) bias[i] = draw_value();
  for (uint32_t i = 0; i < picks; i++) places[i] = (int32_t)i;
  for (uint32_t i = picks; i > 1; i--) {
    uint32_t j = draw(i);
    int32_t kept = places[i - 1];
    places[i - 1] = places[j], places[j] = kept;
  }
  for (uint32_t i = 0; i < stride; i++) gather[i] = (int32_t)i, scatter[i] = 1 << 30;
  for (uint32_t i = stride; i > 1; i--) {
    uint32_t j = draw(i);
    int32_t kept = gather[i - 1];
    gather[i - 1] = gather[j], gather[j] = kept;
  }
  for (uint32_t r = 0; r < stride; r++)
    for (uint32_t p = 0; p < k; p++) {
      if (kernel->gather) image[(size_t)gather[r] * k + p] = x[(size_t)r * k + p];
      else image[plane_index(stride, r, p)] = x[(size_t)r * k + p];
    }
  for (uint32_t g = 0; g < groups; g++)
    for (uint32_t c = 0; c < n; c++)
      for (uint32_t p = 0; p < k; p++)
        packed[((size_t)g * n + c / kernel->block * kernel->block) * k + plane_index(kernel->block, c % kernel->block, p)] =
            w[((size_t)g * n + c) * k + p];
  for (uint32_t g = 0, pick = 0; g < groups; g++)
    for (uint32_t i = 0; i < group_rows[g]; i++, pick++) scatter[starts[g] + i] = places[pick];
  size_t out_bytes = planes ? (size_t)n * stride * 2 : (size_t)picks * n * 4;
  uint64_t arguments[9] = {upload("A", image, (size_t)stride * k * 2),         upload("W", packed, (size_t)groups * n * k * 2),
                           upload("tiles", tiles, tile_count * sizeof *tiles), upload("count", &tile_count, 4),
                           upload("bias", bias, (size_t)groups * n * 4),       ptx_device_allocate(device, out_bytes, 1024, "out"),
                           upload("scatter", scatter, (size_t)stride * 4),     stride,
                           upload("gather", gather, (size_t)stride * 4)};
  if (planes) ptx_device_fill(device, arguments[5], 0xff, 1, out_bytes); /* rows between groups are nobody's */
  ptx_module *module = files[strcmp(kernel->file, files[0].name) != 0].module;
  ptx_module_reset(module);
  ptx_launch launch = {.kernel = kernel->name,
                       .grid = {2, 1, 1},
                       .block = {hopper ? 384 : 256, 1, 1},
                       .shared_bytes = kernel->shared,
                       .arguments = arguments,
                       .argument_bytes = hopper ? 72 : 60,
                       .seed = seed};
  int found = ptx_launch_run(module, &launch, report) ? PTX_OK : (int)report->kind;
  *counters = ptx_module_counters(module);
  *out_error = 0;
  if (found == PTX_OK) {
    void *out = malloc(out_bytes);
    assert_true(ptx_device_read(device, arguments[5], out, out_bytes, report));
    double error = 0, size = 0;
    for (uint32_t g = 0, pick = 0; g < groups; g++)
      for (uint32_t i = 0; i < group_rows[g]; i++, pick++) {
        uint32_t r = starts[g] + i;
        for (uint32_t c = 0; c < n; c++) {
          double sum = (double)bias[g * n + c];
          for (uint32_t p = 0; p < k; p++)
            sum += (double)from_bf16(x[(size_t)r * k + p]) * (double)from_bf16(w[((size_t)g * n + c) * k + p]);
          want[(size_t)(planes ? r : (uint32_t)places[pick]) * n + c] = planes && sum < 0 ? 0 : sum;
        }
      }
    if (report->kind != PTX_OK) error = INFINITY;
    for (uint32_t g = 0, pick = 0; g < groups; g++)
      for (uint32_t i = 0; i < group_rows[g]; i++, pick++)
        for (uint32_t c = 0; c < n; c++) {
          uint32_t r = planes ? starts[g] + i : pick;
          double got = planes ? (double)from_bf16(((uint16_t *)out)[plane_index(stride, r, c)])
                              : (double)((float *)out)[(size_t)r * n + c],
                 wanted = want[(size_t)r * n + c];
          error += (got - wanted) * (got - wanted), size += wanted * wanted;
        }
    *out_error = sqrt(error / size);
    if (!(*out_error < (planes ? 4e-3 : 1e-5))) found = WRONG_RESULT;
    free(out);
  }
  for (int i = 0; i < 9; i++)
    if (i != 7) assert_true(ptx_device_free(device, arguments[i])); /* 7: the stride */
  free(x), free(image), free(w), free(packed), free(bias), free(scatter), free(places), free(gather), free(want);
  return found;
}

static const char *name_of(int found) { return found == WRONG_RESULT ? "wrong result" : ptx_kind_name((ptx_kind)found); }

static void kernels_test(void **state) {
  (void)state;
  static const uint32_t rows[][4] = {{130, 7, 0, 64}, {1, 128, 200, 0}, {9, 70, 0, 33}},
                        few[][4] = {{3, 8, 0, 13}, {1, 0, 1, 20}, {5, 2, 9, 0}};
  for (size_t i = 0; i < kernel_count; i++) {
    if (strcmp(kernels[i].bug, "-")) continue;
    for (uint64_t seed = 0; seed < 3; seed++) {
      ptx_report report;
      ptx_counters counters;
      double error;
      bool stream = !strcmp(kernels[i].kind, "stream");
      int found = run(&kernels[i], stream ? few[seed] : rows[seed], 4, seed, &report, &counters, &error);
      if (found != PTX_OK)
        fail_msg("%s K %u N %u gather %u, seed %u: %s (error %g)\n%s", kernels[i].kind, kernels[i].k, kernels[i].n,
                 kernels[i].gather, (unsigned)seed, name_of(found), error, report.text);
      /* Loads and stores without bank conflicts are what the layouts are for; the stream kernel's sums are the exception. */
      uint64_t conflicts = counters.copy_conflicts + counters.load_conflicts + counters.store_conflicts;
      if (!stream && conflicts)
        fail_msg("%s K %u N %u gather %u: %u wavefronts too many (of copies %u)", kernels[i].kind, kernels[i].k, kernels[i].n,
                 kernels[i].gather, (unsigned)conflicts, (unsigned)counters.copy_conflicts);
    }
  }
}

/* What may be said of each, whichever comes first in a schedule. LLVM leaves the arithmetic below the wait today, with or without what would hold it there: of
 * no_acc_fence nothing is wrong with the code, which this test wants to hear of when it changes. */
#define KIND(kind) (1u << (kind))
static const struct {
  const char *kind, *bug;
  uint32_t says;
} mutations[] = {
    {"planes", "no_full_wait", KIND(PTX_UNINITIALISED) | KIND(PTX_RACE) | KIND(PTX_IN_FLIGHT)},
    {"planes", "no_empty_wait", KIND(PTX_MBARRIER) | KIND(PTX_RACE) | KIND(PTX_IN_FLIGHT)},
    {"planes", "wrong_tx", KIND(PTX_DEADLOCK)},
    {"planes", "no_wgmma_wait", KIND(PTX_IN_FLIGHT) | KIND(PTX_ACCUMULATOR)},
    {"planes", "no_acc_fence", KIND(PTX_OK)},
    {"planes", "no_proxy_fence", KIND(PTX_PROXY)},
    {"planes", "wrong_sbo", KIND(WRONG_RESULT)},
    {"planes", "no_swizzle", KIND(WRONG_RESULT)},
    {"planes", "early_release", KIND(PTX_IN_FLIGHT) | KIND(PTX_DEADLOCK)},
    {"planes", "no_store_wait", KIND(PTX_IN_FLIGHT)},
    {"planes", "no_init_fence", KIND(PTX_MBARRIER)},
    {"planes", "no_init_barrier", KIND(PTX_MBARRIER)},
    {"planes", "wrong_parity", KIND(PTX_UNINITIALISED) | KIND(PTX_RACE) | KIND(PTX_IN_FLIGHT)},
    {"planes", "no_wgmma_fence", KIND(PTX_ACCUMULATOR)},
    {"planes", "kstep", KIND(PTX_RACE) | KIND(PTX_IN_FLIGHT) | KIND(PTX_UNINITIALISED)},
    {"planes", "no_consumer_fence", KIND(PTX_PROXY)},
    {"planes", "leader_release", KIND(PTX_IN_FLIGHT)},
    {"planes", "registers", KIND(PTX_DEADLOCK)},
    {"rows", "n_rows_past", KIND(PTX_BOUNDS)},
    {"tiled", "no_tile_barrier", KIND(PTX_IN_FLIGHT) | KIND(PTX_RACE)},
    {"tiled", "short_wait", KIND(PTX_IN_FLIGHT)},
    {"tiled", "no_barrier", KIND(PTX_UNINITIALISED) | KIND(PTX_RACE) | KIND(PTX_IN_FLIGHT)},
    {"tiled", "no_swizzle", KIND(WRONG_RESULT)},
    {"stream", "order", KIND(WRONG_RESULT)},
    {"stream", "no_barrier", KIND(PTX_UNINITIALISED) | KIND(PTX_RACE)},
    {"stream", "no_second_barrier", KIND(PTX_RACE)},
};
enum { MUTATIONS = sizeof mutations / sizeof *mutations };

static void mutations_test(void **state) {
  (void)state;
  static const uint32_t rows[] = {130, 7, 64}, few[] = {7, 8, 3};
  size_t count = 0;
  for (size_t i = 0; i < kernel_count; i++) {
    if (!strcmp(kernels[i].bug, "-")) continue;
    size_t m = 0;
    while (m < MUTATIONS && (strcmp(mutations[m].kind, kernels[i].kind) || strcmp(mutations[m].bug, kernels[i].bug))) m++;
    if (m == MUTATIONS) fail_msg("%s %s: nobody knows what to expect", kernels[i].kind, kernels[i].bug);
    count++;
    for (uint64_t seed = 0; seed < 3; seed++) {
      ptx_report report;
      ptx_counters counters;
      double error;
      int found = run(&kernels[i], strcmp(kernels[i].kind, "stream") ? rows : few, 3, seed, &report, &counters, &error);
      if (!(mutations[m].says >> found & 1))
        fail_msg("%s %s, seed %u: %s\n%s", kernels[i].kind, kernels[i].bug, (unsigned)seed, name_of(found), report.text);
    }
  }
  assert_int_equal(count, MUTATIONS);
}

int main(void) {
  device = ptx_device_create(0);
  read_kernels();
  const struct CMUnitTest tests[] = {cmocka_unit_test(kernels_test), cmocka_unit_test(mutations_test)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  ptx_module_destroy(files[0].module), ptx_module_destroy(files[1].module);
  ptx_device_destroy(device);
  return failed;
}
