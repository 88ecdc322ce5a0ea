/* The shape rules. A rule names its dimensions, matches each operand against a pattern of them, and writes the result shapes.
 *
 * Matching is unification: the first operand that has a dimension binds it, later ones must agree; so a message can say
 * "expected wi f32[8, d_ff, 768], found f32[8, 3072, 512]" with what is known as numbers and what is free by name.
 * Only the dimension that counts rows of a batch may be dynamic. */
#include "ir/ops_infer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { UNBOUND = -1 };

typedef struct dim {
  const char *name; /* shown while unbound */
  int64_t size;
  bool dynamic;     /* may be dynamic */
} dim;

#define FREE(text) {.name = text, .size = UNBOUND}
#define ROWS(text) {.name = text, .size = UNBOUND, .dynamic = true}
#define FIXED(value) {.size = value}
#define DIMS(...) ((dim *[]){__VA_ARGS__})

static bool dim_match(dim *expected, int64_t found) {
  if (found == HMOEC_DYNAMIC) {
    if (!expected->dynamic) return false;
    if (expected->size == UNBOUND) expected->size = HMOEC_DYNAMIC;
    return true;
  }
  if (expected->size != UNBOUND && expected->size != HMOEC_DYNAMIC) return expected->size == found;
  expected->size = found; /* unbound or dynamic: the static size is the better knowledge */
  return found >= (expected->dynamic ? 0 : 1);
}

static const char *const element_names[] = {[HMOEC_F32] = "f32", [HMOEC_I32] = "i32", [HMOEC_I1] = "i1", [HMOEC_I64] = "i64"};

static const char *pattern_string(hmoec_element element, size_t rank, dim *const *dims, char *buffer, size_t size) {
  size_t used = (size_t)snprintf(buffer, size, "%s[", element_names[element]);
  for (size_t i = 0; i < rank && used < size; i++) {
    const char *comma = i ? ", " : "";
    if (dims[i]->size >= 0) used += (size_t)snprintf(buffer + used, size - used, "%s%" PRId64, comma, dims[i]->size);
    else used += (size_t)snprintf(buffer + used, size - used, "%s%s", comma, dims[i]->name ? dims[i]->name : "?");
  }
  if (used + 1 < size) memcpy(buffer + used, "]", 2);
  return buffer;
}

static bool expect_named(hmoec_inference *inference, size_t operand, const char *name, hmoec_element element, size_t rank,
                         dim *const *dims) {
  const hmoec_shape *found = &inference->operands[operand];
  char expected_text[HMOEC_SHAPE_CHARS], found_text[HMOEC_SHAPE_CHARS];
  pattern_string(element, rank, dims, expected_text, sizeof expected_text);
  bool same = found->element == element && found->rank == (int64_t)rank;
  for (size_t i = 0; same && i < rank; i++) same = dim_match(dims[i], found->dims[i]);
  if (same) return true;
  return hmoec_error(inference->diagnostics, inference->location, "%s: expected %s %s, found %s", inference->info->name, name,
                     expected_text, hmoec_shape_string(found, found_text, sizeof found_text));
}

static bool expect(hmoec_inference *inference, size_t operand, hmoec_element element, size_t rank, dim *const *dims) {
  return expect_named(inference, operand, inference->info->operands[operand].name, element, rank, dims);
}

/* Always true, so that a rule can end in it. */
static bool result(hmoec_inference *inference, hmoec_element element, size_t rank, dim *const *dims) {
  hmoec_shape *shape = &inference->results[inference->result_count++];
  *shape = (hmoec_shape){.element = element, .rank = (int64_t)rank};
  for (size_t i = 0; i < rank; i++) shape->dims[i] = dims[i]->size;
  return true;
}

static int64_t integer(const hmoec_inference *inference, const char *name) {
  for (size_t i = 0; i < HMOEC_MAX_ATTRIBUTES && inference->attributes[i].name; i++)
    if (strcmp(inference->attributes[i].name, name) == 0) return inference->attributes[i].integer;
  return 0;
}

static const hmoec_attribute *attribute(const hmoec_inference *inference, const char *name) {
  size_t i = 0;
  while (strcmp(inference->attributes[i].name, name) != 0) i++;
  return &inference->attributes[i];
}

#define REFUSE(...) hmoec_error(inference->diagnostics, inference->location, __VA_ARGS__)

/* Rows of tokens [T, c] or [B, S, c]: the operand's rank with `last` as its last dimension. */
static size_t rows_rank(const hmoec_inference *inference, size_t operand) { return inference->operands[operand].rank == 3 ? 3 : 2; }

static bool expect_rows(hmoec_inference *inference, size_t operand, dim *batch, dim *rows, dim *last) {
  if (rows_rank(inference, operand) == 3) return expect(inference, operand, HMOEC_F32, 3, DIMS(batch, rows, last));
  return expect(inference, operand, HMOEC_F32, 2, DIMS(rows, last));
}

static bool result_rows(hmoec_inference *inference, size_t rank, dim *batch, dim *rows, dim *last) {
  return rank == 3 ? result(inference, HMOEC_F32, 3, DIMS(batch, rows, last)) : result(inference, HMOEC_F32, 2, DIMS(rows, last));
}

bool hmoec_infer_linear(hmoec_inference *inference) {
  dim batch = ROWS("batch"), rows = ROWS("tokens"), in = FREE("in"), out = FREE("out");
  return expect_rows(inference, 0, &batch, &rows, &in) && expect(inference, 1, HMOEC_F32, 2, DIMS(&out, &in)) &&
         (inference->operand_count < 3 || expect(inference, 2, HMOEC_F32, 1, DIMS(&out))) &&
         result_rows(inference, rows_rank(inference, 0), &batch, &rows, &out);
}

static bool expect_f32(hmoec_inference *inference, size_t operand) {
  char text[HMOEC_SHAPE_CHARS];
  if (inference->operands[operand].element == HMOEC_F32) return true;
  return REFUSE("%s: expected %s to be f32, found %s", inference->info->name, inference->info->operands[operand].name,
                hmoec_shape_string(&inference->operands[operand], text, sizeof text));
}

bool hmoec_infer_activate(hmoec_inference *inference) {
  inference->results[inference->result_count++] = inference->operands[0];
  return expect_f32(inference, 0);
}

bool hmoec_infer_add(hmoec_inference *inference) {
  const hmoec_shape *a = &inference->operands[0], *b = &inference->operands[1];
  char a_text[HMOEC_SHAPE_CHARS], b_text[HMOEC_SHAPE_CHARS];
  if (!expect_f32(inference, 0)) return false;
  if (!hmoec_shape_compatible(a, b))
    return REFUSE("%s: expected two equal shapes, found %s and %s", inference->info->name,
                  hmoec_shape_string(a, a_text, sizeof a_text), hmoec_shape_string(b, b_text, sizeof b_text));
  hmoec_shape *sum = &inference->results[inference->result_count++];
  *sum = *a;
  for (int64_t i = 0; i < sum->rank; i++)
    if (sum->dims[i] == HMOEC_DYNAMIC) sum->dims[i] = b->dims[i];
  return true;
}

bool hmoec_infer_reshape(hmoec_inference *inference) {
  const hmoec_attribute *shape = attribute(inference, "shape");
  const hmoec_shape *x = &inference->operands[0];
  char x_text[HMOEC_SHAPE_CHARS], y_text[HMOEC_SHAPE_CHARS];
  if (shape->int_count > HMOEC_MAX_RANK)
    return REFUSE("reshape: expected a shape of rank %d or less, found rank %zu", HMOEC_MAX_RANK, shape->int_count);
  hmoec_shape *y = &inference->results[inference->result_count++];
  *y = (hmoec_shape){.element = x->element, .rank = (int64_t)shape->int_count};
  if (y->rank) memcpy(y->dims, shape->ints, shape->int_count * sizeof *shape->ints);
  hmoec_shape_string(x, x_text, sizeof x_text);
  for (int64_t i = 0; i < x->rank; i++)
    if (x->dims[i] == HMOEC_DYNAMIC) return REFUSE("reshape: %s has a dimension that is known only at run time", x_text);
  if (hmoec_shape_elements(x) == hmoec_shape_elements(y)) return true;
  return REFUSE("reshape: %s has %" PRId64 " elements, %s has %" PRId64, x_text, hmoec_shape_elements(x),
                hmoec_shape_string(y, y_text, sizeof y_text), hmoec_shape_elements(y));
}

/* The axis that an attribute names, one whose size is known; -1 after a message. */
static int64_t axis_of(hmoec_inference *inference, size_t operand) {
  const hmoec_shape *x = &inference->operands[operand];
  char text[HMOEC_SHAPE_CHARS];
  hmoec_shape_string(x, text, sizeof text);
  int64_t named = integer(inference, "axis"), axis = hmoec_axis(named, x->rank);
  if (axis < 0) REFUSE("%s: there is no axis %" PRId64 " in %s", inference->info->name, named, text);
  else if (x->dims[axis] == HMOEC_DYNAMIC)
    REFUSE("%s: axis %" PRId64 " of %s is known only at run time", inference->info->name, axis, text);
  else return axis;
  return -1;
}

static bool expect_rank(hmoec_inference *inference, size_t operand, int64_t most) {
  char text[HMOEC_SHAPE_CHARS];
  const hmoec_shape *x = &inference->operands[operand];
  return (x->rank >= 1 && x->rank <= most) ||
         REFUSE("%s: expected %s to have 1 to %" PRId64 " dimensions, found %s", inference->info->name,
                inference->info->operands[operand].name, most, hmoec_shape_string(x, text, sizeof text));
}

/* Whether a dimension is known at run time only. */
static bool is_dynamic(const hmoec_shape *shape) {
  bool dynamic = false;
  for (int64_t i = 0; i < shape->rank; i++) dynamic = dynamic || shape->dims[i] == HMOEC_DYNAMIC;
  return dynamic;
}

bool hmoec_infer_slice(hmoec_inference *inference) {
  const hmoec_shape *x = &inference->operands[0];
  if (!expect_f32(inference, 0) || !expect_rank(inference, 0, 3)) return false;
  int64_t axis = axis_of(inference, 0), begin = integer(inference, "begin"), end = integer(inference, "end");
  if (axis < 0) return false;
  if (begin >= end || end > x->dims[axis]) {
    if (axis == x->rank - 1)
      return REFUSE("slice: columns [%" PRId64 ", %" PRId64 ") are not a part of [0, %" PRId64 ")", begin, end, x->dims[axis]);
    return REFUSE("slice: [%" PRId64 ", %" PRId64 ") of axis %" PRId64 " is not a part of [0, %" PRId64 ")", begin, end, axis,
                  x->dims[axis]);
  }
  int64_t size = (end - begin - 1) / integer(inference, "step") + 1;
  hmoec_shape *y = &inference->results[inference->result_count++];
  *y = *x;
  y->dims[axis] = size;
  if (!integer(inference, "squeeze")) return true;
  bool last = axis == x->rank - 1;
  if (x->rank == 1 || (x->rank == 3 && is_dynamic(x))) return REFUSE("slice: only a column of a matrix can become a vector");
  if (size != 1)
    return REFUSE("slice: only a single %s, found %" PRId64 "%s", last ? "column can become a vector" : "part can be squeezed",
                  size, last ? " columns" : "");
  y->rank--;
  for (int64_t i = axis; i < y->rank; i++) y->dims[i] = x->dims[i + 1];
  return true;
}

/* Whether two shapes agree but in one axis; takes over what is known of either. */
static bool shapes_meet(hmoec_shape *known, const hmoec_shape *other, int64_t axis) {
  if (known->element != other->element || known->rank != other->rank) return false;
  for (int64_t i = 0; i < known->rank; i++) {
    if (i == axis) continue;
    if (!hmoec_dim_compatible(known->dims[i], other->dims[i])) return false;
    if (known->dims[i] == HMOEC_DYNAMIC) known->dims[i] = other->dims[i];
  }
  return true;
}

bool hmoec_infer_concat(hmoec_inference *inference) {
  char text[HMOEC_SHAPE_CHARS], other_text[HMOEC_SHAPE_CHARS];
  if (!expect_f32(inference, 0) || !expect_rank(inference, 0, 3)) return false;
  int64_t axis = axis_of(inference, 0);
  if (axis < 0) return false;
  hmoec_shape y = inference->operands[0];
  for (size_t i = 1; i < inference->operand_count; i++) {
    const hmoec_shape *other = &inference->operands[i];
    if (!shapes_meet(&y, other, axis) || other->dims[axis] == HMOEC_DYNAMIC)
      return REFUSE("concat: expected %s to be as %s but in axis %" PRId64 ", which is %s, found %s",
                    inference->info->operands[i].name, inference->info->operands[0].name, axis,
                    hmoec_shape_string(&inference->operands[0], text, sizeof text),
                    hmoec_shape_string(other, other_text, sizeof other_text));
    if (__builtin_add_overflow(y.dims[axis], other->dims[axis], &y.dims[axis])) return REFUSE("concat: the result is too large");
  }
  inference->results[inference->result_count++] = y;
  return true;
}

bool hmoec_infer_scale(hmoec_inference *inference) {
  hmoec_shape y = inference->operands[0];
  if (!expect_f32(inference, 0) || (inference->operand_count > 1 && !expect_rank(inference, 0, 3))) return false;
  if (inference->operand_count > 1) {
    const hmoec_shape *factor = &inference->operands[1];
    hmoec_shape columns = y, rows = y;
    char columns_text[HMOEC_SHAPE_CHARS], rows_text[HMOEC_SHAPE_CHARS], found[HMOEC_SHAPE_CHARS];
    int64_t last = y.rank - 1;
    columns.rank = 1;
    columns.dims[0] = y.dims[last];
    rows.dims[last] = 1;
    bool by_column = factor->element == HMOEC_F32 && factor->rank == 1 && factor->dims[0] == columns.dims[0],
         by_row = factor->rank == y.rank && factor->dims[last] == 1 && shapes_meet(&y, factor, last);
    if (!by_column && !by_row)
      return REFUSE("scale: expected factor %s, a value a column, or %s, a value a row, found %s",
                    hmoec_shape_string(&columns, columns_text, sizeof columns_text),
                    hmoec_shape_string(&rows, rows_text, sizeof rows_text), hmoec_shape_string(factor, found, sizeof found));
  }
  inference->results[inference->result_count++] = y;
  return true;
}

/* batch * rows; dynamic where either is. Results that are too large are refused as a whole. */
static int64_t flat_rows(int64_t batch, int64_t rows) {
  if (batch == HMOEC_DYNAMIC || rows == HMOEC_DYNAMIC) return HMOEC_DYNAMIC;
  int64_t product;
  return __builtin_mul_overflow(batch, rows, &product) ? INT64_MAX : product;
}

bool hmoec_infer_route(hmoec_inference *inference) {
  dim batch = ROWS("batch"), tokens = ROWS("tokens"), experts = FREE("experts"), top_k = FIXED(integer(inference, "top_k"));
  if (!expect_rows(inference, 0, &batch, &tokens, &experts)) return false;
  if (rows_rank(inference, 0) == 3) tokens.size = flat_rows(batch.size, tokens.size);
  if (top_k.size > experts.size)
    return REFUSE("route: top_k = %" PRId64 " is more than the %" PRId64 " experts there are", top_k.size, experts.size);
  const char *gate = attribute(inference, "gate")->string;
  if (integer(inference, "renorm") && strcmp(gate, "sigmoid") != 0 && gate[0] != '@')
    return REFUSE(
        "route: renorm = 1 divides the gates of gate = sigmoid by their sum; in place of gate = %s take softmax_topk_renorm, or "
        "topk_then_softmax, whose gates sum to 1 as they are",
        gate);
  return result(inference, HMOEC_I32, 2, DIMS(&tokens, &top_k)) && result(inference, HMOEC_F32, 2, DIMS(&tokens, &top_k)) &&
         result(inference, HMOEC_I1, 2, DIMS(&tokens, &top_k));
}

bool hmoec_infer_experts(hmoec_inference *inference) {
  dim tokens = ROWS("tokens"), h = FREE("d_model"), k = FREE("top_k"), n = FREE("experts"), f = FREE("d_ff");
  return expect(inference, 0, HMOEC_F32, 2, DIMS(&tokens, &h)) && expect(inference, 1, HMOEC_I32, 2, DIMS(&tokens, &k)) &&
         expect(inference, 2, HMOEC_I1, 2, DIMS(&tokens, &k)) && expect(inference, 3, HMOEC_F32, 3, DIMS(&n, &f, &h)) &&
         expect(inference, 4, HMOEC_F32, 3, DIMS(&n, &h, &f)) &&
         (inference->operand_count < 7 ||
          (expect(inference, 5, HMOEC_F32, 2, DIMS(&n, &f)) && expect(inference, 6, HMOEC_F32, 2, DIMS(&n, &h)))) &&
         result(inference, HMOEC_F32, 3, DIMS(&tokens, &k, &h));
}

bool hmoec_infer_combine(hmoec_inference *inference) {
  dim tokens = ROWS("tokens"), k = FREE("top_k"), h = FREE("d_model");
  return expect(inference, 0, HMOEC_F32, 3, DIMS(&tokens, &k, &h)) && expect(inference, 1, HMOEC_F32, 2, DIMS(&tokens, &k)) &&
         result(inference, HMOEC_F32, 2, DIMS(&tokens, &h));
}

bool hmoec_infer_selection_embedding(hmoec_inference *inference) {
  dim tokens = ROWS("tokens"), k = FREE("top_k"), n = FREE("experts"), e = FREE("embedding");
  if (!expect(inference, 0, HMOEC_I32, 2, DIMS(&tokens, &k)) || !expect(inference, 1, HMOEC_F32, 2, DIMS(&n, &e))) return false;
  bool unselected = strcmp(attribute(inference, "of")->string, "unselected") == 0;
  if (unselected && k.size == n.size)
    return REFUSE("selection_embedding: no expert is left unselected: top_k = %" PRId64 " of %" PRId64 " experts", k.size, n.size);
  if (k.size > n.size)
    return REFUSE("selection_embedding: top_k = %" PRId64 " is more than the %" PRId64 " experts there are", k.size, n.size);
  return result(inference, HMOEC_F32, 2, DIMS(&tokens, &e));
}

bool hmoec_infer_append_row(hmoec_inference *inference) {
  dim tokens = ROWS("tokens"), a = FREE("columns"), rows = FREE("rows"), c = FREE("embedding"), sum = FIXED(0);
  if (!expect(inference, 0, HMOEC_F32, 2, DIMS(&tokens, &a)) || !expect(inference, 1, HMOEC_F32, 2, DIMS(&rows, &c))) return false;
  int64_t row = integer(inference, "row");
  if (row >= rows.size) return REFUSE("append_row: row %" PRId64 " of a table of %" PRId64 " rows", row, rows.size);
  if (__builtin_add_overflow(a.size, c.size, &sum.size)) return REFUSE("append_row: the result is too wide");
  return result(inference, HMOEC_F32, 2, DIMS(&tokens, &sum));
}

bool hmoec_infer_take_row(hmoec_inference *inference) {
  dim rows = FREE("rows"), c = FREE("columns"), one = FIXED(1);
  if (!expect(inference, 0, HMOEC_F32, 2, DIMS(&rows, &c))) return false;
  int64_t row = integer(inference, "row");
  if (row >= rows.size) return REFUSE("take_row: row %" PRId64 " of a table of %" PRId64 " rows", row, rows.size);
  return result(inference, HMOEC_F32, 2, DIMS(&one, &c));
}

/* r and the generator's parameters from operand `first` on; h is bound, or found from the rows of wd. */
static bool generator_match(hmoec_inference *inference, size_t first, dim *rows, dim *h) {
  dim hidden = FREE("hidden"), b = FIXED(integer(inference, "bottleneck")), product = FREE("d_model*bottleneck");
  if (h->size != UNBOUND && __builtin_mul_overflow(h->size, b.size, &product.size))
    return REFUSE("%s: d_model*bottleneck is too large", inference->info->name);
  if (!expect(inference, first, HMOEC_F32, 2, DIMS(rows, &hidden)) ||
      !expect(inference, first + 1, HMOEC_F32, 2, DIMS(&product, &hidden)))
    return false;
  if (product.size % b.size)
    return REFUSE("%s: the %" PRId64 " rows of wd are not a multiple of bottleneck = %" PRId64, inference->info->name, product.size,
                  b.size);
  h->size = product.size / b.size;
  if (!expect(inference, first + 2, HMOEC_F32, 1, DIMS(&product)) ||
      !expect(inference, first + 3, HMOEC_F32, 2, DIMS(&product, &hidden)) ||
      !expect(inference, first + 4, HMOEC_F32, 1, DIMS(&product)))
    return false;
  return inference->operand_count == first + 5 ||
         (expect(inference, first + 5, HMOEC_F32, 2, DIMS(&b, &hidden)) && expect(inference, first + 6, HMOEC_F32, 1, DIMS(&b)) &&
          expect(inference, first + 7, HMOEC_F32, 2, DIMS(h, &hidden)) && expect(inference, first + 8, HMOEC_F32, 1, DIMS(h)));
}

bool hmoec_infer_hypernetwork(hmoec_inference *inference) {
  dim rows = ROWS("tokens"), h = FREE("d_model"), b = FIXED(integer(inference, "bottleneck"));
  if (!generator_match(inference, 0, &rows, &h)) return false;
  result(inference, HMOEC_F32, 3, DIMS(&rows, &h, &b));
  result(inference, HMOEC_F32, 3, DIMS(&rows, &b, &h));
  if (inference->operand_count == 5) return true;
  return result(inference, HMOEC_F32, 2, DIMS(&rows, &b)) && result(inference, HMOEC_F32, 2, DIMS(&rows, &h));
}

bool hmoec_infer_hyper_expert(hmoec_inference *inference) {
  dim tokens = ROWS("tokens"), h = FREE("d_model"), b = FREE("bottleneck");
  return expect(inference, 0, HMOEC_F32, 2, DIMS(&tokens, &h)) && expect(inference, 1, HMOEC_F32, 3, DIMS(&tokens, &h, &b)) &&
         expect(inference, 2, HMOEC_F32, 3, DIMS(&tokens, &b, &h)) &&
         (inference->operand_count < 5 ||
          (expect(inference, 3, HMOEC_F32, 2, DIMS(&tokens, &b)) && expect(inference, 4, HMOEC_F32, 2, DIMS(&tokens, &h)))) &&
         result(inference, HMOEC_F32, 2, DIMS(&tokens, &h));
}

/* The stages of the convolution network: a window and its stride, per axis. */
static const struct {
  const char *name;
  int64_t height, width;
} stages[] = {{"depthwise 5x5", 5, 5}, {"average pool 16x6", 16, 6}, {"depthwise 3x3", 3, 3}, {"average pool 8x8", 8, 8}};

bool hmoec_infer_weight_embedding(hmoec_inference *inference) {
  dim n = FREE("experts"), f = FREE("d_ff"), h = FREE("d_model"), c = FREE("channels"), e = FREE("embedding");
  dim one = FIXED(1), two = FIXED(2), three = FIXED(3), five = FIXED(5);
  if (!expect(inference, 0, HMOEC_F32, 3, DIMS(&n, &f, &h)) || !expect(inference, 1, HMOEC_F32, 3, DIMS(&n, &h, &f)) ||
      !expect(inference, 2, HMOEC_F32, 4, DIMS(&two, &one, &five, &five)) ||
      !expect(inference, 3, HMOEC_F32, 4, DIMS(&c, &two, &one, &one)) ||
      !expect(inference, 4, HMOEC_F32, 4, DIMS(&c, &one, &three, &three)) ||
      !expect(inference, 5, HMOEC_F32, 4, DIMS(&e, &c, &one, &one)))
    return false;
  int64_t height = f.size, width = h.size;
  for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
    if (height < stages[i].height || width < stages[i].width)
      return REFUSE("weight_embedding: d_ff = %" PRId64 ", d_model = %" PRId64 " is too small: %s is left with an image of %" PRId64
                    "x%" PRId64,
                    f.size, h.size, stages[i].name, height, width);
    height /= stages[i].height; /* without padding, stride = window: floor((size - window) / stride) + 1 */
    width /= stages[i].width;
  }
  if (height != 1 || width != 1)
    return REFUSE("weight_embedding: d_ff = %" PRId64 ", d_model = %" PRId64 " ends at an image of %" PRId64 "x%" PRId64
                  ", expected 1x1",
                  f.size, h.size, height, width);
  return result(inference, HMOEC_F32, 2, DIMS(&n, &e));
}

bool hmoec_infer_all_selections(hmoec_inference *inference) {
  int64_t experts = integer(inference, "experts"), top_k = integer(inference, "top_k");
  if (top_k > experts)
    return REFUSE("all_selections: top_k = %" PRId64 " is more than the %" PRId64 " experts there are", top_k, experts);
  dim sets = FIXED(hmoec_binomial(experts, top_k)), k = FIXED(top_k);
  if (sets.size > INT32_MAX)
    return REFUSE("all_selections: too many sets of %" PRId64 " out of %" PRId64 " experts", top_k, experts);
  return result(inference, HMOEC_I32, 2, DIMS(&sets, &k));
}

static bool indices_match(hmoec_inference *inference, dim *tokens, dim *k) {
  int64_t experts = integer(inference, "experts");
  if (!expect(inference, 0, HMOEC_I32, 2, DIMS(tokens, k))) return false;
  return k->size <= experts ||
         REFUSE("%s: top_k = %" PRId64 " is more than the %" PRId64 " experts there are", inference->info->name, k->size, experts);
}

bool hmoec_infer_selection_rank(hmoec_inference *inference) {
  dim tokens = ROWS("tokens"), k = FREE("top_k");
  if (!indices_match(inference, &tokens, &k)) return false;
  if (hmoec_binomial(integer(inference, "experts"), k.size) > INT32_MAX)
    return REFUSE("selection_rank: too many sets of %" PRId64 " out of %" PRId64 " experts", k.size, integer(inference, "experts"));
  return result(inference, HMOEC_I32, 1, DIMS(&tokens));
}

bool hmoec_infer_distinct_selections(hmoec_inference *inference) {
  dim tokens = ROWS("tokens"), k = FREE("top_k"), distinct = FIXED(HMOEC_DYNAMIC);
  return indices_match(inference, &tokens, &k) && result(inference, HMOEC_I32, 2, DIMS(&distinct, &k)) &&
         result(inference, HMOEC_I32, 1, DIMS(&tokens));
}

bool hmoec_infer_indexed_hyper_expert(hmoec_inference *inference) {
  dim tokens = ROWS("tokens"), sets = ROWS("sets"), h = FREE("d_model"), b = FREE("bottleneck");
  return expect(inference, 0, HMOEC_F32, 2, DIMS(&tokens, &h)) && expect(inference, 1, HMOEC_I32, 1, DIMS(&tokens)) &&
         expect(inference, 2, HMOEC_F32, 3, DIMS(&sets, &h, &b)) && expect(inference, 3, HMOEC_F32, 3, DIMS(&sets, &b, &h)) &&
         (inference->operand_count < 6 ||
          (expect(inference, 4, HMOEC_F32, 2, DIMS(&sets, &b)) && expect(inference, 5, HMOEC_F32, 2, DIMS(&sets, &h)))) &&
         result(inference, HMOEC_F32, 2, DIMS(&tokens, &h));
}

bool hmoec_infer_factored_hyper_expert(hmoec_inference *inference) {
  dim tokens = ROWS("tokens"), h = FREE("d_model");
  return expect(inference, 0, HMOEC_F32, 2, DIMS(&tokens, &h)) && generator_match(inference, 1, &tokens, &h) &&
         result(inference, HMOEC_F32, 2, DIMS(&tokens, &h));
}

/* projections: matrices from the rows to the hidden ones, with a bias each; 2 where experts are gated. */
static bool infer_fused(hmoec_inference *inference, size_t projections) {
  dim tokens = ROWS("tokens"), h = FREE("d_model"), one = FIXED(1), n = FREE("experts"), f = FREE("d_ff"), b = FREE("bottleneck");
  if (!expect(inference, 0, HMOEC_F32, 2, DIMS(&tokens, &h)) || !expect(inference, 1, HMOEC_I32, 2, DIMS(&tokens, &one)) ||
      !expect(inference, 2, HMOEC_F32, 2, DIMS(&tokens, &one)) || !expect(inference, 3, HMOEC_I1, 2, DIMS(&tokens, &one)) ||
      !expect(inference, 4, HMOEC_F32, 3, DIMS(&n, &f, &h)))
    return false;
  size_t operand = 4 + projections;
  if ((projections == 2 && !expect(inference, 5, HMOEC_F32, 3, DIMS(&n, &f, &h))) ||
      !expect(inference, operand, HMOEC_F32, 3, DIMS(&n, &h, &f)) ||
      !expect(inference, operand + 1, HMOEC_F32, 3, DIMS(&n, &h, &b)) ||
      !expect(inference, operand + 2, HMOEC_F32, 3, DIMS(&n, &b, &h)))
    return false;
  operand += 3;
  bool expert_biases = integer(inference, "expert_biases") != 0, generated_biases = integer(inference, "generated_biases") != 0;
  size_t count = operand + (projections + 1) * expert_biases + 2 * generated_biases;
  if (inference->operand_count != count)
    return REFUSE("%s: expert_biases = %d and generated_biases = %d need %zu operands, found %zu", inference->info->name,
                  expert_biases, generated_biases, count, inference->operand_count);
  if (expert_biases) {
    static const char *const names[2][2] = {{"bi"}, {"bi_0", "bi_1"}};
    for (size_t i = 0; i < projections; i++)
      if (!expect_named(inference, operand++, names[projections - 1][i], HMOEC_F32, 2, DIMS(&n, &f))) return false;
    if (!expect_named(inference, operand++, "bo", HMOEC_F32, 2, DIMS(&n, &h))) return false;
  }
  if (generated_biases && (!expect_named(inference, operand, "beta", HMOEC_F32, 2, DIMS(&n, &b)) ||
                           !expect_named(inference, operand + 1, "gamma", HMOEC_F32, 2, DIMS(&n, &h))))
    return false;
  return result(inference, HMOEC_F32, 2, DIMS(&tokens, &h));
}

bool hmoec_infer_fused_experts(hmoec_inference *inference) { return infer_fused(inference, 1); }
bool hmoec_infer_fused_gated_experts(hmoec_inference *inference) { return infer_fused(inference, 2); }

/* ---- whole models ---- */

static bool expect_integers(hmoec_inference *inference, size_t operand, dim *batch, dim *length) {
  hmoec_element element = inference->operands[operand].element == HMOEC_I32 ? HMOEC_I32 : HMOEC_I64;
  return expect(inference, operand, element, 2, DIMS(batch, length));
}

bool hmoec_infer_embedding(hmoec_inference *inference) {
  dim batch = ROWS("batch"), length = ROWS("length"), rows = FREE("rows"), h = FREE("d_model");
  return expect_integers(inference, 0, &batch, &length) && expect(inference, 1, HMOEC_F32, 2, DIMS(&rows, &h)) &&
         result(inference, HMOEC_F32, 3, DIMS(&batch, &length, &h));
}

bool hmoec_infer_norm(hmoec_inference *inference) {
  dim batch = ROWS("batch"), rows = ROWS("tokens"), h = FREE("d_model");
  return expect_rows(inference, 0, &batch, &rows, &h) && expect(inference, 1, HMOEC_F32, 1, DIMS(&h)) &&
         (inference->operand_count < 3 || expect(inference, 2, HMOEC_F32, 1, DIMS(&h))) &&
         result_rows(inference, rows_rank(inference, 0), &batch, &rows, &h);
}

bool hmoec_infer_transpose(hmoec_inference *inference) {
  const hmoec_shape *w = &inference->operands[0];
  char text[HMOEC_SHAPE_CHARS];
  if (!expect_f32(inference, 0)) return false;
  if (w->rank != 2 && w->rank != 3)
    return REFUSE("transpose: expected a matrix or a stack of them, found %s", hmoec_shape_string(w, text, sizeof text));
  hmoec_shape *y = &inference->results[inference->result_count++];
  *y = *w;
  y->dims[w->rank - 2] = w->dims[w->rank - 1];
  y->dims[w->rank - 1] = w->dims[w->rank - 2];
  for (int64_t i = w->rank - 2; i < w->rank; i++)
    if (y->dims[i] == HMOEC_DYNAMIC)
      return REFUSE("transpose: %s has a dimension that is known only at run time", hmoec_shape_string(w, text, sizeof text));
  return true;
}

bool hmoec_infer_flatten(hmoec_inference *inference) {
  dim batch = ROWS("batch"), length = ROWS("length"), c = FREE("columns");
  if (!expect(inference, 0, HMOEC_F32, 3, DIMS(&batch, &length, &c))) return false;
  dim rows = FIXED(flat_rows(batch.size, length.size));
  return result(inference, HMOEC_F32, 2, DIMS(&rows, &c));
}

bool hmoec_infer_unflatten(hmoec_inference *inference) {
  dim rows = ROWS("rows"), c = FREE("columns");
  const hmoec_shape *like = &inference->operands[1];
  char text[HMOEC_SHAPE_CHARS];
  if (!expect(inference, 0, HMOEC_F32, 2, DIMS(&rows, &c))) return false;
  if (like->rank < 2)
    return REFUSE("unflatten: expected like to have a batch and a length, found %s", hmoec_shape_string(like, text, sizeof text));
  dim batch = FIXED(like->dims[0]), length = FIXED(like->dims[1]);
  int64_t flat = flat_rows(batch.size, length.size);
  if (!hmoec_dim_compatible(rows.size, flat))
    return REFUSE("unflatten: x has %" PRId64 " rows, expected %" PRId64 " as in %s", rows.size, flat,
                  hmoec_shape_string(like, text, sizeof text));
  return result(inference, HMOEC_F32, 3, DIMS(&batch, &length, &c));
}

bool hmoec_infer_relative_bias(hmoec_inference *inference) {
  dim buckets = FREE("buckets"), heads = FREE("heads");
  if (!expect(inference, 0, HMOEC_F32, 2, DIMS(&buckets, &heads))) return false;
  int64_t distance = integer(inference, "max_distance"), directions = integer(inference, "bidirectional") ? 2 : 1;
  int64_t exact = buckets.size / directions / 2;
  if (buckets.size % directions != 0 || exact < 1 || distance <= exact)
    return REFUSE("relative_bias: %" PRId64 " buckets in %s do not reach max_distance = %" PRId64, buckets.size,
                  directions == 2 ? "two directions" : "one direction", distance);
  dim width = FIXED(2 * distance + 1);
  return result(inference, HMOEC_F32, 2, DIMS(&heads, &width));
}

bool hmoec_infer_attention(hmoec_inference *inference) {
  dim batch = ROWS("batch"), length = ROWS("length"), keys = ROWS("keys"), a = FREE("width"), heads = FIXED(0),
      width = FREE("distances");
  heads.size = integer(inference, "heads");
  if (!expect(inference, 0, HMOEC_F32, 3, DIMS(&batch, &length, &a)) ||
      !expect(inference, 1, HMOEC_F32, 3, DIMS(&batch, &keys, &a)) || !expect(inference, 2, HMOEC_F32, 3, DIMS(&batch, &keys, &a)))
    return false;
  if (a.size % heads.size != 0) return REFUSE("attention: %" PRId64 " columns are not %" PRId64 " equal heads", a.size, heads.size);
  bool biased = integer(inference, "biased") != 0;
  size_t operand = 3;
  if (biased && inference->operand_count < 4) return REFUSE("attention: biased = 1, but there is no bias");
  if (inference->operand_count == 5 && !biased) return REFUSE("attention: biased = 0, but there is a bias");
  if (biased) {
    if (!expect_named(inference, operand++, "bias", HMOEC_F32, 2, DIMS(&heads, &width))) return false;
    if (width.size % 2 == 0 || width.size < 3)
      return REFUSE("attention: expected a bias of 2 M + 1 distances, found %" PRId64, width.size);
  }
  if (operand < inference->operand_count) {
    hmoec_element element = inference->operands[operand].element == HMOEC_I32 ? HMOEC_I32 : HMOEC_I64;
    if (!expect_named(inference, operand, "mask", element, 2, DIMS(&batch, &keys))) return false;
  }
  return result(inference, HMOEC_F32, 3, DIMS(&batch, &length, &a));
}

bool hmoec_infer_gated_experts(hmoec_inference *inference) {
  dim tokens = ROWS("tokens"), h = FREE("d_model"), k = FREE("top_k"), n = FREE("experts"), f = FREE("d_ff");
  return expect(inference, 0, HMOEC_F32, 2, DIMS(&tokens, &h)) && expect(inference, 1, HMOEC_I32, 2, DIMS(&tokens, &k)) &&
         expect(inference, 2, HMOEC_I1, 2, DIMS(&tokens, &k)) && expect(inference, 3, HMOEC_F32, 3, DIMS(&n, &f, &h)) &&
         expect(inference, 4, HMOEC_F32, 3, DIMS(&n, &f, &h)) && expect(inference, 5, HMOEC_F32, 3, DIMS(&n, &h, &f)) &&
         (inference->operand_count == 6 ||
          (expect(inference, 6, HMOEC_F32, 2, DIMS(&n, &f)) && expect(inference, 7, HMOEC_F32, 2, DIMS(&n, &f)) &&
           expect(inference, 8, HMOEC_F32, 2, DIMS(&n, &h)))) &&
         result(inference, HMOEC_F32, 3, DIMS(&tokens, &k, &h));
}
