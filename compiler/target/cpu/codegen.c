/* The whole generator, top to bottom: check the unit, build one MLIR module, lower it. */
#include "target/cpu/codegen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mlir-c/BuiltinAttributes.h>

#include "ir/context.h"
#include "target/code/lower.h"
#include "target/code/math.h"
#include "target/cpu/emit.h"

enum { SCRATCH_LEAST_BYTES = 64 * 1024, NAME_SIZE = 256 };

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

static uint64_t kernel_scratch_bytes(const hmoec_cpu_schedule *schedule, const hmoec_kernel *kernel) {
  uint64_t rows = (uint64_t)(schedule->row_block + HMOEC_SLACK_ROWS);
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL:
    return (uint64_t)hmoec_cpu_tile_bytes(&kernel->spec.matmul) +
           (uint64_t)(kernel->spec.matmul.row_block + HMOEC_SLACK_ROWS) *
               (hmoec_is_bf16(kernel->spec.matmul.format) ? 2 * (uint64_t)schedule->lda_bf16 : 4 * (uint64_t)schedule->lda);
  case HMOEC_KERNEL_FFN: return hmoec_cpu_ffn_scratch_bytes(schedule, &kernel->spec.ffn);
  case HMOEC_KERNEL_ATTENTION: return hmoec_cpu_attention_scratch_bytes(schedule, &kernel->spec.attention);
  /* Besides copied rows: a row of logits and what is made of it, a mark for every expert. */
  case HMOEC_KERNEL_ROUTE: return larger(rows * (uint64_t)schedule->lda, 2 * ((uint64_t)kernel->spec.route.experts + 16)) * 4;
  case HMOEC_KERNEL_SELECT: return larger(rows * (uint64_t)schedule->lda, (uint64_t)kernel->spec.select.experts + 1) * 4;
  default: return rows * (uint64_t)schedule->lda * 4;
  }
}

uint64_t hmoec_cpu_scratch_bytes(const hmoec_cpu_schedule *schedule, const hmoec_kernel *kernels, size_t kernel_count) {
  uint64_t most = SCRATCH_LEAST_BYTES;
  for (size_t i = 0; i < kernel_count; i++) {
    uint64_t bytes = kernel_scratch_bytes(schedule, &kernels[i]);
    if (bytes > most) most = bytes;
  }
  return most;
}

bool hmoec_cpu_kernel_name(const hmoec_cpu_unit *unit, size_t kernel, unsigned version, char *out_name, size_t size) {
  int written = snprintf(out_name, size, "%s_%s%zu_%s", unit->name, hmoec_family_name(unit->kernels[kernel].family), kernel,
                         hmoec_cpu_versions[version].name);
  return written > 0 && (size_t)written < size;
}

/* ---- checks: descriptions come from the planner, so a violation is our own bug, but must not become a wrong kernel ---- */

static bool internal(hmoec_diagnostics *diagnostics, const char *what) {
  return hmoec_error(diagnostics, (hmoec_location){0}, "internal error in the CPU code generator: %s", what);
}

/* Arguments of an activation; 0: there is none of that number. */
static size_t arity_of(const hmoec_scalar_library *functions, hmoec_activation activation) {
  if (activation >= 0 && activation < HMOEC_ACTIVATION_COUNT) return 1;
  const hmoec_scalar_program *function = hmoec_activation_function(functions, activation);
  return function ? function->argument_count : 0;
}

static const char *matmul_defect(const hmoec_matmul_spec *s, const hmoec_cpu_schedule *schedule,
                                 const hmoec_scalar_library *functions) {
  int64_t panels = hmoec_cpu_panels(s), lda = hmoec_is_bf16(s->format) ? schedule->lda_bf16 : schedule->lda;
  if (s->a_stride < s->k || s->c_stride < s->n) return "matmul: shape and strides disagree";
  if (s->c_padded && s->c_stride < panels * HMOE_PANEL) return "matmul: no room for whole panels in C";
  if (s->k > lda) return "matmul: product deeper than the schedule's row stride";
  if (s->a_in_place && (s->a_stride != lda || s->has_gather || hmoec_is_bf16(s->a_format) != hmoec_is_bf16(s->format)))
    return "matmul: operand in place with another row stride or type, or gathered";
  if ((hmoec_is_bf16(s->a_format) && !hmoec_is_bf16(s->format)) || (hmoec_is_bf16(s->c_format) && s->accumulate))
    return "matmul: bf16 rows where they cannot be";
  if (s->row_block > schedule->row_block && s->row_block > schedule->row_block_bf16) return "matmul: row block out of range";
  if (s->segment[s->segments - 1].end != s->n) return "matmul: segments do not end at the last column";
  if (s->segments == 2 && (s->segment[0].end < 1 || s->segment[0].end > (panels - 1) * HMOE_PANEL)) return "matmul: empty segment";
  if (s->segments == 2 && s->segment[0].end % HMOE_PANEL != 0 && !s->c_padded) return "matmul: a segment inside a panel of C";
  for (int64_t i = 0; i < s->segments; i++) {
    size_t arity = arity_of(functions, s->segment[i].activation);
    bool is_pair = s->paired && i == 0;
    if (is_pair && s->segment[i].multiply) return "matmul: a pair multiplies what C holds";
    if (arity == 2 && !s->segment[i].multiply && !is_pair) return "matmul: a function of two arguments without the second";
    if (s->segment[i].gated && !s->has_row_gate) return "matmul: gated segment without gates";
    if (s->segment[i].multiply && s->accumulate) return "matmul: C is both added to and multiplied";
  }
  if ((s->has_gated_bias || s->has_pass) && !s->has_row_gate) return "matmul: gated bias or pass without gates";
  if (s->has_pass && !s->grouped) return "matmul: pass without groups";
  if (s->dropped_bare &&
      (!s->grouped || s->has_pass || (!s->has_gated_bias && !s->segment[0].gated && !s->segment[s->segments - 1].gated)))
    return "matmul: nothing that a dropped row could go without";
  if (s->grouped && s->dropped_k_begin > s->k) return "matmul: dropped part out of range";
  if (s->grouped && hmoec_is_bf16(s->format) && s->dropped_k_begin % HMOE_PANEL != 0 && s->dropped_k_begin != s->k)
    return "matmul: dropped part inside a word";
  if (s->norm != HMOEC_NORM_NONE && (s->grouped || hmoec_is_bf16(s->a_format) || s->a_in_place))
    return "matmul: rows that cannot be normalised";
  if (s->grouped && s->b_group_bytes % 4 != 0) return "matmul: group stride is not a multiple of 4";
  return NULL;
}

static bool multiplies(const hmoec_matmul_spec *s) {
  return s->segment[0].multiply || (s->segments == 2 && s->segment[1].multiply);
}

static const char *ffn_defect(const hmoec_ffn_spec *s, const hmoec_cpu_schedule *schedule, const hmoec_scalar_library *functions) {
  const hmoec_matmul_spec *first = &s->first, *second = &s->second;
  const char *defect = matmul_defect(first, schedule, functions);
  if (!defect) defect = matmul_defect(second, schedule, functions);
  if (defect) return defect;
  int64_t hidden = hmoec_cpu_panels(first) * HMOE_PANEL;
  if (first->grouped != second->grouped || hmoec_is_bf16(first->format) != hmoec_is_bf16(second->format) ||
      first->row_block != second->row_block)
    return "ffn: two products of different blocks";
  if (second->k > hidden || second->k <= hidden - HMOE_PANEL) return "ffn: the second product is not as deep as the first is wide";
  if (hmoec_is_bf16(first->c_format) != hmoec_is_bf16(first->format) || !first->c_padded || !second->a_in_place ||
      second->has_gather)
    return "ffn: the hidden block is not in place";
  if (first->has_scatter || first->has_pass || first->has_gated_bias || first->accumulate)
    return "ffn: the first product writes more than the hidden block";
  if (multiplies(first) || multiplies(second)) return "ffn: a product multiplies what C holds";
  if (second->paired) return "ffn: the second product is paired";
  bool nothing = first->dropped_column == hidden && second->dropped_k_begin == second->k;
  if (first->grouped && !nothing && first->dropped_column != second->dropped_k_begin)
    return "ffn: dropped parts of the two products disagree";
  return NULL;
}

static const char *attention_defect(const hmoec_attention_spec *s, const hmoec_cpu_schedule *schedule) {
  int64_t columns = s->heads * s->head_size, padded = (columns + HMOE_PANEL - 1) / HMOE_PANEL * HMOE_PANEL;
  if (s->ld_q < columns || s->ld_out < padded) return "attention: shape and strides disagree";
  if (s->head_size > schedule->lda || schedule->lda < HMOEC_KEY_BLOCK)
    return "attention: product deeper than the schedule's row stride";
  if (s->query_block > schedule->row_block) return "attention: query block out of range";
  if (s->has_bias && (s->bias_zero < s->max_distance + HMOE_PANEL || s->bias_ld < s->bias_zero + s->max_distance + HMOE_PANEL + 1))
    return "attention: bias of too few differences";
  return NULL;
}

/* What is wrong with a kernel's description, or NULL. `scratch` in floats. */
static const char *kernel_defect(const hmoec_kernel *kernel, const hmoec_cpu_schedule *schedule,
                                 const hmoec_scalar_library *functions) {
  int64_t scratch = (int64_t)hmoec_cpu_scratch_bytes(schedule, kernel, 1) / 4;
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL: return matmul_defect(&kernel->spec.matmul, schedule, functions);
  case HMOEC_KERNEL_ROUTE: {
    const hmoec_route_spec *s = &kernel->spec.route;
    if (s->top_k > s->experts || s->ldl < s->experts) return "route: shape";
    if (arity_of(functions, s->score) != 1) return "route: a score of two arguments";
    if ((s->score != HMOEC_ACTIVATION_NONE || s->renorm) && s->gate != HMOEC_GATE_SCORE) return "route: a softmax of scores";
    return 2 * (s->experts + 16) > scratch ? "route: more experts than scratch holds" : NULL;
  }
  case HMOEC_KERNEL_COMBINE: {
    const hmoec_combine_spec *s = &kernel->spec.combine;
    return s->ld_slots < s->n || s->ld_y < s->n ? "combine: shape" : NULL;
  }
  case HMOEC_KERNEL_SELECT: {
    const hmoec_select_spec *s = &kernel->spec.select;
    if (s->ld_out < s->embedding) return "select: shape";
    return s->experts + 1 > scratch ? "select: more experts than scratch holds" : NULL;
  }
  case HMOEC_KERNEL_CONTRACT: {
    const hmoec_contract_spec *s = &kernel->spec.contract;
    if (s->step != HMOE_PANEL) return "contract: columns of another layout";
    if (s->ldr < s->hidden || s->ldv < s->bottleneck * (s->hidden + 1)) return "contract: shape";
    return s->hidden + 1 + s->bottleneck > scratch ? "contract: scratch too small" : NULL;
  }
  case HMOEC_KERNEL_ROWS: {
    const hmoec_rows_spec *s = &kernel->spec.rows;
    if (arity_of(functions, s->activation) != 1) return "rows: an activation of two arguments";
    bool copies = s->activation == HMOEC_ACTIVATION_NONE && s->scale == 1 && !s->has_factor && !s->accumulate;
    if (s->in_step > 1 && !copies) return "rows: columns apart that are not copied as they are";
    if (s->has_factor && s->ld_factor > 0 && s->ld_factor < (s->factor_columns ? s->n : 1)) return "rows: shape of the factor";
    return (s->ld_in > 0 && (s->ld_in - 1) / s->in_step < s->n - 1) || s->ld_out - s->padding < s->n ? "rows: shape" : NULL;
  }
  case HMOEC_KERNEL_FFN: return ffn_defect(&kernel->spec.ffn, schedule, functions);
  case HMOEC_KERNEL_NORM: {
    const hmoec_norm_spec *s = &kernel->spec.norm;
    if (s->kind == HMOEC_NORM_NONE) return "norm: none";
    return s->ld_x < s->n || s->ld_out < s->n ? "norm: shape" : NULL;
  }
  case HMOEC_KERNEL_EMBED: return kernel->spec.embed.ld_out < kernel->spec.embed.n ? "embed: shape" : NULL;
  case HMOEC_KERNEL_STORE: {
    const hmoec_store_spec *s = &kernel->spec.store;
    return s->ld_k < s->heads * s->head_size || s->ld_v < s->heads * s->head_size ? "store: shape and strides disagree" : NULL;
  }
  case HMOEC_KERNEL_ATTENTION: return attention_defect(&kernel->spec.attention, schedule);
  case HMOEC_KERNEL_PACK_ROWS: return "pack_rows: products here read any rows";
  case HMOEC_KERNEL_FAMILY_COUNT: break;
  }
  return "unknown kernel family";
}

static bool tile_fits(unsigned version, int64_t rows, int64_t vectors) {
  int64_t columns = vectors * hmoec_cpu_versions[version].lanes;
  return rows >= 1 && rows <= HMOEC_TILE_ROWS && vectors >= 1 && columns <= HMOE_PANEL && HMOE_PANEL % columns == 0 &&
         rows * vectors >= 8 && rows * vectors <= IR_LOOP_ARGS;
}

static const char *schedule_defect(const hmoec_cpu_schedule *schedule, uint32_t versions) {
  if (schedule->lda < 16 || schedule->lda % 16 != 0 || schedule->lda_bf16 < 32 || schedule->lda_bf16 % 32 != 0)
    return "schedule: row stride";
  if (schedule->row_block < 1 || schedule->row_block_bf16 < 1) return "schedule: row block";
  for (unsigned v = 0; v < HMOE_CPU_COUNT; v++)
    if (versions & (1u << v) && (!tile_fits(v, schedule->tile_rows[v], schedule->tile_vectors[v]) ||
                                 !tile_fits(v, schedule->tile_rows_bf16[v], schedule->tile_vectors_bf16[v])))
      return "schedule: register tile";
  return NULL;
}

static bool check_unit(const hmoec_cpu_unit *unit, hmoec_diagnostics *diagnostics) {
  const char *defect = schedule_defect(&unit->schedule, unit->versions);
  if (defect) return internal(diagnostics, defect);
  if (!unit->name || strlen(unit->name) > NAME_SIZE / 2) return internal(diagnostics, "model name missing or too long");
  if (unit->versions == 0 || unit->versions >> HMOE_CPU_COUNT) return internal(diagnostics, "no CPU version, or an unknown one");
  for (size_t i = 0; i < unit->kernel_count - unit->foreign_kernels; i++) {
    char field[HMOEC_KERNEL_CHARS], text[HMOEC_KERNEL_CHARS];
    defect = hmoec_kernel_field_defect(&unit->kernels[i], unit->functions, field);
    if (!defect) defect = kernel_defect(&unit->kernels[i], &unit->schedule, unit->functions);
    if (defect)
      return hmoec_error(diagnostics, (hmoec_location){0}, "internal error in the CPU code generator: %s (%s)", defect,
                         hmoec_kernel_print(&unit->kernels[i], unit->functions, text));
  }
  return true;
}

/* ---- the module ---- */

void hmoec_cpu_function_begin(hmoec_cpu_emitter *e, const char *name, hmoec_cpu_task *out_task) {
  ir_builder *ir = &e->ir;
  MlirType types[3] = {ir->ptr, ir->i64, ir->ptr};
  MlirValue arguments[3];
  ir_function_begin(ir, e->module_body, name, 3, types, e->attributes, arguments);
  MlirValue call = arguments[0];
  *out_task = (hmoec_cpu_task){
      .buffers = ir_load(ir, ir->ptr, call, 8),
      .rows = ir_load(ir, ir->i64, ir_at_constant(ir, call, ir->i64, offsetof(hmoe_kernel_call, rows) / 8), 8),
      .splits = ir_load(ir, ir->i64, ir_at_constant(ir, call, ir->i64, offsetof(hmoe_kernel_call, splits) / 8), 8),
      .first_block = ir_load(ir, ir->i64, ir_at_constant(ir, call, ir->i64, offsetof(hmoe_kernel_call, first_block) / 8), 8),
      .dims = ir_load(ir, ir->ptr, ir_at_constant(ir, call, ir->i64, offsetof(hmoe_kernel_call, dims) / 8), 8),
      .task = arguments[1],
      .scratch = arguments[2],
  };
}

static void emit_kernel(hmoec_cpu_emitter *e, const hmoec_kernel *kernel, const char *name) {
  hmoec_cpu_task task;
  hmoec_cpu_function_begin(e, name, &task);
  switch (kernel->family) {
  case HMOEC_KERNEL_MATMUL: hmoec_cpu_emit_matmul(e, &kernel->spec.matmul, &task); break;
  case HMOEC_KERNEL_ROUTE: hmoec_cpu_emit_route(e, &kernel->spec.route, &task); break;
  case HMOEC_KERNEL_COMBINE: hmoec_cpu_emit_combine(e, &kernel->spec.combine, &task); break;
  case HMOEC_KERNEL_SELECT: hmoec_cpu_emit_select(e, &kernel->spec.select, &task); break;
  case HMOEC_KERNEL_CONTRACT: hmoec_cpu_emit_contract(e, &kernel->spec.contract, &task); break;
  case HMOEC_KERNEL_ROWS: hmoec_cpu_emit_rows(e, &kernel->spec.rows, &task); break;
  case HMOEC_KERNEL_FFN: hmoec_cpu_emit_ffn(e, &kernel->spec.ffn, &task); break;
  case HMOEC_KERNEL_NORM: hmoec_cpu_emit_norm(e, &kernel->spec.norm, &task); break;
  case HMOEC_KERNEL_EMBED: hmoec_cpu_emit_embed(e, &kernel->spec.embed, &task); break;
  case HMOEC_KERNEL_STORE: hmoec_cpu_emit_store(e, &kernel->spec.store, &task); break;
  case HMOEC_KERNEL_ATTENTION: hmoec_cpu_emit_attention(e, &kernel->spec.attention, &task); break;
  case HMOEC_KERNEL_PACK_ROWS:
  case HMOEC_KERNEL_FAMILY_COUNT: e->ir.failed = true; break;
  }
  ir_function_end(&e->ir);
}

/* Function attributes of a version. -mcpu chooses how code is scheduled, never which instructions a version may use. Functions keep a frame pointer: on
 * Intel's processors a stream that is read by rbp comes slower from memory than by any other register (weights of bf16 products of a row by 12 %). */
static MlirAttribute version_attributes(MlirContext context, unsigned version, const char *mcpu) {
  char written[512];
  const hmoec_cpu_version *v = &hmoec_cpu_versions[version];
  int size = snprintf(written, sizeof written,
                      "[\"nounwind\", [\"target-cpu\", \"x86-64\"], [\"target-features\", \"%s\"], [\"tune-cpu\", \"%s\"], "
                      "[\"prefer-vector-width\", \"%d\"], [\"frame-pointer\", \"all\"]]",
                      v->features, mcpu ? mcpu : "generic", (int)v->lanes * 32);
  if (size < 0 || (size_t)size >= sizeof written) return mlirAttributeGetNull();
  return mlirAttributeParseGet(context, mlirStringRefCreateFromCString(written));
}

static const ir_bf16 bf16_instructions = {.round = "llvm.x86.avx512bf16.cvtneps2bf16.512",
                                          .dot = "llvm.x86.avx512bf16.dpbf16ps.512"};

bool hmoec_cpu_emitter_init(hmoec_cpu_emitter *e, MlirModule module, const hmoec_cpu_unit *unit, unsigned version,
                            hmoec_diagnostics *diagnostics) {
  MlirContext context = mlirModuleGetContext(module);
  *e = (hmoec_cpu_emitter){.unit = unit, .version = version, .module_body = mlirModuleGetBody(module)};
  e->attributes = version_attributes(context, version, unit->mcpu);
  if (mlirAttributeIsNull(e->attributes)) return internal(diagnostics, "function attributes");
  const hmoec_cpu_version *v = &hmoec_cpu_versions[version];
  ir_init(&e->ir, context, v->lanes, v->has_fma, v->has_bf16 ? &bf16_instructions : NULL);
  e->ir.functions = unit->functions;
  e->ir.version = hmoec_cpu_versions[version].name;
  return true;
}

static bool emit_version(MlirModule module, const hmoec_cpu_unit *unit, unsigned version, hmoec_diagnostics *diagnostics) {
  hmoec_cpu_emitter e;
  if (!hmoec_cpu_emitter_init(&e, module, unit, version, diagnostics)) return false;
  bool used[HMOEC_TILE_KINDS] = {false};
  for (size_t i = 0; i < unit->kernel_count - unit->foreign_kernels; i++) {
    const hmoec_kernel *kernel = &unit->kernels[i];
    if (kernel->family == HMOEC_KERNEL_MATMUL) used[hmoec_cpu_tile_kind_of(&kernel->spec.matmul)] = true;
    if (kernel->family == HMOEC_KERNEL_ATTENTION) used[HMOEC_TILE_F32] = true;
    if (kernel->family == HMOEC_KERNEL_FFN) used[hmoec_cpu_ffn_tile_kind(&kernel->spec.ffn)] = true;
  }
  for (int kind = 0; kind < HMOEC_TILE_KINDS; kind++)
    if (used[kind]) hmoec_cpu_emit_microkernels(&e, (hmoec_cpu_tile_kind)kind);
  for (size_t i = 0; i < unit->kernel_count - unit->foreign_kernels; i++) {
    char name[NAME_SIZE];
    if (!hmoec_cpu_kernel_name(unit, i, version, name, sizeof name)) return internal(diagnostics, "kernel name too long");
    emit_kernel(&e, &unit->kernels[i], name);
  }
  return e.ir.failed ? internal(diagnostics, "an operation could not be built") : true;
}

bool hmoec_cpu_load_dialects(MlirContext context, hmoec_diagnostics *diagnostics) {
  static const char *const names[] = {"llvm", "scf", "arith", "vector", "cf"};
  hmoec_context_add_upstream(context);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (mlirDialectIsNull(mlirContextGetOrLoadDialect(context, mlirStringRefCreateFromCString(names[i]))))
      return internal(diagnostics, "an upstream dialect is not registered");
  return true;
}

/* Kernels come fully tiled and vectorised, so that LLVM is asked only to clean up and to select instructions: no vectoriser, no unrolling, no inlining
 * (which would have to respect the versions' features). */
static const hmoec_code_machine machine = {
    .called = "CPU",
    .triple = "x86_64-pc-linux-gnu",
    .processor = "x86-64",
    .features = "",
    .llvm_passes = "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),early-cse)",
    .level = LLVMCodeGenLevelDefault,
    .relocation = LLVMRelocPIC,
    .model = LLVMCodeModelSmall,
};

static bool add_object(LLVMModuleRef module, const void *unit, hmoec_diagnostics *diagnostics) {
  return hmoec_cpu_add_object(module, unit, diagnostics);
}

bool hmoec_cpu_lower(MlirModule module, const hmoec_cpu_unit *unit, hmoec_output form, hmoec_diagnostics *diagnostics,
                     char **out_bytes, size_t *out_size) {
  hmoec_targets_initialise();
  return hmoec_code_lower(module, &machine, unit->name, add_object, unit, form, diagnostics, out_bytes, out_size);
}

bool hmoec_cpu_generate(MlirContext context, const hmoec_cpu_unit *unit, hmoec_output form, hmoec_diagnostics *diagnostics,
                        char **out_bytes, size_t *out_size) {
  *out_bytes = NULL;
  *out_size = 0;
  if (!check_unit(unit, diagnostics) || !hmoec_cpu_load_dialects(context, diagnostics)) return false;
  MlirModule module = mlirModuleCreateEmpty(mlirLocationUnknownGet(context));
  if (mlirModuleIsNull(module)) return internal(diagnostics, "no module");
  bool ok = true;
  for (unsigned v = 0; ok && v < HMOE_CPU_COUNT; v++)
    if (unit->versions & (1u << v)) ok = emit_version(module, unit, v, diagnostics);
  if (ok && !mlirOperationVerify(mlirModuleGetOperation(module)))
    ok = internal(diagnostics, "the generated module does not verify");
  if (ok) ok = hmoec_cpu_lower(module, unit, form, diagnostics, out_bytes, out_size);
  mlirModuleDestroy(module);
  return ok;
}
