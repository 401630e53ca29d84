// SPDX-License-Identifier: Apache-2.0

// A browser as publisher by WHIP: any number of sessions of the fake camera and a tone, each by the name of its person.
'use strict';

const publisher = (() => {
  const sessions = new Map(); // name -> {pc, tracks, location}
  let tone = null;

  // sound is a tone that never falls silent, so that each packet of it has a content that can be told from filled silence.
  function sound() {
    if (!tone) {
      const context = new AudioContext({ sampleRate: 48000 });
      const oscillator = new OscillatorNode(context, { frequency: 440 });
      const gain = new GainNode(context, { gain: 0.2 });
      const wobble = new OscillatorNode(context, { frequency: 3 });
      const depth = new GainNode(context, { gain: 0.1 });
      tone = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
      oscillator.connect(gain).connect(tone);
      wobble.connect(depth).connect(gain.gain);
      oscillator.start();
      wobble.start();
    }
    return tone.stream.getAudioTracks()[0].clone();
  }

  // beat draws a flash and beeps on one clock, every `every` seconds. Both last 200 ms.
  function beat(every) {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [320, 240];
    const drawing = canvas.getContext('2d');
    const context = new AudioContext({ sampleRate: 48000, latencyHint: 'interactive' });
    const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    const gain = new GainNode(context, { gain: 0 });
    new OscillatorNode(context, { frequency: 1000 }).connect(gain).connect(out);
    const oscillator = new OscillatorNode(context, { frequency: 1000 });
    oscillator.connect(gain);
    oscillator.start();
    const start = context.currentTime + 0.5;
    let next = start;
    let shade = 0;
    setInterval(() => {
      const now = context.currentTime;
      while (next < now + 0.5) {
        gain.gain.setValueAtTime(0.5, next);
        gain.gain.setValueAtTime(0, next + 0.2);
        next += every;
      }
      const into = (now - start) % every;
      shade = (shade + 1) % 40; // each picture differs, so that each is sent
      drawing.fillStyle = now >= start && into < 0.2 ? '#fff' : `rgb(${shade},${shade},${shade})`;
      drawing.fillRect(0, 0, canvas.width, canvas.height);
    }, 20);
    return [out.stream.getAudioTracks()[0], canvas.captureStream(30).getVideoTracks()[0]];
  }

  async function whip(method, url, body, type) {
    const response = await fetch(url, { method, body, headers: type ? { 'Content-Type': type } : {} });
    if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${await response.text()}`);
    return response;
  }

  function prefer(transceiver, codec) {
    if (!codec) return;
    const all = RTCRtpSender.getCapabilities('video').codecs;
    const mine = all.filter((c) => c.mimeType.toLowerCase() === codec.toLowerCase());
    if (!mine.length) throw new Error('no encoder for ' + codec);
    transceiver.setCodecPreferences([...mine, ...all.filter((c) => /rtx$/i.test(c.mimeType))]);
  }

  async function publish(name, options) {
    const { width = 640, height = 360, frameRate = 15 } = options;
    let tracks;
    if (options.beat) {
      tracks = beat(options.beat);
    } else {
      const fake = navigator.userAgent.includes('Firefox'); // its fake microphone is a tone, and its AudioContext needs a device
      const media = await navigator.mediaDevices.getUserMedia({ audio: fake, video: { width, height, frameRate } });
      tracks = [fake ? media.getAudioTracks()[0] : sound(), media.getVideoTracks()[0]];
    }
    const pc = new RTCPeerConnection();
    const connected = new Promise((resolve, reject) => {
      pc.onconnectionstatechange = () => {
        if (pc.connectionState === 'connected') resolve();
        if (pc.connectionState === 'failed') reject(new Error('connection failed'));
      };
    });
    connected.catch(() => {});
    const stream = new MediaStream(tracks);
    const senders = [];
    for (const track of tracks) {
      const init = { direction: 'sendonly', streams: [stream] };
      if (track.kind === 'video' && options.simulcast) {
        init.sendEncodings = [{ rid: 'q', scaleResolutionDownBy: 4 }, { rid: 'h', scaleResolutionDownBy: 2 }, { rid: 'f' }];
      }
      if (track.kind === 'video' && options.scalability) init.sendEncodings = [{ scalabilityMode: options.scalability }];
      const transceiver = pc.addTransceiver(track, init);
      if (track.kind === 'video') prefer(transceiver, options.codec);
      senders.push(transceiver.sender);
    }
    const offer = await pc.createOffer();
    if (options.dtx) offer.sdp = offer.sdp.replace(/(a=fmtp:\d+ minptime=10)/, '$1;usedtx=1');
    await pc.setLocalDescription(offer);
    const created = await whip('POST', options.url, offer.sdp, 'application/sdp');
    const session = { pc, tracks, senders, location: created.headers.get('Location') };
    sessions.set(name, session);
    await pc.setRemoteDescription({ type: 'answer', sdp: (await created.text()).replace(/(minptime=10)/, options.dtx ? '$1;usedtx=1' : '$1') });
    if (options.wait !== false) await connected;
    return offer.sdp;
  }

  async function stats(name) {
    const sum = { state: sessions.get(name).pc.connectionState, frames: 0, packets: 0, resent: 0, audio: 0, nacks: 0, keyframes: 0, layers: [] };
    (await sessions.get(name).pc.getStats()).forEach((s) => {
      if (s.type !== 'outbound-rtp') return;
      if (s.kind === 'audio') { sum.audio += s.packetsSent; return; }
      sum.frames += s.framesSent || s.framesEncoded || 0;
      sum.packets += s.packetsSent;
      sum.resent += s.retransmittedPacketsSent || 0;
      sum.nacks += s.nackCount || 0;
      sum.keyframes += s.keyFramesEncoded || 0;
      sum.layers.push({ rid: s.rid, width: s.frameWidth, height: s.frameHeight, mode: s.scalabilityMode, frames: s.framesSent });
    });
    return sum;
  }

  // quiet ends sending, of one kind or of both; the connection stays.
  async function quiet(name, kind) {
    for (const [i, sender] of sessions.get(name).senders.entries()) {
      if (!kind || sessions.get(name).tracks[i].kind === kind) await sender.replaceTrack(null);
    }
  }

  // loud undoes quiet.
  async function loud(name) {
    for (const [i, sender] of sessions.get(name).senders.entries()) await sender.replaceTrack(sessions.get(name).tracks[i]);
  }

  // mute is the switch of the microphone.
  function mute(name, muted) {
    for (const track of sessions.get(name).tracks) if (track.kind === 'audio') track.enabled = !muted;
  }

  // drop closes the connection without a word to the server.
  function drop(name) {
    const { pc, tracks } = sessions.get(name);
    pc.close();
    for (const track of tracks) track.stop();
    sessions.delete(name);
  }

  async function end(name) {
    const { location } = sessions.get(name);
    await whip('DELETE', location);
    drop(name);
  }

  return { publish, stats, quiet, loud, mute, drop, end };
})();
