/* The arena is a list of blocks, the newest first; an allocation that does not fit the newest block opens another. */
#include "support/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plain_text.h"

enum { BLOCK_BYTES = 64 << 10, ALIGNMENT = 16 };

typedef struct arena_block {
  struct arena_block *next;
  size_t used_bytes, size_bytes;
  _Alignas(ALIGNMENT) unsigned char data[];
} arena_block;

struct hmoec_arena {
  arena_block *newest;
};

_Noreturn void hmoec_arena_out_of_memory(void) {
  fputs("hmoec: out of memory\n", stderr);
  abort();
}

hmoec_arena *hmoec_arena_create(void) {
  hmoec_arena *arena = calloc(1, sizeof *arena);
  if (!arena) hmoec_arena_out_of_memory();
  return arena;
}

void hmoec_arena_destroy(hmoec_arena *arena) {
  if (!arena) return;
  for (arena_block *block = arena->newest, *next; block; block = next) {
    next = block->next;
    free(block);
  }
  free(arena);
}

void *hmoec_arena_alloc(hmoec_arena *arena, size_t size_bytes) {
  if (size_bytes > SIZE_MAX / 2) hmoec_arena_out_of_memory();
  size_t rounded = (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  arena_block *block = arena->newest;
  if (!block || block->size_bytes - block->used_bytes < rounded) {
    size_t capacity = rounded > BLOCK_BYTES ? rounded : BLOCK_BYTES;
    block = calloc(1, sizeof *block + capacity);
    if (!block) hmoec_arena_out_of_memory();
    block->size_bytes = capacity;
    block->next = arena->newest;
    arena->newest = block;
  }
  void *result = block->data + block->used_bytes;
  block->used_bytes += rounded;
  return result;
}

void *hmoec_arena_alloc_array(hmoec_arena *arena, size_t count, size_t element_bytes) {
  size_t size_bytes;
  if (__builtin_mul_overflow(count, element_bytes, &size_bytes)) hmoec_arena_out_of_memory();
  return hmoec_arena_alloc(arena, size_bytes);
}

void *hmoec_arena_grow(hmoec_arena *arena, const void *elements, size_t count, size_t capacity, size_t element_bytes) {
  void *grown = hmoec_arena_alloc_array(arena, capacity, element_bytes);
  if (count) memcpy(grown, elements, count * element_bytes);
  return grown;
}

char *hmoec_arena_strndup(hmoec_arena *arena, const char *text, size_t length) {
  char *copy = hmoec_arena_alloc(arena, length + 1);
  memcpy(copy, text, length);
  return copy;
}

char *hmoec_arena_strdup(hmoec_arena *arena, const char *text) { return hmoec_arena_strndup(arena, text, strlen(text)); }

char *hmoec_arena_printf(hmoec_arena *arena, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int length = hmoe_plain_vformat(NULL, 0, format, arguments);
  va_end(arguments);
  if (length < 0) length = 0;
  char *text = hmoec_arena_alloc(arena, (size_t)length + 1);
  hmoe_plain_vformat(text, (size_t)length + 1, format, again);
  va_end(again);
  return text;
}
