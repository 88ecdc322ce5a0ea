/* What the machine can do, beyond compiler/commands/ceilings.h: bf16 products, and reads as a tuned kernel makes them. */
#ifndef HMOE_BENCH_MACHINE_CEILINGS_H
#define HMOE_BENCH_MACHINE_CEILINGS_H

#include <stddef.h>

/* The most bf16 multiply-adds a second, by the best instruction of this CPU: billions of operations, a multiply-add counting as two;
 * 0 if the CPU multiplies no bf16, or there is no memory. *out_instruction: "amx", "avx512_bf16" or "none", static. */
double bench_ceiling_bf16_gflops(size_t threads, const char **out_instruction);

/* Reads from memory with several threads: 1 GiB, in huge pages where the system gives them, a piece after the other. */
typedef struct bench_reader bench_reader;
bench_reader *bench_reader_create(size_t threads); /* NULL: memory is short */
void bench_reader_destroy(bench_reader *reader);
/* Reads so many bytes, rounded to pieces of 512 KiB, from where the last call stopped. */
void bench_reader_run(bench_reader *reader, size_t bytes);

#endif
