/* The table of kernel families: what is written is read again, the dialect declares the attributes that are written, fields out of range are
 * refused by name, and ops of no family are no kernels. */
#include "module_fixture.h"

#include <stdio.h>

#include <mlir-c/BuiltinAttributes.h>

#include "ir/hmk_ops.h"
#include "kernel/family.h"

extern const char hmoec_hmk_irdl[];

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

/* One of each, every field another value than 0, buffers aside. */
static const hmoec_matmul_spec product = {
    .k = 33,
    .n = 40,
    .a_stride = 48,
    .c_stride = 64,
    .format = HMOEC_FORMAT_BF16,
    .a_format = HMOEC_FORMAT_BF16,
    .c_format = HMOEC_FORMAT_BF16,
    .a_in_place = true,
    .c_padded = true,
    .accumulate = true,
    .paired = true,
    .b_group_bytes = 4096,
    .bias_group_floats = 64,
    .pass_ld = 80,
    .segments = 2,
    .segment = {{1, HMOEC_ACTIVATION_RELU, true, false}, {2, HMOEC_ACTIVATION_SILU, false, true}},
    .dropped_column = 32,
    .dropped_k_begin = 32,
    .norm = HMOEC_NORM_RMS,
    .norm_epsilon = 1e-6,
    .norm_scale = 0.5,
    .row_block = 24};

static hmoec_kernel kernel_of(hmoec_kernel_family family) {
  hmoec_kernel kernel;
  memset(&kernel, 0, sizeof kernel);
  kernel.family = family;
  switch (family) {
  case HMOEC_KERNEL_MATMUL: kernel.spec.matmul = product; break;
  case HMOEC_KERNEL_FFN:
    kernel.spec.ffn = (hmoec_ffn_spec){.first = product, .second = product, .chunk_columns = 96};
    kernel.spec.ffn.first.n = 96;
    kernel.spec.ffn.first.pass_ld = 0; /* the second product's alone */
    kernel.spec.ffn.second.norm = HMOEC_NORM_NONE; /* the first one's alone */
    kernel.spec.ffn.second.norm_epsilon = kernel.spec.ffn.second.norm_scale = 0;
    break;
  case HMOEC_KERNEL_ROUTE:
    kernel.spec.route = (hmoec_route_spec){8, 2, 32, HMOEC_GATE_SCORE, HMOEC_ACTIVATION_SIGMOID, true, 5};
    break;
  case HMOEC_KERNEL_COMBINE: kernel.spec.combine = (hmoec_combine_spec){7, 2, 32, 64, true, 5}; break;
  case HMOEC_KERNEL_SELECT: kernel.spec.select = (hmoec_select_spec){8, 2, 31, 48, HMOEC_UNSELECTED, true, 16}; break;
  case HMOEC_KERNEL_CONTRACT: kernel.spec.contract = (hmoec_contract_spec){9, 4, 320, 16, 32, 64, 32, false, 8}; break;
  case HMOEC_KERNEL_ROWS:
    kernel.spec.rows = (hmoec_rows_spec){7, 8, 2, 9, 1, 3, -0.5, false, false, true, true, HMOEC_ACTIVATION_GELU, 16};
    break;
  case HMOEC_KERNEL_NORM:
    kernel.spec.norm = (hmoec_norm_spec){HMOEC_NORM_LAYER, 7, 8, 32, 1e-5, 0.125, HMOEC_FORMAT_BF16, false, 16};
    break;
  case HMOEC_KERNEL_EMBED: kernel.spec.embed = (hmoec_embed_spec){7, 32, HMOEC_TABLE_RIGHT, HMOEC_FORMAT_BF16, true, 8}; break;
  case HMOEC_KERNEL_STORE: kernel.spec.store = (hmoec_store_spec){2, 16, 32, 48, 32}; break;
  case HMOEC_KERNEL_ATTENTION:
    kernel.spec.attention = (hmoec_attention_spec){2, 16, 48, 64, 0.25, true, false, false, HMOEC_FORMAT_BF16, 200, 70, 32, 8};
    break;
  case HMOEC_KERNEL_PACK_ROWS:
    kernel.spec.pack_rows = (hmoec_pack_rows_spec){7, 32, 64, HMOEC_FORMAT_BF16, false, false, HMOEC_NORM_RMS, 1e-6, 0.5, 16};
    break;
  case HMOEC_KERNEL_FAMILY_COUNT: break;
  }
  return kernel;
}

/* What the target gives, of the kernels above. */
static int64_t row_block_of(const hmoec_kernel *kernel) {
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL:
  case HMOEC_KERNEL_FFN: return product.row_block;
  case HMOEC_KERNEL_ROUTE:
  case HMOEC_KERNEL_COMBINE: return 5;
  case HMOEC_KERNEL_CONTRACT:
  case HMOEC_KERNEL_EMBED: return 8;
  case HMOEC_KERNEL_STORE: return 32;
  default: return 16;
  }
}

/* The op that a kernel is written as, with buffers of these roles in name alone. */
static MlirOperation op_of(MlirContext context, const hmoec_kernel *kernel, const char *const *roles, intptr_t role_count) {
  MlirNamedAttribute attributes[HMOEC_KERNEL_MAX_ATTRIBUTES + 1];
  size_t count = hmoec_kernel_write(kernel, context, NULL, attributes);
  assert_in_range(count, 1, HMOEC_KERNEL_MAX_ATTRIBUTES);
  MlirAttribute bind[HMOEC_MAX_ROLES];
  for (intptr_t i = 0; i < role_count; i++) bind[i] = mlirStringAttrGet(context, ref(roles[i]));
  attributes[count++] = (MlirNamedAttribute){mlirIdentifierGet(context, ref("bind")), mlirArrayAttrGet(context, role_count, bind)};
  char name[64];
  snprintf(name, sizeof name, "hmk.%s", hmoec_family_op(kernel->family));
  MlirOperationState state = mlirOperationStateGet(ref(name), mlirLocationUnknownGet(context));
  mlirOperationStateAddAttributes(&state, (intptr_t)count, attributes);
  MlirOperation op = mlirOperationCreate(&state);
  static const char *const scheduled[] = {"row_block", "chunk_columns", "query_block"};
  hmoec_kernel_write_layout(kernel, kernel, NULL, op);
  hmoec_hmk_schedule_set(op, scheduled, (const int64_t[]){row_block_of(kernel), 96, 8}, 3);
  return op;
}

static void test_read_what_was_written(void **state) {
  (void)state;
  module_fixture f;
  fixture_init(&f, NULL);
  for (int i = 0; i < HMOEC_KERNEL_FAMILY_COUNT; i++) {
    hmoec_kernel kernel = kernel_of((hmoec_kernel_family)i), back;
    char buffer[HMOEC_KERNEL_CHARS];
    assert_null(hmoec_kernel_field_defect(&kernel, NULL, buffer));
    MlirOperation op = op_of(f.context, &kernel, NULL, 0);
    assert_true(hmoec_kernel_read(op, NULL, &back));
    char was[HMOEC_KERNEL_CHARS], is[HMOEC_KERNEL_CHARS];
    assert_string_equal(hmoec_kernel_print(&back, NULL, is), hmoec_kernel_print(&kernel, NULL, was));
    mlirOperationDestroy(op);
  }
  fixture_deinit(&f);
}

/* What a kernel is called where its code could not be made: its fields, those of 0 left out and those out of range unread. */
static void test_printed(void **state) {
  (void)state;
  static const char *const texts[HMOEC_KERNEL_FAMILY_COUNT] = {
      [HMOEC_KERNEL_MATMUL] =
          "matmul k=33 n=40 a_stride=48 c_stride=64 format=bf16 a_format=bf16 c_format=bf16 a_in_place c_padded accumulate paired "
          "segments=relu to 1 gated segments=silu to 2 multiply dropped=32,32 b_group_bytes=4096 bias_group_floats=64 pass_ld=80 "
          "row_block=24 norm=rms norm_epsilon=1e-06 norm_scale=0.5",
      [HMOEC_KERNEL_ROUTE] = "route experts=8 top_k=2 ldl=32 gate=sigmoid renorm row_block=5",
      [HMOEC_KERNEL_COMBINE] = "combine n=7 top_k=2 ld_slots=32 ld_y=64 accumulate row_block=5",
      [HMOEC_KERNEL_SELECT] = "select experts=8 top_k=2 embedding=31 ld_out=48 of=unselected mean row_block=16",
      [HMOEC_KERNEL_CONTRACT] = "contract hidden=9 bottleneck=4 ld1=320 ldr=16 ldb=32 ldv=64 step=32 row_block=8",
      [HMOEC_KERNEL_ROWS] = "rows n=7 ld_in=8 in_step=2 ld_out=9 padding=1 ld_factor=3 scale=-0.5 factor_columns accumulate "
                            "function=gelu row_block=16",
      [HMOEC_KERNEL_FFN] =
          "ffn k=33 n=40 a_stride=48 c_stride=64 format=bf16 a_format=bf16 c_format=bf16 a_in_place c_padded accumulate paired "
          "segments=relu to 1 gated segments=silu to 2 multiply dropped=32,32 b_group_bytes=4096 bias_group_floats=64 pass_ld=80 "
          "row_block=24 norm=rms norm_epsilon=1e-06 norm_scale=0.5 first_k=33 first_n=96 first_a_stride=48 first_c_stride=64 "
          "first_format=bf16 first_a_format=bf16 first_c_format=bf16 first_a_in_place first_c_padded first_accumulate first_paired "
          "first_segments=relu to 1 gated first_segments=silu to 2 multiply first_dropped=32,32 first_b_group_bytes=4096 "
          "first_bias_group_floats=64 chunk_columns=96",
      [HMOEC_KERNEL_NORM] = "norm kind=layer n=7 ld_x=8 ld_out=32 epsilon=1e-05 scale=0.125 out_format=bf16 row_block=16",
      [HMOEC_KERNEL_EMBED] = "embed n=7 ld_out=32 table=right format=bf16 accumulate row_block=8",
      [HMOEC_KERNEL_STORE] = "store heads=2 head_size=16 ld_k=32 ld_v=48 row_block=32",
      [HMOEC_KERNEL_ATTENTION] = "attention heads=2 head_size=16 ld_q=48 ld_out=64 scale=0.25 causal out_format=bf16 bias_ld=200 "
                                 "bias_zero=70 max_distance=32 query_block=8",
      [HMOEC_KERNEL_PACK_ROWS] =
          "pack_rows n=7 a_stride=32 out_stride=64 format=bf16 norm=rms norm_epsilon=1e-06 norm_scale=0.5 row_block=16",
  };
  for (int i = 0; i < HMOEC_KERNEL_FAMILY_COUNT; i++) {
    hmoec_kernel kernel = kernel_of((hmoec_kernel_family)i);
    char text[HMOEC_KERNEL_CHARS];
    assert_string_equal(hmoec_kernel_print(&kernel, NULL, text), texts[i]);
  }
  hmoec_kernel kernel = {.family = HMOEC_KERNEL_MATMUL, .spec.matmul = product};
  char text[HMOEC_KERNEL_CHARS];
  kernel.spec.matmul.segments = 3;
  kernel.spec.matmul.format = (hmoec_format)99;
  kernel.spec.matmul.k = kernel.spec.matmul.pass_ld = 0;
  assert_string_equal(
      hmoec_kernel_print(&kernel, NULL, text),
      "matmul k=? n=40 a_stride=48 c_stride=64 format=? a_format=bf16 c_format=bf16 a_in_place c_padded accumulate paired "
      "segments=? "
      "dropped=32,32 b_group_bytes=4096 bias_group_floats=64 row_block=24 norm=rms norm_epsilon=1e-06 norm_scale=0.5");
  kernel.family = HMOEC_KERNEL_FAMILY_COUNT;
  assert_string_equal(hmoec_kernel_print(&kernel, NULL, text), "unknown");
}

/* Buffers that are there or not, and who of a pair has them. */
static void test_buffers(void **state) {
  (void)state;
  module_fixture f;
  fixture_init(&f, NULL);
  static const char *const all[] = {"a",        "b",          "c",    "blocks",     "gather",  "scatter",   "bias",
                                    "row_gate", "gated_bias", "pass", "pass_index", "first_b", "first_bias"};
  hmoec_kernel kernel = kernel_of(HMOEC_KERNEL_MATMUL), back;
  MlirOperation op = op_of(f.context, &kernel, all, 11);
  assert_true(hmoec_kernel_read(op, NULL, &back));
  const hmoec_matmul_spec *m = &back.spec.matmul;
  assert_true(m->grouped && m->has_gather && m->has_scatter && m->has_bias && m->has_row_gate && m->has_gated_bias && m->has_pass);
  mlirOperationDestroy(op);

  kernel = kernel_of(HMOEC_KERNEL_FFN);
  op = op_of(f.context, &kernel, all, 13);
  assert_true(hmoec_kernel_read(op, NULL, &back));
  const hmoec_matmul_spec *first = &back.spec.ffn.first, *second = &back.spec.ffn.second;
  assert_true(first->grouped && first->has_gather && first->has_bias && first->has_row_gate);
  assert_false(first->has_scatter || first->has_gated_bias || first->has_pass);
  assert_true(second->grouped && second->has_scatter && second->has_bias && second->has_row_gate && second->has_gated_bias &&
              second->has_pass);
  assert_false(second->has_gather);
  assert_int_equal(first->row_block, 24);
  mlirOperationDestroy(op);

  /* gates are those of the second product alone where no segment of the first is gated */
  kernel.spec.ffn.first.segment[0].gated = false;
  op = op_of(f.context, &kernel, all, 13);
  assert_true(hmoec_kernel_read(op, NULL, &back));
  assert_false(first->has_row_gate);
  assert_true(second->has_row_gate);
  mlirOperationDestroy(op);

  kernel = kernel_of(HMOEC_KERNEL_ATTENTION);
  op = op_of(f.context, &kernel, (const char *const[]){"q", "mask"}, 2);
  assert_true(hmoec_kernel_read(op, NULL, &back));
  assert_true(back.spec.attention.has_mask && !back.spec.attention.has_bias);
  mlirOperationDestroy(op);
  fixture_deinit(&f);
}

/* "name" = between the braces of the attributes of the dialect's op, in IRDL's text. */
static bool declares(const char *op, const char *attribute) {
  char head[96], entry[96];
  snprintf(head, sizeof head, "irdl.operation @%s {", op);
  snprintf(entry, sizeof entry, "\"%s\" = ", attribute);
  const char *at = strstr(hmoec_hmk_irdl, head), *list = at ? strstr(at, "irdl.attributes {") : NULL;
  const char *end = list ? strchr(list, '}') : NULL, *found = list ? strstr(list, entry) : NULL;
  return found && end && found < end;
}

static size_t declared_count(const char *op) {
  char head[96];
  snprintf(head, sizeof head, "irdl.operation @%s {", op);
  const char *list = strstr(strstr(hmoec_hmk_irdl, head), "irdl.attributes {"), *end = strchr(list, '}');
  size_t count = 0;
  for (; list < end; list++) count += *list == '=';
  return count;
}

static void test_dialect_declares_what_is_written(void **state) {
  (void)state;
  static const char *const of_steps[] = {"bind", "rows"};
  module_fixture f;
  fixture_init(&f, NULL);
  for (int i = 0; i < HMOEC_KERNEL_FAMILY_COUNT; i++) {
    hmoec_kernel kernel = kernel_of((hmoec_kernel_family)i);
    const char *op = hmoec_family_op(kernel.family);
    MlirNamedAttribute attributes[HMOEC_KERNEL_MAX_ATTRIBUTES];
    size_t count = hmoec_kernel_write(&kernel, f.context, NULL, attributes);
    for (size_t a = 0; a < count; a++) {
      MlirStringRef name = mlirIdentifierStr(attributes[a].name);
      char text[64];
      snprintf(text, sizeof text, "%.*s", (int)name.length, name.data);
      if (!declares(op, text)) fail_msg("hmk.%s does not declare %s", op, text);
    }
    for (size_t a = 0; a < 2; a++) assert_true(declares(op, of_steps[a]));
    assert_int_equal(declared_count(op), count + 2 + declares(op, "dims"));
  }
  fixture_deinit(&f);
}

/* Which facts of layouts each family asks for, in order, and of which buffers; each answer is its own number. */
typedef struct asked {
  char text[1024];
  int64_t count;
} asked;

static int64_t answer(void *context, hmoec_fact fact, const hmoec_fact_source *source) {
  static const char *const names[] = {"none",    "stride", "group",   "group_bytes", "in_place", "padded",
                                      "padding", "depth",  "columns", "zero",        "step"};
  asked *a = context;
  size_t used = strlen(a->text);
  snprintf(a->text + used, sizeof a->text - used, " %s(%s%s)", names[fact], source->hidden ? "hidden " : "", source->role);
  if (fact == HMOEC_FACT_DEPTH) return 64;
  if (fact == HMOEC_FACT_COLUMNS) return 128;
  return 1000 + a->count++;
}

#define PRODUCT(a, b, c, bias)                                                                                                     \
  " depth(" a ") columns(" b ") stride(" a ") stride(" c ") in_place(" a ") padded(" c ") group_bytes(" b ") group(" bias ")"

static void test_facts(void **state) {
  (void)state;
  static const char *const expected[HMOEC_KERNEL_FAMILY_COUNT] = {
      [HMOEC_KERNEL_MATMUL] = PRODUCT("a", "b", "c", "bias") " stride(pass)",
      [HMOEC_KERNEL_FFN] = PRODUCT("hidden a", "b", "c", "bias") " stride(pass)" PRODUCT("a", "first_b", "hidden c", "first_bias"),
      [HMOEC_KERNEL_ROUTE] = " stride(logits)",
      [HMOEC_KERNEL_COMBINE] = " stride(slots) stride(y)",
      [HMOEC_KERNEL_SELECT] = " stride(out)",
      [HMOEC_KERNEL_CONTRACT] = " stride(t1) stride(r) stride(beta) stride(v) step(t1)",
      [HMOEC_KERNEL_ROWS] = " stride(in) stride(out) padding(out) stride(factor)",
      [HMOEC_KERNEL_NORM] = " stride(x) stride(out)",
      [HMOEC_KERNEL_EMBED] = " stride(out)",
      [HMOEC_KERNEL_STORE] = " stride(k) stride(v)",
      [HMOEC_KERNEL_ATTENTION] = " stride(q) stride(out) stride(bias) zero(bias)",
      [HMOEC_KERNEL_PACK_ROWS] = " stride(a) stride(out)"};
  module_fixture f;
  fixture_init(&f, NULL);
  for (int i = 0; i < HMOEC_KERNEL_FAMILY_COUNT; i++) {
    asked a = {.count = 0};
    hmoec_kernel planned = kernel_of((hmoec_kernel_family)i), placed = planned, back;
    hmoec_kernel_place(&placed, answer, &a);
    assert_string_equal(a.text, expected[i]);
    MlirOperation op = op_of(f.context, &planned, NULL, 0); /* what was placed is in its layout, the plan beside it */
    hmoec_kernel_write_layout(&placed, &planned, NULL, op);
    assert_true(hmoec_kernel_read(op, NULL, &back));
    char was[HMOEC_KERNEL_CHARS], is[HMOEC_KERNEL_CHARS];
    assert_string_equal(hmoec_kernel_print(&back, NULL, is), hmoec_kernel_print(&placed, NULL, was));
    mlirOperationRemoveAttributeByName(op, ref("layout"));
    assert_true(hmoec_kernel_read(op, NULL, &back));
    if (i == HMOEC_KERNEL_MATMUL) assert_true(back.spec.matmul.k == planned.spec.matmul.k && back.spec.matmul.a_stride == 0);
    mlirOperationDestroy(op);
  }
  fixture_deinit(&f);
  hmoec_kernel kernel = kernel_of(HMOEC_KERNEL_MATMUL);
  hmoec_kernel_place(&kernel, answer, &(asked){.count = 0});
  const hmoec_matmul_spec *m = &kernel.spec.matmul;
  assert_true(m->k == 64 && m->n == 128 && m->a_stride == 1000 && m->c_stride == 1001 && m->a_in_place && m->c_padded &&
              m->b_group_bytes == 1004 && m->bias_group_floats == 1005 && m->pass_ld == 1006);
  /* A depth that is all of it stays so, and the last segment ends where the columns do; others keep their places. */
  assert_true(m->dropped_k_begin == 32 && m->dropped_column == 32 && m->segment[0].end == 1 && m->segment[1].end == 128);
  kernel = kernel_of(HMOEC_KERNEL_MATMUL);
  kernel.spec.matmul.dropped_k_begin = kernel.spec.matmul.k;
  kernel.spec.matmul.dropped_column = 64; /* none: n up to a whole column step */
  hmoec_kernel_place(&kernel, answer, &(asked){.count = 0});
  assert_true(m->dropped_k_begin == 64 && m->dropped_column == 128);
}

static void test_fields_out_of_range(void **state) {
  (void)state;
  char buffer[HMOEC_KERNEL_CHARS], text[HMOEC_KERNEL_CHARS];
  hmoec_kernel k = kernel_of(HMOEC_KERNEL_MATMUL);
#define REFUSED(words) assert_string_equal(hmoec_kernel_field_defect(&k, NULL, buffer), words)
  k.spec.matmul.n = 0;
  REFUSED("matmul: n out of range");
  k.spec.matmul.n = 1;
  k.spec.matmul.dropped_k_begin = -1;
  REFUSED("matmul: dropped out of range");
  k.spec.matmul.dropped_k_begin = 0;
  k.spec.matmul.segments = 3;
  REFUSED("matmul: segments out of range");
  k.spec.matmul.segments = 1;
  k.spec.matmul.segment[0].activation = HMOEC_ACTIVATION_COUNT;
  REFUSED("matmul: segments out of range");
  assert_non_null(strstr(hmoec_kernel_print(&k, NULL, text), "segments=?"));
  k.spec.matmul.segment[0].activation = HMOEC_ACTIVATION_NONE;
  k.spec.matmul.norm = HMOEC_NORM_COUNT;
  REFUSED("matmul: norm out of range");
  k.spec.matmul.norm = HMOEC_NORM_NONE;
  k.spec.matmul.norm_epsilon = -1;
  REFUSED("matmul: norm_epsilon out of range");
  k.spec.matmul.norm_epsilon = 0;
  k.spec.matmul.row_block = 0;
  REFUSED("matmul: row_block out of range");
  k.spec.matmul.row_block = 1;
  assert_null(hmoec_kernel_field_defect(&k, NULL, buffer));
  k = kernel_of(HMOEC_KERNEL_FFN);
  k.spec.ffn.first.k = 0;
  REFUSED("ffn: first_k out of range");
  k = kernel_of(HMOEC_KERNEL_ROUTE);
  k.spec.route.gate = HMOEC_GATE_COUNT;
  REFUSED("route: gate out of range");
  k = kernel_of(HMOEC_KERNEL_EMBED);
  k.spec.embed.layout = (hmoec_table_layout)3;
  REFUSED("embed: table out of range");
  assert_non_null(strstr(hmoec_kernel_print(&k, NULL, text), "table=?"));
  k.family = HMOEC_KERNEL_FAMILY_COUNT;
  REFUSED("unknown kernel family");
  assert_string_equal(hmoec_kernel_print(&k, NULL, text), "unknown");
}

static void test_no_kernel(void **state) {
  (void)state;
  module_fixture f;
  fixture_init(&f, NULL);
  static const char *const names[] = {"hmk.copy", "hmk.buffer", "hmk.nothing", "hmoe.combine", "combine"};
  mlirContextSetAllowUnregisteredDialects(f.context, true);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    MlirOperationState op_state = mlirOperationStateGet(ref(names[i]), mlirLocationUnknownGet(f.context));
    MlirOperation op = mlirOperationCreate(&op_state);
    hmoec_kernel kernel;
    assert_false(hmoec_kernel_read(op, NULL, &kernel));
    mlirOperationDestroy(op);
  }
  fixture_deinit(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_read_what_was_written),
                                     cmocka_unit_test(test_printed),
                                     cmocka_unit_test(test_buffers),
                                     cmocka_unit_test(test_dialect_declares_what_is_written),
                                     cmocka_unit_test(test_facts),
                                     cmocka_unit_test(test_fields_out_of_range),
                                     cmocka_unit_test(test_no_kernel)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
