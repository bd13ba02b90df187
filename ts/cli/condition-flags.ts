import { type Command, Option } from 'commander'
import type { HubOptions } from '../hub/settings.ts'
import { type ImageInput, loadImage } from '../image/load-image.ts'
import { ControlNetModel } from '../models/controlnet.ts'
import { ControlNetUnionModel } from '../models/controlnet-union.ts'
import { readConfig } from '../models/load.ts'
import { openSource } from '../models/source.ts'
import { T2IAdapter } from '../models/t2i-adapter.ts'
import type { Condition } from '../pipelines/condition.ts'
import { controlNet, controlNetUnion } from '../pipelines/controlnet-condition.ts'
import type { DiffusionPipeline } from '../pipelines/pipeline.ts'
import { t2iAdapter } from '../pipelines/t2i-adapter-condition.ts'
import { UsageError } from './exit.ts'
import { checkModel, filePlace } from './file-place.ts'
import { hubOptions } from './hub-flags.ts'

const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value]

/** Adds the flags of ControlNets and image prompts to `generate`. */
export function addConditionFlags(command: Command): void {
  command
    .option('--controlnet <model>', 'follow a --control-image through this ControlNet or T2I-Adapter; may be repeated', collect)
    .option('--control-image <picture>', 'what to follow, one for each --controlnet', collect)
    .option('--control-scale <number>', 'strength of the control, one for each --controlnet (default: 1)', collect)
    .option('--control-mode <number>', 'kind of the control image of a union ControlNet, one for each --controlnet (default: 0)', collect)
    .option(
      '--ip-adapter <file>',
      'IP-Adapter for --image-prompt and --negative-image: a file with the folder image_encoder beside it, or org/name/FILE of the hub',
    )
    .option('--image-prompt <picture>', 'what the picture should resemble; may be repeated', collect)
    .addOption(new Option('--ip-adapter-image <picture>').argParser(collect).hideHelp())
    .option('--negative-image <picture>', 'what it should not resemble; may be repeated', collect)
    .option('--ip-scale <number>', 'strength of the image prompts against the text (default: 1)')
}

/** What the flags ask for, its pictures read; applied once the pipeline is there. */
export interface ConditionCall {
  /** Loads the networks; gives options for `generate` and how to free what was loaded. */
  apply(pipe: DiffusionPipeline, signal: AbortSignal): Promise<{ options: Record<string, unknown>; dispose: () => void }>
}

/** Reads the flags and their pictures; throws `UsageError` where they do not fit each other. */
export async function readConditions(flags: Record<string, unknown>): Promise<ConditionCall> {
  const list = (name: string): string[] => (flags[name] as string[] | undefined) ?? []
  const [nets, images] = [list('controlnet'), list('controlImage')]
  if (nets.length !== images.length) {
    throw new UsageError(`Expected as many --control-image as --controlnet but received ${images.length} and ${nets.length}`)
  }
  await Promise.all(nets.map((net) => checkModel(net, '--controlnet')))
  const scales = numbers('--control-scale', list('controlScale'), nets.length, 1)
  const modes = numbers('--control-mode', list('controlMode'), nets.length, 0)
  const { ipAdapter, ipScale } = flags as { ipAdapter?: string; ipScale?: string }
  const [prompts, negatives] = [[...list('imagePrompt'), ...list('ipAdapterImage')], list('negativeImage')]
  if (ipAdapter === undefined && prompts.length + negatives.length > 0) {
    throw new UsageError(
      `Expected --ip-adapter <file> with ${prompts.length > 0 ? '--image-prompt' : '--negative-image'}, but it was not given`,
    )
  }
  if (ipAdapter !== undefined && prompts.length + negatives.length === 0) {
    throw new UsageError('Expected --image-prompt or --negative-image with --ip-adapter, but neither was given')
  }
  const place = ipAdapter === undefined ? undefined : await filePlace(ipAdapter, '--ip-adapter')
  const { cacheDir, localFilesOnly } = hubOptions(flags)
  const [strength = 1] = numbers('--ip-scale', ipScale === undefined ? [] : [ipScale], 1, 1)
  const read = (paths: string[], name: string): Promise<ImageInput[]> => Promise.all(paths.map((path) => loadImage(path, { name })))
  const controls = await read(images, '--control-image')
  const positive = await read(prompts, '--image-prompt')
  const negative = await read(negatives, '--negative-image')
  return {
    async apply(pipe, signal) {
      const loaded = await Promise.all(
        [...new Set(nets)].map((net) => {
          const own = controls.map((image, i) => ({ image, scale: scales[i] ?? 1, mode: modes[i] ?? 0 })).filter((_, i) => nets[i] === net)
          return loadControl(net, own, { cacheDir, localFilesOnly, signal })
        }),
      )
      if (place !== undefined) {
        const { source, subfolder, weightName } = place
        await pipe.loadIpAdapter(source, { subfolder, weightName, cacheDir, localFilesOnly, signal })
        pipe.setIpAdapterScale(strength)
      }
      return {
        options: {
          ...(loaded.length > 0 && { conditions: loaded.flatMap(({ conditions }) => conditions) }),
          ...(positive.length > 0 && { ipAdapterImage: [positive] }),
          ...(negative.length > 0 && { negativeIpAdapterImage: [negative] }),
        },
        dispose: () => {
          for (const { model } of loaded) {
            model.dispose()
          }
        },
      }
    },
  }
}

/** A picture to follow. */
type Control = { image: ImageInput; scale: number; mode: number }

/** Loads a network of the class that its config names, for all pictures that it follows; a union ControlNet reads them together. */
async function loadControl(
  source: string,
  controls: readonly Control[],
  hub: HubOptions & { signal: AbortSignal },
): Promise<{ model: { dispose(): void }; conditions: Condition[] }> {
  const folder = await (await openSource(source, hub)).fetch({ folders: [''] })
  const { _class_name: name } = await readConfig(folder)
  if (name === 'T2IAdapter') {
    const model = await T2IAdapter.fromPretrained(source, hub)
    return { model, conditions: controls.map(({ image, scale }) => t2iAdapter(model, { image, scale })) }
  }
  if (name === 'ControlNetUnionModel') {
    const model = await ControlNetUnionModel.fromPretrained(source, hub)
    const [images, modes, scale] = [controls.map(({ image }) => image), controls.map(({ mode }) => mode), controls.map((own) => own.scale)]
    return { model, conditions: [controlNetUnion(model, { images, modes, scale })] }
  }
  const model = await ControlNetModel.fromPretrained(source, hub)
  return { model, conditions: controls.map(({ image, scale }) => controlNet(model, { image, scale })) }
}

function numbers(flag: string, texts: readonly string[], count: number, fallback: number): number[] {
  const values = texts.map(Number)
  const bad = texts.find((text, i) => text.trim() === '' || !Number.isFinite(values[i]))
  if (bad !== undefined) {
    throw new UsageError(`Expected a number for ${flag} but received ${JSON.stringify(bad)}`)
  }
  if (values.length > count || (values.length > 1 && values.length !== count)) {
    throw new UsageError(`Expected at most ${count} values for ${flag} but received ${values.length}`)
  }
  return Array.from({ length: count }, (_, i) => values[i] ?? values[0] ?? fallback)
}
