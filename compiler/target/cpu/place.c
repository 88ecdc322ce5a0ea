/* place: every kernel gets its schedule, and so do the steps that cut rows into blocks for kernels. */
#include "ir/hmk_ops.h"
#include "target/cpu/emit.h"
#include "target/cpu/knobs.h"

enum { BF16_CHUNKS = 4 /* those of f32 in one of bf16 */ };

/* Columns of the hidden block that exist at one time: as many chunks as the knob gives, but none that is a small rest. */
static int64_t chunk_columns(MlirOperation ffn, const hmoec_schedule *schedule) {
  bool bf16 = hmoec_op_string_is(ffn, "first_format", hmoec_format_name(HMOEC_FORMAT_BF16));
  int64_t chunk = hmoec_cpu_knob(schedule, CPU_CHUNK_PANELS) * (bf16 ? BF16_CHUNKS : 1);
  int64_t panels = (hmoec_op_int(ffn, "first_n") + HMOE_PANEL - 1) / HMOE_PANEL;
  if (panels > chunk) chunk = (panels + panels / chunk - 1) / (panels / chunk);
  return chunk * HMOE_PANEL;
}

bool hmoec_cpu_place(MlirOperation function, MlirOperation op, const hmoec_schedule *schedule) {
  static const struct {
    const char *op;
    size_t knob;
  } blocks[] = {{"hmk.route_topk", CPU_ROUTE_ROWS},  {"hmk.combine", CPU_COMBINE_ROWS}, {"hmk.select_embedding", CPU_SELECT_ROWS},
                {"hmk.contract", CPU_CONTRACT_ROWS}, {"hmk.map_rows", CPU_MAP_ROWS},    {"hmk.norm_rows", CPU_NORM_ROWS},
                {"hmk.embed_rows", CPU_EMBED_ROWS},  {"hmk.store_kv", CPU_STORE_ROWS}};
  bool bf16 = hmoec_multiplies_blocks_in(op, HMOEC_FORMAT_BF16);
  int64_t row_block = hmoec_cpu_knob(schedule, bf16 ? CPU_ROW_BLOCK_BF16 : CPU_ROW_BLOCK),
          queries = hmoec_cpu_knob(schedule, CPU_QUERY_ROWS);
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
    int64_t rows = hmoec_cpu_knob(schedule, blocks[i].knob);
    if (hmoec_op_is(op, blocks[i].op)) hmoec_hmk_schedule_set(op, (const char *const[]){"row_block"}, &rows, 1);
  }
  if (hmoec_op_is(op, "hmk.group_tokens") || hmoec_op_is(op, "hmk.group_selections"))
    hmoec_hmk_schedule_set(op, (const char *const[]){"row_block"}, &row_block, 1);
  if (hmoec_op_is(op, "hmk.grouped_matmul"))
    hmoec_hmk_schedule_set(op, (const char *const[]){"row_block", "tasks_a_thread"},
                           (const int64_t[]){row_block, hmoec_cpu_knob(schedule, CPU_TASKS)}, 2);
  if (hmoec_op_is(op, "hmk.grouped_ffn"))
    hmoec_hmk_schedule_set(op, (const char *const[]){"row_block", "chunk_columns"},
                           (const int64_t[]){row_block, chunk_columns(op, schedule)}, 2);
  if (hmoec_op_is(op, "hmk.choose"))
    hmoec_hmk_schedule_set(
        op, (const char *const[]){"row_block", "percent", "block_rows"},
        (const int64_t[]){row_block, hmoec_cpu_knob(schedule, CPU_PERCENT), hmoec_cpu_knob(schedule, CPU_BLOCK_ROWS)}, 3);
  if (!hmoec_op_is(op, "hmk.attention")) return true;
  return hmoec_place_attention(function, op, queries < row_block ? queries : row_block);
}
