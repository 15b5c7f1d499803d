#!/usr/bin/env python3
"""Embeds the passages of a file of JSON lines with sentence-transformers and prints how many it did in a second.

    python3 tests/bench/sentence_transformers.py MODEL_DIR PASSAGES.jsonl THREADS
"""

import json
import sys
import time

import torch
from sentence_transformers import SentenceTransformer

model_dir, passages, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
model = SentenceTransformer(model_dir, device="cpu")
with open(passages, encoding="utf-8") as lines:
    texts = [json.loads(line) for line in lines]
model.encode(texts[:32])
began = time.perf_counter()
model.encode(texts, batch_size=32, normalize_embeddings=True)
print(f"{len(texts) / (time.perf_counter() - began):.1f}")
