import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { ConfigError, StableDiffusionPipeline, StableDiffusionSafetyChecker, Tensor } from '../../ts/index.ts'

const fixture = fileURLToPath(new URL('../fixtures/weights/safety_checker', import.meta.url))
const shapes = fileURLToPath(new URL('../../models/shapes', import.meta.url))

test('scores and verdicts are those of diffusers', async (t) => {
  const golden = await Tensor.loadSafetensors(join(fixture, 'golden.safetensors'))
  await using checker = await StableDiffusionSafetyChecker.fromPretrained(fixture)
  const verdicts = await checker.judge(golden.images as Tensor)
  t.deepEqual(
    verdicts.map(({ flagged }) => flagged),
    Array.from(golden.flagged?.toArray() ?? [], (value) => Number(value) === 1),
  )
  const special = Array.from(golden.special?.toArray() ?? [], Number)
  const concepts = Array.from(golden.concepts?.toArray() ?? [], Number)
  for (const [i, { specialScores, conceptScores }] of verdicts.entries()) {
    const stricter = Math.max(...special.slice(i * 3, i * 3 + 3)) > 0.0005 ? 0.01 : 0
    for (const [j, score] of conceptScores.entries()) {
      // Cosines of a projection in f32, by other sums than torch's.
      t.true(Math.abs(score - stricter - (concepts[i * 17 + j] ?? 0)) < 1e-5)
    }
    t.is(specialScores.length, 3)
  }
})

test('it is loaded only when asked for; flagged pictures come out black', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'nd-checker-'))
  try {
    await cp(shapes, folder, { recursive: true })
    await cp(fixture, join(folder, 'safety_checker'), { recursive: true })
    const index = JSON.parse(await readFile(join(folder, 'model_index.json'), 'utf8')) as Record<string, unknown>
    index.safety_checker = ['stable_diffusion', 'StableDiffusionSafetyChecker']
    await writeFile(join(folder, 'model_index.json'), JSON.stringify(index))
    await using off = await StableDiffusionPipeline.fromPretrained(folder, { safetyChecker: null })
    t.falsy(off.components.safetyChecker)
    await using on = await StableDiffusionPipeline.fromPretrained(folder, { loadSafetyChecker: true })
    t.true(on.components.safetyChecker instanceof StableDiffusionSafetyChecker)
    const flagAll = { check: async (images: Tensor): Promise<boolean[]> => Array.from({ length: images.shape[0] ?? 0 }, () => true) }
    const black = StableDiffusionPipeline.fromPipe(on, { safetyChecker: flagAll })
    const { images } = await black.generate({ prompt: 'a red circle', numInferenceSteps: 1, seed: 1 })
    t.true((await images[0]?.rgba())?.data.every((value, i) => value === (i % 4 === 3 ? 255 : 0)))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('a single file says where a safety checker could come from', async (t) => {
  const loading = StableDiffusionPipeline.fromSingleFile(join(fixture, 'model.safetensors'), { loadSafetyChecker: true })
  await t.throwsAsync(loading, { instanceOf: ConfigError })
})
