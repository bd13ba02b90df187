/**
 * What ControlNets follow, made of a picture without Python: edges, soft edges, colours without composition; and masks.
 * Follows the Canny listing of the book's chapter on ControlNet (thresholds 30 and 100, shorter side 512).
 * Run: npx tsx examples/preprocessors.ts [--image FILE] [--out DIR]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { blur, canny, featherMask, growMask, Image, imageGrid, invert, shuffle, softEdge, tile } from 'node-diffusion'

const circle = fileURLToPath(new URL('pictures/circle.png', import.meta.url))
const options = { image: { type: 'string', default: circle }, out: { type: 'string', default: 'out/preprocessors' } } as const
const { image, out } = parseArgs({ options }).values

const size = { detectResolution: 256 }
const made: Image[] = [
  await canny(image, { ...size, lowThreshold: 30, highThreshold: 100 }),
  await blur(image, { ...size, radius: 6 }),
  await softEdge(image, size),
  await shuffle(image, { ...size, scale: 64 }),
  await tile(image, { ...size, downSampling: 8 }),
  await invert(image, size),
]
await (await imageGrid(made, { rows: 2, cols: 3 })).save(`${out}/controls.png`)
console.log(`${out}/controls.png: canny, blur, soft edge; shuffle, tile, invert`)

const inside = new Image({
  width: 128,
  height: 128,
  data: new Uint8Array(128 * 128 * 3).map((_, i) => (Math.trunc(i / 3) % 128 < 64 ? 255 : 0)),
})
const masks = [inside, await growMask(inside, 12), await featherMask(inside, 24)]
await (await imageGrid(masks, { rows: 1, cols: 3 })).save(`${out}/masks.png`)
console.log(`${out}/masks.png: a mask, grown by 12 pixels, faded out over 24`)
