import test from 'ava'
import type { StepState, Tensor } from '../../ts/index.ts'
import { distance, familyCases, familyOptions, familyPipeline, imageEncoder, missingFolder } from './goldens.ts'

/** As of the golden pack for latents: guidance of 7.5 multiplies differences. */
const TOLERANCE = 1e-3

const { cases, tensors } = await familyCases()

for (const [name, item] of cases) {
  const missing = missingFolder(item)
  const run = missing === undefined ? test : test.skip
  run(`${name} of ${item.pipe} equals diffusers${missing === undefined ? '' : ` (no ${missing})`}`, async (t) => {
    const pipe = await familyPipeline(name, item)
    if (item.freeu !== undefined) {
      pipe.unet.enableFreeU(item.freeu)
    }
    let last: Tensor | undefined
    const callbackOnStepEnd = (_pipe: unknown, _index: number, _timestep: number, { latents }: StepState): void => {
      last = latents
    }
    const pictured = item.call.padding_mask_crop !== undefined
    await pipe.generate({ ...familyOptions(name, item, tensors), callbackOnStepEnd, outputType: pictured ? 'image' : 'latent' })
    const far = distance(last, tensors[`${name}/latents`])
    t.true(far < TOLERANCE, `${far}`)
  })
}

test('the image encoder of the cases is there', async (t) => {
  t.is((await imageEncoder()).config.projection_dim, 24)
})
