/* What the files of the CPU code generator share: the CPU versions, the emitter, and one entry point a kernel family.
 *
 * hmoec_cpu_generate (codegen.c) checks the unit, opens one llvm.func for each kernel and version and has the family fill it:
 *   matmul.c  ffn.c      on product.c, microkernel.c and epilogue.c
 *   attention.c (ATTENTION, STORE)      on product.c, microkernel.c and math.c
 *   route.c  rows.c (COMBINE, ROWS, EMBED)  norm.c  hyper.c (SELECT, CONTRACT)      on math.c
 *   object.c  function tables, the plan, NAME_object      versions.c  names, features
 * The target's table is in target.c, with its layouts and knobs; place.c gives kernels their schedules. */
#ifndef HMOEC_CODEGEN_CPU_EMIT_H
#define HMOEC_CODEGEN_CPU_EMIT_H

#include <llvm-c/Types.h>

#include "target/code/ir.h"
#include "target/cpu/codegen.h"

typedef struct hmoec_cpu_version {
  const char *name;     /* in symbols */
  int64_t lanes;
  bool has_fma, has_bf16;
  const char *features; /* beyond plain x86-64; what the runtime tests before it picks the version */
} hmoec_cpu_version;
extern const hmoec_cpu_version hmoec_cpu_versions[HMOE_CPU_COUNT];

/* Entries of the target's table (versions.c). */
extern const char *const hmoec_cpu_processors[];
hmoec_code_version hmoec_cpu_version_at(size_t number);
const char *hmoec_cpu_version_lacks(size_t number);
void hmoec_cpu_initialise(void);
bool hmoec_cpu_generate_unit(MlirContext context, const struct hmoec_unit *unit, uint32_t versions, const char *processor,
                             hmoec_output form, hmoec_diagnostics *diagnostics, char **out_bytes, size_t *out_size);

typedef struct hmoec_cpu_emitter {
  ir_builder ir;
  const hmoec_cpu_unit *unit;
  unsigned version;         /* HMOE_CPU_* */
  MlirBlock module_body;
  MlirAttribute attributes; /* of every function of the version */
} hmoec_cpu_emitter;

/* What every kernel starts from: its arguments and the fields of the call (task.c). */
typedef struct hmoec_cpu_task {
  MlirValue buffers, rows, splits, first_block, dims, task, scratch;
} hmoec_cpu_task;
/* For kernels of one version in a module, to which the unit's names, functions and processor belong. False with an error. */
bool hmoec_cpu_emitter_init(hmoec_cpu_emitter *e, MlirModule module, const hmoec_cpu_unit *unit, unsigned version,
                            hmoec_diagnostics *diagnostics);
/* A kernel's function; what is built next is its body, up to ir_function_end. */
void hmoec_cpu_function_begin(hmoec_cpu_emitter *e, const char *name, hmoec_cpu_task *out_task);
/* Those that code is made of. */
bool hmoec_cpu_load_dialects(MlirContext context, hmoec_diagnostics *diagnostics);
MlirValue hmoec_cpu_binding(hmoec_cpu_emitter *e, const hmoec_cpu_task *task, int64_t number);
/* call.dims[number]; for steps that name so many. */
MlirValue hmoec_cpu_dim(hmoec_cpu_emitter *e, const hmoec_cpu_task *task, int64_t number);
/* The task's rows of a ROWS or DENSE grid: [*out_begin, *out_end). */
void hmoec_cpu_row_range(hmoec_cpu_emitter *e, const hmoec_cpu_task *task, MlirValue block, int64_t row_block, MlirValue *out_begin,
                         MlirValue *out_end);
/* base + row * ld, in floats (or i32). */
MlirValue hmoec_cpu_row(hmoec_cpu_emitter *e, MlirValue base, MlirValue row, int64_t ld);
/* The same, in elements of a type. */
MlirValue hmoec_cpu_row_of(hmoec_cpu_emitter *e, MlirValue base, MlirType element, MlirValue row, int64_t ld);
/* index[i] as i64, index an i32 buffer. */
MlirValue hmoec_cpu_index(hmoec_cpu_emitter *e, MlirValue index, MlirValue i);

void hmoec_cpu_emit_matmul(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_task *task);
void hmoec_cpu_emit_ffn(hmoec_cpu_emitter *e, const hmoec_ffn_spec *spec, const hmoec_cpu_task *task);
uint64_t hmoec_cpu_ffn_scratch_bytes(const hmoec_cpu_schedule *schedule, const hmoec_ffn_spec *spec);
void hmoec_cpu_emit_route(hmoec_cpu_emitter *e, const hmoec_route_spec *spec, const hmoec_cpu_task *task);
void hmoec_cpu_emit_combine(hmoec_cpu_emitter *e, const hmoec_combine_spec *spec, const hmoec_cpu_task *task);
void hmoec_cpu_emit_select(hmoec_cpu_emitter *e, const hmoec_select_spec *spec, const hmoec_cpu_task *task);
void hmoec_cpu_emit_contract(hmoec_cpu_emitter *e, const hmoec_contract_spec *spec, const hmoec_cpu_task *task);
void hmoec_cpu_emit_rows(hmoec_cpu_emitter *e, const hmoec_rows_spec *spec, const hmoec_cpu_task *task);
void hmoec_cpu_emit_norm(hmoec_cpu_emitter *e, const hmoec_norm_spec *spec, const hmoec_cpu_task *task);
void hmoec_cpu_emit_embed(hmoec_cpu_emitter *e, const hmoec_embed_spec *spec, const hmoec_cpu_task *task);
/* Keys that a row of queries meets at one time. */
enum { HMOEC_KEY_BLOCK = 128 };
void hmoec_cpu_emit_attention(hmoec_cpu_emitter *e, const hmoec_attention_spec *spec, const hmoec_cpu_task *task);
uint64_t hmoec_cpu_attention_scratch_bytes(const hmoec_cpu_schedule *schedule, const hmoec_attention_spec *spec);
void hmoec_cpu_emit_store(hmoec_cpu_emitter *e, const hmoec_store_spec *spec, const hmoec_cpu_task *task);

/* Panels of C, and of those the first ones that a paired product has two of B for: one of gates, then one of ups. */
static inline int64_t hmoec_cpu_panels(const hmoec_matmul_spec *spec) { return (spec->n + HMOE_PANEL - 1) / HMOE_PANEL; }
static inline int64_t hmoec_cpu_paired_panels(const hmoec_matmul_spec *spec) {
  return spec->paired ? (spec->segment[0].end + HMOE_PANEL - 1) / HMOE_PANEL : 0;
}

/* ---- norms of rows (norm.c) ---- */

typedef struct hmoec_cpu_norm {
  hmoec_norm kind; /* not NONE */
  int64_t n;
  float epsilon, scale;
  bool to_bf16;
  MlirValue weight, bias; /* f32 [n]; bias of layer norms */
} hmoec_cpu_norm;
/* to[0:n) = norm(from[0:n)), from f32. They may be the same. */
void hmoec_cpu_emit_normalised(hmoec_cpu_emitter *e, const hmoec_cpu_norm *norm, MlirValue from, MlirValue to);

/* ---- scratch: a product tile, then the copied rows of A; other families use it as they like, up to hmoec_cpu_scratch_bytes ---- */
enum { HMOEC_TILE_ROWS = 32, HMOEC_TILE_BYTES = HMOEC_TILE_ROWS * HMOE_PANEL * 4, HMOEC_SLACK_ROWS = 16 };
/* Of a product: a paired one has a tile of gates and one of ups. */
static inline int64_t hmoec_cpu_tile_bytes(const hmoec_matmul_spec *spec) { return (spec->paired ? 2 : 1) * HMOEC_TILE_BYTES; }

/* ---- micro-kernels (microkernel.c) ---- */

/* Narrow: f32 products of at most 16 columns (routers), no pairs, which compute half of their only panel. */
typedef enum hmoec_cpu_tile_kind { HMOEC_TILE_F32, HMOEC_TILE_BF16, HMOEC_TILE_NARROW, HMOEC_TILE_KINDS } hmoec_cpu_tile_kind;
enum { HMOEC_NARROW_COLUMNS = 16 };
hmoec_cpu_tile_kind hmoec_cpu_tile_kind_of(const hmoec_matmul_spec *spec);
hmoec_cpu_tile_kind hmoec_cpu_ffn_tile_kind(const hmoec_ffn_spec *spec); /* one for both products, however narrow */

/* Row counts with a micro-kernel of their own, ascending; the last is the schedule's tile, or AMX's. */
enum { HMOEC_MAX_TILES = HMOEC_TILE_ROWS };
size_t hmoec_cpu_tiles(const hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind, int64_t out_rows[HMOEC_MAX_TILES]);
/* Panels that the micro-kernel of so many rows computes at once, a power of two. It takes any number of them: what is left is computed by half as many
 * at once, and so on. */
enum { HMOEC_MOST_PANELS = 4, HMOEC_TILE_ARGUMENTS = 9 };
int64_t hmoec_cpu_tile_panels(const hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind, int64_t rows);
void hmoec_cpu_emit_microkernels(hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind);
void hmoec_cpu_tile_name(const hmoec_cpu_emitter *e, hmoec_cpu_tile_kind kind, int64_t rows, char *out_name, size_t size);
/* Around the products of a task: AMX's tile registers are configured, and given back. */
void hmoec_cpu_tiles_begin(hmoec_cpu_emitter *e, bool bf16);
void hmoec_cpu_tiles_end(hmoec_cpu_emitter *e, bool bf16);

/* ---- epilogue (epilogue.c) ---- */

typedef struct hmoec_cpu_epilogue {
  MlirValue c, scatter, bias, row_gate, gated_bias, pass, pass_index; /* buffers; bias and gated_bias at the group's row */
  MlirValue dropped; /* i1 */
} hmoec_cpu_epilogue;
/* Writes rows [row, row + rows) of one panel from a tile of row stride HMOE_PANEL; of a paired product's first segment from two, one of gates and
 * one of ups, which is null for other panels. */
void hmoec_cpu_emit_epilogue(hmoec_cpu_emitter *e, const hmoec_matmul_spec *spec, const hmoec_cpu_epilogue *buffers, MlirValue tile,
                             MlirValue ups, MlirValue row, MlirValue rows, MlirValue panel);

/* ---- lowering (codegen.c, target/code/lower.h) and the object (object.c) ---- */

/* Lowers `module`, kernels of a unit, in place, and emits it; see hmoec_cpu_generate. */
bool hmoec_cpu_lower(MlirModule module, const hmoec_cpu_unit *unit, hmoec_output form, hmoec_diagnostics *diagnostics,
                     char **out_bytes, size_t *out_size);

/* Adds tables, plan and NAME_object to the translated module. */
bool hmoec_cpu_add_object(LLVMModuleRef module, const hmoec_cpu_unit *unit, hmoec_diagnostics *diagnostics);
/* NAME_FAMILY<index>_<version>. False if the name is too long for `size`. */
bool hmoec_cpu_kernel_name(const hmoec_cpu_unit *unit, size_t kernel, unsigned version, char *out_name, size_t size);

#endif
