import { expected } from '../errors.ts'
import { peakScale } from '../guidance/schedule.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { Call, Filled } from './call.ts'
import type { CommonOptions } from './generate-options.ts'
import { type CallEmbeds, KandinskyV22Base, type KandinskyV22Components } from './kandinsky-v22-base.ts'
import type { KandinskyEmbeds, KandinskyOptions } from './kandinsky-v22-options.ts'
import type { KandinskyNetworks } from './kandinsky-v22-starts.ts'
import { type Task, type TaskClass, taskClass } from './task.ts'

/** Pipelines of Kandinsky 2.2 that are given image embeddings. */
export abstract class KandinskyV22Decoder<O extends KandinskyOptions & KandinskyEmbeds> extends KandinskyV22Base<
  O,
  KandinskyV22Components
> {
  protected override check(options: CommonOptions): void {
    const { imageEmbeds, negativeImageEmbeds, guidanceScale } = options as unknown as Filled<O>
    const width = Number(this.unet.config.encoder_hid_dim)
    const rows = checkEmbeds(imageEmbeds, 'imageEmbeds', ['images', width])
    if (negativeImageEmbeds !== undefined || (peakScale(guidanceScale) ?? 0) > 1) {
      checkEmbeds(negativeImageEmbeds, 'negativeImageEmbeds', [rows, width])
    }
  }

  protected override count({ imageEmbeds }: O): number {
    return rowsOf(listOf(imageEmbeds))
  }

  protected override async embeds({ options, guidance }: Call<O>, scope: Scope): Promise<CallEmbeds> {
    const spread = (given: Tensor | Tensor[]): Tensor =>
      scope.keep(scope.keep(Tensor.cat(listOf(given))).repeatInterleave(options.numImagesPerPrompt, 0))
    const { imageEmbeds, negativeImageEmbeds } = options
    const guided = guidance.rows.length > 1 && negativeImageEmbeds !== undefined
    return { imageEmbeds: spread(imageEmbeds), negativeImageEmbeds: guided ? spread(negativeImageEmbeds) : undefined }
  }
}

/** The class of decoders of Kandinsky 2.2 for a task. */
export function kandinskyDecoder<O extends KandinskyOptions & KandinskyEmbeds>(
  task: Task<{ decoder: O }, KandinskyNetworks>,
): TaskClass<KandinskyV22Components, KandinskyV22Decoder<O>> {
  return taskClass(KandinskyV22Decoder, { ...task, schema: task.options.decoder })
}

function listOf(given: Tensor | readonly Tensor[]): Tensor[] {
  return given instanceof Tensor ? [given] : [...given]
}

function rowsOf(list: readonly Tensor[]): number {
  return list.reduce((sum, { shape: [rows = 0] }) => sum + rows, 0)
}

/** The number of embeddings; throws `InvalidArgumentError` for another number or width. */
function checkEmbeds(
  given: Tensor | readonly Tensor[] | undefined,
  name: string,
  [rows, width]: readonly [number | 'images', number],
): number {
  const list = given === undefined ? [] : listOf(given)
  const fits = list.every(({ shape }) => shape.length === 2 && shape[1] === width)
  const sum = fits ? rowsOf(list) : 0
  if (sum === 0 || (rows !== 'images' && sum !== rows)) {
    throw expected(`a Tensor of shape (${rows}, ${width})`, name, given)
  }
  return sum
}
