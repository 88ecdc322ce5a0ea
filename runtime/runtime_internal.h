/* The map of the runtime: what its files share, in the order a model meets them.
 *
 *   status.c clock.c allocator.c convert.c  error text, time, the one door to memory, element types
 *   options.c threads.c pool.c executor.c what the caller and the machine give
 *   fork.c                                what a child process needs
 *   content.c                             what a file is that is not what was expected
 *   mapping.c json.c safetensors.c index.c checkpoint.c keys.c   weights: bytes, files of tensors, several files, names
 *   params.c progress.c packed.c          a plan's tensors, how much of them was read, .hmw files
 *   plan.c plan_steps.c                   validation of the plan blob, and of the steps in it; plan_check.h
 *   workspace.c run.c                     one run: memory, steps in order
 *   device.h cpu/                         what runs the steps: the seam, and the one device there is; cpu/cpu.h has the map of it
 *   state.c                               what decoding keeps between runs
 *   cache.c                               generated weights kept between runs
 *   model.c                               open, close, accessors
 *   generate.c generate_search.c generate_logits.c   tokens out of models that decode; generate_internal.h
 *
 * Everything is private to the library except the functions of <hmoe/runtime.h> and <hmoe/generate.h>.
 */
#ifndef HMOE_RUNTIME_INTERNAL_H
#define HMOE_RUNTIME_INTERNAL_H

#include <hmoe/abi.h>
#include <hmoe/runtime.h>

#include "content.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct cJSON;

#define HMOE_TRY(expression)                                                                                                       \
  do {                                                                                                                             \
    hmoe_status try_status_ = (expression);                                                                                        \
    if (try_status_ != HMOE_OK) return try_status_;                                                                                \
  } while (0)

enum { HMOE_ALIGNMENT = 64 };

/* ---- status.c ---- */

#define HMOE_MESSAGE_BYTES 5120 /* the longest path and what there is to say of it */
/* Sets the calling thread's message and returns status. */
__attribute__((format(printf, 2, 3))) hmoe_status hmoe_fail(hmoe_status status, const char *format, ...);

/* ---- clock.c ---- */

int64_t hmoe_now_ns(void); /* of a clock that never goes back */

/* ---- allocator.c ---- */

/* The default: aligned_alloc and free; large memory is mapped, in huge pages where the system gives them. */
hmoe_allocator hmoe_allocator_default(void);
/* Is memory of this size zero when it comes? */
bool hmoe_allocator_gives_zeros(const hmoe_allocator *allocator, uint64_t size_bytes);
/* 64-byte aligned memory, not initialised. what: for the message. size_bytes 0 is taken as 1. */
HMOE_MUST_USE hmoe_status hmoe_allocate(const hmoe_allocator *allocator, uint64_t size_bytes, const char *what, void **out_memory);
/* memory may be NULL. */
void hmoe_release(const hmoe_allocator *allocator, void *memory, uint64_t size_bytes);

/* Saturating arithmetic: a size that overflows becomes UINT64_MAX, which no limit admits. */
static inline uint64_t hmoe_add(uint64_t a, uint64_t b) {
  uint64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}
static inline uint64_t hmoe_mul(uint64_t a, uint64_t b) {
  uint64_t product;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}
static inline uint64_t hmoe_round_up(uint64_t size, uint64_t alignment) {
  uint64_t padded = hmoe_add(size, alignment - 1);
  return padded == UINT64_MAX ? padded : padded / alignment * alignment;
}
static inline uint64_t hmoe_min(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t hmoe_max(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* C(n, k), saturating. */
uint64_t hmoe_binomial(uint64_t n, uint64_t k);

/* ---- convert.c ---- */

typedef struct hmoe_dtype {
  const char *name; /* as safetensors writes it */
  uint32_t bits;
  void (*read)(const uint8_t *source, uint64_t stride, size_t count, float *out, size_t out_stride); /* NULL: not convertible */
} hmoe_dtype;

/* Through f32, rounded to nearest even; BF16 keeps its bits. dtype->read is set. */
void hmoe_dtype_read_bf16(const hmoe_dtype *dtype, const uint8_t *source, uint64_t stride, size_t count, uint16_t *out);

/* NULL when the name is unknown. */
const hmoe_dtype *hmoe_dtype_find(const char *name);

/* ---- options.c ---- */

/* A structure of the caller's that begins with its struct_size: what it has of the `known` bytes, then zeros; what it has behind them must be zeros. name:
 * for the message, as "options". */
HMOE_MUST_USE hmoe_status hmoe_structure_read(const char *name, const char *type, const void *given, size_t known, void *out);
/* Options of any struct_size, checked and widened to the current structure; options may be NULL. The same of a run's. */
HMOE_MUST_USE hmoe_status hmoe_options_read(const hmoe_options *options, hmoe_options *out_options);
HMOE_MUST_USE hmoe_status hmoe_run_options_read(const hmoe_run_options *options, hmoe_run_options *out_options);
/* Is `word` in the comma-separated HMOE_DEBUG? */
bool hmoe_debug_enabled(const char *word);
/* Says of its words that nothing knows, where the options take notes. */
void hmoe_debug_note_unknown(const hmoe_options *options);

/* ---- cpu/kernel.c ---- */

/* Rows that the blocks of `rows` rows have at most: row_block, or fewer where that would be too few blocks for so many threads, but not so few that multiplying
 * them has to wait for weights: CPU_LEAST_BLOCK (cpu/cpu.h) at least, or row_block. */
uint64_t hmoe_cpu_fair_block(uint64_t row_block, uint64_t rows, uint64_t threads);

/* ---- cpu/version.c ---- */

/* "portable", "avx2", "avx512", "avx512_bf16", "amx". */
const char *hmoe_cpu_name(int cpu);
/* NULL when this machine runs the version, else the first thing it lacks. Asked about AMX, and the processor has it, it asks the system
 * to let this process use tiles. */
const char *hmoe_cpu_lacks(int cpu);
#if defined(__x86_64__)
/* What CPUID and XCR0 say. */
enum { HMOE_CPU_LEAF1_ECX, HMOE_CPU_LEAF7_EBX, HMOE_CPU_LEAF7_EDX, HMOE_CPU_LEAF7_1_EAX, HMOE_CPU_XCR0, HMOE_CPU_REGISTERS };
/* The same of a machine that says this, but for the system's grant of tiles. */
const char *hmoe_cpu_missing(int cpu, const uint32_t found[HMOE_CPU_REGISTERS]);
#endif
/* NULL: the object does not have the version. */
const hmoe_image *hmoe_cpu_image(const hmoe_model_object *object, int cpu);
/* The best version that object has and the machine runs, or the forced one. */
HMOE_MUST_USE hmoe_status hmoe_cpu_choose(const hmoe_model_object *object, const char *forced, int *out_cpu);
/* Whether the image chosen has code for all kernels, and not for those of entry 0 alone. */
HMOE_MUST_USE hmoe_status hmoe_cpu_check_runs(const hmoe_model *model);

/* ---- threads.c ---- */

/* CPUs that the cgroups of `membership` (text of /proc/self/cgroup) under `root` (/sys/fs/cgroup) grant; 0: no limit. */
size_t hmoe_threads_quota(const char *membership, const char *root);
/* requested, or with 0 HMOE_NUM_THREADS, or what affinity and quota leave. */
HMOE_MUST_USE hmoe_status hmoe_threads_choose(uint32_t requested, size_t *out_threads);

/* ---- fork.c ---- */

/* An object that is told of forks. In the object; zero: not told. */
typedef struct hmoe_fork_watch {
  void *object;
  void (*before)(void *object); /* may be NULL */
  void (*after)(void *object, bool child);
  struct hmoe_fork_watch *next, **link;
} hmoe_fork_watch;

/* Once in a process, before anything is watched. */
HMOE_MUST_USE hmoe_status hmoe_fork_prepare(void);
/* From when the object is whole until it no longer is. */
void hmoe_fork_watch_begin(hmoe_fork_watch *watch);
void hmoe_fork_watch_end(hmoe_fork_watch *watch);
/* How many forks made this process since the library was loaded: what differs at the end of a call has left the call's other threads behind. */
uint32_t hmoe_fork_count(void);

/* ---- pool.c ---- */

typedef struct hmoe_pool hmoe_pool;
typedef void (*hmoe_pool_fn)(void *context, size_t worker);

/* threads >= 2, the caller's among them. */
HMOE_MUST_USE hmoe_status hmoe_pool_create(size_t threads, const hmoe_allocator *allocator, hmoe_pool **out_pool);
void hmoe_pool_destroy(hmoe_pool *pool, const hmoe_allocator *allocator); /* NULL is allowed */
/* Calls function(context, 0) here and function(context, i), 0 < i < threads, on those workers that come before that returns; returns when
 * all that took part have returned. From several threads at once: the others find the workers taken, and call it for 0 only. False: this
 * is a child process of a fork inside of the call, and what other threads had begun is lost. */
HMOE_MUST_USE bool hmoe_pool_run(hmoe_pool *pool, hmoe_pool_fn function, void *context);
/* How long a worker waits for the next call before it sleeps. */
enum { HMOE_POOL_AWAKE_NS = 50000 };
/* Whether some worker sleeps, and is not being woken. Of a moment ago, as others may run with the pool. */
typedef enum hmoe_pool_rest { HMOE_POOL_ASLEEP, HMOE_POOL_WAKING, HMOE_POOL_AWAKE } hmoe_pool_rest;
hmoe_pool_rest hmoe_pool_workers(const hmoe_pool *pool);
/* Wakes them, or keeps them awake, for a call that is to come. In a child process of a fork: starts them. */
void hmoe_pool_wake(hmoe_pool *pool);

/* ---- executor.c ---- */

/* One task; scratch is the worker's own. */
typedef void (*hmoe_task_fn)(void *context, uint64_t task, void *scratch);

typedef struct hmoe_workers {
  hmoe_executor executor; /* the caller's, when pool is NULL and threads > 1 */
  hmoe_pool *pool; /* owned */
  size_t threads;
} hmoe_workers;

typedef struct hmoe_job {
  hmoe_task_fn task;
  void *context;
  uint64_t count;
  uint8_t *scratch; /* threads * scratch_stride bytes, or NULL */
  uint64_t scratch_stride;
} hmoe_job;

HMOE_MUST_USE hmoe_status hmoe_workers_init(hmoe_workers *workers, const hmoe_options *options, const hmoe_allocator *allocator);
void hmoe_workers_deinit(hmoe_workers *workers, const hmoe_allocator *allocator);
/* Runs every task and returns when all are done. */
HMOE_MUST_USE hmoe_status hmoe_workers_run(const hmoe_workers *workers, const hmoe_job *job);
/* hmoe_allocate of zeros, by all workers where they must be written: pages are spread by whoever touches them first. */
HMOE_MUST_USE hmoe_status hmoe_workers_allocate(const hmoe_workers *workers, const hmoe_allocator *allocator, uint64_t size_bytes,
                                                const char *what, void **out_memory);

/* ---- mapping.c ---- */

/* The bytes of a weights file, read-only. */
typedef struct hmoe_mapping {
  const uint8_t *data;
  uint64_t size_bytes;
  const char *name; /* borrowed from hmoe_weights: for messages, during open only */
  bool mapped; /* data is ours to unmap */
} hmoe_mapping;

HMOE_MUST_USE hmoe_status hmoe_mapping_init(hmoe_mapping *mapping, const hmoe_weights *weights);
void hmoe_mapping_deinit(hmoe_mapping *mapping);
/* Says that the file will be read once, from its begin to its end. */
void hmoe_mapping_expect_reading(const hmoe_mapping *mapping);
/* Lets go of the pages that lie whole in [data, data + size_bytes), unless the memory is the caller's; read again, they come back. */
void hmoe_mapping_drop(const hmoe_mapping *mapping, const uint8_t *data, uint64_t size_bytes);

/* ---- json.c ---- */

/* The object that `text` is, and nothing after it, without the same key twice in one object; the caller deletes it. file, what, offset (of text in the file): for messages. */
HMOE_MUST_USE hmoe_status hmoe_json_read(const char *file, const char *what, const char *text, uint64_t length, uint64_t offset,
                                         struct cJSON **out_object);
/* Where in the text that a tree was read from a key of it stands: key is the `string` of an item, not a copy. UINT64_MAX: it is none. */
uint64_t hmoe_json_key_offset(const struct cJSON *tree, const char *key, const char *text, uint64_t length);
/* Two equal keys of one object, as for hmoe_json_key_offset; NULL: there are none. */
HMOE_MUST_USE hmoe_status hmoe_json_duplicate(const struct cJSON *tree, const char **out_key, const char **out_other);

/* ---- safetensors.c ---- */

enum { HMOE_TENSOR_RANK_MAX = 8 };

typedef struct hmoe_tensor {
  const char *name; /* owned by the JSON tree */
  const hmoe_dtype *dtype;
  const hmoe_mapping *mapping; /* borrowed */
  const uint8_t *data; /* in the mapping, no alignment */
  uint64_t begin, end; /* bytes in the data part */
  uint64_t elements;
  uint32_t rank;
  bool used;
  bool by_core; /* how the key that it was found for names it: keys.c */
  uint64_t key; /* hash of that key; 0: none yet */
  uint64_t shape[HMOE_TENSOR_RANK_MAX]; /* the first ones, where rank is larger */
} hmoe_tensor;

typedef struct hmoe_safetensors {
  const hmoe_allocator *allocator; /* borrowed; NULL: not initialised */
  const char *name; /* borrowed: the file's, for messages */
  struct cJSON *json;
  hmoe_tensor *tensors; /* sorted by name */
  size_t count, capacity;
} hmoe_safetensors;

HMOE_MUST_USE hmoe_status hmoe_safetensors_init(hmoe_safetensors *file, const hmoe_mapping *mapping,
                                                const hmoe_allocator *allocator);
void hmoe_safetensors_deinit(hmoe_safetensors *file);
/* NULL when there is none of that name. */
hmoe_tensor *hmoe_safetensors_find(const hmoe_safetensors *file, const char *name);

/* ---- index.c ---- */

typedef struct hmoe_index_entry {
  const char *tensor, *file; /* owned by the JSON tree */
  uint32_t number; /* of the file */
  bool used;
} hmoe_index_entry;

typedef struct hmoe_index {
  const hmoe_allocator *allocator; /* borrowed; NULL: not initialised */
  const char *name; /* borrowed: the index's, for messages */
  struct cJSON *json;
  hmoe_index_entry *entries; /* sorted by tensor */
  size_t count, capacity;
  size_t files; /* that differ */
} hmoe_index;

/* Is it JSON, and no safetensors file? */
bool hmoe_index_detect(const hmoe_mapping *mapping);
HMOE_MUST_USE hmoe_status hmoe_index_init(hmoe_index *index, const hmoe_mapping *mapping, const hmoe_allocator *allocator);
void hmoe_index_deinit(hmoe_index *index);
/* NULL when there is none of that name. */
hmoe_index_entry *hmoe_index_find(const hmoe_index *index, const char *tensor);

/* ---- checkpoint.c ---- */

typedef struct hmoe_memory {
  uint8_t *data;
  uint64_t size_bytes;
} hmoe_memory;

typedef struct hmoe_shard {
  hmoe_memory path;
  hmoe_mapping mapping;
  hmoe_safetensors file; /* once a tensor of it was asked for */
} hmoe_shard;

/* A tensor's name without the words that wrapping programs put in front. */
typedef struct hmoe_core {
  const char *core; /* a part of the name */
  size_t number;
} hmoe_core;

typedef struct hmoe_checkpoint {
  const hmoe_allocator *allocator; /* borrowed */
  hmoe_memory path; /* of the file, where the caller named its directory */
  hmoe_mapping mapping; /* the file: tensors, an index, or a .hmw file */
  hmoe_safetensors file; /* of one file */
  hmoe_index index; /* of several, and these */
  hmoe_shard *shards;
  hmoe_core *cores; /* sorted; one a tensor */
} hmoe_checkpoint;

/* What other frameworks' checkpoints are called; NULL ends them. */
extern const char *const hmoe_foreign_weights[];
/* Finds and maps the file that weights name; not moved afterwards, but the mapping may be taken out of it. */
HMOE_MUST_USE hmoe_status hmoe_checkpoint_open(hmoe_checkpoint *checkpoint, const hmoe_weights *weights,
                                               const hmoe_allocator *allocator);
/* Reads what the file says; it is none of packed weights. */
HMOE_MUST_USE hmoe_status hmoe_checkpoint_read(hmoe_checkpoint *checkpoint);
void hmoe_checkpoint_close(hmoe_checkpoint *checkpoint);
/* Tensors, of the file or of the index, in ascending order of names; they are numbered from 0. */
size_t hmoe_checkpoint_count(const hmoe_checkpoint *checkpoint);
const char *hmoe_checkpoint_name(const hmoe_checkpoint *checkpoint, size_t number);
/* False when there is none of exactly that name. */
bool hmoe_checkpoint_number(const hmoe_checkpoint *checkpoint, const char *name, size_t *out_number);
/* Opens the file that it is in; NULL when that one does not have it. */
HMOE_MUST_USE hmoe_status hmoe_checkpoint_tensor(const hmoe_checkpoint *checkpoint, size_t number, hmoe_tensor **out_tensor);
void hmoe_checkpoint_use(const hmoe_checkpoint *checkpoint, size_t number);
/* The name of a tensor that nobody has used, else NULL. */
const char *hmoe_checkpoint_unused(const hmoe_checkpoint *checkpoint, size_t number);

/* ---- keys.c ---- */

/* What is left of a name without "module.", "_orig_mod.", "model.", "transformer." in front: a part of it. */
const char *hmoe_name_core(const char *name);
HMOE_MUST_USE hmoe_status hmoe_checkpoint_sort_cores(hmoe_checkpoint *checkpoint);
/* The tensor of a key, a name or several, a line each; NULL when there is none. Uses all that the key names. An error when they are not
 * equal, when an index names it and its file does not have it, or when another key took it. */
HMOE_MUST_USE hmoe_status hmoe_checkpoint_find(const hmoe_checkpoint *checkpoint, const char *key, hmoe_tensor **out_tensor);
/* Is there a tensor of the key, and are all that it names equal? Uses none. */
HMOE_MUST_USE hmoe_status hmoe_checkpoint_look(const hmoe_checkpoint *checkpoint, const char *key, bool *out_there,
                                               bool *out_equal);

/* ---- params.c ---- */

/* The tensors of a plan's parameters: of parameter p, tensors[first[p]] and the count-1 after it. */
typedef struct hmoe_params {
  const hmoe_allocator *allocator; /* borrowed */
  const hmoe_plan_param *list;
  const hmoe_tensor **tensors;
  uint64_t *first;
  uint64_t *share_bytes; /* of a parameter's bytes, for each time that entry 0 reads it */
  uint64_t count, total;
  uint64_t read_bytes; /* of all that entry 0 reads */
} hmoe_params;

HMOE_MUST_USE hmoe_status hmoe_params_init(hmoe_params *params, const hmoe_plan *plan, const hmoe_checkpoint *checkpoint,
                                           const hmoe_allocator *allocator);
void hmoe_params_deinit(hmoe_params *params);
uint64_t hmoe_param_elements(const hmoe_plan_param *param); /* of one tensor; saturating */
/* Lets go of the memory of a parameter's tensors. */
void hmoe_params_drop(const hmoe_params *params, uint64_t index);
/* One remark that lists the tensors no parameter uses, if any. */
void hmoe_params_note_surplus(const hmoe_checkpoint *checkpoint, const hmoe_options *options);

/* ---- progress.c ---- */

typedef struct hmoe_progress {
  void (*call)(void *context, uint64_t done_bytes, uint64_t total_bytes); /* NULL: nobody asks */
  void *context;
  pthread_t thread; /* the opening one */
  uint64_t total_bytes;
  int64_t called; /* when: nanoseconds */
  _Atomic uint64_t done_bytes;
} hmoe_progress;

void hmoe_progress_begin(hmoe_progress *progress, const hmoe_options *options, uint64_t total_bytes);
/* From any thread; progress may be NULL. */
void hmoe_progress_add(hmoe_progress *progress, uint64_t bytes);
void hmoe_progress_end(hmoe_progress *progress);

/* ---- plan.c ---- */

#define HMOE_PLAN_ARRAY(plan, span, type) ((const type *)(const void *)((const char *)(plan) + (span).offset))

enum { HMOE_NAME_MAX = 255, HMOE_KEY_MAX = 1023, HMOE_KERNEL_DIMS_MAX = 8 };

/* The largest of each over the entries: what a workspace must be able to hold. */
typedef struct hmoe_plan_limits {
  uint32_t dims, buffers, slots, bindings;
  uint64_t loop_groups; /* chunk of the largest loop over groups */
} hmoe_plan_limits;

/* Checks everything that does not depend on sizes at run time; afterwards spans and indices can be followed blindly. */
HMOE_MUST_USE hmoe_status hmoe_plan_check(const hmoe_model_object *object, hmoe_plan_limits *out_limits);

/* ---- plan_steps.c: what is known of steps without running them ---- */

/* The structure of a step's kind. */
#define HMOE_STEP_FIELDS(plan, step) ((const void *)((const char *)(plan) + (step)->fields.offset))

const char *hmoe_step_name(uint32_t kind);
/* How many bindings a step of the kind has; 0: as many as its kernel wants. */
uint32_t hmoe_step_bindings(uint32_t kind);
/* How many of the steps after it belong to a LOOP or a CHOOSE. */
uint64_t hmoe_step_body(const hmoe_plan *plan, const hmoe_plan_step *step);
/* The parameters that a step reads as they are in the checkpoint; returns how many. */
enum { HMOE_STEP_PARAMS_MAX = 6 };
uint32_t hmoe_step_params(const hmoe_plan *plan, const hmoe_plan_step *step, uint32_t out_params[HMOE_STEP_PARAMS_MAX]);
/* The most blocks of so many rows: bound() of <hmoe/abi.h>. */
static inline uint64_t hmoe_block_bound(uint64_t rows, uint32_t row_block, uint32_t groups) {
  uint64_t most = groups == HMOE_NONE ? rows : hmoe_min(rows, groups);
  return hmoe_add(rows, hmoe_mul(most, row_block - 1)) / row_block;
}
/* Where the last of an axis is; saturating, as are the next two. */
uint64_t hmoe_axis_last(hmoe_pack_axis axis);
/* Elements of a group's source from its first on, of which `columns` columns are wanted; 0: none is read. */
uint64_t hmoe_pack_extent(const hmoe_pack_source *source, uint64_t columns);
/* Depth rows of the destination from its first row on. */
uint64_t hmoe_pack_depth_end(const hmoe_pack_source *source, const hmoe_pack_destination *to);
/* Is there anything to write? */
bool hmoe_pack_writes(const hmoe_step_pack *pack);

/* ---- packed.c ---- */

bool hmoe_packed_detect(const hmoe_mapping *mapping);
/* Checks a .hmw file against the model's plan, and with HMOE_VERIFY_WEIGHTS its data; the arena is then inside the mapping. */
HMOE_MUST_USE hmoe_status hmoe_packed_open(const struct hmoe_model *model, const hmoe_mapping *mapping, uint32_t flags,
                                           const uint8_t **out_arena);

/* A .hmw file that is packed in place: the arena of a model is its mapping. */
typedef struct hmoe_packing hmoe_packing;
/* Creates it beside `path` and makes it the arena, which is zero. */
HMOE_MUST_USE hmoe_status hmoe_packing_begin(struct hmoe_model *model, const char *path);
/* Lets go of pages of the arena; read again, they come back from the file. Nothing for other arenas. */
void hmoe_packing_drop(const struct hmoe_model *model, const uint8_t *data, uint64_t size_bytes);
/* Completes and renames the file, or removes it when status is an error, which is returned then. The model has no arena afterwards. */
HMOE_MUST_USE hmoe_status hmoe_packing_end(struct hmoe_model *model, hmoe_status status);

/* ---- cache.c ---- */

typedef struct hmoe_cache hmoe_cache;

HMOE_MUST_USE hmoe_status hmoe_cache_create(const hmoe_plan_cache *plan, const hmoe_allocator *allocator, hmoe_cache **out_cache);
void hmoe_cache_destroy(hmoe_cache *cache, const hmoe_allocator *allocator); /* NULL is allowed */

/* Pins a slot for each of `count` distinct sets ([count][top_k]), waiting until that is possible. slots[i] is the slot of set i;
 * missing[0..*out_missing) are the sets whose slot the caller must now fill: where there are any, the cache is locked. The caller
 * holds no other pins. Requires count <= slots of the cache. */
void hmoe_cache_acquire(hmoe_cache *cache, const int32_t *sets, uint64_t count, int32_t *slots, int32_t *missing,
                        uint64_t *out_missing);
/* Ends the generation and unlocks; nothing where none was missing. ok false: the missing sets were not filled and are forgotten. */
void hmoe_cache_publish(hmoe_cache *cache, const int32_t *slots, const int32_t *missing, uint64_t missing_count, bool ok);
/* Unpins. */
void hmoe_cache_release(hmoe_cache *cache, const int32_t *slots, uint64_t count);

/* ---- workspace.c ---- */

/* What one run needs for itself; kept in the model between runs and used by one run at a time. */
typedef struct hmoe_workspace {
  struct hmoe_workspace *next; /* in the model's list of all */
  bool taken;
  pthread_t owner; /* of a workspace that is taken: the thread that runs */
  uint64_t self_bytes; /* of this structure with its tables */
  const struct hmoe_device *device; /* whose it is */
  void *own; /* the device's */
  void *stream; /* of the run at hand, the caller's; NULL: none */
  uint64_t own_bytes; /* of device memory in it */
  uint8_t *slots; /* all workspace slots */
  uint64_t slots_bytes;
  uint8_t *tensors; /* inputs and outputs, where the device cannot read the caller's */
  uint64_t tensors_bytes;
  int64_t *dims; /* values of the entry's dimensions */
  hmoe_memory *buffers; /* the entry's buffers: addresses are the device's */
  uint64_t *slot_offsets;
} hmoe_workspace;

/* What is wanted of a run's one output, f32 [rows][columns], in its place, by 32-bit words: where the largest of each row is, the first of equal ones, a word a
 * row; -1: there is none. Or, with `wanted`, a row's largest, as of hmoe_best (generate_internal.h), of which they are the words; rows for which room is
 * too small come as they are. NaN and -inf count for nothing. */
typedef struct hmoe_pick {
  uint64_t rows;
  uint64_t wanted, room; /* wanted 0: the largest alone */
  int32_t *words; /* [rows, hmoe_pick_words], the host's: what comes out */
  float *logits; /* [rows, columns], the host's; wanted 0: NULL */
  int32_t *found; /* [rows, hmoe_pick_words], the device's: the run's */
} hmoe_pick;
static inline uint64_t hmoe_pick_words(const hmoe_pick *pick) { return pick->wanted ? 1 + 2 * pick->room : 1; }

/* One run in progress. */
typedef struct hmoe_run {
  struct hmoe_model *model;
  const struct hmoe_device *device;
  hmoe_workspace *workspace;
  const hmoe_plan_entry *entry;
  const hmoe_plan_dim *dims;
  const hmoe_plan_buffer *buffers;
  const hmoe_plan_step *steps;
  const hmoe_params *params; /* entry 0 only, else NULL */
  hmoe_progress *progress; /* the same */
  const struct hmoe_state *state; /* entries that need one, else NULL */
  hmoe_pick *pick; /* NULL: the outputs themselves are wanted */
  bool in_place; /* tensors are the device's, and nothing is copied */
  bool queued; /* nor waited for */
  uint32_t entry_index;
  uint64_t items_done; /* by the enclosing loop: what bindings advance by */
  bool in_rows; /* inside a LOOP over rows */
  bool alone; /* its steps are the calling thread's, all of them */
  bool missed; /* it found workers asleep that would have saved some of its time */
  const hmoe_blocks *chunk_blocks; /* inside a LOOP over groups: its blocks buffer, and the part that is the chunk's */
  int64_t chunk_first, chunk_count;
} hmoe_run;

/* One of the model's workspaces that no run has, or a new one, of the device. */
HMOE_MUST_USE hmoe_status hmoe_workspace_acquire(struct hmoe_model *model, const struct hmoe_device *device,
                                                 hmoe_workspace **out_workspace);
void hmoe_workspace_return(struct hmoe_model *model, hmoe_workspace *workspace);
void hmoe_workspace_destroy(struct hmoe_model *model, hmoe_workspace *workspace);
/* Values of the dimensions that follow from INPUT, CHUNK, MISSING and STATE ones. */
HMOE_MUST_USE hmoe_status hmoe_run_derive_dims(hmoe_run *run);
/* Dimensions, sizes of all buffers, and memory for the slots; afterwards only INPUT, OUTPUT and PARAM buffers lack an address. */
HMOE_MUST_USE hmoe_status hmoe_run_begin(hmoe_run *run, const int64_t *dims);
HMOE_MUST_USE hmoe_status hmoe_run_place_slots(hmoe_run *run);
/* Memory of the workspace's, at least so many bytes, for the run's tensors. */
HMOE_MUST_USE hmoe_status hmoe_run_reserve_tensors(hmoe_run *run, uint64_t size_bytes);
/* What a fork does to a model (an hmoe_fork_watch's): in the child no workspace is another thread's. */
void hmoe_workspaces_before_fork(void *model);
void hmoe_workspaces_after_fork(void *model, bool child);

/* ---- run.c ---- */

/* Whether its device has a way to pick; then hmoe_model_run_state of an entry with one output, f32 of rank 2, for which it is done. */
bool hmoe_model_picks(const struct hmoe_model *model);
HMOE_MUST_USE hmoe_status hmoe_model_run_pick(struct hmoe_model *model, uint32_t entry, struct hmoe_state *state,
                                              const int64_t *dims, const void *const *inputs, hmoe_pick *pick);
HMOE_MUST_USE hmoe_status hmoe_run_steps(hmoe_run *run, uint32_t first, uint32_t end);
/* Runs entry 0. */
HMOE_MUST_USE hmoe_status hmoe_run_open_entry(struct hmoe_model *model, const hmoe_params *params, hmoe_progress *progress);
/* The structure of a step's kind. */
static inline const void *hmoe_run_fields(const hmoe_run *run, const hmoe_plan_step *step);
/* Address of a binding of at least `bytes` bytes. A write to a buffer that this entry may not write is refused. */
enum { HMOE_READ = 0, HMOE_WRITE = 1, HMOE_OPTIONAL = 2 };
HMOE_MUST_USE hmoe_status hmoe_run_binding(const hmoe_run *run, const hmoe_plan_step *step, uint32_t binding, int access,
                                           uint64_t bytes, void *out_pointer);
/* Bytes of a binding from its address on; 0 for HMOE_NONE. */
uint64_t hmoe_run_binding_bytes(const hmoe_run *run, const hmoe_plan_step *step, uint32_t binding);
/* Addresses of all bindings. */
HMOE_MUST_USE hmoe_status hmoe_run_bind_all(hmoe_run *run, const hmoe_plan_step *step, void **out_pointers);
/* Value of rows_dim; 0 for HMOE_NONE. */
int64_t hmoe_run_rows(const hmoe_run *run, const hmoe_plan_step *step);
/* HMOE_INVALID_ARGUMENT: element `index` of what an IDS step reads is no id; a row has more tokens than there are positions. */
hmoe_status hmoe_run_bad_id(const hmoe_run *run, const hmoe_plan_step *step, const void *source, uint64_t index, int64_t value);
hmoe_status hmoe_run_bad_position(uint64_t row, int64_t position, uint64_t limit);
/* Rows of `length` tokens that come after `past` others; the row of a mask begins every `stride` elements. */
typedef struct hmoe_token_rows {
  uint64_t rows, length, past, stride;
} hmoe_token_rows;
hmoe_token_rows hmoe_run_tokens(const hmoe_run *run, const hmoe_plan_tokens *tokens);
/* A mask that holds at least what the rows reach. *out_mask is an int32_t pointer; NULL for HMOE_NONE. */
HMOE_MUST_USE hmoe_status hmoe_run_bind_mask(const hmoe_run *run, const hmoe_plan_step *step, uint32_t binding, int access,
                                             const hmoe_token_rows *tokens, void *out_mask);
/* A LOOP over rows: the steps of its body once a chunk. For devices of any kind. */
HMOE_MUST_USE hmoe_status hmoe_run_loop_rows(hmoe_run *run, const hmoe_plan_step *step);
/* What CHUNK, or MISSING, dimensions are from here on. */
HMOE_MUST_USE hmoe_status hmoe_run_set_dims(hmoe_run *run, uint32_t kind, int64_t value);
/* HMOE_INCOMPATIBLE with entry and step named. */
__attribute__((format(printf, 3, 4))) hmoe_status hmoe_step_fail(const hmoe_run *run, const hmoe_plan_step *step,
                                                                 const char *format, ...);

/* ---- state.c ---- */

typedef struct hmoe_state_scope {
  int64_t rows;
  int64_t limit; /* tokens of a row: what the caller asked for */
  int64_t capacity; /* limit, up to a multiple of the plan's state_positions */
  int64_t length;
} hmoe_state_scope;

struct hmoe_state {
  struct hmoe_model *model; /* borrowed */
  uint64_t self_bytes; /* of this structure with its tables */
  hmoe_state_scope scopes[HMOE_SCOPE_COUNT]; /* rows 0: the model does not have it */
  hmoe_memory *tensors; /* the plan's states */
  uint8_t *data; /* of all tensors */
  uint64_t data_bytes;
  int32_t *readers, *ready; /* [target rows] each: of a reordering */
  int32_t (*moves)[2]; /* [2 * target rows]: to, from */
  atomic_flag taken; /* by a call that reads or changes it */
};

enum { HMOE_ASIDE = -1 }; /* in a move: a place beside all rows */
/* One call at a time has a state; another is refused until the first gives it back. */
HMOE_MUST_USE hmoe_status hmoe_state_take(hmoe_state *state, const char *call);
void hmoe_state_give_back(hmoe_state *state);

/* Before the steps of a run, its dimensions being known: the entry and the state belong together, and what the run adds has room. */
HMOE_MUST_USE hmoe_status hmoe_state_check_run(const hmoe_run *run);
/* What the run adds to a scope. Loops change dimensions: read before them. */
int64_t hmoe_state_growth(const hmoe_run *run, int scope);

/* ---- devices.c ---- */

/* What runs code of a device of this machine. */
typedef struct hmoe_chip {
  int major, minor; /* of a GPU: its compute capability */
  int driver; /* the driver's version, as 12080 */
} hmoe_chip;
/* That of device `number` of a name ("cuda"). False: there is no such device. */
bool hmoe_device_chip(const char *name, int number, hmoe_chip *out_chip);

/* ---- model.c ---- */

/* What is remembered of runs that found the pool's workers asleep, by whichever came last: cpu/share.c. */
typedef struct hmoe_rest {
  _Atomic int64_t end_ns; /* when the last of them ended */
  _Atomic uint64_t missed_ps; /* what workers would have saved in those that followed each other closely */
  _Atomic uint32_t tries; /* how often they were woken for that, and slept again when the next run came */
} hmoe_rest;

typedef struct hmoe_model_cache {
  hmoe_cache *cache;
  uint8_t *arena; /* slots, in the device's memory */
} hmoe_model_cache;

/* hmoe_model_open on a device that is given. */
HMOE_MUST_USE hmoe_status hmoe_model_open_on(const struct hmoe_device *device, const hmoe_model_object *object,
                                             const hmoe_weights *weights, const hmoe_options *options, hmoe_model **out_model);

struct hmoe_model {
  uint64_t self_bytes;
  hmoe_allocator allocator;
  const hmoe_model_object *object;
  const hmoe_plan *plan;
  const hmoe_plan_entry *entries;
  hmoe_plan_limits limits;
  const struct hmoe_device *device; /* of the entries from 1 on; entry 0 runs on the host */
  void *device_own; /* the device's, if it is not the host */
  const hmoe_image *image; /* the host's */
  uint64_t scratch_bytes; /* of a worker: the most that a function of the image needs */
  int cpu;
  bool debug_run;
  hmoe_workers workers;
  hmoe_rest rest;
  const uint8_t *arena; /* the weights: owned_arena, or inside packed; NULL: in the device's memory alone */
  uint8_t *owned_arena;
  uint8_t *weights; /* where steps of the device read them: the arena, or a copy of it */
  hmoe_packing *packing; /* hmoe_model_pack: the file that the arena is of */
  hmoe_mapping packed;
  hmoe_model_cache *caches;
  pthread_mutex_t mutex; /* guards the two fields below, and what they count: next, taken, slots and slots_bytes of workspaces */
  hmoe_workspace *workspaces;
  uint64_t workspace_bytes;
  hmoe_fork_watch watch;
};

static inline const void *hmoe_run_fields(const hmoe_run *run, const hmoe_plan_step *step) {
  return HMOE_STEP_FIELDS(run->model->plan, step);
}

#endif
