import test from 'ava'
import { StableDiffusionPipeline } from '../../ts/index.ts'
import { judge, tally } from '../judge/judge.ts'
import { Dice } from '../judge/random.ts'
import { caption, plainCaption, randomScene } from '../judge/scenes.ts'
import { allowed, amount, inBatches, needed, summary } from './measure.ts'

const pipe = await StableDiffusionPipeline.fromPretrained('shapes')
test.after.always(() => pipe.dispose())

const samplers = [
  { scheduler: 'DPM++ 2M', numInferenceSteps: 25 },
  { scheduler: 'DDIM', numInferenceSteps: 30 },
]

for (const options of samplers) {
  test.serial(`pictures show what the prompt says: ${options.scheduler}, ${options.numInferenceSteps} steps`, async (t) => {
    t.timeout(600_000)
    const dice = new Dice(100)
    const scenes = Array.from({ length: amount(40, 100) }, () => randomScene(dice))
    const images = await inBatches(
      scenes,
      async (part, seed) => (await pipe.generate({ ...options, prompt: part.map(plainCaption), seed })).images,
    )
    const right = tally(scenes, images)
    t.log(summary(right))
    // models/train/README.md: 100 % of backgrounds and colours, 99 % of shapes; 100 of 100 also fits a share of 99 %.
    for (const { right: count, of } of Object.values(right)) {
      t.true(count >= needed(of, 0.99), summary(right))
    }
  })
}

test.serial('free phrasings are understood', async (t) => {
  t.timeout(600_000)
  const dice = new Dice(101)
  const scenes = Array.from({ length: amount(20, 100) }, () => randomScene(dice))
  const prompts = scenes.map((scene) => caption(scene, dice))
  const images = await inBatches(prompts, async (prompt, seed) => (await pipe.generate({ ...samplers[0], prompt, seed })).images)
  const right = tally(scenes, images)
  t.log(summary(right))
  for (const [part, share] of Object.entries({ background: 0.89, color: 0.91, shape: 0.97 } as const)) {
    t.true(right[part as keyof typeof right].right >= needed(scenes.length, share), summary(right))
  }
})

test.serial('a negative prompt takes away what it names', async (t) => {
  t.timeout(600_000)
  const count = amount(20, 50)
  const prompts = Array.from({ length: count }, () => 'a circle on a white background')
  const red = async (negativePrompt: string): Promise<number> => {
    const images = await inBatches(prompts, async (prompt, seed) => {
      const options = { ...samplers[0], prompt, negativePrompt: prompt.map(() => negativePrompt), seed }
      return (await pipe.generate(options)).images
    })
    return images.filter((image) => judge(image).color === 'red').length
  }
  const [without, withNegative] = [await red(''), await red('red')]
  t.log(`red circles of ${count}: ${without} without, ${withNegative} with the negative prompt`)
  t.true(without >= needed(count, 17 / 50), `${without} of ${count}`) // models/train/README.md: 17 of 50
  t.true(withNegative <= allowed(count, 0.01), `${withNegative} of ${count}`) // 0 of 50
})
