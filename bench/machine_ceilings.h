/* What the machine can do, beyond compiler/commands/ceilings.h: reads as a tuned kernel makes them. */
#ifndef HMOE_BENCH_MACHINE_CEILINGS_H
#define HMOE_BENCH_MACHINE_CEILINGS_H

#include <stddef.h>

/* Asks the system to grant AMX tiles to this process; 0: refused. Opening a model of bf16 products does so too. */
int bench_ask_for_tiles(void);

/* Reads from memory with several threads: 1 GiB, in huge pages where the system gives them, a piece after the other. */
typedef struct bench_reader bench_reader;
bench_reader *bench_reader_create(size_t threads); /* NULL: memory is short */
void bench_reader_destroy(bench_reader *reader);
/* Reads so many bytes, rounded to pieces of 512 KiB, from where the last call stopped. */
void bench_reader_run(bench_reader *reader, size_t bytes);

#endif
