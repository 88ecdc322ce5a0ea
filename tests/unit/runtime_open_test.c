/* What open checks before it runs anything: options of any age, CPU and thread choice, the plan, the checkpoint against the plan. */
#include "runtime_fixture.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void add_row(const hmoe_kernel_call *call, int64_t task, void *scratch) {
  (void)scratch;
  ((float *)call->buffers[1])[task] = ((const float *)call->buffers[0])[task] + ((const float *)call->buffers[2])[0];
}

static const hmoe_kernel_fn kernels[] = {add_row};

typedef struct toy {
  fixture_plan *plan;
  fixture_file file;
  hmoe_weights weights;
  const hmoe_model_object *object;
} toy;

static fixture_plan *make_plan(void) {
  fixture_plan *plan = plan_create("adder");
  uint32_t bias = plan_param(plan, "bias", 1, SHAPE(3)), experts = plan_param(plan, "experts.{}.w", 2, SHAPE(4, 2));
  plan_cache(plan, 2, 64, 1);
  fixture_entry *open = plan_entry(plan, "open");
  uint32_t packed = plan_weight(plan, open, 16), panels = plan_weight(plan, open, 2 * 256);
  plan_vector(plan, open, packed, bias, 3);
  plan_panels(plan, open, (hmoe_plan_binding)AT(panels), experts, 2, 4, 2);
  fixture_entry *run = plan_entry(plan, "run");
  uint32_t tokens = plan_dim(run, HMOE_DIM_INPUT, 0, 0);
  uint32_t x = plan_input(plan, run, "x", 0, 4), y = plan_output(plan, run, "y", 0, 4), weights = plan_share(run, open, packed);
  uint32_t copy = plan_temporary(run, 0, 4, tokens);
  plan_kernel(plan, run, 0, tokens, BINDINGS(AT(x), AT(copy), AT(weights)));
  plan_step(plan, run, HMOE_STEP_LOOP, tokens, BINDINGS(AT(HMOE_NONE)),
            FIELDS(loop, .kind = HMOE_LOOP_ROWS, .steps = 1, .chunk = 5));
  plan_kernel(plan, run, 0, tokens, BINDINGS(AT(x), AT(y), AT(weights)));
  return plan;
}

static const float bias_values[3] = {7, 8, 9}, expert_values[8] = {1, 2, 3, 4, 5, 6, 7, 8};

static toy *toy_create(void) {
  toy *t = calloc(1, sizeof *t);
  t->plan = make_plan();
  t->object = plan_finish(t->plan, kernels, 1);
  file_tensor(&t->file, "bias", "F32", FILE_SHAPE(3), bias_values, 12);
  file_tensor(&t->file, "experts.0.w", "F32", FILE_SHAPE(4, 2), expert_values, 32);
  file_tensor(&t->file, "experts.1.w", "F32", FILE_SHAPE(4, 2), expert_values, 32);
  t->weights = file_finish(&t->file);
  return t;
}

static void toy_destroy(toy *t) {
  file_deinit(&t->file);
  free(t->plan);
  free(t);
}

static void check_run(hmoe_model *model) {
  float x[6] = {1, 2, 3, 4, 5, 6}, y[6] = {0};
  assert_ok(hmoe_model_run(model, 1, (int64_t[]){6}, (const void *const[]){x}, (void *const[]){y}));
  for (int i = 0; i < 6; i++) assert_true(y[i] == x[i] + 7);
}

static hmoe_status open_with(const toy *t, const hmoe_options *options) {
  hmoe_model *model = (hmoe_model *)(void *)t->plan;
  hmoe_status status = hmoe_model_open(t->object, &t->weights, options, &model);
  if (status == HMOE_OK) check_run(model);
  else assert_null(model);
  hmoe_model_close(model);
  return status;
}

static void test_status(void **state) {
  (void)state;
  assert_string_equal(hmoe_status_string(HMOE_OK), "ok");
  assert_string_equal(hmoe_status_string(HMOE_INVALID_WEIGHTS), "invalid weights");
  assert_string_equal(hmoe_status_string((hmoe_status)99), "unknown status");
  assert_string_equal(hmoe_version(), HMOE_VERSION);
  char long_text[2 * HMOE_MESSAGE_BYTES];
  memset(long_text, 'x', sizeof long_text - 1);
  long_text[sizeof long_text - 1] = 0;
  assert_int_equal(hmoe_fail(HMOE_INTERNAL, "%s", long_text), HMOE_INTERNAL);
  assert_true(strlen(hmoe_last_error()) > 4096 && strlen(hmoe_last_error()) < sizeof long_text - 1); /* a path fits */
}

static void test_null_arguments(void **state) {
  (void)state;
  toy *t = toy_create();
  hmoe_model *model;
  assert_fails(hmoe_model_open(t->object, &t->weights, NULL, NULL), HMOE_INVALID_ARGUMENT, "out_model is NULL");
  assert_fails(hmoe_model_open(NULL, &t->weights, NULL, &model), HMOE_INVALID_ARGUMENT, "object is NULL");
  assert_fails(hmoe_model_open(t->object, NULL, NULL, &model), HMOE_INVALID_ARGUMENT, "weights is NULL");
  assert_ok(open_with(t, NULL));
  toy_destroy(t);
}

static void test_option_sizes(void **state) {
  (void)state;
  toy *t = toy_create();
  struct {
    hmoe_options known;
    uint64_t unknown[2];
  } newer = {.known = {.struct_size = sizeof newer, .threads = 1}};
  assert_ok(open_with(t, &newer.known));
  newer.unknown[1] = 1;
  assert_fails(open_with(t, &newer.known), HMOE_INVALID_ARGUMENT, "that hmoe " HMOE_VERSION " does not know");
  /* An older caller's structure ends early: what lies behind it is not read. */
  hmoe_options older = {.struct_size = offsetof(hmoe_options, executor), .threads = 1, .executor = (void *)1, .cpu = "none"};
  assert_ok(open_with(t, &older));
  assert_fails(open_with(t, &(hmoe_options){.threads = 1}), HMOE_INVALID_ARGUMENT, "struct_size...");
  assert_fails(open_with(t, &(hmoe_options){.struct_size = 4}), HMOE_INVALID_ARGUMENT, "struct_size...");
  assert_fails(open_with(t, &(hmoe_options){.struct_size = SIZE_MAX}), HMOE_INVALID_ARGUMENT, "struct_size...");
  toy_destroy(t);
}

static void test_option_values(void **state) {
  (void)state;
  toy *t = toy_create();
  hmoe_options options = fixture_options(1);
  options.flags = 0x80;
  assert_fails(open_with(t, &options), HMOE_INVALID_ARGUMENT, "flags: unknown bits in 0x80");
  options = fixture_options(100000);
  assert_fails(open_with(t, &options), HMOE_INVALID_ARGUMENT, "threads: expected at most 4096, found 100000");
  options = fixture_options(1);
  options.device = "abacus";
  assert_fails(open_with(t, &options), HMOE_UNSUPPORTED, "found \"abacus\"");
  options.device = "cpu";
  assert_ok(open_with(t, &options));
  options.executor = &(hmoe_executor){.threads = 1};
  assert_fails(open_with(t, &options), HMOE_INVALID_ARGUMENT,
               "executor: expected parallel_for and 1 to 4096 threads, found NULL and 1");
  options.executor = &(hmoe_executor){.parallel_for = fixture_parallel_for};
  assert_fails(open_with(t, &options), HMOE_INVALID_ARGUMENT, "found a function and 0");
  options.executor = NULL;
  options.allocator = &(hmoe_allocator){0};
  assert_fails(open_with(t, &options), HMOE_INVALID_ARGUMENT, "allocator: allocate and release must both be set");
  toy_destroy(t);
}

#if defined(__x86_64__)
/* Machines that have all but one bit: which version lacks it, and what it is called; and one that has only these bits. */
static void test_features(void **state) {
  (void)state;
  static const struct {
    int where, bit, needed_by;
    const char *name;
  } features[] = {
      {HMOE_CPU_LEAF1_ECX, 12, HMOE_CPU_AVX2, "FMA"},
      {HMOE_CPU_LEAF1_ECX, 28, HMOE_CPU_AVX2, "AVX"},
      {HMOE_CPU_LEAF7_EBX, 5, HMOE_CPU_AVX2, "AVX2"},
      {HMOE_CPU_XCR0, 1, HMOE_CPU_AVX2, "the system's support of 256-bit registers (XCR0)"},
      {HMOE_CPU_XCR0, 2, HMOE_CPU_AVX2, "the system's support of 256-bit registers (XCR0)"},
      {HMOE_CPU_LEAF7_EBX, 16, HMOE_CPU_AVX512, "AVX512F"},
      {HMOE_CPU_LEAF7_EBX, 17, HMOE_CPU_AVX512, "AVX512DQ"},
      {HMOE_CPU_LEAF7_EBX, 28, HMOE_CPU_AVX512, "AVX512CD"},
      {HMOE_CPU_LEAF7_EBX, 30, HMOE_CPU_AVX512, "AVX512BW"},
      {HMOE_CPU_LEAF7_EBX, 31, HMOE_CPU_AVX512, "AVX512VL"},
      {HMOE_CPU_XCR0, 5, HMOE_CPU_AVX512, "the system's support of 512-bit registers (XCR0)"},
      {HMOE_CPU_XCR0, 6, HMOE_CPU_AVX512, "the system's support of 512-bit registers (XCR0)"},
      {HMOE_CPU_XCR0, 7, HMOE_CPU_AVX512, "the system's support of 512-bit registers (XCR0)"},
      {HMOE_CPU_LEAF7_1_EAX, 5, HMOE_CPU_AVX512_BF16, "AVX512_BF16"},
      {HMOE_CPU_LEAF7_EDX, 24, HMOE_CPU_AMX, "AMX-TILE"},
      {HMOE_CPU_LEAF7_EDX, 22, HMOE_CPU_AMX, "AMX-BF16"},
      {HMOE_CPU_XCR0, 17, HMOE_CPU_AMX, "the system's support of tiles (XCR0)"},
      {HMOE_CPU_XCR0, 18, HMOE_CPU_AMX, "the system's support of tiles (XCR0)"},
  };
  enum { FEATURES = sizeof features / sizeof *features };
  uint32_t least[HMOE_CPU_REGISTERS] = {0};
  for (int where = 0; where < HMOE_CPU_REGISTERS; where++)
    for (int bit = 0; bit < 32; bit++) {
      uint32_t found[HMOE_CPU_REGISTERS];
      memset(found, 0xff, sizeof found);
      found[where] &= ~(1u << bit);
      size_t f = 0;
      while (f < FEATURES && (features[f].where != where || features[f].bit != bit)) f++;
      if (f < FEATURES) least[where] |= 1u << bit;
      for (int cpu = 0; cpu < HMOE_CPU_COUNT; cpu++) {
        const char *missing = hmoe_cpu_missing(cpu, found);
        if (f == FEATURES || cpu < features[f].needed_by) assert_null(missing);
        else assert_string_equal(missing, features[f].name);
      }
    }
  for (int cpu = 0; cpu < HMOE_CPU_COUNT; cpu++) assert_null(hmoe_cpu_missing(cpu, least));
  const uint32_t nothing[HMOE_CPU_REGISTERS] = {0};
  for (int cpu = 0; cpu < HMOE_CPU_COUNT; cpu++) assert_int_equal(hmoe_cpu_missing(cpu, nothing) != NULL, cpu > HMOE_CPU_PORTABLE);
}
#endif

static void test_cpu(void **state) {
  (void)state;
  toy *t = toy_create();
  hmoe_options options = fixture_options(1);
  options.cpu = "z80";
  assert_fails(open_with(t, &options), HMOE_INVALID_ARGUMENT,
               "options.cpu: expected \"amx\", \"avx512_bf16\", \"avx512\", \"avx2\" or \"portable\", found \"z80\"");
  options.cpu = "avx2";
  assert_fails(open_with(t, &options), HMOE_UNSUPPORTED, "holds no avx2 version");
  options.cpu = "portable";
  assert_ok(open_with(t, &options));
  options.cpu = NULL;
  setenv("HMOE_CPU", "avx512", 1);
  assert_fails(open_with(t, &options), HMOE_UNSUPPORTED, "HMOE_CPU: the object holds no avx512 version");
  setenv("HMOE_CPU", "", 1);
  assert_ok(open_with(t, &options));
  unsetenv("HMOE_CPU");
  assert_null(hmoe_cpu_lacks(HMOE_CPU_PORTABLE));
  for (int cpu = HMOE_CPU_PORTABLE; cpu < HMOE_CPU_COUNT; cpu++) {
    setenv("HMOE_CPU", hmoe_cpu_name(cpu), 1);
    t->plan->images[0].version = hmoe_cpu_name(cpu);
    const char *missing = hmoe_cpu_lacks(cpu);
    char text[256];
    snprintf(text, sizeof text, "HMOE_CPU: this machine lacks %s, which the %s version needs", missing ? missing : "",
             hmoe_cpu_name(cpu));
    if (missing) assert_fails(open_with(t, &options), HMOE_UNSUPPORTED, text);
    else assert_ok(open_with(t, &options));
    if (cpu > HMOE_CPU_PORTABLE && !missing) assert_null(hmoe_cpu_lacks(cpu - 1));
    assert_true(missing == hmoe_cpu_lacks(cpu)); /* asked again: the same */
  }
  unsetenv("HMOE_CPU");

  t->plan->object.image_count = 0;
  assert_fails(open_with(t, &options), HMOE_INCOMPATIBLE, "no code version for this processor");
  t->plan->object.image_count = 1;
  t->plan->images[0].version = "avx1024";
  assert_fails(open_with(t, &options), HMOE_INCOMPATIBLE, "no code version for this processor");
  t->plan->images[0] = (hmoe_image){.target = "gpu", .version = "portable", .functions = t->plan->functions};
  assert_fails(open_with(t, &options), HMOE_INCOMPATIBLE, "no code version for this processor");
  t->plan->images[0] = (hmoe_image){.target = "cpu", .version = "avx512", .functions = t->plan->functions};
  const char *lacks = hmoe_cpu_lacks(HMOE_CPU_AVX512);
  if (lacks) {
    char text[256];
    snprintf(text, sizeof text, "this machine lacks %s, which the object's avx512 version needs", lacks);
    assert_fails(open_with(t, &options), HMOE_UNSUPPORTED, text);
  } else {
    assert_ok(open_with(t, &options));
    assert_null(hmoe_cpu_lacks(HMOE_CPU_AVX2));
  }
  /* The best of the two that the machine runs. */
  t->plan->images[0].version = "portable";
  t->plan->images[1] = (hmoe_image){.target = "cpu", .version = "avx2", .functions = t->plan->functions};
  t->plan->object.image_count = 2;
  hmoe_model *model;
  assert_ok(hmoe_model_open(t->object, &t->weights, &options, &model));
  assert_string_equal(hmoe_model_cpu(model), hmoe_cpu_lacks(HMOE_CPU_AVX2) ? "portable" : "avx2");
  hmoe_model_close(model);
  t->plan->object.image_count = 1;
  t->plan->functions[0].scratch_bytes = UINT64_MAX;
  assert_fails(open_with(t, &options), HMOE_INCOMPATIBLE, "kernel 0 needs 18446744073709551615 bytes a worker");
  t->plan->functions[0] = (hmoe_function){.name = "loaded", .threads = 128};
  assert_fails(open_with(t, &options), HMOE_INCOMPATIBLE, "kernel 0 has no portable version");
  /* Where another device's image has it, the host does not run the model. */
  t->plan->images[1] = (hmoe_image){.target = "cuda", .version = "compute_80", .functions = t->plan->functions};
  t->plan->object.image_count = 2;
  assert_fails(open_with(t, &options), HMOE_UNSUPPORTED,
               "adder is compiled for target cuda and does not run on CPUs: set options.device = \"cuda\"");
  toy_destroy(t);
}

static void test_thread_count(void **state) {
  (void)state;
  size_t threads;
  assert_ok(hmoe_threads_choose(5, &threads));
  assert_int_equal(threads, 5);
  setenv("HMOE_NUM_THREADS", "3", 1);
  assert_ok(hmoe_threads_choose(0, &threads));
  assert_int_equal(threads, 3);
  assert_ok(hmoe_threads_choose(2, &threads));
  assert_int_equal(threads, 2);
  static const char *const bad[] = {"0", "-1", "two", "4x", "4097", "99999999999999999999", " "};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    setenv("HMOE_NUM_THREADS", bad[i], 1);
    char message[128];
    snprintf(message, sizeof message, "HMOE_NUM_THREADS: expected a number from 1 to 4096, found \"%s\"", bad[i]);
    assert_fails(hmoe_threads_choose(0, &threads), HMOE_INVALID_ARGUMENT, message);
  }
  unsetenv("HMOE_NUM_THREADS");
  assert_ok(hmoe_threads_choose(0, &threads));
  assert_in_range(threads, 1, 4096);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { LIMITS_WORK = 0 }; /* sanitizers take address space by the terabyte */
#else
enum { LIMITS_WORK = 1 };
#endif

/* Little address space: open says so instead of ending the process, and fewer threads still work. */
static void test_refused_threads(void **state) {
  (void)state;
  if (!LIMITS_WORK) skip();
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu", &pages) != 1) _exit(1);
    rlim_t bytes = pages * (rlim_t)sysconf(_SC_PAGESIZE) + (100u << 20);
    if (setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes}) != 0) _exit(2);
    toy *t = toy_create();
    hmoe_options options = fixture_options(300);
    hmoe_model *model;
    if (hmoe_model_open(t->object, &t->weights, &options, &model) != HMOE_OUT_OF_MEMORY) _exit(3);
    if (model || !strstr(hmoe_last_error(), "cannot start 299 threads")) _exit(4);
    options.threads = 2;
    if (hmoe_model_open(t->object, &t->weights, &options, &model) != HMOE_OK) _exit(5);
    hmoe_model_close(model);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

static void write_text(const char *root, const char *path, const char *text) {
  char full[512];
  snprintf(full, sizeof full, "%s/%s", root, path);
  for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
    *slash = 0;
    mkdir(full, 0700);
    *slash = '/';
  }
  FILE *file = fopen(full, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void test_quota(void **state) {
  (void)state;
  char root[] = "/tmp/hmoe-cgroup-XXXXXX";
  assert_non_null(mkdtemp(root));
  assert_int_equal(hmoe_threads_quota("0::/a/b\n", root), 0);
  write_text(root, "a/b/cpu.max", "max 100000\n");
  assert_int_equal(hmoe_threads_quota("0::/a/b\n", root), 0);
  write_text(root, "a/cpu.max", "250000 100000\n");
  assert_int_equal(hmoe_threads_quota("0::/a/b\n", root), 3); /* the parent's, rounded up */
  write_text(root, "cpu.max", "200000 100000\n");
  assert_int_equal(hmoe_threads_quota("0::/a/b\n", root), 2);
  assert_int_equal(hmoe_threads_quota("0::/\n", root), 2);
  assert_int_equal(hmoe_threads_quota("0::/not/seen/in/here\n", root), 2);
  write_text(root, "a/b/cpu.max", "1 100000\n");
  assert_int_equal(hmoe_threads_quota("0::/a/b", root), 1);
  /* The first version: one hierarchy a controller. */
  write_text(root, "cpu/c/cpu.cfs_quota_us", "-1\n");
  write_text(root, "cpu/c/cpu.cfs_period_us", "100000\n");
  assert_int_equal(hmoe_threads_quota("5:memory:/c\n4:cpu,cpuacct:/c\n", root), 0);
  write_text(root, "cpu/c/cpu.cfs_quota_us", "400000\n");
  assert_int_equal(hmoe_threads_quota("5:memory:/c\n4:cpu,cpuacct:/c\n", root), 4);
  assert_int_equal(hmoe_threads_quota("4:cpuset:/c\n", root), 0);
  assert_int_equal(hmoe_threads_quota("nonsense\n\n::\n", root), 2);
  assert_int_equal(hmoe_threads_quota("", root), 0);
  /* A path of all the bytes there are, with its end, and one of another. */
  char longest[PATH_MAX + 5] = "0::/";
  size_t most = strlen("0::") + PATH_MAX - 1 - strlen(root);
  memset(longest + 4, 'x', most - 3);
  assert_int_equal(hmoe_threads_quota(longest, root), 0);
  longest[most] = 0;
  assert_int_equal(hmoe_threads_quota(longest, root), 2);
  char command[256];
  snprintf(command, sizeof command, "rm -r %s", root);
  assert_int_equal(system(command), 0);
}

/* ---- checkpoints against the plan ---- */

static void collect_note(void *context, const char *message) {
  char *notes = context;
  strcat(strcat(notes, message), "\n");
}

static void test_tensors(void **state) {
  (void)state;
  toy *t = toy_create();
  char notes[2048] = "";
  hmoe_options options = fixture_options(1);
  options.note = collect_note;
  options.note_context = notes;
  assert_ok(open_with(t, &options));
  assert_string_equal(notes, "");

  static const struct {
    const char *names[3];
    const char *dtype;
    uint64_t shape[2];
    const char *message;
  } cases[] = {
      {{"bias", "experts.0.w", "other"}, "F32", {4, 2}, "toy.safetensors: no tensor 'experts.1.w'"},
      {{"other", "experts.0.w", "more"}, "F32", {4, 2}, "no tensor 'bias', and 1 more are missing"},
      {{"bias", "experts.0.w", "experts.1.w"}, "F32", {2, 4}, "'experts.0.w': expected shape [4, 2], found [2, 4]"},
      {{"bias", "experts.0.w", "experts.1.w"}, "I32", {4, 2}, "'experts.0.w': expected F32, F16, BF16 or F64, found I32"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    file_deinit(&t->file);
    file_tensor(&t->file, cases[i].names[0], "F32", FILE_SHAPE(3), bias_values, 12);
    for (int k = 1; k < 3; k++) file_tensor(&t->file, cases[i].names[k], cases[i].dtype, 2, cases[i].shape, expert_values, 32);
    t->weights = file_finish(&t->file);
    assert_fails(open_with(t, &options), HMOE_INVALID_WEIGHTS, cases[i].message);
  }

  file_deinit(&t->file);
  file_tensor(&t->file, "bias", "F32", FILE_SHAPE(3), bias_values, 12);
  file_tensor(&t->file, "experts.0.w", "F32", FILE_SHAPE(4, 2), expert_values, 32);
  file_tensor(&t->file, "experts.1.w", "F32", FILE_SHAPE(4, 2), expert_values, 32);
  for (int i = 0; i < 6; i++) {
    char name[16];
    snprintf(name, sizeof name, "extra.%d", i);
    file_tensor(&t->file, name, "I64", FILE_SHAPE(1), expert_values, 8);
  }
  t->weights = file_finish(&t->file);
  assert_ok(open_with(t, &options));
  assert_string_equal(notes, "toy.safetensors: 6 tensors are not used: extra.0, extra.1, extra.2, extra.3, and 2 more\n");
  toy_destroy(t);
}

/* ---- plans ---- */

/* Each 32-bit word of the plan takes a few bad values in turn: open and a run must refuse it or work, never crash. Shapes, layout stamp
 * and strides may legitimately pass. */
static void test_damaged_plans(void **state) {
  (void)state;
  toy *t = toy_create();
  static const uint32_t values[] = {0, 1, 2, 8, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff8};
  uint32_t *words = (uint32_t *)(void *)t->plan->bytes;
  hmoe_options options = fixture_options(1);
  options.allocator = &(hmoe_allocator){NULL, allocate_little, guard_release};
  int refused = 0, opened = 0;
  for (size_t i = 0; i < t->plan->used / 4; i++) {
    uint32_t saved = words[i];
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
      words[i] = values[v];
      hmoe_model *model;
      hmoe_status status = hmoe_model_open(t->object, &t->weights, &options, &model);
      if (status == HMOE_OK) {
        float x[1000] = {0}, y[1000];
        opened++;
        /* The kernel itself trusts its plan: empty and refused runs only, unless the plan is the original. */
        status = hmoe_model_run(model, 1, (int64_t[]){0}, (const void *const[]){x}, (void *const[]){y});
        hmoe_model_close(model);
      } else {
        assert_true(status == HMOE_INCOMPATIBLE || status == HMOE_INVALID_WEIGHTS || status == HMOE_OUT_OF_MEMORY);
        refused++;
      }
    }
    words[i] = saved;
  }
  assert_true(refused > 500 && opened > 50);
  assert_ok(open_with(t, &options));
  toy_destroy(t);
}

static void test_bad_plans(void **state) {
  (void)state;
  toy *t = toy_create();
  hmoe_model_object *object = &t->plan->object;
  hmoe_options options = fixture_options(1);
  object->abi_version = 1;
  assert_fails(open_with(t, &options), HMOE_INCOMPATIBLE, "ABI version 1...");
  object->abi_version = HMOE_ABI_VERSION;
  object->plan = t->plan->bytes + 4;
  assert_fails(open_with(t, &options), HMOE_INCOMPATIBLE, "not aligned");
  object->plan = NULL;
  assert_fails(open_with(t, &options), HMOE_INCOMPATIBLE, "missing, too short or not aligned");
  object->plan = t->plan->bytes;
  object->plan_bytes -= 8;
  assert_fails(open_with(t, &options), HMOE_INCOMPATIBLE, "expected magic...");
  object->plan_bytes += 8;
  object->kernel_count = 0;
  assert_fails(open_with(t, &options), HMOE_INCOMPATIBLE, "entry 1 step 0 (kernel): kernel 0 of 0");
  object->kernel_count = 1;
  ((hmoe_plan *)(void *)t->plan->bytes)->weight_bytes = 64;
  assert_fails(open_with(t, &options), HMOE_INCOMPATIBLE, "buffer 1 ends at 576 of 64 bytes");
  toy_destroy(t);
}

/* As many threads as this process has CPUs, or as its group may use of them. */
static void test_automatic_threads(void **state) {
  (void)state;
  cpu_set_t all, one;
  char membership[4096] = "";
  FILE *file = fopen("/proc/self/cgroup", "r");
  if (file) {
    membership[fread(membership, 1, sizeof membership - 1, file)] = 0;
    fclose(file);
  }
  size_t quota = hmoe_threads_quota(membership, "/sys/fs/cgroup"), threads;
  assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
  size_t cpus = (size_t)CPU_COUNT(&all);
  unsetenv("HMOE_NUM_THREADS");
  assert_ok(hmoe_threads_choose(0, &threads));
  assert_int_equal(threads, quota && quota < cpus ? quota : cpus);
  CPU_ZERO(&one);
  for (size_t i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
    if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
  assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
  assert_ok(hmoe_threads_choose(0, &threads));
  assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
  assert_int_equal(threads, 1);
  static const char *const good[] = {"1", "4096", " 7", "+5"};
  static const size_t counts[] = {1, 4096, 7, 5};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    setenv("HMOE_NUM_THREADS", good[i], 1);
    assert_ok(hmoe_threads_choose(0, &threads));
    assert_int_equal(threads, counts[i]);
  }
  setenv("HMOE_NUM_THREADS", "", 1); /* as if it were not there */
  assert_ok(hmoe_threads_choose(0, &threads));
  assert_int_equal(threads, quota && quota < cpus ? quota : cpus);
  unsetenv("HMOE_NUM_THREADS");
}

/* Words that HMOE_DEBUG does not know are noted, each; those that it knows are not, nor is nothing. */
static void test_debug_words(void **state) {
  (void)state;
  static const struct {
    const char *list, *notes;
    bool run;
  } cases[] = {{NULL, "", false},
               {"", "", false},
               {"run", "", true},
               {",run,", "", true},
               {"rum", "HMOE_DEBUG: expected run, found \"rum\"\n", false},
               {"ru", "HMOE_DEBUG: expected run, found \"ru\"\n", false},
               {"runs,run", "HMOE_DEBUG: expected run, found \"runs\"\n", true},
               {"a,run,b", "HMOE_DEBUG: expected run, found \"a\"\nHMOE_DEBUG: expected run, found \"b\"\n", true},
               {"a-word-of-sixty-characters-0123456789012345678901234567890123",
                "HMOE_DEBUG: expected run, found \"a-word-of-sixty-characters-012345678901234567890123456789012\"\n", false}};
  toy *t = toy_create();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char notes[512] = "";
    hmoe_options options = fixture_options(1);
    options.note = collect_note;
    options.note_context = notes;
    if (cases[i].list) setenv("HMOE_DEBUG", cases[i].list, 1);
    else unsetenv("HMOE_DEBUG");
    bool run = hmoe_debug_enabled("run");
    hmoe_status status = open_with(t, &options);
    unsetenv("HMOE_DEBUG");
    assert_ok(status);
    if (strcmp(notes, cases[i].notes) != 0 || run != cases[i].run) fail_msg("case %zu: %d, %s", i, run, notes);
  }
  toy_destroy(t);
}

/* What a checkpoint has more than the model uses, by name: the first four, and how many more. */
static void test_surplus(void **state) {
  (void)state;
  static const char *const extras[] = {"a", "z", "b", "c", "d"};
  static const char *const notes_of[] = {"",
                                         "toy.safetensors: 1 tensor is not used: a\n",
                                         "toy.safetensors: 2 tensors are not used: a, z\n",
                                         "toy.safetensors: 3 tensors are not used: a, b, z\n",
                                         "toy.safetensors: 4 tensors are not used: a, b, c, z\n",
                                         "toy.safetensors: 5 tensors are not used: a, b, c, d, and 1 more\n"};
  toy *t = toy_create();
  for (size_t count = 0; count <= 5; count++) {
    char notes[512] = "";
    hmoe_options options = fixture_options(1);
    options.note = collect_note;
    options.note_context = notes;
    file_deinit(&t->file);
    file_tensor(&t->file, "bias", "F32", FILE_SHAPE(3), bias_values, 12);
    file_tensor(&t->file, "experts.0.w", "F32", FILE_SHAPE(4, 2), expert_values, 32);
    file_tensor(&t->file, "experts.1.w", "F32", FILE_SHAPE(4, 2), expert_values, 32);
    for (size_t i = 0; i < count; i++) file_tensor(&t->file, extras[i], "I64", FILE_SHAPE(1), expert_values, 8);
    t->weights = file_finish(&t->file);
    assert_ok(open_with(t, &options));
    assert_string_equal(notes, notes_of[count]);
  }
  toy_destroy(t);
}

/* The grant of tiles is refused where signals have a stack that is too small for them. A process asks once: before others ask here. */
static void test_tiles_refused(void **state) {
  (void)state;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    static char memory[8192];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory};
    const char *missing = sigaltstack(&stack, NULL) == 0 ? hmoe_cpu_lacks(HMOE_CPU_AMX) : "any";
    _exit(!missing ? 1 : strstr(missing, "alternate signal stack") ? 2 : 3);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), hmoe_cpu_lacks(HMOE_CPU_AMX) ? 3 : 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tiles_refused),     cmocka_unit_test(test_status),        cmocka_unit_test(test_null_arguments),
      cmocka_unit_test(test_option_sizes),      cmocka_unit_test(test_option_values), cmocka_unit_test(test_cpu),
      cmocka_unit_test(test_thread_count),      cmocka_unit_test(test_quota),         cmocka_unit_test(test_refused_threads),
      cmocka_unit_test(test_tensors),           cmocka_unit_test(test_damaged_plans), cmocka_unit_test(test_bad_plans),
      cmocka_unit_test(test_automatic_threads), cmocka_unit_test(test_debug_words),   cmocka_unit_test(test_surplus),
#if defined(__x86_64__)
      cmocka_unit_test(test_features),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
