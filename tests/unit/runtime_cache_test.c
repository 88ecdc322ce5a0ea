/* The selection cache by itself: which slot a new set takes, what runs that share it may and may not do to each other, and a fork. What hangs ends by an
 * alarm. */
#include "runtime_fixture.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <xxhash.h>

enum { ALARM_SECONDS = 60, SLOTS_MAX = 256 };

/* One run's chunk. */
typedef struct chunk {
  hmoe_cache *cache;
  uint64_t count, missing_count;
  int32_t slots[SLOTS_MAX], missing[SLOTS_MAX];
} chunk;

static hmoe_cache *create(uint64_t slots, uint32_t top_k) {
  hmoe_allocator allocator = fixture_allocator;
  hmoe_cache *cache;
  assert_ok(hmoe_cache_create(&(hmoe_plan_cache){slots, slots * 64, top_k, 0}, &allocator, &cache));
  return cache;
}

static void destroy(hmoe_cache *cache) {
  hmoe_allocator allocator = fixture_allocator;
  hmoe_cache_destroy(cache, &allocator);
}

/* Returns how many sets are missing. */
static uint64_t acquire(chunk *c, hmoe_cache *cache, const int32_t *sets, uint64_t count) {
  c->cache = cache;
  c->count = count;
  hmoe_cache_acquire(cache, sets, count, c->slots, c->missing, &c->missing_count);
  return c->missing_count;
}
static void publish(const chunk *c, bool ok) { hmoe_cache_publish(c->cache, c->slots, c->missing, c->missing_count, ok); }
static void release(const chunk *c) { hmoe_cache_release(c->cache, c->slots, c->count); }

static uint64_t use(hmoe_cache *cache, const int32_t *sets, uint64_t count) {
  chunk c;
  acquire(&c, cache, sets, count);
  publish(&c, true);
  release(&c);
  return c.missing_count;
}
static bool hits(hmoe_cache *cache, int32_t set) { return use(cache, &set, 1) == 0; }

static void pause_for(long microseconds) { nanosleep(&(struct timespec){.tv_nsec = microseconds * 1000}, NULL); }

/* ---- which slot is taken ---- */

static void test_least_used(void **state) {
  (void)state;
  hmoe_cache *cache = create(3, 1);
  static const struct {
    int32_t set;
    bool hit;
  } uses[] = {
      {1, false}, {2, false}, {3, false}, {1, true},  {1, true}, {3, true}, {3, true}, {4, false}, /* for 2, used once */
      {2, false}, /* for 4: the second use of 2, which was not forgotten */
      {4, false}, {2, false}, {4, false}, /* for each other; then it is the third of 4, and of all others: for 3, whose turn it is */
      {2, true},  {4, true},  {1, true},  {3, false}, /* for one of these, and now the fourth of all */
      {3, true}};
  for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
    if (hits(cache, uses[i].set) != uses[i].hit) fail_msg("use %zu of set %d", i, uses[i].set);
  destroy(cache);
}

static void test_failed_generation(void **state) {
  (void)state;
  hmoe_cache *cache = create(40, 2);
  int32_t sets[40][2];
  for (int32_t set = 0; set < 40; set++) memcpy(sets[set], (int32_t[]){set, 100}, sizeof sets[set]);
  assert_int_equal(use(cache, sets[0], 40), 40);
  chunk c, again;
  for (int round = 0; round < 3; round++) {
    assert_int_equal(acquire(&c, cache, (int32_t[]){50, 100}, 1), 1);
    publish(&c, false);
    release(&c);
    assert_int_equal(acquire(&again, cache, (int32_t[]){50, 100}, 1), 1);
    assert_int_equal(again.slots[0], c.slots[0]); /* no other set has to go */
    publish(&again, round == 2);
    release(&again);
  }
  assert_int_equal(use(cache, (int32_t[]){50, 100}, 1), 0);
  assert_int_equal(use(cache, sets[0], 40), 1); /* the one whose slot it was */
  destroy(cache);
}

/* Chunks that need every slot: each set has one of its own, and only what was there is not missing. */
static void test_chunks_as_large_as_the_cache(void **state) {
  (void)state;
  enum { SLOTS = 33 };
  hmoe_cache *cache = create(SLOTS, 1);
  int32_t holds[SLOTS], sets[SLOTS];
  memset(holds, -1, sizeof holds);
  for (int32_t first = 0; first < 300; first += 7) {
    for (int32_t i = 0; i < SLOTS; i++) sets[i] = first + i;
    chunk c;
    assert_int_equal(acquire(&c, cache, sets, SLOTS), first ? 7 : SLOTS);
    bool missing[SLOTS] = {false}, taken[SLOTS] = {false};
    for (uint64_t i = 0; i < c.missing_count; i++) missing[c.missing[i]] = true;
    for (int32_t i = 0; i < SLOTS; i++) {
      assert_in_range(c.slots[i], 0, SLOTS - 1);
      assert_false(taken[c.slots[i]]);
      taken[c.slots[i]] = true;
      if (missing[i]) holds[c.slots[i]] = sets[i];
      else assert_int_equal(holds[c.slots[i]], sets[i]);
    }
    publish(&c, true);
    release(&c);
  }
  destroy(cache);
}

/* Two sets whose hashes have the same upper half, by which slots are told apart before their keys are. */
typedef struct hashed {
  uint32_t upper;
  int32_t set;
} hashed;

static int by_hash(const void *a, const void *b) {
  const hashed *x = a, *y = b;
  return x->upper != y->upper ? (x->upper < y->upper ? -1 : 1) : (x->set > y->set) - (x->set < y->set);
}

static void test_equal_hashes(void **state) {
  (void)state;
  enum { SETS = 1 << 18 };
  hashed *all = malloc(SETS * sizeof *all);
  assert_non_null(all);
  for (int32_t set = 0; set < SETS; set++) all[set] = (hashed){(uint32_t)(XXH3_64bits(&set, sizeof set) >> 32), set};
  qsort(all, SETS, sizeof *all, by_hash);
  int found = 0;
  for (int32_t i = 1; i < SETS; i++) {
    if (all[i].upper != all[i - 1].upper) continue;
    hmoe_cache *cache = create(1, 1);
    assert_false(hits(cache, all[i].set));
    assert_false(hits(cache, all[i - 1].set));
    assert_true(hits(cache, all[i - 1].set));
    chunk c; /* nothing stays pinned by having been looked at */
    assert_int_equal(acquire(&c, cache, &all[i].set, 1), 1);
    publish(&c, true);
    release(&c);
    destroy(cache);
    found++;
  }
  assert_true(found > 0);
  free(all);
}

/* ---- how often a set is found ---- */

enum { SETS = 2016, SLOTS = 256 };

/* What a cache would miss that has the sets used last. */
typedef struct recent {
  int32_t sets[SLOTS];
  uint64_t used[SLOTS], now;
} recent;

static bool recent_hits(recent *r, int32_t set) {
  uint64_t oldest = 0;
  for (uint64_t i = 0; i < SLOTS; i++) {
    if (r->used[i] && r->sets[i] == set) {
      r->used[i] = ++r->now;
      return true;
    }
    if (r->used[i] < r->used[oldest]) oldest = i;
  }
  r->sets[oldest] = set;
  r->used[oldest] = ++r->now;
  return false;
}

typedef struct traffic {
  uint64_t seed;
  uint32_t mass[SETS]; /* a set's share and those before it, of 2^31 */
  int32_t order[SETS];
  hmoe_cache *cache;
  recent *recent;
  int32_t once;
} traffic;

static void shuffle(traffic *t) {
  for (int32_t i = 0; i < SETS; i++) t->order[i] = i;
  for (uint32_t i = SETS - 1; i > 0; i--) {
    uint32_t j = fixture_random(&t->seed) % (i + 1);
    int32_t set = t->order[i];
    t->order[i] = t->order[j];
    t->order[j] = set;
  }
}

/* The n-th set comes 1/n as often as the first. */
static traffic *start_traffic(void) {
  traffic *t = calloc(1, sizeof *t);
  assert_non_null(t);
  t->recent = calloc(1, sizeof *t->recent);
  assert_non_null(t->recent);
  t->seed = 7;
  t->cache = create(SLOTS, 1);
  double sum = 0, part = 0;
  for (int n = 1; n <= SETS; n++) sum += 1.0 / n;
  for (int n = 1; n <= SETS; n++) t->mass[n - 1] = (uint32_t)((part += 1.0 / n) / sum * 2147483647.0);
  shuffle(t);
  return t;
}

static void end_traffic(traffic *t) {
  destroy(t->cache);
  free(t->recent);
  free(t);
}

/* Hits in 1000 uses, of the cache and of one that replaces what was used least recently. */
typedef struct rates {
  int cache, recent;
} rates;

static rates run_traffic(traffic *t, int uses, bool once) {
  int cache = 0, old = 0;
  for (int i = 0; i < uses; i++) {
    int32_t set = SETS + t->once;
    if (once) {
      t->once++;
    } else {
      uint32_t at = fixture_random(&t->seed), low = 0, high = SETS - 1;
      while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (t->mass[middle] < at) low = middle + 1;
        else high = middle;
      }
      set = t->order[low];
    }
    cache += hits(t->cache, set);
    old += recent_hits(t->recent, set);
  }
  return (rates){cache * 1000 / uses, old * 1000 / uses};
}

/* 75 % of the uses are of the 256 most frequent sets. */
static void test_skewed(void **state) {
  (void)state;
  traffic *t = start_traffic();
  run_traffic(t, 40 * SLOTS, false);
  rates found = run_traffic(t, 200 * SLOTS, false);
  print_message("skewed: %d of 1000, by recency %d\n", found.cache, found.recent);
  assert_true(found.cache >= 700);
  assert_true(found.cache >= found.recent + 60);
  end_traffic(t);
}

static void test_skew_changes(void **state) {
  (void)state;
  traffic *t = start_traffic();
  run_traffic(t, 200 * SLOTS, false);
  shuffle(t);
  rates first = run_traffic(t, 8 * SLOTS, false), then = run_traffic(t, 8 * SLOTS, false), last = run_traffic(t, 40 * SLOTS, false);
  print_message("changed: %d, %d, %d of 1000, by recency %d, %d, %d\n", first.cache, then.cache, last.cache, first.recent,
                then.recent, last.recent);
  assert_true(first.cache >= first.recent - 80);
  assert_true(then.cache >= then.recent);
  assert_true(last.cache >= last.recent + 40);
  end_traffic(t);
}

static void test_sets_that_come_once(void **state) {
  (void)state;
  traffic *t = start_traffic();
  run_traffic(t, 100 * SLOTS, false);
  assert_int_equal(run_traffic(t, 2 * SLOTS, true).cache, 0);
  rates found = run_traffic(t, SLOTS, false);
  print_message("after sets that come once: %d of 1000, by recency %d\n", found.cache, found.recent);
  assert_true(found.cache >= 620);
  assert_true(found.cache >= found.recent + 180);
  end_traffic(t);
}

/* ---- runs that share it ---- */

/* A hit passes a run that is generating, and what that run generates is seen by nobody. */
static void test_hits_take_no_lock(void **state) {
  (void)state;
  hmoe_cache *cache = create(4, 1);
  use(cache, (int32_t[]){1, 2}, 2);
  chunk generating, other;
  assert_int_equal(acquire(&generating, cache, (int32_t[]){1, 3}, 2), 1);
  assert_int_equal(acquire(&other, cache, (int32_t[]){2, 1}, 2), 0); /* hangs if it does */
  assert_int_equal(other.slots[1], generating.slots[0]);
  publish(&other, true);
  release(&other);
  publish(&generating, true);
  release(&generating);
  assert_int_equal(use(cache, (int32_t[]){1, 2, 3}, 3), 0);
  destroy(cache);
}

typedef struct one_run {
  hmoe_cache *cache;
  const int32_t *sets;
  uint64_t count, missing;
  atomic_bool has, *keep; /* keep: until it is false; may be NULL */
} one_run;

static void *run_once(void *argument) {
  one_run *r = argument;
  chunk c;
  r->missing = acquire(&c, r->cache, r->sets, r->count);
  publish(&c, true);
  atomic_store(&r->has, true);
  while (r->keep && atomic_load(r->keep)) pause_for(100);
  release(&c);
  return NULL;
}

static void begin(pthread_t *thread, one_run *r) { assert_int_equal(pthread_create(thread, NULL, run_once, r), 0); }

/* A set that is being generated is waited for, and generated once. */
static void test_generated_once(void **state) {
  (void)state;
  hmoe_cache *cache = create(4, 1);
  chunk c;
  assert_int_equal(acquire(&c, cache, (int32_t[]){5}, 1), 1);
  one_run second = {.cache = cache, .sets = (int32_t[]){5}, .count = 1};
  pthread_t thread;
  begin(&thread, &second);
  pause_for(20000);
  assert_false(atomic_load(&second.has));
  publish(&c, true);
  pthread_join(thread, NULL);
  assert_int_equal(second.missing, 0);
  release(&c);
  destroy(cache);
}

/* Slots that a run holds are not taken: others wait until it lets go, and those go first that came first. */
static void test_all_slots_pinned(void **state) {
  (void)state;
  hmoe_cache *cache = create(4, 1);
  chunk first, rest;
  acquire(&first, cache, (int32_t[]){1, 2}, 2);
  publish(&first, true);
  acquire(&rest, cache, (int32_t[]){3, 4}, 2);
  publish(&rest, true);
  one_run wants_one = {.cache = cache, .sets = (int32_t[]){3, 5, 6}, .count = 3};
  one_run wants_all = {.cache = cache, .sets = (int32_t[]){4, 7, 8, 9}, .count = 4};
  pthread_t one, all;
  begin(&one, &wants_one);
  pause_for(20000);
  begin(&all, &wants_all);
  pause_for(20000);
  assert_false(atomic_load(&wants_one.has));
  assert_false(atomic_load(&wants_all.has));
  release(&first);
  pthread_join(one, NULL);
  assert_int_equal(wants_one.missing, 2);
  pause_for(20000);
  assert_false(atomic_load(&wants_all.has));
  release(&rest);
  pthread_join(all, NULL);
  assert_int_equal(wants_all.missing, 3);
  destroy(cache);
}

/* Whose turn it is next does not wait for the run before. */
static void test_turns(void **state) {
  (void)state;
  hmoe_cache *cache = create(4, 1);
  chunk c;
  acquire(&c, cache, (int32_t[]){1, 2, 3, 4}, 4);
  publish(&c, true);
  enum { RUNS = 3 };
  static const int32_t wanted[RUNS] = {5, 6, 7};
  atomic_bool keep = true;
  pthread_t threads[RUNS];
  one_run runs[RUNS];
  for (int i = 0; i < RUNS; i++) {
    runs[i] = (one_run){.cache = cache, .sets = &wanted[i], .count = 1, .keep = &keep};
    begin(&threads[i], &runs[i]);
  }
  pause_for(20000);
  for (int i = 0; i < RUNS; i++) assert_false(atomic_load(&runs[i].has));
  release(&c);
  for (int i = 0; i < RUNS; i++)
    while (!atomic_load(&runs[i].has)) pause_for(100);
  atomic_store(&keep, false);
  for (int i = 0; i < RUNS; i++) pthread_join(threads[i], NULL);
  destroy(cache);
}

/* A run that has pinned what it found, and then has to queue behind one that lacks just that. */
static void test_pins_are_dropped(void **state) {
  (void)state;
  for (int i = 0; i < 5; i++) {
    hmoe_cache *cache = create(4, 1);
    use(cache, (int32_t[]){1}, 1);
    chunk c;
    acquire(&c, cache, (int32_t[]){9}, 1);
    one_run all = {.cache = cache, .sets = (int32_t[]){2, 3, 4, 5}, .count = 4},
            one = {.cache = cache, .sets = (int32_t[]){1, 6}, .count = 2};
    pthread_t threads[2];
    begin(&threads[0], &all);
    pause_for(3000);
    begin(&threads[1], &one);
    pause_for(3000);
    publish(&c, true);
    release(&c);
    for (int t = 0; t < 2; t++) pthread_join(threads[t], NULL);
    assert_int_equal(all.missing, 4);
    destroy(cache);
  }
}

/* Who cannot have all the slots that it wants leaves those that it could have as they are. */
static void test_waiting_takes_nothing(void **state) {
  (void)state;
  hmoe_cache *cache = create(4, 1);
  for (int i = 0; i < 6; i++) hits(cache, 9);
  chunk c;
  assert_int_equal(acquire(&c, cache, (int32_t[]){1, 2, 3}, 3), 3);
  publish(&c, true);
  one_run r = {.cache = cache, .sets = (int32_t[]){7, 8}, .count = 2};
  pthread_t thread;
  begin(&thread, &r);
  pause_for(20000);
  assert_false(atomic_load(&r.has));
  release(&c);
  pthread_join(thread, NULL);
  assert_int_equal(r.missing, 2);
  assert_int_equal(use(cache, (int32_t[]){9, 7, 8}, 3), 0);
  destroy(cache);
}

/* Two runs that between them always hold a slot: each lets go once the other has come after it, or does not come. */
enum { TURNS = 300 };
typedef struct holder {
  hmoe_cache *cache;
  const atomic_bool *stop;
  int32_t set;
  struct holder *other;
  atomic_int came;
  atomic_bool done;
} holder;

static void *hold_in_turn(void *argument) {
  holder *h = argument;
  for (int turn = 0; turn < TURNS && !atomic_load(h->stop); turn++) {
    chunk c;
    acquire(&c, h->cache, &h->set, 1);
    publish(&c, true);
    int others = atomic_load(&h->other->came);
    atomic_fetch_add(&h->came, 1);
    for (int i = 0; i < 50 && atomic_load(&h->other->came) == others; i++) pause_for(100);
    release(&c);
  }
  atomic_store(&h->done, true);
  return NULL;
}

static void test_who_wants_all_is_served(void **state) {
  (void)state;
  hmoe_cache *cache = create(4, 1);
  use(cache, (int32_t[]){1, 2}, 2);
  atomic_bool stop = false;
  holder holders[] = {{.cache = cache, .stop = &stop, .set = 1, .other = &holders[1]},
                      {.cache = cache, .stop = &stop, .set = 2, .other = &holders[0]}};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, hold_in_turn, &holders[i]), 0);
  while (atomic_load(&holders[0].came) < 2 || atomic_load(&holders[1].came) < 2) pause_for(100);
  chunk c;
  acquire(&c, cache, (int32_t[]){3, 4, 5, 6}, 4);
  bool served = !atomic_load(&holders[0].done) && !atomic_load(&holders[1].done); /* not only once they have ended */
  publish(&c, true);
  release(&c);
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  assert_true(served);
  destroy(cache);
}

/* Many runs: what a slot holds is its set's, for as long as it is pinned; what fits is generated once. */
enum { RUNNERS = 4, STRESS_SLOTS = 24, TOP_K = 3 };
typedef struct stress {
  hmoe_cache *cache;
  uint64_t seed;
  int32_t sets; /* how many there are */
  uint64_t most; /* sets of a chunk */
  int rounds;
  int64_t (*data)[2]; /* of the slots; not atomic, as weights are not */
  atomic_long *generated, *wrong;
} stress;

static int64_t value_of(const int32_t *set, int part) {
  return ((int64_t)set[0] * 1000003 + set[1] * 101 + set[2]) * (part ? -7 : 13);
}

static void *run_many(void *argument) {
  stress *s = argument;
  for (int round = 0; round < s->rounds; round++) {
    int32_t sets[STRESS_SLOTS][TOP_K];
    uint64_t count = 1 + fixture_random(&s->seed) % s->most;
    int32_t first = (int32_t)(fixture_random(&s->seed) % (uint32_t)s->sets);
    for (uint64_t i = 0; i < count; i++) {
      int32_t number = (int32_t)((uint64_t)first + i * (1 + (uint64_t)round % 3)) % s->sets;
      for (uint64_t j = 0; j < i; j++)
        if (sets[j][0] == number) count = i; /* they are distinct */
      memcpy(sets[i], (int32_t[]){number, number / 3, 5}, sizeof sets[i]);
    }
    chunk c;
    acquire(&c, s->cache, sets[0], count);
    bool ok = s->sets <= STRESS_SLOTS || fixture_random(&s->seed) % 8;
    for (uint64_t i = 0; i < c.missing_count; i++)
      for (int part = 0; part < 2; part++) s->data[c.slots[c.missing[i]]][part] = ok ? value_of(sets[c.missing[i]], part) : 0;
    atomic_fetch_add(s->generated, (long)c.missing_count);
    publish(&c, ok);
    for (int again = 0; ok && again < 2; again++)
      for (uint64_t i = 0; i < count; i++)
        for (int part = 0; part < 2; part++)
          if (s->data[c.slots[i]][part] != value_of(sets[i], part)) atomic_fetch_add(s->wrong, 1);
    release(&c);
  }
  return NULL;
}

static long run_stress(int32_t sets, uint64_t most, int rounds) {
  hmoe_cache *cache = create(STRESS_SLOTS, TOP_K);
  int64_t data[STRESS_SLOTS][2];
  atomic_long generated = 0, wrong = 0;
  stress runners[RUNNERS];
  pthread_t threads[RUNNERS];
  for (int i = 0; i < RUNNERS; i++) {
    runners[i] = (stress){cache, (uint64_t)i + 1, sets, most, rounds, data, &generated, &wrong};
    assert_int_equal(pthread_create(&threads[i], NULL, run_many, &runners[i]), 0);
  }
  for (int i = 0; i < RUNNERS; i++) pthread_join(threads[i], NULL);
  assert_int_equal(wrong, 0);
  destroy(cache);
  return generated;
}

static void test_shared(void **state) {
  (void)state;
  assert_int_equal(run_stress(STRESS_SLOTS, 5, 4000), STRESS_SLOTS); /* all fit */
  run_stress(3 * STRESS_SLOTS, 5, 4000);
  run_stress(STRESS_SLOTS + 2, 4, 4000); /* nearly all fit: hits beside misses */
  run_stress(3 * STRESS_SLOTS, STRESS_SLOTS, 1500); /* they wait for each other */
}

/* ---- fork ---- */

enum { FINE, HELD, LOST, KEPT };

static int in_child(int (*child)(hmoe_cache *), hmoe_cache *cache) {
  fflush(NULL);
  pid_t id = fork();
  if (id == 0) {
    alarm(ALARM_SECONDS);
    _exit(child(cache));
  }
  int status = 0;
  assert_true(id > 0 && waitpid(id, &status, 0) == id);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* The thread sanitizer allows no new threads in a child. */
#if defined(__SANITIZE_THREAD__)
enum { CHILDREN_HAVE_THREADS = false };
#else
enum { CHILDREN_HAVE_THREADS = true };
#endif

static int uses_all(hmoe_cache *cache) {
  if (use(cache, (int32_t[]){1, 2}, 2) != 0) return LOST;
  if (use(cache, (int32_t[]){5, 6, 7, 8}, 4) != 4) return KEPT;
  if (use(cache, (int32_t[]){5, 6, 7, 8}, 4) != 0) return LOST;
  chunk c, held, again;
  acquire(&held, cache, (int32_t[]){8}, 1);
  acquire(&c, cache, (int32_t[]){9}, 1);
  acquire(&again, cache, (int32_t[]){8}, 1); /* hangs if a run of the parent's is thought to wait */
  publish(&c, true);
  release(&again);
  release(&held);
  release(&c);
  if (!CHILDREN_HAVE_THREADS) return FINE;
  acquire(&c, cache, (int32_t[]){1, 2, 3, 4}, 4);
  publish(&c, true);
  one_run waits = {.cache = cache, .sets = (int32_t[]){5}, .count = 1};
  pthread_t thread;
  if (pthread_create(&thread, NULL, run_once, &waits) != 0) return HELD;
  pause_for(5000);
  bool early = atomic_load(&waits.has);
  release(&c);
  pthread_join(thread, NULL);
  return early ? HELD : FINE;
}

static int finds_it_empty(hmoe_cache *cache) {
  if (use(cache, (int32_t[]){1, 2, 3, 4}, 4) != 4) return KEPT;
  return use(cache, (int32_t[]){1, 2, 3, 4}, 4) ? LOST : FINE;
}

/* A child has what is in the cache, without the pins of its parent's runs; and nothing if its parent was generating. */
static void test_fork(void **state) {
  (void)state;
  hmoe_cache *cache = create(4, 1);
  assert_ok(hmoe_fork_prepare());
  use(cache, (int32_t[]){1, 2}, 2);
  chunk c, d;
  acquire(&c, cache, (int32_t[]){1, 2}, 2);
  assert_int_equal(in_child(uses_all, cache), FINE);
  acquire(&d, cache, (int32_t[]){3}, 1);
  assert_int_equal(in_child(finds_it_empty, cache), FINE);
  publish(&d, true);
  assert_int_equal(in_child(uses_all, cache), FINE);
  one_run waits = {.cache = cache, .sets = (int32_t[]){5, 6}, .count = 2};
  pthread_t thread;
  begin(&thread, &waits);
  pause_for(20000);
  assert_int_equal(in_child(uses_all, cache), FINE); /* nor does anybody wait there */
  assert_false(atomic_load(&waits.has));
  release(&c);
  pthread_join(thread, NULL);
  release(&d);
  assert_int_equal(use(cache, (int32_t[]){3, 5, 6}, 3), 0);
  destroy(cache);
}

/* The child of a fork inside of a generation drops the run as its parent's code does, and then has a cache. */
static void test_fork_inside(void **state) {
  (void)state;
  hmoe_cache *cache = create(4, 1);
  assert_ok(hmoe_fork_prepare());
  chunk c;
  acquire(&c, cache, (int32_t[]){1, 2, 3}, 3);
  fflush(NULL);
  pid_t id = fork();
  if (id == 0) alarm(ALARM_SECONDS);
  publish(&c, true);
  release(&c);
  uint64_t missing = use(cache, (int32_t[]){1, 2, 3, 4}, 4);
  if (id == 0) _exit(missing == 4 && use(cache, (int32_t[]){1, 2, 3, 4}, 4) == 0 ? FINE : KEPT);
  assert_int_equal(missing, 1);
  int status = 0;
  assert_true(id > 0 && waitpid(id, &status, 0) == id);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == FINE);
  destroy(cache);
}

int main(void) {
  alarm(4 * ALARM_SECONDS);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_least_used),
      cmocka_unit_test(test_failed_generation),
      cmocka_unit_test(test_chunks_as_large_as_the_cache),
      cmocka_unit_test(test_equal_hashes),
      cmocka_unit_test(test_skewed),
      cmocka_unit_test(test_skew_changes),
      cmocka_unit_test(test_sets_that_come_once),
      cmocka_unit_test(test_hits_take_no_lock),
      cmocka_unit_test(test_generated_once),
      cmocka_unit_test(test_all_slots_pinned),
      cmocka_unit_test(test_turns),
      cmocka_unit_test(test_pins_are_dropped),
      cmocka_unit_test(test_waiting_takes_nothing),
      cmocka_unit_test(test_who_wants_all_is_served),
      cmocka_unit_test(test_shared),
      cmocka_unit_test(test_fork),
      cmocka_unit_test(test_fork_inside),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
