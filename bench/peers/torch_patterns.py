"""Peer of bench_patterns: the same patterns in PyTorch on the CPU, f32, eager and torch.compile.

  torch_patterns.py [rounds] [name part]

Prints a line a pattern: median milliseconds of eager and of compiled."""
import sys, time
import torch, torch.nn.functional as F


def swiglu(a, b): return F.silu(a) * b
def res_norm(x, r, w):
    s = x + r
    return s, F.rms_norm(s, (s.size(-1),), w, 1e-6)
def only_norm(x, r, w): return res_norm(x, r, w)[1]
def layer(x, w, b): return F.layer_norm(x, (x.size(-1),), w, b)
def softmax(x): return torch.softmax(x, -1)
def ce(z, t): return F.cross_entropy(15 * torch.tanh(z / 15), t, reduction='none')


def leaf(*shape): return torch.full(shape, 0.5).requires_grad_()


def with_backward(f, args, dy):
    wrt = [a for a in args if a.requires_grad]
    def run(g=f):
        y = g(*args)
        return torch.autograd.grad(y, wrt, dy)
    return run


def forward(f, args):
    args = [a.detach() for a in args]
    def run(g=f):
        with torch.no_grad(): return g(*args)
    return run


def adamw(params, grads):
    for p, g in zip(params, grads): p.grad = g
    opt = torch.optim.AdamW(params, lr=1e-3, fused=True)
    def run(g=None):
        torch.nn.utils.clip_grad_norm_(params, 1.0, foreach=True)
        opt.step()
    return run


def patterns():
    wide = lambda: leaf(8192, 2048)
    tall = lambda: leaf(16384, 1024)
    yield 'SwiGLU fwd', forward(swiglu, (wide(), wide())), swiglu
    yield 'SwiGLU fwd + bwd', with_backward(swiglu, (wide(), wide()), wide().detach()), swiglu
    yield 'residual + RMSNorm(w) fwd', forward(res_norm, (tall(), tall(), leaf(1024))), res_norm
    yield ('residual + RMSNorm(w) fwd + bwd',
           with_backward(only_norm, (tall(), tall().detach(), leaf(1024)), tall().detach()), only_norm)
    yield ('LayerNorm fwd + bwd',
           with_backward(layer, (tall(), leaf(1024), leaf(1024)), tall().detach()), layer)
    yield 'softmax', forward(softmax, (tall(),)), softmax
    yield ('softcap + cross-entropy fwd + bwd',
           with_backward(ce, (leaf(1024, 16384), torch.full((1024,), 7)), torch.ones(1024)), ce)
    yield ('AdamW, 16 tensors of 1 M',
           adamw([leaf(1024, 1024) for _ in range(16)], [torch.full((1024, 1024), .5) for _ in range(16)]),
           None)


def measure(run, rounds):
    run(), run()
    times = []
    for _ in range(rounds):
        t = time.perf_counter()
        run()
        times.append(time.perf_counter() - t)
    return 1e3 * sorted(times)[len(times) // 2]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    part = sys.argv[2] if len(sys.argv) > 2 else ''
    for name, run, f in patterns():
        if part not in name: continue
        eager = measure(run, rounds)
        compiled = measure(lambda: run(torch.compile(f)), rounds) if f else float('nan')
        print(f'{name:<34} eager {eager:8.2f} ms  compiled {compiled:8.2f} ms', flush=True)


main()
