/* A bump arena: everything one compilation (or one pass) allocates lives until the arena is destroyed, and is freed in one go.
 * Like LLVM itself, it ends the process with a message when memory is short, so that no caller has to check. Not thread-safe. */
#ifndef HMOEC_SUPPORT_ARENA_H
#define HMOEC_SUPPORT_ARENA_H

#include <stdarg.h>
#include <stddef.h>

typedef struct hmoec_arena hmoec_arena;

/* The end of the process; for what is kept beside an arena, too. */
_Noreturn void hmoec_arena_out_of_memory(void);

hmoec_arena *hmoec_arena_create(void);
void hmoec_arena_destroy(hmoec_arena *arena); /* NULL is fine */

/* Zeroed, aligned for any type, never NULL; borrowed from the arena. */
void *hmoec_arena_alloc(hmoec_arena *arena, size_t size_bytes);
void *hmoec_arena_alloc_array(hmoec_arena *arena, size_t count, size_t element_bytes);
/* A copy of `count` elements with room for `capacity`; for arrays that grow by doubling. */
void *hmoec_arena_grow(hmoec_arena *arena, const void *elements, size_t count, size_t capacity, size_t element_bytes);
char *hmoec_arena_strdup(hmoec_arena *arena, const char *text);
char *hmoec_arena_strndup(hmoec_arena *arena, const char *text, size_t length);
char *hmoec_arena_printf(hmoec_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
