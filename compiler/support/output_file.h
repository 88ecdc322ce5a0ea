/* A file that appears whole or not at all: written under a temporary name beside its place, renamed when complete. What is there and is
 * no regular file (a device, a pipe) is written to as it is. */
#ifndef HMOEC_SUPPORT_OUTPUT_FILE_H
#define HMOEC_SUPPORT_OUTPUT_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "support/diagnostics.h"

typedef struct hmoec_output_file {
  FILE *stream; /* to write to; errors are found at commit */
  char *temporary;
  char *path;
  hmoec_diagnostics *diagnostics;
} hmoec_output_file;

/* After success, exactly one of commit and abandon is called. */
bool hmoec_output_file_open(const char *path, hmoec_diagnostics *diagnostics, hmoec_output_file *out_file);
/* Closes and renames. False, with the temporary file removed, when anything that was written did not arrive. */
bool hmoec_output_file_commit(hmoec_output_file *file);
void hmoec_output_file_abandon(hmoec_output_file *file);

/* All three for bytes in memory. */
bool hmoec_file_write(const char *path, const char *bytes, size_t size, hmoec_diagnostics *diagnostics);

#endif
