"""checkpoint_variants.py GOLDEN FOLDER: Hugging Face directories made from those in GOLDEN.

FOLDER/sound/NAME can be imported; FOLDER/broken/NAME cannot, and FOLDER/broken/NAME.txt has what the one error must say."""
import json
import os
import shutil
import struct
import sys

golden, folder = sys.argv[1:]


def load(name):
    """The config and the tensors of a golden directory: {name: (dtype, shape, bytes)}."""
    data = open(f"{golden}/{name}/model.safetensors", "rb").read()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    header.pop("__metadata__", None)
    tensors = {k: (v["dtype"], v["shape"], body[slice(*v["data_offsets"])]) for k, v in header.items()}
    return json.load(open(f"{golden}/{name}/config.json")), tensors


def save_tensors(path, tensors):
    header, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + body)


def zeros(*shape):
    count = 1
    for size in shape:
        count *= size
    return "F32", list(shape), bytes(4 * count)


def rename(tensors, change):
    return {change(name): value for name, value in tensors.items()}


def write(path, config, tensors):
    os.makedirs(path)
    text = config if isinstance(config, str) else json.dumps(config, indent=1)
    open(f"{path}/config.json", "w").write(text)
    if tensors is not None:
        save_tensors(f"{path}/model.safetensors", tensors)


def sound(name, config, tensors):
    write(f"{folder}/sound/{name}", config, tensors)


def shards(path, config, tensors, count=3):
    write(path, config, None)
    names = sorted(tensors)
    files = {k: f"model-{i % count + 1:05}-of-{count:05}.safetensors" for i, k in enumerate(names)}
    for file in set(files.values()):
        save_tensors(f"{path}/{file}", {k: tensors[k] for k in names if files[k] == file})
    index = {"metadata": {"total_size": 1}, "weight_map": files}
    json.dump(index, open(f"{path}/model.safetensors.index.json", "w"), indent=1)
    return index


def hyper_router(tensors):
    """The routers of switch-moe-tiny as a HyperRouter generates them, and the mixtures that have one."""
    generated = {k: v for k, v in tensors.items() if "classifier" not in k}
    scopes = sorted((k[: -len("router.classifier.weight")] for k in tensors if "classifier" in k), reverse=True)
    for k in scopes:
        generated |= {k + "gate.embedding": zeros(1, 48), k + "gate.hypernet.0.weight": zeros(11, 48), k + "gate.hypernet.0.bias": zeros(11)}
        generated |= {k + "gate.hypernet.2.weight": zeros(4 * 49, 11), k + "gate.hypernet.2.bias": zeros(4 * 49)}
    return generated, scopes


def make_sound():
    config, tensors = load("switch-hypermoe-tiny")
    shards(f"{folder}/sound/shards", config, tensors)
    index = shards(f"{folder}/sound/lost", config, tensors)  # the index names tensors that no file has, one of them a name of the tied one
    index["weight_map"] |= {"lm_head.weight": "model-00001-of-00003.safetensors", "decoder.embed_tokens.weight": "model-00002-of-00003.safetensors"}
    json.dump(index, open(f"{folder}/sound/lost/model.safetensors.index.json", "w"))
    sound("copies", config, tensors | {k: tensors["shared.weight"] for k in ("encoder.embed_tokens.weight", "lm_head.weight")})
    for name, words in (("module", "module."), ("compiled", "_orig_mod.module."), ("inner", "model.transformer.")):
        sound(name, config, rename(tensors, lambda k: words + k))
    sound("no_type", {k: v for k, v in config.items() if k != "model_type"}, rename(tensors, lambda k: "module." + k))
    sound("alias", config, rename(tensors, lambda k: "decoder.embed_tokens.weight" if k == "shared.weight" else k))
    sound("head_only", config, rename(tensors, lambda k: "lm_head.weight" if k == "shared.weight" else k))
    halves = {k: ("BF16", s, b"".join(d[i + 2 : i + 4] for i in range(0, len(d), 4))) for k, (_, s, d) in tensors.items()}
    sound("bf16", config, halves)
    few = {k: v for k, v in config.items() if k in ("model_type", "expert_capacity", "transformers_version")}
    sound("few-keys.2", few, tensors)
    manual = {"encoder.block.1.layer.1.mlp.adapter_layer.adapter_down_manual.weight": zeros(8, 48)}
    sound("manual", config, tensors | manual)
    sound("unknown_tensor", config, tensors | {"encoder.block.0.layer.0.SelfAttention.inv_freq": zeros(4), "encoder.block.1.layer.0.SelfAttention.q.bias": zeros(48)})

    config, tensors = load("switch-moe-tiny")
    untied = {"decoder.lm_head.weight": zeros(211, 48)}
    sound("untied", config | {"tie_word_embeddings": False}, tensors | untied)
    # Block 3 of the encoder becomes dense, block 0 of the decoder a mixture.
    moved = rename(tensors, lambda k: k.replace("decoder.block.1.layer.2.mlp.", "decoder.block.0.layer.2.mlp."))
    moved = {k: v for k, v in moved.items() if not (k.startswith("encoder.block.3.layer.1.mlp.") and "expert_0" not in k)}
    moved = rename(moved, lambda k: k.replace("encoder.block.3.layer.1.mlp.experts.expert_0.", "encoder.block.3.layer.1.mlp."))
    for part, shape in (("wi", (96, 48)), ("wo", (48, 96))):
        moved.pop(f"decoder.block.0.layer.2.mlp.{part}.weight", None)
        moved[f"decoder.block.1.layer.2.mlp.{part}.weight"] = zeros(*shape)
    ids = {f"{side}.embed_tokens.weight": ("F32", [211, 48], bytes(4 * i) + bytes.fromhex("0000803f") + bytes(4 * (211 * 48 - i - 1))) for i, side in enumerate(("encoder", "decoder"))}
    sound("untied_ids", config | {"tie_word_embeddings": False}, tensors | ids | {"lm_head.weight": zeros(211, 48)})
    for version in ("4.57.1", "5.0.0.dev0", "15"):
        sound("version_" + version, config | {"transformers_version": version}, tensors)
    sound("version_none", {k: v for k, v in config.items() if k != "transformers_version"}, tensors)
    named = {k: v for k, v in config.items() if k not in ("dense_act_fn", "is_gated_act", "feed_forward_proj")}
    for i, keys in enumerate(({"feed_forward_proj": "gated-gelu"}, {"feed_forward_proj": "gated-gelu", "is_gated_act": True, "dense_act_fn": "gelu_new"},
                              {"feed_forward_proj": "gelu", "dense_act_fn": "relu"}, {"is_gated_act": True}, {"feed_forward_proj": "gelu"}, {"dense_act_fn": "silu"})):
        sound(f"function_{i}", named | keys, tensors)
    sound("pattern", {k: v for k, v in config.items() if "sparse" not in k}, moved)
    bias = {k.replace(".weight", ".bias"): zeros(4) for k in tensors if "classifier" in k}
    sound("router_bias", config | {"router_bias": True}, tensors | bias)
    gated = rename(tensors, lambda k: k.replace(".wi.weight", ".wi_0.weight"))
    gated |= {k.replace("wi_0", "wi_1"): v for k, v in gated.items() if "wi_0" in k}
    sound("gated", {k: v for k, v in config.items() if k not in ("dense_act_fn", "is_gated_act")} | {"feed_forward_proj": "gated-gelu"}, gated)
    generated, _ = hyper_router(tensors)
    sound("hyperrouter", config, generated)

    config, tensors = load("gpt2-hypermoe-tiny-k2")
    bare = rename(tensors, lambda k: k.replace("transformer.", "", 1))
    bare |= {"h.0.attn.bias": ("U8", [1, 1, 64, 64], bytes(64 * 64)), "h.0.attn.masked_bias": zeros(1)}
    sound("bare", config, bare)
    biases = {f"transformer.h.{l}.attn.c_attn.bias": zeros(144) for l in range(3)}
    for i, keys in enumerate(({"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_by_inverse_layer_idx": True, "scale_attn_weights": False}, {"scale_attn_weights": False, "reorder_and_upcast_attn": True})):
        sound(f"gpt2_scores_{i}", config | keys, tensors)
    sound("gpt2_no_biases", config, {k: v for k, v in tensors.items() if not k.endswith("c_attn.bias")})
    dense = {k: v for k, v in tensors.items() if ".mlp." not in k and "param_gen" not in k} | biases
    for l in range(3):
        dense |= {f"transformer.h.{l}.mlp.c_fc.weight": zeros(48, 100), f"transformer.h.{l}.mlp.c_fc.bias": zeros(100)}
        dense |= {f"transformer.h.{l}.mlp.c_proj.weight": zeros(100, 48), f"transformer.h.{l}.mlp.c_proj.bias": zeros(48)}
    plain = {"model_type": "gpt2", "n_head": 3, "n_inner": 100, "n_layer": 3}
    sound("gpt2_dense", plain, dense)


def make_broken():
    def broken(name, message, config, tensors):
        write(f"{folder}/broken/{name}", config, tensors)
        open(f"{folder}/broken/{name}.txt", "w").write(message)

    config, tensors = load("switch-hypermoe-tiny")
    without = lambda *names: {k: v for k, v in tensors.items() if k not in names}
    text = json.dumps(config, indent=1)

    # config.json
    broken("no_weights", "no_weights: error: expected model.safetensors or model.safetensors.index.json in the directory, found neither", config, None)
    broken("pickled", "pickled: error: expected model.safetensors or model.safetensors.index.json, found pytorch_model.bin: convert it in Python with save_pretrained", config, None)
    open(f"{folder}/broken/pickled/pytorch_model.bin", "wb").write(b"PK")
    broken("no_config", "error: it has no config.json", config, tensors)
    os.unlink(f"{folder}/broken/no_config/config.json")
    broken("not_json", "config.json:9:", "\n" * 8 + "{", tensors)
    broken("list", "config.json:1:1: error: expected an object", "[]", tensors)
    broken("twice", "'d_model' is given twice", text[:-2] + ', "d_model": 48}', tensors)
    line = 1 + text[: text.index('"d_model"')].count("\n")
    for name, value in (("nan", "NaN"), ("infinity", "-Infinity")):
        broken(name, f"config.json:{line}:13: error: {value} is not a number of JSON", text.replace('"d_model": 48', f'"d_model": {value}'), tensors)
    for name, value, found in (("negative", -48, "-48"), ("float", 48.5, "48.5"), ("huge", 1e300, "1e+300"), ("boolean", True, "true"), ("zero", 0, "0"), ("string", "48", '"48"')):
        broken(name, f"config.json:{line}:2: error: expected d_model to be an integer between 1 and 2147483647, found {found}", config | {"d_model": value}, tensors)
    broken("epsilon", "expected layer_norm_epsilon to be a number above 0 and at most 1, found -1e-06", config | {"layer_norm_epsilon": -1e-6}, tensors)
    broken("flag", "expected use_hypernet to be true or false, found 1", config | {"use_hypernet": 1}, tensors)
    broken("type", 'model_type "t5" is not supported; expected switch_transformers or gpt2', config | {"model_type": "t5"}, tensors)
    broken("fast_mode", "error: use_fast_mode = true is not supported", config | {"use_fast_mode": True}, tensors)
    broken("activation", 'dense_act_fn: the activation "tanh" is not supported', config | {"dense_act_fn": "tanh"}, tensors)
    broken("projection", 'feed_forward_proj: the activation "mish" is not supported', config | {"feed_forward_proj": "mish"}, tensors)

    broken("version", 'expected transformers_version to be a version such as "4.30.2", found "new"', config | {"transformers_version": "new"}, tensors)

    # contradictions
    broken("d_model", "d_model = 64, but d_model is 48 in the checkpoint, by 'shared.weight'", config | {"d_model": 64}, tensors)
    broken("experts", "num_experts = 8, but experts is 4 in the checkpoint, by 'encoder.block.1.layer.1.mlp.router.classifier.weight'", config | {"num_experts": 8}, tensors)
    broken("adapter", "adapter_dim = 64, but bottleneck is 8 in the checkpoint", config | {"adapter_dim": 64}, tensors)
    broken("layers", "num_layers = 6, but the checkpoint has layers 0 to 3 of 'encoder.block.'", config | {"num_layers": 6}, tensors)
    broken("hypernet", "use_hypernet = false, but the checkpoint has the tensors of HyperExperts", config | {"use_hypernet": False}, tensors)
    broken("bias_flag", "router_bias = true, but the checkpoint has no tensor 'router.classifier.bias'", config | {"router_bias": True}, tensors)
    broken("tied", "tie_word_embeddings = true, but the checkpoint has 'decoder.lm_head.weight'", config, tensors | {"decoder.lm_head.weight": zeros(211, 48)})

    zero = {"encoder.embed_tokens.weight": zeros(211, 48)}
    broken("differ", "model.safetensors: error: 'shared.weight' and 'encoder.embed_tokens.weight' are names of one tied tensor in this model, but their contents differ", config, tensors | zero)
    broken("differ_unsaid", "note: tie_word_embeddings is not given, which means true: with false each would be a tensor of its own",
           {k: v for k, v in config.items() if k != "tie_word_embeddings"}, tensors | zero)
    broken("differ_types", "'shared.weight' and 'lm_head.weight' are names of one tied tensor in this model, but their types differ", config,
           tensors | {"lm_head.weight": ("F16", [211, 48], bytes(211 * 48 * 2))})

    # tensors
    for name in ("shared.weight", "decoder.block.2.layer.1.EncDecAttention.k.weight", "encoder.block.3.layer.1.mlp.experts.expert_2.wo.weight",
                 "decoder.block.3.layer.2.mlp.embedding_process.2.bias", "encoder.param_gen.decoder.bias_up.bias", "decoder.final_layer_norm.weight",
                 "encoder.block.1.layer.1.mlp.router.classifier.weight"):
        broken("missing_" + name, f"model.safetensors: error: there is no tensor '{name}'", config, without(name))
    gap = {k: v for k, v in tensors.items() if not k.startswith("encoder.block.2.")}
    broken("gap", "there is no tensor 'encoder.block.2.layer.0.layer_norm.weight'", config, gap)
    cut = {k: v for k, v in tensors.items() if not k.startswith("encoder.block.3.")}
    broken("cut_layers", "num_layers = 4, but the checkpoint has layers 0 to 2", config, cut)
    broken("shape", "'decoder.block.2.layer.2.mlp.wi.weight': expected [d_ff = 96, d_model = 48], found [96, 47]; d_model follows from 'shared.weight'",
           config, tensors | {"decoder.block.2.layer.2.mlp.wi.weight": zeros(96, 47)})
    broken("rank", "'encoder.final_layer_norm.weight': expected [d_model = 48], found [48, 1]", config, tensors | {"encoder.final_layer_norm.weight": zeros(48, 1)})
    broken("swapped", "'encoder.param_gen.decoder.weight_down.weight': expected [d_model * bottleneck = 384, hyper_hidden = 5], found [5, 384]",
           config, tensors | {"encoder.param_gen.decoder.weight_down.weight": zeros(5, 384)})
    unbiased = {k: v for k, v in tensors.items() if ".param_gen.decoder.bias_" not in k}
    broken("down_rows", "param_gen.decoder.weight_down.weight': its 385 rows are not a multiple of d_model = 48", config,
           unbiased | {k: zeros(385, 5) for k in unbiased if k.endswith("decoder.weight_down.weight")})
    broken("heads", "relative_attention_bias.weight': expected [buckets = 32, heads = 3], found [32, 4]", config,
           tensors | {"decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": zeros(32, 4)})
    broken("integers", "'encoder.final_layer_norm.weight': expected floating-point elements, found I32", config,
           tensors | {"encoder.final_layer_norm.weight": ("I32", [48], bytes(192))})
    broken("one_more_expert", "'encoder.block.1.layer.1.mlp.experts.expert_4': there are more than experts = 4", config,
           tensors | {"encoder.block.1.layer.1.mlp.experts.expert_4.wi.weight": zeros(96, 48)})
    broken("many_layers", "more than 1000 layers", config, tensors | {"encoder.block.99999999999999999999.x": zeros(1)})
    broken("cut_file", "model.safetensors", config, tensors)
    path = f"{folder}/broken/cut_file/model.safetensors"
    open(path, "r+b").truncate(os.path.getsize(path) - 7)

    # shards
    def sharded(name, message, change):
        path = f"{folder}/broken/{name}"
        index = shards(path, config, tensors)
        change(path, index)
        if index is not None:
            json.dump(index, open(f"{path}/model.safetensors.index.json", "w"), indent=1)
        open(f"{path}.txt", "w").write(message)

    sharded("shard", "model.safetensors.index.json: error: tensor 'encoder.block.0.layer.0.SelfAttention.q.weight' is in ", lambda p, i: os.unlink(f"{p}/model-00002-of-00003.safetensors"))
    sharded("no_map", "model.safetensors.index.json: error: expected an index, found an object without weight_map", lambda p, i: i.pop("weight_map"))
    sharded("cycle", "weight_map: tensor 'shared.weight': the index is cyclic: it names itself",
            lambda p, i: i["weight_map"].update({"shared.weight": "model.safetensors.index.json"}))
    sharded("outside", "weight_map: tensor 'shared.weight': expected the name of a file beside the index, found '../x.safetensors'",
            lambda p, i: i["weight_map"].update({"shared.weight": "../x.safetensors"}))
    sharded("number", "weight_map: expected a file name for tensor 'shared.weight'", lambda p, i: i["weight_map"].update({"shared.weight": 3}))
    sharded("elsewhere", "index.json: error: no tensor 'shared.weight' in 'model-00001-of-00003.safetensors', where the index says it is",
            lambda p, i: i["weight_map"].update({"shared.weight": "model-00001-of-00003.safetensors"}))
    sharded("empty", "index.json: error: there is no tensor 'shared.weight', nor one of its other names", lambda p, i: i.update(weight_map={}))

    # gated layers
    config, tensors = load("switch-moe-tiny")
    gated = rename(tensors, lambda k: k.replace(".wi.weight", ".wi_0.weight"))
    gated |= {k.replace("wi_0", "wi_1"): v for k, v in gated.items() if "wi_0" in k}
    plain = {k: v for k, v in config.items() if k not in ("dense_act_fn", "is_gated_act", "feed_forward_proj")}
    broken("is_gated", "is_gated_act = false, but the checkpoint's feed-forward layers have wi_0 and wi_1", plain | {"is_gated_act": False}, gated)
    broken("proj_gated", 'feed_forward_proj = "relu", but the checkpoint\'s feed-forward layers have wi_0 and wi_1', plain | {"feed_forward_proj": "relu"}, gated)
    broken("gated_function", 'dense_act_fn = "relu", but feed_forward_proj is "gated-gelu"', plain | {"feed_forward_proj": "gated-gelu", "dense_act_fn": "relu"}, gated)

    # HyperRouter
    config, tensors = load("switch-moe-tiny")
    generated, scopes = hyper_router(tensors)
    for key in ("embedding", "hypernet.0.weight", "hypernet.0.bias", "hypernet.2.weight", "hypernet.2.bias"):
        name = f"{scopes[-1]}gate.{key}"
        broken("router_" + key, f"there is no tensor '{name}'", config, {k: v for k, v in generated.items() if k != name})
    broken("router_size", f"'{scopes[0]}gate.hypernet.2.bias': expected [experts * (d_model + 1) = 196], found [195]", config,
           generated | {scopes[0] + "gate.hypernet.2.bias": zeros(195)})
    first = min(scope for scope in scopes if scope.startswith("encoder."))
    rows = {first + "gate.hypernet.2.weight": zeros(195, 11), first + "gate.hypernet.2.bias": zeros(195)}
    broken("router_rows", f"'{first}gate.hypernet.2.weight': its 195 rows are not a multiple of d_model + 1 = 49", config, generated | rows)

    # GPT-2
    config, tensors = load("gpt2-hypermoe-tiny-k2")
    broken("gpt2_differ", "'transformer.wte.weight' and 'lm_head.weight' are names of one tied tensor in this model, but their contents differ", config,
           tensors | {"lm_head.weight": zeros(197, 48)})
    broken("gpt2_cross", "error: add_cross_attention = true is not supported", config | {"add_cross_attention": True}, tensors)
    broken("gpt2_k", "k = 6, but there are 5 experts, by 'transformer.h.0.mlp.w_gate'", config | {"k": 6}, tensors)
    broken("gpt2_all", "k = 5, but HyperExperts need experts that are not selected, and there are 5", config | {"k": 5}, tensors)
    broken("gpt2_head", "n_head = 5, but d_model = 48 is not 5 equal heads", config | {"n_head": 5}, tensors)
    broken("gpt2_use_moe", 'use_moe = "no", but the checkpoint has experts', config | {"use_moe": "no"}, tensors)
    broken("gpt2_bias", "there is no tensor 'transformer.h.0.attn.c_attn.bias'", config,
           {k: v for k, v in tensors.items() if k != "transformer.h.0.attn.c_attn.bias"})
    broken("gpt2_untied", "there is no tensor 'lm_head.weight'", config | {"tie_word_embeddings": False}, tensors)
    broken("gpt2_c_attn", "'transformer.h.2.attn.c_attn.weight': expected [d_model = 48, 3 * d_model = 144], found [144, 48]", config,
           tensors | {"transformer.h.2.attn.c_attn.weight": zeros(144, 48)})


shutil.rmtree(folder, ignore_errors=True)
make_sound()
make_broken()
