// hmoec-opt --plan-kernels repro.mlir
module {
  func.func @switch_hypermoe_tiny(%arg0: tensor<?x?xi64> {hmoe.dims = ["batch", "length"], hmoe.name = "input_ids"}, %arg1: tensor<?x?xi64> {hmoe.default = 1 : i64, hmoe.dims = ["batch", "length"], hmoe.name = "attention_mask"}, %arg2: tensor<?x?xi64> {hmoe.dims = ["batch", "target"], hmoe.name = "decoder_input_ids"}) -> (tensor<?x?x211xf32> {hmoe.name = "logits"}, tensor<?x?x48xf32> {hmoe.name = "encoder_hidden"}) attributes {hmoe.end_token = 1 : i64, hmoe.model = "switch_hypermoe_tiny", hmoe.pad_token = 0 : i64, hmoe.start_token = 0 : i64} {
    %0 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "shared.weight\0Aencoder.embed_tokens.weight\0Adecoder.embed_tokens.weight"} : () -> tensor<211x48xf32>
    %1 = "hmoe.embedding"(%arg0, %0) : (tensor<?x?xi64>, tensor<211x48xf32>) -> tensor<?x?x48xf32>
    %2 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"} : () -> tensor<32x3xf32>
    %3 = "hmoe.relative_bias"(%2) {at_open, bidirectional = 1 : i64, max_distance = 128 : i64} : (tensor<32x3xf32>) -> tensor<3x257xf32>
    %4 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.0.layer.0.layer_norm.weight"} : () -> tensor<48xf32>
    %5 = "hmoe.rms_norm"(%1, %4) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %6 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.0.layer.0.SelfAttention.q.weight"} : () -> tensor<48x48xf32>
    %7 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.0.layer.0.SelfAttention.k.weight"} : () -> tensor<48x48xf32>
    %8 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.0.layer.0.SelfAttention.v.weight"} : () -> tensor<48x48xf32>
    %9 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.0.layer.0.SelfAttention.o.weight"} : () -> tensor<48x48xf32>
    %10 = "hmoe.linear"(%5, %6) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %11 = "hmoe.linear"(%5, %7) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %12 = "hmoe.linear"(%5, %8) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %13 = "hmoe.attention"(%10, %11, %12, %3, %arg1) {biased = 1 : i64, causal = 0 : i64, heads = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>, scaled = 0 : i64} : (tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<3x257xf32>, tensor<?x?xi64>) -> tensor<?x?x48xf32>
    %14 = "hmoe.linear"(%13, %9) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %15 = "hmoe.add"(%1, %14) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %16 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.0.layer.1.layer_norm.weight"} : () -> tensor<48xf32>
    %17 = "hmoe.rms_norm"(%15, %16) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %18 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.0.layer.1.mlp.wo.weight"} : () -> tensor<48x96xf32>
    %19 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.0.layer.1.mlp.wi.weight"} : () -> tensor<96x48xf32>
    %20 = "hmoe.linear"(%17, %19) : (tensor<?x?x48xf32>, tensor<96x48xf32>) -> tensor<?x?x96xf32>
    %21 = "hmoe.activate"(%20) {function = "relu"} : (tensor<?x?x96xf32>) -> tensor<?x?x96xf32>
    %22 = "hmoe.linear"(%21, %18) : (tensor<?x?x96xf32>, tensor<48x96xf32>) -> tensor<?x?x48xf32>
    %23 = "hmoe.add"(%15, %22) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %24 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.1.layer.0.layer_norm.weight"} : () -> tensor<48xf32>
    %25 = "hmoe.rms_norm"(%23, %24) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %26 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.1.layer.0.SelfAttention.q.weight"} : () -> tensor<48x48xf32>
    %27 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.1.layer.0.SelfAttention.k.weight"} : () -> tensor<48x48xf32>
    %28 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.1.layer.0.SelfAttention.v.weight"} : () -> tensor<48x48xf32>
    %29 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.1.layer.0.SelfAttention.o.weight"} : () -> tensor<48x48xf32>
    %30 = "hmoe.linear"(%25, %26) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %31 = "hmoe.linear"(%25, %27) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %32 = "hmoe.linear"(%25, %28) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %33 = "hmoe.attention"(%30, %31, %32, %3, %arg1) {biased = 1 : i64, causal = 0 : i64, heads = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>, scaled = 0 : i64} : (tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<3x257xf32>, tensor<?x?xi64>) -> tensor<?x?x48xf32>
    %34 = "hmoe.linear"(%33, %29) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %35 = "hmoe.add"(%23, %34) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %36 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.1.layer.1.layer_norm.weight"} : () -> tensor<48xf32>
    %37 = "hmoe.rms_norm"(%35, %36) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %38 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.1.layer.1.mlp.router.classifier.weight"} : () -> tensor<4x48xf32>
    %39 = "hmoe.linear"(%37, %38) : (tensor<?x?x48xf32>, tensor<4x48xf32>) -> tensor<?x?x4xf32>
    %40:3 = "hmoe.route"(%39) {capacity = 6 : i64, gate = "softmax_then_topk", top_k = 1 : i64} : (tensor<?x?x4xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
    %41 = "hmoe.flatten"(%37) : (tensor<?x?x48xf32>) -> tensor<?x48xf32>
    %42 = "hmoe.parameter"() {at_open, count = 4 : i64, key = "encoder.block.1.layer.1.mlp.experts.expert_{}.wo.weight"} : () -> tensor<4x48x96xf32>
    %43 = "hmoe.parameter"() {at_open, count = 4 : i64, key = "encoder.block.1.layer.1.mlp.experts.expert_{}.wi.weight"} : () -> tensor<4x96x48xf32>
    %44 = "hmoe.experts"(%41, %40#0, %40#2, %43, %42) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x48xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<4x96x48xf32>, tensor<4x48x96xf32>) -> tensor<?x1x48xf32>
    %45 = "hmoe.combine"(%44, %40#1) : (tensor<?x1x48xf32>, tensor<?x1xf32>) -> tensor<?x48xf32>
    %46 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.1.layer.1.mlp.embedding_process.0.weight"} : () -> tensor<7x9xf32>
    %47 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.1.layer.1.mlp.embedding_process.0.bias"} : () -> tensor<7xf32>
    %48 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.1.layer.1.mlp.embedding_process.2.weight"} : () -> tensor<6x7xf32>
    %49 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.1.layer.1.mlp.embedding_process.2.bias"} : () -> tensor<6xf32>
    %50 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.1.layer.1.mlp.n_experts_embedding.weight"} : () -> tensor<4x9xf32>
    %51 = "hmoe.selection_embedding"(%40#0, %50) {aggregate = "sum", of = "unselected"} : (tensor<?x1xi32>, tensor<4x9xf32>) -> tensor<?x9xf32>
    %52 = "hmoe.linear"(%51, %46, %47) : (tensor<?x9xf32>, tensor<7x9xf32>, tensor<7xf32>) -> tensor<?x7xf32>
    %53 = "hmoe.activate"(%52) {function = "relu"} : (tensor<?x7xf32>) -> tensor<?x7xf32>
    %54 = "hmoe.linear"(%53, %48, %49) : (tensor<?x7xf32>, tensor<6x7xf32>, tensor<6xf32>) -> tensor<?x6xf32>
    %55 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.param_gen.layer_embed.weight"} : () -> tensor<4x3xf32>
    %56 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.param_gen.decoder.linear1.weight"} : () -> tensor<5x9xf32>
    %57 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.param_gen.decoder.linear1.bias"} : () -> tensor<5xf32>
    %58 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.param_gen.decoder.weight_down.weight"} : () -> tensor<384x5xf32>
    %59 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.param_gen.decoder.weight_down.bias"} : () -> tensor<384xf32>
    %60 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.param_gen.decoder.weight_up.weight"} : () -> tensor<384x5xf32>
    %61 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.param_gen.decoder.weight_up.bias"} : () -> tensor<384xf32>
    %62 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.param_gen.decoder.bias_down.weight"} : () -> tensor<8x5xf32>
    %63 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.param_gen.decoder.bias_down.bias"} : () -> tensor<8xf32>
    %64 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.param_gen.decoder.bias_up.weight"} : () -> tensor<48x5xf32>
    %65 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.param_gen.decoder.bias_up.bias"} : () -> tensor<48xf32>
    %66 = "hmoe.take_row"(%55) {at_open, row = 1 : i64} : (tensor<4x3xf32>) -> tensor<1x3xf32>
    %67 = "hmoe.slice"(%56) {at_open, begin = 0 : i64, end = 6 : i64, squeeze = 0 : i64} : (tensor<5x9xf32>) -> tensor<5x6xf32>
    %68 = "hmoe.slice"(%56) {at_open, begin = 6 : i64, end = 9 : i64, squeeze = 0 : i64} : (tensor<5x9xf32>) -> tensor<5x3xf32>
    %69 = "hmoe.linear"(%66, %68, %57) {at_open} : (tensor<1x3xf32>, tensor<5x3xf32>, tensor<5xf32>) -> tensor<1x5xf32>
    %70 = "hmoe.reshape"(%69) {at_open, shape = array<i64: 5>} : (tensor<1x5xf32>) -> tensor<5xf32>
    %71 = "hmoe.linear"(%54, %67, %70) : (tensor<?x6xf32>, tensor<5x6xf32>, tensor<5xf32>) -> tensor<?x5xf32>
    %72 = "hmoe.activate"(%71) {function = "relu"} : (tensor<?x5xf32>) -> tensor<?x5xf32>
    %73 = "hmoe.factored_hyper_expert"(%41, %72, %58, %59, %60, %61, %62, %63, %64, %65) {bottleneck = 8 : i64, hmoe.reason = "forced by an option", hmoe.strategy = "factored", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x48xf32>, tensor<?x5xf32>, tensor<384x5xf32>, tensor<384xf32>, tensor<384x5xf32>, tensor<384xf32>, tensor<8x5xf32>, tensor<8xf32>, tensor<48x5xf32>, tensor<48xf32>) -> tensor<?x48xf32>
    %74 = "hmoe.add"(%45, %73) : (tensor<?x48xf32>, tensor<?x48xf32>) -> tensor<?x48xf32>
    %75 = "hmoe.unflatten"(%74, %37) : (tensor<?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %76 = "hmoe.add"(%35, %75) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %77 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.2.layer.0.layer_norm.weight"} : () -> tensor<48xf32>
    %78 = "hmoe.rms_norm"(%76, %77) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %79 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.2.layer.0.SelfAttention.q.weight"} : () -> tensor<48x48xf32>
    %80 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.2.layer.0.SelfAttention.k.weight"} : () -> tensor<48x48xf32>
    %81 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.2.layer.0.SelfAttention.v.weight"} : () -> tensor<48x48xf32>
    %82 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.2.layer.0.SelfAttention.o.weight"} : () -> tensor<48x48xf32>
    %83 = "hmoe.linear"(%78, %79) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %84 = "hmoe.linear"(%78, %80) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %85 = "hmoe.linear"(%78, %81) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %86 = "hmoe.attention"(%83, %84, %85, %3, %arg1) {biased = 1 : i64, causal = 0 : i64, heads = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>, scaled = 0 : i64} : (tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<3x257xf32>, tensor<?x?xi64>) -> tensor<?x?x48xf32>
    %87 = "hmoe.linear"(%86, %82) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %88 = "hmoe.add"(%76, %87) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %89 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.2.layer.1.layer_norm.weight"} : () -> tensor<48xf32>
    %90 = "hmoe.rms_norm"(%88, %89) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %91 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.2.layer.1.mlp.wo.weight"} : () -> tensor<48x96xf32>
    %92 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.2.layer.1.mlp.wi.weight"} : () -> tensor<96x48xf32>
    %93 = "hmoe.linear"(%90, %92) : (tensor<?x?x48xf32>, tensor<96x48xf32>) -> tensor<?x?x96xf32>
    %94 = "hmoe.activate"(%93) {function = "relu"} : (tensor<?x?x96xf32>) -> tensor<?x?x96xf32>
    %95 = "hmoe.linear"(%94, %91) : (tensor<?x?x96xf32>, tensor<48x96xf32>) -> tensor<?x?x48xf32>
    %96 = "hmoe.add"(%88, %95) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %97 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.3.layer.0.layer_norm.weight"} : () -> tensor<48xf32>
    %98 = "hmoe.rms_norm"(%96, %97) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %99 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.3.layer.0.SelfAttention.q.weight"} : () -> tensor<48x48xf32>
    %100 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.3.layer.0.SelfAttention.k.weight"} : () -> tensor<48x48xf32>
    %101 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.3.layer.0.SelfAttention.v.weight"} : () -> tensor<48x48xf32>
    %102 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.3.layer.0.SelfAttention.o.weight"} : () -> tensor<48x48xf32>
    %103 = "hmoe.linear"(%98, %99) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %104 = "hmoe.linear"(%98, %100) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %105 = "hmoe.linear"(%98, %101) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %106 = "hmoe.attention"(%103, %104, %105, %3, %arg1) {biased = 1 : i64, causal = 0 : i64, heads = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>, scaled = 0 : i64} : (tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<3x257xf32>, tensor<?x?xi64>) -> tensor<?x?x48xf32>
    %107 = "hmoe.linear"(%106, %102) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %108 = "hmoe.add"(%96, %107) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %109 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.3.layer.1.layer_norm.weight"} : () -> tensor<48xf32>
    %110 = "hmoe.rms_norm"(%108, %109) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %111 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.3.layer.1.mlp.router.classifier.weight"} : () -> tensor<4x48xf32>
    %112 = "hmoe.linear"(%110, %111) : (tensor<?x?x48xf32>, tensor<4x48xf32>) -> tensor<?x?x4xf32>
    %113:3 = "hmoe.route"(%112) {capacity = 6 : i64, gate = "softmax_then_topk", top_k = 1 : i64} : (tensor<?x?x4xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
    %114 = "hmoe.flatten"(%110) : (tensor<?x?x48xf32>) -> tensor<?x48xf32>
    %115 = "hmoe.parameter"() {at_open, count = 4 : i64, key = "encoder.block.3.layer.1.mlp.experts.expert_{}.wo.weight"} : () -> tensor<4x48x96xf32>
    %116 = "hmoe.parameter"() {at_open, count = 4 : i64, key = "encoder.block.3.layer.1.mlp.experts.expert_{}.wi.weight"} : () -> tensor<4x96x48xf32>
    %117 = "hmoe.experts"(%114, %113#0, %113#2, %116, %115) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x48xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<4x96x48xf32>, tensor<4x48x96xf32>) -> tensor<?x1x48xf32>
    %118 = "hmoe.combine"(%117, %113#1) : (tensor<?x1x48xf32>, tensor<?x1xf32>) -> tensor<?x48xf32>
    %119 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.3.layer.1.mlp.embedding_process.0.weight"} : () -> tensor<7x9xf32>
    %120 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.3.layer.1.mlp.embedding_process.0.bias"} : () -> tensor<7xf32>
    %121 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.3.layer.1.mlp.embedding_process.2.weight"} : () -> tensor<6x7xf32>
    %122 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.3.layer.1.mlp.embedding_process.2.bias"} : () -> tensor<6xf32>
    %123 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.block.3.layer.1.mlp.n_experts_embedding.weight"} : () -> tensor<4x9xf32>
    %124 = "hmoe.selection_embedding"(%113#0, %123) {aggregate = "sum", of = "unselected"} : (tensor<?x1xi32>, tensor<4x9xf32>) -> tensor<?x9xf32>
    %125 = "hmoe.linear"(%124, %119, %120) : (tensor<?x9xf32>, tensor<7x9xf32>, tensor<7xf32>) -> tensor<?x7xf32>
    %126 = "hmoe.activate"(%125) {function = "relu"} : (tensor<?x7xf32>) -> tensor<?x7xf32>
    %127 = "hmoe.linear"(%126, %121, %122) : (tensor<?x7xf32>, tensor<6x7xf32>, tensor<6xf32>) -> tensor<?x6xf32>
    %128 = "hmoe.take_row"(%55) {at_open, row = 3 : i64} : (tensor<4x3xf32>) -> tensor<1x3xf32>
    %129 = "hmoe.linear"(%128, %68, %57) {at_open} : (tensor<1x3xf32>, tensor<5x3xf32>, tensor<5xf32>) -> tensor<1x5xf32>
    %130 = "hmoe.reshape"(%129) {at_open, shape = array<i64: 5>} : (tensor<1x5xf32>) -> tensor<5xf32>
    %131 = "hmoe.linear"(%127, %67, %130) : (tensor<?x6xf32>, tensor<5x6xf32>, tensor<5xf32>) -> tensor<?x5xf32>
    %132 = "hmoe.activate"(%131) {function = "relu"} : (tensor<?x5xf32>) -> tensor<?x5xf32>
    %133 = "hmoe.factored_hyper_expert"(%114, %132, %58, %59, %60, %61, %62, %63, %64, %65) {bottleneck = 8 : i64, hmoe.reason = "forced by an option", hmoe.strategy = "factored", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x48xf32>, tensor<?x5xf32>, tensor<384x5xf32>, tensor<384xf32>, tensor<384x5xf32>, tensor<384xf32>, tensor<8x5xf32>, tensor<8xf32>, tensor<48x5xf32>, tensor<48xf32>) -> tensor<?x48xf32>
    %134 = "hmoe.add"(%118, %133) : (tensor<?x48xf32>, tensor<?x48xf32>) -> tensor<?x48xf32>
    %135 = "hmoe.unflatten"(%134, %110) : (tensor<?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %136 = "hmoe.add"(%108, %135) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %137 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "encoder.final_layer_norm.weight"} : () -> tensor<48xf32>
    %138 = "hmoe.rms_norm"(%136, %137) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %139 = "hmoe.embedding"(%arg2, %0) : (tensor<?x?xi64>, tensor<211x48xf32>) -> tensor<?x?x48xf32>
    %140 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"} : () -> tensor<32x3xf32>
    %141 = "hmoe.relative_bias"(%140) {at_open, bidirectional = 0 : i64, max_distance = 128 : i64} : (tensor<32x3xf32>) -> tensor<3x257xf32>
    %142 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.0.layer_norm.weight"} : () -> tensor<48xf32>
    %143 = "hmoe.rms_norm"(%139, %142) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %144 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.0.SelfAttention.q.weight"} : () -> tensor<48x48xf32>
    %145 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.0.SelfAttention.k.weight"} : () -> tensor<48x48xf32>
    %146 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.0.SelfAttention.v.weight"} : () -> tensor<48x48xf32>
    %147 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.0.SelfAttention.o.weight"} : () -> tensor<48x48xf32>
    %148 = "hmoe.linear"(%143, %144) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %149 = "hmoe.linear"(%143, %145) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %150 = "hmoe.linear"(%143, %146) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %151 = "hmoe.attention"(%148, %149, %150, %141) {biased = 1 : i64, causal = 1 : i64, heads = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>, scaled = 0 : i64} : (tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<3x257xf32>) -> tensor<?x?x48xf32>
    %152 = "hmoe.linear"(%151, %147) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %153 = "hmoe.add"(%139, %152) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %154 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.1.layer_norm.weight"} : () -> tensor<48xf32>
    %155 = "hmoe.rms_norm"(%153, %154) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %156 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.1.EncDecAttention.q.weight"} : () -> tensor<48x48xf32>
    %157 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.1.EncDecAttention.k.weight"} : () -> tensor<48x48xf32>
    %158 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.1.EncDecAttention.v.weight"} : () -> tensor<48x48xf32>
    %159 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.1.EncDecAttention.o.weight"} : () -> tensor<48x48xf32>
    %160 = "hmoe.linear"(%155, %156) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %161 = "hmoe.linear"(%138, %157) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %162 = "hmoe.linear"(%138, %158) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %163 = "hmoe.attention"(%160, %161, %162, %arg1) {biased = 0 : i64, causal = 0 : i64, heads = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 1>, scaled = 0 : i64} : (tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?xi64>) -> tensor<?x?x48xf32>
    %164 = "hmoe.linear"(%163, %159) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %165 = "hmoe.add"(%153, %164) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %166 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.2.layer_norm.weight"} : () -> tensor<48xf32>
    %167 = "hmoe.rms_norm"(%165, %166) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %168 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.2.mlp.wo.weight"} : () -> tensor<48x96xf32>
    %169 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.0.layer.2.mlp.wi.weight"} : () -> tensor<96x48xf32>
    %170 = "hmoe.linear"(%167, %169) : (tensor<?x?x48xf32>, tensor<96x48xf32>) -> tensor<?x?x96xf32>
    %171 = "hmoe.activate"(%170) {function = "relu"} : (tensor<?x?x96xf32>) -> tensor<?x?x96xf32>
    %172 = "hmoe.linear"(%171, %168) : (tensor<?x?x96xf32>, tensor<48x96xf32>) -> tensor<?x?x48xf32>
    %173 = "hmoe.add"(%165, %172) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %174 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.0.layer_norm.weight"} : () -> tensor<48xf32>
    %175 = "hmoe.rms_norm"(%173, %174) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %176 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.0.SelfAttention.q.weight"} : () -> tensor<48x48xf32>
    %177 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.0.SelfAttention.k.weight"} : () -> tensor<48x48xf32>
    %178 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.0.SelfAttention.v.weight"} : () -> tensor<48x48xf32>
    %179 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.0.SelfAttention.o.weight"} : () -> tensor<48x48xf32>
    %180 = "hmoe.linear"(%175, %176) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %181 = "hmoe.linear"(%175, %177) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %182 = "hmoe.linear"(%175, %178) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %183 = "hmoe.attention"(%180, %181, %182, %141) {biased = 1 : i64, causal = 1 : i64, heads = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>, scaled = 0 : i64} : (tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<3x257xf32>) -> tensor<?x?x48xf32>
    %184 = "hmoe.linear"(%183, %179) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %185 = "hmoe.add"(%173, %184) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %186 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.1.layer_norm.weight"} : () -> tensor<48xf32>
    %187 = "hmoe.rms_norm"(%185, %186) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %188 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.1.EncDecAttention.q.weight"} : () -> tensor<48x48xf32>
    %189 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.1.EncDecAttention.k.weight"} : () -> tensor<48x48xf32>
    %190 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.1.EncDecAttention.v.weight"} : () -> tensor<48x48xf32>
    %191 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.1.EncDecAttention.o.weight"} : () -> tensor<48x48xf32>
    %192 = "hmoe.linear"(%187, %188) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %193 = "hmoe.linear"(%138, %189) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %194 = "hmoe.linear"(%138, %190) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %195 = "hmoe.attention"(%192, %193, %194, %arg1) {biased = 0 : i64, causal = 0 : i64, heads = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 1>, scaled = 0 : i64} : (tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?xi64>) -> tensor<?x?x48xf32>
    %196 = "hmoe.linear"(%195, %191) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %197 = "hmoe.add"(%185, %196) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %198 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.2.layer_norm.weight"} : () -> tensor<48xf32>
    %199 = "hmoe.rms_norm"(%197, %198) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %200 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.2.mlp.router.classifier.weight"} : () -> tensor<4x48xf32>
    %201 = "hmoe.linear"(%199, %200) : (tensor<?x?x48xf32>, tensor<4x48xf32>) -> tensor<?x?x4xf32>
    %202:3 = "hmoe.route"(%201) {capacity = 6 : i64, gate = "softmax_then_topk", top_k = 1 : i64} : (tensor<?x?x4xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
    %203 = "hmoe.flatten"(%199) : (tensor<?x?x48xf32>) -> tensor<?x48xf32>
    %204 = "hmoe.parameter"() {at_open, count = 4 : i64, key = "decoder.block.1.layer.2.mlp.experts.expert_{}.wo.weight"} : () -> tensor<4x48x96xf32>
    %205 = "hmoe.parameter"() {at_open, count = 4 : i64, key = "decoder.block.1.layer.2.mlp.experts.expert_{}.wi.weight"} : () -> tensor<4x96x48xf32>
    %206 = "hmoe.experts"(%203, %202#0, %202#2, %205, %204) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x48xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<4x96x48xf32>, tensor<4x48x96xf32>) -> tensor<?x1x48xf32>
    %207 = "hmoe.combine"(%206, %202#1) : (tensor<?x1x48xf32>, tensor<?x1xf32>) -> tensor<?x48xf32>
    %208 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.2.mlp.embedding_process.0.weight"} : () -> tensor<7x9xf32>
    %209 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.2.mlp.embedding_process.0.bias"} : () -> tensor<7xf32>
    %210 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.2.mlp.embedding_process.2.weight"} : () -> tensor<6x7xf32>
    %211 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.2.mlp.embedding_process.2.bias"} : () -> tensor<6xf32>
    %212 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.1.layer.2.mlp.n_experts_embedding.weight"} : () -> tensor<4x9xf32>
    %213 = "hmoe.selection_embedding"(%202#0, %212) {aggregate = "sum", of = "unselected"} : (tensor<?x1xi32>, tensor<4x9xf32>) -> tensor<?x9xf32>
    %214 = "hmoe.linear"(%213, %208, %209) : (tensor<?x9xf32>, tensor<7x9xf32>, tensor<7xf32>) -> tensor<?x7xf32>
    %215 = "hmoe.activate"(%214) {function = "relu"} : (tensor<?x7xf32>) -> tensor<?x7xf32>
    %216 = "hmoe.linear"(%215, %210, %211) : (tensor<?x7xf32>, tensor<6x7xf32>, tensor<6xf32>) -> tensor<?x6xf32>
    %217 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.param_gen.layer_embed.weight"} : () -> tensor<4x3xf32>
    %218 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.param_gen.decoder.linear1.weight"} : () -> tensor<5x9xf32>
    %219 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.param_gen.decoder.linear1.bias"} : () -> tensor<5xf32>
    %220 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.param_gen.decoder.weight_down.weight"} : () -> tensor<384x5xf32>
    %221 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.param_gen.decoder.weight_down.bias"} : () -> tensor<384xf32>
    %222 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.param_gen.decoder.weight_up.weight"} : () -> tensor<384x5xf32>
    %223 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.param_gen.decoder.weight_up.bias"} : () -> tensor<384xf32>
    %224 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.param_gen.decoder.bias_down.weight"} : () -> tensor<8x5xf32>
    %225 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.param_gen.decoder.bias_down.bias"} : () -> tensor<8xf32>
    %226 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.param_gen.decoder.bias_up.weight"} : () -> tensor<48x5xf32>
    %227 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.param_gen.decoder.bias_up.bias"} : () -> tensor<48xf32>
    %228 = "hmoe.take_row"(%217) {at_open, row = 1 : i64} : (tensor<4x3xf32>) -> tensor<1x3xf32>
    %229 = "hmoe.slice"(%218) {at_open, begin = 0 : i64, end = 6 : i64, squeeze = 0 : i64} : (tensor<5x9xf32>) -> tensor<5x6xf32>
    %230 = "hmoe.slice"(%218) {at_open, begin = 6 : i64, end = 9 : i64, squeeze = 0 : i64} : (tensor<5x9xf32>) -> tensor<5x3xf32>
    %231 = "hmoe.linear"(%228, %230, %219) {at_open} : (tensor<1x3xf32>, tensor<5x3xf32>, tensor<5xf32>) -> tensor<1x5xf32>
    %232 = "hmoe.reshape"(%231) {at_open, shape = array<i64: 5>} : (tensor<1x5xf32>) -> tensor<5xf32>
    %233 = "hmoe.linear"(%216, %229, %232) : (tensor<?x6xf32>, tensor<5x6xf32>, tensor<5xf32>) -> tensor<?x5xf32>
    %234 = "hmoe.activate"(%233) {function = "relu"} : (tensor<?x5xf32>) -> tensor<?x5xf32>
    %235 = "hmoe.factored_hyper_expert"(%203, %234, %220, %221, %222, %223, %224, %225, %226, %227) {bottleneck = 8 : i64, hmoe.reason = "forced by an option", hmoe.strategy = "factored", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x48xf32>, tensor<?x5xf32>, tensor<384x5xf32>, tensor<384xf32>, tensor<384x5xf32>, tensor<384xf32>, tensor<8x5xf32>, tensor<8xf32>, tensor<48x5xf32>, tensor<48xf32>) -> tensor<?x48xf32>
    %236 = "hmoe.add"(%207, %235) : (tensor<?x48xf32>, tensor<?x48xf32>) -> tensor<?x48xf32>
    %237 = "hmoe.unflatten"(%236, %199) : (tensor<?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %238 = "hmoe.add"(%197, %237) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %239 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.0.layer_norm.weight"} : () -> tensor<48xf32>
    %240 = "hmoe.rms_norm"(%238, %239) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %241 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.0.SelfAttention.q.weight"} : () -> tensor<48x48xf32>
    %242 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.0.SelfAttention.k.weight"} : () -> tensor<48x48xf32>
    %243 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.0.SelfAttention.v.weight"} : () -> tensor<48x48xf32>
    %244 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.0.SelfAttention.o.weight"} : () -> tensor<48x48xf32>
    %245 = "hmoe.linear"(%240, %241) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %246 = "hmoe.linear"(%240, %242) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %247 = "hmoe.linear"(%240, %243) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %248 = "hmoe.attention"(%245, %246, %247, %141) {biased = 1 : i64, causal = 1 : i64, heads = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>, scaled = 0 : i64} : (tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<3x257xf32>) -> tensor<?x?x48xf32>
    %249 = "hmoe.linear"(%248, %244) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %250 = "hmoe.add"(%238, %249) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %251 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.1.layer_norm.weight"} : () -> tensor<48xf32>
    %252 = "hmoe.rms_norm"(%250, %251) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %253 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.1.EncDecAttention.q.weight"} : () -> tensor<48x48xf32>
    %254 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.1.EncDecAttention.k.weight"} : () -> tensor<48x48xf32>
    %255 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.1.EncDecAttention.v.weight"} : () -> tensor<48x48xf32>
    %256 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.1.EncDecAttention.o.weight"} : () -> tensor<48x48xf32>
    %257 = "hmoe.linear"(%252, %253) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %258 = "hmoe.linear"(%138, %254) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %259 = "hmoe.linear"(%138, %255) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %260 = "hmoe.attention"(%257, %258, %259, %arg1) {biased = 0 : i64, causal = 0 : i64, heads = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 1>, scaled = 0 : i64} : (tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?xi64>) -> tensor<?x?x48xf32>
    %261 = "hmoe.linear"(%260, %256) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %262 = "hmoe.add"(%250, %261) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %263 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.2.layer_norm.weight"} : () -> tensor<48xf32>
    %264 = "hmoe.rms_norm"(%262, %263) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %265 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.2.mlp.wo.weight"} : () -> tensor<48x96xf32>
    %266 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.2.layer.2.mlp.wi.weight"} : () -> tensor<96x48xf32>
    %267 = "hmoe.linear"(%264, %266) : (tensor<?x?x48xf32>, tensor<96x48xf32>) -> tensor<?x?x96xf32>
    %268 = "hmoe.activate"(%267) {function = "relu"} : (tensor<?x?x96xf32>) -> tensor<?x?x96xf32>
    %269 = "hmoe.linear"(%268, %265) : (tensor<?x?x96xf32>, tensor<48x96xf32>) -> tensor<?x?x48xf32>
    %270 = "hmoe.add"(%262, %269) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %271 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.0.layer_norm.weight"} : () -> tensor<48xf32>
    %272 = "hmoe.rms_norm"(%270, %271) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %273 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.0.SelfAttention.q.weight"} : () -> tensor<48x48xf32>
    %274 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.0.SelfAttention.k.weight"} : () -> tensor<48x48xf32>
    %275 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.0.SelfAttention.v.weight"} : () -> tensor<48x48xf32>
    %276 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.0.SelfAttention.o.weight"} : () -> tensor<48x48xf32>
    %277 = "hmoe.linear"(%272, %273) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %278 = "hmoe.linear"(%272, %274) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %279 = "hmoe.linear"(%272, %275) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %280 = "hmoe.attention"(%277, %278, %279, %141) {biased = 1 : i64, causal = 1 : i64, heads = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>, scaled = 0 : i64} : (tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<3x257xf32>) -> tensor<?x?x48xf32>
    %281 = "hmoe.linear"(%280, %276) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %282 = "hmoe.add"(%270, %281) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %283 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.1.layer_norm.weight"} : () -> tensor<48xf32>
    %284 = "hmoe.rms_norm"(%282, %283) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %285 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.1.EncDecAttention.q.weight"} : () -> tensor<48x48xf32>
    %286 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.1.EncDecAttention.k.weight"} : () -> tensor<48x48xf32>
    %287 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.1.EncDecAttention.v.weight"} : () -> tensor<48x48xf32>
    %288 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.1.EncDecAttention.o.weight"} : () -> tensor<48x48xf32>
    %289 = "hmoe.linear"(%284, %285) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %290 = "hmoe.linear"(%138, %286) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %291 = "hmoe.linear"(%138, %287) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %292 = "hmoe.attention"(%289, %290, %291, %arg1) {biased = 0 : i64, causal = 0 : i64, heads = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 1>, scaled = 0 : i64} : (tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?x48xf32>, tensor<?x?xi64>) -> tensor<?x?x48xf32>
    %293 = "hmoe.linear"(%292, %288) : (tensor<?x?x48xf32>, tensor<48x48xf32>) -> tensor<?x?x48xf32>
    %294 = "hmoe.add"(%282, %293) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %295 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.2.layer_norm.weight"} : () -> tensor<48xf32>
    %296 = "hmoe.rms_norm"(%294, %295) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %297 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.2.mlp.router.classifier.weight"} : () -> tensor<4x48xf32>
    %298 = "hmoe.linear"(%296, %297) : (tensor<?x?x48xf32>, tensor<4x48xf32>) -> tensor<?x?x4xf32>
    %299:3 = "hmoe.route"(%298) {capacity = 6 : i64, gate = "softmax_then_topk", top_k = 1 : i64} : (tensor<?x?x4xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi1>)
    %300 = "hmoe.flatten"(%296) : (tensor<?x?x48xf32>) -> tensor<?x48xf32>
    %301 = "hmoe.parameter"() {at_open, count = 4 : i64, key = "decoder.block.3.layer.2.mlp.experts.expert_{}.wo.weight"} : () -> tensor<4x48x96xf32>
    %302 = "hmoe.parameter"() {at_open, count = 4 : i64, key = "decoder.block.3.layer.2.mlp.experts.expert_{}.wi.weight"} : () -> tensor<4x96x48xf32>
    %303 = "hmoe.experts"(%300, %299#0, %299#2, %302, %301) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>} : (tensor<?x48xf32>, tensor<?x1xi32>, tensor<?x1xi1>, tensor<4x96x48xf32>, tensor<4x48x96xf32>) -> tensor<?x1x48xf32>
    %304 = "hmoe.combine"(%303, %299#1) : (tensor<?x1x48xf32>, tensor<?x1xf32>) -> tensor<?x48xf32>
    %305 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.2.mlp.embedding_process.0.weight"} : () -> tensor<7x9xf32>
    %306 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.2.mlp.embedding_process.0.bias"} : () -> tensor<7xf32>
    %307 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.2.mlp.embedding_process.2.weight"} : () -> tensor<6x7xf32>
    %308 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.2.mlp.embedding_process.2.bias"} : () -> tensor<6xf32>
    %309 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.block.3.layer.2.mlp.n_experts_embedding.weight"} : () -> tensor<4x9xf32>
    %310 = "hmoe.selection_embedding"(%299#0, %309) {aggregate = "sum", of = "unselected"} : (tensor<?x1xi32>, tensor<4x9xf32>) -> tensor<?x9xf32>
    %311 = "hmoe.linear"(%310, %305, %306) : (tensor<?x9xf32>, tensor<7x9xf32>, tensor<7xf32>) -> tensor<?x7xf32>
    %312 = "hmoe.activate"(%311) {function = "relu"} : (tensor<?x7xf32>) -> tensor<?x7xf32>
    %313 = "hmoe.linear"(%312, %307, %308) : (tensor<?x7xf32>, tensor<6x7xf32>, tensor<6xf32>) -> tensor<?x6xf32>
    %314 = "hmoe.take_row"(%217) {at_open, row = 3 : i64} : (tensor<4x3xf32>) -> tensor<1x3xf32>
    %315 = "hmoe.linear"(%314, %230, %219) {at_open} : (tensor<1x3xf32>, tensor<5x3xf32>, tensor<5xf32>) -> tensor<1x5xf32>
    %316 = "hmoe.reshape"(%315) {at_open, shape = array<i64: 5>} : (tensor<1x5xf32>) -> tensor<5xf32>
    %317 = "hmoe.linear"(%313, %229, %316) : (tensor<?x6xf32>, tensor<5x6xf32>, tensor<5xf32>) -> tensor<?x5xf32>
    %318 = "hmoe.activate"(%317) {function = "relu"} : (tensor<?x5xf32>) -> tensor<?x5xf32>
    %319 = "hmoe.factored_hyper_expert"(%300, %318, %220, %221, %222, %223, %224, %225, %226, %227) {bottleneck = 8 : i64, hmoe.reason = "forced by an option", hmoe.strategy = "factored", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x48xf32>, tensor<?x5xf32>, tensor<384x5xf32>, tensor<384xf32>, tensor<384x5xf32>, tensor<384xf32>, tensor<8x5xf32>, tensor<8xf32>, tensor<48x5xf32>, tensor<48xf32>) -> tensor<?x48xf32>
    %320 = "hmoe.add"(%304, %319) : (tensor<?x48xf32>, tensor<?x48xf32>) -> tensor<?x48xf32>
    %321 = "hmoe.unflatten"(%320, %296) : (tensor<?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %322 = "hmoe.add"(%294, %321) : (tensor<?x?x48xf32>, tensor<?x?x48xf32>) -> tensor<?x?x48xf32>
    %323 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.final_layer_norm.weight"} : () -> tensor<48xf32>
    %324 = "hmoe.rms_norm"(%322, %323) {epsilon = 9.9999999999999995E-7 : f64} : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
    %325 = "hmoe.parameter"() {at_open, count = 0 : i64, key = "decoder.lm_head.weight\0Alm_head.weight"} : () -> tensor<211x48xf32>
    %326 = "hmoe.linear"(%324, %325) : (tensor<?x?x48xf32>, tensor<211x48xf32>) -> tensor<?x?x211xf32>
    return %326, %138 : tensor<?x?x211xf32>, tensor<?x?x48xf32>
  }
}
