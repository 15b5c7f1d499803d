#!/usr/bin/env python3
"""Writes vault/tests/minilm/reference.json: what all-MiniLM-L6-v2 makes of some texts, computed by numpy in double precision
from the published description of BERT. Needs numpy, tokenizers and safetensors.

    python3 tests/reference/minilm.py MODEL_DIR > vault/tests/minilm/reference.json
"""

import json
import math
import sys

import numpy
from safetensors.numpy import load_file
from tokenizers import Tokenizer

TEXTS = [
    "How do I keep a colony of bees through the winter?",
    "Insulate the hive, reduce the entrance and leave enough honey.",
    "The invoice of March was paid twice; ask the bank for the money.",
    "fn main() { println!(\"{}\", 1 << 4); }  // $x = |a| + <b>",
    "Das Bienenvolk überwintert im Stock, größer als fünf Waben.",
    "L'été dernier, la ruche a donné vingt kilos de miel.",
    "東京都の天気は晴れです。",
    "Пчёлы зимуют в улье.",
    "한국어 문장입니다.",
    "🐝🍯 “quoted” — naïve café ﬁn",
    "",
    "word " * 2000,
]


def gelu(x):
    return 0.5 * x * (1.0 + numpy.vectorize(math.erf)(x / math.sqrt(2.0)))


def norm(x, weights, name):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / numpy.sqrt(variance + 1e-12) * weights[name + ".weight"] + weights[name + ".bias"]


def linear(x, weights, name):
    return x @ weights[name + ".weight"].T + weights[name + ".bias"]


def vector(ids, weights):
    width, heads = 384, 12
    x = weights["embeddings.word_embeddings.weight"][ids]
    x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], weights, "embeddings.LayerNorm")
    for layer in range(6):
        name = f"encoder.layer.{layer}"
        parts = [linear(x, weights, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
        query, key, value = [part.reshape(len(ids), heads, width // heads).transpose(1, 0, 2) for part in parts]
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(width // heads)
        scores = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
        context = (scores / scores.sum(axis=-1, keepdims=True)) @ value
        context = context.transpose(1, 0, 2).reshape(len(ids), width)
        x = norm(x + linear(context, weights, f"{name}.attention.output.dense"), weights, f"{name}.attention.output.LayerNorm")
        middle = gelu(linear(x, weights, f"{name}.intermediate.dense"))
        x = norm(x + linear(middle, weights, f"{name}.output.dense"), weights, f"{name}.output.LayerNorm")
    mean = x.mean(axis=0)
    return mean / numpy.linalg.norm(mean)


def main():
    folder = sys.argv[1]
    weights = {name: tensor.astype(numpy.float64) for name, tensor in load_file(f"{folder}/model.safetensors").items()
               if tensor.dtype == numpy.float32}
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.enable_truncation(max_length=256)
    tokenizer.no_padding()
    found = [{"text": text, "vector": [round(float(number), 7) for number in vector(tokenizer.encode(text).ids, weights)]}
             for text in TEXTS]
    print("[\n" + ",\n".join(json.dumps(one, ensure_ascii=False) for one in found) + "\n]")


main()
