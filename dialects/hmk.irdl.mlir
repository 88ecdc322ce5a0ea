// The kernel dialect (hmk, hmoe's kernels): how work is cut. One func.func per entry: @open (runs once, fills the weight arena) and one per entry point; ops run in
// order with a barrier between them. Every op but `buffer` is one step of the plan (include/hmoe/abi.h). Operands are buffers; `bind` names
// the role of each, `rows` the entry dimension that counts its rows (-1: none). All integers are i64. The functions carry hmk.dims (kind, source, factor
// triples) and the signature. Where they are not all the usual, lists with an entry for each operand: `at`, where a step begins in a buffer, in elements as if
// rows had no gaps, of right operands a column (usually 0); `apart`, elements from a row to the next, in such rows (-1: as the buffer's own); `by`, rows that it
// goes on by with every item of a loop (0). The pass `place` adds `layout`, named facts of layouts that kernel/kernels.h has fields for, `schedule`,
// named values of the target's, and in bytes `offsets` and `advances`, where they are not all 0.
// Semantics of the fields are checked by compiler/ir/verify_hmk.c.

irdl.dialect @hmk {
  // A place in memory; its shape is on the `buffer` op that names it.
  irdl.type @memory

  // Memory that steps name. kind, index, dim as in hmoe_plan_buffer (include/hmoe/abi.h): input, output, weight, workspace, cache, param, state; index
  // of a weight: its number, in the order of the arena. role: what it is for (hmoec_role in compiler/target/target.h): plain, rows, right, vector, table, keys,
  // values, distances. element: f32, i32, i64, bf16. shape: the axes of the role, items first; with dim >= 0 the first is replaced by that entry
  // dimension. slot: workspace slot, assigned by plan-workspace (-1 before). Where it applies: in_place, of rows that products read without a copy;
  // generated_rows and generates, of what makes right operands of that many rows and that format; extra_rows, behind the last, which the step that
  // writes them wants; part, in a cache; scope, of a state; key and count, of a param. `place` adds layout: row_bytes from an item to the next,
  // slack_rows readable behind the last, and the offset of a weight in the arena, or of what is in a cache.
  irdl.operation @buffer {
    %kind_a = irdl.base "#builtin.string"
    %role_a = irdl.base "#builtin.string"
    %element_a = irdl.base "#builtin.string"
    %shape_a = irdl.any
    %index_a = irdl.base "#builtin.integer"
    %dim_a = irdl.base "#builtin.integer"
    %slot_a = irdl.base "#builtin.integer"
    %memory_t = irdl.parametric @hmk::@memory<>
    irdl.results(memory: %memory_t)
    irdl.attributes { "kind" = %kind_a, "role" = %role_a, "element" = %element_a, "shape" = %shape_a, "index" = %index_a, "dim" = %dim_a, "slot" = %slot_a }
  }

  // C[dst(r)] (+)= epilogue(A[src(r)] B[group(r)]): gather, product, bias, activation, gate, pass-through and scatter in one kernel.
  // The equation and every binding: hmoec_matmul_spec in compiler/kernel/kernels.h. B is a right operand [k, n] for each
  // group, as the target lays it out. format, a_format, c_format: names of formats (f32, bf16). flags: names of what applies (a_in_place, c_padded,
  // accumulate, paired, dropped_bare). segments: (end, activation, gated, multiply) quadruples, end a column. norm: none, rms, layer: how rows of A are
  // normalised first, with buffers norm_weight and norm_bias (of grouped_ffn: the first product's).
  // dropped: first column and first k that rows over capacity compute.
  irdl.operation @grouped_matmul {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %k_a = irdl.base "#builtin.integer"
    %n_a = irdl.base "#builtin.integer"
    %flags_a = irdl.any
    %segments_a = irdl.any
    %dropped_a = irdl.any
    %norm_a = irdl.base "#builtin.string"
    %norm_epsilon_a = irdl.base "#builtin.float"
    %norm_scale_a = irdl.base "#builtin.float"
    %format_a = irdl.base "#builtin.string"
    %a_format_a = irdl.base "#builtin.string"
    %c_format_a = irdl.base "#builtin.string"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "k" = %k_a, "n" = %n_a, "flags" = %flags_a, "segments" = %segments_a, "dropped" = %dropped_a, "norm" = %norm_a, "norm_epsilon" = %norm_epsilon_a, "norm_scale" = %norm_scale_a, "format" = %format_a, "a_format" = %a_format_a, "c_format" = %c_format_a }
  }

  // Two products whose hidden block stays in the task's scratch: C[dst(r)] (+)= epilogue(act(A[src(r)] B1[group(r)]) B[group(r)]). Attributes and
  // buffers are those of the second grouped_matmul, but a and gather; attributes named first_ and the buffers first_b and first_bias are the first
  // one's. hmoec_ffn_spec in compiler/kernel/kernels.h. Its schedule says chunk_columns, those of the hidden block that exist at one time.
  irdl.operation @grouped_ffn {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %first_k_a = irdl.base "#builtin.integer"
    %first_n_a = irdl.base "#builtin.integer"
    %first_flags_a = irdl.any
    %first_segments_a = irdl.any
    %first_dropped_a = irdl.any
    %k_a = irdl.base "#builtin.integer"
    %n_a = irdl.base "#builtin.integer"
    %flags_a = irdl.any
    %segments_a = irdl.any
    %dropped_a = irdl.any
    %norm_a = irdl.base "#builtin.string"
    %norm_epsilon_a = irdl.base "#builtin.float"
    %norm_scale_a = irdl.base "#builtin.float"
    %format_a = irdl.base "#builtin.string"
    %a_format_a = irdl.base "#builtin.string"
    %c_format_a = irdl.base "#builtin.string"
    %first_format_a = irdl.base "#builtin.string"
    %first_a_format_a = irdl.base "#builtin.string"
    %first_c_format_a = irdl.base "#builtin.string"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "first_k" = %first_k_a, "first_n" = %first_n_a, "first_flags" = %first_flags_a, "first_segments" = %first_segments_a, "first_dropped" = %first_dropped_a, "k" = %k_a, "n" = %n_a, "flags" = %flags_a, "segments" = %segments_a, "dropped" = %dropped_a, "norm" = %norm_a, "norm_epsilon" = %norm_epsilon_a, "norm_scale" = %norm_scale_a, "format" = %format_a, "a_format" = %a_format_a, "c_format" = %c_format_a, "first_format" = %first_format_a, "first_a_format" = %first_a_format_a, "first_c_format" = %first_c_format_a }
  }

  // logits [rows, ldl] -> indices i32 [rows, top_k], gates f32 [rows, top_k]. gate and renorm: as of hmoe.route.
  // bind: logits, indices, gates.
  irdl.operation @route_topk {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %experts_a = irdl.base "#builtin.integer"
    %top_k_a = irdl.base "#builtin.integer"
    %gate_a = irdl.base "#builtin.string"
    %renorm_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "experts" = %experts_a, "top_k" = %top_k_a, "gate" = %gate_a, "renorm" = %renorm_a }
  }

  // Counting sort of picks by expert, with capacity: step GROUP. scope: the entry dimension after whose tokens capacity counts anew, or -1. history: what decoding keeps of
  // earlier tokens, with dims past and row stride (none without). bind: indices, gates, blocks, row_token, row_slot, row_gate, counters, history.
  irdl.operation @group_tokens {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %experts_a = irdl.base "#builtin.integer"
    %top_k_a = irdl.base "#builtin.integer"
    %capacity_a = irdl.base "#builtin.integer"
    %dims_a = irdl.any
    %scope_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "experts" = %experts_a, "top_k" = %top_k_a, "capacity" = %capacity_a, "dims" = %dims_a, "scope" = %scope_a }
  }

  // Tokens grouped by selection set: step GROUP_SETS. bind: indices, blocks, row_token, sets, scratch. mode: rank, distinct, token.
  irdl.operation @group_selections {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %experts_a = irdl.base "#builtin.integer"
    %top_k_a = irdl.base "#builtin.integer"
    %mode_a = irdl.base "#builtin.string"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "experts" = %experts_a, "top_k" = %top_k_a, "mode" = %mode_a }
  }

  // The next `body` steps run once per chunk: step LOOP. kind: rows, groups, cached. bind: blocks, sets, todo_sets, todo_slot,
  // todo_token, row_token. generate: how many of the body's steps fill the cache.
  irdl.operation @loop {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %body_a = irdl.base "#builtin.integer"
    %kind_a = irdl.base "#builtin.string"
    %chunk_a = irdl.base "#builtin.integer"
    %top_k_a = irdl.base "#builtin.integer"
    %generate_a = irdl.base "#builtin.integer"
    %cache_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "body" = %body_a, "kind" = %kind_a, "chunk" = %chunk_a, "top_k" = %top_k_a, "generate" = %generate_a, "cache" = %cache_a }
  }

  // The next `first` steps run, or the `second` ones after those; both compute the same bits: step CHOOSE. bind: blocks. The first way is taken with
  // at least blocks_per_thread blocks a thread and block_rows rows a block; row_block, what rows are cut into where there are no blocks. All three are
  // of its schedule.
  irdl.operation @choose {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %first_a = irdl.base "#builtin.integer"
    %second_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "first" = %first_a, "second" = %second_a }
  }

  // y[t] (+)= sum_s slots[t*top_k + s]. bind: slots [rows*top_k, ld_slots], y [rows, ld_y].
  irdl.operation @combine {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %n_a = irdl.base "#builtin.integer"
    %top_k_a = irdl.base "#builtin.integer"
    %accumulate_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "n" = %n_a, "top_k" = %top_k_a, "accumulate" = %accumulate_a }
  }

  // s[r] = scale * sum of table rows in (selected) or outside (unselected) sets[r]. bind: sets i32 [rows, top_k], table [experts, embedding],
  // out [rows, ld_out].
  irdl.operation @select_embedding {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %experts_a = irdl.base "#builtin.integer"
    %top_k_a = irdl.base "#builtin.integer"
    %embedding_a = irdl.base "#builtin.integer"
    %of_a = irdl.base "#builtin.string"
    %mean_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "experts" = %experts_a, "top_k" = %top_k_a, "embedding" = %embedding_a, "of" = %of_a, "mean" = %mean_a }
  }

  // The middle of the factored HyperExpert: z = relu(beta + rho t1), v = rho (x) z. bind: t1, r, beta, v. hmoec_contract_spec has the layouts.
  irdl.operation @contract {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %hidden_a = irdl.base "#builtin.integer"
    %bottleneck_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "hidden" = %hidden_a, "bottleneck" = %bottleneck_a }
  }

  // out[r, j] (+)= f(in[index(r), j]) * scale * factor[r, j], j < n. bind: in [*, ld_in], index, out [rows, ld_out], factor [rows, ld_factor]; without
  // index it is r, without factor 1. ld_in, ld_factor 0: one row for all. factor_columns = 0: a row of factor is one value. in_step: from one column of in
  // to the next. The `padding` columns behind become 0.
  irdl.operation @map_rows {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %function_a = irdl.base "#builtin.string"
    %n_a = irdl.base "#builtin.integer"
    %accumulate_a = irdl.base "#builtin.integer"
    %in_step_a = irdl.base "#builtin.integer"
    %factor_columns_a = irdl.base "#builtin.integer"
    %scale_a = irdl.base "#builtin.float"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "function" = %function_a, "n" = %n_a, "accumulate" = %accumulate_a, "in_step" = %in_step_a, "factor_columns" = %factor_columns_a, "scale" = %scale_a }
  }

  // A matrix into a right operand, or a part of one: step PACK. bind: dst, source (param buffers are read from the checkpoint). matrix: axes of the
  // source, a count and a stride each, and the offset of its first element: columns, depth, groups; parts, of the depth; generated, of a generator's columns.
  // to: where in dst it begins (column, depth, pitch from a part of the depth to the next; apart, from a group to the next of memory that is plain), pair (gates, ups), side_by_side. hmoec_packing in
  // compiler/target/target.h. Of a source that is a right operand, all of it in another format. `place` adds args, hmoec_pack_arg in compiler/ir/hmk_ops.h.
  irdl.operation @pack {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a }
  }

  // A vector per group: step PACK, too. bind: dst, source. matrix, to and args as of pack.
  irdl.operation @pack_vector {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a }
  }

  // Right operands into those of as many columns, from row `depth` of their depth on: step COPY. bind: dst, src. `place` adds args: of the outer axis count,
  // stride in dst, stride in src; the same of the inner one; bytes of a run.
  irdl.operation @copy {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %depth_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "depth" = %depth_a }
  }

  // Every selection set, colexicographic: step SELECTIONS. bind: dst i32 [sets, top_k].
  irdl.operation @all_selections {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %experts_a = irdl.base "#builtin.integer"
    %top_k_a = irdl.base "#builtin.integer"
    %sets_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "experts" = %experts_a, "top_k" = %top_k_a, "sets" = %sets_a }
  }

  // The convolutional embedding of expert weights: step WEIGHT_EMBEDDING. bind: dst, wi, wo, depthwise1, pointwise1, depthwise2, pointwise2.
  irdl.operation @weight_embedding {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a }
  }

  // out[r] = norm(x[index(r)]): hmoec_norm_spec. kind: rms, layer. bind: x, weight, bias, out, index.
  irdl.operation @norm_rows {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %kind_a = irdl.base "#builtin.string"
    %epsilon_a = irdl.base "#builtin.float"
    %scale_a = irdl.base "#builtin.float"
    %n_a = irdl.base "#builtin.integer"
    %out_format_a = irdl.base "#builtin.string"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "kind" = %kind_a, "epsilon" = %epsilon_a, "scale" = %scale_a, "n" = %n_a, "out_format" = %out_format_a }
  }

  // Rows in place for the products that follow: hmoec_pack_rows_spec. norm: none, rms, layer. bind: a, out, blocks, gather, norm_weight, norm_bias.
  irdl.operation @pack_rows {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %n_a = irdl.base "#builtin.integer"
    %format_a = irdl.base "#builtin.string"
    %norm_a = irdl.base "#builtin.string"
    %norm_epsilon_a = irdl.base "#builtin.float"
    %norm_scale_a = irdl.base "#builtin.float"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "n" = %n_a, "format" = %format_a, "norm" = %norm_a, "norm_epsilon" = %norm_epsilon_a, "norm_scale" = %norm_scale_a }
  }

  // out[r] (+)= row ids[r] of a table: hmoec_embed_spec. table: rows, or right, of the format. bind: ids, table, out.
  irdl.operation @embed_rows {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %table_a = irdl.base "#builtin.string"
    %n_a = irdl.base "#builtin.integer"
    %accumulate_a = irdl.base "#builtin.integer"
    %format_a = irdl.base "#builtin.string"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "table" = %table_a, "n" = %n_a, "accumulate" = %accumulate_a, "format" = %format_a }
  }

  // Rows of k and v into keys and values: hmoec_store_spec. dims: entry dimensions, as of the spec. bind: k, v, keys, values.
  irdl.operation @store_kv {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %dims_a = irdl.any
    %heads_a = irdl.base "#builtin.integer"
    %head_size_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "dims" = %dims_a, "heads" = %heads_a, "head_size" = %head_size_a }
  }

  // Attention of blocks of queries: hmoec_attention_spec. rows: batch rows times heads; tasks, of its schedule: times blocks of queries. dims: entry dimensions, as of the spec. bind: q, keys, values, bias, mask, out.
  irdl.operation @attention {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %dims_a = irdl.any
    %scale_a = irdl.base "#builtin.float"
    %heads_a = irdl.base "#builtin.integer"
    %head_size_a = irdl.base "#builtin.integer"
    %causal_a = irdl.base "#builtin.integer"
    %max_distance_a = irdl.base "#builtin.integer"
    %out_format_a = irdl.base "#builtin.string"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "dims" = %dims_a, "scale" = %scale_a, "heads" = %heads_a, "head_size" = %head_size_a, "causal" = %causal_a, "max_distance" = %max_distance_a, "out_format" = %out_format_a }
  }

  // Integers of the caller's, checked: step IDS. limit: what they are below; fill: what they are when there are none. bind: source, dst.
  irdl.operation @check_ids {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %limit_a = irdl.base "#builtin.integer"
    %fill_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "limit" = %limit_a, "fill" = %fill_a }
  }

  // How many real tokens a row had before: step POSITIONS. dims: rows, length, past, mask stride (-1: none). bind: mask, dst.
  irdl.operation @positions {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %dims_a = irdl.any
    %limit_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "dims" = %dims_a, "limit" = %limit_a }
  }

  // The row of the last real token of each batch row: step LAST_ROWS. dims as of positions. bind: mask, dst.
  irdl.operation @last_rows {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %dims_a = irdl.any
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "dims" = %dims_a }
  }

  // A mask to the end of a state's: step APPEND_MASK. dims as of positions. bind: src, dst.
  irdl.operation @append_mask {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %dims_a = irdl.any
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "dims" = %dims_a }
  }

  // The bias of every relative position, out of its bucket's: step RELATIVE_BIAS. bind: dst [heads, ld], source [buckets, heads].
  irdl.operation @relative_bias {
    %bind_a = irdl.any
    %rows_a = irdl.base "#builtin.integer"
    %buckets_a = irdl.base "#builtin.integer"
    %heads_a = irdl.base "#builtin.integer"
    %bidirectional_a = irdl.base "#builtin.integer"
    %max_distance_a = irdl.base "#builtin.integer"
    %buffers_t = irdl.parametric @hmk::@memory<>
    irdl.operands(buffers: variadic %buffers_t)
    irdl.attributes { "bind" = %bind_a, "rows" = %rows_a, "buckets" = %buckets_a, "heads" = %heads_a, "bidirectional" = %bidirectional_a, "max_distance" = %max_distance_a }
  }

}
