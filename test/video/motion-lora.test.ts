import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { AnimateDiffPipeline, Generator, MotionAdapter, StableDiffusionPipeline, Tensor, WeightsError } from '../../ts/index.ts'
import { type SchedulerConfig, schedulerFromConfig } from '../../ts/schedulers/index.ts'

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url))
const base = join(fixtures, 'parity', 'pipelines', 'tiny-sd15')
const motionFile = join(fixtures, 'video', 'motion_lora.safetensors')
const styleFile = join(fixtures, 'parity', 'weights', 'lora', 'peft_attn.safetensors')

type Cases = { call: Record<string, unknown>; cases: Record<string, Record<string, number>>; scheduler: SchedulerConfig; seed: number }

const { call, cases, scheduler, seed } = JSON.parse(await readFile(join(fixtures, 'video', 'motion_lora_cases.json'), 'utf8')) as Cases
const goldens = await Tensor.loadSafetensors(join(fixtures, 'video', 'motion_lora_cases.safetensors'))
const motionAdapter = await MotionAdapter.fromPretrained(join(fixtures, 'parity', 'models', 'animatediff', 'motion_adapter'))

const camel = (name: string): string => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
const options = Object.fromEntries(Object.entries(call).map(([name, value]) => [camel(name), value]))

async function pipeline(): Promise<AnimateDiffPipeline> {
  return AnimateDiffPipeline.fromPretrained(base, { motionAdapter, scheduler: schedulerFromConfig(scheduler) })
}

async function latentsOf(pipe: AnimateDiffPipeline): Promise<Tensor> {
  const { latents } = await pipe.generate<'latent'>({ ...options, generator: new Generator(seed), outputType: 'latent' } as never)
  return latents
}

/** Largest difference, relative to the largest golden value. */
function distance(actual: Tensor, golden: Tensor | undefined): number {
  if (golden === undefined) {
    return Number.POSITIVE_INFINITY
  }
  return Number(actual.sub(golden).abs().max().item()) / Number(golden.abs().max().item())
}

/** Three guided steps of a network of four levels of sums in f32, in another order than torch's. */
const CLOSE = 2e-5

for (const [name, weights] of Object.entries(cases)) {
  test(`${name}: latents are those of diffusers`, async (t) => {
    await using pipe = await pipeline()
    for (const adapterName of Object.keys(weights)) {
      await pipe.loadLoraWeights(adapterName === 'motion' ? motionFile : styleFile, { adapterName, strict: true })
    }
    if (Object.keys(weights).length > 0) {
      pipe.setAdapters(Object.keys(weights), Object.values(weights))
    }
    const far = distance(await latentsOf(pipe), goldens[name])
    t.true(far < CLOSE, String(far))
  })
}

test('a file in the names of AnimateDiff is the same LoRA', async (t) => {
  const original = Object.fromEntries(
    Object.entries(await Tensor.loadSafetensors(motionFile)).map(([key, tensor]) => [
      key
        .replace('unet.', '')
        .replace('.transformer_blocks', '.temporal_transformer.transformer_blocks')
        .replace('.attn1', '.attention_blocks.0')
        .replace('.attn2', '.attention_blocks.1'),
      tensor,
    ]),
  )
  await using pipe = await pipeline()
  const report = await pipe.loadLoraWeights(original, { adapterName: 'zoom', strict: true })
  t.deepEqual(report.layers, { motion_adapter: Object.keys(original).length / 2 })
  t.deepEqual(pipe.getListAdapters(), { motionAdapter: ['zoom'] })
  const far = distance(await latentsOf(pipe), goldens.motion)
  t.true(far < CLOSE, String(far))
})

test('unloading gives back the very motion adapter, and weights by component hold', async (t) => {
  await using pipe = await pipeline()
  await pipe.loadLoraWeights(motionFile, { adapterName: 'zoom' })
  t.not(pipe.motionAdapter, motionAdapter)
  pipe.setAdapters('zoom', { motionAdapter: 0 })
  t.is(pipe.motionAdapter, motionAdapter)
  pipe.setAdapters('zoom', { motionAdapter: 0.4 })
  const far = distance(await latentsOf(pipe), goldens.weaker)
  t.true(far < CLOSE, String(far))
  pipe.unloadLoraWeights()
  t.is(pipe.motionAdapter, motionAdapter)
})

test('a pipeline for pictures refuses a motion LoRA', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained(base)
  await t.throwsAsync(pipe.loadLoraWeights(motionFile), { instanceOf: WeightsError, message: /none of whose \d+ keys has a place/ })
})
