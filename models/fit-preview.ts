/**
 * Fits the linear map from the built-in model's latents to RGB that previews use (`latentRgbFactors.shapes`), by least squares.
 *
 * Draws random scenes in the model's colours, encodes them with its VAE, and solves for RGB (the picture shrunk to the latents' size) = latents x factors + bias.
 * Run: npx tsx models/fit-preview.ts [scenes, default 100]. Prints the table for ts/image/preview.ts and the error on scenes that were held out.
 */
import { AutoencoderKL, loadImage, VaeImageProcessor } from 'node-diffusion'
import sharp from 'sharp'

const scenes = Number(process.argv[2] ?? 100)
const size = 128
const colors = ['#de2024', '#f68a16', '#fade2c', '#249e46', '#40cce0', '#224ad8', '#802cac', '#f898c2', '#f6f6f6', '#808080', '#101010']

/** A small deterministic generator (mulberry32), so that the fit can be repeated. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

function scene(next: () => number): Buffer {
  const color = (): string => colors[Math.floor(next() * colors.length)] ?? '#000'
  const [radius, x, y] = [18 + next() * 32, 40 + next() * 48, 40 + next() * 48]
  const shape =
    next() < 0.5
      ? `<circle cx="${x}" cy="${y}" r="${radius}" fill="${color()}"/>`
      : `<rect x="${x - radius}" y="${y - radius}" width="${2 * radius}" height="${2 * radius}" fill="${color()}"/>`
  const stops = `<stop offset="0" stop-color="${color()}"/><stop offset="1" stop-color="${color()}"/>`
  const ground = next() < 0.7 ? color() : 'url(#g)'
  const defs = `<defs><linearGradient id="g" x1="0" y1="0" x2="0" y2="1">${stops}</linearGradient></defs>`
  return Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}">${defs}<rect width="100%" height="100%" fill="${ground}"/>${shape}</svg>`)
}

/** Solves a symmetric positive system with several right sides by elimination. */
function solve(matrix: number[][], right: number[][]): number[][] {
  const rows = matrix.map((row, i) => [...row, ...(right[i] ?? [])])
  for (let i = 0; i < rows.length; i += 1) {
    const pivot = rows[i] ?? []
    const scale = pivot[i] ?? 1
    for (let j = 0; j < pivot.length; j += 1) pivot[j] = (pivot[j] ?? 0) / scale
    for (const [k, row] of rows.entries()) {
      const factor = k === i ? 0 : (row[i] ?? 0)
      for (let j = 0; j < row.length; j += 1) row[j] = (row[j] ?? 0) - factor * (pivot[j] ?? 0)
    }
  }
  return rows.map((row) => row.slice(matrix.length))
}

type Sample = { latent: number[]; rgb: number[] }

await using vae = await AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' })
const processor = new VaeImageProcessor()
const next = random(1)

async function samples(): Promise<Sample[]> {
  const picture = await sharp(scene(next)).removeAlpha().png().toBuffer()
  const { latentDist } = await vae.encode(await processor.preprocess(await loadImage(picture)))
  const latents = latentDist.mode().mul(vae.config.scaling_factor)
  const [, channels = 0, height = 0, width = 0] = latents.shape
  const values = latents.toArray() as Float32Array
  const { data } = await sharp(picture).resize(width, height, { kernel: 'linear' }).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  return Array.from({ length: height * width }, (_, at) => ({
    latent: [...Array.from({ length: channels }, (__, channel) => values[channel * height * width + at] ?? 0), 1],
    rgb: [0, 1, 2].map((color) => (data[at * 3 + color] ?? 0) / 127.5 - 1),
  }))
}

const all: Sample[][] = []
for (let i = 0; i < scenes; i += 1) all.push(await samples())
const held = all.slice(0, Math.ceil(scenes / 5)).flat()
const fitted = all.slice(Math.ceil(scenes / 5)).flat()
const width = fitted[0]?.latent.length ?? 0
const products = (pick: (sample: Sample) => number[], columns: number): number[][] =>
  Array.from({ length: width }, (_, i) => Array.from({ length: columns }, (__, j) => fitted.reduce((sum, sample) => sum + (sample.latent[i] ?? 0) * (pick(sample)[j] ?? 0), 0)))
const solution = solve(
  products(({ latent }) => latent, width),
  products(({ rgb }) => rgb, 3),
)
const predict = (latent: number[], color: number): number => Math.min(1, Math.max(-1, latent.reduce((sum, value, i) => sum + value * (solution[i]?.[color] ?? 0), 0)))
const errors = held.flatMap(({ latent, rgb }) => rgb.map((value, color) => (value - predict(latent, color)) * 127.5))
const mean = errors.reduce((sum, error) => sum + Math.abs(error), 0) / errors.length
const root = Math.sqrt(errors.reduce((sum, error) => sum + error * error, 0) / errors.length)
const rounded = solution.map((row) => row.map((value) => Number(value.toFixed(4))))
console.log(JSON.stringify({ factors: rounded.slice(0, -1), bias: rounded.at(-1) }))
console.log(`held-out scenes: mean error ${mean.toFixed(1)}, root mean square ${root.toFixed(1)} of 255, over ${errors.length / 3} blocks`)
