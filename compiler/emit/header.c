/* The generated header: typed inline wrappers over <hmoe/runtime.h>, so that the object itself holds kernels and a plan only. */
#include "emit/header.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hmoe/abi.h"
#include "hmoe/runtime.h"
#include "plain_text.h"

static const void *at(const hmoec_unit *unit, hmoe_plan_span span) { return (const char *)unit->plan + span.offset; }

static const hmoe_plan_entry *entries_of(const hmoec_unit *unit) {
  return (const hmoe_plan_entry *)at(unit, ((const hmoe_plan *)unit->plan)->entries);
}

/* "[tokens, 768]" for the comment of a field. */
static void print_shape(FILE *out, const hmoec_unit *unit, const hmoe_plan_entry *entry, const hmoe_plan_tensor *tensor) {
  fputc('[', out);
  for (uint32_t i = 0; i < tensor->rank; i++) {
    if (i) fputs(", ", out);
    if (tensor->shape[i] >= 0) {
      fprintf(out, "%lld", (long long)tensor->shape[i]);
      continue;
    }
    int length;
    const char *name = hmoec_unit_dim_name(unit, entry, -1 - tensor->shape[i], &length);
    fprintf(out, "%.*s", length, name);
  }
  fputc(']', out);
}

static void print_fields(FILE *out, const hmoec_unit *unit, const hmoe_plan_entry *entry, hmoe_plan_span span,
                         const char *qualifier, const char *role) {
  static const char *const types[] = {"float", "int32_t", "int64_t"}, *const names[] = {"f32", "i32", "i64"};
  const hmoe_plan_tensor *tensors = at(unit, span);
  for (uint32_t i = 0; i < span.count; i++) {
    fprintf(out, "  %s%s *%.*s; /* %s, borrowed during the call: %s ", qualifier, types[tensors[i].dtype],
            (int)tensors[i].name.count, (const char *)at(unit, tensors[i].name), role, names[tensors[i].dtype]);
    print_shape(out, unit, entry, &tensors[i]);
    fputs(", row-major", out);
    if (tensors[i].optional) fprintf(out, "; NULL: all %lld", (long long)tensors[i].fill);
    fputs(" */\n", out);
  }
}

static void print_pointers(FILE *out, const hmoec_unit *unit, hmoe_plan_span span) {
  const hmoe_plan_tensor *tensors = at(unit, span);
  for (uint32_t i = 0; i < span.count; i++)
    fprintf(out, "%sargs->%.*s", i ? ", " : "", (int)tensors[i].name.count, (const char *)at(unit, tensors[i].name));
  if (!span.count) fputc('0', out);
}

static void print_dims(FILE *out, const hmoec_unit *unit, const hmoe_plan_entry *entry, const char *format) {
  for (uint32_t d = 0; d < entry->dim_names.count; d++) {
    int length;
    const char *name = hmoec_unit_dim_name(unit, entry, d, &length);
    if (d && *format == 'a') fputs(", ", out);
    fprintf(out, *format == 'a' ? "args->%.*s" : "  int64_t %.*s;\n", length, name);
  }
}

/* The structure and the call of one entry. A layer's only entry is NAME_run of NAME_args. */
static void print_entry(FILE *out, const hmoec_unit *unit, uint32_t number) {
  static const struct {
    const char *name, *what;
  } notes[] = {
      {"forward", "The whole model."},
      {"encode", "What does not depend on what is generated: the encoder."},
      {"prepare", "Before decoding: encodes, and puts what decoding reads of it into the state. The state's source_rows rows."},
      {"decode", "The next tokens of every row, behind those that the state has; the last one's logits."}};
  const hmoe_plan_entry *entry = &entries_of(unit)[number];
  const char *name = unit->name;
  char call[128], suffix[132] = "";
  snprintf(call, sizeof call, "%.*s", (int)entry->name.count, (const char *)at(unit, entry->name));
  if (strcmp(call, "run") != 0) snprintf(suffix, sizeof suffix, "_%s", call);
  const char *what = "One run.";
  for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
    if (strcmp(notes[i].name, call) == 0) what = notes[i].what;
  fprintf(out,
          "/* %s Pointers are aligned for their elements; outputs do not overlap inputs; 0 rows are allowed. */\ntypedef struct "
          "%s%s_args {\n",
          what, name, suffix);
  print_dims(out, unit, entry, "field");
  print_fields(out, unit, entry, entry->inputs, "const ", "input");
  print_fields(out, unit, entry, entry->outputs, "", "output");
  fprintf(out, "} %s%s_args;\n\n", name, suffix);
  fprintf(
      out,
      "/* %s */\nHMOE_MUST_USE static inline hmoe_status %s_%s(%s *model, %sconst %s%s_args *args) {\n  const int64_t dims[] = {",
      entry->needs_state ? "One state is used by one call at a time." : "May be called from several threads on one model.", name,
      call, name, entry->needs_state ? "hmoe_state *state, " : "", name, suffix);
  print_dims(out, unit, entry, "args");
  fputs("};\n  const void *const inputs[] = {", out);
  print_pointers(out, unit, entry->inputs);
  fputs("};\n  void *const outputs[] = {", out);
  print_pointers(out, unit, entry->outputs);
  if (entry->needs_state)
    fprintf(out, "};\n  return hmoe_model_run_state((hmoe_model *)model, %u, state, dims, inputs, outputs);\n}\n\n", number);
  else fprintf(out, "};\n  return hmoe_model_run((hmoe_model *)model, %u, dims, inputs, outputs);\n}\n\n", number);
}

static bool decodes(const hmoec_unit *unit) {
  for (uint32_t i = 1; i < ((const hmoe_plan *)unit->plan)->entries.count; i++)
    if (entries_of(unit)[i].needs_state) return true;
  return false;
}

static void print_generation(FILE *out, const char *name) {
  fprintf(
      out,
      "/* Room to decode in: see hmoe_state_create. The model must outlive it; release it by hmoe_state_destroy. */\n"
      "HMOE_MUST_USE static inline hmoe_status %s_state_create(%s *model, const hmoe_state_options *options, hmoe_state "
      "**out_state) "
      "{\n  return hmoe_state_create((hmoe_model *)model, options, out_state);\n}\n\n"
      "/* Tokens out of a prompt: see <hmoe/generate.h>. tokens [rows, %s_generation_width]; *length columns are filled in. */\n"
      "static inline int64_t %s_generation_width(const %s *model, const hmoe_prompt *prompt, const hmoe_generation *options) {\n"
      "  return hmoe_generation_width((const hmoe_model *)model, prompt, options);\n}\n"
      "HMOE_MUST_USE static inline hmoe_status %s_generate(%s *model, const hmoe_prompt *prompt, const hmoe_generation *options, "
      "int64_t *tokens, int64_t *length) {\n"
      "  return hmoe_model_generate((hmoe_model *)model, prompt, options, tokens, length);\n}\n\n",
      name, name, name, name, name, name, name);
}

char *hmoec_header_print(const hmoec_unit *unit, size_t *out_size) {
  char *text = NULL;
  FILE *out = open_memstream(&text, out_size);
  if (!out) return NULL;
  const hmoe_plan *plan = unit->plan;
  const char *name = unit->name;
  char guard[256];
  size_t n = 0;
  for (; name[n] && n + 3 < sizeof guard; n++) guard[n] = hmoe_plain_upper(name[n]);
  memcpy(guard + n, "_H", 3);

  fprintf(
      out,
      "/* %s: a model compiled by hmoec %s. Link %s.o and libhmoert. <hmoe/runtime.h> documents errors, options and threads. */\n"
      "#ifndef %s\n#define %s\n\n#include <hmoe/%s.h>\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
      "typedef struct %s %s; /* an open model; an hmoe_model by another name */\n\nextern const struct hmoe_model_object "
      "%s_object;\n\n",
      name, HMOE_VERSION, name, guard, guard, decodes(unit) ? "generate" : "runtime", name, name, name);
  /* struct: a parameter before may have the model's name. */
  fprintf(
      out,
      "/* Opens weights from a .safetensors or .hmw file, or a checkpoint's directory. options may be NULL. On success "
      "*out_model is "
      "owned by the caller: %s_close. */\n"
      "HMOE_MUST_USE static inline hmoe_status %s_open(const char *path, const hmoe_options *options, struct %s **out_model) {\n"
      "  hmoe_weights weights = {HMOE_WEIGHTS_PATH, path, -1, 0, 0};\n"
      "  return hmoe_model_open(&%s_object, &weights, options, (hmoe_model **)out_model);\n}\n\n",
      name, name, name, name);
  fprintf(
      out,
      "/* The same from memory, or from an open file descriptor. */\n"
      "HMOE_MUST_USE static inline hmoe_status %s_open_weights(const hmoe_weights *weights, const hmoe_options *options, struct %s "
      "**out_model) {\n"
      "  return hmoe_model_open(&%s_object, weights, options, (hmoe_model **)out_model);\n}\n\n",
      name, name, name);
  for (uint32_t i = 1; i < plan->entries.count; i++) print_entry(out, unit, i);
  if (decodes(unit)) print_generation(out, name);
  fprintf(out,
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
