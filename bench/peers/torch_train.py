"""Peer of bench_train: the training step of vision-gpt:PRESET and gpt:PRESET in idiomatic PyTorch.

  torch_train.py --model gpt:d20 --variant compile|eager --batch 8 [--device cuda] [--dtype bf16]

f32 parameters, products and attention in --dtype, the same sizes, frozen parts, gradient clip and
AdamW (fused) as ours. Prints one JSON line: first step since the start of the process, steady steps,
tokens a second, peak memory."""
import argparse, json, math, os, time


def process_age():
    with open('/proc/self/stat') as f:
        ticks = float(f.read().rsplit(')', 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf('SC_CLK_TCK')


start = process_age()
import torch, torch.nn as nn, torch.nn.functional as F
imported = process_age()

CAP, EPS = 15.0, 1e-6


class Linear(nn.Linear):
    def forward(s, x):
        return F.linear(x, s.weight.to(x.dtype), None if s.bias is None else s.bias.to(x.dtype))


class LayerNorm(nn.LayerNorm):
    def forward(s, x):
        return F.layer_norm(x, s.normalized_shape, s.weight.to(x.dtype), s.bias.to(x.dtype), EPS)


def norm(x): return F.rms_norm(x, (x.size(-1),), eps=EPS)


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def heads(x, n): return x.view(x.size(0), x.size(1), n, -1).transpose(1, 2)


class GeluMlp(nn.Module):
    def __init__(s, i, h, o):
        super().__init__()
        s.up, s.down = Linear(i, h), Linear(h, o)

    def forward(s, x): return s.down(F.gelu(s.up(x), approximate='tanh'))


class FullAttention(nn.Module):
    def __init__(s, width, n):
        super().__init__()
        s.n = n
        s.q, s.kv, s.out = Linear(width, width), Linear(width, 2 * width), Linear(width, width)

    def forward(s, x, c):
        k, v = s.kv(c).chunk(2, -1)
        y = F.scaled_dot_product_attention(heads(s.q(x), s.n), heads(k, s.n), heads(v, s.n))
        return s.out(y.transpose(1, 2).reshape(x.shape))


class VitBlock(nn.Module):
    def __init__(s, width, n):
        super().__init__()
        s.norm1, s.attn = LayerNorm(width), FullAttention(width, n)
        s.norm2, s.mlp = LayerNorm(width), GeluMlp(width, 4 * width, width)

    def forward(s, x):
        n = s.norm1(x)
        x = x + s.attn(n, n)
        return x + s.mlp(s.norm2(x))


class ReadBlock(nn.Module):
    def __init__(s, width, n):
        super().__init__()
        s.norm_query, s.norm_context = LayerNorm(width), LayerNorm(width)
        s.attn, s.norm_mlp = FullAttention(width, n), LayerNorm(width)
        s.mlp = GeluMlp(width, 4 * width, width)

    def forward(s, x, c):
        x = x + s.attn(s.norm_query(x), s.norm_context(c))
        return x + s.mlp(s.norm_mlp(x))


class Block(nn.Module):
    def __init__(s, c):
        super().__init__()
        lin = lambda i, o: Linear(i, o, bias=False)
        D, s.h, s.kv = c['width'], c['heads'], c['kv']
        s.q, s.k, s.v = lin(D, s.h * c['hd']), lin(D, s.kv * c['hd']), lin(D, s.kv * c['hd'])
        s.o, s.g, s.u, s.d = lin(s.h * c['hd'], D), lin(D, c['mlp']), lin(D, c['mlp']), lin(c['mlp'], D)

    def forward(s, x, cos, sin):
        n = norm(x)
        q, k, v = heads(s.q(n), s.h), heads(s.k(n), s.kv), heads(s.v(n), s.kv)
        q, k = norm(rope(q, cos, sin)), norm(rope(k, cos, sin))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=s.h != s.kv)
        x = x + s.o(y.transpose(1, 2).reshape(x.size(0), x.size(1), -1))
        n = norm(x)
        return x + s.d(F.silu(s.g(n)) * s.u(n))


class Model(nn.Module):
    def __init__(s, c):
        super().__init__()
        s.c, D, V = c, c['width'], c['vit']
        s.wte, s.head = nn.Embedding(c['vocab'], D), Linear(D, c['vocab'], bias=False)
        s.blocks = nn.ModuleList(Block(c) for _ in range(c['layers']))
        if c['vision']:
            s.patch = Linear(3 * c['patch'] ** 2, V)
            s.position = nn.Parameter(torch.randn((c['image'] // c['patch']) ** 2, V) * .02)
            s.vit = nn.ModuleList(VitBlock(V, c['vit_heads']) for _ in range(c['vit_layers']))
            s.query = nn.Parameter(torch.randn(c['queries'], V) * .02)
            s.read = nn.ModuleList(ReadBlock(V, c['read_heads']) for _ in range(c['read_layers']))
            s.read_norm, s.projector = LayerNorm(V), GeluMlp(V, c['projector'], D)
        f = torch.outer(torch.arange(c['seq']).float(),
                        10000 ** (-torch.arange(0, c['hd'], 2).float() / c['hd']))
        s.register_buffer('cos', f.cos().to(c['dtype'])), s.register_buffer('sin', f.sin().to(c['dtype']))

    def encode(s, images):
        c, n, p = s.c, s.c['image'] // s.c['patch'], s.c['patch']
        x = images.view(-1, 3, n, p, n, p).permute(0, 2, 4, 1, 3, 5).reshape(-1, n * n, 3 * p * p)
        x = s.patch(x) + s.position.to(x.dtype)
        for b in s.vit: x = b(x)
        return x

    def forward(s, tokens, targets, images, slots):
        c = s.c
        x = s.wte(tokens.view(-1)).to(c['dtype'])
        if images is not None:
            with torch.set_grad_enabled(not c['frozen']): patches = s.encode(images)
            r = s.query.to(patches.dtype).expand(len(images), -1, -1)
            for b in s.read: r = b(r, patches)
            x = x.index_copy(0, slots, s.projector(s.read_norm(r)).view(-1, c['width']))
        x = norm(x).view(*tokens.shape, -1)
        for b in s.blocks: x = b(x, s.cos, s.sin)
        z = CAP * torch.tanh(s.head(norm(x)).float() / CAP)
        return F.cross_entropy(z.view(-1, c['vocab']), targets.view(-1), ignore_index=-1)


def sizes(model, dtype):
    family, preset = model.split(':')
    if preset == 'tiny':
        c = dict(width=128, heads=4, kv=2, hd=32, layers=2, mlp=384, vocab=2048, seq=32, image=32, patch=8,
                 vit=128, vit_layers=2, vit_heads=4, queries=8, read_layers=1, read_heads=4, projector=256)
    else:
        L = int(preset[1:])
        D = 64 * L
        H = -(-D // 128)
        c = dict(width=D, heads=H, kv=H // 2, hd=128, layers=L, mlp=27 * D // 10, vocab=65536, seq=2048,
                 image=224, patch=14, vit=1024, vit_layers=24, vit_heads=16, queries=64, read_layers=2,
                 read_heads=8, projector=2048)
    return dict(c, vision=family == 'vision-gpt', frozen=preset != 'tiny', dtype=dtype)


def main():
    a = argparse.ArgumentParser()
    a.add_argument('--model', default='gpt:d20'), a.add_argument('--variant', default='compile')
    a.add_argument('--batch', type=int, default=8), a.add_argument('--steps', type=int, default=12)
    a.add_argument('--device', default='cuda'), a.add_argument('--dtype', default='bf16')
    a.add_argument('--clip', type=float, default=1.0)
    a = a.parse_args()
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    dtype = dict(bf16=torch.bfloat16, f32=torch.float32)[a.dtype]
    c, gpu = sizes(a.model, dtype), a.device.startswith('cuda')
    sync = torch.cuda.synchronize if gpu else lambda: None
    with torch.device(a.device): m = Model(c)
    for p in m.parameters():
        if p.ndim == 2: nn.init.normal_(p, std=0.02)
    if c['vision'] and c['frozen']:
        for part in (m.patch, m.vit): part.requires_grad_(False)
        m.position.requires_grad_(False)
    params = [p for p in m.parameters() if p.requires_grad]
    f = torch.compile(m) if a.variant == 'compile' else m
    opt = torch.optim.AdamW(params, lr=1e-4, betas=(.9, .95), weight_decay=.01, fused=True)
    B, T, dev = a.batch, c['seq'], a.device
    tokens, targets = (torch.randint(0, c['vocab'], (B, T), device=dev) for _ in range(2))
    images = slots = None
    if c['vision']:
        images = torch.randn(B, 3, c['image'], c['image'], device=dev).to(dtype)
        slots = (torch.arange(B, device=dev)[:, None] * T + 1 + torch.arange(c['queries'], device=dev)).view(-1)

    def step():
        loss = f(tokens, targets, images, slots)
        loss.backward()
        if a.clip > 0: torch.nn.utils.clip_grad_norm_(params, a.clip, foreach=True)
        opt.step()
        opt.zero_grad(set_to_none=True)
        return loss

    sync()
    made = process_age()
    first_loss = step().item()
    first, times = process_age(), []
    for _ in range(3): step()
    for _ in range(a.steps):
        sync()
        t = time.perf_counter()
        loss = step()
        sync()
        times.append(time.perf_counter() - t)
    times.sort()
    ms = 1e3 * times[len(times) // 2]
    counted = sum(p.numel() for p in m.blocks.parameters()) + m.head.weight.numel()
    flops = 6 * counted + 6 * c['layers'] * c['width'] * T
    print(json.dumps(dict(program='torch ' + a.variant, torch=torch.__version__, model=a.model, batch=B, seq=T,
                          clip=a.clip, params=sum(p.numel() for p in m.parameters()), ms=ms,
                          ms_least=1e3 * times[0], ms_most=1e3 * times[-1], tok_s=B * T / ms * 1e3,
                          tflops=flops * B * T / ms / 1e9, first_step_s=first, import_s=imported - start,
                          init_s=made - imported,
                          peak_gib=torch.cuda.max_memory_allocated() / 2 ** 30 if gpu else None,
                          loss0=first_loss, loss=loss.item())), flush=True)


main()
