import test from 'ava'
import type { Tensor } from '../../ts/index.ts'
import { distance } from '../families/goldens.ts'
import { kandinskyCases, optionsOf, pipelineOf } from './goldens.ts'

/** As of the golden pack for latents: guidance multiplies differences. */
const TOLERANCE = 1e-3

const { cases, tensors } = await kandinskyCases()

for (const [name, item] of Object.entries(cases).filter(([key]) => !key.startsWith('sampler.'))) {
  test(`${name} of ${item.pipe} equals diffusers`, async (t) => {
    await using pipe = await pipelineOf(item)
    const isPrior = item.pipe === 'KandinskyV22PriorPipeline'
    const outputType = item.results.includes('pixels') ? 'tensor' : 'latent'
    const result = await pipe.generate({ ...optionsOf(name, item, tensors), ...(!isPrior && { outputType }) })
    for (const key of item.results) {
      const golden = tensors[`${name}/${key}`] as Tensor
      const isPixels = key === 'pixels'
      const camel = key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
      const actual = isPixels ? result.tensor?.permute([0, 2, 3, 1]) : result[camel]
      const far = distance(actual, golden)
      t.true(far < TOLERANCE, `${key}: ${far}`)
    }
  })
}
