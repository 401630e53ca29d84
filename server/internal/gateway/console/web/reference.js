// SPDX-License-Identifier: Apache-2.0

// The page that renders /openapi.json, and lets a reader try each call.

import { base } from './base.js';
import { field, fill, h, select } from './dom.js';
import { decoded } from './format.js';
import { t } from './i18n.js';
import { authorized, logIn } from './login.js';
import { shell } from './shell.js';

const main = h('main', { id: 'main', tabindex: '-1', class: 'reference' });
const { mark } = shell(main);
mark(base + 'docs');
document.title = `${t('nav.api')} · classrec`;

const prefix = '#/components/schemas/';
let schemas = {};

const resolved = (schema) => (schema?.$ref ? schemas[schema.$ref.slice(prefix.length)] || {} : schema || {});
const shortName = (ref) => ref.slice(prefix.length).replace(/^.*\.(?=[A-Z])/, '');

// typeOf names the type of a schema; a message is a link to where it is described.
function typeOf(schema = {}) {
  if (schema.$ref) return h('a', { href: '#' + shortName(schema.$ref) }, shortName(schema.$ref));
  if (schema.allOf?.length === 1) return typeOf(schema.allOf[0]);
  if (schema.type === 'array') return ['[', typeOf(schema.items), ']'];
  return [schema.type || 'any', schema.format && ` · ${schema.format}`].filter(Boolean).join('');
}

// prose shows a description: paragraphs, and `code`.
const prose = (text = '') => text.split(/\n\s*\n/).map((part) => h('p', {}, part.split(/`([^`]+)`/).map((piece, i) => (i % 2 ? h('code', {}, piece) : piece.replaceAll('\n', ' ')))));

const rules = (schema) => (schema['x-rules'] || []).join('; ');

function properties(schema) {
  const all = Object.entries(schema.properties || {});
  return all.length > 0 && h('dl', { class: 'properties' }, all.map(([name, p]) => [
    h('dt', {}, h('code', {}, name), ' ', h('span', { class: 'dim' }, typeOf(p)), schema.required?.includes(name) && h('span', { class: 'required' }, t('docs.required'))),
    h('dd', {}, prose(p.description), rules(p) && h('p', { class: 'dim' }, rules(p)))]));
}

// control makes the input for a value of a schema. Its value is undefined where nothing is given.
function control(name, schema, required, example) {
  const s = { ...resolved(schema), ...schema };
  const common = { name, required, 'data-type': s.type };
  if (s.enum) return select(common, [['', '–'], ...s.enum.filter((v) => !String(v).endsWith('_UNSPECIFIED')).map((v) => [v, v])]);
  if (s.type === 'boolean') return select(common, [['', '–'], ['true', 'true'], ['false', 'false']]);
  if (s.type === 'object' || s.type === 'array') return h('textarea', { ...common, rows: 2, spellcheck: 'false', placeholder: 'JSON' });
  return h('input', { ...common, type: s.format === 'password' ? 'password' : 'text', inputmode: s.type === 'integer' ? 'numeric' : null,
    autocomplete: 'off', spellcheck: 'false', value: required && example !== undefined ? example : '', placeholder: s.format === 'date-time' ? '2026-01-31T08:00:00Z' : s.pattern?.endsWith('s$') ? '90s' : '' });
}

function valueOf(input) {
  if (input.value === '') return undefined;
  switch (input.dataset.type) {
    case 'boolean': return input.value === 'true';
    case 'integer': return Number(input.value);
    case 'object': case 'array': return JSON.parse(input.value);
    default: return input.value;
  }
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// operation is one call with its form.
function operation(method, path, op, shared) {
  const id = op.operationId || method + path;
  const parameters = [...(shared || []), ...(op.parameters || [])].map((p) => {
    const example = p.example ?? Object.values(p.examples || {})[0]?.value ?? p.schema?.example ?? (p.name === 'room' ? '42' : undefined);
    return { p, input: control(p.name, p.schema, p.required, example) };
  });
  const bodySchema = resolved(op.requestBody?.content?.['application/json']?.schema);
  const bodyFields = Object.entries(bodySchema.properties || {}).map(([name, s]) => ({ name, s, input: control(name, s, bodySchema.required?.includes(name)) }));
  const kinds = Object.keys(op.responses?.['200']?.content || {});
  const streaming = kinds.includes('text/event-stream') || kinds.includes('application/x-ndjson');
  const accept = streaming && select({ name: 'accept' }, kinds.map((k) => [k, k]));
  const curl = h('pre', { class: 'curl', tabindex: '0', 'aria-label': 'curl' });
  const out = h('div', { class: 'answer', 'aria-live': 'polite' });
  const sendButton = h('button', { class: 'primary', type: 'submit' }, t('docs.send'));
  const stopButton = h('button', { type: 'button', hidden: true }, t('docs.stop'));

  const request = () => {
    const query = new URLSearchParams();
    const headers = {};
    let url = base + path.slice(1);
    for (const { p, input } of parameters) {
      const value = valueOf(input);
      if (p.in === 'path') url = url.replace(`{${p.name}}`, encodeURIComponent(value ?? ''));
      else if (value !== undefined && p.in === 'query') query.set(p.name, value);
      else if (value !== undefined && p.in === 'header') headers[p.name] = value;
    }
    if (accept) headers.Accept = accept.value;
    const options = { method: method.toUpperCase(), headers };
    if (op.requestBody) {
      headers['Content-Type'] = 'application/json';
      options.body = JSON.stringify(Object.fromEntries(bodyFields.map(({ name, input }) => [name, valueOf(input)]).filter(([, v]) => v !== undefined)));
    }
    return { url: url + (query.size ? `?${query}` : ''), options };
  };
  const drawCurl = () => {
    try {
      const { url, options } = request();
      curl.textContent = ['curl', streaming && '-N', options.method !== 'GET' && `-X ${options.method}`, ...Object.entries(options.headers).map(([k, v]) => `-H ${quoted(`${k}: ${v}`)}`),
        options.body && `-d ${quoted(options.body)}`, quoted(location.origin + url)].filter(Boolean).join(' ');
    } catch (error) {
      curl.textContent = error.message;
    }
  };
  const send = async () => {
    const end = new AbortController();
    const began = performance.now();
    const text = h('pre', { tabindex: '0' });
    const line = h('p', { class: 'dim' }, t('docs.waiting'));
    fill(out, line, text);
    sendButton.disabled = true;
    stopButton.hidden = false;
    stopButton.onclick = () => end.abort();
    try {
      const { url, options } = request();
      const headers = authorized(options.headers);
      let answer = await fetch(url, { ...options, headers, signal: end.signal });
      if (answer.status === 401) {
        await logIn(headers);
        answer = await fetch(url, { ...options, headers: authorized(options.headers), signal: end.signal });
      }
      fill(line, h('span', { class: answer.ok ? 'status ok' : 'status bad' }, `${answer.status} ${answer.statusText}`), ` ${answer.headers.get('Content-Type') || ''} · ${Math.round(performance.now() - began)} ms`);
      if (streaming && answer.ok) {
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let read = await reader.read(); !read.done; read = await reader.read()) {
          text.append(read.value);
          text.scrollTop = text.scrollHeight;
        }
      } else {
        const body = await answer.text();
        try {
          text.textContent = JSON.stringify(JSON.parse(body), null, 2);
        } catch {
          text.textContent = body;
        }
      }
    } catch (error) {
      if (!end.signal.aborted) line.textContent = error.message;
      else if (!text.textContent) line.textContent = t('docs.stopped');
    } finally {
      sendButton.disabled = false;
      stopButton.hidden = true;
    }
  };
  const form = h('form', { class: 'try', onsubmit: (e) => { e.preventDefault(); send(); }, oninput: drawCurl },
    h('div', { class: 'grid' }, parameters.map(({ p, input }) => field([h('code', {}, p.name), ' ', h('span', { class: 'dim' }, p.in)], input)),
      bodyFields.map(({ name, input }) => field([h('code', {}, name), ' ', h('span', { class: 'dim' }, 'body')], input)),
      accept && field([h('code', {}, 'Accept'), ' ', h('span', { class: 'dim' }, 'header')], accept)),
    curl, h('div', { class: 'buttons' }, sendButton, stopButton), out);
  drawCurl();
  return h('section', { class: 'panel operation', id, 'aria-labelledby': `${id}-title` },
    h('h2', { id: `${id}-title` }, h('span', { class: `method ${method}` }, method.toUpperCase()), ' ', h('code', {}, path)),
    h('p', { class: 'summary' }, op.summary), h('details', {}, h('summary', {}, t('docs.about')), prose(op.description),
      parameters.length > 0 && [h('h3', {}, t('docs.parameters')), h('dl', { class: 'properties' }, parameters.map(({ p }) => [
        h('dt', {}, h('code', {}, p.name), ' ', h('span', { class: 'dim' }, p.in, ' · ', typeOf(p.schema)), p.required && h('span', { class: 'required' }, t('docs.required'))),
        h('dd', {}, prose(p.description), rules(p.schema || {}) && h('p', { class: 'dim' }, rules(p.schema)))]))],
      bodyFields.length > 0 && [h('h3', {}, t('docs.body')), properties(bodySchema)],
      h('h3', {}, t('docs.answers')), h('dl', { class: 'properties' }, Object.entries(op.responses || {}).map(([code, r]) => [
        h('dt', {}, h('code', {}, code), ' ', Object.entries(r.content || {}).map(([kind, c]) => h('span', { class: 'dim' }, kind, ' ', typeOf(c.schema), ' '))), h('dd', {}, prose(r.description))]))),
    h('details', { class: 'trial' }, h('summary', {}, t('docs.try')), form));
}

async function show() {
  const spec = await (await fetch(base + 'openapi.json')).json();
  schemas = spec.components?.schemas || {};
  const calls = Object.entries(spec.paths).flatMap(([path, item]) => ['get', 'post', 'put', 'patch', 'delete'].filter((m) => item[m]).map((m) => ({ method: m, path, op: item[m], shared: item.parameters })));
  const order = ['Start', 'Stop', 'Get', 'List', 'Watch'];
  const rank = ({ op }) => order.findIndex((o) => op.operationId?.includes(o + (o === 'List' ? 'Recordings' : o === 'Watch' ? 'Class' : 'Recording')));
  calls.sort((a, b) => rank(a) - rank(b) || a.op.operationId.length - b.op.operationId.length);
  const named = Object.keys(schemas).sort((a, b) => shortName(prefix + a).localeCompare(shortName(prefix + b)));
  fill(main, h('h1', {}, t('docs.title')), h('div', { class: 'columns reversed' },
    h('nav', { class: 'contents', 'aria-label': t('docs.contents') }, h('ul', {}, calls.map(({ method, path, op }) =>
      h('li', {}, h('a', { href: '#' + (op.operationId || method + path), title: path }, h('span', { class: `method ${method}` }, method.toUpperCase()), ' ', (op.operationId || path).replace(/^\w*Service_/, '').replace(/_\d+$/, ''))))),
    h('p', {}, h('a', { href: '#schemas' }, t('docs.schemas'))), h('p', {}, h('a', { href: base + 'openapi.json' }, 'openapi.json'))),
    h('div', { class: 'stack' },
      h('section', { class: 'panel' }, prose(spec.info.description)),
      calls.map(({ method, path, op, shared }) => operation(method, path, op, shared)),
      h('section', { class: 'panel', id: 'schemas' }, h('h2', {}, t('docs.schemas')), named.map((name) => h('details', { id: shortName(prefix + name) },
        h('summary', {}, h('code', {}, shortName(prefix + name))), prose(schemas[name].description), properties(schemas[name]),
        schemas[name].enum && h('ul', {}, schemas[name].enum.map((v) => h('li', {}, h('code', {}, String(v)))))))))));
  const open = () => {
    const target = document.getElementById(decoded(location.hash.slice(1)));
    if (target?.tagName === 'DETAILS') target.open = true;
    target?.scrollIntoView();
  };
  addEventListener('hashchange', open);
  open();
}

show().catch((error) => fill(main, h('h1', {}, t('docs.title')), h('div', { class: 'problem', role: 'alert' }, error.message)));
