"""Peer of bench_step: the training step of vision-gpt:tiny in idiomatic PyTorch on the CPU, f32.

  torch_tiny.py [eager|compile] [rounds]

The same parameters (the count is printed), the same batch, gradient clip and AdamW (fused). Prints
one JSON line: seconds of the first step, median and best of the steady steps."""
import json, sys, time
import torch, torch.nn as nn, torch.nn.functional as F

B, IMG, P, VW, VL, VH = 32, 32, 8, 128, 2, 4       # pictures and encoder
Q, RL, RH, PH = 8, 1, 4, 256                       # resampler and projector
V, T, L, D, H, KV, HD, I = 2048, 32, 2, 128, 4, 2, 32, 384
CAP = 15.0


class Full(nn.Module):
    def __init__(s, width, heads):
        super().__init__()
        s.h = heads
        s.q, s.k, s.v, s.o = (nn.Linear(width, width) for _ in range(4))

    def forward(s, x, c):
        def split(t): return t.view(t.size(0), t.size(1), s.h, -1).transpose(1, 2)
        y = F.scaled_dot_product_attention(split(s.q(x)), split(s.k(c)), split(s.v(c)))
        return s.o(y.transpose(1, 2).reshape(x.shape))


class Mlp(nn.Module):
    def __init__(s, i, h, o):
        super().__init__()
        s.up, s.down = nn.Linear(i, h), nn.Linear(h, o)

    def forward(s, x): return s.down(F.gelu(s.up(x), approximate='tanh'))


class VitBlock(nn.Module):
    def __init__(s):
        super().__init__()
        s.n1, s.a, s.n2, s.m = nn.LayerNorm(VW), Full(VW, VH), nn.LayerNorm(VW), Mlp(VW, 4 * VW, VW)

    def forward(s, x):
        n = s.n1(x)
        x = x + s.a(n, n)
        return x + s.m(s.n2(x))


class ReadBlock(nn.Module):
    def __init__(s):
        super().__init__()
        s.nq, s.nc, s.a = nn.LayerNorm(VW), nn.LayerNorm(VW), Full(VW, RH)
        s.nm, s.m = nn.LayerNorm(VW), Mlp(VW, 4 * VW, VW)

    def forward(s, x, c):
        x = x + s.a(s.nq(x), s.nc(c))
        return x + s.m(s.nm(x))


def norm(x): return F.rms_norm(x, (x.size(-1),), eps=1e-6)


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Block(nn.Module):
    def __init__(s):
        super().__init__()
        lin = lambda i, o: nn.Linear(i, o, bias=False)
        s.q, s.k, s.v, s.o = lin(D, H * HD), lin(D, KV * HD), lin(D, KV * HD), lin(H * HD, D)
        s.g, s.u, s.d = lin(D, I), lin(D, I), lin(I, D)

    def forward(s, x, cos, sin):
        n = norm(x)
        q, k = s.q(n).view(B, T, H, HD), s.k(n).view(B, T, KV, HD)
        v = s.v(n).view(B, T, KV, HD)
        q, k = norm(rope(q, cos, sin)), norm(rope(k, cos, sin))
        y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                           is_causal=True, enable_gqa=True)
        x = x + s.o(y.transpose(1, 2).reshape(B, T, H * HD))
        n = norm(x)
        return x + s.d(F.silu(s.g(n)) * s.u(n))


class VisionGpt(nn.Module):
    def __init__(s):
        super().__init__()
        s.patch, s.pos = nn.Linear(3 * P * P, VW), nn.Parameter(torch.randn((IMG // P) ** 2, VW) * .02)
        s.vit = nn.ModuleList(VitBlock() for _ in range(VL))
        s.query = nn.Parameter(torch.randn(Q, VW) * .02)
        s.read = nn.ModuleList(ReadBlock() for _ in range(RL))
        s.rnorm, s.proj = nn.LayerNorm(VW), Mlp(VW, PH, D)
        s.wte, s.head = nn.Embedding(V, D), nn.Linear(D, V, bias=False)
        s.blocks = nn.ModuleList(Block() for _ in range(L))
        f = torch.outer(torch.arange(T).float(), 10000 ** (-torch.arange(0, HD, 2).float() / HD))
        s.register_buffer('cos', f.cos()[:, None]), s.register_buffer('sin', f.sin()[:, None])

    def forward(s, images, tokens, targets, slots):
        n = IMG // P
        x = images.view(B, 3, n, P, n, P).permute(0, 2, 4, 1, 3, 5).reshape(B, n * n, 3 * P * P)
        x = s.patch(x) + s.pos
        for b in s.vit: x = b(x)
        r = s.query.expand(B, -1, -1)
        for b in s.read: r = b(r, x)
        rows = s.proj(s.rnorm(r)).reshape(B * Q, D)
        w = norm(s.wte(tokens.view(-1)).index_copy(0, slots, rows)).view(B, T, D)
        for b in s.blocks: w = b(w, s.cos, s.sin)
        z = CAP * torch.tanh(s.head(norm(w).view(B * T, D)) / CAP)
        return F.cross_entropy(z, targets.view(-1), ignore_index=-1)


def main():
    variant = sys.argv[1] if len(sys.argv) > 1 else 'compile'
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    torch.manual_seed(0)
    m = VisionGpt()
    f = torch.compile(m) if variant == 'compile' else m
    opt = torch.optim.AdamW(m.parameters(), lr=1e-3, betas=(.9, .95), fused=True)
    images, tokens = torch.randn(B, 3, IMG, IMG), torch.randint(0, V, (B, T))
    targets = torch.randint(0, V, (B, T))
    slots = (torch.arange(B)[:, None] * T + 1 + torch.arange(Q)).view(-1)

    def step():
        loss = f(images, tokens, targets, slots)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0, foreach=True)
        opt.step()
        opt.zero_grad(set_to_none=True)
        return loss.item()

    t = time.perf_counter()
    step()
    first, times = time.perf_counter() - t, []
    for _ in range(5): step()
    for _ in range(rounds):
        t = time.perf_counter()
        step()
        times.append(time.perf_counter() - t)
    times.sort()
    print(json.dumps(dict(variant=variant, params=sum(p.numel() for p in m.parameters()),
                          first_s=round(first, 2), median_ms=round(1e3 * times[len(times) // 2], 2),
                          best_ms=round(1e3 * times[0], 2), threads=torch.get_num_threads())))


main()
