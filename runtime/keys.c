/* Which tensor of a checkpoint a key means.
 *
 *   "shared.weight\nlm_head.weight"   names of one tied tensor, a line each, of which checkpoints keep some. Those that are there must be
 *                                     equal in type, shape and bytes: taking one of several would leave the others out in silence.
 *   "h.0.ln_1.weight"                 stands also for "module.transformer.h.0.ln_1.weight", and the other way round: programs that wrap a
 *                                     model put a word of their own in front of all its keys. What is left without such words is a name's
 *                                     core. A name that is there as it stands goes before others of its core.
 *
 * A tensor that one key found by its core is no other key's: a missing tensor is not replaced by one that the model has another use for. */
#include "runtime_internal.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

const char *hmoe_name_core(const char *name) {
  static const char *const words[] = {"_orig_mod.", "module.", "model.", "transformer."};
  for (size_t i = 0; i < sizeof words / sizeof *words;) {
    size_t length = strlen(words[i]);
    bool wrapped = strncmp(name, words[i], length) == 0 && name[length];
    if (wrapped) name += length;
    i = wrapped ? 0 : i + 1;
  }
  return name;
}

static int by_core(const void *left, const void *right) {
  const hmoe_core *a = left, *b = right;
  int order = strcmp(a->core, b->core);
  return order ? order : (a->number > b->number) - (a->number < b->number);
}

hmoe_status hmoe_checkpoint_sort_cores(hmoe_checkpoint *checkpoint) {
  size_t count = hmoe_checkpoint_count(checkpoint);
  void *memory = NULL;
  HMOE_TRY(hmoe_allocate(checkpoint->allocator, hmoe_mul(count, sizeof *checkpoint->cores), "the names of tensors", &memory));
  checkpoint->cores = memory;
  for (size_t i = 0; i < count; i++)
    checkpoint->cores[i] = (hmoe_core){.core = hmoe_name_core(hmoe_checkpoint_name(checkpoint, i)), .number = i};
  qsort(checkpoint->cores, count, sizeof *checkpoint->cores, by_core);
  return HMOE_OK;
}

typedef struct search {
  const hmoe_checkpoint *checkpoint;
  uint64_t key;         /* its hash; 0: only looking */
  hmoe_tensor *tensor;  /* the first that it names */
  bool by_core;
  hmoe_tensor *differs; /* another that it names, and that is not equal */
  const char *how;      /* they differ */
  hmoe_tensor *taken;   /* one that another key has */
  size_t absent;        /* a tensor that an index names and its file does not have, or SIZE_MAX */
} search;

/* NULL: they are equal. */
static const char *difference(const hmoe_tensor *a, const hmoe_tensor *b) {
  if (a->dtype != b->dtype) return "types";
  if (a->rank != b->rank || memcmp(a->shape, b->shape, sizeof a->shape) != 0) return "shapes";
  uint64_t bytes = a->end - a->begin;
  return bytes != b->end - b->begin || memcmp(a->data, b->data, bytes) != 0 ? "contents" : NULL;
}

static hmoe_status meet(search *s, size_t number, bool by_core) {
  hmoe_tensor *tensor;
  HMOE_TRY(hmoe_checkpoint_tensor(s->checkpoint, number, &tensor));
  if (!tensor) {
    s->absent = number;
  } else if (s->key && tensor->key && tensor->key != s->key && (by_core || tensor->by_core)) {
    s->taken = tensor;
  } else if (!s->tensor) {
    s->tensor = tensor;
    s->by_core = by_core;
  } else if (!s->differs && tensor != s->tensor && (s->how = difference(s->tensor, tensor))) {
    s->differs = tensor;
  }
  if (tensor && s->key) hmoe_checkpoint_use(s->checkpoint, number);
  return HMOE_OK;
}

/* The tensor of that name, or else all of its core. */
static hmoe_status meet_name(search *s, const char *name) {
  size_t low = 0, count = hmoe_checkpoint_count(s->checkpoint), high = count, number;
  if (hmoe_checkpoint_number(s->checkpoint, name, &number)) return meet(s, number, false);
  const char *core = hmoe_name_core(name);
  const hmoe_core *cores = s->checkpoint->cores;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (strcmp(cores[middle].core, core) < 0) low = middle + 1;
    else high = middle;
  }
  for (; low < count && strcmp(cores[low].core, core) == 0; low++) HMOE_TRY(meet(s, cores[low].number, true));
  return HMOE_OK;
}

static hmoe_status meet_all(search *s, const hmoe_checkpoint *checkpoint, const char *key, bool looking) {
  *s = (search){.checkpoint = checkpoint, .key = looking ? 0 : XXH3_64bits(key, strlen(key)) | 1, .absent = SIZE_MAX};
  char name[HMOE_NAME_MAX + 16];
  for (const char *at = key;; at++) {
    size_t length = strcspn(at, "\n");
    if (length < sizeof name) {
      memcpy(name, at, length);
      name[length] = 0;
      HMOE_TRY(meet_name(s, name));
    }
    at += length;
    if (!*at) return HMOE_OK;
  }
}

hmoe_status hmoe_checkpoint_look(const hmoe_checkpoint *checkpoint, const char *key, bool *out_there, bool *out_equal) {
  search s;
  *out_there = *out_equal = false;
  HMOE_TRY(meet_all(&s, checkpoint, key, true));
  *out_there = s.tensor != NULL;
  *out_equal = !s.differs;
  return HMOE_OK;
}

hmoe_status hmoe_checkpoint_find(const hmoe_checkpoint *checkpoint, const char *key, hmoe_tensor **out_tensor) {
  const char *file = checkpoint->mapping.name;
  search s;
  *out_tensor = NULL;
  HMOE_TRY(meet_all(&s, checkpoint, key, false));
  if (s.differs)
    return hmoe_fail(HMOE_INVALID_WEIGHTS,
                     "%s: '%.200s' and '%.200s' are names of one tied tensor in this model, but their %s differ", file,
                     s.tensor->name, s.differs->name, s.how);
  if (!s.tensor && s.absent != SIZE_MAX)
    return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: no tensor '%.200s' in '%.200s', where the index says it is", file,
                     checkpoint->index.entries[s.absent].tensor, checkpoint->index.entries[s.absent].file);
  if (!s.tensor && s.taken)
    return hmoe_fail(HMOE_INVALID_WEIGHTS, "%s: no tensor '%.*s': '%.200s' is that of another parameter", file,
                     (int)strcspn(key, "\n"), key, s.taken->name);
  if (!s.tensor) return HMOE_OK;
  s.tensor->by_core = s.by_core;
  s.tensor->key = s.key;
  *out_tensor = s.tensor;
  return HMOE_OK;
}
