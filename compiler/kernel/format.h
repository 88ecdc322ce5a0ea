/* Formats of numbers in memory: what an element of a matrix is. A format that shares scales among elements (blocks) is one more row of the table
 * in format.c; how a target lays a matrix of a format out, and what travels beside it, is the target's to say (target/target.h). */
#ifndef HMOEC_KERNEL_FORMAT_H
#define HMOEC_KERNEL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum hmoec_format { HMOEC_FORMAT_F32 = 0, HMOEC_FORMAT_BF16, HMOEC_FORMAT_COUNT } hmoec_format;

/* Names by format, then NULL: "f32", "bf16". */
extern const char *const hmoec_format_names[];
const char *hmoec_format_name(hmoec_format format);
/* False if `name` is none. */
bool hmoec_format_find(const char *name, hmoec_format *out_format);
static inline bool hmoec_is_bf16(hmoec_format format) { return format == HMOEC_FORMAT_BF16; }
/* Of so many elements, one after the other. */
int64_t hmoec_format_bytes(hmoec_format format, int64_t elements);

#endif
