/** A chart with logarithmic axes, on which growth by a power is a straight line. */
export type Panel = { title: string; x: string; y: string; lines: { name: string; points: [number, number][] }[] }

const WIDTH = 340
const HEIGHT = 300
const LEFT = 52
const TOP = 44
const RIGHT = 14
const BOTTOM = 46
const COLOURS = ['#b4552d', '#1f5f8b', '#4d7c3a', '#6b4a8e']

/** Panels side by side as one SVG, with a note below. */
export function panels(note: string, all: readonly Panel[]): string {
  const drawn = all.map((panel, i) => `<g transform="translate(${i * WIDTH} 0)">${draw(panel)}</g>`)
  const width = WIDTH * all.length
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${HEIGHT + 24}" font-family="system-ui, sans-serif" font-size="11">`,
    '<title>Time against the size of the picture, the batch and the threads</title>',
    `<rect width="${width}" height="${HEIGHT + 24}" fill="#fff"/>`,
    ...drawn,
    `<text x="${LEFT}" y="${HEIGHT + 12}" fill="#666" font-size="10">${escaped(note)}</text>`,
    '</svg>',
    '',
  ].join('\n')
}

function draw({ title, x, y, lines }: Panel): string {
  const all = lines.flatMap(({ points }) => points)
  const [toX, toY] = [
    scale(
      all.map(([at]) => at),
      LEFT,
      WIDTH - RIGHT,
    ),
    scale(
      all.map(([, at]) => at),
      HEIGHT - BOTTOM,
      TOP,
    ),
  ]
  const xs = [...new Set(all.map(([at]) => at))]
  const ys = ticks(all.map(([, at]) => at))
  const label = (text: string | number, at: string): string => `<text ${at} fill="#444">${escaped(String(text))}</text>`
  const grid = ys.map(
    (at) =>
      `<path d="M${LEFT} ${toY(at)}H${WIDTH - RIGHT}" stroke="#e4e4e4"/>${label(at, `x="${LEFT - 6}" y="${toY(at) + 4}" text-anchor="end"`)}`,
  )
  const marks = xs.map(
    (at) =>
      `<path d="M${toX(at)} ${HEIGHT - BOTTOM}v4" stroke="#888"/>${label(at, `x="${toX(at)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle"`)}`,
  )
  const curves = lines.map(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length]
    const path = points.map(([a, b], k) => `${k === 0 ? 'M' : 'L'}${toX(a)} ${toY(b)}`).join('')
    const dots = points.map(
      ([a, b]) =>
        `<circle cx="${toX(a)}" cy="${toY(b)}" r="3" fill="${colour}"><title>${escaped(`${name}: ${a}, ${b.toFixed(2)}`)}</title></circle>`,
    )
    const key = `<path d="M${LEFT + 8} ${TOP + 8 + 16 * i}h16" stroke="${colour}" stroke-width="2"/>${label(name, `x="${LEFT + 30}" y="${TOP + 12 + 16 * i}"`)}`
    return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>${dots.join('')}${key}`
  })
  return [
    label(title, `x="${LEFT}" y="20" font-size="13" font-weight="600"`),
    label(y, `x="${LEFT}" y="36"`),
    ...grid,
    `<path d="M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}" fill="none" stroke="#888"/>`,
    ...marks,
    label(x, `x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - BOTTOM + 34}" text-anchor="middle"`),
    ...curves,
  ].join('\n')
}

/** Maps numbers to pixels by their logarithm, with a little room at both ends. */
function scale(numbers: readonly number[], from: number, to: number): (at: number) => number {
  const logs = numbers.map(Math.log)
  const [low, high] = [Math.min(...logs), Math.max(...logs)]
  const room = 0.06 * (high - low || 1)
  return (at) => Math.round(10 * (from + ((Math.log(at) - low + room) / (high - low + 2 * room)) * (to - from))) / 10
}

/** Powers of ten with their doubles and fives, inside the range. */
function ticks(numbers: readonly number[]): number[] {
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)]
  const first = Math.floor(Math.log10(low))
  const decades = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, i) => first + i)
  const all = decades.flatMap((power) => [1, 2, 5].map((digit) => Number((digit * 10 ** power).toPrecision(1))))
  return all.filter((at) => at >= low && at <= high)
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
