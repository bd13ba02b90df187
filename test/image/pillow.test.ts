import { readFile } from 'node:fs/promises'
import test from 'ava'
import { gaussianBlur } from '../../ts/image/blur.ts'
import type { Pixels } from '../../ts/image/pixels.ts'
import { type ResampleFilter, resize } from '../../ts/image/resample.ts'
import { longestBlock, MOST_BLOCKED_MS } from '../blocking.ts'

type Case = { channels: 1 | 3 | 4; width: number; height: number; input: string; output: string }
type Golden = { resize: (Case & { filter: ResampleFilter; toWidth: number; toHeight: number })[]; blur: (Case & { radius: number })[] }

const golden = JSON.parse(await readFile(new URL('../fixtures/image/pillow.json', import.meta.url), 'utf8')) as Golden
const pixels = ({ width, height, channels, input }: Case): Pixels => ({ width, height, channels, data: Buffer.from(input, 'base64') })

for (const item of golden.resize) {
  const { filter, width, height, toWidth, toHeight, channels } = item
  test(`resize ${filter} ${width}x${height}x${channels} to ${toWidth}x${toHeight} is Pillow’s to the bit`, async (t) => {
    const { data } = await resize(pixels(item), toWidth, toHeight, filter)
    t.is(Buffer.from(data).toString('base64'), item.output)
  })
}

for (const item of golden.blur) {
  test(`blur of radius ${item.radius} is Pillow’s to the bit`, async (t) => {
    t.is(Buffer.from((await gaussianBlur(pixels(item), item.radius)).data).toString('base64'), item.output)
  })
}

test.serial('resizing a large picture lets the event loop turn', async (t) => {
  t.timeout(600_000)
  const large: Pixels = { width: 3000, height: 2000, channels: 3, data: new Uint8Array(3000 * 2000 * 3) }
  const longest = await longestBlock(() => resize(large, 512, 512, 'lanczos'))
  t.true(longest < MOST_BLOCKED_MS, `${longest.toFixed(0)} ms`) // slices of 8 ms; all of it takes a second
})
