/* The tensors of a checkpoint, read from their files' headers and mapped: of a .safetensors file, of the shards that a *.index.json names, or of
 * a directory that holds model.safetensors or model.safetensors.index.json. */
#ifndef HMOEC_SUPPORT_TENSOR_FILES_H
#define HMOEC_SUPPORT_TENSOR_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime_internal.h"
#include "support/diagnostics.h"

typedef struct hmoec_tensor_files hmoec_tensor_files;

/* False, reported, when a file is missing or broken, or the index and the shards do not agree. */
bool hmoec_tensor_files_open(const char *path, hmoec_diagnostics *diagnostics, hmoec_tensor_files **out_files);
void hmoec_tensor_files_close(hmoec_tensor_files *files); /* NULL is fine */

/* A tensor by name; NULL if there is none. It lives until close. out_file: the name of the file it is in; may be NULL. */
hmoe_tensor *hmoec_tensor_files_find(hmoec_tensor_files *files, const char *name, const char **out_file);
/* All tensors, file by file, in ascending order of names; NULL past the end. */
hmoe_tensor *hmoec_tensor_files_at(hmoec_tensor_files *files, size_t index);
/* What messages call the checkpoint: the path of its one file, or of its index. */
const char *hmoec_tensor_files_path(const hmoec_tensor_files *files);

#endif
