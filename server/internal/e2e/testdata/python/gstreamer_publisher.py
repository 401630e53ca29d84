# SPDX-License-Identifier: Apache-2.0
"""GStreamer's webrtcbin as publisher by WHIP."""

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

from control import calls, say, whip  # noqa: E402

VIDEO = {
    "video/VP8": "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=60 target-bitrate=600000 ! rtpvp8pay picture-id-mode=15-bit pt=96",
    "video/VP9": "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=60 target-bitrate=600000 ! rtpvp9pay picture-id-mode=15-bit pt=96",
    "video/H264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=600 key-int-max=60 ! video/x-h264,profile=constrained-baseline"
    " ! rtph264pay config-interval=-1 aggregate-mode=zero-latency pt=96",
    "video/H264 with B-frames": "x264enc speed-preset=ultrafast bitrate=600 key-int-max=60 bframes=3 b-adapt=false rc-lookahead=0"
    " sliced-threads=false ! video/x-h264,profile=main ! rtph264pay config-interval=-1 aggregate-mode=zero-latency pt=96",
}


class Publisher:
    def __init__(self):
        self.sessions, self.agents = {}, []

    def publish(self, name, options):
        width, height, rate = options.get("width", 640), options.get("height", 360), options.get("frameRate", 15)
        pipeline = Gst.parse_launch(
            "webrtcbin name=w bundle-policy=max-bundle "
            f"videotestsrc is-live=true pattern=ball ! video/x-raw,width={width},height={height},framerate={rate}/1 ! queue ! videoconvert ! "
            f"{VIDEO[options.get('codec', 'video/VP8')]} ! queue ! w. "
            "audiotestsrc is-live=true freq=440 volume=0.3 ! audio/x-raw,rate=48000,channels=1 ! queue ! audioconvert ! "
            "opusenc inband-fec=true packet-loss-percentage=10 ! rtpopuspay pt=97 ! queue ! w."
        )
        w = pipeline.get_by_name("w")
        ice = w.get_property("ice-agent")
        self.agents.append(ice)  # its one reference is floating: webrtcbin would lose it with ours
        ice.emit("add-local-ip-address", "127.0.0.1")
        for i in range(2):
            transceiver = w.emit("get-transceiver", i)
            transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
            transceiver.set_property("do-nack", True)
        connected, needed = threading.Event(), threading.Event()
        if not options.get("burst"):  # otherwise all that waits for the connection is sent with it
            for pad in w.sinkpads:
                pad.add_probe(Gst.PadProbeType.BUFFER, self.gate(connected))
        w.connect("notify::connection-state", lambda *_: connected.set()
                  if w.get_property("connection-state") == GstWebRTC.WebRTCPeerConnectionState.CONNECTED else None)
        w.connect("on-negotiation-needed", lambda *_: needed.set())
        pipeline.set_state(Gst.State.PLAYING)
        self.sessions[name] = (pipeline, options["url"], None)
        if not needed.wait(30):
            raise RuntimeError("no negotiation needed")
        promise = Gst.Promise.new()
        w.emit("create-offer", None, promise)
        promise.wait()
        reply = promise.get_reply()  # owns the offer
        offer = reply.get_value("offer")
        w.emit("set-local-description", offer, None)
        text = offer.sdp.as_text()
        headers, answer = whip("POST", options["url"], text)
        self.sessions[name] = (pipeline, options["url"], headers["Location"])
        _, message = GstSdp.SDPMessage.new_from_text(answer)
        w.emit("set-remote-description", GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message), None)
        if not connected.wait(45):
            raise RuntimeError("not connected")
        return text

    @staticmethod
    def gate(connected):
        """Drops what comes before the connection, and of the picture what refers to that."""
        state = {"open": False, "asked": False}

        def probe(pad, info):
            if not state["open"] and connected.is_set():
                if not info.get_buffer().has_flags(Gst.BufferFlags.DELTA_UNIT):
                    state["open"] = True
                elif not state["asked"]:
                    state["asked"] = True
                    request = Gst.Structure.new_from_string("GstForceKeyUnit, all-headers=(boolean)true, count=(uint)1")
                    pad.get_peer().send_event(Gst.Event.new_custom(Gst.EventType.CUSTOM_UPSTREAM, request))
            return Gst.PadProbeReturn.OK if state["open"] else Gst.PadProbeReturn.DROP

        return probe

    def stats(self, name):
        return {"state": "connected"}

    def quiet(self, name):
        w = self.sessions[name][0].get_by_name("w")
        for pad in w.sinkpads:
            pad.get_peer().add_probe(Gst.PadProbeType.BUFFER, lambda *_: Gst.PadProbeReturn.DROP)

    def end(self, name):
        pipeline, url, location = self.sessions.pop(name)
        whip("DELETE", url.split("/whip/")[0] + location)
        pipeline.set_state(Gst.State.NULL)


def answer(publisher, number, method, args):
    try:
        say(id=number, result=getattr(publisher, method)(*args))
    except Exception as failure:  # the test is told of every one
        say(id=number, error=repr(failure))


Gst.init(None)
loop = GLib.MainLoop()
threading.Thread(target=loop.run, daemon=True).start()
everything = Publisher()
for call in calls():
    threading.Thread(target=answer, args=(everything, *call), daemon=True).start()
for session in list(everything.sessions.values()):
    session[0].set_state(Gst.State.NULL)
loop.quit()
sys.exit(0)
