// SPDX-License-Identifier: Apache-2.0

// The chat inside a Matroska or WebM file, which browsers do not show: its subtitle track (RFC 9559), read from the file
// as it is downloaded, and never kept as a whole.

const ids = {
  segment: 0x18538067, info: 0x1549a966, timestampScale: 0x2ad7b1, tracks: 0x1654ae6b, entry: 0xae, number: 0xd7, type: 0x83, codec: 0x86,
  cluster: 0x1f43b675, timestamp: 0xe7, group: 0xa0, block: 0xa1, duration: 0x9b,
};
const masters = new Set([ids.segment, ids.info, ids.tracks, ids.entry, ids.cluster, ids.group]);
const wanted = new Set([ids.timestampScale, ids.number, ids.type, ids.codec, ids.timestamp, ids.block, ids.duration]);
const subtitle = 0x11; // TrackType
const largest = 64 << 10; // a block that is larger is no line of chat

// Bytes gives out what a stream holds, piece by piece; null at its end.
class Bytes {
  constructor(stream) {
    this.reader = stream.getReader();
    this.chunk = new Uint8Array(0);
    this.at = 0;
  }

  async more() {
    const { value, done } = await this.reader.read();
    [this.chunk, this.at] = [value || new Uint8Array(0), 0];
    return !done;
  }

  async take(n) {
    const out = new Uint8Array(n);
    for (let have = 0; have < n;) {
      if (this.at === this.chunk.length && !await this.more()) return null;
      const piece = this.chunk.subarray(this.at, this.at + n - have);
      out.set(piece, have);
      [have, this.at] = [have + piece.length, this.at + piece.length];
    }
    return out;
  }

  async skip(n) {
    while (n > 0) {
      if (this.at === this.chunk.length && !await this.more()) return;
      const step = Math.min(n, this.chunk.length - this.at);
      [n, this.at] = [n - step, this.at + step];
    }
  }

  // vint reads a variable-length number: an id keeps its length marker, a size of all ones is not known (Infinity).
  async vint(isID) {
    const first = await this.take(1);
    const size = first && Math.clz32(first[0]) - 23;
    const rest = size && size <= 8 && await this.take(size - 1);
    if (!rest) return null;
    let value = isID ? first[0] : first[0] & (0xff >> size);
    let ones = value === 0xff >> size;
    for (const b of rest) [value, ones] = [value * 256 + b, ones && b === 0xff];
    return !isID && ones ? Infinity : value;
  }
}

const number = (bytes) => bytes.reduce((n, b) => n * 256 + b, 0);

// chatOf returns the lines of the first subtitle track: {start, end, text}, times in seconds. null: there is no such track.
export async function chatOf(url, signal) {
  const answer = await fetch(url, { signal });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const bytes = new Bytes(answer.body);
  const text = new TextDecoder();
  const entry = {};
  const cues = [];
  let [scale, cluster, track, webVTT] = [1e6, 0, 0, false];
  for (;;) {
    const id = await bytes.vint(true);
    const size = id !== null ? await bytes.vint(false) : null;
    if (size === null) break;
    if (masters.has(id)) {
      if (id === ids.cluster && !track) {
        await bytes.reader.cancel();
        return null;
      }
      if (id === ids.entry) for (const key of Object.keys(entry)) delete entry[key];
      continue; // what is in it comes next
    }
    if (!wanted.has(id) || size > largest) {
      await bytes.skip(size);
      continue;
    }
    const data = await bytes.take(size);
    if (!data) break;
    if (id === ids.timestampScale) scale = number(data);
    else if (id === ids.number) entry.number = number(data);
    else if (id === ids.type) entry.type = number(data);
    else if (id === ids.codec) entry.codec = text.decode(data);
    else if (id === ids.timestamp) cluster = number(data);
    else if (id === ids.duration && cues.open) cues.at(-1).end = cues.at(-1).start + (number(data) * scale) / 1e9;
    if (!track && entry.type === subtitle && entry.number && entry.codec) [track, webVTT] = [entry.number, entry.codec.startsWith('D_WEBVTT')];
    if (id !== ids.block) continue;
    const at = data[0] & 0x80 ? 1 : 2; // after the track's number
    const of = at === 1 ? data[0] & 0x7f : ((data[0] & 0x3f) << 8) | data[1];
    cues.open = of === track;
    if (!cues.open) continue;
    const start = ((cluster + new DataView(data.buffer).getInt16(at)) * scale) / 1e9;
    const words = text.decode(data.subarray(at + 3));
    cues.push({ start, end: start + 5, text: webVTT ? words.split('\n').slice(2).join('\n') : words.replaceAll('&', '&amp;').replaceAll('<', '&lt;') });
  }
  return track ? cues : null;
}
