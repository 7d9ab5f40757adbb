#!/bin/sh
# Serves with the binary $SERVER; arguments go to `rookery serve`. Without arguments, on
# a terminal, it says first where everything is and what to try.
set -eu

if [ "$#" -eq 0 ] && [ -t 1 ]; then
    cat <<END

  Clients   http://127.0.0.1:3000       any Socket.IO client, version 2, 3 or 4
  API       http://127.0.0.1:9090/api   for backends; described at /api/openapi.json
  Metrics   http://127.0.0.1:9090/metrics

  In another terminal, join a room and leave this running:
      $SERVER sub hello
  in a third one, say something to it:
      $SERVER pub hello greeting '{"text":"hi"}'
  or as a backend does:
      curl -H 'Content-Type: application/json' http://127.0.0.1:9090/api/publish \\
           -d '{"room":"hello","event":"greeting","args":[{"text":"hi"}]}'

  Ctrl-C stops it. Several instances that share rooms need a Redis server:
      make run ARGS="--redis redis://127.0.0.1:6379"

END
fi
exec "$SERVER" serve "$@"
