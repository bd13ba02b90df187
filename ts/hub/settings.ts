import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { checkBoolean, checkString } from '../checks.ts'
import { expected } from '../errors.ts'

/** Where a model of the hub comes from and where it is kept. */
export type HubOptions = {
  /** Branch, tag or commit. @default 'main' */
  revision?: string
  /** Access token for private and gated repositories. @default `HF_TOKEN`, or the token that Python's `hf auth login` stored */
  token?: string
  /** Folder of the cache, shared with Python. @default `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or `~/.cache/huggingface/hub` */
  cacheDir?: string
  /** Takes what is in the cache and asks nobody. @default whether `HF_HUB_OFFLINE` is set */
  localFilesOnly?: boolean
  /** Address of the hub or of a mirror. @default `HF_ENDPOINT`, or the public hub */
  endpoint?: string
}

/** All of it decided: options first, then the environment, then defaults. */
export type HubSettings = {
  revision: string
  token: string | undefined
  cacheDir: string
  localFilesOnly: boolean
  endpoint: string
}

type Environment = Readonly<Record<string, string | undefined>>

/** Checks the options and fills them up from the environment variables that Python's `huggingface_hub` reads. */
export async function hubSettings(options: HubOptions, env: Environment = process.env): Promise<HubSettings> {
  const text = (name: 'revision' | 'token' | 'cacheDir' | 'endpoint'): string | undefined => {
    const value = options[name] === undefined ? undefined : checkString(name, options[name])
    if (value === '') {
      throw expected('text', name, value)
    }
    return value
  }
  const [given, endpoint] = [text('token'), text('endpoint') ?? setting(env, 'HF_ENDPOINT') ?? 'https://huggingface.co']
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol)) {
    throw expected('an http(s) address', 'endpoint', endpoint)
  }
  const { localFilesOnly } = options
  return {
    revision: text('revision') ?? 'main',
    token: given ?? (await storedToken(env)),
    cacheDir: text('cacheDir') ?? cacheFolder(env),
    localFilesOnly: localFilesOnly === undefined ? isOn(env.HF_HUB_OFFLINE) : checkBoolean('localFilesOnly', localFilesOnly),
    endpoint: endpoint.replace(/\/+$/, ''),
  }
}

function setting(env: Environment, name: string): string | undefined {
  return env[name] === '' ? undefined : env[name]
}

function isOn(value: string | undefined): boolean {
  return /^(1|on|yes|true)$/i.test(value ?? '')
}

function homeFolder(env: Environment): string {
  return setting(env, 'HF_HOME') ?? join(setting(env, 'XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface')
}

function cacheFolder(env: Environment): string {
  return setting(env, 'HF_HUB_CACHE') ?? setting(env, 'HUGGINGFACE_HUB_CACHE') ?? join(homeFolder(env), 'hub')
}

async function storedToken(env: Environment): Promise<string | undefined> {
  if (isOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) {
    return undefined
  }
  const direct = setting(env, 'HF_TOKEN') ?? setting(env, 'HUGGING_FACE_HUB_TOKEN')
  const path = setting(env, 'HF_TOKEN_PATH') ?? join(homeFolder(env), 'token')
  const text = direct ?? (await readFile(path, 'utf8').catch(() => ''))
  return text.trim() === '' ? undefined : text.trim()
}
