"""Peer of bench_kernels: the same kernels in PyTorch, eager and torch.compile, and a copy.

  torch_kernels.py [--device cuda] [--only NAME] [--shrink N] [--rounds 30]

Prints a JSON line a kernel and variant: median milliseconds, GB/s by the fewest bytes that the work
can move (or TFLOP/s, causal attention counted as half). Names are those of bench_kernels."""
import argparse, json, math, time
import torch, torch.nn.functional as F

a = argparse.ArgumentParser()
a.add_argument('--device', default='cuda'), a.add_argument('--only', default='')
a.add_argument('--shrink', type=int, default=1), a.add_argument('--rounds', type=int, default=30)
a.add_argument('--adamw', type=float, default=1.0)
a = a.parse_args()
dev, gpu, bf = a.device, a.device.startswith('cuda'), torch.bfloat16
less = lambda n: max(1, n // a.shrink)


def seconds(f):
    """Median over rounds; on a GPU between events around one call, the caches' contents pushed out."""
    for _ in range(3): f()
    times = []
    flush = torch.empty(256 << 20, dtype=torch.int8, device=dev) if gpu else None
    for _ in range(a.rounds):
        if not gpu:
            t = time.perf_counter()
            f()
            times.append(time.perf_counter() - t)
            continue
        flush.zero_()
        e0, e1 = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        e0.record()
        f()
        e1.record()
        torch.cuda.synchronize()
        times.append(1e-3 * e0.elapsed_time(e1))
    return sorted(times)[len(times) // 2]


def report(name, variant, f, bytes_=0, flops=0):
    try:
        s = seconds(f)
        line = dict(ms=1e3 * s, gb_s=bytes_ / s / 1e9, tflop_s=flops / s / 1e12)
    except Exception as e:  # a backend that refuses a shape, or no memory
        line = dict(error=str(e)[:200])
    print(json.dumps(dict(kernel=name, variant=variant, **line)), flush=True)


def rand(*shape, dtype=bf, grad=False): return torch.randn(*shape, device=dev, dtype=dtype).requires_grad_(grad)
def swiglu(g, u): return F.silu(g) * u
def res_norm(x, r, w):
    h = x + r
    return h, F.rms_norm(h, (h.size(-1),), w, 1e-6)
def loss(z, t): return F.cross_entropy((15 * torch.tanh(z / 15)).float(), t)


def forward(f, *args):
    args = [x.detach() for x in args]
    with torch.no_grad(): f(*args)
    def run():
        with torch.no_grad(): return f(*args)
    return run


def backward(f, args, grads):
    out = f(*args)
    return lambda: torch.autograd.grad(out, args, grads, retain_graph=True)


def both(name, make, bytes_):
    """make(f) -> what to time; f is eager or compiled."""
    if a.only not in name: return
    for variant, wrap in (('eager', lambda f: f), ('compile', torch.compile)):
        report(name, variant, make(wrap), bytes_)


def main():
    if a.only in 'copy':
        x = rand(max(4096, less(1 << 29)))
        y = torch.empty_like(x)
        report('copy', 'eager', lambda: y.copy_(x), 4 * x.numel())
        del x, y
    M, I, D = less(32768), 5528, 2048
    if a.only in 'SwiGLU fwd' or a.only in 'SwiGLU bwd':
        g, u, dy = rand(M, I, grad=True), rand(M, I, grad=True), rand(M, I)
        both('SwiGLU fwd', lambda w: forward(w(swiglu), g, u), 3 * 2 * M * I)
        both('SwiGLU bwd', lambda w: backward(w(swiglu), (g, u), dy), 5 * 2 * M * I)
        del g, u, dy
    if a.only in 'residual + RMSNorm(w) fwd' or a.only in 'residual + RMSNorm(w) bwd':
        x, r, w = rand(M, D, grad=True), rand(M, D, grad=True), rand(D, grad=True)
        dh, dy = rand(M, D), rand(M, D)
        both('residual + RMSNorm(w) fwd', lambda f: forward(f(res_norm), x, r, w), 4 * 2 * M * D)
        both('residual + RMSNorm(w) bwd', lambda f: backward(f(res_norm), (x, r, w), (dh, dy)), 4 * 2 * M * D)
        del x, r, w, dh, dy
    if a.only in 'softcap + CE fwd + bwd':
        z, t = rand(less(8192), 65536, grad=True), torch.randint(0, 65536, (less(8192),), device=dev)
        both('softcap + CE fwd + bwd', lambda f: (lambda g: lambda: torch.autograd.grad(g(z, t), z))(f(loss)),
             3 * 2 * z.numel())
        del z, t
    if a.only in 'AdamW':
        shapes = [(2048, 2048)] * 96 + [(5528, 2048)] * 64 + [(2048, 5528)] * 32 + [(65536, 2048)] * 2
        share = a.adamw / a.shrink
        P = [rand(max(1, round(n * share)), m, dtype=torch.float32) for n, m in shapes]
        for p in P: p.grad = torch.randn_like(p)
        count = sum(p.numel() for p in P)
        for variant, how in (('foreach', dict(foreach=True)), ('fused', dict(fused=True))):
            opt = torch.optim.AdamW(P, lr=1e-4, betas=(.9, .95), **how)
            report('AdamW', variant, opt.step, 28 * count)
            del opt
        del P
    for B, T, H, KV, d, causal in ((16, 2048, 16, 16, 128, True), (4, 8192, 16, 16, 128, True),
                                   (16, 2048, 16, 8, 128, True), (32, 1024, 12, 12, 64, True),
                                   (16, 2048, 16, 16, 128, False), (16, 2048, 16, 16, 80, True),
                                   (16, 2048, 16, 16, 96, True), (8, 2048, 16, 16, 256, True)):
        B, T = less(B), less(T)
        name = lambda way: f'attention {way} B{B} T{T} H{H} KV{KV} d{d}' + (' causal' if causal else '')
        if a.only not in name('fwd') and a.only not in name('bwd'): continue
        q, do = rand(B, H, T, d, grad=True), rand(B, H, T, d)
        k, v = rand(B, KV, T, d, grad=True), rand(B, KV, T, d, grad=True)
        flops = 4 * B * H * T * T * d * (0.5 if causal else 1)
        f = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=H != KV)
        from torch.nn.attention import SDPBackend, sdpa_kernel
        backends = (('flash', SDPBackend.FLASH_ATTENTION), ('cudnn', SDPBackend.CUDNN_ATTENTION))
        for variant, backend in backends if gpu else (('eager', SDPBackend.MATH),):
            with sdpa_kernel(backend):
                report(name('fwd'), variant, lambda: forward_once(f, q, k, v), flops=flops)
                try: out = f(q, k, v)
                except Exception: continue  # the line above says why
                report(name('bwd'), variant,
                       lambda: torch.autograd.grad(out, (q, k, v), do, retain_graph=True), flops=2.5 * flops)
    if gpu: packed()
    if a.only in 'matrix product':
        n = less(8192)
        x, y = rand(n, n), rand(n, n)
        report('matrix product', 'eager', lambda: x @ y, flops=2 * n ** 3)


def document_ends(t):
    """As in kernel_list.cpp."""
    ends = [0]
    for i in range(45):
        end = ends[-1] + math.floor(16 * 97 ** ((17 * i % 46 + 0.5) / 46) * t / 16384 + 0.5)
        if end < t: ends.append(end)
    return ends + [t]


def packed():
    """One packed sequence: FlexAttention with a mask by blocks, and varlen (FlashAttention-2)."""
    T, H, d = less(16384), 16, 128
    ends = document_ends(T)
    cu = torch.tensor(ends, device=dev, dtype=torch.int32)
    doc = torch.repeat_interleave(torch.arange(len(ends) - 1, device=dev), (cu[1:] - cu[:-1]).long())
    window = less(1024)
    cases = (('documents', lambda b, h, i, j: (doc[i] == doc[j]) & (i >= j),
              sum((y - x) ** 2 for x, y in zip(ends, ends[1:])) / 2, cu, (-1, 0)),
             (f'window {window}', lambda b, h, i, j: (i >= j) & (i - j < window), window * (T - window / 2),
              torch.tensor([0, T], device=dev, dtype=torch.int32), (window - 1, 0)))
    for what, mask, pairs, cu, left_right in cases:
        name = lambda way: f'attention {way} {what} T{T} H{H} d{d}'
        if a.only not in name('fwd') and a.only not in name('bwd'): continue
        q, k, v, do = [rand(1, H, T, d, grad=i < 3) for i in range(4)]
        flops = 4 * H * d * pairs
        def both_ways(variant, f, q, k, v, do):
            report(name('fwd'), variant, lambda: forward_once(f, q, k, v), flops=flops)
            try: out = f(q, k, v)
            except Exception: return  # the line above says why
            report(name('bwd'), variant,
                   lambda: torch.autograd.grad(out, (q, k, v), do, retain_graph=True), flops=2.5 * flops)
        try:
            from torch.nn.attention.flex_attention import create_block_mask, flex_attention
            flex = torch.compile(flex_attention)
            blocks = create_block_mask(mask, None, None, T, T, device=dev)
            both_ways('flex', lambda q, k, v: flex(q, k, v, block_mask=blocks), q, k, v, do)
        except ImportError: pass
        try:
            from torch.nn.attention.varlen import varlen_attn
            long = max(y - x for x, y in zip(cu.tolist(), cu.tolist()[1:]))
            rows = [x[0].transpose(0, 1).contiguous().detach().requires_grad_() for x in (q, k, v)]
            def run(q, k, v):
                try: return varlen_attn(q, k, v, cu, cu, long, long, window_size=left_right)
                except TypeError:  # an older one has is_causal alone
                    if left_right[0] >= 0: raise
                    return varlen_attn(q, k, v, cu, cu, long, long, is_causal=True)
            both_ways('varlen', run, *rows, do[0].transpose(0, 1).contiguous())
        except ImportError: pass


def forward_once(f, *args):
    with torch.no_grad(): return f(*args)


main()
