/* The chips that code is made for where nobody names them: those of the machine's devices, for code that is loaded into this process. */
#include "cuda_fixture.h"

#include "runtime_internal.h"
#include "target/target.h"

static const char layer[] =
    "model layer\ndim tokens = ?\nparam w: f32[8, 8] from \"w\"\ninput x: f32[tokens, 8]\noutput y = linear(x, w)\n";

/* Images that loaded code has for GPUs, "compute_80 compute_90a ". */
static void expect_images(const char *mcpu, const char *expected) {
  const hmoec_options options = {.struct_size = sizeof options, .target = "cuda", .mcpu = mcpu};
  const struct hmoe_model_object *object;
  hmoec_compilation *compilation;
  char found[128] = "";
  assert_int_equal(hmoec_compile_text("layer.spec", layer, sizeof layer - 1, &options, &compilation), HMOEC_OK);
  assert_int_equal(hmoec_compilation_load(compilation, &object), HMOEC_OK);
  for (uint32_t i = 0; i < object->image_count; i++)
    if (strcmp(object->images[i].target, "cuda") == 0) {
      strcat(found, object->images[i].version);
      strcat(found, " ");
    }
  assert_string_equal(found, expected);
  hmoec_compilation_destroy(compilation);
}

static void set_chips(int devices, int first, int later) {
  fake.set_devices(devices);
  fake.set_capability(first);
  fake.set_later_capability(later);
}

/* What the driver says of devices, and what is made of that. */
static void test_processors(void **state) {
  (void)state;
  static const struct {
    int capability, driver;
    const char *processor;
  } cases[] = {{80, 13000, "sm_80"},  {86, 13000, "sm_80"}, {89, 12000, "sm_80"},  {80, 11040, "sm_80"},  {90, 13000, "sm_90a"},
               {90, 12070, "sm_90a"}, {90, 12069, "sm_80"}, {100, 13000, "sm_80"}, {120, 13000, "sm_80"}, {75, 13000, NULL}};
  const hmoec_target *target = &hmoec_target_cuda;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoe_chip chip;
    set_chips(2, 75, cases[i].capability);
    fake.set_driver(cases[i].driver);
    assert_true(hmoe_device_chip("cuda", 1, &chip));
    assert_int_equal(chip.driver, cases[i].driver);
    assert_int_equal(chip.major * 10 + chip.minor, cases[i].capability);
    const char *processor = target->processor_of(&chip);
    if (cases[i].processor) assert_string_equal(processor, cases[i].processor);
    else assert_null(processor);
    assert_true(hmoe_device_chip("cuda", 0, &chip));
    assert_int_equal(chip.major * 10 + chip.minor, 75);
    assert_false(hmoe_device_chip("cuda", 2, &chip));
  }
  static const char *const calls[] = {"cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetAttribute", "cuDriverGetVersion"};
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    hmoe_chip chip;
    fake.fail_call(calls[i], 1, CUDA_ERROR_UNKNOWN);
    assert_false(hmoe_device_chip("cuda", 0, &chip));
    assert_true(hmoe_device_chip("cuda", 0, &chip));
  }
  hmoe_chip chip;
  assert_false(hmoe_device_chip("cpu", 0, &chip));
  assert_false(hmoe_device_chip("abacus", 0, &chip));
  set_chips(1, 90, 0);
  fake.set_driver(13000);
}

/* Any of the devices may run the object; those that nothing is made for do not count, and where there are no others code is for all chips. */
static void test_images(void **state) {
  (void)state;
  expect_images(NULL, "compute_90a ");
  set_chips(3, 90, 89);
  expect_images(NULL, "compute_80 compute_90a ");
  set_chips(2, 75, 86);
  expect_images(NULL, "compute_80 ");
  expect_images("sm_90a", "compute_90a ");
  set_chips(1, 75, 0);
  expect_images(NULL, "compute_80 compute_90a ");
  set_chips(1, 90, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_processors), cmocka_unit_test(test_images)};
  return cmocka_run_group_tests(tests, fake_open, fake_close);
}
