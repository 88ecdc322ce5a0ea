/* Commands, several times in one process: what they took they give back, whether they succeed or refuse. The test is linked so that the project's own
 * allocations are counted, block by block; LLVM keeps tables that grow for a while where code is made, so that all memory is compared of other commands
 * only. */
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <mlir-c/IR.h>

#include "commands/commands.h"
#include "interpreter/interpreter.h"
#include "interpreter/parameters.h"
#include "ir/entry.h"
#include "library/session.h"
#include "support/npy.h"

#define TINY HMOE_SOURCE_DIR "/models/gpt2-hypermoe-tiny.spec -D layers=1 -D condition=none"
#define LAYER                                                                                                                      \
  HMOE_SOURCE_DIR "/models/hypermoe-layer.spec -D d_model=6 -D d_ff=8 -D experts=4 -D bottleneck=3 -D hyper_hidden=7 -D strategy="
#define CODE " --cpu portable --threads 1"

/* MLIR keeps a little of every module; a module is more than MOST_KEPT_BYTES. */
enum { TIMES = 4, MOST_KEPT_BYTES = 2048 };

static const hmoec_command *const commands[] = {&hmoec_command_compile, &hmoec_command_pack,    &hmoec_command_run,
                                                &hmoec_command_check,   &hmoec_command_bench,   &hmoec_command_explain,
                                                &hmoec_command_import,  &hmoec_command_generate};
static char folder[] = "/tmp/hmoec-leaks-XXXXXX";
static FILE *quiet;

/* ---- the blocks that are in use ---- */

enum { MOST_BLOCKS = 1 << 18 };
static void *blocks[MOST_BLOCKS]; /* a table with open addressing; DELETED: one was here */
static size_t block_count;
static char deleted;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
#define DELETED ((void *)&deleted)

static size_t first_place(const void *block) { return ((uintptr_t)block >> 4) * 0x9e3779b97f4a7c15u >> 46; }

static void *block_add(void *block) {
  if (!block) return NULL;
  pthread_mutex_lock(&lock);
  size_t at = first_place(block);
  while (blocks[at] && blocks[at] != DELETED) at = (at + 1) % MOST_BLOCKS;
  blocks[at] = block;
  if (++block_count > MOST_BLOCKS / 2) abort();
  pthread_mutex_unlock(&lock);
  return block;
}

/* A block that is not ours is passed over. */
static void block_remove(const void *block) {
  if (!block) return;
  pthread_mutex_lock(&lock);
  for (size_t at = first_place(block), i = 0; blocks[at] && i < MOST_BLOCKS; at = (at + 1) % MOST_BLOCKS, i++)
    if (blocks[at] == block) {
      blocks[at] = DELETED;
      block_count--;
      break;
    }
  pthread_mutex_unlock(&lock);
}

/* ---- the places that ask for memory ---- */

enum { MOST_PLACES = 1024 };
static struct {
  const void *address; /* behind the call */
  size_t calls;
} places[MOST_PLACES];
static size_t place_count, failing = SIZE_MAX; /* the first call of that place gets nothing */

/* Whether a place is to be told that there is no memory. */
static bool fails(const void *address) {
  pthread_mutex_lock(&lock);
  size_t at = 0;
  while (at < place_count && places[at].address != address) at++;
  if (at == MOST_PLACES) abort();
  if (at == place_count) places[place_count++].address = address;
  bool now = ++places[at].calls == 1 && at == failing;
  pthread_mutex_unlock(&lock);
  return now;
}
#define FAILS() fails(__builtin_return_address(0))

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __wrap_free(void *block);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
int __wrap_asprintf(char **out_text, const char *format, ...) __attribute__((format(printf, 2, 3)));

int __wrap_asprintf(char **out_text, const char *format, ...) {
  va_list arguments;
  if (FAILS()) return -1;
  va_start(arguments, format);
  int length = vasprintf(out_text, format, arguments);
  va_end(arguments);
  if (length >= 0) block_add(*out_text);
  return length;
}
void *__wrap_malloc(size_t size) { return FAILS() ? NULL : block_add(__real_malloc(size)); }
void *__wrap_calloc(size_t count, size_t size) { return FAILS() ? NULL : block_add(__real_calloc(count, size)); }
char *__wrap_strdup(const char *text) { return FAILS() ? NULL : block_add(__real_strdup(text)); }
char *__wrap_strndup(const char *text, size_t size) { return FAILS() ? NULL : block_add(__real_strndup(text, size)); }
void __wrap_free(void *block) {
  block_remove(block);
  __real_free(block);
}
void *__wrap_realloc(void *block, size_t size) {
  if (FAILS()) return NULL;
  block_remove(block);
  return block_add(__real_realloc(block, size));
}

/* ---- commands ---- */

static void ignore(void *context, const hmoec_message *message) {
  (void)context;
  (void)message;
}

/* A graph that calls blocks of a spec, its texts, and one that is refused. */
static bool graph_once(void) {
  static const hmoec_output outputs[] = {HMOEC_OUTPUT_HEADER, HMOEC_OUTPUT_MANIFEST, HMOEC_OUTPUT_HMOE, HMOEC_OUTPUT_HMK};
  const hmoec_options options = {.struct_size = sizeof options, .message = ignore};
  const hmoec_define defines[] = {{"d_model", "16"}};
  hmoec_graph *graph;
  hmoec_graph_value routing[3];
  hmoec_compilation *compilation;
  bool ok = hmoec_graph_create("two words", &options, &graph) != HMOEC_OK && hmoec_graph_create("g", &options, &graph) == HMOEC_OK;
  if (!ok) return false;
  hmoec_graph_include(graph, HMOE_SOURCE_DIR "/models/layer-common.spec", defines, 1);
  hmoec_graph_scope_begin(graph, "layer.%d", 1);
  hmoec_graph_value x = hmoec_graph_input(graph, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 16));
  ok = hmoec_graph_block(graph, "switch_route", &HMOEC_VALUE_ARGUMENT(x), 1, routing, 3) == 3;
  hmoec_graph_scope_end(graph);
  hmoec_graph_output(graph, "y", hmoec_graph_activate(graph, x, "gelu"));
  hmoec_graph_output(graph, "gates", routing[1]);
  ok = ok && hmoec_compile_graph(graph, &options, &compilation) == HMOEC_OK;
  for (size_t i = 0; ok && i < sizeof outputs / sizeof *outputs; i++) {
    char *bytes;
    size_t size;
    ok = hmoec_compilation_emit(compilation, outputs[i], &bytes, &size) == HMOEC_OK;
    hmoec_free(bytes);
  }
  if (ok) hmoec_compilation_destroy(compilation);
  hmoec_graph_activate(graph, x, "relu"); /* too late */
  hmoec_graph_destroy(graph);
  return ok;
}

/* One command line, of words between blanks. */
/* What the interpreter gives for the folded model of a command line of `check`, with random weights, on standard output. */
static bool interpret_once(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics) {
  enum { MOST = 4, SIZE = 3 };
  hmoec_session session;
  hmoec_random_parameters *parameters = NULL;
  hmoec_tensor inputs[MOST] = {0}, outputs[MOST] = {0};
  bool ok = hmoec_session_init(&session, &arguments->options, diagnostics) && hmoec_session_load(&session, arguments->model) &&
            hmoec_session_fold(&session);
  MlirOperation function = {NULL};
  size_t count = 0, results = 0;
  if (ok) function = hmoec_entry_find(session.folded, NULL);
  if (ok) count = hmoec_entry_input_count(function), results = hmoec_entry_output_count(function);
  assert_true(count <= MOST && results <= MOST);
  for (size_t i = 0; ok && i < count; i++) {
    hmoec_shape shape = hmoec_entry_input_shape(function, i);
    for (int64_t d = 0; d < shape.rank; d++)
      if (shape.dims[d] < 0) shape.dims[d] = SIZE;
    ok = hmoec_tensor_init(&inputs[i], &shape);
    for (int64_t k = 0; ok && k < hmoec_shape_elements(&shape); k++) inputs[i].data[k] = (double)((k * 7 + 1) % 3);
  }
  ok = ok && (parameters = hmoec_random_parameters_create(session.source, 7));
  if (ok) {
    hmoec_parameter_source source = hmoec_random_parameters_source(parameters);
    ok = hmoec_interpret(function, &source, inputs, count, outputs, results, diagnostics);
  }
  for (size_t i = 0; ok && i < results; i++)
    for (int64_t k = 0; k < hmoec_shape_elements(&outputs[i].shape); k++) printf("%.9g\n", outputs[i].data[k]);
  for (size_t i = 0; i < MOST; i++) {
    hmoec_tensor_deinit(&inputs[i]);
    hmoec_tensor_deinit(&outputs[i]);
  }
  hmoec_random_parameters_destroy(parameters);
  hmoec_session_deinit(&session);
  return ok;
}

static bool run_once(const char *line) {
  if (strcmp(line, "graph") == 0) return graph_once();
  enum { MOST_WORDS = 32 };
  static hmoec_arguments arguments;
  char text[2048], *words[MOST_WORDS];
  int count = 0;
  bool help;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(ignore, NULL);
  assert_true(strlen(line) < sizeof text);
  if (!diagnostics) return false;
  strcpy(text, line);
  for (char *rest = text, *word; count < MOST_WORDS && (word = strtok_r(rest, " ", &rest));) words[count++] = word;
  bool interpret = strcmp(words[0], "interpret") == 0, ok;
  size_t command = 0;
  while (strcmp(commands[command]->name, interpret ? "check" : words[0]) != 0) command++;
  ok = hmoec_arguments_parse(commands[command], count - 1, words + 1, &arguments, &help, diagnostics) &&
       (interpret ? interpret_once(&arguments, diagnostics) : commands[command]->run(&arguments, diagnostics));
  fflush(stdout);
  hmoec_diagnostics_destroy(diagnostics);
  return ok;
}

/* What is lost is lost every time; other differences are of how the allocator cuts what it has. */
static bool keeps_nothing(const char *line, bool succeeds, bool makes_code, char *out_reason, size_t size) {
  size_t least = SIZE_MAX;
  for (int i = 0; i <= TIMES && least > MOST_KEPT_BYTES; i++) {
    size_t before = mallinfo2().uordblks, blocks_before = block_count;
    bool ok = run_once(line);
    size_t after = mallinfo2().uordblks, kept = after > before ? after - before : 0;
    snprintf(out_reason, size, "expected it to %s", succeeds ? "succeed" : "be refused");
    if (ok != succeeds) return false;
    if (i == 0) continue; /* the first time fills what stays for the process */
    snprintf(out_reason, size, "%zu blocks are kept", block_count - blocks_before);
    if (block_count != blocks_before) return false;
    if (makes_code) return true;
    if (kept < least) least = kept;
  }
  snprintf(out_reason, size, "%zu bytes are kept every time", least);
  return least <= MOST_KEPT_BYTES;
}

static void test_commands(void **state) {
  (void)state;
  static const struct {
    const char *line;
    bool succeeds, makes_code;
  } rows[] = {
      {"check layer.spec --save-weights layer.safetensors --tokens 3" CODE, true, true},
      {"check layer.spec --tokens 3 --dtype bf16" CODE, true, true},
      {"check layer.spec --tokens 3 --weights broken.spec" CODE, false, true},
      {"compile " TINY " --emit hmoe", true, false},
      {"compile " TINY " --emit hmk -o out", true, false},
      {"compile " TINY " --dtype bf16 --emit hmk", true, false},
      {"compile " HMOE_SOURCE_DIR "/models/hypermoe-layer.spec -D strategy=cache -D d_model=24 -D d_ff=32 --emit hmk", true, false},
      {"compile layer.spec -o out", true, true},
      {"compile layer.spec -o layer.safetensors", false, true},
      {"graph", true, false},
      {"compile layer.spec --emit nothing", false, false},
      {"compile broken.spec", false, false},
      {"compile refused.spec", false, false},
      {"compile c.spec --emit hmk", true, false},
      {"compile wrong_c.spec --emit hmk", false, false},
      {"explain " TINY " --rows 2 --tokens 3", true, false},
      {"explain broken.spec", false, false},
      {"import " HMOE_SOURCE_DIR "/tests/golden/switch-moe-tiny -o out/m.spec", true, false},
      {"import gpt2 -o out/m.spec", true, false},
      {"import . -o out/m.spec", false, false},
      {"pack layer.spec --weights layer.safetensors -o out/m.hmw" CODE, true, true},
      {"pack layer.spec --weights broken.spec -o out/m.hmw" CODE, false, true},
      {"run layer.spec --weights layer.safetensors --input x=x.npy --input i=i.npy --output y=out/y.npy" CODE, true, true},
      {"run layer.spec --weights layer.safetensors --input x=x.npy --input i=ids.npy --output y=out/y.npy" CODE, false, true},
      {"run layer.spec --weights layer.safetensors --input x=i.npy --input i=i.npy --output y=out/y.npy" CODE, false, true},
      {"run layer.spec --weights layer.safetensors --input x=x.npy --input i=i.npy --output z=out/y.npy" CODE, false, true},
      {"run layer.spec --weights layer.safetensors --input x=x.npy --input i=i.npy --output y=no/y.npy" CODE, false, true},
      {"check " TINY " --save-weights tiny.safetensors --tokens 6" CODE, true, true},
      {"generate " TINY " --weights tiny.safetensors --input input_ids=ids.npy -o out/t.npy --max-new-tokens 2" CODE, true, true},
      {"generate " TINY
       " --weights tiny.safetensors --input input_ids=ids.npy -o out/t.npy --max-new-tokens 2 --end-token 900" CODE,
       false, true},
  };
  int out = dup(STDOUT_FILENO), messages = dup(STDERR_FILENO);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char result[512];
    fflush(stdout);
    dup2(fileno(quiet), STDOUT_FILENO);
    dup2(fileno(quiet), STDERR_FILENO);
    bool ok = keeps_nothing(rows[i].line, rows[i].succeeds, rows[i].makes_code, result, sizeof result);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    dup2(messages, STDERR_FILENO);
    if (!ok) fail_msg("%s: %s", rows[i].line, result);
  }
  close(out);
  close(messages);
}

/* ---- memory that is not there ---- */

extern const char __executable_start; /* of the linker: places are told as addr2line wants them */

/* MLIR asks for memory in inline code of its own and does not look whether it is there: within so many bytes of these functions. */
static bool is_of_mlir(const void *address) {
  enum { BYTES = 256 };
  const uintptr_t functions[] = {(uintptr_t)mlirOperationStateAddResults, (uintptr_t)mlirOperationStateAddOperands,
                                 (uintptr_t)mlirOperationStateAddOwnedRegions, (uintptr_t)mlirOperationStateAddAttributes};
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if ((uintptr_t)address > functions[i] && (uintptr_t)address - functions[i] < BYTES) return true;
  return false;
}

/* The command, whose standard output goes to a file. */
static bool run_to_file(const char *line) {
  int out = dup(STDOUT_FILENO);
  fflush(stdout);
  assert_true(freopen("result", "w", stdout) != NULL);
  bool ok = run_once(line);
  dup2(out, STDOUT_FILENO);
  close(out);
  return ok;
}

static size_t read_result(char *out, size_t size) {
  FILE *file = fopen("result", "rb");
  size_t count = file ? fread(out, 1, size, file) : 0;
  if (file) fclose(file);
  return count;
}

enum { MOST_RESULT_BYTES = 1 << 20 };
static char wanted[MOST_RESULT_BYTES], found[MOST_RESULT_BYTES];

/* In a process of its own, the command with one call that gets no memory: it is refused and keeps nothing, or says that there is none and ends, as arenas
 * do, or does without and gives what it always gives. NULL, or what else it does. */
static const char *run_without(const char *line, size_t place, size_t wanted_bytes) {
  enum { REFUSED, SUCCEEDED, KEPT };
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    for (int i = 1; i < SIGRTMIN; i++) signal(i, SIG_DFL); /* the handlers of cmocka go on with the next test */
    dup2(fileno(quiet), STDERR_FILENO);
    size_t before = block_count;
    for (size_t i = 0; i < place_count; i++) places[i].calls = 0;
    failing = place;
    bool ok = run_to_file(line);
    _exit(ok ? SUCCEEDED : block_count != before ? KEPT : REFUSED);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGABRT ? NULL : "it crashes";
  if (WEXITSTATUS(status) == KEPT) return "it keeps memory";
  if (WEXITSTATUS(status) == REFUSED) return read_result(found, sizeof found) > 0 ? "it gives a result" : NULL;
  return read_result(found, sizeof found) == wanted_bytes && memcmp(found, wanted, wanted_bytes) == 0 ? NULL
                                                                                                      : "its result is another";
}

static void test_no_memory(void **state) {
  (void)state;
  static const char *const lines[] = {
      "compile " TINY " --emit hmk -o -",
      "compile c.spec --emit hmk -o -",
      "compile " HMOE_SOURCE_DIR "/models/hypermoe-layer.spec -D strategy=cache -D d_model=24 -D d_ff=32 --emit hmoe -o -",
      "import " HMOE_SOURCE_DIR "/tests/golden/gpt2-hypermoe-tiny-k1 -o -",
      "interpret " HMOE_SOURCE_DIR "/models/switch-hypermoe-tiny.spec -D encoder_layers=1 -D decoder_layers=1",
      "interpret " LAYER "table -D top_k=1",
      "interpret " LAYER "table -D top_k=2 -D capacity=1",
      "interpret " LAYER "cache -D top_k=2 -D generated_bias=1",
      "interpret " LAYER "factored -D top_k=2 -D generated_bias=1",
      "interpret " LAYER "per_token -D top_k=2",
  };
  size_t wrong = 0, tried = 0;
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    assert_true(run_to_file(lines[i])); /* what stays for the process is there then */
    memset(places, 0, sizeof places);
    place_count = 0;
    assert_true(run_to_file(lines[i]));
    size_t wanted_bytes = read_result(wanted, sizeof wanted);
    assert_in_range(wanted_bytes, 100, MOST_RESULT_BYTES - 1);
    for (size_t p = 0; p < place_count; p++) {
      if (is_of_mlir(places[p].address)) continue;
      const char *end = run_without(lines[i], p, wanted_bytes);
      if (end)
        print_error("%s: without memory at %#tx: %s\n", lines[i], (const char *)places[p].address - &__executable_start, end);
      wrong += end != NULL;
      tried++;
    }
  }
  if (wrong) fail_msg("%zu of %zu", wrong, tried);
  assert_true(tried > 100);
}

static void write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  assert_int_equal(fclose(file), 0);
}

static int setup(void **state) {
  (void)state;
  static const int64_t ids[] = {1, 2, 3, 4, 5, 6};
  static const float x[12] = {1, 2, 3};
  cJSON_InitHooks(&(cJSON_Hooks){__wrap_malloc, __wrap_free});
  if (!mkdtemp(folder) || chdir(folder) != 0 || !(quiet = fopen("/dev/null", "w"))) return -1;
  write_text("layer.spec", "model layer\ndim n = ?, m = ?\ninput x: f32[n, m, 4]\ninput i: i32[n, m]\nparam t: [7, 4] from "
                           "\"t\"\nparam w: [4, 4] from \"w\"\n"
                           "output y = add(linear(x, w), embedding(i, t))\n");
  write_text("broken.spec",
             "model m\ndim n = ?\ninput x: f32[n, 4]\noutput y = activte(x, function = relu)\noutput z = add(x, w)\n");
  write_text("refused.spec",
             "model refused\ndim n = ?\ninput x: f32[n, 4]\nparam w: [4, 4] from \"w\"\noutput y = multiply(w, w)\n");
  write_text("c.spec",
             "model c\ndim n = ?\ninput x: f32[n, 4]\ngeneration {\n end_token = [1, 2]\n top_p = 0.5\n}\noutput y = activate(x, "
             "function = \"c:" HMOE_SOURCE_DIR "/examples/compiler/activations.c:quick_gelu\")\n");
  const char *const files[] = {"config.json", "model.safetensors"}; /* with a generation_config.json of its own */
  mkdir("gpt2", 0755);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    char from[512], to[64];
    snprintf(from, sizeof from, HMOE_SOURCE_DIR "/tests/golden/gpt2-hypermoe-tiny-k1/%s", files[i]);
    snprintf(to, sizeof to, "gpt2/%s", files[i]);
    if (symlink(from, to) != 0) return -1;
  }
  write_text("gpt2/generation_config.json", "{\"max_new_tokens\": 7, \"bad_words_ids\": [[1, 2], [3]]}\n");
  /* A function that is as large as a module, read for a spec that is refused: it is nobody's then. */
  FILE *c = fopen("long.c", "w");
  assert_non_null(c);
  fputs("float f(float x) {\n", c);
  for (int i = 0; i < 50; i++) fprintf(c, "  x = x * x + %d;\n", i);
  fputs("  return x;\n}\n", c);
  assert_int_equal(fclose(c), 0);
  write_text("wrong_c.spec", "model wrong_c\ndim n = ?\ninput x: f32[n, 4]\ny = activate(x, function = \"c:long.c:f\")\n"
                             "output z = add(y, w)\n");
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  bool ok = diagnostics && hmoec_npy_write("ids.npy", HMOEC_NPY_I64, 2, (int64_t[]){2, 3}, ids, diagnostics) &&
            hmoec_npy_write("i.npy", HMOEC_NPY_I64, 2, (int64_t[]){3, 1}, ids, diagnostics) &&
            hmoec_npy_write("x.npy", HMOEC_NPY_F32, 3, (int64_t[]){3, 1, 4}, x, diagnostics);
  hmoec_diagnostics_destroy(diagnostics);
  return ok ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  char command[64];
  fclose(quiet);
  snprintf(command, sizeof command, "rm -r %s", folder);
  return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_commands), cmocka_unit_test(test_no_memory)};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  (void)tests, (void)setup, (void)teardown;
  return 77; /* they keep freed memory; the address sanitizer looks for leaks by itself */
#else
  return cmocka_run_group_tests(tests, setup, teardown);
#endif
}
