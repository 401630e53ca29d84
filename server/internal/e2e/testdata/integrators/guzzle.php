<?php
// SPDX-License-Identifier: Apache-2.0
// As Guzzle's option json does it: a JSON body, nested as it happens to be, and the key in a header.
// usage: php guzzle.php BASE KEY
[, $base, $key] = $argv;

function call(string $url, array $fields): ?array
{
    global $key;
    $options = ['method' => 'POST', 'header' => "Content-Type: application/json\r\nTk-authkey: $key\r\n", 'content' => json_encode($fields)];
    return json_decode((string) file_get_contents($url, false, stream_context_create(['http' => $options])), true);
}

$made = call("$base/WebAPI/roomcreate", ['roomname' => '数学 & more', 'roomtype' => 3, 'config' => ['HiddenKicking' => 1]]);
$list = call("$base/WebAPI/batchGetRecord?error=0", ['serials' => ['lesson', $made['serial']], 'recordtype' => [0], 'page' => 1, 'numberPage' => 10]);
$unknown = call("$base/WebAPI/getonlineuser", ['serial' => $made['serial']]);
echo json_encode(['made' => $made, 'list' => $list, 'unknown' => $unknown]);
