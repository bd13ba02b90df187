/** One model call of a run: where it is, and how noisy the picture is there (k-diffusion's sigma). */
export type Level = { timestep: number; sigma: number }

const barWidth = 40
const [width, height] = [720, 400]
const [left, right, top, bottom] = [64, 24, 48, 48]

/** Length of each bar from 0 to 1, on a logarithmic scale. */
function lengths(levels: readonly Level[]): number[] {
  const logs = levels.map(({ sigma }) => Math.log(Math.max(sigma, 1e-3)))
  const low = Math.min(...logs)
  const span = Math.max(...logs) - low
  return logs.map((value) => (span === 0 ? 1 : (value - low) / span))
}

/** A bar of text per level. */
export function bars(levels: readonly Level[]): string[] {
  return lengths(levels).map((length) => {
    const eighths = Math.max(1, Math.round(length * barWidth * 8))
    return '█'.repeat(Math.floor(eighths / 8)) + (['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8] ?? '')
  })
}

/** 1, 2 and 5 times the powers of ten between two levels. */
function ticks(low: number, high: number): number[] {
  const powers = Array.from({ length: 12 }, (_, i) => 10 ** (i - 5))
  const steps = high / low > 1000 ? [1] : high / low > 30 ? [1, 3] : [1, 2, 5]
  return powers.flatMap((power) => steps.map((step) => step * power)).filter((value) => value >= low && value <= high)
}

const escaped = (text: string): string => text.replace(/[<>&"]/g, (char) => `&#${char.charCodeAt(0)};`)

/** The levels as an SVG picture: model calls to the right, sigma upwards on a logarithmic scale. */
export function sigmaSvg(title: string, levels: readonly Level[]): string {
  const sigmas = levels.map(({ sigma }) => Math.max(sigma, 1e-3))
  const [low, high] = [Math.min(...sigmas), Math.max(...sigmas)]
  const x = (i: number): number => left + ((width - left - right) * i) / Math.max(1, levels.length - 1)
  const share = (sigma: number): number => (high === low ? 1 : Math.log(sigma / low) / Math.log(high / low))
  const y = (sigma: number): number => height - bottom - (height - top - bottom) * share(sigma)
  const lines = ticks(low, high).map((sigma) => {
    const at = y(sigma).toFixed(1)
    return `<path d="M${left} ${at}H${width - right}" stroke="#ddd"/><text x="${left - 8}" y="${at}" dy="4" text-anchor="end">${Number(sigma.toPrecision(1))}</text>`
  })
  const every = Math.ceil(levels.length / 20)
  const steps = levels.map((_, i) => {
    const shown = i % every === 0 || i === levels.length - 1
    return shown ? `<text x="${x(i).toFixed(1)}" y="${height - bottom + 20}" text-anchor="middle">${i + 1}</text>` : ''
  })
  const points = sigmas.map((sigma, i) => `${x(i).toFixed(1)},${y(sigma).toFixed(1)}`)
  const dots = levels.map(({ timestep, sigma }, i) => {
    const [cx, cy] = (points[i] ?? '').split(',')
    return `<circle cx="${cx}" cy="${cy}" r="3.5"><title>call ${i + 1}: timestep ${Number(timestep.toFixed(2))}, sigma ${sigma.toPrecision(4)}</title></circle>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    '<rect width="100%" height="100%" fill="white"/>',
    `<text x="${left}" y="26" font-size="15">${escaped(title)}</text>`,
    ...lines,
    ...steps.filter((step) => step !== ''),
    `<text x="${(width + left - right) / 2}" y="${height - 8}" text-anchor="middle">model call</text>`,
    `<text transform="translate(16 ${(height + top - bottom) / 2}) rotate(-90)" text-anchor="middle">sigma, logarithmic</text>`,
    `<polyline fill="none" stroke="#1f5fbf" stroke-width="2" points="${points.join(' ')}"/>`,
    `<g fill="#1f5fbf">${dots.join('')}</g>`,
    '</svg>\n',
  ].join('\n')
}
