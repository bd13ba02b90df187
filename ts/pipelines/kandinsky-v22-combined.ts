import type { CLIPImageProcessor } from '../image/clip-image-processor.ts'
import type { CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import type { CLIPVisionModelWithProjection } from '../models/clip-vision-model.ts'
import type { PriorTransformer } from '../models/prior-transformer.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import { type CallEmbeds, KandinskyV22Base, type KandinskyV22Components } from './kandinsky-v22-base.ts'
import { downloadConnected, loadConnected, type PriorSource } from './kandinsky-v22-connected.ts'
import { drawImageEmbeds, type PriorNetworks, promptLists } from './kandinsky-v22-embeds.ts'
import type { KandinskyCombinedOptions } from './kandinsky-v22-options.ts'
import { decoderSlots, priorSlots } from './kandinsky-v22-slots.ts'
import type { KandinskyNetworks } from './kandinsky-v22-starts.ts'
import { kandinskyImage, kandinskyInpainting, kandinskyText } from './kandinsky-v22-tasks.ts'
import type { DownloadOptions, LoadedComponents, PipelineLoadOptions } from './load.ts'
import type { OpenedModel } from './model-index.ts'
import type { Slots } from './slot.ts'
import { type Task, type TaskClass, taskClass } from './task.ts'

/** Components of a decoder and its prior. */
export interface KandinskyV22CombinedComponents extends KandinskyV22Components {
  priorPrior: PriorTransformer
  priorImageEncoder: CLIPVisionModelWithProjection
  priorTextEncoder: CLIPTextModelWithProjection
  priorTokenizer: CLIPTokenizer
  priorScheduler: Scheduler
  priorImageProcessor?: CLIPImageProcessor | null
  /** Only while loading: where the prior is. @default the one in the folder, or that its README names */
  prior?: PriorSource
}

/** What the pipelines that hold a prior and a decoder share: texts become image embeddings first, from the same generators. */
abstract class KandinskyV22Combined<O extends KandinskyCombinedOptions> extends KandinskyV22Base<O, KandinskyV22CombinedComponents> {
  static override readonly slots: Slots = { ...decoderSlots, ...priorSlots('prior_') }

  static override loadParts(
    source: string | OpenedModel,
    options: PipelineLoadOptions & Record<string, unknown>,
  ): Promise<LoadedComponents> {
    // biome-ignore lint/complexity/noThisInStatic: the subclass it is called on
    return loadConnected(source, this, options)
  }

  static override downloadParts(source: string | OpenedModel, options?: DownloadOptions): Promise<string> {
    // biome-ignore lint/complexity/noThisInStatic: the subclass it is called on
    return downloadConnected(source, this, options)
  }

  /** The prior's networks. */
  get priorNetworks(): PriorNetworks {
    const { priorPrior, priorImageEncoder, priorTextEncoder, priorTokenizer, priorScheduler } = this.components
    return {
      prior: priorPrior,
      imageEncoder: priorImageEncoder,
      textEncoder: priorTextEncoder,
      tokenizer: priorTokenizer,
      scheduler: priorScheduler,
    }
  }

  protected override count({ prompt, negativePrompt }: O): number {
    return promptLists(prompt, negativePrompt).prompts.length
  }

  protected override async embeds({ options, noise, signal }: Call<O>, scope: Scope): Promise<CallEmbeds> {
    const { prompt, negativePrompt, priorNumInferenceSteps = 25, priorGuidanceScale = 4, numImagesPerPrompt } = options
    const drawn = await drawImageEmbeds(this.priorNetworks, {
      ...promptLists(prompt, negativePrompt),
      imagesPerPrompt: numImagesPerPrompt,
      steps: priorNumInferenceSteps,
      guidanceScale: priorGuidanceScale,
      noise,
      signal,
    })
    scope.keep(drawn.imageEmbeds)
    scope.keep(drawn.negativeImageEmbeds)
    return drawn
  }
}

/** The class of priors with decoders of Kandinsky 2.2 for a task. */
function kandinskyCombined<O extends KandinskyCombinedOptions>(
  task: Task<{ combined: O }, KandinskyNetworks>,
): TaskClass<KandinskyV22CombinedComponents, KandinskyV22Combined<O>> {
  return taskClass(KandinskyV22Combined, { ...task, schema: task.options.combined })
}

/** Text to image with Kandinsky 2.2: prior and decoder in one. Source: diffusers `KandinskyV22CombinedPipeline`. */
export class KandinskyV22CombinedPipeline extends kandinskyCombined(kandinskyText) {}

/** Image to image with Kandinsky 2.2: prior and decoder in one. Source: diffusers `KandinskyV22Img2ImgCombinedPipeline`. */
export class KandinskyV22Img2ImgCombinedPipeline extends kandinskyCombined(kandinskyImage) {}

/** Inpainting with Kandinsky 2.2: prior and decoder in one. Source: diffusers `KandinskyV22InpaintCombinedPipeline`. */
export class KandinskyV22InpaintCombinedPipeline extends kandinskyCombined(kandinskyInpainting) {}
