/* Files that appear whole or not at all, several of them together: written without a name where the file system offers that, else under
 * a temporary name beside their place, and put there when all are complete. A process that is ended before leaves nothing. What is there
 * and is no regular file (a device, a pipe) is written to as it is, a link is followed, and "-" is standard output. */
#ifndef HMOEC_SUPPORT_OUTPUT_FILE_H
#define HMOEC_SUPPORT_OUTPUT_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "support/diagnostics.h"

typedef struct hmoec_output_file {
  int fd;
  int error; /* errno of the first write that failed, or 0 */
  char *path; /* NULL: not open */
  char *temporary; /* its name until it is complete; "": written in place */
  bool unnamed; /* and has that name only at the end */
  char *buffer;
  size_t used;
  hmoec_diagnostics *diagnostics;
} hmoec_output_file;

/* After success, exactly one of commit and abandon is called. */
bool hmoec_output_file_open(const char *path, hmoec_diagnostics *diagnostics, hmoec_output_file *out_file);
/* What fails is said at commit. */
void hmoec_output_file_write(hmoec_output_file *file, const void *bytes, size_t size);
/* Closes all files and puts them in their places; or, when anything that was written did not arrive, removes all, with one error. */
bool hmoec_output_files_commit(hmoec_output_file *files, size_t count);
/* A file that is not open is left alone. */
void hmoec_output_file_abandon(hmoec_output_file *file);

/* All of it for one file of bytes in memory. */
bool hmoec_file_write(const char *path, const char *bytes, size_t size, hmoec_diagnostics *diagnostics);

#endif
