/* The importer and what it stands on: JSON with places, tensors of a checkpoint under one of several names; and no config, cut or changed,
 * that brings it down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "frontend/import.h"
#include "interpreter/parameters.h"
#include "support/json.h"
#include "support/text_file.h"

#define GOLDEN HMOE_SOURCE_DIR "/tests/golden/"

static char folder[] = "/tmp/hmoec-import-XXXXXX";

static void write_file(const char *path, const char *text, size_t size) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, size, file), size);
  fclose(file);
}

static void test_json(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
    unsigned line, column; /* of the key "k" */
  } rows[] = {
      {"{\"k\": 1}", "", 1, 2},
      {"{\n \"a\": {\"k\": 2, \"s\": \"\\\"k\\\": }\"},\n  \"k\" : [1]\n}", "", 3, 3},
      {"{\"a\": \"k\"}", "", 0, 0},
      {"{\"k\": NaN}", "NaN is not a number of JSON", 0, 0},
      {"{\"k\": [1, Infinity]}", "Infinity is not a number of JSON", 0, 0},
      {"{\"k\": 1,}", "this is not JSON", 0, 0},
      {"{\"k\": 1} x", "this is not JSON", 0, 0},
      {"", "expected JSON, found an empty file", 0, 0},
      {"3", "expected an object { ... }, found 3", 0, 0},
      {"[{}]", "expected an object { ... }, found an array", 0, 0},
      {"\"config\"", "expected an object { ... }, found \"config\"", 0, 0},
      {"null", "expected an object { ... }, found null", 0, 0},
      {"Not found", "this is not JSON", 0, 0},
      {"{\"k\": [1,\n", "the file ends inside of its JSON: it is cut short", 0, 0},
      {"{\"k\": \"te", "the file ends inside of its JSON: it is cut short", 0, 0},
      {"{\"k\"", "the file ends inside of its JSON: it is cut short", 0, 0},
      {"\"te", "the file ends inside of its JSON: it is cut short", 0, 0},
      {"\n<!DOCTYPE html>",
       "expected JSON, found a page of a web server: it came in place of a download; see what it says and download the file again",
       0, 0},
      {"version https://git-lfs.github.com/spec/v1\n",
       "expected JSON, found a pointer of Git LFS, not the file itself: run `git lfs install` and `git lfs pull` in the repository "
       "that it is from",
       0, 0},
      {"{\"k\": 1, \"j\": 2, \"k\": 3}", "'k' is given twice", 0, 0},
      {"{\"a\": [{\"k\": 1, \"k\": 1}]}", "'k' is given twice", 0, 0},
  };
  char path[128];
  snprintf(path, sizeof path, "%s/x.json", folder);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    hmoec_arena *arena = hmoec_arena_create();
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
    hmoec_json json;
    write_file(path, rows[i].text, strlen(rows[i].text));
    assert_int_equal(hmoec_json_read(arena, path, 1000, diagnostics, &json), !*rows[i].message);
    assert_string_equal(hmoec_diagnostics_first(diagnostics), rows[i].message);
    if (!*rows[i].message) {
      hmoec_location at = hmoec_json_key_location(&json, "k");
      assert_int_equal(at.line, rows[i].line);
      assert_int_equal(at.column, rows[i].column);
    }
    hmoec_json_deinit(&json);
    hmoec_diagnostics_destroy(diagnostics);
    hmoec_arena_destroy(arena);
  }
  unlink(path);
}

static bool import_folder(void) {
  hmoec_arena *arena = hmoec_arena_create();
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  size_t size;
  const char *text = hmoec_import(arena, folder, diagnostics, &size);
  bool imported = text != NULL;
  assert_int_equal(hmoec_diagnostics_errors(diagnostics), imported ? 0 : 1); /* one thing at a time */
  if (text) assert_int_equal(strlen(text), size);
  hmoec_diagnostics_destroy(diagnostics);
  hmoec_arena_destroy(arena);
  return imported;
}

/* Every cut of a config, and values in place of others. */
static void test_configs(void **state) {
  (void)state;
  static const char *const names[] = {"switch-hypermoe-tiny", "gpt2-hypermoe-tiny-k2"};
  static const char *const values[] = {"null", "true", "-1", "0", "1e300", "1.5", "\"\"", "\"relu\"", "[]", "{}", "3", "NaN"};
  char config[128], weights[128];
  snprintf(config, sizeof config, "%s/config.json", folder);
  snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
  for (size_t n = 0; n < 2; n++) {
    char path[1024];
    hmoec_arena *arena = hmoec_arena_create();
    size_t size;
    const char *reason;
    snprintf(path, sizeof path, GOLDEN "%s/model.safetensors", names[n]);
    assert_int_equal(symlink(path, weights), 0);
    snprintf(path, sizeof path, GOLDEN "%s/config.json", names[n]);
    char *text = hmoec_text_file_read(arena, path, 1 << 20, &size, &reason);
    assert_non_null(text);
    write_file(config, text, size);
    assert_true(import_folder());
    for (size_t cut = 0; cut < size; cut += 31) {
      write_file(config, text, cut);
      assert_false(import_folder());
    }
    size_t imported = 0, tried = 0;
    for (char *at = text; (at = strstr(at, "\": ")); at++) { /* one value after the other */
      size_t begin = (size_t)(at - text) + 3, end = begin + strcspn(text + begin, ",\n");
      const char *value = values[tried++ % (sizeof values / sizeof *values)];
      const char *changed = hmoec_arena_printf(arena, "%.*s%s%s", (int)begin, text, value, text + end);
      write_file(config, changed, strlen(changed));
      imported += import_folder();
    }
    assert_true(imported > 10 && imported < tried);
    unlink(config);
    unlink(weights);
    hmoec_arena_destroy(arena);
  }
}

/* Each key that says what the model computes, with a value of every other kind: one error, at its line, that says what was found. */
static void test_config_types(void **state) {
  (void)state;
  enum { INTEGER = 1, NUMBER = 2, FLAG = 4, WORD = 8 }; /* a key's kind, and the kinds that a value is not */
  static const struct {
    const char *value, *found;
    int wrong;
  } values[] = {{"\"words\"", "\"words\"", INTEGER | NUMBER | FLAG | WORD}, /* no model has such a word */
                {"1.5", "1.5", INTEGER | NUMBER | FLAG | WORD},
                {"1e400", "a number that is too large", INTEGER | NUMBER | FLAG | WORD},
                {"-1e400", "a number that is too large", INTEGER | NUMBER | FLAG | WORD},
                {"4294967296", "4294967296", INTEGER | NUMBER | FLAG | WORD},
                {"-1", "-1", INTEGER | NUMBER | FLAG | WORD},
                {"3", "3", FLAG | WORD},
                {"true", "true", INTEGER | NUMBER | WORD},
                {"[1]", "[1]", INTEGER | NUMBER | FLAG | WORD},
                {"{\"a\": 1}", "{\"a\":1}", INTEGER | NUMBER | FLAG | WORD}};
  static const struct {
    const char *golden, *key;
    int kind;
  } keys[] = {
#define SWITCH(key, kind) {"switch-hypermoe-tiny", key, kind}
#define GPT2(key, kind) {"gpt2-hypermoe-tiny-k2", key, kind}
      SWITCH("model_type", WORD),
      SWITCH("vocab_size", INTEGER),
      SWITCH("d_model", INTEGER),
      SWITCH("d_ff", INTEGER),
      SWITCH("d_kv", INTEGER),
      SWITCH("num_heads", INTEGER),
      SWITCH("num_layers", INTEGER),
      SWITCH("num_decoder_layers", INTEGER),
      SWITCH("num_experts", INTEGER),
      SWITCH("expert_capacity", INTEGER),
      SWITCH("encoder_sparse_step", INTEGER),
      SWITCH("decoder_sparse_step", INTEGER),
      SWITCH("relative_attention_num_buckets", INTEGER),
      SWITCH("relative_attention_max_distance", INTEGER),
      SWITCH("adapter_dim", INTEGER),
      SWITCH("hypernetwork_bottleneck", INTEGER),
      SWITCH("experts_embedding_dim", INTEGER),
      SWITCH("process_dim", INTEGER),
      SWITCH("hypernet_input", INTEGER),
      SWITCH("layer_emb_dim", INTEGER),
      SWITCH("layer_norm_epsilon", NUMBER),
      SWITCH("use_fast_mode", FLAG),
      SWITCH("tie_encoder_decoder", FLAG),
      SWITCH("add_router_probs", FLAG),
      SWITCH("is_encoder_decoder", FLAG),
      SWITCH("is_gated_act", FLAG),
      SWITCH("tie_word_embeddings", FLAG),
      SWITCH("router_bias", FLAG),
      SWITCH("experts_embedding", FLAG),
      SWITCH("use_hypernet", FLAG),
      SWITCH("feed_forward_proj", WORD),
      SWITCH("dense_act_fn", WORD),
      GPT2("model_type", WORD),
      GPT2("vocab_size", INTEGER),
      GPT2("n_embd", INTEGER),
      GPT2("n_positions", INTEGER),
      GPT2("n_layer", INTEGER),
      GPT2("n_head", INTEGER),
      GPT2("n_inner", INTEGER),
      GPT2("n_experts", INTEGER),
      GPT2("k", INTEGER),
      GPT2("adapter_dim", INTEGER),
      GPT2("layer_norm_epsilon", NUMBER),
      GPT2("scale_attn_weights", FLAG),
      GPT2("scale_attn_by_inverse_layer_idx", FLAG),
      GPT2("reorder_and_upcast_attn", FLAG),
      GPT2("add_cross_attention", FLAG),
      GPT2("tie_word_embeddings", FLAG),
      GPT2("use_hypernet", FLAG),
      GPT2("use_moe", WORD),
      GPT2("activation_function", WORD),
  };
  char config[128], weights[128], path[1024];
  snprintf(config, sizeof config, "%s/config.json", folder);
  snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
  for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
    hmoec_arena *arena = hmoec_arena_create();
    size_t size;
    const char *reason;
    snprintf(path, sizeof path, GOLDEN "%s/model.safetensors", keys[k].golden);
    assert_int_equal(symlink(path, weights), 0);
    snprintf(path, sizeof path, GOLDEN "%s/config.json", keys[k].golden);
    char *text = hmoec_text_file_read(arena, path, 1 << 20, &size, &reason);
    assert_non_null(text);
    char *at = strstr(text, hmoec_arena_printf(arena, "\n \"%s\": ", keys[k].key));
    if (at) memcpy(at + 3, "+", 1); /* another key's, then */
    char *end = strrchr(text, '}');
    unsigned line = 1;
    for (const char *c = text; c < end; c++) line += *c == '\n';
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
      if (!(values[v].wrong & keys[k].kind)) continue;
      const char *changed = hmoec_arena_printf(arena, "%.*s, \"%s\": %s}", (int)(end - text), text, keys[k].key, values[v].value);
      char *printed = NULL;
      size_t printed_size, imported_size;
      FILE *out = open_memstream(&printed, &printed_size);
      hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(out);
      write_file(config, changed, strlen(changed));
      bool imported = hmoec_import(arena, folder, diagnostics, &imported_size) != NULL;
      unsigned errors = hmoec_diagnostics_errors(diagnostics);
      hmoec_diagnostics_destroy(diagnostics);
      fclose(out);
      const char *place = hmoec_arena_printf(arena, "config.json:%u:3: error: ", line);
      if (imported || errors != 1 || !strstr(printed, place) || !strstr(printed, keys[k].key) || !strstr(printed, values[v].found))
        fail_msg("%s: %s = %s: expected \"%s\" and \"%s\", found %u errors: %s", keys[k].golden, keys[k].key, values[v].value,
                 place, values[v].found, errors, printed);
      free(printed);
    }
    unlink(config);
    unlink(weights);
    hmoec_arena_destroy(arena);
  }
}

/* Each tensor of a checkpoint under another name, or of another shape: the model cannot be imported, and it is said of which. */
static void test_tensors(void **state) {
  (void)state;
  static const char *const goldens[] = {"switch-moe-tiny", "switch-hypermoe-tiny", "gpt2-hypermoe-tiny-k1"};
  static const char *const unread[] = {"mlp.mean", "mlp.std", "mlp.w_noise"}; /* which training leaves */
  char config[128], weights[128], path[1024];
  snprintf(config, sizeof config, "%s/config.json", folder);
  snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
  for (size_t r = 0; r < sizeof goldens / sizeof *goldens; r++) {
    snprintf(path, sizeof path, GOLDEN "%s/config.json", goldens[r]);
    assert_int_equal(symlink(path, config), 0);
    snprintf(path, sizeof path, GOLDEN "%s/model.safetensors", goldens[r]);
    FILE *file = fopen(path, "rb");
    uint64_t length = 0;
    assert_true(file && fread(&length, sizeof length, 1, file) == 1);
    char *header = calloc(1, length + 1);
    assert_true(fread(header, 1, length, file) == length && fseek(file, 0, SEEK_END) == 0);
    long data = ftell(file) - 8 - (long)length;
    fclose(file);
    cJSON *whole = cJSON_Parse(header);
    free(header);
    for (int n = 0; n < cJSON_GetArraySize(whole); n++)
      for (int way = 0; way < 2; way++) {
        cJSON *changed = cJSON_Duplicate(whole, true), *tensor = cJSON_GetArrayItem(changed, n);
        char name[256];
        snprintf(name, sizeof name, "%s", tensor->string);
        cJSON *shape = cJSON_GetObjectItem(tensor, "shape");
        if (!shape) { /* of the metadata */
          cJSON_Delete(changed);
          continue;
        }
        const cJSON *first = shape->child, *second = first->next;
        if (way == 0) tensor->string[strlen(tensor->string) - 1] = 'X';
        else if (!second) cJSON_InsertItemInArray(shape, 0, cJSON_CreateNumber(1));
        else if (first->valueint != second->valueint) cJSON_AddItemToArray(shape, cJSON_DetachItemFromArray(shape, 0));
        else { /* a square */ cJSON_ReplaceItemInArray(shape, 0, cJSON_CreateNumber(first->valueint * 2));
          cJSON_ReplaceItemInArray(shape, 1, cJSON_CreateNumber(second->valueint / 2));
        }
        char *text = cJSON_PrintUnformatted(changed);
        uint64_t size = strlen(text);
        file = fopen(weights, "wb");
        assert_true(file && fwrite(&size, 8, 1, file) == 1 && fwrite(text, 1, size, file) == size && fflush(file) == 0 &&
                    ftruncate(fileno(file), (long)size + 8 + data) ==
                        0); /* zeros: no content is looked at but that of tied tensors */
        fclose(file);
        hmoec_arena *arena = hmoec_arena_create();
        hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
        size_t spec_size;
        bool ok = hmoec_import(arena, folder, diagnostics, &spec_size) != NULL;
        bool expected = false;
        for (size_t u = 0; u < sizeof unread / sizeof *unread; u++) expected = expected || strstr(name, unread[u]);
        const char *said = hmoec_diagnostics_first(diagnostics);
        if (ok != expected || (!ok && (!strstr(said, name) || hmoec_diagnostics_errors(diagnostics) != 1)))
          fail_msg("%s of %s, %s: %s", name, goldens[r], way ? "of another shape" : "under another name", ok ? "imported" : said);
        hmoec_diagnostics_destroy(diagnostics);
        hmoec_arena_destroy(arena);
        cJSON_free(text);
        cJSON_Delete(changed);
      }
    cJSON_Delete(whole);
    unlink(config);
    unlink(weights);
  }
}

/* A golden checkpoint with other tensors. edits: -PART leaves those out that have PART in their name, NAME=2,3 gives one another shape or
 * adds it, *END=2,3 all whose name ends so. expected: what is said, in all; or, behind a line break, a line of the spec. */
typedef struct changed_row {
  const char *golden, *edits, *expected;
} changed_row;

static bool ends_with(const char *name, const char *end) {
  return strlen(name) >= strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0;
}

static void shape_set(cJSON *tensor, const char *sizes) {
  cJSON *shape = cJSON_CreateArray();
  for (const char *at = sizes; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)strtol(at, NULL, 10)));
  cJSON_DeleteItemFromObject(tensor, "shape");
  cJSON_AddItemToObject(tensor, "shape", shape);
}

static void tensors_edit(cJSON *whole, char *edit) {
  char *sizes = strchr(edit, '=');
  if (sizes) *sizes++ = '\0';
  bool all = *edit == '*', out = *edit == '-';
  if (!all && !out && !cJSON_GetObjectItemCaseSensitive(whole, edit)) {
    cJSON *added = cJSON_AddObjectToObject(whole, edit);
    cJSON_AddStringToObject(added, "dtype", "F32");
  }
  for (cJSON *tensor = whole->child, *next; tensor; tensor = next) {
    next = tensor->next;
    if (out && strstr(tensor->string, edit + 1)) cJSON_Delete(cJSON_DetachItemViaPointer(whole, tensor));
    if (sizes && (all ? ends_with(tensor->string, edit + 1) : strcmp(tensor->string, edit) == 0)) shape_set(tensor, sizes);
  }
}

/* Zeros, of one element after the other: no content is looked at but that of tied tensors. */
static void zeros_write(const char *path, cJSON *whole) {
  uint64_t end = 0;
  cJSON_DeleteItemFromObject(whole, "__metadata__");
  for (cJSON *tensor = whole->child; tensor; tensor = tensor->next) {
    uint64_t bytes = 4;
    for (const cJSON *size = cJSON_GetObjectItem(tensor, "shape")->child; size; size = size->next)
      bytes *= (uint64_t)size->valuedouble;
    cJSON_DeleteItemFromObject(tensor, "data_offsets");
    cJSON *offsets = cJSON_AddArrayToObject(tensor, "data_offsets");
    cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)end));
    cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)(end += bytes)));
  }
  char *text = cJSON_PrintUnformatted(whole);
  uint64_t size = strlen(text);
  FILE *file = fopen(path, "wb");
  assert_true(file && fwrite(&size, 8, 1, file) == 1 && fwrite(text, 1, size, file) == size && fflush(file) == 0 &&
              ftruncate(fileno(file), (long)(size + 8 + end)) == 0);
  fclose(file);
  cJSON_free(text);
}

static void keep_text(void *user, const hmoec_message *message) { fprintf(user, "%s%s", ftell(user) ? "\n" : "", message->text); }

#define HYPER "switch-hypermoe-tiny"
#define FIRST "encoder.block.0.layer.0.SelfAttention."
#define GENERATOR "encoder.param_gen."
#define MIXTURE "encoder.block.1.layer.1.mlp."
#define ROUTER(scope)                                                                                                              \
  scope "gate.embedding=1,48 " scope "gate.hypernet.0.weight=11,48 " scope "gate.hypernet.0.bias=11 " scope                        \
        "gate.hypernet.2.weight=196,11 " scope "gate.hypernet.2.bias=196 "
#define ROUTERS                                                                                                                    \
  "-.router. " ROUTER(MIXTURE) ROUTER("encoder.block.3.layer.1.mlp.") ROUTER("decoder.block.1.layer.2.mlp.")                       \
      ROUTER("decoder.block.3.layer.2.mlp.")
static const changed_row changed_rows[] = {
    {HYPER, "shared.weight=0,48", "'shared.weight': expected [vocab, d_model], found [0, 48]"},
    {HYPER, "shared.weight=1,48", "vocab_size = 211, but vocab is 1 in the checkpoint, by 'shared.weight'"},
    {HYPER, "shared.weight=1,1,1,1,1,1,1,1,1", "'shared.weight': expected [vocab, d_model], found [1, 1, 1, 1, 1, 1, 1, 1, ...]"},
    {HYPER, "encoder.block.1000.x=1", "'encoder.block.1000.x': more than 1000 layers"},
    {HYPER, "encoder.block.2147483648.x=1", "'encoder.block.2147483648.x': more than 1000 layers"},
    {HYPER, "encoder.block.999.x=1", "num_layers = 4, but the checkpoint has layers 0 to 999 of 'encoder.block.'"},
    {HYPER, "encoder.block.9=1 encoder.block.x.5=1 encoder.block.=1",
     "3 tensors of no known use are ignored: 'encoder.block.' and others"},
    {HYPER, "encoder.blocks=1", "1 tensor of no known use is ignored: 'encoder.blocks'"},
    {HYPER,
     "x.shared.weight=1 x.embed_tokens.weight=1 x.lm_head.weight=1 x.wte.weight=1 attn.bias=1 masked_bias=1 mlp.w_noise=1 "
     "mlp.mean=1 "
     "mlp.std=1 a_manual.weight=1 a_manual.bias=1 gate.gate.weight=1 gate.gate.bias=1 inv_freq=1",
     ""},
    {HYPER, "inv_freq=1 zz=1", "1 tensor of no known use is ignored: 'zz'"},
    {HYPER, "", "\ndim router_hidden = 256\n"},
    {"switch-moe-tiny", ROUTERS, "\ndim router_hidden = 11\n"},
    {"switch-moe-tiny", ROUTERS, "\noption router = hypernetwork in {classifier, hypernetwork}\n"},
    {"switch-moe-tiny", ROUTERS MIXTURE "experts.expert_4.wi.weight=96,48",
     "'" MIXTURE "experts.expert_4': there are more than experts = 4, which follows from '" MIXTURE "gate.hypernet.2.weight'"},
    {"switch-moe-tiny", ROUTERS MIXTURE "gate.embedding=2,48",
     "'" MIXTURE "gate.embedding': expected [1, d_model = 48], found [2, 48]"},
    {"switch-moe-tiny", ROUTERS MIXTURE "gate.hypernet.2.weight=195,11 " MIXTURE "gate.hypernet.2.bias=195",
     "'" MIXTURE "gate.hypernet.2.weight': its 195 rows are not a multiple of d_model + 1 = 49"},
    {"switch-moe-tiny", ROUTERS MIXTURE "gate.hypernet.2.bias=195",
     "'" MIXTURE
     "gate.hypernet.2.bias': expected [experts * (d_model + 1) = 196], found [195]; experts * (d_model + 1) follows from '" MIXTURE
     "gate.hypernet.2.weight'"},
    {"switch-moe-tiny", ROUTERS "decoder.block.1.layer.2.mlp.gate.hypernet.2.weight=245,11",
     "'decoder.block.1.layer.2.mlp.gate.hypernet.2.weight': expected [experts * (d_model + 1) = 196, router_hidden = 11], found "
     "[245, 11]; experts * (d_model + 1) follows from '" MIXTURE "gate.hypernet.2.weight'"},
    {"switch-moe-tiny", ROUTERS "decoder.block.1.layer.2.mlp.gate.hypernet.2.bias=195",
     "'decoder.block.1.layer.2.mlp.gate.hypernet.2.bias': expected [experts * (d_model + 1) = 196], found [195]; experts * "
     "(d_model + 1) follows from '" MIXTURE "gate.hypernet.2.weight'"},
    {HYPER, "-encoder.block.", "there is no tensor 'encoder.block.0...': the checkpoint has none of these layers"},
    {HYPER, "encoder.block.1.layer.1.mlp.experts.expert_4.wi.weight=96,48",
     "'encoder.block.1.layer.1.mlp.experts.expert_4': there are more than experts = 4, which follows from "
     "'encoder.block.1.layer.1.mlp.router.classifier.weight'"},
    {HYPER,
     "*SelfAttention.q.weight=47,48 *SelfAttention.k.weight=47,48 *SelfAttention.v.weight=47,48 *SelfAttention.o.weight=48,47",
     "'" FIRST "q.weight': its 47 rows are not heads = 3 equal heads; heads follows from '" FIRST
     "relative_attention_bias.weight'"},
    {HYPER, FIRST "k.weight=47,48",
     "'" FIRST "k.weight': expected [heads * d_kv = 48, d_model = 48], found [47, 48]; heads * d_kv follows from '" FIRST
     "q.weight'"},
    /* Without generated biases the matrices say how wide the bottleneck is. */
    {HYPER, "-.param_gen.decoder.bias_", "\ndim bottleneck = 8, hyper_hidden = 5\n"},
    {HYPER, "-.param_gen.decoder.bias_", "\noption generated_bias = 0 in {0, 1}\n"},
    {HYPER, "-.param_gen.decoder.bias_ " GENERATOR "decoder.weight_down.weight=336,5",
     "'" GENERATOR
     "decoder.weight_down.bias': expected [d_model * bottleneck = 336], found [384]; d_model * bottleneck follows from '" GENERATOR
     "decoder.weight_down.weight'"},
    {HYPER, "-.param_gen.decoder.bias_ " GENERATOR "decoder.weight_up.weight=383,5",
     "'" GENERATOR "decoder.weight_up.weight': expected [d_model * bottleneck = 384, hyper_hidden = 5], found [383, 5]; d_model * "
     "bottleneck follows from '" GENERATOR "decoder.weight_down.weight'"},
    {HYPER, GENERATOR "decoder.weight_up.weight=383,5",
     "'" GENERATOR "decoder.weight_up.weight': expected [d_model * bottleneck = 384, hyper_hidden = 5], found [383, 5]; d_model * "
     "bottleneck follows from '" GENERATOR "decoder.bias_down.weight'"},
    {HYPER, GENERATOR "decoder.linear1.weight=5,8",
     "'" GENERATOR "decoder.linear1.weight': expected [hyper_hidden = 5, selection_embedding + layer_embedding = 9], found [5, 8]; "
     "selection_embedding + layer_embedding follows from '" GENERATOR "layer_embed.weight'"},
    {HYPER, GENERATOR "decoder.linear1.bias=6",
     "'" GENERATOR "decoder.linear1.bias': expected [hyper_hidden = 5], found [6]; hyper_hidden follows from '" GENERATOR
     "decoder.linear1.weight'"},
    {HYPER, GENERATOR "decoder.bias_up.bias=47",
     "'" GENERATOR "decoder.bias_up.bias': expected [d_model = 48], found [47]; d_model follows from 'shared.weight'"},
    {HYPER, GENERATOR "layer_embed.weight=3,5",
     "'" GENERATOR "layer_embed.weight': expected [layers = 4, layer_embedding], found [3, 5]"},
    {"gpt2-hypermoe-tiny-k2", "transformer.h.1.attn.c_attn.weight=48,143",
     "'transformer.h.1.attn.c_attn.weight': expected [d_model = 48, 3 * d_model = 144], found [48, 143]; 3 * d_model follows from "
     "'transformer.wte.weight'"},
    {"gpt2-hypermoe-tiny-k2", "transformer.h.1.mlp.experts.expert_1.c_fc.bias=191",
     "'transformer.h.1.mlp.experts.expert_1.c_fc.bias': expected [d_ff = 192], found [191]; d_ff follows from "
     "'transformer.h.0.mlp.experts.expert_0.c_fc.weight'"},
    {"gpt2-hypermoe-tiny-k2", "*c_attn.bias=143",
     "'transformer.h.0.attn.c_attn.bias': expected [3 * d_model = 144], found [143]; 3 * d_model follows from "
     "'transformer.wte.weight'"},
};
#undef HYPER
#undef FIRST
#undef GENERATOR
#undef MIXTURE
#undef ROUTER
#undef ROUTERS

static void test_changed_tensors(void **state) {
  (void)state;
  char config[128], weights[128], path[1024];
  snprintf(config, sizeof config, "%s/config.json", folder);
  snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
  size_t failures = 0;
  for (size_t r = 0; r < sizeof changed_rows / sizeof *changed_rows; r++) {
    const changed_row *row = &changed_rows[r];
    snprintf(path, sizeof path, GOLDEN "%s/config.json", row->golden);
    assert_int_equal(symlink(path, config), 0);
    snprintf(path, sizeof path, GOLDEN "%s/model.safetensors", row->golden);
    FILE *file = fopen(path, "rb");
    uint64_t length = 0;
    assert_true(file && fread(&length, sizeof length, 1, file) == 1);
    char *header = calloc(1, length + 1), *edits = strdup(row->edits), *said = NULL;
    assert_true(fread(header, 1, length, file) == length);
    fclose(file);
    cJSON *whole = cJSON_Parse(header);
    for (char *rest = edits, *edit; (edit = strtok_r(NULL, " ", &rest));) tensors_edit(whole, edit);
    zeros_write(weights, whole);
    size_t size;
    FILE *stream = open_memstream(&said, &size);
    hmoec_arena *arena = hmoec_arena_create();
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep_text, stream);
    const char *spec = hmoec_import(arena, folder, diagnostics, &size);
    fflush(stream);
    bool of_spec = *row->expected == '\n', ok = of_spec ? spec && strstr(spec, row->expected) : strcmp(said, row->expected) == 0;
    if (!ok) {
      print_error("expected\n%s\nfound\n%s\n", row->expected, said);
      print_error("of %s, %s\n", row->golden, row->edits);
    }
    failures += !ok;
    hmoec_diagnostics_destroy(diagnostics);
    hmoec_arena_destroy(arena);
    fclose(stream);
    free(said);
    free(edits);
    free(header);
    cJSON_Delete(whole);
    unlink(config);
    unlink(weights);
  }
  assert_int_equal(failures, 0);
}

/* What the model of a directory is called. */
static void test_names(void **state) {
  (void)state;
  static const char sixty[] = "abcdefghij_bcdefghij_bcdefghij_bcdefghij_bcdefghij_bcdefghij";
  static const struct {
    const char *directory, *given, *name; /* given: as the path ends, NULL: as the directory is called */
  } rows[] = {
      {"tiny", NULL, "tiny"},
      {"Tiny9", NULL, "Tiny9"},
      {"switch-moe.v2", NULL, "switch_moe_v2"},
      {"a--b..c", NULL, "a_b_c"},
      {"--a--", NULL, "a"},
      {"_a_", NULL, "a"},
      {"3d", NULL, "model_3d"},
      {"x3", NULL, "x3"},
      {"model", NULL, "model_model"},
      {"int", NULL, "model_int"},
      {"stdio", NULL, "model_stdio"},
      {"for", NULL, "model_for"},
      {"hmoe", NULL, "model_hmoe"},
      {"\xc3\xa9", NULL, "model_of_directory"},
      {"---", NULL, "model_of_directory"},
      {"\xc3\xa9t\xc3\xa9", NULL, "t"},
      {"tiny", "tiny/", "tiny"},
      {"tiny", "tiny//", "tiny"},
      {"tiny", "tiny/.", "tiny"},
      {"tiny", "tiny/../tiny", "tiny"},
      {"models--some--one/snapshots/abc", NULL, "one"},
      {"models--one/snapshots/abc", NULL, "one"},
      {"others--some--one/snapshots/abc", NULL, "abc"},
      {"models--some--one/snapshot/abc", NULL, "abc"},
      {"models-asome--one/snapshots/abc", NULL, "abc"},
  };
  char path[1024], command[2048];
  for (size_t i = 0; i < sizeof rows / sizeof *rows + 2; i++) {
    char directory[256], name[256];
    if (i < sizeof rows / sizeof *rows) {
      snprintf(directory, sizeof directory, "%s", rows[i].directory);
      snprintf(name, sizeof name, "%s", rows[i].name);
    } else { /* at most 94 characters, of which the last is no underscore */
      snprintf(directory, sizeof directory, "%s_%.*s", sixty, i % 2 ? 33 : 40, sixty);
      snprintf(name, sizeof name, "%s_%.*s", sixty, 33, sixty);
    }
    snprintf(command, sizeof command, "mkdir -p '%s/%s' && ln -s " GOLDEN "switch-moe-tiny/*.* '%s/%s/'", folder, directory, folder,
             directory);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/%s", folder, i < sizeof rows / sizeof *rows && rows[i].given ? rows[i].given : directory);
    hmoec_arena *arena = hmoec_arena_create();
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
    size_t size;
    const char *text = hmoec_import(arena, path, diagnostics, &size);
    assert_non_null(text);
    char line[300];
    snprintf(line, sizeof line, "\nmodel %s\n", name);
    if (!strstr(text, line)) fail_msg("%s: expected %sfound %.200s", path, line, text);
    hmoec_diagnostics_destroy(diagnostics);
    hmoec_arena_destroy(arena);
    snprintf(command, sizeof command, "rm -r '%s/%.*s'", folder, (int)strcspn(directory, "/"), directory);
    assert_int_equal(system(command), 0);
  }
}

/* A directory is called without the slashes behind it. */
static void test_no_config(void **state) {
  (void)state;
  static const char *const ends[] = {"", "/", "//"};
  for (size_t i = 0; i < 4; i++) {
    char path[64], expected[128], *said = NULL;
    snprintf(path, sizeof path, "%s%s", i < 3 ? folder : "/", i < 3 ? ends[i] : "");
    snprintf(expected, sizeof expected, "%s: error: it has no config.json, which a directory of Hugging Face has\n",
             i < 3 ? folder : "/");
    size_t size;
    FILE *stream = open_memstream(&said, &size);
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stream);
    hmoec_arena *arena = hmoec_arena_create();
    assert_null(hmoec_import(arena, path, diagnostics, &size));
    hmoec_arena_destroy(arena);
    hmoec_diagnostics_destroy(diagnostics);
    fclose(stream);
    assert_string_equal(said, expected);
    free(said);
  }
}

static void test_checkpoint_names(void **state) {
  (void)state;
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  hmoec_checkpoint *checkpoint;
  assert_true(hmoec_checkpoint_open(GOLDEN "switch-moe-tiny", diagnostics, &checkpoint)); /* a directory */
  hmoec_parameter_source source = hmoec_checkpoint_source(checkpoint);
  const int64_t dims[] = {48};
  double direct[48], other[48];
  const hmoec_location at = {0};
  assert_true(source.get(source.user, "encoder.final_layer_norm.weight", 1, dims, direct, diagnostics, at));
  assert_true(source.get(source.user, "no.such\nencoder.final_layer_norm.weight", 1, dims, other, diagnostics, at));
  assert_memory_equal(direct, other, sizeof direct);
  assert_int_equal(hmoec_diagnostics_errors(diagnostics), 0);
  assert_false(source.get(source.user, "no.such\nnor.this", 1, dims, other, diagnostics, at));
  assert_non_null(
      strstr(hmoec_diagnostics_first(diagnostics), "model.safetensors has no tensor \"no.such\", nor one of its other names"));
  hmoec_checkpoint_close(checkpoint);
  hmoec_diagnostics_destroy(diagnostics);

  diagnostics = hmoec_diagnostics_create(NULL);
  assert_true(hmoec_checkpoint_open(GOLDEN "switch-moe-tiny", diagnostics, &checkpoint));
  source = hmoec_checkpoint_source(checkpoint);
  assert_true(source.get(source.user, "module.transformer.encoder.final_layer_norm.weight", 1, dims, other, diagnostics, at));
  assert_memory_equal(direct, other, sizeof direct);
  assert_false(source.get(source.user, "decoder.final_layer_norm.weight\nencoder.block.0.layer.0.layer_norm.weight", 1, dims, other,
                          diagnostics, at));
  assert_string_equal(hmoec_diagnostics_first(diagnostics),
                      "'decoder.final_layer_norm.weight' and 'encoder.block.0.layer.0.layer_norm.weight' are names of one tied "
                      "tensor in this model, but their contents differ");
  hmoec_checkpoint_close(checkpoint);
  hmoec_diagnostics_destroy(diagnostics);

  /* Shapes that a tensor does not have: one of its sizes, their order, their number. */
#define MATRIX "decoder.block.0.layer.2.mlp.wi.weight"
  static const struct {
    int64_t rank, dims[3];
    const char *expected;
  } shapes[] = {{2, {96, 7}, "f32[96, 7]"},
                {2, {7, 48}, "f32[7, 48]"},
                {2, {48, 96}, "f32[48, 96]"},
                {1, {96}, "f32[96]"},
                {3, {1, 96, 48}, "f32[1, 96, 48]"}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    char message[512];
    diagnostics = hmoec_diagnostics_create(NULL);
    assert_true(hmoec_checkpoint_open(GOLDEN "switch-moe-tiny", diagnostics, &checkpoint));
    source = hmoec_checkpoint_source(checkpoint);
    assert_false(source.get(source.user, MATRIX, shapes[i].rank, shapes[i].dims, other, diagnostics, at));
    snprintf(message, sizeof message,
             "expected \"" MATRIX "\" to be %s, found f32[96, 48] in " GOLDEN "switch-moe-tiny/model.safetensors",
             shapes[i].expected);
    assert_string_equal(hmoec_diagnostics_first(diagnostics), message);
    hmoec_checkpoint_close(checkpoint);
    hmoec_diagnostics_destroy(diagnostics);
  }
#undef MATRIX
}

/* Integers are no weights, and are refused where they are asked for. */
static void test_checkpoint_types(void **state) {
  (void)state;
  static const char header[] = "{\"i\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[0,8]},\"h\":{\"dtype\":\"F16\",\"shape\":"
                               "[2],\"data_offsets\":[8,12]}}";
  const uint16_t half[2] = {0x3c00, 0xc000};
  char path[] = "/tmp/hmoec-types-XXXXXX.safetensors", expected[512];
  int fd = mkstemps(path, 12);
  assert_true(fd >= 0);
  uint64_t size = sizeof header - 1;
  const int32_t integers[2] = {1, 2};
  assert_true(write(fd, &size, 8) == 8 && write(fd, header, size) == (ssize_t)size && write(fd, integers, 8) == 8 &&
              write(fd, half, 4) == 4);
  close(fd);
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  hmoec_checkpoint *checkpoint;
  assert_true(hmoec_checkpoint_open(path, diagnostics, &checkpoint));
  hmoec_parameter_source source = hmoec_checkpoint_source(checkpoint);
  double data[2];
  assert_true(source.get(source.user, "h", 1, (const int64_t[]){2}, data, diagnostics, (hmoec_location){0}));
  assert_true(data[0] == 1 && data[1] == -2);
  assert_false(source.get(source.user, "i", 1, (const int64_t[]){2}, data, diagnostics, (hmoec_location){0}));
  snprintf(expected, sizeof expected, "\"i\" in %s has elements of type I32, expected floating point", path);
  assert_string_equal(hmoec_diagnostics_first(diagnostics), expected);
  hmoec_checkpoint_close(checkpoint);
  hmoec_diagnostics_destroy(diagnostics);
  unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_json),      cmocka_unit_test(test_configs),          cmocka_unit_test(test_config_types),
      cmocka_unit_test(test_tensors),   cmocka_unit_test(test_changed_tensors),  cmocka_unit_test(test_names),
      cmocka_unit_test(test_no_config), cmocka_unit_test(test_checkpoint_names), cmocka_unit_test(test_checkpoint_types)};
  if (!mkdtemp(folder)) return 1;
  int failures = cmocka_run_group_tests(tests, NULL, NULL);
  rmdir(folder);
  return failures;
}
