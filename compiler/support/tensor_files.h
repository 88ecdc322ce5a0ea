/* The tensors of a checkpoint, through the runtime's reader: of a .safetensors file, of the shards that a *.index.json names, or of a
 * directory that holds model.safetensors or model.safetensors.index.json. What fails is reported once, with the file that is wrong.
 *
 * A key is a name, or several names of one tied tensor, a line each; it stands for a tensor with "module." or the like in front as well
 * (runtime/keys.c). */
#ifndef HMOEC_SUPPORT_TENSOR_FILES_H
#define HMOEC_SUPPORT_TENSOR_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime_internal.h"
#include "support/diagnostics.h"

typedef struct hmoec_tensor_files hmoec_tensor_files;

/* False, reported, when the file or the index is missing or broken. Messages go to diagnostics until close. */
bool hmoec_tensor_files_open(const char *path, hmoec_diagnostics *diagnostics, hmoec_tensor_files **out_files);
void hmoec_tensor_files_close(hmoec_tensor_files *files); /* NULL is fine */

/* The tensor of a key, which lives until close; NULL if there is none. False, reported: its file is broken, the names of the key are of
 * tensors that differ, or an index names a tensor that its file does not have. */
bool hmoec_tensor_files_find(hmoec_tensor_files *files, const char *key, const hmoe_tensor **out_tensor);
/* Is there a tensor of the key? Are all that it names, perhaps none, equal? Both true where a file cannot be read: finding says why. */
bool hmoec_tensor_files_have(hmoec_tensor_files *files, const char *key);
bool hmoec_tensor_files_tied(hmoec_tensor_files *files, const char *key);
/* The names of all tensors, in ascending order; NULL past the end. unused: NULL also for those that were found. */
const char *hmoec_tensor_files_name(const hmoec_tensor_files *files, size_t number);
const char *hmoec_tensor_files_unused(const hmoec_tensor_files *files, size_t number);
size_t hmoec_tensor_files_count(const hmoec_tensor_files *files);
/* What messages call the checkpoint: the path of its one file, or of its index. */
const char *hmoec_tensor_files_path(const hmoec_tensor_files *files);

#endif
