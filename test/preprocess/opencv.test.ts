import { readFile } from 'node:fs/promises'
import test from 'ava'
import type { Pixels } from '../../ts/image/pixels.ts'
import { cannyEdges } from '../../ts/preprocess/canny.ts'
import type { Plane } from '../../ts/preprocess/gaussian.ts'
import { growMask } from '../../ts/preprocess/masks.ts'
import { resizeArea, resizeLanczos4 } from '../../ts/preprocess/opencv-resize.ts'
import { warp } from '../../ts/preprocess/shuffle.ts'
import { scribble } from '../../ts/preprocess/xdog.ts'

type Sized = { width: number; height: number; output: string }
type Case = {
  width: number
  height: number
  input: string
  canny: { low: number; high: number; output: string }[]
  scribble: string
  area: Sized[]
  lanczos4: Sized[]
  dilate: { radius: number; output: string }[]
  erode: { radius: number; output: string }[]
  shuffle: { scale: number; noise: string[]; output: string }
}

const { cases } = JSON.parse(await readFile(new URL('../fixtures/preprocess/opencv.json', import.meta.url), 'utf8')) as { cases: Case[] }
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'))
const picture = ({ width, height, input }: Case): Pixels => ({ width, height, channels: 3, data: bytes(input) })

const mask = ({ width, height, scribble: data }: Case): Pixels => ({ width, height, channels: 1, data: bytes(data) })
const grey = ({ data }: { data: Uint8Array }): Uint8Array => data.filter((_, i) => i % 3 === 0)

/** Bytes that differ, and by how much at most. */
function differences(actual: Uint8Array, wanted: Uint8Array): { length: number; count: number; most: number } {
  const far = Array.from(actual, (value, i) => Math.abs(value - (wanted[i] ?? 1000)))
  return { length: actual.length - wanted.length, count: far.filter((value) => value > 0).length, most: Math.max(...far) }
}
const none = { length: 0, count: 0, most: 0 }

for (const item of cases) {
  const name = `${item.width}x${item.height}`
  for (const { low, high, output } of item.canny) {
    test(`canny ${low}/${high} of ${name} is OpenCV’s to the bit`, async (t) => {
      const { data } = await cannyEdges(picture(item), low, high)
      t.deepEqual(differences(data, bytes(output)), none)
      t.true(data.includes(255))
    })
  }
  for (const { width, height, output } of item.area) {
    test(`area ${name} to ${width}x${height} is OpenCV’s`, async (t) => {
      t.deepEqual(differences((await resizeArea(picture(item), width, height)).data, bytes(output)), none)
    })
  }
  for (const { width, height, output } of item.lanczos4) {
    test(`lanczos4 ${name} to ${width}x${height} is OpenCV’s`, async (t) => {
      t.deepEqual(differences((await resizeLanczos4(picture(item), width, height)).data, bytes(output)), none)
    })
  }
  test(`scribble of ${name} is OpenCV’s`, async (t) => {
    const { data } = await scribble(picture(item))
    t.deepEqual(differences(grey({ data }), bytes(item.scribble)), none)
  })
  for (const { radius, output } of item.dilate) {
    test(`a mask of ${name} grown by ${radius} is OpenCV’s`, async (t) => {
      t.deepEqual(differences(grey(await growMask(mask(item), radius)), bytes(output)), none)
    })
  }
  for (const { radius, output } of item.erode) {
    test(`a mask of ${name} narrowed by ${radius} is OpenCV’s`, async (t) => {
      const inverse = { ...mask(item), data: bytes(item.scribble).map((value) => 255 - value) }
      t.deepEqual(differences(grey(await growMask(inverse, -radius)), bytes(output)), none)
    })
  }
  test(`shuffling ${name} is OpenCV’s`, async (t) => {
    const { scale, noise, output } = item.shuffle
    const [across, down] = noise.map((text) => ({
      width: Math.floor(item.width / scale) + 2,
      height: Math.floor(item.height / scale) + 2,
      data: new Float32Array(bytes(text).buffer),
    }))
    const { data } = await warp(picture(item), across as Plane, down as Plane, scale)
    const { length, count, most } = differences(data, bytes(output))
    t.true(length === 0 && count <= 2 && most <= 1, `${count} bytes, ${most}`) // f32 against f64 where a value lies on a rounding border
  })
}
