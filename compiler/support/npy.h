/* .npy files (versions 1 to 3): C-ordered, little endian, float32, int32 or int64; float64 is converted to float32 on reading. */
#ifndef HMOEC_SUPPORT_NPY_H
#define HMOEC_SUPPORT_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/diagnostics.h"
#include "support/output_file.h"

#define HMOEC_NPY_MAX_RANK 8

typedef enum hmoec_npy_type { HMOEC_NPY_F32, HMOEC_NPY_I32, HMOEC_NPY_I64 } hmoec_npy_type;

typedef struct hmoec_npy {
  hmoec_npy_type type;
  int64_t rank;
  int64_t dims[HMOEC_NPY_MAX_RANK];
  int64_t elements;  /* product of dims */
  size_t size_bytes; /* of data */
  void *data;        /* owned; never NULL after a successful read */
} hmoec_npy;

/* False after an error that names the file. On success the caller calls hmoec_npy_deinit. */
bool hmoec_npy_read(const char *path, hmoec_diagnostics *diagnostics, hmoec_npy *out_array);
void hmoec_npy_deinit(hmoec_npy *array);

/* Version 1.0, to a file that is open. */
void hmoec_npy_print(hmoec_output_file *file, hmoec_npy_type type, int64_t rank, const int64_t *dims, const void *data);
/* The same as a file of its own, which is there whole or not at all. */
bool hmoec_npy_write(const char *path, hmoec_npy_type type, int64_t rank, const int64_t *dims, const void *data,
                     hmoec_diagnostics *diagnostics);

#endif
