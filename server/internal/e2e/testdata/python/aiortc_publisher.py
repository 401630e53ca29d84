# SPDX-License-Identifier: Apache-2.0
"""aiortc as publisher by WHIP."""

import asyncio
import fractions
import math
import struct
import sys
import threading

import aioice.ice
import av
from aiortc import AudioStreamTrack, RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack

from control import calls, say, whip

# aioice leaves loopback out.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class Camera(VideoStreamTrack):
    """A picture that changes all the time."""

    def __init__(self, width, height):
        super().__init__()
        self.size, self.frames = (width, height), 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame(*self.size, "yuv420p")
        for plane in frame.planes:
            row = bytes((x + 3 * self.frames) % 256 for x in range(plane.line_size))
            plane.update(row * (plane.buffer_size // plane.line_size))
        frame.pts, frame.time_base = pts, time_base
        self.frames += 1
        return frame


class Microphone(AudioStreamTrack):
    """A tone, so that no packet is the silence that a recorder fills in."""

    RATE, SAMPLES = 48000, 960

    async def recv(self):
        if hasattr(self, "position"):
            self.position += self.SAMPLES
            wait = self.start + self.position / self.RATE - asyncio.get_running_loop().time()
            await asyncio.sleep(max(wait, 0))
        else:
            self.start, self.position = asyncio.get_running_loop().time(), 0
        frame = av.AudioFrame(format="s16", layout="mono", samples=self.SAMPLES)
        tone = (int(8000 * math.sin(2 * math.pi * 440 * (self.position + i) / self.RATE)) for i in range(self.SAMPLES))
        frame.planes[0].update(struct.pack("<%dh" % self.SAMPLES, *tone))
        frame.pts, frame.sample_rate, frame.time_base = self.position, self.RATE, fractions.Fraction(1, self.RATE)
        return frame


class Publisher:
    def __init__(self):
        self.sessions = {}

    async def publish(self, name, options):
        pc = RTCPeerConnection()
        camera = Camera(options.get("width", 640), options.get("height", 360))
        connected = asyncio.get_running_loop().create_future()

        @pc.on("connectionstatechange")
        def changed():
            if pc.connectionState in ("connected", "failed") and not connected.done():
                connected.set_result(pc.connectionState)

        pc.addTransceiver(Microphone(), "sendonly")
        video = pc.addTransceiver(camera, "sendonly")
        if codec := options.get("codec"):
            mine = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType in (codec, "video/rtx")]
            video.setCodecPreferences(mine)
        await pc.setLocalDescription(await pc.createOffer())
        headers, answer = await asyncio.to_thread(whip, "POST", options["url"], pc.localDescription.sdp)
        self.sessions[name] = (pc, camera, options["url"], headers["Location"])
        await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        if await connected != "connected":
            raise RuntimeError("connection failed")
        return pc.localDescription.sdp

    async def stats(self, name):
        pc, camera, _, _ = self.sessions[name]
        sent = {"frames": camera.frames, "state": pc.connectionState, "audio": 0, "packets": 0}
        for s in (await pc.getStats()).values():
            if s.type == "outbound-rtp":
                sent["audio" if s.kind == "audio" else "packets"] += s.packetsSent
        return sent

    async def quiet(self, name):
        for sender in self.sessions[name][0].getSenders():
            sender.replaceTrack(None)

    async def end(self, name):
        pc, _, url, location = self.sessions.pop(name)
        await asyncio.to_thread(whip, "DELETE", url.split("/whip/")[0] + location)
        await pc.close()


async def main():
    publisher, loop, lines = Publisher(), asyncio.get_running_loop(), asyncio.Queue()

    def read():
        for call in calls():
            loop.call_soon_threadsafe(lines.put_nowait, call)
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()

    async def answer(number, method, args):
        try:
            say(id=number, result=await getattr(publisher, method)(*args))
        except Exception as failure:  # the test is told of every one
            say(id=number, error=repr(failure))

    tasks = set()
    while call := await lines.get():
        task = asyncio.create_task(answer(*call))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for name in list(publisher.sessions):
        await publisher.sessions[name][0].close()


asyncio.run(main())
sys.exit(0)
