#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# By GET with a query. usage: query.sh BASE KEY
made=$(curl -sS -G -d "key=$2" --data-urlencode "roomname=数学 & more" "$1/WebAPI/roomcreate")
list=$(curl -sS -G -d "key=$2" -d serial=lesson -d recordtype=1 "$1/WebAPI/getrecordlist")
unknown=$(curl -sS -G -d "key=$2" "$1/ClientAPI/nothing")
printf '{"made":%s,"list":%s,"unknown":%s}' "$made" "$list" "$unknown"
