import { Dice } from './random.ts'
import { type Color, colors, type Gradient, gradients, type Picture, type Rgb, type Shape, shapeDistance, shapes } from './shapes.ts'

/** Pixels of a scene's side. */
export const sceneSize = 128

/** How large an object is said to be; '' leaves it open. */
export type Size = 'small' | '' | 'large'
export type SceneObject = { shape: Shape; color: Color; size: Size; x: number; y: number; r: number }
/** One or two objects on a plain or gradient background; `jitter` seeds the small differences of colour. */
export type Scene = { background: Color | Gradient; objects: SceneObject[]; jitter: number }

/** Radii in pixels, by what is said. */
const radii = {
  single: { small: [18, 25], '': [18, 50], large: [40, 50] },
  pair: { small: [13, 17], '': [15, 26], large: [23, 27] },
} as const

const colorNames = Object.keys(colors) as Color[]
const gradientNames = Object.keys(gradients) as Gradient[]
const isGradient = (name: Color | Gradient): name is Gradient => name in gradients

/** A random scene with one object, or with two side by side. Source: models/train/scenes.py `random_scene`. */
export function randomScene(dice: Dice, { pair = false, gradientShare = 0.12 }: { pair?: boolean; gradientShare?: number } = {}): Scene {
  const background = dice.next() < gradientShare ? dice.pick(gradientNames) : dice.pick(colorNames)
  const free = colorNames.filter((name) => name !== background)
  const objects = (pair ? [34, 94] : [64]).map((x): SceneObject => {
    const size = dice.pick<Size>(['small', '', '', 'large'])
    const [least, most] = radii[pair ? 'pair' : 'single'][size]
    const r = dice.between(least, most)
    const slack = pair ? 5 : Math.min(16, 60 - r)
    const place = { x: x + dice.between(-slack, slack), y: 64 + dice.between(-1, 1) * (pair ? 14 : slack) }
    return { shape: dice.pick(shapes), color: dice.pick(free), size, r, ...place }
  })
  return { background, objects, jitter: Math.floor(dice.next() * 2 ** 31) }
}

/** Draws a scene with anti-aliased edges. Source: models/train/scenes.py `render`. */
export function render({ background, objects, jitter }: Scene): Picture {
  const dice = new Dice(jitter)
  const vary = (color: Rgb): number[] => color.map((value) => value + dice.normal(0, 2))
  const [top, bottom] = isGradient(background) ? gradients[background].map(vary) : [vary(colors[background])]
  const inks = objects.map(({ color }) => vary(colors[color]))
  const data = new Uint8Array(sceneSize * sceneSize * 3)
  for (let i = 0; i < sceneSize * sceneSize; i++) {
    const [x, y] = [(i % sceneSize) + 0.5, Math.floor(i / sceneSize) + 0.5]
    const alphas = objects.map((object) => {
      const distance = shapeDistance(object.shape, x - object.x, y - object.y, object.r)
      return Math.min(1, Math.max(0, 0.5 - distance))
    })
    for (let c = 0; c < 3; c++) {
      const upper = top?.[c] ?? 0
      const plain = upper + ((bottom?.[c] ?? upper) - upper) * (y / sceneSize)
      const value = alphas.reduce((under, alpha, n) => under * (1 - alpha) + (inks[n]?.[c] ?? 0) * alpha, plain)
      data[i * 3 + c] = Math.round(Math.min(255, Math.max(0, value)))
    }
  }
  return { width: sceneSize, height: sceneSize, data }
}

const withArticle = (text: string): string => (/^[aeiou]/.test(text) ? `an ${text}` : `a ${text}`)

/** How a background is said. */
export const backgroundText = (name: Color | Gradient): string => (isGradient(name) ? `${name} gradient` : `${name} background`)

const objectText = ({ size, color, shape }: SceneObject): string =>
  withArticle([size, color, shape].filter((word) => word !== '').join(' '))

/** The full caption of a scene, as the model was trained on it. Source: models/train/scenes.py `plain_caption`. */
export function plainCaption({ background, objects }: Scene): string {
  const [left = '', right] = objects.map(objectText)
  const what = right === undefined ? left : `two objects: ${left} on the left and ${right} on the right`
  return `${what} on ${withArticle(backgroundText(background))}`
}

const prefixes = ['', '', '', '', 'a picture of ', 'a photo of ', 'a drawing of ', 'an image of ', 'a simple drawing of ']
const joins = [' on a ', ' over a ', ' against a ', ' in front of a ', ', ', ' with a ']
const suffixes = ['', '', '', '', ', flat design', ', simple', ', high quality', ', vector art', '.']

/** A free phrasing that still names everything. Source: models/train/scenes.py `caption`. */
export function caption(scene: Scene, dice: Dice): string {
  const what = scene.objects.map(objectText).join(' next to ')
  const text = `${what}${dice.pick(joins)}${backgroundText(scene.background)}`.replace(' a o', ' an o')
  return `${dice.pick(prefixes)}${text}${dice.pick(suffixes)}`
}
