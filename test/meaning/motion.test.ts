import { fileURLToPath } from 'node:url'
import test from 'ava'
import { AnimateDiffPipeline, MotionAdapter, StableDiffusionPipeline, stillMotionAdapter, type Video } from '../../ts/index.ts'
import { judge } from '../judge/judge.ts'
import { amount, needed } from './measure.ts'

const pictures = await StableDiffusionPipeline.fromPretrained('shapes')
const trained = await MotionAdapter.fromPretrained(fileURLToPath(new URL('../fixtures/adapters/motion', import.meta.url)))
const still = await stillMotionAdapter(pictures.unet)
test.after.always(() => Promise.all([pictures.dispose(), trained.dispose(), still.dispose()]))
const count = amount(20, 60)

async function videos(motionAdapter: MotionAdapter): Promise<Video[]> {
  const pipe = AnimateDiffPipeline.fromPipe(pictures, { motionAdapter })
  const made: Video[] = []
  for (let seed = 0; seed < count; seed += 5) {
    const prompt = Array.from({ length: 5 }, () => 'a shape on a white background')
    const options = { prompt, numFrames: 4, numInferenceSteps: 8, guidanceScale: 5, scheduler: 'DPM++ 2M', seed } as const
    made.push(...(await pipe.generate(options)).videos)
  }
  return made
}

/** Mean distance of neighbouring frames, in levels of 255. */
function change({ frames }: Video): number {
  const steps = frames.slice(1).map(({ data }, i) => {
    const before = frames[i]?.data ?? data
    return data.reduce((sum, value, at) => sum + Math.abs(value - (before[at] ?? 0)), 0) / data.length
  })
  return steps.reduce((sum, value) => sum + value, 0) / steps.length
}

/** Whether every neighbour of a frame shows the same colour, or the same shape. */
function pairs(all: readonly Video[], key: 'color' | 'shape'): number {
  const found = all.flatMap(({ frames }) => {
    const verdicts = frames.map((frame) => judge(frame)[key])
    return verdicts.slice(1).map((verdict, i) => verdict !== undefined && verdict === verdicts[i])
  })
  return found.filter(Boolean).length
}

test.serial('trained motion modules make neighbouring frames alike, in colours and shapes that the prompt leaves open', async (t) => {
  t.timeout(600_000)
  const [moving, alone] = [await videos(trained), await videos(still)]
  const calmer = moving.filter((video, i) => change(video) < change(alone[i] ?? video)).length
  const of = 3 * count
  const [color, shape, anyColor, anyShape] = [pairs(moving, 'color'), pairs(moving, 'shape'), pairs(alone, 'color'), pairs(alone, 'shape')]
  t.log(
    `${calmer} of ${count} videos change less from frame to frame; of ${of} pairs of frames ${color} have one colour and ${shape} one shape, without motion modules ${anyColor} and ${anyShape}`,
  )
  t.true(calmer >= needed(count, 0.8), `${calmer} of ${count}`)
  t.true(shape >= anyShape * 2, `${shape} and ${anyShape} of ${of}`) // measured: more than four times as many
  t.true(color > anyColor, `${color} and ${anyColor} of ${of}`)
})
