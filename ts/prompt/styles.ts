import { readFile } from 'node:fs/promises'
import { checkString } from '../checks.ts'
import { expected } from '../errors.ts'

/** Words that many prompts share, under a name. */
export interface PromptStyle {
  name: string
  /** `{prompt}` in it stands for the prompt; without that, it is appended after a comma. */
  prompt?: string
  /** The same for the negative prompt. */
  negativePrompt?: string
}

/** Puts a prompt into the styles, one after the other. Source: stable-diffusion-webui `styles.merge_prompts`. */
export function applyStyles(
  { prompt, negativePrompt = '' }: { prompt: string; negativePrompt?: string },
  styles: readonly PromptStyle[],
): { prompt: string; negativePrompt: string } {
  return {
    prompt: styles.reduce((text, style) => merge(text, style.prompt), prompt),
    negativePrompt: styles.reduce((text, style) => merge(text, style.negativePrompt), negativePrompt),
  }
}

function merge(text: string, style = ''): string {
  if (style.includes('{prompt}')) {
    return style.replaceAll('{prompt}', text)
  }
  return [text.trim(), style.trim()].filter((part) => part !== '').join(', ')
}

/** Reads the web UI's `styles.csv` (`name,prompt,negative_prompt`); throws `InvalidArgumentError` if it is none. */
export async function loadStyles(path: string): Promise<PromptStyle[]> {
  const [head = [], ...rows] = parseCsv(await readFile(checkString('path', path), 'utf8'))
  const column = (name: string): number => head.indexOf(name)
  const [name, prompt, negative] = [column('name'), Math.max(column('prompt'), column('text')), column('negative_prompt')]
  if (name < 0 || prompt < 0) {
    throw expected('a file whose first line names the columns name, prompt and negative_prompt', 'path', path)
  }
  return rows
    .filter((row) => (row[name] ?? '') !== '')
    .map((row) => ({ name: row[name] ?? '', prompt: row[prompt] ?? '', negativePrompt: negative < 0 ? '' : (row[negative] ?? '') }))
}

/** The styles of these names; throws `InvalidArgumentError` for an unknown one. */
export function findStyles(styles: readonly PromptStyle[], names: readonly string[]): PromptStyle[] {
  return names.map((name) => {
    const found = styles.find((style) => style.name === name)
    if (found === undefined) {
      throw expected(`the name of a style (${styles.map((style) => style.name).join(', ') || 'none are given'})`, 'styles', name)
    }
    return found
  })
}

/** Rows of comma-separated values; a quoted one may hold commas, line ends and doubled quotes. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  for (const match of text.replace(/^\uFEFF/, '').matchAll(/(?:"((?:[^"]|"")*)"|([^,\r\n"]*))(,|\r?\n|$)/g)) {
    if (match[0] === '' && row.length === 0) {
      break
    }
    row.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '')
    if (match[3] !== ',') {
      rows.push(row)
      row = []
    }
  }
  return rows.filter((values) => values.some((value) => value !== ''))
}
