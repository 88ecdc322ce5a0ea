#include "frontend/import.h"

#include <stdlib.h>
#include <string.h>

#include "frontend/import_parts.h"
#include "frontend/spec_lexer.h"
#include "ir/c_names.h"
#include "plain_text.h"
#include "support/limits.h"

extern const char hmoec_hypermoe_common_spec[], hmoec_hyperrouter_common_spec[], hmoec_switch_common_spec[],
    hmoec_gpt2_common_spec[];

static const struct {
  const char *model_type;
  const char *key; /* the beginning of a tensor that only such models have */
  bool (*import)(hmoec_import_state *import);
  const char *common;
} architectures[] = {
    {"switch_transformers", "encoder.block.0.", hmoec_import_switch, hmoec_switch_common_spec},
    {"gpt2", "transformer.h.0.", hmoec_import_gpt2, hmoec_gpt2_common_spec},
    {"gpt2", "h.0.", hmoec_import_gpt2, hmoec_gpt2_common_spec},
};
enum { ARCHITECTURE_COUNT = sizeof architectures / sizeof *architectures };

/* Index of the architecture; ARCHITECTURE_COUNT, reported, if it is none. */
static size_t architecture_of(const hmoec_import_state *import) {
  const char *type;
  if (!hmoec_config_word(import, "model_type", NULL, &type)) return ARCHITECTURE_COUNT;
  for (size_t i = 0; i < ARCHITECTURE_COUNT; i++)
    if (type ? strcmp(architectures[i].model_type, type) == 0 : hmoec_import_has_prefix(import, architectures[i].key)) return i;
  if (type)
    hmoec_error(import->diagnostics, hmoec_json_key_location(&import->config, "model_type"),
                "model_type \"%.60s\" is not supported; expected switch_transformers or gpt2", type);
  else
    hmoec_error(import->diagnostics, (hmoec_location){.file = import->config.path},
                "there is no model_type, and the tensors are neither those of switch_transformers nor of gpt2");
  return ARCHITECTURE_COUNT;
}

/* Cuts the last part off a path, in place, and returns it; "" for a root. */
static const char *cut_last_part(char *path) {
  size_t length = strlen(path);
  while (length && path[length - 1] == '/') path[--length] = 0;
  char *slash = strrchr(path, '/');
  if (!slash) return path;
  *slash = 0;
  return slash + 1;
}

/* What a directory is called: as it was given, also where it is a link. A download of the Hub's own tools lies in
 * models--OWNER--NAME/snapshots/REVISION, and is NAME. */
static const char *directory_name(hmoec_arena *arena, const char *directory) {
  char *resolved = realpath(directory, NULL), *real = hmoec_arena_strdup(arena, resolved ? resolved : directory);
  free(resolved);
  const char *name = cut_last_part(real), *given = cut_last_part(hmoec_arena_strdup(arena, directory));
  if (strcmp(cut_last_part(real), "snapshots") == 0) {
    const char *hub = cut_last_part(real), *owned = strncmp(hub, "models--", 8) == 0 ? hub + 8 : NULL;
    for (const char *next; owned && (next = strstr(owned, "--"));) owned = next + 2;
    if (owned) return owned;
  }
  return *given && strcmp(given, ".") != 0 && strcmp(given, "..") != 0 ? given : name;
}

static bool is_free(const char *name) {
  return hmoec_word_kind(name, strlen(name)) == HMOEC_TOKEN_NAME && !hmoec_name_taken(mlirStringRefCreateFromCString(name), true);
}

/* The directory's name as that of a model: "switch-hypermoe-tiny" is switch_hypermoe_tiny. What is no letter or digit of C becomes one
 * underscore between those that are; a name that could not be used is model_NAME. */
static const char *model_name(hmoec_arena *arena, const char *directory) {
  char name[HMOEC_MOST_NAME];
  size_t length = 0;
  for (const char *at = directory_name(arena, directory); *at && length < HMOEC_MOST_NAME - 6; at++) {
    bool kept = hmoe_plain_is_alnum(*at);
    if (kept || (length && name[length - 1] != '_')) name[length++] = kept ? *at : '_';
  }
  if (length && name[length - 1] == '_') length--;
  name[length] = 0;
  if (!length) return "model_of_directory";
  return hmoec_arena_printf(arena, "%s%s", hmoe_plain_is_digit(*name) || !is_free(name) ? "model_" : "", name);
}

static bool write_spec(hmoec_import_state *import, const char *directory) {
  size_t which = architecture_of(import);
  if (which == ARCHITECTURE_COUNT) return false;
  const char *name = model_name(import->arena, directory);
  fprintf(import->out, "# The model of a Hugging Face directory, as hmoec import found it.\nmodel %s\n\n", name);
  if (!architectures[which].import(import)) return false;
  fprintf(import->out, "\n%s\n%s\n%s", hmoec_hypermoe_common_spec, hmoec_hyperrouter_common_spec, architectures[which].common);
  hmoec_import_note_unused(import);
  return true;
}

const char *hmoec_import(hmoec_arena *arena, const char *directory, hmoec_diagnostics *diagnostics, size_t *out_size) {
  hmoec_import_state import = {.arena = arena, .diagnostics = diagnostics};
  char *buffer = NULL;
  const char *text = NULL;
  size_t length = strlen(directory);
  while (length > 1 && directory[length - 1] == '/') length--;
  directory = hmoec_arena_strndup(arena, directory, length);
  const char *config = hmoec_arena_printf(arena, "%s/config.json", directory);
  const char *generation = hmoec_arena_printf(arena, "%s/generation_config.json", directory);
  if (!hmoe_path_exists(config)) {
    hmoec_error(diagnostics, (hmoec_location){.file = directory}, "it has no config.json, which a directory of Hugging Face has");
    return NULL;
  }
  bool ok = hmoec_json_read(arena, config, HMOEC_CONFIG_MAX_BYTES, diagnostics, &import.config) &&
            (!hmoe_path_exists(generation) ||
             hmoec_json_read(arena, generation, HMOEC_CONFIG_MAX_BYTES, diagnostics, &import.generation)) &&
            hmoec_tensor_files_open(directory, diagnostics, &import.tensors);
  if (!ok) goto done;
  import.out = open_memstream(&buffer, out_size);
  if (!import.out) {
    hmoec_machine_error(diagnostics, "out of memory");
    goto done;
  }
  ok = write_spec(&import, directory);
  ok = fclose(import.out) == 0 && ok;
  if (ok) text = hmoec_arena_strndup(arena, buffer, *out_size);
done:
  free(buffer);
  hmoec_tensor_files_close(import.tensors);
  hmoec_json_deinit(&import.generation);
  hmoec_json_deinit(&import.config);
  return text;
}
