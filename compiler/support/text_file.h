/* Text files read whole. */
#ifndef HMOEC_SUPPORT_TEXT_FILE_H
#define HMOEC_SUPPORT_TEXT_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "content.h"
#include "support/arena.h"

/* The text of a regular file, in the arena and with a zero after it, or NULL and the reason ("No such file or directory"). */
char *hmoec_text_file_read(hmoec_arena *arena, const char *path, size_t limit_bytes, size_t *out_size, const char **out_reason);
/* The first bytes of a regular file, to tell what it is; how many, 0 if there are none or it cannot be read. */
size_t hmoec_file_begin(const char *path, uint8_t out[HMOE_CONTENT_BYTES]);

#endif
