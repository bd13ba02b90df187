import test from 'ava'
import { StableDiffusionPipeline, type TextToImageOptions } from '../../ts/index.ts'
import { judge, type Verdict } from '../judge/judge.ts'
import { allowed, amount, needed } from './measure.ts'

const pipe = await StableDiffusionPipeline.fromPretrained('shapes')
test.after.always(() => pipe.dispose())

const count = amount(20, 50)
const white = 'on a white background'

/** Judges pictures of `count` seeds. */
async function judged(options: TextToImageOptions): Promise<Verdict[]> {
  const verdicts: Verdict[] = []
  for (let seed = 500; seed < 500 + count; seed += 10) {
    const common = { numInferenceSteps: 15, scheduler: 'DPM++ 2M', promptSyntax: 'a1111', numImagesPerPrompt: 10, seed } as const
    const { images } = await pipe.generate({ ...common, ...options, outputType: 'image' })
    verdicts.push(...images.map((image) => judge(image)))
  }
  return verdicts
}

const share = (verdicts: readonly Verdict[], part: 'color' | 'shape' | 'background', wanted: string): number =>
  verdicts.filter((verdict) => verdict[part] === wanted).length

// The shares below were measured on seeds 500 to 519: the counts stand beside them.
test.serial('a schedule takes its second text from the step that it names', async (t) => {
  t.timeout(600_000)
  const blue = async (when: string): Promise<number> =>
    share(await judged({ prompt: `a [red:blue:${when}] circle ${white}` }), 'color', 'blue')
  const [early, never] = [await blue('0.3'), await blue('1.0')]
  t.log(`blue circles of ${count}: ${early} with [red:blue:0.3], ${never} with [red:blue:1.0]`)
  t.true(early >= needed(count, 0.95)) // 19 of 20 even with [red:blue:0.5]
  t.true(never <= allowed(count, 0.01)) // 0 of 20
})

test.serial('alternating texts share the pictures', async (t) => {
  t.timeout(600_000)
  const verdicts = await judged({ prompt: `a [red|blue] circle ${white}` })
  const [red, blue] = [share(verdicts, 'color', 'red'), share(verdicts, 'color', 'blue')]
  t.log(`of ${count} pictures of [red|blue]: ${red} red, ${blue} blue`)
  t.true(red >= needed(count, 7 / 20) && blue >= needed(count, 13 / 20)) // 7 and 13 of 20
  t.true(red + blue >= needed(count, 0.95)) // 20 of 20
})

test.serial('AND brings two conditions together, and takes one away at a negative weight', async (t) => {
  t.timeout(600_000)
  const whites = async (prompt: string): Promise<number> =>
    (await judged({ prompt })).filter(({ color, background }) => color === 'red' && background === 'white').length
  const [both, alone] = [await whites('a red circle AND a white background'), await whites('a red circle')]
  t.log(`red circles on white of ${count}: ${both} with AND, ${alone} without its second part`)
  t.true(both >= needed(count, 0.95)) // 20 of 20
  t.true(alone <= allowed(count, 0.05)) // 0 of 20
  const reds = async (prompt: string): Promise<number> => share(await judged({ prompt }), 'color', 'red')
  const [plain, minus] = [await reds(`a circle ${white}`), await reds(`a circle ${white} AND red :-0.5`)]
  t.log(`red circles of ${count}: ${plain}, and ${minus} with AND red :-0.5`)
  t.true(plain >= needed(count, 9 / 20)) // 9 of 20
  t.true(minus <= allowed(count, 0.02)) // 0 of 20
})

const emphasis = {
  a1111: (text: string) => `(${text}:1.5)`,
  lpw: (text: string) => `(${text}:1.5)`,
  compel: (text: string) => `(${text})1.5`,
}
for (const [promptSyntax, strong] of Object.entries(emphasis)) {
  test.serial(`weights decide between two shapes: ${promptSyntax}`, async (t) => {
    t.timeout(600_000)
    const syntax = promptSyntax as keyof typeof emphasis
    const circles = share(await judged({ prompt: `a ${strong('circle')} or a square ${white}`, promptSyntax: syntax }), 'shape', 'circle')
    const squares = share(await judged({ prompt: `a circle or a ${strong('square')} ${white}`, promptSyntax: syntax }), 'shape', 'square')
    t.log(`of ${count} each: ${circles} circles where the circle counts 1.5 times, ${squares} squares where the square does`)
    t.true(circles >= needed(count, 0.95)) // 20 of 20
    t.true(squares >= needed(count, 17 / 20)) // 18 and 17 of 20
  })
}

test.serial('a negative prompt that comes late takes away less', async (t) => {
  t.timeout(600_000)
  const reds = async (negativePromptFrom: number): Promise<number> =>
    share(await judged({ prompt: `a circle ${white}`, negativePrompt: 'red', negativePromptFrom }), 'color', 'red')
  const [always, late] = [await reds(0), await reds(0.8)]
  t.log(`red circles of ${count}: ${always} with the negative prompt "red", ${late} where it begins at 0.8 of the run`)
  t.true(always <= allowed(count, 0.02)) // 0 of 20
  t.true(late >= needed(count, 6 / 20)) // 6 of 20
})
