import type { StableDiffusionPipeline } from '../../ts/index.ts'
import { compare } from '../judge/judge.ts'
import { plainCaption, type Scene } from '../judge/scenes.ts'

const scene: Scene = {
  background: 'blue',
  objects: [{ shape: 'circle', color: 'red', size: 'large', x: 64, y: 64, r: 45 }],
  jitter: 0,
}

/** Draws one scene on the built-in model in 20 steps; gives what the judge does not find in the picture, '' if nothing. */
export async function missing(pipe: StableDiffusionPipeline, scheduler: string, { guidanceScale = 5 } = {}): Promise<string> {
  const { images } = await pipe.generate({ prompt: plainCaption(scene), scheduler, numInferenceSteps: 20, guidanceScale, seed: 4 })
  const { background, color, shape } = compare(scene, images[0])
  const parts = { background, color: color[0] === true, shape: shape[0] === true }
  return Object.entries(parts)
    .filter(([, found]) => !found)
    .map(([part]) => part)
    .join(', ')
}
