# SPDX-License-Identifier: Apache-2.0
"""Lets the tests drive a script: calls {id, method, args} come line by line, answers and events go likewise."""

import json
import sys
import urllib.request


def say(**what):
    """Writes an answer or an event."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def calls():
    """Yields the calls until the test ends."""
    for line in sys.stdin:
        call = json.loads(line)
        yield call["id"], call["method"], call["args"]


def whip(method, url, body=None):
    """Makes a WHIP request and returns the response's headers and text."""
    request = urllib.request.Request(url, method=method, data=body.encode() if body else None)
    if body:
        request.add_header("Content-Type", "application/sdp")
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.headers, response.read().decode()
