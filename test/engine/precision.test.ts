import test from 'ava'
import { StableDiffusionPipeline } from '../../ts/index.ts'
import { fastestDType } from '../../ts/models/fastest-dtype.ts'
import { native } from '../../ts/native.ts'
import { compare, models, type Report } from './precision.ts'

/**
 * The least PSNR in dB of pictures and of latents after 4 steps. Measured after 20 steps (docs/performance.md): f16 70 or equal, bf16 48 and 47, int8 35 and 32;
 * errors grow with the steps, and a seed or a CPU moves the least of five by some dB, hence 8 dB less for bf16 and 5 for int8, whose bound is what `auto` promises.
 * `fast` shares it.
 */
const bounds = { f16: [60, 60], bf16: [40, 39], int8: [30, 27], fast: [30, 27] } as const
const { level, bf16, cpuFeatures } = native.doctor()

test('types other than f32 draw the same pictures', async (t) => {
  t.timeout(600_000)
  for (const model of await models()) {
    const reports = await compare(model, ['f16', 'bf16', 'int8', 'fast'], 4)
    for (const { dtype, image, latent } of reports) {
      const [imageBound, latentBound] = dtype === 'f32' ? [Infinity, Infinity] : bounds[dtype]
      t.true(image.least >= imageBound, `${model.model} ${dtype}: pictures ${image.least} dB`)
      t.true(latent.least >= latentBound, `${model.model} ${dtype}: latents ${latent.least} dB`)
      // Rounding that rounds nothing would be no test: no model here has weights of eight bits.
      t.true((dtype !== 'int8' && dtype !== 'fast') || image.least < 60, `${model.model} ${dtype}: pictures ${image.least} dB`)
    }
    const distances = (type: Report['dtype']): unknown[] =>
      reports.filter(({ dtype }) => dtype === type).map((one) => [one.image, one.latent])
    if (bf16 === 'f32') {
      t.deepEqual(distances('fast'), distances('int8'), 'without products of bf16')
    } else {
      t.notDeepEqual(distances('fast'), distances('int8'), 'with products of bf16')
    }
  }
})

test('auto takes bytes for wide networks with transformers on CPUs that multiply them', async (t) => {
  const fastest = bf16 === 'bf16' ? 'fast' : 'int8'
  const unet = { cross_attention_dim: 768, block_out_channels: [320, 640, 1280, 1280] }
  t.is(fastestDType(unet, 'cpu'), level === 'avx512' && cpuFeatures.includes('avx512vnni') ? fastest : 'f16')
  t.is(fastestDType(unet, 'cuda'), 'f16')
  t.is(fastestDType({ ...unet, block_out_channels: [32, 64] }, 'cpu'), 'f16')
  t.is(fastestDType({ block_out_channels: [320, 640] }, 'cpu'), 'f16')
  await using pipe = await StableDiffusionPipeline.fromPretrained('shapes', { dtype: 'auto' })
  t.is(pipe.unet.dtype, 'f16')
})
