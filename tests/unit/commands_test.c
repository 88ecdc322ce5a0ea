/* What commands say of what they are given, and what they write, run in this process: each refusal with its words, each result with its values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "commands/commands.h"
#include "support/npy.h"

#define TINY HMOE_SOURCE_DIR "/models/gpt2-hypermoe-tiny.spec -D layers=1 -D condition=none"
#define CODE " --cpu portable --threads 1"

static const hmoec_command *const commands[] = {&hmoec_command_compile, &hmoec_command_pack,    &hmoec_command_run,
                                                &hmoec_command_check,   &hmoec_command_bench,   &hmoec_command_explain,
                                                &hmoec_command_import,  &hmoec_command_generate};
static char folder[] = "/tmp/hmoec-commands-XXXXXX", messages[8192];

static void keep(void *context, const hmoec_message *message) {
  (void)context;
  size_t used = strlen(messages);
  snprintf(messages + used, sizeof messages - used, "%s%s%s\n", message->at.file ? message->at.file : "",
           message->at.file ? ": " : "", message->text);
}

static bool run(const char *line, hmoec_status *out_status) {
  enum { MOST_WORDS = 48 };
  static hmoec_arguments arguments;
  char text[4096], *words[MOST_WORDS];
  int count = 0;
  bool help;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep, NULL);
  assert_true(diagnostics && strlen(line) < sizeof text);
  strcpy(text, line);
  for (char *rest = text, *word; count < MOST_WORDS && (word = strtok_r(rest, " ", &rest));) words[count++] = word;
  size_t command = 0;
  while (strcmp(commands[command]->name, words[0]) != 0) command++;
  *messages = 0;
  bool ok = hmoec_arguments_parse(commands[command], count - 1, words + 1, &arguments, &help, diagnostics) &&
            commands[command]->run(&arguments, diagnostics);
  *out_status = hmoec_diagnostics_status(diagnostics);
  hmoec_diagnostics_destroy(diagnostics);
  return ok;
}

#define RUN "run layer.spec --weights w.safetensors" CODE
#define GENERATE "generate " TINY " --weights tiny.safetensors" CODE

/* U: wrong usage, I: wrong input. */
static const struct {
  const char *line;
  char kind;
  const char *message;
} refusals[] = {
    {"run layer.spec --input x=x.npy", 'U', "hmoec run needs --weights FILE"},
    {"pack layer.spec -o p.hmw", 'U', "hmoec pack needs --weights FILE"},
    {"pack layer.spec --weights w.safetensors", 'U', "hmoec pack needs -o MODEL.hmw"},
    {"pack layer.spec --weights w.safetensors -o -", 'U', "packed weights are written in place: expected -o MODEL.hmw, found '-'"},
    {"generate layer.spec -o t.npy", 'U', "hmoec generate needs --weights FILE"},
    {"generate layer.spec --weights w.safetensors", 'U', "hmoec generate needs -o FILE.npy"},
    {"check layer.spec --tokens 1,2", 'U', "expected one number for --tokens of hmoec check, found 2"},
    {"explain layer.spec --tokens 1,2,3", 'U', "expected one number for --tokens of hmoec explain, found 3"},
    {"bench layer.spec --tokens 1,0", 'U', "expected --tokens of hmoec bench to be at least 1, found 0"},
    {"compile layer.spec -o -", 'U', "expected -o DIR: an object, its header and manifest do not go to standard output"},
    {"compile layer.spec --emit obj -o -", 'U', "expected -o DIR: an object, its header and manifest do not go to standard output"},
    {"compile layer.spec --emit hmm", 'U',
     "expected --emit obj, hmoe, hmk, mlir, llvm, asm, ptx or cubin, found 'hmm'; did you mean hmk?"},
    {"compile layer.spec --emit ptx", 'U', "--emit ptx is of --target cuda"},
    {"compile layer.spec --emit something", 'U',
     "expected --emit obj, hmoe, hmk, mlir, llvm, asm, ptx or cubin, found 'something'"},
    {RUN " --input x=x.npy --output y=y.npy", 'U', "expected --input ids=FILE.npy"},
    {RUN " --input ids=ids.npy --output y=y.npy", 'U', "expected --input x=FILE.npy"},
    {RUN " --input ids=ids.npy --input x=x.npy", 'U', "expected --output y=FILE.npy"},
    {RUN " --input idz=ids.npy", 'U', "the model has no input 'idz'; it has 'ids', 'more' and 'x'; did you mean 'ids'?"},
    {RUN " --input ids=ids.npy --input zzzzzz=ids.npy", 'U', "the model has no input 'zzzzzz'; it has 'ids', 'more' and 'x'"},
    {RUN " --output wwwww=y.npy", 'U', "the model has no output 'wwwww'; it has 'y' and 'z'"},
    {"run one.spec --weights w.safetensors --input z=x.npy", 'U', "the model has no input 'z'; it has 'x'"},
    {RUN " --entry decode", 'U', ""},
    {RUN " --input ids=x.npy --input x=x.npy --output y=y.npy", 'I',
     "x.npy: input ids: expected int64 or int32, found floating point"},
    {RUN " --input ids=ids.npy --input x=ids.npy --output y=y.npy", 'I',
     "ids.npy: input x: expected float32, found an integer type"},
    {RUN " --input ids=ids.npy --input x=flat.npy --output y=y.npy", 'I',
     "flat.npy: input x: expected f32[?, ?, 4], found f32[24]"},
    {RUN " --input ids=ids.npy --input x=wide.npy --output y=y.npy", 'I',
     "wide.npy: input x: expected f32[?, ?, 4], found f32[2, 3, 5]"},
    {RUN " --input ids=ids.npy --input x=deep.npy --output y=y.npy", 'I', "deep.npy: input x: expected f32[?, ?, 4], found f32[]"},
    {RUN " --input ids=ids.npy --input x=other.npy --output y=y.npy", 'I',
     "other.npy: input x: expected b to be 3 as in input ids, found 4"},
    {RUN " --input ids=large.npy --input x=x.npy --output y=y.npy", 'I',
     "large.npy: input ids: 2147483648 at 4 does not fit an int32"},
    {RUN " --input ids=small.npy --input x=x.npy --output y=y.npy", 'I',
     "small.npy: input ids: -2147483649 at 5 does not fit an int32"},
    {RUN " --input ids=no.npy --input x=x.npy --output y=y.npy", 'I', "no.npy: cannot open: No such file or directory"},
    {"run " TINY " --entry decode --weights w.safetensors", 'U',
     "entry 'decode' goes on from a state, which files do not have: use hmoec generate"},
    {GENERATE " -o t.npy --max-new-tokens 2", 'U', "expected --input input_ids=FILE.npy"},
    {GENERATE " -o t.npy --max-new-tokens 2 --input ids=ids64.npy", 'U',
     "hmoec generate has the inputs input_ids and attention_mask, not 'ids'"},
    {GENERATE " -o t.npy --input input_ids=ids64.npy --input mask=ids64.npy", 'U',
     "hmoec generate has the inputs input_ids and attention_mask, not 'mask'"},
    {GENERATE " -o t.npy --max-new-tokens 2 --input input_ids=large.npy", 'I',
     "input 'input_ids'[1, 1] = 2147483648: expected 0 to 196"},
    {GENERATE " -o t.npy --input input_ids=x.npy", 'I', "x.npy: input input_ids: expected int64 or int32, found floating point"},
    {GENERATE " -o t.npy --input input_ids=ids1.npy", 'I', "ids1.npy: input input_ids: expected [rows, length], found rank 1"},
    {GENERATE " -o t.npy --input input_ids=ids64.npy --input attention_mask=mask3.npy", 'I',
     "input attention_mask: expected [2, 3] as input_ids, found [3, 3]"},
    {GENERATE " -o t.npy --input input_ids=ids64.npy --input attention_mask=mask2.npy", 'I',
     "input attention_mask: expected [2, 3] as input_ids, found [2, 2]"},
    {GENERATE " -o t.npy --greedy --temperature 2", 'U', "--temperature and --greedy exclude each other"},
    {GENERATE " -o t.npy --greedy --top-k 2", 'U', "--top-k and --greedy exclude each other"},
    {GENERATE " -o t.npy --greedy --top-p 0.5", 'U', "--top-p and --greedy exclude each other"},
    {GENERATE " -o t.npy --greedy --min-p 0", 'U', "--min-p and --greedy exclude each other"},
    {GENERATE " -o t.npy --greedy --min-p 0.5", 'U', "--min-p and --greedy exclude each other"},
    {GENERATE " -o t.npy --greedy --seed 0", 'U', "--seed and --greedy exclude each other"},
    {GENERATE " -o t.npy --sample --beams 2", 'U', "--sample and --beams exclude each other"},
    {GENERATE " -o t.npy --seed 1 --beams 2", 'U', "--seed and --beams exclude each other"},
    {GENERATE " -o t.npy --top-k none --beams 2", 'U', "--top-k and --beams exclude each other"},
    {GENERATE " -o t.npy --greedy --beams 2", 'U', "--greedy and --beams exclude each other"},
    {GENERATE " -o t.npy --max-new-tokens 3 --min-new-tokens 4", 'U', "--min-new-tokens 4 is more than --max-new-tokens 3"},
    {GENERATE " -o t.npy --max-new-tokens 0 --min-new-tokens 1", 'U', "--min-new-tokens 1 is more than --max-new-tokens 0"},
    {GENERATE " -o t.npy --max-length 3 --min-length 4", 'U', "--min-length 4 is more than --max-length 3"},
    {GENERATE " -o t.npy --max-new-tokens 2 --input input_ids=ids64.npy --end-token 3,900", 'U',
     "--end-token: expected tokens below 197, found 900"},
    {GENERATE " -o t.npy --max-new-tokens 2 --input input_ids=ids64.npy --bad-word 900", 'U',
     "--bad-word: expected tokens below 197, found 900"},
    {GENERATE " -o no/t.npy --max-new-tokens 1 --input input_ids=ids64.npy", 'I',
     "no/t.npy: cannot write: No such file or directory"},
};

static void test_refusals(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    hmoec_status status;
    bool ok = run(refusals[i].line, &status);
    size_t length = strlen(refusals[i].message);
    if (ok || status != (refusals[i].kind == 'U' ? HMOEC_USAGE_ERROR : HMOEC_INPUT_ERROR) ||
        strncmp(messages, refusals[i].message, length) != 0 || (length && strcmp(messages + length, "\n") != 0))
      fail_msg("%s: expected %s\nfound (%d) %s", refusals[i].line, refusals[i].message, (int)status, messages);
    assert_int_not_equal(access("y.npy", F_OK), 0); /* nothing is written */
    assert_int_not_equal(access("t.npy", F_OK), 0);
  }
}

static void read_values(const char *path, hmoec_npy *out) {
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  assert_true(hmoec_npy_read(path, diagnostics, out));
  hmoec_diagnostics_destroy(diagnostics);
}

static void expect_floats(const char *path, int64_t rank, const int64_t *dims, const float *values) {
  hmoec_npy found;
  read_values(path, &found);
  assert_true(found.type == HMOEC_NPY_F32 && found.rank == rank);
  for (int64_t i = 0; i < rank; i++) assert_int_equal(found.dims[i], dims[i]);
  for (int64_t i = 0; i < found.elements; i++) {
    float value = ((const float *)found.data)[i];
    if (value < values[i] || value > values[i])
      fail_msg("%s: value %d is %g, expected %g", path, (int)i, (double)value, (double)values[i]);
  }
  hmoec_npy_deinit(&found);
  unlink(path);
}

/* y = x + row ids of the table + row `more`, which is row 0 where it is left out; z = x + x. Integers of the other width are taken where they fit. */
static void test_run(void **state) {
  (void)state;
  static const struct {
    const char *ids, *more;
    float third; /* of the table that is added: the row of `more` */
  } rows[] = {{"ids.npy", NULL, 0}, {"ids64.npy", "more.npy", 10}, {"ids.npy", "more32.npy", 10}};
  hmoec_npy table;
  float expected[24], twice[24];
  (void)table;
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
    char line[1024];
    hmoec_status status;
    for (int i = 0; i < 24; i++) {
      int token = i / 4;
      expected[i] = (float)i + (float)(10 * (token + 1)) + (float)(i % 4) + rows[r].third + (float)(i % 4);
      twice[i] = (float)(2 * i);
    }
    snprintf(line, sizeof line, RUN " --input ids=%s --input x=x.npy%s%s --output z=z.npy --output y=y.npy", rows[r].ids,
             rows[r].more ? " --input more=" : "", rows[r].more ? rows[r].more : "");
    if (!run(line, &status)) fail_msg("%s: %s", line, messages);
    assert_string_equal(messages, "");
    expect_floats("y.npy", 3, (const int64_t[]){2, 3, 4}, expected);
    expect_floats("z.npy", 3, (const int64_t[]){2, 3, 4}, twice);
  }
  hmoec_status status;
  if (!run(RUN " --input ids=ids.npy --input x=x.npy --output z=z.npy", &status)) fail_msg("%s", messages); /* one of the two */
  expect_floats("z.npy", 3, (const int64_t[]){2, 3, 4}, twice);
  assert_int_not_equal(access("y.npy", F_OK), 0);
}

/* The prompt, then what was generated, without gaps; a mask that ends in padding is warned of. */
static void test_generate(void **state) {
  (void)state;
  hmoec_status status;
  hmoec_npy found;
  if (!run(GENERATE " -o t.npy --max-new-tokens 5 --greedy --beams 1 --input input_ids=ids64.npy", &status))
    fail_msg("%s", messages);
  assert_string_equal(messages, "");
  read_values("t.npy", &found);
  const int64_t *tokens = found.data;
  assert_true(found.type == HMOEC_NPY_I64 && found.rank == 2 && found.dims[0] == 2 && found.dims[1] == 8);
  for (int i = 0; i < 16; i++)
    if (i % 8 < 3) assert_int_equal(tokens[i], i / 8 * 3 + i % 8 + 1);
    else assert_true(tokens[i] >= 0 && tokens[i] < 197);
  int64_t first = tokens[3];
  hmoec_npy_deinit(&found);
  /* The first token generated is an end: both rows are done when they have it, and the columns that nobody filled are not there. */
  char line[1024];
  snprintf(line, sizeof line, GENERATE " -o t.npy --max-new-tokens 5 --input input_ids=one.npy --end-token %lld", (long long)first);
  if (!run(line, &status)) fail_msg("%s", messages);
  read_values("t.npy", &found);
  assert_true(found.dims[0] == 1 && found.dims[1] == 4 && ((const int64_t *)found.data)[3] == first);
  hmoec_npy_deinit(&found);
  static const struct {
    const char *mask, *warning;
  } masks[] = {
      {"left.npy", ""},
      {"right.npy",
       "right.npy: 1 row ends in padding, row 1 first: generation continues behind it; pad prompts of a decoder on the left\n"},
      {"both.npy",
       "both.npy: 2 rows end in padding, row 0 first: generation continues behind it; pad prompts of a decoder on the left\n"}};
  for (size_t i = 0; i < 3; i++) {
    snprintf(line, sizeof line, GENERATE " -o t.npy --max-new-tokens 1 --input input_ids=ids64.npy --input attention_mask=%s",
             masks[i].mask);
    if (!run(line, &status)) fail_msg("%s", messages);
    assert_string_equal(messages, masks[i].warning);
  }
  /* Rows of one token, of none, and no rows: the warning comes before the prompt is looked at. */
  if (!run(GENERATE " -o t.npy --max-new-tokens 1 --input input_ids=tall.npy --input attention_mask=tall_mask.npy", &status))
    fail_msg("%s", messages);
  assert_string_equal(messages,
                      "tall_mask.npy: 2 rows end in padding, row 1 first: generation continues behind it; pad prompts of a "
                      "decoder on the left\n");
  assert_false(run(GENERATE " -o t.npy --max-new-tokens 1 --input input_ids=thin.npy --input attention_mask=thin.npy", &status));
  assert_string_equal(messages, "generate: prompt.input_ids: expected at least one token a row, found none\n");
  if (!run(GENERATE " -o t.npy --max-new-tokens 1 --input input_ids=empty.npy --input attention_mask=empty.npy", &status))
    fail_msg("%s", messages);
  assert_string_equal(messages, "");
  unlink("t.npy");
}

static void write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  assert_int_equal(fclose(file), 0);
}

static hmoec_diagnostics *sink;
static void write_values(const char *path, hmoec_npy_type type, int64_t rank, const int64_t *dims, const void *values) {
  assert_true(hmoec_npy_write(path, type, rank, dims, values, sink));
}
#define DIMS(...)                                                                                                                  \
  sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (const int64_t[]) { __VA_ARGS__ }

/* A .safetensors file of two tables: row r of t, column c is 10 r + c, and of u the same. */
static void write_weights(void) {
  char header[256];
  float tables[2][7][4];
  for (int t = 0; t < 2; t++)
    for (int r = 0; r < 7; r++)
      for (int c = 0; c < 4; c++) tables[t][r][c] = (float)(10 * r + c);
  int length =
      snprintf(header, sizeof header,
               "{\"t\":{\"dtype\":\"F32\",\"shape\":[7,4],\"data_offsets\":[0,112]},\"u\":{\"dtype\":\"F32\",\"shape\":[7,4],"
               "\"data_offsets\":[112,224]}}");
  uint64_t size = (uint64_t)length;
  FILE *file = fopen("w.safetensors", "wb");
  assert_non_null(file);
  assert_true(fwrite(&size, sizeof size, 1, file) == 1 && fwrite(header, size, 1, file) == 1 &&
              fwrite(tables, sizeof tables, 1, file) == 1);
  assert_int_equal(fclose(file), 0);
}

static int setup(void **state) {
  (void)state;
  static const int64_t ids64[] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, large[] = {1, 2, 3, 4, INT64_C(1) << 31, 6},
                       small[] = {1, 2, 3, 4, 5, -(INT64_C(1) << 31) - 1}, more[] = {1, 1, 1, 1, 1, 1}, left[] = {0, 1, 1, 1, 1, 1},
                       right[] = {1, 1, 1, 1, 1, 0}, both[] = {1, 1, 0, 1, 0, 0};
  static const int32_t ids[] = {1, 2, 3, 4, 5, 6}, more32[] = {1, 1, 1, 1, 1, 1};
  float x[40];
  for (int i = 0; i < 40; i++) x[i] = (float)i;
  if (!mkdtemp(folder) || chdir(folder) != 0) return -1;
  sink = hmoec_diagnostics_create(stderr);
  write_text("layer.spec", "model layer\ndim a = ?, b = ?\ninput ids: i32[a, b]\ninput more: i64[a, b] = 0\ninput x: f32[a, b, 4]\n"
                           "param t: [7, 4] from \"t\"\nparam u: [7, 4] from \"u\"\n"
                           "output y = add(add(x, embedding(ids, t)), embedding(more, u))\noutput z = add(x, x)\n");
  write_text("one.spec", "model one\ndim n = ?\ninput x: f32[n, 4]\noutput y = add(x, x)\n");
  write_weights();
  write_values("ids.npy", HMOEC_NPY_I32, DIMS(2, 3), ids);
  write_values("ids64.npy", HMOEC_NPY_I64, DIMS(2, 3), ids64);
  write_values("ids1.npy", HMOEC_NPY_I64, DIMS(6), ids64);
  write_values("one.npy", HMOEC_NPY_I64, DIMS(1, 3), ids64);
  write_values("mask3.npy", HMOEC_NPY_I64, DIMS(3, 3), ids64);
  write_values("mask2.npy", HMOEC_NPY_I64, DIMS(2, 2), ids64);
  write_values("large.npy", HMOEC_NPY_I64, DIMS(2, 3), large);
  write_values("small.npy", HMOEC_NPY_I64, DIMS(2, 3), small);
  write_values("more.npy", HMOEC_NPY_I64, DIMS(2, 3), more);
  write_values("more32.npy", HMOEC_NPY_I32, DIMS(2, 3), more32);
  write_values("left.npy", HMOEC_NPY_I64, DIMS(2, 3), left);
  write_values("right.npy", HMOEC_NPY_I64, DIMS(2, 3), right);
  write_values("both.npy", HMOEC_NPY_I64, DIMS(2, 3), both);
  write_values("tall.npy", HMOEC_NPY_I64, DIMS(4, 1), ids64);
  write_values("tall_mask.npy", HMOEC_NPY_I64, DIMS(4, 1), both + 1);
  write_values("thin.npy", HMOEC_NPY_I64, DIMS(2, 0), ids64);
  write_values("empty.npy", HMOEC_NPY_I64, DIMS(0, 3), ids64);
  write_values("x.npy", HMOEC_NPY_F32, DIMS(2, 3, 4), x);
  write_values("wide.npy", HMOEC_NPY_F32, DIMS(2, 3, 5), x);
  write_values("other.npy", HMOEC_NPY_F32, DIMS(2, 4, 4), x);
  write_values("flat.npy", HMOEC_NPY_F32, DIMS(24), x);
  write_values("deep.npy", HMOEC_NPY_F32, DIMS(1, 1, 2, 3, 4), x);
  hmoec_options options = {
      .struct_size = sizeof options, .defines = (const hmoec_define[]){{"layers", "1"}, {"condition", "none"}}, .define_count = 2};
  hmoec_compilation *tiny;
  bool ok = hmoec_compile_file(HMOE_SOURCE_DIR "/models/gpt2-hypermoe-tiny.spec", &options, &tiny) == HMOEC_OK &&
            hmoec_compilation_random_weights(tiny, 3, "tiny.safetensors") == HMOEC_OK;
  hmoec_compilation_destroy(tiny);
  return ok ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  char command[64];
  hmoec_diagnostics_destroy(sink);
  snprintf(command, sizeof command, "rm -r %s", folder);
  return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_refusals), cmocka_unit_test(test_run), cmocka_unit_test(test_generate)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
