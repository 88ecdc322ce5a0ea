// The model dialect: what is computed, as pure SSA on tensors. Notation: T tokens (dynamic), h d_model, F d_ff, N experts, k top_k,
// b bottleneck, E expert embedding, H hypernetwork hidden width, S selection sets, D distinct ones. Parameter matrices are [out, in].
//
// Arithmetic is that of IEEE 754, NaN and infinities included: 0 times infinity is NaN, a NaN operand makes a NaN of every element that
// its value has a part in, and of no other. Where an equation leaves something open, the op says what holds.
//
// What IRDL cannot say (shape relations, attribute ranges, how many optional operands) is checked by `verify` (compiler/ir/verify.c)
// from the table in compiler/ir/ops.c. "eq." numbers are those of HyperMoE (ACL 2024). The ops from all_selections on are made by
// passes and cannot be written in a spec. Ops with several optional operands (or results) carry operandSegmentSizes (resultSegmentSizes),
// one 0 or 1 an operand, as MLIR demands. Any op may carry the unit attribute "at_open": it depends on parameters alone.

irdl.dialect @hmoe {
  // A tensor of the checkpoint. `key` is its name there; of a tensor that may stand under several names, `key` has them all, a line
  // each, and the first that is there counts. count = 0: the tensor itself. count > 0: the key holds one "{}" and the
  // result is the stack [count, ...] of the tensors named by 0..count-1.
  irdl.operation @parameter {
    %value_t = irdl.base "!builtin.tensor"
    %key = irdl.base "#builtin.string"
    %count = irdl.base "#builtin.integer"
    irdl.results(value: %value_t)
    irdl.attributes { "key" = %key, "count" = %count }
  }

  // y[.., o] = sum_i x[.., i] w[o, i] + bias[o]                  x [T, in], w [out, in], bias [out] -> [T, out]
  irdl.operation @linear {
    %x_t = irdl.base "!builtin.tensor"
    %w_t = irdl.base "!builtin.tensor"
    %bias_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    irdl.operands(x: %x_t, w: %w_t, bias: optional %bias_t)
    irdl.results(y: %y_t)
  }

  // y = f(x) elementwise. function: relu, gelu (erf form), gelu_new (tanh form), silu, sigmoid, none. f(NaN) is NaN; at minus infinity
  // gelu, gelu_new and silu are 0, their limit.
  irdl.operation @activate {
    %x_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %function = irdl.base "#builtin.string"
    irdl.operands(x: %x_t)
    irdl.results(y: %y_t)
    irdl.attributes { "function" = %function }
  }

  // y = a + b, equal shapes.
  irdl.operation @add {
    %a_t = irdl.base "!builtin.tensor"
    %b_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    irdl.operands(a: %a_t, b: %b_t)
    irdl.results(y: %y_t)
  }

  // The same elements in another static shape, row-major. (HyperRouter: [1, N(h+1)] -> [N, h+1].)
  irdl.operation @reshape {
    %x_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %shape = irdl.any
    irdl.operands(x: %x_t)
    irdl.results(y: %y_t)
    irdl.attributes { "shape" = %shape }
  }

  // Elements begin, begin + step, ... below end along an axis, of a tensor of rank 1 to 3. The optional attributes axis (negative: from the last on;
  // absent: the last) and step (absent: 1) are integers. squeeze = 1: of a single element the axis goes, too: a column as a vector [rows].
  irdl.operation @slice {
    %x_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %begin = irdl.base "#builtin.integer"
    %end = irdl.base "#builtin.integer"
    %squeeze = irdl.base "#builtin.integer"
    irdl.operands(x: %x_t)
    irdl.results(y: %y_t)
    irdl.attributes { "begin" = %begin, "end" = %end, "squeeze" = %squeeze }
  }

  // Tensors of one shape, but along an axis (an optional attribute; absent: the last one), one behind the other.
  irdl.operation @concat {
    %a_t = irdl.base "!builtin.tensor"
    %b_t = irdl.base "!builtin.tensor"
    %c_t = irdl.base "!builtin.tensor"
    %d_t = irdl.base "!builtin.tensor"
    %e_t = irdl.base "!builtin.tensor"
    %f_t = irdl.base "!builtin.tensor"
    %g_t = irdl.base "!builtin.tensor"
    %h_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    irdl.operands(a: %a_t, b: %b_t, c: optional %c_t, d: optional %d_t, e: optional %e_t, f: optional %f_t, g: optional %g_t, h: optional %h_t)
    irdl.results(y: %y_t)
  }

  // logits [T, N] -> indices i32 [T, k], gates f32 [T, k], kept i1 [T, k]                                   eq. 1, 2
  //   selection  the k largest logits, larger first, then the lower index; NaN counts as the largest value, above infinity. So a row with a
  //              NaN selects it, and its gate is NaN.
  //   gate       softmax_then_topk: g = softmax_N(l)[e]; topk_then_softmax: g = softmax over the k selected;
  //              softmax_topk_renorm: g = softmax_N(l)[e] / sum over the selected; sigmoid: g = 1 / (1 + exp(-l[e])), and with the
  //              optional attribute renorm = 1, which is sigmoid's alone, that divided by the sum over the selected (0 where it is 0).
  //              The softmaxes of a row with a NaN or plus infinity, and of one that is minus infinity throughout, are NaN throughout.
  //              Of a gate written in C the scores decide: NaN among them counts as the largest.
  //   kept       0 iff capacity > 0 and this is past the capacity-th pick of its expert, counted in token, then slot order, whatever a row holds; of logits
  //              [B, S, N] (results are of B S tokens) in each batch row. A row that is decoded token by token counts on, unless the
  //              optional attribute per_call is 1: then every call counts anew, as the published implementation does.
  irdl.operation @route {
    %logits_t = irdl.base "!builtin.tensor"
    %indices_t = irdl.base "!builtin.tensor"
    %gates_t = irdl.base "!builtin.tensor"
    %kept_t = irdl.base "!builtin.tensor"
    %top_k = irdl.base "#builtin.integer"
    %gate = irdl.base "#builtin.string"
    %capacity = irdl.base "#builtin.integer"
    irdl.operands(logits: %logits_t)
    irdl.results(indices: %indices_t, gates: %gates_t, kept: %kept_t)
    irdl.attributes { "top_k" = %top_k, "gate" = %gate, "capacity" = %capacity }
  }

  // o[t, s] = act(x[t] wi[e]^T + bi[e]) wo[e]^T + bo[e], e = indices[t, s]; o[t, s] = x[t] where not kept, and 0
  // with the attribute dropped = "zero" (absent: "pass").
  // x [T, h], indices [T, k], kept [T, k], wi [N, F, h], wo [N, h, F], (bi [N, F], bo [N, h]) -> [T, k, h]
  irdl.operation @experts {
    %x_t = irdl.base "!builtin.tensor"
    %indices_t = irdl.base "!builtin.tensor"
    %kept_t = irdl.base "!builtin.tensor"
    %wi_t = irdl.base "!builtin.tensor"
    %wo_t = irdl.base "!builtin.tensor"
    %bi_t = irdl.base "!builtin.tensor"
    %bo_t = irdl.base "!builtin.tensor"
    %o_t = irdl.base "!builtin.tensor"
    %activation = irdl.base "#builtin.string"
    irdl.operands(x: %x_t, indices: %indices_t, kept: %kept_t, wi: %wi_t, wo: %wo_t, bi: optional %bi_t, bo: optional %bo_t)
    irdl.results(o: %o_t)
    irdl.attributes { "activation" = %activation }
  }

  // y[t] = sum_s gates[t, s] o[t, s]                                o [T, k, h], gates [T, k] -> [T, h]            eq. 1
  irdl.operation @combine {
    %o_t = irdl.base "!builtin.tensor"
    %gates_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    irdl.operands(o: %o_t, gates: %gates_t)
    irdl.results(y: %y_t)
  }

  // s[t] = c * sum of table[j] over j in the selection of t (of = selected) or not in it (unselected), j ascending;
  // c = 1 (sum) or 1 / number of rows summed (mean).              indices [T, k], table [N, E] -> [T, E]               eq. 5, 6
  irdl.operation @selection_embedding {
    %indices_t = irdl.base "!builtin.tensor"
    %table_t = irdl.base "!builtin.tensor"
    %s_t = irdl.base "!builtin.tensor"
    %of = irdl.base "#builtin.string"
    %aggregate = irdl.base "#builtin.string"
    irdl.operands(indices: %indices_t, table: %table_t)
    irdl.results(s: %s_t)
    irdl.attributes { "of" = %of, "aggregate" = %aggregate }
  }

  // y[t] = [x[t] ; table[row]]                                      x [T, a], table [L, c] -> [T, a + c]                eq. 7
  irdl.operation @append_row {
    %x_t = irdl.base "!builtin.tensor"
    %table_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %row = irdl.base "#builtin.integer"
    irdl.operands(x: %x_t, table: %table_t)
    irdl.results(y: %y_t)
    irdl.attributes { "row" = %row }
  }

  // row[0] = table[row]                                             table [L, c] -> [1, c]
  irdl.operation @take_row {
    %table_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %row = irdl.base "#builtin.integer"
    irdl.operands(table: %table_t)
    irdl.results(y: %y_t)
    irdl.attributes { "row" = %row }
  }

  // The generator: from r [T, H]                                                                              eq. 7
  //   down[t, i, k] = (r[t] wd^T + bd)[i*b + k], up[t, k, j] = (r[t] wu^T + bu)[k*h + j],
  //   and with generated biases  beta = r vd^T + cd [T, b], gamma = r vu^T + cu [T, h].
  // wd [h*b, H], bd [h*b], wu [b*h, H], bu [b*h], (vd [b, H], cd [b], vu [h, H], cu [h]) -> down [T, h, b], up [T, b, h], (beta, gamma)
  irdl.operation @hypernetwork {
    %r_t = irdl.base "!builtin.tensor"
    %wd_t = irdl.base "!builtin.tensor"
    %bd_t = irdl.base "!builtin.tensor"
    %wu_t = irdl.base "!builtin.tensor"
    %bu_t = irdl.base "!builtin.tensor"
    %vd_t = irdl.base "!builtin.tensor"
    %cd_t = irdl.base "!builtin.tensor"
    %vu_t = irdl.base "!builtin.tensor"
    %cu_t = irdl.base "!builtin.tensor"
    %down_t = irdl.base "!builtin.tensor"
    %up_t = irdl.base "!builtin.tensor"
    %beta_t = irdl.base "!builtin.tensor"
    %gamma_t = irdl.base "!builtin.tensor"
    %bottleneck = irdl.base "#builtin.integer"
    irdl.operands(r: %r_t, wd: %wd_t, bd: %bd_t, wu: %wu_t, bu: %bu_t, vd: optional %vd_t, cd: optional %cd_t, vu: optional %vu_t, cu: optional %cu_t)
    irdl.results(down: %down_t, up: %up_t, beta: optional %beta_t, gamma: optional %gamma_t)
    irdl.attributes { "bottleneck" = %bottleneck }
  }

  // y[t] = relu(x[t] down[t] + beta[t]) up[t] + gamma[t]            x [T, h], down [T, h, b], up [T, b, h], (beta [T, b], gamma [T, h]) -> [T, h]   eq. 8
  // strategy: auto, table, cache, factored, per_token: how fold-hypernetwork is to treat it.
  irdl.operation @hyper_expert {
    %x_t = irdl.base "!builtin.tensor"
    %down_t = irdl.base "!builtin.tensor"
    %up_t = irdl.base "!builtin.tensor"
    %beta_t = irdl.base "!builtin.tensor"
    %gamma_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %strategy = irdl.base "#builtin.string"
    irdl.operands(x: %x_t, down: %down_t, up: %up_t, beta: optional %beta_t, gamma: optional %gamma_t)
    irdl.results(y: %y_t)
    irdl.attributes { "strategy" = %strategy }
  }

  // S = the expert embeddings of Table 5: per expert the image [2, F, h] (wi, wo^T) through depthwise 5x5 stride 5, pointwise 2 -> C,
  // average pool 16x6, depthwise 3x3 stride 3, pointwise C -> E, average pool 8x8, no padding, floor sizes; must end at 1x1.
  // wi [N, F, h], wo [N, h, F], depthwise1 [2, 1, 5, 5], pointwise1 [C, 2, 1, 1], depthwise2 [C, 1, 3, 3], pointwise2 [E, C, 1, 1] -> [N, E]
  irdl.operation @weight_embedding {
    %wi_t = irdl.base "!builtin.tensor"
    %wo_t = irdl.base "!builtin.tensor"
    %depthwise1_t = irdl.base "!builtin.tensor"
    %pointwise1_t = irdl.base "!builtin.tensor"
    %depthwise2_t = irdl.base "!builtin.tensor"
    %pointwise2_t = irdl.base "!builtin.tensor"
    %s_t = irdl.base "!builtin.tensor"
    irdl.operands(wi: %wi_t, wo: %wo_t, depthwise1: %depthwise1_t, pointwise1: %pointwise1_t, depthwise2: %depthwise2_t, pointwise2: %pointwise2_t)
    irdl.results(s: %s_t)
  }

  // Every selection set, ascending tuples in colexicographic order.                 -> i32 [C(N, k), k]
  irdl.operation @all_selections {
    %sets_t = irdl.base "!builtin.tensor"
    %experts = irdl.base "#builtin.integer"
    %top_k = irdl.base "#builtin.integer"
    irdl.results(sets: %sets_t)
    irdl.attributes { "experts" = %experts, "top_k" = %top_k }
  }

  // Which row of all_selections a token's selection is.                            indices [T, k] -> i32 [T]
  irdl.operation @selection_rank {
    %indices_t = irdl.base "!builtin.tensor"
    %which_t = irdl.base "!builtin.tensor"
    %experts = irdl.base "#builtin.integer"
    irdl.operands(indices: %indices_t)
    irdl.results(which: %which_t)
    irdl.attributes { "experts" = %experts }
  }

  // The distinct selection sets of a batch in order of first appearance, and which of them each token has.
  // indices [T, k] -> sets i32 [D, k], which i32 [T]
  irdl.operation @distinct_selections {
    %indices_t = irdl.base "!builtin.tensor"
    %sets_t = irdl.base "!builtin.tensor"
    %which_t = irdl.base "!builtin.tensor"
    %experts = irdl.base "#builtin.integer"
    irdl.operands(indices: %indices_t)
    irdl.results(sets: %sets_t, which: %which_t)
    irdl.attributes { "experts" = %experts }
  }

  // hyper_expert with row which[t] of the generated weights in place of row t.
  // x [T, h], which [T], down [S, h, b], up [S, b, h], (beta [S, b], gamma [S, h]) -> [T, h]
  // memoize = 1: rows belong to selection sets and may be kept between runs.
  irdl.operation @indexed_hyper_expert {
    %x_t = irdl.base "!builtin.tensor"
    %which_t = irdl.base "!builtin.tensor"
    %down_t = irdl.base "!builtin.tensor"
    %up_t = irdl.base "!builtin.tensor"
    %beta_t = irdl.base "!builtin.tensor"
    %gamma_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %memoize = irdl.base "#builtin.integer"
    irdl.operands(x: %x_t, which: %which_t, down: %down_t, up: %up_t, beta: optional %beta_t, gamma: optional %gamma_t)
    irdl.results(y: %y_t)
    irdl.attributes { "memoize" = %memoize }
  }

  // hypernetwork and hyper_expert in one, never forming down and up: with rho = [r, 1], wd' = [wd | bd], wu' = [wu | bu]
  //   z[t, k] = relu(beta[t, k] + sum_m rho[t, m] sum_i x[t, i] wd'[i*b + k, m])
  //   y[t, j] = gamma[t, j] + sum_{k, m} z[t, k] rho[t, m] wu'[k*h + j, m]
  // x [T, h], r [T, H], wd, bd, wu, bu, (vd, cd, vu, cu) as for hypernetwork -> [T, h]
  irdl.operation @factored_hyper_expert {
    %x_t = irdl.base "!builtin.tensor"
    %r_t = irdl.base "!builtin.tensor"
    %wd_t = irdl.base "!builtin.tensor"
    %bd_t = irdl.base "!builtin.tensor"
    %wu_t = irdl.base "!builtin.tensor"
    %bu_t = irdl.base "!builtin.tensor"
    %vd_t = irdl.base "!builtin.tensor"
    %cd_t = irdl.base "!builtin.tensor"
    %vu_t = irdl.base "!builtin.tensor"
    %cu_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %bottleneck = irdl.base "#builtin.integer"
    irdl.operands(x: %x_t, r: %r_t, wd: %wd_t, bd: %bd_t, wu: %wu_t, bu: %bu_t, vd: optional %vd_t, cd: optional %cd_t, vu: optional %vu_t, cu: optional %cu_t)
    irdl.results(y: %y_t)
    irdl.attributes { "bottleneck" = %bottleneck }
  }

  // top-1 experts, combine and an indexed HyperExpert in one: with e = indices[t, 0], g = gates[t, 0]
  //   y[t] = g (act(x wi[e]^T + bi[e]) wo[e]^T + bo[e]) + relu(x down[e] + beta[e]) up[e] + gamma[e],   g x[t], or 0 with
  //   the attribute dropped = "zero", for the first part where not kept.
  // x [T, h], indices [T, 1], gates [T, 1], kept [T, 1], wi [N, F, h], wo [N, h, F], down [N, h, b], up [N, b, h], then (bi, bo) if expert_biases,
  // then (beta [N, b], gamma [N, h]) if generated_biases -> [T, h]
  irdl.operation @fused_experts {
    %x_t = irdl.base "!builtin.tensor"
    %indices_t = irdl.base "!builtin.tensor"
    %gates_t = irdl.base "!builtin.tensor"
    %kept_t = irdl.base "!builtin.tensor"
    %wi_t = irdl.base "!builtin.tensor"
    %wo_t = irdl.base "!builtin.tensor"
    %down_t = irdl.base "!builtin.tensor"
    %up_t = irdl.base "!builtin.tensor"
    %bi_t = irdl.base "!builtin.tensor"
    %bo_t = irdl.base "!builtin.tensor"
    %beta_t = irdl.base "!builtin.tensor"
    %gamma_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %activation = irdl.base "#builtin.string"
    %expert_biases = irdl.base "#builtin.integer"
    %generated_biases = irdl.base "#builtin.integer"
    irdl.operands(x: %x_t, indices: %indices_t, gates: %gates_t, kept: %kept_t, wi: %wi_t, wo: %wo_t, down: %down_t, up: %up_t, bi: optional %bi_t, bo: optional %bo_t, beta: optional %beta_t, gamma: optional %gamma_t)
    irdl.results(y: %y_t)
    irdl.attributes { "activation" = %activation, "expert_biases" = %expert_biases, "generated_biases" = %generated_biases }
  }

  // The same of gated experts: the first part is g ((act(x wi_0[e]^T + bi_0[e]) (x wi_1[e]^T + bi_1[e])) wo[e]^T + bo[e]).
  // x, indices, gates, kept as above, wi_0 [N, F, h], wi_1 [N, F, h], wo [N, h, F], down, up, then (bi_0 [N, F], bi_1 [N, F], bo [N, h]) if expert_biases,
  // then (beta, gamma) if generated_biases -> [T, h]
  irdl.operation @fused_gated_experts {
    %x_t = irdl.base "!builtin.tensor"
    %indices_t = irdl.base "!builtin.tensor"
    %gates_t = irdl.base "!builtin.tensor"
    %kept_t = irdl.base "!builtin.tensor"
    %wi_0_t = irdl.base "!builtin.tensor"
    %wi_1_t = irdl.base "!builtin.tensor"
    %wo_t = irdl.base "!builtin.tensor"
    %down_t = irdl.base "!builtin.tensor"
    %up_t = irdl.base "!builtin.tensor"
    %bi_0_t = irdl.base "!builtin.tensor"
    %bi_1_t = irdl.base "!builtin.tensor"
    %bo_t = irdl.base "!builtin.tensor"
    %beta_t = irdl.base "!builtin.tensor"
    %gamma_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %activation = irdl.base "#builtin.string"
    %expert_biases = irdl.base "#builtin.integer"
    %generated_biases = irdl.base "#builtin.integer"
    irdl.operands(x: %x_t, indices: %indices_t, gates: %gates_t, kept: %kept_t, wi_0: %wi_0_t, wi_1: %wi_1_t, wo: %wo_t, down: %down_t, up: %up_t, bi_0: optional %bi_0_t, bi_1: optional %bi_1_t, bo: optional %bo_t, beta: optional %beta_t, gamma: optional %gamma_t)
    irdl.results(y: %y_t)
    irdl.attributes { "activation" = %activation, "expert_biases" = %expert_biases, "generated_biases" = %generated_biases }
  }

  // ---- whole models. Rows of tokens are [T, c], or [B, S, c]: batch rows of S positions. linear, activate, add, multiply, scale, the norms and
  // slice work on the last dimension of either. ----

  // y[b, t] = table[ids[b, t]]                                         ids i64 or i32 [B, S], table [V, h] -> [B, S, h]
  irdl.operation @embedding {
    %ids_t = irdl.base "!builtin.tensor"
    %table_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    irdl.operands(ids: %ids_t, table: %table_t)
    irdl.results(y: %y_t)
  }

  // y[b, t] = table[max(0, (sum over u <= t of mask[b, u]) - 1)]: the number of real tokens before.   mask i64 or i32 [B, S], table [P, h] -> [B, S, h]
  irdl.operation @position_embedding {
    %mask_t = irdl.base "!builtin.tensor"
    %table_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    irdl.operands(mask: %mask_t, table: %table_t)
    irdl.results(y: %y_t)
  }

  // y = x / sqrt(mean(x^2) + epsilon) * weight, means over the last dimension.        x [.., h], weight [h] -> [.., h]        Zhang and Sennrich 2019
  irdl.operation @rms_norm {
    %x_t = irdl.base "!builtin.tensor"
    %weight_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %epsilon = irdl.base "#builtin.float"
    irdl.operands(x: %x_t, weight: %weight_t)
    irdl.results(y: %y_t)
    irdl.attributes { "epsilon" = %epsilon }
  }

  // y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) * weight + bias.        x [.., h], weight [h], bias [h] -> [.., h]
  irdl.operation @layer_norm {
    %x_t = irdl.base "!builtin.tensor"
    %weight_t = irdl.base "!builtin.tensor"
    %bias_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %epsilon = irdl.base "#builtin.float"
    irdl.operands(x: %x_t, weight: %weight_t, bias: %bias_t)
    irdl.results(y: %y_t)
    irdl.attributes { "epsilon" = %epsilon }
  }

  // y = by x / sqrt(inverse_sqrt) factor        x any -> the same; factor [columns], a value a column, or [.., 1], a value a row
  // by (a float) and inverse_sqrt (an integer) are optional attributes, factor an optional operand: 1 where they are absent.
  irdl.operation @scale {
    %x_t = irdl.base "!builtin.tensor"
    %factor_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    irdl.operands(x: %x_t, factor: optional %factor_t)
    irdl.results(y: %y_t)
  }

  // y = a b, element by element
  irdl.operation @multiply {
    %a_t = irdl.base "!builtin.tensor"
    %b_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    irdl.operands(a: %a_t, b: %b_t)
    irdl.results(y: %y_t)
  }

  // y[.., j, i] = w[.., i, j]                                          w [.., m, n] -> [.., n, m], of rank 2 or 3
  irdl.operation @transpose {
    %w_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    irdl.operands(w: %w_t)
    irdl.results(y: %y_t)
  }

  // y = x with the first two dimensions as one: row b * S + t.                     x [B, S, c] -> [B S, c]
  irdl.operation @flatten {
    %x_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    irdl.operands(x: %x_t)
    irdl.results(y: %y_t)
  }

  // y[b, t] = x[b * S + t], B and S those of `like`.                               x [B S, c], like [B, S, ..] -> [B, S, c]
  irdl.operation @unflatten {
    %x_t = irdl.base "!builtin.tensor"
    %like_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    irdl.operands(x: %x_t, like: %like_t)
    irdl.results(y: %y_t)
  }

  // bias[head, r + M] = table[bucket(r), head] for r = key - query in -M..M, M = max_distance. Of B buckets, both directions
  // (bidirectional = 1): n = |r|, B / 2 buckets a direction, those of r > 0 after the others; backward only: n = max(-r, 0). A bucket each for n < m = half of a
  // direction's nb buckets, then min(nb - 1, m + floor(ln(n / m) / ln(M / m) (nb - m))). table [B, heads] -> [heads, 2 M + 1]        Raffel et al. 2020
  irdl.operation @relative_bias {
    %table_t = irdl.base "!builtin.tensor"
    %bias_t = irdl.base "!builtin.tensor"
    %bidirectional = irdl.base "#builtin.integer"
    %max_distance = irdl.base "#builtin.integer"
    irdl.operands(table: %table_t)
    irdl.results(bias: %bias_t)
    irdl.attributes { "bidirectional" = %bidirectional, "max_distance" = %max_distance }
  }

  // With head size d = A / heads, positions t of q and j of k, v, per batch row and head:
  //   s[t, j] = q[t] . k[j] (/ sqrt(d) if scaled = 1) (/ divisor, where that attribute is there) + bias[head, min(M, max(-M, j - t)) + M]
  //   y[t] = sum_j softmax_j(s[t, .])[j] v[j], over j <= t if causal = 1
  // mask[b, j] = 0 sets s[t, j] to the lowest number, NaN included: no weight, unless that is so of all. A value of weight 0 is a factor of the
  // sum like others; one past a causal query is not looked at. Without a score above minus infinity, y is NaN. biased = 1: the operand after v is bias.
  // q [B, S, A], k [B, S', A], v [B, S', A], (bias [heads, 2 M + 1]), (mask i64 or i32 [B, S']) -> [B, S, A]
  irdl.operation @attention {
    %q_t = irdl.base "!builtin.tensor"
    %k_t = irdl.base "!builtin.tensor"
    %v_t = irdl.base "!builtin.tensor"
    %bias_t = irdl.base "!builtin.tensor"
    %mask_t = irdl.base "!builtin.tensor"
    %y_t = irdl.base "!builtin.tensor"
    %heads = irdl.base "#builtin.integer"
    %causal = irdl.base "#builtin.integer"
    %scaled = irdl.base "#builtin.integer"
    %biased = irdl.base "#builtin.integer"
    irdl.operands(q: %q_t, k: %k_t, v: %v_t, bias: optional %bias_t, mask: optional %mask_t)
    irdl.results(y: %y_t)
    irdl.attributes { "heads" = %heads, "causal" = %causal, "scaled" = %scaled, "biased" = %biased }
  }

  // o[t, s] = (act(x[t] wi_0[e]^T + bi_0[e]) (x[t] wi_1[e]^T + bi_1[e])) wo[e]^T + bo[e], e = indices[t, s]; x[t] where not kept,
  // and 0 with the attribute dropped = "zero".
  // x [T, h], indices [T, k], kept [T, k], wi_0 [N, F, h], wi_1 [N, F, h], wo [N, h, F], (bi_0 [N, F], bi_1 [N, F], bo [N, h])
  // -> [T, k, h]                                                                                           Shazeer 2020
  irdl.operation @gated_experts {
    %x_t = irdl.base "!builtin.tensor"
    %indices_t = irdl.base "!builtin.tensor"
    %kept_t = irdl.base "!builtin.tensor"
    %wi_0_t = irdl.base "!builtin.tensor"
    %wi_1_t = irdl.base "!builtin.tensor"
    %wo_t = irdl.base "!builtin.tensor"
    %bi_0_t = irdl.base "!builtin.tensor"
    %bi_1_t = irdl.base "!builtin.tensor"
    %bo_t = irdl.base "!builtin.tensor"
    %o_t = irdl.base "!builtin.tensor"
    %activation = irdl.base "#builtin.string"
    irdl.operands(x: %x_t, indices: %indices_t, kept: %kept_t, wi_0: %wi_0_t, wi_1: %wi_1_t, wo: %wo_t, bi_0: optional %bi_0_t, bi_1: optional %bi_1_t, bo: optional %bo_t)
    irdl.results(o: %o_t)
    irdl.attributes { "activation" = %activation }
  }
}
