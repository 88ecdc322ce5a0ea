/* hmoec-opt: a tool for the IR tests. Reads a module, runs the named passes in the order given, prints the result.
 *
 *   hmoec-opt [--PASS]... [--verify] [--strategy=S] [--table-budget=BYTES] [--memory=BYTES] [--zipf=S] [--tokens=N] [--dtype=T] FILE.mlir
 *
 * With --verify alone the module is only checked. FILE "-" is standard input. --help lists the passes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/context.h"
#include "ir/location.h"
#include "ir/ops.h"
#include "passes/passes.h"
#include "plain_text.h"

enum { MAX_STEPS = 32 };

typedef struct arguments {
  const char *file;
  const hmoec_pass *steps[MAX_STEPS]; /* NULL: verify */
  size_t step_count;
  hmoec_pass_options options;
} arguments;

static const char *value_of(const char *argument, const char *option) {
  size_t length = strlen(option);
  return strncmp(argument, option, length) == 0 && argument[length] == '=' ? argument + length + 1 : NULL;
}

static bool arguments_parse(int count, char **values, arguments *out, hmoec_diagnostics *diagnostics) {
  *out = (arguments){.options = hmoec_pass_options_default()};
  for (int i = 1; i < count; i++) {
    const char *argument = values[i], *value;
    if (strncmp(argument, "--", 2) != 0) {
      if (out->file) return hmoec_usage_error(diagnostics, "expected one file, found %s and %s", out->file, argument);
      out->file = argument;
    } else if ((value = value_of(argument, "--strategy"))) out->options.strategy = value;
    else if ((value = value_of(argument, "--table-budget"))) out->options.table_budget_bytes = strtoll(value, NULL, 10);
    else if ((value = value_of(argument, "--tokens"))) out->options.tokens = strtoll(value, NULL, 10);
    else if ((value = value_of(argument, "--memory"))) out->options.memory_bytes = strtoll(value, NULL, 10);
    else if ((value = value_of(argument, "--zipf"))) out->options.routing.exponent = hmoe_plain_number(value, NULL);
    else if ((value = value_of(argument, "--dtype"))) {
      if (!hmoec_format_find(value, &out->options.dtype))
        return hmoec_usage_error(diagnostics, "expected --dtype f32 or bf16, found '%s'", value);
    } else {
      const hmoec_pass *pass = hmoec_pass_find(argument + 2);
      if (!pass && strcmp(argument, "--verify") != 0)
        return hmoec_usage_error(diagnostics, "there is no pass named %s", argument + 2);
      if (out->step_count == MAX_STEPS) return hmoec_usage_error(diagnostics, "more than %d passes", MAX_STEPS);
      out->steps[out->step_count++] = pass;
    }
  }
  return out->file ? true : hmoec_usage_error(diagnostics, "expected a file");
}

static void help_print(void) {
  printf("usage: hmoec-opt [--PASS]... [--verify] [--strategy=S] [--table-budget=BYTES] [--memory=BYTES] [--zipf=S] [--tokens=N] "
         "[--dtype=T] FILE.mlir\n\n"
         "run passes in the order given and print the module\n\npasses:\n");
  const hmoec_pass *pass;
  for (size_t i = 0; (pass = hmoec_pass_at(i)); i++) printf("  --%-20s %s\n", pass->name, pass->summary);
}

/* Owned by the caller; NULL when the file cannot be read, as a directory cannot. */
static char *stream_read(FILE *stream, size_t *out_size) {
  size_t capacity = 1 << 16, size = 0;
  char *text = malloc(capacity);
  while (text) {
    size += fread(text + size, 1, capacity - size, stream);
    if (size < capacity) break;
    char *larger = realloc(text, capacity *= 2);
    if (!larger) free(text);
    text = larger;
  }
  *out_size = size;
  if (!ferror(stream)) return text;
  free(text);
  return NULL;
}

static char *file_read(const char *file, size_t *out_size) {
  if (strcmp(file, "-") == 0) return stream_read(stdin, out_size);
  FILE *stream = fopen(file, "rb");
  if (!stream) return NULL;
  char *text = stream_read(stream, out_size);
  fclose(stream);
  return text;
}

static void print_piece(MlirStringRef text, void *stream) { fwrite(text.data, 1, text.length, stream); }

static bool steps_run(MlirModule module, arguments *arguments, hmoec_diagnostics *diagnostics) {
  for (size_t i = 0; i < arguments->step_count; i++) {
    const hmoec_pass *pass = arguments->steps[i];
    if (pass ? !hmoec_pass_run(pass, module, &arguments->options, diagnostics) : !hmoec_verify(module, diagnostics)) return false;
  }
  return true;
}

int main(int argument_count, char **argument_values) {
  arguments arguments;
  char *text = NULL;
  size_t size = 0;
  MlirContext context = {NULL};
  MlirModule module = {NULL};
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  if (!diagnostics) return HMOEC_MACHINE_ERROR;
  for (int i = 1; i < argument_count; i++) {
    if (strcmp(argument_values[i], "--help") != 0) continue;
    help_print();
    goto done;
  }
  if (!arguments_parse(argument_count, argument_values, &arguments, diagnostics)) goto done;
  if (!(text = file_read(arguments.file, &size))) {
    hmoec_usage_error(diagnostics, "cannot read %s", arguments.file);
    goto done;
  }
  hmoec_diagnostics_add_source(diagnostics, arguments.file, text, size);
  context = hmoec_context_create();
  if (mlirContextIsNull(context)) {
    hmoec_machine_error(diagnostics, "the dialects do not load");
    goto done;
  }
  hmoec_diagnostics_attach(diagnostics, context);
  module = hmoec_module_parse(context, arguments.file, text, size);
  if (mlirModuleIsNull(module) && hmoec_diagnostics_errors(diagnostics) == 0)
    hmoec_error(diagnostics, (hmoec_location){.file = arguments.file}, "expected a module");
  if (mlirModuleIsNull(module) || !steps_run(module, &arguments, diagnostics)) goto done;
  mlirOperationPrint(mlirModuleGetOperation(module), print_piece, stdout);

done:;
  int status = (int)hmoec_diagnostics_status(diagnostics);
  if (!mlirModuleIsNull(module)) mlirModuleDestroy(module);
  hmoec_context_destroy(context);
  free(text);
  hmoec_diagnostics_destroy(diagnostics);
  return status;
}
