/* Blocks of specs, called from a program that builds a model through the builder: what a spec declares at its top level (dims, options, checks and
 * blocks) without a model of its own. */
#ifndef HMOEC_FRONTEND_SPEC_BLOCKS_H
#define HMOEC_FRONTEND_SPEC_BLOCKS_H

#include "frontend/builder.h"
#include "frontend/spec.h"

typedef struct hmoec_spec_blocks hmoec_spec_blocks;

/* An argument: one of the kinds of values that expressions have. Tensors that go together (what route gives) are a bundle. */
typedef enum hmoec_spec_argument_kind {
  HMOEC_SPEC_TENSORS,
  HMOEC_SPEC_INTEGER,
  HMOEC_SPEC_NUMBER,
  HMOEC_SPEC_WORD
} hmoec_spec_argument_kind;
typedef struct hmoec_spec_argument {
  const char *name; /* NULL: the next one */
  hmoec_spec_argument_kind kind;
  const MlirValue *tensors; /* one null tensor: absent */
  size_t tensor_count;
  const char *bundle; /* of several tensors: the op whose results they are */
  int64_t integer;
  double number;
  const char *word;
} hmoec_spec_argument;

/* Ops go to the builder, which must outlive it; messages to the sink. Never NULL. */
hmoec_spec_blocks *hmoec_spec_blocks_create(hmoec_diagnostics *diagnostics, hmoec_builder *builder);
void hmoec_spec_blocks_destroy(hmoec_spec_blocks *blocks); /* NULL is fine */
/* Adds what a spec declares. It may use what was added before; a name cannot be declared twice. Text and defines are copied. */
bool hmoec_spec_blocks_add(hmoec_spec_blocks *blocks, const hmoec_spec_reader *reader, const char *file, const char *text,
                           size_t size, const hmoec_define *defines, size_t define_count);
/* Calls a block; keys inside are in `scope` ("" or "block.3"). What it returns, tensor by tensor, absent ones null; at most `room` of them. */
bool hmoec_spec_blocks_call(hmoec_spec_blocks *blocks, hmoec_location at, const char *scope, const char *name,
                            const hmoec_spec_argument *arguments, size_t argument_count, MlirValue *out_tensors, size_t room,
                            size_t *out_count);

#endif
