/** The palette of the built-in model's pictures, RGB. Source: models/train/scenes.py. */
export const colors = {
  red: [222, 32, 36],
  orange: [246, 138, 22],
  yellow: [250, 222, 44],
  green: [36, 158, 70],
  cyan: [64, 204, 224],
  blue: [34, 74, 216],
  purple: [128, 44, 172],
  pink: [248, 152, 194],
  white: [246, 246, 246],
  gray: [128, 128, 128],
  black: [16, 16, 16],
} as const satisfies Record<string, Rgb>

/** Gradients from the top colour to the bottom colour. */
export const gradients = {
  sunset: [
    [252, 176, 64],
    [120, 40, 110],
  ],
  ocean: [
    [150, 222, 240],
    [14, 60, 140],
  ],
} as const satisfies Record<string, readonly [Rgb, Rgb]>

/** The shapes that the model knows. */
export const shapes = ['circle', 'square', 'triangle', 'star', 'ring', 'cross'] as const

export type Rgb = readonly [number, number, number]
export type Color = keyof typeof colors
export type Gradient = keyof typeof gradients
export type Shape = (typeof shapes)[number]

/** RGB pixels, three bytes each, rows from top to bottom. */
export type Picture = { width: number; height: number; data: Uint8Array }

type Point = readonly [number, number]

function polygonDistance(x: number, y: number, points: readonly Point[]): number {
  let best = Number.POSITIVE_INFINITY
  let inside = false
  points.forEach(([ax, ay], i) => {
    const [bx, by] = points[(i + 1) % points.length] ?? [ax, ay]
    const [ex, ey, px, py] = [bx - ax, by - ay, x - ax, y - ay]
    const along = Math.min(1, Math.max(0, (px * ex + py * ey) / (ex * ex + ey * ey)))
    best = Math.min(best, (px - ex * along) ** 2 + (py - ey * along) ** 2)
    if (ay !== by && ay > y !== by > y && px < (ex * py) / ey) {
      inside = !inside
    }
  })
  return (inside ? -1 : 1) * Math.sqrt(best)
}

const triangle = (r: number): Point[] => [
  [0, -0.95 * r],
  [r, 0.8 * r],
  [-r, 0.8 * r],
]

const star = (r: number): Point[] =>
  Array.from({ length: 10 }, (_, i) => {
    const angle = (i * Math.PI) / 5 - Math.PI / 2
    const radius = i % 2 === 0 ? 1.08 * r : 0.45 * 1.08 * r
    return [radius * Math.cos(angle), radius * Math.sin(angle)] as const
  })

/** Signed distance in pixels from (x, y), relative to the centre, to a shape of radius `r`; negative inside. */
export function shapeDistance(shape: Shape, x: number, y: number, r: number): number {
  const [ax, ay] = [Math.abs(x), Math.abs(y)]
  switch (shape) {
    case 'circle':
      return Math.hypot(x, y) - r
    case 'ring':
      return Math.abs(Math.hypot(x, y) - 0.76 * r) - 0.24 * r
    case 'square':
      return Math.max(ax, ay) - 0.86 * r
    case 'cross':
      return Math.max(Math.max(ax, ay) - r, Math.min(ax, ay) - 0.32 * r)
    case 'triangle':
      return polygonDistance(x, y, triangle(r))
    case 'star':
      return polygonDistance(x, y, star(r))
  }
}
