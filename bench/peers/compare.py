"""Fusec beside PyTorch on this CPU: each pair of programs is run alternately, never at once.

  compare.py BUILD_FOLDER [rounds] [name part]

Prints medians over the rounds of each program's own median, and the ratios. Run it with a Python
that has torch."""
import json, os, re, statistics, subprocess, sys

build = sys.argv[1]
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
part = sys.argv[3] if len(sys.argv) > 3 else ''
here = os.path.dirname(os.path.abspath(__file__))
NAMES = ['SwiGLU fwd', 'SwiGLU fwd + bwd', 'residual + RMSNorm(w) fwd',
         'residual + RMSNorm(w) fwd + bwd', 'LayerNorm fwd + bwd', 'softmax',
         'softcap + cross-entropy fwd + bwd', 'AdamW, 16 tensors of 1 M']


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def fusec(name):
    for line in run(f'{build}/bin/bench_patterns', '9', name).splitlines():
        if line.startswith(name + '  '):
            ms, unfused, ratio, rate, copy, share = map(float, line[34:].split()[:6])
            return ms, unfused, share


def torch(name):
    out = run(sys.executable, f'{here}/torch_patterns.py', '9', name)
    for line in out.splitlines():
        if line.startswith(name + '  '):
            return tuple(map(float, re.findall(r'(?:eager|compiled)\s+([\d.]+|nan)', line)))


def median(rows, i):
    return statistics.median(r[i] for r in rows)


print(f'{"pattern":<34} {"fusec ms":>9} {"of copy":>8} {"eager":>8} {"ratio":>6} {"compiled":>9} {"ratio":>6}')
for name in NAMES:
    if part not in name: continue
    a, b = [], []
    for _ in range(rounds):
        a.append(fusec(name))
        b.append(torch(name))
    ms, share, eager, compiled = median(a, 0), median(a, 2), median(b, 0), median(b, 1)
    print(f'{name:<34} {ms:9.2f} {share:8.2f} {eager:8.2f} {eager / ms:6.2f} {compiled:9.2f} '
          f'{compiled / ms:6.2f}', flush=True)

if part in 'tiny step':
    a, b, c = [], [], []
    for _ in range(rounds):
        out = run(f'{build}/bin/bench_step', '15')
        a.append(float(re.search(r'fused .*?best\s+([\d.]+)', out).group(1)))
        for variant, times in (('eager', b), ('compile', c)):
            times.append(json.loads(run(sys.executable, f'{here}/torch_tiny.py', variant, '15')))
    ms = statistics.median(a)
    eager = statistics.median(t['best_ms'] for t in b)
    compiled = statistics.median(t['best_ms'] for t in c)
    first = statistics.median(t['first_s'] for t in c)
    print(f'tiny step, best: fusec {ms:.1f} ms, eager {eager:.1f} ({eager / ms:.2f}x), '
          f'torch.compile {compiled:.1f} ({compiled / ms:.2f}x); torch.compile first step {first} s')
