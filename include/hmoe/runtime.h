/* hmoe runtime: opens compiled mixture-of-experts models and runs them on the CPU or on a GPU.
 *
 * A model is an object written by `hmoec compile` plus weights. The generated header NAME.h wraps the three calls below in typed
 * inline functions (NAME_open, NAME_run, NAME_close); applications normally call those and read this file for the options.
 *
 * Errors: every call that can fail returns hmoe_status; HMOE_OK is 0. hmoe_last_error() has the message of the last failure of the
 * calling thread. On failure outputs named out_* are NULL and nothing is leaked.
 * Threads: a model is immutable after open. hmoe_model_run may be called from several threads on one model; close needs them done.
 * fork: the child may run and close the models that it inherits, whatever other threads of its parent were doing with them at that time; the
 * pool starts threads of its own in the child, when the first run wants them. A call from inside of which the process forked (a callback, an
 * executor) goes on in the parent only, and so does a state that another thread was using. An executor and an allocator have to bear forks
 * themselves. vfork, and clone without the C library, may only be followed by exec.
 * Nothing: a dimension may be 0. What has no elements is not touched, its pointer may be NULL; outputs that have some are computed unless they are of
 * an input that has none (attention to no source, the logits behind no token): HMOE_INVALID_ARGUMENT, by the name of that input.
 * Memory: all memory except the thread pool's own comes from the allocator in the options. Runs allocate nothing after the first
 * run at (or above) a size; each concurrent run keeps a workspace of its own.
 */
#ifndef HMOE_RUNTIME_H
#define HMOE_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HMOE_VERSION "0.1.0"

#if defined(__GNUC__)
#define HMOE_MUST_USE __attribute__((warn_unused_result))
#define HMOE_API __attribute__((visibility("default")))
#else
#define HMOE_MUST_USE
#define HMOE_API
#endif

typedef enum hmoe_status {
  HMOE_OK = 0,
  HMOE_INVALID_ARGUMENT = 1, /* a pointer, count or option the call cannot take */
  HMOE_OUT_OF_MEMORY = 2,
  HMOE_IO_ERROR = 3,         /* a file cannot be opened, read, mapped or written; the message has the system's reason */
  HMOE_INVALID_WEIGHTS = 4,  /* a weights file is broken, or lacks a tensor, or has it in another shape or type */
  HMOE_INCOMPATIBLE = 5,     /* object, packed weights and runtime do not belong together */
  HMOE_UNSUPPORTED = 6,      /* this machine lacks something the model needs; the message names it */
  HMOE_INTERNAL = 7,
  HMOE_DEVICE_FAILED =
      8, /* a device stopped working, or its driver refused a call; the message has the driver's words. Models on it can be closed */
} hmoe_status;

/* Name of a status, static storage: "ok", "invalid argument", ... */
HMOE_API const char *hmoe_status_string(hmoe_status status);

/* Message of the last failed call on this thread, "" if none. Valid until the next failing call on this thread. */
HMOE_API const char *hmoe_last_error(void);

/* Version of the library that is linked, e.g. "0.1.0". */
HMOE_API const char *hmoe_version(void);

/* Where memory comes from. alignment_bytes is a power of two >= 16. allocate returns NULL when there is none. release gets the
 * size that was asked for. Both may be called from any thread that opens, runs or closes a model. */
typedef struct hmoe_allocator {
  void *context;
  void *(*allocate)(void *context, size_t size_bytes, size_t alignment_bytes);
  void (*release)(void *context, void *memory, size_t size_bytes);
} hmoe_allocator;

/* Runs task(task_context, i) for every i in [0, count), on any threads, and returns when all are done; it must see the writes of
 * all tasks. May be called from several threads at once. `threads` is how many tasks are worth running at the same time (>= 1). */
typedef struct hmoe_executor {
  void *context;
  size_t threads;
  void (*parallel_for)(void *context, size_t count, void (*task)(void *task_context, size_t index), void *task_context);
} hmoe_executor;

enum {
  /* Packed weights: check the checksum over the data, which reads all of it. Without, opening reads the header only. */
  HMOE_VERIFY_WEIGHTS = 1u << 0,
  /* On GPUs: the steps of a run are recorded as a graph, which is launched as one; the graph of the run before is updated where it can be. Results are
   * the same. Without: a launch a kernel. Hosts have no graphs and do nothing of the kind. */
  HMOE_DEVICE_GRAPHS = 1u << 1,
  /* On GPUs from 9.0 on: a kernel is launched when the one before it has ended, not while that ends. Results are the same: to find out what it gains. */
  HMOE_DEVICE_APART = 1u << 2,
};

/* Options of open. Zero-initialise, set struct_size = sizeof(hmoe_options); zero means the default for every other field. */
typedef struct hmoe_options {
  size_t struct_size;
  uint32_t threads; /* 0: the CPUs this process may use (affinity mask and cgroup quota) */
  uint32_t flags; /* HMOE_VERIFY_WEIGHTS | HMOE_DEVICE_GRAPHS | HMOE_DEVICE_APART */
  const hmoe_executor *executor; /* borrowed until close; NULL: a pool owned by the model. With it, `threads` is ignored */
  const hmoe_allocator *allocator; /* copied; NULL: aligned_alloc/free, in huge pages from 4 MiB on */
  const char *device; /* NULL or "cpu"; "cuda", or "cuda:1" for the second GPU */
  const char *cpu; /* force a code version: "amx", "avx512_bf16", "avx512", "avx2", "portable"; NULL: the best there is */
  /* Surplus tensors and similar remarks; NULL: silent. Called during open only, on the opening thread. */
  void (*note)(void *context, const char *message);
  void *note_context;
  /* Progress of packing a checkpoint, and of copying weights to a device: bytes read so far, of all. Called during open only, on the opening thread; NULL: none. */
  void (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes);
  void *progress_context;
} hmoe_options;

/* Where weights are read from. A path or descriptor may name a .safetensors file or a .hmw file (told apart by content). A path may also
 * name a checkpoint in several files: its index (model.safetensors.index.json), or the directory that holds one, or a model.safetensors. */
typedef enum hmoe_weights_kind { HMOE_WEIGHTS_PATH = 0, HMOE_WEIGHTS_FD = 1, HMOE_WEIGHTS_MEMORY = 2 } hmoe_weights_kind;

typedef struct hmoe_weights {
  hmoe_weights_kind kind;
  const char *path; /* PATH; for messages with the other kinds, may be NULL there */
  int fd; /* FD: borrowed during open only; mapped from offset 0 */
  const void *
      data; /* MEMORY: whole file; safetensors: borrowed during open only; .hmw: 64-byte aligned, borrowed until close; on a device during open only */
  size_t size_bytes; /* MEMORY */
} hmoe_weights;

typedef struct hmoe_model hmoe_model;
struct hmoe_model_object; /* in <hmoe/abi.h>; each compiled object exports one, NAME_object */

/* Opens a model: chooses the CPU version, packs and folds safetensors weights or maps packed ones. options may be NULL. */
HMOE_MUST_USE HMOE_API hmoe_status hmoe_model_open(const struct hmoe_model_object *object, const hmoe_weights *weights,
                                                   const hmoe_options *options, hmoe_model **out_model);

/* Runs one entry: layers have one, 1 (0 is what open runs). dims: the entry's dynamic dimensions in the header's order (layers: tokens).
 * inputs and outputs: one pointer a tensor, C-ordered, naturally aligned, in the header's order; outputs must not overlap inputs. An input
 * with a default may be NULL. 0 tokens is a run that does nothing. Entries that decode need a state: hmoe_model_run_state. */
HMOE_MUST_USE HMOE_API hmoe_status hmoe_model_run(hmoe_model *model, uint32_t entry, const int64_t *dims, const void *const *inputs,
                                                  void *const *outputs);

/* The number of an entry, by name ("run", "forward", "encode", "prepare", "decode"); 0 if the model has none of that name. */
HMOE_API uint32_t hmoe_model_entry(const hmoe_model *model, const char *name);

/* ---- decoding step by step ----
 *
 * A state holds what attention needs of tokens that were run before: keys, values and masks, in two scopes. The target scope grows with every
 * run of "decode"; the source scope (encoder-decoders) is filled by "prepare".
 *
 *   hmoe_state_create(model, &(hmoe_state_options){sizeof(hmoe_state_options), .target_rows = 2, .target_capacity = 64}, &state);
 *   decode 2 rows of 10 tokens -> logits of the 11th ; decode 2 rows of 1 token -> ... ; hmoe_state_destroy(state);
 *
 * A state belongs to one model and is used by one call at a time: a run, a rewinding or a reordering that finds another at work on it fails with
 * HMOE_INVALID_ARGUMENT and changes nothing. Different states run at the same time on different threads. */
typedef struct hmoe_state hmoe_state;

/* Zero-initialise, set struct_size. Sizes of at least 1; those of a scope that the model does not have are ignored. */
typedef struct hmoe_state_options {
  size_t struct_size;
  int64_t target_rows; /* sequences, beams counted */
  int64_t target_capacity; /* most tokens of each, prompt included */
  int64_t
      source_rows; /* rows of encoder input; target_rows is a multiple: row t belongs to source row t / (target_rows / source_rows) */
  int64_t source_capacity; /* most tokens of each */
} hmoe_state_options;

/* HMOE_INVALID_ARGUMENT for a model without such entries. *out_state is the caller's; the model must outlive it. */
HMOE_MUST_USE HMOE_API hmoe_status hmoe_state_create(hmoe_model *model, const hmoe_state_options *options, hmoe_state **out_state);
HMOE_API void hmoe_state_destroy(hmoe_state *state); /* NULL is allowed */
/* Tokens run so far: target scope, source scope; of NULL 0, as the bytes are. */
HMOE_API int64_t hmoe_state_length(const hmoe_state *state);
HMOE_API int64_t hmoe_state_source_length(const hmoe_state *state);
HMOE_API size_t hmoe_state_bytes(const hmoe_state *state);
/* Forgets the target tokens from `length` on; length 0 begins anew, also with another source. */
HMOE_MUST_USE HMOE_API hmoe_status hmoe_state_rewind(hmoe_state *state, int64_t length);
/* Target row i becomes what row rows[i] was, i < target_rows: beams that go on from others. */
HMOE_MUST_USE HMOE_API hmoe_status hmoe_state_reorder(hmoe_state *state, const int32_t *rows);

/* hmoe_model_run with a state (NULL for entries that need none). Dimensions that are the state's (rows) are not among dims. On failure the
 * state's lengths are what they were. */
HMOE_MUST_USE HMOE_API hmoe_status hmoe_model_run_state(hmoe_model *model, uint32_t entry, hmoe_state *state, const int64_t *dims,
                                                        const void *const *inputs, void *const *outputs);

/* ---- runs on a GPU's own memory, and on a stream of the caller's ---- */

enum {
  /* All inputs and outputs are in the memory of the model's device, 16-byte aligned: addresses that its driver gave (a CUdeviceptr, as a pointer).
   * Nothing is copied. On the CPU that is the host's memory, as always. */
  HMOE_RUN_DEVICE_TENSORS = 1u << 0,
};

/* Zero-initialise, set struct_size. */
typedef struct hmoe_run_options {
  size_t struct_size;
  hmoe_state *state; /* NULL for entries that need none */
  /* GPUs: a CUstream of the primary context of the model's device (which CUDA's runtime uses, too), not in capture; borrowed until what was queued has ended.
   * The run comes after what is in it. NULL: a stream of the run's own. */
  void *stream;
  uint32_t flags; /* HMOE_RUN_DEVICE_TENSORS */
} hmoe_run_options;

/* hmoe_model_run_state, by options. With both a stream and HMOE_RUN_DEVICE_TENSORS the run is queued in the stream: the call waits for nothing, and what
 * is behind it in the stream sees its outputs. Tensors must stay until it has ended; its state counts its tokens at once, and takes only more runs queued in
 * the same stream until then. In all other cases the run has ended when the call returns.
 * A queued run cannot say that an id is none of the model's, or that a row has too many tokens: it goes on with 0 in its place, and the next
 * hmoe_model_wait says it. */
HMOE_MUST_USE HMOE_API hmoe_status hmoe_model_run_with(hmoe_model *model, uint32_t entry, const hmoe_run_options *options,
                                                       const int64_t *dims, const void *const *inputs, void *const *outputs);
/* Waits for all queued runs of the model; what went wrong with any of them since the last time is returned. From any thread, but not while another queues
 * runs. hmoe_model_close waits by itself. */
HMOE_MUST_USE HMOE_API hmoe_status hmoe_model_wait(hmoe_model *model);

/* Writes the packed, folded weights: to a temporary name beside `path`, renamed when complete. */
HMOE_MUST_USE HMOE_API hmoe_status hmoe_model_save(const hmoe_model *model, const char *path);

/* Packs and folds a checkpoint straight into a .hmw file, as open and save would, but in little memory: what is packed goes to the file
 * and is let go of. */
HMOE_MUST_USE HMOE_API hmoe_status hmoe_model_pack(const struct hmoe_model_object *object, const hmoe_weights *weights,
                                                   const hmoe_options *options, const char *path);

/* Releases everything. NULL is allowed. */
HMOE_API void hmoe_model_close(hmoe_model *model);

/* Of NULL, what follows is NULL and 0. What was chosen: "amx", "avx512_bf16", "avx512", "avx2" or "portable", the best version that the object has and this machine runs;
 * static storage. The first two are in objects with bf16 products only. Choosing "amx" has asked the system to let the process use
 * tiles. */
HMOE_API const char *hmoe_model_cpu(const hmoe_model *model);
/* Threads that runs use. */
HMOE_API size_t hmoe_model_threads(const hmoe_model *model);
/* Bytes of packed weights, and of all workspaces now held. */
HMOE_API size_t hmoe_model_weight_bytes(const hmoe_model *model);
HMOE_API size_t hmoe_model_workspace_bytes(hmoe_model *model);

#ifdef __cplusplus
}
#endif
#endif
