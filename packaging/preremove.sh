#!/bin/sh
# Stops the services when the package goes, and leaves them alone when it is
# upgraded: the agent may be what upgrades it. The state directories stay. A
# package that is removed from another root has no services here.
set -e
case "$1" in
  remove|0)
    if test -z "$DPKG_ROOT" && command -v systemctl >/dev/null && test -d /run/systemd/system; then
      systemctl disable --now redflag-agent.service redflag-node.service || true
    fi
    ;;
esac
exit 0
