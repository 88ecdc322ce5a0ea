/* Checkpoints in several files: their index, the files it names, directories; names of tied tensors; progress. */
#include "runtime_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PANEL_FLOATS = 32, OUT_FLOATS = 4 * PANEL_FLOATS };

/* ---- a model that shows its weights ---- */

typedef struct toy {
  fixture_plan *plan;
  const hmoe_model_object *object;
  char folder[64];
} toy;

static void pack(fixture_plan *plan, fixture_entry *open, uint32_t weights, uint64_t offset, uint32_t param, uint64_t groups) {
  plan_panels(plan, open, (hmoe_plan_binding){.buffer = weights, .offset_bytes = offset}, param, groups, 4, 1);
}

/* weights: "first" [4, 1], "stack.0", "stack.1" [4, 1], and the tied one [4, 1], by rows of 32; copied to the output. */
static toy *toy_create(const char *tied) {
  toy *t = calloc(1, sizeof *t);
  fixture_plan *plan = t->plan = plan_create("toy");
  uint32_t first = plan_param(plan, "first", 1, SHAPE(4, 1)), stack = plan_param(plan, "stack.{}", 2, SHAPE(4, 1));
  uint32_t last = plan_param(plan, tied, 1, SHAPE(4, 1));
  fixture_entry *open = plan_entry(plan, "open"), *run = plan_entry(plan, "run");
  uint32_t weights = plan_weight(plan, open, OUT_FLOATS * 4),
           copy = plan_buffer(open, HMOE_BUFFER_PARAM, last, 0, 16, 0, HMOE_NONE);
  pack(plan, open, weights, 0, first, 1);
  pack(plan, open, weights, 128, stack, 2);
  plan_copy(plan, open, BINDINGS({.buffer = weights, .offset_bytes = 384}, AT(copy)), 16);
  uint32_t out = plan_output(plan, run, "out", 0, 0), all = plan_share(run, open, weights);
  run->outputs[0].shape[0] = OUT_FLOATS;
  run->buffers[out].dim = HMOE_NONE;
  run->buffers[out].fixed_bytes = OUT_FLOATS * 4;
  plan_copy(plan, run, BINDINGS(AT(out), AT(all)), OUT_FLOATS * 4);
  t->object = plan_finish(plan, NULL, 0);
  strcpy(t->folder, "/tmp/hmoe-shards-XXXXXX");
  assert_non_null(mkdtemp(t->folder));
  return t;
}

static void toy_destroy(toy *t) {
  char command[128];
  snprintf(command, sizeof command, "rm -r %s", t->folder);
  assert_int_equal(system(command), 0);
  free(t->plan);
  free(t);
}

/* ---- files ---- */

static const char *path_of(const toy *t, const char *name) {
  static char path[512];
  snprintf(path, sizeof path, "%s/%s", t->folder, name);
  return path;
}

static void write_bytes(const toy *t, const char *name, const void *data, size_t size) {
  FILE *file = fopen(path_of(t, name), "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, size, file), size);
  fclose(file);
}

static void write_text(const toy *t, const char *name, const char *text) { write_bytes(t, name, text, strlen(text)); }

/* Each tensor is [4, 1] of its number, its number + 0.25, ... */
typedef struct named_tensor {
  const char *name;
  int number;
} named_tensor;

static void write_shard(const toy *t, const char *name, size_t count, const named_tensor *tensors) {
  fixture_file file = {0};
  for (size_t i = 0; i < count; i++) {
    float values[4];
    for (int k = 0; k < 4; k++) values[k] = (float)tensors[i].number + 0.25f * (float)k;
    file_tensor(&file, tensors[i].name, "F32", FILE_SHAPE(4, 1), values, sizeof values);
  }
  file_finish(&file);
  write_bytes(t, name, file.bytes, file.size_bytes);
  file_deinit(&file);
}
#define TENSORS(...)                                                                                                               \
  (sizeof((named_tensor[]){__VA_ARGS__}) / sizeof(named_tensor)), (const named_tensor[]) { __VA_ARGS__ }

#define INDEX_NAME "model.safetensors.index.json"
#define WHERE "\"first\": \"a.safetensors\", \"stack.0\": \"b.safetensors\", \"stack.1\": \"a.safetensors\""
#define INDEX(map) "{\"metadata\": {\"total_size\": 64}, \"weight_map\": {" map "}}"

static void write_all(const toy *t) {
  write_shard(t, "a.safetensors", TENSORS({"first", 1}, {"stack.1", 3}, {"unnamed", 9}));
  write_shard(t, "b.safetensors", TENSORS({"stack.0", 2}, {"tied", 4}));
  write_text(t, INDEX_NAME, INDEX(WHERE ", \"tied\": \"b.safetensors\", \"extra\": \"c.safetensors\""));
}

static hmoe_status open_path(const toy *t, const char *path, const hmoe_options *options, hmoe_model **out_model) {
  return hmoe_model_open(t->object, &(hmoe_weights){.kind = HMOE_WEIGHTS_PATH, .path = path}, options, out_model);
}

static void check_weights(hmoe_model *model, int last) {
  float out[OUT_FLOATS];
  assert_ok(hmoe_model_run(model, 1, NULL, NULL, (void *const[]){out}));
  for (int i = 0; i < OUT_FLOATS; i++) {
    int number = i / PANEL_FLOATS == 3 ? last : i / PANEL_FLOATS + 1, k = i % PANEL_FLOATS;
    assert_true(out[i] == (k < 4 ? (float)number + 0.25f * (float)k : 0));
  }
}

static hmoe_status open_and_check(const toy *t, const char *path, int last) {
  hmoe_model *model;
  hmoe_options options = fixture_options(1);
  hmoe_status status = open_path(t, path, &options, &model);
  if (status == HMOE_OK) check_weights(model, last);
  hmoe_model_close(model);
  return status;
}

/* ---- tests ---- */

static void collect_note(void *context, const char *message) { strcat(strcat(context, message), "\n"); }

static void test_paths(void **state) {
  (void)state;
  toy *t = toy_create("tied");
  write_all(t);
  char slash[128], notes[1024] = "", expected[600];
  snprintf(slash, sizeof slash, "%s/", t->folder);
  assert_ok(open_and_check(t, t->folder, 4));
  assert_ok(open_and_check(t, slash, 4));
  assert_ok(open_and_check(t, path_of(t, INDEX_NAME), 4));
  char index[128];
  strcpy(index, path_of(t, INDEX_NAME));
  assert_int_equal(rename(index, path_of(t, "other.json")), 0);
  assert_ok(open_and_check(t, path_of(t, "other.json"), 4)); /* an index is known by what it holds */

  /* Beside the index, without a directory in the name. */
  int here = open(".", O_RDONLY | O_DIRECTORY);
  assert_true(here >= 0 && chdir(t->folder) == 0);
  assert_ok(open_and_check(t, "other.json", 4));
  assert_int_equal(fchdir(here), 0);
  close(here);

  /* Tensors that the index names and the model does not need are remarked on; their files need not exist. */
  hmoe_options options = fixture_options(1);
  options.note = collect_note;
  options.note_context = notes;
  hmoe_model *model;
  assert_ok(open_path(t, path_of(t, "other.json"), &options, &model));
  hmoe_model_close(model);
  snprintf(expected, sizeof expected, "%s: 1 tensor is not used: extra\n", path_of(t, "other.json"));
  assert_string_equal(notes, expected);

  /* One file goes before an index. */
  write_text(t, INDEX_NAME, "{}");
  write_shard(t, "model.safetensors", TENSORS({"first", 1}, {"stack.0", 2}, {"stack.1", 3}, {"tied", 7}));
  assert_ok(open_and_check(t, t->folder, 7));
  assert_ok(open_and_check(t, path_of(t, "model.safetensors"), 7));
  toy_destroy(t);
}

static void test_directories(void **state) {
  (void)state;
  toy *t = toy_create("tied");
  char text[512];
  assert_fails(open_and_check(t, t->folder, 4), HMOE_IO_ERROR,
               "expected model.safetensors or model.safetensors.index.json in the directory, found neither");
  snprintf(text, sizeof text, "%s: expected model.safetensors or model.safetensors.index.json in the directory, found neither",
           t->folder);
  assert_string_equal(hmoe_last_error(), text);
  write_text(t, "pytorch_model.bin.index.json", "{}");
  assert_fails(open_and_check(t, t->folder, 4), HMOE_IO_ERROR,
               "found pytorch_model.bin.index.json: convert it in Python with save_pretrained(DIR, safe_serialization=True)");
  snprintf(text, sizeof text,
           "%s: expected model.safetensors or model.safetensors.index.json, found pytorch_model.bin.index.json: convert it in "
           "Python with "
           "save_pretrained(DIR, safe_serialization=True)",
           t->folder);
  assert_string_equal(hmoe_last_error(), text);
  write_text(t, "pytorch_model.bin", "PK");
  assert_fails(open_and_check(t, t->folder, 4), HMOE_IO_ERROR,
               "found pytorch_model.bin: convert it in Python with save_pretrained(DIR, safe_serialization=True)");
  assert_int_equal(mkdir(path_of(t, "model.safetensors"), 0700), 0);
  assert_fails(open_and_check(t, t->folder, 4), HMOE_IO_ERROR, "model.safetensors: expected a regular file, found a directory");
  assert_fails(open_and_check(t, path_of(t, "none"), 4), HMOE_IO_ERROR, "cannot open: No such file or directory");
  assert_fails(open_and_check(t, "", 4), HMOE_IO_ERROR, "cannot open: No such file or directory");
  toy_destroy(t);
}

static void test_indexes(void **state) {
  (void)state;
  static const struct {
    const char *index;
    hmoe_status status;
    const char *message; /* NULL: it is good */
  } cases[] = {
      {INDEX(WHERE ", \"tied\": \"b.safetensors\""), HMOE_OK, NULL},
      {" \n{\"weight_map\": {" WHERE ", \"tied\": \"b.safetensors\"}, \"more\": [1]}\n ", HMOE_OK, NULL},
      {"{}", HMOE_INVALID_WEIGHTS, "expected an index, found an object without weight_map"},
      {"{\"weight_map\": []}", HMOE_INVALID_WEIGHTS, "weight_map: expected an object of file names"},
      {"{\"weight_map\": {}, \"weight_map\": {}}", HMOE_INVALID_WEIGHTS, "the key 'weight_map' is there twice, at bytes 1 and 19"},
      {"{\"weight_map\": {}}", HMOE_INVALID_WEIGHTS, "no tensor 'first', and 3 more are missing"},
      {"{\"weight_map\": {\"first\": 3}}", HMOE_INVALID_WEIGHTS, "expected a file name for tensor 'first'"},
      {"{\"weight_map\": {\"first\": \"a\"", HMOE_INVALID_WEIGHTS, "index: not valid JSON at byte..."},
      {"{\"weight_map\": {}} {}", HMOE_INVALID_WEIGHTS, "expected only blanks after the object..."},
      {INDEX(WHERE), HMOE_INVALID_WEIGHTS, INDEX_NAME ": no tensor 'tied'"},
      {INDEX(WHERE ", \"tied\": \"b.safetensors\", \"first\": \"b.safetensors\""), HMOE_INVALID_WEIGHTS,
       "the key 'first' is there twice, at bytes..."},
      {INDEX("\"first\": \"../a.safetensors\""), HMOE_INVALID_WEIGHTS,
       "expected the name of a file beside the index, found '../a.safetensors'"},
      {INDEX("\"first\": \"/tmp/a.safetensors\""), HMOE_INVALID_WEIGHTS, "found '/tmp/a.safetensors'"},
      {INDEX("\"first\": \"..\""), HMOE_INVALID_WEIGHTS, "found '..'"},
      {INDEX("\"first\": \".\""), HMOE_INVALID_WEIGHTS, "found '.'"},
      {INDEX("\"first\": \"\""), HMOE_INVALID_WEIGHTS, "found ''"},
      {INDEX("\"unneeded\": \"x/y\", " WHERE), HMOE_INVALID_WEIGHTS,
       "tensor 'unneeded': expected the name of a file beside the index, found 'x/y'"},
      {INDEX("\"first\": \"" INDEX_NAME "\""), HMOE_INVALID_WEIGHTS, "tensor 'first': the index is cyclic: it names itself"},
      {INDEX(WHERE ", \"tied\": \"second.json\""), HMOE_INVALID_WEIGHTS,
       "tensor 'tied' is in 'second.json', which is an index itself: cyclic"},
      {INDEX(WHERE ", \"tied\": \"c.safetensors\""), HMOE_IO_ERROR, "tensor 'tied' is in /tmp/hmoe-shards-..."},
      {INDEX(WHERE ", \"tied\": \"c.safetensors\""), HMOE_IO_ERROR, "c.safetensors: cannot open: No such file or directory"},
      {INDEX(WHERE ", \"tied\": \"a.safetensors\""), HMOE_INVALID_WEIGHTS,
       INDEX_NAME ": no tensor 'tied' in 'a.safetensors', where the index says it is"},
      {INDEX(WHERE ", \"tied\": \"broken.safetensors\""), HMOE_INVALID_WEIGHTS,
       "/broken.safetensors: expected a safetensors or .hmw file, found..."},
      {INDEX(WHERE ", \"tied\": \"shape.safetensors\""), HMOE_INVALID_WEIGHTS,
       "/shape.safetensors: tensor 'tied': expected shape [4, 1], found [4]"},
  };
  toy *t = toy_create("tied");
  write_all(t);
  write_text(t, "second.json", INDEX(WHERE));
  write_text(t, "broken.safetensors", "?????????");
  fixture_file file = {0};
  file_tensor(&file, "tied", "F32", FILE_SHAPE(4), (const float[4]){0}, 16);
  file_finish(&file);
  write_bytes(t, "shape.safetensors", file.bytes, file.size_bytes);
  file_deinit(&file);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_text(t, INDEX_NAME, cases[i].index);
    hmoe_status status = open_and_check(t, t->folder, 4);
    if (!cases[i].message) assert_ok(status);
    else assert_fails(status, cases[i].status, cases[i].message);
  }
  /* An index alone is not enough where there are no files beside it. */
  const char *text = cases[0].index;
  hmoe_model *model;
  assert_fails(hmoe_model_open(t->object,
                               &(hmoe_weights){.kind = HMOE_WEIGHTS_MEMORY, .path = "m", .data = text, .size_bytes = strlen(text)},
                               NULL, &model),
               HMOE_INVALID_WEIGHTS, "m: an index of several files is opened by its path");
  write_text(t, INDEX_NAME, text);
  int fd = open(path_of(t, INDEX_NAME), O_RDONLY);
  assert_fails(hmoe_model_open(t->object, &(hmoe_weights){.kind = HMOE_WEIGHTS_FD, .fd = fd}, NULL, &model), HMOE_INVALID_WEIGHTS,
               "is opened by its path");
  close(fd);
  fd = open(path_of(t, "large.json"), O_RDWR | O_CREAT, 0600);
  assert_true(write(fd, text, strlen(text)) > 0 && ftruncate(fd, (100 << 20) + 1) == 0);
  close(fd);
  assert_fails(open_and_check(t, path_of(t, "large.json"), 4), HMOE_INVALID_WEIGHTS,
               "an index of 104857601 bytes is not plausible");
  toy_destroy(t);
}

static void test_aliases(void **state) {
  (void)state;
  static const struct {
    const char *key;
    int last; /* 0: it fails */
    const char *message;
  } cases[] = {
      {"tied\nhead", 4, NULL},
      {"head\ntied", 4, NULL}, /* both are there, and equal */
      {"none\nhead\ntied", 4, NULL},
      {"tied\nother", 0, "'tied' and 'other' are names of one tied tensor in this model, but their contents differ"},
      {"none\nhead\nother\ntied", 0, "'head' and 'other' are names of one tied tensor in this model, but their contents differ"},
      {"lost\ntied", 4, NULL}, /* the index names it, no file has it: another name is there */
      {"none\nmore", 0, "no tensor 'none' or 'more'"},
      {"none\nmore\nleast", 0, "no tensor 'none' or 'more' or 'least'"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    toy *t = toy_create(cases[i].key);
    write_all(t);
    write_text(t, INDEX_NAME,
               INDEX(WHERE ", \"tied\": \"b.safetensors\", \"head\": \"c.safetensors\", \"other\": \"c.safetensors\", "
                           "\"lost\": \"a.safetensors\""));
    write_shard(t, "c.safetensors", TENSORS({"head", 4}, {"other", 5}));
    write_shard(t, "one.safetensors",
                TENSORS({"first", 1}, {"stack.0", 2}, {"stack.1", 3}, {"tied", 4}, {"head", 4}, {"other", 5}));
    const char *names[] = {INDEX_NAME, "one.safetensors"};
    for (int k = 0; k < 2; k++) {
      hmoe_status status = open_and_check(t, path_of(t, names[k]), cases[i].last);
      if (cases[i].last) assert_ok(status);
      else assert_fails(status, HMOE_INVALID_WEIGHTS, cases[i].message);
    }
    toy_destroy(t);
  }
  static const struct {
    const char *key;
    uint32_t count;
    const char *message;
  } bad[] = {
      {"\n", 1, "a name of 0 characters"},
      {"a\n", 1, "a name of 0 characters"},
      {"\na", 1, "a name of 0 characters"},
      {"a\n\nb", 1, "a name of 0 characters"},
      {"a.{}\nb.{}", 2, "2 tensors need one..."},
      {"a.{}\nb", 2, "a stack of tensors has one name"},
      {"a.{}\nb", 1, "a stack of tensors has one..."},
      {"", 1, "a name of 0 characters"},
      {"a\nb", 2, "2 tensors need one..."},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    fixture_plan *plan = plan_create("bad");
    plan_param(plan, bad[i].key, bad[i].count, SHAPE(1));
    plan_entry(plan, "open");
    hmoe_model *model;
    assert_fails(hmoe_model_open(plan_finish(plan, NULL, 0), &(hmoe_weights){.path = "/dev/null"}, NULL, &model), HMOE_INCOMPATIBLE,
                 bad[i].message);
    free(plan);
  }
}

/* "module." and the like in front of keys: of the checkpoint, of the model, of both. */
static void test_wrapped(void **state) {
  (void)state;
  static const struct {
    const char *key; /* of the last parameter; the others are first, stack.0 and stack.1 */
    named_tensor tensors[5];
    int last; /* 0: it fails */
    const char *message;
  } cases[] = {
      {"tied", {{"module.first", 1}, {"module.stack.0", 2}, {"module.stack.1", 3}, {"module.tied", 4}}, 4, NULL},
      {"tied",
       {{"_orig_mod.module.first", 1}, {"_orig_mod.module.stack.0", 2}, {"model.stack.1", 3}, {"model.model.tied", 4}},
       4,
       NULL},
      {"transformer.tied", {{"first", 1}, {"stack.0", 2}, {"stack.1", 3}, {"tied", 4}}, 4, NULL},
      {"transformer.tied", {{"first", 1}, {"stack.0", 2}, {"stack.1", 3}, {"module.transformer.tied", 4}}, 4, NULL},
      {"tied\nhead", {{"first", 1}, {"stack.0", 2}, {"stack.1", 3}, {"module.tied", 4}, {"module.head", 4}}, 4, NULL},
      {"tied\nhead",
       {{"first", 1}, {"stack.0", 2}, {"stack.1", 3}, {"module.tied", 4}, {"module.head", 5}},
       0,
       "'module.tied' and 'module.head' are names of one tied tensor in this model, but their contents differ"},
      {"tied", {{"first", 1}, {"stack.0", 2}, {"stack.1", 3}, {"tied", 4}, {"model.tied", 5}}, 4, NULL}, /* its own name counts */
      {"tied", {{"first", 1}, {"stack.0", 2}, {"stack.1", 3}, {"module.tied", 4}, {"model.tied", 4}}, 4, NULL},
      {"tied",
       {{"first", 1}, {"stack.0", 2}, {"stack.1", 3}, {"module.tied", 4}, {"model.tied", 5}},
       0,
       "'model.tied' and 'module.tied' are names of one tied tensor in this model, but their contents differ"},
      {"tied", {{"first", 1}, {"stack.0", 2}, {"stack.1", 3}, {"ema.tied", 4}, {"modeltied", 5}}, 0, "no tensor 'tied'"},
      /* A tensor is not two. */
      {"model.first",
       {{"first", 1}, {"stack.0", 2}, {"stack.1", 3}},
       0,
       "no tensor 'model.first': 'first' is that of another parameter"},
      {"model.first",
       {{"model.first", 1}, {"stack.0", 2}, {"stack.1", 3}},
       0,
       "no tensor 'model.first': 'model.first' is that of another parameter"}, /* by its core, before its own name was asked for */
      {"first", {{"first", 1}, {"stack.0", 2}, {"stack.1", 3}}, 1, NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    toy *t = toy_create(cases[i].key);
    size_t count = 0;
    while (count < 5 && cases[i].tensors[count].name) count++;
    write_shard(t, "model.safetensors", count, cases[i].tensors);
    hmoe_status status = open_and_check(t, t->folder, cases[i].last);
    if (cases[i].last) assert_ok(status);
    else assert_fails(status, HMOE_INVALID_WEIGHTS, cases[i].message);
    char index[1024] = "{\"weight_map\": {";
    for (size_t k = 0; k < count; k++)
      snprintf(index + strlen(index), sizeof index - strlen(index), "%s\"%s\": \"model.safetensors\"", k ? ", " : "",
               cases[i].tensors[k].name);
    write_text(t, "i.json", strcat(index, "}}"));
    assert_int_equal(open_and_check(t, path_of(t, "i.json"), cases[i].last), status);
    toy_destroy(t);
  }
}

static void test_every_allocation_can_fail(void **state) {
  (void)state;
  toy *t = toy_create("head\ntied");
  write_all(t);
  hmoe_status status = HMOE_OUT_OF_MEMORY;
  int failures = 0;
  for (int n = 1; status != HMOE_OK; n++) {
    counting c = {.fail_at = n};
    hmoe_options options = fixture_options(1);
    options.allocator = &(hmoe_allocator){&c, count_allocate, count_release};
    hmoe_model *model;
    status = open_path(t, t->folder, &options, &model);
    if (status != HMOE_OK) assert_fails(status, HMOE_OUT_OF_MEMORY, "no memory for...");
    failures += status != HMOE_OK;
    hmoe_model_close(model);
    assert_int_equal(c.live, 0);
    assert_int_equal(c.bytes, 0);
  }
  assert_true(failures >= 12);
  toy_destroy(t);
}

/* ---- progress ---- */

typedef struct told {
  pthread_t thread;
  int calls;
  uint64_t done, total;
} told;

static void tell(void *context, uint64_t done, uint64_t total) {
  told *seen = context;
  assert_true(pthread_equal(seen->thread, pthread_self()));
  assert_true(done >= seen->done && done <= total && (!seen->calls || total == seen->total));
  assert_true(!seen->calls || seen->done < total); /* all of it is told once */
  *seen = (told){seen->thread, seen->calls + 1, done, total};
}

/* Each step takes longer than the pause between calls. */
static void slow_parallel_for(void *context, size_t count, void (*task)(void *, size_t), void *task_context) {
  (void)context;
  usleep(11000);
  for (size_t i = 0; i < count; i++) task(task_context, i);
}

static void test_progress(void **state) {
  (void)state;
  static const hmoe_executor executors[] = {{NULL, 2, fixture_parallel_for}, {NULL, 2, slow_parallel_for}};
  toy *t = toy_create("tied");
  write_all(t);
  for (int i = 0; i < 4; i++) {
    told seen = {.thread = pthread_self()};
    hmoe_options options = fixture_options(i < 2 ? (uint32_t)i + 1 : 0);
    if (i >= 2) options.executor = &executors[i - 2];
    options.progress = tell;
    options.progress_context = &seen;
    hmoe_model *model;
    assert_ok(open_path(t, t->folder, &options, &model));
    check_weights(model, 4);
    assert_int_equal(seen.total, 4 * 16);
    assert_int_equal(seen.done, seen.total);
    assert_true(seen.calls >= (i == 3 ? 2 : 1) && seen.calls <= 10);
    for (int again = 0; i < 3 && seen.calls > 1 && again < 100; again++) { /* the machine had other things to do */
      hmoe_model_close(model);
      seen = (told){.thread = pthread_self()};
      assert_ok(open_path(t, t->folder, &options, &model));
    }
    assert_true(i == 3 || seen.calls == 1); /* nothing is told before the first pause is over */

    /* Packed weights are not packed again. */
    assert_ok(hmoe_model_save(model, path_of(t, "toy.hmw")));
    hmoe_model_close(model);
    seen = (told){.thread = pthread_self()};
    assert_ok(open_path(t, path_of(t, "toy.hmw"), &options, &model));
    check_weights(model, 4);
    assert_int_equal(seen.calls, 0);
    hmoe_model_close(model);
  }
  toy_destroy(t);
}

/* What each step has read is counted when it has: before a step's first task is done, all of the steps before it, no more and no less. A
 * parameter that two steps read counts half for each. */
typedef struct tale {
  int count;
  uint64_t done[64], total;
} tale;

static void write_down(void *context, uint64_t done, uint64_t total) {
  tale *told = context;
  assert_true(told->count < 64);
  told->done[told->count++] = done;
  told->total = total;
}

static void test_progress_of_steps(void **state) {
  (void)state;
  enum { FLOATS = 256, BYTES = 4 * FLOATS, STEPS = 8, PARAMS = 7 };
  static const hmoe_executor executor = {NULL, 2, slow_parallel_for};
  static const uint64_t shares[STEPS] = {BYTES / 2, BYTES, BYTES, BYTES, BYTES, BYTES, BYTES, BYTES / 2};
  fixture_plan *plan = plan_create("steps");
  fixture_entry *e = plan_entry(plan, "open");
  fixture_file file = {0};
  float values[FLOATS] = {0};
  uint32_t params[PARAMS], to[STEPS];
  for (int i = 0; i < PARAMS; i++) {
    char name[8];
    snprintf(name, sizeof name, i == 6 ? "s.{}" : "p%d", i);
    params[i] = i == 6 ? plan_param(plan, name, 2, SHAPE(FLOATS / 2)) : plan_param(plan, name, 1, SHAPE(FLOATS));
    snprintf(name, sizeof name, i == 6 ? "s.0" : "p%d", i);
    file_tensor(&file, name, "F32", FILE_SHAPE(i == 6 ? FLOATS / 2 : FLOATS), values, i == 6 ? BYTES / 2 : BYTES);
  }
  file_tensor(&file, "s.1", "F32", FILE_SHAPE(FLOATS / 2), values, BYTES / 2);
  for (int i = 0; i < STEPS; i++) to[i] = plan_weight(plan, e, 64 * 64 * 4);
#define MATRIX(number, columns_, to_layout, to_format, rows)                                                                       \
  plan_step(plan, e, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(to[number])),                                                          \
            FIELDS(pack, .source = {params[number], 0, 0, {1, 0}, {columns_, 4}, {1, 0}, {1, 0}, {4, 1}},                          \
                   .destination = {                                                                                                \
                       .layout = to_layout, .format = to_format, .columns = columns_, .generated_rows = 1, .operand_rows = rows}))
  static const hmoe_pack_destination vector = {
      .layout = HMOE_LAYOUT_VECTOR, .columns = FLOATS / 2, .generated_rows = 1, .group_bytes = BYTES / 2};
  for (int last = 0; last < 2; last++) {
    plan_step(
        plan, e, HMOE_STEP_PACK, HMOE_NONE, BINDINGS(AT(to[last ? 7 : 0])),
        FIELDS(pack, .source = {params[0], 0, 0, {2, FLOATS / 2}, {FLOATS / 2, 1}, {1, 0}, {1, 0}, {1, 0}}, .destination = vector));
    if (last) break;
    MATRIX(1, 64, HMOE_LAYOUT_PANELS, HMOE_FORMAT_F32, 4);
    MATRIX(2, 64, HMOE_LAYOUT_COLUMNS, HMOE_FORMAT_F32, 4);
    MATRIX(3, 64, HMOE_LAYOUT_PLANES, HMOE_FORMAT_BF16, 64);
    MATRIX(4, 64, HMOE_LAYOUT_PANELS, HMOE_FORMAT_BF16, 4);
    MATRIX(5, 32, HMOE_LAYOUT_PANELS, HMOE_FORMAT_F32, 4);
    uint32_t copy = plan_buffer(e, HMOE_BUFFER_PARAM, params[6], 0, BYTES, 0, HMOE_NONE);
    plan_copy(plan, e, BINDINGS(AT(to[6]), AT(copy)), BYTES);
  }
  hmoe_weights weights = file_finish(&file);
  tale told = {0};
  hmoe_options options = fixture_options(0);
  options.executor = &executor;
  options.progress = write_down;
  options.progress_context = &told;
  hmoe_model *model;
  assert_ok(hmoe_model_open(plan_finish(plan, NULL, 0), &weights, &options, &model));
  hmoe_model_close(model);
  assert_int_equal(told.total, PARAMS * BYTES);
  assert_int_equal(told.done[told.count - 1], told.total);
  for (int i = 0; i < told.count; i++) assert_int_equal(told.done[i] % sizeof(float), 0);
  uint64_t before = 0;
  int at = 0;
  for (int i = 0; i < STEPS; before += shares[i++]) {
    if (i == 5) continue; /* one panel: one task, which nobody waits before */
    while (at < told.count && told.done[at] <= before) at++;
    if (at == told.count || told.done[at] > before + shares[i])
      fail_msg("step %d: expected more than %llu and at most %llu, found %lld", i, (unsigned long long)before,
               (unsigned long long)(before + shares[i]), at < told.count ? (long long)told.done[at] : -1);
  }
  file_deinit(&file);
  free(plan);
}

/* Files that were mapped are not, when the model is closed; nor are those that were refused. */
static void test_mappings_go_back(void **state) {
  (void)state;
  toy *t = toy_create("tied");
  write_all(t);
  int lines[2] = {0}, files[2] = {0};
  for (int i = 0; i <= 40; i++) {
    if (i == 1 || i == 40) {
      FILE *maps = fopen("/proc/self/maps", "r");
      assert_non_null(maps);
      for (int c; (c = fgetc(maps)) != EOF;) lines[i == 40] += c == '\n';
      fclose(maps);
      files[i == 40] = dup(0);
      close(files[i == 40]);
    }
    assert_ok(open_and_check(t, t->folder, 4));
  }
  assert_true(lines[1] < lines[0] + 10);
  assert_int_equal(files[0], files[1]);
  toy_destroy(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_paths),    cmocka_unit_test(test_directories),       cmocka_unit_test(test_indexes),
      cmocka_unit_test(test_aliases),  cmocka_unit_test(test_wrapped),           cmocka_unit_test(test_every_allocation_can_fail),
      cmocka_unit_test(test_progress), cmocka_unit_test(test_progress_of_steps), cmocka_unit_test(test_mappings_go_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
