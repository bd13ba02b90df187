/**
 * Cost of growth: time against picture size, batch and threads, as docs/images/growth.svg: `npm run bench -- chart [--sizes 256,512,768,1024]
 * [--batches 1,2,4,8] [--minutes 6] [--clock wall|cpu] [--json FILE]`. Stable Diffusion 1.5 in f32 with random weights.
 *
 * Each point is one run, the better of two where a run takes less than five seconds. Points that would not fit into the memory or the time that is left are
 * left out and named; the chart has what was measured.
 */
import { writeFile } from 'node:fs/promises'
import { freemem } from 'node:os'
import { parseArgs } from 'node:util'
import { Generator } from 'node-diffusion'
import type { MemoryNeed } from '../../ts/models/memory-need.ts'
import { native } from '../../ts/native.ts'
import { conditions, measure } from '../measure.ts'
import { openUnet, openVae } from '../open.ts'
import { type Panel, panels } from '../svg.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '6' },
    sizes: { type: 'string', default: '256,512,768,1024' },
    batches: { type: 'string', default: '1,2,4,8' },
    clock: { type: 'string', default: 'wall' },
    json: { type: 'string' },
  },
})

const numbers = (text: string): number[] => text.split(',').map(Number)
const origin = { model: '', architecture: 'sd15', dtype: 'f32' } as const
const settings = { runs: 0, profile: false }
const THREADS = [1, 2]
/** Edge of the pictures of the batches. */
const BATCH_SIZE = 256
const MIB = 2 ** 20

/** A run that is repeated takes at most so many seconds. */
const SHORT = 5

type Point = { work: 'unet' | 'vae'; size: number; batch: number; threads: number; seconds: number; peakBytes: number }
const points: Point[] = []

/** A run, and the memory that it would take beyond what is held. */
type Run = { once: () => Promise<void>; need: () => Promise<MemoryNeed> }

/** Pixels of a point. */
const area = ({ size, batch }: Pick<Point, 'size' | 'batch'>): number => size * size * batch

/** Seconds that a point should take by the largest one of its work so far; nothing for the first. */
function expectedSeconds(work: Point['work'], size: number, batch: number, threads: number): number {
  const known = points.filter((point) => point.work === work).toSorted((a, b) => area(b) - area(a))
  const like = known.find((point) => point.threads === threads) ?? known[0]
  if (like === undefined) {
    return 0
  }
  // Attention grows faster than the pixels.
  return like.seconds * (area({ size, batch }) / area(like)) ** 1.1 * (like.threads / threads)
}

async function point(work: Point['work'], size: number, batch: number, threads: number, { once, need }: Run): Promise<void> {
  const name = `${work} ${size} px, batch ${batch}, ${threads} threads`
  const [expected, left] = [expectedSeconds(work, size, batch, threads), 60 * Number(values.minutes) - process.uptime()]
  if (expected > left) {
    console.log(`${name}: left out, about ${expected.toFixed(0)} s where ${Math.max(0, left).toFixed(0)} are left`)
    return
  }
  const { kept, activations } = await need()
  if (kept + activations > freemem()) {
    console.log(`${name}: left out, ${((kept + activations) / MIB).toFixed(0)} MiB where ${(freemem() / MIB).toFixed(0)} are left`)
    return
  }
  native.setThreads(threads)
  const run = async (): Promise<[number, number]> => {
    const { minMs, cpuMs, peakBytes } = await measure(work, '', settings, once)
    return [(values.clock === 'cpu' ? cpuMs / threads : minMs) / 1e3, peakBytes]
  }
  let [seconds, peakBytes] = await run()
  if (seconds < SHORT) {
    const [again, peak] = await run()
    seconds = Math.min(seconds, again)
    peakBytes = Math.max(peakBytes, peak)
  }
  points.push({ work, size, batch, threads, seconds, peakBytes })
  console.log(`${name}: ${seconds.toFixed(2)} s, ${(peakBytes / MIB).toFixed(0)} MiB`)
}

await using unet = await openUnet(origin)
await using vae = await openVae(origin)

function step(size: number, batch: number): Run {
  const sample = new Generator(1).randn([2 * batch, 4, size / 8, size / 8])
  const encoderHiddenStates = new Generator(2).randn([2 * batch, 77, 768])
  return {
    once: async () => (await unet.forward(sample, 500, { encoderHiddenStates })).sample.dispose(),
    need: () => unet.forwardMemory(sample, 500, { encoderHiddenStates }),
  }
}

function decoding(size: number): Run {
  const latents = new Generator(1).randn([1, 4, size / 8, size / 8])
  return { once: async () => (await vae.decode(latents)).sample.dispose(), need: () => vae.decodeMemory(latents) }
}

// All threads first, small before large: what the time does not allow are large pictures on one thread.
for (const threads of THREADS.toReversed()) {
  for (const size of numbers(values.sizes)) await point('unet', size, 1, threads, step(size, 1))
  for (const batch of numbers(values.batches).filter((batch) => batch > 1)) {
    await point('unet', BATCH_SIZE, batch, threads, step(BATCH_SIZE, batch))
  }
  for (const size of numbers(values.sizes)) await point('vae', size, 1, threads, decoding(size))
}

const line = (name: string, x: 'size' | 'batch', fits: (point: Point) => boolean): Panel['lines'][number] => ({
  name,
  points: points
    .filter(fits)
    .map((point): [number, number] => [point[x], point.seconds])
    .toSorted(([a], [b]) => a - b),
})
const bySize = (work: Point['work']): Panel['lines'] =>
  THREADS.map((threads) =>
    line(threads === 1 ? '1 thread' : `${threads} threads`, 'size', (p) => p.work === work && p.batch === 1 && p.threads === threads),
  )
const byBatch = THREADS.map((threads) =>
  line(
    threads === 1 ? '1 thread' : `${threads} threads`,
    'batch',
    (p) => p.work === 'unet' && p.size === BATCH_SIZE && p.threads === threads,
  ),
)
const where = conditions()
const clock = values.clock === 'cpu' ? 'CPU time over threads' : 'wall time'
const note = `Stable Diffusion 1.5, f32, ${clock}, ${where.processor}, ${where.kernels}, commit ${where.commit}, ${where.date.slice(0, 10)}: npm run bench -- chart`
const svg = panels(note, [
  { title: 'UNet step with guidance', x: 'picture edge in pixels', y: 'seconds', lines: bySize('unet') },
  { title: `UNet step, ${BATCH_SIZE} pixels`, x: 'pictures at once', y: 'seconds', lines: byBatch },
  { title: 'VAE decode', x: 'picture edge in pixels', y: 'seconds', lines: bySize('vae') },
])
await writeFile(new URL('../../docs/images/growth.svg', import.meta.url), svg)
if (values.json !== undefined) {
  await writeFile(values.json, `${JSON.stringify({ conditions: where, points }, null, 2)}\n`)
}
