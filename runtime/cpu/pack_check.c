/* Which PACKs the CPU can follow: formats, columns and depth of a destination in each of its layouts (abi_cpu.h). */
#include "cpu/cpu.h"

#include "hmoe/abi_cuda.h"

typedef hmoe_plan_checker checker;
#define bad hmoe_step_bad

/* Columns come in panels, and what they generate does, too. */
static hmoe_status check_pack_columns(const checker *check, const hmoe_pack_source *source, const hmoe_pack_destination *to) {
  bool plain = to->layout == HMOE_LAYOUT_VECTOR && to->generated_rows == 1 && !to->between;
  uint64_t step = to->layout == HMOE_LAYOUT_COLUMNS ? 1 : HMOE_PANEL;
  if (to->generated_rows < 1 || (!plain && to->columns % step) || to->columns / step % to->generated_rows)
    return bad(check, "%llu columns of %llu generated rows", (unsigned long long)to->columns,
               (unsigned long long)to->generated_rows);
  if (to->between && to->layout == HMOE_LAYOUT_COLUMNS)
    return bad(check, "%u panels between those of a layout without panels", to->between);
  bool planes = to->generated_layout == HMOE_LAYOUT_PLANES, pairs = to->generated_format == HMOE_FORMAT_BF16;
  if (planes && (!pairs || to->generated_rows % HMOE_CUDA_PLANE))
    return bad(check, "%llu columns of %llu generated rows in planes", (unsigned long long)to->columns,
               (unsigned long long)to->generated_rows);
  if (to->generated_format >= HMOE_FORMAT_COUNT || source->generated.count > to->generated_rows ||
      (pairs && (to->generated_rows % HMOE_PANEL || to->layout == HMOE_LAYOUT_COLUMNS)))
    return bad(check, "%llu of %llu generated rows of format %u", (unsigned long long)source->generated.count,
               (unsigned long long)to->generated_rows, to->generated_format);
  return HMOE_OK;
}

/* ---- layouts ---- */

static hmoe_status check_vector(const checker *check, const hmoe_step_pack *pack) {
  const hmoe_pack_source *source = &pack->source;
  if (source->parts.count == 1 && source->depth.count == 1) return HMOE_OK;
  return bad(check, "a vector in %llu parts of depth %llu", (unsigned long long)source->parts.count,
             (unsigned long long)source->depth.count);
}

/* Parts of the depth beside each other, and within the panel's, or the column's. */
static hmoe_status check_depth(const checker *check, const hmoe_step_pack *pack) {
  const hmoe_pack_source *source = &pack->source;
  const hmoe_pack_destination *to = &pack->destination;
  if (!hmoe_pack_writes(pack)) return HMOE_OK;
  if (source->parts.count > 1 && to->part_rows < source->depth.count)
    return bad(check, "parts of the depth would overwrite each other");
  uint64_t last = hmoe_add(to->first_row, hmoe_pack_depth_end(source, to) - 1);
  if (last >= to->operand_rows)
    return bad(check, "depth row %llu of %llu", (unsigned long long)last, (unsigned long long)to->operand_rows);
  return HMOE_OK;
}

static hmoe_status check_panels(const checker *check, const hmoe_step_pack *pack) {
  const hmoe_pack_source *source = &pack->source;
  const hmoe_pack_destination *to = &pack->destination;
  bool words = to->format == HMOE_FORMAT_BF16; /* two depth rows share one */
  if (!hmoe_pack_writes(pack)) return HMOE_OK;
  if (words && (to->first_row | (source->parts.count > 1 ? to->part_rows : 0) | to->operand_rows) % 2)
    return bad(check, "bf16 from depth row %llu on of %llu", (unsigned long long)to->first_row,
               (unsigned long long)to->operand_rows);
  if (to->first_column % HMOE_PANEL) return bad(check, "panels from column %llu on", (unsigned long long)to->first_column);
  return check_depth(check, pack);
}

static hmoe_status check_planes(const checker *check, const hmoe_step_pack *pack) {
  const hmoe_pack_destination *to = &pack->destination;
  if (to->operand_rows % HMOE_CUDA_PLANE || to->first_column % HMOE_PANEL)
    return bad(check, "planes of depth %llu from column %llu on", (unsigned long long)to->operand_rows,
               (unsigned long long)to->first_column);
  return check_depth(check, pack);
}

typedef struct layout_rule {
  bool formats[HMOE_FORMAT_COUNT];
  hmoe_status (*check)(const checker *check, const hmoe_step_pack *pack);
} layout_rule;

static const layout_rule layouts[HMOE_LAYOUT_COUNT] = {
    [HMOE_LAYOUT_VECTOR] = {{[HMOE_FORMAT_F32] = true}, check_vector},
    [HMOE_LAYOUT_PANELS] = {{[HMOE_FORMAT_F32] = true, [HMOE_FORMAT_BF16] = true}, check_panels},
    [HMOE_LAYOUT_COLUMNS] = {{[HMOE_FORMAT_F32] = true}, check_depth},
    [HMOE_LAYOUT_PLANES] = {{[HMOE_FORMAT_BF16] = true}, check_planes},
};

hmoe_status hmoe_cpu_check_pack(const hmoe_plan_checker *check, const hmoe_step_pack *pack) {
  const hmoe_pack_destination *to = &pack->destination;
  if (to->layout >= HMOE_LAYOUT_COUNT || to->format >= HMOE_FORMAT_COUNT || !layouts[to->layout].formats[to->format])
    return bad(check, "format %u of layout %u", to->format, to->layout);
  HMOE_TRY(check_pack_columns(check, &pack->source, to));
  return layouts[to->layout].check(check, pack);
}

uint64_t hmoe_cpu_pack_columns_end(const hmoe_pack_destination *to) {
  if (!to->between || !to->columns) return to->columns;
  uint64_t before = hmoe_mul(to->columns / HMOE_PANEL - 1, 1 + (uint64_t)to->between);
  return hmoe_mul(hmoe_add(before, 1), HMOE_PANEL);
}
