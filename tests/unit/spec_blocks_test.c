/* Blocks of a spec that a program calls: what such a spec may hold, what a block is given, and what comes back, tensor by tensor. */
#include "frontend/spec_blocks.h"

#include "ir/ops.h"
#include "spec_testing.h"

static const hmoec_location here = {.file = "program.c", .line = 3, .column = 5};

/* A builder with an input x f32[?, 8], and blocks on it. */
typedef struct bench {
  char *messages;
  size_t size;
  FILE *stream;
  hmoec_diagnostics *diagnostics;
  hmoec_builder *builder;
  hmoec_spec_blocks *blocks;
  MlirValue x;
} bench;

static void keep(void *user, const hmoec_message *message) {
  fprintf(user, "%s%s:%u:%u: %s", ftell(user) ? "\n" : "", message->at.file ? message->at.file : "", message->at.line,
          message->at.column, message->text);
}

static void bench_init(bench *b) {
  b->stream = open_memstream(&b->messages, &b->size);
  b->diagnostics = hmoec_diagnostics_create_with(keep, b->stream);
  b->builder = hmoec_builder_create(test_context(), b->diagnostics, here, "m", NULL);
  b->blocks = hmoec_spec_blocks_create(b->diagnostics, b->builder);
  assert_true(hmoec_builder_input(b->builder, here, "x", &(hmoec_shape){.rank = 2, .dims = {HMOEC_DYNAMIC, 8}}, &b->x));
}

static bool add(bench *b, const char *file, const char *text, const hmoec_define *defines, size_t define_count) {
  const hmoec_spec_reader reader = {.read = test_files_read};
  return hmoec_spec_blocks_add(b->blocks, &reader, file, text, strlen(text), defines, define_count);
}

static void bench_check(bench *b, const char *messages) {
  fflush(b->stream);
  assert_string_equal(b->messages, messages);
}

static void bench_deinit(bench *b) {
  hmoec_spec_blocks_destroy(b->blocks);
  hmoec_builder_destroy(b->builder);
  hmoec_diagnostics_destroy(b->diagnostics);
  fclose(b->stream);
  free(b->messages);
}

static void test_declarations(void **state) {
  (void)state;
#define NOTHING_ELSE                                                                                                               \
  "a spec whose blocks are called from a program has dims, options, checks and blocks at its top level, nothing else"
  static const struct {
    const char *text, *messages;
  } rows[] = {
      {"", ""},
      {"dim h = 8\noption o = a in {a, b}\ncheck o == a, \"no\"\nblock b() { }\n", ""},
      {"model m\n", "s.spec:1:1: " NOTHING_ELSE},
      {"dim n = ?\ninput z: f32[n]\n", "s.spec:2:1: " NOTHING_ELSE},
      {"param z: [3] from \"z\"\n", "s.spec:1:1: " NOTHING_ELSE},
      {"output y = x\n", "s.spec:1:1: " NOTHING_ELSE},
      {"z = 3\n", "s.spec:1:1: " NOTHING_ELSE},
      {"for l in 0..1 { }\n", "s.spec:1:1: " NOTHING_ELSE},
      {"if 1 { }\n", "s.spec:1:1: " NOTHING_ELSE},
      {"scope \"a\" { }\n", "s.spec:1:1: " NOTHING_ELSE},
      {"generation { }\n", "s.spec:1:1: " NOTHING_ELSE},
      {"b()\ndim h = 3\nz = 3\n", "s.spec:1:1: " NOTHING_ELSE "\ns.spec:3:1: " NOTHING_ELSE},
      {"dim h = \n", "s.spec:1:9: expected an expression, found the end of the line"},
      {"dim h = 8, h = 9\n", "s.spec:1:12: 'h' is declared twice\ns.spec:1:5: first declared here"},
      {"check 0, \"no\"\n", "s.spec:1:1: no"},
      {"block b(p) { output z = p }\n", "s.spec:1:14: output cannot stand in a block: pass values as arguments and return them"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    bench b;
    bench_init(&b);
    assert_int_equal(add(&b, "s.spec", rows[i].text, NULL, 0), !*rows[i].messages);
    bench_check(&b, rows[i].messages);
    bench_deinit(&b);
  }
  hmoec_spec_blocks_destroy(NULL);
}

#define TEXT                                                                                                                       \
  "dim h = 8, e = 4\noption o = 3, act = relu in {relu, gelu}, eps = 0.5\n"                                                        \
  "block nothing() { }\nblock same(p) { return p }\nblock two(p, q = p) { return p, q }\nblock number() { return o }\n"            \
  "block word() { return act }\nblock weight() {\n  param w: [h, 8] from \"w.{o}\"\n  return w\n}\n"                               \
  "block routed(p) { return route(p, top_k = 2) }\nblock mixed(p) {\n  t = route(p, top_k = 2)\n  return p, t, p if 0\n}\n"        \
  "block gates(t) { return t.gates }\nblock sized(k) {\n  param w: [k, 8] from \"sized\"\n  return w\n}\n"                         \
  "block activated(p, f) { return activate(p, function = f) }\nblock normed(p, d) {\n  param g: [8] from \"g\"\n"                  \
  "  return rms_norm(p, g, epsilon = d)\n}\nblock forever() { for i in 0..9999 { for j in 0..9999 { } } }\n"                       \
  "block biased(p, b) {\n  param w: [8, 8] from \"v\"\n  return linear(p, w, b)\n}\nblock failing() { return foo }\n"

static hmoec_spec_argument tensor(const MlirValue *value) { return (hmoec_spec_argument){.tensors = value, .tensor_count = 1}; }

/* The shapes that come back, "-" for one that is absent. */
static const char *shapes_of(const MlirValue *values, size_t count) {
  static char text[512];
  *text = '\0';
  for (size_t i = 0; i < count; i++) {
    hmoec_shape shape;
    char one[HMOEC_SHAPE_CHARS] = "-";
    if (!mlirValueIsNull(values[i])) {
      assert_true(hmoec_shape_from_type(mlirValueGetType(values[i]), &shape));
      hmoec_shape_string(&shape, one, sizeof one);
    }
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? "; " : "", one);
  }
  return text;
}

static void test_calls(void **state) {
  (void)state;
  enum { NONE, X, X_X, X_NAMED, INTEGER, X_WORD, X_NUMBER, ABSENT, X_ABSENT, BUNDLE, ALL_BUNDLE };
  static const struct {
    const char *block;
    int arguments;
    size_t room;
    const char *results, *messages; /* results NULL: it fails */
  } rows[] = {
      {"nothing", NONE, 0, "", ""},
      {"same", X, 1, "f32[?, 8]", ""},
      {"same", X, 4, "f32[?, 8]", ""},
      {"same", X, 0, NULL, "program.c:3:5: the block returns more than 0 values"},
      {"same", ABSENT, 1, "-", ""},
      {"same", X_NAMED, 1, "f32[?, 8]", ""},
      {"same", NONE, 1, NULL, "program.c:3:5: block same: argument 'p' is missing"},
      {"same", X_X, 1, NULL, "program.c:3:5: block same takes no more than 1 arguments"},
      {"nothing", X_NAMED, 1, NULL, "program.c:3:5: block nothing has no argument 'p'"},
      {"two", X, 2, "f32[?, 8]; f32[?, 8]", ""},
      {"two", X_X, 2, "f32[?, 8]; f32[?, 8]", ""},
      {"two", X_ABSENT, 2, "f32[?, 8]; -", ""},
      {"two", X, 1, NULL, "program.c:3:5: the block returns more than 1 values"},
      {"number", NONE, 1, NULL, "program.c:3:5: the block returns the integer 3, not a tensor"},
      {"word", NONE, 1, NULL, "program.c:3:5: the block returns the word 'relu', not a tensor"},
      {"weight", NONE, 1, "f32[8, 8]", ""},
      {"routed", X, 3, "i32[?, 2]; f32[?, 2]; i1[?, 2]", ""},
      {"routed", X, 2, NULL, "program.c:3:5: the block returns more than 2 values"},
      {"mixed", X, 5, "f32[?, 8]; i32[?, 2]; f32[?, 2]; i1[?, 2]; -", ""},
      {"mixed", X, 4, NULL, "program.c:3:5: the block returns more than 4 values"},
      {"gates", BUNDLE, 1, NULL,
       "s.spec:17:27: 'gates' is not one of the results of route (indices)\nprogram.c:3:5: in block gates, called here"},
      {"gates", ALL_BUNDLE, 1, "f32[?, 2]", ""},
      {"sized", INTEGER, 1, "f32[5, 8]", ""},
      {"activated", X_WORD, 1, "f32[?, 8]", ""},
      {"normed", X_NUMBER, 1, "f32[?, 8]", ""},
      {"biased", X_ABSENT, 1, "f32[?, 8]", ""},
      {"failing", NONE, 1, NULL, "s.spec:32:26: there is nothing named 'foo' here\nprogram.c:3:5: in block failing, called here"},
      {"sam", X, 1, NULL, "program.c:3:5: there is no block named 'sam'; did you mean 'same'?"},
      {"zzzzz", X, 1, NULL, "program.c:3:5: there is no block named 'zzzzz'"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    bench b;
    bench_init(&b);
    assert_true(add(&b, "s.spec", TEXT, NULL, 0));
    MlirValue null = {NULL}, routed[4] = {null, null, null, null}, out[8];
    size_t count = 77, routed_count;
    hmoec_spec_argument first = tensor(&b.x);
    assert_true(hmoec_spec_blocks_call(b.blocks, here, "", "routed", &first, 1, routed, 3, &routed_count));
    assert_int_equal(routed_count, 3);
    const MlirValue partial[] = {routed[0], null};
    hmoec_spec_argument arguments[2] = {first, first};
    size_t given = rows[i].arguments == NONE ? 0 : 1;
    switch (rows[i].arguments) {
    case X_X: given = 2; break;
    case X_NAMED: arguments[0].name = "p"; break;
    case INTEGER: arguments[0] = (hmoec_spec_argument){.kind = HMOEC_SPEC_INTEGER, .integer = 5}; break;
    case X_WORD: arguments[1] = (hmoec_spec_argument){.kind = HMOEC_SPEC_WORD, .word = "gelu"}, given = 2; break;
    case X_NUMBER: arguments[1] = (hmoec_spec_argument){.kind = HMOEC_SPEC_NUMBER, .number = 0.25}, given = 2; break;
    case ABSENT: arguments[0] = tensor(&null); break;
    case X_ABSENT: arguments[1] = tensor(&null), given = 2; break;
    case BUNDLE: arguments[0] = (hmoec_spec_argument){.tensors = partial, .tensor_count = 2, .bundle = "route"}; break;
    case ALL_BUNDLE: arguments[0] = (hmoec_spec_argument){.tensors = routed, .tensor_count = 3, .bundle = "route"}; break;
    default: break;
    }
    bool ok = hmoec_spec_blocks_call(b.blocks, here, "", rows[i].block, arguments, given, out, rows[i].room, &count);
    bench_check(&b, rows[i].messages);
    assert_int_equal(ok, rows[i].results != NULL);
    if (ok) assert_string_equal(shapes_of(out, count), rows[i].results);
    bench_deinit(&b);
  }
}

/* Options and dims are what was said when they were added; later texts see them, and each call is alone. */
static void test_state(void **state) {
  (void)state;
  bench b;
  bench_init(&b);
  static const hmoec_define defines[] = {{"h", "4"}, {"o", "7"}}, wrong = {"hh", "4"};
  MlirValue out[1], first;
  size_t count;
  assert_true(add(&b, "s.spec", TEXT, defines, 2));
  assert_true(hmoec_spec_blocks_call(b.blocks, here, "a.b", "weight", NULL, 0, &first, 1, &count));
  assert_string_equal(shapes_of(&first, count), "f32[4, 8]");
  MlirOperation parameter = mlirOpResultGetOwner(first);
  assert_true(mlirStringRefEqual(hmoec_op_string(parameter, "key"), mlirStringRefCreateFromCString("a.b.w.7")));
  assert_true(hmoec_spec_blocks_call(b.blocks, here, "", "weight", NULL, 0, out, 1, &count));
  assert_true(mlirStringRefEqual(hmoec_op_string(mlirOpResultGetOwner(out[0]), "key"), mlirStringRefCreateFromCString("w.7")));
  /* What was said of another text does not go on. */
  assert_true(add(&b, "t.spec", "dim f = h + 1\nblock later() {\n  param v: [f, 8] from \"v\"\n  return v\n}\n", NULL, 0));
  assert_true(hmoec_spec_blocks_call(b.blocks, here, "", "later", NULL, 0, out, 1, &count));
  assert_string_equal(shapes_of(out, count), "f32[5, 8]");
  bench_check(&b, "");
  /* A call that fails is no end. */
  assert_false(hmoec_spec_blocks_call(b.blocks, here, "", "forever", NULL, 0, out, 1, &count));
  assert_true(hmoec_spec_blocks_call(b.blocks, here, "", "weight", NULL, 0, out, 1, &count));
  assert_false(add(&b, "u.spec", "dim h = 9\n", NULL, 0));
  assert_true(add(&b, "v.spec", "dim g = 9\n", NULL, 0));
  assert_false(add(&b, "w.spec", "dim k = 9\n", &wrong, 1));
  bench_check(&b, "s.spec:27:38: the spec takes too many steps to evaluate; do its loops have the right bounds?\n"
                  "program.c:3:5: in block forever, called here\n"
                  "u.spec:1:5: 'h' is declared twice\ns.spec:1:5: first declared here\n"
                  "-D hh=4:0:0: the spec has no dim or option 'hh'; did you mean 'h'?\n"
                  "-D hh=4:0:0: dims: h, e, f, g, k\n-D hh=4:0:0: options: o, act, eps");
  bench_deinit(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_declarations), cmocka_unit_test(test_calls),
                                     cmocka_unit_test(test_state)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
