import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { CLIPImageProcessor, type ResampleFilter, type ResizeMode, VaeImageProcessor } from '../../ts/index.ts'
import { packFolder, readSafetensors, type Stored } from './pack.ts'

type Row = {
  key: string
  height?: number
  width?: number
  size?: number
  resize_mode?: ResizeMode
  init?: {
    resample?: ResampleFilter
    do_normalize?: boolean
    do_binarize?: boolean
    do_convert_grayscale?: boolean
    do_convert_rgb?: boolean
  }
  error?: string
}

const folder = packFolder()
const list = folder === undefined ? '' : join(folder, 'pipelines', 'image_processor.json')
const rows = existsSync(list) ? (JSON.parse(await readFile(list, 'utf8')) as Row[]) : []
const tensors = rows.length > 0 ? await readSafetensors(list.replace(/json$/, 'safetensors')) : new Map<string, Stored>()

const known = new Set(['resample', 'do_normalize', 'do_binarize', 'do_convert_grayscale', 'do_convert_rgb'])

function stored(name: string): Stored {
  const found = tensors.get(name)
  if (found === undefined) {
    throw new Error(`the pack has no tensor ${name}`)
  }
  return found
}

function worst(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  return Array.from(expected).reduce((sum, value, i) => Math.max(sum, Math.abs(value - (actual[i] ?? Number.NaN))), 0)
}

function input(key: string): { width: number; height: number; data: Uint8Array } {
  const { shape, data } = stored(`${key}/in`)
  return { width: shape[1] ?? 0, height: shape[0] ?? 0, data: data as Uint8Array }
}

for (const row of rows) {
  const { key, init = {}, height, width, resize_mode } = row
  const vae = tensors.has(`${key}/preprocessed`) && key.startsWith('vae') && Object.keys(init).every((name) => known.has(name))
  const clip = tensors.has(`${key}/pixel_values`)
  if (vae) {
    test(`VaeImageProcessor ${key} as diffusers has it`, async (t) => {
      const processor = new VaeImageProcessor({
        ...(init.resample === undefined ? {} : { resample: init.resample }),
        doNormalize: init.do_normalize ?? true,
        doBinarize: init.do_binarize ?? false,
        doConvertGrayscale: init.do_convert_grayscale ?? false,
      })
      const size = { ...(height === undefined ? {} : { height }), ...(width === undefined ? {} : { width }) }
      const tensor = await processor.preprocess(input(key), { ...size, ...(resize_mode === undefined ? {} : { resizeMode: resize_mode }) })
      const expected = stored(`${key}/preprocessed`)
      t.deepEqual([...tensor.shape], expected.shape)
      const values = tensor.toArray() as Float32Array
      t.true(worst(values, expected.data) < 1e-6) // the same pixels: only the last bit of the division may differ
      if (tensors.has(`${key}/postprocessed_u8`)) {
        const [image] = await processor.postprocess(tensor)
        t.is(worst(image?.data ?? [], stored(`${key}/postprocessed_u8`).data), 0)
      }
    })
  } else if (clip) {
    test(`CLIPImageProcessor ${key} as transformers has it`, async (t) => {
      const tensor = await new CLIPImageProcessor({ size: row.size ?? 224 }).preprocess(input(key))
      const expected = stored(`${key}/pixel_values`)
      t.deepEqual([...tensor.shape], expected.shape)
      t.true(worst(tensor.toArray() as Float32Array, expected.data) < 1.01 / 255 / 0.26) // pixels within 1 of 255, divided by the smallest std
    })
  } else {
    test.skip(`${key}: not covered`, () => {})
  }
}

if (rows.length === 0) {
  test.skip('no golden values of the image processors here', () => {})
}
