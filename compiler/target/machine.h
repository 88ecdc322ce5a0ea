/* Machines, as far as times follow from them: a number for every name in a target's table (flops of a thread, bytes a second from memory, what waking a
 * thread costs). Some are in the target, the first of them is what objects are compiled for by default; `hmoec tune --machine` measures others.
 *
 * Times are for choices, which change no result: equal machines give equal objects. */
#ifndef HMOEC_TARGET_MACHINE_H
#define HMOEC_TARGET_MACHINE_H

#include <stddef.h>
#include <stdint.h>

typedef struct hmoec_machine_number {
  const char *name; /* "read_memory" */
  const char *unit; /* "GB/s" */
} hmoec_machine_number;

enum { HMOEC_MOST_NUMBERS = 64, HMOEC_MACHINE_CHARS = 96, HMOEC_CACHE_LEVELS = 3 };

typedef struct hmoec_machine {
  char name[HMOEC_MACHINE_CHARS]; /* of its processor, for people */
  size_t version; /* of the code that it runs best */
  uint32_t threads; /* that the numbers are for, where they depend on how many there are */
  uint64_t cache_bytes[HMOEC_CACHE_LEVELS]; /* of a core, of a core, of all */
  double number[HMOEC_MOST_NUMBERS]; /* in the order of the target's table */
} hmoec_machine;

/* What a kernel takes on one thread while all of the machine's are at work, in seconds. See hmoe_function. */
typedef struct hmoec_kernel_time {
  double row; /* or an item of its step's work */
  double block;
  double split_row;
} hmoec_kernel_time;

/* A part of a step that a thread does by itself: what hmoec_kernel_time says in three numbers, to the row. */
typedef struct hmoec_task {
  double rows; /* of its block; of attention, queries */
  double keys; /* of attention: that each of them meets */
  int64_t split, splits; /* which part of the columns, of how many; 0 of 1: all */
  uint64_t weight_bytes; /* that a run reads in all, by which they lie in a cache or not */
  int64_t threads; /* that read them at one time */
} hmoec_task;

/* What it costs to share a step among threads, in seconds. See hmoe_sharing. */
typedef struct hmoec_sharing_time {
  double barrier, wake, asleep;
} hmoec_sharing_time;

/* What choices between algorithms go by, of products in one format: of all threads together. */
typedef struct hmoec_machine_rates {
  double flops; /* FLOP/s that products of many rows reach */
  double read; /* bytes/s of weights that lie in memory */
  double touch; /* bytes/s of intermediates, written and read again soon */
  double step; /* seconds that a step takes at least */
} hmoec_machine_rates;

#endif
