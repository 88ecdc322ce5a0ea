/* Values that are other values seen otherwise, or in part, and where kernels read what is known at open.
 *
 *   slice, take_row, transpose, reshape of parameters    the same memory with other strides: packing reads it where it lies
 *   slice of rows of tokens                              columns further on; with a step they are copied
 *
 * Of a value of parameters the place has a stride an axis: vectors row_stride, matrices row_stride and col_stride, stacks of matrices group_stride,
 * too. A parameter of several tensors (count > 1) has its stack in parts, whose strides are as if they lay one after the other; what is not
 * read group by group joins them first. */
#include "passes/plan.h"

#include <string.h>

enum { MOST_AXES = 3 };

/* All elements, one after the other. */
static plan_place row_major(plan_memory *memory, const hmoec_shape *shape) {
  int64_t columns = shape->rank ? shape->dims[shape->rank - 1] : 1;
  return (plan_place){.memory = memory,
                      .row_stride = shape->rank == 1 ? 1 : columns,
                      .col_stride = 1,
                      .group_stride = shape->rank == 3 ? shape->dims[1] * columns : 0};
}

static void strides_of(const plan_place *place, int64_t rank, int64_t out_strides[MOST_AXES]) {
  const int64_t all[MOST_AXES] = {place->group_stride, place->row_stride, rank == 1 ? place->row_stride : place->col_stride};
  for (int64_t axis = 0; axis < rank && axis < MOST_AXES; axis++) out_strides[axis] = all[MOST_AXES - rank + axis];
}

static void set_strides(plan_place *place, int64_t rank, const int64_t *strides) {
  place->group_stride = rank == 3 ? strides[0] : 0;
  place->row_stride = rank == 1 ? strides[0] : strides[rank - 2];
  place->col_stride = rank == 1 ? 1 : strides[rank - 1];
}

plan_binding plan_table(planner *p, int fn, plan_place table, int64_t rows, int64_t columns) {
  if (table.row_stride == columns && table.col_stride == 1 && plan_lies_dense(p, &table, rows * columns))
    return plan_vector(p, fn, (plan_place){.memory = table.memory, .offset = table.offset, .row_stride = 1, .col_stride = 1},
                       rows * columns);
  plan_memory **made = plan_made(p, (plan_key){.owner = table.memory,
                                               .making = PLAN_TABLE,
                                               .fn = fn,
                                               .offset = table.offset,
                                               .row_stride = table.row_stride,
                                               .col_stride = table.col_stride,
                                               .rows = rows,
                                               .columns = columns});
  if (*made) return plan_at(*made);
  hmoec_packing packing = {.columns = columns,
                           .column_stride = table.col_stride,
                           .q = 1,
                           .k_outer = 1,
                           .source_offset = table.offset,
                           .groups = rows,
                           .source_group_stride = table.row_stride};
  hmoec_operand operand = {.role = HMOEC_ROLE_TABLE, .depth = rows, .columns = columns};
  plan_memory *packed = fn == PLAN_RUN ? plan_weight(p, 1, operand) : plan_workspace(p, -1, 1, operand);
  plan_pack_emit(p, plan_at(packed), table.memory, &packing);
  return plan_at(*made = packed);
}

/* Whether a stack is read only where kernels take it group by group. */
static bool only_grouped(MlirValue stack) {
  for (MlirOpOperand use = mlirValueGetFirstUse(stack); !mlirOpOperandIsNull(use); use = mlirOpOperandGetNextUse(use)) {
    MlirOperation user = mlirOpOperandGetOwner(use);
    if (!hmoec_op_has(user, HMOEC_OP_GROUPED)) return false;
  }
  return true;
}

/* A parameter's stack, all of it in one memory, tensor after tensor. */
static plan_memory *joined_stack(planner *p, plan_memory *stack) {
  plan_memory **made = plan_made(p, (plan_key){.owner = stack, .making = PLAN_STACK});
  if (*made) return *made;
  int64_t part = 1;
  for (int64_t i = 0; i < stack->rank; i++) part *= stack->shape[i]; /* the stack has fewer than HMOEC_MOST_ELEMENTS */
  *made = plan_plain(p, "f32", -1, stack->count, part);
  hmoec_packing parts = {
      .columns = part, .column_stride = 1, .q = 1, .k_outer = 1, .groups = stack->count, .source_group_stride = part};
  plan_pack_emit(p, plan_at(*made), stack, &parts);
  return *made;
}

/* Copies a value at open to memory, whose rows are `pitch` elements apart and whose matrices `group_pitch`, from element `at` on: a step, but for
 * stacks whose rows have gaps on either side one a matrix, or one a row of all of them, if those are fewer. */
static void copy_dense(planner *p, plan_memory *to, int64_t at, int64_t group_pitch, int64_t pitch, plan_place from,
                       const hmoec_shape *shape) {
  int64_t columns = shape->dims[shape->rank - 1], rows = shape->rank > 1 ? shape->dims[shape->rank - 2] : 1,
          groups = shape->rank > 2 ? shape->dims[0] : 1, column_stride = shape->rank == 1 ? from.row_stride : from.col_stride;
  bool in_rows =
      pitch == columns && (rows == 1 || (from.row_stride == columns * column_stride && !plan_has_gaps(&p->graph, from.memory)));
  if (in_rows || (groups == 1 && from.memory->count <= 1)) { /* matrices are rows of a matrix, or there is one */
    hmoec_packing all = {.columns = in_rows ? rows * columns : columns,
                         .column_stride = column_stride,
                         .q = 1,
                         .k_outer = 1,
                         .source_offset = from.offset,
                         .groups = in_rows ? groups : rows,
                         .source_group_stride = in_rows ? from.group_stride : from.row_stride,
                         .operand_n = in_rows ? group_pitch : pitch};
    plan_pack_emit(p, (plan_binding){.memory = to, .at = at, .apart = PLAN_OWN}, from.memory, &all);
    return;
  }
  if (from.memory->count > 1) from.memory = joined_stack(p, from.memory);
  bool by_matrix = groups <= rows;
  for (int64_t i = 0; i < (by_matrix ? groups : rows); i++) {
    hmoec_packing part = {.columns = columns,
                          .column_stride = column_stride,
                          .q = 1,
                          .k_outer = 1,
                          .source_offset = from.offset + i * (by_matrix ? from.group_stride : from.row_stride),
                          .groups = by_matrix ? rows : groups,
                          .source_group_stride = by_matrix ? from.row_stride : from.group_stride,
                          .operand_n = by_matrix ? pitch : group_pitch};
    plan_binding there = {.memory = to, .at = at + i * (by_matrix ? group_pitch : pitch), .apart = PLAN_OWN};
    plan_pack_emit(p, there, from.memory, &part);
  }
}

/* All elements of a value at open in row-major order, one after the other: copied there unless they lie so. */
static plan_place contiguous(planner *p, MlirValue value) {
  hmoec_shape shape = hmoec_value_shape(value);
  plan_place place = plan_value_get(p, value)->place, wanted = row_major(place.memory, &shape);
  wanted.offset = place.offset;
  int64_t strides[MOST_AXES] = {0}, dense[MOST_AXES] = {0};
  bool lies_so = place.memory->count <= 1 && plan_lies_dense(p, &place, hmoec_shape_elements(&shape));
  if (shape.rank > MOST_AXES && !lies_so) wanted.memory = joined_stack(p, place.memory);
  if (shape.rank > MOST_AXES) return wanted;
  strides_of(&place, shape.rank, strides);
  strides_of(&wanted, shape.rank, dense);
  for (int64_t axis = 0; axis < shape.rank; axis++) lies_so = lies_so && (strides[axis] == dense[axis] || shape.dims[axis] == 1);
  if (lies_so) return wanted;
  plan_memory **made = plan_made(p, (plan_key){.owner = place.memory,
                                               .making = PLAN_DENSE,
                                               .part = shape.rank == 3 ? shape.dims[0] : 1,
                                               .scope = place.group_stride,
                                               .offset = place.offset,
                                               .row_stride = place.row_stride,
                                               .col_stride = place.col_stride,
                                               .rows = shape.rank > 1 ? shape.dims[shape.rank - 2] : 1,
                                               .columns = shape.dims[shape.rank - 1]});
  if (!*made) {
    *made = plan_plain(p, "f32", -1, 1, hmoec_shape_elements(&shape));
    copy_dense(p, *made, 0, wanted.group_stride, shape.rank == 1 ? shape.dims[0] : wanted.row_stride, place, &shape);
  }
  wanted.memory = *made;
  wanted.offset = 0;
  return wanted;
}

plan_place plan_rows_place(planner *p, int fn, MlirValue value) {
  plan_place place = plan_value_get(p, value)->place;
  hmoec_shape shape = hmoec_value_shape(value);
  int64_t columns = shape.dims[shape.rank - 1];
  if (fn == PLAN_RUN || (shape.rank == 2 && place.col_stride == 1 && place.row_stride >= columns)) return place;
  place = contiguous(p, value);
  return (plan_place){.memory = place.memory, .offset = place.offset, .row_stride = columns, .col_stride = 1};
}

bool plan_parameter(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  (void)fn;
  (void)rows_dim;
  MlirValue value = mlirOperationGetResult(op, 0);
  hmoec_shape shape = hmoec_value_shape(value);
  int64_t count = hmoec_op_int(op, "count"), first = count > 0 ? 1 : 0;
  plan_memory *memory = plan_memory_create(p, "param", "f32", -1, shape.rank - first, shape.dims + first);
  MlirStringRef key = hmoec_op_string(op, "key");
  memory->key = hmoec_arena_strndup(p->out.arena, key.data, key.length);
  memory->count = count;
  memory->index = p->out.params++;
  if (count > 1 && shape.rank == 2 && !only_grouped(value)) { /* a stack of vectors that is read as a matrix becomes one */
    memory = joined_stack(p, memory);
  }
  plan_value_get(p, value)->place = row_major(memory, &shape);
  return true;
}

/* Columns of rows of tokens, from `begin` on. */
static void slice_rows(planner *p, MlirOperation op, int fn, int64_t rows_dim, plan_place place) {
  MlirValue y = mlirOperationGetResult(op, 0);
  int64_t step = hmoec_op_int(op, "step");
  place.offset += hmoec_op_int(op, "begin");
  plan_value_get(p, y)->place = place;
  if (step == 1) return;
  bool accumulate;
  plan_place out = plan_destination(p, y, rows_dim, &accumulate);
  plan_map_emit(p, fn, rows_dim, &(plan_mapping){.in = place, .in_step = step, .out = out, .columns = plan_columns(y)});
}

/* Of what is known at open. */
static void slice_known(planner *p, MlirOperation op, plan_place place) {
  MlirValue x = mlirOperationGetOperand(op, 0), y = mlirOperationGetResult(op, 0);
  int64_t rank = hmoec_value_shape(x).rank, axis = hmoec_axis(hmoec_op_int(op, "axis"), rank), strides[MOST_AXES] = {0};
  int64_t begin = hmoec_op_int(op, "begin"), step = hmoec_op_int(op, "step");
  bool squeeze = hmoec_op_int(op, "squeeze") != 0, first_groups = axis == 0 && begin == 0 && step == 1;
  if (place.memory->count > 1 && rank == 3 && (squeeze || (axis == 0 && !first_groups)))
    place.memory = joined_stack(p, place.memory);
  strides_of(&place, rank, strides);
  place.offset += begin * strides[axis];
  strides[axis] *= step;
  if (squeeze) memmove(strides + axis, strides + axis + 1, (size_t)(--rank - axis) * sizeof *strides);
  set_strides(&place, rank, strides);
  plan_value_get(p, y)->place = place;
}

bool plan_slice(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  plan_place place = plan_value_get(p, mlirOperationGetOperand(op, 0))->place;
  if (hmoec_op_at_open(op)) slice_known(p, op, place);
  else slice_rows(p, op, fn, rows_dim, place);
  return true;
}

/* The operands one behind the other: of rows of tokens their columns, of what is known at open along any axis. */
bool plan_concat(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  MlirValue y = mlirOperationGetResult(op, 0);
  hmoec_shape to = hmoec_value_shape(y);
  intptr_t count = mlirOperationGetNumOperands(op);
  int64_t axis = hmoec_axis(hmoec_op_int(op, "axis"), to.rank), at = 0, strides[MOST_AXES] = {0};
  if (!hmoec_op_at_open(op)) {
    bool accumulate;
    plan_place out = plan_destination(p, y, rows_dim, &accumulate);
    for (intptr_t i = 0; i < count; i++) {
      MlirValue piece = mlirOperationGetOperand(op, i);
      plan_mapping map = {.in = plan_value_get(p, piece)->place, .out = out, .first = at, .columns = plan_columns(piece)};
      plan_map_emit(p, fn, rows_dim, &map);
      at += plan_columns(piece);
    }
    return true;
  }
  plan_place out = row_major(plan_plain(p, "f32", -1, 1, hmoec_shape_elements(&to)), &to);
  strides_of(&out, to.rank, strides);
  for (intptr_t i = 0; i < count; i++) {
    MlirValue piece = mlirOperationGetOperand(op, i);
    hmoec_shape shape = hmoec_value_shape(piece);
    copy_dense(p, out.memory, at * strides[axis], out.group_stride, to.rank == 1 ? to.dims[0] : out.row_stride,
               plan_value_get(p, piece)->place, &shape);
    at += shape.dims[axis];
  }
  plan_value_get(p, y)->place = out;
  return true;
}

void plan_set_rank(planner *p, MlirValue value) {
  plan_place *place = &plan_value_get(p, value)->place;
  hmoec_shape shape = hmoec_value_shape(value);
  if (shape.rank == 1) place->row_stride = 1;
  if (shape.rank == 3) place->group_stride = shape.dims[1] * place->row_stride;
}

/* The same memory seen otherwise. */
bool plan_view(planner *p, MlirOperation op, int fn, int64_t rows_dim) {
  (void)fn;
  (void)rows_dim;
  MlirValue x = mlirOperationGetOperand(op, 0), y = mlirOperationGetResult(op, 0);
  plan_place place = plan_value_get(p, x)->place;
  if (hmoec_op_is(op, "hmoe.take_row")) {
    place.offset += hmoec_op_int(op, "row") * place.row_stride;
  } else if (hmoec_op_is(op, "hmoe.transpose")) {
    int64_t stride = place.row_stride;
    place.row_stride = place.col_stride;
    place.col_stride = stride;
  } else if (hmoec_op_is(op, "hmoe.reshape")) {
    hmoec_shape to = hmoec_value_shape(y);
    plan_place all = contiguous(p, x);
    place = row_major(all.memory, &to);
    place.offset = all.offset;
  }
  plan_value_get(p, y)->place = place;
  return true;
}
