import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { StableDiffusionPipeline, type Tensor, type WeightsDType } from '../../ts/index.ts'
import { parityPack } from '../parity/pack.ts'

/** How far the results of one type are from those in f32, in dB of PSNR: the least of all pictures, and their mean. */
export type Report = { model: string; dtype: WeightsDType; image: Distance; latent: Distance; seconds: number }
/** Infinite where every number is the same. */
export type Distance = { least: number; mean: number }

const calls = [
  'a red circle on a blue background',
  'a green square on a yellow background',
  'a large blue triangle',
  'a small white star on a black background',
  'two red squares',
]

/**
 * Models that reports are made of: the built-in one, and where the pack is present its tiny one, whose random weights need no steps to disagree. Pictures are
 * `scale` times as wide and high as those that they were made for.
 */
export async function models(scale = 1): Promise<{ model: string; folder: string; size: number }[]> {
  const tiny = join(parityPack(), 'pipelines', 'tiny-sd15')
  const isThere = await readFile(join(tiny, 'model_index.json')).then(
    () => true,
    () => false,
  )
  const all = [{ model: 'built-in', folder: 'shapes', size: 128 * scale }]
  return isThere ? [...all, { model: 'tiny-sd15', folder: tiny, size: 64 * scale }] : all
}

/** Pictures in pixels from 0 to 1 and latents of every call, and the CPU seconds that they took. */
async function results(
  folder: string,
  size: number,
  dtype: WeightsDType,
  steps: number,
): Promise<{ pairs: [Tensor, Tensor][]; seconds: number }> {
  await using pipe = await StableDiffusionPipeline.fromPretrained(folder, { dtype, safetyChecker: null })
  const pairs: [Tensor, Tensor][] = []
  const before = process.cpuUsage()
  for (const [seed, prompt] of calls.entries()) {
    const call = { prompt, seed, width: size, height: size, numInferenceSteps: steps } as const
    const { latents } = await pipe.generate({ ...call, outputType: 'latent' })
    const { sample } = await pipe.vae.decode(latents.div(pipe.vae.config.scaling_factor))
    pairs.push([sample.div(2).add(0.5).clamp(0, 1), latents])
  }
  const { user, system } = process.cpuUsage(before)
  return { pairs, seconds: (user + system) / 1e6 }
}

/** PSNR in dB; the peak of latents is their largest magnitude. */
function distance(pairs: readonly [Tensor, Tensor][], peak: (want: Tensor) => number): Distance {
  const all = pairs.map(([got, want]) => 10 * Math.log10(peak(want) ** 2 / got.sub(want).pow(2).mean().item()))
  return { least: Math.min(...all), mean: all.reduce((sum, one) => sum + one, 0) / all.length }
}

/** Compares the types with f32 on one model, with the same seeds. */
export async function compare(
  { model, folder, size }: { model: string; folder: string; size: number },
  dtypes: readonly WeightsDType[],
  steps: number,
): Promise<Report[]> {
  const want = await results(folder, size, 'f32', steps)
  const reports: Report[] = [{ model, dtype: 'f32', image: same, latent: same, seconds: want.seconds }]
  for (const dtype of dtypes) {
    const got = await results(folder, size, dtype, steps)
    const against = (which: 0 | 1): [Tensor, Tensor][] => got.pairs.map((pair, i) => [pair[which], (want.pairs[i] ?? pair)[which]])
    reports.push({
      model,
      dtype,
      image: distance(against(0), () => 1),
      latent: distance(against(1), (latent) => latent.abs().max().item()),
      seconds: got.seconds,
    })
  }
  return reports
}

const same: Distance = { least: Infinity, mean: Infinity }
