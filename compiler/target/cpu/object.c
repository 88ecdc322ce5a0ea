/* What the runtime finds in an object: NAME_object, the one exported symbol, and what it points at.
 *
 *   NAME_plan         the plan's bytes, constant
 *   NAME_VERSION      [kernel_count] hmoe_function, constant after relocation
 *   NAME_images       [versions] hmoe_image, the least version first; then those of other targets (NAME_functionsN, NAME_codeN)
 *   NAME_object       the hmoe_model_object of include/hmoe/abi.h */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llvm-c/Core.h>

#include "emit/unit.h"
#include "target/cpu/emit.h"
#include "target/cpu/time.h"

/* Structures are built field by field below; these are what that assumes. */
_Static_assert(offsetof(hmoe_model_object, abi_version) == 0 && offsetof(hmoe_model_object, kernel_count) == 4 &&
                   offsetof(hmoe_model_object, plan) == 8 && offsetof(hmoe_model_object, plan_bytes) == 16 &&
                   offsetof(hmoe_model_object, images) == 24 && offsetof(hmoe_model_object, image_count) == 32 &&
                   sizeof(hmoe_model_object) == 40,
               "layout of hmoe_model_object");
_Static_assert(offsetof(hmoe_image, target) == 0 && offsetof(hmoe_image, version) == 8 && offsetof(hmoe_image, functions) == 16 &&
                   offsetof(hmoe_image, code) == 24 && offsetof(hmoe_image, code_bytes) == 32 &&
                   offsetof(hmoe_image, sharing) == 40 && sizeof(hmoe_sharing) == 24 && sizeof(hmoe_image) == 64,
               "layout of hmoe_image");
_Static_assert(offsetof(hmoe_function, call) == 0 && offsetof(hmoe_function, name) == 8 &&
                   offsetof(hmoe_function, scratch_bytes) == 16 && offsetof(hmoe_function, threads) == 24 &&
                   offsetof(hmoe_function, row_ps) == 32 && offsetof(hmoe_function, split_row_ps) == 48 &&
                   sizeof(hmoe_function) == 56,
               "layout of hmoe_function");
_Static_assert(offsetof(hmoe_kernel_call, rows) == 8 && offsetof(hmoe_kernel_call, splits) == 16 &&
                   offsetof(hmoe_kernel_call, first_block) == 24,
               "layout of hmoe_kernel_call");
_Static_assert(sizeof(hmoe_block) == 16 && sizeof(hmoe_blocks) == 64, "layout of a blocks buffer");

enum { NAME_SIZE = 256, PLAN_ALIGN = 64 };

static LLVMValueRef add_constant(LLVMModuleRef module, const char *unit, const char *suffix, LLVMValueRef value,
                                 LLVMLinkage linkage, unsigned align) {
  char name[NAME_SIZE];
  snprintf(name, sizeof name, "%s_%s", unit, suffix);
  LLVMValueRef global = LLVMAddGlobal(module, LLVMTypeOf(value), name);
  LLVMSetInitializer(global, value);
  LLVMSetGlobalConstant(global, true);
  LLVMSetLinkage(global, linkage);
  LLVMSetAlignment(global, align);
  return global;
}

/* What the constants below are made of. */
typedef struct table_builder {
  LLVMContextRef context;
  LLVMModuleRef module;
  const hmoec_cpu_unit *unit;
  LLVMTypeRef i32, i64, pointer;
} table_builder;

static LLVMValueRef structure(const table_builder *b, LLVMValueRef *fields, unsigned count) {
  return LLVMConstStructInContext(b->context, fields, count, false);
}

static LLVMValueRef text(const table_builder *b, const char *suffix, const char *value) {
  return add_constant(b->module, b->unit->name, suffix, LLVMConstStringInContext2(b->context, value, strlen(value), false),
                      LLVMInternalLinkage, 1);
}

static LLVMValueRef picoseconds(const table_builder *b, double seconds) {
  static const double most = 1e15; /* above a quarter of an hour nothing is decided by times */
  double ps = 1e12 * seconds;
  return LLVMConstInt(b->i64, ps < most ? (uint64_t)ps : (uint64_t)most, false);
}

enum { FUNCTION_FIELDS = 8 };

/* One hmoe_function. */
static LLVMValueRef function_entry(const table_builder *b, LLVMValueRef call, LLVMValueRef name, const hmoe_function *f,
                                   hmoec_kernel_time time) {
  LLVMValueRef fields[FUNCTION_FIELDS] = {call,
                                          name,
                                          LLVMConstInt(b->i64, f->scratch_bytes, false),
                                          LLVMConstInt(b->i32, f->threads, false),
                                          LLVMConstInt(b->i32, f->column_steps, false),
                                          picoseconds(b, time.row),
                                          picoseconds(b, time.block),
                                          picoseconds(b, time.split_row)};
  return structure(b, fields, FUNCTION_FIELDS);
}

static LLVMTypeRef function_type(const table_builder *b) {
  LLVMTypeRef types[FUNCTION_FIELDS] = {b->pointer, b->pointer, b->i64, b->i32, b->i32, b->i64, b->i64, b->i64};
  return LLVMStructTypeInContext(b->context, types, FUNCTION_FIELDS, false);
}

/* One hmoe_image. */
static LLVMValueRef image_entry(const table_builder *b, LLVMValueRef target, LLVMValueRef version, LLVMValueRef functions,
                                LLVMValueRef code, uint64_t code_bytes, hmoec_sharing_time sharing) {
  LLVMValueRef times[] = {picoseconds(b, sharing.barrier), picoseconds(b, sharing.wake), picoseconds(b, sharing.asleep)};
  LLVMValueRef fields[] = {target, version, functions, code, LLVMConstInt(b->i64, code_bytes, false), structure(b, times, 3)};
  return structure(b, fields, sizeof fields / sizeof *fields);
}

/* NAME_VERSION; NULL: a function is missing, or memory. */
static LLVMValueRef function_table(const table_builder *b, unsigned version) {
  const hmoec_cpu_unit *unit = b->unit;
  LLVMValueRef *functions = calloc(unit->kernel_count + 1, sizeof *functions), table = NULL;
  if (!functions) return NULL;
  for (size_t i = 0; i < unit->kernel_count; i++) {
    char name[NAME_SIZE];
    bool coded = i < unit->kernel_count - unit->foreign_kernels;
    if (coded && !hmoec_cpu_kernel_name(unit, i, version, name, sizeof name)) goto done;
    LLVMValueRef call = coded ? LLVMGetNamedFunction(b->module, name) : LLVMConstNull(b->pointer);
    if (!call) goto done;
    uint64_t scratch_bytes = coded ? hmoec_cpu_scratch_bytes(&unit->schedule, &unit->kernels[i], 1) : 0;
    hmoec_kernel_time time = {0};
    if (coded && unit->machine)
      time = hmoec_cpu_kernel_time(unit->machine, version, unit->knobs, &unit->kernels[i], unit->weight_bytes);
    functions[i] =
        function_entry(b, call, LLVMConstNull(b->pointer), &(hmoe_function){.scratch_bytes = scratch_bytes, .threads = 1}, time);
  }
  table = add_constant(b->module, unit->name, hmoec_cpu_versions[version].name,
                       LLVMConstArray2(function_type(b), functions, unit->kernel_count), LLVMInternalLinkage, 8);
done:
  free(functions);
  return table;
}

static LLVMValueRef name_of(const table_builder *b, unsigned image, size_t kernel, const char *name) {
  char suffix[64];
  snprintf(suffix, sizeof suffix, "name%u_%zu", image, kernel);
  return name ? text(b, suffix, name) : LLVMConstNull(b->pointer);
}

/* The hmoe_image of another target; NULL: no memory. */
static LLVMValueRef foreign_image(const table_builder *b, unsigned number) {
  const hmoec_unit_image *image = &b->unit->images[number];
  size_t count = b->unit->kernel_count;
  LLVMValueRef *functions = calloc(count + 1, sizeof *functions);
  if (!functions) return NULL;
  for (size_t i = 0; i < count; i++) {
    const hmoe_function *f = &image->functions[i];
    functions[i] = function_entry(b, LLVMConstNull(b->pointer), name_of(b, number, i, f->name), f, (hmoec_kernel_time){0});
  }
  char suffix[64];
  snprintf(suffix, sizeof suffix, "functions%u", number);
  LLVMValueRef table =
      add_constant(b->module, b->unit->name, suffix, LLVMConstArray2(function_type(b), functions, count), LLVMInternalLinkage, 8);
  free(functions);
  snprintf(suffix, sizeof suffix, "code%u", number);
  LLVMValueRef bytes = LLVMConstStringInContext2(b->context, image->code, image->code_bytes, true);
  LLVMValueRef code = add_constant(b->module, b->unit->name, suffix, bytes, LLVMInternalLinkage, PLAN_ALIGN);
  char target[64], version[64];
  snprintf(target, sizeof target, "target%u", number);
  snprintf(version, sizeof version, "version%u", number);
  return image_entry(b, text(b, target, image->target), text(b, version, image->version), table, code, image->code_bytes,
                     (hmoec_sharing_time){0});
}

/* NAME_images, a table of *out_count; NULL: a function is missing, or memory. */
static LLVMValueRef image_table(const table_builder *b, unsigned *out_count) {
  const hmoec_cpu_unit *unit = b->unit;
  LLVMValueRef *images = calloc(HMOE_CPU_COUNT + unit->image_count, sizeof *images), target = text(b, "target", "cpu"), list = NULL;
  unsigned count = 0;
  if (!images) return NULL;
  for (unsigned v = 0; v < HMOE_CPU_COUNT; v++) {
    if (!(unit->versions & (1u << v))) continue;
    const char *version = hmoec_cpu_versions[v].name;
    char suffix[64];
    snprintf(suffix, sizeof suffix, "%s_version", version);
    LLVMValueRef table = function_table(b, v);
    if (!table) goto done;
    hmoec_sharing_time sharing = {0};
    if (unit->machine) sharing = hmoec_cpu_sharing_time(unit->machine);
    images[count++] = image_entry(b, target, text(b, suffix, version), table, LLVMConstNull(b->pointer), 0, sharing);
  }
  for (unsigned i = 0; i < unit->image_count; i++) {
    images[count] = foreign_image(b, i);
    if (!images[count++]) goto done;
  }
  list =
      add_constant(b->module, unit->name, "images", LLVMConstArray2(LLVMTypeOf(images[0]), images, count), LLVMInternalLinkage, 8);
  *out_count = count;
done:
  free(images);
  return list;
}

bool hmoec_cpu_add_object(LLVMModuleRef module, const hmoec_cpu_unit *unit, hmoec_diagnostics *diagnostics) {
  LLVMContextRef context = LLVMGetModuleContext(module);
  table_builder b = {context,
                     module,
                     unit,
                     LLVMInt32TypeInContext(context),
                     LLVMInt64TypeInContext(context),
                     LLVMPointerTypeInContext(context, 0)};
  LLVMValueRef plan_bytes =
      LLVMConstStringInContext2(context, unit->plan ? unit->plan : "", unit->plan ? unit->plan_bytes : 0, true);
  LLVMValueRef plan = add_constant(module, unit->name, "plan", plan_bytes, LLVMInternalLinkage, PLAN_ALIGN);
  unsigned count = 0;
  LLVMValueRef list = image_table(&b, &count);
  if (!list)
    return hmoec_error(diagnostics, (hmoec_location){0},
                       "internal error in the CPU code generator: a kernel is missing, or memory for a list of images");
  LLVMValueRef fields[] = {LLVMConstInt(b.i32, HMOE_ABI_VERSION, false),
                           LLVMConstInt(b.i32, unit->kernel_count, false),
                           plan,
                           LLVMConstInt(b.i64, unit->plan_bytes, false),
                           list,
                           LLVMConstInt(b.i32, count, false),
                           LLVMConstInt(b.i32, 0, false)};
  LLVMValueRef object = structure(&b, fields, sizeof fields / sizeof *fields);
  add_constant(module, unit->name, "object", object, LLVMExternalLinkage, 8);
  return true;
}
