"""Fusec beside PyTorch on one device: training steps and kernels, each program alone, in turn.

  compare_device.py BUILD_FOLDER [--device cuda] [--models gpt:d20,vision-gpt:d20] [--rounds 2]
                    [--kernels NAME|none] [--json FILE]

Prints medians over the rounds of each program's own median, and ratios (above 1: Fusec is faster).
Caches of compiled code start empty, so the first round's first step is a cold one and the last
round's a warm one. Run it with a Python that has torch; it needs no network."""
import argparse, json, os, statistics, subprocess, sys, tempfile

a = argparse.ArgumentParser()
a.add_argument('build'), a.add_argument('--device', default='cuda')
a.add_argument('--models', default='gpt:d20,vision-gpt:d20'), a.add_argument('--rounds', type=int, default=2)
a.add_argument('--batch', type=int, default=8), a.add_argument('--steps', type=int, default=12)
a.add_argument('--precision', default='bf16'), a.add_argument('--variants', default='compile,eager')
a.add_argument('--clip', type=float, default=1.0, help="of PyTorch's step; Fusec's always clips at 1")
a.add_argument('--kernels', default='', help='only kernels whose name holds this; none: no kernels')
a.add_argument('--shrink', type=int, default=1), a.add_argument('--adamw', type=float, default=1.0)
a.add_argument('--json', default='')
a = a.parse_args()
here = os.path.dirname(os.path.abspath(__file__))
scratch = tempfile.TemporaryDirectory()
env = dict(os.environ, FUSEC_CACHE='1', FUSEC_CACHE_DIR=scratch.name + '/fusec',
           TORCHINDUCTOR_CACHE_DIR=scratch.name + '/inductor', TRITON_CACHE_DIR=scratch.name + '/triton')
results = []


def run(*command):
    """JSON lines of a program's output; one that fails costs its row, not the table."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env)
    if done.returncode != 0:
        print(f'  {os.path.basename(str(command[0]))} {command[1:]}: {done.stderr.strip()[-400:]}', flush=True)
    return [json.loads(l) for l in done.stdout.splitlines() if l.startswith('{')]


def fusec(program, *flags):
    path = scratch.name + '/lines'
    if os.path.exists(path): os.remove(path)
    run(f'{a.build}/bin/{program}', '--device', a.device, *flags, '--json', path)
    return [json.loads(l) for l in open(path)] if os.path.exists(path) else []


def torch(script, *flags): return run(sys.executable, f'{here}/{script}', '--device', a.device, *flags)


def median(rows, key):
    values = [r[key] for r in rows if r.get(key) is not None]
    return statistics.median(values) if values else float('nan')


def ratio(x, y): return f'{x / y:6.2f}' if x == x and y == y and y > 0 else '     -'


def train(model):
    rows = {}
    for _ in range(a.rounds):
        rows.setdefault('fusec', []).extend(
            fusec('bench_train', '--model', model, '--batch', a.batch, '--steps', a.steps,
                  '--precision', a.precision))
        for v in a.variants.split(','):
            rows.setdefault('torch ' + v, []).extend(
                torch('torch_train.py', '--model', model, '--variant', v, '--batch', a.batch,
                      '--steps', a.steps, '--dtype', a.precision, '--clip', a.clip))
    print(f'\n{model}, batch {a.batch}, {a.precision}: a training step')
    print(f'{"program":<16} {"ms":>9} {"tok/s":>10} {"ratio":>6} {"first step, cold / warm s":>26} '
          f'{"peak GiB":>9}')
    ours = median(rows['fusec'], 'ms')
    for name, r in rows.items():
        if not r:
            print(f'{name:<16} failed')
            continue
        for line in r: line.setdefault('peak_gib', line.get('measured_gib'))
        cold, warm = r[0]['first_step_s'], r[-1]['first_step_s']
        print(f'{name:<16} {median(r, "ms"):9.2f} {median(r, "tok_s"):10.0f} {ratio(median(r, "ms"), ours)} '
              f'{cold:14.2f} / {warm:9.2f} {median(r, "peak_gib"):9.2f}', flush=True)
        results.append(dict(kind='train', model=model, program=name, runs=r, ratio=median(r, 'ms') / ours))
    losses = {n: r[0]['loss0'] for n, r in rows.items() if r}
    print('loss at step 1:', ', '.join(f'{n} {l:.4f}' for n, l in losses.items()))


def kernels():
    ours, theirs = {}, {}
    for _ in range(a.rounds):
        sizes = ('--only', a.kernels, '--shrink', a.shrink, '--adamw', a.adamw)
        for r in fusec('bench_kernels', *sizes): ours.setdefault(r['kernel'], []).append(r)
        for r in torch('torch_kernels.py', *sizes):
            theirs.setdefault(r['kernel'], {}).setdefault(r['variant'], []).append(r)
    print(f'\n{"kernel":<42} {"ms":>9} {"GB/s":>8} {"of copy":>8} {"TFLOP/s":>8}  torch: variant ms (ratio)')
    for name, r in ours.items():
        if not any('ms' in x for x in r):
            print(f'{name:<42} {r[0].get("error", "failed")}')
            continue
        ms, rate = median(r, 'ms'), median(r, 'gb_s')
        # AdamW that writes the bf16 copy as well has no peer of its own: it is put beside AdamW.
        others = theirs.get(name) or theirs.get(name.split(',')[0], {})
        text = ', '.join(f'{v} {median(x, "ms"):.3f} ({ratio(median(x, "ms"), ms).strip()})'
                         for v, x in others.items())
        print(f'{name:<42} {ms:9.3f} {rate:8.0f} {ratio(rate, median(r, "copy_gb_s")):>8} '
              f'{median(r, "tflop_s"):8.1f}  {text}', flush=True)
        results.append(dict(kind='kernel', kernel=name, fusec=r, torch=others))
    copies = theirs.get('copy', {}).get('eager', [])
    if copies:
        mine = statistics.median(x['copy_gb_s'] for r in ours.values() for x in r if 'copy_gb_s' in x)
        print(f'copy: fusec {mine:.0f} GB/s, torch {median(copies, "gb_s"):.0f} GB/s')


for model in filter(None, a.models.split(',')): train(model)
if a.kernels != 'none': kernels()
if a.json:
    with open(a.json, 'w') as f: json.dump(results, f, indent=1)
