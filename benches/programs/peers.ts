/**
 * Ours against torch, OpenVINO, onnxruntime, stable-diffusion.cpp and candle on the same architecture and shapes, each line printed when it is there:
 * `npm run bench -- peers [--works unet,vae,clip] [--only torch,openvino] [--size 512] [--runs 1] [--minutes 15] [--threads 2] [--rest 0] [--clock wall|cpu]
 * [--json FILE]`.
 *
 * First `benches/peers/setup.sh`, which installs them into $PEERS; those that are not there are left out. For each work ours runs before and after the
 * others, since a machine's speed drifts, and ratios are to the better of the two. Each number is the best of `--runs` after one to warm up. Before
 * each program the machine rests for `--rest` seconds, for hosts that take cores away after minutes of load. What does not begin within the minutes is
 * left out and named; with `--json` a second run goes on where the first ended.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { native } from '../../ts/native.ts'
import { bench, LONGEST, markdown, Notebook, reason } from '../child.ts'
import { conditions } from '../measure.ts'
import { randomCheckpoint } from '../open.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'ours,torch,openvino,onnxruntime,stable-diffusion.cpp,candle' },
    works: { type: 'string', default: 'clip,unet,vae' },
    size: { type: 'string', default: '512' },
    runs: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '15' },
    threads: { type: 'string', default: '2' },
    rest: { type: 'string', default: '0' },
    clock: { type: 'string', default: 'wall' },
    json: { type: 'string' },
  },
})

/** One work of one program; times in seconds. */
type Line = { peer: string; work: string; dtype: string; seconds: number; cpuSeconds: number; peakBytes: number }

const home = process.env.PEERS ?? join(homedir(), '.cache', 'node-diffusion-peers')
const python = join(home, 'venv', 'bin', 'python')
const script = fileURLToPath(new URL('../peers/peers.py', import.meta.url))
const checkpoint = await randomCheckpoint('sd15')
const notes = await Notebook.open<Line[]>(values.json)
const wanted = values.only.split(',')
const works = values.works.split(',')
/** Half precision is an order of magnitude slower where the processor has no products of it. */
const hasHalf = native.doctor().cpuFeatures.includes('avx512bf16')

/** The JSON lines that a program prints. */
async function run(program: string, ...args: string[]): Promise<Line[]> {
  if (!existsSync(program)) {
    throw new Error(`not installed: ${program}`)
  }
  const { stdout } = await promisify(execFile)(program, args, { maxBuffer: 2 ** 26, timeout: LONGEST })
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line)
}

/** Ours as the peers write theirs; `runs` 0 is the first run alone. */
async function ours(work: string, dtype: string, { peer = 'ours', runs = values.runs, env = {} } = {}): Promise<Line[]> {
  const { size, threads } = values
  const pairs = { architecture: 'sd15', size, dtype, runs, threads }
  const args = [work === 'vae' ? 'decode' : work, ...Object.entries(pairs).flatMap(([name, value]) => [`--${name}`, value])]
  const { results } = await bench(args, env)
  return results.map(({ minMs, cpuMs, peakBytes }) => ({ peer, work, dtype, seconds: minMs / 1e3, cpuSeconds: cpuMs / 1e3, peakBytes }))
}

function pythons(peer: string, work: string, dtype: string): Promise<Line[]> {
  const { size, runs, threads } = values
  const pairs = { peer, works: work, dtype, size, runs, threads, checkpoint, cache: join(home, 'graphs') }
  return run(python, script, ...Object.entries(pairs).flatMap(([name, value]) => [`--${name}`, value]))
}

/** What is run, by peer, for one work; the name says which runs are the same. */
function jobsOf(work: string): [peer: string, name: string, () => Promise<Line[]>][] {
  const own = (when: string) => (dtype: string) => ['ours', `ours ${work} ${dtype} ${when}`, () => ours(work, dtype)] as const
  // All works in one process.
  const cpp = (dtype: string) => {
    const start = () => run(join(home, 'sdcpp', 'bench'), checkpoint, values.threads, '1', dtype, values.size)
    return ['stable-diffusion.cpp', `stable-diffusion.cpp ${dtype}`, start] as const
  }
  // Without products of bf16 `fast` is `int8`.
  const dtypes = ['f32', 'bf16', ...(work === 'unet' ? ['int8', ...(hasHalf ? ['fast'] : [])] : [])]
  const others = { torch: hasHalf ? ['f32', 'bf16'] : ['f32'], openvino: hasHalf ? ['f32', 'bf16'] : ['f32'], onnxruntime: ['f32'] }
  const jobs = [
    ...dtypes.map(own('before')),
    ...Object.entries(others).flatMap(([peer, types]) =>
      types.map((dtype) => [peer, `${peer} ${work} ${dtype}`, () => pythons(peer, work, dtype)] as const),
    ),
    cpp('f16'),
    own('after')('f32'),
    cpp('q8_0'),
    // Last, since its convolutions take minutes: the same networks in candle's own operations.
    [
      'candle',
      `candle ${work} f32`,
      () => ours(work, 'f32', { peer: 'candle', runs: '0', env: { NODE_DIFFUSION_CPU: 'reference' } }),
    ] as const,
  ]
  return jobs.map(([peer, name, start]) => [peer, name, start])
}

const time = (line: Line): number => (values.clock === 'cpu' ? line.cpuSeconds / Number(values.threads) : line.seconds)
const where = conditions()
console.log(`${where.processor}, commit ${where.commit}${where.changed ? ' with changes' : ''}, ${values.size} px, ${where.date}`)
console.log(hasHalf ? 'bf16 products: yes' : 'bf16 products: none on this processor, so peers run in f32 and our bf16 is storage')
const all: Line[] = []
const done = new Set<string>()
for (const work of works) {
  for (const [peer, name, start] of jobsOf(work).filter(([peer, name]) => wanted.includes(peer) && !done.has(name))) {
    done.add(name)
    const before = notes.get(name)
    if (before === undefined && process.uptime() > 60 * Number(values.minutes)) {
      console.log(`${name}: left out, the ${values.minutes} minutes are over`)
      continue
    }
    if (before === undefined) {
      await wait(1000 * Number(values.rest))
    }
    const found = before ?? (await start().catch((error: Error) => error))
    if (found instanceof Error) {
      console.log(`${name}: left out: ${reason(found)}`)
      continue
    }
    await notes.put(name, found)
    const lines = found.filter((line) => works.includes(line.work))
    all.push(...lines)
    for (const line of lines) {
      console.log(`${peer} ${line.work} ${line.dtype}: ${time(line).toFixed(3)} s, ${(line.peakBytes / 2 ** 20).toFixed(0)} MiB`)
    }
  }
}

/** The least time of each program, work and type. */
const best = all.filter((line) => {
  const same = all.filter(({ peer, work, dtype }) => peer === line.peer && work === line.work && dtype === line.dtype)
  return same.toSorted((a, b) => time(a) - time(b))[0] === line
})
/** Text to image of this many steps, as the sum of its parts, for each program and type of which all were measured. */
const STEPS = 20
const pictures = best
  .filter(({ work }) => work === 'unet')
  .flatMap((unet): Line[] => {
    const { peer, dtype } = unet
    // Text and pixels stay floats where the UNet multiplies bytes.
    const floats = { int8: 'f32', fast: 'bf16' }[dtype] ?? dtype
    const part = (work: string): Line | undefined => best.find((line) => line.work === work && line.peer === peer && line.dtype === floats)
    const [vae, clip] = [part('vae'), part('clip')]
    if (vae === undefined || clip === undefined) {
      return []
    }
    const sum = (key: 'seconds' | 'cpuSeconds'): number => STEPS * unet[key] + vae[key] + clip[key]
    return [{ peer, work: `${STEPS} steps (sum)`, dtype, seconds: sum('seconds'), cpuSeconds: sum('cpuSeconds'), peakBytes: 0 }]
  })
best.push(...pictures)
const rows = best.map((line) => {
  const ratio = (dtype: string): string => {
    const own = best.find((other) => other.peer === 'ours' && other.work === line.work && other.dtype === dtype)
    return own === undefined ? '' : (time(line) / time(own)).toFixed(2)
  }
  const size = line.peakBytes === 0 ? '' : (line.peakBytes / 2 ** 20).toFixed(0)
  return [line.work, line.peer, line.dtype, time(line).toFixed(3), ratio('f32'), ratio('bf16'), ratio('int8'), ratio('fast'), size]
})
rows.sort(([a = '', , , x], [b = '', , , y]) => a.localeCompare(b) || Number(x) - Number(y))
const seconds = values.clock === 'cpu' ? 'CPU s / thread' : 's'
console.log(
  `\n${markdown([['work', 'program', 'dtype', seconds, 'times ours f32', 'ours bf16', 'ours int8', 'ours fast', 'peak MiB'], ...rows])}`,
)
