/* Seeded random parameters, scaled by the role a parameter plays in its first use; and the same as a .safetensors file. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include <mlir-c/BuiltinTypes.h>

#include "interpreter/parameters.h"
#include "ir/ops.h"
#include "ir/scalar.h"
#include "support/output_file.h"

static hmoec_shape shape_of(MlirValue value) {
  hmoec_shape shape = {0};
  hmoec_shape_from_type(mlirValueGetType(value), &shape);
  return shape;
}

/* The use that comes first in the text; MLIR's list of uses has them in no such order. Null if there is none. */
static MlirOpOperand first_use(MlirValue value) {
  MlirOpOperand first = mlirValueGetFirstUse(value);
  for (MlirOpOperand use = first; !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use))
    if (mlirOperationIsBeforeInBlock(mlirOpOperandGetOwner(use), mlirOpOperandGetOwner(first))) first = use;
  return first;
}

/* 1, or what makes a computed matrix a matrix: HyperRouter's router is the reshaped output of a linear. Queries that attention does not
 * scale are made so small instead, as training does. */
static double result_scale(MlirValue value) {
  MlirOpOperand use = first_use(value);
  if (mlirOpOperandIsNull(use)) return 1;
  MlirOperation user = mlirOpOperandGetOwner(use);
  if (hmoec_op_is(user, "hmoe.reshape") || hmoec_op_is(user, "hmoe.slice")) return result_scale(mlirOperationGetResult(user, 0));
  if (hmoec_op_is(user, "hmoe.attention") && mlirOpOperandGetOperandNumber(use) == 0 && !hmoec_op_int(user, "scaled")) {
    hmoec_shape q = shape_of(value);
    return sqrt((double)hmoec_op_int(user, "heads") / (double)q.dims[2]);
  }
  if (!hmoec_op_is(user, "hmoe.linear") || mlirOpOperandGetOperandNumber(use) != 1) return 1;
  hmoec_shape shape = shape_of(value);
  return 1 / sqrt((double)shape.dims[1]);
}

/* The mean of a parameter of a role. */
static double mean_of(hmoec_operand_role played) { return played == HMOEC_ROLE_NORM ? 1 : 0; }

/* The standard deviation of a parameter, by its first use, and the role it plays there. */
static double scale_of(MlirValue parameter, hmoec_operand_role *out_role) {
  MlirOpOperand use = first_use(parameter);
  *out_role = HMOEC_ROLE_EMBEDDING;
  if (mlirOpOperandIsNull(use)) return 1;
  MlirOperation user = mlirOpOperandGetOwner(use);
  if (hmoec_op_has(user, HMOEC_OP_VIEW) || hmoec_op_is(user, "hmoe.concat")) /* what it is a part of, or seen as */
    return scale_of(mlirOperationGetResult(user, 0), out_role);
  unsigned operand = mlirOpOperandGetOperandNumber(use);
  const hmoec_op_info *info = hmoec_op_info_of(user); /* NULL: it is returned */
  hmoec_operand_role played = info ? info->operands[operand].role : HMOEC_ROLE_EMBEDDING;
  *out_role = played;
  hmoec_shape shape = shape_of(parameter);
  double rows = (double)shape.dims[0], fan_in = (double)(shape.rank ? shape.dims[shape.rank - 1] : 1), bottleneck = 1;
  if (played >= HMOEC_ROLE_DOWN && played <= HMOEC_ROLE_UP_BIAS) bottleneck = (double)hmoec_op_int(user, "bottleneck");
  switch (played) {
  case HMOEC_ROLE_EMBEDDING: return 1;
  case HMOEC_ROLE_BIAS: return 0.1 * (hmoec_op_is(user, "hmoe.linear") ? result_scale(mlirOperationGetResult(user, 0)) : 1);
  case HMOEC_ROLE_MATRIX:
    return 1 / sqrt(fan_in) * (hmoec_op_is(user, "hmoe.linear") ? result_scale(mlirOperationGetResult(user, 0)) : 1);
  case HMOEC_ROLE_WO:
    return sqrt(2 / fan_in); /* about half of the hidden units are 0 */
    /* r of variance 1 is to give down of variance 1 / d_model and up of variance 2 / bottleneck; rows = d_model * bottleneck. */
  case HMOEC_ROLE_DOWN: return 1 / sqrt(fan_in * (rows / bottleneck));
  case HMOEC_ROLE_DOWN_BIAS: return 0.1 / sqrt(rows / bottleneck);
  case HMOEC_ROLE_UP: return sqrt(2 / (fan_in * bottleneck));
  case HMOEC_ROLE_UP_BIAS: return 0.1 * sqrt(2 / bottleneck);
  /* Along the chain the deviation is multiplied by 5, 1/sqrt(96), 3 and 1/8; two depthwise filters make up for it and for that of wi. */
  case HMOEC_ROLE_DEPTHWISE: {
    hmoec_shape wi = shape_of(mlirOperationGetOperand(user, 0));
    return sqrt(sqrt((double)wi.dims[2] * 96.0) * 8 / 15);
  }
  case HMOEC_ROLE_POINTWISE: return 1 / sqrt((double)shape.dims[1]);
  case HMOEC_ROLE_NORM:
  case HMOEC_ROLE_POSITION: return 0.1;
  case HMOEC_ROLE_DISTANCE: return 0.5;
  }
  return 1;
}

/* The checkpoint's tensors, one an entry: stacks are taken apart. */
typedef struct entry {
  char *key;
  hmoec_shape shape;
  double mean, scale;
  size_t order; /* in the module */
} entry;

struct hmoec_random_parameters {
  uint64_t seed;
  entry *entries; /* sorted by key, no key twice */
  size_t count, capacity;
};

static bool entry_add(hmoec_random_parameters *self, char *key, const hmoec_shape *shape, double mean, double scale) {
  if (!key) return false;
  if (self->count == self->capacity) {
    size_t capacity = self->capacity ? 2 * self->capacity : 64;
    entry *larger = realloc(self->entries, capacity * sizeof *larger);
    if (!larger) {
      free(key);
      return false;
    }
    self->entries = larger;
    self->capacity = capacity;
  }
  self->entries[self->count] = (entry){.key = key, .shape = *shape, .mean = mean, .scale = scale, .order = self->count};
  self->count++;
  return true;
}

static bool parameter_add(hmoec_random_parameters *self, MlirOperation op) {
  MlirValue value = mlirOperationGetResult(op, 0);
  MlirStringRef key = hmoec_op_string(op, "key");
  int64_t count = hmoec_op_int(op, "count");
  hmoec_shape shape = shape_of(value);
  hmoec_operand_role played;
  double scale = scale_of(value, &played), mean = mean_of(played);
  if (!count) return entry_add(self, strndup(key.data, strcspn(key.data, "\n")), &shape, mean, scale);
  hmoec_shape member = {.element = shape.element, .rank = shape.rank - 1};
  memcpy(member.dims, shape.dims + 1, (size_t)member.rank * sizeof *member.dims);
  const char *place = strstr(key.data, "{}");
  for (int64_t i = 0; i < count; i++) {
    char *name = NULL;
    if (asprintf(&name, "%.*s%" PRId64 "%s", (int)(place - key.data), key.data, i, place + 2) < 0) return false;
    if (!entry_add(self, name, &member, mean, scale)) return false;
  }
  return true;
}

static int entry_compare(const void *a, const void *b) { return strcmp(((const entry *)a)->key, ((const entry *)b)->key); }

static int entry_compare_order(const void *a, const void *b) {
  const entry *x = a, *y = b;
  int keys = entry_compare(x, y);
  return keys ? keys : (x->order > y->order) - (x->order < y->order);
}

static void entries_sort(hmoec_random_parameters *self) {
  if (self->count == 0) return;
  qsort(self->entries, self->count, sizeof *self->entries, entry_compare_order);
  size_t kept = 1;
  for (size_t i = 1; i < self->count; i++) {
    if (strcmp(self->entries[i].key, self->entries[kept - 1].key) != 0) self->entries[kept++] = self->entries[i];
    else free(self->entries[i].key); /* one tensor under one key, with the role of its first use */
  }
  self->count = kept;
}

void hmoec_random_parameters_destroy(hmoec_random_parameters *parameters) {
  if (!parameters) return;
  for (size_t i = 0; i < parameters->count; i++) free(parameters->entries[i].key);
  free(parameters->entries);
  free(parameters);
}

hmoec_random_parameters *hmoec_random_parameters_create(MlirModule module, uint64_t seed) {
  hmoec_random_parameters *self = calloc(1, sizeof *self);
  bool ok = self != NULL;
  if (ok) self->seed = seed;
  for (MlirOperation function = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); ok && !mlirOperationIsNull(function);
       function = mlirOperationGetNextInBlock(function)) {
    if (hmoec_is_scalar_function(function)) continue;
    MlirBlock block = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
    for (MlirOperation op = mlirBlockGetFirstOperation(block); ok && !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
      if (hmoec_op_is(op, "hmoe.parameter")) ok = parameter_add(self, op);
  }
  if (ok) {
    entries_sort(self);
    return self;
  }
  hmoec_random_parameters_destroy(self);
  return NULL;
}

/* splitmix64's output function: every bit of the result depends on every bit of x. */
static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

static uint64_t stream_of(uint64_t seed, const char *key) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
  for (; *key; key++) hash = (hash ^ (unsigned char)*key) * UINT64_C(0x100000001b3);
  return mix(hash ^ mix(seed + UINT64_C(0x9e3779b97f4a7c15)));
}

static uint64_t bits_at(uint64_t stream, uint64_t index) { return mix(stream + (index + 1) * UINT64_C(0x9e3779b97f4a7c15)); }

uint64_t hmoec_random_bits(uint64_t seed, const char *key, uint64_t index) { return bits_at(stream_of(seed, key), index); }

/* Nearly normal, and the same everywhere: the sum of the four 16-bit parts of a hash, with mean and variance taken out. */
static float value_at(uint64_t stream, uint64_t index, double mean, double scale) {
  uint64_t bits = bits_at(stream, index);
  double sum = (double)((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
  return (float)(mean + scale * ((sum - 131070.0) / 37837.2274)); /* 37837.2274^2 = 4 (2^32 - 1) / 12 */
}

void hmoec_random_fill(uint64_t seed, const char *key, double scale, size_t count, float *out) {
  uint64_t stream = stream_of(seed, key);
  for (size_t i = 0; i < count; i++) out[i] = value_at(stream, i, 0, scale);
}

static bool get(void *user, const char *key, int64_t rank, const int64_t *dims, double *out, hmoec_diagnostics *diagnostics,
                hmoec_location location) {
  const hmoec_random_parameters *self = user;
  char first[HMOEC_MOST_KEY + 1]; /* of the names of a tied tensor */
  snprintf(first, sizeof first, "%.*s", (int)strcspn(key, "\n"), key);
  const entry wanted = {.key = first};
  const entry *found = self->count ? bsearch(&wanted, self->entries, self->count, sizeof wanted, entry_compare) : NULL;
  bool same = found && found->shape.rank == rank && memcmp(found->shape.dims, dims, (size_t)rank * sizeof *dims) == 0;
  if (!same) return hmoec_error(diagnostics, location, "the random parameters have no \"%s\" of this shape", key);
  uint64_t stream = stream_of(self->seed, found->key);
  int64_t count = hmoec_shape_elements(&found->shape);
  for (int64_t i = 0; i < count; i++) out[i] = (double)value_at(stream, (uint64_t)i, found->mean, found->scale);
  return true;
}

hmoec_parameter_source hmoec_random_parameters_source(hmoec_random_parameters *parameters) {
  return (hmoec_parameter_source){.get = get, .user = parameters};
}

static void json_string_write(FILE *stream, const char *text) {
  fputc('"', stream);
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') fprintf(stream, "\\%c", c);
    else if (c < 0x20) fprintf(stream, "\\u%04x", c);
    else fputc(c, stream);
  }
  fputc('"', stream);
}

/* {"key":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}, ...}, padded with spaces to a multiple of 8 bytes. */
static bool header_write(const hmoec_random_parameters *self, hmoec_output_file *file) {
  char *text = NULL;
  size_t size = 0;
  FILE *header = open_memstream(&text, &size);
  if (!header) return false;
  uint64_t offset = 0;
  for (size_t i = 0; i < self->count; i++) {
    const hmoec_shape *shape = &self->entries[i].shape;
    uint64_t end = offset + (uint64_t)hmoec_shape_elements(shape) * sizeof(float);
    fputc(i ? ',' : '{', header);
    json_string_write(header, self->entries[i].key);
    fputs(":{\"dtype\":\"F32\",\"shape\":[", header);
    for (int64_t axis = 0; axis < shape->rank; axis++) fprintf(header, "%s%" PRId64, axis ? "," : "", shape->dims[axis]);
    fprintf(header, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offset, end);
    offset = end;
  }
  fputs(self->count ? "}" : "{}", header);
  bool ok = fclose(header) == 0;
  uint64_t padded = (size + 7) / 8 * 8;
  unsigned char length[8];
  for (size_t i = 0; i < sizeof length; i++) length[i] = (unsigned char)(padded >> 8 * i);
  if (ok) {
    hmoec_output_file_write(file, length, sizeof length);
    hmoec_output_file_write(file, text, size);
    hmoec_output_file_write(file, "        ", padded - size);
  }
  free(text);
  return ok;
}

static void data_write(const hmoec_random_parameters *self, hmoec_output_file *file) {
  enum { CHUNK = 4096 };
  float chunk[CHUNK];
  for (size_t e = 0; e < self->count; e++) {
    uint64_t count = (uint64_t)hmoec_shape_elements(&self->entries[e].shape),
             stream_id = stream_of(self->seed, self->entries[e].key);
    for (uint64_t i = 0; i < count; i += CHUNK) {
      uint64_t part = count - i < CHUNK ? count - i : CHUNK;
      for (uint64_t j = 0; j < part; j++) chunk[j] = value_at(stream_id, i + j, self->entries[e].mean, self->entries[e].scale);
      hmoec_output_file_write(file, chunk, part * sizeof *chunk);
    }
  }
}

/* A sparse-looking model must not fill the disk before the last byte fails: what does not fit is refused first. */
static bool room_check(const hmoec_random_parameters *self, const hmoec_output_file *file, const char *path,
                       hmoec_diagnostics *diagnostics) {
  double bytes = 0;
  for (size_t i = 0; i < self->count; i++) bytes += (double)hmoec_shape_elements(&self->entries[i].shape) * sizeof(float);
  struct statvfs disk;
  if (fstatvfs(file->fd, &disk) != 0 || disk.f_blocks == 0) return true;
  double room = (double)disk.f_bavail * (double)disk.f_frsize;
  if (bytes <= room) return true;
  double unit = bytes < 1e9 ? 1e6 : 1e9;
  return hmoec_machine_error(diagnostics, "%s: random weights of %.1f %s do not fit into the %.3f that are free there", path,
                             bytes / unit, bytes < 1e9 ? "MB" : "GB", room / unit);
}

bool hmoec_random_weights_write(MlirModule module, uint64_t seed, const char *path, hmoec_diagnostics *diagnostics) {
  hmoec_output_file file;
  hmoec_random_parameters *parameters = hmoec_random_parameters_create(module, seed);
  if (!parameters) return hmoec_machine_error(diagnostics, "out of memory for random parameters");
  bool ok = hmoec_output_file_open(path, diagnostics, &file);
  if (ok && !room_check(parameters, &file, path, diagnostics)) {
    hmoec_output_file_abandon(&file);
    ok = false;
  } else if (ok && header_write(parameters, &file)) {
    data_write(parameters, &file);
    ok = hmoec_output_files_commit(&file, 1);
  } else if (ok) {
    hmoec_output_file_abandon(&file);
    ok = hmoec_machine_error(diagnostics, "out of memory for random parameters");
  }
  hmoec_random_parameters_destroy(parameters);
  return ok;
}
