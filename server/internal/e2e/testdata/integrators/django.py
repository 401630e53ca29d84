# SPDX-License-Identifier: Apache-2.0
"""As Django integrations do it: urllib, a path of parameters that nobody has escaped well, and forms.

usage: python3 django.py BASE KEY
"""
import json
import sys
import time
import urllib.parse
import urllib.request

base, key = sys.argv[1:]


def get(path):
    return json.load(urllib.request.urlopen(base + path))


def post(path, **fields):
    return json.load(urllib.request.urlopen(base + path, urllib.parse.urlencode(fields).encode()))


now = int(time.time())
made = get("/WebAPI/roomcreate/key/%s/roomname/%s/roomtype/3/starttime/%d/endtime/%d/chairmanpwd/1111/passwordrequired/1/confuserpwd/4444/"
           % (key, urllib.parse.quote("数学 & more"), now, now + 3600))
records = post("/WebAPI/getrecordlist", key=key, serial="lesson", recordtype=0, starttime=now - 3600, endtime=now + 3600)
unknown = get("/WebAPI/getonlineuser/key/%s/serial/%s" % (key, made["serial"]))
print(json.dumps({"made": made, "list": records, "unknown": unknown}))
