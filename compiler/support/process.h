/* A program run beside this one, without a shell. It has no file of this process but those it is given, no signal handler or mask of it, and nothing on its
 * standard input. Safe to use from several threads. */
#ifndef HMOEC_SUPPORT_PROCESS_H
#define HMOEC_SUPPORT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct hmoec_program {
  const char *path;
  const char *const *arguments; /* the first is its name; then NULL */
  const char *const *environment; /* then NULL; NULL: this process's */
  const int *files; /* become its files 3, 4, ... */
  size_t file_count;
  bool errors_too; /* standard error belongs to the answer; else nobody reads it */
  /* Called with what came of the answer, and a few times a second with nothing; false: the program is killed. NULL: nobody watches. */
  bool (*watch)(void *context, const char *bytes, size_t size);
  void *watch_context;
} hmoec_program;

/* What it wrote to its standard output, and how it ended. */
typedef struct hmoec_answer {
  char *bytes; /* malloc'd, not terminated */
  size_t size, capacity;
  bool in_time; /* read to its end */
  int status; /* of wait; -1: not known, as where the application waits for all processes */
} hmoec_answer;

/* Starts it and waits for the answer, of at most so many bytes and milliseconds, behind which it is killed. An errno; 0: it ran, and the answer, whose bytes the
 * caller frees, is as far as it came. */
int hmoec_program_run(const hmoec_program *program, size_t most_bytes, int64_t most_ms, hmoec_answer *out_answer);

#endif
