"""What `hmoec generate` does, against what `hmoec run` says of the same tokens:  generation.py HMOEC MODELS GOLDEN FOLDER PART

Decoding token by token gives what the whole prefix gives, with padding, capacity and several experts a token; beams are compared by the
log-probabilities of whole prefixes. PART: prefix or search."""
import subprocess
import sys

import numpy

hmoec, models, golden, folder, part = sys.argv[1:]
SWITCH = [f"{models}/switch-hypermoe-tiny.spec", "--weights", f"{golden}/switch-hypermoe-tiny/model.safetensors"]
GPT2 = [f"{models}/gpt2-hypermoe-tiny.spec", "-D", "top_k=2", "-D", "experts=5",
        "--weights", f"{golden}/gpt2-hypermoe-tiny-k2/model.safetensors"]


def call(command, model, arrays, *options):
    files = []
    for name, values in arrays.items():
        numpy.save(f"{folder}/{name}.npy", values)
        files += ["--input", f"{name}={folder}/{name}.npy"]
    done = subprocess.run([hmoec, command, *model, *files, *options], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command} {options}: status {done.returncode}: {done.stderr}")


def generate(model, arrays, count, *options):
    call("generate", model, arrays, "--max-new-tokens", str(count), "-o", f"{folder}/tokens.npy", *options)
    return numpy.load(f"{folder}/tokens.npy")


def logits(model, arrays, tokens):
    """Of every token but the first, given those before it."""
    encodes, arrays = model[0] == SWITCH[0], dict(arrays)
    arrays["decoder_input_ids" if encodes else "input_ids"] = tokens[:, :-1]
    if not encodes and "attention_mask" in arrays:
        mask = arrays["attention_mask"]
        more = numpy.ones((len(mask), tokens.shape[1] - 1 - mask.shape[1]), mask.dtype)
        arrays["attention_mask"] = numpy.concatenate([mask, more], axis=1)
    call("run", model, arrays, "--output", f"logits={folder}/logits.npy")
    return numpy.load(f"{folder}/logits.npy").astype(numpy.float64)


def expect(condition, what):
    print(("ok: " if condition else "WRONG: ") + what)
    if not condition:
        sys.exit(1)


def expect_same_as_prefix(what, model, arrays, start, count, *options):
    """Greedy tokens are the largest logits of the prefix before them."""
    tokens = generate(model, arrays, count, "--end-token", "none", *options)
    best = logits(model, arrays, tokens)[:, start - 1:].argmax(axis=2)
    expect(tokens.shape[1] == start + count and (best == tokens[:, start:]).all(), f"{what}: token by token as the whole prefix")
    return tokens


def score(model, arrays, tokens, start, end, penalty=1.0):
    """Of each row: the log-probabilities of its tokens up to the end token, by the length before that."""
    values = logits(model, arrays, tokens)
    values -= values.max(axis=2, keepdims=True)
    values -= numpy.log(numpy.exp(values).sum(axis=2, keepdims=True))
    scores = []
    for row, ids in enumerate(tokens):
        total, length = 0.0, tokens.shape[1]
        for at in range(start, tokens.shape[1]):
            total += values[row, at - 1, ids[at]]
            if ids[at] == end:
                length = at
                break
        scores.append(total / length**penalty)
    return numpy.array(scores)


def repeats(ids, size):
    grams = [tuple(ids[i:i + size]) for i in range(len(ids) - size + 1)]
    return len(grams) != len(set(grams))


random = numpy.random.default_rng(5)
source = {"input_ids": random.integers(2, 211, (4, 9)), "attention_mask": numpy.ones((4, 9), numpy.int64)}
for row, padding in enumerate((0, 1, 4, 8)):
    source["attention_mask"][row, 9 - padding:] = 0
prompt = {"input_ids": random.integers(0, 197, (4, 7)), "attention_mask": numpy.ones((4, 7), numpy.int64)}
for row, padding in enumerate((0, 1, 3, 6)):
    prompt["attention_mask"][row, :padding] = 0


def check_prefixes():
    """Capacity counts over the row, also of what was generated before."""
    for capacity in (6, 2):
        expect_same_as_prefix(f"encoder-decoder, capacity {capacity}", SWITCH + ["-D", f"capacity={capacity}"], source, 1, 14)
    expect_same_as_prefix("encoder-decoder, two experts a token",
                          SWITCH[:1] + ["-D", "top_k=2", "-D", "capacity=3"] + SWITCH[1:], source, 1, 10)
    for strategy in ("table", "cache", "factored"):
        tokens = expect_same_as_prefix(f"decoder, {strategy}", GPT2 + ["--strategy", strategy], prompt, 7, 10)
    expect_same_as_prefix("decoder, capacity 3", GPT2 + ["-D", "capacity=3"], prompt, 7, 10)
    expect_same_as_prefix("decoder without padding", GPT2, {"input_ids": prompt["input_ids"]}, 7, 6)
    per_call = generate(SWITCH + ["-D", "capacity=1", "-D", "capacity_per_call=1"], source, 8, "--end-token", "none")
    expect(per_call.shape == (4, 9), "capacity of every call of its own")

    # Rows do not depend on the others, nor on their padding.
    for row in range(4):
        ids = prompt["input_ids"][row:row + 1, prompt["attention_mask"][row].argmax():]
        alone = generate(GPT2, {"input_ids": ids}, 10, "--end-token", "none")
        expect((alone[0] == tokens[row, -alone.shape[1]:]).all(), f"decoder, row {row} alone")
    short = {"input_ids": prompt["input_ids"].astype(numpy.int32), "attention_mask": prompt["attention_mask"].astype(numpy.int32)}
    expect((generate(GPT2, short, 10, "--end-token", "none") == tokens).all(), "int32")


def check_searches():
    """The end token comes up now and then."""
    for what, model, arrays, start, end in (("encoder-decoder", SWITCH, source, 1, 1), ("decoder", GPT2, prompt, 7, 11)):
        common = ("--end-token", str(end), "--pad-token", "0")
        greedy, one = generate(model, arrays, 9, *common), generate(model, arrays, 9, "--beams", "1", *common)
        expect(greedy.shape == one.shape and (greedy == one).all(), f"{what}: one beam is greedy")
        four = generate(model, arrays, 9, "--beams", "4", *common)
        again = generate(model, arrays, 9, "--beams", "4", "--threads", "3", *common)
        expect(four.shape == again.shape and (four == again).all(), f"{what}: four beams twice")
        better, worse = score(model, arrays, four, start, end), score(model, arrays, greedy, start, end)
        expect((better >= worse - 1e-4).all(), f"{what}: four beams {better.round(3)}, greedy {worse.round(3)}")
        beams = "3" if what == "decoder" else "1"
        apart = generate(model, arrays, 16, "--no-repeat-ngram", "2", "--beams", beams, "--end-token", "none")
        expect(not any(repeats(list(ids), 2) for ids in apart), f"{what}: no pair of tokens twice, beams {beams}")
    drawn = [generate(GPT2, prompt, 9, "--sample", "--temperature", "1.5", "--seed", seed, "--end-token", "none")
             for seed in ("3", "3", "4")]
    expect((drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any(), "a seed gives its tokens")
    likeliest = generate(GPT2, prompt, 9, "--sample", "--top-k", "1", "--end-token", "none")
    expect((likeliest == generate(GPT2, prompt, 9, "--end-token", "none")).all(), "the likeliest of one is greedy")


check_prefixes() if part == "prefix" else check_searches()
