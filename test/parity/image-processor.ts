import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  CLIPImageProcessor,
  IPAdapterMaskProcessor,
  type RawImage,
  type ResizeMode,
  Tensor,
  VaeImageProcessor,
  type VaeImageProcessorConfig,
} from '../../ts/index.ts'
import { camelCase } from './pipeline-cases.ts'
import type { Tally } from './tally.ts'

type Row = {
  key: string
  h: number
  w: number
  height?: number
  width?: number
  size?: number
  resize_mode?: ResizeMode
  init?: Record<string, unknown>
  n?: number
  num_queries?: number[]
  error?: unknown
}

/** One level of 8 bits: the tolerance of resized pictures, whose filters work in fixed point. */
const level = 1 / 255

/** CLIP's smallest standard deviation, by which a level grows. */
const clipStd = 0.26130258

/** Runs the stored calls of the image processors. */
export async function parityImageProcessor(folder: string, tally: Tally): Promise<void> {
  const path = join(folder, 'image_processor.json')
  if (!existsSync(path)) {
    return
  }
  const rows = JSON.parse(await readFile(path, 'utf8')) as Row[]
  const tensors = await Tensor.loadSafetensors(join(folder, 'image_processor.safetensors'))
  for (const row of rows) {
    await tally.run(`image_processor ${row.key}`, async () => {
      const kind = /^[a-z]+/.exec(row.key)?.[0]
      if (kind === 'vae') {
        return compareVae(row, tensors, tally)
      }
      if (kind === 'clip') {
        return compareClip(row, tensors, tally)
      }
      return kind === 'ipmask' ? compareMasks(row, tensors, tally) : `no processor for ${kind}`
    })
  }
}

async function compareVae(row: Row, tensors: Record<string, Tensor>, tally: Tally): Promise<undefined> {
  const { do_convert_rgb: _, ...init } = row.init ?? {}
  const config = Object.fromEntries(Object.entries(init).map(([name, value]) => [camelCase(name), value])) as VaeImageProcessorConfig
  const processor = new VaeImageProcessor(config)
  const { height, width, resize_mode: resizeMode } = row
  const preprocessed = await processor.preprocess(picture(tensors[`${row.key}/in`]), { height, width, resizeMode })
  const wanted = tensors[`${row.key}/preprocessed`]
  const resized = String(wanted?.shape.slice(2)) !== String([row.h, row.w])
  tally.near('preprocessed', preprocessed, wanted, resized ? 1.001 * level * (processor.config.doNormalize ? 2 : 1) : 1e-6)
  const bytes = tensors[`${row.key}/postprocessed_u8`]
  if (bytes !== undefined && wanted !== undefined) {
    const images = await processor.postprocess(wanted)
    const stacked = Tensor.stack(images.map(({ data, height, width }) => Tensor.from(data, [height, width, 3])))
    tally.near('postprocessed', stacked.to('f32').div(255), bytes.to('f32').div(255), 1e-6)
  }
}

async function compareClip(row: Row, tensors: Record<string, Tensor>, tally: Tally): Promise<undefined> {
  const values = await new CLIPImageProcessor({ size: row.size }).preprocess(picture(tensors[`${row.key}/in`]))
  const wanted = tensors[`${row.key}/pixel_values`]
  const scale = wanted?.abs().max().item() ?? 1
  tally.near('pixel_values', values, wanted, (1.001 * level) / clipStd / Math.max(1, scale))
}

async function compareMasks(row: Row, tensors: Record<string, Tensor>, tally: Tally): Promise<undefined> {
  const given = Array.from({ length: row.n ?? 0 }, (_, i) => picture(tensors[`${row.key}/in.${i}`]))
  const masks = await new IPAdapterMaskProcessor().preprocess(given, { height: row.height, width: row.width })
  tally.near('preprocessed', masks, tensors[`${row.key}/preprocessed`], 1e-6)
  for (const queries of row.num_queries ?? []) {
    const wanted = tensors[`${row.key}/downsampled_${queries}`]
    const small = IPAdapterMaskProcessor.downsample(masks.slice(0, 0, 1), 0, queries)
    tally.near(`downsampled to ${queries}`, small.repeat([wanted?.shape[0] ?? 1, 1, wanted?.shape[2] ?? 1]), wanted, 1e-5)
  }
}

function picture(tensor: Tensor | undefined): RawImage {
  const [height = 0, width = 0] = tensor?.shape ?? []
  return { width, height, data: tensor?.toArray() as Uint8Array }
}
