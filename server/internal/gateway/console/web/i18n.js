// SPDX-License-Identifier: Apache-2.0

// The words of the pages, in the reader's language. All of them are in strings.json: key, English, Chinese.

import { base } from './base.js';

const languages = ['en', 'zh'];
const remembered = 'classrec.language';

function wanted() {
  const chosen = localStorage.getItem(remembered);
  if (languages.includes(chosen)) return chosen;
  return navigator.languages.some((l) => l.toLowerCase().startsWith('zh')) ? 'zh' : 'en';
}

export const language = wanted();
export const locale = language === 'zh' ? 'zh-CN' : navigator.languages.find((l) => l.startsWith('en')) || 'en';
document.documentElement.lang = locale;

const strings = await (await fetch(base + 'console/strings.json')).json();
const column = languages.indexOf(language);
const plural = new Intl.PluralRules(locale);

// has says whether there are words for a key.
export const has = (key) => key in strings;

// t returns the words of a key, with {names} replaced. Where n is given and there are words for one, these are used.
export function t(key, values = {}) {
  if (values.n !== undefined && plural.select(values.n) === 'one' && has(key + '.one')) key += '.one';
  const text = has(key) ? strings[key][column] : key;
  return text.replace(/\{(\w+)\}/g, (_, name) => (name in values ? String(values[name]) : ''));
}

// change chooses the other language, which is remembered.
export function changeLanguage() {
  localStorage.setItem(remembered, language === 'zh' ? 'en' : 'zh');
  location.reload();
}
