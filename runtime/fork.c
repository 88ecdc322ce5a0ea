/* fork: a child has the memory of its parent, but of its threads only the one that forked. What an object keeps for other threads (workers,
 * locks, the workspaces of runs in progress) is without an owner there. So pools, caches and models ask to be told:
 *
 *   before  in the parent, on the forking thread: takes the object's lock, so that what it protects is whole in the child's copy, which the
 *           system makes page by page while other threads go on. May not wait for anything that a caller's code could hold
 *   after   in both: gives the lock back; in the child it also makes the object one that no other thread uses
 *
 * The handlers are the process's for good, and nothing happens in a child that only executes another program. */
#include "runtime_internal.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static hmoe_fork_watch *first;
static _Atomic uint32_t forks;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool installed;

static void before_fork(void) {
  pthread_mutex_lock(&mutex);
  for (hmoe_fork_watch *watch = first; watch; watch = watch->next)
    if (watch->before) watch->before(watch->object);
}

static void after_fork_in_parent(void) {
  for (hmoe_fork_watch *watch = first; watch; watch = watch->next) watch->after(watch->object, false);
  pthread_mutex_unlock(&mutex);
}

static void after_fork_in_child(void) {
  atomic_fetch_add(&forks, 1);
  for (hmoe_fork_watch *watch = first; watch; watch = watch->next) watch->after(watch->object, true);
  pthread_mutex_unlock(&mutex);
  pthread_mutex_init(&mutex, NULL);
}

static void install(void) { installed = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0; }

hmoe_status hmoe_fork_prepare(void) {
  pthread_once(&once, install);
  return installed ? HMOE_OK : hmoe_fail(HMOE_OUT_OF_MEMORY, "no memory for what a fork must do");
}

void hmoe_fork_watch_begin(hmoe_fork_watch *watch) {
  pthread_mutex_lock(&mutex);
  watch->next = first;
  watch->link = &first;
  if (first) first->link = &watch->next;
  first = watch;
  pthread_mutex_unlock(&mutex);
}

void hmoe_fork_watch_end(hmoe_fork_watch *watch) {
  pthread_mutex_lock(&mutex); /* link is also written by what is before it in the list */
  if (watch->link) *watch->link = watch->next;
  if (watch->next) watch->next->link = watch->link;
  pthread_mutex_unlock(&mutex);
  *watch = (hmoe_fork_watch){0};
}

uint32_t hmoe_fork_count(void) { return atomic_load_explicit(&forks, memory_order_relaxed); }
