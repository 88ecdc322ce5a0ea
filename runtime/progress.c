/* Progress of packing: tasks on any thread count what they have read; the opening thread tells the caller, now and then. */
#include "runtime_internal.h"

static const int64_t pause_nanoseconds = 10 * 1000 * 1000;

void hmoe_progress_begin(hmoe_progress *progress, const hmoe_options *options, uint64_t total_bytes) {
  progress->call = options->progress;
  progress->context = options->progress_context;
  progress->thread = pthread_self();
  progress->total_bytes = total_bytes;
  progress->called = progress->call ? hmoe_now_ns() : 0;
  atomic_store(&progress->done_bytes, 0);
}

void hmoe_progress_add(hmoe_progress *progress, uint64_t bytes) {
  if (!progress || !progress->call) return;
  uint64_t done = atomic_fetch_add_explicit(&progress->done_bytes, bytes, memory_order_relaxed) + bytes;
  if (!pthread_equal(progress->thread, pthread_self()) || done >= progress->total_bytes) return;
  int64_t now = hmoe_now_ns();
  if (now - progress->called < pause_nanoseconds) return;
  progress->called = now;
  progress->call(progress->context, done, progress->total_bytes);
}

void hmoe_progress_end(hmoe_progress *progress) {
  if (progress->call) progress->call(progress->context, progress->total_bytes, progress->total_bytes);
}
