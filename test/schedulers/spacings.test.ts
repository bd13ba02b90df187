import test from 'ava'
import { StableDiffusionPipeline, schedulers } from '../../ts/index.ts'
import { missing } from './drawing.ts'

const pipe = await StableDiffusionPipeline.fromPretrained('shapes')
test.after.always(() => pipe.dispose())

const { spacings = [] } = schedulers.list().find(({ className }) => className === 'DPMSolverMultistepScheduler') ?? {}

/** Noise levels that do not go with this model. */
const others: readonly string[] = ['Align Your Steps', 'AYS SVD']

for (const spacing of spacings.filter((name) => !others.includes(name))) {
  test.serial(`DPM++ 2M ${spacing} draws what is asked for in 20 steps`, async (t) => {
    t.is(await missing(pipe, `DPM++ 2M ${spacing}`), '')
  })
}

test('Align Your Steps is refused for a model of a family that it has no table for', async (t) => {
  const error = await t.throwsAsync(async () => pipe.generate({ prompt: 'a star', scheduler: 'Euler Align Your Steps' }), {
    code: 'ERR_INVALID_ARGUMENT',
  })
  t.regex(error?.message ?? '', /ays_sd15.*sigma_spacing.*"ays"/)
})

test('dynamic thresholding is refused for latents', async (t) => {
  const scheduler = { thresholding: true } as const
  const error = await t.throwsAsync(async () => pipe.generate({ prompt: 'a star', scheduler }), { code: 'ERR_CONFIG' })
  t.regex(error?.message ?? '', /thresholding.*true/)
})
