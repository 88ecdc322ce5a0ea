/* The first run on a GPU: what loads, what is right, what the machine can do, and how fast layers are. bench/gpu/build.py makes its table of cases.
 *
 *   first_run [--json FILE] [--parts LIST] [--only CASE] [--most-tokens N] [--seconds S] [--golden DIRECTORY]
 *
 *   device     what the driver says of the GPU
 *   golden     layers of the published implementation, in f32, against their recorded outputs
 *   checks     layers in bf16 against f32 on this machine's CPU: error in the 2-norm
 *   ceilings   bytes a second of a copy within the device's memory
 *   layers     median seconds of a layer, FLOP and bytes of weights a second, from device memory to device memory, in a stream
 *   graphs     one token, with a launch a kernel and as a graph
 *
 * Results are written after each part. Exit 1: something is wrong, or does not run. In a library (peers.py) first_run_open and first_run_queue run one case. */
#include <dlfcn.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hmoe/runtime.h>

typedef struct parameter {
  const char *key;
  int rank;
  int64_t shape[4];
} parameter;

typedef struct layer_case {
  const char *name;
  const struct hmoe_model_object *object, *reference;
  const parameter *parameters;
  size_t parameter_count;
  int64_t d_model, d_ff, experts, top_k, gated;
  const char *golden; /* a folder with model.safetensors, x.npy and y.npy */
} layer_case;

#include "cases.h"

enum { CASES = sizeof cases / sizeof *cases, MOST_RUNS = 200 };
static const int64_t token_counts[] = {1, 8, 64, 512, 8192};

/* ---- the driver, where the runtime has it from ---- */

typedef unsigned long long address;
static struct {
  int (*cuInit)(unsigned);
  int (*cuDriverGetVersion)(int *);
  int (*cuDeviceGet)(int *, int);
  int (*cuDeviceGetName)(char *, int, int);
  int (*cuDeviceGetAttribute)(int *, int, int);
  int (*cuDevicePrimaryCtxRetain)(void **, int);
  int (*cuCtxPushCurrent_v2)(void *);
  int (*cuMemAlloc_v2)(address *, size_t);
  int (*cuMemFree_v2)(address);
  int (*cuMemcpyHtoDAsync_v2)(address, const void *, size_t, void *);
  int (*cuMemcpyDtoHAsync_v2)(void *, address, size_t, void *);
  int (*cuMemcpyDtoDAsync_v2)(address, address, size_t, void *);
  int (*cuStreamCreate)(void **, unsigned);
  int (*cuStreamSynchronize)(void *);
  int (*cuEventCreate)(void **, unsigned);
  int (*cuEventRecord)(void *, void *);
  int (*cuEventSynchronize)(void *);
  int (*cuEventElapsedTime)(float *, void *, void *);
} cu;
static void *stream, *begin_event, *end_event;
static int device;

static bool failed(const char *what, const char *words) {
  fprintf(stderr, "first_run: %s: %s\n", what, words);
  return false;
}

static bool load_driver(void) {
  static const char *const names[] = {"cuInit",
                                      "cuDriverGetVersion",
                                      "cuDeviceGet",
                                      "cuDeviceGetName",
                                      "cuDeviceGetAttribute",
                                      "cuDevicePrimaryCtxRetain",
                                      "cuCtxPushCurrent_v2",
                                      "cuMemAlloc_v2",
                                      "cuMemFree_v2",
                                      "cuMemcpyHtoDAsync_v2",
                                      "cuMemcpyDtoHAsync_v2",
                                      "cuMemcpyDtoDAsync_v2",
                                      "cuStreamCreate",
                                      "cuStreamSynchronize",
                                      "cuEventCreate",
                                      "cuEventRecord",
                                      "cuEventSynchronize",
                                      "cuEventElapsedTime"};
  const char *path = getenv("HMOE_CUDA_DRIVER");
  void *library = dlopen(path && *path ? path : "libcuda.so.1", RTLD_NOW), *context;
  if (!library) return failed("no CUDA driver", dlerror());
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void *function = dlsym(library, names[i]);
    if (!function) return failed("the driver has no function", names[i]);
    memcpy((char *)&cu + i * sizeof function, &function, sizeof function);
  }
  if (cu.cuInit(0) || cu.cuDeviceGet(&device, 0)) return failed("the driver", "no device");
  if (cu.cuDevicePrimaryCtxRetain(&context, device) || cu.cuCtxPushCurrent_v2(context) || cu.cuStreamCreate(&stream, 1) ||
      cu.cuEventCreate(&begin_event, 0) || cu.cuEventCreate(&end_event, 0))
    return failed("the driver", "no context, stream or events");
  return true;
}

/* ---- results ---- */

static FILE *json;
static const char *json_path, *separator = "";

__attribute__((format(printf, 1, 2))) static void row(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char text[512];
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  printf("%s\n", text);
  fflush(stdout);
  if (!json) return;
  fprintf(json, "%s\n  {%s}", separator, text);
  fflush(json); /* what is there stays, whatever comes */
  separator = ",";
}

/* ---- inputs ---- */

/* In [-1, 1], and of few bits: bf16 has them all. */
static float number(uint64_t seed) {
  seed = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
  seed = (seed ^ seed >> 31) * UINT64_C(0xBF58476D1CE4E5B9);
  return (float)((int)(seed >> 57) - 64) / 64.0f;
}

/* A checkpoint of such numbers in bf16, scaled by a power of two near 1 / sqrt(the last dimension). The caller frees it. */
static void *checkpoint(const layer_case *c, size_t *out_bytes) {
  size_t most = 64, at = 0, data = 0;
  for (size_t i = 0; i < c->parameter_count; i++) most += strlen(c->parameters[i].key) + 160;
  char *header = malloc(most);
  if (!header) return NULL;
  at += (size_t)snprintf(header, most, "{");
  for (size_t i = 0; i < c->parameter_count; i++) {
    const parameter *p = &c->parameters[i];
    size_t elements = 1;
    at += (size_t)snprintf(header + at, most - at, "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[", i ? "," : "", p->key);
    for (int d = 0; d < p->rank; d++) {
      elements *= (size_t)p->shape[d];
      at += (size_t)snprintf(header + at, most - at, "%s%" PRId64, d ? "," : "", p->shape[d]);
    }
    at += (size_t)snprintf(header + at, most - at, "],\"data_offsets\":[%zu,%zu]}", data, data + 2 * elements);
    data += 2 * elements;
  }
  at += (size_t)snprintf(header + at, most - at, "}");
  uint64_t header_bytes = at;
  uint8_t *file = malloc(8 + at + data);
  if (file) {
    memcpy(file, &header_bytes, 8);
    memcpy(file + 8, header, at);
    uint8_t *to = file + 8 + at;
    for (size_t i = 0; i < c->parameter_count; i++) {
      const parameter *p = &c->parameters[i];
      size_t elements = 1;
      for (int d = 0; d < p->rank; d++) elements *= (size_t)p->shape[d];
      float scale = exp2f(roundf(-0.5f * log2f((float)p->shape[p->rank - 1])));
      uint16_t few[4096]; /* again and again: gigabytes of them are wanted soon */
      for (size_t j = 0; j < 4096; j++) {
        float x = number(i * 4096 + j) * scale;
        uint32_t bits;
        memcpy(&bits, &x, 4);
        few[j] = (uint16_t)(bits >> 16);
      }
      for (size_t j = 0; j < elements; j += 4093) { /* a prime: rows differ */
        size_t count = elements - j < 4093 ? elements - j : 4093;
        memcpy(to, few, 2 * count);
        to += 2 * count;
      }
    }
    *out_bytes = 8 + at + data;
  }
  free(header);
  return file;
}

static hmoe_status open_case(const layer_case *c, const struct hmoe_model_object *object, const char *on, uint32_t flags,
                             hmoe_model **out_model) {
  size_t bytes = 0;
  void *file = checkpoint(c, &bytes);
  hmoe_options options = {.struct_size = sizeof options, .device = on, .flags = flags};
  hmoe_weights weights = {.kind = HMOE_WEIGHTS_MEMORY, .data = file, .size_bytes = bytes};
  hmoe_status status = file ? hmoe_model_open(object, &weights, &options, out_model) : HMOE_OUT_OF_MEMORY;
  free(file);
  return status;
}

/* ---- runs ---- */

typedef struct tensors {
  address x, y;
  float *host;
} tensors;

static bool make_tensors(const layer_case *c, int64_t tokens, tensors *out) {
  size_t elements = (size_t)(tokens * c->d_model), bytes = elements * sizeof(float);
  *out = (tensors){.host = malloc(bytes)};
  if (!out->host || cu.cuMemAlloc_v2(&out->x, bytes) || cu.cuMemAlloc_v2(&out->y, bytes)) return failed(c->name, "no memory");
  for (size_t i = 0; i < elements; i++) out->host[i] = number(i * 31 + 7);
  return !cu.cuMemcpyHtoDAsync_v2(out->x, out->host, bytes, stream) && !cu.cuStreamSynchronize(stream);
}

static void free_tensors(tensors *t) {
  cu.cuMemFree_v2(t->x);
  cu.cuMemFree_v2(t->y);
  free(t->host);
}

static hmoe_status queue(hmoe_model *model, int64_t tokens, address x, address y, void *in) {
  const void *inputs[] = {(const void *)(uintptr_t)x};
  void *outputs[] = {(void *)(uintptr_t)y};
  const hmoe_run_options options = {.struct_size = sizeof options, .stream = in, .flags = HMOE_RUN_DEVICE_TENSORS};
  return hmoe_model_run_with(model, 1, &options, &tokens, inputs, outputs);
}

/* Median seconds of a layer in the stream; < 0: it failed. */
static double time_layer(hmoe_model *model, int64_t tokens, const tensors *t, double most_seconds) {
  double times[MOST_RUNS], spent = 0;
  int runs = 0;
  for (int i = 0; i < MOST_RUNS + 3 && (runs < 5 || spent < most_seconds); i++) {
    float milliseconds;
    if (cu.cuEventRecord(begin_event, stream) || queue(model, tokens, t->x, t->y, stream) != HMOE_OK ||
        cu.cuEventRecord(end_event, stream) || cu.cuEventSynchronize(end_event) ||
        cu.cuEventElapsedTime(&milliseconds, begin_event, end_event))
      return -1;
    if (i < 3) continue; /* warms up */
    times[runs++] = milliseconds / 1e3;
    spent += milliseconds / 1e3;
  }
  for (int i = 1; i < runs; i++)
    for (int j = i; j > 0 && times[j] < times[j - 1]; j--) {
      double swap = times[j];
      times[j] = times[j - 1];
      times[j - 1] = swap;
    }
  return hmoe_model_wait(model) == HMOE_OK ? times[runs / 2] : -1;
}

static double difference(const float *a, const float *b, size_t count) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < count; i++) {
    error += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    norm += (double)b[i] * (double)b[i];
  }
  return sqrt(error / (norm > 0 ? norm : 1)); /* NaN stays */
}

/* ---- parts ---- */

typedef struct settings {
  const char *parts, *only, *golden;
  int64_t most_tokens;
  double seconds;
} settings;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool part_device(const settings *s) {
  (void)s;
  char name[128] = "";
  int version = 0, attributes[6] = {0};
  static const int numbers[6] = {75, 76, 16, 13,
                                 36, 38}; /* capability, multiprocessors, kHz of them and of memory, bytes of second-level cache */
  cu.cuDriverGetVersion(&version);
  cu.cuDeviceGetName(name, sizeof name, device);
  for (int i = 0; i < 6; i++) cu.cuDeviceGetAttribute(&attributes[i], numbers[i], device);
  row("\"part\": \"device\", \"name\": \"%s\", \"driver\": %d, \"capability\": \"%d.%d\", \"multiprocessors\": %d, \"clock_khz\": "
      "%d, \"memory_khz\": %d, "
      "\"cache_bytes\": %d",
      name, version, attributes[0], attributes[1], attributes[2], attributes[3], attributes[4], attributes[5]);
  return true;
}

/* The f32 array of an .npy file; the caller frees it. */
static float *read_array(const char *folder, const char *name, const char *file, size_t *out_count) {
  char path[1024], header[4096];
  snprintf(path, sizeof path, "%s/%s/%s", folder, name, file);
  FILE *in = fopen(path, "rb");
  uint8_t begin[10];
  float *data = NULL;
  if (!in) return NULL;
  if (fread(begin, 1, 10, in) == 10) {
    size_t size = (size_t)(begin[8] | begin[9] << 8);
    if (size < sizeof header && fread(header, 1, size, in) == size && fseek(in, 0, SEEK_END) == 0) {
      long end = ftell(in);
      *out_count = ((size_t)end - 10 - size) / sizeof *data;
      data = malloc(*out_count * sizeof *data + 1);
      if (data && (fseek(in, (long)(10 + size), SEEK_SET) || fread(data, sizeof *data, *out_count, in) != *out_count)) {
        free(data);
        data = NULL;
      }
    }
  }
  fclose(in);
  return data;
}

static bool golden_case(const layer_case *c, const char *folder) {
  char path[1024];
  size_t count = 0, expected_count = 0;
  float *x = read_array(folder, c->golden, "x.npy", &count), *expected = read_array(folder, c->golden, "y.npy", &expected_count);
  float *y = malloc(count * sizeof *y + 1);
  hmoe_model *model = NULL;
  snprintf(path, sizeof path, "%s/%s/model.safetensors", folder, c->golden);
  hmoe_options options = {.struct_size = sizeof options, .device = "cuda"};
  hmoe_weights weights = {.kind = HMOE_WEIGHTS_PATH, .path = path};
  int64_t tokens = (int64_t)count / c->d_model;
  double error = NAN, largest = 0, worst = 0;
  hmoe_status status = !x || !expected || !y || count != expected_count ? HMOE_INVALID_ARGUMENT
                                                                        : hmoe_model_open(c->object, &weights, &options, &model);
  if (status == HMOE_OK) status = hmoe_model_run(model, 1, &tokens, (const void *const[]){x}, (void *const[]){y});
  for (size_t i = 0; status == HMOE_OK && i < count; i++) {
    largest = fmax(largest, fabs((double)expected[i]));
    double distance = fabs((double)y[i] - (double)expected[i]);
    worst = distance <= worst ? worst : distance;
  }
  if (status == HMOE_OK) error = worst / largest;
  bool right = status == HMOE_OK && error <= 2e-5;
  row("\"part\": \"golden\", \"case\": \"%s\", \"tokens\": %" PRId64 ", \"error\": %.3g, \"right\": %s, \"status\": \"%s\"",
      c->name, tokens, isnan(error) ? -1 : error, right ? "true" : "false", status == HMOE_OK ? "ok" : hmoe_last_error());
  hmoe_model_close(model);
  free(x);
  free(expected);
  free(y);
  return right;
}

static bool is_wanted(const settings *s, const layer_case *c) { return !s->only || strcmp(s->only, c->name) == 0; }

static bool part_golden(const settings *s) {
  bool ok = true;
  for (size_t i = 0; i < CASES; i++)
    if (cases[i].golden && is_wanted(s, &cases[i])) ok &= golden_case(&cases[i], s->golden);
  return ok;
}

static bool check_case(const layer_case *c, hmoe_model *model, hmoe_model *reference, int64_t tokens) {
  tensors t;
  size_t count = (size_t)(tokens * c->d_model);
  float *expected = malloc(count * sizeof *expected + 1), *y = malloc(count * sizeof *y + 1);
  bool ok = expected && y && make_tensors(c, tokens, &t);
  double error = NAN;
  if (ok) {
    ok = hmoe_model_run(reference, 1, &tokens, (const void *const[]){t.host}, (void *const[]){expected}) == HMOE_OK &&
         queue(model, tokens, t.x, t.y, stream) == HMOE_OK && hmoe_model_wait(model) == HMOE_OK &&
         !cu.cuMemcpyDtoHAsync_v2(y, t.y, count * sizeof *y, stream) && !cu.cuStreamSynchronize(stream);
    if (ok) error = difference(y, expected, count);
    free_tensors(&t);
  }
  bool right = ok && error <= 1e-2;
  row("\"part\": \"checks\", \"case\": \"%s\", \"tokens\": %" PRId64 ", \"error\": %.3g, \"right\": %s, \"status\": \"%s\"",
      c->name, tokens, isnan(error) ? -1 : error, right ? "true" : "false", ok ? "ok" : hmoe_last_error());
  free(expected);
  free(y);
  return right;
}

static bool part_checks(const settings *s) {
  bool all = true;
  for (size_t i = 0; i < CASES; i++) {
    const layer_case *c = &cases[i];
    hmoe_model *model = NULL, *reference = NULL;
    if (!c->reference || !is_wanted(s, c)) continue;
    bool ok = open_case(c, c->object, "cuda", 0, &model) == HMOE_OK && open_case(c, c->reference, NULL, 0, &reference) == HMOE_OK;
    if (!ok) row("\"part\": \"checks\", \"case\": \"%s\", \"right\": false, \"status\": \"%s\"", c->name, hmoe_last_error());
    for (size_t t = 0;
         ok && t < sizeof token_counts / sizeof *token_counts && token_counts[t] <= s->most_tokens && token_counts[t] <= 512; t++)
      all &= check_case(c, model, reference, token_counts[t]);
    all &= ok;
    hmoe_model_close(model);
    hmoe_model_close(reference);
  }
  return all;
}

static bool part_ceilings(const settings *s) {
  size_t bytes = s->most_tokens > 512 ? (size_t)1 << 30 : (size_t)1 << 20;
  address from, to;
  float milliseconds, least = INFINITY;
  if (cu.cuMemAlloc_v2(&from, bytes) || cu.cuMemAlloc_v2(&to, bytes)) return failed("ceilings", "no memory");
  char *host = calloc(1, bytes);
  bool ok = host && !cu.cuMemcpyHtoDAsync_v2(from, host, bytes, stream) && !cu.cuStreamSynchronize(stream);
  for (int i = 0; ok && i < 20; i++) {
    ok = !cu.cuEventRecord(begin_event, stream) && !cu.cuMemcpyDtoDAsync_v2(to, from, bytes, stream) &&
         !cu.cuEventRecord(end_event, stream) && !cu.cuEventSynchronize(end_event) &&
         !cu.cuEventElapsedTime(&milliseconds, begin_event, end_event);
    if (ok && milliseconds < least) least = milliseconds;
  }
  free(host);
  cu.cuMemFree_v2(from);
  cu.cuMemFree_v2(to);
  if (!ok) return failed("ceilings", "a copy failed");
  row("\"part\": \"ceilings\", \"copy_bytes_a_second\": %.4g", 2 * (double)bytes / fmax((double)least / 1e3, 1e-9));
  return true;
}

static bool part_layers(const settings *s) {
  bool all = true;
  double until = now() + s->seconds;
  for (size_t i = 0; i < CASES; i++) {
    const layer_case *c = &cases[i];
    hmoe_model *model = NULL;
    if (!c->reference || !is_wanted(s, c)) continue;
    if (now() > until) {
      row("\"part\": \"layers\", \"case\": \"%s\", \"skipped\": \"no time\"", c->name);
      continue;
    }
    bool ok = open_case(c, c->object, "cuda", 0, &model) == HMOE_OK;
    for (size_t n = 0; ok && n < sizeof token_counts / sizeof *token_counts && token_counts[n] <= s->most_tokens; n++) {
      tensors t;
      int64_t tokens = token_counts[n];
      ok = make_tensors(c, tokens, &t);
      double seconds = ok ? time_layer(model, tokens, &t, 0.5) : -1;
      double flop = 2.0 * (double)(tokens * c->top_k * c->d_model * c->d_ff * (2 + c->gated));
      if (ok) free_tensors(&t);
      ok = seconds >= 0;
      if (ok)
        row("\"part\": \"layers\", \"case\": \"%s\", \"tokens\": %" PRId64
            ", \"seconds\": %.6g, \"expert_tflops\": %.4g, \"weight_bytes\": %zu",
            c->name, tokens, seconds, flop / fmax(seconds, 1e-9) / 1e12, hmoe_model_weight_bytes(model));
    }
    if (!ok) row("\"part\": \"layers\", \"case\": \"%s\", \"status\": \"%s\"", c->name, hmoe_last_error());
    all &= ok;
    hmoe_model_close(model);
  }
  return all;
}

static bool part_graphs(const settings *s) {
  bool all = true;
  static const uint32_t ways[] = {0, HMOE_DEVICE_APART, HMOE_DEVICE_GRAPHS, HMOE_DEVICE_GRAPHS | HMOE_DEVICE_APART};
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    uint32_t flags = ways[i];
    const layer_case *c = &cases[0];
    hmoe_model *model = NULL;
    tensors t;
    if (!is_wanted(s, c)) continue;
    bool ok = open_case(c, c->object, "cuda", flags, &model) == HMOE_OK && make_tensors(c, 1, &t);
    double seconds = ok ? time_layer(model, 1, &t, 0.5) : -1;
    if (ok) free_tensors(&t);
    ok = seconds >= 0;
    row("\"part\": \"graphs\", \"case\": \"%s\", \"graph\": %s, \"overlaps\": %s, \"seconds\": %.6g, \"status\": \"%s\"", c->name,
        flags & HMOE_DEVICE_GRAPHS ? "true" : "false", flags & HMOE_DEVICE_APART ? "false" : "true", seconds,
        ok ? "ok" : hmoe_last_error());
    all &= ok;
    hmoe_model_close(model);
  }
  return all;
}

/* ---- for peers.py ---- */

static hmoe_model *opened;

/* Opens a layer. -1: there is none of that number; 1: it does not open, or is for `golden`. dims: d_model, d_ff, experts, top_k, gated. */
int first_run_open(int number_of_case, long long *out_dims);
int first_run_open(int number_of_case, long long *out_dims) {
  if (number_of_case >= CASES) return -1;
  const layer_case *c = &cases[number_of_case];
  const long long dims[] = {c->d_model, c->d_ff, c->experts, c->top_k, c->gated};
  memcpy(out_dims, dims, sizeof dims);
  hmoe_model_close(opened);
  opened = NULL;
  return !c->reference || open_case(c, c->object, "cuda", 0, &opened) != HMOE_OK;
}

int first_run_queue(long long tokens, void *x, void *y, void *in);
int first_run_queue(long long tokens, void *x, void *y, void *in) {
  return queue(opened, tokens, (address)(uintptr_t)x, (address)(uintptr_t)y, in) != HMOE_OK;
}

/* ---- */

int main(int count, char **arguments) {
  static const struct {
    const char *name;
    bool (*run)(const settings *);
  } parts[] = {{"device", part_device},     {"golden", part_golden}, {"checks", part_checks},
               {"ceilings", part_ceilings}, {"layers", part_layers}, {"graphs", part_graphs}};
  settings s = {.parts = "device,golden,checks,ceilings,layers,graphs", .golden = "golden", .most_tokens = 8192, .seconds = 240};
  for (int i = 1; i < count; i++) {
    const char *name = arguments[i], *value = i + 1 < count ? arguments[i + 1] : NULL;
    if (strcmp(name, "--json") == 0 && value) json_path = value;
    else if (strcmp(name, "--parts") == 0 && value) s.parts = value;
    else if (strcmp(name, "--only") == 0 && value) s.only = value;
    else if (strcmp(name, "--golden") == 0 && value) s.golden = value;
    else if (strcmp(name, "--most-tokens") == 0 && value) s.most_tokens = atoll(value);
    else if (strcmp(name, "--seconds") == 0 && value) s.seconds = atof(value);
    else {
      fprintf(stderr, "usage: first_run [--json FILE] [--parts device,golden,checks,ceilings,layers,graphs] [--only CASE] "
                      "[--most-tokens N] [--seconds S] "
                      "[--golden DIRECTORY]\n");
      return strcmp(name, "--help") == 0 ? 0 : 2;
    }
    i++;
  }
  if (!load_driver()) return 3;
  if (json_path && !(json = fopen(json_path, "w"))) return failed(json_path, "cannot be written"), 1;
  if (json) fprintf(json, "[");
  bool all = true;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    const char *found = strstr(s.parts, parts[i].name);
    if (!found) continue;
    double began = now();
    bool ok = parts[i].run(&s);
    row("\"part\": \"%s\", \"ok\": %s, \"took_seconds\": %.1f", parts[i].name, ok ? "true" : "false", now() - began);
    all &= ok;
  }
  if (json) {
    fprintf(json, "\n]\n");
    fclose(json);
  }
  return !all;
}
