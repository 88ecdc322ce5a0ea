/* What a fuzz target gives and what start.c makes of it. */
#ifndef HMOE_FUZZ_TARGET_H
#define HMOE_FUZZ_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The target: does what it tests to these bytes, aborts at what must not be, and says whether they were taken; refusing is as good. */
bool fuzz_accepts(const uint8_t *data, size_t size);

#endif
