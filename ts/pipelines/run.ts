import { basename, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import type { AdaptedComponents } from '../adapters/adapted-components.ts'
import type { ControlRecord } from '../image/metadata/adapters.ts'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import { prepareConditions } from './condition.ts'
import { denoise } from './denoise.ts'
import type { Denoised } from './denoise-options.ts'
import { finish } from './finish.ts'
import type { CommonOptions, SizeOptions } from './generate-options.ts'
import { guidanceScales } from './guidance-scale.ts'
import type { PipelineAdapters } from './ip-adapters.ts'
import type { JobContext } from './job.ts'
import type { DiffusionPipeline } from './pipeline.ts'
import type { RunComponents } from './pipeline-class.ts'
import type { Encoded, Prepared } from './prepared.ts'
import { reporter } from './report.ts'
import type { GenerateResult } from './result.ts'
import { NetworksInUse, refuseHopeless, saving, savingsFor } from './savings.ts'

/** A call that is settled, and the kind of pipeline that runs it. */
export interface PlannedRun<O extends CommonOptions> {
  pipe: DiffusionPipeline<RunComponents>
  call: Call<O>
  prepare: (call: Call<O>) => Promise<Prepared>
  encode: (call: Call, prepared: Prepared) => Promise<Encoded>
  imagePrompts: PipelineAdapters
  /** The components of the call, with what acts on them. */
  adapted: AdaptedComponents<object>
  loadMs: number | undefined
  /** When the call began, as `performance.now()` tells it. */
  begun: number
  /** Ends with the run. */
  scope: Scope
}

/** The course of a call: prepares latents and conditions, encodes the prompts, denoises, decodes. */
export async function runCall<O extends CommonOptions>(
  run: PlannedRun<O>,
  { emit, signal }: JobContext<GenerateResult>,
): Promise<GenerateResult> {
  const { pipe, scope, begun } = run
  const { vae, unet, safetyChecker } = pipe.components
  refuseEarly(run)
  const prepared = await run.prepare(run.call)
  const call: Call = { ...run.call, guidance: prepared.guidance ?? run.call.guidance }
  scope.keep(prepared.latents)
  const size = { height: prepared.height, width: prepared.width, images: call.images, rows: call.guidance.rows.length }
  const savings = await savingsFor(pipe.components, size, call.options.memory)
  using networks = new NetworksInUse(pipe.components, savings)
  networks.enter('encoding')
  const { conditions, controls } = await conditionsOf(run, call, prepared, signal)
  const { conditioning, truncated, guidance = call.guidance } = await run.encode(call, prepared)
  const encoded = performance.now()
  emit({ type: 'encode', elapsedMs: encoded - begun, truncated })
  networks.enter('denoising')
  const { callbackOnStepEnd: hook, eta, onAbort } = call.options
  const denoised: Denoised = await (prepared.denoise ?? denoise)({
    ...prepared,
    conditions,
    unet: prepared.denoiser ?? (savings.saveMemory ? saving(unet) : unet),
    scheduler: call.scheduler,
    guidance,
    guidanceScales: guidanceScales(call, prepared.timesteps),
    generator: call.noise.generator,
    conditioning,
    eta,
    onAbort,
    signal,
    onStep: reporter({ call, prepared, vae, emit }),
    onStepEnd: hook && (async (index, timestep, state) => hook(pipe as unknown as DiffusionPipeline, index, timestep, state)),
  })
  scope.keep(denoised.latents)
  networks.enter('decoding')
  return await (prepared.finish ?? finish)({
    call,
    adapted: run.adapted,
    controls,
    prepared,
    denoised,
    truncated,
    timings: { load: run.loadMs, encode: encoded - begun, denoise: performance.now() - encoded },
    vae,
    savings,
    safetyChecker,
    emit,
    model: pipe.source === undefined ? unet.constructor.name : basename(resolve(pipe.source)),
    pipeline: pipe.constructor.name,
  })
}

/** Refuses a size that no saving makes fit, before any work. */
function refuseEarly<O extends CommonOptions>({ pipe, call: { options, images, guidance } }: PlannedRun<O>): void {
  const { height, width } = options as SizeOptions
  if (height !== undefined && width !== undefined) {
    refuseHopeless(pipe.components, { height, width, images, rows: guidance.rows.length })
  }
}

/** The conditions of the kind of pipeline, of its IP-Adapters and of the call, ready for the loop. */
async function conditionsOf<O extends CommonOptions>(
  { pipe, imagePrompts, scope }: PlannedRun<O>,
  { options, images, guidance }: Call,
  prepared: Prepared,
  signal: AbortSignal,
): Promise<{ conditions: NonNullable<Prepared['conditions']>; controls: ControlRecord[] }> {
  const { unet, imageEncoder } = pipe.components
  const { frames, control = [] } = prepared
  const given = {
    ...prepared,
    imageEncoder,
    unet,
    vaeScaleFactor: pipe.vaeScaleFactor,
    images: images * (frames?.count ?? 1),
    imagesPerPrompt: frames === undefined ? options.numImagesPerPrompt : 1,
    guidance,
    signal,
  }
  const all = [...control, ...imagePrompts.conditions(options, given), ...(options.conditions ?? [])]
  const ready = await prepareConditions(all, given, scope)
  const controls = all.flatMap((condition) => ('record' in condition && condition.record !== undefined ? [condition.record] : []))
  return { conditions: [...(prepared.conditions ?? []), ...ready.map((own) => frames?.perFrame(own) ?? own)], controls }
}
