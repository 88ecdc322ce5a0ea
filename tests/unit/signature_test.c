/* What commands read of a plan, and the inputs they make up. */
#include "module_fixture.h"

#include "emit/blob.h"
#include "frontend/load.h"
#include "hmoe/abi.h"
#include "library/signature.h"

static hmoe_plan_span text(hmoec_blob *blob, const char *name) { return hmoec_blob_append(blob, name, strlen(name), strlen(name)); }

/* A plan with entries open, encode, forward and decode; forward has sizes batch and length, and an optional mask. */
static hmoec_blob make_plan(void) {
  hmoec_blob blob = {0};
  hmoe_plan plan = {.magic = HMOE_PLAN_MAGIC, .abi_version = HMOE_ABI_VERSION};
  hmoec_blob_append(&blob, &plan, sizeof plan, 1);
  hmoe_plan_entry entries[4] = {0};
  static const char *const names[] = {"open", "encode", "forward", "decode"};
  for (size_t i = 0; i < 4; i++) entries[i].name = text(&blob, names[i]);
  entries[3].needs_state = 1;
  const hmoe_plan_dim dims[] = {{.kind = HMOE_DIM_INPUT}, {.kind = HMOE_DIM_INPUT}, {.kind = HMOE_DIM_PRODUCT, .factor = 1}};
  const hmoe_plan_span dim_names[] = {text(&blob, "batch"), text(&blob, "length")};
  const hmoe_plan_tensor inputs[] = {
      {.name = text(&blob, "input_ids"), .dtype = 2, .rank = 2, .shape = {-1, -2}},
      {.name = text(&blob, "attention_mask"), .dtype = 1, .rank = 2, .shape = {-1, -2}, .optional = 1, .fill = 1}};
  const hmoe_plan_tensor output = {.name = text(&blob, "logits"), .rank = 3, .shape = {-1, -2, 197}};
  entries[2].dims = hmoec_blob_append(&blob, dims, sizeof dims, 3);
  entries[2].dim_names = hmoec_blob_append(&blob, dim_names, sizeof dim_names, 2);
  entries[2].inputs = hmoec_blob_append(&blob, inputs, sizeof inputs, 2);
  entries[2].outputs = hmoec_blob_append(&blob, &output, sizeof output, 1);
  plan.entries = hmoec_blob_append(&blob, entries, sizeof entries, 4);
  assert_false(blob.failed);
  memcpy(blob.data, &plan, sizeof plan);
  return blob;
}

static void test_signature(void **state) {
  (void)state;
  hmoec_blob blob = make_plan();
  const hmoec_unit unit = {.plan = blob.data};
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(NULL);
  hmoec_signature signature;
  assert_true(hmoec_signature_read(&unit, NULL, &signature, diagnostics));
  assert_int_equal(signature.entry, 2);
  assert_string_equal(signature.name, "forward");
  assert_int_equal(signature.size_count, 2);
  assert_string_equal(signature.size_names[1], "length");
  assert_int_equal(signature.input_count, 2);
  assert_false(signature.needs_state || signature.inputs[0].optional);
  assert_true(signature.inputs[1].optional);
  assert_int_equal(signature.inputs[0].shape.element, HMOEC_I64);
  assert_int_equal(signature.inputs[1].shape.element, HMOEC_I32);
  hmoec_shape shape = hmoec_signature_shape(&signature.outputs[0], (const int64_t[]){3, 21});
  assert_true(shape.rank == 3 && shape.dims[0] == 3 && shape.dims[1] == 21 && shape.dims[2] == 197);
  assert_true(hmoec_signature_read(&unit, "decode", &signature, diagnostics));
  assert_true(signature.needs_state && signature.entry == 3);
  assert_false(hmoec_signature_read(&unit, "open", &signature, diagnostics));
  assert_string_equal(hmoec_diagnostics_first(diagnostics), "there is no entry 'open'; the model has: encode, forward, decode");
  hmoec_diagnostics_destroy(diagnostics);
  free(blob.data);
}

static void test_random_inputs(void **state) {
  (void)state;
  enum { BATCH = 3, LENGTH = 21 };
  module_fixture fixture;
  fixture_init(&fixture, stderr);
  assert_true(hmoec_load_model(fixture.context, HMOE_SOURCE_DIR "/models/gpt2-hypermoe-tiny.spec", NULL, fixture.diagnostics,
                               &fixture.module));
  MlirOperation entry = hmoec_entry_find(fixture.module, NULL);
  assert_int_equal(hmoec_most_positions(entry), 64);
  int64_t ids[BATCH * LENGTH], largest = 0, padded = 0;
  int32_t mask[BATCH * LENGTH];
  hmoec_random_input(entry, "input_ids", &(hmoec_shape){.element = HMOEC_I64, .rank = 2, .dims = {BATCH, LENGTH}}, 0, ids);
  hmoec_random_input(entry, "attention_mask", &(hmoec_shape){.element = HMOEC_I32, .rank = 2, .dims = {BATCH, LENGTH}}, 0, mask);
  for (size_t i = 0; i < BATCH * LENGTH; i++) {
    assert_true(ids[i] >= 0 && ids[i] < 197);
    largest = ids[i] > largest ? ids[i] : largest;
    assert_true(mask[i] == 0 || mask[i] == 1);
    assert_true(mask[i] == 1 || i >= LENGTH);                     /* the first row is whole */
    assert_true(i % LENGTH == 0 ? mask[i] : mask[i] <= mask[i - 1]); /* padding is at the end */
    padded += mask[i] == 0;
  }
  assert_true(largest > 150 && padded > 0);
  fixture_deinit(&fixture);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_signature), cmocka_unit_test(test_random_inputs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
