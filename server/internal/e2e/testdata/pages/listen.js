// SPDX-License-Identifier: Apache-2.0

// listen plays a file from another origin from its beginning, for so many seconds, and resolves to when it was seen to
// flash, in its lowest quarter, and heard to beep, on one clock.
'use strict';

async function listen(src, seconds) {
  const video = document.createElement('video');
  video.crossOrigin = 'anonymous';
  video.preload = 'auto';
  document.body.append(video);
  video.src = src;
  await new Promise((resolve, reject) => {
    video.addEventListener('canplay', resolve, { once: true });
    video.addEventListener('error', () => reject(new Error('video error ' + video.error.code + ': ' + video.error.message)), { once: true });
  });
  const context = new AudioContext();
  await context.resume();
  const flashes = [];
  const beeps = [];
  const ear = context.createScriptProcessor(256, 1, 1);
  let loud = -1; // when it was last
  ear.onaudioprocess = ({ inputBuffer, playbackTime }) => {
    const data = inputBuffer.getChannelData(0);
    const at = playbackTime - inputBuffer.duration;
    if (data.some((v) => Math.abs(v) > 0.05)) {
      if (at - loud > 0.3) beeps.push(at);
      loud = at;
    }
  };
  context.createMediaElementSource(video).connect(ear);
  ear.connect(context.destination);
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [8, 8];
  const eye = canvas.getContext('2d', { willReadFrequently: true });
  let bright = false;
  const look = (now) => {
    eye.drawImage(video, 0, video.videoHeight * 3 / 4, video.videoWidth / 8, video.videoHeight / 4, 0, 0, 8, 8);
    const { data } = eye.getImageData(0, 0, 8, 8);
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) sum += data[i] + data[i + 1] + data[i + 2];
    const is = sum / (data.length * 3 / 4) > 190;
    if (is && !bright) flashes.push(context.currentTime + (now - performance.now()) / 1000);
    bright = is;
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  await video.play();
  await new Promise((resolve) => {
    video.addEventListener('timeupdate', () => { if (video.currentTime >= seconds) resolve(); });
    video.addEventListener('ended', resolve);
  });
  video.pause();
  video.remove();
  await context.close();
  return { flashes, beeps };
}
