import { Mask } from './mask.ts'
import type { Scene } from './scenes.ts'
import { type Color, colors, type Gradient, gradients, type Picture, type Shape, shapeDistance, shapes } from './shapes.ts'

/** What a picture shows; the object's fields are undefined where none is found. `iou` and `area` are shares, `center` is in pixels. */
export type Verdict = {
  background: Color | Gradient
  color?: Color
  shape?: Shape
  iou: number
  area: number
  center?: [number, number]
}

/** The background's name and its colour in every row. */
type Background = { name: Color | Gradient; rows: number[][] }

const templateSize = 48
/** Every shape, drawn large and cut to its box. */
const templates = new Map(
  shapes.map((shape) => [shape, new Mask(261, 261, (x, y) => shapeDistance(shape, x - 130, y - 130, 100) < 0).cut(templateSize)]),
)

const pixel = ({ width, data }: Picture, x: number, y: number): number[] =>
  Array.from(data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3))
const distance = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, i) => sum + Math.abs(value - (b[i] ?? 0)), 0)

function median(values: number[]): number {
  const sorted = Float64Array.from(values).sort()
  const middle = (sorted.length - 1) / 2
  return ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle)] ?? 0)) / 2
}

const medianColor = (pixels: number[][]): number[] => [0, 1, 2].map((c) => median(pixels.map((rgb) => rgb[c] ?? 0)))

function nearest<N extends string>(color: readonly number[], palette: Record<N, readonly number[]>): N {
  const names = Object.keys(palette) as N[]
  return names.reduce((best, name) => (distance(color, palette[name]) < distance(color, palette[best]) ? name : best))
}

function pixelsWhere(picture: Picture, wanted: (x: number, y: number) => boolean): number[][] {
  const found: number[][] = []
  for (let y = 0; y < picture.height; y++) {
    for (let x = 0; x < picture.width; x++) {
      if (wanted(x, y)) {
        found.push(pixel(picture, x, y))
      }
    }
  }
  return found
}

function findBackground(picture: Picture): Background {
  const { width, height } = picture
  const top = medianColor(pixelsWhere(picture, (_, y) => y < 4))
  const bottom = medianColor(pixelsWhere(picture, (_, y) => y >= height - 4))
  if (distance(top, bottom) > 120) {
    const both = Object.fromEntries(Object.entries(gradients).map(([name, ends]) => [name, ends.flat()])) as Record<Gradient, number[]>
    const at = (y: number): number[] => top.map((value, c) => value + (((bottom[c] ?? 0) - value) * (y + 0.5)) / height)
    return { name: nearest([...top, ...bottom], both), rows: Array.from({ length: height }, (_, y) => at(y)) }
  }
  const rows = [...pixelsWhere(picture, (_, y) => y < 4), ...pixelsWhere(picture, (_, y) => y >= height - 4)]
  const columns = pixelsWhere(picture, (x) => x < 4 || x >= width - 4)
  const color = medianColor([...rows, ...columns])
  return { name: nearest<Color>(color, colors), rows: Array.from({ length: height }, () => color) }
}

function overlap(a: Mask, b: Mask): number {
  const both = a.data.reduce((sum, value, i) => sum + (value & (b.data[i] ?? 0)), 0)
  return both / (a.count + b.count - both)
}

/** Judges one object by palette distance and overlap with the templates. Source: models/train/judge.py `judge`. */
export function judge(picture: Picture, { name, rows }: Background = findBackground(picture)): Verdict {
  const { width, height } = picture
  const away = new Float64Array(width * height)
  for (let i = 0; i < away.length; i++) {
    const row = rows[Math.floor(i / width)]
    for (let c = 0; c < 3; c++) {
      away[i] = (away[i] ?? 0) + Math.abs((picture.data[i * 3 + c] ?? 0) - (row?.[c] ?? 0))
    }
  }
  const at = (x: number, y: number): number => away[y * width + x] ?? 0
  const verdict: Verdict = { background: name, iou: 0, area: 0 }
  const first = new Mask(width, height, (x, y) => at(x, y) > 60).shrunk()
  if (first.count === 0) {
    return verdict
  }
  const level = median(Array.from(away).filter((_, i) => first.data[i] === 1))
  const mask = new Mask(width, height, (x, y) => at(x, y) > Math.max(40, level / 2)).largest()
  const core = mask.shrunk(2)
  if (core.count < 20) {
    return verdict
  }
  const cut = mask.cut(templateSize)
  const overlaps = [...templates].map(([shape, template]) => ({ shape, iou: overlap(cut, template) }))
  const best = overlaps.reduce((a, b) => (b.iou > a.iou ? b : a))
  const [left, top, right, bottom] = mask.box()
  const color = nearest<Color>(medianColor(pixelsWhere(picture, (x, y) => core.has(x, y))), colors)
  const center: [number, number] = [Math.round((left + right) / 2), Math.round((top + bottom) / 2)]
  return { ...verdict, ...best, color, area: mask.count / (width * height), center }
}

/** Judges the left and the right half of a picture, against the background of the whole. */
export function judgePair(picture: Picture): [Verdict, Verdict] {
  const background = findBackground(picture)
  const half = Math.floor(picture.width / 2)
  return [judge(columnsOf(picture, 0, half), background), judge(columnsOf(picture, half, picture.width), background)]
}

function columnsOf(picture: Picture, from: number, to: number): Picture {
  const rows = Array.from({ length: picture.height }, (_, y) =>
    picture.data.subarray((y * picture.width + from) * 3, (y * picture.width + to) * 3),
  )
  return { width: to - from, height: picture.height, data: Buffer.concat(rows) }
}

/** What of a scene is right in a picture: the background, and each object's colour and shape. */
export type Comparison = { background: boolean; color: boolean[]; shape: boolean[] }

/** Compares a picture with the scene that was asked for. */
export function compare({ background, objects }: Scene, picture: Picture): Comparison {
  const found = objects.length === 1 ? [judge(picture)] : judgePair(picture)
  return {
    background: found[0]?.background === background,
    color: objects.map(({ color }, i) => found[i]?.color === color),
    shape: objects.map(({ shape }, i) => found[i]?.shape === shape),
  }
}

/** How many of all backgrounds, colours and shapes are right, and of how many. */
export type Tally = Record<'background' | 'color' | 'shape', { right: number; of: number }>

/** Counts what is right in several pictures. */
export function tally(scenes: readonly Scene[], pictures: readonly Picture[]): Tally {
  const comparisons = scenes.map((scene, i) => compare(scene, pictures[i] ?? { width: 1, height: 1, data: new Uint8Array(3) }))
  const count = (key: keyof Comparison): { right: number; of: number } => {
    const all = comparisons.flatMap((comparison) => comparison[key])
    return { right: all.filter(Boolean).length, of: all.length }
  }
  return { background: count('background'), color: count('color'), shape: count('shape') }
}
