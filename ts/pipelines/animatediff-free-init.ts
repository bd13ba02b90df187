import type { Generator } from '../random.ts'
import { randnTensor } from '../random.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import { Scope } from '../scope.ts'
import { type FreeInit, mixFrequencies } from '../video/free-init.ts'
import { type Denoised, type DenoiseOptions, denoise } from './denoise.ts'

/** What the rounds need beside the run itself. */
export interface FreeInitRun {
  freeInit: FreeInit
  generator: Generator | Generator[]
  /** The run's own. */
  scheduler: Scheduler
  /** Sets the sampler to this many steps and gives the timesteps of a round. */
  steps: (count: number) => readonly number[]
  /** Steps of a full round. */
  count: number
}

/**
 * Runs the loop several times, each round from the low frequencies of the last result, noised, and the high ones of new noise.
 *
 * Source: diffusers free_init_utils.py `_apply_free_init`.
 */
export async function freeInitRounds(
  run: DenoiseOptions,
  { freeInit, generator, scheduler, steps, count }: FreeInitRun,
): Promise<Denoised> {
  const { numIters, useFastSampling } = freeInit
  const counts = Array.from({ length: numIters }, (_, i) =>
    useFastSampling ? Math.max(1, Math.trunc((count / numIters) * (i + 1))) : count,
  )
  using scope = new Scope()
  const first = scope.keep(run.latents.clone())
  let [finished, elapsed] = [0, 0]
  let denoised: Denoised | undefined
  for (const [round, length] of counts.entries()) {
    const latents = denoised === undefined ? run.latents : await renoise(scope.keep(denoised.latents))
    const timesteps = steps(length)
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
    if (denoised.partial || round === numIters - 1) {
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
