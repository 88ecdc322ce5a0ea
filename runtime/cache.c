/* The selection cache: generated weights by selection set, a bounded number of slots, the least recently used one replaced first.
 *
 * Two runs may want the cache at once. A run takes the slots of one whole chunk in one go, while it holds none, so runs never wait for
 * each other in a circle. Slots in use are pinned and not on the list of those that may be replaced. Generation happens under the
 * lock: a set is generated once, and nobody reads a slot before it is complete. As that may take long, and runs a caller's executor, a fork
 * does not wait for the lock: a child begins with an empty cache where its parent was generating. */
#include "runtime_internal.h"

#include <string.h>
#include <xxhash.h>

enum { NO_SLOT = -1 };

typedef struct cache_slot {
  int32_t chain;            /* next slot with the same hash bucket */
  int32_t older, newer;     /* neighbours in the list of unpinned slots */
  uint32_t pins;
  uint32_t bucket;
  bool filled;
} cache_slot;

struct hmoe_cache {
  uint64_t self_bytes;
  uint32_t slot_count, bucket_count, top_k;
  cache_slot *slots;
  int32_t *keys;    /* [slot_count][top_k] */
  int32_t *buckets; /* first slot of a chain */
  int32_t oldest, newest;
  uint32_t unpinned;
  pthread_mutex_t mutex;
  pthread_cond_t unpinned_changed;
  bool locked; /* between acquire and publish */
  hmoe_fork_watch watch;
  bool whole; /* while the process forks: nobody had the lock */
};

static void list_append(hmoe_cache *cache, int32_t slot) {
  cache->slots[slot].older = cache->newest;
  cache->slots[slot].newer = NO_SLOT;
  if (cache->newest != NO_SLOT) cache->slots[cache->newest].newer = slot;
  else cache->oldest = slot;
  cache->newest = slot;
  cache->unpinned++;
}

static void list_prepend(hmoe_cache *cache, int32_t slot) {
  cache->slots[slot].newer = cache->oldest;
  cache->slots[slot].older = NO_SLOT;
  if (cache->oldest != NO_SLOT) cache->slots[cache->oldest].older = slot;
  else cache->newest = slot;
  cache->oldest = slot;
  cache->unpinned++;
}

static void list_remove(hmoe_cache *cache, int32_t slot) {
  cache_slot *s = &cache->slots[slot];
  if (s->older != NO_SLOT) cache->slots[s->older].newer = s->newer;
  else cache->oldest = s->newer;
  if (s->newer != NO_SLOT) cache->slots[s->newer].older = s->older;
  else cache->newest = s->older;
  cache->unpinned--;
}

static void empty(hmoe_cache *cache) {
  for (uint32_t i = 0; i < cache->bucket_count; i++) cache->buckets[i] = NO_SLOT;
  cache->oldest = cache->newest = NO_SLOT;
  cache->unpinned = 0;
  for (uint32_t i = 0; i < cache->slot_count; i++) {
    cache->slots[i].pins = 0;
    cache->slots[i].filled = false;
    list_append(cache, (int32_t)i);
  }
}

static void before_fork(void *object) {
  hmoe_cache *cache = object;
  cache->whole = pthread_mutex_trylock(&cache->mutex) == 0;
}

static void after_fork(void *object, bool child) {
  hmoe_cache *cache = object;
  if (cache->whole) pthread_mutex_unlock(&cache->mutex);
  if (!child) return;
  pthread_mutex_init(&cache->mutex, NULL);
  pthread_cond_init(&cache->unpinned_changed, NULL);
  cache->locked = false;
  if (!cache->whole) empty(cache);
  for (uint32_t i = 0; i < cache->slot_count; i++) /* of runs in the parent */
    if (cache->slots[i].pins) {
      cache->slots[i].pins = 0;
      list_append(cache, (int32_t)i);
    }
}

hmoe_status hmoe_cache_create(const hmoe_plan_cache *plan, const hmoe_allocator *allocator, hmoe_cache **out_cache) {
  *out_cache = NULL;
  uint32_t slot_count = (uint32_t)plan->slots, bucket_count = 1;
  while (bucket_count < slot_count) bucket_count *= 2;
  uint64_t slots_at = hmoe_round_up(sizeof(hmoe_cache), 8);
  uint64_t keys_at = slots_at + slot_count * (uint64_t)sizeof(cache_slot);
  uint64_t buckets_at = keys_at + slot_count * (uint64_t)plan->top_k * sizeof(int32_t);
  uint64_t self_bytes = buckets_at + bucket_count * (uint64_t)sizeof(int32_t);
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(allocator, self_bytes, "the selection cache", &memory));
  memset(memory, 0, self_bytes);
  hmoe_cache *cache = memory;
  cache->self_bytes = self_bytes;
  cache->slot_count = slot_count;
  cache->bucket_count = bucket_count;
  cache->top_k = plan->top_k;
  cache->slots = (cache_slot *)(void *)((uint8_t *)cache + slots_at);
  cache->keys = (int32_t *)(void *)((uint8_t *)cache + keys_at);
  cache->buckets = (int32_t *)(void *)((uint8_t *)cache + buckets_at);
  empty(cache);
  pthread_mutex_init(&cache->mutex, NULL);
  pthread_cond_init(&cache->unpinned_changed, NULL);
  cache->watch = (hmoe_fork_watch){cache, before_fork, after_fork, NULL, NULL};
  hmoe_fork_watch_begin(&cache->watch);
  *out_cache = cache;
  return HMOE_OK;
}

void hmoe_cache_destroy(hmoe_cache *cache, const hmoe_allocator *allocator) {
  if (!cache) return;
  hmoe_fork_watch_end(&cache->watch);
  pthread_cond_destroy(&cache->unpinned_changed);
  pthread_mutex_destroy(&cache->mutex);
  hmoe_release(allocator, cache, cache->self_bytes);
}

static int32_t *key_of(const hmoe_cache *cache, int32_t slot) { return cache->keys + (uint64_t)slot * cache->top_k; }

static uint32_t bucket_of(const hmoe_cache *cache, const int32_t *set) {
  return (uint32_t)XXH3_64bits(set, cache->top_k * sizeof *set) & (cache->bucket_count - 1);
}

static int32_t find(const hmoe_cache *cache, const int32_t *set) {
  int32_t slot = cache->buckets[bucket_of(cache, set)];
  while (slot != NO_SLOT && memcmp(key_of(cache, slot), set, cache->top_k * sizeof *set) != 0) slot = cache->slots[slot].chain;
  return slot;
}

static void forget(hmoe_cache *cache, int32_t slot) {
  cache_slot *s = &cache->slots[slot];
  if (!s->filled) return;
  int32_t *link = &cache->buckets[s->bucket];
  while (*link != slot) link = &cache->slots[*link].chain;
  *link = s->chain;
  s->filled = false;
}

static void remember(hmoe_cache *cache, int32_t slot, const int32_t *set) {
  cache_slot *s = &cache->slots[slot];
  memcpy(key_of(cache, slot), set, cache->top_k * sizeof *set);
  s->bucket = bucket_of(cache, set);
  s->chain = cache->buckets[s->bucket];
  cache->buckets[s->bucket] = slot;
  s->filled = true;
}

static void pin(hmoe_cache *cache, int32_t slot) {
  if (cache->slots[slot].pins++ == 0) list_remove(cache, slot);
}

void hmoe_cache_acquire(hmoe_cache *cache, const int32_t *sets, uint64_t count, int32_t *slots, int32_t *missing,
                        uint64_t *out_missing) {
  pthread_mutex_lock(&cache->mutex);
  for (;;) {
    /* Hits that nobody pins leave the list too: what is left must hold the misses. */
    uint64_t wanted = 0;
    for (uint64_t i = 0; i < count; i++) {
      slots[i] = find(cache, sets + i * cache->top_k);
      wanted += slots[i] == NO_SLOT || cache->slots[slots[i]].pins == 0;
    }
    if (wanted <= cache->unpinned) break;
    pthread_cond_wait(&cache->unpinned_changed, &cache->mutex);
  }
  cache->locked = true;
  for (uint64_t i = 0; i < count; i++)
    if (slots[i] != NO_SLOT) pin(cache, slots[i]);
  *out_missing = 0;
  for (uint64_t i = 0; i < count; i++) {
    if (slots[i] != NO_SLOT) continue;
    slots[i] = cache->oldest;
    forget(cache, slots[i]);
    remember(cache, slots[i], sets + i * cache->top_k);
    pin(cache, slots[i]);
    missing[(*out_missing)++] = (int32_t)i;
  }
}

void hmoe_cache_publish(hmoe_cache *cache, const int32_t *slots, const int32_t *missing, uint64_t missing_count, bool ok) {
  if (!cache->locked) return; /* the child of a fork since acquire */
  if (!ok)
    for (uint64_t i = 0; i < missing_count; i++) forget(cache, slots[missing[i]]);
  cache->locked = false;
  pthread_mutex_unlock(&cache->mutex);
}

void hmoe_cache_release(hmoe_cache *cache, const int32_t *slots, uint64_t count) {
  pthread_mutex_lock(&cache->mutex);
  for (uint64_t i = 0; i < count; i++) {
    cache_slot *slot = &cache->slots[slots[i]];
    if (slot->pins == 0 || --slot->pins > 0) continue; /* 0: as above */
    if (slot->filled) list_append(cache, slots[i]);
    else list_prepend(cache, slots[i]); /* empty ones are taken first */
  }
  pthread_cond_broadcast(&cache->unpinned_changed);
  pthread_mutex_unlock(&cache->mutex);
}
