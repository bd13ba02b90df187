import test from 'ava'
import type { z } from 'zod'
import type { ImageToImageOptions, InpaintOptions, TextToImageOptions } from '../../ts/pipelines/generate-options.ts'
import { describeOptions } from '../../ts/pipelines/option.ts'
import { imageToImageSchema, inpaintSchema, textToImageSchema } from '../../ts/pipelines/options.ts'
import { parseOptions } from '../../ts/pipelines/parse-options.ts'

type SameKeys<A, B> = [keyof A] extends [keyof B] ? ([keyof B] extends [keyof A] ? true : false) : false
const sameKeys: [
  SameKeys<z.input<typeof textToImageSchema>, TextToImageOptions>,
  SameKeys<z.input<typeof imageToImageSchema>, ImageToImageOptions>,
  SameKeys<z.input<typeof inpaintSchema>, InpaintOptions>,
] = [true, true, true]

test('the schemas and the option types have the same keys', (t) => {
  t.deepEqual(sameKeys, [true, true, true])
})

test('defaults are those of diffusers', (t) => {
  const { numInferenceSteps, guidanceScale, guidanceRescale, numImagesPerPrompt, eta, outputType, preview } = parseOptions(
    textToImageSchema,
    {
      prompt: 'a star',
    },
  )
  t.deepEqual([numInferenceSteps, guidanceScale, guidanceRescale, numImagesPerPrompt, eta], [50, 7.5, 0, 1, undefined])
  t.deepEqual([outputType, preview], ['image', false])
  t.is(parseOptions(imageToImageSchema, { image: 'x.png' }).strength, 0.8)
  t.is(parseOptions(inpaintSchema, { image: 'x.png' }).strength, 1)
})

test('null and undefined count as not given', (t) => {
  const parsed = parseOptions(textToImageSchema, { prompt: 'a star', negativePrompt: null, timesteps: undefined })
  t.is(parsed.negativePrompt, undefined)
  t.is(parsed.timesteps, undefined)
})

test('misspelt and Python names are answered with the right one, unrelated ones with the list', (t) => {
  const refuse = (name: string, message: RegExp): void => {
    t.throws(() => parseOptions(textToImageSchema, { prompt: 'a star', [name]: 1 }), { code: 'ERR_INVALID_ARGUMENT', message })
  }
  refuse('num_inference_steps', /^Expected 'numInferenceSteps' for the name of an option but received "num_inference_steps"$/)
  refuse('guidanceScal', /^Expected 'guidanceScale' for/)
  refuse('strength', /^Expected one of prompt, negativePrompt, .* but received "strength"$/)
})

test('every option says what it takes', (t) => {
  for (const schema of [textToImageSchema, imageToImageSchema, inpaintSchema]) {
    for (const [name, { expected, description }] of Object.entries(describeOptions(schema))) {
      t.true(expected !== '' && expected !== 'a valid value', name)
      t.regex(description, /\.$/, name)
    }
  }
})
