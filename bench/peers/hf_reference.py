#!/usr/bin/env python3
"""Writes a reference for `fusec import --check` from Hugging Face transformers (peer side only).

  hf_reference.py MODEL_FOLDER OUT.safetensors [--text FILE | --random ROWS LENGTH] [--f64]
  hf_reference.py MODEL.gguf   OUT.safetensors ...

Decoders: logits behind some places of every row. Towers (CLIP, SigLIP): every token's hidden values
behind the last norm, of random pixels. Weights are taken as they are stored and widened; arithmetic
is f32, or f64 with --f64. Needs torch, transformers, safetensors, and gguf for GGUF files.
"""
import argparse
import os

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer


def load(path, cls, dtype):
    folder, gguf = (os.path.dirname(path), os.path.basename(path)) if path.endswith(".gguf") else (path, None)
    extra = {"gguf_file": gguf} if gguf else {}
    return cls.from_pretrained(folder, attn_implementation="eager", **extra).to(dtype).eval(), folder, extra


def decoder(args, dtype):
    model, folder, extra = load(args.model, AutoModelForCausalLM, dtype)
    if args.text:
        tokenizer = AutoTokenizer.from_pretrained(folder, **extra)
        rows = [tokenizer(line.rstrip("\n")).input_ids for line in open(args.text, encoding="utf-8")]
        length = min(len(r) for r in rows)
        ids = torch.tensor([r[:length] for r in rows])
    else:
        ids = torch.randint(0, model.config.vocab_size, tuple(args.random))
    length = ids.shape[1]
    places = torch.tensor(sorted({0, length - 1, *range(0, length, max(1, length // args.places))}))
    with torch.no_grad():
        logits = model(ids).logits[:, places]
    return {"input_ids": ids.int(), "positions": places.int(), "logits": logits.contiguous()}


def tower(args, config, dtype):
    from transformers import CLIPVisionModel, SiglipVisionModel
    clip = config.model_type.startswith("clip")
    model, _, _ = load(args.model, CLIPVisionModel if clip else SiglipVisionModel, dtype)
    side = model.config.image_size
    pixels = torch.randn(args.random[0], 3, side, side)
    body = getattr(model, "vision_model", model)
    with torch.no_grad():
        hidden = model(pixels.to(dtype)).last_hidden_state
        if clip:  # there only the class token is normed behind the blocks
            hidden = body.post_layernorm(hidden)
    return {"pixel_values": pixels, "hidden": hidden.contiguous()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--text", help="a file with one text a line; all are cut to the shortest")
    parser.add_argument("--random", nargs=2, type=int, default=[2, 24], metavar=("ROWS", "LENGTH"))
    parser.add_argument("--places", type=int, default=8, help="about so many places of each row")
    parser.add_argument("--f64", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    dtype = torch.float64 if args.f64 else torch.float32
    is_tower = False
    if not args.model.endswith(".gguf"):
        config = AutoConfig.from_pretrained(args.model)
        is_tower = config.model_type.startswith(("clip", "siglip"))
    save_file(tower(args, config, dtype) if is_tower else decoder(args, dtype), args.out)


main()
