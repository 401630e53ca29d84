// SPDX-License-Identifier: Apache-2.0

// play plays a file from another origin: it waits until it can play, plays a little, seeks to the middle and near the end,
// and plays to the end. It resolves to what was seen on the way.
'use strict';

async function play(src, captions) {
  const video = document.createElement('video');
  video.crossOrigin = 'anonymous';
  video.muted = true;
  video.preload = 'auto';
  const happened = (event, when) => new Promise((resolve, reject) => {
    if (when && when()) { resolve(); return; }
    const done = () => { if (!when || when()) { video.removeEventListener(event, done); resolve(); } };
    video.addEventListener(event, done);
    video.addEventListener('error', () => reject(new Error('video error ' + video.error.code + ': ' + video.error.message)), { once: true });
  });
  // shown resolves to the next picture's time, and how many colors are on it; near a time, to the first that is near, or
  // the last that came within 5 s. The one from before a seek may still come after it was asked for.
  const shown = (near) => new Promise((resolve) => {
    let seen = { time: -1, colors: 0 };
    if (!video.videoWidth) { resolve(seen); return; }
    const late = setTimeout(() => resolve(seen), 5000);
    const take = (_, { mediaTime }) => {
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      const context = canvas.getContext('2d');
      context.drawImage(video, 0, 0);
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      const colors = new Set();
      for (let i = 0; i < data.length; i += 4) colors.add(((data[i] >> 5) << 6) | ((data[i + 1] >> 5) << 3) | (data[i + 2] >> 5));
      seen = { time: mediaTime, colors: colors.size };
      if (near !== undefined && Math.abs(mediaTime - near) > 0.3) {
        video.requestVideoFrameCallback(take);
        return;
      }
      clearTimeout(late);
      resolve(seen);
    };
    video.requestVideoFrameCallback(take);
  });

  let cues = null;
  if (captions) {
    const track = document.createElement('track');
    Object.assign(track, { kind: 'subtitles', src: captions, srclang: 'en', default: true });
    video.append(track);
    track.track.mode = 'showing';
    cues = new Promise((resolve, reject) => {
      track.onload = () => resolve([...track.track.cues].map((c) => ({ start: c.startTime, end: c.endTime, text: c.getCueAsHTML().textContent })));
      track.onerror = () => reject(new Error('the captions do not load'));
    });
  }

  document.body.append(video);
  video.src = src;
  await happened('canplay', () => video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA);
  const seen = { duration: video.duration, width: video.videoWidth, height: video.videoHeight, seeks: [] };
  await video.play();
  await happened('timeupdate', () => video.currentTime > 0.3);
  seen.first = await shown();
  video.pause();
  for (const target of [video.duration / 2, video.duration - 0.4]) {
    const picture = shown(target);
    video.currentTime = target;
    await happened('seeked');
    seen.seeks.push({ target, time: video.currentTime, picture: await picture });
  }
  await video.play();
  await happened('ended', () => video.ended);
  seen.end = video.currentTime;
  seen.cues = cues && await cues;
  video.remove();
  return seen;
}
