const LANGUAGES = ["de", "en"];

/** The first of the browser's languages that has a catalogue, else English. */
export const language =
  navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => LANGUAGES.includes(tag)) ?? "en";

const { default: catalogue } = await import(`./${language}.js`);

/** The browser's own variant of the language (`de-AT`), so that numbers and times look as its user expects. */
export const locale = navigator.languages.find((tag) => tag.toLowerCase().startsWith(language)) ?? language;

/** Return a text of the catalogue with its `{name}` places filled in. */
export function t(key, values = {}) {
  return catalogue[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
