#include "ir/context.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <mlir-c/Dialect/Arith.h>
#include <mlir-c/Dialect/Func.h>
#include <mlir-c/Dialect/IRDL.h>
#include <mlir-c/Dialect/Math.h>
#include <mlir-c/Dialect/SCF.h>
#include <mlir-c/RegisterEverything.h>

#include "ir/location.h"
#include "plain_text.h"

extern const char hmoec_hmoe_irdl[];
extern const char hmoec_hmk_irdl[];

static bool dialect_load(MlirContext context, const char *text) {
  MlirModule module = mlirModuleCreateParse(context, mlirStringRefCreateFromCString(text));
  if (mlirModuleIsNull(module)) return false;
  bool ok = mlirLogicalResultIsSuccess(mlirLoadIRDLDialects(module));
  mlirModuleDestroy(module);
  return ok;
}

MlirContext hmoec_context_create(void) {
  MlirDialectRegistry registry = mlirDialectRegistryCreate();
  const MlirDialectHandle of_text[] = {mlirGetDialectHandle__irdl__(), mlirGetDialectHandle__func__(),
                                       mlirGetDialectHandle__arith__(), mlirGetDialectHandle__math__(),
                                       mlirGetDialectHandle__scf__()};
  for (size_t i = 0; i < sizeof of_text / sizeof *of_text; i++) mlirDialectHandleInsertDialect(of_text[i], registry);
  MlirContext context = mlirContextCreateWithRegistry(registry, /*threadingEnabled=*/false);
  mlirDialectRegistryDestroy(registry);
  if (mlirContextIsNull(context)) return context;
  mlirContextSetAllowUnregisteredDialects(context, false);
  /* func is what a builder needs without having parsed anything. */
  mlirContextGetOrLoadDialect(context, mlirStringRefCreateFromCString("func"));
  if (dialect_load(context, hmoec_hmoe_irdl) && dialect_load(context, hmoec_hmk_irdl)) return context;
  mlirContextDestroy(context);
  return (MlirContext){NULL};
}

void hmoec_context_add_upstream(MlirContext context) {
  if (!mlirDialectIsNull(mlirContextGetOrLoadDialect(context, mlirStringRefCreateFromCString("llvm")))) return;
  MlirDialectRegistry registry = mlirDialectRegistryCreate();
  mlirRegisterAllDialects(registry);
  mlirContextAppendDialectRegistry(context, registry);
  mlirDialectRegistryDestroy(registry);
  mlirRegisterAllLLVMTranslations(context);
}

void hmoec_context_destroy(MlirContext context) {
  if (!mlirContextIsNull(context)) mlirContextDestroy(context);
}

/* Where the operations of a file begin: behind white space, comments and aliases, which only a whole file can hold. */
static size_t operations_begin(const char *text, size_t size) {
  size_t i = 0;
  for (;;) {
    while (i < size && hmoe_plain_is_space(text[i])) i++;
    bool skipped = i + 1 < size && ((text[i] == '/' && text[i + 1] == '/') || text[i] == '#' || text[i] == '!');
    if (!skipped) return i;
    while (i < size && text[i] != '\n') i++;
  }
}

static bool is_module(const char *text, size_t size) {
  static const char *const openings[] = {"module", "builtin.module", "\"builtin.module\"", "{-#"};
  for (size_t o = 0; o < sizeof openings / sizeof *openings; o++)
    if (size >= strlen(openings[o]) && memcmp(text, openings[o], strlen(openings[o])) == 0) return true;
  return false;
}

MlirModule hmoec_module_parse(MlirContext context, const char *file, const char *text, size_t size) {
  static const char opening[] = "module {\n", closing[] = "\n}\n";
  const MlirModule none = {NULL};
  size_t begin = operations_begin(text, size);
  bool wrap = !is_module(text + begin, size - begin);
  size_t before = wrap ? sizeof opening - 1 : 0, after = wrap ? sizeof closing - 1 : 0;
  unsigned line = 1; /* of the opening, which takes one of its own: columns stay as they are */
  while (begin > 0 && text[begin - 1] != '\n') begin--;
  for (size_t i = 0; i < begin; i++) line += text[i] == '\n';
  char *copy = malloc(before + size + after + 1); /* the parser wants a NUL after the text */
  char *name = wrap ? hmoec_location_file_create(file, line) : strdup(file);
  MlirOperation op = {NULL};
  if (copy && name) {
    memcpy(copy, text, begin);
    if (wrap) memcpy(copy + begin, opening, before);
    memcpy(copy + begin + before, text + begin, size - begin);
    if (wrap) memcpy(copy + before + size, closing, after);
    copy[before + size + after] = '\0';
    op = mlirOperationCreateParse(context, mlirStringRefCreate(copy, before + size + after), mlirStringRefCreateFromCString(name));
  }
  free(name);
  free(copy);
  if (mlirOperationIsNull(op)) return none;
  MlirModule module = mlirModuleFromOperation(op);
  if (mlirModuleIsNull(module)) mlirOperationDestroy(op);
  return module;
}
