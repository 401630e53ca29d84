#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# By curl -F, which is multipart. usage: form.sh BASE KEY
made=$(curl -sS -F "key=$2" -F "roomname=数学 & more" -F roomtype=3 -F chairmanpwd=1111 "$1/WebAPI/roomcreate")
list=$(curl -sS -F "key=$2" -F 'serials[]=lesson' "$1/WebAPI/batchGetRecord")
unknown=$(curl -sS -F "key=$2" -F 'filedata=@/dev/null' "$1/WebAPI/uploadfile")
printf '{"made":%s,"list":%s,"unknown":%s}' "$made" "$list" "$unknown"
