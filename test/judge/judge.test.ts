import test from 'ava'
import { judge, tally } from './judge.ts'
import { Dice } from './random.ts'
import { caption, plainCaption, randomScene, render } from './scenes.ts'

for (const pair of [false, true]) {
  test(`the judge is right about every drawn ${pair ? 'pair' : 'object'}, as models/train/judge.py is`, (t) => {
    const dice = new Dice(5)
    const scenes = Array.from({ length: 40 }, () => randomScene(dice, { pair }))
    const { background, color, shape } = tally(scenes, scenes.map(render))
    t.deepEqual([background.right, color.right, shape.right], [background.of, color.of, shape.of])
  })
}

test('the judge finds nothing on an empty background, and says where an object is', (t) => {
  t.deepEqual(judge(render({ background: 'blue', objects: [], jitter: 1 })), { background: 'blue', iou: 0, area: 0 })
  t.is(judge(render({ background: 'ocean', objects: [], jitter: 1 })).background, 'ocean')
  const { center, iou, area } = judge(
    render({ background: 'white', objects: [{ shape: 'star', color: 'red', size: '', x: 50, y: 70, r: 30 }], jitter: 2 }),
  )
  t.is(center?.[0], 50)
  t.true(iou > 0.85 && area > 0.05 && area < 0.2)
})

test('captions name everything that a scene shows', (t) => {
  const object = { shape: 'star', color: 'orange', size: '', x: 64, y: 64, r: 30 } as const
  t.is(plainCaption({ background: 'ocean', objects: [object], jitter: 0 }), 'an orange star on an ocean gradient')
  t.is(
    plainCaption({ background: 'gray', objects: [object, { ...object, size: 'small', shape: 'ring' }], jitter: 0 }),
    'two objects: an orange star on the left and a small orange ring on the right on a gray background',
  )
  const dice = new Dice(1)
  for (let i = 0; i < 50; i++) {
    const scene = randomScene(dice)
    const text = caption(scene, dice)
    t.true(
      [scene.background, scene.objects[0]?.color, scene.objects[0]?.shape].every((word) => text.includes(word ?? '?')),
      text,
    )
  }
})
