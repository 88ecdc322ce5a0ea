/* The one way models are built, whatever they are written in: inputs, parameters and ops are added in order, each with the place it
 * comes from, and finish gives an hmoe module with one entry function.
 *
 *   func.func @NAME(%x: tensor<?x..> {hmoe.dims = ["tokens"], hmoe.name = "x"}) -> (tensor<?x..> {hmoe.name = "y"})
 *       attributes {hmoe.model = "NAME"}
 *
 *   hmoec_builder *builder = hmoec_builder_create(context, diagnostics, at, "plain_layer", NULL);
 *   hmoec_builder_input(builder, at, "x", &shape, &x);
 *   hmoec_builder_parameter(builder, at, "w", 0, &w_shape, &w);
 *   hmoec_builder_op(builder, at, "linear", (MlirValue[]){x, w}, 2, NULL, 0, results, &result_count);
 *   hmoec_builder_output(builder, at, "y", results[0]);
 *   bool ok = hmoec_builder_finish(builder, &module);
 *   hmoec_builder_destroy(builder);
 *
 * Every call reports its errors to the sink at `at` and returns false; the builder stays usable, so that later calls can report theirs. */
#ifndef HMOEC_FRONTEND_BUILDER_H
#define HMOEC_FRONTEND_BUILDER_H

#include "frontend/c_function.h"
#include "ir/generation.h"
#include "ir/ops.h"

typedef struct hmoec_builder hmoec_builder;

/* The context needs the hmoe and func dialects loaded; it and the sink are borrowed until destroy. Never NULL; a model name that
 * cannot be one is reported at once and makes finish fail. flags: of functions written in C, borrowed, or NULL. */
hmoec_builder *hmoec_builder_create(MlirContext context, hmoec_diagnostics *diagnostics, hmoec_location at, const char *model,
                                    const hmoec_c_flags *flags);
/* Frees the builder and, unless finish gave it away, what was built. NULL is fine. */
void hmoec_builder_destroy(hmoec_builder *builder);

/* f32, i32 or i64; dimensions of at least 1, or HMOEC_DYNAMIC. Names of inputs and outputs are distinct C identifiers. */
bool hmoec_builder_input(hmoec_builder *builder, hmoec_location at, const char *name, const hmoec_shape *shape,
                         MlirValue *out_value);
/* As hmoec_builder_input, which calls a dynamic dimension "tokens", or two of them "batch" and "length". dims: the names of the dynamic
 * dimensions in order, identifiers that no input or output has; dimensions of one name are of one size. given: of i32 and i64, what
 * every element is where the caller leaves the input out; NULL: the caller may not. */
bool hmoec_builder_input_named(hmoec_builder *builder, hmoec_location at, const char *name, const hmoec_shape *shape,
                               const char *const *dims, const int64_t *given, MlirValue *out_value);
/* For generation: a setting by its name (ir/generation.h). The last one of a name counts. */
bool hmoec_builder_setting(hmoec_builder *builder, hmoec_location at, const char *name, const hmoec_setting_value *value);
/* A tensor of the checkpoint, or a stack of `count` (see hmoec_parameter_build). Asking again for the same key gives the same value;
 * with another shape it is an error. */
bool hmoec_builder_parameter(hmoec_builder *builder, hmoec_location at, const char *key, int64_t count, const hmoec_shape *shape,
                             MlirValue *out_value);
/* out_results: room for HMOEC_MAX_RESULTS. Where an attribute is an activation or a gate, "c:FILE:NAME" names a C function
 * (frontend/function_set.h). */
bool hmoec_builder_op(hmoec_builder *builder, hmoec_location at, const char *name, const MlirValue *operands, size_t operand_count,
                      const hmoec_attribute *attributes, size_t attribute_count, MlirValue *out_results, size_t *out_result_count);
bool hmoec_builder_output(hmoec_builder *builder, hmoec_location at, const char *name, MlirValue value);
/* Once, and only if every call succeeded. The module is the caller's. */
bool hmoec_builder_finish(hmoec_builder *builder, MlirModule *out_module);

/* The names of an op's results where it has several ("route": indices, gates, kept), NULL-terminated; NULL for an op with one. */
const char *const *hmoec_builder_result_names(const char *op);

#endif
