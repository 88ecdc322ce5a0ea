/* What explain says of memory, against what the runtime makes of the plan; FLOPs of whole runs; and what entries take, for many models. */
#include "library_fixture.h"

#include "hmoe/abi.h"
#include "library/session.h"
#include "runtime_internal.h"

typedef struct report {
  char text[1 << 16];
  size_t size;
} report;

static void print_into(void *context, const char *text, size_t bytes) {
  report *all = context;
  assert_true(all->size + bytes < sizeof all->text);
  memcpy(all->text + all->size, text, bytes);
  all->size += bytes;
  all->text[all->size] = 0;
}

static const void *at(const hmoec_unit *unit, hmoe_plan_span span) { return (const char *)unit->plan + span.offset; }

/* Slots of an entry, as the runtime sizes them: inputs are `first`, then `rest`; a state has `rows` rows and nothing in them. */
static uint64_t workspace_of(const hmoec_unit *unit, uint32_t index, int64_t first, int64_t rest, int64_t rows) {
  enum { MOST = 512 };
  const hmoe_plan *plan = unit->plan;
  const hmoe_plan_entry *entry = (const hmoe_plan_entry *)at(unit, plan->entries) + index;
  const hmoe_plan_dim *dims = at(unit, entry->dims);
  const hmoe_plan_buffer *buffers = at(unit, entry->buffers);
  int64_t values[MOST] = {0};
  uint64_t slots[MOST] = {0}, total = 0;
  assert_true(entry->dims.count <= MOST && entry->slots <= MOST);
  for (uint32_t i = 0; i < entry->dims.count; i++) {
    if (dims[i].kind == HMOE_DIM_INPUT) values[i] = i == 0 ? first : rest;
    if (dims[i].kind == HMOE_DIM_CHUNK || dims[i].kind == HMOE_DIM_MISSING) values[i] = (int64_t)dims[i].factor;
    if (dims[i].kind == HMOE_DIM_STATE) values[i] = dims[i].source % 3 == 0 ? rows : 0;
  }
  hmoe_workspace workspace = {.dims = values};
  hmoe_run run = {.entry = entry, .entry_index = index, .dims = dims, .workspace = &workspace};
  assert_int_equal(hmoe_run_derive_dims(&run), HMOE_OK);
  for (uint32_t i = 0; i < entry->buffers.count; i++) {
    if (buffers[i].kind != HMOE_BUFFER_WORKSPACE) continue;
    uint64_t bytes = buffers[i].fixed_bytes;
    if (buffers[i].dim != HMOE_NONE) bytes += buffers[i].bytes_per_row * (uint64_t)values[buffers[i].dim];
    if (bytes > slots[buffers[i].index]) slots[buffers[i].index] = bytes;
  }
  for (uint32_t i = 0; i < entry->slots; i++) total += slots[i];
  return total;
}

/* The last before times are predicted. */
static void expect_last(const char *text, const char *expected) {
  const char *times = strstr(text, "\nPredicted, not measured: ");
  assert_non_null(times);
  size_t size = (size_t)(times - text), length = strlen(expected);
  if (size < length || strncmp(text + size - length, expected, length) != 0)
    fail_msg("expected at the end\n%sfound\n%s", expected, size > 2000 ? text + size - 2000 : text);
}

static void test_memory(void **state) {
  (void)state;
  static const struct {
    const char *model, *dtype;
    hmoec_define defines[5];
    int64_t rows, tokens;
  } cases[] = {
      {"moe-layer", "f32", {{"d_model", "40"}, {"d_ff", "56"}}, 1, 50000},
      {"hypermoe-layer", "f32", {{"d_model", "40"}, {"d_ff", "56"}, {"strategy", "table"}, {"top_k", "2"}}, 1, 40001},
      {"hypermoe-layer", "bf16", {{"d_model", "40"}, {"d_ff", "56"}, {"strategy", "cache"}, {"top_k", "2"}}, 1, 40001},
      {"hypermoe-layer", "f32", {{"d_model", "40"}, {"d_ff", "56"}, {"strategy", "factored"}}, 1, 30001},
      {"hypermoe-layer", "f32", {{"d_model", "40"}, {"d_ff", "56"}, {"strategy", "per_token"}}, 1, 20001},
      {"hypermoe-layer", "f32", {{"d_model", "40"}, {"d_ff", "56"}, {"capacity", "3"}}, 1, 0},
      {"gpt2-hypermoe-tiny", "f32", {{"layers", "2"}}, 3000, 61},
      {"gpt2-hypermoe-tiny", "bf16", {{"layers", "1"}, {"top_k", "2"}}, 700, 33},
      {"switch-hypermoe-tiny", "f32", {{NULL, NULL}}, 900, 77},
      {"switch-hypermoe-tiny", "f32", {{NULL, NULL}}, 1, 1},
  };
  static const char *const scopes[] = {"generated token", "token of the source"};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    messages all;
    hmoec_options options = options_to(&all);
    char path[256], expected[4096];
    size_t used = 0;
    report found = {.size = 0};
    options.dtype = cases[c].dtype;
    options.defines = cases[c].defines;
    while (options.define_count < 5 && cases[c].defines[options.define_count].name) options.define_count++;
    snprintf(path, sizeof path, "%s/models/%s.spec", HMOE_SOURCE_DIR, cases[c].model);
    const int64_t rows = cases[c].rows, tokens = cases[c].tokens;
    const hmoec_explain_options how = {
        .struct_size = sizeof how, .tokens = &tokens, .rows = rows, .print = print_into, .print_context = &found};
    assert_int_equal(hmoec_explain(path, &options, &how), HMOEC_OK);

    hmoec_session session;
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
    options.tokens = rows * tokens; /* what explain weighs strategies for */
    assert_true(hmoec_session_init(&session, &options, diagnostics) && hmoec_session_load(&session, path) &&
                hmoec_session_plan(&session));
    const hmoec_unit *unit = &session.unit;
    const hmoe_plan *plan = unit->plan;
    const hmoe_plan_entry *entries = at(unit, plan->entries);
    bool whole = plan->entries.count > 2;
    uint64_t bytes = workspace_of(unit, 1, whole ? rows : tokens, tokens, rows);
    for (uint32_t i = 1; i < plan->entries.count; i++)
      if (entries[i].name.count == 7 && memcmp(at(unit, entries[i].name), "forward", 7) == 0)
        bytes = workspace_of(unit, i, rows, tokens, rows);
    used += (size_t)snprintf(
        expected, sizeof expected,
        "\n\npacked weights %.1f MB; workspace %.1f MB a concurrent run of %lld tokens, and %.1f MB a thread; %.1f MB while "
        "opening; %zu kernels\n",
        (double)plan->weight_bytes / 1e6, (double)bytes / 1e6, (long long)(rows * tokens), (double)unit->scratch_bytes / 1e6,
        (double)workspace_of(unit, 0, 0, 0, 0) / 1e6, unit->kernel_count);
    for (uint32_t i = 1; whole && i < plan->entries.count; i++) {
      /* What goes on from a state does so a token at a time; one input size is the length, two begin with the batch. */
      int64_t length = entries[i].advance[0] == HMOE_NONE ? tokens : 1;
      bytes = workspace_of(unit, i, entries[i].dim_names.count > 1 ? rows : length, length, rows);
      used +=
          (size_t)snprintf(expected + used, sizeof expected - used, "entry %.*s, %lld x %lld tokens: workspace %.1f MB, %u steps\n",
                           (int)entries[i].name.count, (const char *)at(unit, entries[i].name), (long long)rows, (long long)length,
                           (double)bytes / 1e6, entries[i].steps.count);
    }
    const hmoe_plan_state *states = at(unit, plan->states);
    for (uint32_t scope = 0; scope < 2 && plan->states.count; scope++) {
      uint64_t kept = 0;
      for (uint32_t i = 0; i < plan->states.count; i++) kept += states[i].scope == scope ? states[i].position_bytes : 0;
      used += (size_t)snprintf(expected + used, sizeof expected - used, "%s%.1f KB of every %s%s", scope ? ", " : "a state keeps ",
                               (double)kept / 1e3, scopes[scope], scope ? "\n" : "");
    }
    assert_true(used < sizeof expected);
    expect_last(found.text, expected);
    assert_string_equal(all.text, "");
    hmoec_session_deinit(&session);
    hmoec_diagnostics_destroy(diagnostics);
  }
}

/* FLOPs of a run are those of its ops that run, whatever is done at open or once a selection set. */
static void test_flops(void **state) {
  (void)state;
  static const struct {
    const char *strategy;
    double router_and_experts, hyper; /* a token */
  } rows[] = {{"table", 2.0 * 8 * 40 + 4.0 * 56 * 40, 4.0 * 40 * 64},
              {"cache", 2.0 * 8 * 40 + 4.0 * 56 * 40, 4.0 * 40 * 64},
              {"per_token", 2.0 * 8 * 40 + 4.0 * 56 * 40, 4.0 * 40 * 64}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    messages all;
    hmoec_options options = options_to(&all);
    hmoec_compilation *compilation;
    const hmoec_define defines[] = {{"d_model", "40"}, {"d_ff", "56"}, {"strategy", rows[i].strategy}};
    options.defines = defines;
    options.define_count = 3;
    assert_int_equal(hmoec_compile_file(HMOE_SOURCE_DIR "/models/hypermoe-layer.spec", &options, &compilation), HMOEC_OK);
    double one = hmoec_compilation_flops(compilation, 1, 1), many = hmoec_compilation_flops(compilation, 1000, 1);
    double least = rows[i].router_and_experts + rows[i].hyper;
    if (i == 2) assert_true(one > least + 2.0 * 2 * 128 * 40 * 64); /* it generates for every token, too */
    else if (one < least || one > least) fail_msg("%s: expected %g, found %g", rows[i].strategy, least, one);
    assert_true(many >= 1000 * one && many <= 1000 * one);
    double no_rows = hmoec_compilation_flops(compilation, 1, 0); /* as of layers, which have none */
    assert_true(no_rows >= one && no_rows <= one);
    assert_true(hmoec_compilation_flops(compilation, 0, 0) <= 0 && hmoec_compilation_flops(compilation, 1, -1) <= 0);
    hmoec_compilation_destroy(compilation);
  }
  /* Attention is by rows: twice the rows of half the length have half the products of queries and keys. */
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_compilation *compilation;
  options.defines = &(const hmoec_define){"layers", "1"};
  options.define_count = 1;
  assert_int_equal(hmoec_compile_file(HMOE_SOURCE_DIR "/models/gpt2-hypermoe-tiny.spec", &options, &compilation), HMOEC_OK);
  double one = hmoec_compilation_flops(compilation, 48, 1), two = hmoec_compilation_flops(compilation, 48, 2);
  assert_true(one - two >= 48.0 * 4 * 48 * 24 && one - two <= 48.0 * 4 * 48 * 24);
  hmoec_compilation_destroy(compilation);
}

/* Of an entry that goes on from a state the caller gives the length alone. */
static void test_sizes_of_states(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all);
  hmoec_compilation *compilation;
  hmoec_signature signature;
  options.defines = &(const hmoec_define){"layers", "1"};
  options.define_count = 1;
  assert_int_equal(hmoec_compile_file(HMOE_SOURCE_DIR "/models/gpt2-hypermoe-tiny.spec", &options, &compilation), HMOEC_OK);
  assert_int_equal(hmoec_compilation_signature(compilation, "decode", &signature), HMOEC_OK);
  assert_true(signature.needs_state && signature.size_count == 1 && signature.input_count == 2);
  for (size_t i = 0; i < 2; i++)
    assert_true(signature.inputs[i].sizes[0] == HMOEC_SIZE_OF_STATE && signature.inputs[i].sizes[1] == 0);
  assert_true(signature.outputs[0].sizes[0] == HMOEC_SIZE_OF_STATE && signature.outputs[0].shape.dims[1] == 197);
  hmoec_compilation_destroy(compilation);
}

/* A strategy of the options is one that is forced, but for auto. */
static void test_strategies(void **state) {
  (void)state;
  static const char *const strategies[] = {"auto", "factored"};
  for (size_t i = 0; i < 2; i++) {
    messages all;
    report found = {.size = 0};
    hmoec_options options = options_to(&all);
    options.strategy = strategies[i];
    const hmoec_explain_options how = {.struct_size = sizeof how, .print = print_into, .print_context = &found};
    assert_int_equal(hmoec_explain(HMOE_SOURCE_DIR "/models/hypermoe-layer.spec", &options, &how), HMOEC_OK);
    assert_true(!strstr(found.text, "factored: forced by an option") == (i == 0));
  }
}

static void test_refused_sizes(void **state) {
  (void)state;
  messages all;
  hmoec_options options = options_to(&all);
  static const int64_t most = 1 << 26, more = (1 << 26) + 1, negative = -1;
  const struct {
    const int64_t *tokens;
    int64_t rows;
    bool ok;
  } rows[] = {{&most, 1, true},    {&more, 1, false}, {&negative, 1, false},
              {NULL, more, false}, {NULL, -1, false}, {NULL, most, true}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    hmoec_explain_options how = {.struct_size = sizeof how, .tokens = rows[i].tokens, .rows = rows[i].rows};
    options = options_to(&all);
    hmoec_status found = hmoec_explain(HMOE_SOURCE_DIR "/models/moe-layer.spec", &options, &how);
    assert_int_equal(found, rows[i].ok ? HMOEC_OK : HMOEC_USAGE_ERROR);
    assert_string_equal(all.text, rows[i].ok ? "" : "hmoec: error: expected tokens and rows to be from 0 to 67108864\n");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory), cmocka_unit_test(test_flops),
                                     cmocka_unit_test(test_sizes_of_states), cmocka_unit_test(test_strategies),
                                     cmocka_unit_test(test_refused_sizes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
