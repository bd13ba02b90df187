import test from 'ava'
import { chooseFiles, incompleteFolders } from '../../ts/hub/choose-files.ts'
import { hubSettings } from '../../ts/hub/settings.ts'

const repository = [
  'README.md',
  'model_index.json',
  'v1-5-pruned.ckpt',
  'v1-5-pruned-emaonly.safetensors',
  'scheduler/scheduler_config.json',
  'tokenizer/merges.txt',
  'tokenizer/vocab.json',
  'text_encoder/config.json',
  'text_encoder/model.safetensors',
  'text_encoder/model.fp16.safetensors',
  'text_encoder/pytorch_model.bin',
  'text_encoder/flax_model.msgpack',
  'text_encoder/openvino_model.bin',
  'unet/config.json',
  'unet/diffusion_pytorch_model.bin',
  'unet/diffusion_pytorch_model.fp16.bin',
  'unet/diffusion_pytorch_model-00001-of-00002.safetensors',
  'unet/diffusion_pytorch_model-00002-of-00002.safetensors',
  'unet/diffusion_pytorch_model.safetensors.index.json',
  'unet/diffusion_pytorch_model.non_ema.safetensors',
  'vae/config.json',
  'vae/diffusion_pytorch_model.bin',
  'safety_checker/config.json',
  'safety_checker/model.safetensors',
]

test('one set of weights for each wanted folder, and nothing of the others', (t) => {
  const folders = ['unet', 'vae', 'text_encoder', 'tokenizer', 'scheduler']
  t.deepEqual(chooseFiles(repository, { folders, files: ['model_index.json'] }).sort(), [
    'model_index.json',
    'scheduler/scheduler_config.json',
    'text_encoder/config.json',
    'text_encoder/model.safetensors',
    'tokenizer/merges.txt',
    'tokenizer/vocab.json',
    'unet/config.json',
    'unet/diffusion_pytorch_model-00001-of-00002.safetensors',
    'unet/diffusion_pytorch_model-00002-of-00002.safetensors',
    'unet/diffusion_pytorch_model.safetensors.index.json',
    'vae/config.json',
    'vae/diffusion_pytorch_model.bin',
  ])
})

test('a variant where it exists, plain weights elsewhere', (t) => {
  const chosen = chooseFiles(repository, { folders: ['unet', 'vae', 'text_encoder'], variant: 'fp16' })
  t.deepEqual(
    chosen.filter((path) => /\.(safetensors|bin)$/.test(path)),
    ['unet/diffusion_pytorch_model.fp16.bin', 'vae/diffusion_pytorch_model.bin', 'text_encoder/model.fp16.safetensors'],
  )
})

test('sharded variants are found in both spellings', (t) => {
  for (const [shard, index] of [
    ['unet/model.fp16-00001-of-00001.safetensors', 'unet/model.safetensors.index.fp16.json'],
    ['unet/model-00001-of-00001.fp16.safetensors', 'unet/model.fp16.safetensors.index.json'],
  ] as const) {
    const paths = ['unet/config.json', 'unet/model-00001-of-00001.safetensors', 'unet/model.safetensors.index.json', shard, index]
    t.deepEqual(chooseFiles(paths, { folders: ['unet'], variant: 'fp16' }).sort(), ['unet/config.json', index, shard].sort())
  }
})

test('a folder is whole with its config and all shards', (t) => {
  const shardsOf = (): string[] => [
    'diffusion_pytorch_model-00001-of-00002.safetensors',
    'diffusion_pytorch_model-00002-of-00002.safetensors',
  ]
  t.deepEqual(incompleteFolders(repository, { folders: ['unet', 'tokenizer', 'scheduler', 'vae'] }, shardsOf), [])
  const without = repository.filter((path) => !path.includes('00002-of'))
  t.deepEqual(incompleteFolders(without, { folders: ['unet', 'vae', 'absent'] }, shardsOf), ['unet', 'absent'])
})

test('settings come from options, then from the environment that Python reads', async (t) => {
  const env = { HF_HOME: '/home/hf', HF_TOKEN: ' hf_x ', HF_ENDPOINT: 'https://mirror.example/', HF_HUB_OFFLINE: '1' }
  t.deepEqual(await hubSettings({}, env), {
    revision: 'main',
    token: 'hf_x',
    cacheDir: '/home/hf/hub',
    localFilesOnly: true,
    endpoint: 'https://mirror.example',
  })
  const given = { revision: 'v1', token: 'mine', cacheDir: '/c', localFilesOnly: false, endpoint: 'http://127.0.0.1:1' }
  t.deepEqual(await hubSettings(given, env), given)
  t.is((await hubSettings({}, { ...env, HF_HUB_CACHE: '/d' })).cacheDir, '/d')
  t.is((await hubSettings({}, { HOME: '/nobody', HF_HUB_DISABLE_IMPLICIT_TOKEN: '1', HF_TOKEN: 'x' })).token, undefined)
})
