#include "kernel/family.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#include "ir/hmk_ops.h"
#include "plain_text.h"

typedef enum field_kind {
  INT = 1,    /* int64_t */
  INTS,       /* int64_t[2], an array */
  FLAG,       /* bool, 0 or 1 */
  LISTED,     /* bool: whether the list `flags` has its name */
  NUMBER,     /* double, at least 0 */
  REAL,       /* double, finite */
  NAME,       /* enum: the number of a name */
  ACTIVATION, /* hmoec_activation */
  GATE,       /* hmoec_gate, followed by the hmoec_activation that is its score */
  SEGMENTS,   /* int64_t, followed by the segments */
  BOUND,      /* bool: whether the op has a buffer of this role; not an attribute */
} field_kind;

typedef struct field {
  const char *name;
  field_kind kind;
  size_t offset; /* in the description */
  int64_t least; /* INT, INTS */
  const char *const *names; /* NAME: NULL-terminated */
  bool scheduled; /* in the op's schedule, not an attribute of its own */
  hmoec_fact fact; /* of layouts: what `place` makes it */
  const char *of;  /* the role of the buffer that the fact is of */
} field;

/* What INTS, SEGMENTS and GATE take to lie one behind the other. */
_Static_assert(offsetof(hmoec_matmul_spec, dropped_k_begin) == offsetof(hmoec_matmul_spec, dropped_column) + sizeof(int64_t), "");
_Static_assert(offsetof(hmoec_matmul_spec, segment) == offsetof(hmoec_matmul_spec, segments) + sizeof(int64_t), "");
_Static_assert(offsetof(hmoec_route_spec, score) == offsetof(hmoec_route_spec, gate) + sizeof(hmoec_gate), "");

static const char *const norms[] = {"none", "rms", "layer", NULL};
static const char *const layouts[] = {"rows", "right", NULL};
static const char *const selections[] = {"selected", "unselected", NULL};

#define FIELD(text, type, member, what) {.name = text, .kind = what, .offset = offsetof(type, member)}
#define COUNT(text, type, member) {.name = text, .kind = INT, .offset = offsetof(type, member), .least = 1}
#define KNOB(text, type, member) {.name = text, .kind = INT, .offset = offsetof(type, member), .least = 1, .scheduled = true}
/* Facts of layouts alone: nothing before `place`, and then in the op's layout. */
#define STRIDE(text, type, member, role)                                                                                           \
  {.name = text, .kind = INT, .offset = offsetof(type, member), .fact = HMOEC_FACT_STRIDE, .of = role}
#define FACT(text, type, member, what, which, role)                                                                                \
  {.name = text, .kind = what, .offset = offsetof(type, member), .fact = which, .of = role}
/* What the plan says, and layouts may extend. */
#define EXTENDED(text, type, member, which, role)                                                                                  \
  {.name = text, .kind = INT, .offset = offsetof(type, member), .least = 1, .fact = which, .of = role}
#define CHOICE(text, type, member, list) {.name = text, .kind = NAME, .offset = offsetof(type, member), .names = list}
#define END {.name = NULL}

/* One product; the first of a fused pair has the same fields, their names behind "first_". */
static const field product_fields[] = {
    EXTENDED("k", hmoec_matmul_spec, k, HMOEC_FACT_DEPTH, "a"),
    EXTENDED("n", hmoec_matmul_spec, n, HMOEC_FACT_COLUMNS, "b"),
    STRIDE("a_stride", hmoec_matmul_spec, a_stride, "a"),
    STRIDE("c_stride", hmoec_matmul_spec, c_stride, "c"),
    CHOICE("format", hmoec_matmul_spec, format, hmoec_format_names),
    CHOICE("a_format", hmoec_matmul_spec, a_format, hmoec_format_names),
    CHOICE("c_format", hmoec_matmul_spec, c_format, hmoec_format_names),
    FACT("a_in_place", hmoec_matmul_spec, a_in_place, FLAG, HMOEC_FACT_IN_PLACE, "a"),
    FACT("c_padded", hmoec_matmul_spec, c_padded, FLAG, HMOEC_FACT_PADDED, "c"),
    FIELD("accumulate", hmoec_matmul_spec, accumulate, LISTED),
    FIELD("paired", hmoec_matmul_spec, paired, LISTED),
    FIELD("few_rows", hmoec_matmul_spec, few_rows, LISTED),
    FIELD("dropped_bare", hmoec_matmul_spec, dropped_bare, LISTED),
    FIELD("a_loose", hmoec_matmul_spec, a_loose, LISTED),
    FIELD("c_loose", hmoec_matmul_spec, c_loose, LISTED),
    FIELD("segments", hmoec_matmul_spec, segments, SEGMENTS),
    FIELD("dropped", hmoec_matmul_spec, dropped_column, INTS),
    FACT("b_group_bytes", hmoec_matmul_spec, b_group_bytes, INT, HMOEC_FACT_GROUP_BYTES, "b"),
    FACT("bias_group_floats", hmoec_matmul_spec, bias_group_floats, INT, HMOEC_FACT_GROUP, "bias"),
    END};
static const field step_fields[] = {
    STRIDE("pass_ld", hmoec_matmul_spec, pass_ld, "pass"),     KNOB("row_block", hmoec_matmul_spec, row_block),
    FIELD("blocks", hmoec_matmul_spec, grouped, BOUND),        FIELD("gather", hmoec_matmul_spec, has_gather, BOUND),
    FIELD("scatter", hmoec_matmul_spec, has_scatter, BOUND),   FIELD("bias", hmoec_matmul_spec, has_bias, BOUND),
    FIELD("row_gate", hmoec_matmul_spec, has_row_gate, BOUND), FIELD("gated_bias", hmoec_matmul_spec, has_gated_bias, BOUND),
    FIELD("pass", hmoec_matmul_spec, has_pass, BOUND),         END};
static const field prologue_fields[] = {CHOICE("norm", hmoec_matmul_spec, norm, norms),
                                        FIELD("norm_epsilon", hmoec_matmul_spec, norm_epsilon, NUMBER),
                                        FIELD("norm_scale", hmoec_matmul_spec, norm_scale, REAL), END};

static const field ffn_fields[] = {KNOB("chunk_columns", hmoec_ffn_spec, chunk_columns),
                                   FIELD("first_bias", hmoec_ffn_spec, first.has_bias, BOUND), END};

static const field route_fields[] = {COUNT("experts", hmoec_route_spec, experts),
                                     COUNT("top_k", hmoec_route_spec, top_k),
                                     STRIDE("ldl", hmoec_route_spec, ldl, "logits"),
                                     FIELD("gate", hmoec_route_spec, gate, GATE),
                                     FIELD("renorm", hmoec_route_spec, renorm, FLAG),
                                     KNOB("row_block", hmoec_route_spec, row_block),
                                     END};

static const field combine_fields[] = {COUNT("n", hmoec_combine_spec, n),
                                       COUNT("top_k", hmoec_combine_spec, top_k),
                                       STRIDE("ld_slots", hmoec_combine_spec, ld_slots, "slots"),
                                       STRIDE("ld_y", hmoec_combine_spec, ld_y, "y"),
                                       FIELD("accumulate", hmoec_combine_spec, accumulate, FLAG),
                                       KNOB("row_block", hmoec_combine_spec, row_block),
                                       END};

static const field select_fields[] = {
    COUNT("experts", hmoec_select_spec, experts),     COUNT("top_k", hmoec_select_spec, top_k),
    COUNT("embedding", hmoec_select_spec, embedding), STRIDE("ld_out", hmoec_select_spec, ld_out, "out"),
    CHOICE("of", hmoec_select_spec, of, selections),  FIELD("mean", hmoec_select_spec, mean, FLAG),
    KNOB("row_block", hmoec_select_spec, row_block),  END};

static const field contract_fields[] = {COUNT("hidden", hmoec_contract_spec, hidden),
                                        COUNT("bottleneck", hmoec_contract_spec, bottleneck),
                                        STRIDE("ld1", hmoec_contract_spec, ld1, "t1"),
                                        STRIDE("ldr", hmoec_contract_spec, ldr, "r"),
                                        STRIDE("ldb", hmoec_contract_spec, ldb, "beta"),
                                        STRIDE("ldv", hmoec_contract_spec, ldv, "v"),
                                        FACT("step", hmoec_contract_spec, step, INT, HMOEC_FACT_STEP, "t1"),
                                        FIELD("beta", hmoec_contract_spec, has_beta, BOUND),
                                        KNOB("row_block", hmoec_contract_spec, row_block),
                                        END};

static const field rows_fields[] = {COUNT("n", hmoec_rows_spec, n),
                                    STRIDE("ld_in", hmoec_rows_spec, ld_in, "in"),
                                    COUNT("in_step", hmoec_rows_spec, in_step),
                                    STRIDE("ld_out", hmoec_rows_spec, ld_out, "out"),
                                    FACT("padding", hmoec_rows_spec, padding, INT, HMOEC_FACT_PADDING, "out"),
                                    STRIDE("ld_factor", hmoec_rows_spec, ld_factor, "factor"),
                                    FIELD("scale", hmoec_rows_spec, scale, REAL),
                                    FIELD("index", hmoec_rows_spec, has_index, BOUND),
                                    FIELD("factor", hmoec_rows_spec, has_factor, BOUND),
                                    FIELD("factor_columns", hmoec_rows_spec, factor_columns, FLAG),
                                    FIELD("accumulate", hmoec_rows_spec, accumulate, FLAG),
                                    FIELD("function", hmoec_rows_spec, activation, ACTIVATION),
                                    KNOB("row_block", hmoec_rows_spec, row_block),
                                    END};

static const field norm_fields[] = {CHOICE("kind", hmoec_norm_spec, kind, norms),
                                    COUNT("n", hmoec_norm_spec, n),
                                    STRIDE("ld_x", hmoec_norm_spec, ld_x, "x"),
                                    STRIDE("ld_out", hmoec_norm_spec, ld_out, "out"),
                                    FIELD("epsilon", hmoec_norm_spec, epsilon, NUMBER),
                                    FIELD("scale", hmoec_norm_spec, scale, REAL),
                                    CHOICE("out_format", hmoec_norm_spec, out_format, hmoec_format_names),
                                    FIELD("index", hmoec_norm_spec, has_index, BOUND),
                                    KNOB("row_block", hmoec_norm_spec, row_block),
                                    END};

static const field pack_rows_fields[] = {COUNT("n", hmoec_pack_rows_spec, n),
                                         STRIDE("a_stride", hmoec_pack_rows_spec, a_stride, "a"),
                                         STRIDE("out_stride", hmoec_pack_rows_spec, out_stride, "out"),
                                         CHOICE("format", hmoec_pack_rows_spec, format, hmoec_format_names),
                                         CHOICE("norm", hmoec_pack_rows_spec, norm, norms),
                                         FIELD("norm_epsilon", hmoec_pack_rows_spec, norm_epsilon, NUMBER),
                                         FIELD("norm_scale", hmoec_pack_rows_spec, norm_scale, REAL),
                                         FIELD("blocks", hmoec_pack_rows_spec, grouped, BOUND),
                                         FIELD("gather", hmoec_pack_rows_spec, has_gather, BOUND),
                                         KNOB("row_block", hmoec_pack_rows_spec, row_block),
                                         END};

static const field embed_fields[] = {COUNT("n", hmoec_embed_spec, n),
                                     STRIDE("ld_out", hmoec_embed_spec, ld_out, "out"),
                                     CHOICE("table", hmoec_embed_spec, layout, layouts),
                                     CHOICE("format", hmoec_embed_spec, format, hmoec_format_names),
                                     FIELD("accumulate", hmoec_embed_spec, accumulate, FLAG),
                                     KNOB("row_block", hmoec_embed_spec, row_block),
                                     END};

static const field store_fields[] = {
    COUNT("heads", hmoec_store_spec, heads),        COUNT("head_size", hmoec_store_spec, head_size),
    STRIDE("ld_k", hmoec_store_spec, ld_k, "k"),    STRIDE("ld_v", hmoec_store_spec, ld_v, "v"),
    KNOB("row_block", hmoec_store_spec, row_block), END};

static const field attention_fields[] = {COUNT("heads", hmoec_attention_spec, heads),
                                         COUNT("head_size", hmoec_attention_spec, head_size),
                                         STRIDE("ld_q", hmoec_attention_spec, ld_q, "q"),
                                         STRIDE("ld_out", hmoec_attention_spec, ld_out, "out"),
                                         FIELD("scale", hmoec_attention_spec, scale, NUMBER),
                                         FIELD("causal", hmoec_attention_spec, causal, FLAG),
                                         FIELD("bias", hmoec_attention_spec, has_bias, BOUND),
                                         FIELD("mask", hmoec_attention_spec, has_mask, BOUND),
                                         CHOICE("out_format", hmoec_attention_spec, out_format, hmoec_format_names),
                                         STRIDE("bias_ld", hmoec_attention_spec, bias_ld, "bias"),
                                         FACT("bias_zero", hmoec_attention_spec, bias_zero, INT, HMOEC_FACT_ZERO, "bias"),
                                         FIELD("max_distance", hmoec_attention_spec, max_distance, INT),
                                         KNOB("query_block", hmoec_attention_spec, query_block),
                                         END};

/* A description's fields stand in parts: each of them a list, its place in hmoec_kernel, and what its names begin with. */
typedef struct part {
  const field *fields;
  size_t offset;
  const char *prefix;
  const char *hidden; /* the role that is the hidden block between two products, or NULL */
} part;

enum { MOST_PARTS = 5, NAME_CHARS = 64 };

typedef struct family_info {
  const char *name, *op;
  part parts[MOST_PARTS];
} family_info;

#define PRODUCT(list, member, begins, block) {list, offsetof(hmoec_kernel, spec.member), begins, block}
#define PART(list, member, begins) PRODUCT(list, member, begins, NULL)

static const family_info families[HMOEC_KERNEL_FAMILY_COUNT] = {
    [HMOEC_KERNEL_MATMUL] = {"matmul",
                             "grouped_matmul",
                             {PART(product_fields, matmul, ""), PART(step_fields, matmul, ""), PART(prologue_fields, matmul, "")}},
    [HMOEC_KERNEL_FFN] = {"ffn",
                          "grouped_ffn",
                          {PRODUCT(product_fields, ffn.second, "", "a"), PART(step_fields, ffn.second, ""),
                           PART(prologue_fields, ffn.first, ""), PRODUCT(product_fields, ffn.first, "first_", "c"),
                           PART(ffn_fields, ffn, "")}},
    [HMOEC_KERNEL_ROUTE] = {"route", "route_topk", {PART(route_fields, route, "")}},
    [HMOEC_KERNEL_COMBINE] = {"combine", "combine", {PART(combine_fields, combine, "")}},
    [HMOEC_KERNEL_SELECT] = {"select", "select_embedding", {PART(select_fields, select, "")}},
    [HMOEC_KERNEL_CONTRACT] = {"contract", "contract", {PART(contract_fields, contract, "")}},
    [HMOEC_KERNEL_ROWS] = {"rows", "map_rows", {PART(rows_fields, rows, "")}},
    [HMOEC_KERNEL_NORM] = {"norm", "norm_rows", {PART(norm_fields, norm, "")}},
    [HMOEC_KERNEL_PACK_ROWS] = {"pack_rows", "pack_rows", {PART(pack_rows_fields, pack_rows, "")}},
    [HMOEC_KERNEL_EMBED] = {"embed", "embed_rows", {PART(embed_fields, embed, "")}},
    [HMOEC_KERNEL_STORE] = {"store", "store_kv", {PART(store_fields, store, "")}},
    [HMOEC_KERNEL_ATTENTION] = {"attention", "attention", {PART(attention_fields, attention, "")}},
};

const char *hmoec_family_name(hmoec_kernel_family family) { return families[family].name; }

const char *hmoec_family_op(hmoec_kernel_family family) { return families[family].op; }

/* ---- the loop over a description's fields ---- */

typedef struct cursor {
  const part *part;
  const field *field; /* NULL: before the first */
  size_t parts_left;
  char name[NAME_CHARS]; /* with its prefix */
  size_t offset;         /* in hmoec_kernel */
} cursor;

static bool next(cursor *c) {
  c->field = c->field ? c->field + 1 : c->part->fields;
  while (!c->field->name) {
    if (--c->parts_left == 0 || !(++c->part)->fields) return false;
    c->field = c->part->fields;
  }
  snprintf(c->name, sizeof c->name, "%s%s", c->part->prefix, c->field->name);
  c->offset = c->part->offset + c->field->offset;
  return true;
}

/* for (cursor c = each(family); next(&c);) */
static cursor each(hmoec_kernel_family family) { return (cursor){.part = families[family].parts, .parts_left = MOST_PARTS}; }

static const void *at(const hmoec_kernel *kernel, const cursor *c) { return (const char *)kernel + c->offset; }

/* A fact of layouts that the plan says nothing of. */
static bool is_laid(const field *f) {
  return f->fact != HMOEC_FACT_NONE && f->fact != HMOEC_FACT_DEPTH && f->fact != HMOEC_FACT_COLUMNS;
}

/* ---- reading ---- */

static MlirStringRef ref(const char *text) { return mlirStringRefCreateFromCString(text); }

static bool is_listed(MlirOperation op, const char *prefix, const char *name) {
  char list[NAME_CHARS];
  snprintf(list, sizeof list, "%sflags", prefix);
  MlirAttribute flags = mlirOperationGetAttributeByName(op, ref(list));
  for (intptr_t i = 0; i < mlirArrayAttrGetNumElements(flags); i++)
    if (mlirStringRefEqual(mlirStringAttrGetValue(mlirArrayAttrGetElement(flags, i)), ref(name))) return true;
  return false;
}

static bool is_bound(MlirOperation op, const char *role) {
  MlirAttribute bind = mlirOperationGetAttributeByName(op, ref("bind"));
  for (intptr_t i = 0; i < mlirArrayAttrGetNumElements(bind); i++)
    if (mlirStringRefEqual(mlirStringAttrGetValue(mlirArrayAttrGetElement(bind, i)), ref(role))) return true;
  return false;
}

/* Past the last where it is none of them. */
static int name_number(const char *const *names, MlirStringRef text) {
  int i = 0;
  while (names[i] && !mlirStringRefEqual(ref(names[i]), text)) i++;
  return i;
}

static hmoec_activation read_activation(const hmoec_scalar_library *functions, MlirStringRef text) {
  return hmoec_activation_find(functions, text.data, text.length);
}

/* segments: of each its end, activation, gated and multiply. */
static void read_segments(MlirAttribute list, const hmoec_scalar_library *functions, int64_t *count, hmoec_matmul_segment *out) {
  *count = mlirArrayAttrGetNumElements(list) / 4;
  for (intptr_t i = 0; i < *count && i < 2; i++) {
    out[i].end = mlirIntegerAttrGetValueInt(mlirArrayAttrGetElement(list, 4 * i));
    out[i].activation = read_activation(functions, mlirStringAttrGetValue(mlirArrayAttrGetElement(list, 4 * i + 1)));
    out[i].gated = mlirBoolAttrGetValue(mlirArrayAttrGetElement(list, 4 * i + 2));
    out[i].multiply = mlirBoolAttrGetValue(mlirArrayAttrGetElement(list, 4 * i + 3));
  }
}

/* What the layout says of a field, else the op itself. */
static MlirAttribute placed_or_own(MlirOperation op, const char *name) {
  MlirAttribute layout = mlirOperationGetAttributeByName(op, ref("layout")), value = mlirAttributeGetNull();
  if (!mlirAttributeIsNull(layout) && mlirAttributeIsADictionary(layout))
    value = mlirDictionaryAttrGetElementByName(layout, ref(name));
  return mlirAttributeIsNull(value) ? mlirOperationGetAttributeByName(op, ref(name)) : value;
}

static void read_ints(MlirAttribute list, int64_t *out) {
  bool ints = !mlirAttributeIsNull(list) && mlirAttributeIsADenseI64Array(list) && mlirDenseArrayGetNumElements(list) == 2;
  for (intptr_t i = 0; ints && i < 2; i++) out[i] = mlirDenseI64ArrayGetElement(list, i);
}

static int64_t read_int(MlirOperation op, const char *name) {
  MlirAttribute value = placed_or_own(op, name);
  return !mlirAttributeIsNull(value) && mlirAttributeIsAInteger(value) ? mlirIntegerAttrGetValueInt(value) : 0;
}

static void read_field(MlirOperation op, const hmoec_scalar_library *functions, const cursor *c, void *to) {
  switch (c->field->kind) {
  case INT: *(int64_t *)to = c->field->scheduled ? hmoec_hmk_schedule(op, c->name) : read_int(op, c->name); break;
  case INTS: read_ints(placed_or_own(op, c->name), to); break;
  case FLAG: *(bool *)to = read_int(op, c->name) != 0; break;
  case LISTED: *(bool *)to = is_listed(op, c->part->prefix, c->field->name); break;
  case NUMBER:
  case REAL: *(double *)to = hmoec_op_number(op, c->name); break;
  case NAME: *(int *)to = name_number(c->field->names, hmoec_op_string(op, c->name)); break;
  case ACTIVATION: *(hmoec_activation *)to = read_activation(functions, hmoec_op_string(op, c->name)); break;
  case GATE: {
    MlirStringRef text = hmoec_op_string(op, c->name);
    hmoec_gate gate = hmoec_gate_find(text.data, text.length);
    *(hmoec_gate *)to = gate;
    if (gate == HMOEC_GATE_SCORE) *(hmoec_activation *)((hmoec_gate *)to + 1) = read_activation(functions, text);
    break;
  }
  case SEGMENTS: read_segments(placed_or_own(op, c->name), functions, to, (hmoec_matmul_segment *)((int64_t *)to + 1)); break;
  case BOUND: *(bool *)to = is_bound(op, c->name); break;
  }
}

static bool any_gated(const hmoec_matmul_spec *spec) {
  return spec->segment[0].gated || (spec->segments > 1 && spec->segment[1].gated);
}

/* The buffers of a pair are shared: each product has those that it would have as a step of its own. */
static void share_buffers(hmoec_ffn_spec *spec) {
  hmoec_matmul_spec *first = &spec->first, *second = &spec->second;
  bool row_gate = second->has_row_gate;
  first->grouped = second->grouped;
  first->has_gather = second->has_gather;
  second->has_gather = false;
  first->has_row_gate = row_gate && any_gated(first);
  second->has_row_gate = row_gate && (any_gated(second) || second->has_gated_bias || second->has_pass);
  first->row_block = second->row_block;
}

bool hmoec_kernel_read(MlirOperation op, const hmoec_scalar_library *functions, hmoec_kernel *out_kernel) {
  memset(out_kernel, 0, sizeof *out_kernel);
  const hmoec_hmk_info *info = hmoec_hmk_info_of(op);
  int family = 0;
  while (family < HMOEC_KERNEL_FAMILY_COUNT && !(info && strcmp(families[family].op, info->name) == 0)) family++;
  if (family == HMOEC_KERNEL_FAMILY_COUNT) return false;
  out_kernel->family = (hmoec_kernel_family)family;
  for (cursor c = each(out_kernel->family); next(&c);) read_field(op, functions, &c, (char *)out_kernel + c.offset);
  if (family == HMOEC_KERNEL_FFN) share_buffers(&out_kernel->spec.ffn);
  return true;
}

/* ---- writing ---- */

static MlirAttribute int_attribute(MlirContext context, int64_t value) {
  return mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), value);
}

static MlirAttribute string_attribute(MlirContext context, const char *text) { return mlirStringAttrGet(context, ref(text)); }

static MlirAttribute segments_attribute(MlirContext context, const hmoec_scalar_library *functions, int64_t count,
                                        const hmoec_matmul_segment *segments) {
  MlirAttribute list[8];
  for (int64_t i = 0; i < count; i++) {
    list[4 * i] = int_attribute(context, segments[i].end);
    list[4 * i + 1] = string_attribute(context, hmoec_activation_name(functions, segments[i].activation));
    list[4 * i + 2] = mlirBoolAttrGet(context, segments[i].gated);
    list[4 * i + 3] = mlirBoolAttrGet(context, segments[i].multiply);
  }
  return mlirArrayAttrGet(context, (intptr_t)(4 * count), list);
}

/* Null: the field has no attribute of its own. */
static MlirAttribute field_attribute(MlirContext context, const hmoec_scalar_library *functions, field_kind kind,
                                     const char *const *names, const void *from) {
  switch (kind) {
  case INT: return int_attribute(context, *(const int64_t *)from);
  case INTS: return mlirDenseI64ArrayGet(context, 2, from);
  case FLAG: return int_attribute(context, *(const bool *)from);
  case NUMBER:
  case REAL: return mlirFloatAttrDoubleGet(context, mlirF64TypeGet(context), *(const double *)from);
  case NAME: return string_attribute(context, names[*(const int *)from]);
  case ACTIVATION: return string_attribute(context, hmoec_activation_name(functions, *(const hmoec_activation *)from));
  case GATE: {
    const hmoec_gate *gate = from;
    const hmoec_activation *score = (const hmoec_activation *)(gate + 1);
    return string_attribute(context, *gate == HMOEC_GATE_SCORE ? hmoec_activation_name(functions, *score) : hmoec_gate_name(*gate));
  }
  case SEGMENTS: {
    const int64_t *count = from;
    return segments_attribute(context, functions, *count, (const hmoec_matmul_segment *)(count + 1));
  }
  case LISTED:
  case BOUND: break;
  }
  return mlirAttributeGetNull();
}

size_t hmoec_kernel_write(const hmoec_kernel *kernel, MlirContext context, const hmoec_scalar_library *functions,
                          MlirNamedAttribute *out_attributes) {
  size_t count = 0;
  for (cursor c = each(kernel->family); next(&c);) {
    if (c.field->scheduled || is_laid(c.field)) continue; /* the target's */
    MlirAttribute value = field_attribute(context, functions, c.field->kind, c.field->names, at(kernel, &c));
    if (!mlirAttributeIsNull(value)) out_attributes[count++] = (MlirNamedAttribute){mlirIdentifierGet(context, ref(c.name)), value};
  }
  for (size_t p = 0; p < MOST_PARTS && families[kernel->family].parts[p].fields; p++) {
    const part *listing = &families[kernel->family].parts[p];
    MlirAttribute names[16];
    intptr_t listed = 0;
    bool lists = false;
    for (const field *f = listing->fields; f->name; f++) {
      if (f->kind != LISTED) continue;
      lists = true;
      if (*(const bool *)((const char *)kernel + listing->offset + f->offset)) names[listed++] = string_attribute(context, f->name);
    }
    char name[NAME_CHARS];
    snprintf(name, sizeof name, "%sflags", listing->prefix);
    if (lists)
      out_attributes[count++] =
          (MlirNamedAttribute){mlirIdentifierGet(context, ref(name)), mlirArrayAttrGet(context, listed, names)};
  }
  return count;
}

/* ---- placing ---- */

/* The buffer that a field's fact is of: of the first of a pair first_b, where the op has such a role. */
static const char *role_of(const cursor *c) {
  static const char *const of_first[] = {"first_b", "first_bias"};
  for (size_t i = 0; *c->part->prefix && i < sizeof of_first / sizeof *of_first; i++)
    if (strcmp(of_first[i] + strlen(c->part->prefix), c->field->of) == 0) return of_first[i];
  return c->field->of;
}

static void extend_depth(hmoec_matmul_spec *product, int64_t k) {
  if (product->dropped_k_begin == product->k) product->dropped_k_begin = k;
  product->k = k;
}

static void extend_columns(hmoec_matmul_spec *product, int64_t n) {
  if (n == product->n) return;
  product->segment[product->segments - 1].end = n;
  if (product->dropped_column >= product->n) product->dropped_column = n;
  product->n = n;
}

void hmoec_kernel_place(hmoec_kernel *kernel, hmoec_fact_fn *fact_of, void *context) {
  const hmoec_kernel planned = *kernel;
  for (cursor c = each(kernel->family); next(&c);) {
    if (c.field->fact == HMOEC_FACT_NONE) continue;
    char *part = (char *)kernel + c.part->offset, *to = (char *)kernel + c.offset;
    hmoec_fact_source source = {.role = role_of(&c),
                                .hidden = c.part->hidden && strcmp(c.part->hidden, c.field->of) == 0,
                                .description = (const char *)&planned + c.part->offset};
    int64_t value = fact_of(context, c.field->fact, &source);
    if (c.field->fact == HMOEC_FACT_DEPTH) extend_depth((hmoec_matmul_spec *)(void *)part, value);
    else if (c.field->fact == HMOEC_FACT_COLUMNS) extend_columns((hmoec_matmul_spec *)(void *)part, value);
    else if (c.field->kind == FLAG) *(bool *)to = value != 0;
    else *(int64_t *)(void *)to = value;
  }
}

static bool differs(field_kind kind, const void *a, const void *b) {
  switch (kind) {
  case INT: return *(const int64_t *)a != *(const int64_t *)b;
  case INTS: return memcmp(a, b, 2 * sizeof(int64_t)) != 0;
  case SEGMENTS: { /* where they end */
    const hmoec_matmul_segment *x = (const hmoec_matmul_segment *)((const int64_t *)a + 1),
                               *y = (const hmoec_matmul_segment *)((const int64_t *)b + 1);
    return x[0].end != y[0].end || x[1].end != y[1].end;
  }
  default: return false;
  }
}

void hmoec_kernel_write_layout(const hmoec_kernel *placed, const hmoec_kernel *planned, const hmoec_scalar_library *functions,
                               MlirOperation op) {
  MlirContext context = mlirOperationGetContext(op);
  MlirNamedAttribute entries[HMOEC_KERNEL_MAX_ATTRIBUTES];
  intptr_t count = 0;
  for (cursor c = each(placed->family); next(&c);)
    if (is_laid(c.field) || (!c.field->scheduled && differs(c.field->kind, at(placed, &c), at(planned, &c))))
      entries[count++] = (MlirNamedAttribute){mlirIdentifierGet(context, ref(c.name)),
                                              field_attribute(context, functions, c.field->kind, c.field->names, at(placed, &c))};
  mlirOperationSetAttributeByName(op, ref("layout"), mlirDictionaryAttrGet(context, count, entries));
}

/* ---- checking, printing, counting ---- */

static bool is_activation(const hmoec_scalar_library *functions, hmoec_activation activation) {
  return (activation >= 0 && activation < HMOEC_ACTIVATION_COUNT) || hmoec_activation_function(functions, activation);
}

static bool field_is_sound(const hmoec_scalar_library *functions, const field *f, const void *value) {
  switch (f->kind) {
  case INT: return *(const int64_t *)value >= f->least;
  case INTS: return ((const int64_t *)value)[0] >= f->least && ((const int64_t *)value)[1] >= f->least;
  case NUMBER: return *(const double *)value >= 0;
  case REAL: return isfinite(*(const double *)value);
  case NAME: {
    int count = 0;
    while (f->names[count]) count++;
    return *(const int *)value >= 0 && *(const int *)value < count;
  }
  case ACTIVATION: return is_activation(functions, *(const hmoec_activation *)value);
  case GATE: {
    const hmoec_gate *gate = value;
    return (unsigned)*gate < HMOEC_GATE_COUNT && is_activation(functions, *(const hmoec_activation *)(gate + 1));
  }
  case SEGMENTS: {
    const int64_t *count = value;
    const hmoec_matmul_segment *segments = (const hmoec_matmul_segment *)(count + 1);
    if (*count < 1 || *count > 2) return false;
    for (int64_t i = 0; i < *count; i++)
      if (!is_activation(functions, segments[i].activation)) return false;
    return true;
  }
  case FLAG:
  case LISTED:
  case BOUND: break;
  }
  return true;
}

const char *hmoec_kernel_field_defect(const hmoec_kernel *kernel, const hmoec_scalar_library *functions, char *buffer) {
  if ((unsigned)kernel->family >= HMOEC_KERNEL_FAMILY_COUNT) return "unknown kernel family";
  for (cursor c = each(kernel->family); next(&c);) {
    if (field_is_sound(functions, c.field, at(kernel, &c))) continue;
    snprintf(buffer, HMOEC_KERNEL_CHARS, "%s: %s out of range", families[kernel->family].name, c.name);
    return buffer;
  }
  return NULL;
}

__attribute__((format(printf, 2, 3))) static void append(char *buffer, const char *format, ...) {
  size_t used = strlen(buffer);
  va_list arguments;
  va_start(arguments, format);
  hmoe_plain_vformat(buffer + used, HMOEC_KERNEL_CHARS - used, format, arguments);
  va_end(arguments);
}

static void print_field(char *buffer, const char *name, const hmoec_scalar_library *functions, const field *f, const void *value) {
  switch (f->kind) {
  case INT:
    if (*(const int64_t *)value) append(buffer, " %s=%" PRId64, name, *(const int64_t *)value);
    break;
  case INTS: append(buffer, " %s=%" PRId64 ",%" PRId64, name, ((const int64_t *)value)[0], ((const int64_t *)value)[1]); break;
  case NUMBER:
  case REAL: append(buffer, " %s=%g", name, *(const double *)value); break;
  case NAME: append(buffer, " %s=%s", name, f->names[*(const int *)value]); break;
  case ACTIVATION: append(buffer, " %s=%s", name, hmoec_activation_name(functions, *(const hmoec_activation *)value)); break;
  case GATE: append(buffer, " %s=%s", name, hmoec_gate_name(*(const hmoec_gate *)value)); break;
  case SEGMENTS: {
    const int64_t *count = value;
    const hmoec_matmul_segment *segments = (const hmoec_matmul_segment *)(count + 1);
    for (int64_t i = 0; i < *count; i++)
      append(buffer, " %s=%s to %" PRId64 "%s%s", name, hmoec_activation_name(functions, segments[i].activation), segments[i].end,
             segments[i].gated ? " gated" : "", segments[i].multiply ? " multiply" : "");
    break;
  }
  case FLAG:
  case LISTED:
  case BOUND:
    if (*(const bool *)value) append(buffer, " %s", name);
    break;
  }
}

static const char *print(const hmoec_kernel *kernel, const hmoec_scalar_library *functions, bool scheduled, char *buffer) {
  if ((unsigned)kernel->family >= HMOEC_KERNEL_FAMILY_COUNT) return "unknown";
  snprintf(buffer, HMOEC_KERNEL_CHARS, "%s", families[kernel->family].name);
  for (cursor c = each(kernel->family); next(&c);) {
    if (c.field->scheduled && !scheduled) continue;
    if (field_is_sound(functions, c.field, at(kernel, &c))) print_field(buffer, c.name, functions, c.field, at(kernel, &c));
    else append(buffer, " %s=?", c.name);
  }
  return buffer;
}

const char *hmoec_kernel_print(const hmoec_kernel *kernel, const hmoec_scalar_library *functions, char *buffer) {
  return print(kernel, functions, true, buffer);
}

const char *hmoec_kernel_signature(const hmoec_kernel *kernel, const hmoec_scalar_library *functions, char *buffer) {
  return print(kernel, functions, false, buffer);
}

hmoec_format hmoec_kernel_format(const hmoec_kernel *kernel) {
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL: return kernel->spec.matmul.format;
  case HMOEC_KERNEL_FFN: return kernel->spec.ffn.first.format;
  default: return HMOEC_FORMAT_F32;
  }
}
