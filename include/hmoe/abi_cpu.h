/* What CPU images are, beside abi.h: their versions, how right operands, keys and values are laid out, and how PACK fills them. Any target may choose other
 * layouts; nothing but kernels of CPU images and the CPU device of the runtime knows these.
 *
 *   panels(K, N)  the right operand of a product, [ceil(N/32)][K][32] f32: element (k, n) at ((n/32)*K + k)*32 + n%32, zero-padded.
 *   pairs(K, N)   the same for bf16 products, [ceil(N/32)][D/2][32][2] bf16 with D = K rounded up to 32: element (k, n) at
 *                 (((n/32)*(D/2) + k/2)*32 + n%32)*2 + k%2, zero-padded. Two neighbours in k share a 32-bit word.
 *   keys, values  what attention reads, of R rows of at most C positions (C a multiple of 32), heads of D: right operands of its two
 *                 products, as they are. keys: [R][heads][C/32][D][32] f32, element (row, head, position t, i) at
 *                 (((row*heads + head)*(C/32) + t/32)*D + i)*32 + t%32. values: [R][heads][ceil(D/32)][C][32] f32, element
 *                 at (((row*heads + head)*ceil(D/32) + i/32)*C + t)*32 + i%32, zero for i >= D. Positions that no run has reached have
 *                 no meaning. A state's parts are heads of keys, panels of values, and its capacity is a multiple of 32.
 *
 * HMOE_LAYOUT_PANELS of PACK (hmoe_pack_destination) is panels(K, N) of f32, pairs(K, N) of bf16, K being operand_rows. Row i of part j of column o is
 * column first_column + o, which begins at a multiple of HMOE_PANEL, of depth row first_row + j*part_rows + i. columns is a multiple of HMOE_PANEL.
 * BF16 rounds to nearest, ties to even; NaN becomes a quiet NaN; bf16 sources keep their bits. first_row, operand_rows and, with several parts,
 * part_rows are even then, and a pack of one part with first_row 0 zeroes the rows behind its own up to a multiple of HMOE_PANEL; packs of other rows of
 * the panels come later.
 *
 * Of PANELS and VECTOR column o of Q = generated_rows is row q of column c with
 *   generated_format F32    o = (p*Q + q)*HMOE_PANEL + c%HMOE_PANEL, p = c/HMOE_PANEL
 *   generated_format BF16   o = ((p*(Q/2) + q/2)*HMOE_PANEL + c%HMOE_PANEL)*2 + q%2; Q is a multiple of HMOE_PANEL
 * and columns a multiple of HMOE_PANEL where Q > 1. With `between`, column o is moved on to column o/HMOE_PANEL*(1 + between)*HMOE_PANEL + o%HMOE_PANEL,
 * behind first_column, and columns is a multiple of HMOE_PANEL: two matrices whose panels alternate have 1 each, and the second begins HMOE_PANEL columns
 * behind the first. */
#ifndef HMOE_ABI_CPU_H
#define HMOE_ABI_CPU_H

/* The versions of "cpu" images, by the instructions that they take, the best last: "portable", "avx2", "avx512", "avx512_bf16", "amx". The last
 * two are in objects with bf16 products only. */
enum {
  HMOE_CPU_PORTABLE = 0,
  HMOE_CPU_AVX2 = 1,
  HMOE_CPU_AVX512 = 2,
  HMOE_CPU_AVX512_BF16 = 3,
  HMOE_CPU_AMX = 4, /* AVX512_BF16 and tiles; the system must have granted them to the process */
  HMOE_CPU_COUNT = 5,
};

#define HMOE_PANEL 32 /* columns of a panel, and what depths of pairs are rounded up to */

#endif
