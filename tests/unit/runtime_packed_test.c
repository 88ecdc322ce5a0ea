/* Packed weights: written, mapped back, shared; and every way such a file can be the wrong one. */
#include "runtime_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { VALUES = 3000 };

typedef struct toy {
  fixture_plan *plan;
  fixture_file file;
  hmoe_weights weights;
  const hmoe_model_object *object;
  float values[VALUES];
  char directory[64], path[96];
} toy;

static fixture_plan *make_plan(const char *name, uint64_t layout) {
  fixture_plan *plan = plan_create(name);
  uint32_t param = plan_param(plan, "v", 1, SHAPE(VALUES));
  fixture_entry *open = plan_entry(plan, "open");
  uint32_t packed = plan_weight(plan, open, VALUES * 4);
  plan_vector(plan, open, packed, param, VALUES);
  fixture_entry *run = plan_entry(plan, "run");
  uint32_t weights = plan_share(run, open, packed);
  plan_dim(run, HMOE_DIM_INPUT, 0, 0);
  uint32_t y = plan_output(plan, run, "y", 0, 4);
  plan_copy(plan, run, BINDINGS(AT(y), AT(weights)), VALUES * 4);
  plan->header.layout = layout;
  return plan;
}

static int setup(void **state) {
  toy *t = calloc(1, sizeof *t);
  t->plan = make_plan("vectors", 42);
  t->object = plan_finish(t->plan, NULL, 0);
  for (int i = 0; i < VALUES; i++) t->values[i] = (float)i;
  file_tensor(&t->file, "v", "F32", FILE_SHAPE(VALUES), t->values, sizeof t->values);
  t->weights = file_finish(&t->file);
  strcpy(t->directory, "/tmp/hmoe-packed-XXXXXX");
  assert_non_null(mkdtemp(t->directory));
  snprintf(t->path, sizeof t->path, "%s/toy.hmw", t->directory);
  hmoe_options options = fixture_options(1);
  hmoe_model *model;
  assert_ok(hmoe_model_open(t->object, &t->weights, &options, &model));
  assert_ok(hmoe_model_save(model, t->path));
  hmoe_model_close(model);
  *state = t;
  return 0;
}

static int teardown(void **state) {
  toy *t = *state;
  unlink(t->path);
  assert_int_equal(rmdir(t->directory), 0); /* and nothing else was left in it */
  file_deinit(&t->file);
  free(t->plan);
  free(t);
  return 0;
}

static hmoe_status open_packed(const toy *t, hmoe_weights weights, uint32_t flags) {
  hmoe_options options = fixture_options(1);
  options.flags = flags;
  hmoe_model *model;
  hmoe_status status = hmoe_model_open(t->object, &weights, &options, &model);
  if (status != HMOE_OK) {
    assert_null(model);
    return status;
  }
  float y[VALUES];
  assert_ok(hmoe_model_run(model, 1, (int64_t[]){VALUES}, NULL, (void *const[]){y}));
  if (flags & HMOE_VERIFY_WEIGHTS) assert_memory_equal(y, t->values, sizeof y);
  hmoe_model_close(model);
  return HMOE_OK;
}

static hmoe_status open_path(const toy *t, uint32_t flags) { return open_packed(t, (hmoe_weights){.path = t->path}, flags); }

static void test_round_trip(void **state) {
  toy *t = *state;
  assert_ok(open_path(t, 0));
  assert_ok(open_path(t, HMOE_VERIFY_WEIGHTS));
  int fd = open(t->path, O_RDONLY);
  assert_ok(open_packed(t, (hmoe_weights){.kind = HMOE_WEIGHTS_FD, .fd = fd}, HMOE_VERIFY_WEIGHTS));
  struct stat info;
  assert_int_equal(fstat(fd, &info), 0);
  assert_int_equal(info.st_size, 4096 + (VALUES * 4 + 63) / 64 * 64);
  uint8_t *memory = aligned_alloc(64, ((size_t)info.st_size + 127) / 64 * 64);
  assert_int_equal(read(fd, memory, (size_t)info.st_size), info.st_size);
  close(fd);
  assert_ok(open_packed(t, (hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = memory, .size_bytes = (size_t)info.st_size}, 0));
  memmove(memory + 4, memory, (size_t)info.st_size);
  assert_fails(
      open_packed(t, (hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = memory + 4, .size_bytes = (size_t)info.st_size}, 0),
      HMOE_INVALID_ARGUMENT, "64-byte aligned");
  free(memory);
  /* Saved again from the mapping: the same bytes. */
  hmoe_options options = fixture_options(1);
  hmoe_model *model;
  assert_ok(hmoe_model_open(t->object, &(hmoe_weights){.path = t->path}, &options, &model));
  assert_ok(hmoe_model_save(model, t->path));
  hmoe_model_close(model);
  assert_ok(open_path(t, 0));
}

static void patch(const toy *t, long offset, uint8_t mask) {
  FILE *file = fopen(t->path, "r+b");
  assert_non_null(file);
  fseek(file, offset, SEEK_SET);
  int byte = fgetc(file);
  fseek(file, offset, SEEK_SET);
  fputc(byte ^ mask, file);
  fclose(file);
}

static void test_damage(void **state) {
  toy *t = *state;
  /* Any bit of the header: not recognised, another version, or a wrong checksum. */
  for (long at = 0; at < 312; at++) {
    patch(t, at, (uint8_t)(1u << (at % 8)));
    hmoe_status status = open_path(t, 0);
    assert_true(status == HMOE_INVALID_WEIGHTS || (status == HMOE_INCOMPATIBLE && at >= 8 && at < 12));
    patch(t, at, (uint8_t)(1u << (at % 8)));
  }
  patch(t, 4096 + 777, 0x10);
  assert_fails(open_path(t, HMOE_VERIFY_WEIGHTS), HMOE_INVALID_WEIGHTS, "the data is damaged (its checksum does not match)");
  assert_ok(open_path(t, 0));
  patch(t, 4096 + 777, 0x10);
  assert_ok(open_path(t, HMOE_VERIFY_WEIGHTS));
}

/* A header that means harm has the right checksum: nothing in it but the data's own may be other than what the model expects. */
static void test_hostile_header(void **state) {
  toy *t = *state;
  enum { HASHED = 304, DATA_HASH = 40 };
  uint8_t header[HASHED + 8];
  FILE *file = fopen(t->path, "r+b");
  assert_non_null(file);
  assert_int_equal(fread(header, 1, sizeof header, file), sizeof header);
  static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
  for (size_t at = 0; at < HASHED; at++)
    for (size_t v = 0; v < sizeof values; v++) {
      uint8_t damaged[sizeof header];
      memcpy(damaged, header, sizeof header);
      damaged[at] = values[v];
      if (at % 8 == 0 && v == 4) memset(damaged + at, 0xff, 8); /* the largest number of a field */
      uint64_t hash = XXH3_64bits(damaged, HASHED);
      memcpy(damaged + HASHED, &hash, sizeof hash);
      rewind(file);
      assert_int_equal(fwrite(damaged, 1, sizeof damaged, file), sizeof damaged);
      fflush(file);
      bool same = memcmp(damaged, header, sizeof header) == 0, data_hash = at >= DATA_HASH && at < DATA_HASH + 8;
      hmoe_status status = open_path(t, 0);
      if (same || data_hash) assert_ok(status);
      else if (status != HMOE_INVALID_WEIGHTS && status != HMOE_INCOMPATIBLE) fail_msg("byte %zu = %u: %d", at, values[v], status);
      if (!same && data_hash)
        assert_fails(open_path(t, HMOE_VERIFY_WEIGHTS), HMOE_INVALID_WEIGHTS, "the data is damaged (its checksum does not match)");
    }
  fclose(file);
}

/* Large memory is the system's, and all of it goes back: what a mapping is longer for its alignment too. */
static void test_large_memory_goes_back(void **state) {
  (void)state;
  enum { TIMES = 2000, BYTES = 5 << 20, MOST_PAGES = (16 << 20) / 4096 };
  const hmoe_allocator allocator = hmoe_allocator_default();
  long pages[2] = {0};
  for (int i = 0; i <= TIMES; i++) {
    if (i == 1 || i == TIMES) {
      FILE *statm = fopen("/proc/self/statm", "r"); /* its first number: all pages that the process has an address for */
      assert_non_null(statm);
      assert_int_equal(fscanf(statm, "%ld", &pages[i == TIMES]), 1);
      fclose(statm);
    }
    void *memory;
    assert_ok(hmoe_allocate(&allocator, BYTES, "a test", &memory));
    assert_int_equal((uintptr_t)memory % (2 << 20), 0);
    hmoe_release(&allocator, memory, BYTES);
  }
  assert_true(pages[0] > 0 && pages[1] - pages[0] < MOST_PAGES);
}

/* More than a chunk of the checksum, and threads: any byte counts, any number of threads agrees. */
static void test_large(void **state) {
  toy *t = *state;
  enum { BYTES = 9 << 20 };
  static const hmoe_executor threads = {NULL, 3, fixture_parallel_for};
  static const char empty[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  fixture_plan *plan = plan_create("large");
  plan_weight(plan, plan_entry(plan, "open"), BYTES);
  const hmoe_model_object *object = plan_finish(plan, NULL, 0);
  hmoe_options options = fixture_options(1);
  options.allocator = NULL; /* large memory is mapped */
  hmoe_model *model;
  assert_ok(hmoe_model_open(object, &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .data = empty, .size_bytes = sizeof empty},
                            &options, &model));
  assert_int_equal((uintptr_t)model->arena % (2 << 20), 0);
  for (size_t i = 0; i < BYTES; i++) model->owned_arena[i] = (uint8_t)(i * 2654435761u >> 20);
  assert_ok(hmoe_model_save(model, t->path));
  hmoe_model_close(model);
  options.flags = HMOE_VERIFY_WEIGHTS;
  for (int round = 0; round < 2; round++) {
    options.executor = round ? &threads : NULL;
    assert_ok(hmoe_model_open(object, &(hmoe_weights){.path = t->path}, &options, &model));
    hmoe_model_close(model);
    for (long at = 0; at < BYTES; at += BYTES / 7) {
      patch(t, 4096 + at, 1);
      assert_fails(hmoe_model_open(object, &(hmoe_weights){.path = t->path}, &options, &model), HMOE_INVALID_WEIGHTS,
                   "damaged (its checksum does not match)");
      patch(t, 4096 + at, 1);
    }
  }
  free(plan);
}

static void test_size(void **state) {
  toy *t = *state;
  struct stat info;
  assert_int_equal(stat(t->path, &info), 0);
  assert_int_equal(truncate(t->path, info.st_size + 1), 0);
  assert_fails(open_path(t, 0), HMOE_INVALID_WEIGHTS, "too long...");
  for (long size = info.st_size - 1; size > 0; size -= size > 4200 ? 999 : 37) {
    assert_int_equal(truncate(t->path, size), 0);
    char message[256];
    if (size < 4096)
      snprintf(message, sizeof message, "%s: truncated: expected at least 4096 bytes, found %lld", t->path, (long long)size);
    else
      snprintf(message, sizeof message, "%s: truncated: expected %lld bytes, found %lld", t->path, (long long)info.st_size,
               (long long)size);
    assert_fails(open_path(t, 0), HMOE_INVALID_WEIGHTS, message);
  }
}

static void test_other_model(void **state) {
  toy *t = *state;
  static const struct {
    const char *name;
    uint64_t layout;
    const char *message;
  } cases[] = {
      {"vectors", 43, "packed for another model, strategy, dtype or compiler..."},
      {"matrices", 42, "packed for model 'vectors', this is 'matrices'"},
  };
  for (int i = 0; i < 2; i++) {
    fixture_plan *other = make_plan(cases[i].name, cases[i].layout);
    toy changed = *t;
    changed.object = plan_finish(other, NULL, 0);
    assert_fails(open_path(&changed, 0), HMOE_INCOMPATIBLE, cases[i].message);
    free(other);
  }
}

static void test_save_failures(void **state) {
  toy *t = *state;
  hmoe_options options = fixture_options(1);
  hmoe_model *model;
  assert_ok(hmoe_model_open(t->object, &t->weights, &options, &model));
  assert_fails(hmoe_model_save(model, "/nonexistent/toy.hmw"), HMOE_IO_ERROR,
               "/nonexistent/toy.hmw: cannot create: No such file or directory");
  assert_fails(hmoe_model_save(model, t->directory), HMOE_IO_ERROR,
               "cannot write: not a regular file"); /* teardown sees that no temporary is left */
  char beside[128];
  snprintf(beside, sizeof beside, "%s.", t->directory);
  assert_fails(hmoe_model_save(model, ""), HMOE_INVALID_ARGUMENT, "path must be given");
  assert_fails(hmoe_model_save(NULL, t->path), HMOE_INVALID_ARGUMENT, "model and path must be given");
  DIR *tmp = opendir("/tmp");
  const char *stem = strrchr(beside, '/') + 1;
  for (struct dirent *item; (item = readdir(tmp));) assert_int_not_equal(strncmp(item->d_name, stem, strlen(stem)), 0);
  closedir(tmp);
  hmoe_model_close(model);
}

/* ---- packing: a file that is written once, whole or not at all ---- */

/* The packed file's bytes; to be freed. */
static uint8_t *read_all(const char *path, size_t *out_size) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  uint8_t *bytes = malloc(1 << 20);
  assert_non_null(bytes);
  *out_size = fread(bytes, 1, 1 << 20, file);
  fclose(file);
  return bytes;
}

static int files_in(const char *directory) {
  DIR *folder = opendir(directory);
  assert_non_null(folder);
  int count = 0;
  for (struct dirent *item; (item = readdir(folder));) count += item->d_name[0] != '.';
  closedir(folder);
  return count;
}

/* Whether a process that ends early leaves nothing in the folder: the system can make files without a name. */
static bool has_unnamed_files(const char *directory) {
  int fd = open(directory, O_TMPFILE | O_RDWR, 0600);
  if (fd >= 0) close(fd);
  return fd >= 0 && access("/proc/self/fd", X_OK) == 0;
}

typedef struct watched {
  const toy *t;
  int calls, named;
} watched;

static void watch_folder(void *context, uint64_t done, uint64_t total) {
  watched *w = context;
  (void)done, (void)total;
  w->calls++;
  w->named = files_in(w->t->directory);
}

static hmoe_options counting_options(counting *c, hmoe_allocator *allocator) {
  *allocator = (hmoe_allocator){c, count_allocate, count_release};
  hmoe_options options = fixture_options(1);
  options.allocator = allocator;
  return options;
}

/* The same bytes as those of a model that is opened and saved, and of a header the zeros behind it. */
static void test_pack_in_place(void **state) {
  toy *t = *state;
  size_t saved_bytes, packed_bytes;
  uint8_t *saved = read_all(t->path, &saved_bytes);
  assert_int_equal(saved_bytes, 4096 + (VALUES * 4 + 63) / 64 * 64);
  for (size_t i = 312; i < 4096; i++) assert_int_equal(saved[i], 0);
  for (int existing = 1; existing >= 0; existing--) {
    if (!existing) unlink(t->path);
    counting c = {0};
    hmoe_allocator allocator;
    hmoe_options options = counting_options(&c, &allocator);
    watched w = {.t = t, .named = -1};
    options.progress = watch_folder;
    options.progress_context = &w;
    assert_ok(hmoe_model_pack(t->object, &t->weights, &options, t->path));
    assert_int_equal(c.live, 0);
    assert_int_equal(c.bytes, 0);
    assert_true(w.calls > 0);
    assert_int_equal(w.named, existing + !has_unnamed_files(t->directory));
    assert_int_equal(files_in(t->directory), 1);
    uint8_t *packed = read_all(t->path, &packed_bytes);
    assert_int_equal(packed_bytes, saved_bytes);
    assert_memory_equal(packed, saved, saved_bytes);
    free(packed);
    assert_ok(open_path(t, HMOE_VERIFY_WEIGHTS));
  }
  free(saved);
}

/* Into the working folder, whose name is not said. */
static void test_pack_without_folder(void **state) {
  toy *t = *state;
  char *here = getcwd(NULL, 0);
  assert_non_null(here);
  assert_int_equal(chdir(t->directory), 0);
  hmoe_options options = fixture_options(1);
  unlink("toy.hmw");
  hmoe_status status = hmoe_model_pack(t->object, &t->weights, &options, "toy.hmw");
  int files = files_in(".");
  assert_int_equal(chdir(here), 0);
  free(here);
  assert_ok(status);
  assert_int_equal(files, 1);
  assert_ok(open_path(t, HMOE_VERIFY_WEIGHTS));
}

/* Whatever fails, what was there is there, and nothing else. */
static void expect_untouched(const toy *t, const uint8_t *bytes, size_t size) {
  size_t found_size;
  uint8_t *found = read_all(t->path, &found_size);
  assert_int_equal(found_size, size);
  assert_memory_equal(found, bytes, size);
  free(found);
  assert_int_equal(files_in(t->directory), 1);
}

static void test_pack_without_memory(void **state) {
  toy *t = *state;
  size_t size;
  uint8_t *bytes = read_all(t->path, &size);
  int failures = 0;
  for (int n = 1, done = 0; !done; n++) {
    counting c = {.fail_at = n};
    hmoe_allocator allocator;
    hmoe_options options = counting_options(&c, &allocator);
    hmoe_status status = hmoe_model_pack(t->object, &t->weights, &options, t->path);
    if (status == HMOE_OK) done = 1;
    else {
      failures++;
      assert_fails(status, HMOE_OUT_OF_MEMORY, "no memory for...");
    }
    assert_int_equal(c.live, 0);
    assert_int_equal(c.bytes, 0);
    expect_untouched(t, bytes, size);
  }
  assert_true(failures >= 6);
  bool done = false;
  for (int n = 1; !done; n++) { /* and what saves an open model */
    counting c = {0};
    hmoe_allocator allocator;
    hmoe_options options = counting_options(&c, &allocator);
    hmoe_model *model;
    assert_ok(hmoe_model_open(t->object, &t->weights, &options, &model));
    int live = c.live;
    c.fail_at = c.calls + n;
    hmoe_status status = hmoe_model_save(model, t->path);
    done = status == HMOE_OK;
    if (!done)
      assert_fails(status, HMOE_OUT_OF_MEMORY,
                   n == 1 ? "no memory for the checksums of packed weights..." : "no memory for a file name...");
    else assert_int_equal(n, 3);
    assert_int_equal(c.live, live);
    hmoe_model_close(model);
    assert_int_equal(c.live, 0);
    expect_untouched(t, bytes, size);
  }
  free(bytes);
}

static void test_pack_failures(void **state) {
  toy *t = *state;
  size_t size;
  uint8_t *bytes = read_all(t->path, &size);
  counting c = {0};
  hmoe_allocator allocator;
  hmoe_options options = counting_options(&c, &allocator);
  char text[256];
  assert_fails(hmoe_model_pack(t->object, &t->weights, &options, "/nonexistent/toy.hmw"), HMOE_IO_ERROR,
               "/nonexistent/toy.hmw: cannot create: No such file or directory");
  snprintf(text, sizeof text, "%s: cannot write: not a regular file", t->directory);
  assert_fails(hmoe_model_pack(t->object, &t->weights, &options, t->directory), HMOE_IO_ERROR, text);
  static const char none[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  const hmoe_weights empty = {.kind = HMOE_WEIGHTS_MEMORY, .data = none, .size_bytes = sizeof none};
  assert_int_equal(hmoe_model_pack(t->object, &empty, &options, t->path), HMOE_INVALID_WEIGHTS);
  expect_untouched(t, bytes, size);

  /* A disk that is full, as far as this process may write: before the header's end, and in the data. */
  struct rlimit before, little;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
  hmoe_model *model;
  assert_ok(hmoe_model_open(t->object, &t->weights, &options, &model));
  hmoe_status packed[2], saved[2];
  char said[2][2][256];
  for (int i = 0; i < 2; i++) {
    little = before;
    little.rlim_cur = i ? 8192 : 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    packed[i] = hmoe_model_pack(t->object, &t->weights, &options, t->path);
    snprintf(said[i][0], sizeof said[i][0], "%s", hmoe_last_error());
    saved[i] = hmoe_model_save(model, t->path);
    snprintf(said[i][1], sizeof said[i][1], "%s", hmoe_last_error());
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  }
  signal(SIGXFSZ, handler);
  hmoe_model_close(model);
  snprintf(text, sizeof text, "%s: cannot write: File too large", t->path);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(packed[i], HMOE_IO_ERROR);
    assert_int_equal(saved[i], HMOE_IO_ERROR);
    assert_string_equal(said[i][0], text);
    assert_string_equal(said[i][1], text);
  }
  expect_untouched(t, bytes, size);
  assert_int_equal(c.live, 0);
  assert_int_equal(c.bytes, 0);
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
      cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
      cmocka_unit_test_setup_teardown(test_hostile_header, setup, teardown),
      cmocka_unit_test_setup_teardown(test_large, setup, teardown),
      cmocka_unit_test(test_large_memory_goes_back),
      cmocka_unit_test_setup_teardown(test_size, setup, teardown),
      cmocka_unit_test_setup_teardown(test_other_model, setup, teardown),
      cmocka_unit_test_setup_teardown(test_save_failures, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pack_in_place, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pack_without_folder, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pack_without_memory, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pack_failures, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
