import test from 'ava'
import { AutoencoderKL, CLIPTextModel, Generator, Tensor, UNet2DConditionModel } from 'node-diffusion'

const unetConfig = {
  block_out_channels: [16, 32],
  down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'],
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D'],
  layers_per_block: 1,
  norm_num_groups: 8,
  attention_head_dim: 4,
  cross_attention_dim: 24,
  sample_size: 8,
}

async function answer(seed: number | undefined): Promise<number[]> {
  await using unet = await UNet2DConditionModel.fromConfig(unetConfig, { seed })
  const sample = new Generator(1).randn([1, 4, 8, 8])
  const { sample: noise } = await unet.forward(sample, 500, { encoderHiddenStates: new Generator(2).randn([1, 7, 24]) })
  return Array.from(noise.toArray<Float32Array>())
}

test('random weights depend on nothing but the seed, and give finite answers', async (t) => {
  const [first, again, other] = [await answer(7), await answer(7), await answer(8)]
  t.deepEqual(first, again)
  t.notDeepEqual(first, other)
  t.deepEqual(await answer(undefined), await answer(0))
  t.true(first.every(Number.isFinite) && first.some((value) => value !== 0))
})

test('an autoencoder and a text encoder are made from a config alone', async (t) => {
  await using vae = await AutoencoderKL.fromConfig({
    block_out_channels: [16, 16],
    down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D'],
    up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D'],
    norm_num_groups: 8,
  })
  // Published configs leave them out.
  t.is(vae.config.latents_mean, null)
  t.is(vae.config.latents_std, null)
  const { sample } = await vae.decode(new Generator(1).randn([1, 4, 4, 4]))
  t.deepEqual(sample.shape, [1, 3, 8, 8])
  await using text = await CLIPTextModel.fromConfig({
    hidden_size: 32,
    intermediate_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 4,
  })
  const { lastHiddenState } = await text.forward(Tensor.from(BigInt64Array.of(49406n, 5n, 49407n), [1, 3]))
  t.deepEqual(lastHiddenState.shape, [1, 3, 32])
})

test('a seed that is none is refused', async (t) => {
  await t.throwsAsync(UNet2DConditionModel.fromConfig(unetConfig, { seed: -1 }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: 'Expected a whole number of at least 0 for seed but received -1',
  })
  // @ts-expect-error a seed is a number
  await t.throwsAsync(UNet2DConditionModel.fromConfig(unetConfig, { seed: '1' }), { code: 'ERR_INVALID_ARGUMENT' })
})
