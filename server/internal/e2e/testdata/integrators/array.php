<?php
// SPDX-License-Identifier: Apache-2.0
// As PHP integrations do it: an array of fields for curl, which makes multipart/form-data of it, and json_decode of whatever
// comes. usage: php array.php BASE KEY
[, $base, $key] = $argv;

function call(string $url, array $fields): ?array
{
    $c = curl_init($url);
    curl_setopt_array($c, [CURLOPT_POST => true, CURLOPT_POSTFIELDS => $fields, CURLOPT_RETURNTRANSFER => true]);
    return json_decode((string) curl_exec($c), true);
}

$made = call("$base/WebAPI/roomcreate", [
    'key' => $key, 'roomname' => '数学 & more', 'roomtype' => 3, 'starttime' => time(), 'endtime' => time() + 3600,
    'chairmanpwd' => '1111', 'assistantpwd' => '2222', 'patrolpwd' => '3333', 'passwordrequired' => 1, 'confuserpwd' => '4444',
]);
$list = call("$base/WebAPI/batchGetRecord?error=0", ['key' => $key, 'serials[0]' => 'lesson', 'serials[1]' => $made['serial'], 'recordtype[0]' => 0]);
$unknown = call("$base/WebAPI/getonlineuser", ['key' => $key, 'serial' => $made['serial']]);
echo json_encode(['made' => $made, 'list' => $list, 'unknown' => $unknown]);
