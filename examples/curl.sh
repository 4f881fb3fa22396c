#!/bin/sh
# Login, deployment, call and deletion with nothing but curl. From this folder:
#   KEA_PASSWORD=... ./curl.sh [URL]
set -eu
cd "$(dirname "$0")"
api=${1:-http://127.0.0.1:8080}/api/v1/k8c
json='Content-Type: application/json'

answer=$(curl -sSf "$api/auth/login" -H "$json" -d "{\"username\": \"admin\", \"password\": \"$KEA_PASSWORD\"}")
token=$(printf %s "$answer" | sed 's/.*"token":"\([^"]*\)".*/\1/')
bearer="Authorization: Bearer $token"

echo "Deploying: paths are read on the machine where KEA runs"
curl -sSf "$api/services" -H "$bearer" -H "$json" \
  -d "{\"modelName\": \"curl-tickets\", \"sourceCode\": \"$PWD/custom-class\", \"replicas\": 1}"
echo

status=deploying
while [ "$status" = deploying ]; do
  sleep 1
  status=$(curl -sSf "$api/services/curl-tickets" -H "$bearer" | sed 's/.*"status":"\([^"]*\)".*/\1/')
done
[ "$status" = deployed ] || { curl -sS "$api/services/curl-tickets" -H "$bearer"; exit 1; }

echo "Calling"
curl -sSf "$api/services/curl-tickets/predict" -H "$bearer" -H "$json" -d '{"inputs": {"text": "where is my parcel"}}'
echo

echo "Deleting"
curl -sSf -X DELETE "$api/services/curl-tickets" -H "$bearer"
