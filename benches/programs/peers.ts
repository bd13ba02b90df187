/**
 * Ours against torch, OpenVINO, onnxruntime and stable-diffusion.cpp on the same weights and shapes, one after the other in one run:
 * `npm run bench -- peers [--only torch,ours] [--works unet,vae,clip] [--runs 3] [--threads 2] [--clock wall|cpu]`.
 *
 * First `benches/peers/setup.sh`, which installs them into $PEERS. Peers that are not there are left out.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { bench, markdown } from '../child.ts'
import { randomCheckpoint } from '../open.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'ours,torch,openvino,onnxruntime,stable-diffusion.cpp' },
    works: { type: 'string', default: 'unet,vae,clip' },
    runs: { type: 'string', default: '3' },
    threads: { type: 'string', default: '2' },
    clock: { type: 'string', default: 'wall' },
  },
})

/** One work of one program; times in seconds. */
type Line = { peer: string; work: string; dtype: string; seconds: number; cpuSeconds: number; peakBytes: number }

const home = process.env.PEERS ?? join(homedir(), '.cache', 'node-diffusion-peers')
const works = values.works.split(',')
const checkpoint = await randomCheckpoint('sd15')
const lines: Line[] = []

async function run(program: string, ...args: string[]): Promise<void> {
  if (!existsSync(program)) {
    console.error(`left out, not installed: ${program} ${args.slice(0, 3).join(' ')}`)
    return
  }
  const { stdout } = await promisify(execFile)(program, args, { maxBuffer: 2 ** 26 }).catch((error: Error & { stdout?: string }) => {
    console.error(`failed: ${program} ${args.join(' ')}: ${error.message.split('\n').slice(-4).join(' ')}`)
    return { stdout: error.stdout ?? '' }
  })
  const found = stdout.split('\n').filter((line) => line.startsWith('{'))
  for (const line of found) {
    lines.push(JSON.parse(line) as Line)
    console.error(line)
  }
}

/** Ours as the peers write theirs. */
async function ours(work: string, dtype: string): Promise<void> {
  const { results } = await bench(
    work,
    '--architecture',
    'sd15',
    '--size',
    '512',
    '--dtype',
    dtype,
    '--runs',
    values.runs,
    '--threads',
    values.threads,
  )
  const [first] = results
  if (first !== undefined) {
    lines.push({ peer: 'ours', work, dtype, seconds: first.minMs / 1e3, cpuSeconds: first.cpuMs / 1e3, peakBytes: first.peakBytes })
  }
}

const wanted = (name: string): boolean => values.only.split(',').includes(name)
const python = join(home, 'venv', 'bin', 'python')
const script = fileURLToPath(new URL('../peers/peers.py', import.meta.url))
if (wanted('ours')) {
  for (const work of works) {
    for (const dtype of work === 'unet' ? ['f32', 'bf16', 'int8'] : ['f32', 'bf16']) await ours(work, dtype)
  }
}
for (const [peer, dtypes] of Object.entries({ torch: ['f32', 'bf16'], openvino: ['f32', 'bf16'], onnxruntime: ['f32'] })) {
  for (const dtype of wanted(peer) ? dtypes : []) {
    const common = [
      '--peer',
      peer,
      '--dtype',
      dtype,
      '--checkpoint',
      checkpoint,
      '--cache',
      join(home, 'graphs'),
      '--works',
      works.join(','),
    ]
    await run(python, script, ...common, '--runs', values.runs, '--threads', values.threads)
  }
}
if (wanted('stable-diffusion.cpp')) {
  await run(join(home, 'sdcpp', 'bench'), checkpoint, values.threads, '4', 'f16')
}

const time = (line: Line): number => (values.clock === 'cpu' ? line.cpuSeconds / Number(values.threads) : line.seconds)
const rows = lines.map((line) => {
  const own = lines.filter(({ peer, work }) => peer === 'ours' && work === line.work)
  const ratio = (dtype: string): string => {
    const ours = own.find((other) => other.dtype === dtype)
    return ours === undefined ? '' : (time(line) / time(ours)).toFixed(2)
  }
  return [
    line.work,
    line.peer,
    line.dtype,
    time(line).toFixed(3),
    ratio('f32'),
    ratio('bf16'),
    ratio('int8'),
    (line.peakBytes / 2 ** 20).toFixed(0),
  ]
})
rows.sort(([a = '', ...x], [b = '', ...y]) => String(a).localeCompare(String(b)) || Number(x[2]) - Number(y[2]))
const heads = [
  'work',
  'program',
  'dtype',
  values.clock === 'cpu' ? 'CPU s / thread' : 's',
  'times ours f32',
  'times ours bf16',
  'times ours int8',
  'peak MiB',
]
console.log(markdown([heads, ...rows]))
