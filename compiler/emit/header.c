/* The generated header: typed inline wrappers over <hmoe/runtime.h>, so that the object itself holds kernels and a plan only. */
#include "emit/header.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hmoe/abi.h"
#include "hmoe/runtime.h"

static const void *at(const hmoec_unit *unit, hmoe_plan_span span) { return (const char *)unit->plan + span.offset; }

/* "[tokens, 768]" for the comment of a field. */
static void print_shape(FILE *out, const hmoe_plan_tensor *tensor) {
  fputc('[', out);
  for (uint32_t i = 0; i < tensor->rank; i++) {
    if (i) fputs(", ", out);
    if (tensor->shape[i] < 0) fputs("tokens", out);
    else fprintf(out, "%lld", (long long)tensor->shape[i]);
  }
  fputc(']', out);
}

static void print_fields(FILE *out, const hmoec_unit *unit, hmoe_plan_span span, const char *qualifier, const char *role) {
  const hmoe_plan_tensor *tensors = at(unit, span);
  for (uint32_t i = 0; i < span.count; i++) {
    fprintf(out, "  %sfloat *%.*s; /* %s, borrowed during the call: f32 ", qualifier, (int)tensors[i].name.count,
            (const char *)at(unit, tensors[i].name), role);
    print_shape(out, &tensors[i]);
    fputs(", row-major */\n", out);
  }
}

static void print_pointers(FILE *out, const hmoec_unit *unit, hmoe_plan_span span) {
  const hmoe_plan_tensor *tensors = at(unit, span);
  for (uint32_t i = 0; i < span.count; i++)
    fprintf(out, "%sargs->%.*s", i ? ", " : "", (int)tensors[i].name.count, (const char *)at(unit, tensors[i].name));
}

char *hmoec_header_print(const hmoec_unit *unit, size_t *out_size) {
  char *text = NULL;
  FILE *out = open_memstream(&text, out_size);
  if (!out) return NULL;
  const hmoe_plan *plan = unit->plan;
  const hmoe_plan_entry *entry = (const hmoe_plan_entry *)at(unit, plan->entries) + 1;
  const char *name = unit->name;
  char guard[256];
  size_t n = 0;
  for (; name[n] && n + 3 < sizeof guard; n++) guard[n] = (char)toupper((unsigned char)name[n]);
  memcpy(guard + n, "_H", 3);

  fprintf(
      out,
      "/* %s: a model compiled by hmoec %s. Link %s.o and libhmoert. <hmoe/runtime.h> documents errors, options and threads. */\n"
      "#ifndef %s\n#define %s\n\n#include <hmoe/runtime.h>\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
      "typedef struct %s %s; /* an open model; an hmoe_model by another name */\n\nextern const struct hmoe_model_object "
      "%s_object;\n\n",
      name, HMOE_VERSION, name, guard, guard, name, name, name);
  fprintf(out,
          "/* One run. Pointers are aligned for float; outputs do not overlap inputs; 0 tokens is allowed. */\ntypedef struct "
          "%s_args {\n  int64_t tokens;\n",
          name);
  print_fields(out, unit, entry->inputs, "const ", "input");
  print_fields(out, unit, entry->outputs, "", "output");
  fprintf(out, "} %s_args;\n\n", name);
  fprintf(out,
          "/* Opens weights from a .safetensors or .hmw file. options may be NULL. On success *out_model is owned by the caller: "
          "%s_close. */\n"
          "HMOE_MUST_USE static inline hmoe_status %s_open(const char *path, const hmoe_options *options, %s **out_model) {\n"
          "  hmoe_weights weights = {HMOE_WEIGHTS_PATH, path, -1, 0, 0};\n"
          "  return hmoe_model_open(&%s_object, &weights, options, (hmoe_model **)out_model);\n}\n\n",
          name, name, name, name);
  fprintf(out,
          "/* The same from memory, or from an open file descriptor. */\n"
          "HMOE_MUST_USE static inline hmoe_status %s_open_weights(const hmoe_weights *weights, const hmoe_options *options, %s "
          "**out_model) {\n"
          "  return hmoe_model_open(&%s_object, weights, options, (hmoe_model **)out_model);\n}\n\n",
          name, name, name);
  fprintf(out,
          "/* Runs the model. May be called from several threads on one model. */\n"
          "HMOE_MUST_USE static inline hmoe_status %s_run(%s *model, const %s_args *args) {\n"
          "  const int64_t dims[] = {args->tokens};\n  const void *const inputs[] = {",
          name, name, name);
  print_pointers(out, unit, entry->inputs);
  fputs("};\n  void *const outputs[] = {", out);
  print_pointers(out, unit, entry->outputs);
  fprintf(out,
          "};\n  return hmoe_model_run((hmoe_model *)model, 1, dims, inputs, outputs);\n}\n\n"
          "/* Writes the packed, folded weights: a .hmw file that opens without packing. */\n"
          "HMOE_MUST_USE static inline hmoe_status %s_save(const %s *model, const char *path) {\n  return hmoe_model_save((const "
          "hmoe_model *)model, path);\n}\n\n"
          "/* NULL is allowed. No run may be under way. */\n"
          "static inline void %s_close(%s *model) { hmoe_model_close((hmoe_model *)model); }\n\n"
          "#ifdef __cplusplus\n}\n#endif\n#endif\n",
          name, name, name, name);
  bool ok = !ferror(out);
  if (fclose(out) == 0 && ok) return text;
  free(text);
  return NULL;
}
