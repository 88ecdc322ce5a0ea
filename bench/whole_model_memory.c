/* What a process holds that opens packed weights and runs one forward pass; one line of JSON.
 *   whole_model_memory MODEL.hmw THREADS ROWS LENGTH TARGET VOCAB D_MODEL
 * Resident memory counts the pages of the weights that were used, the workspace, the code, and what the caller gives: caller_bytes. */
#include "whole_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH = 1, THREADS, ROWS, LENGTH, TARGET, VOCAB, D_MODEL, ARGUMENTS };

static int fail(const char *what) {
  fprintf(stderr, "whole_model_memory: %s\n", what);
  return 1;
}

/* Ids from 2 to vocab - 1, spread evenly. */
static int64_t *make_ids(size_t count, int64_t vocab) {
  int64_t *ids = malloc(count * sizeof *ids);
  for (size_t i = 0; ids && i < count; i++) ids[i] = 2 + (int64_t)(i * 7919) % (vocab - 2);
  return ids;
}

/* Of this program: what getrusage says begins with the process that started it. */
static long long peak_resident_bytes(void) {
  FILE *file = fopen("/proc/self/status", "r");
  char line[256];
  long long kilobytes = 0;
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "VmHWM: %lld", &kilobytes) == 1) break;
  if (file) fclose(file);
  return kilobytes * 1024;
}

int main(int argument_count, char **arguments) {
  if (argument_count != ARGUMENTS) return fail("expected MODEL.hmw THREADS ROWS LENGTH TARGET VOCAB D_MODEL");
  int64_t number[ARGUMENTS] = {0};
  for (int i = THREADS; i < ARGUMENTS; i++)
    if ((number[i] = atoll(arguments[i])) < 1 || number[i] > 1 << 20) return fail("sizes are from 1 to 2^20");
  if (number[VOCAB] < 3) return fail("VOCAB is at least 3");
  size_t sources = (size_t)(number[ROWS] * number[LENGTH]), targets = (size_t)(number[ROWS] * number[TARGET]);
  size_t logit_bytes = targets * (size_t)number[VOCAB] * sizeof(float),
         hidden_bytes = sources * (size_t)number[D_MODEL] * sizeof(float);
  int64_t *ids = make_ids(sources, number[VOCAB]), *decoder_ids = make_ids(targets, number[VOCAB]);
  int64_t *mask = malloc(sources * sizeof *mask);
  float *logits = malloc(logit_bytes), *hidden = malloc(hidden_bytes);
  hmoe_model *model = NULL;
  int result = 1;
  if (!ids || !decoder_ids || !mask || !logits || !hidden) {
    fail("out of memory");
    goto done;
  }
  for (size_t i = 0; i < sources; i++) mask[i] = 1;
  memset(logits, 1, logit_bytes);
  memset(hidden, 1, hidden_bytes);
  long long before = peak_resident_bytes();
  hmoe_options options = {.struct_size = sizeof options, .threads = (uint32_t)number[THREADS]};
  bench_batch batch = {number[ROWS], number[LENGTH], number[TARGET], ids, mask, decoder_ids};
  if (bench_model_open(arguments[PATH], &options, &model)) {
    fail(hmoe_last_error());
    goto done;
  }
  long long opened = peak_resident_bytes();
  if (bench_model_forward(model, &batch, logits, hidden)) {
    fail(hmoe_last_error());
    goto done;
  }
  printf("{\"weight_bytes\": %zu, \"workspace_bytes\": %zu, \"caller_bytes\": %zu, \"before_open_bytes\": %lld, \"opened_bytes\": "
         "%lld, "
         "\"peak_bytes\": %lld}\n",
         hmoe_model_weight_bytes(model), hmoe_model_workspace_bytes(model),
         logit_bytes + hidden_bytes + (2 * sources + targets) * sizeof(int64_t), before, opened, peak_resident_bytes());
  result = 0;
done:
  bench_model_close(model);
  free(ids);
  free(decoder_ids);
  free(mask);
  free(logits);
  free(hidden);
  return result;
}
