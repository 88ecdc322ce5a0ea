/* Loaded before a program: its monotonic clock gains a second with every reading, so that what a command says after seconds it says at once. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *out_time) {
  static atomic_long readings;
  int status = (int)syscall(SYS_clock_gettime, clock, out_time);
  if (clock == CLOCK_MONOTONIC) out_time->tv_sec += atomic_fetch_add(&readings, 1);
  return status;
}
