import { expected } from '../errors.ts'
import type { Generator } from '../random.ts'
import { randnTensor } from '../random.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import { Scope } from '../scope.ts'
import { type FreeInit, mixFrequencies } from '../video/free-init.ts'
import { denoise } from './denoise.ts'
import type { Denoised, DenoiseOptions } from './denoise-options.ts'

/** How the sampler goes through a round. */
export interface FreeInitSteps {
  /** Sets the sampler to this many steps and gives the timesteps of a round. */
  set: (count: number) => readonly number[]
  /** Steps of the first round, before `useFastSampling`. */
  count: number
  /** Above 0 to 1: each round leaves this share of the last one's steps, as video to video does. @default every round has `count` */
  strength?: number
}

/** What the rounds need beside the run itself. */
export interface FreeInitRun {
  freeInit: FreeInit
  generator: Generator | Generator[]
  /** The run's own. */
  scheduler: Scheduler
  steps: FreeInitSteps
  /** Steps of each round, of `freeInitCounts`. */
  counts: readonly number[]
}

/**
 * The steps that the sampler is set to in each round; throws `InvalidArgumentError` where the strength would leave a round without any.
 *
 * Source: diffusers free_init_utils.py `_apply_free_init`, and the loop of pipeline_animatediff_video2video.py, which sets each round by the steps
 * that the strength left of the last one.
 */
export function freeInitCounts({ numIters, useFastSampling }: FreeInit, { count, strength }: FreeInitSteps): number[] {
  const counts: number[] = []
  let left = count
  for (let round = 1; round <= numIters; round += 1) {
    const length = useFastSampling ? Math.max(1, Math.trunc((left / numIters) * round)) : left
    left = strength === undefined ? count : Math.trunc(length * strength)
    if (left < 1) {
      throw expected(`fewer rounds, more steps or a higher strength, so that round ${round} has a step,`, 'freeInit.numIters', numIters)
    }
    counts.push(length)
  }
  return counts
}

/**
 * Runs the loop several times, each round from the low frequencies of the last result, noised, and the high ones of new noise.
 *
 * Source: diffusers free_init_utils.py `_apply_free_init`.
 */
export async function freeInitRounds(
  run: DenoiseOptions,
  { freeInit, generator, scheduler, steps, counts }: FreeInitRun,
): Promise<Denoised> {
  using scope = new Scope()
  const first = scope.keep(run.latents.clone())
  let [finished, elapsed] = [0, 0]
  let denoised: Denoised | undefined
  for (const [round, length] of counts.entries()) {
    const latents = denoised === undefined ? run.latents : await renoise(scope.keep(denoised.latents))
    const timesteps = steps.set(length)
    const total = counts.reduce((sum, other) => sum + Math.round((other * timesteps.length) / length), 0)
    const [before, spent] = [finished, elapsed]
    denoised = await denoise({
      ...run,
      latents,
      timesteps,
      onStep: async (report) => {
        elapsed = spent + report.elapsedMs
        await run.onStep?.({ ...report, index: before + report.index, total, elapsedMs: elapsed })
      },
    })
    finished += denoised.steps
    if (denoised.partial || round === counts.length - 1) {
      return { ...denoised, steps: finished }
    }
  }
  throw new Error('unreachable: there is at least one round')

  async function renoise(latents: Denoised['latents']): Promise<Denoised['latents']> {
    const last = Number(scheduler.config.num_train_timesteps) - 1
    const noised = scope.keep(
      scheduler.addNoise(
        latents,
        first,
        Array.from({ length: latents.shape[0] ?? 1 }, () => last),
      ),
    )
    return mixFrequencies(noised, scope.keep(randnTensor(latents.shape, generator)), freeInit)
  }
}
