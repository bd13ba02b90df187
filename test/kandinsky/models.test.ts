import { join } from 'node:path'
import test from 'ava'
import { ConfigError, InvalidArgumentError, PriorTransformer, Tensor, UNet2DConditionModel, VQModel } from '../../ts/index.ts'
import { distance } from '../families/goldens.ts'
import { fixtures, kandinskyCases } from './goldens.ts'

/** As of the golden pack for networks in f32. */
const TOLERANCE = 1e-4

const { tensors } = await kandinskyCases()
const at = (name: string): Tensor => tensors[`model.${name}`] as Tensor

test('the prior predicts what the reference predicts, with and without a mask', async (t) => {
  await using prior = await PriorTransformer.fromPretrained(join(fixtures, 'prior/prior'))
  const told = { projEmbedding: at('prior/proj_embedding'), encoderHiddenStates: at('prior/encoder_hidden_states') }
  const sample = at('prior/hidden_states')
  const masked = await prior.forward(sample, 412, { ...told, attentionMask: at('prior/attention_mask') })
  t.true(distance(masked.predictedImageEmbedding, at('prior/predicted')) < TOLERANCE)
  t.true(distance((await prior.forward(sample, 412, told)).predictedImageEmbedding, at('prior/unmasked')) < TOLERANCE)
  t.true(distance(await prior.postProcessLatents(masked.predictedImageEmbedding), at('prior/processed')) < TOLERANCE)
  await t.throwsAsync(prior.forward(Tensor.zeros([2, 8]), 1, told), {
    instanceOf: InvalidArgumentError,
    message: /\[2, 32\] for hidden_states/,
  })
  await t.throwsAsync(prior.forward(sample, 1, { ...told, projEmbedding: Tensor.zeros([1, 32]) }), { message: /for proj_embedding/ })
})

test('the UNet reads image embeddings, and a hint beside them', async (t) => {
  await using unet = await UNet2DConditionModel.fromPretrained(join(fixtures, 'decoder/unet'))
  await using hinted = await UNet2DConditionModel.fromPretrained(join(fixtures, 'unet_hint'))
  const [sample, imageEmbeds, hint] = [at('unet/sample'), at('unet/image_embeds'), at('unet/hint')]
  t.true(distance((await unet.forward(sample, 321, { addedCondKwargs: { imageEmbeds } })).sample, at('unet/output')) < TOLERANCE)
  t.true(distance((await hinted.forward(sample, 321, { addedCondKwargs: { imageEmbeds, hint } })).sample, at('unet/hinted')) < TOLERANCE)
  t.is(hinted.sampleChannels, 4)
  const refused = { instanceOf: InvalidArgumentError }
  await t.throwsAsync(unet.forward(sample, 1, {} as never), { ...refused, message: /for encoderHiddenStates but received undefined/ })
  await t.throwsAsync(unet.forward(sample, 1, { encoderHiddenStates: Tensor.zeros([2, 77, 16]) }), {
    ...refused,
    message: /for image_embeds/,
  })
  await t.throwsAsync(unet.forward(sample, 1, { addedCondKwargs: { imageEmbeds: Tensor.zeros([2, 8]) } }), {
    ...refused,
    message: /shape \(2, 32\) for image_embeds/,
  })
  await t.throwsAsync(hinted.forward(sample, 1, { addedCondKwargs: { imageEmbeds } }), {
    ...refused,
    message: /for hint but received nothing/,
  })
  await t.throwsAsync(hinted.forward(sample, 1, { addedCondKwargs: { imageEmbeds, hint: Tensor.zeros([2, 3, 8, 8]) } }), {
    ...refused,
    message: /\[2, 3, 80, 96\] for hint/,
  })
})

for (const name of ['movq', 'vq_group'] as const) {
  test(`${name} encodes and decodes as the reference, with its codebook and without`, async (t) => {
    await using vq = await VQModel.fromPretrained(join(fixtures, name === 'movq' ? 'decoder/movq' : name))
    t.true(distance((await vq.encode(at(`${name}/image`))).latents, at(`${name}/encoded`)) < TOLERANCE)
    const plain = await vq.decode(at(`${name}/latents`), { forceNotQuantize: true })
    t.true(distance(plain.sample, at(`${name}/decoded`)) < TOLERANCE)
    t.true(distance((await vq.decode(at(`${name}/latents`))).sample, at(`${name}/quantized`)) < TOLERANCE)
    const need = await vq.decodeMemory(at(`${name}/latents`))
    t.true(need.activations > 0)
    await t.throwsAsync(vq.decode(Tensor.zeros([1, 3, 4, 4])), {
      instanceOf: InvalidArgumentError,
      message: /\[batch, 4, height, width\] for z/,
    })
  })
}

test('configs that mean something else are refused by key', async (t) => {
  const refused = { instanceOf: ConfigError }
  await t.throwsAsync(VQModel.fromConfig({ norm_type: 'ada' as never }), { ...refused, message: /group or spatial for norm_type/ })
  await t.throwsAsync(PriorTransformer.fromConfig({ added_emb_type: null }), { ...refused, message: /added_emb_type/ })
  const image = { addition_embed_type: 'image', encoder_hid_dim_type: 'image_proj' }
  await t.throwsAsync(UNet2DConditionModel.fromConfig(image), { ...refused, message: /encoder_hid_dim, but received null|encoder_hid_dim/ })
})
