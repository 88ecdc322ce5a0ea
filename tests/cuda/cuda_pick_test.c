/* What generation picks from rows of logits on a GPU, in the emulator, against the host's rule (runtime/generate_logits.c): the first of the largest, which is
 * never NaN nor -inf. And what steps find in masks of tokens. */
#include "steps_on_cuda.h"

#include "generate_internal.h"

enum { MOST_ROWS = 3, MOST_COLUMNS = 2100 };

/* Few values, so that there are ties; and what is not finite, and zeros of both signs. */
static void fill(float *row, int64_t columns, int64_t kind) {
  static const float odd[] = {NAN, -INFINITY, INFINITY, -0.0f, 0.0f, -1, 1};
  for (int64_t i = 0; i < columns; i++) {
    float x = (float)(harness_below(7) - 9);
    if (kind == 1) x = harness_float();
    if (kind == 2) x = odd[harness_below(2)]; /* nothing to take */
    if (kind == 3) x = odd[harness_below(7)];
    if (kind == 4) x = odd[3 + harness_below(2)];
    if (kind == 5) x = i == columns - 1 ? -7 : odd[harness_below(2)];
    row[i] = x;
  }
}

static void test_pick(void **state) {
  (void)state;
  static const int64_t widths[] = {1, 2, 31, 32, 33, 255, 256, 257, 1000, MOST_COLUMNS};
  static float logits[MOST_ROWS * MOST_COLUMNS], cleaned[MOST_COLUMNS];
  harness_unit u = harness_compile(NULL, 0, hmoec_cpu_schedule_default(64));
  int none = 0, infinite = 0;
  for (int64_t i = 0; i < 120; i++) {
    int64_t columns = widths[i % 10], rows = 1 + harness_below(MOST_ROWS);
    int32_t want[MOST_ROWS];
    for (int64_t r = 0; r < rows; r++) {
      fill(logits + r * columns, columns, i / 10 % 6);
      memcpy(cleaned, logits + r * columns, (size_t)columns * sizeof *cleaned);
      float largest = hmoe_logits_clean(cleaned, columns);
      want[r] = largest > -INFINITY ? (int32_t)hmoe_logits_find(cleaned, columns, largest) : -1;
      none += want[r] < 0;
      infinite += largest > 1e30f;
    }
    hmoe_cuda_call call = {.rows = rows, .splits = 1, .dims = {columns}};
    call.buffers[0] = step_words(&u, logits, rows * columns);
    call.buffers[1] = step_words(&u, NULL, rows);
    step_launch(&u, "hmoe_pick", rows, &call);
    step_expect(&u, call.buffers[1], want, rows, "places");
    for (int b = 0; b < 2; b++) ptx_device_free(u.device, call.buffers[b]);
  }
  assert_true(none > 20 && infinite > 20);
  harness_destroy(&u);
}

/* All that reach the `wanted` largest, in order; more than there is room for are counted. */
static void expect_best(const float *row, int64_t columns, int64_t wanted, int64_t room, int32_t *words) {
  static hmoe_candidate best[MOST_COLUMNS];
  static float cleaned[MOST_COLUMNS];
  static uint8_t scratch[MOST_COLUMNS * 16];
  memcpy(cleaned, row, (size_t)columns * sizeof *cleaned);
  hmoe_logits_clean(cleaned, columns);
  hmoe_logits_best(cleaned, columns, wanted, scratch, best);
  words[0] = 0;
  for (int64_t i = 0; i < room; i++) {
    words[1 + i] = -1;
    words[1 + room + i] = 0;
  }
  for (int64_t i = 0; i < columns; i++) {
    if (!(row[i] >= best[wanted - 1].score) || row[i] == -INFINITY) continue;
    if (words[0] < room) {
      words[1 + words[0]] = (int32_t)i;
      memcpy(&words[1 + room + words[0]], &row[i], sizeof *row);
    }
    words[0]++;
  }
}

static void test_best(void **state) {
  (void)state;
  static const int64_t shapes[][3] = {{2, 1, 1},        {5, 4, 12},         {31, 3, 4},     {255, 200, 260},
                                      {257, 1, 9},      {1000, 50, 58},     {2100, 20, 28}, {2100, 255, 300},
                                      {2100, 257, 290}, {2100, 2099, 2100}, {700, 256, 256}};
  static float logits[MOST_ROWS * MOST_COLUMNS];
  static int32_t want[MOST_ROWS * (1 + 2 * MOST_COLUMNS)];
  harness_unit u = harness_compile(NULL, 0, hmoec_cpu_schedule_default(64));
  int over = 0, exact = 0, none = 0;
  for (int64_t i = 0; i < 66; i++) {
    const int64_t *shape = shapes[i % 11];
    int64_t columns = shape[0], wanted = shape[1], room = shape[2], rows = 1 + i % 2, words = 1 + 2 * room;
    for (int64_t r = 0; r < rows; r++) {
      fill(logits + r * columns, columns, (i + i / 11 + r) % 6);
      expect_best(logits + r * columns, columns, wanted, room, want + r * words);
      over += want[r * words] > room;
      exact += want[r * words] == wanted;
      none += want[r * words] == 0;
    }
    hmoe_cuda_call call = {.rows = rows, .splits = 1, .dims = {columns, wanted, room}};
    call.buffers[0] = step_words(&u, logits, rows * columns);
    call.buffers[1] = step_words(&u, NULL, rows * words);
    step_launch(&u, "hmoe_best", rows, &call);
    step_expect(&u, call.buffers[1], want, rows * words, "the largest");
    for (int b = 0; b < 2; b++) ptx_device_free(u.device, call.buffers[b]);
  }
  print_message("%d rows with more than room, %d with as many as are wanted, %d with none\n", over, exact, none);
  assert_true(over > 5 && exact > 5 && none > 5);
  harness_destroy(&u);
}

/* Positions, the last ones none of the model's, and last real tokens: of rows behind others, some without a real token, and without a mask. */
static void test_masks(void **state) {
  (void)state;
  enum { MOST = 700, ROWS = 3, LIMIT = 300, STEP = 5, TROUBLE = HMOE_CUDA_BINDINGS_MAX - 1, PLACE_BITS = 40 };
  static const int64_t lengths[] = {1, 2, 7, 1, 40, 257, 3}, pasts[] = {0, 31, 249, 256, 0, 9, 640};
  static int32_t mask[ROWS * MOST], positions[ROWS * MOST], last[ROWS];
  harness_unit u = harness_compile(NULL, 0, hmoec_cpu_schedule_default(64));
  bool is_over = false;
  for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++)
    for (int masked = 0; masked < 2; masked++) {
      int64_t length = lengths[n], past = pasts[n], stride = past + length + (int64_t)n;
      uint64_t trouble = UINT64_MAX;
      for (int64_t i = 0; i < ROWS * stride; i++) mask[i] = i / stride == 1 ? 0 : harness_below(4) > 0;
      for (int64_t i = 0; i < ROWS * length; i++) {
        int64_t row = i / length, t = i % length, count = masked ? 0 : past + t + 1;
        for (int64_t j = 0; masked && j <= past + t; j++) count += mask[row * stride + j];
        positions[i] = count > 0 ? (int32_t)count - 1 : 0;
        if (!t) last[row] = (int32_t)(i + length - 1);
        bool is_last = masked && mask[row * stride + past + t];
        for (int64_t j = t + 1; is_last && j < length; j++) is_last = !mask[row * stride + past + j];
        if (is_last) last[row] = (int32_t)i;
        if (positions[i] < LIMIT) continue;
        positions[i] = 0;
        if (trouble == UINT64_MAX) trouble = (uint64_t)STEP << PLACE_BITS | (uint64_t)i;
      }
      hmoe_cuda_call call = {.rows = ROWS * length, .splits = 1, .dims = {ROWS, length, past, stride, LIMIT, STEP}};
      if (masked) call.buffers[HMOE_BIND_TOKENS_SOURCE] = step_words(&u, mask, (ROWS - 1) * stride + past + length);
      call.buffers[HMOE_BIND_TOKENS_DESTINATION] = step_words(&u, NULL, ROWS * length);
      call.buffers[TROUBLE] = step_words(&u, (const uint32_t[]){UINT32_MAX, UINT32_MAX}, 2);
      step_launch(&u, "hmoe_positions", (call.rows + 7) / 8, &call);
      step_expect(&u, call.buffers[HMOE_BIND_TOKENS_DESTINATION], positions, ROWS * length, "positions");
      step_expect(&u, call.buffers[TROUBLE], &trouble, 2, "the first that is none of the model's");
      is_over |= trouble != UINT64_MAX;
      call.rows = ROWS;
      step_launch(&u, "hmoe_last_rows", 1, &call);
      step_expect(&u, call.buffers[HMOE_BIND_TOKENS_DESTINATION], last, ROWS, "last rows");
      for (int b = 0; b < HMOE_CUDA_BINDINGS_MAX; b++)
        if (call.buffers[b]) ptx_device_free(u.device, call.buffers[b]);
    }
  assert_true(is_over);
  harness_destroy(&u);
}

int main(void) {
  harness_seed();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_pick), cmocka_unit_test(test_best), cmocka_unit_test(test_masks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
