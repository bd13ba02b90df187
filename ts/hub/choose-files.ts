/** What of a repository is wanted. */
export type Wanted = {
  /** Folders by name, '' for the files at the root; the weights of each come in one format and variant. */
  folders: readonly string[]
  /** Single files, such as `model_index.json`. */
  files?: readonly string[]
  /** As `fp16` in `model.fp16.safetensors`; a folder that lacks it gives its plain weights. */
  variant?: string
}

const TEXTS = /\.(json|txt|model)$/
const INDEX = /\.index(\.[^.]+)?\.json$/
const FOREIGN = /^(flax_|tf_|openvino_|rust_)|\.onnx|\.msgpack|\.h5$/
const WEIGHTS = /^(?<base>(diffusion_pytorch_model|pytorch_model|model)(_[\w-]+)?)(?<rest>[^/]*)\.(?<format>safetensors|bin)$/

/**
 * The paths that loading needs: configs, vocabularies, and of each folder's weights exactly one set: the variant before the plain ones,
 * safetensors before pickles, never both.
 */
export function chooseFiles(paths: readonly string[], { folders, files = [], variant }: Wanted): string[] {
  const chosen = new Set(files.filter((file) => paths.includes(file)))
  for (const folder of folders) {
    const prefix = folder === '' ? '' : `${folder}/`
    const names = paths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length))
    const own = names.filter((name) => !name.includes('/') && !FOREIGN.test(name))
    const weights = chooseWeights(own, variant)
    for (const name of own) {
      if ((TEXTS.test(name) && !INDEX.test(name)) || weights.includes(name)) {
        chosen.add(prefix + name)
      }
    }
  }
  return [...chosen]
}

function chooseWeights(names: readonly string[], variant: string | undefined): string[] {
  const sets = variant === undefined ? [undefined] : [variant, undefined]
  for (const one of sets) {
    for (const format of ['safetensors', 'bin']) {
      const found = names.filter((name) => isWeights(name, format, one))
      if (found.length > 0) {
        return [...found, ...names.filter((name) => INDEX.test(name) && name.includes(`.${format}.`) && hasVariant(name, one))]
      }
    }
  }
  return []
}

function isWeights(name: string, format: string, variant: string | undefined): boolean {
  const groups = WEIGHTS.exec(name)?.groups
  return groups?.format === format && restOf(variant).test(groups.rest ?? '')
}

/** What stands between a weights file's name and its extension: the variant and the number of the shard, in either order. */
function restOf(variant: string | undefined): RegExp {
  const shard = '(-\\d{5}-of-\\d{5})?'
  const name = variant === undefined ? '' : `\\.${variant.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`
  return new RegExp(`^(${shard}${name}|${name}${shard})$`)
}

function hasVariant(index: string, variant: string | undefined): boolean {
  const own = /\.(safetensors|bin)\.index(\.(?<after>[^.]+))?\.json$/.exec(index)?.groups?.after
  const before = /^[^.]+\.(?<before>[^.]+)\.(safetensors|bin)\.index\.json$/.exec(index)?.groups?.before
  return (own ?? before) === variant
}

/** Folders that have a `config.json` of a model and no whole set of weights beside it; `shardsOf` gives the file names of a shard index. */
export function incompleteFolders(paths: readonly string[], wanted: Wanted, shardsOf: (index: string) => readonly string[]): string[] {
  return wanted.folders.filter((folder) => {
    const prefix = folder === '' ? '' : `${folder}/`
    if (!paths.includes(`${prefix}config.json`)) {
      return !paths.some((path) => path.startsWith(prefix) && TEXTS.test(path))
    }
    const chosen = chooseFiles(paths, { ...wanted, folders: [folder], files: [] })
    const shards = chosen.filter((path) => INDEX.test(path)).flatMap((index) => shardsOf(index).map((name) => prefix + name))
    return !chosen.some((path) => /\.(safetensors|bin)$/.test(path)) || shards.some((shard) => !paths.includes(shard))
  })
}
