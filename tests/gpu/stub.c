#include "ptx_internal.h"
const ptx_opcode ptx_async_opcodes[] = {{NULL, NULL}};
const ptx_opcode ptx_matrix_opcodes[] = {{NULL, NULL}};
void ptx_transfer_complete(ptx_launch_state *state, uint32_t index) { (void)state, (void)index; }
void ptx_warp_ends(ptx_warp *warp) { (void)warp; }
void ptx_mbarrier_report(const ptx_launch_state *state, char *text, size_t size) { (void)state, (void)text, (void)size; }
