/* How many groups the steps of compiled plans say that blocks are of: what a device that does not count goes by. That there are never more is seen by
 * every run on a CPU, which refuses them; here, that the plan does not say more than it knows. */
#include "module_fixture.h"

#include "hmoe/abi.h"
#include "library/session.h"

enum { MOST = 16 };

/* The groups of a step, behind its name; `chunk` of a loop over them instead. */
static size_t name_groups(const char *name, uint32_t groups, uint32_t chunk, char *out, size_t size) {
  if (groups == HMOE_NONE) return (size_t)snprintf(out, size, " %s rows", name);
  if (groups == chunk) return (size_t)snprintf(out, size, " %s chunk", name);
  return (size_t)snprintf(out, size, " %s %u", name, groups);
}

/* Kernels over blocks, choices and loops over groups of the first entry that runs, in order. */
static void describe(const hmoec_unit *unit, char *out, size_t size) {
  const char *plan = unit->plan;
  const hmoe_plan *header = unit->plan;
  const hmoe_plan_entry *entry = (const hmoe_plan_entry *)(const void *)(plan + header->entries.offset) + 1;
  const hmoe_plan_step *steps = (const hmoe_plan_step *)(const void *)(plan + entry->steps.offset);
  size_t used = 0;
  uint32_t chunk = 0;
  *out = '\0';
  for (uint32_t i = 0; i < entry->steps.count && used < size; i++) {
    const void *fields = plan + steps[i].fields.offset;
    const hmoe_step_kernel *kernel = fields;
    const hmoe_step_choose *choose = fields;
    const hmoe_step_loop *loop = fields;
    char *at = out + used;
    if (steps[i].kind == HMOE_STEP_KERNEL && kernel->grid != HMOE_GRID_BLOCKS) assert_int_equal(kernel->groups, 1);
    else if (steps[i].kind == HMOE_STEP_KERNEL) used += name_groups("kernel", kernel->groups, chunk, at, size - used);
    if (steps[i].kind == HMOE_STEP_CHOOSE) used += name_groups("choose", choose->groups, chunk, at, size - used);
    if (steps[i].kind == HMOE_STEP_LOOP && loop->kind != HMOE_LOOP_ROWS) {
      used += name_groups("loop", loop->groups, 0, at, size - used);
      chunk = loop->chunk;
    }
  }
  assert_true(used < size);
}

static const struct {
  const char *strategy;
  hmoec_define defines[MOST];
  const char *text;
} cases[] = {
#define EXPERTS_8 " choose 8 kernel 8 kernel 8 kernel 8"
    {"table", {{"top_k", "1"}}, EXPERTS_8},
    {"table", {{"top_k", "2"}}, EXPERTS_8 " choose 28 kernel 28 kernel 28 kernel 28"}, /* sets of 2 of 8 */
    /* Rows over capacity are groups of their own. */
    {"table", {{"top_k", "1"}, {"capacity", "4"}}, " choose 16 kernel 16 kernel 16 kernel 16"},
    {"cache",
     {{"top_k", "2"}, {"experts", "32"}},
     " choose 32 kernel 32 kernel 32 kernel 32 loop 496 choose chunk kernel chunk kernel chunk kernel chunk"},
    {"per_token", {{"top_k", "2"}}, EXPERTS_8 " choose 1 loop rows kernel chunk kernel chunk"},
    {"factored", {{"top_k", "2"}}, EXPERTS_8 " choose 1"},
};

static void test_bounds(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
    hmoec_define defines[MOST] = {{"d_model", "48"}, {"d_ff", "80"}};
    size_t count = 2;
    for (size_t d = 0; cases[i].defines[d].name; d++) defines[count++] = cases[i].defines[d];
    const hmoec_options options = {
        .struct_size = sizeof options, .defines = defines, .define_count = count, .strategy = cases[i].strategy};
    hmoec_session session;
    assert_true(hmoec_session_init(&session, &options, diagnostics) &&
                hmoec_session_load(&session, HMOE_SOURCE_DIR "/models/hypermoe-layer.spec") && hmoec_session_plan(&session));
    char found[1024];
    describe(&session.unit, found, sizeof found);
    if (strcmp(found, cases[i].text) != 0) fail_msg("%zu: expected\n%s\nfound\n%s", i, cases[i].text, found);
    hmoec_session_deinit(&session);
    hmoec_diagnostics_destroy(diagnostics);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_bounds)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
