// SPDX-License-Identifier: Apache-2.0

// Camera publishes camera and microphone as the vendor's web SDK does: an offer without candidates, setLocalDescription
// only when the answer is there, all candidates afterwards, and "end".
'use strict';

class Camera {
  constructor(room, tell) {
    this.room = room;
    this.tell = tell;
    room.mediaServer = (m) => this.said(m);
    this.mine = new Map(); // stream id -> {pc, offer, ready, failed, candidates}
  }

  async open() {
    this.media = await navigator.mediaDevices.getUserMedia({
      audio: true, video: { width: 320, height: 240, frameRate: 15 },
    });
  }

  // publish takes the stream to the server and resolves to its id when it is ready.
  async publish() {
    const me = this.room.userId;
    const [code, id] = await this.room.emitNull('publish', {
      state: 'ms', data: false, audio: true, video: true, screen: false, minVideoBW: 0, attributes: { type: 'video' }, extensionId: me,
    });
    if (code !== 0) throw new Error('publish: ' + code + ' ' + JSON.stringify(id));
    const pc = new RTCPeerConnection({ iceServers: [] });
    for (const track of this.media.getTracks()) pc.addTrack(track, this.media); // sendrecv, as unified plan gives it
    const offer = await pc.createOffer();
    offer.sdp = Camera.munge(offer.sdp);
    if (offer.sdp.includes('a=candidate')) throw new Error('the offer has candidates');
    const mine = { pc, offer, candidates: 0 };
    mine.connected = new Promise((resolve, reject) => {
      mine.ready = resolve;
      pc.onconnectionstatechange = () => pc.connectionState === 'failed' && reject(new Error('connection failed'));
    });
    pc.onicecandidate = ({ candidate }) => {
      if (candidate && candidate.candidate) mine.candidates++;
      this.signal(id, {
        type: 'candidate',
        candidate: candidate && candidate.candidate
          ? { sdpMLineIndex: candidate.sdpMLineIndex, sdpMid: candidate.sdpMid, candidate: candidate.candidate }
          : { sdpMLineIndex: -1, sdpMid: 'end', candidate: 'end' },
      });
    };
    this.mine.set(id, mine);
    await this.signal(id, { type: 'offer', sdp: offer.sdp });
    await mine.connected;
    return { id, candidates: mine.candidates, states: pc.connectionState };
  }

  async signal(id, msg) {
    const [code] = await this.room.emitNull('signaling_message', { streamId: id, msg });
    if (code !== 0) this.tell('page-error', 'signaling_message ' + msg.type + ': ' + JSON.stringify(code));
  }

  // said takes what the media server says of a stream.
  async said({ streamId, mess }) {
    const mine = this.mine.get(streamId);
    if (mess.type === 'answer') {
      await mine.pc.setLocalDescription(mine.offer); // only now, so that all candidates come after the answer
      await mine.pc.setRemoteDescription({ type: 'answer', sdp: mess.sdp });
      this.tell('answered', { candidates: mess.sdp.split('a=candidate').length - 1 });
    } else if (mess.type === 'ready') {
      mine.ready();
    }
  }

  // munge edits an offer as the SDK does: no transport-cc feedback, nack for opus, b=AS directly behind m=video.
  static munge(sdp) {
    const opus = /a=rtpmap:(\d+) opus/.exec(sdp)[1];
    return sdp.replace(/a=rtcp-fb:\d+ transport-cc\r\n/g, '')
      .replace(/(a=rtpmap:\d+ opus.*\r\n)/, '$1a=rtcp-fb:' + opus + ' nack\r\n')
      .replace(/(m=video.*\r\n)/, '$1b=AS:256\r\n');
  }

  // mute tells of muting, and stops the tracks.
  async mute(id, muted) {
    await this.signal(id, { type: 'updatestream', config: { muteStream: muted } });
    for (const track of this.media.getTracks()) track.enabled = !muted[track.kind];
  }

  async sent(id) {
    let frames = 0; let packets = 0;
    (await this.mine.get(id).pc.getStats()).forEach((s) => {
      if (s.type !== 'outbound-rtp') return;
      if (s.kind === 'video') frames = s.framesSent;
      else packets = s.packetsSent;
    });
    return { frames, packets };
  }

  // film resolves when so many more frames have been sent, with sound beside them.
  async film(id, frames) {
    const before = await this.sent(id);
    for (;;) {
      const now = await this.sent(id);
      if (now.frames >= before.frames + frames && now.packets > before.packets) return now;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  // close ends the connection of a stream, as when the room is lost.
  close(id) {
    this.mine.get(id).pc.close();
    this.mine.delete(id);
  }

  async unpublish(id) {
    const [code] = await this.room.emit('unpublish', id);
    this.close(id);
    return code;
  }
}
