/* libhmoec: the compiler as a library.
 *
 * A model comes from a file (.spec, .mlir, a Hugging Face directory), from the text of a spec, or from a graph that a program builds op by
 * op; it becomes a compilation, which gives an object, its header and manifest, or code that is loaded into this process and run at once
 * by the runtime (<hmoe/runtime.h>), whose calls are part of this library. `hmoec`, the command line, is a client of it.
 *
 *   hmoec_options options = {sizeof options, .message = hmoec_message_print, .message_context = stderr};
 *   hmoec_graph *graph;
 *   hmoec_compilation *compilation;
 *   hmoe_model *model;
 *   hmoec_graph_create("relu_layer", &options, &graph);
 *   hmoec_graph_value x = hmoec_graph_input(graph, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 64));
 *   hmoec_graph_value w = hmoec_graph_parameter(graph, "w", HMOEC_SHAPE(HMOEC_F32, 32, 64));
 *   hmoec_graph_output(graph, "y", hmoec_graph_activate(graph, hmoec_graph_linear(graph, x, w, HMOEC_NONE), "c:act.c:my_relu"));
 *   if (hmoec_compile_graph(graph, &options, &compilation) == HMOEC_OK &&
 *       hmoec_compilation_open(compilation, &(hmoe_weights){.path = "w.safetensors"}, NULL, &model) == HMOEC_OK) ...
 *   hmoe_model_close(model); hmoec_compilation_destroy(compilation); hmoec_graph_destroy(graph);
 *
 * Errors: calls that can fail return hmoec_status; HMOEC_OK is 0. Every error, warning and note goes to the message callback of the options,
 * with its place; nothing is printed, and without a callback nothing is said. On failure outputs named out_* are NULL. Of one call, and of all
 * calls on one graph, at most 20 errors are said. A graph or compilation that is NULL, what a failed call gave, is refused in silence.
 * Ownership: what a call gives as out_* is the caller's, to be released by the function named with it; all arguments are borrowed
 * during the call only, unless said otherwise. NULL can be destroyed.
 * Threads: there is no state outside of the objects. Different graphs and compilations may be used on different threads at the same time;
 * one of them by one thread at a time. Callbacks run on the thread that made the call, and may use other objects, but not that one.
 * Versions: HMOEC_API_VERSION changes when programs have to. Structures begin with struct_size, so that fields may be added at the end.
 */
#ifndef HMOE_COMPILER_H
#define HMOE_COMPILER_H

#include <stdint.h>

#include <hmoe/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HMOEC_API_VERSION 1

/* Version of the library that is linked, e.g. "0.1.0". */
HMOE_API const char *hmoec_version(void);
/* The HMOEC_API_VERSION it was built with. */
HMOE_API int hmoec_api_version(void);

/* As the exit status of the command line. */
typedef enum hmoec_status {
  HMOEC_OK = 0,
  HMOEC_INPUT_ERROR = 1,   /* the model, its weights or a function in C is wrong */
  HMOEC_USAGE_ERROR = 2,   /* an argument or option is */
  HMOEC_MACHINE_ERROR = 3, /* the machine lacks something: memory, a CPU feature */
} hmoec_status;

/* ---- messages ---- */

typedef enum hmoec_severity { HMOEC_ERROR, HMOEC_WARNING, HMOEC_NOTE } hmoec_severity;

/* A place in a text file. line and column count from 1; 0 is unknown; file NULL: no place at all. */
typedef struct hmoec_location {
  const char *file;
  unsigned line, column;
} hmoec_location;

/* All of it is valid during the callback only. A note belongs to the message before it. */
typedef struct hmoec_message {
  hmoec_severity severity;
  hmoec_status status; /* what an error makes of the call */
  hmoec_location at;
  const char *text;
  const char *source; /* the line at the place, source_bytes long, not terminated; NULL: not known */
  size_t source_bytes;
} hmoec_message;

typedef void (*hmoec_message_fn)(void *context, const hmoec_message *message);

/* A message callback whose context is a FILE *: "FILE:LINE:COL: error: text", the line, and a caret under the column. */
HMOE_API void hmoec_message_print(void *file, const hmoec_message *message);

/* ---- options ---- */

/* Replaces the value of a dim or an option of a spec. */
typedef struct hmoec_define {
  const char *name, *value;
} hmoec_define;

/* Zero-initialise, set struct_size = sizeof(hmoec_options); zero is the default of every other field. */
typedef struct hmoec_options {
  size_t struct_size;
  hmoec_message_fn message;
  void *message_context;
  const hmoec_define *defines; /* of specs only */
  size_t define_count;
  const char *const *c_includes; /* directories that functions written in C include from */
  size_t c_include_count;
  const char *const *c_defines; /* NAME or NAME=VALUE: macros of theirs */
  size_t c_define_count;
  const char *dtype;          /* what products are computed in: "f32" (NULL) or "bf16" */
  const char *strategy; /* of every HyperExpert: "table", "cache", "factored", "per_token"; NULL or "auto": what the model says */
  int64_t table_budget_bytes; /* most bytes of a HyperExpert's table or cache; 0: half of the layer's experts */
  int64_t tokens; /* the batch that costs are weighed for; 0: 512 */
  const char *
      mcpu; /* schedule code for this processor, "native": this machine's; NULL: none in particular. Of target "cuda": the chips that an object has
                     * code for, with commas between them, or "all"; NULL: all, and of code that is loaded those of this machine's devices, if it has some */
  const char *cpu; /* the code version that is loaded and opened ("portable", ...); NULL: the best */
  const char *dump_directory; /* the IR after every pass is written there, a file each, all together; NULL: not */
  const char *print_ir_after; /* a pass, or "all": the IR after it goes to `print`; NULL: none */
  void (*print)(void *context, const char *text, size_t bytes);
  void *print_context;
  const char
      *repro_file; /* a pass that fails by the compiler's own fault leaves the module before it there, for hmoec-opt; NULL: in
                           * repro.mlir of dump_directory, and without one nowhere */
  const char *target; /* what code is for; NULL: "cpu" */
  const char *tuning; /* a file of what `hmoec tune` measured; NULL: none. Nothing in it changes a result */
  int64_t
      memory_bytes; /* most bytes of the tables and caches of all HyperExperts together, divided by what a byte saves; 0: each has its own budget */
  /* How often tokens come with which experts, which strategies are chosen by: "even", "zipf:S" (the r-th selection set as often as 1 / r^S says), the path of
   * a file of counts, or the text of one (hmoec_compilation_routing); NULL: "zipf:0.5" */
  const char *routing;
} hmoec_options;

/* What a text of the options may be: value number `index` of "target", "dtype", "strategy", "cpu", "mcpu" or "print-ir-after", as they are listed to
 * people; of the target that is taken by default, where it depends on that. NULL behind the last one, and of other names. Static storage. */
HMOE_API const char *hmoec_option_value(const char *option, size_t index);

/* Whether the library takes these options, which it says of them on use too. prefix: what messages put before an option's name, such as "--";
 * NULL: nothing. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_options_validate(const hmoec_options *options, const char *prefix);

/* ---- graphs ----
 *
 * A graph is built op by op; every call corresponds to a line of a spec, and the same model gives the same IR either way (docs/spec.md has the
 * ops). A call that is refused reports why, at the place set by hmoec_graph_at, and gives HMOEC_NONE; so do calls that are given what came
 * of it, in silence. A program may therefore build the whole graph and look at the status of hmoec_compile_graph alone. */

typedef enum hmoec_element { HMOEC_F32, HMOEC_I32, HMOEC_I1, HMOEC_I64 } hmoec_element; /* I1: results of route only */

#define HMOEC_MAX_RANK 4
#define HMOEC_DYNAMIC INT64_MIN /* a dimension known at run time */

typedef struct hmoec_shape {
  hmoec_element element;
  int64_t rank;
  int64_t dims[HMOEC_MAX_RANK];
} hmoec_shape;

/* A value of a structure, written out, in C and in C++. */
#ifdef __cplusplus
#define HMOEC_LITERAL(type) type
#else
#define HMOEC_LITERAL(type) (type)
#endif

/* HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, 768): f32[?, 768] */
#ifdef __cplusplus
extern "C++" {
template <typename... Dims> inline hmoec_shape HMOEC_SHAPE(hmoec_element element, Dims... dims) {
  return hmoec_shape{element, sizeof...(dims), {static_cast<int64_t>(dims)...}};
}
}
#else
#define HMOEC_SHAPE(element, ...)                                                                                                  \
  ((hmoec_shape){(element), (int64_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#endif

/* The number of elements, a dynamic dimension counted as 1; INT64_MAX when it does not fit, and of what is no shape (NULL, a rank or an element
 * that there is not), which is compatible with none either. */
HMOE_API int64_t hmoec_shape_elements(const hmoec_shape *shape);
/* Whether they are equal, or differ only where one of them is dynamic. */
HMOE_API int hmoec_shape_compatible(const hmoec_shape *a, const hmoec_shape *b);
/* "f32[?, 768]"; returns buffer. HMOEC_SHAPE_CHARS are enough for any. */
#define HMOEC_SHAPE_CHARS 128
HMOE_API const char *hmoec_shape_string(const hmoec_shape *shape, char *buffer, size_t size);
/* Bytes of an element of an input or output. */
HMOE_API size_t hmoec_element_bytes(hmoec_element element);

typedef struct hmoec_graph hmoec_graph;

/* A tensor of a graph, valid until the graph is destroyed. */
typedef struct hmoec_graph_value {
  const void *handle;
} hmoec_graph_value;
/* An operand that is left out; what a refused call gives. */
#define HMOEC_NONE (HMOEC_LITERAL(hmoec_graph_value){NULL})

/* name: a C identifier, which symbols and files of the model will carry. Of the options, the message callback and what is said of C functions
 * count; their texts are copied. Destroyed by hmoec_graph_destroy. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_graph_create(const char *name, const hmoec_options *options, hmoec_graph **out_graph);
HMOE_API void hmoec_graph_destroy(hmoec_graph *graph);
/* The status of what was built so far: HMOEC_OK, or the worst of the calls that were refused. */
HMOE_API hmoec_status hmoec_graph_status(const hmoec_graph *graph);

/* Where messages about the calls that follow point: HMOEC_HERE(graph) is this line of the program. file is copied. */
HMOE_API void hmoec_graph_at(hmoec_graph *graph, const char *file, unsigned line);
#define HMOEC_HERE(graph) hmoec_graph_at((graph), __FILE__, __LINE__)

/* An input: f32, i32 or i64. The first dimension may be HMOEC_DYNAMIC, "tokens", and of [batch, length] and [batch, length, columns] the first
 * two, "batch" and "length". */
HMOE_API hmoec_graph_value hmoec_graph_input(hmoec_graph *graph, const char *name, hmoec_shape shape);
/* The same with names for the dynamic dimensions, in order; dimensions of one name are of one size. given: of integers, what every element is
 * where the caller leaves the input out; NULL: the caller may not. */
HMOE_API hmoec_graph_value hmoec_graph_input_named(hmoec_graph *graph, const char *name, hmoec_shape shape, const char *const *dims,
                                                   const int64_t *given);
/* A tensor of the checkpoint, f32, by its key in the current scope; "a\nb": the first of these that is there. Asking again gives the same. */
HMOE_API hmoec_graph_value hmoec_graph_parameter(hmoec_graph *graph, const char *key, hmoec_shape shape);
/* A stack [count, ...] of tensors; key holds "{}", which stands for 0 to count - 1; shape is that of one of them. */
HMOE_API hmoec_graph_value hmoec_graph_stack(hmoec_graph *graph, const char *key, int64_t count, hmoec_shape shape);
/* Keys that follow have this prefix, with a dot behind it, until the matching end; a key that begins with "/" has none. Scopes nest. */
HMOE_API void hmoec_graph_scope_begin(hmoec_graph *graph, const char *prefix_format, ...) __attribute__((format(printf, 2, 3)));
HMOE_API void hmoec_graph_scope_end(hmoec_graph *graph);
HMOE_API void hmoec_graph_output(hmoec_graph *graph, const char *name, hmoec_graph_value value);
/* What generation does where its caller says nothing: a setting by its name, which is that of hmoe_generation (<hmoe/generate.h>). values:
 * tokens (count 0: none); of bad_words the tokens of each word and then -1; of others one integer, early_stopping's being 0, 1, or 2 for never.
 * Copied. The last one of a setting counts. */
HMOE_API void hmoec_graph_generation(hmoec_graph *graph, const char *setting, const int64_t *values, size_t count);
/* The same of temperature, top_p, min_p, repetition_penalty and length_penalty. */
HMOE_API void hmoec_graph_generation_number(hmoec_graph *graph, const char *setting, double number);
/* The shape of a value; rank 0 of HMOEC_NONE. */
HMOE_API hmoec_shape hmoec_graph_shape(const hmoec_graph *graph, hmoec_graph_value value);

typedef enum hmoec_attribute_kind {
  HMOEC_ATTRIBUTE_INT,
  HMOEC_ATTRIBUTE_STRING,
  HMOEC_ATTRIBUTE_INTS,
  HMOEC_ATTRIBUTE_FLOAT, /* finite; at least 0, but for `by` of scale */
} hmoec_attribute_kind;

typedef struct hmoec_attribute {
  const char *name;
  hmoec_attribute_kind kind;
  int64_t integer;
  const char *string;
  const int64_t *ints;
  size_t int_count;
  double number;
} hmoec_attribute;
#define HMOEC_INT(attribute, value) (HMOEC_LITERAL(hmoec_attribute){(attribute), HMOEC_ATTRIBUTE_INT, (value), NULL, NULL, 0, 0})
#define HMOEC_TEXT(attribute, value) (HMOEC_LITERAL(hmoec_attribute){(attribute), HMOEC_ATTRIBUTE_STRING, 0, (value), NULL, 0, 0})
#define HMOEC_NUMBER(attribute, value)                                                                                             \
  (HMOEC_LITERAL(hmoec_attribute){(attribute), HMOEC_ATTRIBUTE_FLOAT, 0, NULL, NULL, 0, (value)})

#define HMOEC_MAX_RESULTS 4

/* Any op by its name in specs: operands in order, HMOEC_NONE for those that are left out; attributes that are not given have their defaults.
 * Where an activation or a gate is expected, "c:FILE:FUNCTION" names a function written in C (FILE relative to the working directory).
 * Returns the first result; out_results: all of them, room for HMOEC_MAX_RESULTS, or NULL. */
HMOE_API hmoec_graph_value hmoec_graph_op(hmoec_graph *graph, const char *op, const hmoec_graph_value *operands,
                                          size_t operand_count, const hmoec_attribute *attributes, size_t attribute_count,
                                          hmoec_graph_value *out_results);

/* ---- the ops, one call each; operands marked ? may be HMOEC_NONE. docs/spec.md has their shapes, dialects/hmoe.irdl.mlir the equations ---- */

HMOE_API hmoec_graph_value hmoec_graph_linear(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_value w,
                                              hmoec_graph_value bias /* ? */);
/* function: "relu", "gelu", "gelu_new", "silu", "sigmoid", "none" or "c:FILE:FUNCTION" of one float; so are all activations */
HMOE_API hmoec_graph_value hmoec_graph_activate(hmoec_graph *graph, hmoec_graph_value x, const char *function);
HMOE_API hmoec_graph_value hmoec_graph_add(hmoec_graph *graph, hmoec_graph_value a, hmoec_graph_value b);
HMOE_API hmoec_graph_value hmoec_graph_multiply(hmoec_graph *graph, hmoec_graph_value a, hmoec_graph_value b);
/* x times by, and times factor: [columns] has a value a column, [.., 1] a value a row */
HMOE_API hmoec_graph_value hmoec_graph_scale(hmoec_graph *graph, hmoec_graph_value x, double by, hmoec_graph_value factor /* ? */);
/* begin, begin + step, .. below end of an axis, which counts from 0, or from -1 down from the last one */
HMOE_API hmoec_graph_value hmoec_graph_slice(hmoec_graph *graph, hmoec_graph_value x, int64_t axis, int64_t begin, int64_t end,
                                             int64_t step);
/* 2 to 8 pieces, one behind the other along an axis */
HMOE_API hmoec_graph_value hmoec_graph_concat(hmoec_graph *graph, const hmoec_graph_value *pieces, size_t count, int64_t axis);
HMOE_API hmoec_graph_value hmoec_graph_rms_norm(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_value weight, double epsilon);
HMOE_API hmoec_graph_value hmoec_graph_layer_norm(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_value weight,
                                                  hmoec_graph_value bias, double epsilon);

typedef struct hmoec_graph_routing {
  hmoec_graph_value indices, gates, kept;
} hmoec_graph_routing;
/* gate: "softmax_then_topk", "topk_then_softmax", "softmax_topk_renorm", "sigmoid" or "c:FILE:FUNCTION" of a logit. capacity 0: none. renorm: of
 * the last two, gates are divided by their sum. */
HMOE_API hmoec_graph_routing hmoec_graph_route(hmoec_graph *graph, hmoec_graph_value logits, int64_t top_k, const char *gate,
                                               int64_t capacity, int renorm);
HMOE_API hmoec_graph_value hmoec_graph_experts(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_routing routing,
                                               hmoec_graph_value wi, hmoec_graph_value wo, hmoec_graph_value bi /* ? */,
                                               hmoec_graph_value bo /* ? */, const char *activation);
/* activation: also "c:FILE:FUNCTION" of two floats, f(gate, up) */
HMOE_API hmoec_graph_value hmoec_graph_gated_experts(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_routing routing,
                                                     hmoec_graph_value wi_0, hmoec_graph_value wi_1, hmoec_graph_value wo,
                                                     hmoec_graph_value bi_0 /* ? */, hmoec_graph_value bi_1 /* ? */,
                                                     hmoec_graph_value bo /* ? */, const char *activation);
/* The gated sum of what the selected experts give. */
HMOE_API hmoec_graph_value hmoec_graph_combine(hmoec_graph *graph, hmoec_graph_value experts, hmoec_graph_routing routing);
/* of: "unselected" or "selected"; aggregate: "mean" or "sum" */
HMOE_API hmoec_graph_value hmoec_graph_selection_embedding(hmoec_graph *graph, hmoec_graph_routing routing, hmoec_graph_value table,
                                                           const char *of, const char *aggregate);
HMOE_API hmoec_graph_value hmoec_graph_append_row(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_value table, int64_t row);

typedef struct hmoec_graph_generated {
  hmoec_graph_value down, up, beta, gamma; /* beta and gamma: where there are generated biases */
} hmoec_graph_generated;
HMOE_API hmoec_graph_generated hmoec_graph_hypernetwork(hmoec_graph *graph, hmoec_graph_value r, hmoec_graph_value wd,
                                                        hmoec_graph_value bd, hmoec_graph_value wu, hmoec_graph_value bu,
                                                        hmoec_graph_value vd /* ? */, hmoec_graph_value cd /* ? */,
                                                        hmoec_graph_value vu /* ? */, hmoec_graph_value cu /* ? */,
                                                        int64_t bottleneck);
HMOE_API hmoec_graph_value hmoec_graph_hyper_expert(hmoec_graph *graph, hmoec_graph_value x, hmoec_graph_generated generated,
                                                    const char *strategy);

/* ---- blocks of specs ----
 *
 *   hmoec_graph_include(graph, "models/layer-common.spec", (hmoec_define[]){{"d_model", "512"}}, 1);
 *   hmoec_graph_block(graph, "switch_route", &HMOEC_VALUE_ARGUMENT(x), 1, results, 3);        -> indices, gates, kept
 *   hmoec_graph_block(graph, "switch_experts", (hmoec_graph_argument[]){HMOEC_VALUE_ARGUMENT(x), HMOEC_ROUTING_ARGUMENT(routing)}, 2, &y, 1); */

/* Adds what a spec declares at its top level: dims, options, checks and blocks, and those of what it includes; nothing else may stand there.
 * defines replace dims and options, as -D does. A second spec may use what the first declared. */
HMOE_API void hmoec_graph_include(hmoec_graph *graph, const char *path, const hmoec_define *defines, size_t define_count);

typedef enum hmoec_argument_kind {
  HMOEC_ARGUMENT_VALUE, /* values[0], or HMOEC_NONE: absent */
  HMOEC_ARGUMENT_ROUTING, /* values: indices, gates, kept */
  HMOEC_ARGUMENT_GENERATED, /* values: down, up, beta, gamma, or the first two */
  HMOEC_ARGUMENT_INT,
  HMOEC_ARGUMENT_NUMBER,
  HMOEC_ARGUMENT_TEXT, /* a word or a text */
} hmoec_argument_kind;

typedef struct hmoec_graph_argument {
  const char *name; /* of the block's argument; NULL: the next one */
  hmoec_argument_kind kind;
  hmoec_graph_value values[HMOEC_MAX_RESULTS];
  int64_t integer;
  double number;
  const char *text;
} hmoec_graph_argument;
#define HMOEC_VALUE_ARGUMENT(value)                                                                                                \
  (HMOEC_LITERAL(hmoec_graph_argument){NULL, HMOEC_ARGUMENT_VALUE, {(value), HMOEC_NONE, HMOEC_NONE, HMOEC_NONE}, 0, 0, NULL})
#define HMOEC_ROUTING_ARGUMENT(r)                                                                                                  \
  (HMOEC_LITERAL(hmoec_graph_argument){NULL, HMOEC_ARGUMENT_ROUTING, {(r).indices, (r).gates, (r).kept, HMOEC_NONE}, 0, 0, NULL})

#define HMOEC_MAX_BLOCK_RESULTS 32
/* Calls a block in the current scope. Returns how many values it gave, 0 after an error; out_results: the first `room` of them, HMOEC_NONE for
 * those that are absent and for what is missing. */
HMOE_API size_t hmoec_graph_block(hmoec_graph *graph, const char *name, const hmoec_graph_argument *arguments,
                                  size_t argument_count, hmoec_graph_value *out_results, size_t room);

/* ---- compilation ---- */

typedef struct hmoec_compilation hmoec_compilation;

/* From a .spec or .mlir file or a Hugging Face directory; from the text of a spec, which `name` stands for in messages and whose includes are
 * found relative to it; from a graph, which can no longer be changed then, and may be
 * compiled again, with other options (defines count for specs only). Checks, folds, fuses and
 * plans; code is generated when it is asked for. options may be NULL; their texts must stay until the compilation is destroyed. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_compile_file(const char *path, const hmoec_options *options,
                                                       hmoec_compilation **out_compilation);
HMOE_MUST_USE HMOE_API hmoec_status hmoec_compile_text(const char *name, const char *text, size_t bytes,
                                                       const hmoec_options *options, hmoec_compilation **out_compilation);
HMOE_MUST_USE HMOE_API hmoec_status hmoec_compile_graph(hmoec_graph *graph, const hmoec_options *options,
                                                        hmoec_compilation **out_compilation);
/* Models that were opened from it must be closed before: their code goes with it. */
HMOE_API void hmoec_compilation_destroy(hmoec_compilation *compilation);

/* The model's name. Valid until destroy. */
HMOE_API const char *hmoec_compilation_name(const hmoec_compilation *compilation);

typedef enum hmoec_output {
  HMOEC_OUTPUT_OBJECT, /* ELF, every CPU version */
  HMOEC_OUTPUT_HEADER, /* C, for programs that link the object */
  HMOEC_OUTPUT_MANIFEST, /* JSON: entries, shapes, parameters, strategies, functions, images */
  HMOEC_OUTPUT_HMOE, /* IR: the model, folded and fused */
  HMOEC_OUTPUT_HMK, /* IR: kernels and buffers */
  HMOEC_OUTPUT_MLIR, /* IR: machine level */
  HMOEC_OUTPUT_LLVM,
  HMOEC_OUTPUT_ASSEMBLY, /* of target "cuda" PTX of the one chip that mcpu names, or of the least one */
  HMOEC_OUTPUT_CUBIN, /* target "cuda" alone: ELF, that chip's machine code */
} hmoec_output;

/* Bytes (not terminated), the caller's, to be released by hmoec_free. The same input gives the same bytes. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_compilation_emit(hmoec_compilation *compilation, hmoec_output output, char **out_bytes,
                                                           size_t *out_size);
HMOE_API void hmoec_free(void *memory);
/* NAME.h, NAME.json and NAME.o in a directory, which is made if needed. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_compilation_write(hmoec_compilation *compilation, const char *directory);

/* Code for this machine, in this process; generated once. Of target "cuda", unless mcpu says otherwise, for the chips of the devices that the driver has then. Valid until destroy; for hmoe_model_open and hmoe_model_pack. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_compilation_load(hmoec_compilation *compilation,
                                                           const struct hmoe_model_object **out_object);
/* hmoec_compilation_load, then hmoe_model_open, whose errors become messages. *out_model: closed by hmoe_model_close, before destroy. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_compilation_open(hmoec_compilation *compilation, const hmoe_weights *weights,
                                                           const hmoe_options *options, hmoe_model **out_model);
/* The same, into a .hmw file. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_compilation_pack(hmoec_compilation *compilation, const hmoe_weights *weights,
                                                           const hmoe_options *options, const char *path);

#define HMOEC_MAX_TENSORS 16
#define HMOEC_MAX_SIZES 8
#define HMOEC_SIZE_OF_STATE SIZE_MAX /* in place of one of the entry's sizes: a state has it */

typedef struct hmoec_signature_tensor {
  char name[128];
  hmoec_shape shape; /* HMOEC_DYNAMIC where the caller gives the size */
  size_t sizes[HMOEC_MAX_RANK]; /* of dimensions that are dynamic: which of the entry's sizes */
  int optional; /* an input that may be NULL */
} hmoec_signature_tensor;

/* What an entry takes and gives, in the order of hmoe_model_run. */
typedef struct hmoec_signature {
  uint32_t entry; /* for hmoe_model_run */
  char name[128];
  int needs_state;
  size_t size_count; /* of the dims of hmoe_model_run */
  char size_names[HMOEC_MAX_SIZES][128];
  size_t input_count, output_count;
  hmoec_signature_tensor inputs[HMOEC_MAX_TENSORS], outputs[HMOEC_MAX_TENSORS];
} hmoec_signature;

/* entry: "run", "forward", "decode", ...; NULL: "forward" of a whole model, or else the first. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_compilation_signature(hmoec_compilation *compilation, const char *entry,
                                                                hmoec_signature *out_signature);

/* The shape of one of its tensors at these sizes, the dims of hmoe_model_run. */
HMOE_API hmoec_shape hmoec_signature_shape(const hmoec_signature_tensor *tensor, const int64_t *sizes);

/* Values for an input that make sense, the same for the same seed: f32 of variance 1; ids that its tables have; masks of rows that are whole or
 * end in padding. input and sizes: as for hmoec_signature_shape, whose elements `out` has room for. */
HMOE_API void hmoec_compilation_random_input(const hmoec_compilation *compilation, const hmoec_signature_tensor *input,
                                             const int64_t *sizes, uint64_t seed, void *out);
/* Floating-point operations of the products of one run, 2 a multiply-add: of `tokens` in all, in batch rows of equal length; of layers rows is
 * 1. */
HMOE_API double hmoec_compilation_flops(const hmoec_compilation *compilation, int64_t tokens, int64_t rows);

/* What the model means: the reference interpreter, in double precision, slow. The first of the model's entries, with dims, inputs and outputs as
 * hmoe_model_run takes them; outputs are rounded to f32. weights: a path. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_compilation_interpret(hmoec_compilation *compilation, const hmoe_weights *weights,
                                                                const int64_t *dims, const void *const *inputs,
                                                                void *const *outputs);

/* How often these inputs select which experts, as text for `routing` of the options: of each HyperExpert that has selection sets, in program order. By the
 * reference interpreter, as far as the routers need. *out_text: terminated, the caller's, released by hmoec_free. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_compilation_routing(hmoec_compilation *compilation, const hmoe_weights *weights,
                                                              const int64_t *dims, const void *const *inputs, char **out_text);

/* Writes a .safetensors file with random values for every parameter of the model, scaled so that activations stay about 1. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_compilation_random_weights(hmoec_compilation *compilation, uint64_t seed,
                                                                     const char *path);

/* The spec of a Hugging Face directory. *out_text: terminated, the caller's, released by hmoec_free. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_import_directory(const char *directory, const hmoec_options *options, char **out_text);

/* ---- reports on a model, as text for people ----
 *
 * Their text goes to `print`, in pieces, as it is made; what is wrong goes to the message callback of the options. Zero-initialise, set
 * struct_size; zero is the default of every other field. */

typedef struct hmoec_check_options {
  size_t struct_size;
  const char *weights; /* a path; NULL: random ones */
  const char *save_weights; /* where random ones are written, to stay there; NULL: a temporary file */
  const int64_t *tokens; /* how many to run; NULL: 64, or fewer where rounding leaves none of these to compare */
  uint64_t seed; /* of random weights and of the inputs */
  const hmoe_options *open; /* how weights are opened, every time; cpu does not count. NULL: as by default */
  void (*print)(void *context, const char *text, size_t bytes);
  void *print_context;
  int complete; /* not 0: an error too when something is left out, or an output has no value but zeros to compare */
} hmoec_check_options;

/* Runs a model's compiled code and the reference interpreter on the same random inputs, and prints how far they are apart: with every strategy
 * that is possible, or the one that is asked for, and on every code version that this machine runs, or the `cpu` of the options. HMOEC_INPUT_ERROR,
 * after a message, when they differ by more than rounding, or when nothing is left to compare. What is left out, as ties of routing, is printed
 * and counted; bf16 is compared with an interpreter that rounds as compiled code does, and with the one in double precision. options and check
 * may be NULL. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_check(const char *path, const hmoec_options *options, const hmoec_check_options *check);

typedef struct hmoec_explain_options {
  size_t struct_size;
  const int64_t *tokens; /* of every batch row; NULL: 512 */
  int64_t rows; /* batch rows; 0: 1 */
  void (*print)(void *context, const char *text, size_t bytes);
  void *print_context;
  int64_t threads; /* that times are predicted for; 0: those of the machine */
} hmoec_explain_options;

/* Prints what a run of a model costs and what the compiler chose, op by op, with the numbers behind each choice, and how long each step of it takes by a
 * model of the machine (docs/tuning.md). options and explain may be NULL; tokens of the options does not count. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_explain(const char *path, const hmoec_options *options,
                                                  const hmoec_explain_options *explain);

/* ---- trials: how fast a model is with other values of knobs ----
 *
 * What `hmoec tune` is made of. A trial is a model that is compiled, opened and given random inputs; its knobs are what may be set otherwise without changing
 * a result: of the steps that run some kernel, or of all code of the object. Not thread-safe; a run uses the trial's own threads. */

typedef struct hmoec_trial hmoec_trial;

typedef struct hmoec_trial_options {
  size_t struct_size;
  const char *weights; /* a path; NULL: random ones */
  const char *packed; /* a .hmw file of these weights: opened where it is there, and made where it is not; NULL: none is kept */
  const char *entry; /* what is run; NULL: "forward" of a whole model, or else the first */
  uint32_t threads; /* 0: as many as this process may use */
  uint64_t seed; /* of random weights and of the inputs */
} hmoec_trial_options;

/* Text is the trial's. */
typedef struct hmoec_trial_knob {
  const char *kernel; /* that steps run whose knob it is; NULL: the knob is the object's */
  const char *name; /* "choose.percent" */
  int64_t value; /* what it is where nothing else is said */
  const int64_t *tried; /* other values, tried_count of them */
  size_t tried_count;
  int64_t rows_per_token; /* of the steps; 0: of the object, or where rows do not follow from tokens alone */
} hmoec_trial_knob;

/* Compiles and opens a model. The texts of options are borrowed as long as the trial lives. Destroyed by hmoec_trial_destroy. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_trial_create(const char *path, const hmoec_options *options,
                                                       const hmoec_trial_options *trial_options, hmoec_trial **out_trial);
HMOE_API void hmoec_trial_destroy(hmoec_trial *trial);

/* Knob number `index`; 0 behind the last. */
HMOE_API int hmoec_trial_knob_at(const hmoec_trial *trial, size_t index, hmoec_trial_knob *out_knob);

/* What measurements on this machine are known by. Text is static, or the trial's. */
typedef struct hmoec_trial_machine {
  const char *target, *version, *format;
  uint32_t threads;
  uint64_t cache_bytes[3];
  char object[32]; /* in the place of a kernel, where knobs are the object's */
} hmoec_trial_machine;
HMOE_API void hmoec_trial_machine_of(const hmoec_trial *trial, hmoec_trial_machine *out_machine);

/* What a run takes by the model of times (docs/tuning.md), as otherwise, in seconds; *out_bound: what the machine's arithmetic and memory leave it at least. 0, both: nobody
 * knows. Returns whether a search may find something: 0 where the time is near its bound. */
HMOE_API int hmoec_trial_predict(const hmoec_trial *trial, int64_t tokens, double *out_seconds, double *out_bound);

/* Runs the model again and again for so many seconds, with a pause of `pause` seconds before every run, and gives the median time of a run. values: one for
 * each knob; NULL: as they are otherwise. tokens: of one batch row. */
HMOE_MUST_USE HMOE_API hmoec_status hmoec_trial_run(hmoec_trial *trial, const int64_t *values, int64_t tokens, double seconds,
                                                    double pause, double *out_seconds);

#ifdef __cplusplus
}
#endif
#endif
