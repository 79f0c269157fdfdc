#!/bin/sh
# A plan, a kept goal, and a session, with curl alone:  examples/curl.sh observation.jpg goal.jpg
set -eu
observation=$1 goal=$2
url=${URL:-http://127.0.0.1:8000}
ask() { curl --silent --show-error --fail-with-body ${TOKEN:+--header "Authorization: Bearer $TOKEN"} "$@"; echo; }

pose='[0.4, 0.0, 0.3, 3.14, 0.0, 0.0, 0.0]'  # x y z [m], roll pitch yaw [rad], gripper 0 open … 1 closed

echo "# one plan"
ask "$url/v1/plan" \
    --form "request={\"observation\": {\"pose\": $pose}, \"options\": {\"preset\": \"fast\"}}" \
    --form "observation=@$observation" --form "goal=@$goal"

echo "# the goal is kept under the hash of its pictures"
kept=$(ask "$url/v1/goals" --form "pictures=@$goal")
goal_id=$(echo "$kept" | sed 's/.*"goal_id":"\([^"]*\)".*/\1/')

echo "# a session remembers the last plan, and passes sub-goals"
opened=$(ask "$url/v1/sessions" --header 'Content-Type: application/json' \
    --data "{\"goal\": {\"id\": \"$goal_id\"}, \"options\": {\"preset\": \"fast\"}}")
session_id=$(echo "$opened" | sed 's/.*"session_id":"\([^"]*\)".*/\1/')
ask "$url/v1/sessions/$session_id/step" \
    --form "request={\"observation\": {\"pose\": $pose}}" --form "observation=@$observation"
ask --request DELETE "$url/v1/sessions/$session_id"
