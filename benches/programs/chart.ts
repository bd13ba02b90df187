/**
 * Cost of growth: time against picture size, batch and threads, as docs/images/growth.svg: `npm run bench -- chart [--runs 2] [--sizes 256,512,768,1024]
 * [--batches 1,2,4,8] [--clock wall|cpu] [--json FILE]`. Stable Diffusion 1.5 in f32 with random weights.
 */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { Generator } from 'node-diffusion'
import { native } from '../../ts/native.ts'
import { conditions, measure } from '../measure.ts'
import { openUnet, openVae } from '../open.ts'
import { type Panel, panels } from '../svg.ts'

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '2' },
    sizes: { type: 'string', default: '256,512,768,1024' },
    batches: { type: 'string', default: '1,2,4,8' },
    clock: { type: 'string', default: 'wall' },
    json: { type: 'string' },
  },
})

const numbers = (text: string): number[] => text.split(',').map(Number)
const origin = { model: '', architecture: 'sd15', dtype: 'f32' } as const
const settings = { runs: Number(values.runs), profile: false }
const THREADS = [1, 2]
/** Edge of the pictures of the batches. */
const BATCH_SIZE = 256
const MIB = 2 ** 20

type Point = { work: 'unet' | 'vae'; size: number; batch: number; threads: number; seconds: number; peakBytes: number }
const points: Point[] = []

async function point(
  work: Point['work'],
  size: number,
  batch: number,
  threads: number,
  run: () => Promise<{ sample: Disposable }>,
): Promise<void> {
  const once = async (): Promise<void> => (await run()).sample[Symbol.dispose]()
  const { minMs, cpuMs, peakBytes } = await measure(work, '', settings, once)
  const seconds = (values.clock === 'cpu' ? cpuMs / threads : minMs) / 1e3
  points.push({ work, size, batch, threads, seconds, peakBytes })
  console.log(`${work} ${size} px, batch ${batch}, ${threads} threads: ${seconds.toFixed(2)} s, ${(peakBytes / MIB).toFixed(0)} MiB`)
}

{
  await using unet = await openUnet(origin)
  const step = (size: number, batch: number): (() => Promise<{ sample: Disposable }>) => {
    const sample = new Generator(1).randn([2 * batch, 4, size / 8, size / 8])
    const encoderHiddenStates = new Generator(2).randn([2 * batch, 77, 768])
    return () => unet.forward(sample, 500, { encoderHiddenStates })
  }
  for (const threads of THREADS) {
    native.setThreads(threads)
    for (const size of numbers(values.sizes)) await point('unet', size, 1, threads, step(size, 1))
    for (const batch of numbers(values.batches).filter((batch) => batch > 1))
      await point('unet', BATCH_SIZE, batch, threads, step(BATCH_SIZE, batch))
  }
}
{
  await using vae = await openVae(origin)
  for (const threads of THREADS) {
    native.setThreads(threads)
    for (const size of numbers(values.sizes)) {
      const latents = new Generator(1).randn([1, 4, size / 8, size / 8])
      await point('vae', size, 1, threads, () => vae.decode(latents))
    }
  }
}

const line = (name: string, x: 'size' | 'batch', fits: (point: Point) => boolean): Panel['lines'][number] => ({
  name,
  points: points.filter(fits).map((point) => [point[x], point.seconds]),
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
