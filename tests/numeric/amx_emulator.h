/* AMX tiles for machines without them, so that code for AMX can be tested anywhere.
 *
 * An AMX instruction raises SIGILL where the processor or the system does not provide it. The handler reads the instruction, does to
 * this thread's emulated tiles and to memory what the processor's manual says (AMX-TILE and AMX-BF16: ldtilecfg, sttilecfg, tilerelease,
 * tilezero, tileloadd, tileloaddt1, tilestored, tdpbf16ps), and goes on after it. What the processor would answer with a fault ends the
 * process with a message. Any other illegal instruction goes to the handler that was there before. Not known: segment and address-size
 * prefixes.
 *
 * HMOE_TEST_EMULATE_AMX in the environment: also on a machine that has AMX, which configures and releases tiles itself all the same;
 * for tests of code that uses tiles.
 * x86-64 Linux with AVX-512 only. All functions may be called from any thread; the handler is the process's, the tiles are the thread's. */
#ifndef AMX_EMULATOR_H
#define AMX_EMULATOR_H

#include <stdbool.h>
#include <stdint.h>

/* Whether this process cannot use AMX by itself. Asks the system for permission the first time. */
bool amx_emulator_needed(void);

/* Makes AMX usable: true if the machine does it (no handler then), or the handler stands. False: it can be neither.
 * Call again whenever another handler may have taken SIGILL: cmocka does so for the length of each test. */
bool amx_emulator_install(void);

/* Instructions emulated since the process began, of all threads. On a machine with AMX they stay 0. idle_loads: loads of a tile that was
 * neither multiplied nor stored before it was loaded again, zeroed or given up: of memory that the code had no use for, and may not own. */
typedef struct amx_emulator_counts {
  uint64_t configs, releases, zeros, loads, stores, products, idle_loads;
} amx_emulator_counts;
amx_emulator_counts amx_emulator_read_counts(void);

/* Whether this thread's emulated tiles are configured: code that returns has released them. */
bool amx_emulator_is_configured(void);

#endif
