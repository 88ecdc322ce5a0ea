/* The selection cache: generated weights by selection set, a bounded number of slots.
 *
 * WHICH SLOT A NEW SET TAKES. One that is used less often than others. A slot counts its uses, up to 15. A set that leaves has its count kept in the
 * history, by hash, and gets it back when it returns: to stay, a set must be wanted often, not last. Of the next 16 slots in turn that nobody
 * pins the one with the lowest count is taken, of equal ones the first, so that what has just come stays a while. When all counts add up to more
 * than 8 a slot they are halved: what was wanted long ago is forgotten after a few times as many uses as there are slots.
 *
 * HITS take no lock and write nothing but the words of the slots that they use. A word holds a slot's state, pins, count, and 32 bits of its set's
 * hash, and changes by read-modify-write while the slot is full:
 *
 *   empty -> claimed    by who has the lock, from no pins
 *   full -> claimed     the same. From then on nobody can pin the slot. Acquire: those that had it pinned are done with it
 *   claimed -> full     publish, when the weights are complete. Release: who pins the slot sees its weights and key
 *   claimed -> empty    publish, when the generation failed
 *   a pin more          by anybody, if the word still is that of a full slot. Acquire
 *   a pin less          release
 *
 * A key is compared under a pin: it cannot change then, whatever the slot held when its word was read. Chains are changed under the lock and read
 * without it. Who reads them meanwhile may come into another chain or miss its set, but cannot find a wrong one; it looks again under the lock.
 *
 * MISSES keep the lock until they are published. A set is generated once, and nobody reads a slot before it is complete. A run takes the slots of a
 * whole chunk in one go. When they are not to be had it lets go of all pins and queues, and who comes later queues behind it, hit or miss. Only
 * the first in the queue pins anything, so runs never wait for each other in a circle, and none waits forever. Who unpins writes the
 * word and then reads `waiting`, who queues writes `waiting` and then reads the words, all in one order (seq_cst): one of them sees the other.
 *
 * A generation may take long, and runs a caller's executor: a fork does not wait for the lock, and a child begins with an empty cache where its
 * parent was generating. Elsewhere it has what its parent had, without the pins. */
#include "runtime_internal.h"

#include <string.h>
#include <xxhash.h>

enum { NO_SLOT = -1, LINE_BYTES = 64, LOOKED_AT = 16, COUNT_MAX = 15, MEAN_COUNT_MAX = 8, HISTORY_PER_SLOT = 4 };

/* A slot's word, from its lowest bit: full, claimed; the count; pins; the upper half of the hash. */
static const uint64_t FULL = 1, CLAIMED = 2, ONE_USE = 1 << 4, USES = COUNT_MAX << 4, ONE_PIN = 1 << 8, PINS = 0xffffff00;

typedef struct cache_slot { /* in lines of its own, with its key behind it */
  _Atomic uint64_t word;
  _Atomic int32_t chain; /* next slot of the bucket */
  uint64_t hash;
  int32_t key[];
} cache_slot;

struct hmoe_cache {
  /* Read by all, written when a run queues. */
  uint64_t self_bytes, slot_bytes, history_count;
  uint32_t slot_count, bucket_count, top_k;
  uint8_t *slots;
  _Atomic int32_t *buckets; /* first slot of a chain */
  uint32_t *history; /* by hash: its upper 28 bits and a count; of sets that are not in the cache */
  _Atomic uint32_t waiting; /* runs that queue */
  hmoe_fork_watch watch;
  /* The lock's. */
  _Alignas(LINE_BYTES) pthread_mutex_t mutex;
  pthread_cond_t changed; /* pins, or whose turn it is */
  uint32_t tickets, turn; /* of runs that queue */
  uint32_t hand; /* the first slot to be looked at */
  uint32_t misses; /* since counts were added up */
  bool locked; /* between acquire and publish */
  bool whole; /* while the process forks: nobody had the lock */
};

static cache_slot *slot_at(const hmoe_cache *cache, int32_t slot) {
  return (cache_slot *)(void *)(cache->slots + (uint64_t)slot * cache->slot_bytes);
}

static uint64_t count_in(uint64_t word) { return (word & USES) / ONE_USE; }

static uint64_t hash_of(const hmoe_cache *cache, const int32_t *set) { return XXH3_64bits(set, cache->top_k * sizeof *set); }

static _Atomic int32_t *bucket_of(const hmoe_cache *cache, uint64_t hash) {
  return &cache->buckets[hash & (cache->bucket_count - 1)];
}

/* ---- what is in the cache ---- */

static void empty(hmoe_cache *cache) {
  for (uint32_t i = 0; i < cache->bucket_count; i++) atomic_store(&cache->buckets[i], NO_SLOT);
  for (uint32_t i = 0; i < cache->slot_count; i++) atomic_store(&slot_at(cache, (int32_t)i)->word, 0);
  memset(cache->history, 0, cache->history_count * sizeof *cache->history);
  cache->hand = cache->misses = 0;
}

static void link_slot(hmoe_cache *cache, int32_t slot) {
  cache_slot *s = slot_at(cache, slot);
  _Atomic int32_t *bucket = bucket_of(cache, s->hash);
  atomic_store_explicit(&s->chain, atomic_load_explicit(bucket, memory_order_relaxed), memory_order_relaxed);
  atomic_store_explicit(bucket, slot, memory_order_relaxed);
}

static void unlink_slot(hmoe_cache *cache, int32_t slot) {
  cache_slot *s = slot_at(cache, slot);
  _Atomic int32_t *link = bucket_of(cache, s->hash);
  int32_t at;
  while ((at = atomic_load_explicit(link, memory_order_relaxed)) != slot) link = &slot_at(cache, at)->chain;
  atomic_store_explicit(link, atomic_load_explicit(&s->chain, memory_order_relaxed), memory_order_relaxed);
}

static void unpin(cache_slot *slot) {
  if (atomic_fetch_sub(&slot->word, ONE_PIN) & PINS) return;
  atomic_fetch_add(&slot->word, ONE_PIN); /* the child of a fork has none of its parent's; meanwhile the slot looks pinned */
}

/* The set's slot, pinned, and its use counted; NO_SLOT: it is not found. */
static int32_t pin(const hmoe_cache *cache, const int32_t *set) {
  uint64_t hash = hash_of(cache, set);
  int32_t slot = atomic_load_explicit(bucket_of(cache, hash), memory_order_relaxed);
  /* No chain is longer; one that changes while it is read may have no end. */
  for (uint32_t i = 0; slot != NO_SLOT && i < cache->slot_count; i++) {
    cache_slot *s = slot_at(cache, slot);
    uint64_t word = atomic_load(&s->word);
    while ((word & FULL) && word >> 32 == hash >> 32) {
      uint64_t pinned = word + ONE_PIN + (count_in(word) < COUNT_MAX ? ONE_USE : 0);
      if (!atomic_compare_exchange_weak(&s->word, &word, pinned)) continue;
      if (memcmp(s->key, set, cache->top_k * sizeof *set) == 0) return slot;
      unpin(s);
      break;
    }
    slot = atomic_load_explicit(&s->chain, memory_order_relaxed);
  }
  return NO_SLOT;
}

/* Pins the slots of those sets that have none yet and are in the cache. True: now all have one. */
static bool pin_all(const hmoe_cache *cache, const int32_t *sets, uint64_t count, int32_t *slots) {
  bool all = true;
  for (uint64_t i = 0; i < count; i++) {
    if (slots[i] == NO_SLOT) slots[i] = pin(cache, sets + i * cache->top_k);
    all = all && slots[i] != NO_SLOT;
  }
  return all;
}

static void unpin_all(const hmoe_cache *cache, int32_t *slots, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    if (slots[i] != NO_SLOT) unpin(slot_at(cache, slots[i]));
    slots[i] = NO_SLOT;
  }
}

/* ---- which slot is taken; all of it under the lock ---- */

static uint32_t *history_of(const hmoe_cache *cache, uint64_t hash) { return &cache->history[hash & (cache->history_count - 1)]; }

static uint32_t history_tag(uint64_t hash) { return (uint32_t)(hash >> 32) & ~(uint32_t)COUNT_MAX; }

/* A place has one set: one that was used more often stays, and gives way in the end. */
static void keep_count(hmoe_cache *cache, uint64_t hash, uint32_t count) {
  uint32_t *place = history_of(cache, hash), kept = *place & COUNT_MAX;
  if (count >= kept) *place = history_tag(hash) | count;
  else --*place;
}

/* Of a set that comes, this use included. */
static uint64_t take_count(hmoe_cache *cache, uint64_t hash) {
  uint32_t *place = history_of(cache, hash), kept = *place & COUNT_MAX;
  if ((*place & ~(uint32_t)COUNT_MAX) != history_tag(hash)) return 1;
  *place = 0;
  return kept < COUNT_MAX ? kept + 1 : kept;
}

static uint64_t halved(uint64_t word) { return (word & ~USES) | (count_in(word) / 2 * ONE_USE); }

/* A quarter as often as there are slots, so that a miss looks at a few slots for it. */
static void age(hmoe_cache *cache) {
  if (++cache->misses <= cache->slot_count / 4) return;
  cache->misses = 0;
  for (;;) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < cache->slot_count; i++)
      sum += count_in(atomic_load_explicit(&slot_at(cache, (int32_t)i)->word, memory_order_relaxed));
    if (sum <= (uint64_t)MEAN_COUNT_MAX * cache->slot_count) return;
    for (uint32_t i = 0; i < cache->slot_count; i++) {
      cache_slot *s = slot_at(cache, (int32_t)i);
      uint64_t word = atomic_load_explicit(&s->word, memory_order_relaxed);
      while (!atomic_compare_exchange_weak(&s->word, &word, halved(word))) continue;
    }
    for (uint64_t i = 0; i < cache->history_count; i++)
      cache->history[i] = (cache->history[i] & ~(uint32_t)COUNT_MAX) | (cache->history[i] & COUNT_MAX) / 2;
  }
}

/* Claims a slot that nobody pins, and pins it; NO_SLOT: there is none. Its key stays, should it be given back. */
static int32_t claim(hmoe_cache *cache) {
  for (;;) {
    int32_t least = NO_SLOT;
    uint64_t least_word = 0;
    for (uint32_t i = 0, seen = 0; i < cache->slot_count && seen < LOOKED_AT; i++) {
      int32_t slot = (int32_t)((cache->hand + i) % cache->slot_count);
      uint64_t word = atomic_load(&slot_at(cache, slot)->word);
      if (word & PINS) continue;
      seen++;
      /* An empty slot has neither count nor FULL. */
      if (least != NO_SLOT && (word & (USES | FULL)) >= (least_word & (USES | FULL))) continue;
      least = slot;
      least_word = word;
    }
    if (least == NO_SLOT) return NO_SLOT;
    uint64_t claimed = least_word & FULL ? (least_word - FULL + ONE_PIN) | CLAIMED : ONE_PIN;
    if (!atomic_compare_exchange_strong(&slot_at(cache, least)->word, &least_word, claimed)) continue; /* somebody wants it */
    cache->hand = ((uint32_t)least + 1) % cache->slot_count;
    return least;
  }
}

static void give_back(hmoe_cache *cache, int32_t slot) {
  cache_slot *s = slot_at(cache, slot);
  uint64_t word = atomic_load(&s->word);
  atomic_store(&s->word, word & CLAIMED ? (word - ONE_PIN - CLAIMED) | FULL : 0);
}

/* Slots for sets that have none: for all of them or for none. */
static bool claim_all(hmoe_cache *cache, int32_t *slots, uint64_t count, int32_t *missing, uint64_t *out_missing) {
  *out_missing = 0;
  for (uint64_t i = 0; i < count; i++) {
    if (slots[i] != NO_SLOT) continue;
    slots[i] = claim(cache);
    if (slots[i] != NO_SLOT) {
      missing[(*out_missing)++] = (int32_t)i;
      continue;
    }
    while (*out_missing) {
      int32_t claimed = missing[--*out_missing];
      give_back(cache, slots[claimed]);
      slots[claimed] = NO_SLOT;
    }
    return false;
  }
  return true;
}

/* A claimed slot becomes the set's, to be filled. */
static void assign(hmoe_cache *cache, int32_t slot, const int32_t *set) {
  cache_slot *s = slot_at(cache, slot);
  uint64_t word = atomic_load(&s->word);
  if (word & CLAIMED) {
    unlink_slot(cache, slot);
    keep_count(cache, s->hash, (uint32_t)count_in(word));
  }
  s->hash = hash_of(cache, set);
  memcpy(s->key, set, cache->top_k * sizeof *set);
  atomic_store(&s->word, (s->hash >> 32 << 32) | ONE_PIN | take_count(cache, s->hash) * ONE_USE | CLAIMED);
  age(cache);
}

/* ---- what runs do ---- */

/* Under the lock: slots for all sets, by waiting where it must be. */
static void take(hmoe_cache *cache, const int32_t *sets, uint64_t count, int32_t *slots, int32_t *missing, uint64_t *out_missing) {
  if (!atomic_load(&cache->waiting)) {
    pin_all(cache, sets, count, slots);
    if (claim_all(cache, slots, count, missing, out_missing)) return;
  }
  uint32_t ticket = cache->tickets++;
  atomic_fetch_add(&cache->waiting, 1);
  unpin_all(cache, slots, count);
  pthread_cond_broadcast(&cache->changed); /* others may have waited for these pins */
  for (;;) {
    if (ticket == cache->turn) {
      pin_all(cache, sets, count, slots);
      if (claim_all(cache, slots, count, missing, out_missing)) break;
    }
    pthread_cond_wait(&cache->changed, &cache->mutex);
  }
  cache->turn++;
  atomic_fetch_sub(&cache->waiting, 1);
  pthread_cond_broadcast(&cache->changed);
}

void hmoe_cache_acquire(hmoe_cache *cache, const int32_t *sets, uint64_t count, int32_t *slots, int32_t *missing,
                        uint64_t *out_missing) {
  *out_missing = 0;
  for (uint64_t i = 0; i < count; i++) slots[i] = NO_SLOT;
  if (!atomic_load(&cache->waiting) && pin_all(cache, sets, count, slots)) return;
  pthread_mutex_lock(&cache->mutex);
  take(cache, sets, count, slots, missing, out_missing);
  cache->locked = *out_missing > 0;
  for (uint64_t i = 0; i < *out_missing; i++) assign(cache, slots[missing[i]], sets + (uint64_t)missing[i] * cache->top_k);
  if (!cache->locked) pthread_mutex_unlock(&cache->mutex);
}

void hmoe_cache_publish(hmoe_cache *cache, const int32_t *slots, const int32_t *missing, uint64_t missing_count, bool ok) {
  if (!missing_count || !cache->locked) return; /* not locked: the child of a fork since acquire */
  for (uint64_t i = 0; i < missing_count; i++) {
    cache_slot *s = slot_at(cache, slots[missing[i]]);
    if (ok) {
      atomic_store(&s->word, (atomic_load(&s->word) - CLAIMED) | FULL);
      link_slot(cache, slots[missing[i]]);
    } else {
      atomic_store(&s->word, ONE_PIN);
    }
  }
  if (!ok) cache->hand = (uint32_t)slots[missing[0]];
  cache->locked = false;
  pthread_mutex_unlock(&cache->mutex);
}

void hmoe_cache_release(hmoe_cache *cache, const int32_t *slots, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) unpin(slot_at(cache, slots[i]));
  if (!atomic_load(&cache->waiting)) return;
  pthread_mutex_lock(&cache->mutex);
  pthread_cond_broadcast(&cache->changed);
  pthread_mutex_unlock(&cache->mutex);
}

/* ---- its life ---- */

static void before_fork(void *object) {
  hmoe_cache *cache = object;
  cache->whole = pthread_mutex_trylock(&cache->mutex) == 0;
}

static void after_fork(void *object, bool child) {
  hmoe_cache *cache = object;
  if (cache->whole) pthread_mutex_unlock(&cache->mutex);
  if (!child) return;
  pthread_mutex_init(&cache->mutex, NULL);
  pthread_cond_init(&cache->changed, NULL);
  cache->locked = false;
  cache->tickets = cache->turn = 0;
  atomic_store(&cache->waiting, 0);
  if (!cache->whole) empty(cache);
  for (uint32_t i = 0; i < cache->slot_count; i++) /* pins are of runs in the parent */
    atomic_fetch_and(&slot_at(cache, (int32_t)i)->word, ~PINS);
}

hmoe_status hmoe_cache_create(const hmoe_plan_cache *plan, const hmoe_allocator *allocator, hmoe_cache **out_cache) {
  *out_cache = NULL;
  uint32_t slot_count = (uint32_t)plan->slots, bucket_count = 1;
  while (bucket_count < slot_count) bucket_count *= 2;
  uint64_t slot_bytes = hmoe_round_up(sizeof(cache_slot) + plan->top_k * sizeof(int32_t), LINE_BYTES);
  uint64_t history_count = (uint64_t)bucket_count * HISTORY_PER_SLOT;
  uint64_t slots_at = hmoe_round_up(sizeof(hmoe_cache), LINE_BYTES);
  uint64_t buckets_at = slots_at + slot_count * slot_bytes;
  uint64_t history_at = buckets_at + bucket_count * (uint64_t)sizeof(int32_t);
  uint64_t self_bytes = history_at + history_count * sizeof(uint32_t);
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(allocator, self_bytes, "the selection cache", &memory));
  memset(memory, 0, self_bytes);
  hmoe_cache *cache = memory;
  cache->self_bytes = self_bytes;
  cache->slot_bytes = slot_bytes;
  cache->slot_count = slot_count;
  cache->bucket_count = bucket_count;
  cache->history_count = history_count;
  cache->top_k = plan->top_k;
  cache->slots = (uint8_t *)cache + slots_at;
  cache->buckets = (_Atomic int32_t *)(void *)((uint8_t *)cache + buckets_at);
  cache->history = (uint32_t *)(void *)((uint8_t *)cache + history_at);
  empty(cache);
  pthread_mutex_init(&cache->mutex, NULL);
  pthread_cond_init(&cache->changed, NULL);
  cache->watch = (hmoe_fork_watch){cache, before_fork, after_fork, NULL, NULL};
  hmoe_fork_watch_begin(&cache->watch);
  *out_cache = cache;
  return HMOE_OK;
}

void hmoe_cache_destroy(hmoe_cache *cache, const hmoe_allocator *allocator) {
  if (!cache) return;
  hmoe_fork_watch_end(&cache->watch);
  pthread_cond_destroy(&cache->changed);
  pthread_mutex_destroy(&cache->mutex);
  hmoe_release(allocator, cache, cache->self_bytes);
}
